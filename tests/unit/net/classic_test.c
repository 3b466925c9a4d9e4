/* The state machine of a classic group, without a core or a clock: what it answers. */
#include "tests/unit/net/classic_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Two members, both dynamic, in a stable generation. */
static void two_stable(struct world *world)
{
    struct actor *a = &world->actors[0];
    struct actor *b = &world->actors[1];
    world_join(world, a, "a", false);
    world_join(world, b, "a", false);
    world_join(world, a, "a", false); /* A leader's join is a rebalance; b waits in it already. */
    assert_true(a->joined && b->joined);
    world_sync(world, b);
    assert_non_null(b->asked);
    world_sync(world, a);
    assert_null(b->asked);
    assert_int_equal(world->group.state, CLASSIC_STABLE);
    world_check(world);
}

static void followers_wait_for_the_leader_and_get_their_own(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 0);
    two_stable(&world);
    assert_int_equal(world.group.generation, 2);
    assert_string_equal(world.actors[0].assignment, "m1@2");
    assert_string_equal(world.actors[1].assignment, "m2@2");
    world_close(&world);
}

static void the_first_member_waits_for_others(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 3000);
    world_join(&world, &world.actors[0], "a", false);
    world_tick(&world, 2000);
    world_join(&world, &world.actors[1], "a", false);
    world_tick(&world, 1000); /* Somebody came: once more. */
    assert_non_null(world.actors[0].asked);
    world_tick(&world, 3000);
    assert_null(world.actors[0].asked);
    assert_int_equal(world.group.generation, 1);
    assert_int_equal(world.group.member_count, 2);
    world_close(&world);
}

static void a_silent_member_goes_and_the_others_join_again(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 0);
    two_stable(&world);
    world_tick(&world, 8000);
    assert_int_equal(world_heartbeat(&world, &world.actors[0]), GROUP_OK);
    world_tick(&world, 3000); /* b's session is over. */
    assert_int_equal(world_heartbeat(&world, &world.actors[0]), GROUP_REBALANCING);
    assert_int_equal(world_heartbeat(&world, &world.actors[1]), GROUP_UNKNOWN_MEMBER);
    world_join(&world, &world.actors[0], "a", false);
    world_sync(&world, &world.actors[0]);
    assert_string_equal(world.actors[0].assignment, "m1@3");
    world_close(&world);
}

/* What is read after a crash that came now. */
static void reread(const struct world *world, struct classic *copy, struct group_memory *memory)
{
    uint8_t record[2048];
    uint32_t size = classic_record_size(&world->group);
    assert_true(size <= sizeof(record));
    struct bytes_writer writer = bytes_writer(record, size);
    classic_record_encode(&world->group, &writer);
    *memory = (struct group_memory){.max_bytes = MIB(1)};
    classic_init(copy);
    assert_true(classic_record_decode(copy, bytes_of(record, size), memory));
}

static void who_left_is_gone_after_a_crash_too(void **state)
{
    (void)state;
    struct world world;
    struct classic copy;
    struct group_memory memory;
    world_open(&world, 0);
    two_stable(&world);
    uint32_t writes = world.writes;
    assert_int_equal(world_leave(&world, &world.actors[1]), GROUP_OK);
    assert_int_equal(world.writes, writes + 1); /* Before it hears of it. */
    reread(&world, &copy, &memory);
    assert_int_equal(copy.state, CLASSIC_PREPARING);
    assert_int_equal(copy.member_count, 1);
    assert_non_null(classic_member_by_id(&copy, bytes_text("m1")));
    assert_null(classic_member_by_id(&copy, bytes_text("m2")));
    classic_deinit(&copy, &memory);
    world_close(&world);
}

/* Or the others would wait, after a crash, for somebody who comes back under another id. */
static void who_was_not_told_its_id_is_not_written_down(void **state)
{
    (void)state;
    struct world world;
    struct classic copy;
    struct group_memory memory;
    world_open(&world, 0);
    world_join(&world, &world.actors[0], "a", false);
    world_join(&world, &world.actors[1], "a", false);
    assert_int_equal(world.group.member_count, 2);
    reread(&world, &copy, &memory);
    assert_int_equal(copy.member_count, 1);
    assert_null(classic_member_by_id(&copy, bytes_text("m2")));
    classic_deinit(&copy, &memory);
    world_close(&world);
}

static void who_does_not_sync_goes(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 0);
    world_join(&world, &world.actors[0], "a", false);
    world_join(&world, &world.actors[1], "a", false);
    world_join(&world, &world.actors[0], "a", false);
    world_sync(&world, &world.actors[1]);
    for (uint32_t i = 0; i < 5; i++) { /* The leader lives, and never syncs. */
        world_tick(&world, 4000);
        (void)world_heartbeat(&world, &world.actors[0]);
    }
    assert_null(world.actors[1].asked);
    assert_int_equal(world.group.state, CLASSIC_PREPARING);
    assert_int_equal(world_heartbeat(&world, &world.actors[0]), GROUP_UNKNOWN_MEMBER);
    world_close(&world);
}

static void a_static_member_keeps_its_assignment_in_a_new_life(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 0);
    world.actors[1].instance = "i";
    two_stable(&world);
    struct actor old = world.actors[1];
    world.actors[1].id[0] = 0;
    uint32_t writes = world.writes;
    world_join(&world, &world.actors[1], "a", false);
    assert_null(world.actors[1].asked);
    assert_int_equal(world.actors[1].generation, 2);
    assert_int_equal(world.group.state, CLASSIC_STABLE);
    assert_int_equal(world.writes, writes + 1);
    world_sync(&world, &world.actors[1]);
    assert_string_equal(world.actors[1].assignment, old.assignment);
    assert_int_equal(world_heartbeat(&world, &old), GROUP_FENCED_INSTANCE);
    assert_int_equal(world_heartbeat(&world, &world.actors[1]), GROUP_OK);
    world_close(&world);
}

static void a_static_member_that_waits_is_fenced_by_its_new_life(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 0);
    world.actors[1].instance = "i";
    two_stable(&world);
    world_join(&world, &world.actors[1], "b", false); /* It brings something else: a rebalance. */
    assert_int_equal(world.group.state, CLASSIC_PREPARING);
    const struct asked *old = world.actors[1].asked;
    assert_non_null(old);
    world.actors[1].id[0] = 0;
    world_join(&world, &world.actors[1], "b", false);
    assert_true(old->answered);
    assert_int_equal(old->wait.code, GROUP_FENCED_INSTANCE);
    assert_non_null(world.actors[1].asked); /* The new life waits in its place. */
    world_join(&world, &world.actors[0], "a", false);
    assert_int_equal(world.group.member_count, 2);
    assert_int_equal(world.actors[1].generation, 3);
    assert_true(world.actors[0].leads);
    world_sync(&world, &world.actors[1]);
    old = world.actors[1].asked;
    assert_non_null(old); /* It waits for its assignment, and so it is then. */
    world.actors[1].id[0] = 0;
    world_join(&world, &world.actors[1], "b", false);
    assert_int_equal(old->wait.code, GROUP_FENCED_INSTANCE);
    world_close(&world);
}

static void offsets_are_committed_by_members_of_this_generation_only(void **state)
{
    (void)state;
    struct world world;
    struct bytes none = {0};
    world_open(&world, 0);
    struct classic_event event = world_event(&world);
    assert_int_equal(classic_commit(&world.group, bytes_text(""), none, -1, &event), GROUP_OK);
    two_stable(&world);
    assert_int_equal(classic_commit(&world.group, bytes_text(""), none, -1, &event),
                     GROUP_UNKNOWN_MEMBER);
    assert_int_equal(classic_commit(&world.group, bytes_text("m1"), none, 2, &event), GROUP_OK);
    assert_int_equal(classic_commit(&world.group, bytes_text("m1"), none, 1, &event),
                     GROUP_ILLEGAL_GENERATION);
    assert_int_equal(classic_commit(&world.group, bytes_text("x"), none, 2, &event),
                     GROUP_UNKNOWN_MEMBER);
    world_close(&world);
}

static void what_does_not_fit_the_group_is_refused(void **state)
{
    (void)state;
    struct world world;
    uint8_t room[PROTOCOL_BYTES];
    world_open(&world, 0);
    two_stable(&world);
    struct classic_join join = {
        .new_id = bytes_text("n"),
        .type = bytes_text("connect"),
        .protocols = world_protocols("range", "", room),
        .protocol_count = 1,
        .session_ms = SESSION_MS,
        .rebalance_ms = REBALANCE_MS,
    };
    struct classic_event event = world_event(&world);
    struct classic_wait wait = {0};
    classic_join(&world.group, &join, &wait, &event);
    assert_int_equal(wait.code, GROUP_INCONSISTENT);
    join.type = bytes_text("consumer");
    join.protocols = world_protocols("other", "", room);
    event = world_event(&world);
    wait = (struct classic_wait){0};
    classic_join(&world.group, &join, &wait, &event);
    assert_int_equal(wait.code, GROUP_INCONSISTENT);
    join.session_ms = 5999;
    event = world_event(&world);
    wait = (struct classic_wait){0};
    classic_join(&world.group, &join, &wait, &event);
    assert_int_equal(wait.code, GROUP_INVALID_SESSION);
    world.options.members_max = 2;
    join.session_ms = SESSION_MS;
    join.protocols = world_protocols("range", "", room);
    event = world_event(&world);
    wait = (struct classic_wait){0};
    classic_join(&world.group, &join, &wait, &event);
    assert_int_equal(wait.code, GROUP_FULL);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(followers_wait_for_the_leader_and_get_their_own),
        cmocka_unit_test(the_first_member_waits_for_others),
        cmocka_unit_test(a_silent_member_goes_and_the_others_join_again),
        cmocka_unit_test(who_left_is_gone_after_a_crash_too),
        cmocka_unit_test(who_was_not_told_its_id_is_not_written_down),
        cmocka_unit_test(who_does_not_sync_goes),
        cmocka_unit_test(a_static_member_keeps_its_assignment_in_a_new_life),
        cmocka_unit_test(a_static_member_that_waits_is_fenced_by_its_new_life),
        cmocka_unit_test(offsets_are_committed_by_members_of_this_generation_only),
        cmocka_unit_test(what_does_not_fit_the_group_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
