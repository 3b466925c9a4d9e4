/* The records of one partition that were deleted one by one: which they are, and what a stream
 * wants to know of them (Redis' entries-added and max-deleted-entry-id). Like the producers it is
 * in memory as of what was acked, and in each file: in its trailer, its milestones, and before its
 * first frame as of the base.
 *
 *     state   0 version u32 (1)  4 ranges u32  8 entries added, less the high watermark i64
 *             16 the greatest stream ID that was deleted: ms u64, seq u64
 *             32 ranges, rising and not touching: 16 each {first offset u64, records u64}
 *
 * A change of it travels as a note, the body of a control frame (frame.h), which has no batches:
 *
 *     note    0 version u8 (1)  1 kind u8  2 what is set u16  4 ranges u32
 *     DELETE    8 the greatest stream ID of these: ms u64, seq u64  24 ranges as above
 *     SET_LAST  8 the last stream ID: ms u64, seq u64  24 the greatest that was deleted: ms, seq
 *               40 entries added, less the high watermark i64
 *
 * Neither is ever longer than is said here: what is behind is damage. */
#pragma once

#include "core/memory.h"
#include "shard/request.h"

enum {
    /* Of one partition: 1 MiB in memory, and in each of its files. Neighbours are one range. */
    DELETED_RANGES_MAX = 65536,
    DELETED_RANGE_BYTES = 16,
    DELETED_STATE_BYTES = 32, /* And the ranges. */
    NOTE_DELETE_BYTES = 24,   /* And the ranges. */
    NOTE_SET_LAST_BYTES = 48,
};

struct deleted_range {
    uint64_t first, end;
};

struct deleted {
    struct memory *memory;
    uint64_t *bytes;              /* Of the blocks of all that share the count. */
    struct block *block;          /* Of the ranges; NULL: there is none. */
    bool held;                    /* A note is on its way that has its room there. */
    uint32_t count;               /* Ranges. */
    uint64_t records;             /* In all of them. */
    uint64_t added_bias;          /* Entries added, less the high watermark, modulo 2^64. */
    struct stream_id deleted_max; /* 0-0: none. */
};

void deleted_init(struct deleted *deleted, struct memory *memory, uint64_t *bytes);
void deleted_clear(struct deleted *deleted); /* As it was then; gives its memory back. */

/* Is there nothing to remember? */
bool deleted_is_empty(const struct deleted *deleted);

bool deleted_has(const struct deleted *deleted, uint64_t offset);

/* How many of [from, to). */
uint64_t deleted_between(const struct deleted *deleted, uint64_t from, uint64_t to);

/* Room for `more` ranges that touch none. ERR_DELETIONS: more than there may be; ERR_NO_MEMORY. */
NODISCARD enum err deleted_reserve(struct deleted *deleted, uint32_t more);

/* What *bytes would be with that room. */
uint64_t deleted_bytes_with(const struct deleted *deleted, uint32_t more);

/* How many ranges more there would be with this one, none of whose records is in yet. */
uint32_t deleted_growth(const struct deleted *deleted, uint64_t first, uint64_t end);

/* Records that may be in already. Errors as of deleted_reserve(), which is never asked for more
 * than deleted_growth(). */
NODISCARD enum err deleted_add(struct deleted *deleted, uint64_t first, uint64_t end);

/* The log starts at `offset`: what is below is trimmed. */
void deleted_trim(struct deleted *deleted, uint64_t offset);

/* The room that was made stays, whatever is trimmed; or may go again. */
void deleted_hold(struct deleted *deleted, bool held);

/* The state. */
uint32_t deleted_size(const struct deleted *deleted);
void deleted_encode(const struct deleted *deleted, uint8_t *at); /* deleted_size() bytes. */

/* Into one that is empty; `state` may be longer. ERR_CORRUPT, ERR_NO_MEMORY. */
NODISCARD enum err deleted_decode(struct deleted *deleted, struct bytes state);

enum note_kind {
    NOTE_DELETE = 1,
    NOTE_SET_LAST = 2,
};

enum note_set {
    NOTE_SETS_ADDED = 1,
    NOTE_SETS_DELETED_MAX = 2,
};

struct note {
    enum note_kind kind;
    uint16_t sets;                      /* enum note_set */
    struct stream_id last, deleted_max; /* last: of SET_LAST. */
    uint64_t added_bias;                /* Of SET_LAST. */
    const uint8_t *ranges;              /* Of DELETE. */
    uint32_t range_count;
};

struct deleted_range note_range(const struct note *note, uint32_t index);

void note_range_encode(const struct deleted_range *range, uint8_t *at);

/* All but the ranges; how many bytes. */
uint32_t note_encode(const struct note *note, uint8_t *at);

/* Views into `body`. ERR_CORRUPT: it is none, or of a later version. */
NODISCARD enum err note_decode(struct bytes body, struct note *note);

/* What a note says that is acked, of a log that starts at `log_start` now: where the note found
 * room, it has it whatever was trimmed since. Errors as of deleted_add(). */
NODISCARD enum err deleted_apply(struct deleted *deleted, const struct note *note,
                                 uint64_t log_start);
