/* Looks into segment files, and who goes through them in order.
 *
 *     started -> being read -> there <-> idle, until its memory or its segment goes
 *        (demanded, or ahead of a stream)
 *
 * A look is whole extents: it begins at one and ends behind one, where the index, or the end of the
 * file, says so. Looks of a segment do not overlap; who wants bytes that one holds, or is about to
 * hold, uses that one. `users` counts the read itself, readers, and pieces that are lent. */
#pragma once

#include "core/io.h"
#include "core/list.h"
#include "core/memory.h"

enum {
    READ_BYTES = 256 << 10,     /* One look, as far as extents allow. */
    LOOK_BYTES_MAX = 16 << 20,  /* Of one whose extent is larger. */
    LOOKS_KEPT_BYTES = 8 << 20, /* At rest, as long as nobody misses more. */
    LOOKS_MISSED = 4096,
    LOOKS_AHEAD = 4, /* Of a stream, at most, that nobody has used yet. */
    STREAMS_MAX = 64,
};

struct frame_header;
struct partition;
struct segment;
struct shard;

struct look {
    struct list in_segment; /* By position; in none: not shared, or no longer. */
    struct list at_rest;    /* looks->idle or ->ahead: there, and nobody uses it; or looks->free. */
    struct shard *shard;
    struct segment *segment; /* NULL: not shared. Pinned while it is read. */
    struct segment *reading; /* NULL: it is there. */
    struct block *block;
    struct io io;
    struct completion_list waiting; /* For the read to end. */
    uint64_t position;
    uint32_t size; /* Bytes that are asked for; then, that are there. */
    uint32_t users;
    struct stream *ahead_of; /* Nobody has used it yet; NULL: somebody has. */
    bool cut;                /* It may end inside an extent, so nobody else has it. */
    enum err err;            /* ERR_TRUNCATED: the file ends inside. */
    /* The bodies of frames in this part of it are sound. */
    uint32_t sound_first, sound_end;
};

/* A look that went though memory was not short. */
struct look_gone {
    uint64_t segment_id, position;
    uint64_t gone_bytes; /* looks->gone_bytes then. */
};

/* Somebody who reads a log in order: each fetch begins where one before it ended. */
struct stream {
    struct partition *partition;   /* NULL: free. */
    uint64_t serial;               /* Of whom it is, since it may become somebody else's. */
    uint64_t touched;              /* looks->clock then. */
    uint64_t offset_first, offset; /* Where its last fetch began and ended. */
    /* The extent in which, or at which, `offset` stands, and the chain before it. */
    uint64_t segment_id, position, chain;
    uint32_t depth; /* So many looks are read ahead of it. */
};

/* Of one core. */
struct looks {
    struct look *all;
    uint32_t count, made, used;    /* Looks; those that ever were used; that are now. */
    uint32_t resting;              /* Those in `idle` or `ahead`. */
    uint32_t look_bytes;           /* READ_BYTES, or less in tests. */
    struct list free, idle, ahead; /* The latter two: least recently used first. */
    uint64_t bytes;                /* Of the blocks of all looks. */
    uint64_t bytes_idle;           /* Of them, in `idle`. */
    uint64_t bytes_resting;        /* Of them, at rest: they go when anybody wants memory. */
    uint64_t bytes_ahead;          /* Of them, with `ahead_of`, being read or there. */
    /* What is idle beyond this goes. It grows when somebody reads again what went, and memory for
     * it would have been there: fresh memory, and cold, is dear to who reads a log once. */
    uint64_t kept_max;
    uint64_t gone_bytes; /* Went so, ever. */
    struct look_gone gone[LOOKS_MISSED];
    bool starting_ahead; /* No cache is dropped for this. */
    struct stream streams[STREAMS_MAX];
    uint32_t stream_count; /* So many have room for their looks. */
    uint64_t clock, serial;
};

/* look.c */
NODISCARD enum err looks_open(struct shard *shard); /* After lend_init(). */
void looks_close(struct shard *shard);
uint64_t looks_bytes_used(const struct looks *looks); /* Not at rest. */
bool looks_reclaim(struct shard *shard, uint64_t bytes);
void looks_forget(struct segment *segment); /* Which nobody reads any more. */

/* The look that holds the byte at `position`, or will; NULL: none. */
struct look *look_find(struct segment *segment, uint64_t position);

/* Reads what begins at `position` with an extent, of at least `least` bytes. NULL: no memory. */
struct look *look_start(struct segment *segment, uint64_t position, uint32_t least,
                        struct stream *ahead_of);
/* How much look_start() reads. */
uint32_t look_bytes_at(struct segment *segment, uint64_t position, uint32_t least, bool *cut);
struct look *look_ref(struct look *look);
void look_unref(struct look *look);
void look_drop(struct look *look); /* Who comes next reads the file again. */

/* Of the frames in a look each is checked once, if those who take them go in order: in each extent
 * look_enter(), look_check() of the frames that leave, look_leave() behind its last frame. */
void look_enter(struct look *look, const uint8_t *extent);
NODISCARD enum err look_check(struct look *look, const struct frame_header *frame,
                              const uint8_t *header);
void look_leave(struct look *look, const uint8_t *extent, uint32_t frames_end, uint32_t size);

/* ahead.c */
/* The stream that a fetch from `offset` goes on with, or a new one. */
struct stream *stream_find(struct partition *partition, uint64_t offset);
/* The partition goes. */
void stream_forget(struct looks *looks, const struct partition *partition);
void stream_step(struct stream *stream); /* It came to the look that follows. */
/* Reads what comes behind `position`, as far ahead as this stream may. */
void stream_ahead(struct stream *stream, struct segment *segment, uint64_t position);
