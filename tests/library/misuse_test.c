/* What a host may do wrong: each is an error value, never the end of the process. And what several
 * threads may do to a shared handle at once. */
#include "tests/library/world.h"

#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void errors_have_names_and_sentences(void **state)
{
    (void)state;
    assert_string_equal(floe_error_name(FLOE_OK), "FLOE_OK");
    assert_string_equal(floe_error_name(FLOE_ERR_THREAD), "FLOE_ERR_THREAD");
    assert_string_equal(floe_error_name(FLOE_ERR_OFFSET_RANGE), "FLOE_ERR_OFFSET_RANGE");
    assert_string_equal(floe_error_name(12345), "FLOE_ERR_?");
    for (int result = -120; result < 3; result++) {
        assert_non_null(floe_error_name(result));
        assert_true(strlen(floe_error_text(result)) > 0);
    }
    assert_true(strlen(floe_version()) >= 5);
}

static void what_cannot_be_opened_says_why(void **state)
{
    struct world *world = *state;
    struct floe *log = NULL;
    char message[FLOE_MESSAGE_BYTES];
    char path[4096];
    assert_int_equal(floe_open(NULL, NULL, &log, message, sizeof(message)), FLOE_ERR_INVALID);
    assert_true(strlen(message) > 0);
    assert_int_equal(floe_open(world->dir, NULL, NULL, message, sizeof(message)), FLOE_ERR_INVALID);
    assert_int_equal(floe_open("", NULL, &log, message, sizeof(message)), FLOE_ERR_INVALID);
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = 0;
    assert_int_equal(floe_open(path, NULL, &log, NULL, 0), FLOE_ERR_INVALID);
    snprintf(path, sizeof(path), "%s/none/data", world->dir); /* Its parent is not there. */
    assert_int_equal(floe_open(path, NULL, &log, message, sizeof(message)), FLOE_ERR_NOT_FOUND);
    assert_non_null(strstr(message, path));
    assert_int_equal(floe_open("/proc/floe", NULL, &log, message, 8), FLOE_ERR_NOT_FOUND);
    assert_int_equal(strlen(message), 7);
    snprintf(path, sizeof(path), "%s/file", world->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_not_equal(floe_open(path, NULL, &log, message, sizeof(message)), FLOE_OK);
    assert_int_equal(world_open(world), FLOE_ERR_FOREIGN); /* It holds that file. */
    assert_int_equal(unlink(path), 0);
    world->options.mode = FLOE_READ_ONLY;
    assert_int_equal(world_open(world), FLOE_ERR_NOT_FOUND);
    world->options.mode = FLOE_WRITE_EXISTING;
    assert_int_equal(world_open(world), FLOE_ERR_NOT_FOUND);
    assert_null(log);
    assert_null(world->log);
}

static void options_that_make_no_sense_are_refused(void **state)
{
    struct world *world = *state;
    const struct floe_options wrong[] = {
        {.struct_size = 0},
        {.struct_size = sizeof(struct floe_options) + 8},
        {.struct_size = sizeof(struct floe_options), .mode = 3},
        {.struct_size = sizeof(struct floe_options), .engine = 9},
        {.struct_size = sizeof(struct floe_options), .shared = 2},
        {.struct_size = sizeof(struct floe_options), .buffered = 7},
        {.struct_size = sizeof(struct floe_options), .memory_bytes = 1000},
        {.struct_size = sizeof(struct floe_options), .memory_bytes = UINT64_MAX},
        {.struct_size = sizeof(struct floe_options), .partitions_max = UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        world->options = wrong[i];
        assert_int_equal(world_open(world), FLOE_ERR_INVALID);
        assert_true(strlen(world->message) > 0);
    }
    assert_null(world->log);
}

static void nothing_is_followed_that_is_no_handle(void **state)
{
    struct world *world = *state;
    int number = 0;
    void *const wrong[] = {
        NULL,       &number,         (void *)(uintptr_t)15, (void *)(uintptr_t)UINT64_MAX,
        world->log, world->partition};
    struct floe_view view;
    struct floe_header header;
    struct floe_stats stats = {.struct_size = sizeof(stats)};
    uint64_t offset;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct floe_partition *partition;
        struct floe_reader *reader;
        struct floe_pending *append;
        if (wrong[i] != world->log) {
            assert_int_not_equal(floe_close(wrong[i]), wrong[i] == NULL ? -1 : FLOE_OK);
            assert_int_not_equal(floe_sync(wrong[i]), FLOE_OK);
            assert_int_not_equal(floe_poll(wrong[i]), FLOE_OK);
            assert_int_not_equal(floe_get_stats(wrong[i], &stats), FLOE_OK);
            assert_int_not_equal(floe_partition_open(wrong[i], "t", 0, NULL, &partition), FLOE_OK);
        }
        if (wrong[i] != world->partition) {
            assert_int_not_equal(floe_append(wrong[i], &small, &offset), FLOE_OK);
            assert_int_not_equal(floe_append_submit(wrong[i], &small, 1, &append), FLOE_OK);
            assert_int_not_equal(floe_append_raw(wrong[i], "x", 1, &offset), FLOE_OK);
            assert_int_not_equal(floe_reader_open(wrong[i], 0, &reader), FLOE_OK);
            assert_int_not_equal(floe_partition_offsets(wrong[i], &offset, NULL), FLOE_OK);
            assert_int_not_equal(floe_truncate_front(wrong[i], 0, NULL), FLOE_OK);
        }
        assert_int_not_equal(floe_append_wait(wrong[i], &offset), FLOE_OK);
        assert_int_not_equal(floe_reader_next(wrong[i], &view), FLOE_OK);
        assert_int_not_equal(floe_reader_header(wrong[i], 0, &header), FLOE_OK);
        assert_int_not_equal(floe_reader_wait(wrong[i], 0), FLOE_OK);
        assert_int_not_equal(floe_reader_seek(wrong[i], 0), FLOE_OK);
        assert_int_not_equal(floe_reader_seek_time(wrong[i], 0), FLOE_OK);
        assert_int_not_equal(floe_reader_offset(wrong[i], &offset), FLOE_OK);
    }
    assert_int_equal(floe_partition_close(NULL), FLOE_OK);
    assert_int_equal(floe_reader_close(NULL), FLOE_OK);
}

static void arguments_that_are_missing_or_too_large_are_refused(void **state)
{
    struct world *world = *state;
    struct floe_partition *partition = world->partition;
    struct floe_record record = small;
    struct floe_pending *append;
    struct floe_reader *reader;
    uint64_t offset = 0;
    assert_int_equal(floe_append(partition, NULL, &offset), FLOE_ERR_INVALID);
    assert_int_equal(floe_append_batch(partition, &record, 0, &offset), FLOE_ERR_INVALID);
    assert_int_equal(floe_append_batch(partition, &record, SIZE_MAX, &offset), FLOE_ERR_TOO_LARGE);
    assert_int_equal(floe_append_submit(partition, &record, 1, NULL), FLOE_ERR_INVALID);
    assert_int_equal(floe_append_submit(partition, NULL, 1, &append), FLOE_ERR_INVALID);
    record.timestamp_ms = -2;
    assert_int_equal(floe_append(partition, &record, &offset), FLOE_ERR_INVALID);
    record = small;
    record.value_size = SIZE_MAX;
    assert_int_equal(floe_append(partition, &record, &offset), FLOE_ERR_TOO_LARGE);
    record = small;
    record.key = "k";
    record.key_size = (size_t)1 << 32;
    assert_int_equal(floe_append(partition, &record, &offset), FLOE_ERR_TOO_LARGE);
    record = small;
    record.header_count = 1;
    assert_int_equal(floe_append(partition, &record, &offset), FLOE_ERR_INVALID);
    struct floe_header header = {0};
    record.headers = &header;
    assert_int_equal(floe_append(partition, &record, &offset), FLOE_ERR_INVALID);
    header = (struct floe_header){.name = "n", .name_size = SIZE_MAX};
    assert_int_equal(floe_append(partition, &record, &offset), FLOE_ERR_TOO_LARGE);
    record.header_count = SIZE_MAX;
    assert_int_equal(floe_append(partition, &record, &offset), FLOE_ERR_TOO_LARGE);
    assert_int_equal(floe_append_raw(partition, NULL, 5, &offset), FLOE_ERR_INVALID);
    assert_int_equal(floe_append_raw(partition, "hello", 0, &offset), FLOE_ERR_INVALID);
    assert_int_equal(floe_append_raw(partition, "hello", 5, &offset), FLOE_ERR_CORRUPT);
    assert_int_equal(floe_reader_open(partition, 0, NULL), FLOE_ERR_INVALID);
    assert_int_equal(floe_reader_open(partition, 1, &reader), FLOE_ERR_OFFSET_RANGE);
    assert_int_equal(floe_reader_open(partition, UINT64_MAX - 5, &reader), FLOE_ERR_OFFSET_RANGE);
    assert_int_equal(floe_get_stats(world->log, NULL), FLOE_ERR_INVALID);
    struct floe_stats stats = {0};
    assert_int_equal(floe_get_stats(world->log, &stats), FLOE_ERR_INVALID);
    assert_int_equal(floe_list(world->log, NULL, NULL), FLOE_ERR_INVALID);
    assert_int_equal(floe_reader_open(partition, 0, &reader), FLOE_OK);
    assert_int_equal(floe_reader_next(reader, NULL), FLOE_ERR_INVALID);
    assert_int_equal(floe_reader_seek_time(reader, -1), FLOE_ERR_INVALID);
    assert_int_equal(floe_reader_offset(reader, NULL), FLOE_ERR_INVALID);
    assert_int_equal(floe_append(partition, &small, NULL), FLOE_OK); /* All of that did no harm. */
}

static void partitions_that_cannot_be_are_refused(void **state)
{
    struct world *world = *state;
    struct floe_partition *partition;
    char longest[300];
    memset(longest, 'n', sizeof(longest) - 1);
    longest[250] = 0;
    const char *const names[] = {"", ".", "..", "a/b", "../x", "a b", "\xc3\xa4", longest};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(floe_partition_open(world->log, names[i], 0, NULL, &partition),
                         FLOE_ERR_TOPIC_INVALID);
    }
    longest[249] = 0;
    assert_int_equal(floe_partition_open(world->log, longest, 0, NULL, &partition), FLOE_OK);
    assert_int_equal(floe_partition_open(world->log, NULL, 0, NULL, &partition), FLOE_ERR_INVALID);
    assert_int_equal(floe_partition_open(world->log, "t", 0, NULL, NULL), FLOE_ERR_INVALID);
    assert_int_equal(floe_partition_open(world->log, "t", UINT32_MAX, NULL, &partition),
                     FLOE_ERR_INVALID);
    struct floe_partition_options options = FLOE_PARTITION_OPTIONS;
    options.existing = 1;
    assert_int_equal(floe_partition_open(world->log, "t", 0, &options, &partition),
                     FLOE_ERR_TOPIC_UNKNOWN);
    assert_int_equal(floe_partition_open(world->log, "orders", 5, &options, &partition),
                     FLOE_ERR_TOPIC_UNKNOWN);
    options = (struct floe_partition_options)FLOE_PARTITION_OPTIONS;
    options.durability = 3;
    assert_int_equal(floe_partition_open(world->log, "t", 0, &options, &partition),
                     FLOE_ERR_INVALID);
    options = (struct floe_partition_options)FLOE_PARTITION_OPTIONS;
    options.batch_bytes_max = UINT32_MAX;
    assert_int_equal(floe_partition_open(world->log, "t", 0, &options, &partition),
                     FLOE_ERR_INVALID);
    options = (struct floe_partition_options)FLOE_PARTITION_OPTIONS;
    options.batch_bytes_max = 1000;
    assert_int_equal(floe_partition_open(world->log, "t", 0, &options, &partition), FLOE_OK);
    char value[1000] = "";
    struct floe_record record = {.value = value, .value_size = 1000, .timestamp_ms = FLOE_NOW};
    assert_int_equal(floe_append(partition, &record, NULL), FLOE_ERR_TOO_LARGE);
    record.value_size = 900;
    assert_int_equal(floe_append(partition, &record, NULL), FLOE_OK);
}

static void what_was_closed_is_told(void **state)
{
    struct world *world = *state;
    struct floe_reader *reader, *other;
    struct floe_view view;
    struct floe_pending *append;
    struct floe_partition *partition = world->partition;
    assert_int_equal(floe_append(partition, &small, NULL), FLOE_OK);
    assert_int_equal(floe_reader_open(partition, 0, &reader), FLOE_OK);
    assert_int_equal(floe_reader_next(reader, &view), FLOE_OK);
    assert_int_equal(floe_reader_open(partition, 0, &other), FLOE_OK);
    assert_int_equal(floe_reader_close(other), FLOE_OK);
    assert_int_equal(floe_reader_close(other), FLOE_ERR_CLOSED);
    assert_int_equal(floe_reader_next(other, &view), FLOE_ERR_CLOSED);
    assert_int_equal(floe_partition_close(partition), FLOE_OK);
    assert_int_equal(floe_partition_close(partition), FLOE_ERR_CLOSED);
    assert_int_equal(floe_append(partition, &small, NULL), FLOE_ERR_CLOSED);
    assert_int_equal(floe_reader_next(reader, &view), FLOE_END); /* Readers go on. */
    assert_int_equal(floe_partition_open(world->log, "orders", 0, NULL, &partition), FLOE_OK);
    assert_int_equal(floe_append_submit(partition, &small, 1, &append), FLOE_OK);
    struct floe *log = world->log;
    assert_int_equal(floe_close(log), FLOE_OK);
    world->log = NULL;
    assert_int_equal(floe_close(log), FLOE_ERR_CLOSED);
    assert_int_equal(floe_sync(log), FLOE_ERR_CLOSED);
    assert_int_equal(floe_poll(log), FLOE_ERR_CLOSED);
    assert_int_equal(floe_append(partition, &small, NULL), FLOE_ERR_CLOSED);
    assert_int_equal(floe_append_wait(append, NULL), FLOE_ERR_CLOSED);
    assert_int_equal(floe_reader_next(reader, &view), FLOE_ERR_CLOSED);
    assert_int_equal(floe_reader_close(reader), FLOE_ERR_CLOSED);
    world_open_log(world); /* Takes the places of the old ones, and not their names. */
    assert_int_equal(floe_close(log), FLOE_ERR_CLOSED);
    assert_int_equal(floe_append(partition, &small, NULL), FLOE_ERR_CLOSED);
    assert_int_equal(floe_append(world->partition, &small, NULL), FLOE_OK);
}

struct stranger {
    struct world *world;
    struct floe_reader *reader;
    struct floe_pending *append;
    int results[8];
};

static void *stranger_main(void *argument)
{
    struct stranger *stranger = argument;
    struct floe_view view;
    struct floe_partition *partition;
    int *result = stranger->results;
    *result++ = floe_append(stranger->world->partition, &small, NULL);
    *result++ = floe_partition_open(stranger->world->log, "t", 0, NULL, &partition);
    *result++ = floe_reader_next(stranger->reader, &view);
    *result++ = floe_reader_close(stranger->reader);
    *result++ = floe_append_wait(stranger->append, NULL);
    *result++ = floe_partition_close(stranger->world->partition);
    *result++ = floe_sync(stranger->world->log);
    *result++ = floe_close(stranger->world->log);
    return NULL;
}

static void another_threads_handle_is_told(void **state)
{
    struct world *world = *state;
    struct stranger stranger = {.world = world};
    pthread_t thread;
    assert_int_equal(floe_append_submit(world->partition, &small, 1, &stranger.append), FLOE_OK);
    assert_int_equal(floe_reader_open(world->partition, FLOE_START, &stranger.reader), FLOE_OK);
    assert_int_equal(pthread_create(&thread, NULL, stranger_main, &stranger), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (size_t i = 0; i < sizeof(stranger.results) / sizeof(stranger.results[0]); i++) {
        assert_int_equal(stranger.results[i], FLOE_ERR_THREAD);
    }
    assert_int_equal(floe_append_wait(stranger.append, NULL), FLOE_OK);
}

static void a_handle_that_only_reads_takes_no_writes(void **state)
{
    struct world *world = *state;
    struct floe_pending *append;
    assert_int_equal(floe_append(world->partition, &small, NULL), FLOE_OK);
    assert_int_equal(floe_close(world->log), FLOE_OK);
    world->options.mode = FLOE_READ_ONLY;
    world_open_log(world);
    assert_int_equal(floe_append(world->partition, &small, NULL), FLOE_ERR_READ_ONLY);
    assert_int_equal(floe_append_submit(world->partition, &small, 1, &append), FLOE_ERR_READ_ONLY);
    assert_int_equal(floe_append_raw(world->partition, "x", 1, NULL), FLOE_ERR_READ_ONLY);
    assert_int_equal(floe_sync(world->log), FLOE_ERR_READ_ONLY);
    assert_int_equal(floe_truncate_front(world->partition, 0, NULL), FLOE_ERR_READ_ONLY);
    struct floe_partition *none;
    assert_int_equal(floe_partition_open(world->log, "none", 0, NULL, &none),
                     FLOE_ERR_TOPIC_UNKNOWN);
    struct world second = *world; /* Readers share the directory, writers do not. */
    assert_int_equal(world_open(&second), FLOE_OK);
    assert_int_equal(floe_close(second.log), FLOE_OK);
    second.options.mode = FLOE_WRITE;
    assert_int_equal(world_open(&second), FLOE_ERR_BUSY);
}

static void a_second_writer_is_told_who_the_first_is(void **state)
{
    struct world *world = *state;
    struct world second = *world;
    char pid[32];
    snprintf(pid, sizeof(pid), "pid %ld", (long)getpid());
    assert_int_equal(world_open(&second), FLOE_ERR_BUSY);
    assert_non_null(strstr(second.message, pid));
    second.options.shared = 1;
    assert_int_equal(world_open(&second), FLOE_ERR_BUSY);
    assert_non_null(strstr(second.message, pid));
}

/* Files larger than that are refused by the system: the disk is full, as far as floe can tell. */

/* What is in a directory of /proc: descriptors, or threads. */
static uint32_t proc_count(const char *path)
{
    uint32_t count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    assert_int_equal(closedir(dir), 0);
    return count;
}

/* A thread that was joined, or served a ring, stands in /proc until the kernel is done with it. */
static void assert_threads_at_most(uint32_t expected)
{
    for (uint32_t waits = 0; proc_count("/proc/self/task") > expected; waits++) {
        assert_true(waits < 10000);
        (void)usleep(1000);
    }
}

static void a_closed_handle_leaves_no_descriptor_and_no_thread(void **state)
{
    struct world *world = *state;
    struct floe_reader *reader;
    struct floe_view view;
    const uint32_t threads = proc_count("/proc/self/task");
    for (uint32_t engine = FLOE_ENGINE_AUTO; engine <= FLOE_ENGINE_POSIX; engine += 2) {
        for (uint32_t shared = 0; shared < 2; shared++) {
            uint32_t descriptors = 0;
            for (uint32_t i = 0; i < 12; i++) {
                world->options.engine = engine;
                world->options.shared = shared;
                world->options.mode = i % 3 == 2 ? FLOE_READ_ONLY : FLOE_WRITE;
                world_open_log(world);
                if (world->options.mode == FLOE_WRITE) {
                    assert_int_equal(floe_append(world->partition, &small, NULL), FLOE_OK);
                    struct world second = *world;
                    assert_int_equal(world_open(&second), FLOE_ERR_BUSY);
                }
                assert_int_equal(floe_reader_open(world->partition, 0, &reader), FLOE_OK);
                assert_int_equal(floe_reader_next(reader, &view), FLOE_OK);
                assert_int_equal(floe_close(world->log), FLOE_OK);
                if (i == 2) { /* The first ones may have made things that stay. */
                    descriptors = proc_count("/proc/self/fd");
                }
            }
            assert_int_equal(proc_count("/proc/self/fd"), descriptors);
            assert_threads_at_most(threads);
        }
    }
    world->log = NULL;
}

enum { THREADS = 8, EACH = 50 };

struct worker {
    struct world *world;
    pthread_t thread;
    uint32_t number;
    uint32_t errors;
};

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct floe_partition *partition;
    struct floe_reader *reader;
    struct floe_view view;
    uint64_t last = 0, read = 0;
    worker->errors +=
        floe_partition_open(worker->world->log, "orders", 0, NULL, &partition) != FLOE_OK;
    worker->errors += floe_reader_open(partition, FLOE_START, &reader) != FLOE_OK;
    for (uint32_t i = 0; i < EACH; i++) {
        char value[32];
        int size = snprintf(value, sizeof(value), "%u-%u", worker->number, i);
        struct floe_record record = {
            .value = value, .value_size = (size_t)size, .timestamp_ms = FLOE_NOW};
        uint64_t offset = 0;
        worker->errors += floe_append(partition, &record, &offset) != FLOE_OK;
        worker->errors += i > 0 && offset <= last;
        last = offset;
        while (floe_reader_next(reader, &view) == FLOE_OK) {
            worker->errors += view.offset != read++;
        }
        worker->errors += read <= offset; /* It reads what it appended. */
    }
    while (read < THREADS * EACH) {
        int result = floe_reader_wait(reader, 10000);
        worker->errors += result != FLOE_OK;
        if (result != FLOE_OK) {
            break;
        }
        while (floe_reader_next(reader, &view) == FLOE_OK) {
            worker->errors += view.offset != read++;
        }
    }
    worker->errors += floe_reader_close(reader) != FLOE_OK;
    worker->errors += floe_partition_close(partition) != FLOE_OK;
    return NULL;
}

static void threads_append_and_read_beside_each_other(void **state)
{
    struct world *world = *state;
    struct worker workers[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.world = world, .number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].errors, 0);
    }
    struct floe_stats stats = {.struct_size = sizeof(stats)};
    assert_int_equal(floe_get_stats(world->log, &stats), FLOE_OK);
    assert_int_equal(stats.records_appended, THREADS * EACH);
    assert_true(stats.commits < THREADS * EACH); /* Some went to the disk together. */
}

static void *waiter_main(void *argument)
{
    struct floe_reader *reader = argument;
    int result;
    do {
        result = floe_reader_wait(reader, -1);
    } while (result == FLOE_ERR_THREAD); /* The main thread was in. */
    return (void *)(intptr_t)result;
}

static void *closer_main(void *argument)
{
    return (void *)(intptr_t)floe_close(argument);
}

static void a_close_ends_all_waits_and_only_one_closes(void **state)
{
    struct world *world = *state;
    struct floe_reader *readers[4];
    pthread_t waiters[4], closers[4];
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(floe_reader_open(world->partition, 0, &readers[i]), FLOE_OK);
        assert_int_equal(pthread_create(&waiters[i], NULL, waiter_main, readers[i]), 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&closers[i], NULL, closer_main, world->log), 0);
    }
    uint32_t closed = 0;
    for (uint32_t i = 0; i < 4; i++) {
        void *result;
        assert_int_equal(pthread_join(closers[i], &result), 0);
        closed += (intptr_t)result == FLOE_OK;
        assert_true((intptr_t)result == FLOE_OK || (intptr_t)result == FLOE_ERR_CLOSED);
        assert_int_equal(pthread_join(waiters[i], &result), 0);
        assert_int_equal((intptr_t)result, FLOE_ERR_CLOSED);
    }
    assert_int_equal(closed, 1);
    world->log = NULL;
}

static void a_reader_serves_one_thread_at_a_time(void **state)
{
    struct world *world = *state;
    struct floe_reader *reader;
    pthread_t waiter;
    struct floe_view view;
    void *result;
    assert_int_equal(floe_reader_open(world->partition, 0, &reader), FLOE_OK);
    assert_int_equal(pthread_create(&waiter, NULL, waiter_main, reader), 0);
    int found;
    while ((found = floe_reader_next(reader, &view)) == FLOE_END) {
        /* The other one is not in yet. */
    }
    assert_int_equal(found, FLOE_ERR_THREAD);
    assert_int_equal(floe_append(world->partition, &small, NULL), FLOE_OK);
    assert_int_equal(pthread_join(waiter, &result), 0);
    assert_int_equal((intptr_t)result, FLOE_OK);
    assert_int_equal(floe_reader_next(reader, &view), FLOE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NONE(errors_have_names_and_sentences),
        NONE(what_cannot_be_opened_says_why),
        NONE(options_that_make_no_sense_are_refused),
        BOTH(nothing_is_followed_that_is_no_handle),
        BOTH(arguments_that_are_missing_or_too_large_are_refused),
        BOTH(partitions_that_cannot_be_are_refused),
        BOTH(what_was_closed_is_told),
        OWN(another_threads_handle_is_told),
        BOTH(a_handle_that_only_reads_takes_no_writes),
        BOTH(a_second_writer_is_told_who_the_first_is),
        NONE(a_closed_handle_leaves_no_descriptor_and_no_thread),
        SHARED(threads_append_and_read_beside_each_other),
        SHARED(a_close_ends_all_waits_and_only_one_closes),
        SHARED(a_reader_serves_one_thread_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
