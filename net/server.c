/* The door's life: open, start, stop.
 *
 *     net_open -> net_start (listeners) -> ... -> net_drain -> listeners close, connections end
 *              -> all are gone, or the grace is over and they were cut -> fires
 *              -> net_stop -> groups and what else is no connection's -> fires
 */
#include "net/server.h"

#include "core/assert.h"
#include "core/log.h"
#include "net/door.h"
#include "net/group/group.h"
#include "net/http/http.h"
#include "net/kafka/kafka.h"
#include "net/walrus/walrus.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

enum {
    NET_CALLS_PER_CONN = 16, /* On average; one connection may have CONN_CALLS_MAX. */
    NET_REFUSALS_MAX = 16,   /* Told at once; a descriptor each, for at most a second. */
};

void net_cut(struct net *net)
{
    ASSERT(net->stopping);
    struct list *entry;
    list_for_each (entry, &net->conns) {
        struct conn *conn = CONTAINER_OF(entry, struct conn, node);
        if (conn->state == CONN_OPEN || conn->state == CONN_ENDING) {
            atomic_fetch_add_explicit(&net->options.shared->drain_cut, 1, memory_order_relaxed);
            conn_kill(conn);
        }
    }
}

static void net_grace_over(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    net_cut(CONTAINER_OF(timer, struct net, grace));
}

enum err net_open(struct net **net, struct reactor *reactor, const struct net_options *options)
{
    ASSERT(net != NULL && options->shared != NULL);
    ASSERT(options->core_index < options->core_count);
    ASSERT(options->listen_count <= NET_LISTEN_MAX);
    ASSERT(options->connections_max > 0);
    struct net *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return ERR_NO_MEMORY;
    }
    made->reactor = reactor;
    made->options = *options;
    made->resp.node_entries = RESP_NODE_ENTRIES;
    list_init(&made->conns);
    list_init(&made->refusals);
    for (uint32_t i = 0; i < NET_ADDRESS_BUCKETS; i++) {
        list_init(&made->addresses[i]);
    }
    timer_init(&made->grace, net_grace_over);
    uint32_t connections = options->connections_max;
    uint32_t calls = (uint32_t)min_u64((uint64_t)connections * NET_CALLS_PER_CONN, 1 << 20);
    enum err err = kafka_core_open(&made->kafka, made);
    if (err == OK) {
        err = http_core_open(&made->http, made);
    }
    if (err == OK) {
        err = walrus_core_open(&made->walrus, made);
    }
    if (err == OK) {
        err = group_core_open(&made->groups, made, &options->groups);
    }
    if (err == OK) {
        err = pool_open(&made->pool_conn, reactor, sizeof(struct conn), connections);
    }
    if (err == OK) {
        err = pool_open(&made->pool_call, reactor, sizeof(struct call),
                        max_u32(calls, CONN_CALLS_MAX));
    }
    if (err == OK) {
        err = pool_open(&made->pool_send, reactor, sizeof(struct conn_send), connections);
        pool_zero_only(&made->pool_send, offsetof(struct conn_send, vectors));
    }
    if (err == OK) {
        err = pool_open(&made->pool_refusal, reactor, sizeof(struct net_refusal), NET_REFUSALS_MAX);
    }
    uint32_t session = door_session_bytes();
    if (err == OK && session > 0) {
        err = pool_open(&made->pool_session, reactor, session, connections);
    }
    if (err != OK) {
        net_close(made);
        return err;
    }
    reactor->owner[REACTOR_NET] = made;
    *net = made;
    return OK;
}

void net_start(struct net *net, struct net_start *start)
{
    ASSERT(net->start == NULL && !net->stopping);
    start->message[0] = 0;
    net->start = start;
    listen_start(net);
}

const struct net_listen *net_listening(const struct net *net, uint32_t index)
{
    ASSERT(index < net->options.listen_count);
    return index < net->listening ? &net->listeners[index].listen : &net->options.listen[index];
}

/* Once there are no connections, nobody has a wish for the groups of this core. */
static void net_end_drain(struct net *net)
{
    net->drained = true;
    timer_stop(net->reactor, &net->grace);
    if (net->drain != NULL) {
        struct completion *done = net->drain;
        net->drain = NULL;
        completion_fire(net->reactor, done, OK);
    }
    if (net->stopped != NULL) {
        group_core_stop(net->groups);
    }
}

void net_check_stopped(struct net *net)
{
    if (!net->stopping) {
        return;
    }
    bool gone = net->conn_count == 0 && list_empty(&net->refusals) && listen_stopped(net);
    if (gone && !net->drained) {
        net_end_drain(net);
    }
    if (net->stopped == NULL || !net->drained || kafka_core_busy(net->kafka) ||
        http_core_busy(net->http) || walrus_core_busy(net->walrus) ||
        group_core_busy(net->groups)) {
        return;
    }
    struct completion *done = net->stopped;
    net->stopped = NULL;
    completion_fire(net->reactor, done, OK);
}

/* The last core to begin says what there is. */
static void net_tell_drain(const struct net *net)
{
    struct net_shared *shared = net->options.shared;
    atomic_fetch_add_explicit(&shared->drain_connections, net->conn_count, memory_order_relaxed);
    atomic_fetch_add_explicit(&shared->drain_requests, net->pool_call.used, memory_order_relaxed);
    /* Its own counts are before its number, and so are those of whoever was earlier. */
    bool last = atomic_fetch_add_explicit(&shared->drains, 1, memory_order_acq_rel) + 1 ==
                shared->core_count;
    bool served =
        atomic_load_explicit(&shared->cores[net->options.core_index].open, memory_order_relaxed);
    if (last && served) {
        LOG_INFO("draining: %u connections, %u requests timeout_ms=%" PRIu64,
                 atomic_load_explicit(&shared->drain_connections, memory_order_relaxed),
                 atomic_load_explicit(&shared->drain_requests, memory_order_relaxed),
                 net->options.drain_timeout_ms);
    }
}

static void net_begin_drain(struct net *net)
{
    ASSERT(!net->stopping && net->start == NULL);
    net->stopping = true;
    net_tell_drain(net);
    net_count_request(net);
    timer_start(net->reactor, &net->grace, net->options.drain_timeout_ms * NS_PER_MS);
    listen_stop(net);
    refuse_stop(net);
    struct list *entry;
    list_for_each (entry, &net->conns) {
        conn_drain(CONTAINER_OF(entry, struct conn, node));
    }
}

void net_drain(struct net *net, struct completion *done)
{
    net->drain = done;
    net_begin_drain(net);
    net_check_stopped(net);
}

struct net_drain_left net_drain_look(const struct net_shared *shared)
{
    struct net_drain_left left = {
        .cut = atomic_load_explicit(&shared->drain_cut, memory_order_relaxed)};
    for (uint32_t i = 0; i < shared->core_count; i++) {
        const struct net_shared_core *core = &shared->cores[i];
        left.connections += atomic_load_explicit(&core->connections, memory_order_relaxed);
        left.requests += atomic_load_explicit(&core->requests, memory_order_relaxed);
    }
    return left;
}

void net_stop(struct net *net, struct completion *done)
{
    ASSERT(net->stopped == NULL && net->drain == NULL);
    net->stopped = done;
    if (!net->stopping) {
        net_begin_drain(net);
    }
    if (net->drained) {
        group_core_stop(net->groups);
    }
    net_check_stopped(net);
}

void net_close(struct net *net)
{
    ASSERT(net->conn_count == 0);
    if (net->reactor->owner[REACTOR_NET] == net) {
        net->reactor->owner[REACTOR_NET] = NULL;
    }
    if (net->kafka != NULL) {
        kafka_core_close(net->kafka);
    }
    if (net->groups != NULL) {
        group_core_close(net->groups);
    }
    if (net->http != NULL) {
        http_core_close(net->http);
    }
    if (net->walrus != NULL) {
        walrus_core_close(net->walrus);
    }
    struct pool *pools[] = {&net->pool_conn, &net->pool_call, &net->pool_send, &net->pool_refusal,
                            &net->pool_session};
    for (uint32_t i = 0; i < ARRAY_COUNT(pools); i++) {
        if (pools[i]->base != NULL) {
            pool_close(pools[i]);
        }
    }
    free(net);
}

uint32_t net_connection_count(const struct net *net)
{
    return net->conn_count;
}
