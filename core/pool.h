/* A fixed pool of equal objects. Memory is reserved whole and touched as use grows; a released
 * object is the next to be acquired. Empty means NULL: the caller queues in a FIFO of waiters,
 * which one release lets try again, in order. */
#pragma once

#include "core/completion.h"
#include "core/err.h"

struct pool {
    uint8_t *base;
    uint32_t object_size, capacity;
    uint32_t fresh; /* Objects from here on were never used: their pages are untouched. */
    uint32_t used;
    void *free; /* Linked through the objects' first bytes. */
    struct completion_list waiters;
    struct reactor *reactor; /* Whose ready list waiters are fired on. */
};

NODISCARD enum err pool_open(struct pool *pool, struct reactor *reactor, uint32_t object_size,
                             uint32_t capacity);
void pool_close(struct pool *pool); /* Asserts that every object is back. */

/* Zeroed, or NULL when all are out. */
NODISCARD void *pool_acquire(struct pool *pool);
void pool_release(struct pool *pool, void *object);

/* `waiter` fires with OK after a release, in FIFO order; then acquire again. */
void pool_await(struct pool *pool, struct completion *waiter);
