/* See the header. */
#include "tests/unit/net/classic_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void world_open(struct world *world, uint64_t delay_ms)
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

struct classic_event world_event(const struct world *world)
{
    return (struct classic_event){
        .options = &world->options,
        .memory = (struct group_memory *)(uintptr_t)&world->memory,
        .now_ns = world->now_ns,
        .now_ms = world->now_ns / NS_PER_MS,
    };
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

void world_close(struct world *world)
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

struct bytes world_protocols(const char *name, const char *metadata, uint8_t *room)
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

void world_join(struct world *world, struct actor *actor, const char *metadata, bool needs_id)
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
        .protocols = world_protocols("range", metadata, room),
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

void world_sync(struct world *world, struct actor *actor)
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

enum group_code world_heartbeat(struct world *world, struct actor *actor)
{
    struct classic_event event = world_event(world);
    enum group_code code = classic_heartbeat(&world->group, bytes_text(actor->id),
                                             instance_of(actor), actor->generation, &event);
    assert_null(event.first);
    return code;
}

enum group_code world_leave(struct world *world, struct actor *actor)
{
    struct classic_event event = world_event(world);
    enum group_code code =
        classic_leave(&world->group, bytes_text(actor->id), instance_of(actor), &event);
    world_take(world, &event);
    return code;
}

void world_cancel(struct world *world, struct actor *actor)
{
    struct classic_event event = world_event(world);
    classic_cancel(&world->group, &actor->asked->wait, &event);
    world_take(world, &event);
}

void world_tick(struct world *world, uint64_t ms)
{
    world->now_ns += ms * NS_PER_MS;
    struct classic_event event = world_event(world);
    classic_tick(&world->group, &event);
    world_take(world, &event);
}

void world_check(struct world *world)
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
