/* See the header. */
#include "net/group/stream.h"

#include "core/assert.h"

#include <string.h>

/* How old the written times of a reader may become while it reads. */
enum { STREAM_TIMES_MS = 1000 };

void stream_init(struct stream_group *group, struct group_memory *memory)
{
    group->item.kind = GROUP_ITEM_STREAM;
    list_init(&group->item.node);
    list_init(&group->dirty);
    group->memory = memory;
    group->entries_read = -1;
}

void stream_part_free(struct group_item *item)
{
    struct group_memory *memory = stream_item_group(item)->memory;
    ASSERT(!list_linked(&item->node));
    if (item->kind == GROUP_ITEM_READER) {
        struct stream_reader *reader = CONTAINER_OF(item, struct stream_reader, item);
        group_free_copy(memory, &reader->name);
        group_free(memory, reader);
    } else {
        struct stream_chunk *chunk = CONTAINER_OF(item, struct stream_chunk, item);
        group_free(memory, chunk->entries);
        group_free(memory, chunk);
    }
}

void stream_deinit(struct stream_group *group)
{
    /* Those that are gone are in no table any more. */
    for (struct list *entry = group->dirty.next; entry != &group->dirty;) {
        struct group_item *item = CONTAINER_OF(entry, struct group_item, node);
        entry = entry->next;
        list_remove(&item->node);
        if (item->deleted) {
            stream_part_free(item);
        }
    }
    for (uint32_t i = 0; i < group->chunk_count; i++) {
        stream_part_free(&group->chunks[i]->item);
    }
    for (uint32_t i = 0; i < group->reader_count; i++) {
        stream_part_free(&group->readers[i]->item);
    }
    group_free(group->memory, group->chunks);
    group_free(group->memory, group->readers);
    group->chunks = NULL;
    group->readers = NULL;
    group->chunk_count = group->chunk_capacity = 0;
    group->reader_count = group->reader_capacity = 0;
    group->dirty_count = 0;
    group->pending = 0;
}

void stream_mark(struct stream_group *group, struct group_item *item)
{
    if (!item->dirty) {
        item->dirty = true;
        item->stored = true;
        list_remove(&item->node);
        list_push_back(&group->dirty, &item->node);
        group->dirty_count++;
    }
}

bool stream_is_full(const struct stream_group *group)
{
    return group->dirty_count >= STREAM_DIRTY_MAX;
}

/* --- Readers. --- */

static int name_order(struct bytes a, struct bytes b)
{
    uint32_t common = min_u32(a.size, b.size);
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* Where it is, or would be. */
static uint32_t reader_place(const struct stream_group *group, struct bytes name)
{
    uint32_t low = 0;
    uint32_t high = group->reader_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (name_order(group->readers[middle]->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct stream_reader *stream_reader_find(const struct stream_group *group, struct bytes name)
{
    uint32_t at = reader_place(group, name);
    if (at == group->reader_count || !bytes_equal(group->readers[at]->name, name)) {
        return NULL;
    }
    return group->readers[at];
}

struct stream_reader *stream_reader_make(struct stream_group *group, struct bytes name,
                                         uint32_t number)
{
    struct stream_reader *reader = group_alloc(group->memory, sizeof(*reader));
    if (reader == NULL || !group_copy(group->memory, name, &reader->name)) {
        group_free(group->memory, reader);
        return NULL;
    }
    reader->item.kind = GROUP_ITEM_READER;
    list_init(&reader->item.node);
    reader->group = group;
    reader->number = number;
    return reader;
}

/* Room for one pointer more in a table of them; NULL: there is none. */
static void *table_grow(struct group_memory *memory, void *table, uint32_t count,
                        uint32_t *capacity)
{
    if (count < *capacity) {
        return table;
    }
    uint32_t wanted = max_u32(*capacity * 2, 4);
    void *grown = group_alloc(memory, wanted * sizeof(void *));
    if (grown == NULL) {
        return NULL;
    }
    if (count > 0) {
        memcpy(grown, table, count * sizeof(void *));
    }
    group_free(memory, table);
    *capacity = wanted;
    return grown;
}

bool stream_reader_insert(struct stream_group *group, struct stream_reader *reader)
{
    void *grown =
        table_grow(group->memory, group->readers, group->reader_count, &group->reader_capacity);
    if (grown == NULL) {
        return false;
    }
    group->readers = grown;
    uint32_t at = reader_place(group, reader->name);
    memmove(&group->readers[at + 1], &group->readers[at],
            (group->reader_count - at) * sizeof(struct stream_reader *));
    group->readers[at] = reader;
    group->reader_count++;
    group->reader_next = max_u32(group->reader_next, reader->number + 1);
    return true;
}

struct stream_reader *stream_reader_add(struct stream_group *group, struct bytes name,
                                        uint64_t now_ms)
{
    if (group->reader_count >= STREAM_READERS_MAX) {
        return NULL;
    }
    struct stream_reader *reader = stream_reader_make(group, name, group->reader_next);
    if (reader == NULL) {
        return NULL;
    }
    if (!stream_reader_insert(group, reader)) {
        stream_part_free(&reader->item);
        return NULL;
    }
    reader->seen_ms = reader->told_ms = now_ms;
    stream_mark(group, &reader->item);
    return reader;
}

void stream_reader_touch(struct stream_reader *reader, uint64_t now_ms, bool active)
{
    bool first = active && reader->active_ms == 0;
    reader->seen_ms = now_ms;
    if (active) {
        reader->active_ms = now_ms;
    }
    if (active && (first || reader->told_ms + STREAM_TIMES_MS <= now_ms)) {
        reader->told_ms = now_ms;
        stream_mark(reader->group, &reader->item);
    }
}

bool stream_reader_drop(struct stream_reader *reader)
{
    struct stream_group *group = reader->group;
    struct pending_place place = {0, 0};
    const struct stream_entry *entry;
    while (reader->pending > 0 && (entry = pending_at(group, place)) != NULL) {
        if (entry->reader != reader) {
            pending_step(group, &place);
            continue;
        }
        if (stream_is_full(group)) {
            return false;
        }
        struct stream_id id = entry->id;
        bool gone = pending_drop(group, id);
        ASSERT(gone);
        place = pending_seek(group, id);
    }
    ASSERT(reader->pending == 0);
    uint32_t at = reader_place(group, reader->name);
    ASSERT(group->readers[at] == reader);
    group->reader_count--;
    memmove(&group->readers[at], &group->readers[at + 1],
            (group->reader_count - at) * sizeof(struct stream_reader *));
    reader->item.deleted = true;
    stream_mark(group, &reader->item);
    return true;
}

bool stream_chunk_insert(struct stream_group *group, uint32_t at, struct stream_chunk *chunk)
{
    void *grown =
        table_grow(group->memory, group->chunks, group->chunk_count, &group->chunk_capacity);
    if (grown == NULL) {
        return false;
    }
    group->chunks = grown;
    memmove(&group->chunks[at + 1], &group->chunks[at],
            (group->chunk_count - at) * sizeof(struct stream_chunk *));
    group->chunks[at] = chunk;
    group->chunk_count++;
    group->chunk_next = max_u32(group->chunk_next, chunk->number + 1);
    return true;
}
