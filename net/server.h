/* The inside of a struct net: what conn.c, listen.c, route.c and the protocols share. */
#pragma once

#include "core/pool.h"
#include "net/conn.h"
#include "net/net.h"
#include "net/resp/stats.h"

#include <stdatomic.h>

struct group_core;
struct http_core;
struct kafka_core;
struct walrus_core;

/* One per process; written by all cores. */
struct net_shared_core {
    _Alignas(CACHE_LINE_BYTES) atomic_uint connections; /* Handed over and not closed. */
    atomic_uint requests;                               /* Not answered yet, while it drains. */
    atomic_bool open;                                   /* Takes connections. */
};

struct net_shared {
    uint32_t core_count;
    /* Of the drain: cores that have begun it, what they had then, connections that were cut. */
    atomic_uint drains, drain_connections, drain_requests, drain_cut;
    struct net_shared_core *cores;
};

struct net_listener;

/* An accepted descriptor on its way to its core, and home again. */
struct net_handover {
    struct mail mail;
    struct completion home; /* Result: OK, or the err with which it was refused. */
    struct net_listener *listener;
    struct net *net;
    struct io close;
    enum net_protocol protocol; /* The listener's. */
    int fd;
    bool out;
};

/* A crowd that comes at once is accepted as fast as it is taken from the kernel, not one for each
 * round through another core. */
enum { LISTEN_HANDOVERS = 64 };

struct net_listener {
    struct net *net;
    struct net_listen listen;
    struct io io;
    struct io close;
    struct net_handover handovers[LISTEN_HANDOVERS];
    uint32_t handing;   /* Of them are out. */
    struct timer pause; /* After an accept that failed: out of descriptors. */
    int fd;
    bool open, accepting, closing;
};

enum { RESP_NODE_ENTRIES = 100, NET_ADDRESS_BUCKETS = 256 };

/* Of RESP's connections on this core. */
struct net_resp {
    uint64_t clients; /* Ever: ids come from it. */
    struct resp_stats stats;
    uint32_t blocked;        /* XREADs that wait, */
    uint32_t blocking_keys;  /* and for how many keys: each counts its own, */
    uint32_t blocking_nokey; /* and of them those that want to hear when it is deleted. */
    /* What those remember that wait, or did before they read on; by class. */
    uint64_t blocked_bytes[MEMORY_CLASS_COUNT];
    uint32_t node_entries; /* stream-node-max-entries: what `~` rounds to. */
    uint64_t queued_bytes; /* Of transactions, between MULTI and EXEC. */
    uint64_t exec_bytes;   /* Of the replies of EXECs under way, */
    uint32_t execs;        /* and how many there are. */
};

/* A connection too many, while it is told so (refuse.c). */
struct net_refusal {
    struct list node; /* Of net->refusals. */
    struct net *net;
    struct io io;
    struct iovec vector;
    struct timer timer;
    int fd;
};

struct net {
    struct reactor *reactor;
    struct net_options options;
    struct net_listener listeners[NET_LISTEN_MAX];
    uint32_t listening; /* How many stand. */
    struct net_start *start;
    enum err start_err;
    bool stopping; /* It drains, or has. */
    bool drained;
    struct completion *drain, *stopped;
    struct timer grace;
    struct list conns, refusals;
    struct list
        addresses[NET_ADDRESS_BUCKETS]; /* Connections by their peers, if those are counted. */
    uint32_t conn_count;
    struct pool pool_conn, pool_call, pool_send;
    struct pool pool_refusal;
    struct pool pool_session; /* Of the largest that a protocol wants; none wants one: closed. */
    struct kafka_core *kafka;
    struct http_core *http;
    struct net_resp resp;
    struct walrus_core *walrus;
    struct group_core *groups;
};

/* Accepts on all listeners; see listen.c. */
void listen_start(struct net *net);
void listen_stop(struct net *net);
bool listen_stopped(const struct net *net);

/* Tells a connection too many, and closes it; false: it is the caller's, to be just closed. */
bool refuse_begin(struct net *net, int fd, enum net_protocol protocol);
void refuse_stop(struct net *net);

/* A connection or listener is gone: a stopping net may be done. */
void net_check_stopped(struct net *net);

/* A call came or went: of a net that drains others are told how many there are. */
static inline void net_count_request(struct net *net)
{
    if (net->stopping) {
        atomic_store_explicit(&net->options.shared->cores[net->options.core_index].requests,
                              net->pool_call.used, memory_order_relaxed);
    }
}
