/* The network of the simulator: TCP as its users see it, between the nodes of one world.
 *
 *     connect -> listener's backlog -> accept          each after a delay
 *     send    -> moves in pieces of drawn size into the peer's buffer, as that has room
 *     recv    -> a piece of drawn size of what is there; 0 after the peer ended and all was read
 *     a node that dies resets its connections
 *
 * Bytes keep their order and none is lost while both ends live. A node is a number with the address
 * 10.0.0.(number + 1); 127.x.y.z is the node itself. Operations wait here until they can end;
 * network_next_ns() says when something will happen. */
#pragma once

#include "core/io.h"
#include "core/prng.h"

enum { NETWORK_BUFFER_BYTES = 64 << 10, NETWORK_BACKLOG = 64 };

struct network;

struct network_hooks {
    void *context;
    void (*done)(void *context, struct io *io, int32_t result);
    /* Sets data and size of a RECV that came without; false: no buffer is free now. */
    bool (*lend)(void *context, struct io *io);
};

struct network *network_create(struct prng *prng, const struct network_hooks *hooks);
void network_destroy(struct network *network);

/* Longest delay of a step. */
void network_set_delay(struct network *network, uint64_t delay_max_ns);

/* LISTEN, ACCEPT, CONNECT, RECV or SEND of `node`. Sockets are numbers from 0; io->fd is one. */
void network_submit(struct network *network, uint32_t node, struct io *io, uint64_t now_ns);

void network_shutdown(struct network *network, int32_t socket);
void network_end_receive(struct network *network, int32_t socket);
void network_close(struct network *network, int32_t socket);
NODISCARD enum err network_name(const struct network *network, int32_t socket, bool peer,
                                struct io_address *address);

/* Does what is due at `now_ns`. */
void network_advance(struct network *network, uint64_t now_ns);
uint64_t network_next_ns(const struct network *network); /* UINT64_MAX: nothing will happen. */

/* The process of `node` is gone: no operation of it ends any more, its peers see a reset. */
void network_node_died(struct network *network, uint32_t node);
