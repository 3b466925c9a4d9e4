/* The state machine of a classic group, without a core or a clock: what it answers, and, over every
 * short course of events and many long random ones, what always holds of it. */
#include "core/assert.h"
#include "core/prng.h"
#include "net/group/classic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    WAITS_MAX = 64,
    ID_BYTES = 32,
    SESSION_MS = 10000,
    REBALANCE_MS = 20000,
    ACTORS = 3,
    PROTOCOL_BYTES = 32,
};

/* A join or sync that was asked, and what became of it. */
struct asked {
    struct classic_wait wait;
    bool used, answered;
    uint64_t since_ns;
};

/* What a client of a group knows of itself. */
struct actor {
    char id[ID_BYTES];
    const char *instance;
    int32_t generation;
    bool leads, joined;
    char assignment[ID_BYTES];
    struct asked *asked;
};

struct world {
    struct classic group;
    struct classic_options options;
    struct group_memory memory;
    uint64_t now_ns;
    uint32_t ids;
    struct asked asked[WAITS_MAX];
    struct actor actors[ACTORS];
    uint32_t writes;
    /* Whose assignment was told in which generation; invariants. */
    int32_t leader_generation;
    char leader[ID_BYTES];
};

static void world_open(struct world *world, uint64_t delay_ms)
{
    memset(world, 0, sizeof(*world));
    classic_init(&world->group);
    world->options = (struct classic_options){
        .initial_delay_ms = delay_ms,
        .session_min_ms = 6000,
        .session_max_ms = 1800000,
        .members_max = 8,
    };
    world->memory.max_bytes = MIB(4);
    world->now_ns = NS_PER_S;
}

static void world_take(struct world *world, struct classic_event *event);

static struct classic_event world_event(const struct world *world)
{
    return (struct classic_event){
        .options = &world->options,
        .memory = (struct group_memory *)(uintptr_t)&world->memory,
        .now_ns = world->now_ns,
        .now_ms = world->now_ns / NS_PER_MS,
    };
}

static void world_close(struct world *world)
{
    struct classic_event event = world_event(world);
    classic_abort(&world->group, GROUP_NOT_AVAILABLE, &event);
    world_take(world, &event);
    for (uint32_t i = 0; i < WAITS_MAX; i++) {
        assert_true(!world->asked[i].used || world->asked[i].answered);
    }
    classic_deinit(&world->group, &world->memory);
    assert_int_equal(world->memory.used_bytes, 0);
}

static struct asked *world_ask(struct world *world)
{
    for (uint32_t i = 0; i < WAITS_MAX; i++) {
        struct asked *asked = &world->asked[i];
        if (!asked->used || asked->answered) {
            *asked = (struct asked){.used = true, .since_ns = world->now_ns};
            return asked;
        }
    }
    fail();
    return NULL;
}

/* At most one member of a generation is told that it leads. */
static void world_check_leader(struct world *world, const struct classic_wait *wait)
{
    const struct classic *group = &world->group;
    if (wait->sync || wait->hide_leader || group->leader != wait->member) {
        return;
    }
    char id[ID_BYTES];
    (void)snprintf(id, sizeof(id), "%.*s", (int)wait->member->id.size,
                   (const char *)wait->member->id.data);
    /* A static leader in a new life leads on; its old self is fenced. */
    if (world->leader_generation == group->generation && !wait->skip_assignment) {
        assert_string_equal(world->leader, id);
    }
    world->leader_generation = group->generation;
    (void)snprintf(world->leader, sizeof(world->leader), "%s", id);
}

static void world_hear(struct world *world, struct asked *asked)
{
    const struct classic_wait *wait = &asked->wait;
    assert_false(asked->answered);
    asked->answered = true;
    assert_false(wait->parked);
    for (uint32_t i = 0; i < ACTORS; i++) {
        struct actor *actor = &world->actors[i];
        if (actor->asked != asked) {
            continue;
        }
        actor->asked = NULL;
        if (wait->code == GROUP_OK && !wait->sync) {
            actor->generation = world->group.generation;
            actor->leads = world->group.leader == wait->member && !wait->hide_leader;
            actor->joined = true;
            (void)snprintf(actor->id, sizeof(actor->id), "%.*s", (int)wait->member->id.size,
                           (const char *)wait->member->id.data);
        } else if (wait->code == GROUP_OK) {
            struct bytes assignment = wait->member->assignment;
            assert_int_equal(world->group.state, CLASSIC_STABLE);
            (void)snprintf(actor->assignment, sizeof(actor->assignment), "%.*s",
                           (int)assignment.size, (const char *)assignment.data);
            if (assignment.size > 0) { /* Of this generation, and its own. */
                char wanted[ID_BYTES];
                (void)snprintf(wanted, sizeof(wanted), "%s@%d", actor->id, actor->generation);
                if (actor->instance == NULL) {
                    assert_string_equal(actor->assignment, wanted);
                }
            }
        } else if (wait->code == GROUP_UNKNOWN_MEMBER || wait->code == GROUP_FENCED_INSTANCE) {
            actor->joined = false;
            actor->id[0] = 0;
        }
    }
    if (wait->code == GROUP_OK) {
        world_check_leader(world, wait);
    }
}

static void world_take(struct world *world, struct classic_event *event)
{
    world->writes += event->write ? 1 : 0;
    while (event->first != NULL) {
        struct classic_wait *wait = event->first;
        event->first = wait->next;
        wait->next = NULL;
        world_hear(world, CONTAINER_OF(wait, struct asked, wait));
    }
    event->last = NULL;
}

static struct bytes protocols_of(const char *name, const char *metadata, uint8_t *room)
{
    struct bytes_writer writer = bytes_writer(room, PROTOCOL_BYTES);
    write_le32(&writer, (uint32_t)strlen(name));
    write_bytes(&writer, name, (uint32_t)strlen(name));
    write_le32(&writer, (uint32_t)strlen(metadata));
    write_bytes(&writer, metadata, (uint32_t)strlen(metadata));
    assert_false(writer.failed);
    return bytes_of(room, writer.position);
}

static struct bytes instance_of(const struct actor *actor)
{
    return actor->instance == NULL ? (struct bytes){0} : bytes_text(actor->instance);
}

static void do_join(struct world *world, struct actor *actor, const char *metadata, bool needs_id)
{
    uint8_t room[PROTOCOL_BYTES];
    char id[ID_BYTES];
    (void)snprintf(id, sizeof(id), "m%u", ++world->ids);
    struct classic_join join = {
        .member = bytes_text(actor->id),
        .instance = instance_of(actor),
        .client = bytes_text("c"),
        .host = bytes_text("/h"),
        .new_id = bytes_text(id),
        .type = bytes_text("consumer"),
        .protocols = protocols_of("range", metadata, room),
        .protocol_count = 1,
        .session_ms = SESSION_MS,
        .rebalance_ms = REBALANCE_MS,
        .id_needed = needs_id,
        .skip_known = true,
    };
    struct classic_event event = world_event(world);
    actor->asked = world_ask(world);
    struct asked *asked = actor->asked;
    classic_join(&world->group, &join, &asked->wait, &event);
    world_take(world, &event);
    if (asked->answered && asked->wait.code == GROUP_MEMBER_ID_NEEDED) {
        (void)snprintf(actor->id, sizeof(actor->id), "%s", id);
    }
}

/* The leader gives each member "its id@generation". */
static void do_sync(struct world *world, struct actor *actor)
{
    uint8_t room[512];
    struct bytes_writer writer = bytes_writer(room, sizeof(room));
    uint32_t count = 0;
    struct list *entry;
    list_for_each (entry, &world->group.members) {
        const struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        char text[ID_BYTES];
        int size = snprintf(text, sizeof(text), "%.*s@%d", (int)member->id.size,
                            (const char *)member->id.data, actor->generation);
        if (actor->leads && !member->pending) {
            write_le32(&writer, member->id.size);
            write_bytes(&writer, member->id.data, member->id.size);
            write_le32(&writer, (uint32_t)size);
            write_bytes(&writer, text, (uint32_t)size);
            count++;
        }
    }
    assert_false(writer.failed);
    struct classic_sync sync = {
        .member = bytes_text(actor->id),
        .instance = instance_of(actor),
        .generation = actor->generation,
        .assignments = bytes_of(room, writer.position),
        .assignment_count = count,
    };
    struct classic_event event = world_event(world);
    actor->asked = world_ask(world);
    classic_sync(&world->group, &sync, &actor->asked->wait, &event);
    world_take(world, &event);
}

static enum group_code do_heartbeat(struct world *world, struct actor *actor)
{
    struct classic_event event = world_event(world);
    enum group_code code = classic_heartbeat(&world->group, bytes_text(actor->id),
                                             instance_of(actor), actor->generation, &event);
    assert_null(event.first);
    return code;
}

static enum group_code do_leave(struct world *world, struct actor *actor)
{
    struct classic_event event = world_event(world);
    enum group_code code =
        classic_leave(&world->group, bytes_text(actor->id), instance_of(actor), &event);
    world_take(world, &event);
    return code;
}

static void do_cancel(struct world *world, struct actor *actor)
{
    struct classic_event event = world_event(world);
    classic_cancel(&world->group, &actor->asked->wait, &event);
    world_take(world, &event);
}

static void do_tick(struct world *world, uint64_t ms)
{
    world->now_ns += ms * NS_PER_MS;
    struct classic_event event = world_event(world);
    classic_tick(&world->group, &event);
    world_take(world, &event);
}

/* --- What always holds. --- */

static void check_world(struct world *world)
{
    const struct classic *group = &world->group;
    uint32_t members = 0;
    uint32_t pending = 0;
    uint32_t joined = 0;
    struct list *entry;
    list_for_each (entry, &group->members) {
        const struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        members += member->pending ? 0 : 1;
        pending += member->pending ? 1 : 0;
        joined += member->join != NULL ? 1 : 0;
        assert_true(member->join == NULL || group->state == CLASSIC_PREPARING);
        assert_true(member->sync == NULL || group->state == CLASSIC_COMPLETING);
        assert_ptr_equal(classic_member_by_id(group, member->id), member);
        if (member->join == NULL && member->sync == NULL) {
            assert_true(group->wake_ns <= member->deadline_ns);
        }
    }
    assert_int_equal(members, group->member_count);
    assert_int_equal(pending, group->pending_count);
    assert_int_equal(joined, group->joined_count);
    assert_true((group->state == CLASSIC_EMPTY) == (members == 0));
    if (group->state == CLASSIC_PREPARING || group->state == CLASSIC_COMPLETING) {
        assert_true(group->wake_ns <= group->deadline_ns);
    }
    /* Nobody is parked for longer than members are waited for. */
    for (uint32_t i = 0; i < WAITS_MAX; i++) {
        const struct asked *asked = &world->asked[i];
        if (asked->used && !asked->answered) {
            assert_true(asked->wait.parked);
            assert_true(world->now_ns - asked->since_ns <= 2 * REBALANCE_MS * NS_PER_MS);
        }
    }
}

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
        do_tick(world, steps_ms[thing - 6]);
        return true;
    }
    if ((thing == 3) != waits) {
        return false;
    }
    switch (thing) {
    case 0:
        do_join(world, actor, "a", actor != &world->actors[0]);
        return true;
    case 1:
        if (!actor->joined) {
            return false;
        }
        do_sync(world, actor);
        return true;
    case 2:
        (void)do_heartbeat(world, actor);
        return true;
    case 3:
        do_cancel(world, actor);
        return true;
    case 4:
        if (actor->id[0] == 0) {
            return false;
        }
        if (do_leave(world, actor) == GROUP_OK) {
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
        do_tick(world, REBALANCE_MS);
        check_world(world);
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
        check_world(&world);
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
            check_world(&world);
            if (i % 16 == 0) {
                check_record(&world);
            }
        }
        world_settle(&world);
        world_close(&world);
    }
}

/* --- Claims. --- */

/* Two members, both dynamic, in a stable generation. */
static void two_stable(struct world *world)
{
    struct actor *a = &world->actors[0];
    struct actor *b = &world->actors[1];
    do_join(world, a, "a", false);
    do_join(world, b, "a", false);
    do_join(world, a, "a", false); /* A leader's join is a rebalance; b waits in it already. */
    assert_true(a->joined && b->joined);
    do_sync(world, b);
    assert_non_null(b->asked);
    do_sync(world, a);
    assert_null(b->asked);
    assert_int_equal(world->group.state, CLASSIC_STABLE);
    check_world(world);
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
    do_join(&world, &world.actors[0], "a", false);
    do_tick(&world, 2000);
    do_join(&world, &world.actors[1], "a", false);
    do_tick(&world, 1000); /* Somebody came: once more. */
    assert_non_null(world.actors[0].asked);
    do_tick(&world, 3000);
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
    do_tick(&world, 8000);
    assert_int_equal(do_heartbeat(&world, &world.actors[0]), GROUP_OK);
    do_tick(&world, 3000); /* b's session is over. */
    assert_int_equal(do_heartbeat(&world, &world.actors[0]), GROUP_REBALANCING);
    assert_int_equal(do_heartbeat(&world, &world.actors[1]), GROUP_UNKNOWN_MEMBER);
    do_join(&world, &world.actors[0], "a", false);
    do_sync(&world, &world.actors[0]);
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
    assert_int_equal(do_leave(&world, &world.actors[1]), GROUP_OK);
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
    do_join(&world, &world.actors[0], "a", false);
    do_join(&world, &world.actors[1], "a", false);
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
    do_join(&world, &world.actors[0], "a", false);
    do_join(&world, &world.actors[1], "a", false);
    do_join(&world, &world.actors[0], "a", false);
    do_sync(&world, &world.actors[1]);
    for (uint32_t i = 0; i < 5; i++) { /* The leader lives, and never syncs. */
        do_tick(&world, 4000);
        (void)do_heartbeat(&world, &world.actors[0]);
    }
    assert_null(world.actors[1].asked);
    assert_int_equal(world.group.state, CLASSIC_PREPARING);
    assert_int_equal(do_heartbeat(&world, &world.actors[0]), GROUP_UNKNOWN_MEMBER);
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
    do_join(&world, &world.actors[1], "a", false);
    assert_null(world.actors[1].asked);
    assert_int_equal(world.actors[1].generation, 2);
    assert_int_equal(world.group.state, CLASSIC_STABLE);
    assert_int_equal(world.writes, writes + 1);
    do_sync(&world, &world.actors[1]);
    assert_string_equal(world.actors[1].assignment, old.assignment);
    assert_int_equal(do_heartbeat(&world, &old), GROUP_FENCED_INSTANCE);
    assert_int_equal(do_heartbeat(&world, &world.actors[1]), GROUP_OK);
    world_close(&world);
}

static void a_static_member_that_waits_is_fenced_by_its_new_life(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 0);
    world.actors[1].instance = "i";
    two_stable(&world);
    do_join(&world, &world.actors[1], "b", false); /* It brings something else: a rebalance. */
    assert_int_equal(world.group.state, CLASSIC_PREPARING);
    const struct asked *old = world.actors[1].asked;
    assert_non_null(old);
    world.actors[1].id[0] = 0;
    do_join(&world, &world.actors[1], "b", false);
    assert_true(old->answered);
    assert_int_equal(old->wait.code, GROUP_FENCED_INSTANCE);
    assert_non_null(world.actors[1].asked); /* The new life waits in its place. */
    do_join(&world, &world.actors[0], "a", false);
    assert_int_equal(world.group.member_count, 2);
    assert_int_equal(world.actors[1].generation, 3);
    assert_true(world.actors[0].leads);
    do_sync(&world, &world.actors[1]);
    old = world.actors[1].asked;
    assert_non_null(old); /* It waits for its assignment, and so it is then. */
    world.actors[1].id[0] = 0;
    do_join(&world, &world.actors[1], "b", false);
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
        .protocols = protocols_of("range", "", room),
        .protocol_count = 1,
        .session_ms = SESSION_MS,
        .rebalance_ms = REBALANCE_MS,
    };
    struct classic_event event = world_event(&world);
    struct classic_wait wait = {0};
    classic_join(&world.group, &join, &wait, &event);
    assert_int_equal(wait.code, GROUP_INCONSISTENT);
    join.type = bytes_text("consumer");
    join.protocols = protocols_of("other", "", room);
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
    join.protocols = protocols_of("range", "", room);
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
        cmocka_unit_test(what_must_hold_holds_in_every_short_course),
        cmocka_unit_test(what_must_hold_holds_in_long_random_courses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
