/* Each allocation of libfloe in turn finds no memory: what was asked for fails with an error value,
 * or works without it; the process goes on, nothing is leaked, and what was acknowledged is there.
 * The library's objects are linked in, with malloc() and its kin wrapped by the linker. */
#include "shard/floe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Counted down by each allocation of any thread; the one that gets to 0 fails. */
static atomic_long countdown;

static int fails(void)
{
    return atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *at, size_t size)
{
    return fails() ? NULL : __real_realloc(at, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

struct outcome {
    uint64_t acked;
    uint32_t errors;
};

static int note(struct outcome *outcome, int result)
{
    if (result < 0) {
        outcome->errors++;
        assert_string_not_equal(floe_error_name(result), "FLOE_ERR_?");
    }
    return result;
}

static void use_partition(struct outcome *outcome, struct floe *log)
{
    struct floe_partition_options options = FLOE_PARTITION_OPTIONS;
    struct floe_partition *partition;
    struct floe_reader *reader;
    struct floe_view view;
    struct floe_pending *pending;
    struct floe_header header = {.name = "h", .name_size = 1};
    struct floe_record record = {.value = "v",
                                 .value_size = 1,
                                 .timestamp_ms = FLOE_NOW,
                                 .headers = &header,
                                 .header_count = 1};
    struct floe_stats stats = {.struct_size = sizeof(stats)};
    options.segment_records = 2;
    options.durability = FLOE_DURABILITY_OS;
    if (note(outcome, floe_partition_open(log, "t", 0, &options, &partition)) != FLOE_OK) {
        return;
    }
    for (uint32_t i = 0; i < 5; i++) {
        outcome->acked += note(outcome, floe_append(partition, &record, NULL)) == FLOE_OK;
    }
    if (note(outcome, floe_append_submit(partition, &record, 1, &pending)) == FLOE_OK) {
        outcome->acked += note(outcome, floe_append_wait(pending, NULL)) == FLOE_OK;
    }
    (void)note(outcome, floe_sync(log));
    (void)note(outcome, floe_get_stats(log, &stats));
    if (note(outcome, floe_reader_open(partition, FLOE_START, &reader)) == FLOE_OK) {
        while (note(outcome, floe_reader_next(reader, &view)) == FLOE_OK) {
        }
        (void)note(outcome, floe_reader_close(reader));
    }
}

static void use(struct outcome *outcome, const char *dir, uint32_t shared, uint32_t engine)
{
    struct floe_options options = FLOE_OPTIONS;
    struct floe *log;
    options.shared = shared;
    options.engine = engine;
    if (note(outcome, floe_open(dir, &options, &log, NULL, 0)) == FLOE_OK) {
        use_partition(outcome, log);
        (void)note(outcome, floe_close(log));
    }
}

static void each_allocation_may_fail(uint32_t shared, uint32_t engine)
{
    char dir[64], command[96];
    uint32_t untouched = 0, hurt = 0;
    for (long n = 1; untouched == 0; n++) {
        snprintf(dir, sizeof(dir), "floe-memory-XXXXXX");
        assert_non_null(mkdtemp(dir));
        struct outcome outcome = {0}, after = {0};
        atomic_store(&countdown, n);
        use(&outcome, dir, shared, engine);
        untouched = atomic_exchange(&countdown, 0) > 0;
        hurt += outcome.errors > 0;
        use(&after, dir, shared, engine);
        if (after.errors > 0 || after.acked != 6) {
            fail_msg("after allocation %ld failed: %u errors", n, after.errors);
        }
        struct floe *log;
        struct floe_partition *partition;
        uint64_t end = 0;
        assert_int_equal(floe_open(dir, NULL, &log, NULL, 0), FLOE_OK);
        assert_int_equal(floe_partition_open(log, "t", 0, NULL, &partition), FLOE_OK);
        assert_int_equal(floe_partition_offsets(partition, NULL, &end), FLOE_OK);
        assert_true(end >= outcome.acked + after.acked);
        assert_int_equal(floe_close(log), FLOE_OK);
        snprintf(command, sizeof(command), "rm -rf %s", dir);
        assert_int_equal(system(command), 0);
    }
    assert_true(hurt > 20);
}

static void an_own_handle_survives_each_allocation_that_fails(void **state)
{
    (void)state;
    each_allocation_may_fail(0, FLOE_ENGINE_AUTO);
    each_allocation_may_fail(0, FLOE_ENGINE_POSIX);
}

static void a_shared_handle_survives_each_allocation_that_fails(void **state)
{
    (void)state;
    each_allocation_may_fail(1, FLOE_ENGINE_AUTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_own_handle_survives_each_allocation_that_fails),
        cmocka_unit_test(a_shared_handle_survives_each_allocation_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
