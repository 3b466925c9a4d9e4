/* Looks into the batches of producers: what unpacks to much holds nobody up.
 *
 *     NONE -> a few slices at once -> JUDGED                     nearly every batch
 *              |                         ^
 *              +-> RUNNING: a slice, turn about with the others -+
 *              |      ^ of those are JUDGES_MAX, one slice in each turn of the core
 *              +-> LINE: as many run already; from the start once one is done
 *
 * All this is of the batch at the head of its partition's queue, and forgotten with it: whatever
 * lets a waiting request go home ends its unpacking. A head that was judged may still have to wait,
 * for a roll say, and keeps its verdict. */
#pragma once

#include "core/completion.h"
#include "core/err.h"
#include "core/list.h"
#include "shard/batch.h"

struct judge;
struct partition;
struct shard;

/* What is known of the first of the appends that wait: see judge.c. */
enum head_state {
    HEAD_NEW,
    HEAD_LINE,
    HEAD_RUNNING,
    HEAD_JUDGED,
};

struct head {
    enum head_state state;
    enum err verdict;    /* JUDGED. */
    struct judge *judge; /* RUNNING. */
    struct list node;    /* LINE: among the others. */
};

enum {
    /* What one turn unpacks of batches that are large: 30 us of lz4, 0.1 ms of zstd, up to 1 ms of
     * gzip, and 12 ms of gzip that is made of empty blocks. */
    JUDGE_SLICE_BYTES = 128 << 10,
    JUDGE_SLICES_AT_ONCE = 2, /* Of a batch that was not looked at yet, */
    JUDGE_TURN_BYTES =
        1 << 20, /* while a turn has not unpacked as much: the others wait in LINE. */
    /* How many are under way at once. See codec.h for what a decoder may hold, besides the core's
     * memory: with the usual max.message.bytes 32 MiB and 9 more for each of these two, and 9 for
     * the one that judges at once; in the greatest topics 128 instead of the 32. */
    JUDGES_MAX = 2,
};

struct judges {
    struct judge *all; /* One more, for those that are judged at once. */
    struct list resting, running;
    uint32_t running_count;
    struct list line; /* Heads that wait until fewer run. */
    uint8_t *room;    /* For one slice, whosever it is. Made at the start, no block: one that stays
                         would split the core's memory. */
    uint32_t slice_bytes;
    uint64_t turn, turn_bytes; /* So much was unpacked in this turn. */
    bool called;               /* The next head was first in LINE. */
    struct completion work;
};

NODISCARD enum err judges_open(struct shard *shard);
void judges_close(struct shard *shard);
/* The content of the batch at the head of the queue: OK, its error, or ERR_BUSY: append_pump() is
 * called when it is known. */
NODISCARD enum err judge_head(struct partition *partition, const struct batch_rules *rules,
                              const struct batch *batch);
bool judge_waits(const struct partition *partition);
void judge_forget(struct partition *partition); /* The head leaves the queue. */
