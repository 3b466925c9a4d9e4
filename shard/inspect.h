/* Reads a segment file as it lies on a disk, for people: what is in it, and whether it is sound.
 * Needs no map, no shard and no reactor; the file may belong to a node that is down, to a copy, or
 * to nobody. It sees what was written to the file, and judges it as recovery would.
 *
 *     inspect_open() -> header, seal block
 *     inspect_next() -> extent, its next frame -> inspect_batch() -> batch ...
 *                    -> ERR_NOT_FOUND: the end */
#pragma once

#include "shard/batch.h"
#include "shard/frame.h"
#include "shard/segment.h"

/* Reads up to `size` bytes at `position`; how many: fewer at the end of the file; < 0: an err. */
typedef int64_t inspect_read_fn(void *context, uint64_t position, uint8_t *data, uint32_t size);

/* What follows the last sound extent. */
enum inspect_end {
    INSPECT_END_CLEAN,   /* Blocks that were never written with records, or the end of the file. */
    INSPECT_END_TORN,    /* The beginning of something that nobody was told of: no harm. */
    INSPECT_END_DAMAGED, /* Records that were durable stand behind it, or should stand there. */
};

struct inspect {
    inspect_read_fn *read;
    void *context;
    struct segment_header header;
    struct segment_seal seal;
    bool sealed; /* There is a sound seal block. */

    /* Of inspect_next(). */
    uint64_t position; /* Of the extent. */
    struct extent_header extent;
    struct frame_header frame; /* If the extent holds frames: the current one. */
    uint32_t frame_index;      /* In its extent, from 0. */
    uint64_t records, batches, batch_bytes;
    uint64_t offset;    /* Behind the last sound frame. */
    uint64_t chain;     /* There. */
    uint64_t log_start; /* The greatest that header, seal block and sound frames name. */
    enum inspect_end end;
    const char *problem; /* Of what is damaged, in words; NULL: nothing is. */

    /* Inside. */
    uint64_t next, durable_end;
    uint32_t boot;
    struct frame_cursor cursor; /* Over the extent's frames. */
    const uint8_t *frame_at;
    uint8_t *buffer;
    uint32_t buffer_bytes;
};

struct inspect_batch {
    uint64_t offset;
    struct batch batch;
    struct frame_row row;
    bool crc_sound;
};

/* `read` and `context` are set, all else is zero. ERR_FOREIGN, ERR_VERSION, ERR_CORRUPT of the
 * header, ERR_NO_MEMORY, or what reading says. A seal block that is neither empty nor sound is a
 * `problem`, and the file is then read as if it was not sealed. */
NODISCARD enum err inspect_open(struct inspect *inspect);

/* The next frame of the current extent or, if it has no more, the next extent, checked: its place,
 * its salt, chain and checksums. ERR_NOT_FOUND: there is no
 * further sound one; `end` and `problem` say what stands there instead. */
NODISCARD enum err inspect_next(struct inspect *inspect);

/* Batch `index` of the current frame; false: there are no more. */
bool inspect_batch(const struct inspect *inspect, uint32_t index, struct inspect_batch *batch);

void inspect_close(struct inspect *inspect);
