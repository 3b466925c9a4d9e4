/* Files of removed segments are used again: what that saves, and what it must not bring back. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/limits.h"
#include "shard/pool.h"
#include "shard/segment.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { RECORDS = 4, LARGE = 150000 };

static void on_each_engine(void (*claim)(struct engine *engine, const struct io_engine *io))
{
    claim_on_wrapped_from(&(struct claim_start){.segment_records = RECORDS}, claim);
}

/* Files in pool/. */
static uint32_t pool_files(const struct engine *engine)
{
    char path[256];
    uint32_t count = 0;
    (void)snprintf(path, sizeof(path), "%s/pool", engine->dir);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        count += entry->d_name[0] != '.';
    }
    closedir(dir);
    return count;
}

static void settle(struct engine *engine)
{
    engine_turns(engine, 1); /* What was deferred begins. */
    engine_rest(engine);
}

static void trim_to(struct engine *engine, int64_t offset)
{
    struct call call;
    call_trim(&call, engine, offset);
    assert_int_equal(call.err, OK);
    settle(engine);
}

/* Two segments, full; the first goes. */
static void remove_first(struct engine *engine)
{
    engine_append_each(engine, RECORDS + 1, LARGE);
    trim_to(engine, RECORDS);
}

static enum err read_at(struct engine *engine, uint64_t offset)
{
    struct call call;
    enum err err = claim_fetch(&call, engine, offset);
    call_release(&call);
    return err;
}

static void assert_readable(struct engine *engine, uint64_t start, uint64_t end)
{
    assert_int_equal(claim_latest(engine), end);
    for (uint64_t offset = start; offset < end; offset++) {
        assert_int_equal(read_at(engine, offset), OK);
    }
}

static void check_saves(struct engine *engine, const struct io_engine *io)
{
    const uint32_t *seen = engine_fault.seen;
    remove_first(engine);
    assert_int_equal(pool_files(engine), 1);
    assert_true(engine_stat(engine, STAT_POOL_BYTES) > RECORDS * LARGE);
    engine_append_each(engine, RECORDS - 1, LARGE); /* The second segment is full. */
    settle(engine);
    uint64_t zeros = engine_stat(engine, STAT_ZERO_BYTES);
    uint64_t written = engine_stat(engine, STAT_FILE_WRITE_BYTES);
    uint32_t allocated = seen[IO_ALLOCATE];
    engine_append_each(engine, RECORDS - 1, LARGE); /* The third, on the file of the first. */
    settle(engine);
    assert_int_equal(engine_stat(engine, STAT_SEGMENTS_RECYCLED), 1);
    assert_int_equal(engine_stat(engine, STAT_POOL_BYTES), 0);
    assert_int_equal(pool_files(engine), 0);
    assert_int_equal(engine_stat(engine, STAT_ZERO_BYTES), zeros);
    assert_int_equal(seen[IO_ALLOCATE], allocated);
    written = engine_stat(engine, STAT_FILE_WRITE_BYTES) - written;
    assert_true(written < (uint64_t)(RECORDS - 1) * LARGE * 11 / 10); /* A byte for a byte. */
    assert_readable(engine, RECORDS, 3 * RECORDS - 1);
    for (uint32_t i = 0; i < 2; i++) {
        claim_crash(engine, io); /* What stands behind the end is of the earlier life. */
        assert_readable(engine, RECORDS, 3 * RECORDS - 1);
    }
    engine_append_each(engine, 1, 100);
}

static void a_recycled_file_is_written_once(void **state)
{
    (void)state;
    on_each_engine(check_saves);
}

static void check_steady(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    remove_first(engine);
    uint64_t zeros = 0;
    for (uint32_t i = 1; i < 8; i++) {
        engine_append_each(engine, RECORDS, LARGE);
        trim_to(engine, RECORDS * (i + 1));
        assert_int_equal(pool_files(engine), 1);
        assert_int_equal(engine_stat(engine, STAT_SEGMENTS_RECYCLED), i);
        uint64_t now = engine_stat(engine, STAT_ZERO_BYTES);
        assert_true(i == 1 || now == zeros); /* The second segment was the last new file. */
        zeros = now;
    }
    assert_readable(engine, 8 * RECORDS, 8 * RECORDS + 1);
}

static void a_log_that_is_trimmed_goes_on_in_its_own_files(void **state)
{
    (void)state;
    on_each_engine(check_steady);
}

static void check_order(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    const uint32_t *seen = engine_fault.seen;
    engine_append_each(engine, RECORDS + 1, LARGE);
    settle(engine);
    uint32_t syncs = seen[IO_SYNC_DIR];
    uint32_t unlinks = seen[IO_UNLINK];
    engine->hold_trims = true;
    struct call call;
    call_trim_start(&call, engine, RECORDS);
    engine_turns(engine, 50);
    assert_int_equal(pool_files(engine), 0); /* The map has not forgotten it. */
    assert_true(engine_has_file(engine, engine->segments[0].id));
    engine->hold_trims = false;
    engine_answer_trim(engine);
    call_wait(&call);
    settle(engine);
    assert_int_equal(pool_files(engine), 1);
    assert_int_equal(seen[IO_SYNC_DIR] - syncs, 2); /* Where it was, and where it is. */
    assert_int_equal(seen[IO_UNLINK], unlinks);
}

static void the_map_forgets_first_and_both_directories_are_synced(void **state)
{
    (void)state;
    on_each_engine(check_order);
}

static void check_failures(struct engine *engine, const struct io_engine *io)
{
    (void)io;

    static const enum io_op ops[] = {IO_STAT, IO_SPACE, IO_RENAME, IO_SYNC_DIR};

    for (uint32_t i = 0; i < ARRAY_COUNT(ops); i++) {
        engine_append_each(engine, i == 0 ? RECORDS + 1 : RECORDS, LARGE);
        uint64_t id = engine->segments[0].id;
        engine_fault.op = ops[i];
        engine_fault.err = ERR_IO;
        trim_to(engine, RECORDS * (i + 1));
        engine_fault.op = IO_NONE;
        assert_false(engine_has_file(engine, id));
        assert_int_equal(pool_files(engine), 0);
        assert_int_equal(engine_stat(engine, STAT_POOL_BYTES), 0);
    }
    assert_readable(engine, 4 * RECORDS, 4 * RECORDS + 1);
}

static void what_cannot_be_kept_goes(void **state)
{
    (void)state;
    on_each_engine(check_failures);
}

static void check_damaged(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, RECORDS + 1, LARGE);
    claim_crash(engine, io);
    engine_append_each(engine, 2 * RECORDS, LARGE); /* So there is room in the pool. */
    engine_spoil(engine, 0, SEGMENT_DATA_POSITION + 200);
    assert_int_equal(read_at(engine, 0), ERR_DAMAGED);
    trim_to(engine, RECORDS);
    assert_int_equal(pool_files(engine), 0);
    assert_int_equal(engine_stat(engine, STAT_SEGMENTS_REMOVED), 1);
}

static void a_damaged_file_is_not_used_again(void **state)
{
    (void)state;
    on_each_engine(check_damaged);
}

static void check_bound(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, RECORDS + 1, LARGE);
    claim_crash(engine, io); /* Nothing was written lately. */
    uint64_t first = engine->segments[0].id;
    trim_to(engine, RECORDS);
    assert_false(engine_has_file(engine, first));
    assert_int_equal(pool_files(engine), 0);
    /* Many: no more than so many, and no more than was written. */
    engine->config.segment_records = 1;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 2 * POOL_FILES_MAX, 10000);
    trim_to(engine, (int64_t)claim_latest(engine) - 1);
    assert_true(pool_files(engine) > 1);
    assert_true(pool_files(engine) <= POOL_FILES_MAX);
    engine_stop_shard(engine);
    assert_int_equal(pool_files(engine), 0);
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
}

static void the_pool_is_bounded_and_ends_with_the_life(void **state)
{
    (void)state;
    on_each_engine(check_bound);
}

static void check_full(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    remove_first(engine);
    engine_append_each(engine, 1, 100);
    settle(engine);
    assert_int_equal(pool_files(engine), 1);
    engine_fault.hits = 0;
    engine_fault.op = IO_ALLOCATE;
    engine_fault.err = ERR_NO_SPACE;
    engine_fault.most = 1;
    engine_append_each(engine, 1, 900000); /* Longer than the file. */
    assert_int_equal(engine_fault.hits, 1);
    assert_int_equal(pool_files(engine), 0);
    assert_int_equal(engine_stat(engine, STAT_POOL_BYTES), 0);
    assert_readable(engine, RECORDS, RECORDS + 3);
}

static void a_full_disk_empties_the_pool_first(void **state)
{
    (void)state;
    on_each_engine(check_full);
}

static void check_dropped(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    engine_append_each(engine, 2 * RECORDS + 1, LARGE);
    settle(engine);
    call_drop(&call, engine);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    assert_true(pool_files(engine) >= 2);
    engine->segment_count = 0; /* Another topic. */
    engine->id.topic.bytes[0]++;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 1, 100);
    assert_int_equal(engine_stat(engine, STAT_SEGMENTS_RECYCLED), 1);
    assert_readable(engine, 0, 1);
    claim_crash(engine, io);
    assert_readable(engine, 0, 1);
}

static void files_of_a_deleted_topic_serve_another(void **state)
{
    (void)state;
    on_each_engine(check_dropped);
}

/* A segment that ends early keeps little of a long file. */
static void check_given_back(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    char path[256];
    remove_first(engine);
    engine_append_each(engine, RECORDS - 1, LARGE);
    engine_append_each(engine, RECORDS + 1, 100);
    settle(engine);
    assert_int_equal(engine_stat(engine, STAT_SEGMENTS_RECYCLED), 1);
    engine_segment_path(engine, 1, path, sizeof(path));
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    assert_int_equal(fclose(file), 0);
    assert_true(size < 64 << 10);
    assert_readable(engine, RECORDS, 3 * RECORDS + 1);
}

static void the_rest_of_a_long_file_is_given_back(void **state)
{
    (void)state;
    on_each_engine(check_given_back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recycled_file_is_written_once),
        cmocka_unit_test(a_log_that_is_trimmed_goes_on_in_its_own_files),
        cmocka_unit_test(the_map_forgets_first_and_both_directories_are_synced),
        cmocka_unit_test(what_cannot_be_kept_goes),
        cmocka_unit_test(a_damaged_file_is_not_used_again),
        cmocka_unit_test(the_pool_is_bounded_and_ends_with_the_life),
        cmocka_unit_test(a_full_disk_empties_the_pool_first),
        cmocka_unit_test(files_of_a_deleted_topic_serve_another),
        cmocka_unit_test(the_rest_of_a_long_file_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
