/* Pending entries: chunks in the order of IDs, none of them empty. */
#include "core/assert.h"
#include "core/cover.h"
#include "net/group/stream.h"

#include <string.h>

enum { CHUNK_CAPACITY_MIN = 4 };

struct stream_chunk *stream_chunk_make(struct stream_group *group, uint32_t number,
                                       uint32_t capacity)
{
    struct stream_chunk *chunk = group_alloc(group->memory, sizeof(*chunk));
    if (chunk == NULL) {
        return NULL;
    }
    chunk->entries = group_alloc(group->memory, capacity * sizeof(struct stream_entry));
    if (chunk->entries == NULL) {
        group_free(group->memory, chunk);
        return NULL;
    }
    chunk->item.kind = GROUP_ITEM_CHUNK;
    list_init(&chunk->item.node);
    chunk->group = group;
    chunk->number = number;
    chunk->capacity = capacity;
    return chunk;
}

/* --- Looking. --- */

/* The last chunk that begins at or below `id`; 0 if all begin above it. */
static uint32_t chunk_of(const struct stream_group *group, struct stream_id id)
{
    uint32_t low = 0;
    uint32_t high = group->chunk_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (stream_id_compare(group->chunks[middle]->entries[0].id, id) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? 0 : low - 1;
}

/* The first entry at or above `id`. */
static uint32_t entry_of(const struct stream_chunk *chunk, struct stream_id id)
{
    uint32_t low = 0;
    uint32_t high = chunk->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (stream_id_compare(chunk->entries[middle].id, id) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct pending_place pending_seek(const struct stream_group *group, struct stream_id id)
{
    struct pending_place place = {0, 0};
    if (group->chunk_count > 0) {
        place.chunk = chunk_of(group, id);
        place.entry = entry_of(group->chunks[place.chunk], id);
        if (place.entry == group->chunks[place.chunk]->count) {
            place = (struct pending_place){place.chunk + 1, 0};
        }
    }
    return place;
}

const struct stream_entry *pending_at(const struct stream_group *group, struct pending_place place)
{
    if (place.chunk >= group->chunk_count) {
        return NULL;
    }
    ASSERT(place.entry < group->chunks[place.chunk]->count);
    return &group->chunks[place.chunk]->entries[place.entry];
}

void pending_step(const struct stream_group *group, struct pending_place *place)
{
    if (++place->entry == group->chunks[place->chunk]->count) {
        *place = (struct pending_place){place->chunk + 1, 0};
    }
}

struct stream_entry *pending_find(const struct stream_group *group, struct stream_id id)
{
    struct pending_place place = pending_seek(group, id);
    const struct stream_entry *entry = pending_at(group, place);
    if (entry == NULL || stream_id_compare(entry->id, id) != 0) {
        return NULL;
    }
    return &group->chunks[place.chunk]->entries[place.entry];
}

/* --- Changing. --- */

bool stream_chunk_fit(struct stream_group *group, struct stream_chunk *chunk, uint32_t capacity)
{
    ASSERT(capacity >= chunk->count);
    struct stream_entry *entries =
        group_alloc(group->memory, capacity * sizeof(struct stream_entry));
    if (entries == NULL) {
        return false;
    }
    memcpy(entries, chunk->entries, chunk->count * sizeof(struct stream_entry));
    group_free(group->memory, chunk->entries);
    chunk->entries = entries;
    chunk->capacity = capacity;
    return true;
}

/* A new, empty chunk at this place of the table; NULL: there is no room. */
static struct stream_chunk *chunk_add(struct stream_group *group, uint32_t at, uint32_t capacity)
{
    struct stream_chunk *chunk = stream_chunk_make(group, group->chunk_next, capacity);
    if (chunk != NULL && !stream_chunk_insert(group, at, chunk)) {
        stream_part_free(&chunk->item);
        return NULL;
    }
    return chunk;
}

/* The upper half moves into a chunk of its own. */
static bool chunk_split(struct stream_group *group, uint32_t at)
{
    struct stream_chunk *lower = group->chunks[at];
    struct stream_chunk *upper = chunk_add(group, at + 1, STREAM_CHUNK_ENTRIES);
    if (upper == NULL) {
        return false;
    }
    COVER("a chunk of pending entries is split");
    uint32_t half = lower->count / 2;
    upper->count = lower->count - half;
    memcpy(upper->entries, lower->entries + half, upper->count * sizeof(struct stream_entry));
    lower->count = half;
    stream_mark(group, &upper->item);
    stream_mark(group, &lower->item);
    return true;
}

/* Where a new entry goes: a chunk with room for it. False: there is no memory. */
static bool place_for(struct stream_group *group, struct stream_id id, struct pending_place *place)
{
    if (group->chunk_count == 0) {
        *place = (struct pending_place){0, 0};
        return chunk_add(group, 0, CHUNK_CAPACITY_MIN) != NULL;
    }
    uint32_t at = chunk_of(group, id);
    uint32_t entry = entry_of(group->chunks[at], id);
    if (group->chunks[at]->count == STREAM_CHUNK_ENTRIES) {
        if (entry == STREAM_CHUNK_ENTRIES) {
            *place = (struct pending_place){at + 1, 0};
            bool room =
                at + 1 < group->chunk_count && group->chunks[at + 1]->count < STREAM_CHUNK_ENTRIES;
            return room || chunk_add(group, at + 1, CHUNK_CAPACITY_MIN) != NULL;
        }
        if (!chunk_split(group, at)) {
            return false;
        }
        at = chunk_of(group, id);
        entry = entry_of(group->chunks[at], id);
    }
    *place = (struct pending_place){at, entry};
    return true;
}

/* A chunk without entries is none. */
static void chunk_gone(struct stream_group *group, uint32_t at)
{
    struct stream_chunk *chunk = group->chunks[at];
    group->chunk_count--;
    memmove(&group->chunks[at], &group->chunks[at + 1],
            (group->chunk_count - at) * sizeof(struct stream_chunk *));
    chunk->item.deleted = true;
    stream_mark(group, &chunk->item);
}

static struct stream_entry *entry_add(struct stream_group *group, struct stream_id id)
{
    struct pending_place place;
    if (!place_for(group, id, &place)) {
        return NULL;
    }
    struct stream_chunk *chunk = group->chunks[place.chunk];
    if (chunk->count == chunk->capacity &&
        !stream_chunk_fit(group, chunk, min_u32(chunk->capacity * 2, STREAM_CHUNK_ENTRIES))) {
        return NULL;
    }
    memmove(&chunk->entries[place.entry + 1], &chunk->entries[place.entry],
            (chunk->count - place.entry) * sizeof(struct stream_entry));
    struct stream_entry *entry = &chunk->entries[place.entry];
    *entry = (struct stream_entry){.id = id};
    chunk->count++;
    group->pending++;
    stream_mark(group, &chunk->item);
    return entry;
}

bool pending_put(struct stream_group *group, struct stream_reader *reader, struct stream_id id,
                 uint64_t delivered_ms, uint32_t deliveries)
{
    struct stream_entry *entry = pending_find(group, id);
    if (entry != NULL) {
        stream_mark(group, &group->chunks[pending_seek(group, id).chunk]->item);
        entry->reader->pending--;
    } else {
        entry = entry_add(group, id);
    }
    if (entry == NULL) {
        return false;
    }
    entry->reader = reader;
    entry->delivered_ms = delivered_ms;
    entry->deliveries = deliveries > 0                    ? deliveries
                        : entry->deliveries == UINT32_MAX ? UINT32_MAX
                                                          : entry->deliveries + 1;
    reader->pending++;
    return true;
}

bool pending_drop(struct stream_group *group, struct stream_id id)
{
    struct pending_place place = pending_seek(group, id);
    const struct stream_entry *entry = pending_at(group, place);
    if (entry == NULL || stream_id_compare(entry->id, id) != 0) {
        return false;
    }
    struct stream_chunk *chunk = group->chunks[place.chunk];
    entry->reader->pending--;
    group->pending--;
    chunk->count--;
    memmove(&chunk->entries[place.entry], &chunk->entries[place.entry + 1],
            (chunk->count - place.entry) * sizeof(struct stream_entry));
    if (chunk->count == 0) {
        chunk_gone(group, place.chunk);
        return true;
    }
    stream_mark(group, &chunk->item);
    if (chunk->count < chunk->capacity / 4 && chunk->capacity > CHUNK_CAPACITY_MIN) {
        (void)stream_chunk_fit(group, chunk, chunk->capacity / 2); /* Else it stays as large. */
    }
    return true;
}
