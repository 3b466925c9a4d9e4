/* Reads a segment file as it lies on a disk, for people: what is in it, and whether it is sound.
 * Needs no map, no shard and no reactor; the file may belong to a node that is down, to a copy, or
 * to nobody. It sees what was written to the file, goes on with what the journals have behind its
 * sound end, and judges both as recovery would.
 *
 *     inspect_open() -> header, seal block
 *     inspect_next() -> extent, its next frame -> inspect_batch() -> batch ...
 *                    -> frame of a journal, which may close a gap of the file
 *                    -> ERR_NOT_FOUND: the end */
#pragma once

#include "shard/batch.h"
#include "shard/frame.h"
#include "shard/journal_view.h"
#include "shard/segment.h"

/* Reads up to `size` bytes at `position`; how many: fewer at the end of the file; < 0: an err. */
typedef int64_t inspect_read_fn(void *context, uint64_t position, uint8_t *data, uint32_t size);

/* What follows the last sound extent. */
enum inspect_end {
    INSPECT_END_CLEAN,   /* Blocks that were never written with records, or the end of the file. */
    INSPECT_END_TORN,    /* The beginning of something that nobody was told of: no harm. */
    INSPECT_END_DAMAGED, /* Records that were durable stand behind it, or should stand there. */
};

/* An extent behind what is not sound: the journals may have what is missing between, or nothing
 * is. */
struct inspect_later {
    uint64_t position, offset_first, chain;
    bool frames;
};

struct inspect {
    inspect_read_fn *read;
    void *context;
    const struct journal_view *journals; /* NULL: the file is all there is. */
    bool every_frame; /* Also the first ones of an extent that is not sound as a whole: to save what
                         can be had. Recovery takes none of them. */
    struct segment_header header;
    struct segment_seal seal;
    bool sealed; /* There is a sound seal block. */

    /* Of inspect_next(). */
    uint64_t position; /* Of the extent; in the journal: where the file ends to be sound. */
    bool in_journal;   /* The frame stands there alone, in no extent. */
    struct extent_header extent;
    struct frame_header frame; /* If the extent holds frames: the current one. */
    uint32_t frame_index;      /* In its extent or the journal, from 0. */
    uint64_t records, batches, batch_bytes;
    uint64_t journal_records; /* Of these: in the journal alone. */
    uint32_t passed;          /* Milestones that are not sound, and cost no record. */
    uint64_t offset;          /* Behind the last sound frame. */
    uint64_t chain;           /* There. */
    uint64_t log_start;       /* The greatest that header, seal block and sound frames name. */
    int64_t producer_max;  /* Greatest id of a producer in batches, extents, trailer; -1: none. */
    int64_t timestamp_max; /* Greatest time of a batch; INT64_MIN: none. */
    uint64_t append_max;   /* Greatest time of an append, in ms; 0: none. */
    enum inspect_end end;
    const char *problem; /* Of what is damaged, in words; NULL: nothing is. */

    /* Inside. */
    uint64_t next, durable_end;
    uint32_t boot;
    const char *why;            /* What the file ends with; NULL: nothing. */
    bool again;                 /* The file goes on behind what is not sound. */
    struct frame_cursor cursor; /* Over the extent's frames. */
    bool spoken_of;             /* By the journals. */
    struct journal_view_segment journal;
    struct journal_view_cursor journal_cursor;
    struct inspect_later *later; /* Extents behind what is not sound. */
    uint32_t later_count;
    const uint8_t *frame_at;
    uint8_t *buffer;
    uint32_t buffer_bytes;
};

struct inspect_batch {
    uint64_t offset;
    struct batch batch;
    struct frame_row row;
    struct bytes records; /* As they came, packed or not. */
    bool crc_sound;
};

/* `read`, `context`, `journals` and `every_frame` are set, all else is zero. ERR_FOREIGN,
 * ERR_VERSION, ERR_CORRUPT of the header, ERR_NO_MEMORY, or what reading says. A seal block that is
 * neither empty nor sound is a `problem`, and the file is then read as if it was not sealed. */
NODISCARD enum err inspect_open(struct inspect *inspect);

/* The next frame of the current extent or, if it has no more, the next extent, checked: its place,
 * salt, chain and checksums; behind the last extent, the next frame of the journals. ERR_NOT_FOUND:
 * there is no further sound one; `end` and `problem` say what stands there instead. */
NODISCARD enum err inspect_next(struct inspect *inspect);

/* Batch `index` of the current frame; false: there are no more. */
bool inspect_batch(const struct inspect *inspect, uint32_t index, struct inspect_batch *batch);

void inspect_close(struct inspect *inspect);
