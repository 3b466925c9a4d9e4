/* What a fetch takes of a frame: batches as they are or, where records of a batch are deleted, a
 * copy without these, in a block of its own that counts as lent like any other. A batch that is too
 * large for that goes as it is: readers must get on. Internal to fetch.c. */
#pragma once

#include "shard/deleted.h"
#include "shard/shard_internal.h"

/* What batches lie in. */
struct fetch_source {
    struct partition *partition;
    struct block *block;
    struct look *look;   /* NULL: the tail cache has the block. */
    const uint8_t *rows; /* The table of the frame. */
    uint32_t starved;    /* Out: no memory for a copy of so many bytes; 0: that was not it. */
};

/* Adds from the batches at `data` those that hold or follow *offset, within the limits. False when
 * the request takes no more. */
bool take_batches(struct request_fetch *fetch, struct fetch_source *source, struct bytes data,
                  uint64_t *offset);

/* A copy of a batch, and of its row in the table, without the records that are deleted; offsets,
 * times and producer stay. If none is left it is an empty batch, as Kafka's log cleaner leaves it,
 * so that readers move on. */
struct rewritten {
    struct block *block; /* A reference. */
    struct bytes batch;
    const uint8_t *row;
    uint32_t wanted; /* ERR_NO_MEMORY: so much of it. */
};

/* ERR_NO_MEMORY; ERR_BATCH_TOO_LARGE: unpacked, it fits into no block. */
NODISCARD enum err rewrite_batch(const struct deleted *deleted, struct memory *memory,
                                 struct bytes batch, const uint8_t *row,
                                 struct rewritten *rewritten);
