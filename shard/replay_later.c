/* Extents that stand behind the sound end of a file, and which of them goes on behind a gap that
 * the journals can fill. */
#include "shard/replay.h"

#include <stdlib.h>

enum err replay_later_note(struct replay_later *later, const struct replay *replay,
                           const struct walk *walk, uint32_t size)
{
    for (uint32_t at = 0; size - at >= DISK_BLOCK_BYTES; at += DISK_BLOCK_BYTES) {
        struct extent_header extent;
        if (extent_header_at(replay->window + at, walk->salt, replay->window_position + at,
                             &extent) != OK ||
            extent.type != EXTENT_FRAMES || extent.boot < walk->boot) {
            continue;
        }
        if (later->count == later->capacity) {
            uint32_t capacity = max_u32(64, later->capacity * 2);
            struct later_extent *grown = realloc(later->rows, capacity * sizeof(*grown));
            if (grown == NULL) {
                return ERR_NO_MEMORY;
            }
            later->rows = grown;
            later->capacity = capacity;
        }
        later->rows[later->count++] =
            (struct later_extent){extent.position, extent.offset_first, extent.chain, extent.boot};
    }
    return OK;
}

uint64_t replay_later_acked(const struct replay_later *later, const struct replay *replay,
                            const struct replay_segment *segment, uint64_t reach)
{
    uint64_t end = 0;
    bool disk = segment->known && segment->record.durability == DURABILITY_DISK;
    for (uint32_t i = 0; disk && i < segment->count; i++) {
        const struct replay_entry *entry = &replay->entries[segment->first + i];
        for (uint32_t j = 0; entry->frame != NULL && j < later->count; j++) {
            const struct later_extent *row = &later->rows[j];
            if (row->offset_first >= reach && row->offset_first == entry->offset_first &&
                row->chain == entry->chain) {
                end = max_u64(end, entry->offset_end);
            }
        }
    }
    return end;
}

const struct later_extent *replay_later_find(const struct replay_later *later,
                                             const struct replay_entry *entries, uint32_t count,
                                             uint64_t position, uint32_t *end)
{
    uint64_t bytes = EXTENT_HEADER_BYTES;
    *end = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += entries[i].size;
        for (uint32_t j = 0; j < later->count; j++) {
            const struct later_extent *row = &later->rows[j];
            if (row->offset_first == entries[i].offset_end && row->chain == entries[i].chain_end &&
                row->position - position >= bytes) {
                *end = i + 1;
                return row;
            }
        }
    }
    return NULL;
}
