/* Appends that go through the journal: who shares a flush, what is written where, when it goes to
 * the files, and that it is all the same to readers. */
#include "tests/unit/shard/claim_fixture.h"

#include "shard/frame.h"
#include "shard/journal.h"
#include "shard/manifest.h"
#include "shard/shard_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { MANY = 64 };

static const struct claim_start usual = {.journals = {.cores = 1, .still = true},
                                         .unassigned = true};
/* Nothing is written back, though each of the first appends had a block of its own. */
static const struct claim_start roomy = {
    .journals = {.cores = 1, .bytes = 16 << 20, .bytes_max = 16 << 20, .still = true},
    .unassigned = true};
static const struct claim_start small = {
    .journals = {.cores = 1, .bytes = 128 << 10, .bytes_max = 128 << 10}, .unassigned = true};
static const struct claim_start growing = {
    .journals = {.cores = 1, .bytes = 128 << 10, .bytes_max = 256 << 10}, .unassigned = true};

static void batch_append(struct engine *engine, struct call *call, uint8_t *batch, uint32_t size,
                         int64_t timestamp)
{
    struct batch_spec spec = {.records = 1,
                              .value_bytes = size,
                              .timestamp = timestamp,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    call_append(call, engine, batch, batch_make(&spec, batch, size + 256));
}

/* One append to each of many partitions in one turn; all are waited for. */
static void round_of_appends(struct engine *engine, uint32_t partitions, uint32_t value_bytes)
{
    struct call *calls = calloc(partitions, sizeof(*calls));
    uint8_t *batches = malloc((size_t)partitions * (value_bytes + 256));
    assert_non_null(calls);
    assert_non_null(batches);
    for (uint32_t i = 0; i < partitions; i++) {
        engine->id.partition = i;
        batch_append(engine, &calls[i], batches + (size_t)i * (value_bytes + 256), value_bytes, 1);
    }
    for (uint32_t i = 0; i < partitions; i++) {
        call_wait(&calls[i]);
        assert_int_equal(calls[i].err, OK);
    }
    free(batches);
    free(calls);
}

static void assign_many(struct engine *engine, uint32_t partitions)
{
    engine->unrecorded = true;
    for (uint32_t i = 0; i < partitions; i++) {
        engine->id.partition = i;
        assert_int_equal(engine_assign(engine), OK);
    }
    round_of_appends(engine, partitions, 10); /* Their files are made. */
}

/* All records are there, each once, from 0 on. */
static void assert_reads(struct engine *engine, uint64_t end)
{
    uint64_t offset = 0;
    while (offset < end) {
        struct call call;
        call_fetch(&call, engine, offset, false);
        call_wait(&call);
        assert_int_equal(call.err, OK);
        assert_true(call.request.fetch.piece_count > 0);
        for (uint32_t i = 0; i < call.request.fetch.piece_count; i++) {
            const struct fetch_piece *piece = &call.pieces[i];
            const uint8_t *at = piece->data;
            for (uint32_t used = 0; used < piece->size;) {
                assert_int_equal(load_be64(at + used), offset);
                offset += load_be32(at + used + 23) + 1;
                used += load_be32(at + used + 8) + 12;
            }
        }
        call_release(&call);
    }
    assert_int_equal(offset, end);
}

static uint64_t file_size(const struct engine *engine, const char *name)
{
    char path[256];
    struct stat info;
    (void)snprintf(path, sizeof(path), "%s/%s", engine->dir, name);
    int rc = stat(path, &info);
    assert_int_equal(rc, 0);
    return (uint64_t)info.st_size;
}

/* Frames of the first extent of a segment's file; 0: it is empty. */
static uint32_t first_extent(const struct engine *engine, uint32_t index)
{
    uint8_t at[EXTENT_HEADER_BYTES];
    struct extent_header extent;
    engine_peek(engine, index, SEGMENT_DATA_POSITION, at, sizeof(at));
    if (extent_header_at(at, engine->segments[index].salt, SEGMENT_DATA_POSITION, &extent) != OK) {
        return 0;
    }
    return extent.type == EXTENT_FRAMES ? extent.frames_or_crc : 0;
}

static void check_one_flush(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    assign_many(engine, MANY);
    engine_rest(engine); /* What goes on behind the acks of the first ones. */

    static const enum stat_id stats[] = {STAT_FLUSHES, STAT_JOURNAL_BLOCKS, STAT_JOURNAL_FRAMES,
                                         STAT_FILE_WRITES, STAT_WRITEBACK_CHUNKS};

    static const uint64_t wanted[] = {1, 1, MANY, 1, 0};
    uint64_t before[5];
    for (uint32_t i = 0; i < 5; i++) {
        before[i] = engine_stat(engine, stats[i]);
    }
    round_of_appends(engine, MANY, 100);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(engine_stat(engine, stats[i]) - before[i], wanted[i]);
    }
}

static void small_appends_of_all_partitions_share_one_flush(void **state)
{
    (void)state;
    claim_on_wrapped_from(&roomy, check_one_flush);
}

static void check_in_memory(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    struct call call;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 5, 100); /* At 1000, 1001, ... */
    assert_int_equal(first_extent(engine, 0), 0);
    assert_int_equal(engine_stat(engine, STAT_JOURNAL_FRAMES), 5);
    assert_reads(engine, 5);
    call_offsets(&call, engine, 1003);
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.offsets.offset, 3);
    call_offsets(&call, engine, OFFSETS_LATEST);
    assert_int_equal(call.request.offsets.offset, 5);
    call_offsets(&call, engine, 2000);
    assert_int_equal(call.request.offsets.offset, -1);
}

static void readers_see_what_is_only_in_memory_and_journal(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_in_memory);
}

static void check_direct(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 3, 100);
    assert_int_equal(first_extent(engine, 0), 0);
    engine_append_each(engine, 1, 100000);
    assert_int_equal(first_extent(engine, 0), 4);
    assert_int_equal(engine_stat(engine, STAT_WRITEBACK_CHUNKS), 0);
    assert_int_equal(engine_stat(engine, STAT_JOURNAL_FRAMES), 3);
    assert_int_equal(engine->shard->journal->pinned_bytes, 0);
    assert_reads(engine, 4);
}

static void a_large_append_takes_along_what_is_pinned(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_direct);
}

static void check_laps(struct engine *engine, const struct io_engine *io)
{
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 150, 1500); /* A block of 4 KiB each. */
    assert_true(engine_stat(engine, STAT_JOURNAL_BYTES) > 4 * small.journals.bytes);
    assert_int_equal(file_size(engine, "journal/0.jnl"), small.journals.bytes);
    assert_true(engine_stat(engine, STAT_WRITEBACK_CHUNKS) > 0);
    assert_true(engine->shard->journal->pinned_bytes <= small.journals.bytes / 2);
    assert_reads(engine, 150);
    engine_crash(engine, io);
    assert_true(engine->journals_opened.frames < 32);
    assert_int_equal(engine_assign(engine), OK);
    assert_reads(engine, 150);
}

static void the_journal_goes_round_and_the_files_get_what_was_in_it(void **state)
{
    (void)state;
    claim_on_wrapped_from(&small, check_laps);
}

static void check_grows(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    assert_int_equal(engine_assign(engine), OK);
    /* Whether a lap is short is the clock's to say; here every one is. */
    for (uint32_t i = 0; i < 150; i++) {
        engine->shard->journal->lap_started_ns = engine->reactor.now_ns;
        engine_append_each(engine, 1, 1500);
    }
    assert_int_equal(file_size(engine, "journal/0.jnl"), growing.journals.bytes_max);
    assert_int_equal(engine->shard->journal->size, growing.journals.bytes_max);
    assert_reads(engine, 150);
}

static void a_journal_that_is_small_for_what_is_written_grows(void **state)
{
    (void)state;
    claim_on_wrapped_from(&growing, check_grows);
}

/* A write to a file that does not end keeps its frames in the journal. */
static void check_full(struct engine *engine, const struct io_engine *io)
{
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 3, 100);
    engine_fault.spared_fd = engine->shard->journal->fd;
    engine_fault.hold = true;
    engine_fault.most = 1;
    engine_fault.op = IO_WRITE;
    static uint8_t batch[101000];
    struct call call;
    batch_append(engine, &call, batch, 100000, 1);
    for (uint32_t i = 0; engine_fault.hits == 0; i++) {
        assert_true(i < 1000);
        engine_turns(engine, 1);
    }
    struct partition_id failed = engine->id;
    engine->unrecorded = true;
    uint32_t count = engine->segment_count;
    engine->segment_count = 0;
    engine->id.partition = 9;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 150, 1500);
    assert_true(engine_stat(engine, STAT_JOURNAL_BYTES) <= small.journals.bytes); /* Never round. */
    uint64_t frames = engine_stat(engine, STAT_JOURNAL_FRAMES);
    assert_true(frames > 4);
    engine_append_each(engine, 20, 1500);
    assert_int_equal(engine_stat(engine, STAT_JOURNAL_FRAMES), frames);
    assert_reads(engine, 170);
    engine->id = failed;
    engine->segment_count = count;
    assert_reads(engine, 3);
    engine_crash(engine, io);
    assert_int_equal(engine_assign(engine), OK);
    assert_reads(engine, 3);
}

static void a_full_journal_sends_appends_to_the_files(void **state)
{
    (void)state;
    claim_on_wrapped_from(&small, check_full);
}

static void assert_sealed(const struct engine *engine, uint32_t index)
{
    uint8_t block[SEGMENT_HEADER_BYTES];
    struct segment_seal seal;
    engine_peek(engine, index, SEGMENT_SEAL_POSITION, block, sizeof(block));
    assert_int_equal(segment_seal_decode(block, &seal), OK);
    if (engine->segments[index].state == SEGMENT_SEALED) {
        assert_int_equal(seal.end_offset, engine->segments[index].end_offset);
        assert_true(seal.digest == engine->segments[index].digest);
    }
}

static void check_clean(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    engine->config.segment_records = 10;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 25, 100);
    assert_int_equal(engine->segment_count, 3);
    assert_sealed(engine, 0);
    assert_sealed(engine, 1);
    engine_stop_shard(engine);
    assert_sealed(engine, 2);
    engine_open_shard(engine);
    assert_int_equal(engine->journals_opened.bytes_read, 0);
    assert_int_equal(engine->journals_opened.frames, 0);
    assert_int_equal(engine_assign(engine), OK);
    assert_reads(engine, 25);
}

static void a_roll_and_a_stop_leave_files_that_are_complete(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_clean);
}

static void check_no_space(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 3, 100);
    engine_stop_shard(engine);
    uint64_t frames = engine_stat(engine, STAT_JOURNAL_FRAMES);
    engine_fault.err = ERR_NO_SPACE;
    engine_fault.hits = 0;
    engine_fault.op = IO_WRITE;
    engine_open_shard(engine);
    engine_fault.op = IO_NONE;
    assert_int_equal(engine_fault.hits, 1);
    assert_null(engine->shard->journal);
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 3, 100);
    assert_int_equal(engine_stat(engine, STAT_JOURNAL_FRAMES), frames);
    assert_int_equal(first_extent(engine, 1), 1);
    assert_reads(engine, 6);
    engine_stop_shard(engine);
    engine_open_shard(engine); /* Now there is some. */
    assert_non_null(engine->shard->journal);
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 1, 100);
    assert_int_equal(engine_stat(engine, STAT_JOURNAL_FRAMES), frames + 1);
    assert_reads(engine, 7);
}

static void without_space_for_the_manifest_appends_go_to_the_files(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_no_space);
}

static void check_drop(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 3, 100);
    assert_true(engine->shard->journal->pinned_bytes > 0);
    call_drop(&call, engine);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    assert_int_equal(engine->shard->journal->pinned_bytes, 0);
    engine->segment_count = 0;
    engine->id.partition = 9;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 150, 1500); /* Nothing holds the tail. */
    assert_true(engine_stat(engine, STAT_JOURNAL_BYTES) > 4 * small.journals.bytes);
    engine_crash(engine, io);
    assert_int_equal(engine_assign(engine), OK);
    assert_reads(engine, 150);
}

static void a_partition_is_dropped_while_its_frames_are_in_the_journal(void **state)
{
    (void)state;
    claim_on_wrapped_from(&small, check_drop);
}

static void check_os(struct engine *engine, const struct io_engine *io)
{
    engine->config.durability = DURABILITY_OS;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 1, 100);
    uint64_t flushes = engine_stat(engine, STAT_FLUSHES);
    engine_append_each(engine, 20, 100);
    assert_int_equal(engine_stat(engine, STAT_FLUSHES), flushes);
    assert_int_equal(engine_stat(engine, STAT_JOURNAL_FRAMES), 21);
    engine_crash(engine, io);
    assert_int_equal(engine->journals_opened.frames, 21);
    assert_int_equal(engine_assign(engine), OK);
    assert_reads(engine, 21);
}

/* Several extents for one file: each stands behind the one before it. */
static void check_much_to_replay(struct engine *engine, const struct io_engine *io)
{
    enum { FRAMES = 7, FRAME_BYTES = 50 << 10 };

    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 1, 100);
    engine_fault.op = IO_WRITE;
    engine_fault.hold = true;
    engine_fault.spared_fd = engine->shard->journal->fd;
    engine_append_each(engine, FRAMES, FRAME_BYTES);
    engine_let_go(engine, ERR_IO); /* They never happened. */
    engine_kill(engine);
    engine_fault.op = IO_NONE;
    assert_int_equal(engine_open_journals(engine, io), OK);
    engine_open_shard(engine);
    assert_int_equal(engine->journals_opened.frames, 1 + FRAMES);
    assert_int_equal(engine_assign(engine), OK);
    assert_reads(engine, 1 + FRAMES);
    engine_crash(engine, io);
    assert_int_equal(engine_assign(engine), OK);
    assert_reads(engine, 1 + FRAMES);
}

static void more_than_one_extent_is_replayed_into_a_file(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_much_to_replay);
}

static void os_is_written_to_the_journal_and_not_flushed(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_os);
}

static void check_memory(struct engine *engine, const struct io_engine *io)
{
    static uint8_t batch[1024];
    struct call call;
    engine->config.durability = DURABILITY_MEMORY;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 1, 100);
    engine_fault.err = ERR_IO;
    engine_fault.op = IO_WRITE;
    batch_append(engine, &call, batch, 100, 1);
    call_wait(&call);
    assert_int_equal(call.err, OK); /* Before anything is written. */
    assert_reads(engine, 2);
    engine_turns(engine, 20);
    engine_fault.op = IO_NONE;
    engine_crash(engine, io);
    assert_int_equal(engine_assign(engine), OK);
    call_offsets(&call, engine, OFFSETS_LATEST);
    assert_int_equal(call.err, OK); /* Nothing was promised, nothing is reported. */
    engine_append_each(engine, 1, 100);
}

static void memory_is_acked_before_it_is_written(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_appends_of_all_partitions_share_one_flush),
        cmocka_unit_test(readers_see_what_is_only_in_memory_and_journal),
        cmocka_unit_test(a_large_append_takes_along_what_is_pinned),
        cmocka_unit_test(the_journal_goes_round_and_the_files_get_what_was_in_it),
        cmocka_unit_test(a_journal_that_is_small_for_what_is_written_grows),
        cmocka_unit_test(a_full_journal_sends_appends_to_the_files),
        cmocka_unit_test(a_roll_and_a_stop_leave_files_that_are_complete),
        cmocka_unit_test(without_space_for_the_manifest_appends_go_to_the_files),
        cmocka_unit_test(a_partition_is_dropped_while_its_frames_are_in_the_journal),
        cmocka_unit_test(more_than_one_extent_is_replayed_into_a_file),
        cmocka_unit_test(os_is_written_to_the_journal_and_not_flushed),
        cmocka_unit_test(memory_is_acked_before_it_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
