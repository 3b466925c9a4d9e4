/* Wishes meet their group, and answers are written; see group.h for their form. */
#include "core/assert.h"
#include "net/group/group_internal.h"

#include <string.h>

uint8_t *group_result_room(struct group_core *core, struct group_call *call, uint32_t size)
{
    ASSERT(call->block == NULL && size > 0);
    uint8_t *data = call->small;
    if (size > sizeof(call->small)) {
        struct memory *memory = core->reactor->memory;
        if (size > memory_block_max(memory)) {
            return NULL;
        }
        call->block = block_acquire(memory, call_memory_class(size), size);
        if (call->block == NULL) {
            return NULL;
        }
        data = call->block->data;
    }
    call->result = bytes_of(data, size);
    return data;
}

void group_write_text(struct bytes_writer *writer, struct bytes text)
{
    write_le32(writer, text.data == NULL ? UINT32_MAX : text.size);
    if (text.size > 0) {
        write_bytes(writer, text.data, text.size);
    }
}

uint32_t group_text_size(struct bytes text)
{
    return 4 + text.size;
}

struct bytes group_read_text(struct bytes_reader *reader)
{
    uint32_t size = read_le32(reader);
    return size == UINT32_MAX ? (struct bytes){0} : read_bytes(reader, size);
}

static struct classic_member *serve_member(struct list *entry)
{
    return CONTAINER_OF(entry, struct classic_member, node);
}

/* --- Answers. --- */

void group_answer_text(struct group_answer *answer, struct bytes text)
{
    if (answer->counting) {
        answer->size += group_text_size(text);
    } else {
        group_write_text(&answer->writer, text);
    }
}

void group_answer_u32(struct group_answer *answer, uint32_t number)
{
    if (answer->counting) {
        answer->size += 4;
    } else {
        write_le32(&answer->writer, number);
    }
}

void group_answer_u64(struct group_answer *answer, uint64_t number)
{
    if (answer->counting) {
        answer->size += 8;
    } else {
        write_le64(&answer->writer, number);
    }
}

static void serve_encode_join(struct group_answer *answer, const struct classic *group,
                              const struct classic_wait *wait)
{
    bool led = group->leader == wait->member;
    struct bytes leader =
        group->leader == NULL || wait->hide_leader ? bytes_of("", 0) : group->leader->id;
    bool told = led && !wait->hide_leader;
    group_answer_text(answer, group->type);
    group_answer_text(answer, group->protocol);
    group_answer_text(answer, leader);
    group_answer_text(answer, wait->member->id);
    group_answer_u32(answer, told ? group->member_count : 0);
    struct list *entry;
    list_for_each (entry, &group->members) {
        const struct classic_member *member = serve_member(entry);
        if (told && !member->pending) {
            group_answer_text(answer, member->id);
            group_answer_text(answer, member->instance);
            group_answer_text(answer, classic_metadata(group, member));
        }
    }
}

static void serve_encode_sync(struct group_answer *answer, const struct classic *group,
                              const struct classic_wait *wait)
{
    group_answer_text(answer, group->type);
    group_answer_text(answer, group->protocol);
    group_answer_text(answer, wait->member->assignment);
}

static void serve_encode_describe(struct group_answer *answer, const struct classic *group,
                                  const struct classic_wait *wait)
{
    bool stable = group->state == CLASSIC_STABLE;
    struct bytes none = bytes_of("", 0);
    (void)wait;
    group_answer_text(answer, bytes_text(classic_state_name(group)));
    group_answer_text(answer, group->type);
    group_answer_text(answer, stable ? group->protocol : none);
    group_answer_u32(answer, group->member_count);
    struct list *entry;
    list_for_each (entry, &group->members) {
        const struct classic_member *member = serve_member(entry);
        if (!member->pending) {
            group_answer_text(answer, member->id);
            group_answer_text(answer, member->instance);
            group_answer_text(answer, member->client);
            group_answer_text(answer, member->host);
            group_answer_text(answer, stable ? classic_metadata(group, member) : none);
            group_answer_text(answer, stable ? member->assignment : none);
        }
    }
}

typedef void serve_encode_fn(struct group_answer *answer, const struct classic *group,
                             const struct classic_wait *wait);

/* Without memory for it the caller is sent to look again: whatever it asked, it may ask again. */
static enum group_code serve_encode(struct group_core *core, struct group_call *call,
                                    const struct classic *group, serve_encode_fn *encode)
{
    struct group_answer answer = {.counting = true};
    encode(&answer, group, &call->wait);
    uint8_t *data =
        answer.size > UINT32_MAX ? NULL : group_result_room(core, call, (uint32_t)answer.size);
    if (data == NULL) {
        return GROUP_NOT_AVAILABLE;
    }
    answer.counting = false;
    answer.writer = bytes_writer(data, (uint32_t)answer.size);
    encode(&answer, group, &call->wait);
    ASSERT(!answer.writer.failed && answer.writer.position == answer.size);
    return GROUP_OK;
}

struct classic_event group_event(struct group_core *core)
{
    return (struct classic_event){
        .options = &core->options.classic,
        .memory = &core->memory,
        .now_ns = core->reactor->now_ns,
        .now_ms = core->reactor->now_ms,
    };
}

void group_apply(struct group *group, struct classic_event *event)
{
    struct group_log *log = group->log;
    if (event->write) {
        group_log_mark(log, &group->item);
    }
    while (event->first != NULL) {
        struct classic_wait *wait = event->first;
        struct group_call *call = CONTAINER_OF(wait, struct group_call, wait);
        event->first = wait->next;
        wait->next = NULL;
        enum group_code code = wait->code;
        call->generation = group->classic.generation;
        call->skip_assignment = wait->skip_assignment;
        if (code == GROUP_OK) {
            code = serve_encode(log->core, call, &group->classic,
                                wait->sync ? serve_encode_sync : serve_encode_join);
        }
        if (code == GROUP_OK) {
            group_finish_durable(log, call, code);
        } else {
            group_finish(log->core, call, code);
        }
    }
    event->last = NULL;
    group_timer(group);
}

/* --- Wishes. --- */

static void serve_parked(struct group *group, struct group_call *call, struct classic_event *event)
{
    if (call->wait.parked) {
        call->place = GROUP_PARKED;
        call->at = group;
    }
    group_apply(group, event);
}

static void serve_join(struct group_log *log, struct group *group, struct group_call *call)
{
    if (group == NULL && call->join.member.size > 0) {
        group_finish(log->core, call, GROUP_UNKNOWN_MEMBER);
        return;
    }
    bool made = group == NULL;
    group = made ? group_add(log, call->group) : group;
    if (group == NULL) {
        group_finish(log->core, call, GROUP_LIMIT);
        return;
    }
    struct classic_event event = group_event(log->core);
    call->wait = (struct classic_wait){0};
    classic_join(&group->classic, &call->join, &call->wait, &event);
    bool refused = made && group->classic.member_count + group->classic.pending_count == 0;
    serve_parked(group, call, &event);
    if (refused && !group->item.stored) {
        group_drop(group);
    }
}

static void serve_sync(struct group_log *log, struct group *group, struct group_call *call)
{
    if (group == NULL) {
        group_finish(log->core, call, GROUP_UNKNOWN_MEMBER);
        return;
    }
    struct classic_event event = group_event(log->core);
    call->wait = (struct classic_wait){0};
    classic_sync(&group->classic, &call->sync, &call->wait, &event);
    serve_parked(group, call, &event);
}

static void serve_heartbeat(struct group_log *log, struct group *group, struct group_call *call)
{
    enum group_code code = GROUP_UNKNOWN_MEMBER;
    if (group != NULL) {
        struct classic_event event = group_event(log->core);
        code = classic_heartbeat(&group->classic, call->member, call->instance, call->generation,
                                 &event);
    }
    group_finish(log->core, call, code);
}

static void serve_leave(struct group_log *log, struct group *group, struct group_call *call)
{
    for (uint32_t i = 0; i < call->leave_count; i++) {
        struct group_leave_item *item = &call->leaves[i];
        item->code = GROUP_UNKNOWN_MEMBER;
        if (group != NULL) {
            struct classic_event event = group_event(log->core);
            item->code = classic_leave(&group->classic, item->member, item->instance, &event);
            group_apply(group, &event);
        }
    }
    group_finish_durable(log, call, GROUP_OK);
}

static void serve_commit(struct group_log *log, struct group *group, struct group_call *call)
{
    if (group == NULL && (call->generation >= 0 || call->member.size > 0)) {
        group_finish(log->core, call,
                     call->generation >= 0 ? GROUP_ILLEGAL_GENERATION : GROUP_UNKNOWN_MEMBER);
        return;
    }
    group = group == NULL ? group_add(log, call->group) : group;
    if (group == NULL) {
        group_finish(log->core, call, GROUP_LIMIT);
        return;
    }
    group_serve_commit(group, call);
}

static void serve_describe(struct group_log *log, struct group *group, struct group_call *call)
{
    enum group_code code = GROUP_NOT_FOUND;
    if (group != NULL) {
        code = serve_encode(log->core, call, &group->classic, serve_encode_describe);
    }
    group_finish(log->core, call, code);
}

static void serve_list(struct group_log *log, struct group_call *call)
{
    uint64_t size = 4;
    uint32_t count = 0;
    struct list *entry;
    list_for_each (entry, &log->groups) {
        const struct group *group = CONTAINER_OF(entry, struct group, node);
        size += group_text_size(group->id) + group_text_size(group->classic.type) +
                group_text_size(bytes_text(classic_state_name(&group->classic)));
        count++;
    }
    uint8_t *data = size > UINT32_MAX ? NULL : group_result_room(log->core, call, (uint32_t)size);
    if (data == NULL) {
        group_finish(log->core, call, GROUP_NOT_AVAILABLE);
        return;
    }
    struct bytes_writer writer = bytes_writer(data, (uint32_t)size);
    write_le32(&writer, count);
    list_for_each (entry, &log->groups) {
        const struct group *group = CONTAINER_OF(entry, struct group, node);
        group_write_text(&writer, group->id);
        group_write_text(&writer, group->classic.type);
        group_write_text(&writer, bytes_text(classic_state_name(&group->classic)));
    }
    ASSERT(!writer.failed && writer.position == size);
    group_finish(log->core, call, GROUP_OK);
}

static void serve_delete(struct group_log *log, struct group *group, struct group_call *call)
{
    enum group_code code = GROUP_NOT_FOUND;
    if (group != NULL) {
        bool empty = group->classic.state == CLASSIC_EMPTY && group->classic.pending_count == 0;
        code = empty ? GROUP_OK : GROUP_NOT_EMPTY;
        if (empty) {
            group_delete(group);
        }
    }
    group_finish_durable(log, call, code);
}

void group_serve(struct group_log *log, struct group_call *call)
{
    struct group *group = call->kind == GROUP_LIST || call->kind == GROUP_STREAM
                              ? NULL
                              : group_find(log->core, call->group);
    ASSERT(log->state == GROUP_LOG_READY);
    call->place = GROUP_AWAY;
    if (call->cancel_wanted) {
        group_finish(log->core, call, GROUP_CANCELED);
        return;
    }
    switch (call->kind) {
    case GROUP_JOIN:
        serve_join(log, group, call);
        return;
    case GROUP_SYNC:
        serve_sync(log, group, call);
        return;
    case GROUP_HEARTBEAT:
        serve_heartbeat(log, group, call);
        return;
    case GROUP_LEAVE:
        serve_leave(log, group, call);
        return;
    case GROUP_COMMIT:
        serve_commit(log, group, call);
        return;
    case GROUP_FETCH:
        group_serve_fetch(log, group, call);
        return;
    case GROUP_DESCRIBE:
        serve_describe(log, group, call);
        return;
    case GROUP_LIST:
        serve_list(log, call);
        return;
    case GROUP_DELETE:
        serve_delete(log, group, call);
        return;
    case GROUP_STREAM:
        group_stream_serve(log, call);
        return;
    case GROUP_OFFSET_DELETE:
        if (group == NULL) {
            group_finish(log->core, call, GROUP_NOT_FOUND);
        } else {
            group_serve_offset_delete(group, call);
        }
        return;
    }
    UNREACHABLE();
}
