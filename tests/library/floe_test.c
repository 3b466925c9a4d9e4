/* libfloe through its public header alone, on each engine, in a handle of this thread and in a
 * shared one: what was appended is read, now and after the handle was opened again. */
#include "shard/floe.h"

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
    assert_true(view.timestamp_ms > 0);
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

#define ON(name, kind) cmocka_unit_test_setup_teardown(name, setup_##kind, teardown)
#define ALL(kind)      ON(what_was_appended_is_read_now_and_after_another_start, kind)

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
