/* Who comes: new members, those that come back, static ones in a new life. */
#include "net/group/classic_internal.h"

/* Answers with what the running generation is: nothing has changed for it. */
static void classic_tell_current(struct classic *group, struct classic_member *member,
                                 struct classic_wait *wait, struct classic_event *event)
{
    classic_touch(group, member, event->now_ns);
    wait->member = member;
    classic_answer(event, wait, GROUP_OK);
}

/* Joins the rebalance, which begins if there is none. */
static void classic_enter(struct classic *group, struct classic_member *member,
                          struct classic_wait *wait, struct classic_event *event)
{
    if (group->leader == NULL) {
        group->leader = member;
    }
    bool waiting = group->state == CLASSIC_PREPARING;
    classic_rebalance(group, event);
    group->newcomers = group->newcomers || waiting;
    classic_park_join(group, member, wait, event);
    classic_try_complete(group, event);
}

static enum group_code classic_set_type(struct classic *group, const struct classic_join *join,
                                        struct classic_event *event)
{
    if (group->member_count > 0 && group->type.data != NULL) {
        return GROUP_OK; /* The same: classic_check_join(). */
    }
    struct bytes type;
    if (!group_copy(event->memory, join->type, &type)) {
        return GROUP_LIMIT;
    }
    group_free_copy(event->memory, &group->type);
    group->type = type;
    return GROUP_OK;
}

static bool classic_is_full(const struct classic *group, const struct classic_event *event)
{
    return group->member_count + group->pending_count >= event->options->members_max;
}

/* Somebody new under `id`, with all that it brings; NULL: there is no room for it. */
static struct classic_member *classic_admit(struct classic *group, const struct classic_join *join,
                                            struct bytes id, struct classic_event *event)
{
    struct classic_member *member = classic_member_add(group, join, id, event->memory);
    if (member != NULL && !classic_member_bring(group, member, join, event->memory)) {
        classic_member_drop(group, member, event->memory);
        return NULL;
    }
    return member;
}

static void classic_join_new(struct classic *group, const struct classic_join *join,
                             struct classic_wait *wait, struct classic_event *event)
{
    if (classic_is_full(group, event)) {
        classic_answer(event, wait, GROUP_FULL);
        return;
    }
    bool told = join->id_needed && join->instance.data == NULL;
    enum group_code code = told ? GROUP_OK : classic_set_type(group, join, event);
    struct classic_member *member = NULL;
    if (code == GROUP_OK) {
        member = told ? classic_member_add(group, join, join->new_id, event->memory)
                      : classic_admit(group, join, join->new_id, event);
    }
    if (member == NULL) {
        classic_answer(event, wait, code == GROUP_OK ? GROUP_FULL : code);
        return;
    }
    if (told) {
        member->pending = true;
        group->member_count--;
        group->pending_count++;
        classic_touch(group, member, event->now_ns);
        classic_answer(event, wait, GROUP_MEMBER_ID_NEEDED);
        return;
    }
    member->anonymous = join->instance.data == NULL;
    classic_enter(group, member, wait, event);
}

/* It was told its id, and joins with it now. */
static void classic_join_pending(struct classic *group, struct classic_member *member,
                                 const struct classic_join *join, struct classic_wait *wait,
                                 struct classic_event *event)
{
    if (classic_set_type(group, join, event) != GROUP_OK ||
        !classic_member_bring(group, member, join, event->memory)) {
        classic_answer(event, wait, GROUP_FULL);
        return;
    }
    member->pending = false;
    group->pending_count--;
    group->member_count++;
    classic_enter(group, member, wait, event);
}

/* A static member in a new life: it has its old place, and its old self is fenced. */
static void classic_replace(struct classic *group, struct classic_member *old,
                            const struct classic_join *join, struct classic_wait *wait,
                            struct classic_event *event)
{
    struct classic_member *member = classic_admit(group, join, join->new_id, event);
    if (member == NULL) {
        classic_answer(event, wait, GROUP_FULL);
        return;
    }
    member->assignment = old->assignment; /* Counted once, and by now as the new one's. */
    old->assignment = (struct bytes){0};
    bool led = group->leader == old;
    list_remove(&member->node);
    list_push_front(&old->node, &member->node); /* Right behind it. */
    classic_remove(group, old, GROUP_FENCED_INSTANCE, event);
    if (led) {
        group->leader = member;
    }
    event->write = true;
    bool stable = group->state == CLASSIC_STABLE && group->leader != NULL;
    if (!stable || !bytes_equal(classic_choose(group), group->protocol)) {
        classic_enter(group, member, wait, event);
        return;
    }
    wait->skip_assignment = led && join->skip_known;
    wait->hide_leader = led && !join->skip_known;
    classic_tell_current(group, member, wait, event);
}

/* A member joins again. */
static void classic_join_known(struct classic *group, struct classic_member *member,
                               const struct classic_join *join, struct classic_wait *wait,
                               struct classic_event *event)
{
    bool same = member->protocol_count == join->protocol_count &&
                bytes_equal(member->protocols, join->protocols);
    bool settled = group->state == CLASSIC_COMPLETING ||
                   (group->state == CLASSIC_STABLE && member != group->leader);
    if (!classic_member_bring(group, member, join, event->memory)) {
        classic_answer(event, wait, GROUP_FULL);
    } else if (same && settled) {
        classic_tell_current(group, member, wait, event); /* The answer was lost, perhaps. */
    } else {
        classic_enter(group, member, wait, event);
    }
}

static enum group_code classic_check_join(const struct classic *group,
                                          const struct classic_join *join,
                                          const struct classic_member *self,
                                          const struct classic_event *event)
{
    if (join->session_ms < event->options->session_min_ms ||
        join->session_ms > event->options->session_max_ms) {
        return GROUP_INVALID_SESSION;
    }
    if (join->type.size == 0 || join->protocol_count == 0 ||
        join->protocol_count > CLASSIC_PROTOCOLS_MAX) {
        return GROUP_INCONSISTENT;
    }
    if (group->member_count == 0) {
        return GROUP_OK;
    }
    bool type = group->type.data != NULL && bytes_equal(group->type, join->type);
    return type && classic_agrees(group, join->protocols, self) ? GROUP_OK : GROUP_INCONSISTENT;
}

void classic_join(struct classic *group, const struct classic_join *join, struct classic_wait *wait,
                  struct classic_event *event)
{
    bool fixed = join->instance.data != NULL;
    bool nameless = join->member.size == 0;
    struct classic_member *self = nameless && fixed
                                      ? classic_member_by_instance(group, join->instance)
                                      : classic_member_by_id(group, join->member);
    wait->sync = false;
    enum group_code code = classic_check_join(group, join, self, event);
    if (code != GROUP_OK) {
        classic_answer(event, wait, code);
    } else if (nameless && self != NULL) {
        classic_replace(group, self, join, wait, event);
    } else if (nameless) {
        classic_join_new(group, join, wait, event);
    } else if (self != NULL && self->pending && !fixed) {
        classic_join_pending(group, self, join, wait, event);
    } else {
        code = classic_find(group, join->member, join->instance, &self);
        if (code != GROUP_OK) {
            classic_answer(event, wait, code);
        } else {
            classic_join_known(group, self, join, wait, event);
        }
    }
}
