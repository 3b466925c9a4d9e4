/* Rebalances: how they begin and end, assignments, silence, leaving. */
#include "core/assert.h"
#include "net/group/classic_internal.h"

#include <string.h>

void classic_init(struct classic *group)
{
    *group = (struct classic){.state = CLASSIC_EMPTY, .wake_ns = UINT64_MAX};
    list_init(&group->members);
}

void classic_deinit(struct classic *group, struct group_memory *memory)
{
    while (!list_empty(&group->members)) {
        classic_member_drop(group, CONTAINER_OF(group->members.next, struct classic_member, node),
                            memory);
    }
    group_free(memory, group->buckets);
    group_free_copy(memory, &group->type);
    group_free_copy(memory, &group->protocol);
    classic_init(group);
}

const char *classic_state_name(const struct classic *group)
{
    static const char *const names[] = {"Empty", "PreparingRebalance", "CompletingRebalance",
                                        "Stable"};
    return names[group->state];
}

void classic_answer(struct classic_event *event, struct classic_wait *wait, enum group_code code)
{
    ASSERT(wait->next == NULL && event->last != wait);
    wait->code = code;
    wait->parked = false;
    if (code != GROUP_OK) {
        wait->member = NULL;
    }
    if (event->last == NULL) {
        event->first = wait;
    } else {
        event->last->next = wait;
    }
    event->last = wait;
}

void classic_wake(struct classic *group, uint64_t at_ns)
{
    group->wake_ns = min_u64(group->wake_ns, at_ns);
}

void classic_touch(struct classic *group, struct classic_member *member, uint64_t now_ns)
{
    member->deadline_ns = now_ns + member->session_ms * NS_PER_MS;
    classic_wake(group, member->deadline_ns);
}

/* --- What is parked. --- */

static void classic_end_join(struct classic *group, struct classic_member *member,
                             enum group_code code, struct classic_event *event)
{
    if (member->join != NULL) {
        struct classic_wait *wait = member->join;
        member->join = NULL;
        group->joined_count--;
        classic_touch(group, member, event->now_ns);
        classic_answer(event, wait, code);
    }
}

static void classic_end_sync(struct classic *group, struct classic_member *member,
                             enum group_code code, struct classic_event *event)
{
    if (member->sync != NULL) {
        struct classic_wait *wait = member->sync;
        member->sync = NULL;
        classic_touch(group, member, event->now_ns);
        classic_answer(event, wait, code);
    }
}

void classic_park_join(struct classic *group, struct classic_member *member,
                       struct classic_wait *wait, struct classic_event *event)
{
    ASSERT(group->state == CLASSIC_PREPARING && !member->pending);
    classic_end_join(group, member, GROUP_REBALANCING, event);
    member->join = wait;
    member->await_sync = false;
    wait->member = member;
    wait->parked = true;
    group->joined_count++;
}

void classic_remove(struct classic *group, struct classic_member *member, enum group_code code,
                    struct classic_event *event)
{
    classic_end_join(group, member, code, event);
    classic_end_sync(group, member, code, event);
    classic_member_drop(group, member, event->memory);
}

/* --- The course of a rebalance. --- */

/* The longest that a member wants to be waited for. */
static uint64_t classic_patience_ns(const struct classic *group)
{
    uint64_t longest_ms = 0;
    struct list *entry;
    list_for_each (entry, &group->members) {
        const struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        longest_ms = max_u64(longest_ms, member->rebalance_ms);
    }
    return longest_ms * NS_PER_MS;
}

/* Who has not joined is dropped: but static members, whose place is kept for their session. */
static void classic_drop_absent(struct classic *group, struct classic_event *event)
{
    struct list *entry = group->members.next;
    while (entry != &group->members) {
        struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        entry = entry->next;
        if (!member->pending && member->join == NULL && member->instance.data == NULL) {
            classic_member_drop(group, member, event->memory);
        }
    }
}

/* Whoever leads has joined; false: nobody has. */
static bool classic_elect(struct classic *group)
{
    if (group->leader != NULL && group->leader->join != NULL) {
        return true;
    }
    struct list *entry;
    list_for_each (entry, &group->members) {
        struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        if (member->join != NULL) {
            group->leader = member;
            return true;
        }
    }
    return false;
}

static void classic_become_empty(struct classic *group, struct classic_event *event)
{
    group->state = CLASSIC_EMPTY;
    group->initial = false;
    group->leader = NULL;
    group->empty_ms = event->now_ms;
    group_free_copy(event->memory, &group->protocol);
    event->write = true;
}

static void classic_tell_joined(struct classic *group, struct classic_event *event)
{
    struct list *entry;
    list_for_each (entry, &group->members) {
        struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        classic_member_unassign(group, member, event->memory);
        member->await_sync = member->join != NULL;
        member->anonymous = member->anonymous && member->join == NULL;
        classic_end_join(group, member, GROUP_OK, event);
    }
    ASSERT(group->joined_count == 0);
}

/* PREPARING is over: a generation begins. */
static void classic_complete(struct classic *group, struct classic_event *event)
{
    ASSERT(group->state == CLASSIC_PREPARING);
    classic_drop_absent(group, event);
    if (group->member_count > 0 && !classic_elect(group)) {
        /* Static members, all of them on their way back. */
        group->deadline_ns = event->now_ns + max_u64(classic_patience_ns(group), NS_PER_MS);
        classic_wake(group, group->deadline_ns);
        return;
    }
    group->generation = group->generation == INT32_MAX ? 1 : group->generation + 1;
    if (group->member_count == 0) {
        classic_become_empty(group, event);
        return;
    }
    struct bytes protocol;
    if (!group_copy(event->memory, classic_choose(group), &protocol)) {
        protocol = (struct bytes){0}; /* Told as an empty name; the next rebalance chooses again. */
    }
    group_free_copy(event->memory, &group->protocol);
    group->protocol = protocol;
    group->state = CLASSIC_COMPLETING;
    group->initial = false;
    group->deadline_ns = event->now_ns + max_u64(classic_patience_ns(group), NS_PER_MS);
    classic_wake(group, group->deadline_ns);
    classic_tell_joined(group, event);
    event->write = true;
}

void classic_try_complete(struct classic *group, struct classic_event *event)
{
    if (group->state != CLASSIC_PREPARING) {
        return;
    }
    bool all = group->joined_count == group->member_count && group->pending_count == 0;
    bool at_once = group->initial && event->options->initial_delay_ms == 0;
    if (at_once || (all && !group->initial) || group->member_count == 0) {
        classic_complete(group, event);
    }
}

static void classic_end_syncs(struct classic *group, enum group_code code,
                              struct classic_event *event)
{
    struct list *entry;
    list_for_each (entry, &group->members) {
        classic_end_sync(group, CONTAINER_OF(entry, struct classic_member, node), code, event);
    }
}

void classic_rebalance(struct classic *group, struct classic_event *event)
{
    uint64_t delay_ns = event->options->initial_delay_ms * NS_PER_MS;
    switch (group->state) {
    case CLASSIC_PREPARING:
        break;
    case CLASSIC_EMPTY:
        group->initial = true;
        group->newcomers = false;
        uint64_t patience_ns = classic_patience_ns(group);
        delay_ns = min_u64(delay_ns, patience_ns);
        group->initial_end_ns = event->now_ns + patience_ns;
        group->deadline_ns = event->now_ns + delay_ns;
        break;
    case CLASSIC_COMPLETING:
        classic_end_syncs(group, GROUP_REBALANCING, event);
        group->deadline_ns = event->now_ns + classic_patience_ns(group);
        break;
    case CLASSIC_STABLE:
        group->deadline_ns = event->now_ns + classic_patience_ns(group);
        break;
    }
    group->state = CLASSIC_PREPARING;
    classic_wake(group, group->deadline_ns);
}

/* A rebalance begins because somebody has gone; it may be over at once. */
static void classic_rebalance_without(struct classic *group, struct classic_event *event)
{
    if (group->state == CLASSIC_COMPLETING || group->state == CLASSIC_STABLE) {
        classic_rebalance(group, event);
    }
    classic_try_complete(group, event);
}

/* --- Assignments. --- */

/* All or nothing: what does not fit, or names nobody, leaves all without. */
static enum group_code classic_assign(struct classic *group, const struct classic_sync *sync,
                                      struct classic_event *event)
{
    struct bytes_reader reader = bytes_reader(sync->assignments);
    for (uint32_t i = 0; i < sync->assignment_count; i++) {
        struct classic_pair pair;
        if (!classic_read_pair(&reader, &pair)) {
            return GROUP_INCONSISTENT;
        }
        struct classic_member *member = classic_member_by_id(group, pair.name);
        if (member == NULL || member->pending) {
            continue;
        }
        classic_member_unassign(group, member, event->memory);
        if (group->record_bytes + (uint64_t)pair.value.size > CLASSIC_RECORD_BYTES_MAX) {
            return GROUP_TOO_LARGE;
        }
        if (!group_copy(event->memory, pair.value, &member->assignment)) {
            return GROUP_LIMIT;
        }
        group->record_bytes += member->assignment.size;
    }
    return GROUP_OK;
}

static void classic_park_sync(struct classic *group, struct classic_member *member,
                              struct classic_wait *wait, struct classic_event *event)
{
    classic_end_sync(group, member, GROUP_REBALANCING, event);
    wait->member = member;
    wait->parked = true;
    member->sync = wait;
    member->await_sync = false;
}

static enum group_code classic_check_sync(const struct classic *group,
                                          const struct classic_sync *sync,
                                          struct classic_member **member)
{
    enum group_code code = classic_find(group, sync->member, sync->instance, member);
    if (code != GROUP_OK) {
        return code;
    }
    if (sync->generation != group->generation) {
        return GROUP_ILLEGAL_GENERATION;
    }
    bool type = sync->type.data == NULL || bytes_equal(sync->type, group->type);
    bool protocol = sync->protocol.data == NULL || bytes_equal(sync->protocol, group->protocol);
    return type && protocol ? GROUP_OK : GROUP_INCONSISTENT;
}

void classic_sync(struct classic *group, const struct classic_sync *sync, struct classic_wait *wait,
                  struct classic_event *event)
{
    struct classic_member *member;
    wait->sync = true;
    enum group_code code = classic_check_sync(group, sync, &member);
    if (code == GROUP_OK && group->state == CLASSIC_PREPARING) {
        code = GROUP_REBALANCING;
    }
    if (code != GROUP_OK) {
        classic_answer(event, wait, code);
        return;
    }
    ASSERT(group->state == CLASSIC_COMPLETING || group->state == CLASSIC_STABLE);
    classic_touch(group, member, event->now_ns);
    if (group->state == CLASSIC_STABLE) {
        member->await_sync = false;
        wait->member = member;
        classic_answer(event, wait, GROUP_OK);
        return;
    }
    classic_park_sync(group, member, wait, event);
    if (member != group->leader) {
        return;
    }
    code = classic_assign(group, sync, event);
    if (code == GROUP_OK) {
        group->state = CLASSIC_STABLE;
        event->write = true;
    } else {
        struct list *entry;
        list_for_each (entry, &group->members) {
            classic_member_unassign(group, CONTAINER_OF(entry, struct classic_member, node),
                                    event->memory);
        }
        member->await_sync = true;
    }
    classic_end_syncs(group, code, event);
}

/* --- Signs of life, and their absence. --- */

/* A member of this generation is heard of, while the group is not in the state `unless`. */
static enum group_code classic_hear(struct classic *group, struct bytes id, struct bytes instance,
                                    int32_t generation, enum classic_state unless,
                                    const struct classic_event *event)
{
    struct classic_member *member;
    enum group_code code = classic_find(group, id, instance, &member);
    if (code != GROUP_OK) {
        return code;
    }
    if (generation != group->generation) {
        return GROUP_ILLEGAL_GENERATION;
    }
    classic_touch(group, member, event->now_ns);
    return group->state == unless ? GROUP_REBALANCING : GROUP_OK;
}

enum group_code classic_heartbeat(struct classic *group, struct bytes id, struct bytes instance,
                                  int32_t generation, const struct classic_event *event)
{
    return classic_hear(group, id, instance, generation, CLASSIC_PREPARING, event);
}

enum group_code classic_commit(struct classic *group, struct bytes id, struct bytes instance,
                               int32_t generation, const struct classic_event *event)
{
    if (generation < 0 && id.size == 0 && instance.data == NULL) {
        return group->member_count == 0 ? GROUP_OK : GROUP_UNKNOWN_MEMBER;
    }
    return classic_hear(group, id, instance, generation, CLASSIC_COMPLETING, event);
}

enum group_code classic_leave(struct classic *group, struct bytes id, struct bytes instance,
                              struct classic_event *event)
{
    struct classic_member *member;
    if (instance.data != NULL && id.size == 0) {
        member = classic_member_by_instance(group, instance);
    } else {
        member = classic_member_by_id(group, id);
        if (instance.data != NULL || member == NULL || !member->pending) {
            enum group_code code = classic_find(group, id, instance, &member);
            if (code != GROUP_OK) {
                return code;
            }
        }
    }
    if (member == NULL) {
        return GROUP_UNKNOWN_MEMBER;
    }
    bool pending = member->pending;
    /* Or it would be there again after a crash, and waited for until its session is over. */
    event->write = event->write || !pending;
    classic_remove(group, member, GROUP_UNKNOWN_MEMBER, event);
    if (pending) {
        classic_try_complete(group, event);
    } else {
        classic_rebalance_without(group, event);
    }
    return GROUP_OK;
}

void classic_cancel(struct classic *group, struct classic_wait *wait, struct classic_event *event)
{
    struct classic_member *member = wait->member;
    ASSERT(wait->parked && member != NULL);
    if (wait->sync) {
        ASSERT(member->sync == wait);
        classic_end_sync(group, member, GROUP_CANCELED, event);
        member->await_sync = true;
        return;
    }
    ASSERT(member->join == wait);
    classic_end_join(group, member, GROUP_CANCELED, event);
    if (member->anonymous) {
        classic_remove(group, member, GROUP_CANCELED, event);
        classic_rebalance_without(group, event);
    }
}

void classic_abort(struct classic *group, enum group_code code, struct classic_event *event)
{
    struct list *entry;
    list_for_each (entry, &group->members) {
        struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        classic_end_join(group, member, code, event);
        classic_end_sync(group, member, code, event);
    }
}

/* Drops those for whom `gone` holds; whether any was. */
static bool classic_drop_silent(struct classic *group, bool unsynced, struct classic_event *event)
{
    bool dropped = false;
    struct list *entry = group->members.next;
    while (entry != &group->members) {
        struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        entry = entry->next;
        bool parked = member->join != NULL || member->sync != NULL;
        bool gone = unsynced ? member->await_sync : member->deadline_ns <= event->now_ns;
        if (!parked && gone) {
            dropped = dropped || !member->pending;
            classic_member_drop(group, member, event->memory);
        }
    }
    return dropped;
}

static void classic_preparing_is_over(struct classic *group, struct classic_event *event)
{
    uint64_t delay_ns = event->options->initial_delay_ms * NS_PER_MS;
    if (group->initial && group->newcomers && group->initial_end_ns > event->now_ns) {
        group->newcomers = false;
        group->deadline_ns = min_u64(event->now_ns + delay_ns, group->initial_end_ns);
        return;
    }
    classic_complete(group, event);
}

static void classic_find_wake(struct classic *group)
{
    bool timed = group->state == CLASSIC_PREPARING || group->state == CLASSIC_COMPLETING;
    group->wake_ns = timed ? group->deadline_ns : UINT64_MAX;
    struct list *entry;
    list_for_each (entry, &group->members) {
        const struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        if (member->join == NULL && member->sync == NULL) {
            classic_wake(group, member->deadline_ns);
        }
    }
}

void classic_tick(struct classic *group, struct classic_event *event)
{
    if (group->wake_ns > event->now_ns) {
        return;
    }
    if (classic_drop_silent(group, false, event)) {
        classic_rebalance_without(group, event);
    } else {
        classic_try_complete(group, event);
    }
    if (group->state == CLASSIC_PREPARING && group->deadline_ns <= event->now_ns) {
        classic_preparing_is_over(group, event);
    } else if (group->state == CLASSIC_COMPLETING && group->deadline_ns <= event->now_ns) {
        (void)classic_drop_silent(group, true, event);
        classic_rebalance_without(group, event);
    }
    classic_find_wake(group);
}
