/* One partition of the internal topic: what has changed goes out in batches, one at a time, each
 * with the newest state of its items; then who waited for that is answered.
 *
 *     changed -> dirty -> batch: encoded, appended, durable -> held calls go home
 *                  |         |
 *                  |         +-> live: items in the order of their records
 *                  +-- again, if it changes again
 *
 * Compaction: when the log has grown by compact_bytes and by GROUP_COMPACT_RATIO times of what
 * lives, the items whose record is older than now are written again, oldest first, beside the
 * ordinary writes. When the last of them is durable, no record before the first of these batches
 * says the last word about anything, and the log is cut there. So the log has at most about five
 * times what lives, or 4 MiB, and a segment; each byte that was committed is written again at most
 * 1/GROUP_COMPACT_RATIO times.
 *
 * If a batch cannot be written, what is here may differ from the log: all of it is forgotten, and
 * read again when somebody asks. */
#include "core/log.h"
#include "core/assert.h"
#include "core/cover.h"
#include "net/group/group_internal.h"

#include <string.h>

/* An offset of a topic that is gone is dropped by compaction; but not one that was committed so
 * recently that this core's map may not know the topic yet. */
enum { GROUP_ORPHAN_MS = 60000 };

static void group_log_kicked(struct completion *completion);

void group_log_init(struct group_log *log, struct group_core *core, const struct partition_id *id)
{
    log->core = core;
    log->id = *id;
    log->state = GROUP_LOG_NEW;
    log->batch_next = 1;
    list_init(&log->groups);
    list_init(&log->streams);
    list_init(&log->dirty);
    list_init(&log->live);
    timer_init(&log->pause, group_log_read_on);
    completion_init(&log->kick, group_log_kicked);
}

void group_item_forget(struct group_log *log, struct group_item *item)
{
    list_remove(&item->node);
    log->live_bytes -= item->bytes;
    item->bytes = 0;
}

void group_log_kick(struct group_log *log)
{
    if (!log->kicked) {
        log->kicked = true;
        log->core->busy++;
        completion_fire(log->core->reactor, &log->kick, OK);
    }
}

void group_log_mark(struct group_log *log, struct group_item *item)
{
    ASSERT(log->state == GROUP_LOG_READY);
    if (!item->dirty) {
        item->dirty = true;
        item->stored = true;
        list_remove(&item->node);
        list_push_back(&log->dirty, &item->node);
        log->pushed++;
    }
    group_log_kick(log);
}

void group_log_hold(struct group_log *log, struct group_call *call)
{
    call->place = GROUP_HELD;
    call->next = NULL;
    if (log->held_last == NULL) {
        log->held_first = call;
    } else {
        log->held_last->next = call;
    }
    log->held_last = call;
}

void group_finish_durable(struct group_log *log, struct group_call *call, enum group_code code)
{
    if (log->durable == log->pushed) {
        group_finish(log->core, call, code);
        return;
    }
    call->code = code;
    call->ticket = log->pushed;
    group_log_hold(log, call);
}

static struct group_call *group_log_unhold(struct group_log *log)
{
    struct group_call *call = log->held_first;
    log->held_first = call->next;
    if (log->held_first == NULL) {
        log->held_last = NULL;
    }
    call->next = NULL;
    return call;
}

static void group_log_clear_streams(struct group_log *log, enum group_code code)
{
    while (log->stalled_first != NULL) {
        struct group_call *call = log->stalled_first;
        log->stalled_first = call->next;
        call->next = NULL;
        group_finish(log->core, call, code);
    }
    log->stalled_last = NULL;
    while (!list_empty(&log->streams)) {
        group_stream_drop(CONTAINER_OF(log->streams.next, struct group_stream, node), code);
    }
}

void group_log_clear(struct group_log *log, enum group_code code)
{
    struct group_core *core = log->core;
    while (log->held_first != NULL) {
        group_finish(core, group_log_unhold(log), code);
    }
    while (!list_empty(&log->groups)) {
        struct group *group = CONTAINER_OF(log->groups.next, struct group, node);
        struct classic_event event = group_event(core);
        classic_abort(&group->classic, code, &event);
        while (event.first != NULL) {
            struct classic_wait *wait = event.first;
            event.first = wait->next;
            wait->next = NULL;
            group_finish(core, CONTAINER_OF(wait, struct group_call, wait), code);
        }
        group_drop(group);
    }
    group_log_clear_streams(log, code);
    /* What is left was deleted, and its record is not written. Offsets first: groups wait. */
    while (!list_empty(&log->dirty)) {
        struct group_item *item = CONTAINER_OF(log->dirty.next, struct group_item, node);
        struct group *group = CONTAINER_OF(item, struct group, item);
        ASSERT(item->deleted);
        if (item->kind == GROUP_ITEM_STREAM) {
            group_stream_written(log, item);
            continue;
        }
        if (item->kind == GROUP_ITEM_OFFSET) {
            struct group_offset *offset = CONTAINER_OF(item, struct group_offset, item);
            group = offset->group;
            group_item_forget(log, item);
            group_offset_free(offset);
        } else {
            group_item_forget(log, item);
            item->dirty = false;
        }
        if (group->item.deleted && !group->item.dirty && group->zombies == 0) {
            group_drop(group);
        }
    }
    ASSERT(list_empty(&log->live));
    log->compacting = false;
    log->pushed = log->taken = log->durable = 0;
    log->log_bytes = 0;
    timer_stop(core->reactor, &log->pause);
    log->state = GROUP_LOG_NEW;
}

void group_log_fail(struct group_log *log, const char *why)
{
    LOG_WARN("groups are read again partition=%u reason=\"%s\"", log->id.partition, why);
    group_log_clear(log, GROUP_NOT_AVAILABLE);
}

/* --- What goes into a batch. --- */

struct group_gather {
    struct group_item *items[GROUP_BATCH_ITEMS_MAX];
    uint32_t count;
    uint64_t bytes;
    uint64_t dirty; /* How many of them are of log->dirty. */
};

/* `share`: into how much of a batch it must fit, one in so many. */
static bool group_gather_add(struct group_gather *gather, struct group_item *item, uint32_t share)
{
    uint32_t bytes = GROUP_KEY_BYTES_MAX + group_value_size(item) + 32;
    if (gather->count == GROUP_BATCH_ITEMS_MAX / share ||
        (gather->count > 0 && gather->bytes + bytes > GROUP_BATCH_BYTES / share)) {
        return false;
    }
    gather->items[gather->count++] = item;
    gather->bytes += bytes;
    return true;
}

/* A stream's group goes with all its dirty parts, or not at all: what is read again is one moment
 * of it. So a batch may be larger: stream.h bounds by how much. */
static bool group_gather_stream(struct group_gather *gather, struct group_item *head,
                                uint32_t share)
{
    struct stream_group *group = stream_item_group(head);
    struct group_gather before = {.count = gather->count, .bytes = gather->bytes};
    bool alone = gather->count == 0;
    struct list *entry;
    bool fits = group_gather_add(gather, head, share);
    list_for_each (entry, &group->dirty) {
        struct group_item *item = CONTAINER_OF(entry, struct group_item, node);
        if (alone) {
            ASSERT(gather->count < GROUP_BATCH_ITEMS_MAX);
            gather->items[gather->count++] = item;
            gather->bytes += GROUP_KEY_BYTES_MAX + group_value_size(item) + 32;
        } else if (fits) {
            fits = group_gather_add(gather, item, share);
        }
    }
    if (!fits) {
        gather->count = before.count;
        gather->bytes = before.bytes;
    }
    return fits;
}

/* Its topic is gone, for longer than a map can be late. */
static bool group_item_is_orphan(const struct group_log *log, struct group_item *item)
{
    if (item->kind != GROUP_ITEM_OFFSET) {
        return false;
    }
    const struct group_offset *offset = CONTAINER_OF(item, struct group_offset, item);
    const struct map *map = agent_map(log->core->net->options.agent);
    return map_topic_by_id(map, &offset->topic) == NULL &&
           offset->commit_ms + GROUP_ORPHAN_MS < log->core->reactor->now_ms;
}

/* The dirty ones in order, then as many old ones as there is room for; a compaction has half of
 * each batch at least, or a busy log would never be cut. All stay in their lists. */
static void group_gather(struct group_log *log, struct group_gather *gather)
{
    struct list *entry;
    uint32_t share = log->compacting ? 2 : 1;
    gather->count = 0;
    gather->bytes = 0;
    gather->dirty = 0;
    list_for_each (entry, &log->dirty) {
        struct group_item *item = CONTAINER_OF(entry, struct group_item, node);
        bool added = item->kind == GROUP_ITEM_STREAM ? group_gather_stream(gather, item, share)
                                                     : group_gather_add(gather, item, share);
        if (!added) {
            break;
        }
        gather->dirty++;
    }
    entry = log->live.next;
    while (log->compacting && entry != &log->live) {
        struct group_item *item = CONTAINER_OF(entry, struct group_item, node);
        entry = entry->next;
        if (item->batch >= log->compact_from) {
            break;
        }
        if (group_item_is_orphan(log, item)) {
            group_offset_delete(CONTAINER_OF(item, struct group_offset, item)); /* Dirty now. */
        } else if (!group_gather_add(gather, item, 1)) {
            break;
        }
    }
}

/* Keys and values into `scratch`; the records say where. */
static void group_encode(struct group_log *log, const struct group_gather *gather, uint8_t *scratch)
{
    struct group_core *core = log->core;
    for (uint32_t i = 0; i < gather->count; i++) {
        struct group_item *item = gather->items[i];
        struct record_input *record = &core->records[i];
        *record = (struct record_input){.timestamp = (int64_t)core->reactor->now_ms};
        uint32_t size = group_key_encode(item, scratch);
        record->key = bytes_of(scratch, size);
        scratch += size;
        if (!item->deleted) {
            size = group_value_size(item);
            group_value_encode(item, scratch, size);
            record->value = bytes_of(scratch, size);
            scratch += size;
        }
    }
}

/* It has been encoded: it lives on, or is gone for good. */
static void group_item_written(struct group_log *log, struct group_item *item)
{
    if (item->deleted && item->kind > GROUP_ITEM_OFFSET) {
        group_stream_written(log, item);
        return;
    }
    if (item->dirty && item->kind > GROUP_ITEM_STREAM) {
        stream_item_group(item)->dirty_count--;
    }
    item->dirty = false;
    list_remove(&item->node);
    if (!item->deleted) {
        uint32_t bytes = GROUP_KEY_BYTES_MAX + group_value_size(item);
        list_push_back(&log->live, &item->node);
        log->live_bytes += bytes;
        log->live_bytes -= item->bytes;
        item->bytes = bytes;
        item->batch = log->batch_next;
        return;
    }
    struct group *group = CONTAINER_OF(item, struct group, item);
    if (item->kind == GROUP_ITEM_OFFSET) {
        struct group_offset *offset = CONTAINER_OF(item, struct group_offset, item);
        group = offset->group;
        group_item_forget(log, item);
        group_offset_free(offset);
    }
    if (group->item.deleted && !group->item.dirty && group->zombies == 0) {
        group_drop(group);
    }
}

static void group_log_starved(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct group_log *log = CONTAINER_OF(waiter, struct group_log, waiter);
    log->starved = false;
    log->core->busy--;
    if (log->state == GROUP_LOG_READY) {
        group_log_kick(log);
    }
    net_check_stopped(log->core->net);
}

static void group_log_await(struct group_log *log, uint32_t size)
{
    COVER("groups wait for memory to be written");
    log->starved = true;
    log->core->busy++;
    completion_init(&log->waiter.done, group_log_starved);
    log->waiter.size = size;
    log->waiter.class = MEMORY_APPEND;
    memory_await(log->core->reactor->memory, log->core->reactor, &log->waiter);
}

static void group_log_written(struct completion *completion);

static void group_log_append(struct group_log *log, uint32_t size)
{
    log->writing = true;
    log->core->busy++;
    log->produce = (struct request){.kind = REQUEST_PRODUCE, .partition = log->id};
    log->produce.produce.batch = bytes_of(log->batch->data, size);
    log->produce.produce.zstd_allowed = true;
    log->produce.produce.made_here = true;
    completion_init(&log->produce.done, group_log_written);
    log->log_bytes += size;
    route_submit(log->core->net, &log->produce);
}

/* Encodes and appends one batch, if there is anything to write. */
static void group_log_write(struct group_log *log)
{
    struct group_core *core = log->core;
    struct group_gather gather;
    group_gather(log, &gather);
    if (gather.count == 0) {
        return;
    }
    struct memory *memory = core->reactor->memory;
    struct block *scratch = block_acquire(memory, MEMORY_APPEND, (uint32_t)gather.bytes);
    if (scratch == NULL) {
        group_log_await(log, (uint32_t)gather.bytes);
        return;
    }
    group_encode(log, &gather, scratch->data);
    uint32_t size = record_batch_size(core->records, gather.count);
    ASSERT(size > 0);
    log->batch = block_acquire(memory, MEMORY_APPEND, size);
    if (log->batch == NULL) {
        block_unref(scratch);
        group_log_await(log, size);
        return;
    }
    record_batch_encode(core->records, gather.count, log->batch->data, size);
    block_unref(scratch);
    for (uint32_t i = 0; i < gather.count; i++) {
        group_item_written(log, gather.items[i]);
    }
    log->taken += gather.dirty;
    group_log_append(log, size);
    log->batch_next++;
}

/* --- Compaction. --- */

static void group_log_trimmed(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct group_log *log = CONTAINER_OF(request, struct group_log, trim);
    log->trimming = false;
    log->core->busy--;
    if (completion->result != OK) {
        LOG_WARN("the log of groups was not cut partition=%u reason=\"%s\"", log->id.partition,
                 err_text((enum err)completion->result));
    }
    net_check_stopped(log->core->net);
}

static bool group_log_has_old(struct group_log *log)
{
    const struct group_item *item = CONTAINER_OF(log->live.next, struct group_item, node);
    return !list_empty(&log->live) && item->batch < log->compact_from;
}

/* Begins a compaction if it is worth it, or ends the one that is done. Nothing is being written. */
static void group_log_compact(struct group_log *log)
{
    if (log->trimming) {
        return;
    }
    if (!log->compacting) {
        uint64_t bound =
            max_u64(log->core->options.compact_bytes, GROUP_COMPACT_RATIO * log->live_bytes);
        if (log->log_bytes > bound) {
            COVER("groups are compacted");
            group_streams_sweep(log);
            log->compacting = true;
            log->compact_from = log->batch_next;
            log->compact_ticket = UINT64_MAX;
            log->trim_offset = UINT64_MAX;
            log->log_bytes = 0;
        }
        return;
    }
    if (group_log_has_old(log)) {
        return;
    }
    /* An item that is dirty by now may have its last word before the cut. */
    log->compact_ticket = min_u64(log->compact_ticket, log->pushed);
    if (log->durable < log->compact_ticket || log->trim_offset == UINT64_MAX) {
        return;
    }
    log->compacting = false;
    log->trimming = true;
    log->core->busy++;
    log->trim = (struct request){.kind = REQUEST_TRIM, .partition = log->id};
    log->trim.trim.offset = (int64_t)log->trim_offset;
    completion_init(&log->trim.done, group_log_trimmed);
    route_submit(log->core->net, &log->trim);
}

static void group_log_written(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct group_log *log = CONTAINER_OF(request, struct group_log, produce);
    struct group_core *core = log->core;
    log->writing = false;
    core->busy--;
    block_unref(log->batch);
    log->batch = NULL;
    if (log->state != GROUP_LOG_READY) {
        net_check_stopped(core->net); /* It was cleared meanwhile. */
        return;
    }
    if (completion->result != OK) {
        group_log_fail(log, err_text((enum err)completion->result));
        return;
    }
    log->durable = log->taken;
    if (log->compacting && log->batch_next > log->compact_from) {
        log->trim_offset = min_u64(log->trim_offset, request->produce.base_offset);
    }
    while (log->held_first != NULL && log->held_first->ticket <= log->durable) {
        struct group_call *call = group_log_unhold(log);
        group_finish(core, call, call->code);
    }
    group_stream_resume(log);
    group_log_kick(log);
}

static void group_log_kicked(struct completion *completion)
{
    struct group_log *log = CONTAINER_OF(completion, struct group_log, kick);
    log->kicked = false;
    log->core->busy--;
    if (log->state != GROUP_LOG_READY || log->writing || log->starved) {
        net_check_stopped(log->core->net);
        return;
    }
    group_log_compact(log);
    group_log_write(log);
}
