/* The fallback, and the readable reference: poll(2), non-blocking sockets, a helper thread for
 * files.
 *
 *     submit   a socket operation is tried at once; if it would block, its io waits in the slot
 *              of its descriptor: one reader (accept, recv) and one writer (send, connect) each
 *     poll     poll(2) over the descriptors that somebody waits for, and the wake-up pipe
 *     files    all but CLOSE in the helper; their completions come home by reactor_post()
 *
 * A received piece goes into a lent buffer only at the moment when it is there, so idle connections
 * cost a slot of the table and nothing else. Without a free buffer a reader that has bytes leaves
 * the poll set, which would report it for ever, and waits in `starved` for a released one. */
#include "core/assert.h"
#include "core/io_socket.h"
#include "core/os.h"
#include "core/reactor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Who waits on a descriptor. `place` is 1 + its index in the poll set, 0 = not in it. */
struct posix_slot {
    struct io *reader, *writer;
    uint32_t place;
};

struct posix_engine {
    int wake_read, wake_write;
    struct io_helper *helper;
    bool helper_own;
    struct posix_slot *slots; /* By descriptor. */
    uint32_t slot_capacity;
    struct pollfd *set; /* [0] is the pipe. */
    uint32_t set_count, set_capacity;
    uint8_t *buffers;
    uint32_t *buffers_free;
    uint32_t buffers_free_count;
    struct io_list starved; /* Readers that have bytes and no buffer; in their slots as well. */
};

enum { POSIX_VECTORS_MAX = 1024 }; /* Of one sendmsg(): the least IOV_MAX of the systems we know. */

/* The engine's note in an io. SEND: bytes so far; CONNECT: it has begun; RECV: it is starved. */
enum { NOTE = 0 };

static struct posix_engine *posix_state(struct reactor *reactor)
{
    return reactor->engine_state;
}

static bool posix_make_pipe(struct posix_engine *engine)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        (void)fcntl(ends[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
    engine->wake_read = ends[0];
    engine->wake_write = ends[1];
    return true;
}

static void posix_free(struct posix_engine *engine)
{
    if (engine->helper_own && engine->helper != NULL) {
        io_helper_stop(engine->helper);
    }
    if (engine->wake_read >= 0) {
        close(engine->wake_read);
        close(engine->wake_write);
    }
    free(engine->slots);
    free(engine->set);
    free(engine->buffers);
    free(engine->buffers_free);
    free(engine);
}

static enum err posix_open(struct reactor *reactor, const struct io_engine_options *options)
{
    struct posix_engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL) {
        return ERR_NO_MEMORY;
    }
    engine->wake_read = -1;
    engine->helper = options->helper;
    engine->buffers = malloc((size_t)options->recv_count * options->recv_size);
    engine->buffers_free = calloc(options->recv_count, sizeof(uint32_t));
    engine->set_capacity = 64;
    engine->set = calloc(engine->set_capacity, sizeof(*engine->set));
    bool piped = posix_make_pipe(engine);
    if (engine->helper == NULL) {
        engine->helper_own = true;
        engine->helper = io_helper_start();
    }
    if (engine->buffers == NULL || engine->buffers_free == NULL || engine->set == NULL || !piped ||
        engine->helper == NULL) {
        posix_free(engine);
        return ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < options->recv_count; i++) {
        engine->buffers_free[i] = options->recv_count - 1 - i;
    }
    engine->buffers_free_count = options->recv_count;
    engine->set[0] = (struct pollfd){.fd = engine->wake_read, .events = POLLIN};
    engine->set_count = 1;
    reactor->engine_state = engine;
    return OK;
}

/* posix_close() is a function of POSIX 2024, and of musl. */
static void posix_end(struct reactor *reactor)
{
    posix_free(posix_state(reactor));
    reactor->engine_state = NULL;
}

/* The slot of `fd`; the table grows to fit. NULL without memory. */
static struct posix_slot *posix_slot(struct posix_engine *engine, int fd)
{
    ASSERT(fd >= 0);
    uint32_t index = (uint32_t)fd;
    if (index >= engine->slot_capacity) {
        uint32_t capacity = max_u32(64, engine->slot_capacity);
        while (capacity <= index) {
            capacity *= 2;
        }
        struct posix_slot *slots = realloc(engine->slots, capacity * sizeof(*slots));
        if (slots == NULL) {
            return NULL;
        }
        memset(slots + engine->slot_capacity, 0,
               (capacity - engine->slot_capacity) * sizeof(*slots));
        engine->slots = slots;
        engine->slot_capacity = capacity;
    }
    return &engine->slots[index];
}

static bool posix_starves(const struct io *io)
{
    return io->op == IO_RECV && io->engine[NOTE] != 0;
}

/* Makes the poll set say what the slot waits for. */
static bool posix_watch(struct posix_engine *engine, int fd, struct posix_slot *slot)
{
    bool reads = slot->reader != NULL && !posix_starves(slot->reader);
    short events = (short)((reads ? POLLIN : 0) | (slot->writer != NULL ? POLLOUT : 0));
    if (events == 0) {
        if (slot->place != 0) {
            uint32_t index = slot->place - 1;
            engine->set_count--;
            engine->set[index] = engine->set[engine->set_count];
            engine->slots[engine->set[index].fd].place = index + 1;
            slot->place = 0;
        }
        return true;
    }
    if (slot->place == 0) {
        if (engine->set_count == engine->set_capacity) {
            uint32_t capacity = engine->set_capacity * 2;
            struct pollfd *set = realloc(engine->set, capacity * sizeof(*set));
            if (set == NULL) {
                return false;
            }
            engine->set = set;
            engine->set_capacity = capacity;
        }
        slot->place = ++engine->set_count;
    }
    engine->set[slot->place - 1] = (struct pollfd){.fd = fd, .events = events};
    return true;
}

/* Each try_ returns false if it would block; else *result is what the io completes with. */
static bool posix_try_accept(const struct io *io, int32_t *result)
{
    int fd;
    do {
        fd = os_accept(io->fd);
    } while (fd < 0 && errno == ECONNABORTED);
    if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return false;
    }
    if (fd >= 0) {
        socket_prepare_accepted(fd);
    }
    *result = fd >= 0 ? fd : (int32_t)io_op_err(io->op, errno);
    return true;
}

static bool posix_try_recv(struct reactor *reactor, struct io *io, int32_t *result)
{
    struct posix_engine *engine = posix_state(reactor);
    bool lend = io->recv.data == NULL;
    uint8_t *data = io->recv.data;
    uint32_t size = io->recv.size;
    uint32_t buffer = 0;
    if (lend) {
        if (engine->buffers_free_count == 0) {
            enum socket_view view = socket_look(io->fd);
            io->engine[NOTE] = view == SOCKET_READY;
            *result = 0;
            return view == SOCKET_ENDED; /* That needs no buffer. */
        }
        buffer = engine->buffers_free[engine->buffers_free_count - 1];
        size = reactor->io_options.recv_size;
        data = engine->buffers + (size_t)buffer * size;
    }
    ssize_t rc;
    do {
        rc = recv(io->fd, data, size, 0);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return false;
    }
    if (rc > 0 && lend) {
        engine->buffers_free_count--;
        io->recv.data = data;
        io->recv.lent = buffer + 1;
    }
    io->recv.more = rc > 0 && (size_t)rc == size && socket_look(io->fd) == SOCKET_READY;
    *result = rc >= 0 ? (int32_t)rc : (int32_t)io_op_err(io->op, errno);
    return true;
}

static bool posix_try_send(struct io *io, int32_t *result)
{
    while (io->send.count > 0) {
        /* Its type is an int here and a size_t there. */
        const uint16_t count = (uint16_t)min_u32(io->send.count, POSIX_VECTORS_MAX);
        struct msghdr message = {.msg_iov = io->send.vectors, .msg_iovlen = count};
        ssize_t rc = sendmsg(io->fd, &message, MSG_NOSIGNAL);
        if (rc < 0 && errno == EINTR) {
            continue;
        }
        if (rc < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return false;
        }
        if (rc < 0) {
            *result = io_op_err(io->op, errno);
            return true;
        }
        io->engine[NOTE] += (uint64_t)rc;
        io_send_consume(io, (size_t)rc);
    }
    *result = (int32_t)io->engine[NOTE];
    return true;
}

static bool posix_try_connect(struct io *io, int32_t *result)
{
    if (io->engine[NOTE] == 0) {
        struct sockaddr_storage storage;
        socklen_t length = socket_address_to(&io->connect.address, &storage);
        io->engine[NOTE] = 1;
        if (connect(io->fd, (const struct sockaddr *)&storage, length) == 0) {
            *result = io->fd;
            return true;
        }
        if (errno == EINPROGRESS || errno == EINTR) {
            return false;
        }
    } else {
        int error = 0;
        socklen_t length = sizeof(error);
        (void)getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error == 0) {
            *result = io->fd;
            return true;
        }
        errno = error;
    }
    *result = io_op_err(io->op, errno);
    close(io->fd);
    return true;
}

static bool posix_try(struct reactor *reactor, struct io *io, int32_t *result)
{
    if (io->op == IO_ACCEPT) {
        return posix_try_accept(io, result);
    }
    if (io->op == IO_RECV) {
        return posix_try_recv(reactor, io, result);
    }
    if (io->op == IO_SEND) {
        return posix_try_send(io, result);
    }
    ASSERT(io->op == IO_CONNECT);
    return posix_try_connect(io, result);
}

/* Completes `io` or lets it wait in its slot. */
static void posix_socket(struct reactor *reactor, struct io *io)
{
    struct posix_engine *engine = posix_state(reactor);
    int32_t result = OK;
    if (posix_try(reactor, io, &result)) {
        io_complete(reactor, io, result);
        return;
    }
    struct posix_slot *slot = posix_slot(engine, io->fd);
    if (slot == NULL) {
        io_complete(reactor, io, ERR_NO_MEMORY);
        return;
    }
    bool writes = io->op == IO_SEND || io->op == IO_CONNECT;
    struct io **place = writes ? &slot->writer : &slot->reader;
    ASSERT(*place == NULL);
    *place = io;
    if (!posix_watch(engine, io->fd, slot)) {
        *place = NULL;
        io_complete(reactor, io, ERR_NO_MEMORY);
    } else if (posix_starves(io)) {
        io_list_push(&engine->starved, io);
    }
}

static void posix_connect(struct reactor *reactor, struct io *io)
{
    io->fd = socket_for_connect(&io->connect.address);
    if (io->fd < 0) {
        io_complete(reactor, io, io->fd);
        return;
    }
    posix_socket(reactor, io);
}

static void posix_submit(struct reactor *reactor, struct io *batch)
{
    struct posix_engine *engine = posix_state(reactor);
    while (batch != NULL) {
        struct io *io = batch;
        batch = io->next;
        io->next = NULL;
        switch (io->op) {
        case IO_LISTEN:
            io_complete(reactor, io, socket_listen(io));
            break;
        case IO_ACCEPT:
        case IO_RECV:
        case IO_SEND:
            posix_socket(reactor, io);
            break;
        case IO_CONNECT:
            posix_connect(reactor, io);
            break;
        case IO_CLOSE:
        case IO_WRITE:
            if (io_is_done_at_once(io)) {
                io_complete(reactor, io, io_execute(io));
            } else {
                io_helper_submit(engine->helper, reactor, io);
            }
            break;
        case IO_READ:
        case IO_SYNC:
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
            io_helper_submit(engine->helper, reactor, io);
            break;
        case IO_NONE:
            UNREACHABLE();
        }
    }
}

/* One ready direction of a descriptor. */
static uint32_t posix_ready(struct reactor *reactor, int fd, bool write)
{
    struct posix_engine *engine = posix_state(reactor);
    struct posix_slot *slot = &engine->slots[fd];
    struct io **place = write ? &slot->writer : &slot->reader;
    struct io *io = *place;
    int32_t result = OK;
    if (io == NULL || posix_starves(io)) {
        return 0;
    }
    bool done = posix_try(reactor, io, &result);
    if (done) {
        *place = NULL;
    } else if (posix_starves(io)) {
        io_list_push(&engine->starved, io);
    }
    bool watched = posix_watch(engine, fd, slot);
    ASSERT(watched); /* It only shrinks. */
    if (done) {
        io_complete(reactor, io, result);
    }
    return done;
}

/* Gives buffers to those that starve, in order. */
static uint32_t posix_feed(struct reactor *reactor)
{
    struct posix_engine *engine = posix_state(reactor);
    uint32_t fired = reactor->ready.count;
    struct io *io;
    while (engine->buffers_free_count > 0 && (io = io_list_pop(&engine->starved)) != NULL) {
        struct posix_slot *slot = &engine->slots[io->fd];
        ASSERT(slot->reader == io);
        slot->reader = NULL;
        io->engine[NOTE] = 0;
        posix_socket(reactor, io);
    }
    return reactor->ready.count - fired;
}

static void posix_drain_pipe(const struct posix_engine *engine)
{
    char bytes[256];
    while (read(engine->wake_read, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes)) {
    }
}

/* poll(2) wants milliseconds: rounded up, so that a timer is not polled for. */
static int posix_timeout(uint64_t wait_ns)
{
    if (wait_ns == UINT64_MAX) {
        return -1;
    }
    return (int)min_u64(div_ceil(wait_ns, NS_PER_MS), 1000000);
}

static uint32_t posix_poll(struct reactor *reactor, uint64_t wait_ns)
{
    struct posix_engine *engine = posix_state(reactor);
    uint32_t fired = posix_feed(reactor);
    stats_add(&reactor->stats, STAT_KERNEL_ENTRIES, 1);
    int ready = poll(engine->set, engine->set_count, posix_timeout(fired > 0 ? 0 : wait_ns));
    /* Backwards: a descriptor that leaves the set is replaced by one that was looked at already. */
    for (uint32_t i = engine->set_count; i-- > 0 && ready > 0;) {
        if (i >= engine->set_count || engine->set[i].revents == 0) {
            continue;
        }
        short events = engine->set[i].revents;
        int fd = engine->set[i].fd;
        engine->set[i].revents = 0;
        ready--;
        if (i == 0) {
            posix_drain_pipe(engine);
            continue;
        }
        short broken = (short)(events & (POLLERR | POLLHUP | POLLNVAL));
        if ((events & POLLIN) != 0 || broken != 0) {
            fired += posix_ready(reactor, fd, false);
        }
        if ((events & POLLOUT) != 0 || broken != 0) {
            fired += posix_ready(reactor, fd, true);
        }
    }
    return fired;
}

static void posix_wake(struct reactor *self, struct reactor *peer)
{
    (void)self;
    const struct posix_engine *engine = posix_state(peer);
    ssize_t rc = write(engine->wake_write, "w", 1);
    MAYBE(rc < 0); /* A full pipe wakes as well. */
}

static void posix_recv_release(struct reactor *reactor, struct io *io)
{
    struct posix_engine *engine = posix_state(reactor);
    ASSERT(io->recv.lent > 0);
    engine->buffers_free[engine->buffers_free_count++] = io->recv.lent - 1;
}

/* poll(2) reports the end of what is in its set; what starves is not. */
static void posix_socket_shutdown(struct reactor *reactor, int fd)
{
    struct posix_engine *engine = posix_state(reactor);
    (void)shutdown(fd, SHUT_RDWR);
    struct io *io = io_list_take(&engine->starved, fd);
    if (io != NULL) {
        ASSERT(engine->slots[fd].reader == io);
        engine->slots[fd].reader = NULL;
        io_complete(reactor, io, 0);
    }
}

static enum err posix_socket_name(struct reactor *reactor, int fd, bool peer,
                                  struct io_address *address)
{
    (void)reactor;
    return socket_name(fd, peer, address);
}

static void posix_describe(struct reactor *reactor, char *text, uint32_t size)
{
    snprintf(text, size, "io=posix recv_buffers=%ux%u helper=%s", reactor->io_options.recv_count,
             reactor->io_options.recv_size, posix_state(reactor)->helper_own ? "own" : "shared");
}

const struct io_engine io_engine_posix = {
    .name = "posix",
    .open = posix_open,
    .submit = posix_submit,
    .poll = posix_poll,
    .wake = posix_wake,
    .now_ns = io_clock_now_ns,
    .wall_ms = io_clock_wall_ms,
    .recv_release = posix_recv_release,
    .socket_shutdown = posix_socket_shutdown,
    .socket_end_receive = socket_end_receive,
    .socket_limit = socket_limit,
    .socket_name = posix_socket_name,
    .describe = posix_describe,
    .close = posix_end,
};
