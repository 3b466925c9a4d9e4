/* What a stream entry's fields are in a record, and a record's parts in an entry: pure.
 *
 *     the first field `key`    the record's key
 *     the first field `value`  its value
 *     all others               headers, in their order
 *
 * An entry shows the key first, then the headers, then the value. Where the client's order was
 * another one, a last header keeps the places of key and value: Kafka clients see one header more,
 * everybody else the order that was given. */
#pragma once

#include "shard/record.h"

#define FIELDS_ORDER_NAME "__floe.order"

enum { FIELDS_ORDER_BYTES = 24 };

/* Turns `count` fields, name and value by turns, into `record`, all but its timestamp.
 *
 * headers  room for count + 1
 * order    room for FIELDS_ORDER_BYTES */
void fields_encode(const struct bytes *fields, uint32_t count, struct record_input *record,
                   struct record_header *headers, char *order);

/* The fields of a record, one after the other. */
struct fields {
    const struct record *record;
    struct bytes_reader headers;
    uint32_t count; /* Of fields. */
    uint32_t next, key_at, value_at;
};

/* `record` was read by record_read(), and stays as it is meanwhile. */
void fields_begin(struct fields *entry, const struct record *record);

/* False: there are no more. Null becomes empty. */
bool fields_next(struct fields *entry, struct bytes *name, struct bytes *value);
