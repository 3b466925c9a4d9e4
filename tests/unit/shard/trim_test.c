/* Where the log starts: trims, what they survive, and what they remove. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/limits.h"
#include "shard/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static enum err read_at(struct engine *engine, uint64_t offset)
{
    struct call call;
    enum err err = claim_fetch(&call, engine, offset);
    if (err == OK) {
        assert_true(call.request.fetch.piece_count > 0);
    } else {
        assert_int_equal(call.request.fetch.log_start, claim_offset(engine, OFFSETS_EARLIEST));
    }
    call_release(&call);
    return err;
}

static uint64_t trim_to(struct engine *engine, int64_t offset)
{
    struct call call;
    call_trim(&call, engine, offset);
    assert_int_equal(call.err, OK);
    return call.request.trim.log_start;
}

static void check_open(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    engine_append_each(engine, 5, 100);
    assert_int_equal(trim_to(engine, 3), 3);
    assert_int_equal(engine->trims, 0); /* A control frame says it, and the map nothing. */
    assert_int_equal(read_at(engine, 2), ERR_OFFSET_RANGE);
    assert_int_equal(read_at(engine, 3), OK);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 3);
    assert_int_equal(claim_offset(engine, OFFSETS_LATEST), 5);
    assert_int_equal(trim_to(engine, 1), 3); /* It never falls. */
    call_trim(&call, engine, 6);
    assert_int_equal(call.err, ERR_OFFSET_RANGE);
    assert_int_equal(call.request.trim.log_start, 3);
    call_trim(&call, engine, -2);
    assert_int_equal(call.err, ERR_OFFSET_RANGE);
    claim_crash(engine, io);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 3);
    assert_int_equal(engine->log_start, 3); /* The seal told the map. */
    assert_int_equal(read_at(engine, 3), OK);
    engine_append_each(engine, 1, 100);
    assert_int_equal(trim_to(engine, TRIM_ALL), 6);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 6);
    engine_append_each(engine, 1, 100);
    assert_int_equal(read_at(engine, 6), OK);
    claim_crash(engine, io);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 6);
    assert_int_equal(claim_offset(engine, OFFSETS_LATEST), 7);
    assert_int_equal(read_at(engine, 6), OK);
}

static void a_trim_is_known_and_survives_a_crash(void **state)
{
    (void)state;
    claim_on_wrapped(check_open);
}

static void check_between_batches(struct engine *engine, const struct io_engine *io)
{
    struct call trims[8];
    struct call appends[8];
    static uint8_t batches[8][512];
    engine_append_each(engine, 8, 10);
    for (uint32_t i = 0; i < 8; i++) {
        struct batch_spec spec = {.records = 1,
                                  .value_bytes = 10,
                                  .timestamp = 1,
                                  .producer_id = -1,
                                  .producer_epoch = -1,
                                  .sequence = -1};
        call_append(&appends[i], engine, batches[i], batch_make(&spec, batches[i], 512));
        call_trim_start(&trims[i], engine, (int64_t)(i + 1));
    }
    for (uint32_t i = 0; i < 8; i++) {
        call_wait(&appends[i]);
        call_wait(&trims[i]);
        assert_int_equal(appends[i].err, OK);
        assert_int_equal(appends[i].request.produce.base_offset, 8 + i);
        assert_int_equal(trims[i].err, OK);
        assert_true(trims[i].request.trim.log_start > i);
    }
    claim_crash(engine, io);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 8);
    assert_int_equal(claim_offset(engine, OFFSETS_LATEST), 16);
    assert_int_equal(read_at(engine, 8), OK);
}

static void trims_ride_with_appends(void **state)
{
    (void)state;
    claim_on_wrapped(check_between_batches);
}

/* Waits until no segment but the last `count` is left, and their files are gone. */
static void until_left(struct engine *engine, uint32_t count)
{
    for (uint32_t i = 0; engine->segment_count > count; i++) {
        assert_true(i < 100000);
        engine_turns(engine, 1);
    }
    engine_turns(engine, 1);
    engine_rest(engine);
}

static void check_segments(struct engine *engine, const struct io_engine *io)
{
    uint64_t ids[4];
    engine->config.segment_records = 2;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 7, 100);
    assert_int_equal(engine->segment_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        ids[i] = engine->segments[i].id;
    }
    assert_int_equal(trim_to(engine, 5), 5);
    until_left(engine, 2);
    assert_int_equal(engine->segments[0].id, ids[2]); /* Partly trimmed: it stays. */
    assert_false(engine_has_file(engine, ids[0]) || engine_has_file(engine, ids[1]));
    assert_true(engine_has_file(engine, ids[2]) && engine_has_file(engine, ids[3]));
    assert_int_equal(read_at(engine, 4), ERR_OFFSET_RANGE);
    assert_int_equal(read_at(engine, 5), OK);
    claim_crash(engine, io);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 5);
    assert_int_equal(read_at(engine, 4), ERR_OFFSET_RANGE);
    assert_int_equal(read_at(engine, 5), OK);
    assert_int_equal(trim_to(engine, TRIM_ALL), 7);
    until_left(engine, 1);
    claim_crash(engine, io);
    engine_append_each(engine, 1, 100);
    assert_int_equal(read_at(engine, 7), OK);
    assert_int_equal(read_at(engine, 6), ERR_OFFSET_RANGE);
}

static void segments_below_the_log_start_go(void **state)
{
    (void)state;
    claim_on_wrapped(check_segments);
}

/* The file of an empty segment, which the map has not, goes with those around it. */
static void check_between(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    char path[256];
    engine->config.segment_records = 2;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 4, 100);
    uint64_t empty = engine->segments[1].id + 1;
    engine->next_segment++;
    engine_append_each(engine, 3, 100);
    assert_int_equal(engine->segment_count, 4);
    assert_int_equal(engine->segments[2].id, empty + 1);
    uint64_t id = engine->segments[0].id;
    engine->segments[0].id = empty;
    engine_segment_path(engine, 0, path, sizeof(path));
    engine->segments[0].id = id;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(trim_to(engine, 2), 2);
    until_left(engine, 3);
    assert_true(engine_has_file(engine, empty));
    assert_int_equal(trim_to(engine, 5), 5);
    until_left(engine, 2);
    assert_false(engine_has_file(engine, empty));
    assert_true(engine_has_file(engine, engine->segments[0].id));
}

static void a_file_between_goes_with_those_around_it(void **state)
{
    (void)state;
    claim_on_wrapped(check_between);
}

static void check_closed(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    engine_append_each(engine, 4, 100);
    claim_crash(engine, io);
    engine->trim_err = ERR_NOT_READY;
    call_trim(&call, engine, 2);
    assert_int_equal(call.err, ERR_NOT_READY);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 0);
    engine->trim_err = OK;
    engine->hold_trims = true;
    call_trim_start(&call, engine, 2);
    engine_turns(engine, 5);
    assert_int_equal(call.finished, 0);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 0); /* Not before it is durable. */
    assert_int_equal(read_at(engine, 1), OK);
    engine_answer_trim(engine);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 2);
    assert_int_equal(engine->segment_count, 1); /* No segment was opened for it. */
    engine->hold_trims = false;
    claim_crash(engine, io);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 2);
}

static void without_an_open_segment_the_map_is_told(void **state)
{
    (void)state;
    claim_on_wrapped(check_closed);
}

static void check_failed_write(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 4, 100);
    engine_fault.op = IO_WRITE;
    engine_fault.err = ERR_IO;
    assert_int_equal(trim_to(engine, 2), 2);
    assert_int_equal(engine->trims, 1);
    engine_fault.op = IO_NONE;
    assert_int_equal(read_at(engine, 1), ERR_OFFSET_RANGE);
    assert_int_equal(read_at(engine, 2), OK);
    engine_append_each(engine, 1, 100); /* In a new file. */
    assert_int_equal(engine->segment_count, 2);
    claim_crash(engine, io);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 2);
    assert_int_equal(claim_offset(engine, OFFSETS_LATEST), 5);
}

static void where_a_file_takes_no_more_the_map_is_told(void **state)
{
    (void)state;
    claim_on_wrapped(check_failed_write);
}

static void check_readers(struct engine *engine, const struct io_engine *io)
{
    struct call fetches[6];
    struct call trim;
    engine->config.segment_records = 1;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 6, 5000);
    uint64_t first = engine->segments[0].id;
    claim_crash(engine, io); /* Nothing is in memory. */
    for (uint32_t i = 0; i < 6; i++) {
        call_fetch(&fetches[i], engine, i, false);
    }
    engine_turns(engine, 1); /* They have their files. */
    call_trim_start(&trim, engine, TRIM_ALL);
    for (uint32_t i = 0; i < 6; i++) {
        call_wait(&fetches[i]);
        bool whole = fetches[i].err == OK && fetches[i].request.fetch.piece_count == 1;
        assert_true(whole || fetches[i].err == ERR_OFFSET_RANGE);
        call_release(&fetches[i]);
    }
    call_wait(&trim);
    assert_int_equal(trim.err, OK);
    until_left(engine, 1);
    assert_false(engine_has_file(engine, first));
}

static void readers_of_what_goes_are_answered(void **state)
{
    (void)state;
    claim_on_wrapped(check_readers);
}

static void check_times(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    /* Offsets 0 to 9, times 5000 to 5009. */
    assert_int_equal(claim_append_plain(engine, 10, 10, 5000), OK);
    assert_int_equal(claim_append_plain(engine, 1, 10, 4000), OK);
    assert_int_equal(claim_append_plain(engine, 1, 10, 4500), OK);
    assert_int_equal(claim_append_plain(engine, 1, 10, 3000), OK);
    for (uint32_t life = 0; life < 2; life++) {
        assert_int_equal(trim_to(engine, 4), 4);
        assert_int_equal(claim_offset(engine, 5001), 4);
        assert_int_equal(claim_offset(engine, 5007), 7);
        assert_int_equal(claim_offset(engine, OFFSETS_MAX_TIMESTAMP), 9);
        claim_crash(engine, io);
    }
    assert_int_equal(trim_to(engine, 10), 10);
    call_offsets(&call, engine, OFFSETS_MAX_TIMESTAMP);
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.offsets.offset, 11);
    assert_int_equal(call.request.offsets.timestamp_found, 4500);
    assert_int_equal(claim_offset(engine, 1), 10);
    assert_int_equal(claim_offset(engine, 4600), -1);
    assert_int_equal(claim_append_plain(engine, 1, 10, 4400), OK); /* In another segment. */
    assert_int_equal(claim_offset(engine, OFFSETS_MAX_TIMESTAMP), 11);
    assert_int_equal(trim_to(engine, 12), 12);
    assert_int_equal(claim_offset(engine, OFFSETS_MAX_TIMESTAMP), 13);
    assert_int_equal(trim_to(engine, TRIM_ALL), 14);
    assert_int_equal(claim_offset(engine, OFFSETS_MAX_TIMESTAMP), -1);
    assert_int_equal(claim_offset(engine, 1), -1);
}

static void look_ups_by_time_pass_over_what_is_trimmed(void **state)
{
    (void)state;
    claim_on_wrapped(check_times);
}

static void check_lost_end(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 5, 100);
    engine->log_start = 9; /* What was not flushed is gone, and the map heard of a trim there. */
    claim_crash(engine, io);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 5);
    assert_int_equal(claim_offset(engine, OFFSETS_LATEST), 5);
    engine_append_each(engine, 1, 100);
    assert_int_equal(read_at(engine, 5), OK);
    claim_crash(engine, io);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 5);
    assert_int_equal(read_at(engine, 5), OK); /* New records are not below the start. */
}

static void a_log_that_lost_its_end_starts_there(void **state)
{
    (void)state;
    claim_on_wrapped(check_lost_end);
}

static void check_damage(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    engine_append_each(engine, 4, 100);
    assert_int_equal(trim_to(engine, 3), 3);
    engine_append_each(engine, 2, 100);
    engine_spoil(engine, 0, SEGMENT_DATA_POSITION + DISK_BLOCK_BYTES + 200); /* Offset 1. */
    claim_crash(engine, io);
    assert_int_equal(claim_offset(engine, OFFSETS_EARLIEST), 3); /* From behind the damage. */
    assert_int_equal(read_at(engine, 0), ERR_OFFSET_RANGE);
    call_fetch(&call, engine, 3, false);
    call_wait(&call);
    assert_int_equal(call.err, ERR_DAMAGED);
    call_release(&call);
    call_offsets(&call, engine, 1);
    assert_int_equal(call.err, ERR_DAMAGED); /* Nobody knows what is lost. */
}

static void damage_does_not_bring_back_what_was_trimmed(void **state)
{
    (void)state;
    claim_on_wrapped(check_damage);
}

static void check_stop(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    struct call drop;
    engine_append_each(engine, 4, 100);
    claim_crash(engine, io);
    engine->hold_trims = true;
    call_trim_start(&call, engine, 2);
    engine_turns(engine, 5);
    call_drop(&drop, engine);
    call_wait(&call);
    assert_int_equal(call.err, ERR_TOPIC_UNKNOWN);
    engine_turns(engine, 5);
    assert_int_equal(drop.finished, 0); /* The map still owes an answer. */
    engine_answer_trim(engine);
    call_wait(&drop);
    assert_int_equal(drop.err, OK);
    assert_int_equal(shard_partition_count(engine->shard), 0);
}

static void a_topic_is_deleted_while_it_is_trimmed(void **state)
{
    (void)state;
    claim_on_wrapped(check_stop);
}

/* The frame that says so would stand behind what is not in the file yet, and now never comes. */
static void check_drop_before_frame(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    struct call drop;
    (void)io;
    call_trim_start(&call, engine, 1);
    call_drop(&drop, engine);
    call_wait(&call);
    assert_int_equal(call.err, ERR_TOPIC_UNKNOWN);
    call_wait(&drop);
    assert_int_equal(drop.err, OK);
    assert_int_equal(shard_partition_count(engine->shard), 0);
}

static void a_topic_is_deleted_before_its_trim_is_written(void **state)
{
    static const struct claim_start start = {
        .journals = {.cores = 1, .still = true}, .durability = DURABILITY_MEMORY, .appended = 1};
    (void)state;
    claim_on_wrapped_from(&start, check_drop_before_frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trim_is_known_and_survives_a_crash),
        cmocka_unit_test(trims_ride_with_appends),
        cmocka_unit_test(segments_below_the_log_start_go),
        cmocka_unit_test(a_file_between_goes_with_those_around_it),
        cmocka_unit_test(without_an_open_segment_the_map_is_told),
        cmocka_unit_test(where_a_file_takes_no_more_the_map_is_told),
        cmocka_unit_test(readers_of_what_goes_are_answered),
        cmocka_unit_test(look_ups_by_time_pass_over_what_is_trimmed),
        cmocka_unit_test(a_log_that_lost_its_end_starts_there),
        cmocka_unit_test(damage_does_not_bring_back_what_was_trimmed),
        cmocka_unit_test(a_topic_is_deleted_while_it_is_trimmed),
        cmocka_unit_test(a_topic_is_deleted_before_its_trim_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
