/* A walk along the extents of one segment's file, as far as they are sound: of this segment, in
 * their own place, in the order of their starts, each frame following the one before it. */
#pragma once

#include "shard/frame.h"
#include "shard/segment.h"

struct walk {
    uint64_t segment_id, salt;
    uint32_t epoch, boot; /* Of the newest extent: starts do not fall. */
    uint64_t position, offset, chain;
    uint64_t evidence; /* So much was durable, an extent says. */
};

/* Where the walk ended at what is not sound: looks at every block of `data`, which stands at
 * `position`, for an extent that follows what was sound before, so that no frame is missing between
 * the two. What is not sound is then a milestone: a write of it that was torn while those behind it
 * came through, or one that went bad. True: the walk goes on there. */
bool walk_resume(struct walk *walk, struct bytes data, uint64_t position);

/* One extent at `at`, of which `left` bytes are there, but at least a block; moves behind it if it
 * is sound. ERR_TRUNCATED: there is less than extent->padded_size. ERR_CORRUPT: the walk ends here;
 * also at a trailer. */
NODISCARD enum err walk_extent(struct walk *walk, const uint8_t *at, uint32_t left,
                               struct extent_header *extent);
