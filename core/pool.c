/* Objects of one size in one reserved stretch of address space.
 *
 *     [ used and free, mixed ............ | fresh: never touched ......... ]
 *       free ones linked, newest first     ^ pool->fresh
 */
#include "core/pool.h"

#include "core/assert.h"
#include "core/os.h"
#include "core/poison.h"

#include <string.h>
#include <sys/mman.h>

enum { POOL_ALIGN_BYTES = 16, POOL_PAGE_BYTES = 4096 };

static size_t pool_bytes(const struct pool *pool)
{
    return (size_t)align_up((uint64_t)pool->object_size * pool->capacity, POOL_PAGE_BYTES);
}

static void pool_wake(struct pool *pool)
{
    if (pool->waiters.head != NULL && pool->used < pool->capacity && !pool->pass.queued) {
        completion_fire(pool->reactor, &pool->pass, OK);
    }
}

/* In the waiter's own step an acquire succeeds, once; elsewhere all who wait come first. */
static void pool_pass(struct completion *pass)
{
    struct pool *pool = CONTAINER_OF(pass, struct pool, pass);
    struct completion *waiter = completion_list_pop(&pool->waiters);
    ASSERT(waiter != NULL && !waiter->queued);
    ASSERT(pool->used < pool->capacity);
    waiter->result = OK;
    pool->passing = true;
    waiter->fn(waiter);
    pool->passing = false;
    pool_wake(pool);
}

enum err pool_open(struct pool *pool, struct reactor *reactor, uint32_t object_size,
                   uint32_t capacity)
{
    ASSERT(object_size > 0 && object_size <= UINT32_MAX - POOL_ALIGN_BYTES);
    ASSERT(capacity > 0);
    *pool = (struct pool){
        .reactor = reactor,
        .object_size = (uint32_t)align_up(object_size, POOL_ALIGN_BYTES),
        .capacity = capacity,
        .zeroed = (uint32_t)align_up(object_size, POOL_ALIGN_BYTES),
        .pass = {.fn = pool_pass},
    };
    pool->base = os_memory_reserve(pool_bytes(pool));
    return pool->base == NULL ? ERR_NO_MEMORY : OK;
}

void pool_zero_only(struct pool *pool, uint32_t bytes)
{
    ASSERT(bytes <= pool->object_size);
    pool->zeroed = bytes;
}

void pool_close(struct pool *pool)
{
    if (pool->base == NULL) {
        return; /* Never opened. */
    }
    ASSERT(pool->used == 0);
    ASSERT(pool->waiters.head == NULL);
    ASSERT(!pool->pass.queued);
    unpoison(pool->base, (size_t)pool->fresh * pool->object_size);
    int failed = munmap(pool->base, pool_bytes(pool));
    ASSERT(failed == 0);
    *pool = (struct pool){0};
}

void *pool_acquire(struct pool *pool)
{
    ASSERT(pool->base != NULL);
    ASSERT(pool->used <= pool->fresh);
    if (pool->waiters.head != NULL && !pool->passing) {
        return NULL;
    }
    void *object = pool->free;
    if (object != NULL) {
        pool->passing = false;
        unpoison(object, pool->object_size);
        memcpy(&pool->free, object, sizeof(pool->free));
        memset(object, 0, pool->zeroed);
        pool->used++;
        return object;
    }
    if (pool->fresh == pool->capacity) {
        ASSERT(pool->used == pool->capacity);
        return NULL;
    }
    object = pool->base + (size_t)pool->fresh * pool->object_size;
    pool->passing = false;
    pool->fresh++;
    pool->used++;
    return object; /* Zero already: the kernel's pages are. */
}

void pool_release(struct pool *pool, void *object)
{
    ASSERT(object != NULL);
    ASSERT(pool->used > 0);
    ASSERT((uint8_t *)object >= pool->base);
    size_t distance = (size_t)((uint8_t *)object - pool->base);
    ASSERT(distance / pool->object_size < pool->fresh);
    ASSERT(distance % pool->object_size == 0);
    memcpy(object, &pool->free,
           sizeof(pool->free)); /* A second release is a poisoned write here. */
    poison(object, pool->object_size);
    pool->free = object;
    pool->used--;
    pool_wake(pool);
}

void pool_await(struct pool *pool, struct completion *waiter)
{
    ASSERT(!waiter->queued);
    ASSERT(waiter->fn != NULL);
    completion_list_push(&pool->waiters, waiter);
    pool_wake(pool);
}
