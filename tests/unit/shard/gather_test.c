/* Appends of `memory` segments: acked when they are staged, whatever the disk does, and gathered
 * until a write is worth it. Counts of operations, never times. */
#include "tests/unit/shard/claim_fixture.h"

#include "shard/journal.h"
#include "shard/shard_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROUNDS_MAX = 100000 };

static const struct claim_start usual = {
    .journals = {.cores = 1, .still = true}, .durability = DURABILITY_MEMORY, .appended = 1};

static void hold_writes(void)
{
    engine_fault.op = IO_WRITE;
    engine_fault.hold = true;
    engine_fault.hits = 0;
}

/* The end of the log, by a reader's look. */
static uint64_t high_watermark(struct engine *engine)
{
    struct call call;
    call_fetch(&call, engine, 0, false);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    uint64_t end = call.request.fetch.high_watermark;
    call_release(&call);
    return end;
}

/* The timer of gathered appends fires now, and again soon: what is there goes out. */
static void turn_until_written(struct engine *engine)
{
    struct journal *journal = engine->shard->journal;
    for (uint32_t i = 0; journal->held_frames > 0; i++) {
        assert_true(i < ROUNDS_MAX);
        if (i % 8 == 0) {
            timer_stop(&engine->reactor, &journal->gather_timer);
            timer_start(&engine->reactor, &journal->gather_timer, 1);
        }
        engine_turns(engine, 1);
    }
    engine_still(engine);
}

static void append_now(struct engine *engine, struct call *call, uint8_t *batch, uint32_t size)
{
    struct batch_spec spec = {.records = 1,
                              .value_bytes = size,
                              .timestamp = 1,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    call_append(call, engine, batch, batch_make(&spec, batch, size + 256));
}

static void check_turn(struct engine *engine, const struct io_engine *io)
{
    static uint8_t batch[1024];
    struct call call;
    (void)io;
    hold_writes();
    append_now(engine, &call, batch, 100);
    assert_int_equal(call.finished, 0);
    engine_turns(engine, 1); /* Staged, acked; the answer is on its way. */
    assert_int_equal(engine->shard->journal->held_frames, 2);
    assert_int_equal(high_watermark(engine), 2);
    assert_true(call.finished > 0);
    assert_int_equal(call.err, OK);
}

static void an_append_is_acked_in_the_turn_in_which_it_is_staged(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_turn);
}

static void check_gathers(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    turn_until_written(engine);
    uint64_t writes = engine_stat(engine, STAT_FILE_WRITES);
    uint64_t blocks = engine_stat(engine, STAT_JOURNAL_BLOCKS);
    engine_append_each(engine, 50, 100); /* What the smallest block has room for. */
    assert_int_equal(engine_stat(engine, STAT_FILE_WRITES), writes);
    turn_until_written(engine);
    assert_int_equal(engine_stat(engine, STAT_WRITEBACK_CHUNKS) - 1, 1);
    assert_int_equal(engine_stat(engine, STAT_JOURNAL_FRAMES), 0);
    assert_int_equal(engine_stat(engine, STAT_JOURNAL_BLOCKS), blocks);
    assert_int_equal(engine_stat(engine, STAT_FILE_WRITES) - writes, 1);
    assert_int_equal(high_watermark(engine), 51);
}

static void small_appends_share_one_write(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_gathers);
}

static void check_full(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    hold_writes();
    /* Frames of 1,200 bytes and 16 KiB: the fourteenth begins a block, and the first one goes. */
    engine_append_each(engine, 30, 1000);
    assert_in_range(engine_fault.hits, 1, EXTENTS_MAX);
    assert_int_equal(engine->shard->journal->held_frames, 31);
    engine_let_go(engine, OK);
    turn_until_written(engine);
    assert_int_equal(high_watermark(engine), 31);
}

static void a_full_block_is_written_at_once(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_full);
}

static void check_limit(struct engine *engine, const struct io_engine *io)
{
    static uint8_t batches[64][2048];
    struct call calls[64];
    (void)io;
    engine->shard->tail_bytes_max = 64 << 10; /* Half of it may be pinned, and a block more. */
    hold_writes();
    for (uint32_t i = 0; i < 64; i++) {
        append_now(engine, &calls[i], batches[i], 1000);
        engine_turns(engine, 3);
    }
    uint32_t acked = 0;
    for (uint32_t i = 0; i < 64; i++) {
        acked += calls[i].finished > 0;
    }
    assert_in_range(acked, 2, 48);
    assert_in_range(engine->shard->journal->held_bytes, 1, 48 << 10);
    engine_let_go(engine, OK);
    for (uint32_t i = 0; i < 64; i++) {
        call_wait(&calls[i]);
        assert_int_equal(calls[i].err, OK);
    }
    assert_int_equal(high_watermark(engine), 65);
}

static void appends_wait_when_too_much_is_not_written(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_limit);
}

enum { MANY = 64 };

/* One small append to each of many partitions, each in a file that is there. */
static void append_to_many(struct engine *engine, struct call *calls, uint8_t (*batches)[512])
{
    for (uint32_t i = 0; i < MANY; i++) {
        engine->id.partition = i;
        append_now(engine, &calls[i], batches[i], 100);
        engine_turns(engine, 3);
    }
}

static void check_many(struct engine *engine, const struct io_engine *io)
{
    enum { BLOCK_BYTES = 16 << 10, BLOCKS = 16 };

    static uint8_t batches[MANY][512];
    static struct call calls[MANY];
    (void)io;
    engine->unrecorded = true;
    engine->segment_count = 0; /* Of the other one. */
    for (uint32_t i = 0; i < MANY; i++) {
        engine->id.partition = i;
        if (i != 3) { /* The fixture's. */
            assert_int_equal(engine_assign(engine), OK);
            engine_append_each(engine, 1, 10);
        }
    }
    turn_until_written(engine);
    engine->shard->tail_bytes_max = 2 * BLOCKS * BLOCK_BYTES;
    hold_writes();
    append_to_many(engine, calls, batches);
    uint32_t acked = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        acked += calls[i].finished > 0;
    }
    assert_int_equal(acked, BLOCKS); /* Though the frames of all would fit into one of them. */
    assert_int_equal(engine->shard->journal->held_bytes, BLOCKS * BLOCK_BYTES);
    engine_let_go(engine, OK);
    for (uint32_t i = 0; i < MANY; i++) {
        call_wait(&calls[i]);
        assert_int_equal(calls[i].err, OK);
    }
    turn_until_written(engine);
    assert_int_equal(engine->shard->journal->held_bytes, 0);
}

static void a_block_of_one_frame_counts_as_a_full_one(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_many);
}

static void check_sync(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    engine_append_each(engine, 20, 100);
    call_sync(&call, engine);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    assert_int_equal(engine->shard->journal->held_frames, 0);
    engine_crash(engine, io);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(high_watermark(engine), 21);
}

static void a_sync_writes_what_was_gathered(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_sync);
}

static void check_failure(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    turn_until_written(engine);
    hold_writes();
    engine_append_each(engine, 5, 100);
    engine_let_go(engine, ERR_IO);
    turn_until_written(engine); /* Or given up: nobody has them but the cache. */
    engine_fault.op = IO_NONE;
    assert_true(list_empty(&engine->shard->tail_pinned));
    assert_int_equal(high_watermark(engine), 6); /* What was acked can still be read. */
    struct call call;
    call_sync(&call, engine);
    call_wait(&call);
    assert_int_equal(call.err, ERR_STORAGE);
    engine_append_each(engine, 1, 100); /* In the next segment. */
    assert_int_equal(engine->segment_count, 2);
}

static void a_write_that_fails_ends_the_segment_and_frees_what_it_held(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_failure);
}

static void check_large(struct engine *engine, const struct io_engine *io)
{
    static uint8_t batch[400000];
    struct call call;
    (void)io;
    turn_until_written(engine);
    uint64_t extents = engine_stat(engine, STAT_WRITEBACK_CHUNKS);
    engine_append_each(engine, 3, 100);
    append_now(engine, &call, batch, 300000);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    turn_until_written(engine);
    assert_in_range(engine_stat(engine, STAT_WRITEBACK_CHUNKS) - extents, 1, 3);
    engine_append_each(engine, 3, 100);
    assert_int_equal(high_watermark(engine), 8);
    engine_stop_shard(engine);
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(high_watermark(engine), 8);
}

static void a_large_append_goes_behind_what_was_gathered(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_large);
}

static void check_drop(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    (void)io;
    engine_append_each(engine, 5, 100);
    call_drop(&call, engine);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    assert_int_equal(engine->shard->journal->held_frames, 0);
    assert_int_equal(engine->shard->journal->held_bytes, 0);
    assert_int_equal(engine->shard->tail_bytes, 0);
}

static void a_partition_is_dropped_while_it_gathers(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_drop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_append_is_acked_in_the_turn_in_which_it_is_staged),
        cmocka_unit_test(small_appends_share_one_write),
        cmocka_unit_test(a_full_block_is_written_at_once),
        cmocka_unit_test(appends_wait_when_too_much_is_not_written),
        cmocka_unit_test(a_block_of_one_frame_counts_as_a_full_one),
        cmocka_unit_test(a_sync_writes_what_was_gathered),
        cmocka_unit_test(a_write_that_fails_ends_the_segment_and_frees_what_it_held),
        cmocka_unit_test(a_large_append_goes_behind_what_was_gathered),
        cmocka_unit_test(a_partition_is_dropped_while_it_gathers),
    };
    return cmocka_run_group_tests_name("shard/gather", tests, NULL, NULL);
}
