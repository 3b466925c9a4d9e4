/* What a body asks to be written: one record as it is, or {"records":[...]} as JSON. Views into the
 * body and the document until they are encoded. */
#pragma once

#include "net/http/json.h"
#include "shard/record.h"

enum { HTTP_RECORDS_MAX = 10000 };

struct http_record {
    struct record_input input;
    int64_t partition; /* -1: not said. */
};

/* Of the document: how much it holds, then the records themselves. */
struct http_records {
    uint32_t count, header_count;
    uint64_t decoded_bytes; /* What comes out of base64, at most. */
    struct http_record *records;
    struct record_header *headers;
    uint8_t *decoded;
};

/* Counts, and checks every member. False: op->fault names the record. */
NODISCARD bool http_records_count(struct http_op *op, json_t *document,
                                  struct http_records *records);

/* Fills the arrays, which have room for what was counted. False: op->fault. */
NODISCARD bool http_records_read(struct http_op *op, json_t *document,
                                 struct http_records *records);

/* Kafka's choice of a partition: every client puts a key where Java's do. */
uint32_t http_murmur2(struct bytes key);
