/* A fixed pool of equal objects. Memory is reserved whole and touched as use grows; a released
 * object is the next to be acquired. Empty means NULL: the caller queues in a FIFO of waiters.
 *
 * While anybody waits, an object goes to nobody else: the pool runs the first waiter from the ready
 * list, which acquires there or leaves it; then the next one's turn comes. So free objects and
 * waiters stand side by side only until the ready list has run. */
#pragma once

#include "core/completion.h"
#include "core/err.h"

struct pool {
    uint8_t *base;
    uint32_t object_size, capacity;
    uint32_t zeroed; /* Of each object, from its beginning. */
    uint32_t fresh;  /* Objects from here on were never used: their pages are untouched. */
    uint32_t used;
    void *free; /* Linked through the objects' first bytes. */
    struct completion_list waiters;
    struct completion pass;  /* Runs the first waiter; queued while one waits for a free object. */
    bool passing;            /* It runs, and has not acquired yet. */
    struct reactor *reactor; /* Whose ready list waiters run from. */
};

NODISCARD enum err pool_open(struct pool *pool, struct reactor *reactor, uint32_t object_size,
                             uint32_t capacity);
void pool_close(struct pool *pool); /* Asserts that every object is back. */

/* From now on only the first `bytes` of an object are zeroed. */
void pool_zero_only(struct pool *pool, uint32_t bytes);

/* Zeroed, or NULL when all are out or promised to waiters. */
NODISCARD void *pool_acquire(struct pool *pool);
void pool_release(struct pool *pool, void *object);

/* Runs `waiter` with OK when an object is free for it, in FIFO order, never before return. It
 * acquires in that step, or has waited in vain. */
void pool_await(struct pool *pool, struct completion *waiter);
