/* Blocks do not overlap, guarantees hold when all else is taken, and what is touched follows what
 * is used. */
#include "core/memory.h"

#include "core/limits.h"
#include "core/poison.h"
#include "core/prng.h"
#include "tests/unit/core/memory_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t waits_of(const struct memory_stats *stats)
{
    uint64_t waits = 0;
    for (uint32_t i = 0; i < MEMORY_CLASS_COUNT; i++) {
        waits += stats->waits[i];
    }
    return waits;
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

static uint64_t bound_bytes;

static void bind_counted(void *at, uint64_t bytes, int numa_node)
{
    assert_non_null(at);
    assert_int_equal(numa_node, 0);
    bound_bytes += bytes;
}

static void prefault_touches_all(void **state)
{
    (void)state;
    struct memory *memory = NULL;
    struct memory_options options = {.limit_bytes = MEMORY_LIMIT_MIN + 3 * BLOCK_SIZE_MIN,
                                     .numa_node = 0,
                                     .bind = bind_counted,
                                     .prefault = true};
    assert_int_equal(memory_open(&memory, &options), OK);
    struct memory_stats stats;
    memory_stats(memory, &stats);
    assert_true(stats.touched_bytes == options.limit_bytes);
    assert_true(bound_bytes >= options.limit_bytes);
    memory_close(memory);
}

static void guarantees_hold_when_one_class_takes_all_it_can(void **state)
{
    (void)state;
    static const uint32_t sixteenths[MEMORY_CLASS_COUNT] = {
        [MEMORY_APPEND] = 2, [MEMORY_RECEIVE] = 2,     [MEMORY_CALL] = 1,
        [MEMORY_SEND] = 1,   [MEMORY_REPLICATION] = 1, [MEMORY_RECOVERY] = 1,
    };
    const uint64_t limit = MIB(256);
    struct block **blocks = calloc(limit >> 16, sizeof(*blocks));
    assert_non_null(blocks);
    struct memory *memory = open_memory(limit);
    for (uint32_t greedy = 0; greedy < MEMORY_CLASS_COUNT; greedy++) {
        uint32_t count = 0;
        uint64_t bytes = take_all(memory, (enum memory_class)greedy, 65536, blocks, &count);
        bool capped = greedy == MEMORY_CALL || greedy == MEMORY_SEND;
        uint32_t most = capped ? 4 : 8 + sixteenths[greedy];
        assert_true(bytes == limit / 16 * most);
        for (uint32_t other = 0; other < MEMORY_CLASS_COUNT; other++) {
            if (other != greedy) {
                bytes = take_all(memory, (enum memory_class)other, 65536, blocks, &count);
                assert_true(capped || bytes == limit / 16 * sixteenths[other]);
                assert_true(bytes >= limit / 16 * sixteenths[other]);
            }
        }
        struct memory_stats stats;
        memory_stats(memory, &stats);
        uint64_t used = 0;
        for (uint32_t i = 0; i < MEMORY_CLASS_COUNT; i++) {
            used += stats.used_bytes[i];
            assert_true(stats.waits[i] == greedy + 1);
        }
        assert_true(used == limit);
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
    assert_true(bytes == MIB(40)); /* 10 sixteenths, in blocks of 8 MiB. */
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
        assert_true(waits_of(&stats) == refused);
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
    /* 10 sixteenths of 64 MiB were held; the last request took its place from the cache. */
    assert_int_equal(cache.count, 640);
    assert_int_equal(cache.calls, 1);
    assert_int_equal(cache.asked, 65536);
    /* A larger block asks until pieces that lie side by side have come. */
    block = block_acquire(memory, MEMORY_RECEIVE, memory_block_max(memory));
    assert_non_null(block);
    block_unref(block);
    cache.count = min_u32(cache.count, 4096);
    struct memory_stats stats;
    memory_stats(memory, &stats);
    assert_true(waits_of(&stats) == 0);
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
    assert_true(stats.waits[MEMORY_APPEND] == 2 && waits_of(&stats) == 2);
    give_all(blocks, &count);
    memory_set_reclaim(memory, NULL, NULL);
    memory_close(memory);
}

/* What peers pin that do not read: a quarter, and it takes nothing from the cache. */
static void what_is_capped_leaves_the_cache_alone(void **state)
{
    (void)state;
    static struct cache cache;
    memset(&cache, 0, sizeof(cache));
    static struct block *blocks[1024];
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    memory_set_reclaim(memory, cache_drop, &cache);
    cache.blocks[cache.count++] = block_acquire(memory, MEMORY_APPEND, 65536);
    assert_non_null(cache.blocks[0]);
    for (uint32_t class = MEMORY_CALL; class <= MEMORY_SEND; class ++) {
        uint32_t count = 0;
        assert_false(memory_low(memory, (enum memory_class) class));
        uint64_t bytes = take_all(memory, (enum memory_class) class, 65536, blocks, &count);
        assert_true(bytes == MEMORY_LIMIT_MIN / 4);
        assert_true(memory_low(memory, (enum memory_class) class));
        assert_true(memory_scarce(memory, (enum memory_class) class));
        for (uint32_t i = 0; i < count / 4; i++) {
            block_unref(blocks[--count]);
        }
        assert_false(memory_scarce(memory, (enum memory_class) class));
        assert_true(memory_low(memory, (enum memory_class) class));
        assert_int_equal(cache.calls, 0);
        give_all(blocks, &count);
    }
    assert_int_equal(cache.count, 1);
    block_unref(cache.blocks[--cache.count]);
    memory_set_reclaim(memory, NULL, NULL);
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
        cmocka_unit_test(what_is_capped_leaves_the_cache_alone),
        cmocka_unit_test(our_own_mistakes_are_caught),
        cmocka_unit_test(what_nobody_asked_for_is_poisoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
