/* The primitives of Kafka's wire format, in both encodings. "Flexible" versions write lengths as
 * unsigned varints of length + 1 and end each structure with tagged fields; older ones use int16
 * and int32 lengths with -1 as null. Integers are big-endian.
 *
 *     string   int16 length | bytes                  compact: uvarint length + 1 | bytes
 *     bytes    int32 length | bytes                  compact: uvarint length + 1 | bytes
 *     array    int32 count | items                   compact: uvarint count + 1 | items
 *     tags     -                                     uvarint n | n x (uvarint tag, size, bytes)
 */
#pragma once

#include "core/bytes.h"

#include <string.h>

struct topic_id;

struct kafka_reader {
    struct bytes_reader bytes;
    bool flexible;
};

struct kafka_reader kafka_reader(struct bytes body, bool flexible);
bool kafka_read_bool(struct kafka_reader *reader);
int16_t kafka_read_i16(struct kafka_reader *reader);
int32_t kafka_read_i32(struct kafka_reader *reader);
int64_t kafka_read_i64(struct kafka_reader *reader);

/* Views into the input. A null where none is allowed fails the reader. */
struct bytes kafka_read_string(struct kafka_reader *reader);
struct bytes kafka_read_string_or_null(struct kafka_reader *reader); /* .data NULL: null. */
struct bytes kafka_read_bytes_or_null(struct kafka_reader *reader);
void kafka_read_id(struct kafka_reader *reader, struct topic_id *id);
/* A topic's id where versions have one instead of its name, which stays as it is then. */
void kafka_read_topic(struct kafka_reader *reader, bool by_id, struct bytes *name,
                      struct topic_id *id);

/* How many items follow; 0 when failed. Fails where they cannot fit: each takes at least `item`
 * bytes, so no count is believed before it is used. */
uint32_t kafka_read_count(struct kafka_reader *reader, uint32_t item);

/* The same, and true when the array is null (the count is 0 then). */
bool kafka_read_count_or_null(struct kafka_reader *reader, uint32_t item, uint32_t *count);

/* Skips tagged fields; nothing in versions that are not flexible. */
void kafka_read_tags(struct kafka_reader *reader);

/* True if all was read, nothing failed and nothing is left; but librdkafka 2.0 leaves a few zeros
 * behind flexible ListGroups and OffsetFetch, and Kafka never looks there. */
bool kafka_read_done(const struct kafka_reader *reader);

/* Counts when `data` is NULL: an answer is encoded twice, first to learn its size. Writing past
 * the counted size is our own bug and asserted. */
struct kafka_writer {
    uint8_t *data;
    uint64_t size, position;
    bool flexible;
};

void kafka_write_raw(struct kafka_writer *writer, const void *data, uint32_t size);
void kafka_write_i8(struct kafka_writer *writer, int8_t value);
void kafka_write_bool(struct kafka_writer *writer, bool value);
void kafka_write_i16(struct kafka_writer *writer, int16_t value);
void kafka_write_i32(struct kafka_writer *writer, int32_t value);
void kafka_write_i64(struct kafka_writer *writer, int64_t value);
void kafka_write_uvarint(struct kafka_writer *writer, uint32_t value);
void kafka_write_string(struct kafka_writer *writer, struct bytes text); /* .data NULL: null. */
void kafka_write_text(struct kafka_writer *writer, const char *text);    /* NULL: null. */
void kafka_write_count(struct kafka_writer *writer, uint32_t count);
void kafka_write_null_array(struct kafka_writer *writer);
void kafka_write_bytes_length(struct kafka_writer *writer, uint32_t size);
void kafka_write_id(struct kafka_writer *writer, const struct topic_id *id);
void kafka_write_topic(struct kafka_writer *writer, bool by_id, struct bytes name,
                       const struct topic_id *id);
void kafka_write_tags(struct kafka_writer *writer); /* None, if flexible. */
