/* The journals of a data directory for those who only look: MANIFEST and journals are read once,
 * into memory, and judged as a start would judge them (replay_scan.c); nothing is written.
 *
 *     superblock -> MANIFEST -> each journal it names -> per segment: frames, what was durable
 *
 * Of a running node: open the view before the files are read, because frames go from the journal to
 * the files and never back. */
#pragma once

#include "shard/frame.h"
#include "shard/segment_record.h"

/* How files of the directory are read; `name` is below it, such as "journal/0.jnl". */
struct journal_view_io {
    void *context;
    /* ERR_NOT_FOUND, or what went wrong; else its size in bytes. */
    int64_t (*size)(void *context, const char *name);
    /* How many bytes: fewer at the end of the file; < 0: an err. */
    int64_t (*read)(void *context, const char *name, uint64_t position, uint8_t *data,
                    uint32_t size);
};

/* Why MANIFEST or a journal is not what it should be, and what to do: both are sentences. */
struct journal_view_problem {
    char name[32];
    const char *problem, *advice;
};

struct journal_view;

/* ERR_NO_MEMORY; all else is a problem: what can be had is there. */
NODISCARD enum err journal_view_open(struct journal_view **view, const struct journal_view_io *io);
void journal_view_close(struct journal_view *view); /* NULL is none. */

/* The first is 0; NULL: there are no more. */
const struct journal_view_problem *journal_view_problem(const struct journal_view *view,
                                                        uint32_t index);

/* What is known of one segment, of which the file is a part. */
struct journal_view_segment {
    const struct segment_record
        *record; /* Who it is, and its marks; NULL: only that it is spoken of. */
    uint64_t segment_id;
    uint64_t evidence; /* So much was durable, or may have been. */
    uint32_t index, frames;
};

/* The segments that are spoken of, from 0; false: there are no more. */
bool journal_view_segment(const struct journal_view *view, uint32_t index,
                          struct journal_view_segment *segment);

/* False: nothing is known of it. */
bool journal_view_find(const struct journal_view *view, uint64_t segment_id,
                       struct journal_view_segment *segment);

/* The frames of a segment that follow a place in it, one after the other; `offset` and `chain` are
 * of that place, `at` is 0. */
struct journal_view_cursor {
    uint64_t offset, chain;
    uint32_t at;
};

/* The next one, whose bytes are the view's and are checked; NULL: none follows. */
const uint8_t *journal_view_next(const struct journal_view *view,
                                 const struct journal_view_segment *segment,
                                 struct journal_view_cursor *cursor);

/* What is wrong with a segment that has all below `reach` in file and journals; `evidence` is what
 * its file says to have been durable. NULL: nothing. */
const char *journal_view_judge(const struct journal_view *view,
                               const struct journal_view_segment *segment, uint64_t evidence,
                               uint64_t reach);
