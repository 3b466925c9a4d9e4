/* The turn, timers and mailboxes on both engines, turned by hand in one thread and by real
 * threads. */
#include "core/assert.h"
#include "core/limits.h"
#include "core/reactor.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { REACTOR_COUNT = 2 };

struct fixture {
    const struct io_engine *engine;
    struct reactor *reactors[REACTOR_COUNT];
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

struct hurried {
    struct completion done;
    struct reactor *reactor;
};

static void hurry_run(struct completion *completion)
{
    reactor_hurry(CONTAINER_OF(completion, struct hurried, done)->reactor);
}

/* Nothing else would end these waits: a turn that waits hangs the test. */
static void a_turn_that_is_hurried_does_not_wait(void **state)
{
    struct fixture *fixture = *state;
    reactor_start(fixture, 0);
    struct hurried hurried = {.reactor = fixture->reactors[0]};
    completion_init(&hurried.done, hurry_run);
    for (uint32_t i = 0; i < 3; i++) {
        completion_fire(fixture->reactors[0], &hurried.done, OK);
        assert_int_equal(reactor_turn(fixture->reactors[0], UINT64_MAX), 1);
        reactor_hurry(fixture->reactors[0]);
        assert_int_equal(reactor_turn(fixture->reactors[0], UINT64_MAX), 0);
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

#define ON(name, engine) cmocka_unit_test_setup_teardown(name, setup_##engine, teardown)
#define ALL(engine)                                                                                \
    ON(completions_run_in_order_and_never_inline, engine),                                         \
        ON(a_turn_that_is_hurried_does_not_wait, engine),                                          \
        ON(commits_run_before_sends_whatever_was_deferred_first, engine),                          \
        ON(timers_fire_in_order_and_a_stopped_one_never, engine),                                  \
        ON(mails_arrive_in_order_beyond_the_credits, engine),                                      \
        ON(threads_that_sleep_are_woken_by_every_mail, engine)

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
