/* Restarts: orderly, after a crash, with a torn tail, with damage. */
#include "tests/unit/shard/claim_fixture.h"

#include "shard/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static enum err read_at(struct engine *engine, uint64_t offset)
{
    struct call call;
    enum err err = claim_fetch(&call, engine, offset);
    call_release(&call);
    return err;
}

/* Two records of one producer. */
static void append_pair(struct call *call, struct engine *engine, int32_t sequence)
{
    struct batch_spec spec = {.records = 2,
                              .value_bytes = 10,
                              .timestamp = 1,
                              .producer_id = 9,
                              .producer_epoch = 0,
                              .sequence = sequence};
    claim_append(call, engine, &spec);
}

static void check_crash(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    engine_append_each(engine, 5, 100);
    append_pair(&call, engine, 0);
    claim_crash(engine, io);
    assert_int_equal(engine->segments[0].state, SEGMENT_SEALED);
    assert_int_equal(engine->segments[0].end_offset, 7);
    assert_int_equal(claim_latest(engine), 7);
    assert_int_equal(read_at(engine, 0), OK);
    append_pair(&call, engine, 0);
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.produce.base_offset, 5); /* Still known. */
    engine_append_each(engine, 1, 10);
    assert_int_equal(engine->segments[1].base_offset, 7);
    /* A third life: producers come from the second file's first extent. */
    claim_crash(engine, io);
    assert_int_equal(claim_latest(engine), 8);
    append_pair(&call, engine, 0);
    assert_int_equal(call.request.produce.base_offset, 5);
    append_pair(&call, engine, 2);
    assert_int_equal(call.request.produce.base_offset, 8);
}

static void acked_records_and_producers_survive_a_crash(void **state)
{
    (void)state;
    claim_on_wrapped(check_crash);
}

static void check_empty_segment(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    engine->config.segment_records = 2;
    assert_int_equal(engine_assign(engine), OK);
    append_pair(&call, engine, 0);
    /* The second file is made, and nothing comes into it. */
    engine_fault.op = IO_WRITE;
    engine_fault.err = ERR_IO;
    engine_fault.pass = 3; /* Trailer, seal block, the file's head. */
    append_pair(&call, engine, 2);
    assert_int_equal(call.err, ERR_STORAGE);
    engine_fault.op = IO_NONE;
    engine_crash(engine, io);
    /* A map that keeps an empty segment. */
    assert_int_equal(engine->segment_count, 2);
    engine->segments[1].state = SEGMENT_SEALED;
    engine->segments[1].end_offset = 2;
    engine->segments[1].digest = engine->segments[1].salt;
    assert_int_equal(engine_assign(engine), OK);
    append_pair(&call, engine, 0);
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.produce.base_offset, 0);
    append_pair(&call, engine, 4);
    assert_int_equal(call.err, ERR_SEQUENCE);
}

static void empty_segment_still_knows_the_producers(void **state)
{
    (void)state;
    claim_on_wrapped(check_empty_segment);
}

static void check_torn(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 5, 100);
    struct engine *e = engine;
    engine_crash(e, io);
    engine_spoil(e, 0, SEGMENT_DATA_POSITION + 4 * 4096 + 200);
    assert_int_equal(engine_assign(e), OK);
    assert_int_equal(claim_latest(e), 4);
    engine_append_each(e, 2, 10);
    assert_int_equal(claim_latest(e), 6);
    assert_int_equal(e->segments[1].base_offset, 4);
}

static void torn_tail_is_cut_and_appends_go_on(void **state)
{
    (void)state;
    claim_on_wrapped(check_torn);
}

static void check_damage(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    engine->config.segment_records = 5;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 10, 100);
    engine_crash(engine, io);
    engine_spoil(engine, 1, SEGMENT_DATA_POSITION + 2 * 4096 + 200);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(engine->segments[1].state, SEGMENT_OPEN); /* Nothing was cut. */
    append_pair(&call, engine, 0);
    assert_int_equal(call.err, ERR_DAMAGED);
    assert_int_equal(claim_latest(engine), 7);
    for (uint64_t offset = 0; offset < 7; offset++) {
        assert_int_equal(read_at(engine, offset), OK);
    }
    /* Neither "nothing yet" nor "out of range": a reader would wait, or go on elsewhere. */
    for (uint64_t offset = 7; offset <= 10; offset++) {
        assert_int_equal(read_at(engine, offset), ERR_DAMAGED);
    }
}

static void damage_below_what_was_durable_is_reported_not_cut(void **state)
{
    (void)state;
    claim_on_wrapped(check_damage);
}

static void check_trailer_speaks(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    engine_append_each(engine, 5, 100);
    engine_stop_shard(engine);
    engine_spoil(engine, 0, SEGMENT_SEAL_POSITION + 8);
    engine_spoil(engine, 0, SEGMENT_DATA_POSITION + 4 * 4096 + 300);
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(engine->segments[0].state, SEGMENT_OPEN); /* Nothing was cut. */
    assert_int_equal(claim_latest(engine), 4);
}

static void trailer_proves_that_the_last_frame_was_durable(void **state)
{
    (void)state;
    claim_on_wrapped(check_trailer_speaks);
}

static void check_rot_in_sealed(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    engine_append_each(engine, 5, 100);
    engine_stop_shard(engine);
    engine_spoil(engine, 0, SEGMENT_DATA_POSITION + 2 * 4096 + 300);
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(claim_latest(engine), 5);
    assert_int_equal(read_at(engine, 0), OK);
    assert_int_equal(read_at(engine, 2), ERR_DAMAGED);
}

static void rotten_frame_of_a_sealed_segment_answers_damaged(void **state)
{
    (void)state;
    claim_on_wrapped(check_rot_in_sealed);
}

static void check_orderly(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    engine_append_each(engine, 30, 100);
    engine_stop_shard(engine);
    assert_int_equal(engine->segments[0].state, SEGMENT_OPEN);
    uint64_t scanned = engine->reactor.stats.counters[STAT_SCANNED_BYTES];
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(engine->segments[0].state, SEGMENT_SEALED);
    assert_int_equal(claim_latest(engine), 30);
    assert_int_equal(engine->reactor.stats.counters[STAT_SCANNED_BYTES], scanned);
}

static void orderly_stop_leaves_nothing_to_scan(void **state)
{
    (void)state;
    claim_on_wrapped(check_orderly);
}

static void check_no_file(struct engine *engine, const struct io_engine *io)
{
    char path[256];
    engine_append_each(engine, 1, 10);
    engine_crash(engine, io);
    engine_segment_path(engine, 0, path, sizeof(path));
    assert_int_equal(remove(path), 0);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(engine->segments[0].end_offset, 0);
    assert_true(engine->segments[0].digest == engine->segments[0].salt);
    engine_append_each(engine, 1, 10);
    assert_int_equal(engine->segments[1].base_offset, 0);
}

static void open_segment_without_a_file_is_sealed_at_its_base(void **state)
{
    (void)state;
    claim_on_wrapped(check_no_file);
}

static void check_bad_trailer(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    engine_append_each(engine, 5, 100);
    engine_stop_shard(engine);
    engine_spoil(engine, 0, SEGMENT_DATA_POSITION + 5 * 4096 + 100);
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(claim_latest(engine), 5);
    assert_int_equal(read_at(engine, 4), OK);
}

static void bad_trailer_is_replaced_by_a_scan(void **state)
{
    (void)state;
    claim_on_wrapped(check_bad_trailer);
}

static void check_rot_without_trailer(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    engine->config.segment_records = 4;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 8, 100);
    claim_restart(engine);
    engine_stop_shard(engine);
    assert_int_equal(engine->segments[1].state, SEGMENT_SEALED);
    for (uint32_t i = 0; i < 2; i++) {
        engine_spoil(engine, i, SEGMENT_DATA_POSITION + 2 * 4096 + 300);
        engine_spoil(engine, i, SEGMENT_DATA_POSITION + 4 * 4096 + 100);
    }
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(claim_latest(engine), 8);
    for (uint64_t offset = 0; offset < 8; offset++) {
        assert_int_equal(read_at(engine, offset), offset % 4 < 2 ? OK : ERR_DAMAGED);
    }
}

static void rot_without_a_trailer_leaves_what_is_below_it_readable(void **state)
{
    (void)state;
    claim_on_wrapped(check_rot_without_trailer);
}

static void assert_looked_up(struct engine *engine, int64_t timestamp, enum err err, int64_t offset)
{
    struct call call;
    call_offsets(&call, engine, timestamp);
    assert_int_equal(call.err, err);
    assert_int_equal(call.request.offsets.offset, err == OK ? offset : -1);
}

static void check_lookups_in_rot(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    engine->config.segment_records = 4;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 12, 100); /* Timestamps 1000 + offset. */
    for (uint32_t i = 0; i < 3; i++) {
        engine_stop_shard(engine);
        if (i == 1) {
            engine_spoil(engine, 0, SEGMENT_DATA_POSITION + 2 * 4096 + 10);
        } else if (i == 2) {
            engine_spoil(engine, 0, SEGMENT_DATA_POSITION + 4 * 4096 + 100); /* The trailer. */
        }
        engine_open_shard(engine);
        assert_int_equal(engine_assign(engine), OK);
        assert_looked_up(engine, 1001, OK, 1);
        assert_looked_up(engine, 1002, i == 0 ? OK : ERR_DAMAGED, 2);
        assert_looked_up(engine, 1003, i == 0 ? OK : ERR_DAMAGED, 3);
        /* Without its trailer nobody knows what else the first segment had. */
        assert_looked_up(engine, 1006, i < 2 ? OK : ERR_DAMAGED, 6);
        assert_looked_up(engine, OFFSETS_MAX_TIMESTAMP, i < 2 ? OK : ERR_DAMAGED, 11);
    }
}

static void look_up_does_not_pass_over_damage(void **state)
{
    (void)state;
    claim_on_wrapped(check_lookups_in_rot);
}

static void check_stop_unconfirmed(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 5, 100);
    engine_crash(engine, io);
    engine->roll_err = ERR_NOT_READY;
    assert_int_equal(engine_assign(engine), ERR_NOT_READY);
    engine->roll_err = OK;
    claim_restart(engine);
    assert_int_equal(engine->segments[0].end_offset, 5);
    assert_int_equal(claim_latest(engine), 5);
    assert_int_equal(read_at(engine, 4), OK);
}

static void stop_after_a_refused_seal_leaves_the_file_alone(void **state)
{
    (void)state;
    claim_on_wrapped(check_stop_unconfirmed);
}

static void check_stop_unread(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 5, 100);
    engine_crash(engine, io);
    engine_fault.op = IO_READ;
    engine_fault.err = ERR_IO;
    assert_int_equal(engine_assign(engine), ERR_IO);
    engine_fault.op = IO_NONE;
    claim_restart(engine);
    assert_int_equal(engine->segments[0].end_offset, 5);
    assert_int_equal(claim_latest(engine), 5);
    assert_int_equal(read_at(engine, 0), OK);
}

static void stop_after_a_failed_scan_leaves_the_file_alone(void **state)
{
    (void)state;
    claim_on_wrapped(check_stop_unread);
}

static void check_stop_damaged(struct engine *engine, const struct io_engine *io)
{
    static uint8_t before[SEGMENT_DATA_POSITION + 5 * 4096], after[sizeof(before)];
    engine_append_each(engine, 5, 100);
    engine_crash(engine, io);
    engine_spoil(engine, 0, SEGMENT_DATA_POSITION + 2 * 4096 + 200);
    engine_peek(engine, 0, 0, before, sizeof(before));
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(engine_assign(engine), OK);
        assert_int_equal(claim_latest(engine), 2);
        engine_stop_shard(engine);
        engine_peek(engine, 0, 0, after, sizeof(after));
        assert_memory_equal(before, after, sizeof(before));
        engine_open_shard(engine);
    }
}

static void stop_leaves_a_damaged_file_alone(void **state)
{
    (void)state;
    claim_on_wrapped(check_stop_damaged);
}

/* Other partitions, each with a file that stays open. */
static void open_others(struct engine *engine, uint32_t count)
{
    static struct segment_info segments[ENGINE_SEGMENTS_MAX];
    uint32_t segment_count = engine->segment_count;
    struct partition_id id = engine->id;
    memcpy(segments, engine->segments, sizeof(segments));
    for (uint32_t i = 0; i < count; i++) {
        engine->id.partition = 100 + i;
        engine->segment_count = 0;
        assert_int_equal(engine_assign(engine), OK);
        engine_append_each(engine, 1, 10);
    }
    memcpy(engine->segments, segments, sizeof(segments));
    engine->segment_count = segment_count;
    engine->id = id;
}

static void check_many_files(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 5, 100);
    engine_crash(engine, io);
    open_others(engine, 66);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(claim_latest(engine), 5);
    assert_int_equal(read_at(engine, 0), OK);
}

static void recovery_beside_many_open_files_keeps_the_one_it_reads(void **state)
{
    (void)state;
    claim_on_wrapped(check_many_files);
}

static void check_sealed_files(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    engine->config.segment_records = 1;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 60, 10);
    claim_restart(engine);
    open_others(engine, 20);
    uint32_t opened = engine_fault.seen[IO_OPEN];
    for (uint32_t round = 0; round < 2; round++) {
        for (uint64_t offset = 0; offset < 60; offset++) {
            assert_int_equal(read_at(engine, offset), OK);
        }
    }
    assert_in_range(engine_fault.seen[IO_OPEN] - opened, 59, 60);
}

static void sealed_files_stay_open_up_to_the_limit(void **state)
{
    (void)state;
    claim_on_wrapped(check_sealed_files);
}

static void check_lost_file(struct engine *engine, const struct io_engine *io)
{
    char path[256];
    struct call call;
    (void)io;
    engine->config.segment_records = 4;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 12, 100);
    claim_restart(engine);
    engine_fault.op = IO_OPEN;

    const enum err reasons[] = {ERR_DENIED, ERR_LIMIT, ERR_IO};

    for (uint32_t i = 0; i < ARRAY_COUNT(reasons); i++) {
        engine_fault.err = reasons[i];
        assert_int_equal(read_at(engine, 0), ERR_STORAGE);
        call_offsets(&call, engine, 1000);
        assert_int_equal(call.err, ERR_STORAGE);
    }
    engine_fault.op = IO_NONE;
    assert_int_equal(read_at(engine, 0), OK); /* It was not for ever. */
    engine_segment_path(engine, 1, path, sizeof(path));
    assert_int_equal(remove(path), 0);
    assert_int_equal(read_at(engine, 4), ERR_DAMAGED);
    call_offsets(&call, engine, 1005);
    assert_int_equal(call.err, ERR_DAMAGED);
    engine_fault.op = IO_READ;
    engine_fault.err = ERR_IO;
    assert_int_equal(read_at(engine, 8), ERR_STORAGE);
    assert_int_equal(read_at(engine, 0), OK); /* Memory has it. */
    engine_fault.op = IO_NONE;
    assert_int_equal(read_at(engine, 8), OK);
    engine_append_each(engine, 1, 10); /* Nothing of it concerns who appends. */
}

static void file_that_cannot_be_read_is_told_as_such(void **state)
{
    (void)state;
    claim_on_wrapped(check_lost_file);
}

static void check_no_descriptor(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    engine_append_each(engine, 5, 100);
    engine_stop_shard(engine);
    assert_int_equal(engine->segments[0].state, SEGMENT_OPEN);
    engine_open_shard(engine);
    engine_fault.op = IO_OPEN;
    engine_fault.err = ERR_LIMIT;
    assert_int_equal(engine_assign(engine), ERR_LIMIT);
    engine_fault.op = IO_NONE;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 1, 10);
    assert_int_equal(claim_latest(engine), 6);
}

static void recovery_without_a_descriptor_is_no_damage(void **state)
{
    (void)state;
    claim_on_wrapped(check_no_descriptor);
}

static void check_cut_file(struct engine *engine, const struct io_engine *io)
{
    char path[256];
    (void)io;
    engine->config.segment_records = 4;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 8, 100);
    claim_restart(engine);
    engine_segment_path(engine, 0, path, sizeof(path));
    assert_int_equal(truncate(path, SEGMENT_DATA_POSITION + 2 * 4096), 0);
    assert_int_equal(read_at(engine, 0), OK);
    assert_int_equal(read_at(engine, 1), OK);
    assert_int_equal(read_at(engine, 2), ERR_DAMAGED);
    assert_int_equal(read_at(engine, 3), ERR_DAMAGED);
}

static void truncated_file_is_readable_up_to_its_end(void **state)
{
    (void)state;
    claim_on_wrapped(check_cut_file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acked_records_and_producers_survive_a_crash),
        cmocka_unit_test(empty_segment_still_knows_the_producers),
        cmocka_unit_test(torn_tail_is_cut_and_appends_go_on),
        cmocka_unit_test(damage_below_what_was_durable_is_reported_not_cut),
        cmocka_unit_test(trailer_proves_that_the_last_frame_was_durable),
        cmocka_unit_test(rotten_frame_of_a_sealed_segment_answers_damaged),
        cmocka_unit_test(orderly_stop_leaves_nothing_to_scan),
        cmocka_unit_test(open_segment_without_a_file_is_sealed_at_its_base),
        cmocka_unit_test(bad_trailer_is_replaced_by_a_scan),
        cmocka_unit_test(rot_without_a_trailer_leaves_what_is_below_it_readable),
        cmocka_unit_test(look_up_does_not_pass_over_damage),
        cmocka_unit_test(file_that_cannot_be_read_is_told_as_such),
        cmocka_unit_test(recovery_without_a_descriptor_is_no_damage),
        cmocka_unit_test(truncated_file_is_readable_up_to_its_end),
        cmocka_unit_test(stop_after_a_refused_seal_leaves_the_file_alone),
        cmocka_unit_test(stop_after_a_failed_scan_leaves_the_file_alone),
        cmocka_unit_test(stop_leaves_a_damaged_file_alone),
        cmocka_unit_test(recovery_beside_many_open_files_keeps_the_one_it_reads),
        cmocka_unit_test(sealed_files_stay_open_up_to_the_limit),
    };
    return cmocka_run_group_tests_name("shard/recovery", tests, NULL, NULL);
}
