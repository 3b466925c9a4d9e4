/* The round of mails to every core: each fills its own view; a core that does not turn is told from
 * those that do, and the round goes on when it turns again. */
#include "net/http/census.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CORES = 3 };

/* An engine without I/O, and with the test's clock. */
static uint64_t now_ns;

static enum err idle_open(struct reactor *reactor, const struct io_engine_options *options)
{
    (void)reactor;
    (void)options;
    return OK;
}

static void idle_submit(struct reactor *reactor, struct io *batch)
{
    (void)reactor;
    assert_null(batch);
}

static uint32_t idle_poll(struct reactor *reactor, uint64_t wait_ns)
{
    (void)reactor;
    (void)wait_ns;
    return 0;
}

static void idle_wake(struct reactor *self, struct reactor *peer)
{
    (void)self;
    (void)peer;
}

static uint64_t idle_now_ns(struct reactor *reactor)
{
    (void)reactor;
    return now_ns;
}

static uint64_t idle_wall_ms(struct reactor *reactor)
{
    (void)reactor;
    return 1700000000000;
}

static void idle_close(struct reactor *reactor)
{
    (void)reactor;
}

static const struct io_engine idle_engine = {
    .name = "idle",
    .open = idle_open,
    .submit = idle_submit,
    .poll = idle_poll,
    .wake = idle_wake,
    .now_ns = idle_now_ns,
    .wall_ms = idle_wall_ms,
    .close = idle_close,
};

struct world {
    struct reactor *reactors[CORES];
    struct census census; /* Of the first. */
};

struct asker {
    struct census_waiter waiter;
    uint32_t fired;
    int32_t result;
};

static void asker_answered(struct completion *completion)
{
    struct census_waiter *waiter = CONTAINER_OF(completion, struct census_waiter, done);
    struct asker *asker = CONTAINER_OF(waiter, struct asker, waiter);
    asker->fired++;
    asker->result = completion->result;
}

static void ask(struct world *world, struct asker *asker)
{
    *asker = (struct asker){.result = 1};
    completion_init(&asker->waiter.done, asker_answered);
    census_await(&world->census, &asker->waiter);
}

static void turn(struct world *world, uint32_t core, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        (void)reactor_turn(world->reactors[core], 0);
    }
}

static void turn_all(struct world *world)
{
    for (uint32_t i = 0; i < 6; i++) {
        turn(world, i % CORES, 1);
        turn(world, 0, 1);
    }
}

static int world_open(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    now_ns = NS_PER_S;
    for (uint32_t i = 0; i < CORES; i++) {
        world->reactors[i] = aligned_alloc(CACHE_LINE_BYTES, sizeof(struct reactor));
        assert_non_null(world->reactors[i]);
        memset(world->reactors[i], 0, sizeof(struct reactor));
        world->reactors[i]->index = i;
    }
    assert_int_equal(reactor_connect(world->reactors, CORES), OK);
    for (uint32_t i = 0; i < CORES; i++) {
        struct reactor_options options = {
            .index = i,
            .engine = &idle_engine,
            .memory = {.limit_bytes = MIB(64), .numa_node = -1},
            .seed = {1, 2, 3, 4},
        };
        assert_int_equal(reactor_open(world->reactors[i], &options), OK);
        world->reactors[i]->stats.counters[STAT_APPENDS] = 100 + i;
    }
    assert_int_equal(census_open(&world->census, world->reactors[0]), OK);
    *state = world;
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;
    census_close(&world->census);
    for (uint32_t i = 0; i < CORES; i++) {
        reactor_close(world->reactors[i]);
    }
    reactor_disconnect(world->reactors, CORES);
    for (uint32_t i = 0; i < CORES; i++) {
        free(world->reactors[i]);
    }
    free(world);
    return 0;
}

static uint64_t seen(const struct world *world, uint32_t core)
{
    return world->census.probes[core].view.counters[STAT_APPENDS];
}

static void every_core_brings_its_own(void **state)
{
    struct world *world = *state;
    struct asker asker;
    ask(world, &asker);
    assert_int_equal(asker.fired, 0);
    assert_true(census_busy(&world->census));
    turn_all(world);
    assert_int_equal(asker.fired, 1);
    assert_int_equal(asker.result, OK);
    assert_false(census_busy(&world->census));
    for (uint32_t i = 0; i < CORES; i++) {
        assert_int_equal(seen(world, i), 100 + i);
        assert_int_equal(world->census.probes[i].view.memory.limit_bytes, MIB(64));
        assert_false(world->census.probes[i].view.serves);
    }
    assert_int_equal(world->reactors[0]->timers.count, 0);
}

static void who_asks_during_a_round_gets_the_next_one(void **state)
{
    struct world *world = *state;
    struct asker first, second, third;
    ask(world, &first);
    turn(world, 0, 1);
    turn(world, 1, 1);
    world->reactors[1]->stats.counters[STAT_APPENDS] = 7; /* Too late for the first. */
    ask(world, &second);
    ask(world, &third);
    turn(world, 2, 1);
    turn(world, 0, 4);
    assert_int_equal(first.fired, 1);
    assert_int_equal(second.fired, 0);
    assert_int_equal(seen(world, 1), 101);
    turn_all(world);
    assert_int_equal(second.fired, 1);
    assert_int_equal(third.fired, 1);
    assert_int_equal(seen(world, 1), 7);
}

static void a_core_that_does_not_turn_holds_nobody_up(void **state)
{
    struct world *world = *state;
    struct asker asker, later;
    ask(world, &asker);
    for (uint32_t i = 0; i < 10; i++) {
        turn(world, 0, 1);
        turn(world, 1, 1);
    }
    assert_int_equal(asker.fired, 0);
    now_ns += (CENSUS_WAIT_MS + 2) * NS_PER_MS;
    turn(world, 0, 2);
    assert_int_equal(asker.fired, 1);
    assert_int_equal(asker.result, ERR_TIMEOUT);
    assert_true(world->census.probes[2].away);
    assert_false(world->census.probes[1].away);
    assert_int_equal(seen(world, 1), 101);
    /* The round is not over: who comes now waits for it, and then has a round of its own. */
    ask(world, &later);
    turn(world, 0, 2);
    assert_int_equal(later.fired, 0);
    turn_all(world);
    turn_all(world);
    assert_int_equal(later.fired, 1);
    assert_int_equal(later.result, OK);
    assert_int_equal(asker.fired, 1);
    assert_int_equal(seen(world, 2), 102);
    assert_false(census_busy(&world->census));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_core_brings_its_own, world_open, world_close),
        cmocka_unit_test_setup_teardown(who_asks_during_a_round_gets_the_next_one, world_open,
                                        world_close),
        cmocka_unit_test_setup_teardown(a_core_that_does_not_turn_holds_nobody_up, world_open,
                                        world_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
