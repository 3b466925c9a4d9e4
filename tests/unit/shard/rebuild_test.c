/* The file of a segment fails: it is made anew. And what fails then: there is no safe way on. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/limits.h"
#include "shard/segment.h"
#include "shard/shard_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SMALL = 100, LARGE = 70000 };

static uint8_t large[LARGE + 512];

static void on_each_engine(void (*claim)(struct engine *engine, const struct io_engine *io))
{
    claim_on_wrapped_from(&(struct claim_start){.journals = {.cores = 1}}, claim);
}

static void settle(struct engine *engine)
{
    engine_turns(engine, 1); /* What was deferred begins. */
    engine_rest(engine);
}

/* Goes straight to the file. */
static void append_large(struct call *call, struct engine *engine)
{
    struct batch_spec spec = {.records = 1,
                              .value_bytes = LARGE,
                              .timestamp = 7000,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    call_append(call, engine, large, batch_make(&spec, large, sizeof(large)));
}

/* The file of the open segment fails; what follows of a kind fails, too, or is kept. */
static void fail_file_then(struct call *call, struct engine *engine, enum io_op op, enum err err)
{
    engine_fail(IO_WRITE, 0, 1, ERR_IO);
    append_large(call, engine);
    for (uint32_t i = 0; engine_fault.hits == 0; i++) {
        assert_true(i < 1000);
        engine_turns(engine, 1);
    }
    engine_fail(op, 0, 1, err);
}

static void assert_file(struct engine *engine, uint32_t index, uint32_t generation, uint64_t end)
{
    uint8_t block[SEGMENT_HEADER_BYTES];
    struct segment_header header;
    struct segment_seal seal;
    engine_peek(engine, index, 0, block, sizeof(block));
    assert_int_equal(segment_header_decode(block, &header), OK);
    assert_int_equal(header.file_generation, generation);
    engine_peek(engine, index, SEGMENT_SEAL_POSITION, block, sizeof(block));
    assert_int_equal(segment_seal_decode(block, &seal), OK);
    assert_int_equal(seal.end_offset, end);
}

static void check_anew(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    engine_append_each(engine, 3, SMALL);
    engine_fail(IO_WRITE, 0, 1, ERR_IO);
    append_large(&call, engine);
    call_wait(&call);
    assert_int_equal(call.err, ERR_STORAGE);
    settle(engine); /* Nobody has to append. */
    assert_int_equal(engine_stat(engine, STAT_SEGMENTS_REBUILT), 1);
    assert_int_equal(engine->failures, 0);
    assert_int_equal(engine->segment_count, 2);
    assert_int_equal(engine->segments[0].end_offset, 3);
    assert_file(engine, 0, 1, 3);
    engine_append_each(engine, 2, SMALL);
    claim_readable(engine, 5);
    claim_crash(engine, io);
    assert_int_equal(engine->journals_opened.frames, 2); /* Nothing of it was in the journal. */
    assert_file(engine, 0, 1, 3);
    claim_readable(engine, 5);
}

static void a_file_that_failed_is_made_anew(void **state)
{
    (void)state;
    on_each_engine(check_anew);
}

/* What the file has already is copied, what memory has is added. */
static void check_parts(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    for (uint32_t i = 0; i < 6; i++) {
        append_large(&call, engine);
        call_wait(&call);
        assert_int_equal(call.err, OK);
        engine_append_each(engine, 1, SMALL);
    }
    engine_fail(IO_WRITE, 0, 1, ERR_IO);
    append_large(&call, engine);
    call_wait(&call);
    assert_int_equal(call.err, ERR_STORAGE);
    settle(engine);
    assert_int_equal(engine_stat(engine, STAT_SEGMENTS_REBUILT), 1);
    assert_file(engine, 0, 1, 12);
    claim_restart(engine);
    claim_readable(engine, 12);
    claim_crash(engine, io);
    claim_readable(engine, 12);
}

static void what_a_file_has_is_copied(void **state)
{
    (void)state;
    on_each_engine(check_parts);
}

/* A roll meets the failure: of what it writes back, or of the seal. */
static void check_roll(struct engine *engine, const struct io_engine *io)
{
    for (uint32_t pass = 0; pass < 3; pass++) {
        engine->config.segment_records = 3;
        assert_int_equal(engine_assign(engine), OK);
        engine_append_each(engine, 3, SMALL);
        engine_fail(IO_WRITE, 0, 1, ERR_IO);
        engine_fault.pass = pass;
        engine_append_each(engine, 1, SMALL);
        settle(engine);
        assert_int_equal(engine_fault.hits, 1);
        assert_int_equal(engine_stat(engine, STAT_SEGMENTS_REBUILT), 1);
        uint32_t last = engine->segment_count - 2;
        assert_file(engine, last, 1, engine->segments[last].end_offset);
        claim_crash(engine, io);
        claim_readable(engine, 4 * (pass + 1));
    }
}

static void a_roll_makes_the_file_anew(void **state)
{
    (void)state;
    on_each_engine(check_roll);
}

/* A crash where the rebuild comes to each kind of operation. */
static void check_crashes(struct engine *engine, const struct io_engine *io)
{
    static const enum io_op ops[] = {IO_UNLINK, IO_OPEN, IO_ALLOCATE, IO_READ,
                                     IO_WRITE,  IO_SYNC, IO_RENAME,   IO_SYNC_DIR};

    uint64_t end = 0;
    for (uint32_t i = 0; i < ARRAY_COUNT(ops); i++) {
        struct call call;
        engine_append_each(engine, 3, SMALL);
        end += 3;
        fail_file_then(&call, engine, ops[i], OK);
        for (uint32_t turns = 0; engine_fault.hits == 0; turns++) {
            assert_true(turns < 1000);
            engine_turns(engine, 1);
        }
        assert_int_equal(engine_stat(engine, STAT_SEGMENTS_REBUILT), 0);
        claim_crash(engine, io);
        claim_readable(engine, end);
    }
}

static void a_crash_of_a_rebuild_loses_nothing(void **state)
{
    (void)state;
    on_each_engine(check_crashes);
}

/* As if the file was made anew behind the back of its checkpoint. */
static void raise_generation(struct engine *engine)
{
    uint8_t block[SEGMENT_HEADER_BYTES];
    struct segment_header header;
    engine_peek(engine, 0, 0, block, sizeof(block));
    assert_int_equal(segment_header_decode(block, &header), OK);
    header.file_generation++;
    segment_header_encode(&header, block);
    engine_poke(engine, 0, 0, block, sizeof(block));
}

/* A start's bytes read, with a checkpoint behind two large extents. */
static uint64_t start_behind_checkpoint(struct engine *engine, const struct io_engine *io,
                                        bool raise, uint64_t *position)
{
    struct call call;
    for (uint32_t i = 0; i < 2; i++) {
        append_large(&call, engine);
        call_wait(&call);
        assert_int_equal(call.err, OK);
    }
    struct journal *journal = engine->shard->journal;
    journal->records_due = true;
    journal_kick(journal);
    settle(engine);
    engine_append_each(engine, 1, SMALL);
    *position = shard_partition(engine->shard, &engine->id)->segments[0]->position_end;
    engine_kill(engine);
    if (raise) {
        raise_generation(engine);
    }
    assert_int_equal(engine_open_journals(engine, io), OK);
    uint64_t bytes = engine->journals_opened.bytes_read;
    assert_int_equal(engine->journals_opened.frames, 1);
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    claim_readable(engine, 3);
    return bytes;
}

static void check_checkpoint(struct engine *engine, const struct io_engine *io)
{
    struct claim_start start = {.journals = {.cores = 1}};
    struct engine *other = claim_begin(io, &start);
    uint64_t position;
    uint64_t bytes = start_behind_checkpoint(engine, io, false, &position);
    assert_true(position > SEGMENT_DATA_POSITION + 2 * (uint64_t)LARGE);
    uint64_t again = start_behind_checkpoint(other, io, true, &position);
    assert_int_equal(again - bytes, position - SEGMENT_DATA_POSITION);
    claim_end(other);
}

static void a_checkpoint_of_an_older_file_has_no_position(void **state)
{
    (void)state;
    on_each_engine(check_checkpoint);
}

/* Something fails while the file is made anew. */
static void check_second(struct engine *engine, const struct io_engine *io)
{
    static const enum io_op ops[] = {IO_OPEN, IO_ALLOCATE, IO_READ,    IO_WRITE,
                                     IO_SYNC, IO_RENAME,   IO_SYNC_DIR};

    uint64_t end = 0;
    for (uint32_t i = 0; i < ARRAY_COUNT(ops); i++) {
        struct call call;
        engine_append_each(engine, 3, SMALL);
        end += 3;
        fail_file_then(&call, engine, ops[i], ERR_IO);
        call_wait(&call);
        settle(engine);
        assert_true(call.err == ERR_STORAGE || call.err == ERR_IO);
        assert_int_equal(engine_fault.hits, 1);
        assert_int_equal(engine->failures, i + 1);
        assert_int_equal(engine->failure, ERR_IO);
        assert_non_null(strstr(engine->failure_file, ".seg"));
        assert_int_equal(engine_stat(engine, STAT_SEGMENTS_REBUILT), 0);
        assert_int_equal(claim_append_plain(engine, 1, SMALL, 5000), ERR_IO);
        assert_int_equal(claim_fetch(&call, engine, 0), ERR_IO);
        assert_int_equal(engine_assign(engine), ERR_IO);
        engine_fault.op = IO_NONE;
        if (i % 2 == 0) {
            claim_crash(engine, io);
        } else {
            claim_restart(engine);
        }
        claim_readable(engine, end);
    }
}

static void a_second_failure_ends_the_shard(void **state)
{
    (void)state;
    on_each_engine(check_second);
}

/* Blocks that were reserved have no space. */
static void check_space(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    engine_append_each(engine, 2, SMALL);
    engine_fail(IO_WRITE, 0, 1, ERR_NO_SPACE);
    append_large(&call, engine);
    call_wait(&call);
    settle(engine);
    assert_int_equal(engine->failures, 1);
    assert_int_equal(engine->failure, ERR_NO_SPACE);
    claim_crash(engine, io);
    engine_append_each(engine, 1, SMALL);
    engine_fail(IO_WRITE, 0, 1, ERR_NO_SPACE);
    assert_int_not_equal(claim_append_plain(engine, 1, SMALL, 5000), OK);
    assert_int_equal(engine->failures, 2);
    assert_non_null(strstr(engine->failure_file, ".jnl"));
    engine_fault.op = IO_NONE;
    claim_crash(engine, io);
    claim_readable(engine, 3);
}

static void reserved_blocks_without_space_end_the_shard(void **state)
{
    (void)state;
    on_each_engine(check_space);
}

/* Those that wait, for records or for their append, hear of it. */
static void check_waiting(struct engine *engine, const struct io_engine *io)
{
    struct call fetch, call;
    (void)io;
    engine_append_each(engine, 2, SMALL);
    call_fetch(&fetch, engine, 2, true);
    fail_file_then(&call, engine, IO_RENAME, ERR_IO);
    call_wait(&call);
    call_wait(&fetch);
    assert_int_equal(fetch.err, ERR_IO);
    engine_fault.op = IO_NONE;
    engine_stop_shard(engine); /* As always, but that it is not clean. */
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    assert_true(engine->journals_opened.frames > 0);
    claim_readable(engine, 2);
}

static void who_waits_hears_that_there_is_no_way_on(void **state)
{
    (void)state;
    on_each_engine(check_waiting);
}

/* Where nobody else is to be told the process ends, and says why. */
static void check_end(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    int ends[2];
    char said[1024] = "";
    engine_append_each(engine, 2, SMALL);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        engine->shard->options.hooks.fail = NULL;
        shard_fail(engine->shard, "this failed", "that/file", ERR_IO);
        _exit(99);
    }
    int status;
    (void)close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    ssize_t size = read(ends[0], said, sizeof(said) - 1);
    (void)close(ends[0]);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_true(size > 0);
    assert_non_null(strstr(said, "floe: cannot go on: this failed (core 0): that/file: "
                                 "input/output error."));
}

static void a_server_ends_with_a_line(void **state)
{
    (void)state;
    on_each_engine(check_end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_failed_is_made_anew),
        cmocka_unit_test(what_a_file_has_is_copied),
        cmocka_unit_test(a_roll_makes_the_file_anew),
        cmocka_unit_test(a_crash_of_a_rebuild_loses_nothing),
        cmocka_unit_test(a_checkpoint_of_an_older_file_has_no_position),
        cmocka_unit_test(a_second_failure_ends_the_shard),
        cmocka_unit_test(reserved_blocks_without_space_end_the_shard),
        cmocka_unit_test(who_waits_hears_that_there_is_no_way_on),
        cmocka_unit_test(a_server_ends_with_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
