/* The raft log on a simulated disk that is full: a snapshot is put off while the log has room. */
#include "core/assert.h"
#include "meta/raft_log.h"
#include "tests/sim/io_engine_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STEPS_MAX = 100000, ENTRY_BYTES = 4096, SNAPSHOT_BYTES = 8192 };

struct space {
    struct sim_world *world;
    struct sim_node *node;
    struct reactor *reactor;
    struct raft_log_store *log;
    uint64_t next;
};

struct space_wait {
    struct raft_log_append append;
    struct raft_log_put put;
    struct completion stop;
    bool fired;
    int32_t result;
};

static void append_fired(struct completion *done)
{
    struct raft_log_append *append = CONTAINER_OF(done, struct raft_log_append, done);
    CONTAINER_OF(append, struct space_wait, append)->fired = true;
}

static void put_fired(struct completion *done)
{
    struct raft_log_put *put = CONTAINER_OF(done, struct raft_log_put, done);
    struct space_wait *wait = CONTAINER_OF(put, struct space_wait, put);
    wait->fired = true;
    wait->result = done->result;
}

static void stop_fired(struct completion *done)
{
    CONTAINER_OF(done, struct space_wait, stop)->fired = true;
}

static void space_wait(struct space *space, const struct space_wait *wait)
{
    for (uint32_t i = 0; !wait->fired && !sim_node_crashed(space->node); i++) {
        assert_true(i < STEPS_MAX);
        assert_true(sim_step(space->world));
    }
}

static void space_open(struct space *space)
{
    const struct raft_log_options options = {
        .dir = "meta", .file_bytes = RAFT_LOG_FILE_BYTES_MIN, .execute = sim_execute};
    char message[RAFT_LOG_MESSAGE_BYTES];
    sim_node_start(space->node, &space->reactor, 1);
    sim_node_enter(space->node);
    enum err err = raft_log_open(&space->log, space->reactor, &options, message);
    sim_node_leave(space->node);
    assert_int_equal(err, OK);
    space->next = raft_log_found(space->log)->first_index + raft_log_found(space->log)->count;
}

static void space_make(struct space *space)
{
    *space = (struct space){.world = sim_world_create(1)};
    space->node = sim_node_add(space->world);
    enum err err = disk_mkdir(sim_node_disk(space->node), "meta");
    assert_int_equal(err, OK);
    space_open(space);
}

static void space_stop(struct space *space)
{
    struct space_wait wait = {.fired = false};
    completion_init(&wait.stop, stop_fired);
    sim_node_enter(space->node);
    raft_log_stop(space->log, &wait.stop);
    sim_node_leave(space->node);
    space_wait(space, &wait);
    sim_node_enter(space->node);
    raft_log_close(space->log);
    sim_node_leave(space->node);
    sim_node_end(space->node, true);
}

static void space_append(struct space *space)
{
    static uint8_t data[ENTRY_BYTES];
    const struct raft_log_entry entry = {.term = 1, .type = 1, .size = ENTRY_BYTES, .data = data};
    struct space_wait wait = {.append = {.entries = &entry, .count = 1}};
    completion_init(&wait.append.done, append_fired);
    sim_node_enter(space->node);
    raft_log_append(space->log, &wait.append);
    sim_node_leave(space->node);
    space_wait(space, &wait);
    space->next++;
}

/* A snapshot of all; its result, or that of the node: ERR_IO if it gave up. */
static int32_t space_put(struct space *space)
{
    struct space_wait wait = {.put = {.index = space->next - 1, .term = 1, .size = SNAPSHOT_BYTES}};
    wait.put.data = calloc(1, SNAPSHOT_BYTES);
    assert_non_null(wait.put.data);
    completion_init(&wait.put.done, put_fired);
    sim_node_enter(space->node);
    raft_log_put(space->log, &wait.put);
    sim_node_leave(space->node);
    space_wait(space, &wait);
    free(wait.put.data);
    return wait.fired ? wait.result : (int32_t)ERR_IO;
}

static void space_fill(struct space *space, uint64_t left)
{
    uint64_t free_bytes, total_bytes;
    disk_space(sim_node_disk(space->node), &free_bytes, &total_bytes);
    disk_set_capacity(sim_node_disk(space->node), total_bytes - free_bytes + left);
}

static void a_snapshot_waits_for_space(void **state)
{
    (void)state;
    struct space space;
    space_make(&space);
    for (uint64_t left = 0; left < SNAPSHOT_BYTES; left += 4096) {
        space_append(&space);
        space_fill(&space, left);
        assert_int_equal(space_put(&space), ERR_NO_SPACE);
        assert_true(raft_log_wants_snapshot(space.log));
        assert_int_equal(disk_find(sim_node_disk(space.node), "meta/snapshot.tmp"), ERR_NOT_FOUND);
    }
    space_append(&space);
    disk_set_capacity(sim_node_disk(space.node), UINT64_MAX / 2);
    assert_int_equal(space_put(&space), OK);
    assert_false(raft_log_wants_snapshot(space.log));
    space_stop(&space);
    space_open(&space);
    assert_int_equal(raft_log_found(space.log)->snapshot_index, space.next - 1);
    space_stop(&space);
    sim_world_destroy(space.world);
}

/* Half a file is left for the starts to come. */
static void a_full_disk_ends_the_node_when_its_log_is_half_full(void **state)
{
    (void)state;
    struct space space;
    space_make(&space);
    /* Both files hold what no snapshot covers; of the second, half. */
    uint32_t count = 3 * (uint32_t)(RAFT_LOG_FILE_BYTES_MIN / 2 / (2 * ENTRY_BYTES)) + 1;
    for (uint32_t i = 0; i < count; i++) {
        space_append(&space);
    }
    space_fill(&space, 0);
    assert_int_equal(space_put(&space), ERR_IO);
    assert_non_null(sim_node_panic(space.node));
    sim_world_destroy(space.world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_waits_for_space),
        cmocka_unit_test(a_full_disk_ends_the_node_when_its_log_is_half_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
