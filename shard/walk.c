/* See the header. */
#include "shard/walk.h"

#include "core/cover.h"
#include "core/crc32c.h"

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
    } else if (crc32c(0, at + EXTENT_HEADER_BYTES,
                      extent->padded_size - (uint32_t)EXTENT_HEADER_BYTES) !=
               extent->frames_or_crc) {
        err = ERR_CORRUPT;
    }
    if (err != OK) {
        return ERR_CORRUPT;
    }
    walk->position += extent->padded_size;
    walk->boot = extent->boot;
    walk->evidence = max_u64(walk->evidence, extent->durable_end);
    return OK;
}
