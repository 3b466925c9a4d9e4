/* The state machine of a classic group, without a core or a clock: what always holds of it, over
 * every short course of events and many long random ones. */
#include "core/prng.h"
#include "tests/unit/net/classic_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* What is written down says the same when it is read. */
static void check_record(struct world *world)
{
    uint8_t first[2048];
    uint8_t second[2048];
    struct group_memory memory = {.max_bytes = MIB(1)};
    struct classic copy;
    uint32_t size = classic_record_size(&world->group);
    assert_true(size <= sizeof(first));
    struct bytes_writer writer = bytes_writer(first, size);
    classic_record_encode(&world->group, &writer);
    assert_true(!writer.failed && writer.position == size);
    classic_init(&copy);
    assert_true(classic_record_decode(&copy, bytes_of(first, size), &memory));
    assert_int_equal(classic_record_size(&copy), size);
    writer = bytes_writer(second, size);
    classic_record_encode(&copy, &writer);
    if (world->group.state == CLASSIC_COMPLETING) {
        second[1] = first[1]; /* Read as PREPARING: the members join again. */
    }
    assert_memory_equal(first, second, size);
    for (uint32_t cut = 0; cut < size; cut += 7) {
        struct classic broken;
        classic_init(&broken);
        assert_false(classic_record_decode(&broken, bytes_of(first, cut), &memory));
        classic_deinit(&broken, &memory);
    }
    classic_deinit(&copy, &memory);
    assert_int_equal(memory.used_bytes, 0);
}

/* One thing that can happen to one of the actors; false: not now. */
enum { THINGS = 9 };

static bool world_do(struct world *world, uint32_t thing, struct actor *actor)
{
    static const uint64_t steps_ms[] = {1, 4000, 11000};
    bool waits = actor->asked != NULL;
    if (thing >= 6) {
        world_tick(world, steps_ms[thing - 6]);
        return true;
    }
    if ((thing == 3) != waits) {
        return false;
    }
    switch (thing) {
    case 0:
        world_join(world, actor, "a", actor != &world->actors[0]);
        return true;
    case 1:
        if (!actor->joined) {
            return false;
        }
        world_sync(world, actor);
        return true;
    case 2:
        (void)world_heartbeat(world, actor);
        return true;
    case 3:
        world_cancel(world, actor);
        return true;
    case 4:
        if (actor->id[0] == 0) {
            return false;
        }
        if (world_leave(world, actor) == GROUP_OK) {
            actor->joined = false;
            actor->id[0] = 0;
        }
        return true;
    default: /* A new life, and nothing remembered. */
        actor->joined = false;
        actor->id[0] = 0;
        return true;
    }
}

static void world_settle(struct world *world)
{
    for (uint32_t i = 0; i < 4; i++) {
        world_tick(world, REBALANCE_MS);
        world_check(world);
    }
    for (uint32_t i = 0; i < WAITS_MAX; i++) {
        assert_true(!world->asked[i].used || world->asked[i].answered);
    }
    assert_int_equal(world->group.state, CLASSIC_EMPTY);
}

/* Every course of so many events, of two actors; the second is a static member in every other. */
enum { SMALL_EVENTS = 5, SMALL_CHOICES = 2 * 6 + 3 };

static bool small_course(uint64_t code, bool fixed, uint64_t delay_ms)
{
    struct world world;
    bool valid = true;
    world_open(&world, delay_ms);
    world.actors[1].instance = fixed ? "i" : NULL;
    for (uint32_t i = 0; i < SMALL_EVENTS && valid; i++, code /= SMALL_CHOICES) {
        uint32_t choice = (uint32_t)(code % SMALL_CHOICES);
        struct actor *actor = &world.actors[choice < 12 ? choice / 6 : 0];
        valid = world_do(&world, choice < 12 ? choice % 6 : choice - 6, actor);
        world_check(&world);
    }
    if (valid) {
        check_record(&world);
        world_settle(&world);
    }
    world_close(&world);
    return valid;
}

static void what_must_hold_holds_in_every_short_course(void **state)
{
    (void)state;
    uint64_t total = 1;
    uint64_t valid = 0;
    for (uint32_t i = 0; i < SMALL_EVENTS; i++) {
        total *= SMALL_CHOICES;
    }
    for (uint64_t code = 0; code < total; code++) {
        if (code % 6 == 5 && code % SMALL_CHOICES < 12) {
            continue; /* Begins with a new life of somebody who has none. */
        }
        valid += small_course(code, code % 2 == 1, code % 3 == 0 ? 3000 : 0) ? 1 : 0;
    }
    assert_true(valid > 40000);
}

static void what_must_hold_holds_in_long_random_courses(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world world;
        struct prng prng;
        prng_seed_one(&prng, seed);
        world_open(&world, seed % 2 == 0 ? 3000 : 0);
        world.actors[1].instance = "i";
        world.actors[2].instance = seed % 3 == 0 ? "i" : NULL; /* Two of one name. */
        for (uint32_t i = 0; i < 400; i++) {
            struct actor *actor = &world.actors[prng_below(&prng, ACTORS)];
            (void)world_do(&world, (uint32_t)prng_below(&prng, THINGS), actor);
            world_check(&world);
            if (i % 16 == 0) {
                check_record(&world);
            }
        }
        world_settle(&world);
        world_close(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_must_hold_holds_in_every_short_course),
        cmocka_unit_test(what_must_hold_holds_in_long_random_courses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
