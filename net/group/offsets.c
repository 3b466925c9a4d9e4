/* The offsets of a group: committed, read, deleted. */
#include "core/assert.h"
#include "net/group/group_internal.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { OFFSET_BUCKETS_MIN = 8, OFFSET_RESULT_BYTES = 36 };

static struct group_offset **offset_bucket(const struct group *group, const struct topic_id *topic,
                                           uint32_t partition)
{
    uint64_t hash = XXH3_64bits_withSeed(topic->bytes, sizeof(topic->bytes), partition);
    return &group->buckets[hash & (group->bucket_count - 1)];
}

struct group_offset *group_offset_find(const struct group *group, const struct topic_id *topic,
                                       uint32_t partition)
{
    struct group_offset *offset =
        group->bucket_count == 0 ? NULL : *offset_bucket(group, topic, partition);
    while (offset != NULL &&
           (offset->partition != partition || !topic_id_equal(&offset->topic, topic))) {
        offset = offset->hash_next;
    }
    return offset;
}

static bool offset_grow(struct group *group)
{
    struct group_memory *memory = &group->log->core->memory;
    if (group->offset_count < group->bucket_count) {
        return true;
    }
    uint32_t wanted = max_u32(group->bucket_count * 2, OFFSET_BUCKETS_MIN);
    struct group_offset **old = group->buckets;
    uint32_t count = group->bucket_count;
    struct group_offset **buckets = group_alloc(memory, wanted * sizeof(struct group_offset *));
    if (buckets == NULL) {
        return false;
    }
    group->buckets = buckets;
    group->bucket_count = wanted;
    for (uint32_t i = 0; i < count; i++) {
        while (old[i] != NULL) {
            struct group_offset *offset = old[i];
            struct group_offset **to = offset_bucket(group, &offset->topic, offset->partition);
            old[i] = offset->hash_next;
            offset->hash_next = *to;
            *to = offset;
        }
    }
    group_free(memory, old);
    return true;
}

struct group_offset *group_offset_add(struct group *group, const struct topic_id *topic,
                                      uint32_t partition)
{
    struct group_offset *offset = group_offset_find(group, topic, partition);
    if (offset != NULL) {
        return offset;
    }
    if (group->offset_count == GROUP_OFFSETS_MAX || !offset_grow(group)) {
        return NULL;
    }
    offset = group_alloc(&group->log->core->memory, sizeof(*offset));
    if (offset == NULL) {
        return NULL;
    }
    offset->item.kind = GROUP_ITEM_OFFSET;
    list_init(&offset->item.node);
    offset->group = group;
    offset->topic = *topic;
    offset->partition = partition;
    offset->offset = -1;
    struct group_offset **bucket = offset_bucket(group, topic, partition);
    offset->hash_next = *bucket;
    *bucket = offset;
    group->offset_count++;
    return offset;
}

static void offset_hide(struct group_offset *offset)
{
    struct group *group = offset->group;
    struct group_offset **at = offset_bucket(group, &offset->topic, offset->partition);
    while (*at != offset) {
        at = &(*at)->hash_next;
    }
    *at = offset->hash_next;
    group->offset_count--;
}

void group_offset_free(struct group_offset *offset)
{
    struct group_memory *memory = &offset->group->log->core->memory;
    ASSERT(!list_linked(&offset->item.node));
    if (offset->item.deleted) {
        ASSERT(offset->group->zombies > 0);
        offset->group->zombies--;
    } else {
        offset_hide(offset);
    }
    group_free_copy(memory, &offset->metadata);
    group_free(memory, offset);
}

void group_offset_delete(struct group_offset *offset)
{
    struct group *group = offset->group;
    offset_hide(offset);
    offset->item.deleted = true;
    group->zombies++;
    group_log_mark(group->log, &offset->item);
}

void group_offsets_free(struct group *group)
{
    for (uint32_t i = 0; i < group->bucket_count; i++) {
        while (group->buckets[i] != NULL) {
            struct group_offset *offset = group->buckets[i];
            group_item_forget(group->log, &offset->item);
            group_offset_free(offset);
        }
    }
}

/* --- Commits. --- */

static enum group_code offset_commit(struct group *group, const struct group_offset_item *item)
{
    struct group_core *core = group->log->core;
    struct bytes metadata;
    if (item->metadata.size > GROUP_OFFSET_METADATA_MAX) {
        return GROUP_METADATA_LARGE;
    }
    if (!group_copy(&core->memory, item->metadata, &metadata)) {
        return GROUP_LIMIT;
    }
    struct group_offset *offset = group_offset_add(group, &item->topic, item->partition);
    if (offset == NULL) {
        group_free_copy(&core->memory, &metadata);
        return GROUP_LIMIT;
    }
    group_free_copy(&core->memory, &offset->metadata);
    offset->metadata = metadata;
    offset->offset = item->offset;
    offset->epoch = item->epoch;
    offset->commit_ms = core->reactor->now_ms;
    group_log_mark(group->log, &offset->item);
    return GROUP_OK;
}

void group_serve_commit(struct group *group, struct group_call *call)
{
    struct group_log *log = group->log;
    struct classic_event event = group_event(log->core);
    enum group_code code =
        classic_commit(&group->classic, call->member, call->instance, call->generation, &event);
    for (uint32_t i = 0; code == GROUP_OK && i < call->item_count; i++) {
        struct group_offset_item *item = &call->items[i];
        if (item->code == GROUP_OK) {
            item->code = offset_commit(group, item);
        }
    }
    if (code == GROUP_OK) {
        group->touched_ms = log->core->reactor->now_ms;
    }
    group_apply(group, &event);
    group_finish_durable(log, call, code);
}

/* --- Reading. --- */

static void offset_fetch_named(const struct group *group, struct group_call *call)
{
    for (uint32_t i = 0; i < call->item_count; i++) {
        struct group_offset_item *item = &call->items[i];
        const struct group_offset *offset =
            group == NULL ? NULL : group_offset_find(group, &item->topic, item->partition);
        item->offset = offset == NULL ? -1 : offset->offset;
        item->epoch = offset == NULL ? -1 : offset->epoch;
        item->metadata = offset == NULL ? (struct bytes){0} : offset->metadata;
    }
}

/* The metadata of what was found moves into the answer: the group's own may change. */
static enum group_code offset_copy_metadata(struct group_core *core, struct group_call *call)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < call->item_count; i++) {
        size += call->items[i].metadata.size;
    }
    uint8_t *at = size > UINT32_MAX ? NULL : group_result_room(core, call, (uint32_t)size + 1);
    if (at == NULL) {
        return GROUP_NOT_AVAILABLE;
    }
    for (uint32_t i = 0; i < call->item_count; i++) {
        struct bytes *metadata = &call->items[i].metadata;
        if (metadata->data != NULL) {
            memcpy(at, metadata->data, metadata->size);
            *metadata = bytes_of(at, metadata->size);
            at += metadata->size;
        }
    }
    return GROUP_OK;
}

static int offset_order(const void *a, const void *b)
{
    const struct group_offset *const *left = a;
    const struct group_offset *const *right = b;
    int order = memcmp((*left)->topic.bytes, (*right)->topic.bytes, sizeof((*left)->topic.bytes));
    return order != 0 ? order
                      : ((*left)->partition > (*right)->partition) -
                            ((*left)->partition < (*right)->partition);
}

static void offset_write_all(const struct group_offset *const *sorted, uint32_t count,
                             struct bytes_writer *writer)
{
    write_le32(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct group_offset *offset = sorted[i];
        write_bytes(writer, offset->topic.bytes, sizeof(offset->topic.bytes));
        write_le32(writer, offset->partition);
        write_le64(writer, (uint64_t)offset->offset);
        write_le32(writer, (uint32_t)offset->epoch);
        group_write_text(writer, offset->metadata);
    }
}

static enum group_code offset_fetch_all(struct group_core *core, const struct group *group,
                                        struct group_call *call)
{
    uint32_t count = group == NULL ? 0 : group->offset_count;
    uint64_t size = 4 + (uint64_t)count * OFFSET_RESULT_BYTES;
    const struct group_offset **sorted =
        group_alloc(&core->memory, (count + 1) * sizeof(struct group_offset *));
    if (sorted == NULL) {
        return GROUP_NOT_AVAILABLE;
    }
    uint32_t found = 0;
    for (uint32_t i = 0; group != NULL && i < group->bucket_count; i++) {
        for (const struct group_offset *offset = group->buckets[i]; offset != NULL;
             offset = offset->hash_next) {
            sorted[found++] = offset;
            size += offset->metadata.size;
        }
    }
    ASSERT(found == count);
    qsort(sorted, count, sizeof(struct group_offset *), offset_order);
    uint8_t *data = size > UINT32_MAX ? NULL : group_result_room(core, call, (uint32_t)size);
    if (data != NULL) {
        struct bytes_writer writer = bytes_writer(data, (uint32_t)size);
        offset_write_all(sorted, count, &writer);
        ASSERT(!writer.failed && writer.position == size);
    }
    group_free(&core->memory, sorted);
    return data == NULL ? GROUP_NOT_AVAILABLE : GROUP_OK;
}

static enum group_code offset_check_reader(struct group *group, const struct group_call *call)
{
    struct classic_member *member;
    if (!call->strict) {
        return GROUP_OK;
    }
    member = group == NULL ? NULL : classic_member_by_id(&group->classic, call->member);
    if (member == NULL || member->pending) {
        return GROUP_UNKNOWN_MEMBER;
    }
    return call->generation == group->classic.generation ? GROUP_OK : GROUP_ILLEGAL_GENERATION;
}

/* What it is told is durable: nobody starts behind an offset that a crash takes back. */
void group_serve_fetch(struct group_log *log, struct group *group, struct group_call *call)
{
    enum group_code code = offset_check_reader(group, call);
    if (code == GROUP_OK && call->all) {
        code = offset_fetch_all(log->core, group, call);
    } else if (code == GROUP_OK) {
        offset_fetch_named(group, call);
        code = offset_copy_metadata(log->core, call);
    }
    group_finish_durable(log, call, code);
}

void group_serve_offset_delete(struct group *group, struct group_call *call)
{
    enum group_code code = GROUP_OK;
    bool consumers = group->classic.type.data != NULL &&
                     bytes_equal(group->classic.type, bytes_text("consumer"));
    if (group->classic.member_count > 0 && !consumers) {
        code = GROUP_NOT_EMPTY;
    }
    for (uint32_t i = 0; code == GROUP_OK && i < call->item_count; i++) {
        struct group_offset_item *item = &call->items[i];
        if (item->code != GROUP_OK) {
            continue;
        }
        if (classic_subscribed(&group->classic, item->topic_name)) {
            item->code = GROUP_SUBSCRIBED;
            continue;
        }
        struct group_offset *offset = group_offset_find(group, &item->topic, item->partition);
        if (offset != NULL) {
            group_offset_delete(offset);
        }
    }
    group_finish_durable(group->log, call, code);
}
