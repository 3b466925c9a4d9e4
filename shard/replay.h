/* What a crash left in the journals goes into the files. Once per start, on one core, before any
 * shard opens; what it does may be repeated from any point, because the journals stay named until
 * the next MANIFEST says otherwise. Internal to journals.c.
 *
 *     each journal: every valid block -> which of them count -> their records and frames
 *                                                                    (replay_scan.c)
 *     merge: segments, their frames in order of offset, what is known to have been durable
 *     a block is lost: whose files are not complete?
 *                                                                    (replay_survey.c)
 *     each segment: sound end of its file -> frames that follow it -> extents, synced
 *                                                                    (replay_segment.c)
 *
 * The frames are held in memory: no more than the life before had pinned. */
#pragma once

#include "core/io.h"
#include "core/reactor.h"
#include "shard/journal_block.h"
#include "shard/manifest_store.h"
#include "shard/renew.h"
#include "shard/survey.h"
#include "shard/walk.h"

enum { REPLAY_WINDOW_BYTES = 1 << 20, REPLAY_PATH_BYTES = 512, REPLAY_MESSAGE_BYTES = 512 };

/* A block that is whole. */
struct replay_block {
    uint64_t seq, durable_seq, tail_seq, position;
    uint32_t length;
};

/* A run of blocks that stand one behind the other, as read. */
struct replay_run {
    struct replay_run *next;
    uint8_t *bytes;
};

/* An entry of one. */
struct replay_entry {
    uint64_t segment_id, seq;
    uint64_t durable_end, staged_end;
    /* Of a frame: */
    uint64_t offset_first, offset_end;
    uint64_t chain, chain_end; /* Before and after it. */
    const uint8_t *frame;      /* NULL: it is a record, `record` of them all. */
    uint32_t size, journal, record;
};

struct replay_journal {
    struct manifest_journal info;
    int fd;
    uint64_t size;
    struct replay_block *blocks;
    uint32_t block_count;
    uint64_t tail, last; /* What counts: [tail, last]; last 0: nothing. */
    uint64_t hole;       /* A block that was durable and is not there; 0: none. */
    char path[REPLAY_PATH_BYTES];
};

/* One segment of which a journal or the MANIFEST speaks. */
struct replay_segment {
    struct segment_record record;
    bool known;            /* There is a record. */
    uint64_t evidence;     /* So much was durable, or may have been. */
    uint64_t behind_hole;  /* The least staged_end behind a hole; UINT64_MAX: none. */
    bool holed;            /* An entry of it is in a journal with a hole. */
    uint32_t first, count; /* Its frames among the entries. */
};

struct replay_options {
    const char *data_dir;
    uint32_t boot;
    bool direct;
};

struct replay {
    struct reactor *reactor;
    struct replay_options options;
    const struct manifest *manifest;
    struct completion *done; /* OK, also when damage was found; else `message` says what failed. */
    char message[REPLAY_MESSAGE_BYTES];
    struct io io;
    int state;
    enum err err;
    uint8_t *window; /* Of the file that is read. */
    uint32_t window_capacity, window_size;
    uint64_t window_position, position;
    struct replay_journal *journals;
    uint32_t journal_count, journal_at;
    uint32_t block_at, block_end; /* Of the run that is read. */
    struct replay_run *runs;
    struct replay_entry *entries;
    uint32_t entry_count, entry_capacity;
    struct segment_record *records;
    uint32_t record_count, record_capacity;
    struct replay_segment *segments;
    uint32_t segment_count, segment_at;
    struct replay_walk *walk; /* Of the segment that is looked at. */
    struct survey survey;     /* Behind a hole. */
    /* Out: */
    uint32_t manifests; /* So many were stored meanwhile. */
    bool retained;      /* Frames stay in the journals alone: they must stay named. */
    uint64_t bytes_read, bytes_written, frames_written, segments_written;
};

/* `replay` is zero but for what is given here. Fires `done` on `reactor`. */
void replay_start(struct replay *replay, struct reactor *reactor,
                  const struct replay_options *options, const struct manifest *manifest,
                  struct completion *done);
void replay_deinit(struct replay *replay);

/* replay_scan.c */

/* Looks for blocks in the window from `position` on, as far as it goes. *more: read on from there.
 */
NODISCARD enum err replay_scan(struct replay *replay, bool *more);
void replay_choose(struct replay_journal *journal);

/* Makes room for the blocks from `block_at` on that count and stand one behind the other, up to
 * `block_end`, and says where they stand; *size 0: there are no more. */
NODISCARD enum err replay_plan_run(struct replay *replay, uint64_t *position, uint32_t *size);
NODISCARD enum err replay_take_run(struct replay *replay, uint32_t size);
NODISCARD enum err replay_merge(struct replay *replay);

/* replay_survey.c: behind a hole of a journal, what the files say; then replay_segments(). */
void replay_survey(struct replay *replay);
/* The next frame of the segment, from entry `*at` on (`first` of it at the beginning), that follows
 * `offset` and `chain`; NULL: none does. Moves behind it. */
struct replay_entry *replay_frame_next(const struct replay *replay,
                                       const struct replay_segment *segment, uint32_t *at,
                                       uint64_t offset, uint64_t chain);

/* What is to be thought of a segment of which file and journals together have all below `reach`. */
enum replay_verdict {
    REPLAY_WHOLE,
    REPLAY_DAMAGED, /* More was durable. */
    REPLAY_SUSPECT, /* A journal with a hole may have held more. */
};

enum replay_verdict replay_judge(const struct replay_segment *segment, uint64_t reach);

/* replay_segment.c: all of them, one after the other; then replay_finish(). */
void replay_segments(struct replay *replay);
void replay_finish(struct replay *replay, enum err err);

/* Starts reading `size` bytes at `position` of `fd` into the window, which grows for it. */
NODISCARD enum err replay_read(struct replay *replay, int fd, uint64_t position, uint32_t size);
void replay_count(struct replay *replay, int32_t bytes); /* So many were read. */

/* replay_renew.c */
struct replay_renew {
    struct replay *replay;
    struct manifest doubt;
    struct manifest_store store;
    struct renew renew;
};

/* The file of the segment at hand is made anew; fires `done` as struct renew does. */
void replay_renew_start(struct replay_renew *renew, struct replay *replay, int fd, const char *path,
                        struct completion *done);

/* replay_later.c */

/* An extent that stands behind the sound end. */
struct later_extent {
    uint64_t position, offset_first, chain;
    uint32_t boot;
};

struct replay_later {
    struct later_extent *rows; /* By malloc(). */
    uint32_t count, capacity;
};

/* Those in the first `size` bytes of the window. ERR_NO_MEMORY. */
NODISCARD enum err replay_later_note(struct replay_later *later, const struct replay *replay,
                                     const struct walk *walk, uint32_t size);

/* The greatest end of a frame at or behind `reach` that both a journal and one of these extents
 * have; 0: there is none. Such a frame came into the file when it was acked, or with the one
 * behind it, when all but these two were (COMMITS_MAX): nothing of a `disk` segment before it may
 * be missing. */
uint64_t replay_later_acked(const struct replay_later *later, const struct replay *replay,
                            const struct replay_segment *segment, uint64_t reach);

/* The sound extent behind the gap at `position` that continues the frames which the journals have
 * for it, the first *end of `entries`. NULL: there is none. */
const struct later_extent *replay_later_find(const struct replay_later *later,
                                             const struct replay_entry *entries, uint32_t count,
                                             uint64_t position, uint32_t *end);
