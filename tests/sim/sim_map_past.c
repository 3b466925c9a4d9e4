/* What the real map showed before: when the last frame of its log is lost, it is what it was then.
 *
 * A frame is applied in one turn and the map is looked at between turns, so that the state before
 * each frame was seen. */
#include "core/assert.h"
#include "tests/sim/sim_map_internal.h"

#include <stdlib.h>
#include <string.h>

static void past_forget(struct map_past *past)
{
    for (uint32_t i = 0; i < past->count; i++) {
        free(past->seen[i].segments);
    }
    free(past->seen);
    *past = (struct map_past){0};
}

/* All of `from`, with segments of its own. */
static struct sim_map_partition past_copy(const struct sim_map_partition *from)
{
    struct sim_map_partition copy = *from;
    size_t bytes = from->segment_count * sizeof(*from->segments);
    copy.segments = malloc(max_u64(1, bytes));
    ASSERT(copy.segments != NULL);
    if (bytes > 0) {
        memcpy(copy.segments, from->segments, bytes);
    }
    return copy;
}

void map_past_keep(struct sim_map *map)
{
    struct map_past *past = &map->pasts[map->past_next++ % ARRAY_COUNT(map->pasts)];
    past_forget(past);
    past->version = map->version;
    past->count = map->entry_count;
    past->seen = calloc(max_u32(1, past->count), sizeof(*past->seen));
    ASSERT(past->seen != NULL);
    for (uint32_t i = 0; i < past->count; i++) {
        past->seen[i] = past_copy(&map->entries[i]->seen);
    }
}

void map_past_forget_all(struct sim_map *map)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(map->pasts); i++) {
        past_forget(&map->pasts[i]);
    }
}

bool map_past_restore(struct sim_map *map, uint64_t version)
{
    const struct map_past *past = NULL;
    for (uint32_t i = 0; i < ARRAY_COUNT(map->pasts); i++) {
        if (map->pasts[i].version == version) {
            past = &map->pasts[i];
        }
    }
    if (past == NULL || past->count != map->entry_count) {
        return false;
    }
    for (uint32_t i = 0; i < past->count; i++) {
        struct map_entry *entry = map->entries[i];
        free(entry->seen.segments);
        entry->seen = past_copy(&past->seen[i]);
        entry->segment_capacity = entry->seen.segment_count;
        map->options.undone(map->options.context, i);
    }
    map->version = past->version;
    return true;
}
