/* See the header. */
#include "shard/walk.h"

#include "core/cover.h"
#include "shard/milestone.h"

static enum err walk_frames(struct walk *walk, const struct extent_header *extent,
                            const uint8_t *at)
{
    struct frame_cursor cursor;
    struct frame_header frame;
    const uint8_t *header_at;
    enum err err;
    uint64_t chain = walk->chain;
    bool follows = extent->chain == chain || MUTANT("no-chain-check");
    if (extent->offset_first != walk->offset || !follows || extent->frames_or_crc == 0) {
        return ERR_CORRUPT;
    }
    frame_cursor_init(&cursor, at, extent, walk->segment_id);
    while ((err = frame_cursor_next(&cursor, &frame, &header_at)) == OK) {
        follows = frame.chain == chain || MUTANT("no-chain-check");
        if (!follows || frame.epoch != walk->epoch) {
            return ERR_CORRUPT;
        }
        chain = frame_chain(header_at);
    }
    if (err != ERR_NOT_FOUND) {
        return ERR_CORRUPT;
    }
    walk->chain = chain;
    walk->offset = cursor.offset;
    return OK;
}

/* Between two frames; also those that stand before the first. */
static enum err walk_milestone(const struct walk *walk, const struct extent_header *extent,
                               const uint8_t *at)
{
    bool follows = extent->offset_first == walk->offset && extent->chain == walk->chain;
    return follows && milestone_is_sound(at, extent) ? OK : ERR_CORRUPT;
}

bool walk_resume(struct walk *walk, struct bytes data, uint64_t position)
{
    if (walk->position == SEGMENT_DATA_POSITION || MUTANT("no-resume")) {
        return false; /* The producers at the beginning are in no frame of this file. */
    }
    for (uint32_t at = 0; data.size - at >= DISK_BLOCK_BYTES; at += DISK_BLOCK_BYTES) {
        struct extent_header extent;
        if (position + at > walk->position &&
            extent_header_at(data.data + at, walk->salt, position + at, &extent) == OK &&
            extent.type != EXTENT_TRAILER && extent.boot >= walk->boot &&
            extent.offset_first == walk->offset && extent.chain == walk->chain) {
            COVER("a milestone that is not sound is passed over");
            walk->position = position + at;
            return true;
        }
    }
    return false;
}

enum err walk_extent(struct walk *walk, const uint8_t *at, uint32_t left,
                     struct extent_header *extent)
{
    enum err err = extent_header_at(at, walk->salt, walk->position, extent);
    if (err != OK || extent->type == EXTENT_TRAILER ||
        (extent->boot < walk->boot && !MUTANT("no-boot-order"))) {
        return ERR_CORRUPT;
    }
    if (extent->padded_size > left) {
        return ERR_TRUNCATED;
    }
    if (extent->type == EXTENT_FRAMES) {
        err = walk_frames(walk, extent, at);
    } else {
        err = walk_milestone(walk, extent, at);
    }
    if (err != OK) {
        return ERR_CORRUPT;
    }
    walk->position += extent->padded_size;
    walk->boot = extent->boot;
    walk->evidence = max_u64(walk->evidence, extent->durable_end);
    return OK;
}
