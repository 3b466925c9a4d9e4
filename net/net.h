/* The door of one core: listens, accepts, speaks the protocols, routes wishes to the owner cores.
 */
#pragma once

#include "core/config.h"
#include "core/reactor.h"
#include "meta/agent.h"
#include "net/group/group.h"

enum { NET_LISTEN_MAX = 8, NET_MESSAGE_BYTES = 512 };

/* "any://0.0.0.0:9092": what a listener takes; any = whatever the first bytes say (door.h). */
enum net_protocol {
    NET_ANY,
    NET_KAFKA,
    NET_RESP,
    NET_WALRUS,
    NET_HTTP,
    NET_PROTOCOL_COUNT,
};

/* "any", "kafka", ...: as in `listen`. */
const char *net_protocol_name(enum net_protocol protocol);

struct net_listen {
    enum net_protocol protocol;
    struct io_address address;
    bool six_only; /* [::] beside a listener that has its port for IPv4. */
};

/* Whom HTTP serves; all zero: who names an address of ours, administration from this machine. */
struct net_http {
    const char *host_name; /* The machine's; NULL or "": not known. */
    const char *hosts;     /* Other names of this server, separated by commas, or "*". */
    bool admin_any;        /* Topics are made and deleted from anywhere. */
};

struct net_options {
    struct agent *agent;
    uint32_t core_index, core_count; /* Data cores; their reactors are peers 0..count-1. */
    uint32_t node_id;
    uint32_t listen_count;
    struct net_listen listen[NET_LISTEN_MAX];
    const char *advertise; /* "host:port" or NULL: the accepted socket's local address. */
    bool topic_auto_create;
    uint32_t partitions_default;
    bool resp_allow_delete, resp_allow_flush; /* DEL; FLUSHALL: delete topics. */
    const char *data_dir;             /* As clients are told it; NULL: they are told none. */
    const struct config *settings;    /* The node's, for those who ask; NULL: they are not told. */
    uint32_t connections_max;         /* Of this core. */
    uint32_t address_connections_max; /* Of one address among them; 0: as many as there are. */
    uint64_t idle_timeout_ms;  /* Closes silent connections that are owed nothing; 0: never. */
    uint64_t stall_timeout_ms; /* Closes a peer that takes no reply bytes, or sends no more of a
                                  request that it has begun, for so long; 0: never. */
    uint64_t drain_timeout_ms; /* A drain cuts off what is not over then; 0: at once. */
    struct group_options groups;
    struct net_http http;
    struct net_shared *shared; /* One per process: connection counts for the fair hand-over. */
};

struct net;
struct net_shared;

NODISCARD struct net_shared *net_shared_create(uint32_t core_count);
void net_shared_destroy(struct net_shared *shared);

NODISCARD enum err net_open(struct net **net, struct reactor *reactor,
                            const struct net_options *options);

struct net_start {
    struct completion done; /* OK, or an err that `message` explains (which address, what to do). */
    char message[NET_MESSAGE_BYTES];
};

/* Opens the listeners of this core. With port 0 core 0 chooses; the others are given its port. */
void net_start(struct net *net, struct net_start *start);
const struct net_listen *net_listening(const struct net *net, uint32_t index);

/* Parses "kafka://host:port,any://..." into `listen`; ERR_INVALID with `message`, also if one
 * address is part of another. */
NODISCARD enum err net_parse_listen(const char *text, struct net_listen *listen, uint32_t *count,
                                    char *message);

/* Takes no new connections, answers what was begun, refuses with a word to try again what still
 * comes, and closes each connection when nothing of it is in flight; fires when all are gone, cut
 * off at the latest after drain_timeout_ms. Once every core has drained, none needs another: before
 * that, none stops. */
void net_drain(struct net *net, struct completion *done);

/* The drain is over now: what is not answered will not be. */
void net_cut(struct net *net);

/* What the cores of a drain have left, from any thread. */
struct net_drain_left {
    uint32_t connections, requests;
    uint32_t cut; /* Connections that were cut off so far. */
};

struct net_drain_left net_drain_look(const struct net_shared *shared);

/* Drains, if nobody did, and ends what is not a connection's; then fires. */
void net_stop(struct net *net, struct completion *done);
void net_close(struct net *net);
uint32_t net_connection_count(const struct net *net);
