/* One connection: received bytes become calls, finished calls become one send per turn. */
#pragma once

#include "core/io.h"
#include "core/list.h"
#include "core/timer.h"
#include "net/net.h"
#include "net/protocol.h"

enum {
    CONN_HEAD_BYTES = 8,             /* Of a frame: as many are kept without a block of memory. */
    CONN_CALLS_MAX = 64,             /* In flight; then reading stops. */
    CONN_CALLS_LOW = 4,              /* The same while memory for calls is low. */
    CONN_QUEUED_BYTES_MAX = 4 << 20, /* Replies that wait to be sent; then reading stops. */
    CONN_SEND_BYTES_MAX = 1 << 20,   /* Of one send: its end is what the peer's stall is told by. */
    CONN_SEND_VECTORS_MAX = 256,
    CONN_BURST_BYTES = 128 << 10, /* Received at once from a peer that has more at hand. */
    CONN_UNSENT_MIN = 16 << 10,   /* Of a reply: what the kernel holds before it is on the wire. */
    CONN_UNSENT_MAX = 128 << 10,
    CONN_RECEIVED_LOW = 64 << 10, /* What the kernel receives ahead where connections are many. */
    CONN_KERNEL_AMPLE = 1 << 20,  /* So much for each: it may receive ahead what it likes. */
};

enum conn_state {
    CONN_OPEN,    /* Reads and answers. */
    CONN_ENDING,  /* Reads no more; answers what was begun, then dies. */
    CONN_DEAD,    /* The socket is shut down; what is lent comes home. */
    CONN_CLOSING, /* The descriptor is being closed. */
};

/* A send in flight; from a pool, so that a silent connection does not carry it. */
struct conn_send {
    struct io io;
    struct conn *conn;
    uint64_t bytes;
    uint32_t count;
    struct iovec vectors[CONN_SEND_VECTORS_MAX];
};

struct conn {
    struct list node;   /* Of net->conns. */
    struct list beside; /* Of one of net->addresses, or of none. */
    struct net *net;
    const struct protocol *protocol; /* NULL: the first bytes have not told yet. */
    void *session;                   /* The protocol's, of session_bytes. */
    int fd;
    enum conn_state state;
    struct io recv; /* At the end: the close as well. */
    bool recv_pending, pumping;
    bool waiting;       /* For memory or a call: `waiter` or the first unstarted call's is out. */
    bool flush_pending; /* `flush` is queued for the end of the turn. */
    bool dying;         /* `die` is queued. */
    bool held;          /* `starting` wants to be alone: until it is the first. */
    bool burst;         /* More is at hand than the last receive took. */
    bool lent_held;     /* Memory ran out: the lent buffer is kept until it can be copied. */
    bool quiet;         /* It drains and nothing was in flight: what has come is the last. */
    uint8_t head[CONN_HEAD_BYTES];
    uint32_t head_size;        /* Bytes of a frame too short to tell its length. */
    struct protocol_scan scan; /* Of the frame that is arriving, or of the first bytes. */
    struct block *input;
    uint32_t input_size, input_filled, input_position;
    struct call *first, *tail; /* In order of arrival; the first is sent next. */
    struct call *starting;     /* The newest one, while it waits to be started. */
    uint32_t call_count;       /* Alive, those being given back included. */
    uint64_t queued_bytes;
    struct conn_send *send;
    struct timer timer;
    uint64_t active_ns, send_begun_ns;
    struct completion flush, pool_wait, die;
    struct memory_waiter waiter; /* Its size is 0 unless it is out. */
    struct io_address local, peer;
};

/* Takes over the connected descriptor, of a listener for `protocol`. ERR_LIMIT: no room; ERR_BUSY:
 * its address has as many as it may; ERR_CLOSED: it drains. Then the descriptor stays the
 * caller's. */
NODISCARD enum err conn_open(struct net *net, int fd, enum net_protocol protocol);

/* The net drains: what was begun is answered, what waits is answered at once, what still comes is
 * refused (call->late); it closes when nothing is in flight any more. */
void conn_drain(struct conn *conn);

/* Nothing is behind this call, and it drains: whoever can say that the connection closes does. */
bool conn_closes_behind(const struct call *call);

/* Reads no more, answers what was begun (parked calls at once), then closes. */
void conn_end(struct conn *conn);

/* Closes now; calls come home first. */
void conn_kill(struct conn *conn);
