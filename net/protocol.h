/* How a protocol plugs in. It is a pure translator: it cuts the input into frames, turns a frame
 * into wishes about partitions and topics, and their answers into bytes. It never sees a socket;
 * conn.c alone owns the order of replies, pipelining and back-pressure.
 *
 *     frame() -> call -> start() ... call_reply() -> [sent in the order of arrival] -> sent()
 *                          |                                                            |
 *                          +-- ERR_NO_MEMORY, ERR_BUSY: again later    call_done() <----+
 *
 * A reply without an end comes in parts: call->more, and part() when one has left.
 */
#pragma once

#include "core/bytes.h"
#include "core/err.h"
#include "core/memory.h"

#include <sys/uio.h>

struct call;
struct conn;
struct net;

/* What frame() has found out about a frame that is still arriving: zero at its first byte, kept
 * while it grows, so that no byte is looked at twice, and handed on as call->scan. */
struct protocol_scan {
    uint32_t position; /* So many bytes were looked at. */
    uint32_t wanted;   /* The frame has at least as many: they get room at once. 0: not known. */
    uint64_t words[3]; /* The protocol's own. */
};

struct protocol {
    const char *name;

    /* What a connection too many is told before it is closed; NULL: its clients expect no word. */
    const char *refusal;
    uint32_t refusal_bytes;

    /* What each connection keeps, at conn->session; zero when open() (or NULL) is told that it has
     * begun. close() (or NULL): no call is left, the session goes. */
    uint32_t session_bytes;
    void (*open)(struct conn *conn);
    void (*close)(struct conn *conn);

    /* More of what has begun will come, though no frame of it has: a connection that drains waits
     * for it. NULL: never. */
    bool (*awaits)(const struct conn *conn);

    /* How long the first frame of `input` is in all, of which not every byte needs to be there;
     * 0: more input is needed to tell; < 0: this is not the protocol (or too large), close without
     * a word. To answer what is malformed, it is called a frame, and start() says so.
     *
     * While it says 0 the input grows, and `scan` is as the last call left it; but it may be called
     * again with what it has seen. It bounds by itself how long that goes on. */
    int64_t (*frame)(const struct conn *conn, struct bytes input, struct protocol_scan *scan);

    /* Begins `call`, whose frame is whole. ERR_NO_MEMORY: nothing was begun, start() is called
     * again when there is memory of call->memory_wanted bytes. ERR_BUSY: the call wants to be
     * alone, start() is called again when every reply before it has left. Any other err: the frame
     * is malformed, the connection closes behind the replies before it.
     *
     * A `late` one came while the server drains: it changes nothing and waits for nothing, and is
     * answered what makes its client try again. */
    enum err (*start)(struct call *call);

    /* Nobody waits for the answer any more, or not for long: what is parked comes back now. The
     * call still ends with call_reply(). May be called more than once, and before start(). */
    void (*cancel)(struct call *call);

    /* The part of a reply that goes on (call->more) has left: the next one is made, for another
     * call_reply(). NULL: replies come in one. */
    void (*part)(struct call *call);

    /* The reply has left, or never will: what was lent to make it is given back, then
     * call_done(). */
    void (*sent)(struct call *call);
};

/* One protocol request and its reply, in the order of its connection. */
struct call {
    struct call *next;
    struct conn *conn;
    struct net *net;
    struct bytes frame;        /* Within frame_block; whole. */
    struct protocol_scan scan; /* What frame() found out about it. */
    struct block *frame_block; /* A reference. */
    struct block *arena;       /* What the protocol remembers; see call_arena(). */
    struct block *reply_block; /* What it encodes. */
    uint32_t arena_size, arena_used;
    uint32_t memory_wanted; /* By whoever answered ERR_NO_MEMORY. */
    void *state;            /* The protocol's, in the arena. */
    struct iovec *vectors;  /* The reply; empty = none. */
    struct iovec vector_one;
    uint32_t vector_count;
    uint32_t vector_next; /* Sent or being sent up to here. */
    uint64_t reply_bytes;
    bool started, ready, canceled;
    bool late; /* Came while the server drains. */
    bool last; /* Close behind this one. */
    bool told; /* It tells of the server: its reply goes ahead of large ones while few do. */
    bool more; /* The reply is a part: part() is asked for the next one. */
    struct memory_waiter waiter;
};

enum { CALL_SMALL_BYTES = 16384 };

/* Where a block of `size` for a call comes from: the small ones have a class of their own, so that
 * they never wait behind the replies of peers who do not read. Whoever waits by
 * call_await_memory() takes blocks of this class. */
static inline enum memory_class call_memory_class(uint64_t size)
{
    return size <= CALL_SMALL_BYTES ? MEMORY_CALL : MEMORY_SEND;
}

/* Gives the call its arena of at least `size` bytes. ERR_NO_MEMORY: pass it on from start();
 * ERR_TOO_LARGE: so large a block does not exist. */
NODISCARD enum err call_arena(struct call *call, uint64_t size);

/* Zeroed and aligned to 16; there must be room. */
void *call_take(struct call *call, uint64_t size);
void *call_take_part(struct call *call, uint64_t size, uint64_t zeroed); /* Only its beginning. */

/* Room for the reply: in the arena where it still fits, or a block of its own. As call_arena(). */
NODISCARD enum err call_reply_room(struct call *call, uint64_t size, uint8_t **data);

/* `fn` fires (on call->waiter.done) when call->memory_wanted bytes can be tried again. */
void call_await_memory(struct call *call, completion_fn *fn);

/* The reply is call->vectors (none: nothing is sent). Once per started call, or per part of it. */
void call_reply(struct call *call);
void call_reply_bytes(struct call *call, uint8_t *data, uint32_t size);

/* From sent(): the call is over. */
void call_done(struct call *call);

extern const struct protocol protocol_http, protocol_kafka, protocol_resp, protocol_walrus;
