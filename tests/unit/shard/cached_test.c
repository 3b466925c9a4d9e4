/* Appends of `os` segments: copied into the page cache where they are submitted, flushed by nobody
 * but who wants the disk. Counts of operations, never times. */
#include "tests/unit/shard/claim_fixture.h"

#include "shard/journal.h"
#include "shard/shard_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROUNDS_MAX = 100000 };

static const struct claim_start usual = {
    .journals = {.cores = 1, .still = true}, .durability = DURABILITY_OS, .appended = 1};
static const struct claim_start small = {
    .journals = {.cores = 1, .bytes = 256 << 10, .bytes_max = 256 << 10, .still = true},
    .durability = DURABILITY_OS,
    .appended = 1,
};
static const struct claim_start roomy = {
    .journals = {.cores = 1, .bytes = 16 << 20, .bytes_max = 16 << 20, .still = true},
    .durability = DURABILITY_OS,
    .appended = 1,
};

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

static void check_counts(struct engine *engine, const struct io_engine *io)
{
    uint64_t seq = engine->shard->journal->seq_next;
    uint64_t writes = engine_stat(engine, STAT_FILE_WRITES);
    uint64_t blocks = engine_stat(engine, STAT_JOURNAL_BLOCKS);
    uint64_t entries = engine_stat(engine, STAT_KERNEL_ENTRIES);
    engine_append_each(engine, 20, 100);
    assert_int_equal(engine_stat(engine, STAT_JOURNAL_BLOCKS) - blocks, 20);
    assert_int_equal(engine_stat(engine, STAT_FILE_WRITES) - writes, 20);
    if (strcmp(io->name, "uring") == 0) { /* The one of a turn that has nothing more to do. */
        assert_in_range(engine_stat(engine, STAT_KERNEL_ENTRIES) - entries, 0, 25);
    }
    assert_in_range(engine->shard->journal->seq_next - seq, 1, 4); /* They share blocks. */
    engine_crash(engine, io);
    assert_int_equal(engine->journals_opened.frames, 21);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(high_watermark(engine), 21);
}

static void an_append_is_one_copy_and_no_wait(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_counts);
}

static void check_memory(struct engine *engine, const struct io_engine *io)
{
    struct memory_stats before, after;
    (void)io;
    memory_stats(engine->reactor.memory, &before);
    engine_append_each(engine, 20, 100); /* Frames of 300 bytes. */
    memory_stats(engine->reactor.memory, &after);
    assert_in_range(after.used_bytes[MEMORY_APPEND] - before.used_bytes[MEMORY_APPEND], 0, 24576);
}

static void small_frames_share_memory(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_memory);
}

enum { MANY = 100, HOGS_MAX = 4096 };

/* Takes what appends may have, but for `left` bytes. */
static uint32_t hog(struct engine *engine, struct block **hogs, uint64_t left)
{
    uint32_t count = 0;
    uint64_t bytes = 0;
    for (uint32_t size = 1 << 20; size >= BLOCK_SIZE_MIN; size /= 2) {
        struct block *block;
        while ((block = block_acquire(engine->reactor.memory, MEMORY_APPEND, size)) != NULL) {
            assert_true(count < HOGS_MAX);
            hogs[count++] = block;
        }
    }
    while (bytes < left) { /* The newest are the smallest. */
        assert_true(count > 0);
        bytes += hogs[--count]->size;
        block_unref(hogs[count]);
    }
    return count;
}

/* Several rounds of one append to each of many partitions, all of a round under way at once. */
static void append_rounds(struct engine *engine, uint32_t rounds)
{
    static struct call calls[MANY];
    static uint8_t batches[MANY][1024];
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < MANY; i++) {
            struct batch_spec spec = {.records = 1,
                                      .value_bytes = 500,
                                      .timestamp = 1,
                                      .producer_id = -1,
                                      .producer_epoch = -1,
                                      .sequence = -1};
            engine->id.partition = i;
            call_append(&calls[i], engine, batches[i], batch_make(&spec, batches[i], 1024));
        }
        for (uint32_t i = 0; i < MANY; i++) {
            call_wait(&calls[i]);
            assert_int_equal(calls[i].err, OK);
        }
    }
}

static void assign_many(struct engine *engine)
{
    engine->unrecorded = true;
    engine->segment_count = 0; /* Of the other one. */
    for (uint32_t i = 0; i < MANY; i++) {
        engine->id.partition = i;
        if (i != 3) { /* The fixture's. */
            assert_int_equal(engine_assign(engine), OK);
            engine_append_each(engine, 1, 10);
        }
    }
}

static void check_slabs(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    assign_many(engine);
    assert_int_equal(engine->shard->journal->pinned_memory, MANY * 4096);
    append_rounds(engine, 1); /* Into what they hold. */
    assert_int_equal(engine->shard->journal->pinned_memory, MANY * 4096);
}

static void a_block_that_frames_share_counts_wholly(void **state)
{
    (void)state;
    claim_on_wrapped_from(&roomy, check_slabs);
}

/* Their blocks are more than there is memory for. None of them has enough to be written back for
 * its own sake, and no append can come that would make it more. */
static void check_short(struct engine *engine, const struct io_engine *io)
{
    static struct block *hogs[HOGS_MAX];
    (void)io;
    assign_many(engine);
    uint32_t count = hog(engine, hogs, 256 << 10);
    uint64_t chunks = engine_stat(engine, STAT_WRITEBACK_CHUNKS);
    append_rounds(engine, 12);
    assert_true(engine_stat(engine, STAT_WRITEBACK_CHUNKS) > chunks);
    assert_int_equal(engine->shard->commits_wait_bytes, 0);
    while (count > 0) {
        block_unref(hogs[--count]);
    }
    assert_int_equal(high_watermark(engine), 13);
}

static void appends_that_wait_for_memory_get_what_is_pinned(void **state)
{
    (void)state;
    claim_on_wrapped_from(&roomy, check_short);
}

static void append_to(struct engine *engine, uint32_t partition)
{
    engine->id.partition = partition;
    engine_append_each(engine, 1, 100);
}

static void check_mixed(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    uint32_t os = engine->id.partition;
    uint32_t disk = os + 1;
    engine->unrecorded = true;
    engine->segment_count = 0; /* Of the other one. */
    engine->id.partition = disk;
    engine->config.durability = DURABILITY_DISK;
    engine->config.segment_records = 1000;
    assert_int_equal(engine_assign(engine), OK);
    append_to(engine, disk);
    append_to(engine, disk);
    struct journal *journal = engine->shard->journal;
    assert_int_equal(journal->durable_seq, journal->done_seq);
    append_to(engine, os);
    append_to(engine, os);
    assert_true(journal->durable_seq < journal->done_seq);
    uint32_t syncs = engine_fault.seen[IO_SYNC];
    append_to(engine, disk); /* Not over what is not durable before it. */
    assert_int_equal(engine_fault.seen[IO_SYNC] - syncs, 1);
    assert_int_equal(journal->durable_seq, journal->done_seq);
    append_to(engine, disk);
    assert_int_equal(engine_fault.seen[IO_SYNC] - syncs, 1);
    assert_int_equal(journal->durable_seq, journal->done_seq);
}

static void a_disk_append_behind_os_appends_waits_for_a_sync_of_both(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_mixed);
}

static void check_behind(struct engine *engine, const struct io_engine *io)
{
    struct journal *journal = engine->shard->journal;
    engine_fault.op = IO_SYNC;
    engine_fault.hold = true;
    engine_fault.hits = 0;
    uint32_t appends = 0;
    while (engine_fault.hits == 0) {
        assert_true(appends < ROUNDS_MAX);
        engine_append_each(engine, 1, 3000);
        appends++;
    }
    assert_true(journal->seq_next > journal->sync_seq);
    engine_append_each(engine, 1, 10); /* It does not wait, nor go into what is to be covered. */
    assert_true(journal->seq_next > journal->sync_seq + 1);
    engine_append_each(engine, 2, 100);
    assert_true(journal->syncing);
    uint64_t before = journal->durable_seq;
    uint64_t covered = journal->sync_seq;
    assert_true(covered > before);
    engine_let_go(engine, OK);
    for (uint32_t i = 0; journal->durable_seq == before; i++) {
        assert_true(i < ROUNDS_MAX);
        engine_turns(engine, 1);
    }
    assert_int_equal(journal->durable_seq, covered); /* Another sync may have begun. */
    assert_true(covered < journal->done_seq);        /* Not what came behind it. */
    engine_append_each(engine, 200, 3000);           /* Round the file, several times. */
    engine_crash(engine, io);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(high_watermark(engine), 1 + appends + 3 + 200);
}

static void what_is_synced_for_the_sake_of_space_holds_nobody_up(void **state)
{
    (void)state;
    claim_on_wrapped_from(&small, check_behind);
}

static void check_fails(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    engine->shard->journal->spare_id = 0; /* Nobody knows how soon it would take over. */
    engine_fault.op = IO_SYNC;
    engine_fault.err = ERR_IO;
    for (uint32_t i = 0; engine_fault.hits == 0; i++) {
        assert_true(i < ROUNDS_MAX);
        engine_append_each(engine, 1, 3000);
    }
    for (uint32_t i = 0; !engine->shard->journal->failed; i++) {
        assert_true(i < ROUNDS_MAX);
        engine_turns(engine, 1);
    }
    engine_fault.op = IO_NONE;
    uint64_t blocks = engine_stat(engine, STAT_JOURNAL_BLOCKS);
    uint64_t end = high_watermark(engine);
    engine_append_each(engine, 3, 100); /* To their file. */
    assert_int_equal(engine_stat(engine, STAT_JOURNAL_BLOCKS), blocks);
    assert_int_equal(high_watermark(engine), end + 3);
    for (uint32_t i = 0; !list_empty(&engine->shard->tail_pinned); i++) {
        assert_true(i < ROUNDS_MAX);
        engine_turns(engine, 1);
    }
}

static void a_sync_behind_that_fails_ends_the_journal_and_loses_nothing(void **state)
{
    (void)state;
    claim_on_wrapped_from(&small, check_fails);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_append_is_one_copy_and_no_wait),
        cmocka_unit_test(small_frames_share_memory),
        cmocka_unit_test(a_block_that_frames_share_counts_wholly),
        cmocka_unit_test(appends_that_wait_for_memory_get_what_is_pinned),
        cmocka_unit_test(a_disk_append_behind_os_appends_waits_for_a_sync_of_both),
        cmocka_unit_test(what_is_synced_for_the_sake_of_space_holds_nobody_up),
        cmocka_unit_test(a_sync_behind_that_fails_ends_the_journal_and_loses_nothing),
    };
    return cmocka_run_group_tests_name("shard/cached", tests, NULL, NULL);
}
