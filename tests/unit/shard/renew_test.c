/* A sync or a write of a segment's file fails at a start: what is read of it may be in a cache
 * alone, so it is made anew; and what fails then ends the start. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/limits.h"
#include "shard/segment.h"
#include "shard/shard_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SMALL = 100, RECORDS = 3 };

/* Syncs of a start: the journal's, the file's, again once it is written, the MANIFEST's. */
enum { PASS_FILE = 1, PASS_WRITTEN = 2 };

static void on_each_engine(void (*claim)(struct engine *engine, const struct io_engine *io))
{
    claim_on_wrapped_from(&(struct claim_start){.journals = {.cores = 1}}, claim);
}

static void without_journals(void (*claim)(struct engine *engine, const struct io_engine *io))
{
    claim_on_wrapped(claim);
}

static void fail_after(enum io_op op, uint32_t pass, uint32_t count)
{
    memset(engine_fault.seen, 0, sizeof(engine_fault.seen));
    engine_fail(op, pass, count, ERR_IO);
}

static uint32_t generation_of(struct engine *engine)
{
    uint8_t block[SEGMENT_HEADER_BYTES];
    struct segment_header header;
    engine_peek(engine, 0, 0, block, sizeof(block));
    assert_int_equal(segment_header_decode(block, &header), OK);
    return header.file_generation;
}

static void go_on(struct engine *engine)
{
    engine_fault.op = IO_NONE;
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    claim_readable(engine, RECORDS);
}

static void check_start(struct engine *engine, const struct io_engine *io, enum io_op op,
                        uint32_t pass)
{
    engine_append_each(engine, RECORDS, SMALL);
    engine_kill(engine);
    fail_after(op, pass, 1);
    assert_int_equal(engine_open_journals(engine, io), OK);
    assert_int_equal(engine_fault.hits, 1);
    assert_int_equal(generation_of(engine), 1);
    /* The MANIFEST says that it failed, the file has its name, the MANIFEST says it no more. */
    assert_int_equal(engine_fault.seen[IO_RENAME], 3);
    go_on(engine);
    claim_crash(engine, io);
    assert_int_equal(generation_of(engine), 1);
    claim_readable(engine, RECORDS);
}

static void check_sync(struct engine *engine, const struct io_engine *io)
{
    check_start(engine, io, IO_SYNC, PASS_FILE);
}

static void check_written(struct engine *engine, const struct io_engine *io)
{
    check_start(engine, io, IO_SYNC, PASS_WRITTEN);
}

static void check_write(struct engine *engine, const struct io_engine *io)
{
    check_start(engine, io, IO_WRITE, 0);
}

static void a_file_that_fails_in_a_replay_is_made_anew(void **state)
{
    (void)state;
    on_each_engine(check_sync);
    on_each_engine(check_written);
    on_each_engine(check_write);
}

static void check_second(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, RECORDS, SMALL);
    engine_kill(engine);
    fail_after(IO_SYNC, PASS_FILE, 2);
    assert_int_equal(engine_open_journals(engine, io), ERR_IO);
    assert_int_equal(engine_fault.hits, 2);
    assert_non_null(strstr(engine->journals_opened.message, ".seg failed, and then what was to"));
    engine_fault.op = IO_NONE;
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    claim_readable(engine, RECORDS);
}

static void the_second_failure_ends_a_start(void **state)
{
    (void)state;
    on_each_engine(check_second);
}

/* As a start leaves the MANIFEST whose file could not be made anew: each record gets the mark. */
static void mark_failed(struct engine *engine, const struct segment_record *record)
{
    struct manifest manifest;
    claim_manifest_read(engine, &manifest);
    assert_int_equal(manifest_add_record(&manifest, record), OK);
    claim_manifest_write(engine, &manifest);
    manifest_deinit(&manifest);
}

static void check_marked(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, RECORDS, SMALL);
    const struct segment_info *info = &engine->segments[0];
    struct segment_record record = {
        .segment_id = info->id,
        .topic = engine->id.topic,
        .partition = engine->id.partition,
        .epoch = info->epoch,
        .base_offset = info->base_offset,
        .salt = info->salt,
        .state = SEGMENT_OPEN,
        .marks = SEGMENT_MARK_FAILED,
        .maybe_end = 0,
    };
    engine_kill(engine);
    mark_failed(engine, &record);
    assert_int_equal(engine_open_journals(engine, io), OK);
    assert_int_equal(generation_of(engine), 1);
    go_on(engine);
    claim_crash(engine, io);
    assert_int_equal(generation_of(engine), 1); /* Once is enough. */
    claim_readable(engine, RECORDS);
}

static void the_next_start_knows_of_the_failure(void **state)
{
    (void)state;
    on_each_engine(check_marked);
}

static void check_assigned(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, RECORDS, SMALL);
    engine_crash(engine, io);
    fail_after(IO_SYNC, 0, 1);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(engine_fault.hits, 1);
    assert_int_equal(engine->failures, 0);
    assert_int_equal(generation_of(engine), 1);
    claim_readable(engine, RECORDS);
    claim_crash(engine, io);
    claim_readable(engine, RECORDS);
}

static void check_assigned_twice(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, RECORDS, SMALL);
    engine_crash(engine, io);
    fail_after(IO_SYNC, 0, 2);
    assert_int_equal(engine_assign(engine), ERR_IO);
    assert_int_equal(engine->failures, 1);
    assert_int_equal(engine->segments[0].state, SEGMENT_OPEN);
    engine_fault.op = IO_NONE;
    claim_crash(engine, io);
    claim_readable(engine, RECORDS);
}

static void a_file_that_fails_when_it_is_assigned_is_made_anew(void **state)
{
    (void)state;
    without_journals(check_assigned);
    without_journals(check_assigned_twice);
}

/* A crash comes before the file is made anew: the next start does that. Without the mark it would
 * believe what may be in a cache alone, because its own sync succeeds. */
static void check_doubt(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, RECORDS, SMALL);
    engine_crash(engine, io);
    fail_after(IO_SYNC, 0, 1);
    struct call call;
    call_assign(&call, engine);
    for (uint32_t i = 0; engine_fault.hits == 0; i++) {
        assert_true(i < 1000);
        engine_turns(engine, 1);
    }
    engine_fail(IO_RENAME, 1, 1, ERR_IO); /* The MANIFEST's goes through, the file's does not. */
    call_wait(&call);
    assert_int_equal(call.err, ERR_IO);
    assert_int_equal(engine->failures, 1);
    engine_fault.op = IO_NONE;
    claim_crash(engine, io);
    assert_int_equal(generation_of(engine), 1);
    claim_readable(engine, RECORDS);
}

/* Made anew at once: the MANIFEST says it no more, and the next start believes the file. */
static void check_mended(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, RECORDS, SMALL);
    engine_crash(engine, io);
    fail_after(IO_SYNC, 0, 1);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(engine_fault.hits, 1);
    assert_int_equal(engine_fault.seen[IO_RENAME], 3); /* As in check_start(). */
    assert_int_equal(generation_of(engine), 1);
    claim_crash(engine, io);
    assert_int_equal(generation_of(engine), 1);
    claim_readable(engine, RECORDS);
}

static void the_next_start_knows_of_the_failure_of_an_assignment(void **state)
{
    (void)state;
    on_each_engine(check_doubt);
    on_each_engine(check_mended);
}

static void engine_remove(const struct engine *engine, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", engine->dir, name);
    assert_int_equal(unlink(path), 0);
}

static void open_without_space(struct engine *engine)
{
    engine_fault.err = ERR_NO_SPACE;
    engine_fault.op = IO_ALLOCATE;
    engine_open_shard(engine);
    engine_fault.op = IO_NONE;
    assert_null(engine->shard->journal);
}

/* There was never room for a MANIFEST, so the mark makes the first one: of this directory. */
static void check_first(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, RECORDS, SMALL);
    engine_stop_shard(engine);
    engine_remove(engine, "MANIFEST");
    engine_remove(engine, "journal/0.jnl");
    engine_remove(engine, "journal/1.jnl");
    open_without_space(engine);
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, RECORDS, SMALL);
    engine_kill(engine);
    engine_fault.err = ERR_NO_SPACE;
    engine_fault.op = IO_ALLOCATE;
    assert_int_equal(engine_open_journals(engine, io), OK);
    engine_fault.op = IO_NONE;
    engine_open_shard(engine);
    fail_after(IO_SYNC, 0, 1);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(engine_fault.hits, 1);
    claim_crash(engine, io);
    claim_readable(engine, 2 * RECORDS);
}

static void the_mark_of_a_failure_may_be_the_first_manifest(void **state)
{
    (void)state;
    on_each_engine(check_first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_fails_in_a_replay_is_made_anew),
        cmocka_unit_test(the_second_failure_ends_a_start),
        cmocka_unit_test(the_next_start_knows_of_the_failure),
        cmocka_unit_test(a_file_that_fails_when_it_is_assigned_is_made_anew),
        cmocka_unit_test(the_next_start_knows_of_the_failure_of_an_assignment),
        cmocka_unit_test(the_mark_of_a_failure_may_be_the_first_manifest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
