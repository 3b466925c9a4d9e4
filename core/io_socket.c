/* Sockets, as both engines of a real machine need them. */
#include "core/io_socket.h"

#include "core/io_engine.h"
#include "core/os.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* As many as the kernel lets us (somaxconn): after a restart all clients come at once, and whoever
 * finds the queue full hears of it by nothing but its own timeouts, of 1, 3, 7 s. */
enum { SOCKET_BACKLOG = 65535 };

socklen_t socket_address_to(const struct io_address *address, struct sockaddr_storage *storage)
{
    memset(storage, 0, sizeof(*storage));
    if (address->family == 6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(address->port)};
        memcpy(&in6.sin6_addr, address->bytes, 16);
        memcpy(storage, &in6, sizeof(in6));
        return sizeof(in6);
    }
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(address->port)};
    memcpy(&in.sin_addr, address->bytes, 4);
    memcpy(storage, &in, sizeof(in));
    return sizeof(in);
}

void socket_address_from(const struct sockaddr_storage *storage, struct io_address *address)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    *address = (struct io_address){0};
    if (storage->ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, storage, sizeof(in6));
        const uint8_t *bytes = in6.sin6_addr.s6_addr;
        address->port = ntohs(in6.sin6_port);
        if (memcmp(bytes, mapped, sizeof(mapped)) == 0) {
            address->family = 4;
            memcpy(address->bytes, bytes + 12, 4);
        } else {
            address->family = 6;
            memcpy(address->bytes, bytes, 16);
        }
    } else if (storage->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, storage, sizeof(in));
        address->family = 4;
        address->port = ntohs(in.sin_port);
        memcpy(address->bytes, &in.sin_addr, 4);
    }
}

static int socket_stream(const struct io_address *address)
{
    int family = address->family == 6 ? AF_INET6 : AF_INET;
    return os_socket(family);
}

/* Whatever the machine's default is: all addresses are those of IPv4, too, unless another listener
 * has them. Where the two never share a socket, asking for it is refused, and no loss. */
static bool socket_choose_families(int fd, const struct io *io)
{
    int only = io->listen.six_only;
    return io->listen.address.family != 6 ||
           setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) == 0 || only == 0;
}

/* Bound, or -1 with errno. */
static int socket_bound(const struct io *io, bool shared)
{
    struct sockaddr_storage storage;
    socklen_t length = socket_address_to(&io->listen.address, &storage);
    int one = 1;
    int fd = socket_stream(&io->listen.address);
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        (shared && os_socket_share(fd) != 0) || !socket_choose_families(fd, io) ||
        bind(fd, (const struct sockaddr *)&storage, length) != 0) {
        int number = errno;
        close(fd);
        errno = number;
        return -1;
    }
    return fd;
}

int32_t socket_listen(struct io *io)
{
    if (io->listen.shared && io->listen.first) {
        int probe = socket_bound(io, false);
        if (probe < 0) {
            return io_op_err(IO_LISTEN, errno);
        }
        close(probe);
    }
    int fd = socket_bound(io, io->listen.shared);
    if (fd < 0 || listen(fd, SOCKET_BACKLOG) != 0) {
        int number = errno;
        if (fd >= 0) {
            close(fd);
        }
        return io_op_err(IO_LISTEN, number);
    }
    enum err err = socket_name(fd, false, &io->listen.address);
    if (err != OK) {
        close(fd);
        return err;
    }
    return fd;
}

int32_t socket_for_connect(const struct io_address *address)
{
    int fd = socket_stream(address);
    if (fd < 0) {
        return io_op_err(IO_CONNECT, errno);
    }
    socket_prepare_accepted(fd);
    return fd;
}

void socket_prepare_accepted(int fd)
{
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void socket_limit(int fd, uint32_t unsent_max, uint32_t received_max)
{
    if (unsent_max > 0) {
        os_socket_unsent_max(fd, unsent_max);
    }
    if (received_max > 0) {
        int bytes = (int)min_u32(received_max, INT32_MAX);
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
}

enum socket_view socket_look(int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLIN};
    if (poll(&look, 1, 0) <= 0) {
        return SOCKET_IDLE;
    }
    if ((look.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
        return os_socket_holds_bytes(fd) ? SOCKET_READY : SOCKET_ENDED;
    }
    return SOCKET_READY;
}

/* Whoever waits is woken by it; who starves gets its buffer and then the end. */
void socket_end_receive(struct reactor *reactor, int fd)
{
    (void)reactor;
    (void)shutdown(fd, SHUT_RD);
}

enum err socket_name(int fd, bool peer, struct io_address *address)
{
    struct sockaddr_storage storage;
    memset(&storage, 0, sizeof(storage));
    socklen_t length = sizeof(storage);
    struct sockaddr *name = (struct sockaddr *)&storage;
    int rc = peer ? getpeername(fd, name, &length) : getsockname(fd, name, &length);
    if (rc != 0) {
        return io_err_from_errno(errno);
    }
    socket_address_from(&storage, address);
    return OK;
}
