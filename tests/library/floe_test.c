/* libfloe through its public header alone, on each engine, in a handle of this thread and in a
 * shared one: what was appended is read, now and after the handle was opened again. */
#include "shard/floe.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    char dir[64];
    struct floe_options options;
    struct floe *log;
    struct floe_partition *partition;
};

static void open_log(struct world *world)
{
    char message[FLOE_MESSAGE_BYTES];
    int result = floe_open(world->dir, &world->options, &world->log, message, sizeof(message));
    if (result != FLOE_OK) {
        fail_msg("%s: %s", floe_error_name(result), message);
    }
    assert_string_equal(message, "");
    assert_int_equal(floe_partition_open(world->log, "orders", 0, NULL, &world->partition),
                     FLOE_OK);
}

static void close_log(struct world *world)
{
    assert_int_equal(floe_close(world->log), FLOE_OK);
    world->log = NULL;
}

static int setup(void **state, uint32_t engine, uint32_t shared)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world->options = (struct floe_options)FLOE_OPTIONS;
    world->options.engine = engine;
    world->options.shared = shared;
    snprintf(world->dir, sizeof(world->dir), "floe-test-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    open_log(world);
    *state = world;
    return 0;
}

static int setup_posix_own(void **state)
{
    return setup(state, FLOE_ENGINE_POSIX, 0);
}

static int setup_posix_shared(void **state)
{
    return setup(state, FLOE_ENGINE_POSIX, 1);
}

static int setup_auto_own(void **state)
{
    return setup(state, FLOE_ENGINE_AUTO, 0);
}

static int setup_auto_shared(void **state)
{
    return setup(state, FLOE_ENGINE_AUTO, 1);
}

static int teardown(void **state)
{
    struct world *world = *state;
    if (world->log != NULL) {
        close_log(world);
    }
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", world->dir);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

static uint64_t append_text(struct world *world, const char *key, const char *value)
{
    struct floe_record record = {
        .key = key,
        .value = value,
        .key_size = key == NULL ? 0 : strlen(key),
        .value_size = value == NULL ? 0 : strlen(value),
        .timestamp_ms = FLOE_NOW,
    };
    uint64_t offset = UINT64_MAX;
    assert_int_equal(floe_append(world->partition, &record, &offset), FLOE_OK);
    return offset;
}

static void expect_text(struct floe_reader *reader, uint64_t offset, const char *key,
                        const char *value)
{
    struct floe_view view;
    assert_int_equal(floe_reader_next(reader, &view), FLOE_OK);
    assert_int_equal(view.offset, offset);
    assert_true(view.timestamp_ms >= 0);
    assert_int_equal(view.key == NULL, key == NULL);
    assert_int_equal(view.value == NULL, value == NULL);
    if (key != NULL) {
        assert_int_equal(view.key_size, strlen(key));
        assert_memory_equal(view.key, key, view.key_size);
    }
    if (value != NULL) {
        assert_int_equal(view.value_size, strlen(value));
        assert_memory_equal(view.value, value, view.value_size);
    }
}

static void expect_end(struct floe_reader *reader)
{
    struct floe_view view;
    assert_int_equal(floe_reader_next(reader, &view), FLOE_END);
}

static struct floe_reader *read_from(struct world *world, uint64_t offset)
{
    struct floe_reader *reader;
    assert_int_equal(floe_reader_open(world->partition, offset, &reader), FLOE_OK);
    return reader;
}

static void what_was_appended_is_read_now_and_after_another_start(void **state)
{
    struct world *world = *state;
    assert_int_equal(append_text(world, "k", "first"), 0);
    assert_int_equal(append_text(world, NULL, "second"), 1);
    assert_int_equal(append_text(world, "", NULL), 2);
    assert_int_equal(append_text(world, NULL, ""), 3);
    for (uint32_t life = 0; life < 3; life++) {
        struct floe_reader *reader = read_from(world, FLOE_START);
        expect_text(reader, 0, "k", "first");
        expect_text(reader, 1, NULL, "second");
        expect_text(reader, 2, "", NULL);
        expect_text(reader, 3, NULL, "");
        for (uint32_t i = 0; i < life; i++) {
            expect_text(reader, 4 + i, NULL, "later");
        }
        expect_end(reader);
        expect_end(reader);
        assert_int_equal(append_text(world, NULL, "later"), 4 + life);
        expect_text(reader, 4 + life, NULL, "later");
        expect_end(reader);
        assert_int_equal(floe_reader_close(reader), FLOE_OK);
        close_log(world);
        open_log(world);
    }
}

static void batches_hold_together_and_headers_come_back(void **state)
{
    struct world *world = *state;
    const struct floe_header headers[] = {{"trace", "abc", 5, 3}, {"none", NULL, 4, 0}};
    const struct floe_record records[] = {
        {.value = "a", .value_size = 1, .timestamp_ms = 1000},
        {.value = "b",
         .value_size = 1,
         .timestamp_ms = 2000,
         .headers = headers,
         .header_count = 2},
        {.value = "c", .value_size = 1, .timestamp_ms = 1500},
    };
    uint64_t offset = UINT64_MAX;
    assert_int_equal(floe_append_batch(world->partition, records, 3, &offset), FLOE_OK);
    assert_int_equal(offset, 0);
    assert_int_equal(floe_append_batch(world->partition, records, 3, &offset), FLOE_OK);
    assert_int_equal(offset, 3);
    struct floe_reader *reader = read_from(world, 1);
    struct floe_view view;
    struct floe_header header;
    assert_int_equal(floe_reader_header(reader, 0, &header), FLOE_ERR_NOT_FOUND);
    assert_int_equal(floe_reader_next(reader, &view), FLOE_OK);
    assert_int_equal(view.offset, 1);
    assert_int_equal(view.timestamp_ms, 2000);
    assert_int_equal(view.header_count, 2);
    assert_int_equal(floe_reader_header(reader, 0, &header), FLOE_OK);
    assert_int_equal(header.name_size, 5);
    assert_memory_equal(header.name, "trace", 5);
    assert_memory_equal(header.value, "abc", 3);
    assert_int_equal(floe_reader_header(reader, 1, &header), FLOE_OK);
    assert_null(header.value);
    assert_int_equal(floe_reader_header(reader, 2, &header), FLOE_ERR_NOT_FOUND);
    expect_text(reader, 2, NULL, "c");
    assert_int_equal(floe_reader_header(reader, 0, &header), FLOE_ERR_NOT_FOUND);
    expect_text(reader, 3, NULL, "a");
}

static void a_reader_goes_where_it_is_sent(void **state)
{
    struct world *world = *state;
    struct floe_partition_options small = FLOE_PARTITION_OPTIONS;
    small.segment_records = 7;
    struct floe_partition *again;
    assert_int_equal(floe_partition_open(world->log, "orders", 0, &small, &again), FLOE_OK);
    for (uint64_t i = 0; i < 40; i++) {
        struct floe_record record = {
            .value = "x", .value_size = 1, .timestamp_ms = (int64_t)i * 10};
        assert_int_equal(floe_append(again, &record, NULL), FLOE_OK);
    }
    struct floe_reader *reader = read_from(world, FLOE_TAIL);
    uint64_t offset, start, end;
    assert_int_equal(floe_reader_offset(reader, &offset), FLOE_OK);
    assert_int_equal(offset, 40);
    expect_end(reader);
    for (uint64_t i = 0; i < 40; i += 3) {
        assert_int_equal(floe_reader_seek(reader, i), FLOE_OK);
        expect_text(reader, i, NULL, "x");
        assert_int_equal(floe_reader_seek_time(reader, (int64_t)i * 10 - (i > 0 ? 5 : 0)), FLOE_OK);
        expect_text(reader, i, NULL, "x");
    }
    assert_int_equal(floe_reader_offset(reader, &offset), FLOE_OK);
    assert_int_equal(floe_reader_seek(reader, 41), FLOE_ERR_OFFSET_RANGE);
    assert_int_equal(floe_reader_seek_time(reader, 100000), FLOE_ERR_NOT_FOUND);
    assert_int_equal(floe_reader_offset(reader, &end), FLOE_OK);
    assert_int_equal(end, offset); /* It stayed where it was. */
    assert_int_equal(floe_partition_offsets(again, &start, &end), FLOE_OK);
    assert_int_equal(start, 0);
    assert_int_equal(end, 40);
    struct floe_stats stats = {.struct_size = sizeof(stats)};
    assert_int_equal(floe_get_stats(world->log, &stats), FLOE_OK);
    assert_int_equal(stats.records_appended, 40);
    assert_int_equal(stats.segments_rolled, 5);
    assert_int_equal(stats.partitions, 1);
    close_log(world);
    open_log(world);
    reader = read_from(world, FLOE_START);
    for (uint64_t i = 0; i < 40; i++) {
        expect_text(reader, i, NULL, "x");
    }
    expect_end(reader);
}

/* Appends to many partitions that are submitted before the first wait share the round to the disk:
 * each partition's commit is one write, whatever the number of appends. */
static void submitted_appends_keep_their_order_and_share_writes(void **state)
{
    enum { PARTITIONS = 4, EACH = 20 };
    struct world *world = *state;
    struct floe_partition *partitions[PARTITIONS];
    struct floe_pending *appends[PARTITIONS * EACH];
    struct floe_record record = {.value = "v", .value_size = 1, .timestamp_ms = FLOE_NOW};
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        assert_int_equal(floe_partition_open(world->log, "many", i, NULL, &partitions[i]), FLOE_OK);
        assert_int_equal(floe_append(partitions[i], &record, NULL), FLOE_OK);
    }
    struct floe_stats before = {.struct_size = sizeof(before)}, after = before;
    assert_int_equal(floe_get_stats(world->log, &before), FLOE_OK);
    for (uint32_t i = 0; i < PARTITIONS * EACH; i++) {
        assert_int_equal(floe_append_submit(partitions[i % PARTITIONS], &record, 1, &appends[i]),
                         FLOE_OK);
    }
    assert_int_equal(floe_poll(world->log), FLOE_OK);
    for (uint32_t i = PARTITIONS * EACH; i > 0; i--) { /* In any order. */
        uint64_t offset;
        assert_int_equal(floe_append_wait(appends[i - 1], &offset), FLOE_OK);
        assert_int_equal(offset, 1 + (i - 1) / PARTITIONS);
        assert_int_equal(floe_append_wait(appends[i - 1], &offset), FLOE_ERR_CLOSED);
    }
    assert_int_equal(floe_get_stats(world->log, &after), FLOE_OK);
    assert_int_equal(after.batches_appended - before.batches_appended, PARTITIONS * EACH);
    if (world->options.shared == 0) { /* Else some were under way before the others came. */
        assert_int_equal(after.commits - before.commits, PARTITIONS);
    }
}

static void appends_that_nobody_waited_for_are_there_after_a_close(void **state)
{
    struct world *world = *state;
    struct floe_record record = {.value = "v", .value_size = 1, .timestamp_ms = FLOE_NOW};
    struct floe_pending *append;
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(floe_append_submit(world->partition, &record, 1, &append), FLOE_OK);
    }
    close_log(world);
    assert_int_equal(floe_append_wait(append, NULL), FLOE_ERR_CLOSED);
    open_log(world);
    uint64_t end;
    assert_int_equal(floe_partition_offsets(world->partition, NULL, &end), FLOE_OK);
    assert_int_equal(end, 10);
}

static void each_durability_is_taken_and_synced(void **state)
{
    struct world *world = *state;
    struct floe_partition *partitions[3];
    struct floe_record record = {.value = "v", .value_size = 1, .timestamp_ms = FLOE_NOW};
    for (uint32_t i = 0; i < 3; i++) {
        struct floe_partition_options options = FLOE_PARTITION_OPTIONS;
        options.durability = i;
        assert_int_equal(floe_partition_open(world->log, "d", i, &options, &partitions[i]),
                         FLOE_OK);
        assert_int_equal(floe_append(partitions[i], &record, NULL), FLOE_OK);
    }
    struct floe_stats before = {.struct_size = sizeof(before)}, after = before;
    assert_int_equal(floe_get_stats(world->log, &before), FLOE_OK);
    struct floe_pending *append;
    assert_int_equal(floe_append_submit(partitions[2], &record, 1, &append), FLOE_OK);
    assert_int_equal(floe_sync(world->log), FLOE_OK);
    assert_int_equal(floe_get_stats(world->log, &after), FLOE_OK);
    assert_int_equal(after.flushes - before.flushes, 2); /* The files of `os` and `memory`. */
    assert_int_equal(floe_append_wait(append, NULL), FLOE_OK);
    close_log(world);
    open_log(world);
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t end;
        assert_int_equal(floe_partition_open(world->log, "d", i, NULL, &partitions[i]), FLOE_OK);
        assert_int_equal(floe_partition_offsets(partitions[i], NULL, &end), FLOE_OK);
        assert_int_equal(end, i == 2 ? 2 : 1);
    }
}

static void a_wait_ends_with_a_record_or_in_time(void **state)
{
    struct world *world = *state;
    struct floe_reader *reader = read_from(world, FLOE_START);
    assert_int_equal(floe_reader_wait(reader, 0), FLOE_ERR_TIMEOUT);
    assert_int_equal(floe_reader_wait(reader, 20), FLOE_ERR_TIMEOUT);
    struct floe_record record = {.value = "v", .value_size = 1, .timestamp_ms = FLOE_NOW};
    struct floe_pending *append;
    assert_int_equal(floe_append_submit(world->partition, &record, 1, &append), FLOE_OK);
    assert_int_equal(floe_reader_wait(reader, -1), FLOE_OK);
    assert_int_equal(floe_reader_wait(reader, -1), FLOE_OK);
    expect_text(reader, 0, NULL, "v");
    assert_int_equal(floe_append_wait(append, NULL), FLOE_OK);
    assert_int_equal(floe_reader_wait(reader, 0), FLOE_ERR_TIMEOUT);
    expect_end(reader);
}

enum { FAR_BATCHES = 50, FAR_RECORDS = 100, FAR_BYTES = 1000 };

/* From `offset` to the end; how many records there were. */
static uint64_t read_far(struct floe_reader *reader, uint64_t offset)
{
    struct floe_view view;
    int result;
    uint64_t records = 0;
    while ((result = floe_reader_next(reader, &view)) == FLOE_OK) {
        assert_int_equal(view.offset, offset + records);
        assert_int_equal(view.value_size, FAR_BYTES);
        records++;
    }
    assert_int_equal(result, FLOE_END);
    return records;
}

static void who_is_far_behind_reads_each_part_of_the_files_once(void **state)
{
    struct world *world = *state;
    static char value[FAR_BYTES];
    struct floe_record records[FAR_RECORDS];
    for (uint32_t i = 0; i < FAR_RECORDS; i++) {
        records[i] =
            (struct floe_record){.value = value, .value_size = FAR_BYTES, .timestamp_ms = FLOE_NOW};
    }
    for (uint32_t i = 0; i < FAR_BATCHES; i++) {
        assert_int_equal(floe_append_batch(world->partition, records, FAR_RECORDS, NULL), FLOE_OK);
    }
    for (uint32_t read_only = 0; read_only < 2; read_only++) {
        close_log(world);
        world->options.mode = read_only == 0 ? FLOE_WRITE : FLOE_READ_ONLY;
        open_log(world);
        struct floe_stats before = {.struct_size = sizeof(before)}, after = before;
        struct floe_reader *reader = read_from(world, FLOE_START);
        struct floe_reader *second = read_from(world, FLOE_START);
        struct floe_view view;
        assert_int_equal(floe_reader_next(reader, &view), FLOE_OK); /* The index is there then. */
        assert_int_equal(floe_get_stats(world->log, &before), FLOE_OK);
        assert_int_equal(read_far(reader, 1), FAR_BATCHES * FAR_RECORDS - 1);
        assert_int_equal(read_far(second, 0), FAR_BATCHES * FAR_RECORDS);
        assert_int_equal(floe_reader_seek(second, FAR_RECORDS), FLOE_OK);
        assert_int_equal(read_far(second, FAR_RECORDS), (FAR_BATCHES - 1) * FAR_RECORDS);
        assert_int_equal(floe_get_stats(world->log, &after), FLOE_OK);
        uint64_t bytes = (uint64_t)FAR_BATCHES * FAR_RECORDS * FAR_BYTES;
        uint64_t read = after.file_read_bytes - before.file_read_bytes;
        assert_true(read > bytes - bytes / 10 && read < bytes + bytes / 10);
    }
}

/* Files that wait to be used again. */
static uint32_t pool_files(const struct world *world)
{
    char path[96];
    uint32_t count = 0;
    snprintf(path, sizeof(path), "%s/pool", world->dir);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        count += entry->d_name[0] != '.';
    }
    closedir(dir);
    return count;
}

static void open_window(struct world *world)
{
    struct floe_partition_options options = FLOE_PARTITION_OPTIONS;
    options.segment_records = 4;
    assert_int_equal(floe_partition_open(world->log, "window", 0, &options, &world->partition),
                     FLOE_OK);
}

/* A log of which the front is taken away again and again goes on in the files that it had. */
static void files_of_a_truncated_front_are_used_again(void **state)
{
    enum { SIZE = 100000, ROUNDS = 10, ROUND = 4 };
    struct world *world = *state;
    char *text = malloc(SIZE + 1);
    assert_non_null(text);
    memset(text, 'x', SIZE);
    text[SIZE] = 0;
    open_window(world);
    for (uint32_t i = 0; i < ROUNDS * ROUND; i++) {
        uint64_t start = 0;
        memset(text, 'a' + (int)i % 26, 8);
        assert_int_equal(append_text(world, NULL, text), i);
        if (i % ROUND == 0 && i > 0) {
            uint32_t had = pool_files(world);
            assert_int_equal(floe_truncate_front(world->partition, i, &start), FLOE_OK);
            assert_int_equal(start, i);
            for (uint32_t n = 0; pool_files(world) == had; n++) {
                assert_true(n < 100000);
                assert_int_equal(floe_poll(world->log), FLOE_OK);
                usleep(100);
            }
            assert_true(pool_files(world) <= 2); /* The roll before has taken one. */
        }
    }
    for (uint32_t n = 0; n < 2; n++) {
        struct floe_reader *reader = read_from(world, FLOE_START);
        for (uint32_t i = (ROUNDS - 1) * ROUND; i < ROUNDS * ROUND; i++) {
            memset(text, 'a' + (int)i % 26, 8);
            expect_text(reader, i, NULL, text);
        }
        expect_end(reader);
        close_log(world);
        assert_int_equal(pool_files(world), 0);
        open_log(world);
        open_window(world);
    }
    free(text);
}

#define ON(name, kind) cmocka_unit_test_setup_teardown(name, setup_##kind, teardown)
#define ALL(kind)                                                                                  \
    ON(what_was_appended_is_read_now_and_after_another_start, kind),                               \
        ON(batches_hold_together_and_headers_come_back, kind),                                     \
        ON(who_is_far_behind_reads_each_part_of_the_files_once, kind),                             \
        ON(a_reader_goes_where_it_is_sent, kind),                                                  \
        ON(submitted_appends_keep_their_order_and_share_writes, kind),                             \
        ON(appends_that_nobody_waited_for_are_there_after_a_close, kind),                          \
        ON(each_durability_is_taken_and_synced, kind),                                             \
        ON(a_wait_ends_with_a_record_or_in_time, kind),                                            \
        ON(files_of_a_truncated_front_are_used_again, kind)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(posix_own),
        ALL(posix_shared),
        ALL(auto_own),
        ALL(auto_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
