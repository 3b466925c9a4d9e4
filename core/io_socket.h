/* Sockets, as both engines of a real machine need them. Not for anybody else. */
#pragma once

#include "core/io.h"

#include <sys/socket.h>

socklen_t socket_address_to(const struct io_address *address, struct sockaddr_storage *storage);
void socket_address_from(const struct sockaddr_storage *storage, struct io_address *address);

/* The listening socket of an IO_LISTEN, or an err. `first`: probed without SO_REUSEPORT before, so
 * that a port which another server shares is refused. */
int32_t socket_listen(struct io *io);

/* A non-blocking socket that fits `address`, or an err. */
int32_t socket_for_connect(const struct io_address *address);
void socket_prepare_accepted(int fd);
void socket_limit(int fd, uint32_t unsent_max, uint32_t received_max); /* io_socket_limit() */

/* What a receive would meet, without a buffer to receive into. */
enum socket_view {
    SOCKET_IDLE,  /* Nothing yet. */
    SOCKET_READY, /* Bytes, or the end of what the peer sends. */
    SOCKET_ENDED, /* Both directions have ended: by a shutdown of ours, or a reset. */
};

enum socket_view socket_look(int fd);
void socket_end_receive(struct reactor *reactor, int fd); /* As io_socket_end_receive(). */
enum err socket_name(int fd, bool peer, struct io_address *address);
