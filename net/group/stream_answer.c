/* What is told of the groups of a stream; see stream_wish.h for the forms. */
#include "core/assert.h"
#include "net/group/group_internal.h"

#include <stdlib.h>
#include <string.h>

static void answer_id(struct group_answer *answer, struct stream_id id)
{
    group_answer_u64(answer, id.ms);
    group_answer_u64(answer, id.seq);
}

/* How long ago. */
static uint64_t answer_since(uint64_t then_ms, uint64_t now_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

/* --- XPENDING. --- */

static void encode_summary(struct group_answer *answer, const struct stream_group *group)
{
    group_answer_u64(answer, group->pending);
    if (group->pending == 0) {
        return;
    }
    const struct stream_chunk *last = group->chunks[group->chunk_count - 1];
    answer_id(answer, group->chunks[0]->entries[0].id);
    answer_id(answer, last->entries[last->count - 1].id);
    uint32_t count = 0;
    for (uint32_t i = 0; i < group->reader_count; i++) {
        count += group->readers[i]->pending > 0 ? 1 : 0;
    }
    group_answer_u32(answer, count);
    for (uint32_t i = 0; i < group->reader_count; i++) {
        if (group->readers[i]->pending > 0) {
            group_answer_text(answer, group->readers[i]->name);
            group_answer_u64(answer, group->readers[i]->pending);
        }
    }
}

/* Walks the pending entries that are wanted; how many there are, which are written if `writes`. */
static uint32_t walk_pending(struct group_answer *answer, const struct stream_group *group,
                             const struct stream_wish *wish, uint64_t now_ms, bool writes)
{
    const struct stream_reader *reader = NULL;
    if (wish->reader.data != NULL) {
        reader = stream_reader_find(group, wish->reader);
        if (reader == NULL) {
            return 0;
        }
    }
    struct pending_place place = pending_seek(group, wish->id);
    const struct stream_entry *entry;
    uint32_t found = 0;
    for (; found < wish->count && (entry = pending_at(group, place)) != NULL &&
           stream_id_compare(entry->id, wish->id_end) <= 0;
         pending_step(group, &place)) {
        uint64_t idle_ms = answer_since(entry->delivered_ms, now_ms);
        if ((reader != NULL && entry->reader != reader) || idle_ms < wish->idle_ms) {
            continue;
        }
        found++;
        if (writes) {
            answer_id(answer, entry->id);
            group_answer_text(answer, entry->reader->name);
            group_answer_u64(answer, idle_ms);
            group_answer_u32(answer, entry->deliveries);
        }
    }
    return found;
}

static void encode_pending(struct group_answer *answer, const struct stream_group *group,
                           const struct stream_wish *wish, uint64_t now_ms)
{
    group_answer_u32(answer, walk_pending(answer, group, wish, now_ms, false));
    (void)walk_pending(answer, group, wish, now_ms, true);
}

/* --- XINFO. --- */

static void encode_readers(struct group_answer *answer, const struct stream_group *group,
                           uint64_t now_ms)
{
    group_answer_u32(answer, group->reader_count);
    for (uint32_t i = 0; i < group->reader_count; i++) {
        const struct stream_reader *reader = group->readers[i];
        group_answer_text(answer, reader->name);
        group_answer_u64(answer, reader->pending);
        group_answer_u64(answer, answer_since(reader->seen_ms, now_ms));
        group_answer_u64(answer, reader->active_ms == 0 ? UINT64_MAX
                                                        : answer_since(reader->active_ms, now_ms));
    }
}

/* Of one reader, or all. */
static void encode_full_pending(struct group_answer *answer, const struct stream_group *group,
                                const struct stream_reader *reader, uint64_t count)
{
    struct pending_place place = {0, 0};
    const struct stream_entry *entry;
    uint64_t left = min_u64(count, reader == NULL ? group->pending : reader->pending);
    group_answer_u32(answer, (uint32_t)left);
    for (; left > 0 && (entry = pending_at(group, place)) != NULL; pending_step(group, &place)) {
        if (reader != NULL && entry->reader != reader) {
            continue;
        }
        answer_id(answer, entry->id);
        if (reader == NULL) {
            group_answer_text(answer, entry->reader->name);
        }
        group_answer_u64(answer, entry->delivered_ms);
        group_answer_u32(answer, entry->deliveries);
        left--;
    }
    ASSERT(left == 0);
}

static void encode_group(struct group_answer *answer, const struct stream_group *group,
                         const struct stream_wish *wish)
{
    group_answer_text(answer, group->name);
    group_answer_u32(answer, group->reader_count);
    group_answer_u64(answer, group->pending);
    answer_id(answer, group->last);
    group_answer_u64(answer, (uint64_t)group->entries_read);
    if (!wish->full) {
        return;
    }
    encode_full_pending(answer, group, NULL, wish->count);
    for (uint32_t i = 0; i < group->reader_count; i++) {
        const struct stream_reader *reader = group->readers[i];
        group_answer_text(answer, reader->name);
        group_answer_u64(answer, reader->seen_ms);
        group_answer_u64(answer, reader->active_ms == 0 ? UINT64_MAX : reader->active_ms);
        group_answer_u64(answer, reader->pending);
        encode_full_pending(answer, group, reader, wish->count);
    }
}

static int group_order(const void *a, const void *b)
{
    const struct group_stream *const *left = a;
    const struct group_stream *const *right = b;
    struct bytes one = (*left)->state.name;
    struct bytes two = (*right)->state.name;
    int order = memcmp(one.data, two.data, min_u32(one.size, two.size));
    return order != 0 ? order : (one.size > two.size) - (one.size < two.size);
}

static bool is_of(const struct group_stream *stream, const struct stream_key *key)
{
    return stream->state.key.partition == key->partition &&
           topic_id_equal(&stream->state.key.topic, &key->topic);
}

static uint32_t count_groups(const struct group_log *log, const struct stream_key *key)
{
    const struct list *entry;
    uint32_t count = 0;
    list_for_each (entry, &log->streams) {
        count +=
            is_of(CONTAINER_OF((void *)(uintptr_t)entry, struct group_stream, node), key) ? 1 : 0;
    }
    return count;
}

/* Room for the groups of a stream by name; NULL: there is none. */
static struct group_stream **sort_groups(struct group_log *log, const struct stream_key *key,
                                         uint32_t count)
{
    struct group_stream **sorted =
        group_alloc(&log->core->stream_memory, (count + 1) * sizeof(struct group_stream *));
    uint32_t found = 0;
    struct list *entry;
    list_for_each (entry, &log->streams) {
        struct group_stream *stream = CONTAINER_OF(entry, struct group_stream, node);
        if (sorted != NULL && is_of(stream, key)) {
            sorted[found++] = stream;
        }
    }
    if (sorted != NULL) {
        ASSERT(found == count);
        qsort(sorted, count, sizeof(struct group_stream *), group_order);
    }
    return sorted;
}

/* --- All of them. --- */

struct answer_source {
    const struct group_stream *stream;
    struct group_stream **sorted;
    uint32_t count;
    uint64_t now_ms;
};

static void encode_answer(struct group_answer *answer, const struct answer_source *source,
                          const struct stream_wish *wish)
{
    if (wish->kind == STREAM_GROUPS) {
        group_answer_u32(answer, source->count);
        for (uint32_t i = 0; i < source->count; i++) {
            encode_group(answer, &source->sorted[i]->state, wish);
        }
    } else if (wish->kind == STREAM_SUMMARY) {
        encode_summary(answer, &source->stream->state);
    } else if (wish->kind == STREAM_PENDING) {
        encode_pending(answer, &source->stream->state, wish, source->now_ms);
    } else {
        ASSERT(wish->kind == STREAM_READERS);
        encode_readers(answer, &source->stream->state, source->now_ms);
    }
}

static enum group_code answer_write(struct group_log *log, struct group_call *call,
                                    const struct answer_source *source)
{
    struct group_core *core = log->core;
    struct group_answer answer = {.counting = true};
    encode_answer(&answer, source, call->stream);
    if (answer.size > memory_block_max(core->reactor->memory)) {
        return GROUP_TOO_LARGE;
    }
    uint8_t *data = group_result_room(core, call, (uint32_t)answer.size);
    if (data == NULL) {
        return GROUP_NOT_AVAILABLE;
    }
    answer.counting = false;
    answer.writer = bytes_writer(data, (uint32_t)answer.size);
    encode_answer(&answer, source, call->stream);
    ASSERT(!answer.writer.failed && answer.writer.position == answer.size);
    return GROUP_OK;
}

enum group_code group_stream_answer(struct group_log *log, const struct group_stream *stream,
                                    struct group_call *call)
{
    struct stream_wish *wish = call->stream;
    struct answer_source source = {.stream = stream, .now_ms = log->core->reactor->now_ms};
    if (stream == NULL) {
        source.count = count_groups(log, &wish->key);
        wish->number = source.count;
    }
    if (wish->kind == STREAM_COUNT) {
        return GROUP_OK;
    }
    if (wish->kind == STREAM_GROUPS) {
        source.sorted = sort_groups(log, &wish->key, source.count);
        if (source.sorted == NULL) {
            return GROUP_NOT_AVAILABLE;
        }
    }
    enum group_code code = answer_write(log, call, &source);
    group_free(&log->core->stream_memory, source.sorted);
    return code;
}
