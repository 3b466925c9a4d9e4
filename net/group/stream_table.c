/* The groups of streams of a core: found by stream and name, made, dropped; their parts in the log.
 *
 * A stream is a topic's id and a partition: what comes later under the same name has no groups. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "net/group/group_internal.h"

#include <string.h>
#include <xxhash.h>

enum {
    STREAM_BUCKETS_MIN = 64,
    STREAM_ORPHAN_MS = 60000, /* A map may be so late that does not know the topic yet. */
};

static uint64_t stream_hash(const struct stream_key *key, struct bytes name)
{
    uint64_t hash = XXH3_64bits(key, sizeof(*key));
    return XXH3_64bits_withSeed(name.data, name.size, hash);
}

static bool stream_is(const struct group_stream *stream, const struct stream_key *key,
                      struct bytes name)
{
    return stream->state.key.partition == key->partition &&
           topic_id_equal(&stream->state.key.topic, &key->topic) &&
           bytes_equal(stream->state.name, name);
}

struct group_stream *group_stream_find(const struct group_core *core, const struct stream_key *key,
                                       struct bytes name)
{
    if (core->stream_bucket_count == 0) {
        return NULL;
    }
    struct group_stream *stream =
        core->stream_buckets[stream_hash(key, name) & (core->stream_bucket_count - 1)];
    while (stream != NULL && !stream_is(stream, key, name)) {
        stream = stream->hash_next;
    }
    return stream;
}

static struct group_stream **stream_bucket(struct group_core *core,
                                           const struct group_stream *stream)
{
    uint64_t hash = stream_hash(&stream->state.key, stream->state.name);
    return &core->stream_buckets[hash & (core->stream_bucket_count - 1)];
}

static bool stream_grow(struct group_core *core)
{
    if (core->stream_count < core->stream_bucket_count) {
        return true;
    }
    uint32_t old_count = core->stream_bucket_count;
    uint32_t wanted = max_u32(old_count * 2, STREAM_BUCKETS_MIN);
    struct group_stream **old = core->stream_buckets;
    struct group_stream **buckets =
        group_alloc(&core->stream_memory, wanted * sizeof(struct group_stream *));
    if (buckets == NULL) {
        return false;
    }
    core->stream_buckets = buckets;
    core->stream_bucket_count = wanted;
    for (uint32_t i = 0; i < old_count; i++) {
        while (old[i] != NULL) {
            struct group_stream *stream = old[i];
            old[i] = stream->hash_next;
            struct group_stream **to = stream_bucket(core, stream);
            stream->hash_next = *to;
            *to = stream;
        }
    }
    group_free(&core->stream_memory, old);
    return true;
}

struct group_stream *group_stream_add(struct group_log *log, const struct stream_key *key,
                                      struct bytes name)
{
    struct group_core *core = log->core;
    ASSERT(name.size > 0 && name.size <= STREAM_NAME_BYTES_MAX);
    struct group_stream *stream = group_alloc(&core->stream_memory, sizeof(*stream) + name.size);
    if (stream == NULL || !stream_grow(core)) {
        group_free(&core->stream_memory, stream);
        return NULL;
    }
    uint8_t *at = (uint8_t *)(stream + 1);
    memcpy(at, name.data, name.size);
    stream_init(&stream->state, &core->stream_memory);
    stream->state.key = *key;
    stream->state.name = bytes_of(at, name.size);
    stream->state.created_ms = core->reactor->now_ms;
    stream->log = log;
    list_init(&stream->node);
    list_push_back(&log->streams, &stream->node);
    struct group_stream **bucket = stream_bucket(core, stream);
    stream->hash_next = *bucket;
    *bucket = stream;
    core->stream_count++;
    return stream;
}

/* Nobody finds it any more, and it has no parts. */
static void stream_hide(struct group_stream *stream)
{
    struct group_log *log = stream->log;
    struct group_stream **at = stream_bucket(log->core, stream);
    while (*at != stream) {
        at = &(*at)->hash_next;
    }
    *at = stream->hash_next;
    log->core->stream_count--;
    list_remove(&stream->node);
    struct stream_group *state = &stream->state;
    for (uint32_t i = 0; i < state->chunk_count; i++) {
        group_item_forget(log, &state->chunks[i]->item);
    }
    for (uint32_t i = 0; i < state->reader_count; i++) {
        group_item_forget(log, &state->readers[i]->item);
    }
    for (struct list *entry = state->dirty.next; entry != &state->dirty; entry = entry->next) {
        struct group_item *item = CONTAINER_OF(entry, struct group_item, node);
        log->live_bytes -= item->bytes; /* Those that are gone. */
    }
    stream_deinit(state);
}

static void stream_free(struct group_stream *stream)
{
    group_item_forget(stream->log, &stream->state.item);
    group_free(&stream->log->core->stream_memory, stream);
}

void group_stream_drop(struct group_stream *stream, enum group_code code)
{
    group_stream_dismiss(stream, code);
    stream_hide(stream);
    stream_free(stream);
}

void group_stream_delete(struct group_stream *stream)
{
    group_stream_dismiss(stream, GROUP_NOT_FOUND);
    stream_hide(stream);
    stream->state.item.deleted = true;
    group_log_mark(stream->log, &stream->state.item);
}

void group_stream_mark(struct group_stream *stream)
{
    group_log_mark(stream->log, &stream->state.item);
}

void group_stream_written(struct group_log *log, struct group_item *item)
{
    ASSERT(item->deleted);
    struct stream_group *group = stream_item_group(item);
    group_item_forget(log, item);
    if (item == &group->item) {
        stream_free(CONTAINER_OF(group, struct group_stream, state));
        return;
    }
    group->dirty_count--;
    stream_part_free(item);
}

void group_streams_sweep(struct group_log *log)
{
    const struct map *map = agent_map(log->core->net->options.agent);
    uint64_t now_ms = log->core->reactor->now_ms;
    for (struct list *entry = log->streams.next; entry != &log->streams;) {
        struct group_stream *stream = CONTAINER_OF(entry, struct group_stream, node);
        entry = entry->next;
        if (map_topic_by_id(map, &stream->state.key.topic) == NULL &&
            stream->state.created_ms + STREAM_ORPHAN_MS < now_ms) {
            COVER("a group goes with its stream");
            group_stream_delete(stream);
        }
    }
}

/* --- Replay. --- */

bool group_stream_replay(struct group_log *log, enum group_item_kind kind, struct bytes name,
                         struct bytes_reader *key, struct bytes value)
{
    struct stream_key stream_key;
    struct bytes topic = read_bytes(key, sizeof(stream_key.topic.bytes));
    stream_key.partition = read_le32(key);
    uint32_t number = kind == GROUP_ITEM_STREAM ? 0 : read_le32(key);
    if (key->failed) {
        return false;
    }
    memcpy(stream_key.topic.bytes, topic.data, sizeof(stream_key.topic.bytes));
    struct group_stream *stream = group_stream_find(log->core, &stream_key, name);
    if (kind == GROUP_ITEM_STREAM && value.size == 0) {
        if (stream != NULL) {
            group_stream_drop(stream, GROUP_LOADING);
        }
        return true;
    }
    if (stream == NULL && value.size == 0) {
        return true; /* Its group is gone, or all that is left of it comes later. */
    }
    if (stream == NULL) {
        stream = group_stream_add(log, &stream_key, name);
    }
    bool sound = stream != NULL;
    struct group_item *item =
        sound ? stream_load(&stream->state, kind, number, value, &sound) : NULL;
    if (stream != NULL) {
        log->live_bytes -= stream->state.freed_bytes;
        stream->state.freed_bytes = 0;
    }
    if (item != NULL) {
        group_item_lives(log, item);
    }
    return sound;
}

bool group_streams_replayed(struct group_log *log)
{
    struct list *entry;
    bool sound = true;
    uint32_t count = 0;
    uint64_t pending = 0;
    list_for_each (entry, &log->streams) {
        struct group_stream *stream = CONTAINER_OF(entry, struct group_stream, node);
        sound = stream_loaded(&stream->state) && sound;
        log->live_bytes -= stream->state.freed_bytes;
        stream->state.freed_bytes = 0;
        pending += stream->state.pending;
        count++;
    }
    if (count > 0) {
        LOG_INFO("groups of streams read partition=%u groups=%u pending=%llu", log->id.partition,
                 count, (unsigned long long)pending);
    }
    return sound;
}
