/* The turn, timers, mailboxes and both engines, turned by hand in one thread and by real threads.
 */
#include "core/assert.h"
#include "core/limits.h"
#include "core/reactor.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { REACTOR_COUNT = 2 };

struct fixture {
    const struct io_engine *engine;
    struct reactor *reactors[REACTOR_COUNT];
    char dir[64];
};

static struct reactor *reactor_make(uint32_t index)
{
    struct reactor *reactor = aligned_alloc(CACHE_LINE_BYTES, sizeof(*reactor));
    assert_non_null(reactor);
    memset(reactor, 0, sizeof(*reactor));
    reactor->index = index;
    return reactor;
}

static void reactor_start(const struct fixture *fixture, uint32_t index)
{
    struct reactor_options options = {
        .index = index,
        .engine = fixture->engine,
        .io = {.entries = 64, .recv_count = 4, .recv_size = 4096},
        .memory = {.limit_bytes = MEMORY_LIMIT_MIN, .numa_node = -1},
        .seed = {index + 1, 2, 3, 4},
    };
    assert_int_equal(reactor_open(fixture->reactors[index], &options), OK);
}

static int setup(void **state, const struct io_engine *engine)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->engine = engine;
    for (uint32_t i = 0; i < REACTOR_COUNT; i++) {
        fixture->reactors[i] = reactor_make(i);
    }
    assert_int_equal(reactor_connect(fixture->reactors, REACTOR_COUNT), OK);
    snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/floe-reactor-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    *state = fixture;
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
    struct fixture *fixture = *state;
    reactor_disconnect(fixture->reactors, REACTOR_COUNT);
    for (uint32_t i = 0; i < REACTOR_COUNT; i++) {
        free(fixture->reactors[i]);
    }
    assert_int_equal(rmdir(fixture->dir), 0);
    free(fixture);
    return 0;
}

/* A completion that remembers the order in which it ran. */
struct mark {
    struct completion done;
    uint32_t *clock;
    uint32_t ran_at;
};

static void mark_run(struct completion *completion)
{
    struct mark *mark = CONTAINER_OF(completion, struct mark, done);
    mark->ran_at = ++*mark->clock;
}

static void mark_init(struct mark *mark, uint32_t *clock)
{
    *mark = (struct mark){.clock = clock};
    completion_init(&mark->done, mark_run);
}

static void turn_until(struct reactor *reactor, const uint32_t *clock, uint32_t wanted)
{
    for (uint32_t i = 0; i < 10000 && *clock < wanted; i++) {
        reactor_turn(reactor, 100 * NS_PER_MS);
    }
    assert_int_equal(*clock, wanted);
}

static void completions_run_in_order_and_never_inline(void **state)
{
    struct fixture *fixture = *state;
    reactor_start(fixture, 0);
    uint32_t clock = 0;
    struct mark marks[3];
    for (uint32_t i = 0; i < 3; i++) {
        mark_init(&marks[i], &clock);
        completion_fire(fixture->reactors[0], &marks[i].done, (int32_t)i);
    }
    assert_int_equal(clock, 0);
    reactor_turn(fixture->reactors[0], 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(marks[i].ran_at, i + 1);
        assert_int_equal(marks[i].done.result, i);
    }
    reactor_close(fixture->reactors[0]);
}

static void commits_run_before_sends_whatever_was_deferred_first(void **state)
{
    struct fixture *fixture = *state;
    reactor_start(fixture, 0);
    uint32_t clock = 0;
    struct mark send, commit;
    mark_init(&send, &clock);
    mark_init(&commit, &clock);
    reactor_defer(fixture->reactors[0], TURN_SEND, &send.done);
    reactor_defer(fixture->reactors[0], TURN_COMMIT, &commit.done);
    reactor_turn(fixture->reactors[0], 0);
    assert_int_equal(commit.ran_at, 1);
    assert_int_equal(send.ran_at, 2);
    reactor_close(fixture->reactors[0]);
}

struct alarm {
    struct timer timer;
    uint32_t *clock;
    uint32_t rang_at;
};

static void alarm_ring(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    struct alarm *alarm = CONTAINER_OF(timer, struct alarm, timer);
    alarm->rang_at = ++*alarm->clock;
}

static void timers_fire_in_order_and_a_stopped_one_never(void **state)
{
    static const uint64_t delays_ms[4] = {20, 5, 10, 7};
    struct fixture *fixture = *state;
    struct reactor *reactor = fixture->reactors[0];
    reactor_start(fixture, 0);
    uint32_t clock = 0;
    struct alarm alarms[4];
    for (uint32_t i = 0; i < 4; i++) {
        alarms[i] = (struct alarm){.clock = &clock};
        timer_init(&alarms[i].timer, alarm_ring);
        timer_start(reactor, &alarms[i].timer, delays_ms[i] * NS_PER_MS);
    }
    uint64_t start_ns = reactor->now_ns;
    timer_stop(reactor, &alarms[3].timer);
    turn_until(reactor, &clock, 3);
    assert_int_equal(alarms[1].rang_at, 1);
    assert_int_equal(alarms[2].rang_at, 2);
    assert_int_equal(alarms[0].rang_at, 3);
    assert_int_equal(alarms[3].rang_at, 0);
    assert_true(reactor->now_ns - start_ns >= 20 * NS_PER_MS);
    assert_true(timer_wheel_next_ns(&reactor->timers) == UINT64_MAX);
    reactor_close(reactor);
}

/* A ball that two reactors throw to each other. */
struct ball {
    struct mail mail;
    uint64_t left;
    uint64_t throws;
    struct reactor *reactors[REACTOR_COUNT];
    bool stop;
};

static void ball_caught(struct reactor *receiver, const struct mail *mail)
{
    struct ball *ball = mail->object;
    ball->throws++;
    if (ball->left == 0) {
        for (uint32_t i = 0; i < REACTOR_COUNT && ball->stop; i++) {
            reactor_stop(ball->reactors[i]);
        }
        return;
    }
    ball->left--;
    mail_send(receiver, ball->reactors[1 - receiver->index], &ball->mail);
}

static void mails_arrive_in_order_beyond_the_credits(void **state)
{
    enum { BALLS = 1000 };
    struct fixture *fixture = *state;
    reactor_start(fixture, 0);
    reactor_start(fixture, 1);
    struct ball *balls = calloc(BALLS, sizeof(*balls));
    for (uint32_t i = 0; i < BALLS; i++) {
        balls[i].mail.fn = ball_caught;
        balls[i].mail.object = &balls[i];
        mail_send(fixture->reactors[0], fixture->reactors[1], &balls[i].mail);
    }
    for (uint32_t i = 0; i < 20; i++) {
        reactor_turn(fixture->reactors[0], 0);
        reactor_turn(fixture->reactors[1], 0);
        for (uint32_t j = 1; j < BALLS; j++) {
            assert_true(balls[j - 1].throws >= balls[j].throws);
        }
    }
    assert_int_equal(balls[BALLS - 1].throws, 1);
    assert_int_equal(fixture->reactors[1]->stats.counters[STAT_MAILS], BALLS);
    free(balls);
    reactor_close(fixture->reactors[0]);
    reactor_close(fixture->reactors[1]);
}

struct thread_argument {
    struct fixture *fixture;
    uint32_t index;
    struct ball *first;
};

static void *thread_main(void *argument)
{
    struct thread_argument *thread = argument;
    struct reactor *reactor = thread->fixture->reactors[thread->index];
    reactor_start(thread->fixture, thread->index);
    if (thread->first != NULL) {
        mail_send(reactor, thread->fixture->reactors[1], &thread->first->mail);
    }
    reactor_run(reactor);
    return NULL;
}

static void threads_that_sleep_are_woken_by_every_mail(void **state)
{
    struct fixture *fixture = *state;
    struct ball ball = {.mail = {.fn = ball_caught}, .left = 2000, .stop = true};
    ball.mail.object = &ball;
    struct thread_argument arguments[REACTOR_COUNT];
    pthread_t threads[REACTOR_COUNT];
    for (uint32_t i = 0; i < REACTOR_COUNT; i++) {
        ball.reactors[i] = fixture->reactors[i];
    }
    /* Reactor 1 first: it must be open before the first ball can wake it. */
    for (uint32_t i = REACTOR_COUNT; i-- > 0;) {
        arguments[i] = (struct thread_argument){
            .fixture = fixture, .index = i, .first = i == 0 ? &ball : NULL};
        assert_int_equal(pthread_create(&threads[i], NULL, thread_main, &arguments[i]), 0);
        while (i == 1 && atomic_load(&fixture->reactors[1]->sleeping) == 0) {
            usleep(100);
        }
    }
    for (uint32_t i = 0; i < REACTOR_COUNT; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(ball.throws, 2001);
    /* A turn per ball and a few more: no reactor spun while it had nothing to do. */
    for (uint32_t i = 0; i < REACTOR_COUNT; i++) {
        assert_true(fixture->reactors[i]->stats.counters[STAT_TURNS] < 2 * 2001 + 100);
        reactor_close(fixture->reactors[i]);
    }
}

/* One io at a time, awaited by turning. */
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
        reactor_turn(reactor, 100 * NS_PER_MS);
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

static void files_keep_their_bytes_and_flushes_are_counted(void **state)
{
    struct fixture *fixture = *state;
    struct reactor *reactor = fixture->reactors[0];
    reactor_start(fixture, 0);
    char path[128], moved[128], names[64];
    snprintf(path, sizeof(path), "%s/a", fixture->dir);
    snprintf(moved, sizeof(moved), "%s/b", fixture->dir);
    struct waited waited;
    waited_init(&waited);
    io_open(&waited.io, path, IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE | IO_OPEN_DIRECT);
    int fd = waited_run(reactor, &waited);
    assert_true(fd >= 0);
    io_open(&waited.io, path, IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE);
    assert_int_equal(waited_run(reactor, &waited), ERR_EXISTS);
    io_allocate(&waited.io, fd, 0, 65536);
    assert_int_equal(waited_run(reactor, &waited), OK);
    struct block *block = block_acquire(reactor->memory, MEMORY_APPEND, 8192);
    memset(block->data, 'x', 4096);
    uint64_t flushes = reactor->stats.counters[STAT_FLUSHES];
    io_write(&waited.io, fd, block->data, 4096, 4096, IO_WRITE_DURABLE);
    assert_int_equal(waited_run(reactor, &waited), 4096);
    assert_int_equal(reactor->stats.counters[STAT_FLUSHES], flushes + 1);
    io_read(&waited.io, fd, block->data + 4096, 4096, 4096);
    assert_int_equal(waited_run(reactor, &waited), 4096);
    assert_memory_equal(block->data, block->data + 4096, 4096);
    io_read(&waited.io, fd, block->data, 4096, 65536);
    assert_int_equal(waited_run(reactor, &waited), 0);
    block_unref(block);
    io_lock(&waited.io, fd);
    assert_int_equal(waited_run(reactor, &waited), OK);
    io_close(&waited.io, fd);
    assert_int_equal(waited_run(reactor, &waited), OK);
    io_rename(&waited.io, path, moved);
    assert_int_equal(waited_run(reactor, &waited), OK);
    io_stat(&waited.io, path);
    assert_int_equal(waited_run(reactor, &waited), ERR_NOT_FOUND);
    io_stat(&waited.io, moved);
    assert_int_equal(waited_run(reactor, &waited), OK);
    assert_int_equal(waited.io.stat.size, 65536);
    io_sync_dir(&waited.io, fixture->dir);
    assert_int_equal(waited_run(reactor, &waited), OK);
    io_list(&waited.io, fixture->dir, names, sizeof(names), 0);
    assert_int_equal(waited_run(reactor, &waited), 2);
    assert_string_equal(names, "b");
    io_unlink(&waited.io, moved);
    assert_int_equal(waited_run(reactor, &waited), OK);
    reactor_close(reactor);
}

static void sockets_carry_bytes_and_a_shutdown_ends_a_receive(void **state)
{
    struct fixture *fixture = *state;
    struct reactor *reactor = fixture->reactors[0];
    reactor_start(fixture, 0);
    struct io_address address;
    assert_int_equal(io_address_parse("127.0.0.1:0", &address), OK);
    struct waited listening, accepted, connected, sent, received;
    waited_init(&listening);
    waited_init(&accepted);
    waited_init(&connected);
    waited_init(&sent);
    waited_init(&received);
    io_listen(&listening.io, &address, false);
    int listener = waited_run(reactor, &listening);
    assert_true(listener >= 0);
    address = listening.io.listen.address;
    assert_int_not_equal(address.port, 0);
    io_accept(&accepted.io, listener);
    io_submit(reactor, &accepted.io);
    io_connect(&connected.io, &address);
    int client = waited_run(reactor, &connected);
    int server = waited_finish(reactor, &accepted);
    assert_true(client >= 0 && server >= 0);
    io_recv(&received.io, server, NULL, 0);
    io_submit(reactor, &received.io);
    char hello[] = "hello ", name[] = "reactor";
    struct iovec vectors[2] = {{.iov_base = hello, .iov_len = 6}, {.iov_base = name, .iov_len = 7}};
    io_send(&sent.io, client, vectors, 2);
    assert_int_equal(waited_run(reactor, &sent), 13);
    assert_int_equal(waited_finish(reactor, &received), 13);
    assert_memory_equal(received.io.recv.data, "hello reactor", 13);
    io_recv_release(reactor, &received.io);
    io_recv(&received.io, server, NULL, 0);
    io_submit(reactor, &received.io);
    reactor_turn(reactor, 0);
    io_socket_shutdown(reactor, server);
    assert_true(waited_finish(reactor, &received) <= 0);
    int fds[3] = {client, server, listener};
    for (uint32_t i = 0; i < 3; i++) {
        io_close(&sent.io, fds[i]);
        assert_int_equal(waited_run(reactor, &sent), OK);
    }
    io_connect(&connected.io, &address);
    assert_int_equal(waited_run(reactor, &connected), ERR_CONNECTION);
    reactor_close(reactor);
}

/* More receivers than lent buffers: the rest waits for a release, and nothing is lost. */
static void receivers_without_a_buffer_wait_for_one(void **state)
{
    enum { CONNECTIONS = 8 };
    struct fixture *fixture = *state;
    struct reactor *reactor = fixture->reactors[0];
    reactor_start(fixture, 0);
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
    reactor_close(reactor);
}

#define ON(name, engine) cmocka_unit_test_setup_teardown(name, setup_##engine, teardown)
#define ALL(engine)                                                                                \
    ON(completions_run_in_order_and_never_inline, engine),                                         \
        ON(commits_run_before_sends_whatever_was_deferred_first, engine),                          \
        ON(timers_fire_in_order_and_a_stopped_one_never, engine),                                  \
        ON(mails_arrive_in_order_beyond_the_credits, engine),                                      \
        ON(threads_that_sleep_are_woken_by_every_mail, engine),                                    \
        ON(files_keep_their_bytes_and_flushes_are_counted, engine),                                \
        ON(sockets_carry_bytes_and_a_shutdown_ends_a_receive, engine),                             \
        ON(receivers_without_a_buffer_wait_for_one, engine)

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
