/* See the header.
 *
 *     socket   LISTENING: backlog of sockets, one ACCEPT that waits
 *              CONNECTED: inbox of bytes that arrived, one RECV and one SEND that wait
 *              each waiting operation has a time before which it is not looked at */
#include "tests/sim/network.h"

#include "core/assert.h"

#include <stdlib.h>
#include <string.h>

enum socket_state {
    SOCKET_FREE,
    SOCKET_LISTENING,
    SOCKET_CONNECTED,
    SOCKET_RESET, /* The peer died. */
};

struct waiting {
    struct io *io;
    uint64_t due_ns;
};

struct socket {
    enum socket_state state;
    uint32_t node;
    struct io_address local, remote;
    int32_t peer; /* -1: gone. */
    bool ended;   /* The peer sends no more. */
    bool shut;    /* We do neither. */
    uint8_t *inbox;
    uint32_t inbox_size;
    uint64_t sent; /* Of the SEND that waits. */
    int32_t backlog[NETWORK_BACKLOG];
    uint32_t backlog_count;
    struct waiting reader, writer; /* ACCEPT or RECV; SEND. */
};

/* A CONNECT has no socket yet. */
struct connecting {
    struct waiting waiting;
    uint32_t node;
};

struct network {
    struct prng *prng;
    struct network_hooks hooks;
    uint64_t delay_max_ns;
    struct socket *sockets;
    uint32_t socket_count;
    struct connecting *connecting;
    uint32_t connecting_count, connecting_capacity;
    uint16_t port_next;
};

struct network *network_create(struct prng *prng, const struct network_hooks *hooks)
{
    struct network *network = calloc(1, sizeof(*network));
    ASSERT(network != NULL);
    network->prng = prng;
    network->hooks = *hooks;
    network->delay_max_ns = NS_PER_MS;
    network->port_next = 40000;
    return network;
}

static void socket_free(struct network *network, int32_t index)
{
    struct socket *socket = &network->sockets[index];
    if (socket->peer >= 0) {
        network->sockets[socket->peer].peer = -1;
    }
    free(socket->inbox);
    *socket = (struct socket){.peer = -1};
}

void network_destroy(struct network *network)
{
    for (uint32_t i = 0; i < network->socket_count; i++) {
        free(network->sockets[i].inbox);
    }
    free(network->sockets);
    free(network->connecting);
    free(network);
}

void network_set_delay(struct network *network, uint64_t delay_max_ns)
{
    network->delay_max_ns = max_u64(delay_max_ns, 1);
}

static uint64_t network_due(struct network *network, uint64_t now_ns)
{
    return now_ns + 1 + prng_below(network->prng, network->delay_max_ns);
}

static int32_t socket_new(struct network *network, uint32_t node, enum socket_state state)
{
    uint32_t index = 0;
    while (index < network->socket_count && network->sockets[index].state != SOCKET_FREE) {
        index++;
    }
    if (index == network->socket_count) {
        uint32_t count = max_u32(16, network->socket_count * 2);
        network->sockets = realloc(network->sockets, count * sizeof(*network->sockets));
        ASSERT(network->sockets != NULL);
        memset(network->sockets + index, 0, (count - index) * sizeof(*network->sockets));
        network->socket_count = count;
    }
    network->sockets[index] = (struct socket){.state = state, .node = node, .peer = -1};
    return (int32_t)index;
}

static struct socket *socket_of(const struct network *network, int32_t index)
{
    ASSERT(index >= 0 && (uint32_t)index < network->socket_count);
    struct socket *socket = &network->sockets[index];
    ASSERT(socket->state != SOCKET_FREE);
    return socket;
}

static struct io_address node_address(uint32_t node, uint16_t port)
{
    return (struct io_address){.bytes = {10, 0, 0, (uint8_t)(node + 1)}, .port = port, .family = 4};
}

static bool address_is_any(const struct io_address *address)
{
    static const uint8_t zero[16];
    return memcmp(address->bytes, zero, address->family == 6 ? 16 : 4) == 0;
}

/* The node that an address reaches from `node`; UINT32_MAX: nobody answers. */
static uint32_t address_node(uint32_t node, const struct io_address *address)
{
    if (address->family != 4) {
        return UINT32_MAX;
    }
    if (address->bytes[0] == 127) {
        return node;
    }
    if (address->bytes[0] != 10 || address->bytes[3] == 0) {
        return UINT32_MAX;
    }
    return address->bytes[3] - 1U;
}

static bool listener_takes(const struct socket *socket, uint32_t node, uint16_t port)
{
    return socket->state == SOCKET_LISTENING && socket->node == node && socket->local.port == port;
}

static int32_t network_listen(struct network *network, uint32_t node, struct io *io)
{
    struct io_address *address = &io->listen.address;
    if (address->port == 0) {
        address->port = network->port_next++;
    }
    if (!address_is_any(address) && address_node(node, address) != node) {
        return ERR_ADDRESS_INVALID;
    }
    for (uint32_t i = 0; i < network->socket_count && !io->listen.shared; i++) {
        if (listener_takes(&network->sockets[i], node, address->port)) {
            return ERR_ADDRESS_IN_USE;
        }
    }
    int32_t index = socket_new(network, node, SOCKET_LISTENING);
    network->sockets[index].local = *address;
    return index;
}

void network_submit(struct network *network, uint32_t node, struct io *io, uint64_t now_ns)
{
    struct waiting waiting = {.io = io, .due_ns = network_due(network, now_ns)};
    if (io->op == IO_LISTEN) {
        network->hooks.done(network->hooks.context, io, network_listen(network, node, io));
        return;
    }
    if (io->op == IO_CONNECT) {
        if (network->connecting_count == network->connecting_capacity) {
            network->connecting_capacity = max_u32(8, network->connecting_capacity * 2);
            network->connecting = realloc(network->connecting, network->connecting_capacity *
                                                                   sizeof(*network->connecting));
            ASSERT(network->connecting != NULL);
        }
        network->connecting[network->connecting_count++] =
            (struct connecting){.waiting = waiting, .node = node};
        return;
    }
    struct socket *socket = socket_of(network, io->fd);
    ASSERT(socket->node == node);
    struct waiting *place = io->op == IO_SEND ? &socket->writer : &socket->reader;
    ASSERT(place->io == NULL); /* One each way at a time. */
    ASSERT((io->op == IO_ACCEPT) == (socket->state == SOCKET_LISTENING));
    *place = waiting;
    if (io->op == IO_SEND) {
        socket->sent = 0;
    }
}

/* One listener of those that share the port, drawn; -1: nobody listens. */
static int32_t network_find_listener(struct network *network, uint32_t node, uint16_t port)
{
    int32_t found = -1;
    uint32_t count = 0;
    for (uint32_t i = 0; i < network->socket_count; i++) {
        if (listener_takes(&network->sockets[i], node, port)) {
            count++;
            found = prng_below(network->prng, count) == 0 ? (int32_t)i : found;
        }
    }
    return found;
}

static int32_t network_connect(struct network *network, uint32_t node, const struct io *io,
                               uint64_t now_ns)
{
    uint32_t target = address_node(node, &io->connect.address);
    int32_t listener = network_find_listener(network, target, io->connect.address.port);
    if (listener < 0 || network->sockets[listener].backlog_count == NETWORK_BACKLOG) {
        return ERR_CONNECTION;
    }
    int32_t here = socket_new(network, node, SOCKET_CONNECTED);
    int32_t there = socket_new(network, target, SOCKET_CONNECTED);
    struct socket *a = &network->sockets[here];
    struct socket *b = &network->sockets[there];
    a->peer = there;
    b->peer = here;
    a->local = node_address(node, network->port_next++);
    b->local = node_address(target, io->connect.address.port);
    if (io->connect.address.bytes[0] == 127) {
        memcpy(a->local.bytes, io->connect.address.bytes, 4);
        memcpy(b->local.bytes, io->connect.address.bytes, 4);
    }
    a->remote = b->local;
    b->remote = a->local;
    struct socket *door = &network->sockets[listener];
    door->backlog[door->backlog_count++] = there;
    door->reader.due_ns = network_due(network, now_ns);
    return here;
}

/* False: it waits on. */
static bool socket_accept(struct socket *socket, int32_t *result)
{
    if (socket->backlog_count == 0) {
        return false;
    }
    *result = socket->backlog[0];
    socket->backlog_count--;
    memmove(socket->backlog, socket->backlog + 1, socket->backlog_count * sizeof(int32_t));
    return true;
}

static bool socket_recv(struct network *network, struct socket *socket, int32_t *result)
{
    struct io *io = socket->reader.io;
    if (socket->state == SOCKET_RESET) {
        *result = ERR_CONNECTION;
        return true;
    }
    if (socket->shut || (socket->inbox_size == 0 && socket->ended)) {
        *result = 0;
        return true;
    }
    if (socket->inbox_size == 0) {
        return false;
    }
    if (io->recv.data == NULL && !network->hooks.lend(network->hooks.context, io)) {
        return false;
    }
    uint32_t size = min_u32(io->recv.size, socket->inbox_size);
    if (prng_chance(network->prng, 30)) {
        size = 1 + (uint32_t)prng_below(network->prng, size);
    }
    memcpy(io->recv.data, socket->inbox, size);
    socket->inbox_size -= size;
    io->recv.more = socket->inbox_size > 0;
    memmove(socket->inbox, socket->inbox + size, socket->inbox_size);
    *result = (int32_t)size;
    return true;
}

/* Moves at most `limit` bytes of the vectors into `to`. */
static uint32_t send_move(struct io *io, uint8_t *to, uint32_t limit)
{
    uint32_t moved = 0;
    while (io->send.count > 0 && moved < limit) {
        struct iovec *vector = io->send.vectors;
        uint32_t size = (uint32_t)min_u64(vector->iov_len, limit - moved);
        if (size > 0) {
            memcpy(to + moved, vector->iov_base, size);
        }
        moved += size;
        vector->iov_base = (uint8_t *)vector->iov_base + size;
        vector->iov_len -= size;
        if (vector->iov_len == 0) {
            io->send.vectors++;
            io->send.count--;
        }
    }
    return moved;
}

static bool socket_send(struct network *network, struct socket *socket, uint64_t now_ns,
                        int32_t *result)
{
    struct io *io = socket->writer.io;
    if (socket->state == SOCKET_RESET || socket->shut || socket->peer < 0 ||
        network->sockets[socket->peer].shut) {
        *result = ERR_CONNECTION;
        return true;
    }
    struct socket *peer = &network->sockets[socket->peer];
    if (peer->inbox == NULL) {
        peer->inbox = malloc(NETWORK_BUFFER_BYTES);
        ASSERT(peer->inbox != NULL);
    }
    uint32_t room = NETWORK_BUFFER_BYTES - peer->inbox_size;
    if (room > 0 && prng_chance(network->prng, 30)) {
        room = 1 + (uint32_t)prng_below(network->prng, room);
    }
    uint32_t moved = send_move(io, peer->inbox + peer->inbox_size, room);
    peer->inbox_size += moved;
    socket->sent += moved;
    if (moved > 0) {
        peer->reader.due_ns = network_due(network, now_ns);
    }
    *result = (int32_t)socket->sent;
    return io->send.count == 0;
}

static void network_finish(struct network *network, struct waiting *waiting, int32_t result)
{
    struct io *io = waiting->io;
    waiting->io = NULL;
    network->hooks.done(network->hooks.context, io, result);
}

/* Looks once at each direction that is due; what must wait on is looked at later. */
static void socket_advance(struct network *network, uint32_t index, uint64_t now_ns)
{
    struct socket *socket = &network->sockets[index];
    int32_t result = OK;
    if (socket->writer.io != NULL && socket->writer.due_ns <= now_ns) {
        if (socket_send(network, socket, now_ns, &result)) {
            network_finish(network, &socket->writer, result);
        } else {
            socket->writer.due_ns = network_due(network, now_ns);
        }
    }
    if (socket->reader.io != NULL && socket->reader.due_ns <= now_ns) {
        bool ends = socket->state == SOCKET_LISTENING ? socket_accept(socket, &result)
                                                      : socket_recv(network, socket, &result);
        if (ends) {
            network_finish(network, &socket->reader, result);
        } else {
            socket->reader.due_ns = network_due(network, now_ns);
        }
    }
}

void network_advance(struct network *network, uint64_t now_ns)
{
    for (uint32_t i = 0; i < network->connecting_count;) {
        struct connecting connecting = network->connecting[i];
        if (connecting.waiting.due_ns > now_ns) {
            i++;
            continue;
        }
        network->connecting[i] = network->connecting[--network->connecting_count];
        int32_t result = network_connect(network, connecting.node, connecting.waiting.io, now_ns);
        network_finish(network, &connecting.waiting, result);
    }
    for (uint32_t i = 0; i < network->socket_count; i++) {
        socket_advance(network, i, now_ns);
    }
}

/* Whether looking at the reader could end it. */
static bool socket_readable(const struct socket *socket)
{
    return socket->state == SOCKET_LISTENING ? socket->backlog_count > 0
                                             : socket->inbox_size > 0 || socket->ended ||
                                                   socket->shut || socket->state == SOCKET_RESET;
}

uint64_t network_next_ns(const struct network *network)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < network->connecting_count; i++) {
        next = min_u64(next, network->connecting[i].waiting.due_ns);
    }
    for (uint32_t i = 0; i < network->socket_count; i++) {
        const struct socket *socket = &network->sockets[i];
        if (socket->reader.io != NULL && socket_readable(socket)) {
            next = min_u64(next, socket->reader.due_ns);
        }
        bool full = socket->peer >= 0 && socket->state == SOCKET_CONNECTED &&
                    network->sockets[socket->peer].inbox_size == NETWORK_BUFFER_BYTES &&
                    !network->sockets[socket->peer].shut && !socket->shut;
        if (socket->writer.io != NULL && !full) {
            next = min_u64(next, socket->writer.due_ns);
        }
    }
    return next;
}

/* The peer learns that nothing more comes. */
static void socket_end_peer(struct network *network, const struct socket *socket, bool reset)
{
    if (socket->peer >= 0) {
        struct socket *peer = &network->sockets[socket->peer];
        peer->ended = true;
        if (reset) {
            peer->state = SOCKET_RESET;
        }
    }
}

void network_shutdown(struct network *network, int32_t index)
{
    struct socket *socket = socket_of(network, index);
    socket->shut = true;
    socket_end_peer(network, socket, false);
}

/* As if the peer had ended: what is there is read before that is seen. */
void network_end_receive(struct network *network, int32_t index)
{
    socket_of(network, index)->ended = true;
}

void network_close(struct network *network, int32_t index)
{
    struct socket *socket = socket_of(network, index);
    /* Contract: whoever waits is awaited before the descriptor is closed. An ACCEPT may wait. */
    ASSERT(socket->writer.io == NULL);
    for (uint32_t i = 0; i < socket->backlog_count; i++) {
        socket_end_peer(network, &network->sockets[socket->backlog[i]], true);
        socket_free(network, socket->backlog[i]);
    }
    if (socket->reader.io != NULL) {
        network_finish(network, &socket->reader, ERR_CANCELED);
    }
    socket_end_peer(network, socket, socket->inbox_size > 0);
    socket_free(network, index);
}

enum err network_name(const struct network *network, int32_t index, bool peer,
                      struct io_address *address)
{
    const struct socket *socket = socket_of(network, index);
    if (peer && socket->state == SOCKET_LISTENING) {
        return ERR_CONNECTION;
    }
    *address = peer ? socket->remote : socket->local;
    return OK;
}

void network_node_died(struct network *network, uint32_t node)
{
    for (uint32_t i = 0; i < network->connecting_count;) {
        if (network->connecting[i].node == node) {
            network->connecting[i] = network->connecting[--network->connecting_count];
        } else {
            i++;
        }
    }
    for (uint32_t i = 0; i < network->socket_count; i++) {
        struct socket *socket = &network->sockets[i];
        if (socket->state == SOCKET_FREE || socket->node != node) {
            continue;
        }
        socket->reader.io = NULL;
        socket->writer.io = NULL;
        socket_end_peer(network, socket, true);
        socket_free(network, (int32_t)i);
    }
}
