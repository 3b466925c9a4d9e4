/* Sparse index of one segment: a row per 64 KiB of frames. A look-up gives the position of the
 * extent from which a scan finds the offset or the time.
 *
 *     row (48)  0 first offset u64  8 position u64  16 ms u64  24 seq u64
 *               32 greatest record timestamp so far i64  40 frame count u32  44 zero */
#pragma once

#include "core/bytes.h"
#include "core/err.h"

enum { INDEX_ROW_BYTES = 48 };

#ifdef FLOE_SIM /* Its files are small, and are to have several rows. */
enum { INDEX_STEP_BYTES = 8 << 10 };
#else
enum { INDEX_STEP_BYTES = 64 << 10 };
#endif

struct index_row {
    uint64_t offset_first, position;
    uint64_t ms, seq;
    int64_t timestamp_max; /* Of all records up to the next row's first one. */
    uint32_t frame_count;
};

struct segment_index {
    struct index_row *rows;
    uint32_t count, capacity;
    uint64_t bytes_since; /* Since the last row began. */
};

void segment_index_init(struct segment_index *index);
void segment_index_deinit(struct segment_index *index);

/* One more extent of frames; decides whether a row begins with it. ERR_NO_MEMORY. */
NODISCARD enum err segment_index_add(struct segment_index *index, uint64_t offset,
                                     uint64_t position, uint64_t ms, uint64_t seq,
                                     int64_t timestamp_max, uint32_t bytes);

/* A row begins with the next extent, however short the last one is: a milestone stands between. */
void segment_index_break(struct segment_index *index);

/* Another one with the same rows. ERR_NO_MEMORY. */
NODISCARD enum err segment_index_copy(const struct segment_index *index,
                                      struct segment_index *copy);

/* The last row at or below `offset`; NULL when the index is empty or begins above it. */
const struct index_row *segment_index_by_offset(const struct segment_index *index, uint64_t offset);

/* How many rows begin at or before `position`. */
uint32_t segment_index_until(const struct segment_index *index, uint64_t position);

/* The row in which the first record at or after `timestamp` stands; NULL: there is none. */
const struct index_row *segment_index_by_time(const struct segment_index *index, int64_t timestamp);

/* All rows; the bytes written, 0 if they do not fit. */
uint32_t segment_index_encode(const struct segment_index *index, uint8_t *data, uint32_t size);
NODISCARD enum err segment_index_decode(struct segment_index *index, struct bytes data);
