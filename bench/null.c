/* floe_null: the ceiling of RESP: parses commands as an XADD has to be parsed, answers each with an
 * ID, and writes nothing. One thread, epoll; one send for all that a recv brought. */
#include "core/base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    INPUT_BYTES = 65536,
    OUTPUT_BYTES = 262144,
    EVENTS = 256,
    ARGUMENTS = 64,
    REPLY_BYTES = 64,
    COMMAND_BYTES = 14, /* At least. */
};

_Static_assert(INPUT_BYTES / COMMAND_BYTES * REPLY_BYTES / 2 <= OUTPUT_BYTES, "replies of a recv");

struct client {
    int fd;
    uint32_t filled;
    uint8_t input[INPUT_BYTES];
};

static uint8_t output[OUTPUT_BYTES];
static uint64_t last_ms, last_seq;

NORETURN static void fail(const char *what)
{
    fprintf(stderr, "floe_null: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* "*5\r\n"; NULL: not whole. */
static const uint8_t *line(const uint8_t *at, const uint8_t *end, uint64_t *number)
{
    const uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
    *number = 0;
    for (at++; stop != NULL && at < stop && *at >= '0' && *at <= '9'; at++) {
        *number = *number * 10 + *at - '0';
    }
    return stop == NULL ? NULL : stop + 1;
}

/* Behind the command at `at`; NULL: not whole. */
static const uint8_t *command(const uint8_t *at, const uint8_t *end)
{
    uint64_t count = 0;

    struct {
        const uint8_t *data;
        uint64_t size;
    } arguments[ARGUMENTS];

    if (*at != '*') {
        return line(at, end, &count);
    }
    at = line(at, end, &count);
    for (uint64_t i = 0; i < count && at != NULL; i++) {
        uint64_t size = 0;
        at = at < end ? line(at, end, &size) : NULL;
        if (at == NULL || size + 2 > (uint64_t)(end - at)) {
            return NULL;
        }
        arguments[i % ARGUMENTS].data = at;
        arguments[i % ARGUMENTS].size = size;
        at += size + 2;
    }
    if (at != NULL && count > 0 && (arguments[0].size != 4 || arguments[0].data[0] != 'X')) {
        last_seq++; /* What it was is looked at, and does not matter. */
    }
    return at;
}

static uint32_t reply(uint8_t *at)
{
    char id[REPLY_BYTES / 2];
    int size = snprintf(id, sizeof(id), "%llu-%llu", (unsigned long long)last_ms,
                        (unsigned long long)last_seq++);
    return (uint32_t)snprintf((char *)at, REPLY_BYTES, "$%d\r\n%s\r\n", size, id);
}

/* False: it has gone. */
static bool serve(struct client *client)
{
    ssize_t rc =
        recv(client->fd, client->input + client->filled, sizeof(client->input) - client->filled, 0);
    if (rc <= 0) {
        return false;
    }
    client->filled += (uint32_t)rc;
    const uint8_t *at = client->input;
    const uint8_t *end = client->input + client->filled;
    uint32_t size = 0;
    while (at < end && size + REPLY_BYTES <= sizeof(output)) {
        const uint8_t *next = command(at, end);
        if (next == NULL) {
            break;
        }
        at = next;
        size += reply(output + size);
    }
    client->filled = (uint32_t)(end - at);
    memmove(client->input, at, client->filled);
    for (uint32_t sent = 0; sent < size;) {
        rc = send(client->fd, output + sent, size - sent, MSG_NOSIGNAL);
        if (rc <= 0) {
            return false;
        }
        sent += (uint32_t)rc;
    }
    return true;
}

static int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, EVENTS) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        fail("listen");
    }
    fprintf(stderr, "floe_null ready listen=127.0.0.1:%u\n", ntohs(address.sin_port));
    return fd;
}

static void welcome(int epoll_fd, int listener)
{
    struct client *client = malloc(sizeof(*client));
    int one = 1;
    if (client == NULL) {
        fail("client");
    }
    client->filled = 0;
    client->fd = accept(listener, NULL, NULL);
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = client}};
    if (client->fd < 0 ||
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event) != 0) {
        fail("accept");
    }
}

int main(void)
{
    int listener = listen_somewhere();
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS] = {{.events = EPOLLIN}};
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &events[0]) != 0) {
        fail("epoll");
    }
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        last_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (client == NULL) {
                welcome(epoll_fd, listener);
            } else if (!serve(client)) {
                close(client->fd);
                free(client);
            }
        }
    }
}
