/* A block of a live journal goes bad, of which a later one says that it was durable: the start must
 * notice the hole, and mark whoever may have lost acked frames in it. */
#include "tests/sim/rot.h"

#include "core/assert.h"
#include "shard/frame.h"
#include "shard/journal_block.h"
#include "shard/manifest.h"
#include "shard/segment.h"

#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS_MAX = 512 };

struct journal_rot {
    struct disk *disk;
    const struct sim_map *map;
    struct check *check;
    struct prng *prng;
    int32_t inode;
    struct journal_block_header blocks[BLOCKS_MAX];
    uint32_t count;
};

/* All of the file; NULL: it is empty. */
static uint8_t *rot_load(const struct disk *disk, int32_t inode, uint64_t *size)
{
    *size = disk_size(disk, inode);
    uint8_t *data = *size == 0 ? NULL : malloc(*size);
    ASSERT(*size == 0 || data != NULL);
    ASSERT(data == NULL || disk_read(disk, inode, data, (uint32_t)*size, 0) == *size);
    return data;
}

static void rot_find_blocks(struct journal_rot *rot, const uint8_t *data, uint64_t size,
                            uint64_t journal_id)
{
    for (uint64_t at = 0; at + DISK_BLOCK_BYTES <= size && rot->count < BLOCKS_MAX;
         at += DISK_BLOCK_BYTES) {
        struct journal_block_header *block = &rot->blocks[rot->count];
        rot->count += journal_block_peek(data + at, journal_id, at, block) == OK &&
                      block->length <= size - at && journal_block_check(data + at, block) == OK;
    }
}

/* A block that recovery may need and that another one says was durable; NULL: there is none. */
static const struct journal_block_header *rot_choose_block(struct journal_rot *rot)
{
    const struct journal_block_header *newest = &rot->blocks[0];
    for (uint32_t i = 0; i < rot->count; i++) {
        newest = rot->blocks[i].seq > newest->seq ? &rot->blocks[i] : newest;
    }
    uint32_t kept = 0;
    struct journal_block_header *fit = rot->blocks;
    struct journal_block_header last = *newest;
    for (uint32_t i = 0; i < rot->count; i++) {
        if (fit[i].seq >= last.tail_seq && fit[i].seq <= last.durable_seq) {
            fit[kept++] = fit[i];
        }
    }
    return kept == 0 ? NULL : &fit[prng_below(rot->prng, kept)];
}

/* Are all frames of this extent whole? Then *end is where they end. */
static bool rot_extent(const uint8_t *at, const struct extent_header *extent, uint64_t *end)
{
    uint32_t used = EXTENT_HEADER_BYTES;
    uint64_t reach = *end;
    for (uint32_t i = 0; i < extent->frames_or_crc; i++) {
        struct frame_header frame;
        uint32_t left = extent->padded_size - used;
        if (left < FRAME_HEADER_BYTES || frame_header_decode(at + used, &frame) != OK ||
            frame_size(&frame) > left ||
            frame_check_body(&frame, at + used + FRAME_HEADER_BYTES) != OK) {
            return false;
        }
        reach = frame.offset_first + frame.records;
        used += frame_size(&frame);
    }
    *end = reach;
    return true;
}

/* The first offset that is not in the file, whatever became of the journal: a start takes extents
 * as a whole, and a power cut may come before it has synced the file. */
static uint64_t rot_reach(const struct journal_rot *rot, const struct sim_map_partition *mapped,
                          const struct segment_info *info)
{
    uint64_t size;
    uint64_t reach = info->base_offset;
    int32_t inode = check_file_find(rot->disk, mapped, info);
    uint8_t *data = inode < 0 ? NULL : rot_load(rot->disk, inode, &size);
    if (data == NULL) {
        return reach;
    }
    struct extent_header extent;
    uint64_t at = SEGMENT_DATA_POSITION;
    bool sound = true;
    while (sound && at + DISK_BLOCK_BYTES <= size &&
           extent_header_decode(data + at, &extent) == OK && extent.salt == info->salt &&
           extent.position == at && extent.padded_size > 0 && extent.padded_size <= size - at) {
        sound = disk_is_durable(rot->disk, inode, at, extent.padded_size) &&
                (extent.type != EXTENT_FRAMES || rot_extent(data + at, &extent, &reach));
        at += extent.padded_size;
    }
    free(data);
    return reach;
}

/* Open segments may lack what was in the block; all others have it in their files. */
static void rot_tell(struct journal_rot *rot)
{
    for (uint32_t i = 0; i < sim_map_partition_count(rot->map); i++) {
        const struct sim_map_partition *mapped = sim_map_partition(rot->map, i);
        uint32_t count = mapped->segment_count;
        const struct segment_info *last = count == 0 ? NULL : &mapped->segments[count - 1].info;
        if (!mapped->deleted && last != NULL && last->state == SEGMENT_OPEN) {
            check_rotted(rot->check, i, rot_reach(rot, mapped, last), UINT64_MAX, true);
        }
    }
}

static bool rot_is_touched(const struct journal_rot *rot)
{
    for (uint32_t i = 0; i < sim_map_partition_count(rot->map); i++) {
        if (check_is_touched(rot->check, i)) {
            return true;
        }
    }
    return false;
}

static const char *rot_one(struct journal_rot *rot, uint32_t file, uint64_t journal_id)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "data/journal/%u.jnl", file);
    rot->inode = disk_find(rot->disk, path);
    uint64_t size;
    uint8_t *data = rot->inode < 0 ? NULL : rot_load(rot->disk, rot->inode, &size);
    if (data == NULL) {
        return NULL;
    }
    rot_find_blocks(rot, data, size, journal_id);
    free(data);
    const struct journal_block_header *block = rot->count == 0 ? NULL : rot_choose_block(rot);
    if (block == NULL) {
        return NULL;
    }
    rot_tell(rot);
    disk_rot(rot->disk, rot->inode, block->position, DISK_BLOCK_BYTES);
    return "a durable block of a journal";
}

const char *rot_journal(struct disk *disk, const struct sim_map *map, struct check *check,
                        struct prng *prng)
{
    uint64_t size;
    int32_t inode = disk_find(disk, "data/MANIFEST");
    uint8_t *image = inode < 0 ? NULL : rot_load(disk, inode, &size);
    struct journal_rot *rot = calloc(1, sizeof(*rot));
    ASSERT(rot != NULL);
    *rot = (struct journal_rot){.disk = disk, .map = map, .check = check, .prng = prng};
    const char *what = NULL;
    uint32_t count = image == NULL ? 0 : load_le32(image + 12); /* As manifest.h has it. */
    if (count > 0 && !rot_is_touched(rot)) {
        const uint8_t *row =
            image + MANIFEST_HEADER_BYTES + prng_below(prng, count) * MANIFEST_JOURNAL_BYTES;
        what = rot_one(rot, load_le32(row), load_le64(row + 8));
    }
    free(image);
    free(rot);
    return what;
}
