/* Blocks do not overlap, guarantees hold when all else is taken, waiters keep their order, and what
 * is touched follows what is used. */
#include "core/memory.h"

#include "core/limits.h"
#include "core/poison.h"
#include "core/prng.h"
#include "core/reactor.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAITERS = 24 };

/* Only its ready list is used. */
static struct reactor *reactor;

static int setup(void **state)
{
    (void)state;
    reactor = aligned_alloc(CACHE_LINE_BYTES, sizeof(*reactor));
    assert_non_null(reactor);
    memset(reactor, 0, sizeof(*reactor));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(reactor);
    return 0;
}

static struct memory *open_memory(uint64_t limit_bytes)
{
    struct memory *memory = NULL;
    struct memory_options options = {.limit_bytes = limit_bytes, .numa_node = -1};
    assert_int_equal(memory_open(&memory, &options), OK);
    assert_non_null(memory);
    return memory;
}

static uint32_t run_ready(void)
{
    uint32_t count = 0;
    struct completion *completion;
    while ((completion = completion_list_pop(&reactor->ready)) != NULL) {
        completion->queued = false;
        completion->fn(completion);
        count++;
    }
    return count;
}

/* Whether `body` ends in a failed assertion. */
static bool aborts(void (*body)(struct memory *memory), struct memory *memory)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(STDERR_FILENO);
        body(memory);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void a_limit_below_the_minimum_is_refused(void **state)
{
    (void)state;
    struct memory *memory = NULL;
    struct memory_options options = {.limit_bytes = MEMORY_LIMIT_MIN - 1, .numa_node = -1};
    assert_int_equal(memory_open(&memory, &options), ERR_INVALID);
    assert_null(memory);
    options.limit_bytes = (uint64_t)1 << 60;
    assert_int_equal(memory_open(&memory, &options), ERR_INVALID);
    memory_close(NULL);
}

static void a_limit_beyond_what_can_be_addressed_is_refused(void **state)
{
    (void)state;
    struct memory *memory = NULL;
    struct memory_options options = {.limit_bytes = (uint64_t)1 << 48, .numa_node = -1};
    assert_int_equal(memory_open(&memory, &options), ERR_INVALID);
}

static void the_largest_block_is_an_eighth_and_at_most_128_mib(void **state)
{
    (void)state;

    static const struct {
        uint64_t limit, largest;
    } cases[] = {
        {MIB(64), MIB(8)},    {MIB(100), MIB(8)}, {MIB(127), MIB(8)}, {MIB(128), MIB(16)},
        {MIB(1000), MIB(64)}, {GIB(1), MIB(128)}, {GIB(3), MIB(128)}, {GIB(64), MIB(128)},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct memory *memory = open_memory(cases[i].limit);
        assert_int_equal(memory_block_max(memory), cases[i].largest);
        struct block *block = block_acquire(memory, MEMORY_APPEND, memory_block_max(memory));
        assert_non_null(block);
        block_unref(block);
        memory_close(memory);
    }
}

static void a_block_is_the_next_power_of_two(void **state)
{
    (void)state;

    static const struct {
        uint32_t asked, size;
    } cases[] = {{1, 4096},        {4095, 4096},
                 {4096, 4096},     {4097, 8192},
                 {8192, 8192},     {8193, 16384},
                 {100000, 131072}, {131072, 131072},
                 {131073, 262144}, {(4 << 20) + 1, 8 << 20}};
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct block *block = block_acquire(memory, MEMORY_SEND, cases[i].asked);
        assert_non_null(block);
        assert_int_equal(block->size, cases[i].size);
        assert_int_equal(block->refs, 1);
        assert_int_equal(block->class, MEMORY_SEND);
        assert_true(is_aligned((uintptr_t)block->data, BLOCK_SIZE_MIN));
        memset(block->data, 0xaa, cases[i].asked);
        block_unref(block);
    }
    memory_close(memory);
}

static void the_lowest_free_address_is_taken_first(void **state)
{
    (void)state;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    struct block *a = block_acquire(memory, MEMORY_APPEND, 4096);
    struct block *b = block_acquire(memory, MEMORY_APPEND, 4096);
    struct block *large = block_acquire(memory, MEMORY_APPEND, 65536);
    struct block *c = block_acquire(memory, MEMORY_APPEND, 4096);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(large);
    assert_non_null(c);
    uint8_t *base = a->data;
    assert_ptr_equal(b->data, base + 4096);
    assert_ptr_equal(large->data, base + 65536);
    assert_ptr_equal(c->data, base + 8192);
    block_unref(a);
    struct block *again = block_acquire(memory, MEMORY_SEND, 100);
    assert_non_null(again);
    assert_ptr_equal(again->data, base);
    block_unref(b);
    block_unref(c);
    block_unref(again);
    block_unref(large);
    again = block_acquire(memory, MEMORY_SEND, memory_block_max(memory));
    assert_non_null(again);
    assert_ptr_equal(again->data, base); /* All halves have come together. */
    block_unref(again);
    memory_close(memory);
}

static void what_is_touched_follows_what_is_used(void **state)
{
    (void)state;
    struct memory *memory = open_memory(GIB(1));
    struct memory_stats stats;
    memory_stats(memory, &stats);
    assert_true(stats.limit_bytes == GIB(1));
    assert_true(stats.touched_bytes == 0);
    for (int i = 0; i < 5000; i++) { /* 20 MB one after the other are one step. */
        struct block *block = block_acquire(memory, MEMORY_RECEIVE, 4096);
        assert_non_null(block);
        block->data[0] = 1;
        block_unref(block);
    }
    memory_stats(memory, &stats);
    assert_true(stats.touched_bytes == MEMORY_STEP_BYTES);
    struct block *first = block_acquire(memory, MEMORY_RECEIVE, MEMORY_STEP_BYTES);
    struct block *second = block_acquire(memory, MEMORY_RECEIVE, 4096);
    assert_non_null(first);
    assert_non_null(second);
    memory_stats(memory, &stats);
    assert_true(stats.touched_bytes == 2 * MEMORY_STEP_BYTES);
    assert_true(stats.used_bytes[MEMORY_RECEIVE] == MEMORY_STEP_BYTES + 4096);
    assert_true(stats.used_bytes[MEMORY_SEND] == 0);
    block_unref(first);
    block_unref(second);
    memory_stats(memory, &stats);
    assert_true(stats.used_bytes[MEMORY_RECEIVE] == 0);
    assert_true(stats.touched_bytes == 2 * MEMORY_STEP_BYTES); /* Never given back. */
    memory_close(memory);
}

static void prefault_touches_all(void **state)
{
    (void)state;
    struct memory *memory = NULL;
    struct memory_options options = {
        .limit_bytes = MEMORY_LIMIT_MIN + 3 * BLOCK_SIZE_MIN, .numa_node = 0, .prefault = true};
    assert_int_equal(memory_open(&memory, &options), OK);
    struct memory_stats stats;
    memory_stats(memory, &stats);
    assert_true(stats.touched_bytes == options.limit_bytes);
    memory_close(memory);
}

/* Takes blocks of `size` until none comes; how many bytes. */
static uint64_t take_all(struct memory *memory, enum memory_class class, uint32_t size,
                         struct block **blocks, uint32_t *count)
{
    uint64_t bytes = 0;
    struct block *block;
    while ((block = block_acquire(memory, class, size)) != NULL) {
        blocks[(*count)++] = block;
        bytes += block->size;
    }
    return bytes;
}

static void give_all(struct block **blocks, uint32_t *count)
{
    while (*count > 0) {
        block_unref(blocks[--*count]);
    }
}

static void guarantees_hold_when_one_class_takes_all_it_can(void **state)
{
    (void)state;
    static const uint32_t sixteenths[MEMORY_CLASS_COUNT] = {
        [MEMORY_APPEND] = 2,      [MEMORY_RECEIVE] = 2,  [MEMORY_SEND] = 1,
        [MEMORY_REPLICATION] = 1, [MEMORY_RECOVERY] = 1,
    };
    const uint64_t limit = MIB(256);
    struct block **blocks = calloc(limit >> 16, sizeof(*blocks));
    assert_non_null(blocks);
    struct memory *memory = open_memory(limit);
    for (uint32_t greedy = 0; greedy < MEMORY_CLASS_COUNT; greedy++) {
        uint32_t count = 0;
        uint64_t bytes = take_all(memory, (enum memory_class)greedy, 65536, blocks, &count);
        assert_true(bytes == limit / 16 * (9 + sixteenths[greedy]));
        for (uint32_t other = 0; other < MEMORY_CLASS_COUNT; other++) {
            if (other != greedy) {
                bytes = take_all(memory, (enum memory_class)other, 65536, blocks, &count);
                assert_true(bytes == limit / 16 * sixteenths[other]);
            }
        }
        struct memory_stats stats;
        memory_stats(memory, &stats);
        uint64_t used = 0;
        for (uint32_t i = 0; i < MEMORY_CLASS_COUNT; i++) {
            used += stats.used_bytes[i];
        }
        assert_true(used == limit);
        assert_true(stats.waits == (uint64_t)MEMORY_CLASS_COUNT * (greedy + 1));
        give_all(blocks, &count);
    }
    memory_close(memory);
    free(blocks);
}

static void a_limit_between_powers_of_two_is_used_to_the_last_page(void **state)
{
    (void)state;
    const uint64_t limit = MIB(64) + 77 * 4096 + 123;
    struct block **blocks = calloc(limit >> 12, sizeof(*blocks));
    uint8_t *seen = calloc(limit >> 12, 1);
    assert_non_null(blocks);
    assert_non_null(seen);
    struct memory *memory = open_memory(limit);
    uint32_t count = 0;
    uint64_t bytes = 0;
    for (uint32_t class = 0; class < MEMORY_CLASS_COUNT; class ++) {
        bytes += take_all(memory, (enum memory_class) class, 4096, blocks, &count);
    }
    /* The guarantees are whole sixteenths, each class's last fraction of a page may stay. */
    assert_in_range(count, (limit >> 12) - MEMORY_CLASS_COUNT, limit >> 12);
    assert_true(bytes == (uint64_t)count * 4096);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t page = (uint64_t)(blocks[i]->data - blocks[0]->data) >> 12;
        assert_true(page < limit >> 12);
        assert_int_equal(seen[page], 0);
        seen[page] = 1;
    }
    /* Given back in another order, everything merges again. */
    for (uint32_t step = 0; step < 3; step++) {
        for (uint32_t i = step; i < count; i += 3) {
            block_unref(blocks[i]);
        }
    }
    count = 0;
    bytes = take_all(memory, MEMORY_APPEND, memory_block_max(memory), blocks, &count);
    assert_true(bytes == MIB(40)); /* 11 sixteenths, in blocks of 8 MiB. */
    give_all(blocks, &count);
    memory_close(memory);
    free(blocks);
    free(seen);
}

struct held {
    struct block *block;
    uint8_t pattern;
};

static void random_use_never_overlaps(void **state)
{
    (void)state;

    enum { SLOTS = 300, STEPS = 6000 };
    static struct held held[SLOTS];
    memset(held, 0, sizeof(held));
    struct memory *memory = open_memory(MIB(96));
    struct prng prng;
    prng_seed_one(&prng, 11);
    uint64_t used[MEMORY_CLASS_COUNT] = {0};
    uint32_t refused = 0;
    for (uint32_t step = 0; step < STEPS; step++) {
        struct held *slot = &held[prng_below(&prng, SLOTS)];
        if (slot->block == NULL) {
            uint32_t size =
                1 + (uint32_t)prng_below(&prng, (uint64_t)4096 << prng_below(&prng, 12));
            uint32_t class = (uint32_t)prng_below(&prng, MEMORY_CLASS_COUNT);
            slot->block = block_acquire(memory, (enum memory_class) class, size);
            if (slot->block == NULL) {
                refused++;
                continue;
            }
            used[class] += slot->block->size;
            slot->pattern = (uint8_t)step;
            slot->block->data[0] = slot->pattern;
            slot->block->data[size - 1] = slot->pattern;
            assert_true(is_power_of_two(slot->block->size) && slot->block->size >= size);
        } else {
            assert_int_equal(slot->block->data[0], slot->pattern);
            used[slot->block->class] -= slot->block->size;
            block_unref(slot->block);
            slot->block = NULL;
        }
        struct memory_stats stats;
        memory_stats(memory, &stats);
        assert_memory_equal(stats.used_bytes, used, sizeof(used));
        assert_true(stats.waits == refused);
    }
    assert_true(refused > 0);
    for (uint32_t i = 0; i < SLOTS; i++) {
        for (uint32_t j = 0; j < i && held[i].block != NULL; j++) {
            const struct block *a = held[i].block, *b = held[j].block;
            assert_true(b == NULL || a->data + a->size <= b->data || b->data + b->size <= a->data);
        }
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (held[i].block != NULL) {
            block_unref(held[i].block);
        }
    }
    memory_close(memory);
}

static void a_block_lives_until_its_last_reference(void **state)
{
    (void)state;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    struct block *block = block_acquire(memory, MEMORY_APPEND, 4096);
    assert_non_null(block);
    assert_ptr_equal(block_ref(block), block);
    block_unref(block);
    struct memory_stats stats;
    memory_stats(memory, &stats);
    assert_true(stats.used_bytes[MEMORY_APPEND] == 4096);
    block->data[0] = 1;
    block_unref(block);
    memory_stats(memory, &stats);
    assert_true(stats.used_bytes[MEMORY_APPEND] == 0);
    memory_close(memory);
}

struct cache {
    struct block *blocks[4096];
    uint32_t count, calls;
    uint64_t asked;
};

static bool cache_drop(void *context, uint64_t bytes)
{
    struct cache *cache = context;
    cache->calls++;
    cache->asked = bytes;
    uint64_t freed = 0;
    while (freed < bytes && cache->count > 0) {
        struct block *block = cache->blocks[--cache->count];
        freed += block->size;
        block_unref(block);
    }
    return freed > 0;
}

static void the_cache_is_asked_before_a_request_is_refused(void **state)
{
    (void)state;
    static struct cache cache;
    memset(&cache, 0, sizeof(cache));
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    memory_set_reclaim(memory, cache_drop, &cache);
    struct block *block;
    while (cache.calls == 0) {
        block = block_acquire(memory, MEMORY_APPEND, 65536);
        assert_non_null(block);
        cache.blocks[cache.count++] = block;
    }
    /* 11 sixteenths of 64 MiB were held; the last request took its place from the cache. */
    assert_int_equal(cache.count, 704);
    assert_int_equal(cache.calls, 1);
    assert_int_equal(cache.asked, 65536);
    /* A larger block asks until pieces that lie side by side have come. */
    block = block_acquire(memory, MEMORY_RECEIVE, memory_block_max(memory));
    assert_non_null(block);
    block_unref(block);
    cache.count = min_u32(cache.count, 4096);
    struct memory_stats stats;
    memory_stats(memory, &stats);
    assert_true(stats.waits == 0);
    while (cache.count > 0) {
        block_unref(cache.blocks[--cache.count]);
    }
    memory_close(memory);
}

static void a_request_is_refused_when_the_cache_is_empty(void **state)
{
    (void)state;
    static struct cache cache;
    memset(&cache, 0, sizeof(cache));
    static struct block *blocks[1024];
    uint32_t count = 0;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    memory_set_reclaim(memory, cache_drop, &cache);
    (void)take_all(memory, MEMORY_APPEND, 65536, blocks, &count);
    assert_int_equal(cache.calls, 1);
    assert_null(block_acquire(memory, MEMORY_APPEND, 4096));
    assert_int_equal(cache.calls, 2);
    struct memory_stats stats;
    memory_stats(memory, &stats);
    assert_true(stats.waits == 2);
    give_all(blocks, &count);
    memory_set_reclaim(memory, NULL, NULL);
    memory_close(memory);
}

/* A waiter that tries when it is fired, and awaits again when that fails. */
struct customer {
    struct memory_waiter waiter;
    struct memory *memory;
    struct block *block;
    uint32_t tries;
};

static struct customer customers[WAITERS];
static uint32_t served[WAITERS];
static uint32_t served_count;

static void customer_try(struct completion *done)
{
    struct memory_waiter *waiter = CONTAINER_OF(done, struct memory_waiter, done);
    struct customer *customer = CONTAINER_OF(waiter, struct customer, waiter);
    assert_int_equal(done->result, OK);
    customer->tries++;
    customer->block = block_acquire(customer->memory, waiter->class, waiter->size);
    if (customer->block == NULL) {
        memory_await(customer->memory, reactor, waiter);
        return;
    }
    served[served_count++] = (uint32_t)(customer - customers);
}

static void customer_come(struct memory *memory, uint32_t index, enum memory_class class,
                          uint32_t size)
{
    struct customer *customer = &customers[index];
    *customer = (struct customer){
        .waiter = {.done = {.fn = customer_try}, .size = size, .class = class}, .memory = memory};
    memory_await(memory, reactor, &customer->waiter);
}

static void customers_leave(void)
{
    for (uint32_t i = 0; i < WAITERS; i++) {
        if (customers[i].block != NULL) {
            block_unref(customers[i].block);
        }
    }
    memset(customers, 0, sizeof(customers));
    served_count = 0;
}

static void waiters_are_served_in_order_and_never_inline(void **state)
{
    (void)state;
    static struct block *blocks[1024];
    uint32_t count = 0;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    (void)take_all(memory, MEMORY_APPEND, 65536, blocks, &count);
    for (uint32_t i = 0; i < WAITERS; i++) {
        customer_come(memory, i, MEMORY_APPEND, 65536);
    }
    assert_int_equal(run_ready(), 0);
    for (uint32_t i = 0; i < WAITERS; i++) {
        block_unref(blocks[--count]);
        assert_int_equal(served_count, i); /* Not before return. */
        (void)run_ready();
        assert_int_equal(served_count, i + 1);
        assert_int_equal(served[i], i);
        assert_int_equal(customers[i].tries, 1); /* Nobody was woken in vain. */
    }
    customers_leave();
    give_all(blocks, &count);
    memory_close(memory);
}

static void a_large_waiter_is_not_woken_for_a_small_release(void **state)
{
    (void)state;
    static struct block *blocks[1024];
    uint32_t count = 0;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    (void)take_all(memory, MEMORY_APPEND, 65536, blocks, &count);
    customer_come(memory, 0, MEMORY_APPEND, 131072);
    customer_come(memory, 1, MEMORY_APPEND, 4096); /* Behind it: does not overtake. */
    block_unref(blocks[--count]);
    assert_int_equal(run_ready(), 0);
    block_unref(blocks[--count]);
    (void)run_ready();
    assert_int_equal(served_count, 1);
    assert_int_equal(served[0], 0);
    block_unref(blocks[--count]);
    (void)run_ready();
    assert_int_equal(served_count, 2);
    customers_leave();
    give_all(blocks, &count);
    memory_close(memory);
}

static void a_waiter_that_fails_again_keeps_its_place(void **state)
{
    (void)state;
    static struct block *blocks[1024];
    uint32_t count = 0;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    (void)take_all(memory, MEMORY_APPEND, 65536, blocks, &count);
    for (uint32_t i = 0; i < 4; i++) {
        customer_come(memory, i, MEMORY_APPEND, 65536);
    }
    /* Two are fired, and somebody who never waited takes both blocks first. */
    block_unref(blocks[--count]);
    block_unref(blocks[--count]);
    blocks[count] = block_acquire(memory, MEMORY_APPEND, 40000);
    assert_non_null(blocks[count++]);
    blocks[count] = block_acquire(memory, MEMORY_APPEND, 40000);
    assert_non_null(blocks[count++]);
    (void)run_ready();
    assert_int_equal(served_count, 0);
    customer_come(memory, 4, MEMORY_APPEND, 65536);
    for (uint32_t i = 0; i < 5; i++) {
        block_unref(blocks[--count]);
        (void)run_ready();
        assert_int_equal(served_count, i + 1);
        assert_int_equal(served[i], i);
    }
    customers_leave();
    give_all(blocks, &count);
    memory_close(memory);
}

/* One that has lost interest while it waited. */
static void customer_leave(struct completion *done)
{
    assert_int_equal(done->result, OK);
}

static void what_a_waiter_does_not_take_goes_to_the_next(void **state)
{
    (void)state;
    static struct block *blocks[1024];
    uint32_t count = 0;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    (void)take_all(memory, MEMORY_APPEND, 65536, blocks, &count);
    for (uint32_t i = 0; i < 3; i++) {
        customer_come(memory, i, MEMORY_APPEND, 65536);
        customers[i].waiter.done.fn = i < 2 ? customer_leave : customer_try;
    }
    block_unref(blocks[--count]);
    (void)run_ready();
    assert_int_equal(served_count, 1);
    customers_leave();
    give_all(blocks, &count);
    memory_close(memory);
}

static void one_release_wakes_as_many_as_it_serves(void **state)
{
    (void)state;
    static struct block *blocks[1024];
    uint32_t count = 0;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    struct block *large = block_acquire(memory, MEMORY_RECEIVE, 131072);
    assert_non_null(large);
    (void)take_all(memory, MEMORY_RECEIVE, 65536, blocks, &count);
    for (uint32_t i = 0; i < 5; i++) {
        customer_come(memory, i, MEMORY_RECEIVE, 65536);
    }
    block_unref(large);
    assert_int_equal(reactor->ready.count, 3); /* And the look at what they leave. */
    (void)run_ready();
    assert_int_equal(served_count, 2);
    give_all(blocks, &count);
    (void)run_ready();
    assert_int_equal(served_count, 5);
    customers_leave();
    large = block_acquire(memory, MEMORY_RECEIVE, 65536 * WAITERS);
    (void)take_all(memory, MEMORY_RECEIVE, 65536, blocks, &count);
    for (uint32_t i = 0; i < WAITERS; i++) {
        customer_come(memory, i, MEMORY_RECEIVE, 65536);
    }
    block_unref(large);
    (void)run_ready();
    assert_int_equal(served_count, WAITERS); /* More than are fired at once. */
    give_all(blocks, &count);
    customers_leave();
    memory_close(memory);
}

static void each_class_has_a_queue_of_its_own(void **state)
{
    (void)state;
    static struct block *blocks[2048];
    uint32_t count = 0, send_count = 0;
    static struct block *send_blocks[1024];
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    (void)take_all(memory, MEMORY_APPEND, 65536, blocks, &count);
    (void)take_all(memory, MEMORY_SEND, 65536, send_blocks, &send_count);
    customer_come(memory, 0, MEMORY_APPEND, memory_block_max(memory));
    customer_come(memory, 1, MEMORY_SEND, 65536);
    block_unref(send_blocks[--send_count]); /* SEND is below its guarantee again. */
    (void)run_ready();
    assert_int_equal(served_count, 1);
    assert_int_equal(served[0], 1);
    give_all(blocks, &count);
    (void)run_ready();
    assert_int_equal(served_count, 2);
    customers_leave();
    give_all(send_blocks, &send_count);
    memory_close(memory);
}

static void awaiting_what_is_free_fires_too(void **state)
{
    (void)state;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    customer_come(memory, 0, MEMORY_RECOVERY, 4096);
    assert_int_equal(served_count, 0);
    assert_int_equal(run_ready(), 2); /* And the look at what it leaves. */
    assert_int_equal(served_count, 1);
    customers_leave();
    memory_close(memory);
}

/* All customers compete with all others at random; everyone is served, nobody waits for ever. */
static void nobody_waits_for_ever(void **state)
{
    (void)state;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    struct prng prng;
    prng_seed_one(&prng, 12);
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < WAITERS; i++) {
            uint32_t size = 1 + (uint32_t)prng_below(&prng, memory_block_max(memory));
            enum memory_class class = (enum memory_class)prng_below(&prng, MEMORY_CLASS_COUNT);
            customer_come(memory, i, class, size);
        }
        while (served_count < WAITERS) {
            uint32_t progress = run_ready();
            for (uint32_t i = 0; i < WAITERS; i++) {
                if (customers[i].block != NULL && prng_chance(&prng, 40)) {
                    block_unref(customers[i].block);
                    customers[i].block = NULL;
                    progress++;
                }
                progress += customers[i].block != NULL;
            }
            assert_true(progress > 0);
        }
        customers_leave();
    }
    memory_close(memory);
}

static void body_too_large(struct memory *memory)
{
    (void)!block_acquire(memory, MEMORY_APPEND, memory_block_max(memory) + 1);
}

static void body_nothing(struct memory *memory)
{
    (void)!block_acquire(memory, MEMORY_APPEND, 0);
}

static void body_unref_twice(struct memory *memory)
{
    struct block *block = block_acquire(memory, MEMORY_APPEND, 4096);
    block_unref(block);
    block_unref(block);
}

static void body_fine(struct memory *memory)
{
    struct block *block = block_acquire(memory, MEMORY_APPEND, 4096);
    block_unref(block);
}

static void our_own_mistakes_are_caught(void **state)
{
    (void)state;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    assert_false(aborts(body_fine, memory));
    assert_true(aborts(body_too_large, memory));
    assert_true(aborts(body_nothing, memory));
    assert_true(aborts(body_unref_twice, memory));
#ifdef FLOE_VERIFY
    struct block *block = block_acquire(memory, MEMORY_APPEND, 4096);
    assert_true(aborts(memory_close, memory));
    block_unref(block);
#endif
    memory_close(memory);
}

static void what_nobody_asked_for_is_poisoned(void **state)
{
    (void)state;
#if defined(POISON_ASAN) && defined(FLOE_VERIFY)
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    struct block *block = block_acquire(memory, MEMORY_APPEND, 5000);
    assert_non_null(block);
    uint8_t *data = block->data;
    assert_int_equal(__asan_address_is_poisoned(data + 4999), 0);
    assert_int_equal(__asan_address_is_poisoned(data + 5000), 1);
    assert_int_equal(__asan_address_is_poisoned(data + 8191), 1);
    block_unref(block);
    assert_int_equal(__asan_address_is_poisoned(data), 1);
    block = block_acquire(memory, MEMORY_APPEND, 8192);
    assert_non_null(block);
    assert_ptr_equal(block->data, data);
    assert_int_equal(__asan_address_is_poisoned(data + 8191), 0);
    block_unref(block);
    memory_close(memory);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_below_the_minimum_is_refused),
        cmocka_unit_test(a_limit_beyond_what_can_be_addressed_is_refused),
        cmocka_unit_test(the_largest_block_is_an_eighth_and_at_most_128_mib),
        cmocka_unit_test(a_block_is_the_next_power_of_two),
        cmocka_unit_test(the_lowest_free_address_is_taken_first),
        cmocka_unit_test(what_is_touched_follows_what_is_used),
        cmocka_unit_test(prefault_touches_all),
        cmocka_unit_test(guarantees_hold_when_one_class_takes_all_it_can),
        cmocka_unit_test(a_limit_between_powers_of_two_is_used_to_the_last_page),
        cmocka_unit_test(random_use_never_overlaps),
        cmocka_unit_test(a_block_lives_until_its_last_reference),
        cmocka_unit_test(the_cache_is_asked_before_a_request_is_refused),
        cmocka_unit_test(a_request_is_refused_when_the_cache_is_empty),
        cmocka_unit_test(waiters_are_served_in_order_and_never_inline),
        cmocka_unit_test(a_large_waiter_is_not_woken_for_a_small_release),
        cmocka_unit_test(a_waiter_that_fails_again_keeps_its_place),
        cmocka_unit_test(what_a_waiter_does_not_take_goes_to_the_next),
        cmocka_unit_test(one_release_wakes_as_many_as_it_serves),
        cmocka_unit_test(each_class_has_a_queue_of_its_own),
        cmocka_unit_test(awaiting_what_is_free_fires_too),
        cmocka_unit_test(nobody_waits_for_ever),
        cmocka_unit_test(our_own_mistakes_are_caught),
        cmocka_unit_test(what_nobody_asked_for_is_poisoned),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
