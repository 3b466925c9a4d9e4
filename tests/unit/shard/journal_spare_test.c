/* A journal fails: what was acked, what goes on, and with which file. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SMALL = 100 };

static void on_each_engine(void (*claim)(struct engine *engine, const struct io_engine *io))
{
    claim_on_wrapped_from(&(struct claim_start){.journals = {.cores = 1}}, claim);
}

static bool has_journal(const struct engine *engine, uint32_t file)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/journal/%u.jnl", engine->dir, file);
    return access(path, F_OK) == 0;
}

static void settle(struct engine *engine)
{
    engine_turns(engine, 1); /* What was deferred begins. */
    engine_rest(engine);
}

/* How many of the next `count` small appends, all acked, went through a journal. */
static uint64_t append_journaled(struct engine *engine, uint32_t count)
{
    uint64_t before = engine_stat(engine, STAT_JOURNAL_FRAMES);
    engine_append_each(engine, count, SMALL);
    return engine_stat(engine, STAT_JOURNAL_FRAMES) - before;
}

static void check_taken(struct engine *engine, const struct io_engine *io)
{
    assert_true(has_journal(engine, 1));
    assert_int_equal(append_journaled(engine, 3), 3);
    engine_fail(IO_WRITE, 0, 1, ERR_IO);
    engine_append_each(engine, 1, SMALL); /* Acked from its file. */
    settle(engine);
    assert_int_equal(engine_fault.hits, 1);
    assert_int_equal(engine_stat(engine, STAT_JOURNALS_REPLACED), 1);
    assert_false(has_journal(engine, 0));
    uint64_t blocks = engine_stat(engine, STAT_JOURNAL_BLOCKS);
    assert_int_equal(append_journaled(engine, 3), 3);
    assert_true(engine_stat(engine, STAT_JOURNAL_BLOCKS) > blocks);
    claim_readable(engine, 7);
    claim_crash(engine, io);
    assert_int_equal(engine->journals_opened.frames, 3); /* Only the new one counts. */
    claim_readable(engine, 7);
    assert_true(has_journal(engine, 0));
}

static void the_spare_takes_over(void **state)
{
    (void)state;
    on_each_engine(check_taken);
}

static void check_sync(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    engine_append_each(engine, 2, SMALL);
    engine->config.durability = DURABILITY_OS;
    engine->config.segment_records = 2;
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(append_journaled(engine, 1), 1); /* Plain: the file is next to be synced. */
    engine_fail(IO_WRITE, 0, 1, ERR_IO);
    engine_append_each(engine, 1, SMALL);
    settle(engine);
    assert_int_equal(engine_stat(engine, STAT_JOURNALS_REPLACED), 1);
    call_sync(&call, engine);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    claim_crash(engine, io);
    claim_readable(engine, 4);
}

static void os_records_are_in_their_files_before(void **state)
{
    (void)state;
    on_each_engine(check_sync);
}

/* No safe way on: nothing more is acked, and the next life has all that was. */
static void assert_dead(struct engine *engine, uint32_t failures, const char *file)
{
    assert_int_equal(engine->failures, failures);
    assert_non_null(strstr(engine->failure_file, file));
    assert_int_equal(claim_append_plain(engine, 1, SMALL, 5000), ERR_IO);
}

/* The file of the segment fails, too: only the old journal has what was acked. */
static void check_both(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 3, SMALL);
    engine_fail(IO_WRITE, 0, 2, ERR_IO);
    assert_int_not_equal(claim_append_plain(engine, 1, SMALL, 5000), OK);
    settle(engine);
    assert_int_equal(engine_fault.hits, 2);
    assert_dead(engine, 1, ".seg");
    assert_int_equal(engine_stat(engine, STAT_JOURNALS_REPLACED), 0);
    assert_true(has_journal(engine, 0));
    claim_crash(engine, io);
    claim_readable(engine, 3);
}

static void a_file_that_fails_too_ends_the_shard(void **state)
{
    (void)state;
    on_each_engine(check_both);
}

static void check_twice(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 1, SMALL);
    engine_fail(IO_WRITE, 0, 1, ERR_IO);
    engine_append_each(engine, 2, SMALL);
    settle(engine);
    assert_int_equal(engine_stat(engine, STAT_JOURNALS_REPLACED), 1);
    assert_int_equal(append_journaled(engine, 2), 2);
    engine_fail(IO_WRITE, 0, 1, ERR_IO);
    assert_int_not_equal(claim_append_plain(engine, 1, SMALL, 5000), OK);
    settle(engine);
    assert_int_equal(engine_fault.hits, 1);
    assert_int_equal(engine_stat(engine, STAT_JOURNALS_REPLACED), 1);
    assert_dead(engine, 1, "1.jnl");
    claim_crash(engine, io);
    claim_readable(engine, 5);
    assert_int_equal(append_journaled(engine, 2), 2); /* Both files are good for the next life. */
}

static void a_spare_that_fails_ends_the_shard(void **state)
{
    (void)state;
    on_each_engine(check_twice);
}

static void check_manifest(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 2, SMALL);
    settle(engine);
    engine_fail(IO_WRITE, 0, 1, ERR_IO);
    struct call call;
    uint8_t batch[512];
    struct batch_spec spec = {.records = 1,
                              .value_bytes = SMALL,
                              .timestamp = 9000,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    call_append(&call, engine, batch, batch_make(&spec, batch, sizeof(batch)));
    for (uint32_t i = 0; engine_fault.hits == 0; i++) {
        assert_true(i < 1000);
        engine_turns(engine, 1);
    }
    engine_fail(IO_RENAME, 0, 1, ERR_IO); /* Of the MANIFEST. */
    call_wait(&call);
    assert_int_equal(call.err, OK);
    settle(engine);
    assert_int_equal(engine_fault.hits, 1);
    assert_int_equal(engine_stat(engine, STAT_JOURNALS_REPLACED), 0);
    assert_dead(engine, 1, "MANIFEST");
    claim_crash(engine, io);
    claim_readable(engine, 3);
}

static void without_a_manifest_there_is_no_way_on(void **state)
{
    (void)state;
    on_each_engine(check_manifest);
}

static void check_none(struct engine *engine, const struct io_engine *io)
{
    char path[256];
    engine_append_each(engine, 2, SMALL);
    engine_kill(engine);
    (void)snprintf(path, sizeof(path), "%s/journal/1.jnl", engine->dir);
    assert_int_equal(remove(path), 0);
    engine_fail(IO_ALLOCATE, 0, 1, ERR_NO_SPACE);
    assert_int_equal(engine_open_journals(engine, io), OK);
    assert_int_equal(engine_fault.hits, 1);
    engine_fault.op = IO_NONE;
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(append_journaled(engine, 2), 2);
    engine_fail(IO_WRITE, 0, 1, ERR_IO);
    engine_append_each(engine, 2, SMALL);
    settle(engine);
    assert_int_equal(engine_stat(engine, STAT_JOURNALS_REPLACED), 0);
    claim_readable(engine, 6);
    claim_crash(engine, io);
    claim_readable(engine, 6);
}

static void without_a_spare_appends_go_to_their_files(void **state)
{
    (void)state;
    on_each_engine(check_none);
}

static void check_reused(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 2, SMALL);
    for (uint32_t i = 0; i < 2; i++) {
        engine_kill(engine);
        assert_int_equal(engine_open_journals(engine, io), OK);
        assert_int_equal(engine_stat(engine, STAT_ZERO_BYTES), 0);
        assert_false(has_journal(engine, 2));
        engine_open_shard(engine);
        assert_int_equal(engine_assign(engine), OK);
        engine_append_each(engine, 1, SMALL);
        /* The second life ends with the other file, and unlinks the one that failed. */
        engine_fail(i == 1 ? IO_WRITE : IO_NONE, 0, 1, ERR_IO);
        engine_append_each(engine, 1, SMALL);
        settle(engine);
        assert_int_equal(engine_stat(engine, STAT_JOURNALS_REPLACED), i == 1);
    }
    claim_crash(engine, io);
    claim_readable(engine, 6);
}

static void journals_of_an_earlier_life_are_used_again(void **state)
{
    (void)state;
    on_each_engine(check_reused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_spare_takes_over),
        cmocka_unit_test(os_records_are_in_their_files_before),
        cmocka_unit_test(a_file_that_fails_too_ends_the_shard),
        cmocka_unit_test(a_spare_that_fails_ends_the_shard),
        cmocka_unit_test(without_a_manifest_there_is_no_way_on),
        cmocka_unit_test(without_a_spare_appends_go_to_their_files),
        cmocka_unit_test(journals_of_an_earlier_life_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
