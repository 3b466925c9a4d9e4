/* Memory of one core: address space reserved at start, touched by the owning thread (so on its NUMA
 * node) in 2 MiB steps as use grows, never given back. Blocks are cut from it by a buddy scheme,
 * lowest address first. Every block belongs to a class; each class has a guaranteed minimum, and
 * may use what no other class is guaranteed, up to its cap. An empty pool is back-pressure: NULL,
 * and a FIFO of waiters for each class; never an error, never malloc.
 *
 *     RECEIVE      requests as they arrived      APPEND   frames being committed, tail cache
 *     CALL         what requests in progress     RECOVERY scan buffers: a full pool still recovers
 *                  remember, and small replies   REPLICATION  frames for followers
 *     SEND         larger replies
 *
 * What peers pin that take nothing is CALL and SEND: each is capped at a quarter, and a small
 * request never waits behind a large reply. */
#pragma once

#include "core/completion.h"
#include "core/err.h"

enum memory_class {
    MEMORY_APPEND,
    MEMORY_RECEIVE,
    MEMORY_CALL,
    MEMORY_SEND,
    MEMORY_REPLICATION,
    MEMORY_RECOVERY,
    MEMORY_CLASS_COUNT,
};

enum { BLOCK_SIZE_MIN = 4096, MEMORY_STEP_BYTES = 2 << 20 };

struct memory;

struct memory_options {
    uint64_t limit_bytes; /* Of this core; at least MEMORY_LIMIT_MIN. */
    int numa_node;        /* -1: wherever the thread runs. */
    /* Asks for pages on the node: topology_bind(); NULL: nobody does. */
    void (*bind)(void *at, uint64_t bytes, int numa_node);
    bool prefault;
};

/* Counted, page-aligned, one core's: no atomics. Lent across cores by messages only. */
struct block {
    uint8_t *data;
    uint32_t size; /* A power of two, at least what was asked for. */
    uint32_t refs;
    uint32_t lent;  /* For whoever lends it out: to how many readers. */
    uint32_t parts; /* For whoever cuts it up: how many parts are in use, */
    struct memory *memory;
    uint32_t parts_held; /* and how many of them must stay. */
    uint8_t class;       /* enum memory_class */
};

/* One waiter for memory; embedded. Fires with OK when `size` bytes of `class` can be tried again.
 */
struct memory_waiter {
    struct completion done;
    uint32_t size;
    enum memory_class class;
};

struct memory_stats {
    uint64_t limit_bytes, touched_bytes;
    uint64_t used_bytes[MEMORY_CLASS_COUNT];
    uint64_t waits[MEMORY_CLASS_COUNT]; /* How often an acquire came back empty. */
};

/* ERR_NO_MEMORY when the address space cannot be reserved. */
NODISCARD enum err memory_open(struct memory **memory, const struct memory_options *options);
void memory_close(
    struct memory *memory); /* NULL is fine; asserts that no block is out in VERIFY. */

/* A block with one reference, contents undefined, or NULL. `size` is 1..memory_block_max(),
 * asserted. Ask for all that you use: what `block->size` has beyond `size` is poisoned in the dev
 * presets. */
NODISCARD struct block *block_acquire(struct memory *memory, enum memory_class class,
                                      uint32_t size);
struct block *block_ref(struct block *block);
void block_unref(struct block *block); /* The last one frees it and lets waiters try again. */

/* Queues behind earlier waiters of the class. Fires in a later step, never before return. When
 * those that fired have had their turn, what they did not take goes to the next ones. A waiter
 * that fired, tried and failed again (somebody who never waited was quicker) awaits again and gets
 * its old place, ahead of all that came later. */
void memory_await(struct memory *memory, struct reactor *reactor, struct memory_waiter *waiter);

/* Whether a class has used half of its cap (without one: of its guarantee): whoever can do with
 * less now shall. */
bool memory_low(const struct memory *memory, enum memory_class class);

/* Whether seven eighths of its cap (or of twice its guarantee) are used: what is left is for those
 * who cannot do without. */
bool memory_scarce(const struct memory *memory, enum memory_class class);

/* The most that a class may use. */
uint64_t memory_cap(const struct memory *memory, enum memory_class class);

/* Largest single block: a request of more is refused at the door. */
uint32_t memory_block_max(const struct memory *memory);

/* Called when a class runs dry, before block_acquire() gives up: drops caches worth `bytes` or as
 * many as it can; returns whether it freed anything. One per core. */
typedef bool memory_reclaim_fn(void *context, uint64_t bytes);
void memory_set_reclaim(struct memory *memory, memory_reclaim_fn *fn, void *context);

void memory_stats(const struct memory *memory, struct memory_stats *stats);
