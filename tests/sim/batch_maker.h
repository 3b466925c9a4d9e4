/* Record batches as producers send them (Kafka's RecordBatch v2, uncompressed), each with a number
 * of its own: the key of its records. Whoever finds one in a log knows what it must be. */
#pragma once

#include "core/bytes.h"

struct batch_plan {
    uint64_t number;
    uint32_t records, value_bytes; /* At least one record; bytes of each value. */
    int64_t timestamp;             /* Of the first record; +1 each. */
    int64_t producer_id;           /* -1: not idempotent. */
    int16_t producer_epoch;
    int32_t sequence;
};

/* Enough for any plan with these numbers. */
uint32_t batch_maker_bound(uint32_t records, uint32_t value_bytes);

/* Writes the batch; its size. */
uint32_t batch_maker_make(const struct batch_plan *plan, uint8_t *at, uint32_t size);

/* The number of a batch; false: it is none of ours. */
bool batch_maker_number(struct bytes batch, uint64_t *number);
