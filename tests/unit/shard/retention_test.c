/* What retention removes: by time, by size, and never more. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/limits.h"
#include "shard/shard_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { HOUR_MS = 3600 * 1000 };

static void on_each_engine(void (*claim)(struct engine *engine, const struct io_engine *io))
{
    claim_on_wrapped_from(&(struct claim_start){.segment_records = 2}, claim);
}

/* Two records, the second `age_ms` old; -1: without times. */
static void append_aged(struct engine *engine, int64_t age_ms, int64_t producer, int32_t sequence)
{
    struct call call;
    engine_turns(engine, 1);
    struct batch_spec spec = {.records = 2,
                              .value_bytes = 100,
                              .timestamp =
                                  age_ms < 0 ? -2 : (int64_t)engine->reactor.now_ms - age_ms - 1,
                              .producer_id = producer,
                              .producer_epoch = producer < 0 ? -1 : 0,
                              .sequence = sequence};
    claim_append(&call, engine, &spec);
    assert_int_equal(call.err, OK);
}

/* A life in which retention looks, with what the topic says now. */
static void live(struct engine *engine, const struct io_engine *io)
{
    engine->retention_check_ms = 1;
    claim_crash(engine, io);
}

static void until_start(struct engine *engine, int64_t offset)
{
    for (uint32_t i = 0; claim_offset(engine, OFFSETS_EARLIEST) != offset; i++) {
        assert_true(i < 100000);
        engine_turns(engine, 1);
    }
}

/* Some looks more. */
static void look_on(struct engine *engine)
{
    uint64_t until_ns = engine->reactor.now_ns + 20 * NS_PER_MS;
    while (engine->reactor.now_ns < until_ns) {
        engine_turns(engine, 1);
    }
}

static void check_time(struct engine *engine, const struct io_engine *io)
{
    append_aged(engine, 5 * HOUR_MS, -1, -1);
    append_aged(engine, 4 * HOUR_MS, -1, -1);
    append_aged(engine, 1 * HOUR_MS, -1, -1);
    append_aged(engine, 3 * HOUR_MS, -1, -1); /* Old, but behind one that is not. */
    append_aged(engine, 1 * HOUR_MS, -1, -1);
    uint64_t first = engine->segments[0].id;
    engine->config.retention_ms = 2 * HOUR_MS;
    live(engine, io);
    until_start(engine, 4);
    look_on(engine);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 4);
    assert_int_equal(claim_offset(engine, OFFSETS_LATEST), 10);
    assert_int_equal(engine->segment_count, 3);
    assert_false(engine_has_file(engine, first));
    assert_true(engine_has_file(engine, engine->segments[0].id));
}

static void old_segments_go_from_the_oldest_on(void **state)
{
    (void)state;
    on_each_engine(check_time);
}

static void check_newest(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    engine->config.retention_ms = HOUR_MS;
    append_aged(engine, 3 * HOUR_MS, 9, 0);
    append_aged(engine, 2 * HOUR_MS, 9, 2);
    live(engine, io); /* No segment is open: one is made, so that the last one can go. */
    until_start(engine, 4);
    look_on(engine);
    assert_int_equal(claim_offset(engine, OFFSETS_LATEST), 4);
    assert_int_equal(engine->segment_count, 1);
    uint64_t opened = engine->next_segment;
    for (uint32_t i = 0; i < 2; i++) { /* Nothing is left, and the next offset is known. */
        live(engine, io);
        look_on(engine);
        assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 4);
        assert_int_equal(claim_offset(engine, OFFSETS_LATEST), 4);
        assert_int_equal(engine->next_segment, opened); /* An empty one is enough. */
    }
    /* So is the producer. */
    struct batch_spec spec = {.records = 1,
                              .value_bytes = 10,
                              .timestamp = (int64_t)engine->reactor.now_ms,
                              .producer_id = 9,
                              .sequence = 7};
    claim_append(&call, engine, &spec);
    assert_int_equal(call.err, ERR_SEQUENCE);
    append_aged(engine, 0, 9, 4);
    assert_int_equal(claim_offset(engine, OFFSETS_LATEST), 6);
    look_on(engine);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 4);
    assert_int_equal(engine->segment_count, 1); /* The empty one went. */
}

static void the_newest_segment_is_rolled_and_goes(void **state)
{
    (void)state;
    on_each_engine(check_newest);
}

static void check_open(struct engine *engine, const struct io_engine *io)
{
    engine->config.retention_ms = HOUR_MS;
    engine->config.segment_records = 100;
    live(engine, io);
    append_aged(engine, 0, -1, -1);
    look_on(engine);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 0);
    engine->config.retention_ms = 0; /* All that is older than now. */
    assert_int_equal(engine_assign(engine), OK);
    until_start(engine, 2);
    assert_int_equal(claim_offset(engine, OFFSETS_LATEST), 2);
    append_aged(engine, 0, -1, -1);
    until_start(engine, 4);
}

static void an_open_segment_with_old_records_is_rolled(void **state)
{
    (void)state;
    on_each_engine(check_open);
}

static void check_no_time(struct engine *engine, const struct io_engine *io)
{
    engine->config.retention_ms = HOUR_MS;
    engine_turns(engine, 1);
    append_aged(engine, -1, -1, -1); /* None. */
    append_aged(engine, 0, -1, -1);
    assert_true(engine->segments[0].timestamp_max > (int64_t)engine->reactor.now_ms - HOUR_MS);
    live(engine, io);
    look_on(engine);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 0);
    engine->segments[0].timestamp_max = INT64_MAX; /* As from an older release: not known. */
    engine->config.retention_ms = 0;
    live(engine, io);
    look_on(engine);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 0);
}

static void without_times_the_append_counts(void **state)
{
    (void)state;
    on_each_engine(check_no_time);
}

static void check_size(struct engine *engine, const struct io_engine *io)
{
    for (uint32_t i = 0; i < 6; i++) {
        append_aged(engine, 0, -1, -1);
    }
    uint64_t size = engine->segments[1].bytes;
    assert_true(size > 0 && engine->segments[2].bytes == size);
    engine->config.retention_bytes = (int64_t)(3 * size);
    live(engine, io);
    until_start(engine, 6);
    look_on(engine);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 6);
    engine->config.retention_bytes = (int64_t)(3 * size) + 1; /* Not by one byte too much. */
    assert_int_equal(engine_assign(engine), OK);
    append_aged(engine, 0, -1, -1);
    look_on(engine);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 6);
}

static void large_partitions_lose_their_oldest_segments(void **state)
{
    (void)state;
    on_each_engine(check_size);
}

static void check_sweep(struct engine *engine, const struct io_engine *io)
{
    char path[512];
    engine->next_segment = 20;
    append_aged(engine, 0, -1, -1);
    append_aged(engine, 0, -1, -1);
    engine_segment_path(engine, 0, path, sizeof(path));
    char *name = strrchr(path, '/') + 1;
    (void)snprintf(name, 40, "8000000000000003.seg");
    (void)fclose(fopen(path, "w"));
    (void)snprintf(name, 40, "8000000000000063.seg");
    (void)fclose(fopen(path, "w"));
    live(engine, io);
    for (uint32_t i = 0; engine_has_file(engine, (1ULL << 63) | 3); i++) {
        assert_true(i < 100000);
        engine_turns(engine, 1);
    }
    look_on(engine);
    assert_true(engine_has_file(engine, (1ULL << 63) | 99)); /* The map may be an older copy. */
    assert_true(engine_has_file(engine, engine->segments[0].id));
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 0);
}

static void a_file_that_a_crash_left_is_swept(void **state)
{
    (void)state;
    on_each_engine(check_sweep);
}

static void check_refusal(struct engine *engine, const struct io_engine *io)
{
    append_aged(engine, 2 * HOUR_MS, -1, -1);
    append_aged(engine, 0, -1, -1);
    engine->config.retention_ms = HOUR_MS;
    engine->trim_err = ERR_NOT_READY;
    live(engine, io);
    while (engine->trims < 3) {
        engine_turns(engine, 1);
    }
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 0);
    assert_int_equal(engine->segment_count, 2);
    engine->trim_err = OK;
    until_start(engine, 2);
}

static void a_refusal_of_the_map_is_tried_again(void **state)
{
    (void)state;
    on_each_engine(check_refusal);
}

static void a_clock_that_jumps_ahead_is_not_followed(void **state)
{
    (void)state;
    struct retention retention = {0};
    const uint64_t year = 365 * 24 * (uint64_t)HOUR_MS;
    const uint64_t t = 50 * year;
    uint64_t ns = 1000 * NS_PER_MS;
    assert_int_equal(retention_clock(&retention, ns, t), t); /* The first look believes. */
    ns += 500 * NS_PER_MS;
    assert_int_equal(retention_clock(&retention, ns, t + 700), t + 700);
    ns += 500 * NS_PER_MS;
    assert_int_equal(retention_clock(&retention, ns, t + 1200 + HOUR_MS), t + 1200 + HOUR_MS);
    ns += 500 * NS_PER_MS;
    assert_int_equal(retention_clock(&retention, ns, t + year), t + 1700 + HOUR_MS);
    ns += 1000 * NS_PER_MS;
    assert_int_equal(retention_clock(&retention, ns, t + year), t + 2700 + HOUR_MS);
    assert_int_equal(retention_clock(&retention, ns, t + 5000), t + 5000); /* Somebody mended it. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_segments_go_from_the_oldest_on),
        cmocka_unit_test(the_newest_segment_is_rolled_and_goes),
        cmocka_unit_test(an_open_segment_with_old_records_is_rolled),
        cmocka_unit_test(without_times_the_append_counts),
        cmocka_unit_test(large_partitions_lose_their_oldest_segments),
        cmocka_unit_test(a_file_that_a_crash_left_is_swept),
        cmocka_unit_test(a_refusal_of_the_map_is_tried_again),
        cmocka_unit_test(a_clock_that_jumps_ahead_is_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
