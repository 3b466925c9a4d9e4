/* See the header. */
#include "tests/unit/net/client.h"

#include "core/assert.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

void client_open(struct client *client, struct reactor *reactor, uint16_t port, int recv_buffer)
{
    *client = (struct client){.reactor = reactor};
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(client->fd >= 0);
    if (recv_buffer > 0) {
        int small =
            setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &recv_buffer, sizeof(recv_buffer));
        ASSERT(small == 0);
    }
    int one = 1; /* What is sent is there at once. */
    int rc = setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    ASSERT(rc == 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    rc = connect(client->fd, (const struct sockaddr *)(const void *)&address, sizeof(address));
    ASSERT(rc == 0);
}

void client_close(struct client *client)
{
    (void)close(client->fd);
    client->fd = -1;
}

void client_reset(struct client *client)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    int rc = setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    ASSERT(rc == 0);
    client_close(client);
}

void client_end(struct client *client)
{
    int rc = shutdown(client->fd, SHUT_WR);
    ASSERT(rc == 0);
}

uint32_t client_try_send(struct client *client, const void *data, uint32_t size)
{
    ssize_t sent = send(client->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
        ASSERT(errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
        return 0;
    }
    return (uint32_t)sent;
}

void client_send(struct client *client, const void *data, uint32_t size)
{
    const uint8_t *at = data;
    for (uint32_t turns = 0; size > 0; turns++) {
        ASSERT(turns < CLIENT_TURNS_MAX);
        uint32_t sent = client_try_send(client, at, size);
        at += sent;
        size -= sent;
        (void)reactor_turn(client->reactor, sent > 0 ? 0 : NS_PER_MS);
    }
}

uint32_t client_receive(struct client *client, void *data, uint32_t size)
{
    uint8_t *at = data;
    uint32_t have = 0;
    for (uint32_t turns = 0; have < size; turns++) {
        ASSERT(turns < CLIENT_TURNS_MAX);
        ssize_t got = recv(client->fd, at + have, size - have, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            break;
        }
        have += got > 0 ? (uint32_t)got : 0;
        turns = got > 0 ? 0 : turns;
        (void)reactor_turn(client->reactor, got > 0 ? 0 : NS_PER_MS);
    }
    return have;
}

uint32_t client_available(const struct client *client)
{
    int bytes = 0;
    int rc = ioctl(client->fd, FIONREAD, &bytes);
    ASSERT(rc == 0 && bytes >= 0);
    return (uint32_t)bytes;
}

bool client_ended(struct client *client)
{
    uint8_t byte;
    return client_receive(client, &byte, 1) == 0;
}

void client_settle(struct reactor *reactor)
{
    /* Loopback delivers at once; what is idle for some turns in a row has nothing more to do. */
    for (uint32_t idle = 0, turns = 0; idle < 5; turns++) {
        ASSERT(turns < CLIENT_TURNS_MAX);
        idle = reactor_turn(reactor, NS_PER_MS) == 0 ? idle + 1 : 0;
    }
}
