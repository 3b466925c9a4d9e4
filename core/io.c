/* Preparing operations, and the one place where an errno becomes an err. */
#include "core/io.h"

#include "core/assert.h"
#include "core/io_engine.h"
#include "core/reactor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void io_prepare(struct io *io, enum io_op op, int fd)
{
    ASSERT(!io->done.queued);
    io->op = op;
    io->fd = fd;
    io->flags = 0;
    io->next = NULL;
    memset(io->engine, 0, sizeof(io->engine));
}

void io_listen(struct io *io, const struct io_address *address, bool shared)
{
    io_prepare(io, IO_LISTEN, -1);
    io->listen.address = *address;
    io->listen.shared = shared;
}

void io_accept(struct io *io, int fd)
{
    io_prepare(io, IO_ACCEPT, fd);
}

void io_connect(struct io *io, const struct io_address *address)
{
    io_prepare(io, IO_CONNECT, -1);
    io->connect.address = *address;
}

void io_recv(struct io *io, int fd, uint8_t *data, uint32_t size)
{
    ASSERT((data == NULL) == (size == 0));
    io_prepare(io, IO_RECV, fd);
    io->recv.data = data;
    io->recv.size = size;
    io->recv.lent = 0;
}

void io_send(struct io *io, int fd, struct iovec *vectors, uint32_t count)
{
    ASSERT(count > 0);
    io_prepare(io, IO_SEND, fd);
    io->send.vectors = vectors;
    io->send.count = count;
}

void io_close(struct io *io, int fd)
{
    io_prepare(io, IO_CLOSE, fd);
}

void io_read(struct io *io, int fd, uint8_t *data, uint32_t size, uint64_t position)
{
    io_prepare(io, IO_READ, fd);
    io->read.data = data;
    io->read.size = size;
    io->read.position = position;
}

void io_write(struct io *io, int fd, const uint8_t *data, uint32_t size, uint64_t position,
              uint32_t flags)
{
    ASSERT(size > 0);
    io_prepare(io, IO_WRITE, fd);
    io->flags = flags;
    io->write.data = data;
    io->write.size = size;
    io->write.position = position;
}

void io_sync(struct io *io, int fd)
{
    io_prepare(io, IO_SYNC, fd);
}

void io_open(struct io *io, const char *path, uint32_t flags)
{
    io_prepare(io, IO_OPEN, -1);
    io->flags = flags;
    io->open.path = path;
    io->open.direct = false;
}

void io_allocate(struct io *io, int fd, uint64_t position, uint64_t size)
{
    ASSERT(size > 0);
    io_prepare(io, IO_ALLOCATE, fd);
    io->allocate.position = position;
    io->allocate.size = size;
}

void io_rename(struct io *io, const char *from, const char *to)
{
    io_prepare(io, IO_RENAME, -1);
    io->rename.from = from;
    io->rename.to = to;
}

void io_unlink(struct io *io, const char *path)
{
    io_prepare(io, IO_UNLINK, -1);
    io->path.path = path;
}

void io_mkdir(struct io *io, const char *path)
{
    io_prepare(io, IO_MKDIR, -1);
    io->path.path = path;
}

void io_sync_dir(struct io *io, const char *path)
{
    io_prepare(io, IO_SYNC_DIR, -1);
    io->path.path = path;
}

void io_list(struct io *io, const char *path, char *names, uint32_t size, uint32_t skip)
{
    io_prepare(io, IO_LIST, -1);
    io->list.path = path;
    io->list.names = names;
    io->list.size = size;
    io->list.skip = skip;
    io->list.count = 0;
    io->list.more = false;
}

void io_stat(struct io *io, const char *path)
{
    io_prepare(io, IO_STAT, -1);
    io->stat.path = path;
}

void io_space(struct io *io, const char *path)
{
    io_prepare(io, IO_SPACE, -1);
    io->space.path = path;
}

void io_lock(struct io *io, int fd)
{
    io_prepare(io, IO_LOCK, fd);
}

/* Files are counted as they are asked for, sockets as they deliver: a file operation may complete
 * in the helper thread, which must not touch the counters. */
static void io_count_file(struct stats *stats, const struct io *io)
{
    if (io->op == IO_READ) {
        stats_add(stats, STAT_FILE_READS, 1);
        stats_add(stats, STAT_FILE_READ_BYTES, io->read.size);
    } else if (io->op == IO_WRITE) {
        stats_add(stats, STAT_FILE_WRITES, 1);
        stats_add(stats, STAT_FILE_WRITE_BYTES, io->write.size);
        stats_add(stats, STAT_FLUSHES, (io->flags & IO_WRITE_DURABLE) != 0);
    } else if (io->op == IO_SYNC || io->op == IO_SYNC_DIR || io->op == IO_ALLOCATE) {
        stats_add(stats, STAT_FLUSHES, 1);
    } else if (io->op == IO_OPEN) {
        stats_add(stats, STAT_FILES_OPENED, 1);
    }
}

void io_submit(struct reactor *reactor, struct io *io)
{
    ASSERT(io->op != IO_NONE);
    ASSERT(io->done.fn != NULL);
    ASSERT(!io->done.queued);
    io->next = NULL;
    if (reactor->io_pending_tail == NULL) {
        reactor->io_pending_head = io;
    } else {
        reactor->io_pending_tail->next = io;
    }
    reactor->io_pending_tail = io;
    stats_add(&reactor->stats, STAT_IO_SUBMITTED, 1);
    io_count_file(&reactor->stats, io);
}

void io_complete(struct reactor *reactor, struct io *io, int32_t result)
{
    uint64_t bytes = result > 0 ? (uint64_t)result : 0;
    if (io->op == IO_RECV) {
        stats_add(&reactor->stats, STAT_RECV_BYTES, bytes);
    } else if (io->op == IO_SEND) {
        stats_add(&reactor->stats, STAT_SEND_BYTES, bytes);
    }
    completion_fire(reactor, &io->done, result);
}

void io_recv_release(struct reactor *reactor, struct io *io)
{
    ASSERT(io->op == IO_RECV);
    if (io->recv.lent != 0) {
        reactor->engine->recv_release(reactor, io);
        io->recv.lent = 0;
        io->recv.data = NULL;
    }
}

void io_socket_shutdown(struct reactor *reactor, int fd)
{
    reactor->engine->socket_shutdown(reactor, fd);
}

enum err io_socket_local(struct reactor *reactor, int fd, struct io_address *address)
{
    return reactor->engine->socket_name(reactor, fd, false, address);
}

enum err io_socket_peer(struct reactor *reactor, int fd, struct io_address *address)
{
    return reactor->engine->socket_name(reactor, fd, true, address);
}

char *io_address_text(const struct io_address *address, char *text)
{
    char host[INET6_ADDRSTRLEN] = "?";
    int family = address->family == 6 ? AF_INET6 : AF_INET;
    (void)inet_ntop(family, address->bytes, host, sizeof(host));
    snprintf(text, IO_ADDRESS_TEXT_BYTES, family == AF_INET6 ? "[%s]:%u" : "%s:%u", host,
             address->port);
    return text;
}

static enum err io_address_parse_host(const char *host, struct io_address *address)
{
    if (host[0] == 0) {
        host = "0.0.0.0";
    } else if (strcmp(host, "localhost") == 0) {
        host = "127.0.0.1";
    }
    if (inet_pton(AF_INET, host, address->bytes) == 1) {
        address->family = 4;
        return OK;
    }
    if (inet_pton(AF_INET6, host, address->bytes) == 1) {
        address->family = 6;
        return OK;
    }
    return ERR_INVALID;
}

enum err io_address_parse(const char *text, struct io_address *address)
{
    *address = (struct io_address){0};
    const char *colon = strrchr(text, ':');
    char host[IO_ADDRESS_TEXT_BYTES];
    if (colon == NULL || colon[1] < '0' || colon[1] > '9') {
        return ERR_INVALID;
    }
    char *end = NULL;
    unsigned long port = strtoul(colon + 1, &end, 10);
    size_t length = (size_t)(colon - text);
    if (*end != 0 || port > UINT16_MAX || length >= sizeof(host)) {
        return ERR_INVALID;
    }
    if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
        text++;
        length -= 2;
    } else if (memchr(text, ':', length) != NULL) {
        return ERR_INVALID; /* A bare IPv6 address: which colon begins the port? */
    }
    memcpy(host, text, length);
    host[length] = 0;
    address->port = (uint16_t)port;
    return io_address_parse_host(host, address);
}

enum err io_err_from_errno(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case ENOMEM:
    case ENOBUFS:
        return ERR_NO_MEMORY;
    case EEXIST:
    case ENOTEMPTY:
        return ERR_EXISTS;
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    case EWOULDBLOCK:
    case EBUSY:
        return ERR_BUSY;
    case EROFS:
        return ERR_READ_ONLY;
    case EINVAL:
        return ERR_INVALID;
    case ENOSYS:
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
        return ERR_UNSUPPORTED;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ECANCELED:
        return ERR_CANCELED;
    case ECONNRESET:
    case ECONNABORTED:
    case ECONNREFUSED:
    case EPIPE:
    case ENOTCONN:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
        return ERR_CONNECTION;
    case EADDRINUSE:
        return ERR_ADDRESS_IN_USE;
    case EADDRNOTAVAIL:
        return ERR_ADDRESS_INVALID;
    case EMFILE:
    case ENFILE:
    case EFBIG:
        return ERR_LIMIT;
    case ENAMETOOLONG:
        return ERR_TOO_LARGE;
    default:
        return ERR_IO;
    }
}

bool io_is_helper_op(enum io_op op)
{
    switch (op) {
    case IO_OPEN:
    case IO_ALLOCATE:
    case IO_RENAME:
    case IO_UNLINK:
    case IO_MKDIR:
    case IO_SYNC_DIR:
    case IO_LIST:
    case IO_STAT:
    case IO_SPACE:
    case IO_LOCK:
        return true;
    case IO_NONE:
    case IO_LISTEN:
    case IO_ACCEPT:
    case IO_CONNECT:
    case IO_RECV:
    case IO_SEND:
    case IO_CLOSE:
    case IO_READ:
    case IO_WRITE:
    case IO_SYNC:
        return false;
    }
    UNREACHABLE();
}
