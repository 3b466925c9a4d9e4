/* Appends: order, rolls, duplicates, group commit. */
#include "tests/unit/shard/engine_fixture.h"

#include "shard/frame.h"
#include "shard/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CALLS = 12 };

/* Each claim on each engine. */
static void on_each_engine(void (*claim)(struct engine *engine))
{
    uint32_t count;
    const struct io_engine *const *list = engine_list(&count);
    for (uint32_t i = 0; i < count; i++) {
        struct engine *engine = malloc(sizeof(*engine));
        assert_non_null(engine);
        engine_start(engine, list[i]);
        assert_int_equal(engine_assign(engine), OK);
        claim(engine);
        engine_end(engine);
        free(engine);
    }
}

static uint32_t small_batch(uint8_t *at, uint32_t records, int64_t producer, int32_t sequence)
{
    struct batch_spec spec = {.records = records,
                              .value_bytes = 10,
                              .timestamp = 5000,
                              .producer_id = producer,
                              .producer_epoch = producer < 0 ? -1 : 0,
                              .sequence = sequence};
    return batch_make(&spec, at, 1024);
}

static void check_acks_in_order(struct engine *engine)
{
    static uint8_t batch[CALLS][1024];
    struct call calls[CALLS];
    for (uint32_t i = 0; i < CALLS; i++) {
        call_append(&calls[i], engine, batch[i], small_batch(batch[i], 2, -1, -1));
        engine_turns(engine, i % 3);
    }
    for (uint32_t i = 0; i < CALLS; i++) {
        call_wait(&calls[i]);
        assert_int_equal(calls[i].err, OK);
        assert_int_equal(calls[i].request.produce.base_offset, 2 * i);
        assert_true(i == 0 || calls[i].finished > calls[i - 1].finished);
    }
}

static void acks_come_in_order_with_contiguous_offsets(void **state)
{
    (void)state;
    on_each_engine(check_acks_in_order);
}

static void check_append_at(struct engine *engine)
{
    static uint8_t batch[1024];
    static const uint64_t ends[] = {1, 0, 0, 2, 3, 4};

    static const enum err wanted[] = {ERR_OFFSET_RANGE, OK, ERR_OFFSET_RANGE, OK,
                                      ERR_OFFSET_RANGE, OK};
    struct call calls[ARRAY_COUNT(ends)];
    uint32_t size = small_batch(batch, 2, -1, -1);
    for (uint32_t i = 0; i < ARRAY_COUNT(ends); i++) { /* What is staged counts as well. */
        call_append_at(&calls[i], engine, bytes_of(batch, size), ends[i]);
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(ends); i++) {
        call_wait(&calls[i]);
        assert_int_equal(calls[i].err, wanted[i]);
        assert_true(wanted[i] != OK || calls[i].request.produce.base_offset == ends[i]);
    }
}

static void append_at_an_end_that_is_none_is_refused(void **state)
{
    (void)state;
    on_each_engine(check_append_at);
}

static void check_one_flush(struct engine *engine)
{
    static uint8_t batch[CALLS][1024];
    struct call calls[CALLS];
    engine_append_each(engine, 1, 10);
    engine_turns(engine, 3);
    uint64_t commits = engine->reactor.stats.counters[STAT_COMMITS];
    uint64_t flushes = engine->reactor.stats.counters[STAT_FLUSHES];
    uint64_t writes = engine->reactor.stats.counters[STAT_FILE_WRITES];
    for (uint32_t i = 0; i < CALLS; i++) {
        call_append(&calls[i], engine, batch[i], small_batch(batch[i], 1, -1, -1));
    }
    for (uint32_t i = 0; i < CALLS; i++) {
        call_wait(&calls[i]);
        assert_int_equal(calls[i].err, OK);
    }
    assert_int_equal(engine->reactor.stats.counters[STAT_COMMITS] - commits, 1);
    assert_int_equal(engine->reactor.stats.counters[STAT_FLUSHES] - flushes, 1);
    assert_int_equal(engine->reactor.stats.counters[STAT_FILE_WRITES] - writes, 1);
}

static void appends_of_one_turn_share_one_flush(void **state)
{
    (void)state;
    on_each_engine(check_one_flush);
}

static void check_no_overtaking(struct engine *engine)
{
    static uint8_t batch[4][1024];
    struct call calls[4];
    engine->config.segment_records = 10;
    struct call configure = {0};
    (void)configure;
    assert_int_equal(engine_assign(engine), OK); /* Takes the configuration. */
    engine_append_each(engine, 8, 10);
    engine->hold_rolls = true;
    call_append(&calls[0], engine, batch[0], small_batch(batch[0], 5, -1, -1));
    call_append(&calls[1], engine, batch[1], small_batch(batch[1], 1, -1, -1));
    engine_turns(engine, 50);
    assert_int_equal(calls[0].finished, 0);
    assert_int_equal(calls[1].finished, 0);
    assert_non_null(engine->held);
    engine->hold_rolls = false;
    engine_answer(engine);
    call_wait(&calls[0]);
    call_wait(&calls[1]);
    assert_int_equal(calls[0].request.produce.base_offset, 8);
    assert_int_equal(calls[1].request.produce.base_offset, 13);
    assert_true(calls[0].finished < calls[1].finished);
    assert_int_equal(engine->segment_count, 2);
    assert_int_equal(engine->segments[0].end_offset, 8);
    assert_int_equal(engine->segments[0].state, SEGMENT_SEALED);
    assert_int_equal(engine->segments[1].base_offset, 8);
}

static void append_behind_a_roll_does_not_overtake(void **state)
{
    (void)state;
    on_each_engine(check_no_overtaking);
}

static void check_roll_refused(struct engine *engine)
{
    static uint8_t batch[1024];
    struct call call;
    engine->roll_err = ERR_NOT_LEADER;
    call_append(&call, engine, batch, small_batch(batch, 1, -1, -1));
    call_wait(&call);
    assert_int_equal(call.err, ERR_NOT_LEADER);
    engine->roll_err = OK;
    engine_append_each(engine, 1, 10);
    assert_int_equal(engine->segment_count, 1);
}

static void refused_roll_fails_the_waiting_and_the_next_append_tries_again(void **state)
{
    (void)state;
    on_each_engine(check_roll_refused);
}

static void check_duplicates(struct engine *engine)
{
    static uint8_t batch[3][1024];
    struct call first, second, third, gap;
    uint32_t size = small_batch(batch[0], 3, 77, 0);
    engine_append_each(engine, 2, 10);
    call_append(&first, engine, batch[0], size);
    call_append(&second, engine, batch[0], size); /* The first is not durable yet. */
    call_wait(&second);
    assert_int_equal(first.err, OK);
    assert_int_equal(second.err, OK);
    assert_true(first.finished < second.finished);
    assert_int_equal(first.request.produce.base_offset, 2);
    assert_int_equal(second.request.produce.base_offset, 2);
    call_append(&third, engine, batch[1], small_batch(batch[1], 1, 77, 3));
    call_append(&gap, engine, batch[2], small_batch(batch[2], 1, 77, 9));
    call_wait(&third);
    call_wait(&gap);
    assert_int_equal(third.request.produce.base_offset, 5);
    assert_int_equal(gap.err, ERR_SEQUENCE);
}

static void duplicate_waits_for_its_original_and_gets_its_offset(void **state)
{
    (void)state;
    on_each_engine(check_duplicates);
}

static void check_late_duplicate(struct engine *engine)
{
    static uint8_t batch[1024];
    struct call call;
    uint32_t size = small_batch(batch, 3, 77, 0); /* Of 1970. */
    call_append(&call, engine, batch, size);
    call_wait(&call);
    engine->config.timestamp_before_max_ms = 1000;
    assert_int_equal(engine_assign(engine), OK);
    call_append(&call, engine, batch, size);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.produce.base_offset, 0);
    call_append(&call, engine, batch, small_batch(batch, 3, 77, 9));
    call_wait(&call);
    assert_int_equal(call.err, ERR_SEQUENCE);
    call_append(&call, engine, batch, small_batch(batch, 3, 77, 3));
    call_wait(&call);
    assert_int_equal(call.err, ERR_BATCH_TIMESTAMP);
}

static void duplicate_is_known_before_its_times_are_judged(void **state)
{
    (void)state;
    on_each_engine(check_late_duplicate);
}

static void check_bad_batch(struct engine *engine)
{
    static uint8_t batch[1024];
    struct call call;
    uint32_t size = small_batch(batch, 1, -1, -1);
    batch[size - 3] ^= 1;
    call_append(&call, engine, batch, size);
    call_wait(&call);
    assert_int_equal(call.err, ERR_BATCH_CRC);
}

static void damaged_batch_is_refused(void **state)
{
    (void)state;
    on_each_engine(check_bad_batch);
}

/* The file, byte for byte where it counts. */
static void check_golden(struct engine *engine)
{
    char path[256];
    static uint8_t file[16384];
    engine_append_each(engine, 2, 10);
    engine_segment_path(engine, 0, path, sizeof(path));
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    assert_int_equal(fread(file, 1, sizeof(file), in), sizeof(file));
    (void)fclose(in);
    assert_memory_equal(file, "FLOESEGM", 8);
    struct segment_header header;
    assert_int_equal(segment_header_decode(file, &header), OK);
    assert_int_equal(header.segment_id, engine->segments[0].id);
    assert_string_equal(header.name, "orders");
    struct segment_seal seal;
    assert_int_equal(segment_seal_decode(file + 4096, &seal), ERR_NOT_FOUND);
    for (uint32_t i = 0; i < 2; i++) {
        const uint8_t *at = file + SEGMENT_DATA_POSITION + i * 4096;
        struct extent_header extent;
        assert_memory_equal(at, "FEXT", 4);
        assert_int_equal(extent_header_decode(at, &extent), OK);
        assert_int_equal(extent.position, SEGMENT_DATA_POSITION + i * 4096);
        assert_int_equal(extent.durable_end, i);
        assert_int_equal(extent.offset_first, i);
        struct frame_header frame;
        assert_memory_equal(at + 64, "FFRM", 4);
        assert_int_equal(frame_header_decode(at + 64, &frame), OK);
        assert_int_equal(frame_check_body(&frame, at + 64 + 96), OK);
        assert_int_equal(load_be64(at + 64 + 96 + 24), i);      /* baseOffset */
        assert_int_equal(load_be32(at + 64 + 96 + 24 + 12), 1); /* leader epoch */
        uint64_t chain = i == 0 ? engine->segments[0].salt : frame_chain(at - 4096 + 64);
        assert_true(frame.chain == chain);
    }
}

static void file_holds_the_frames_as_the_format_says(void **state)
{
    (void)state;
    on_each_engine(check_golden);
}

static void check_large(struct engine *engine)
{
    engine_append_each(engine, 8, 900000);
    engine_append_each(engine, 40, 30000);
    struct call call;
    call_offsets(&call, engine, OFFSETS_LATEST);
    assert_int_equal(call.request.offsets.offset, 48);
}

static void large_batches_get_their_blocks_first(void **state)
{
    (void)state;
    on_each_engine(check_large);
}

static void check_drop(struct engine *engine)
{
    static uint8_t batch[1024];
    struct call append, parked, drop, late;
    engine_append_each(engine, 3, 10);
    call_fetch(&parked, engine, 3, true);
    engine->config.segment_records = 3;
    assert_int_equal(engine_assign(engine), OK);
    engine->hold_rolls = true;
    call_append(&append, engine, batch, small_batch(batch, 1, -1, -1));
    engine_turns(engine, 20);
    call_drop(&drop, engine);
    call_append(&late, engine, batch, small_batch(batch, 1, -1, -1));
    engine->hold_rolls = false;
    call_wait(&parked);
    call_wait(&append);
    engine_answer(engine);
    call_wait(&drop);
    call_wait(&late);
    assert_int_equal(parked.err, ERR_TOPIC_UNKNOWN);
    assert_int_equal(append.err, ERR_TOPIC_UNKNOWN);
    assert_int_equal(late.err, ERR_TOPIC_UNKNOWN);
    assert_int_equal(drop.err, OK);
    assert_int_equal(shard_partition_count(engine->shard), 0);
    char path[256];
    engine_segment_path(engine, 0, path, sizeof(path));
    assert_null(fopen(path, "rb"));
}

static void drop_fails_who_waits_and_removes_the_files(void **state)
{
    (void)state;
    on_each_engine(check_drop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acks_come_in_order_with_contiguous_offsets),
        cmocka_unit_test(append_at_an_end_that_is_none_is_refused),
        cmocka_unit_test(appends_of_one_turn_share_one_flush),
        cmocka_unit_test(append_behind_a_roll_does_not_overtake),
        cmocka_unit_test(refused_roll_fails_the_waiting_and_the_next_append_tries_again),
        cmocka_unit_test(duplicate_waits_for_its_original_and_gets_its_offset),
        cmocka_unit_test(duplicate_is_known_before_its_times_are_judged),
        cmocka_unit_test(damaged_batch_is_refused),
        cmocka_unit_test(file_holds_the_frames_as_the_format_says),
        cmocka_unit_test(large_batches_get_their_blocks_first),
        cmocka_unit_test(drop_fails_who_waits_and_removes_the_files),
    };
    return cmocka_run_group_tests_name("shard/append", tests, NULL, NULL);
}
