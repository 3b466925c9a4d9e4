/* See the header. */
#include "tools/cmd_socket.h"

#include "tools/errors.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    SOCKET_CONNECT_S = 3,
    SOCKET_ANSWER_S = 10,
    SOCKET_HEAD_BYTES = 16 << 10,
    SOCKET_BODY_BYTES_MAX = 256 << 20,
};

static void socket_patience(int fd, int option, int seconds)
{
    struct timeval wait = {.tv_sec = seconds};
    (void)setsockopt(fd, SOL_SOCKET, option, &wait, sizeof(wait));
}

/* NULL: it is connected. */
static const char *socket_connect(const char *host, const char *port, int *fd)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error != 0) {
        return gai_strerror(error);
    }
    const char *why = "no address";
    *fd = -1;
    for (const struct addrinfo *at = found; at != NULL && *fd < 0; at = at->ai_next) {
        *fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        if (*fd < 0) {
            why = strerror(errno);
            continue;
        }
        socket_patience(*fd, SO_SNDTIMEO, SOCKET_CONNECT_S); /* Linux: of connect(), too. */
        socket_patience(*fd, SO_RCVTIMEO, SOCKET_ANSWER_S);
        if (connect(*fd, at->ai_addr, at->ai_addrlen) != 0) {
            why = errno == EINPROGRESS ? "no answer" : strerror(errno);
            (void)close(*fd);
            *fd = -1;
        }
    }
    freeaddrinfo(found);
    return *fd >= 0 ? NULL : why;
}

int socket_open(const struct cmd *cmd, const char *brokers, int *fd)
{
    const char *why = "no address";
    for (const char *at = brokers; *at != '\0';) {
        char host[256], port[8] = "9092";
        size_t size = strcspn(at, ","), name = size;
        const char *colon = memrchr(at, ':', size), *bracket = memrchr(at, ']', size);
        if (colon != NULL && (bracket == NULL || bracket < colon)) {
            name = (size_t)(colon - at);
            (void)snprintf(port, sizeof(port), "%.*s", (int)(size - name) - 1, colon + 1);
        }
        bool v6 = name > 2 && at[0] == '[' && at[name - 1] == ']';
        (void)snprintf(host, sizeof(host), "%.*s", (int)(v6 ? name - 2 : name), at + (v6 ? 1 : 0));
        why = socket_connect(host, port, fd);
        if (why == NULL) {
            return CMD_OK;
        }
        at += size + (at[size] == ',');
    }
    return cmd_fail(cmd, ERROR_UNREACHABLE,
                    "cannot reach %s: %s. Is floe serve running there? Give another address with "
                    "-b HOST:PORT",
                    brokers, why);
}

bool socket_send(int fd, const void *data, size_t size)
{
    for (size_t sent = 0; sent < size;) {
        ssize_t part = send(fd, (const char *)data + sent, size - sent, MSG_NOSIGNAL);
        if (part < 0 && errno == EINTR) {
            continue;
        }
        if (part <= 0) {
            return false;
        }
        sent += (size_t)part;
    }
    return true;
}

bool socket_receive(int fd, void *data, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t part = recv(fd, (char *)data + got, size - got, 0);
        if (part < 0 && errno == EINTR) {
            continue;
        }
        if (part <= 0) {
            return false;
        }
        got += (size_t)part;
    }
    return true;
}

/* The head, byte by byte: it is short, and nothing of what follows may be taken. */
static bool socket_read_head(int fd, char head[SOCKET_HEAD_BYTES])
{
    size_t used = 0;
    while (used + 1 < SOCKET_HEAD_BYTES && socket_receive(fd, head + used, 1)) {
        used++;
        head[used] = '\0';
        if (used >= 4 && memcmp(head + used - 4, "\r\n\r\n", 4) == 0) {
            return true;
        }
    }
    return false;
}

char *socket_get(int fd, const char *path, int *status, size_t *size)
{
    char request[256], head[SOCKET_HEAD_BYTES] = "";
    int64_t length = -1;
    *status = 0;
    int request_size =
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    if (!socket_send(fd, request, (size_t)request_size) || !socket_read_head(fd, head) ||
        sscanf(head, "HTTP/1.1 %d", status) != 1) {
        return NULL;
    }
    const char *field = strcasestr(head, "\r\nContent-Length:");
    if (field != NULL) {
        length = strtoll(field + strlen("\r\nContent-Length:"), NULL, 10);
    }
    if (length < 0 || length > SOCKET_BODY_BYTES_MAX) {
        return NULL;
    }
    *size = (size_t)length;
    char *body = malloc(*size + 1);
    if (body == NULL || !socket_receive(fd, body, *size) || *status != 200) {
        free(body);
        return NULL;
    }
    body[*size] = '\0';
    return body;
}
