/* The door's life: open, start, stop.
 *
 *     net_open -> net_start (listeners) -> ... -> net_stop -> connections end, at most 5 s
 *                                                    -> listeners and connections gone -> fires
 */
#include "net/server.h"

#include "core/assert.h"
#include "net/door.h"
#include "net/group/group.h"
#include "net/http/http.h"
#include "net/kafka/kafka.h"
#include "net/walrus/walrus.h"

#include <stddef.h>
#include <stdlib.h>

#define NET_GRACE_NS (5 * NS_PER_S)

enum {
    NET_CALLS_PER_CONN = 16, /* On average; one connection may have CONN_CALLS_MAX. */
    NET_REFUSALS_MAX = 16,   /* Told at once; a descriptor each, for at most a second. */
};

static void net_grace_over(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    struct net *net = CONTAINER_OF(timer, struct net, grace);
    struct list *entry;
    list_for_each (entry, &net->conns) {
        conn_kill(CONTAINER_OF(entry, struct conn, node));
    }
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

void net_check_stopped(struct net *net)
{
    if (net->stopped == NULL || net->conn_count > 0 || !list_empty(&net->refusals) ||
        !listen_stopped(net) || kafka_core_busy(net->kafka) || http_core_busy(net->http) ||
        walrus_core_busy(net->walrus) || group_core_busy(net->groups)) {
        return;
    }
    struct completion *done = net->stopped;
    net->stopped = NULL;
    timer_stop(net->reactor, &net->grace);
    completion_fire(net->reactor, done, OK);
}

void net_stop(struct net *net, struct completion *done)
{
    ASSERT(!net->stopping && net->start == NULL);
    net->stopping = true;
    net->stopped = done;
    timer_start(net->reactor, &net->grace, NET_GRACE_NS);
    listen_stop(net);
    refuse_stop(net);
    group_core_stop(net->groups);
    struct list *entry;
    list_for_each (entry, &net->conns) {
        conn_end(CONTAINER_OF(entry, struct conn, node));
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
