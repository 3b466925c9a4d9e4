/* Reading entries of streams into a reply: what XRANGE, XREAD and XINFO share.
 *
 *     item: LOOK where it begins -> (LOOK where it ends) -> FETCH <-> RELEASE ... -> the next item
 *           the newest of a stream with deleted entries: LOOK_LIVE ... how far back they begin
 *
 * The entries of what one fetch brought are measured, then written into a chunk of memory that has
 * room for them; chunks follow each other in the reply, in reverse for XREVRANGE. Whoever waits for
 * memory holds none: where the first chunk is there and the next is not, an answer that must be
 * whole is begun anew, with a first chunk that is twice as large as all were. */
#pragma once

#include "net/resp/resp.h"

enum {
    READ_CHUNKS_MAX = 64,
    READ_CHUNK_BYTES_MIN = 4 << 10,
    READ_CHUNK_BYTES_MAX = 256 << 10, /* Unless what one fetch brought takes more. */
    READ_FETCH_BYTES = 256 << 10,
    READ_PRESSED_MS = 5, /* Doubled from try to try, up to */
    READ_PRESSED_MS_MAX = 320,
};

/* Where more is sent behind an XREAD that waits, the connection may be unable to see its peer go:
 * an answer does, so nobody waits longer then. */
#define READ_PARK_NS_MAX (60 * NS_PER_S)

/* Entries of one item, ready to be sent: within a block, from `first`. */
struct read_chunk {
    struct block *block;
    uint32_t size; /* As it was asked for. */
    uint32_t first, end;
    uint32_t item;
};

/* IDs of entries: of those that were read; or of those that are wanted, and no others. */
struct read_ids {
    struct stream_id *at;
    uint8_t *found; /* Wanted: whether each is there. */
    uint32_t count;
    uint32_t next;    /* Wanted: so many were looked for, */
    uint32_t run_end; /* and from there to here they rise. */
    uint64_t behind;  /* The offset behind the last one that was read. */
    bool wanted;
    bool nulls;  /* Those that are gone are written, without fields. */
    bool silent; /* Nothing is written. */
    bool none;   /* Nothing is at or above them. */
};

/* One stream, and what is wanted of it. */
struct read_item {
    struct request request;
    struct route_cancel cancel;
    struct resp_op *op;
    struct bytes key;
    struct partition_id partition;
    struct stream_id from, to; /* Both are wanted. */
    uint64_t count;            /* So many at most, */
    bool newest;               /* the last ones of them. */
    bool ends;                 /* `to` is not the greatest. */
    bool known;                /* The key exists. */
    bool placed;               /* `offset` is where it goes on. */
    bool at_end;               /* XREAD $: what comes from now on. */
    bool last_only;            /* XREAD +: the newest one. */
    bool away;
    uint64_t offset, offset_end;
    uint64_t offset_least; /* `offset` is searched for down to here. */
    uint64_t log_start, high_watermark;
    struct stream_id last; /* Of the stream. */
    struct stream_facts facts;
    struct read_ids *ids; /* Or NULL. */
    uint64_t entries;     /* In chunks. */
};

enum read_state {
    READ_IDLE,
    READ_LOOK,
    READ_LOOK_END,
    READ_LOOK_LIVE,
    READ_FETCH,
    READ_WRITE, /* Waits for memory. */
    READ_ANEW,  /* Gave all of it back, and waits for more at once. */
    READ_RELEASE,
    READ_PARK,
};

struct read {
    struct resp_op *op;
    void (*done)(struct resp_op *op); /* All items were read, or read->failed. */
    enum read_state state;
    struct read_item *items;
    uint32_t item_count, item;
    bool reverse;
    bool partial;  /* What fits into the reply is enough. */
    bool anew;     /* One item, which may be read anew: what fits is not enough. */
    bool restarts; /* It does so when what it was lent is home. */
    bool full;
    bool canceled; /* It waits for nothing any more; what is there is read all the same. */
    uint32_t pressed_ms;
    enum err err;
    struct read_chunk chunks[READ_CHUNKS_MAX];
    uint32_t chunk_count;
    struct stream_id first_id; /* Of the first entry that was written. */
    struct fetch_piece pieces[RESP_PIECES];
    struct iovec *vectors; /* Room for all chunks, and two more for each item. */
    /* XREAD BLOCK. */
    bool blocks, parked, canceling;
    uint64_t deadline_ns; /* 0: none. */
    uint64_t waits_bytes; /* In net_resp.blocked_bytes, from the first wait to the answer. */
    uint32_t awaited;
    struct timer timer;
    struct completion pass;
};

/* Reads the items from the first on, then calls done(). */
void read_start(struct read *read);

/* Reads one of them, and calls done(). */
void read_start_one(struct read *read, uint32_t item);

/* Waits until one of the items may have more, the deadline is over, or the call is canceled; then
 * done() as after read_start(), without having read. */
void read_park(struct read *read);

/* Whether one more may: what those who wait remember leaves half of its class of memory to all
 * others, and one of them a part of that half to the rest. False: it was answered so. */
NODISCARD bool read_may_park(struct read *read);
void read_unpark(struct read *read); /* The command is over. */

void read_wake(struct read *read); /* Whoever is parked goes on. */

/* For op->cancel and op->sent. */
void read_cancel(struct resp_op *op);
void read_sent(struct resp_op *op);

bool read_is_void(const struct read *read); /* Nobody is there to get the reply. */

/* Puts the chunks of an item behind the vectors that are there. */
void read_add_chunks(struct read *read, uint32_t item);

/* How many entries the stream had when the item was looked for. */
uint64_t read_length(const struct read_item *item);

/* Answers read->err. */
void read_fail(struct read *read);
