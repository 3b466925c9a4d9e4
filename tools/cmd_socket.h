/* A connection of our own to the server, for what librdkafka does not ask: blocking, with patience
 * of a few seconds. */
#pragma once

#include "tools/cmd.h"

/* Connects to the first of `brokers` (HOST:PORT, parted by commas) that takes it. CMD_OK, or an
 * exit code after it has said who is not there. */
NODISCARD int socket_open(const struct cmd *cmd, const char *brokers, int *fd);

/* All of it; false: the peer is gone, or takes or gives nothing. */
NODISCARD bool socket_send(int fd, const void *data, size_t size);
NODISCARD bool socket_receive(int fd, void *data, size_t size);

/* One HTTP GET on the connection, which stays good for the next. `*body` is to be freed and ends
 * with a zero byte; NULL: no answer, or not 200: `*status` tells, 0 for no HTTP at all. */
char *socket_get(int fd, const char *path, int *status, size_t *size);
