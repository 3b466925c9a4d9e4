/* Bytes as a test writes them down: hex with blanks, 'text', ".." for any byte, "*" at the end for
 * anything that follows, and "$4" or "$v" for the inserted bytes behind their length, as int32 or
 * as a compact length; and record batches. */
#pragma once

#include "core/bytes.h"

struct wire {
    uint8_t *data;
    bool *any; /* Which bytes may be anything. */
    uint32_t size, capacity;
    bool more; /* Anything may follow. */
};

struct wire wire_open(uint32_t capacity);
void wire_close(struct wire *wire);
void wire_add(struct wire *wire, const char *text, struct bytes insert);

/* A record batch of `records` records without a key. */
struct wire_batch {
    uint32_t records, value_bytes;
    int64_t timestamp; /* Of the first; +1 each. */
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t sequence;
    uint16_t attributes;
    bool keys;
};

/* At `at`, which has `capacity` bytes. */
struct bytes wire_batch(const struct wire_batch *batch, uint8_t *at, uint32_t capacity);

/* What is said of a batch from a client without a producer id. */
struct bytes wire_plain_batch(uint32_t records, int64_t timestamp, uint8_t *at, uint32_t capacity);

void wire_mend_crc(uint8_t *at, uint32_t size);

/* As the broker stores it. */
void wire_stamp(uint8_t *at, uint64_t base_offset, uint32_t epoch);
