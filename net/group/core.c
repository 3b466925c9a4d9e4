/* The life of a core's groups, and the ways of calls: to the core of a group, and home again. The
 * internal topic is made when somebody first wants to change something. */
#include "core/assert.h"
#include "core/log.h"
#include "net/group/group_internal.h"
#include "net/log.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    GROUP_BUCKETS_MIN = 64,
    GROUP_MEMORY_SHARE = 8,  /* Of the core's memory, one part is for groups, */
    STREAM_MEMORY_SHARE = 8, /* and one for those of streams. */
    GROUP_ID_DIGITS = 33,    /* '-' and 32 hex digits. */
};

bool group_topic_is_internal(struct bytes name)
{
    return bytes_equal(name, bytes_text(GROUP_TOPIC));
}

struct bytes group_draw_id(struct reactor *reactor, struct bytes prefix, uint8_t *room)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t random[16];
    uint32_t size = min_u32(prefix.size, CLASSIC_NAME_BYTES_MAX);
    prng_fill(&reactor->prng, random, sizeof(random));
    if (size > 0) {
        memcpy(room, prefix.data, size);
    }
    room[size++] = '-';
    for (uint32_t i = 0; i < sizeof(random); i++) {
        room[size++] = (uint8_t)digits[random[i] >> 4];
        room[size++] = (uint8_t)digits[random[i] & 15];
    }
    ASSERT(size <= CLASSIC_ID_BYTES_MAX && size >= GROUP_ID_DIGITS);
    return bytes_of(room, size);
}

/* --- The table. --- */

static uint64_t group_hash(struct bytes id)
{
    return XXH3_64bits(id.data, id.size);
}

struct group *group_find(const struct group_core *core, struct bytes id)
{
    if (core->bucket_count == 0) {
        return NULL;
    }
    struct group *group = core->buckets[group_hash(id) & (core->bucket_count - 1)];
    while (group != NULL && !bytes_equal(group->id, id)) {
        group = group->hash_next;
    }
    return group;
}

static bool group_grow(struct group_core *core)
{
    if (core->group_count < core->bucket_count) {
        return true;
    }
    uint32_t wanted = max_u32(core->bucket_count * 2, GROUP_BUCKETS_MIN);
    struct group **buckets = group_alloc(&core->memory, wanted * sizeof(struct group *));
    if (buckets == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < core->bucket_count; i++) {
        while (core->buckets[i] != NULL) {
            struct group *group = core->buckets[i];
            struct group **to = &buckets[group_hash(group->id) & (wanted - 1)];
            core->buckets[i] = group->hash_next;
            group->hash_next = *to;
            *to = group;
        }
    }
    group_free(&core->memory, core->buckets);
    core->buckets = buckets;
    core->bucket_count = wanted;
    return true;
}

static void group_timer_fired(struct completion *completion);

struct group *group_add(struct group_log *log, struct bytes id)
{
    struct group_core *core = log->core;
    ASSERT(id.size > 0 && id.size <= CLASSIC_NAME_BYTES_MAX);
    struct group *group = group_alloc(&core->memory, sizeof(*group) + id.size);
    if (group == NULL || !group_grow(core)) {
        group_free(&core->memory, group);
        return NULL;
    }
    uint8_t *at = (uint8_t *)(group + 1);
    memcpy(at, id.data, id.size);
    group->id = bytes_of(at, id.size);
    group->log = log;
    group->touched_ms = core->reactor->now_ms;
    list_init(&group->item.node);
    list_init(&group->node);
    classic_init(&group->classic);
    timer_init(&group->timer, group_timer_fired);
    list_push_back(&log->groups, &group->node);
    struct group **bucket = &core->buckets[group_hash(id) & (core->bucket_count - 1)];
    group->hash_next = *bucket;
    *bucket = group;
    core->group_count++;
    return group;
}

/* Nobody finds it any more. */
static void group_hide(struct group *group)
{
    struct group_core *core = group->log->core;
    struct group **at = &core->buckets[group_hash(group->id) & (core->bucket_count - 1)];
    while (*at != group) {
        at = &(*at)->hash_next;
    }
    *at = group->hash_next;
    core->group_count--;
    list_remove(&group->node);
    timer_stop(core->reactor, &group->timer);
    classic_deinit(&group->classic, &core->memory);
}

void group_drop(struct group *group)
{
    struct group_core *core = group->log->core;
    if (!group->item.deleted) {
        group_hide(group);
        group_offsets_free(group);
    }
    ASSERT(group->zombies == 0);
    group_item_forget(group->log, &group->item);
    group_free(&core->memory, group->buckets);
    group_free(&core->memory, group);
}

void group_delete(struct group *group)
{
    struct group_log *log = group->log;
    for (uint32_t i = 0; i < group->bucket_count; i++) {
        while (group->buckets[i] != NULL) {
            group_offset_delete(group->buckets[i]);
        }
    }
    group_hide(group);
    group->item.deleted = true;
    if (group->item.stored) {
        group_log_mark(log, &group->item);
    } else if (group->zombies == 0) {
        group_drop(group);
    }
}

/* --- Time. --- */

static bool group_is_own(const struct group *group)
{
    struct bytes prefix = bytes_text(GROUP_OWN_PREFIX);
    return group->id.size >= prefix.size &&
           bytes_equal(bytes_of(group->id.data, prefix.size), prefix);
}

/* When an empty group may go. */
static uint64_t group_expiry_ms(const struct group *group)
{
    if (group_is_own(group)) {
        return UINT64_MAX;
    }
    const struct group_options *options = &group->log->core->options;
    uint64_t since_ms = max_u64(group->classic.empty_ms, group->touched_ms);
    return since_ms +
           (group->offset_count > 0 ? options->offsets_retention_ms : options->forget_ms);
}

static bool group_is_empty(const struct group *group)
{
    return group->classic.state == CLASSIC_EMPTY && group->classic.pending_count == 0;
}

void group_timer(struct group *group)
{
    struct reactor *reactor = group->log->core->reactor;
    uint64_t at_ns = group->classic.wake_ns;
    if (group_is_empty(group)) {
        uint64_t expiry_ms = group_expiry_ms(group);
        uint64_t left_ms = expiry_ms > reactor->now_ms ? expiry_ms - reactor->now_ms : 0;
        at_ns = reactor->now_ns + min_u64(left_ms, UINT32_MAX) * NS_PER_MS;
    }
    if (timer_running(&group->timer)) {
        if (group->timer.expires_ns <= at_ns) {
            return; /* It looks again then. */
        }
        timer_stop(reactor, &group->timer);
    }
    if (at_ns != UINT64_MAX) {
        timer_start(reactor, &group->timer, at_ns > reactor->now_ns ? at_ns - reactor->now_ns : 0);
    }
}

static void group_timer_fired(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    struct group *group = CONTAINER_OF(timer, struct group, timer);
    struct group_core *core = group->log->core;
    if (group_is_empty(group) && group_expiry_ms(group) <= core->reactor->now_ms) {
        group_delete(group);
        return;
    }
    struct classic_event event = group_event(core);
    classic_tick(&group->classic, &event);
    group_apply(group, &event);
}

/* --- Calls on their way. --- */

static void group_came_home(struct reactor *home, const struct mail *mail)
{
    struct group_call *call = mail->object;
    ASSERT(call->home == home);
    completion_fire(home, &call->done, (int32_t)call->code);
}

static void group_go_home(struct reactor *here, struct group_call *call, enum group_code code)
{
    call->code = code;
    call->at = NULL;
    call->place = GROUP_AT_HOME;
    if (call->home == here) {
        completion_fire(here, &call->done, (int32_t)code);
        return;
    }
    call->mail.fn = group_came_home;
    call->mail.object = call;
    mail_send(here, call->home, &call->mail);
}

void group_finish(struct group_core *core, struct group_call *call, enum group_code code)
{
    group_go_home(core->reactor, call, code);
}

static void group_arrive(struct group_core *core, struct group_call *call)
{
    ASSERT(call->partition < GROUP_PARTITIONS_MAX);
    struct group_log *log = core->logs[call->partition];
    struct partition_id id = {.topic = call->topic, .partition = call->partition};
    if (log == NULL && !core->stopping) {
        log = calloc(1, sizeof(*log));
        if (log != NULL) {
            group_log_init(log, core, &id);
            core->logs[call->partition] = log;
        }
    }
    if (core->stopping || log == NULL || !topic_id_equal(&log->id.topic, &call->topic)) {
        group_finish(core, call, GROUP_NOT_AVAILABLE);
        return;
    }
    if (log->state == GROUP_LOG_READY) {
        group_serve(log, call);
        return;
    }
    call->ticket = UINT64_MAX;
    group_log_hold(log, call);
    if (log->state == GROUP_LOG_NEW) {
        group_log_read(log);
    }
}

static void group_arrived(struct reactor *here, const struct mail *mail)
{
    struct group_call *call = mail->object;
    const struct net *net = here->owner[REACTOR_NET];
    if (net == NULL) {
        group_go_home(here, call, GROUP_NOT_AVAILABLE);
        return;
    }
    group_arrive(net->groups, call);
}

static uint32_t group_call_core(const struct group_call *call)
{
    struct partition_id id = {.topic = call->topic, .partition = call->partition};
    return partition_core(&id, call->net->options.core_count);
}

static const struct map_topic *group_topic(const struct net *net)
{
    return map_topic_by_name(agent_map(net->options.agent), bytes_text(GROUP_TOPIC));
}

uint32_t group_partition_count(const struct net *net)
{
    const struct map_topic *topic = group_topic(net);
    return topic == NULL ? 0 : min_u32(topic->partition_count, GROUP_PARTITIONS_MAX);
}

static void group_send(struct net *net, struct group_call *call, const struct map_topic *topic)
{
    uint32_t count = min_u32(topic->partition_count, GROUP_PARTITIONS_MAX);
    call->topic = topic->id;
    if (call->kind != GROUP_LIST) {
        call->partition = (uint32_t)((group_hash(call->group) >> 32) % count);
    }
    ASSERT(call->partition < count);
    call->place = GROUP_AWAY;
    uint32_t core = group_call_core(call);
    if (core == net->options.core_index) {
        group_arrive(net->groups, call);
        return;
    }
    call->mail.fn = group_arrived;
    call->mail.object = call;
    mail_send(net->reactor, net->reactor->peers[core], &call->mail);
}

/* --- Before there is a topic. --- */

static void group_created(struct completion *completion);

static void group_create(struct group_core *core)
{
    struct net *net = core->net;
    core->creating = true;
    core->busy++;
    log_propose_topic(net, &core->proposal, bytes_text(GROUP_TOPIC), core->options.partitions);
    struct command *command = &core->proposal.command;
    static const char *const configs[][2] = {
        {"max.message.bytes", "2097152"}, /* The largest group, with room. */
        {"retention.bytes", "-1"},
        {"retention.ms", "-1"},
        {"segment.bytes", "16777216"}, /* What is compacted away goes by whole segments. */
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(configs); i++) {
        command->topic_create.configs[i] = (struct command_config){
            .key = bytes_text(configs[i][0]), .value = bytes_text(configs[i][1])};
    }
    command->topic_create.config_count = ARRAY_COUNT(configs);
    completion_init(&core->proposal.done, group_created);
    agent_propose(net->options.agent, &core->proposal);
}

static void group_created(struct completion *completion)
{
    struct proposal *proposal = CONTAINER_OF(completion, struct proposal, done);
    struct group_core *core = CONTAINER_OF(proposal, struct group_core, proposal);
    const struct map_topic *topic = group_topic(core->net);
    if (topic == NULL) {
        LOG_WARN("the topic of consumer offsets cannot be made reason=\"%s\"",
                 err_text((enum err)completion->result));
    }
    struct group_call *call = core->creating_first;
    core->creating_first = core->creating_last = NULL;
    core->creating = false;
    core->busy--;
    while (call != NULL) {
        struct group_call *next = call->next;
        call->next = NULL;
        call->creating = false;
        if (topic == NULL || call->cancel_wanted) {
            group_finish(core, call, topic == NULL ? GROUP_NOT_AVAILABLE : GROUP_CANCELED);
        } else {
            group_send(core->net, call, topic);
        }
        call = next;
    }
    net_check_stopped(core->net);
}

/* There is no group, so what there is to say about one is known. */
static void group_answer_none(struct group_core *core, struct group_call *call)
{
    static const enum group_code codes[] = {
        [GROUP_SYNC] = GROUP_UNKNOWN_MEMBER,
        [GROUP_HEARTBEAT] = GROUP_UNKNOWN_MEMBER,
        [GROUP_LEAVE] = GROUP_OK,
        [GROUP_FETCH] = GROUP_OK,
        [GROUP_DESCRIBE] = GROUP_NOT_FOUND,
        [GROUP_LIST] = GROUP_OK,
        [GROUP_DELETE] = GROUP_NOT_FOUND,
        [GROUP_OFFSET_DELETE] = GROUP_NOT_FOUND,
        [GROUP_STREAM] = GROUP_NOT_FOUND,
    };

    for (uint32_t i = 0; call->kind == GROUP_FETCH && i < call->item_count; i++) {
        call->items[i].offset = -1;
        call->items[i].epoch = -1;
    }
    for (uint32_t i = 0; i < call->leave_count; i++) {
        call->leaves[i].code = GROUP_UNKNOWN_MEMBER;
    }
    memset(call->small, 0, 4); /* A list of none. */
    call->result = bytes_of(call->small, 4);
    enum group_code code = codes[call->kind];
    if (call->kind == GROUP_STREAM &&
        (call->stream->kind == STREAM_GROUPS || call->stream->kind == STREAM_COUNT)) {
        call->stream->number = 0;
        code = GROUP_OK;
    }
    group_finish(core, call, code);
}

static bool group_makes_topic(const struct group_call *call)
{
    return call->kind == GROUP_JOIN || call->kind == GROUP_COMMIT ||
           (call->kind == GROUP_STREAM && call->stream->kind == STREAM_CREATE);
}

void group_submit(struct net *net, struct group_call *call)
{
    struct group_core *core = net->groups;
    ASSERT(call->done.fn != NULL && !call->done.queued);
    call->net = net;
    call->home = net->reactor;
    call->place = GROUP_AT_HOME;
    call->result = (struct bytes){0};
    call->block = NULL;
    call->next = NULL;
    call->creating = false;
    call->cancel_wanted = false;
    if (call->kind == GROUP_STREAM) {
        call->group = bytes_of(&call->stream->key, sizeof(call->stream->key));
        call->stream->next = 0;
        call->stream->begun = false;
        call->stream->at = NULL;
    }
    if (call->kind != GROUP_LIST &&
        (call->group.size == 0 || call->group.size > CLASSIC_NAME_BYTES_MAX)) {
        group_finish(core, call, GROUP_INVALID_ID);
        return;
    }
    const struct map_topic *topic = group_topic(net);
    if (topic != NULL) {
        group_send(net, call, topic);
    } else if (core->stopping) {
        group_finish(core, call, GROUP_NOT_AVAILABLE);
    } else if (!group_makes_topic(call)) {
        group_answer_none(core, call);
    } else {
        call->creating = true;
        if (core->creating_last == NULL) {
            core->creating_first = call;
        } else {
            core->creating_last->next = call;
        }
        core->creating_last = call;
        if (!core->creating) {
            group_create(core);
        }
    }
}

/* --- Cancels and releases. --- */

static void group_cancel_here(struct group_core *core, struct group_call *call)
{
    if (call->kind == GROUP_STREAM && call->place == GROUP_PARKED) {
        group_stream_cancel(core, call);
    } else if (call->place == GROUP_HELD) {
        call->cancel_wanted = true; /* If it waits for the log to be read: it is not served. */
    } else if (call->place == GROUP_PARKED) {
        struct group *group = call->at;
        struct classic_event event = group_event(core);
        classic_cancel(&group->classic, &call->wait, &event);
        group_apply(group, &event);
    }
}

static void group_cancel_home(struct reactor *home, const struct mail *mail)
{
    struct group_call *call = mail->object;
    completion_fire(home, &call->canceled, OK);
}

static void group_cancel_arrived(struct reactor *here, const struct mail *mail)
{
    struct group_call *call = mail->object;
    const struct net *net = here->owner[REACTOR_NET];
    if (net != NULL) {
        group_cancel_here(net->groups, call);
    }
    call->cancel_mail.fn = group_cancel_home;
    mail_send(here, call->home, &call->cancel_mail);
}

bool group_cancel(struct net *net, struct group_call *call)
{
    ASSERT(call->kind == GROUP_JOIN || call->kind == GROUP_SYNC || call->kind == GROUP_STREAM);
    if (call->creating) {
        call->cancel_wanted = true;
        return false;
    }
    if (topic_id_is_zero(&call->topic)) {
        return false; /* It never left. */
    }
    uint32_t core = group_call_core(call);
    if (core == net->options.core_index) {
        group_cancel_here(net->groups, call);
        return false;
    }
    call->cancel_mail.fn = group_cancel_arrived;
    call->cancel_mail.object = call;
    mail_send(net->reactor, net->reactor->peers[core], &call->cancel_mail);
    return true;
}

static void group_release_home(struct reactor *home, const struct mail *mail)
{
    struct group_call *call = mail->object;
    completion_fire(home, &call->released, OK);
}

static void group_release_arrived(struct reactor *here, const struct mail *mail)
{
    struct group_call *call = mail->object;
    block_unref(call->block);
    call->block = NULL;
    call->mail.fn = group_release_home;
    call->mail.object = call;
    mail_send(here, call->home, &call->mail);
}

bool group_release(struct net *net, struct group_call *call)
{
    if (call->block == NULL) {
        return false;
    }
    uint32_t core = group_call_core(call);
    if (core == net->options.core_index) {
        block_unref(call->block);
        call->block = NULL;
        return false;
    }
    call->mail.fn = group_release_arrived;
    call->mail.object = call;
    mail_send(net->reactor, net->reactor->peers[core], &call->mail);
    return true;
}

/* --- Life. --- */

enum err group_core_open(struct group_core **core, struct net *net,
                         const struct group_options *options)
{
    struct group_core *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return ERR_NO_MEMORY;
    }
    struct memory_stats stats;
    memory_stats(net->reactor->memory, &stats);
    made->net = net;
    made->reactor = net->reactor;
    made->options = *options;
    made->options.partitions = min_u32(max_u32(options->partitions, 1), GROUP_PARTITIONS_MAX);
    made->options.forget_ms = options->forget_ms == 0 ? 600000 : options->forget_ms;
    made->options.compact_bytes =
        options->compact_bytes == 0 ? GROUP_COMPACT_BYTES : options->compact_bytes;
    made->memory.max_bytes = stats.limit_bytes / GROUP_MEMORY_SHARE;
    made->stream_memory.max_bytes = stats.limit_bytes / STREAM_MEMORY_SHARE;
    *core = made;
    return OK;
}

void group_core_stop(struct group_core *core)
{
    core->stopping = true;
    for (uint32_t i = 0; i < GROUP_PARTITIONS_MAX; i++) {
        if (core->logs[i] != NULL) {
            group_log_clear(core->logs[i], GROUP_NOT_AVAILABLE);
        }
    }
}

bool group_core_busy(const struct group_core *core)
{
    return core->busy > 0;
}

void group_core_close(struct group_core *core)
{
    ASSERT(core->busy == 0);
    group_core_stop(core); /* If nothing was ever served, nobody did. */
    for (uint32_t i = 0; i < GROUP_PARTITIONS_MAX; i++) {
        free(core->logs[i]);
    }
    ASSERT(core->group_count == 0);
    ASSERT(core->stream_count == 0);
    group_free(&core->memory, core->buckets);
    group_free(&core->stream_memory, core->stream_buckets);
    ASSERT(core->memory.used_bytes == 0 && core->stream_memory.used_bytes == 0);
    free(core);
}
