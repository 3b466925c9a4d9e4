/* Idempotent producers of one partition (KIP-98, kafka.md 5.4): per producer id the epoch, the last
 * five committed batches and, apart from them, all that are staged, so that an undo finds the five
 * as they were. A batch that is known is a duplicate and gets its original offset; the one that
 * follows the newest is new; anything else is out of order. An epoch that was seen fences older
 * ones for ever, also when its batch is undone.
 *
 *     row (136)  0 producer id i64  8 epoch i16  10 count u8  11 zero 5
 *                16 five times {first, last sequence i32, first offset u64, time ms i64} */
#pragma once

#include "core/bytes.h"
#include "core/err.h"

enum {
    PRODUCER_WINDOW = 5,
    PRODUCER_ROW_BYTES = 136,
    /* Of one partition: 2.2 MiB in each of its files, in one block, which every core has. Whoever
     * was silent for longest is forgotten, as after its expiry. */
    PRODUCERS_MAX = 16384,
};

struct producer_batch {
    int32_t first_sequence, last_sequence;
    uint64_t first_offset;
    int64_t time_ms;
};

struct producer_table;

NODISCARD struct producer_table *producer_table_create(void); /* NULL without memory. */
void producer_table_destroy(struct producer_table *table);    /* NULL is fine. */
void producer_table_clear(struct producer_table *table);      /* Forgets all. */

/* Another table that knows the same; NULL without memory. */
struct producer_table *producer_table_copy(const struct producer_table *table);

/* May this batch be appended? OK with *is_duplicate: it is known, as `duplicate` says.
 * ERR_SEQUENCE, ERR_PRODUCER_EPOCH. An unknown producer may begin anywhere. */
NODISCARD enum err producer_check(const struct producer_table *table, int64_t id, int16_t epoch,
                                  int32_t first_sequence, int32_t last_sequence,
                                  struct producer_batch *duplicate, bool *is_duplicate);

/* Remembers a batch that was accepted and is not committed yet; in order of offsets.
 * ERR_NO_MEMORY; ERR_LIMIT: more producers than fit have something in flight. */
NODISCARD enum err producer_stage(struct producer_table *table, int64_t id, int16_t epoch,
                                  const struct producer_batch *batch);

/* What was staged below `offset_end` is committed. */
void producer_commit(struct producer_table *table, uint64_t offset_end);

/* Forgets all that was staged at or above `offset_end`: an undo of what was cut. True if any was.
 */
bool producer_rewind(struct producer_table *table, uint64_t offset_end);

/* Remembers a committed batch, as recovery finds them. ERR_NO_MEMORY. */
NODISCARD enum err producer_record(struct producer_table *table, int64_t id, int16_t epoch,
                                   const struct producer_batch *batch);

/* Forgets producers that have been silent since before `ms`. */
void producer_expire(struct producer_table *table, int64_t ms);

/* Rows to encode: of producers with a committed batch. */
uint32_t producer_count(const struct producer_table *table);

/* Of all that are known; -1: none is. */
int64_t producer_greatest(const struct producer_table *table);

/* These rows, in order of producer id; the bytes written, 0 if `size` is too small for them. */
uint32_t producer_encode(const struct producer_table *table, uint8_t *rows, uint32_t size);
NODISCARD enum err producer_decode(struct producer_table *table, struct bytes rows);

_Static_assert(16 + PRODUCER_WINDOW * 24 == PRODUCER_ROW_BYTES, "a row is 136 bytes");
