/* The world on bare reactors: files, sockets, crashes, and that a seed is one run. */
#include "core/assert.h"
#include "tests/sim/io_engine_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STEPS_MAX = 100000 };

struct wait {
    struct io io;
    bool fired;
    int32_t result;
};

static void wait_fired(struct completion *done)
{
    struct wait *wait = CONTAINER_OF(done, struct wait, io.done);
    assert_false(wait->fired);
    wait->fired = true;
    wait->result = done->result;
}

static struct wait *begin(struct wait *wait)
{
    *wait = (struct wait){0};
    completion_init(&wait->io.done, wait_fired);
    return wait;
}

static int32_t finish(struct sim_world *world, struct reactor *reactor, struct wait *wait)
{
    io_submit(reactor, &wait->io);
    for (uint32_t i = 0; !wait->fired; i++) {
        assert_true(i < STEPS_MAX);
        assert_true(sim_step(world));
    }
    return wait->result;
}

static int32_t open_file(struct sim_world *world, struct reactor *reactor, const char *path,
                         uint32_t flags)
{
    struct wait wait;
    io_open(&begin(&wait)->io, path, flags);
    return finish(world, reactor, &wait);
}

static void files_come_back_as_they_were_written(void **state)
{
    (void)state;
    struct sim_world *world = sim_world_create(1);
    struct sim_node *node = sim_node_add(world);
    struct reactor *reactor;
    sim_node_start(node, &reactor, 1);
    int fd = open_file(world, reactor, "file", IO_OPEN_WRITE | IO_OPEN_CREATE);
    assert_true(fd >= 3);
    struct wait wait;
    io_write(&begin(&wait)->io, fd, (const uint8_t *)"hello", 5, 10, 0);
    assert_int_equal(finish(world, reactor, &wait), 5);
    uint8_t data[32];
    io_read(&begin(&wait)->io, fd, data, sizeof(data), 8);
    assert_int_equal(finish(world, reactor, &wait), 7);
    assert_memory_equal(data, "\0\0hello", 7);
    io_lock(&begin(&wait)->io, fd, 0);
    assert_int_equal(finish(world, reactor, &wait), OK);
    int other = open_file(world, reactor, "file", IO_OPEN_WRITE);
    io_lock(&begin(&wait)->io, other, 0);
    assert_int_equal(finish(world, reactor, &wait), ERR_BUSY);
    io_close(&begin(&wait)->io, fd);
    assert_int_equal(finish(world, reactor, &wait), OK);
    io_lock(&begin(&wait)->io, other, IO_LOCK_SHARED);
    assert_int_equal(finish(world, reactor, &wait), OK);
    int third = open_file(world, reactor, "file", 0);
    io_lock(&begin(&wait)->io, third, 0);
    assert_int_equal(finish(world, reactor, &wait), ERR_BUSY);
    io_lock(&begin(&wait)->io, third, IO_LOCK_SHARED);
    assert_int_equal(finish(world, reactor, &wait), OK);
    sim_world_destroy(world);
}

static void direct_descriptor_refuses_what_is_not_aligned(void **state)
{
    (void)state;
    struct sim_world *world = sim_world_create(1);
    struct sim_node *node = sim_node_add(world);
    struct reactor *reactor;
    sim_node_start(node, &reactor, 1);
    int fd = open_file(world, reactor, "file", IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_DIRECT);
    struct wait wait;
    io_write(&begin(&wait)->io, fd, (const uint8_t *)"hello", 5, 0, 0);
    assert_int_equal(finish(world, reactor, &wait), ERR_INVALID);
    sim_world_destroy(world);
}

static void operations_complete_in_another_order_than_submitted(void **state)
{
    (void)state;
    uint32_t overtaken = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim_world *world = sim_world_create(seed);
        struct sim_node *node = sim_node_add(world);
        struct reactor *reactor;
        sim_node_start(node, &reactor, 1);
        int fd = open_file(world, reactor, "file", IO_OPEN_WRITE | IO_OPEN_CREATE);
        struct wait first;
        struct wait second;
        io_write(&begin(&first)->io, fd, (const uint8_t *)"a", 1, 0, 0);
        io_write(&begin(&second)->io, fd, (const uint8_t *)"b", 1, 1, 0);
        io_submit(reactor, &first.io);
        io_submit(reactor, &second.io);
        while (!first.fired && !second.fired) {
            assert_true(sim_step(world));
        }
        overtaken += second.fired;
        sim_world_destroy(world);
    }
    assert_true(overtaken > 5);
    assert_true(overtaken < 45);
}

/* Writes a byte without and with a sync, then loses the power at event `crash_in` (0: at the end).
 * Returns how far the writer came. */
static uint32_t crash_run(uint64_t seed, uint64_t crash_in, uint8_t found[2], uint64_t *events)
{
    struct sim_world *world = sim_world_create(seed);
    struct sim_node *node = sim_node_add(world);
    struct reactor *reactor;
    sim_node_start(node, &reactor, 1);
    int fd = open_file(world, reactor, "file", IO_OPEN_WRITE | IO_OPEN_CREATE);
    struct wait waits[4];
    io_sync_dir(&begin(&waits[0])->io, "/");
    assert_int_equal(finish(world, reactor, &waits[0]), OK);
    uint64_t before = sim_node_events(node);
    sim_node_crash_in(node, crash_in);
    io_write(&begin(&waits[0])->io, fd, (const uint8_t *)"a", 1, 0, 0);
    io_sync(&begin(&waits[1])->io, fd);
    io_write(&begin(&waits[2])->io, fd, (const uint8_t *)"b", 1, 512, IO_WRITE_DURABLE);
    uint32_t step = 0;
    for (; step < 3; step++) {
        io_submit(reactor, &waits[step].io);
        while (!waits[step].fired && !sim_node_crashed(node)) {
            assert_true(sim_step(world));
        }
        if (sim_node_crashed(node)) {
            break;
        }
    }
    *events = sim_node_events(node) - before;
    sim_node_end(node, true);
    sim_node_start(node, &reactor, 1);
    uint8_t data[513] = {0};
    fd = open_file(world, reactor, "file", 0);
    assert_true(fd >= 0);
    io_read(&begin(&waits[3])->io, fd, data, sizeof(data), 0);
    assert_true(finish(world, reactor, &waits[3]) >= 0);
    found[0] = data[0];
    found[1] = data[512];
    sim_world_destroy(world);
    return step;
}

static void crash_at_every_event_keeps_what_was_promised(void **state)
{
    (void)state;
    uint8_t found[2];
    uint64_t events = 0;
    assert_int_equal(crash_run(7, 0, found, &events), 3);
    assert_int_equal(events, 9); /* Three operations: submitted, in effect, completed. */
    uint32_t unsynced_lost = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (uint64_t at = 1; at <= 9; at++) {
            uint32_t step = crash_run(seed, at, found, &events);
            assert_int_equal(step, (at - 1) / 3);
            assert_true(step < 2 || found[0] == 'a');
            assert_true(found[0] == 0 || found[0] == 'a');
            assert_true(found[1] == 0 || found[1] == 'b');
            unsynced_lost += step == 1 && found[0] == 0;
            assert_true(at < 9 || found[1] == 'b'); /* In effect is durable. */
        }
    }
    assert_true(unsynced_lost > 5);
}

static void kill_keeps_what_had_completed(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct sim_world *world = sim_world_create(seed);
        struct sim_node *node = sim_node_add(world);
        struct reactor *reactor;
        sim_node_start(node, &reactor, 1);
        int fd = open_file(world, reactor, "file", IO_OPEN_WRITE | IO_OPEN_CREATE);
        struct wait wait;
        io_write(&begin(&wait)->io, fd, (const uint8_t *)"hello", 5, 0, 0);
        assert_int_equal(finish(world, reactor, &wait), 5);
        sim_node_end(node, false);
        sim_node_start(node, &reactor, 1);
        fd = open_file(world, reactor, "file", 0);
        uint8_t data[5];
        io_read(&begin(&wait)->io, fd, data, sizeof(data), 0);
        assert_int_equal(finish(world, reactor, &wait), 5);
        assert_memory_equal(data, "hello", 5);
        sim_world_destroy(world);
    }
}

static void failed_write_lands_in_part_and_says_so(void **state)
{
    (void)state;
    struct sim_world *world = sim_world_create(3);
    struct sim_node *node = sim_node_add(world);
    struct reactor *reactor;
    sim_node_start(node, &reactor, 1);
    struct sim_disk_manners manners = {.delay_max_ns = 1000, .write_fail_in = 2, .sync_fail_in = 1};
    sim_node_set_manners(node, &manners);
    int fd = open_file(world, reactor, "file", IO_OPEN_WRITE | IO_OPEN_CREATE);
    struct wait wait;
    io_write(&begin(&wait)->io, fd, (const uint8_t *)"a", 1, 0, 0);
    assert_int_equal(finish(world, reactor, &wait), 1);
    io_write(&begin(&wait)->io, fd, (const uint8_t *)"a", 1, 0, 0);
    assert_int_equal(finish(world, reactor, &wait), ERR_IO);
    io_sync(&begin(&wait)->io, fd);
    assert_int_equal(finish(world, reactor, &wait), ERR_IO);
    io_sync(&begin(&wait)->io, fd);
    assert_int_equal(finish(world, reactor, &wait), OK);
    sim_world_destroy(world);
}

/* A conversation of two nodes; returns the virtual time that it took. */
static uint64_t talk(uint64_t seed)
{
    struct sim_world *world = sim_world_create(seed);
    struct sim_node *nodes[2] = {sim_node_add(world), sim_node_add(world)};
    struct reactor *server;
    struct reactor *client;
    sim_node_start(nodes[0], &server, 1);
    sim_node_start(nodes[1], &client, 1);
    struct io_address address = {.family = 4, .bytes = {10, 0, 0, 1}, .port = 9092};
    struct wait listen, accept, connect;
    struct wait send, recv;
    io_connect(&begin(&connect)->io, &address);
    assert_int_equal(finish(world, client, &connect), ERR_CONNECTION); /* Nobody listens. */
    io_listen(&begin(&listen)->io, &address, false);
    int door = finish(world, server, &listen);
    assert_true(door >= 3);
    io_listen(&begin(&listen)->io, &address, false);
    assert_int_equal(finish(world, server, &listen), ERR_ADDRESS_IN_USE);
    io_accept(&begin(&accept)->io, door);
    io_submit(server, &accept.io);
    io_connect(&begin(&connect)->io, &address);
    int there = finish(world, client, &connect);
    while (!accept.fired) {
        assert_true(sim_step(world));
    }
    int here = accept.result;
    struct io_address local;
    struct io_address peer;
    assert_int_equal(io_socket_local(client, there, &local), OK);
    assert_int_equal(io_socket_peer(server, here, &peer), OK);
    assert_memory_equal(&local, &peer, sizeof(local));

    enum { TALK_BYTES = 300000 };

    uint8_t *out = malloc(TALK_BYTES);
    uint8_t *in = malloc(TALK_BYTES);
    for (uint32_t i = 0; i < TALK_BYTES; i++) {
        out[i] = (uint8_t)(i * 31 + i / 251);
    }
    struct iovec vectors[2] = {{out, 1000}, {out + 1000, TALK_BYTES - 1000}};
    io_send(&begin(&send)->io, there, vectors, 2);
    io_submit(client, &send.io);
    uint32_t got = 0;
    while (got < TALK_BYTES) {
        io_recv(&begin(&recv)->io, here, NULL, 0);
        int32_t size = finish(world, server, &recv);
        assert_true(size > 0 && got + (uint32_t)size <= TALK_BYTES);
        memcpy(in + got, recv.io.recv.data, (size_t)size);
        got += (uint32_t)size;
        io_recv_release(server, &recv.io);
    }
    assert_memory_equal(in, out, TALK_BYTES);
    while (!send.fired) {
        assert_true(sim_step(world));
    }
    assert_int_equal(send.result, TALK_BYTES);
    free(in);
    free(out);
    io_socket_end_receive(server, here);
    io_recv(&begin(&recv)->io, here, NULL, 0);
    assert_int_equal(finish(world, server, &recv), 0);
    io_recv(&begin(&recv)->io, there, NULL, 0);
    io_submit(client, &recv.io);
    io_socket_shutdown(server, here);
    while (!recv.fired) {
        assert_true(sim_step(world));
    }
    assert_int_equal(recv.result, 0);
    uint64_t took = sim_now_ns(world);
    sim_world_destroy(world);
    return took;
}

static void sockets_carry_every_byte_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        (void)talk(seed);
    }
}

static void one_seed_is_one_run(void **state)
{
    (void)state;
    assert_int_equal(talk(5), talk(5));
    assert_int_not_equal(talk(5), talk(6));
}

static void peer_of_a_dead_node_sees_a_reset(void **state)
{
    (void)state;
    struct sim_world *world = sim_world_create(1);
    struct sim_node *nodes[2] = {sim_node_add(world), sim_node_add(world)};
    struct reactor *server;
    struct reactor *client;
    sim_node_start(nodes[0], &server, 1);
    sim_node_start(nodes[1], &client, 1);
    struct io_address address = {.family = 4, .bytes = {10, 0, 0, 1}, .port = 9092};
    struct wait wait;
    struct wait accept;
    io_listen(&begin(&wait)->io, &address, true);
    io_accept(&begin(&accept)->io, finish(world, server, &wait));
    io_submit(server, &accept.io);
    io_connect(&begin(&wait)->io, &address);
    int fd = finish(world, client, &wait);
    uint8_t data[16];
    io_recv(&begin(&wait)->io, fd, data, sizeof(data));
    io_submit(client, &wait.io);
    sim_node_end(nodes[0], false);
    while (!wait.fired) {
        assert_true(sim_step(world));
    }
    assert_int_equal(wait.result, ERR_CONNECTION);
    sim_world_destroy(world);
}

static void timer_fired(struct completion *done)
{
    (void)done;
}

static void clock_jumps_to_the_next_event(void **state)
{
    (void)state;
    struct sim_world *world = sim_world_create(1);
    struct sim_node *node = sim_node_add(world);
    struct reactor *reactor;
    sim_node_start(node, &reactor, 1);
    struct timer timer;
    timer_init(&timer, timer_fired);
    timer_start(reactor, &timer, 3600 * NS_PER_S);
    uint64_t before = sim_now_ns(world);
    uint32_t steps = 0;
    while (timer_running(&timer)) {
        assert_true(sim_step(world));
        steps++;
    }
    assert_true(sim_now_ns(world) - before >= 3600 * NS_PER_S);
    assert_true(steps < 10);
    while (sim_step(world)) {
        steps++;
    }
    assert_true(steps < 20);
    sim_world_destroy(world);
}

static void executed_operation_happens_at_once(void **state)
{
    (void)state;
    struct sim_world *world = sim_world_create(1);
    struct sim_node *node = sim_node_add(world);
    struct reactor *reactor;
    sim_node_start(node, &reactor, 1);
    struct wait wait;
    io_mkdir(&begin(&wait)->io, "dir");
    assert_int_equal(sim_execute(reactor, &wait.io), OK);
    assert_int_equal(sim_execute(reactor, &wait.io), ERR_EXISTS);
    assert_true(disk_is_directory(sim_node_disk(node), disk_find(sim_node_disk(node), "dir")));
    sim_world_destroy(world);
}

static void gives_up(struct completion *done)
{
    (void)done;
    PANIC("no way on: %d", 7);
}

static void a_panic_ends_its_node_and_not_the_simulator(void **state)
{
    (void)state;
    struct sim_world *world = sim_world_create(1);
    struct sim_node *nodes[2];
    struct reactor *reactors[2];
    for (uint32_t i = 0; i < 2; i++) {
        nodes[i] = sim_node_add(world);
        sim_node_start(nodes[i], &reactors[i], 1);
    }
    struct completion end;
    completion_init(&end, gives_up);
    completion_fire(reactors[0], &end, OK);
    (void)sim_step(world);
    assert_true(sim_node_crashed(nodes[0]));
    assert_string_equal(sim_node_panic(nodes[0]), "no way on: 7");
    assert_false(sim_node_crashed(nodes[1]));
    assert_null(sim_node_panic(nodes[1]));
    sim_node_end(nodes[0], true);
    sim_node_start(nodes[0], &reactors[0], 1);
    assert_null(sim_node_panic(nodes[0]));
    assert_true(open_file(world, reactors[0], "file", IO_OPEN_WRITE | IO_OPEN_CREATE) >= 0);
    sim_world_destroy(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_come_back_as_they_were_written),
        cmocka_unit_test(direct_descriptor_refuses_what_is_not_aligned),
        cmocka_unit_test(operations_complete_in_another_order_than_submitted),
        cmocka_unit_test(crash_at_every_event_keeps_what_was_promised),
        cmocka_unit_test(kill_keeps_what_had_completed),
        cmocka_unit_test(failed_write_lands_in_part_and_says_so),
        cmocka_unit_test(sockets_carry_every_byte_in_order),
        cmocka_unit_test(one_seed_is_one_run),
        cmocka_unit_test(peer_of_a_dead_node_sees_a_reset),
        cmocka_unit_test(clock_jumps_to_the_next_event),
        cmocka_unit_test(executed_operation_happens_at_once),
        cmocka_unit_test(a_panic_ends_its_node_and_not_the_simulator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
