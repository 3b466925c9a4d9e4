/* What goes wrong around a host, on its disk: each is an error value, and not the end of the
 * process. */
#include "tests/library/world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static void a_disk_that_is_full_is_an_error_and_no_end(void **state)
{
    struct world *world = *state;
    struct rlimit before, limit;
    static char value[300000];
    struct floe_record large = {.value = value, .value_size = sizeof(value), .timestamp_ms = 1};
    assert_int_equal(floe_append(world->partition, &small, NULL), FLOE_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 256 << 10;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int result = floe_append(world->partition, &large, NULL);
    int again = floe_append(world->partition, &large, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_not_equal(result, FLOE_OK);
    assert_int_not_equal(again, FLOE_OK);
    struct floe_reader *reader;
    struct floe_view view;
    assert_int_equal(floe_reader_open(world->partition, FLOE_START, &reader), FLOE_OK);
    assert_int_equal(floe_reader_next(reader, &view), FLOE_OK);
    assert_int_equal(floe_append(world->partition, &large, NULL), FLOE_OK);
}

static int visit_none(void *context, const char *topic, uint32_t partition)
{
    (void)context;
    (void)topic;
    (void)partition;
    return 1;
}

/* Nothing but its closing is left, and that says so, too. */
static void assert_dead(struct world *world, struct floe_reader *reader)
{
    struct floe_partition *partition;
    struct floe_pending *pending;
    struct floe_reader *other;
    struct floe_view view;
    struct floe_header header;
    struct floe_stats stats = {.struct_size = sizeof(stats)};
    uint64_t offset;
    assert_int_equal(floe_append(world->partition, &small, NULL), FLOE_ERR_IO);
    assert_int_equal(floe_append_batch(world->partition, &small, 1, NULL), FLOE_ERR_IO);
    assert_int_equal(floe_append_raw(world->partition, "x", 1, NULL), FLOE_ERR_IO);
    assert_int_equal(floe_append_submit(world->partition, &small, 1, &pending), FLOE_ERR_IO);
    assert_int_equal(floe_sync(world->log), FLOE_ERR_IO);
    assert_int_equal(floe_poll(world->log), FLOE_ERR_IO);
    assert_int_equal(floe_list(world->log, visit_none, NULL), FLOE_ERR_IO);
    assert_int_equal(floe_get_stats(world->log, &stats), FLOE_ERR_IO);
    assert_int_equal(floe_partition_open(world->log, "other", 0, NULL, &partition), FLOE_ERR_IO);
    assert_int_equal(floe_partition_offsets(world->partition, &offset, NULL), FLOE_ERR_IO);
    assert_int_equal(floe_truncate_front(world->partition, 1, NULL), FLOE_ERR_IO);
    assert_int_equal(floe_reader_open(world->partition, FLOE_START, &other), FLOE_ERR_IO);
    assert_int_equal(floe_reader_next(reader, &view), FLOE_ERR_IO);
    assert_int_equal(floe_reader_header(reader, 0, &header), FLOE_ERR_IO);
    assert_int_equal(floe_reader_seek(reader, 0), FLOE_ERR_IO);
    assert_int_equal(floe_reader_seek_time(reader, 0), FLOE_ERR_IO);
    assert_int_equal(floe_reader_offset(reader, &offset), FLOE_ERR_IO);
    assert_int_equal(floe_reader_wait(reader, -1), FLOE_ERR_IO);
    assert_int_equal(floe_reader_close(reader), FLOE_OK);
    assert_int_equal(floe_partition_close(world->partition), FLOE_OK);
    assert_int_equal(floe_close(world->log), FLOE_ERR_IO);
    assert_int_equal(floe_close(world->log), FLOE_ERR_CLOSED);
}

/* Neither the journal nor the file takes anything any more. */
static void a_disk_that_fails_twice_leaves_a_dead_handle(void **state)
{
    struct world *world = *state;
    struct rlimit before, limit;
    struct floe_reader *reader;
    struct floe_view view;
    struct floe_pending *pending[3];
    assert_int_equal(floe_append(world->partition, &small, NULL), FLOE_OK);
    assert_int_equal(floe_append(world->partition, &small, NULL), FLOE_OK);
    assert_int_equal(floe_reader_open(world->partition, FLOE_START, &reader), FLOE_OK);
    assert_int_equal(floe_reader_next(reader, &view), FLOE_OK); /* It holds the other one. */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 4096;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    /* A shared handle's thread may have met the failure before the next one is submitted. */
    size_t submitted = 0;
    int result = FLOE_OK;
    while (submitted < 3 && result == FLOE_OK) {
        result = floe_append_submit(world->partition, &small, 1, &pending[submitted]);
        submitted += result == FLOE_OK;
    }
    assert_true(submitted > 0);
    assert_true(result == FLOE_OK || result == FLOE_ERR_IO);
    for (size_t i = 0; i < submitted; i++) {
        assert_int_equal(floe_append_wait(pending[i], NULL), FLOE_ERR_IO);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_dead(world, reader);
    world_open_log(world);
    assert_int_equal(floe_append(world->partition, &small, NULL), FLOE_OK);
    assert_int_equal(floe_reader_open(world->partition, FLOE_START, &reader), FLOE_OK);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(floe_reader_next(reader, &view), FLOE_OK);
        assert_int_equal(view.offset, i);
    }
}

static void a_missing_segment_is_damage(void **state)
{
    struct world *world = *state;
    struct floe_partition_options options = FLOE_PARTITION_OPTIONS;
    options.segment_records = 2;
    assert_int_equal(floe_partition_open(world->log, "orders", 0, &options, &world->partition),
                     FLOE_OK);
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(floe_append(world->partition, &small, NULL), FLOE_OK);
    }
    assert_int_equal(floe_close(world->log), FLOE_OK);
    char command[256];
    snprintf(command, sizeof(command), "ls %s/topics/*/0/*.seg | sed -n 2p | xargs rm", world->dir);
    assert_int_equal(system(command), 0);
    for (uint32_t mode = FLOE_WRITE; mode <= FLOE_READ_ONLY; mode++) {
        world->options.mode = mode;
        assert_int_equal(world_open(world), FLOE_OK);
        assert_int_equal(floe_partition_open(world->log, "orders", 0, NULL, &world->partition),
                         FLOE_ERR_DAMAGED);
        assert_int_equal(floe_close(world->log), FLOE_OK);
    }
    world->log = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(a_disk_that_is_full_is_an_error_and_no_end),
        BOTH(a_disk_that_fails_twice_leaves_a_dead_handle),
        BOTH(a_missing_segment_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
