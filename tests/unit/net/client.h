/* A client on loopback in the server's own thread: whenever it would wait, it turns the server's
 * reactor. A wait is bounded in turns, so that a hang fails. */
#pragma once

#include "core/reactor.h"

enum { CLIENT_TURNS_MAX = 20000 };

struct client {
    struct reactor *reactor;
    int fd;
};

/* `recv_buffer` bytes of kernel memory for what the server sends; 0: as usual. */
void client_open(struct client *client, struct reactor *reactor, uint16_t port, int recv_buffer);
void client_close(
    struct client *client); /* Orderly, whatever is unread: no reset unless there is. */
void client_reset(struct client *client); /* RST. */
void client_end(struct client *client);   /* Sends no more; still reads. */

/* Asserts that the server takes all of it. */
void client_send(struct client *client, const void *data, uint32_t size);

/* What the server takes now, without a turn. */
uint32_t client_try_send(struct client *client, const void *data, uint32_t size);

/* Waits for `size` bytes or the end; how many came. */
uint32_t client_receive(struct client *client, void *data, uint32_t size);

/* How many bytes are here now, without a turn. */
uint32_t client_available(const struct client *client);

/* Waits for the server's end: true, if nothing came before it. */
bool client_ended(struct client *client);

/* Turns without waiting until nothing happens for a while. */
void client_settle(struct reactor *reactor);
