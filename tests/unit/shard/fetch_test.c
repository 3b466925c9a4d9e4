/* Fetches and look-ups: from memory, from files, parked. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/crc32c.h"
#include "shard/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* Reads from `offset` to the high watermark, checks that the offsets are contiguous; the end. */
static uint64_t read_all(struct engine *engine, uint64_t offset)
{
    for (;;) {
        struct call call;
        call_fetch(&call, engine, offset, false);
        call_wait(&call);
        assert_int_equal(call.err, OK);
        uint64_t before = offset;
        for (uint32_t i = 0; i < call.request.fetch.piece_count; i++) {
            const struct fetch_piece *piece = &call.pieces[i];
            for (uint32_t at = 0; at < piece->size;) {
                struct batch batch;
                struct batch_rules rules = {
                    .bytes_max = UINT32_MAX, .before_max_ms = INT64_MAX, .after_max_ms = INT64_MAX};
                struct bytes rest = bytes_of(piece->data + at, piece->size - at);
                assert_int_equal(batch_parse(rest, &batch), OK);
                rest.size = batch.length;
                assert_int_equal(batch_check(rest, &rules, &batch), OK);
                assert_true((uint64_t)batch.base_offset <= offset);
                offset = (uint64_t)batch.base_offset + (uint32_t)batch.last_offset_delta + 1;
                at += batch.length;
            }
        }
        uint64_t end = call.request.fetch.high_watermark;
        call_release(&call);
        if (offset == before) {
            assert_int_equal(offset, end);
            return offset;
        }
    }
}

static void check_round_trip(struct engine *engine)
{
    engine->config.segment_records = 20;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 50, 100);
    engine_append_each(engine, 3, 400000);
    assert_int_equal(read_all(engine, 0), 53);
    assert_true(engine->reactor.stats.counters[STAT_FETCH_FROM_CACHE] > 0);
    assert_int_equal(engine->reactor.stats.counters[STAT_FETCH_FROM_FILE], 0);
    claim_restart(engine);
    assert_int_equal(read_all(engine, 0), 53);
    assert_int_equal(read_all(engine, 37), 53);
    assert_true(engine->reactor.stats.counters[STAT_FETCH_FROM_FILE] > 0);
    engine_append_each(engine, 5, 100);
    assert_int_equal(read_all(engine, 0), 58);
}

static void what_was_appended_reads_back_from_memory_and_from_files(void **state)
{
    (void)state;
    claim_on_engines(check_round_trip);
}

static void check_long_poll(struct engine *engine)
{
    struct call first, second, canceled;
    engine_append_each(engine, 1, 10);
    call_fetch(&first, engine, 1, true);
    call_fetch(&second, engine, 1, true);
    call_fetch(&canceled, engine, 1, true);
    engine_turns(engine, 5);
    assert_int_equal(first.finished, 0);
    shard_cancel(engine->shard, &canceled.request);
    call_wait(&canceled);
    assert_int_equal(canceled.err, ERR_CANCELED);
    shard_cancel(engine->shard, &canceled.request);
    engine_append_each(engine, 1, 10);
    call_wait(&first);
    call_wait(&second);
    assert_true(first.finished < second.finished);
    assert_int_equal(first.request.fetch.piece_count, 1);
    assert_int_equal(second.request.fetch.high_watermark, 2);
    call_release(&first);
    call_release(&second);
}

static void next_append_answers_the_parked_in_order(void **state)
{
    (void)state;
    claim_on_engines(check_long_poll);
}

static void check_limits(struct engine *engine)
{
    engine_append_each(engine, 4, 1000);
    struct call call = {0};
    call_fetch(&call, engine, 5, false);
    call_wait(&call);
    assert_int_equal(call.err, ERR_OFFSET_RANGE);
    assert_int_equal(call.request.fetch.high_watermark, 4);
    call_fetch(&call, engine, 4, false);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.fetch.size_bytes, 0);
    call_fetch(&call, engine, 0, false);
    call_wait(&call);
    uint32_t one = call.request.fetch.size_bytes / 4;
    call_release(&call);
    const uint32_t limits[] = {1, one - 1, one, 2 * one - 1, 3 * one, 5 * one};
    const uint32_t batches[] = {0, 0, 1, 1, 3, 4};
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < ARRAY_COUNT(limits); i++) {
            engine->fetch_bytes_max = limits[i];
            call_fetch(&call, engine, 0, false);
            call_wait(&call);
            assert_int_equal(call.err, OK);
            assert_int_equal(call.request.fetch.size_bytes, batches[i] * one);
            call_release(&call);
        }
        claim_restart(engine); /* The same from the file. */
    }
}

static void limits_and_ranges_are_obeyed(void **state)
{
    (void)state;
    claim_on_engines(check_limits);
}

/* --- What readers may hold. --- */

enum { HELD = 40, HELD_BYTES = 250000 };

/* In files, each in a look of its own; readers may hold an eighth of what they could. */
static void append_held(struct engine *engine)
{
    engine_append_each(engine, HELD, HELD_BYTES);
    engine->readers_bytes_max = MIB(4);
    claim_restart(engine);
}

/* Fetches look after look until no more are lent; how many were. */
static uint32_t hold_all(struct engine *engine, struct call *holders)
{
    engine->fetch_bytes_max = HELD_BYTES + 1000;
    for (uint32_t i = 0; i < HELD; i++) {
        call_fetch(&holders[i], engine, i, false);
        call_wait(&holders[i]);
        assert_int_equal(holders[i].err, OK);
        assert_int_equal(holders[i].request.fetch.high_watermark, HELD);
        if (holders[i].request.fetch.pressed) {
            assert_int_equal(holders[i].request.fetch.size_bytes, 0);
            return i;
        }
        assert_true(holders[i].request.fetch.size_bytes > 0);
    }
    return HELD;
}

static void check_lending(struct engine *engine)
{
    struct call *holders = calloc(HELD, sizeof(*holders));
    assert_non_null(holders);
    append_held(engine);
    uint32_t held = hold_all(engine, holders);
    assert_int_equal(held, MIB(4) / (256 << 10));
    struct call parked, canceled;
    call_fetch(&parked, engine, 0, true);
    call_fetch(&canceled, engine, 0, true);
    engine_turns(engine, 5);
    assert_int_equal(parked.finished, 0);
    assert_true(parked.request.fetch.parked);
    /* Appends go on, and more readers of what one has already are no burden. */
    engine_append_each(engine, 200, 100000);
    shard_cancel(engine->shard, &canceled.request);
    call_wait(&canceled);
    assert_int_equal(canceled.err, ERR_CANCELED);
    call_release(&holders[0]);
    call_wait(&parked);
    assert_int_equal(parked.err, OK);
    assert_true(parked.request.fetch.size_bytes > 0);
    assert_int_equal(parked.request.fetch.high_watermark, HELD + 200);
    call_release(&parked);
    for (uint32_t i = 1; i < held; i++) {
        call_release(&holders[i]);
    }
    engine->fetch_bytes_max = 0;
    assert_int_equal(read_all(engine, 0), HELD + 200);
    free(holders);
}

static void readers_hold_what_they_may_and_appends_go_on(void **state)
{
    (void)state;
    claim_on_engines(check_lending);
}

static void check_lending_ends(struct engine *engine)
{
    struct call *holders = calloc(HELD, sizeof(*holders));
    assert_non_null(holders);
    append_held(engine);
    uint32_t held = hold_all(engine, holders);
    struct call parked, drop;
    call_fetch(&parked, engine, 0, true);
    engine_turns(engine, 5);
    assert_int_equal(parked.finished, 0);
    call_drop(&drop, engine);
    call_wait(&parked);
    assert_int_equal(parked.err, ERR_TOPIC_UNKNOWN);
    call_wait(&drop);
    for (uint32_t i = 0; i < held; i++) {
        call_release(&holders[i]);
    }
    free(holders);
}

static void who_waits_for_readers_ends_with_the_topic(void **state)
{
    (void)state;
    claim_on_engines(check_lending_ends);
}

static void check_times(struct engine *engine)
{
    engine->config.segment_records = 100;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 250, 500); /* Timestamps 1000 + offset. */
    for (uint32_t round = 0; round < 2; round++) {
        struct call call;
        const int64_t wanted[] = {0, 1000, 1099, 1100, 1234, 1249};
        for (uint32_t i = 0; i < ARRAY_COUNT(wanted); i++) {
            call_offsets(&call, engine, wanted[i]);
            assert_int_equal(call.err, OK);
            assert_int_equal(call.request.offsets.offset, wanted[i] == 0 ? 0 : wanted[i] - 1000);
            assert_int_equal(call.request.offsets.epoch_found,
                             1 + call.request.offsets.offset / 100);
        }
        call_offsets(&call, engine, 1250);
        assert_int_equal(call.err, OK);
        assert_int_equal(call.request.offsets.offset, -1);
        call_offsets(&call, engine, OFFSETS_MAX_TIMESTAMP);
        assert_int_equal(call.request.offsets.offset, 249);
        assert_int_equal(call.request.offsets.timestamp_found, 1249);
        call_offsets(&call, engine, OFFSETS_EARLIEST);
        assert_int_equal(call.request.offsets.offset, 0);
        call_offsets(&call, engine, OFFSETS_LATEST);
        assert_int_equal(call.request.offsets.offset, 250);
        claim_restart(engine);
    }
}

static void offsets_are_found_by_time_across_segments_and_restarts(void **state)
{
    (void)state;
    claim_on_engines(check_times);
}

static void check_unreadable_batch(struct engine *engine)
{
    static uint8_t batch[1024];
    struct call call;
    struct batch_spec spec = {.records = 3,
                              .value_bytes = 10,
                              .timestamp = 5000,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    engine_append_each(engine, 2, 10); /* At 1000 and 1001. */
    uint32_t size = batch_make(&spec, batch, sizeof(batch));
    batch[22] = 3; /* It is not lz4, and nobody opens a batch on its way in. */
    store_be32(batch + 17, crc32c(0, batch + BATCH_CRC_FROM, size - BATCH_CRC_FROM));
    call_append(&call, engine, batch, size);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    engine_append_each(engine, 1, 10);
    call_offsets(&call, engine, 5001);
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.offsets.offset, 2);
    assert_int_equal(call.request.offsets.timestamp_found, 5002);
}

static void time_inside_a_batch_that_does_not_open_is_its_first_record(void **state)
{
    (void)state;
    claim_on_engines(check_unreadable_batch);
}

static void check_epoch(struct engine *engine)
{
    struct call call;
    engine_append_each(engine, 1, 10);
    claim_restart(engine);
    /* A second segment was opened and sealed empty: the map has forgotten it, not its epoch. */
    engine->epoch = 2;
    for (uint32_t i = 0; i < 2; i++) {
        engine->client_epoch = 2;
        call_fetch(&call, engine, 1, false);
        call_wait(&call);
        assert_int_equal(call.err, i == 0 ? ERR_EPOCH_UNKNOWN : OK);
        call_offsets(&call, engine, OFFSETS_LATEST);
        assert_int_equal(call.err, i == 0 ? ERR_EPOCH_UNKNOWN : OK);
        claim_restart(engine);
    }
    assert_int_equal(call.request.offsets.epoch_found, 2);
    engine->client_epoch = 3;
    call_offsets(&call, engine, OFFSETS_LATEST);
    assert_int_equal(call.err, ERR_EPOCH_UNKNOWN);
    engine->epoch = 3; /* The map learns more while the partition is here. */
    assert_int_equal(engine_assign(engine), OK);
    call_offsets(&call, engine, OFFSETS_LATEST);
    assert_int_equal(call.err, OK);
}

static void epoch_of_the_map_is_known_without_a_segment_that_has_it(void **state)
{
    (void)state;
    claim_on_engines(check_epoch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_appended_reads_back_from_memory_and_from_files),
        cmocka_unit_test(next_append_answers_the_parked_in_order),
        cmocka_unit_test(limits_and_ranges_are_obeyed),
        cmocka_unit_test(readers_hold_what_they_may_and_appends_go_on),
        cmocka_unit_test(who_waits_for_readers_ends_with_the_topic),
        cmocka_unit_test(time_inside_a_batch_that_does_not_open_is_its_first_record),
        cmocka_unit_test(epoch_of_the_map_is_known_without_a_segment_that_has_it),
        cmocka_unit_test(offsets_are_found_by_time_across_segments_and_restarts),
    };
    return cmocka_run_group_tests_name("shard/fetch", tests, NULL, NULL);
}
