/* How many files a shard keeps open, and what becomes of it when no descriptor is left. */
#include "tests/unit/shard/claim_fixture.h"

#include "shard/shard_internal.h"
#include "shard/survey.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

enum { SEALED = 60, FEW = 10, OTHERS = 20, WRITTEN = 15 };

static const struct claim_start journaled = {.journals = {.cores = 1}};

static void assert_all_read(struct engine *engine, uint64_t first, uint64_t end)
{
    for (uint64_t offset = first; offset < end; offset++) {
        assert_int_equal(claim_read_at(engine, offset), OK);
    }
}

static enum err append_one(struct engine *engine)
{
    return claim_append_plain(engine, 1, 10, 1);
}

/* A segment for each record, all sealed; then another life, which has opened none of them. */
static void fill(struct engine *engine, uint32_t files_max)
{
    engine->config.segment_records = 1;
    assert_int_equal(engine_assign(engine), OK); /* The partition learns the setting. */
    engine_append_each(engine, SEALED, 10);
    engine->files_max = files_max;
    claim_restart(engine);
    claim_restart(engine);
    assert_int_equal(engine->shard->files_open, 0);
}

/* How many descriptors the process can still get; looks no further than SEALED. */
static uint32_t descriptors_left(void)
{
    int taken[SEALED];
    uint32_t count = 0;
    while (count < SEALED && (taken[count] = dup(0)) >= 0) {
        count++;
    }
    for (uint32_t i = 0; i < count; i++) {
        close(taken[i]);
    }
    return count;
}

/* From here on the process gets no more than `more` descriptors beside those that it has. */
static void limit_descriptors(struct rlimit *before, uint32_t more)
{
    assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
    struct rlimit limit = {.rlim_max = before->rlim_max};
    do {
        limit.rlim_cur++;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    } while (descriptors_left() < more);
}

static void check_few(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    fill(engine, FEW);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint64_t offset = 0; offset < SEALED; offset++) {
            assert_int_equal(claim_read_at(engine, offset), OK);
            assert_true(engine->shard->files_open <= FEW);
        }
    }
    assert_int_equal(engine->shard->files_open, FEW);
    /* Twice each, and the newest one before the first read: what is deleted. */
    assert_int_equal(engine_stat(engine, STAT_FILES_EVICTED), 2 * SEALED - FEW + 1);
    uint64_t opened = engine_stat(engine, STAT_FILES_OPENED);
    assert_all_read(engine, SEALED - FEW, SEALED); /* Used last: they stayed. */
    assert_int_equal(engine_stat(engine, STAT_FILES_OPENED), opened);
    assert_int_equal(claim_read_at(engine, 0), OK);
    assert_int_equal(engine_stat(engine, STAT_FILES_OPENED), opened + 1);
    assert_int_equal(engine_stat(engine, STAT_FILES_REFUSED), 0);
}

static void files_used_longest_ago_are_closed_beyond_the_limit(void **state)
{
    (void)state;
    claim_on_wrapped(check_few);
}

static void check_open_segments(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    fill(engine, OTHERS);
    static struct segment_info segments[ENGINE_SEGMENTS_MAX];
    uint32_t segment_count = engine->segment_count;
    struct partition_id id = engine->id;
    memcpy(segments, engine->segments, sizeof(segments));
    for (uint32_t i = 0; i < OTHERS; i++) {
        engine->id.partition = 100 + i;
        engine->segment_count = 0;
        assert_int_equal(engine_assign(engine), OK);
        assert_int_equal(append_one(engine), i < WRITTEN ? OK : ERR_STORAGE);
    }
    memcpy(engine->segments, segments, sizeof(segments));
    engine->segment_count = segment_count;
    engine->id = id;
    assert_all_read(engine, 0, SEALED);
    assert_int_equal(engine->shard->files_open, OTHERS);
    assert_int_equal(engine->shard->files_idle, OTHERS - WRITTEN);
    uint64_t opened = engine_stat(engine, STAT_FILES_OPENED);
    for (uint32_t i = 0; i < WRITTEN; i++) { /* None of theirs is opened again. */
        engine->id.partition = 100 + i;
        struct call call;
        call_sync(&call, engine);
        call_wait(&call);
        assert_int_equal(call.err, OK);
    }
    assert_int_equal(engine_stat(engine, STAT_FILES_OPENED), opened);
    engine->id = id;
}

static void open_segments_keep_theirs_and_leave_some_to_readers(void **state)
{
    (void)state;
    claim_on_wrapped(check_open_segments);
}

static void check_room(struct engine *engine, const struct io_engine *io)
{
    struct rlimit before;
    (void)io;
    fill(engine, 1000);
    limit_descriptors(&before, FEW);
    for (uint32_t round = 0; round < 2; round++) {
        assert_all_read(engine, 0, SEALED);
    }
    assert_true(engine_stat(engine, STAT_FILES_REFUSED) > 0);
    assert_true(engine->shard->files_open <= FEW);
    for (uint64_t offset = 0; engine->shard->files_open < FEW; offset++) {
        assert_true(offset < SEALED);
        assert_int_equal(claim_read_at(engine, offset), OK);
    }
    /* Idle ones have them all; a roll needs some. */
    uint64_t refused = engine_stat(engine, STAT_FILES_REFUSED);
    assert_int_equal(append_one(engine), OK);
    assert_true(engine_stat(engine, STAT_FILES_REFUSED) > refused);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    claim_restart(engine);
    assert_int_equal(claim_latest(engine), SEALED + 1);
    assert_all_read(engine, 0, SEALED + 1);
}

static void idle_files_make_room_when_no_descriptor_is_left(void **state)
{
    (void)state;
    claim_on_wrapped(check_room);
}

static void check_none(struct engine *engine, const struct io_engine *io)
{
    struct rlimit before;
    (void)io;
    fill(engine, 1000);
    limit_descriptors(&before, 0);
    assert_int_equal(claim_read_at(engine, 3), ERR_NOT_READY); /* What is deleted is not known. */
    assert_int_equal(append_one(engine), ERR_NOT_READY);       /* Who wrote last is not known. */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(append_one(engine), OK);
    assert_all_read(engine, 0, SEALED + 1);
    claim_restart(engine);
    assert_int_equal(claim_latest(engine), SEALED + 1);
    assert_all_read(engine, 0, SEALED + 1);
}

static void without_a_descriptor_requests_fail_and_nothing_is_damaged(void **state)
{
    (void)state;
    claim_on_wrapped(check_none);
}

static void check_no_new_file(struct engine *engine, const struct io_engine *io)
{
    struct rlimit before;
    (void)io;
    limit_descriptors(&before, 0);
    assert_int_equal(append_one(engine), ERR_STORAGE);
    assert_int_equal(append_one(engine), ERR_STORAGE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(append_one(engine), OK);
    claim_restart(engine);
    assert_int_equal(claim_latest(engine), 1);
    assert_int_equal(claim_read_at(engine, 0), OK);
}

static void without_a_descriptor_a_file_is_made_at_a_later_try(void **state)
{
    (void)state;
    claim_on_wrapped(check_no_new_file);
}

static void check_replay(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 5, 100);
    engine_kill(engine);
    engine_fault.err = ERR_LIMIT;
    engine_fault.pass = 2; /* MANIFEST and journal; not the file. */
    engine_fault.op = IO_OPEN;
    assert_int_equal(engine_open_journals(engine, io), ERR_LIMIT);
    assert_non_null(strstr(engine->journals_opened.message, "ulimit -n"));
    engine_fault.op = IO_NONE;
    engine_kill(engine);
    assert_int_equal(engine_open_journals(engine, io), OK);
    assert_int_equal(engine->journals_opened.frames, 5);
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(claim_latest(engine), 5);
    assert_all_read(engine, 0, 5);
    assert_int_equal(append_one(engine), OK);
}

static void a_replay_without_a_descriptor_marks_nothing(void **state)
{
    (void)state;
    claim_on_wrapped_from(&journaled, check_replay);
}

struct walked {
    struct survey survey;
    struct survey_walk walk;
    bool done;
};

static void walk_done(struct completion *done)
{
    CONTAINER_OF(done, struct walked, walk.done)->done = true;
}

static void check_survey(struct engine *engine, const struct io_engine *io)
{
    static struct walked walked;
    (void)io;
    engine_append_each(engine, 5, 100);
    walked = (struct walked){.walk.survey = &walked.survey};
    engine_fault.err = ERR_LIMIT;
    engine_fault.op = IO_OPEN;
    completion_init(&walked.walk.done, walk_done);
    survey_start(&walked.walk, &engine->reactor, engine->dir);
    while (!walked.done) {
        engine_turns(engine, 1);
    }
    engine_fault.op = IO_NONE;
    assert_int_equal(walked.walk.done.result, ERR_LIMIT);
    assert_int_equal(walked.survey.fault_count, 0);
    survey_free(&walked.survey);
}

static void a_survey_without_a_descriptor_ends_and_blames_no_file(void **state)
{
    (void)state;
    claim_on_wrapped(check_survey);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_used_longest_ago_are_closed_beyond_the_limit),
        cmocka_unit_test(open_segments_keep_theirs_and_leave_some_to_readers),
        cmocka_unit_test(idle_files_make_room_when_no_descriptor_is_left),
        cmocka_unit_test(without_a_descriptor_requests_fail_and_nothing_is_damaged),
        cmocka_unit_test(without_a_descriptor_a_file_is_made_at_a_later_try),
        cmocka_unit_test(a_replay_without_a_descriptor_marks_nothing),
        cmocka_unit_test(a_survey_without_a_descriptor_ends_and_blames_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
