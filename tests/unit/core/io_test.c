/* What both engines promise alike: receives without a buffer, the ends of sockets, whole reads, the
 * names of errors, and a wake-up that is always armed. */
#include "core/io.h"

#include "core/limits.h"
#include "core/reactor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { ENTRIES = 64, BUFFERS = 4, BUFFER_BYTES = 4096 };

static int setup(void **state, const struct io_engine *engine)
{
    struct reactor *reactor = aligned_alloc(CACHE_LINE_BYTES, sizeof(*reactor));
    assert_non_null(reactor);
    memset(reactor, 0, sizeof(*reactor));
    struct reactor_options options = {
        .engine = engine,
        .io = {.entries = ENTRIES, .recv_count = BUFFERS, .recv_size = BUFFER_BYTES},
        .memory = {.limit_bytes = MEMORY_LIMIT_MIN, .numa_node = -1},
        .seed = {1, 2, 3, 4},
    };
    assert_int_equal(reactor_open(reactor, &options), OK);
    *state = reactor;
    return 0;
}

static int setup_posix(void **state)
{
    return setup(state, &io_engine_posix);
}

#ifdef FLOE_HAS_URING
static int setup_uring(void **state)
{
    return setup(state, &io_engine_uring);
}
#endif

static int teardown(void **state)
{
    struct reactor *reactor = *state;
    reactor_close(reactor);
    free(reactor);
    return 0;
}

/* One io, and whether it has fired. */
struct waited {
    struct io io;
    bool done;
};

static void waited_done(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    CONTAINER_OF(io, struct waited, io)->done = true;
}

static void waited_init(struct waited *waited)
{
    memset(waited, 0, sizeof(*waited));
    completion_init(&waited->io.done, waited_done);
}

static int32_t waited_finish(struct reactor *reactor, struct waited *waited)
{
    for (uint32_t i = 0; i < 10000 && !waited->done; i++) {
        reactor_turn(reactor, NS_PER_MS);
    }
    assert_true(waited->done);
    waited->done = false;
    return waited->io.done.result;
}

static int32_t waited_run(struct reactor *reactor, struct waited *waited)
{
    io_submit(reactor, &waited->io);
    return waited_finish(reactor, waited);
}

static void an_error_has_the_name_that_its_operation_gives(void **state)
{
    struct reactor *reactor = *state;
    struct waited waited;
    waited_init(&waited);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    io_accept(&waited.io, fd); /* EINVAL: it does not listen. */
    assert_int_equal(waited_run(reactor, &waited), ERR_CLOSED);
    uint8_t byte;
    io_read(&waited.io, fd, &byte, 1, 0); /* ENOTCONN, or ESPIPE: a file that fails. */
    assert_int_equal(waited_run(reactor, &waited), ERR_IO);
    io_close(&waited.io, fd);
    assert_int_equal(waited_run(reactor, &waited), OK);
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
    static struct talk talks[ENTRIES];
    static uint8_t bytes[ENTRIES];
    struct timer alarm;
    reactor_turn(reactor, 0);
    reactor->engine->wake(NULL, reactor);
    reactor_turn(reactor, NS_PER_S);
    for (uint32_t i = 0; i < ENTRIES; i++) {
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
    for (uint32_t i = 0; i < ENTRIES; i++) {
        io_socket_shutdown(reactor, talks[i].near);
        assert_int_equal(waited_finish(reactor, &talks[i].waited), 0);
        talk_close(&talks[i]);
    }
}

/* Receives into lent buffers; `size` bytes are there already. */
static void talk_start(struct reactor *reactor, struct talk *talk, uint32_t size)
{
    static const char bytes[2] = "xy";
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

/* Takes every lent buffer. */
static void hold_all(struct reactor *reactor, struct talk holders[BUFFERS])
{
    for (uint32_t i = 0; i < BUFFERS; i++) {
        talk_start(reactor, &holders[i], 1);
    }
    for (uint32_t i = 0; i < BUFFERS; i++) {
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
    struct talk holders[BUFFERS], talks[IDLE + DEAD + READY];
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
    for (uint32_t i = 1; i < BUFFERS; i++) {
        let_go(reactor, &holders[i]);
    }
}

/* However it came to wait: submitted while buffers were free or while none was, heard of its peer
 * or not, shut down before the engine has seen it. */
static void a_shutdown_ends_a_receive_without_a_buffer(void **state)
{
    enum { EARLY = 2, LATE = 6, ALL = 8 };
    struct reactor *reactor = *state;
    struct talk holders[BUFFERS], talks[ALL], unseen;
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
    for (uint32_t i = 0; i < BUFFERS; i++) {
        let_go(reactor, &holders[i]);
    }
}

/* Turns that may sleep until the timer rings: few, although many have something to say. */
static void receives_without_a_buffer_let_the_core_sleep(void **state)
{
    struct reactor *reactor = *state;
    struct talk holders[BUFFERS], talks[8];
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
    for (uint32_t i = 0; i < BUFFERS; i++) {
        let_go(reactor, &holders[i]);
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(talks); i++) {
        talk_end(reactor, &talks[i], 1);
    }
}

#ifdef FLOE_HAS_URING
/* A pipe gives what it has. The posix engine reads with pread(2), which a pipe refuses. */
static void a_short_read_goes_on_to_the_end(void **state)
{
    struct reactor *reactor = *state;
    uint8_t data[16] = {0};
    int ends[2];
    struct waited waited;
    waited_init(&waited);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "short ", 6), 6);
    io_read(&waited.io, ends[0], data, 10, 0);
    io_submit(reactor, &waited.io);
    for (uint32_t i = 0; i < 10; i++) {
        reactor_turn(reactor, 0);
    }
    assert_false(waited.done);
    assert_int_equal(write(ends[1], "reading", 7), 7);
    assert_int_equal(waited_finish(reactor, &waited), 10);
    assert_memory_equal(data, "short read\0", 11);
    close(ends[1]);
    io_read(&waited.io, ends[0], data, sizeof(data), 0);
    assert_int_equal(waited_run(reactor, &waited), 3);
    assert_memory_equal(data, "ing", 3);
    close(ends[0]);
}
#endif

#define ON(name, engine) cmocka_unit_test_setup_teardown(name, setup_##engine, teardown)
#define ALL(engine)                                                                                \
    ON(an_error_has_the_name_that_its_operation_gives, engine),                                    \
        ON(a_wake_is_armed_before_a_sleep_however_full_the_turn, engine),                          \
        ON(a_buffer_goes_past_those_that_do_not_take_it, engine),                                  \
        ON(a_shutdown_ends_a_receive_without_a_buffer, engine),                                    \
        ON(receives_without_a_buffer_let_the_core_sleep, engine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(posix),
#ifdef FLOE_HAS_URING
        ALL(uring),
        ON(a_short_read_goes_on_to_the_end, uring),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
