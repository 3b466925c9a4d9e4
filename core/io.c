/* Preparing operations, what engines have in common, and the one place where an errno becomes an
 * err. */
#include "core/io.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/io_engine.h"
#include "core/io_map.h"
#include "core/reactor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

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
    io->listen.first = false;
    io->listen.six_only = false;
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
    io->recv.more = false;
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
    ASSERT((flags & IO_WRITE_DURABLE) == 0 || (flags & IO_WRITE_CACHED) == 0);
    io->flags = MUTANT("no-dsync") ? flags & ~(uint32_t)IO_WRITE_DURABLE : flags;
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
    io->open.flush_domain = 0;
}

void io_allocate(struct io *io, int fd, uint64_t position, uint64_t size)
{
    ASSERT(size > 0);
    io_prepare(io, IO_ALLOCATE, fd);
    io->allocate.position = position;
    io->allocate.size = size;
}

void io_truncate(struct io *io, int fd, uint64_t size)
{
    io_prepare(io, IO_TRUNCATE, fd);
    io->truncate.size = size;
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

void io_lock(struct io *io, int fd, uint32_t flags)
{
    io_prepare(io, IO_LOCK, fd);
    io->flags = flags;
}

/* Whether a worker of the kernel, or the helper, has a disk to wait for. */
static bool io_is_file_write(enum io_op op)
{
    return op == IO_WRITE || op == IO_SYNC || op == IO_ALLOCATE || op == IO_SYNC_DIR;
}

uint64_t io_clock_now_ns(struct reactor *reactor)
{
    (void)reactor;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t io_clock_wall_ms(struct reactor *reactor)
{
    (void)reactor;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS;
}

void io_list_push(struct io_list *list, struct io *io)
{
    io->next = NULL;
    if (list->tail == NULL) {
        ASSERT(list->head == NULL);
        list->head = io;
    } else {
        list->tail->next = io;
    }
    list->tail = io;
}

struct io *io_list_pop(struct io_list *list)
{
    struct io *io = list->head;
    if (io == NULL) {
        return NULL;
    }
    list->head = io->next;
    if (list->head == NULL) {
        list->tail = NULL;
    }
    io->next = NULL;
    return io;
}

struct io *io_list_take(struct io_list *list, int fd)
{
    struct io *before = NULL, *io = list->head;
    while (io != NULL && io->fd != fd) {
        before = io;
        io = io->next;
    }
    if (io == NULL) {
        return NULL;
    }
    if (before == NULL) {
        return io_list_pop(list);
    }
    before->next = io->next;
    if (list->tail == io) {
        list->tail = before;
    }
    io->next = NULL;
    return io;
}

void io_submit(struct reactor *reactor, struct io *io)
{
    ASSERT(io->op != IO_NONE);
    ASSERT(io->done.fn != NULL);
    ASSERT(!io->done.queued);
    io_list_push(&reactor->io_pending, io);
    reactor->io_writes += io_is_file_write(io->op);
    stats_add(&reactor->stats, STAT_IO_SUBMITTED, 1);
}

/* What succeeded is counted; a failed operation has its line in the log. */
static void io_count(struct stats *stats, const struct io *io, uint64_t bytes)
{
    if (io->op == IO_RECV) {
        stats_add(stats, STAT_RECV_BYTES, bytes);
    } else if (io->op == IO_SEND) {
        stats_add(stats, STAT_SEND_BYTES, bytes);
    } else if (io->op == IO_READ) {
        stats_add(stats, STAT_FILE_READS, 1);
        stats_add(stats, STAT_FILE_READ_BYTES, bytes);
    } else if (io->op == IO_WRITE) {
        stats_add(stats, STAT_FILE_WRITES, 1);
        stats_add(stats, STAT_FILE_WRITE_BYTES, bytes);
        stats_add(stats, STAT_FLUSHES, (io->flags & IO_WRITE_DURABLE) != 0);
    } else if (io->op == IO_SYNC || io->op == IO_SYNC_DIR || io->op == IO_ALLOCATE) {
        stats_add(stats, STAT_FLUSHES, 1);
        stats_add(stats, STAT_ZERO_BYTES, io->op == IO_ALLOCATE ? io->allocate.size : 0);
    } else if (io->op == IO_OPEN) {
        stats_add(stats, STAT_FILES_OPENED, 1);
    }
}

void io_complete(struct reactor *reactor, struct io *io, int32_t result)
{
    if (result >= 0) {
        io_count(&reactor->stats, io, (uint64_t)result);
    }
    if (io_is_file_write(io->op)) {
        ASSERT(reactor->io_writes > 0);
        reactor->io_writes--;
    }
    completion_fire(reactor, &io->done, result);
}

void io_send_consume(struct io *io, size_t bytes)
{
    ASSERT(io->op == IO_SEND);
    while (io->send.count > 0 && bytes >= io->send.vectors->iov_len) {
        bytes -= io->send.vectors->iov_len;
        io->send.vectors++;
        io->send.count--;
    }
    if (bytes > 0) {
        ASSERT(io->send.count > 0);
        io->send.vectors->iov_base = (uint8_t *)io->send.vectors->iov_base + bytes;
        io->send.vectors->iov_len -= bytes;
    }
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

void io_socket_end_receive(struct reactor *reactor, int fd)
{
    reactor->engine->socket_end_receive(reactor, fd);
}

void io_socket_limit(struct reactor *reactor, int fd, uint32_t unsent_max, uint32_t received_max)
{
    if (reactor->engine->socket_limit != NULL) {
        reactor->engine->socket_limit(fd, unsent_max, received_max);
    }
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
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
        address->family = 6;
        if (memcmp(address->bytes, mapped, sizeof(mapped)) == 0) {
            memmove(address->bytes, address->bytes + 12, 4);
            memset(address->bytes + 4, 0, 12);
            address->family = 4;
        }
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
    ASSERT(number > 0);
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
    case ETXTBSY:
        return ERR_BUSY;
    case EROFS:
        return ERR_READ_ONLY;
    case EINVAL:
    case EISDIR:
    case ELOOP:
        return ERR_INVALID;
    case ENOSYS:
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
    case EXDEV:
    case ENOLCK:
        return ERR_UNSUPPORTED;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ECANCELED:
        return ERR_CANCELED;
    case EBADF:
        return ERR_CLOSED;
    case ECONNRESET:
    case ECONNABORTED:
    case ECONNREFUSED:
    case EPIPE:
    case ENOTCONN:
    case ESHUTDOWN:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case ENETRESET:
        return ERR_CONNECTION;
    case EADDRINUSE:
        return ERR_ADDRESS_IN_USE;
    case EADDRNOTAVAIL:
        return ERR_ADDRESS_INVALID;
    case EMFILE:
    case ENFILE:
    case EMLINK:
    case EFBIG:
        return ERR_LIMIT;
    case ENAMETOOLONG:
    case EOVERFLOW:
        return ERR_TOO_LARGE;
    default: /* ENOTSUP is a value of its own on macOS only. */
        return number == ENOTSUP ? ERR_UNSUPPORTED : ERR_IO;
    }
}

/* Bytes of an open file: only what a caller can act upon keeps its name. A busy, slow or distant
 * file system is a disk that failed. */
static enum err io_data_err(enum err err)
{
    bool told = err == ERR_NO_SPACE || err == ERR_NO_MEMORY || err == ERR_INVALID ||
                err == ERR_LIMIT || err == ERR_READ_ONLY || err == ERR_UNSUPPORTED ||
                err == ERR_DENIED || err == ERR_CLOSED;
    return told ? err : ERR_IO;
}

/* An established connection: whatever ended it, it is lost. */
static enum err io_stream_err(enum err err)
{
    bool told = err == ERR_NO_MEMORY || err == ERR_TIMEOUT || err == ERR_CLOSED ||
                err == ERR_CANCELED || err == ERR_INVALID;
    return told ? err : ERR_CONNECTION;
}

enum err io_op_err(enum io_op op, int number)
{
    enum err err = io_err_from_errno(number);
    switch (op) {
    case IO_LISTEN:
        return number == EAFNOSUPPORT ? ERR_ADDRESS_INVALID : err;
    case IO_ACCEPT:
        return number == EINVAL ? ERR_CLOSED : err; /* It was shut down. */
    case IO_CONNECT:
        if (number == EADDRNOTAVAIL) {
            return ERR_LIMIT; /* No local port is left. */
        }
        return number == EINVAL || number == EAFNOSUPPORT ? ERR_ADDRESS_INVALID : err;
    case IO_RECV:
    case IO_SEND:
        return io_stream_err(err);
    case IO_READ:
    case IO_WRITE:
    case IO_SYNC:
    case IO_ALLOCATE:
    case IO_TRUNCATE:
    case IO_SYNC_DIR:
        return op == IO_SYNC_DIR && err == ERR_NOT_FOUND ? err : io_data_err(err);
    case IO_CLOSE:
    case IO_OPEN:
    case IO_RENAME:
    case IO_UNLINK:
    case IO_MKDIR:
    case IO_LIST:
    case IO_STAT:
    case IO_SPACE:
    case IO_LOCK:
        return err == ERR_CONNECTION || err == ERR_TIMEOUT ? ERR_IO : err;
    case IO_NONE:
        break;
    }
    UNREACHABLE();
}

bool io_is_done_at_once(const struct io *io)
{
    bool cached = (io->flags & IO_WRITE_CACHED) != 0;
    bool durable = (io->flags & IO_WRITE_DURABLE) != 0;
    return io->op == IO_CLOSE ||
           (io->op == IO_WRITE && (cached || (!durable && io_map_has(io->fd))));
}

bool io_is_helper_op(enum io_op op)
{
    switch (op) {
    case IO_OPEN:
    case IO_ALLOCATE:
    case IO_TRUNCATE:
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
