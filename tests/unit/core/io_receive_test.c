/* What both engines promise alike: receives without a buffer, their end, and a wake-up that is
 * always armed. */
#include "tests/unit/core/io_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* More receivers than lent buffers: the rest waits for a release, and nothing is lost. */
static void receivers_without_a_buffer_wait_for_one(void **state)
{
    enum { CONNECTIONS = 8 };
    struct reactor *reactor = *state;
    struct io_address address;
    assert_int_equal(io_address_parse("127.0.0.1:0", &address), OK);
    struct waited one, receivers[CONNECTIONS];
    int clients[CONNECTIONS], servers[CONNECTIONS];
    waited_init(&one);
    io_listen(&one.io, &address, false);
    int listener = waited_run(reactor, &one);
    address = one.io.listen.address;
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        io_connect(&one.io, &address);
        clients[i] = waited_run(reactor, &one);
        io_accept(&one.io, listener);
        servers[i] = waited_run(reactor, &one);
        char byte = 'x';
        struct iovec vector = {.iov_base = &byte, .iov_len = 1};
        io_send(&one.io, clients[i], &vector, 1);
        assert_int_equal(waited_run(reactor, &one), 1);
        waited_init(&receivers[i]);
        io_recv(&receivers[i].io, servers[i], NULL, 0);
        io_submit(reactor, &receivers[i].io);
    }
    uint32_t done = 0;
    for (uint32_t turn = 0; turn < 10000 && done < CONNECTIONS; turn++) {
        reactor_turn(reactor, NS_PER_MS);
        for (uint32_t i = 0; i < CONNECTIONS; i++) {
            if (receivers[i].done && receivers[i].io.recv.lent != 0 && turn > 20) {
                assert_int_equal(receivers[i].io.done.result, 1);
                io_recv_release(reactor, &receivers[i].io);
                done++;
            }
        }
    }
    assert_int_equal(done, CONNECTIONS);
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        io_close(&one.io, clients[i]);
        assert_int_equal(waited_run(reactor, &one), OK);
        io_close(&one.io, servers[i]);
        assert_int_equal(waited_run(reactor, &one), OK);
    }
    io_close(&one.io, listener);
    assert_int_equal(waited_run(reactor, &one), OK);
}

/* A pair of sockets and a receive on the first. */
struct talk {
    struct waited waited;
    int near, far;
};

static void talk_open(struct talk *talk)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    talk->near = ends[0];
    talk->far = ends[1];
    waited_init(&talk->waited);
}

static void talk_close(struct talk *talk)
{
    close(talk->near);
    close(talk->far);
}

/* Ends the sleep of the turn that it rings in. */
static void alarm_ring(struct completion *completion)
{
    assert_int_equal(completion->result, OK);
    reactor_self()->engine->wake(NULL, reactor_self());
}

/* The wake-up is taken, and the same turn submits as much as there is room for. */
static void a_wake_is_armed_before_a_sleep_however_full_the_turn(void **state)
{
    struct reactor *reactor = *state;
    static struct talk talks[IO_ENTRIES];
    static uint8_t bytes[IO_ENTRIES];
    struct timer alarm;
    reactor_turn(reactor, 0);
    reactor->engine->wake(NULL, reactor);
    reactor_turn(reactor, NS_PER_S);
    for (uint32_t i = 0; i < IO_ENTRIES; i++) {
        talk_open(&talks[i]);
        io_recv(&talks[i].waited.io, talks[i].near, &bytes[i], 1);
        io_submit(reactor, &talks[i].waited.io);
    }
    timer_init(&alarm, alarm_ring);
    timer_start(reactor, &alarm, 5 * NS_PER_S);
    for (uint32_t i = 0; i < 2; i++) {
        reactor->engine->wake(NULL, reactor);
        reactor_turn(reactor, UINT64_MAX);
    }
    reactor_turn(reactor, 0);
    assert_true(timer_running(&alarm)); /* It was a wake that ended each sleep. */
    timer_stop(reactor, &alarm);
    for (uint32_t i = 0; i < IO_ENTRIES; i++) {
        io_socket_shutdown(reactor, talks[i].near);
        assert_int_equal(waited_finish(reactor, &talks[i].waited), 0);
        talk_close(&talks[i]);
    }
}

/* Receives into lent buffers; `size` bytes are there already. */
static void talk_start(struct reactor *reactor, struct talk *talk, uint32_t size)
{
    static const char bytes[] = "xy";
    talk_open(talk);
    assert_int_equal(write(talk->far, bytes, size), size);
    io_recv(&talk->waited.io, talk->near, NULL, 0);
    io_submit(reactor, &talk->waited.io);
}

static void talk_end(struct reactor *reactor, struct talk *talk, int32_t result)
{
    assert_int_equal(waited_finish(reactor, &talk->waited), result);
    io_recv_release(reactor, &talk->waited.io);
    talk_close(talk);
}

/* What had come is received, then the end, also by who waits; the other way is open. */
static void what_has_come_is_received_behind_an_end_of_ours(void **state)
{
    struct reactor *reactor = *state;
    struct talk told, silent;
    talk_open(&told);
    talk_open(&silent);
    assert_int_equal(write(told.far, "xy", 2), 2);
    io_recv(&silent.waited.io, silent.near, NULL, 0);
    io_submit(reactor, &silent.waited.io);
    reactor_turn(reactor, 0);
    io_socket_end_receive(reactor, silent.near);
    io_socket_end_receive(reactor, told.near);
    for (int32_t wanted = 2; wanted >= 0; wanted -= 2) {
        io_recv(&told.waited.io, told.near, NULL, 0);
        assert_int_equal(waited_run(reactor, &told.waited), wanted);
        io_recv_release(reactor, &told.waited.io);
    }
    char bytes[] = "still";
    struct iovec vector = {.iov_base = bytes, .iov_len = 5};
    io_send(&told.waited.io, told.near, &vector, 1);
    assert_int_equal(waited_run(reactor, &told.waited), 5);
    talk_close(&told);
    talk_end(reactor, &silent, 0);
}

/* Takes every lent buffer. */
static void hold_all(struct reactor *reactor, struct talk holders[IO_BUFFERS])
{
    for (uint32_t i = 0; i < IO_BUFFERS; i++) {
        talk_start(reactor, &holders[i], 1);
    }
    for (uint32_t i = 0; i < IO_BUFFERS; i++) {
        assert_int_equal(waited_finish(reactor, &holders[i].waited), 1);
        assert_true(holders[i].waited.io.recv.lent != 0);
    }
}

static void let_go(struct reactor *reactor, struct talk *holder)
{
    io_recv_release(reactor, &holder->waited.io);
    talk_close(holder);
}

/* Idle peers and dead ones stand before those that have something to say. */
static void a_buffer_goes_past_those_that_do_not_take_it(void **state)
{
    enum { IDLE = 6, DEAD = 6, READY = 6, FIRST_DEAD = IDLE, FIRST = IDLE + DEAD };
    struct reactor *reactor = *state;
    struct talk holders[IO_BUFFERS], talks[IDLE + DEAD + READY];
    hold_all(reactor, holders);
    for (uint32_t i = 0; i < ARRAY_COUNT(talks); i++) {
        talk_start(reactor, &talks[i], i >= FIRST ? 2 : 0);
        reactor_turn(reactor, 0);
    }
    for (uint32_t i = FIRST_DEAD; i < FIRST; i++) {
        assert_int_equal(shutdown(talks[i].far, SHUT_WR), 0);
    }
    reactor_turn(reactor, 0);
    for (uint32_t i = FIRST; i < ARRAY_COUNT(talks); i++) {
        assert_false(talks[i].waited.done);
    }
    let_go(reactor, &holders[0]); /* One buffer is enough for all. */
    for (uint32_t i = FIRST; i < ARRAY_COUNT(talks); i++) {
        talk_end(reactor, &talks[i], 2);
    }
    for (uint32_t i = FIRST_DEAD; i < FIRST; i++) {
        talk_end(reactor, &talks[i], 0);
    }
    for (uint32_t i = 0; i < IDLE; i++) {
        assert_false(talks[i].waited.done);
        assert_int_equal(write(talks[i].far, "late", 4), 4);
        talk_end(reactor, &talks[i], 4);
    }
    for (uint32_t i = 1; i < IO_BUFFERS; i++) {
        let_go(reactor, &holders[i]);
    }
}

/* However it came to wait: submitted while buffers were free or while none was, heard of its peer
 * or not, shut down before the engine has seen it. */
static void a_shutdown_ends_a_receive_without_a_buffer(void **state)
{
    enum { EARLY = 2, LATE = 6, ALL = 8 };
    struct reactor *reactor = *state;
    struct talk holders[IO_BUFFERS], talks[ALL], unseen;
    for (uint32_t i = 0; i < EARLY; i++) {
        talk_start(reactor, &talks[i], 0);
    }
    hold_all(reactor, holders);
    for (uint32_t i = EARLY; i < ALL; i++) {
        talk_start(reactor, &talks[i], i % 3);
    }
    for (uint32_t i = 0; i < 10; i++) {
        reactor_turn(reactor, 0);
    }
    for (uint32_t i = 0; i < ALL; i++) {
        assert_false(talks[i].waited.done);
        io_socket_shutdown(reactor, talks[i].near);
        assert_false(talks[i].waited.done); /* Not before return. */
        assert_int_equal(waited_finish(reactor, &talks[i].waited), 0);
        talk_close(&talks[i]);
    }
    talk_start(reactor, &unseen, 2);
    io_socket_shutdown(reactor, unseen.near);
    talk_end(reactor, &unseen, 0);
    for (uint32_t i = 0; i < IO_BUFFERS; i++) {
        let_go(reactor, &holders[i]);
    }
}

/* Turns that may sleep until the timer rings: few, although many have something to say. */
static void receives_without_a_buffer_let_the_core_sleep(void **state)
{
    struct reactor *reactor = *state;
    struct talk holders[IO_BUFFERS], talks[8];
    struct timer alarm;
    uint32_t turns = 0;
    hold_all(reactor, holders);
    for (uint32_t i = 0; i < ARRAY_COUNT(talks); i++) {
        talk_start(reactor, &talks[i], 1);
    }
    timer_init(&alarm, alarm_ring);
    timer_start(reactor, &alarm, 50 * NS_PER_MS);
    while (timer_running(&alarm)) {
        reactor_turn(reactor, UINT64_MAX);
        turns++;
    }
    assert_true(turns < 20);
    for (uint32_t i = 0; i < IO_BUFFERS; i++) {
        let_go(reactor, &holders[i]);
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(talks); i++) {
        talk_end(reactor, &talks[i], 1);
    }
}

#define ALL(engine)                                                                                \
    IO_ON(receivers_without_a_buffer_wait_for_one, engine),                                        \
        IO_ON(a_wake_is_armed_before_a_sleep_however_full_the_turn, engine),                       \
        IO_ON(what_has_come_is_received_behind_an_end_of_ours, engine),                            \
        IO_ON(a_buffer_goes_past_those_that_do_not_take_it, engine),                               \
        IO_ON(a_shutdown_ends_a_receive_without_a_buffer, engine),                                 \
        IO_ON(receives_without_a_buffer_let_the_core_sleep, engine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(posix),
#ifdef FLOE_HAS_URING
        ALL(uring),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
