/* The shard as a whole: a disk that refuses or fails, durability classes, stopping. */
#include "tests/unit/shard/engine_fixture.h"

#include "shard/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void on_each_engine(void (*claim)(struct engine *engine))
{
    uint32_t count;
    const struct io_engine *const *list = engine_list(&count);
    for (uint32_t i = 0; i < count; i++) {
        struct io_engine wrapped = engine_wrap(list[i]);
        struct engine *engine = malloc(sizeof(*engine));
        assert_non_null(engine);
        engine_start(engine, &wrapped);
        assert_int_equal(engine_assign(engine), OK);
        claim(engine);
        engine_fault.op = IO_NONE;
        engine_end(engine);
        free(engine);
    }
}

static enum err append_large(struct engine *engine, uint32_t value_bytes)
{
    static uint8_t batch[1 << 20];
    struct batch_spec spec = {.records = 1,
                              .value_bytes = value_bytes,
                              .timestamp = 1,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    struct call call;
    call_append(&call, engine, batch, batch_make(&spec, batch, sizeof(batch)));
    call_wait(&call);
    return call.err;
}

static void check_no_space(struct engine *engine)
{
    engine_append_each(engine, 3, 10);
    engine_turns(engine, 20);
    engine_fault.op = IO_ALLOCATE;
    engine_fault.err = ERR_NO_SPACE;
    assert_int_equal(append_large(engine, 900000), ERR_STORAGE);
    assert_int_equal(append_large(engine, 900000), ERR_STORAGE);
    engine_fault.op = IO_NONE;
    assert_int_equal(append_large(engine, 900000), OK);
    struct call call;
    call_offsets(&call, engine, OFFSETS_LATEST);
    assert_int_equal(call.request.offsets.offset, 4);
    assert_int_equal(engine->segment_count, 1); /* It stayed sound. */
}

static void without_space_appends_fail_and_later_ones_succeed(void **state)
{
    (void)state;
    on_each_engine(check_no_space);
}

static void check_failed_do_not_count(struct engine *engine)
{
    engine->config.segment_records = 8;
    engine->config.segment_bytes = MIB(8);
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 3, 10);
    engine_turns(engine, 20);
    engine_fault.op = IO_ALLOCATE;
    engine_fault.err = ERR_NO_SPACE;
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(append_large(engine, 900000), ERR_STORAGE);
    }
    engine_fault.op = IO_NONE;
    engine_append_each(engine, 5, 10);
    assert_int_equal(engine->segment_count, 1);
    engine_append_each(engine, 1, 10);
    assert_int_equal(engine->segment_count, 2);
}

static void appends_that_failed_do_not_fill_a_segment(void **state)
{
    (void)state;
    on_each_engine(check_failed_do_not_count);
}

static void check_no_file(struct engine *engine)
{
    engine_fault.op = IO_RENAME;
    engine_fault.err = ERR_IO;
    assert_int_equal(append_large(engine, 10), ERR_STORAGE);
    engine_fault.op = IO_NONE;
    assert_int_equal(append_large(engine, 10), OK);
    assert_int_equal(engine->segment_count, 1);
}

static void file_that_cannot_be_made_is_tried_again_by_the_next_append(void **state)
{
    (void)state;
    on_each_engine(check_no_file);
}

static enum err append_idempotent(struct engine *engine, int32_t sequence)
{
    static uint8_t batch[1024];
    struct batch_spec spec = {.records = 1,
                              .value_bytes = 10,
                              .timestamp = 1,
                              .producer_id = 9,
                              .producer_epoch = 0,
                              .sequence = sequence};
    struct call call;
    call_append(&call, engine, batch, batch_make(&spec, batch, sizeof(batch)));
    call_wait(&call);
    return call.err;
}

static void check_expiry(struct engine *engine)
{
    engine->config.segment_records = 1;
    engine->config.producer_expiry_ms = 300;
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(append_idempotent(engine, 0), OK);
    engine_fault.op = IO_RENAME;
    engine_fault.err = ERR_IO;
    assert_int_equal(append_large(engine, 10), ERR_STORAGE);
    engine_fault.op = IO_NONE;
    assert_int_equal(append_idempotent(engine, 77), ERR_SEQUENCE);
    usleep(400000);
    engine_turns(engine, 1);
    assert_int_equal(append_large(engine, 10), OK);
    assert_int_equal(append_idempotent(engine, 77), OK);
}

static void silent_producers_go_also_when_a_file_is_tried_again(void **state)
{
    (void)state;
    on_each_engine(check_expiry);
}

static void check_write_fails(struct engine *engine)
{
    engine_append_each(engine, 3, 10);
    engine_fault.op = IO_WRITE;
    engine_fault.err = ERR_IO;
    assert_int_equal(append_large(engine, 10), ERR_STORAGE);
    engine_fault.op = IO_NONE;
    uint32_t hits = engine_fault.hits;
    assert_int_equal(hits, 1);
    assert_int_equal(append_large(engine, 10), OK);
    assert_int_equal(engine->segment_count, 2);
    assert_int_equal(engine->segments[0].end_offset, 3);
    struct call call;
    call_fetch(&call, engine, 0, false);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.fetch.high_watermark, 4);
    call_release(&call);
    engine_stop_shard(engine);
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    call_fetch(&call, engine, 2, false);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.fetch.piece_count, 1);
    call_release(&call);
}

static void failed_write_ends_the_segment_and_keeps_what_was_acked(void **state)
{
    (void)state;
    on_each_engine(check_write_fails);
}

static void check_classes(struct engine *engine)
{
    engine->config.durability = DURABILITY_OS;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 1, 10);
    engine_turns(engine, 5);
    uint64_t flushes = engine->reactor.stats.counters[STAT_FLUSHES];
    engine_append_each(engine, 3, 10);
    assert_int_equal(engine->reactor.stats.counters[STAT_FLUSHES], flushes);
    engine->config.durability = DURABILITY_MEMORY;
    engine->config.segment_records = 4;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 3, 10);
    assert_int_equal(engine->segments[1].durability, DURABILITY_MEMORY);
    struct call call;
    call_fetch(&call, engine, 6, false);
    call_wait(&call);
    assert_int_equal(call.request.fetch.piece_count, 1);
    call_release(&call);
}

static void os_and_memory_segments_do_not_flush(void **state)
{
    (void)state;
    on_each_engine(check_classes);
}

static void check_durability_changes(struct engine *engine)
{
    const enum durability classes[] = {DURABILITY_DISK, DURABILITY_OS, DURABILITY_MEMORY,
                                       DURABILITY_DISK};

    for (uint32_t i = 0; i < ARRAY_COUNT(classes); i++) {
        /* There and back again, without an append in between: nothing happens. */
        engine->config.durability = DURABILITY_MEMORY;
        assert_int_equal(engine_assign(engine), OK);
        engine->config.durability = classes[i];
        assert_int_equal(engine_assign(engine), OK);
        assert_int_equal(engine->segment_count, i);
        engine_append_each(engine, 2, 10);
        assert_int_equal(engine->segment_count, i + 1);
        assert_int_equal(engine->segments[i].durability, classes[i]);
        assert_int_equal(engine->segments[i].base_offset, 2 * i);
    }
    for (uint32_t i = 0; i < 2 * ARRAY_COUNT(classes); i++) {
        struct call call;
        call_fetch(&call, engine, i, false);
        call_wait(&call);
        assert_int_equal(call.err, OK);
        assert_true(call.request.fetch.piece_count > 0);
        call_release(&call);
    }
}

static void another_durability_holds_from_the_next_append_on(void **state)
{
    (void)state;
    on_each_engine(check_durability_changes);
}

static void check_durable_end(struct engine *engine)
{
    static uint8_t block[4096];

    const enum durability classes[] = {DURABILITY_DISK, DURABILITY_OS, DURABILITY_MEMORY};

    for (uint32_t i = 0; i < 3; i++) {
        engine->config.durability = classes[i];
        engine->config.segment_records = 3;
        assert_int_equal(engine_assign(engine), OK);
        for (uint32_t j = 0; j < 3; j++) {
            engine_append_each(engine, 1, 10);
            engine_turns(engine, 5);
        }
        assert_int_equal(engine->segment_count, i + 1);
        assert_int_equal(engine->segments[i].durability, classes[i]);
        struct extent_header extent;
        enum err err = ERR_NOT_FOUND; /* With `memory` the write comes behind the ack. */
        for (uint32_t turns = 0; err != OK; turns++) {
            assert_true(turns < 10000);
            engine_turns(engine, 1);
            engine_peek(engine, i, SEGMENT_DATA_POSITION + 2 * 4096, block, sizeof(block));
            err = extent_header_decode(block, &extent);
        }
        assert_int_equal(extent.offset_first, 3 * i + 2);
        assert_int_equal(extent.durable_end, classes[i] == DURABILITY_DISK ? 3 * i + 2 : 3 * i);
    }
}

static void durable_end_says_only_what_was_flushed(void **state)
{
    (void)state;
    on_each_engine(check_durable_end);
}

static void check_seal_syncs(struct engine *engine)
{
    static uint8_t block[4096];
    struct segment_seal seal;
    for (uint32_t i = 0; i < 2; i++) {
        engine->config.durability = DURABILITY_OS;
        assert_int_equal(engine_assign(engine), OK);
        engine_append_each(engine, 3, 10);
        uint32_t syncs = engine_fault.seen[IO_SYNC];
        engine_fault.op = i == 0 ? IO_SYNC : IO_NONE;
        engine_fault.err = ERR_IO;
        engine_stop_shard(engine);
        engine_fault.op = IO_NONE;
        assert_int_equal(engine_fault.seen[IO_SYNC] - syncs, 1);
        engine_peek(engine, i, SEGMENT_SEAL_POSITION, block, sizeof(block));
        assert_int_equal(segment_seal_decode(block, &seal), i == 0 ? ERR_NOT_FOUND : OK);
        engine_open_shard(engine);
        assert_int_equal(engine_assign(engine), OK);
    }
}

static void seal_flushes_the_frames_before_it_vouches_for_them(void **state)
{
    (void)state;
    on_each_engine(check_seal_syncs);
}

static void check_stop(struct engine *engine)
{
    static uint8_t batch[1024];
    struct batch_spec spec = {
        .records = 1, .value_bytes = 1, .producer_id = -1, .producer_epoch = -1, .sequence = -1};
    struct call parked, append;
    engine_append_each(engine, 1, 10);
    call_fetch(&parked, engine, 1, true);
    call_append(&append, engine, batch, batch_make(&spec, batch, sizeof(batch)));
    engine_stop_shard(engine);
    call_wait(&parked);
    call_wait(&append);
    assert_int_equal(parked.err, ERR_CANCELED);
    assert_int_equal(append.err, OK); /* It was staged. */
}

static void stop_commits_what_is_staged_and_cancels_who_waits(void **state)
{
    (void)state;
    on_each_engine(check_stop);
}

static enum err sync_it(struct engine *engine)
{
    struct call call;
    call_sync(&call, engine);
    call_wait(&call);
    return call.err;
}

static void check_sync(struct engine *engine)
{
    const uint64_t *flushes = &engine->reactor.stats.counters[STAT_FLUSHES];
    for (uint32_t i = DURABILITY_DISK; i <= DURABILITY_MEMORY; i++) {
        engine->config.durability = (enum durability)i;
        engine->config.segment_records = 4;
        assert_int_equal(engine_assign(engine), OK);
        engine_append_each(engine, 5, 10); /* Into a segment of that durability at last. */
        engine_turns(engine, 20);
        assert_int_equal(engine->segments[engine->segment_count - 1].durability, i);
        uint64_t before = *flushes;
        assert_int_equal(sync_it(engine), OK);
        assert_int_equal(*flushes - before, i == DURABILITY_DISK ? 0 : 1);
    }
}

static void sync_flushes_what_was_acked_without_a_flush(void **state)
{
    (void)state;
    on_each_engine(check_sync);
}

static void check_sync_behind_writes(struct engine *engine)
{
    static uint8_t batch[300000];
    struct batch_spec spec = {.records = 1,
                              .value_bytes = 200000,
                              .timestamp = 1,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    struct call appends[4], sync;
    engine->config.durability = DURABILITY_MEMORY;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 1, 10);
    uint32_t size = batch_make(&spec, batch, sizeof(batch));
    for (uint32_t i = 0; i < 4; i++) {
        call_append(&appends[i], engine, batch, size);
    }
    call_wait(&appends[0]); /* Acked: its write need not be over. */
    call_sync(&sync, engine);
    call_wait(&sync);
    assert_int_equal(sync.err, OK);
    for (uint32_t i = 1; i < 4; i++) {
        call_wait(&appends[i]);
        assert_int_equal(appends[i].err, OK);
    }
}

static void sync_beside_writes_that_were_acked_early_comes_home(void **state)
{
    (void)state;
    on_each_engine(check_sync_behind_writes);
}

static void check_sync_fails(struct engine *engine)
{
    engine->config.durability = DURABILITY_OS;
    engine->config.segment_records = 100;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 1, 10);
    engine_fault.op = IO_SYNC;
    engine_fault.err = ERR_IO;
    assert_int_equal(sync_it(engine), ERR_STORAGE);
    engine_fault.op = IO_NONE;
    assert_int_equal(sync_it(engine), ERR_STORAGE); /* The kernel may have dropped the bytes. */
}

static void a_sync_that_failed_is_never_taken_back(void **state)
{
    (void)state;
    on_each_engine(check_sync_fails);
}

static void check_write_before_sync_fails(struct engine *engine)
{
    engine->config.durability = DURABILITY_OS;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 1, 10);
    engine_turns(engine, 20);
    engine_fault.op = IO_WRITE;
    engine_fault.err = ERR_IO;
    assert_int_equal(append_large(engine, 10), ERR_STORAGE);
    engine_fault.op = IO_NONE;
    engine_append_each(engine, 1, 10); /* In the next segment. */
    assert_int_equal(engine->segment_count, 2);
    assert_int_equal(sync_it(engine), ERR_STORAGE);
}

static void what_a_failed_file_holds_is_never_said_to_be_durable(void **state)
{
    (void)state;
    on_each_engine(check_write_before_sync_fails);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_space_appends_fail_and_later_ones_succeed),
        cmocka_unit_test(appends_that_failed_do_not_fill_a_segment),
        cmocka_unit_test(file_that_cannot_be_made_is_tried_again_by_the_next_append),
        cmocka_unit_test(silent_producers_go_also_when_a_file_is_tried_again),
        cmocka_unit_test(failed_write_ends_the_segment_and_keeps_what_was_acked),
        cmocka_unit_test(os_and_memory_segments_do_not_flush),
        cmocka_unit_test(another_durability_holds_from_the_next_append_on),
        cmocka_unit_test(durable_end_says_only_what_was_flushed),
        cmocka_unit_test(seal_flushes_the_frames_before_it_vouches_for_them),
        cmocka_unit_test(stop_commits_what_is_staged_and_cancels_who_waits),
        cmocka_unit_test(sync_flushes_what_was_acked_without_a_flush),
        cmocka_unit_test(sync_beside_writes_that_were_acked_early_comes_home),
        cmocka_unit_test(a_sync_that_failed_is_never_taken_back),
        cmocka_unit_test(what_a_failed_file_holds_is_never_said_to_be_durable),
    };
    return cmocka_run_group_tests_name("shard/shard", tests, NULL, NULL);
}
