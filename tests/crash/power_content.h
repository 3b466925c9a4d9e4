/* What floe_power appends: the n-th batch of a partition follows from the seed, the partition and
 * n. So a log must be the batches 0, 1, 2, ... each once, at offsets known beforehand, and is
 * compared byte for byte with what is made again. */
#pragma once

#include "shard/floe.h"

#include <stdbool.h>

enum {
    CONTENT_RECORDS_MAX = 100,
    CONTENT_BYTES_MAX = 512 * 1024, /* Of all values of a batch, rounding included. */
    CONTENT_KEY_BYTES = 64,
};

struct content {
    uint64_t seed;
    uint32_t
        large_percent; /* So many of 100 batches have 64 to 300 KB, in one record or in many. */
};

/* A batch, with room for the largest one. */
struct content_batch {
    uint32_t count;
    struct floe_record records[CONTENT_RECORDS_MAX];
    struct floe_header header; /* Of every record that has one. */
    char keys[CONTENT_RECORDS_MAX][CONTENT_KEY_BYTES];
    uint64_t words[CONTENT_BYTES_MAX / sizeof(uint64_t)];
};

/* The next number of a sequence; any state is a good one. */
uint64_t content_next(uint64_t *state);

/* 0..limit-1 */
uint64_t content_below(uint64_t *state, uint64_t limit);

/* How many records that batch has. */
uint32_t content_count(const struct content *content, uint32_t partition, uint64_t number);

/* Makes the batch. */
void content_make(const struct content *content, uint32_t partition, uint64_t number,
                  struct content_batch *batch);

/* Over the values of the batch. */
uint64_t content_sum(const struct content_batch *batch);

/* Whether the record that `reader` gave last is this one: key, value, time, headers. */
bool content_equal(const struct floe_record *record, struct floe_reader *reader,
                   const struct floe_view *view);

/* Where the batches of a partition stand. */
struct content_place {
    uint64_t number, offset; /* A batch, and that of its first record. */
};

/* Moves `place` on to the batch that has the record `offset`. */
void content_seek(const struct content *content, uint32_t partition, uint64_t offset,
                  struct content_place *place);
