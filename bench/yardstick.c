/* The least that a durable log behind TCP can do on this machine, to measure floe against: one
 * thread, one ring, nothing parsed but lengths.
 *
 *     recv -> CRC-32C, copy into the gather -> one O_DIRECT write, RWF_DSYNC -> acks, one send each
 *
 * A gather is what one commit writes: payloads one after the other, padded to 4 KiB. At most two
 * are in flight; what arrives meanwhile fills the next. All live in one arena, which is the cache
 * that reads are answered from, and go in a circle: the file is overwritten lap by lap.
 *
 *     gather   FILLING -> (closed) -> WRITING -> WRITTEN -> (all before it, too) acked, readable
 *
 * It keeps nothing across a restart, checks nothing, and trusts its client. */
#include "bench/yardstick.h"

#include "core/assert.h"
#include "core/crc32c.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BLOCK_BYTES = 4096,
    IN_FLIGHT_MAX = 2,
    CONNECTIONS_MAX = 256,
    RECV_BYTES = 256 << 10, /* Of one recv, while frames are small. */
    ACKS_MAX = 4096,        /* Frames of a connection that are not acked. */
    WAITING_MAX = 1 << 16,  /* Frames that wait for a commit. */
    GATHERS_MAX = 1 << 18,  /* Remembered for reads: 1 GiB of 4 KiB each. */
    GATHERS_OPEN_MAX = 8,   /* Not written yet; then nothing is received. */
    PIECES_MAX = 64,        /* Gathers in one answer to a read. */
    /* One frame, the largest. */
    INPUT_BYTES = YARDSTICK_PAYLOAD_BYTES_MAX + sizeof(struct yardstick_header),
};

/* What an operation was, in the low bits of its user data; a connection or a gather above them. */
enum { OP_ACCEPT = 1, OP_RECV = 2, OP_SEND = 3, OP_WRITE = 4, OP_BITS = 3 };

struct gather {
    uint64_t position; /* Of all bytes ever written; modulo the file's and the arena's size. */
    uint32_t size;     /* Of payloads. */
    uint32_t frames;
    bool written;
};

struct connection {
    int fd;
    bool used, closing, receiving, sending, dirty;
    uint8_t *input;
    uint32_t input_filled;
    uint32_t waiting;           /* Frames of it in the server's ring. */
    uint32_t ack_head, ack_end; /* Acks [head, end), modulo ACKS_MAX, are to be sent. */
    uint32_t acks_sending;
    uint64_t send_size;
    struct yardstick_header *acks;
    struct yardstick_header read_header;
    struct iovec out[PIECES_MAX + 1];
    struct msghdr message;
};

/* A frame that waits for its gather to become durable. */
struct waiter {
    uint32_t connection;
    uint32_t crc;
    uint64_t offset;
};

struct server {
    const char *path;
    uint32_t port;
    bool fresh;
    uint64_t file_bytes, arena_bytes;
    struct io_uring ring;
    int listen_fd, file_fd;
    uint8_t *arena;
    struct gather *gathers; /* Modulo GATHERS_MAX. */
    uint64_t oldest;        /* No gather from here on will be overwritten while it is sent. */
    uint64_t durable;       /* Gathers below are durable, */
    uint64_t submitted;     /* below are at the disk, */
    uint64_t filling;       /* and this one is open. */
    uint64_t payload_bytes; /* Ever appended. */
    struct waiter *waiters;
    uint32_t waiter_head, waiter_end;
    uint32_t turns;
    uint32_t connections_end; /* No connection from here on was ever used. */
    struct connection connections[CONNECTIONS_MAX];
};

NORETURN static void fail(const char *what)
{
    fprintf(stderr, "floe_yardstick: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- The ring. --- */

static struct io_uring_sqe *take_sqe(struct server *server)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&server->ring);
    if (sqe == NULL) {
        io_uring_submit(&server->ring);
        sqe = io_uring_get_sqe(&server->ring);
    }
    ASSERT(sqe != NULL);
    return sqe;
}

static void tag_sqe(struct io_uring_sqe *sqe, uint64_t what, uint32_t op)
{
    io_uring_sqe_set_data64(sqe, what << OP_BITS | op);
}

static void ring_open(struct io_uring *ring)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
                                     .cq_entries = 4096};
    errno = -io_uring_queue_init_params(512, ring, &params);
    if (errno != 0) {
        fail("io_uring");
    }
    (void)io_uring_register_ring_fd(ring);
}

static uint64_t connection_index(const struct server *server, const struct connection *connection)
{
    return (uint64_t)(connection - server->connections);
}

/* --- Group commit. --- */

static struct gather *gather_at(const struct server *server, uint64_t number)
{
    return &server->gathers[number % GATHERS_MAX];
}

static uint8_t *gather_data(const struct server *server, const struct gather *gather)
{
    return server->arena + gather->position % server->arena_bytes;
}

/* Opens the next gather behind the open one; it never crosses the end of the arena. */
static void gather_next(struct server *server)
{
    const struct gather *last = gather_at(server, server->filling);
    uint64_t position = last->position + align_up(last->size, BLOCK_BYTES);
    uint64_t left = server->arena_bytes - position % server->arena_bytes;
    if (left < YARDSTICK_PAYLOAD_BYTES_MAX) {
        position += left;
    }
    server->filling++;
    uint64_t end = position + 2 * GATHERS_OPEN_MAX * (uint64_t)YARDSTICK_PAYLOAD_BYTES_MAX;
    while (server->filling - server->oldest > GATHERS_MAX / 2 ||
           gather_at(server, server->oldest)->position + server->arena_bytes < end) {
        server->oldest++;
    }
    *gather_at(server, server->filling) = (struct gather){.position = position};
}

static bool append_room(const struct server *server, const struct connection *connection)
{
    uint32_t unacked = connection->waiting + connection->ack_end - connection->ack_head;
    return server->filling - server->durable < GATHERS_OPEN_MAX && unacked < ACKS_MAX &&
           server->waiter_end - server->waiter_head < WAITING_MAX;
}

static void append(struct server *server, struct connection *connection, const uint8_t *payload,
                   uint32_t size)
{
    struct gather *gather = gather_at(server, server->filling);
    if (gather->size + size > YARDSTICK_PAYLOAD_BYTES_MAX) {
        gather_next(server);
        gather = gather_at(server, server->filling);
    }
    server->waiters[server->waiter_end++ % WAITING_MAX] = (struct waiter){
        .connection = (uint32_t)connection_index(server, connection),
        .crc = crc32c(0, payload, size),
        .offset = server->payload_bytes,
    };
    memcpy(gather_data(server, gather) + gather->size, payload, size);
    gather->size += size;
    gather->frames++;
    server->payload_bytes += size;
    connection->waiting++;
}

static void commit_submit(struct server *server)
{
    while (server->submitted - server->durable < IN_FLIGHT_MAX) {
        struct gather *gather = gather_at(server, server->submitted);
        if (gather->frames == 0) {
            return;
        }
        if (server->submitted == server->filling) {
            gather_next(server);
        }
        uint32_t padded = (uint32_t)align_up(gather->size, BLOCK_BYTES);
        uint8_t *data = gather_data(server, gather);
        memset(data + gather->size, 0, padded - gather->size);
        struct io_uring_sqe *sqe = take_sqe(server);
        io_uring_prep_write(sqe, server->file_fd, data, padded,
                            gather->position % server->file_bytes);
        sqe->rw_flags = RWF_DSYNC;
        tag_sqe(sqe, server->submitted, OP_WRITE);
        server->submitted++;
    }
}

static void commit_written(struct server *server, uint64_t number, int32_t result)
{
    struct gather *written = gather_at(server, number);
    if (result != (int32_t)align_up(written->size, BLOCK_BYTES)) {
        errno = result < 0 ? -result : EIO;
        fail("write");
    }
    written->written = true;
    while (server->durable < server->submitted && gather_at(server, server->durable)->written) {
        uint32_t frames = gather_at(server, server->durable)->frames;
        for (uint32_t i = 0; i < frames; i++) {
            const struct waiter *waiter = &server->waiters[server->waiter_head++ % WAITING_MAX];
            struct connection *connection = &server->connections[waiter->connection];
            connection->acks[connection->ack_end++ % ACKS_MAX] =
                (struct yardstick_header){.word = waiter->crc, .offset = waiter->offset};
            connection->waiting--;
            connection->dirty = true;
        }
        server->durable++;
    }
}

/* --- Connections. --- */

static void connection_release(struct connection *connection)
{
    if (connection->closing && !connection->receiving && !connection->sending &&
        connection->waiting == 0) {
        close(connection->fd);
        free(connection->input);
        free(connection->acks);
        *connection = (struct connection){0};
    }
}

static void connection_close(struct connection *connection)
{
    if (!connection->closing) {
        connection->closing = true;
        shutdown(connection->fd, SHUT_RDWR);
    }
}

/* The first `vectors` of `out`. */
static void connection_send(struct server *server, struct connection *connection, uint32_t vectors)
{
    ASSERT(!connection->sending);
    connection->message = (struct msghdr){.msg_iov = connection->out, .msg_iovlen = vectors};
    connection->send_size = 0;
    for (uint32_t i = 0; i < vectors; i++) {
        connection->send_size += connection->out[i].iov_len;
    }
    connection->sending = true;
    struct io_uring_sqe *sqe = take_sqe(server);
    io_uring_prep_sendmsg(sqe, connection->fd, &connection->message, MSG_WAITALL | MSG_NOSIGNAL);
    tag_sqe(sqe, connection_index(server, connection), OP_SEND);
}

/* All acks that are due, up to the end of their ring. */
static void connection_send_acks(struct server *server, struct connection *connection)
{
    uint32_t count = connection->ack_end - connection->ack_head;
    connection->dirty = false;
    if (count == 0 || connection->sending || connection->closing) {
        return;
    }
    uint32_t at = connection->ack_head % ACKS_MAX;
    connection->acks_sending = min_u32(count, ACKS_MAX - at);
    connection->out[0] =
        (struct iovec){.iov_base = connection->acks + at,
                       .iov_len = connection->acks_sending * sizeof(struct yardstick_header)};
    connection_send(server, connection, 1);
}

static void read_answer(struct server *server, struct connection *connection, uint32_t bytes_max,
                        uint64_t cursor)
{
    uint64_t number = max_u64(cursor, server->oldest);
    uint32_t pieces = 0;
    uint32_t size = 0;
    while (number < server->durable && pieces < PIECES_MAX) {
        const struct gather *gather = gather_at(server, number);
        if (pieces > 0 && size + gather->size > bytes_max) {
            break;
        }
        size += gather->size;
        pieces++;
        connection->out[pieces] =
            (struct iovec){.iov_base = gather_data(server, gather), .iov_len = gather->size};
        number++;
    }
    connection->read_header = (struct yardstick_header){.size = size, .offset = number};
    connection->out[0] = (struct iovec){.iov_base = &connection->read_header,
                                        .iov_len = sizeof(connection->read_header)};
    connection_send(server, connection, pieces + 1);
}

/* Takes the frame at `input`: its size, 0 if it is not whole or has to wait. */
static uint32_t frame_take(struct server *server, struct connection *connection,
                           const uint8_t *input, uint32_t available)
{
    struct yardstick_header header;
    if (available < sizeof(header)) {
        return 0;
    }
    memcpy(&header, input, sizeof(header));
    if (header.word == YARDSTICK_READ) {
        bool idle = !connection->sending && connection->waiting == 0 &&
                    connection->ack_head == connection->ack_end;
        if (!idle) {
            return 0;
        }
        read_answer(server, connection, header.size, header.offset);
        return sizeof(header);
    }
    if (header.word != YARDSTICK_APPEND || header.size == 0 ||
        header.size > YARDSTICK_PAYLOAD_BYTES_MAX) {
        connection_close(connection);
        return 0;
    }
    uint32_t frame = (uint32_t)sizeof(header) + header.size;
    if (available < frame || !append_room(server, connection)) {
        return 0;
    }
    append(server, connection, input + sizeof(header), header.size);
    return frame;
}

/* Takes whole frames, then receives more: the rest of a large frame and no further, so that nothing
 * behind it has to be moved. */
static void connection_pump(struct server *server, struct connection *connection)
{
    if (connection->closing || connection->receiving) {
        return;
    }
    uint32_t taken = 0;
    uint32_t frame;
    while ((frame = frame_take(server, connection, connection->input + taken,
                               connection->input_filled - taken)) > 0) {
        taken += frame;
    }
    connection->input_filled -= taken;
    if (taken > 0) {
        memmove(connection->input, connection->input + taken, connection->input_filled);
    }
    uint32_t wanted = RECV_BYTES - min_u32(connection->input_filled, RECV_BYTES);
    int flags = 0;
    struct yardstick_header header = {0};
    if (connection->input_filled >= sizeof(header)) {
        memcpy(&header, connection->input, sizeof(header));
        frame = (uint32_t)sizeof(header) + (header.word == YARDSTICK_APPEND ? header.size : 0);
        if (frame <= connection->input_filled || connection->closing) {
            return; /* It waits for a commit or a send. */
        }
        if (frame > RECV_BYTES) {
            wanted = frame - connection->input_filled;
            flags = MSG_WAITALL;
        }
    }
    ASSERT(connection->input_filled + wanted <= INPUT_BYTES);
    connection->receiving = true;
    struct io_uring_sqe *sqe = take_sqe(server);
    io_uring_prep_recv(sqe, connection->fd, connection->input + connection->input_filled, wanted,
                       flags);
    tag_sqe(sqe, connection_index(server, connection), OP_RECV);
}

static void connection_received(struct server *server, struct connection *connection,
                                int32_t result)
{
    connection->receiving = false;
    if (result <= 0) {
        connection_close(connection);
        return;
    }
    connection->input_filled += (uint32_t)result;
    connection_pump(server, connection);
}

static void connection_sent(struct server *server, struct connection *connection, int32_t result)
{
    connection->sending = false;
    connection->ack_head += connection->acks_sending;
    connection->acks_sending = 0;
    connection->dirty = true;
    if (result < 0 || (uint64_t)result != connection->send_size) {
        connection_close(connection);
        return;
    }
    connection_pump(server, connection);
}

static void accept_next(struct server *server)
{
    struct io_uring_sqe *sqe = take_sqe(server);
    io_uring_prep_accept(sqe, server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    tag_sqe(sqe, 0, OP_ACCEPT);
}

static void accepted(struct server *server, int32_t fd)
{
    accept_next(server);
    struct connection *connection = NULL;
    for (uint32_t i = 0; i < CONNECTIONS_MAX && connection == NULL; i++) {
        connection = server->connections[i].used ? NULL : &server->connections[i];
    }
    if (fd < 0 || connection == NULL) {
        fprintf(stderr, "floe_yardstick: a connection was refused\n");
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    *connection = (struct connection){.fd = fd, .used = true};
    server->connections_end =
        max_u32(server->connections_end, (uint32_t)connection_index(server, connection) + 1);
    connection->input = malloc(INPUT_BYTES);
    connection->acks = malloc(ACKS_MAX * sizeof(*connection->acks));
    if (connection->input == NULL || connection->acks == NULL) {
        fail("memory of a connection");
    }
    connection_pump(server, connection);
}

/* --- The loop. --- */

static void complete(struct server *server, uint64_t user_data, int32_t result)
{
    uint64_t what = user_data >> OP_BITS;
    uint32_t op = user_data & ((1 << OP_BITS) - 1);
    if (op == OP_ACCEPT) {
        accepted(server, result);
    } else if (op == OP_RECV) {
        connection_received(server, &server->connections[what], result);
    } else if (op == OP_SEND) {
        connection_sent(server, &server->connections[what], result);
    } else if (op == OP_WRITE) {
        commit_written(server, what, result);
    } else {
        UNREACHABLE();
    }
}

NORETURN static void serve(struct server *server)
{
    accept_next(server);
    for (;;) {
        int rc = io_uring_submit_and_wait(&server->ring, 1);
        if (rc < 0 && rc != -EINTR) {
            errno = -rc;
            fail("io_uring_enter");
        }
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        uint64_t durable = server->durable;
        io_uring_for_each_cqe(&server->ring, head, cqe)
        {
            complete(server, cqe->user_data, cqe->res);
            seen++;
        }
        io_uring_cq_advance(&server->ring, seen);
        server->turns++;
        for (uint32_t i = 0; i < server->connections_end; i++) {
            /* Another one first in each turn: the first takes what room there is. */
            struct connection *connection =
                &server->connections[(server->turns + i) % server->connections_end];
            if (!connection->used) {
                continue;
            }
            if (connection->dirty) {
                connection_send_acks(server, connection);
            }
            if (durable != server->durable) {
                connection_pump(server, connection); /* It may have waited for room. */
            }
            connection_release(connection);
        }
        commit_submit(server);
    }
}

/* --- The start. --- */

/* Zeros make a lap over it cost what a recycled file costs; `fresh` leaves it at allocated. */
static void file_open(struct server *server)
{
    if (server->fresh) {
        (void)unlink(server->path);
    }
    server->file_fd = open(server->path, O_RDWR | O_CREAT | O_CLOEXEC | O_DIRECT, 0644);
    struct stat stat;
    if (server->file_fd < 0 || fstat(server->file_fd, &stat) != 0) {
        fail(server->path);
    }
    bool prepared = (uint64_t)stat.st_size == server->file_bytes;
    if (!prepared && fallocate(server->file_fd, 0, 0, (off_t)server->file_bytes) != 0) {
        fail("fallocate");
    }
    for (uint64_t at = 0; at < server->file_bytes && !prepared && !server->fresh; at += MIB(1)) {
        if (pwrite(server->file_fd, server->arena, MIB(1), (off_t)at) != (ssize_t)MIB(1)) {
            fail("zeros");
        }
    }
    if (fsync(server->file_fd) != 0) {
        fail("fsync");
    }
}

static uint32_t listen_open(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)server->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int one = 1;
    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server->listen_fd < 0 ||
        setsockopt(server->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(server->listen_fd, (struct sockaddr *)&address, size) != 0 ||
        listen(server->listen_fd, CONNECTIONS_MAX) != 0 ||
        getsockname(server->listen_fd, (struct sockaddr *)&address, &size) != 0) {
        fail("listen");
    }
    return ntohs(address.sin_port);
}

static void server_open(struct server *server)
{
    void *arena =
        mmap(NULL, server->arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    server->gathers = calloc(GATHERS_MAX, sizeof(*server->gathers));
    server->waiters = calloc(WAITING_MAX, sizeof(*server->waiters));
    if (arena == MAP_FAILED || server->gathers == NULL || server->waiters == NULL) {
        fail("memory");
    }
    server->arena = arena;
    /* Touched now: a first touch costs more than all the rest. */
    memset(server->arena, 0, server->arena_bytes);
    file_open(server);
    ring_open(&server->ring);
    uint32_t port = listen_open(server);
    fprintf(stderr, "yardstick ready listen=127.0.0.1:%u\n", port);
}

static bool read_words(struct server *server, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        uint64_t number = value == NULL ? 0 : strtoull(value, NULL, 10);
        if (strcmp(argv[i], "--fresh") == 0) {
            server->fresh = true;
            i--;
        } else if (value != NULL && strcmp(argv[i], "--port") == 0) {
            server->port = (uint32_t)number;
        } else if (value != NULL && strcmp(argv[i], "--file") == 0) {
            server->path = value;
        } else if (value != NULL && strcmp(argv[i], "--file-mib") == 0) {
            server->file_bytes = MIB(number);
        } else if (value != NULL && strcmp(argv[i], "--memory-mib") == 0) {
            server->arena_bytes = MIB(number);
        } else {
            return false;
        }
    }
    return server->path != NULL && server->port <= UINT16_MAX && server->arena_bytes >= MIB(64) &&
           server->file_bytes % server->arena_bytes == 0;
}

int main(int argc, char **argv)
{
    static struct server server = {.file_bytes = GIB(1), .arena_bytes = GIB(1)};
    if (!read_words(&server, argc, argv)) {
        fprintf(stderr, "floe_yardstick --file FILE [--port P] [--fresh] [--memory-mib N: 64 or "
                        "more] [--file-mib N: a multiple of it]\n");
        return 2;
    }
    server_open(&server);
    serve(&server);
}
