/* The default on Linux: one private io_uring per reactor.
 *
 *     ring     SINGLE_ISSUER | DEFER_TASKRUN where the kernel has them, tried in descending
 *              order; made in the reactor's own thread; its descriptor is registered
 *     recv     one-shot with a provided buffer ring: an idle connection holds no buffer. ENOBUFS
 *              puts the io into `starved`, where it is until a buffer is free or its socket ends
 *     send     MSG_WAITALL; what is still left is sent again
 *     files    READ, WRITE (RWF_DSYNC) and SYNC on the ring, copies at once, else the helper
 *     wake     an eventfd with a read always armed on it
 *     full SQ  ios wait in `backlog`, in order
 *
 * user_data is the io's address; 0 is the eventfd's read. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/io_map.h"
#include "core/io_socket.h"
#include "core/reactor.h"

#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { URING_GROUP = 1, URING_CQ_FACTOR = 8, URING_VECTORS_MAX = 1024 };

struct uring_engine {
    struct io_uring ring;
    unsigned flags; /* That the kernel took. */
    bool ring_registered, event_armed, helper_own;
    bool denied; /* The kernel said ENOBUFS, and no buffer has come back since. */
    int event_fd;
    uint64_t event_value;
    struct io_uring_buf_ring *buffers_ring;
    size_t buffers_ring_bytes;
    uint8_t *buffers;
    uint32_t lent; /* Buffers that are out; the kernel has the others. */
    struct io_helper *helper;
    struct io_list backlog, starved;
};

/* engine[] notes of an io in this engine; a CONNECT has its address there instead. */
enum {
    NOTE_DONE,       /* SEND, READ: bytes so far. */
    NOTE_MESSAGE,    /* SEND: the struct msghdr. */
    NOTE_FILE_SYNC,  /* WRITE: its second step, the sync, is under way. */
    NOTE_FILE_STEPS, /* WRITE: there are two steps. */
};

static struct uring_engine *uring_state(struct reactor *reactor)
{
    return reactor->engine_state;
}

/* The best set of flags that this kernel takes, then a smaller completion queue if memory is short.
 */
static int uring_make_ring(struct uring_engine *engine, uint32_t entries)
{
    static const unsigned sets[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    int rc = -EINVAL;
    for (uint32_t factor = URING_CQ_FACTOR; factor >= 2; factor /= 2) {
        for (uint32_t i = 0; i < ARRAY_COUNT(sets); i++) {
            struct io_uring_params params = {.flags = sets[i] | IORING_SETUP_CQSIZE,
                                             .cq_entries = entries * factor};
            rc = io_uring_queue_init_params(entries, &engine->ring, &params);
            if (rc == 0) {
                engine->flags = sets[i];
                if ((params.features & IORING_FEAT_EXT_ARG) != 0) {
                    return 0;
                }
                io_uring_queue_exit(&engine->ring);
                return -ENOSYS;
            }
            if (rc != -EINVAL) {
                break;
            }
        }
        if (rc != -ENOMEM) {
            break;
        }
    }
    return rc;
}

static enum err uring_make_buffers(struct uring_engine *engine, uint32_t count, uint32_t size)
{
    ASSERT(is_power_of_two(count));
    engine->buffers_ring_bytes = count * sizeof(struct io_uring_buf);
    void *ring = mmap(NULL, engine->buffers_ring_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *buffers = mmap(NULL, (size_t)count * size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    engine->buffers_ring = ring == MAP_FAILED ? NULL : ring;
    engine->buffers = buffers == MAP_FAILED ? NULL : buffers;
    if (engine->buffers_ring == NULL || engine->buffers == NULL) {
        return ERR_NO_MEMORY;
    }
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)ring, .ring_entries = count, .bgid = URING_GROUP};
    if (io_uring_register_buf_ring(&engine->ring, &registration, 0) != 0) {
        return ERR_UNSUPPORTED; /* Before 5.19: the posix engine serves there. */
    }
    io_uring_buf_ring_init(engine->buffers_ring);
    for (uint32_t i = 0; i < count; i++) {
        io_uring_buf_ring_add(engine->buffers_ring, engine->buffers + (size_t)i * size, size,
                              (unsigned short)i, io_uring_buf_ring_mask(count), (int)i);
    }
    io_uring_buf_ring_advance(engine->buffers_ring, (int)count);
    return OK;
}

static void uring_free(struct uring_engine *engine, const struct io_engine_options *options,
                       bool ring)
{
    /* First: a helper that has just posted may still be about to write to the eventfd. */
    if (engine->helper_own && engine->helper != NULL) {
        io_helper_stop(engine->helper);
    }
    if (ring) {
        io_uring_queue_exit(&engine->ring);
    }
    if (engine->event_fd >= 0) {
        close(engine->event_fd);
    }
    if (engine->buffers_ring != NULL) {
        munmap(engine->buffers_ring, engine->buffers_ring_bytes);
    }
    if (engine->buffers != NULL) {
        munmap(engine->buffers, (size_t)options->recv_count * options->recv_size);
    }
    free(engine);
}

static enum err uring_open_rest(struct uring_engine *engine,
                                const struct io_engine_options *options)
{
    engine->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    engine->helper = options->helper;
    if (engine->helper == NULL) {
        engine->helper_own = true;
        engine->helper = io_helper_start();
    }
    if (engine->event_fd < 0 || engine->helper == NULL) {
        return ERR_NO_MEMORY;
    }
    engine->ring_registered = io_uring_register_ring_fd(&engine->ring) == 1;
    return uring_make_buffers(engine, options->recv_count, options->recv_size);
}

static enum err uring_open(struct reactor *reactor, const struct io_engine_options *options)
{
    struct uring_engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL) {
        return ERR_NO_MEMORY;
    }
    engine->event_fd = -1;
    int rc = uring_make_ring(engine, options->entries);
    if (rc != 0) {
        uring_free(engine, options, false);
        return io_err_from_errno(-rc);
    }
    enum err err = uring_open_rest(engine, options);
    if (err != OK) {
        uring_free(engine, options, true);
        return err;
    }
    reactor->engine_state = engine;
    return OK;
}

static void uring_close(struct reactor *reactor)
{
    uring_free(uring_state(reactor), &reactor->io_options, true);
    reactor->engine_state = NULL;
}

/* The message of a SEND lives in memory of its own while the kernel reads it. */
static bool uring_prepare_send(struct io *io, struct io_uring_sqe *sqe)
{
    struct msghdr *message = (struct msghdr *)(uintptr_t)io->engine[NOTE_MESSAGE];
    if (message == NULL) {
        message = calloc(1, sizeof(*message));
        if (message == NULL) {
            return false;
        }
        io->engine[NOTE_MESSAGE] = (uint64_t)(uintptr_t)message;
    }
    message->msg_iov = io->send.vectors;
    message->msg_iovlen = min_u32(io->send.count, URING_VECTORS_MAX);
    io_uring_prep_sendmsg(sqe, io->fd, message, MSG_NOSIGNAL | MSG_WAITALL);
    return true;
}

static void uring_prepare_recv(struct reactor *reactor, const struct io *io,
                               struct io_uring_sqe *sqe)
{
    if (io->recv.data != NULL) {
        io_uring_prep_recv(sqe, io->fd, io->recv.data, io->recv.size, 0);
        return;
    }
    io_uring_prep_recv(sqe, io->fd, NULL, reactor->io_options.recv_size, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = URING_GROUP;
}

/* The address must stay put: it takes the place of the notes, which a connect has no use for. */
static void uring_prepare_connect(struct io *io, struct io_uring_sqe *sqe)
{
    struct sockaddr_storage storage;
    socklen_t length = socket_address_to(&io->connect.address, &storage);
    _Static_assert(sizeof(struct sockaddr_in6) <= sizeof(io->engine), "the notes hold an address");
    ASSERT(length <= sizeof(io->engine));
    memcpy(io->engine, &storage, length);
    io_uring_prep_connect(sqe, io->fd, (const struct sockaddr *)io->engine, length);
}

/* Fills `sqe`; false: completed already, the sqe becomes a no-op. */
static bool uring_prepare(struct reactor *reactor, struct io *io, struct io_uring_sqe *sqe)
{
    if (io->op == IO_ACCEPT) {
        io_uring_prep_accept(sqe, io->fd, NULL, NULL, SOCK_CLOEXEC);
    } else if (io->op == IO_RECV) {
        uring_prepare_recv(reactor, io, sqe);
    } else if (io->op == IO_SEND) {
        return uring_prepare_send(io, sqe);
    } else if (io->op == IO_CONNECT) {
        uring_prepare_connect(io, sqe);
    } else if (io->op == IO_READ) {
        uint32_t done = (uint32_t)io->engine[NOTE_DONE];
        io_uring_prep_read(sqe, io->fd, io->read.data + done, io->read.size - done,
                           io->read.position + done);
    } else if (io->op == IO_WRITE && io->engine[NOTE_FILE_SYNC] == 0) {
        io_uring_prep_write(sqe, io->fd, io->write.data, io->write.size, io->write.position);
        if ((io->flags & IO_WRITE_DURABLE) != 0) {
            sqe->rw_flags = RWF_DSYNC;
        }
    } else if (MUTANT("no-dsync")) {
        io_uring_prep_nop(sqe);
    } else {
        ASSERT(io->op == IO_SYNC || io->op == IO_WRITE);
        io_uring_prep_fsync(sqe, io->fd, IORING_FSYNC_DATASYNC);
    }
    return true;
}

/* Puts `io` onto the ring, or behind those that wait for room. */
static void uring_enqueue(struct reactor *reactor, struct io *io)
{
    struct uring_engine *engine = uring_state(reactor);
    struct io_uring_sqe *sqe =
        engine->backlog.head == NULL ? io_uring_get_sqe(&engine->ring) : NULL;
    if (sqe == NULL) {
        io_list_push(&engine->backlog, io);
        return;
    }
    if (uring_prepare(reactor, io, sqe)) {
        io_uring_sqe_set_data(sqe, io);
    } else {
        io_uring_prep_nop(sqe);
        io_uring_sqe_set_data64(sqe, 1);
        io_complete(reactor, io, ERR_NO_MEMORY);
    }
}

/* A copy here and now, which goes on as a flush of its file. False: it failed. */
static bool uring_write_mapped(struct reactor *reactor, struct io *io)
{
    int32_t result = io_map_write(io->fd, io->write.data, io->write.size, io->write.position);
    io->engine[NOTE_FILE_SYNC] = 1;
    if (result < 0) {
        io_complete(reactor, io, result);
    }
    return result >= 0;
}

static void uring_connect(struct reactor *reactor, struct io *io)
{
    io->fd = socket_for_connect(&io->connect.address);
    io->fd < 0 ? io_complete(reactor, io, io->fd) : uring_enqueue(reactor, io);
}

static void uring_submit(struct reactor *reactor, struct io *batch)
{
    struct uring_engine *engine = uring_state(reactor);
    while (batch != NULL) {
        struct io *io = batch;
        batch = io->next;
        io->next = NULL;
        if (io_is_helper_op(io->op)) {
            io_helper_submit(engine->helper, reactor, io);
        } else if (io->op == IO_LISTEN) {
            io_complete(reactor, io, socket_listen(io));
        } else if (io_is_done_at_once(io)) {
            /* On the ring most file systems hand a copy to a worker: several times as dear. */
            io_complete(reactor, io, io_execute(io));
        } else if (io->op == IO_CONNECT) {
            uring_connect(reactor, io);
        } else if (io->op != IO_WRITE || !io_map_has(io->fd) || uring_write_mapped(reactor, io)) {
            uring_enqueue(reactor, io);
        }
    }
}

static void uring_reap_send(struct reactor *reactor, struct io *io, int32_t result)
{
    if (result > 0) {
        io->engine[NOTE_DONE] += (uint64_t)result;
        io_send_consume(io, (size_t)result);
        if (io->send.count > 0) {
            uring_enqueue(reactor, io);
            return;
        }
        result = (int32_t)io->engine[NOTE_DONE];
    } else {
        result = result < 0 ? (int32_t)io_op_err(io->op, -result) : (int32_t)ERR_CONNECTION;
    }
    free((void *)(uintptr_t)io->engine[NOTE_MESSAGE]);
    io->engine[NOTE_MESSAGE] = 0;
    io_complete(reactor, io, result);
}

/* A socket that has ended needs no buffer: this is how a shutdown ends a receive that the kernel
 * had when all buffers were out. */
static void uring_starve(struct reactor *reactor, struct io *io)
{
    struct uring_engine *engine = uring_state(reactor);
    engine->denied = true;
    if (socket_look(io->fd) == SOCKET_ENDED) {
        io_complete(reactor, io, 0);
    } else {
        io_list_push(&engine->starved, io);
    }
}

/* Lets as many starved ios try, in order, as there are buffers. Each takes one, or ends, or waits
 * in the kernel, which needs none: then the next ones try at once. Returns how long to wait. */
static uint64_t uring_feed(struct reactor *reactor, uint64_t wait_ns)
{
    struct uring_engine *engine = uring_state(reactor);
    uint32_t left = reactor->io_options.recv_count - engine->lent;
    if (engine->starved.head == NULL || left == 0) {
        return wait_ns;
    }
    if (engine->denied) {
        /* A buffer that is neither out nor free: the kernel is asked again, but not in a circle. */
        engine->denied = false;
        return min_u64(wait_ns, NS_PER_MS);
    }
    struct io *io;
    for (; left > 0 && (io = io_list_pop(&engine->starved)) != NULL; left--) {
        io_list_push(&engine->backlog, io);
    }
    return engine->starved.head == NULL ? wait_ns : 0;
}

static void uring_reap_recv(struct reactor *reactor, struct io *io, int32_t result,
                            uint32_t cqe_flags)
{
    struct uring_engine *engine = uring_state(reactor);
    if (result == -ENOBUFS && io->recv.data == NULL) {
        uring_starve(reactor, io);
        return;
    }
    if ((cqe_flags & IORING_CQE_F_BUFFER) != 0) {
        uint32_t buffer = cqe_flags >> IORING_CQE_BUFFER_SHIFT;
        ASSERT(engine->lent < reactor->io_options.recv_count);
        engine->lent++;
        io->recv.lent = buffer + 1;
        io->recv.data = engine->buffers + (size_t)buffer * reactor->io_options.recv_size;
        if (result <= 0) {
            io_recv_release(reactor, io);
        }
    }
    io->recv.more = result > 0 && (cqe_flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
    io_complete(reactor, io, result < 0 ? (int32_t)io_op_err(io->op, -result) : result);
}

/* A short read is no end: only a read of nothing is. */
static void uring_reap_read(struct reactor *reactor, struct io *io, int32_t result)
{
    uint32_t done = (uint32_t)io->engine[NOTE_DONE];
    if (result < 0 && (result != -EINVAL || done == 0)) {
        io_complete(reactor, io, io_op_err(IO_READ, -result));
        return;
    }
    /* EINVAL behind some bytes: O_DIRECT, past an end that is not on a block: there is no more. */
    done += result > 0 ? (uint32_t)result : 0;
    ASSERT(done <= io->read.size);
    if (result > 0 && done < io->read.size) {
        io->engine[NOTE_DONE] = done;
        uring_enqueue(reactor, io);
        return;
    }
    io_complete(reactor, io, (int32_t)done);
}

static void uring_reap_file(struct reactor *reactor, struct io *io, int32_t result)
{
    if (io->op == IO_WRITE && io->engine[NOTE_FILE_SYNC] == 0) {
        if (result == -EOPNOTSUPP && (io->flags & IO_WRITE_DURABLE) != 0) {
            /* A file system without RWF_DSYNC: the same in two steps. */
            io->flags &= ~(uint32_t)IO_WRITE_DURABLE;
            io->engine[NOTE_FILE_STEPS] = 1;
            uring_enqueue(reactor, io);
            return;
        }
        if (result >= 0 && (uint32_t)result != io->write.size) {
            result = -EIO;
        }
        if (result >= 0 && io->engine[NOTE_FILE_STEPS] == 1) {
            io->engine[NOTE_FILE_SYNC] = 1;
            uring_enqueue(reactor, io);
            return;
        }
    } else if (io->op == IO_WRITE && result == 0) {
        result = (int32_t)io->write.size;
    }
    io_complete(reactor, io, result < 0 ? (int32_t)io_op_err(io->op, -result) : result);
}

static void uring_reap_connected(struct reactor *reactor, struct io *io, int32_t result)
{
    if (io->op == IO_CONNECT) {
        if (result == 0) {
            result = io->fd;
        } else {
            close(io->fd);
        }
    } else if (result >= 0) {
        socket_prepare_accepted(result);
    }
    io_complete(reactor, io, result < 0 ? (int32_t)io_op_err(io->op, -result) : result);
}

static void uring_reap(struct reactor *reactor, struct io *io, int32_t result, uint32_t cqe_flags)
{
    if (result == -EINTR || result == -EAGAIN) {
        uring_enqueue(reactor, io);
    } else if (io->op == IO_SEND) {
        uring_reap_send(reactor, io, result);
    } else if (io->op == IO_RECV) {
        uring_reap_recv(reactor, io, result, cqe_flags);
    } else if (io->op == IO_CONNECT || io->op == IO_ACCEPT) {
        uring_reap_connected(reactor, io, result);
    } else if (io->op == IO_READ) {
        uring_reap_read(reactor, io, result);
    } else {
        uring_reap_file(reactor, io, result);
    }
}

static void uring_arm_event(struct uring_engine *engine)
{
    struct io_uring_sqe *sqe = engine->event_armed ? NULL : io_uring_get_sqe(&engine->ring);
    if (sqe != NULL) {
        io_uring_prep_read(sqe, engine->event_fd, &engine->event_value, sizeof(engine->event_value),
                           0);
        io_uring_sqe_set_data64(sqe, 0);
        engine->event_armed = true;
    }
}

static uint32_t uring_reap_all(struct reactor *reactor)
{
    struct uring_engine *engine = uring_state(reactor);
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;
    uint32_t fired = reactor->ready.count;
    io_uring_for_each_cqe(&engine->ring, head, cqe)
    {
        seen++;
        if (cqe->user_data == 0) {
            engine->event_armed = false;
        } else if (cqe->user_data != 1) {
            struct io *io = (struct io *)(uintptr_t)cqe->user_data;
            uring_reap(reactor, io, cqe->res, cqe->flags);
        }
    }
    io_uring_cq_advance(&engine->ring, seen);
    return reactor->ready.count - fired;
}

/* The kernel says that it has nothing for us, we have nothing for it, and there is work already. */
static bool uring_may_skip(struct reactor *reactor)
{
    const struct uring_engine *engine = uring_state(reactor);
    bool told = (engine->flags & IORING_SETUP_TASKRUN_FLAG) != 0 &&
                (*(volatile unsigned *)engine->ring.sq.kflags &
                 (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) == 0;
    return told && reactor_has_work(reactor) && io_uring_sq_ready(&engine->ring) == 0;
}

static uint32_t uring_poll(struct reactor *reactor, uint64_t wait_ns)
{
    struct uring_engine *engine = uring_state(reactor);
    uring_arm_event(engine);
    wait_ns = uring_feed(reactor, wait_ns);
    struct io_list backlog = engine->backlog;
    engine->backlog = (struct io_list){0};
    struct io *io;
    while ((io = io_list_pop(&backlog)) != NULL) {
        uring_enqueue(reactor, io);
    }
    if (engine->backlog.head != NULL || !engine->event_armed) {
        wait_ns = 0; /* The SQ is full: something has not reached the kernel yet. */
    }
    if (wait_ns == 0 && uring_may_skip(reactor)) {
        return uring_reap_all(reactor);
    }
    stats_add(&reactor->stats, STAT_KERNEL_ENTRIES, 1);
    if (wait_ns == 0) {
        (void)io_uring_submit_and_get_events(&engine->ring);
    } else {
        struct __kernel_timespec timeout = {.tv_sec = (int64_t)(wait_ns / NS_PER_S),
                                            .tv_nsec = (long long)(wait_ns % NS_PER_S)};
        struct io_uring_cqe *first = NULL;
        (void)io_uring_submit_and_wait_timeout(&engine->ring, &first, 1,
                                               wait_ns == UINT64_MAX ? NULL : &timeout, NULL);
    }
    return uring_reap_all(reactor);
}

static void uring_wake(struct reactor *self, struct reactor *peer)
{
    (void)self;
    uint64_t one = 1;
    ssize_t rc = write(uring_state(peer)->event_fd, &one, sizeof(one));
    MAYBE(rc < 0); /* A full counter wakes as well. */
}

static void uring_recv_release(struct reactor *reactor, struct io *io)
{
    struct uring_engine *engine = uring_state(reactor);
    const struct io_engine_options *options = &reactor->io_options;
    uint32_t buffer = io->recv.lent - 1;
    ASSERT(buffer < options->recv_count);
    ASSERT(engine->lent > 0);
    io_uring_buf_ring_add(engine->buffers_ring,
                          engine->buffers + (size_t)buffer * options->recv_size, options->recv_size,
                          (unsigned short)buffer, io_uring_buf_ring_mask(options->recv_count), 0);
    io_uring_buf_ring_advance(engine->buffers_ring, 1);
    engine->lent--;
    engine->denied = false;
}

/* The kernel ends what it has; what starves it does not have. */
static void uring_socket_shutdown(struct reactor *reactor, int fd)
{
    struct uring_engine *engine = uring_state(reactor);
    (void)shutdown(fd, SHUT_RDWR);
    struct io *io;
    while ((io = io_list_take(&engine->starved, fd)) != NULL) {
        io_complete(reactor, io, 0);
    }
}

static enum err uring_socket_name(struct reactor *reactor, int fd, bool peer,
                                  struct io_address *address)
{
    (void)reactor;
    return socket_name(fd, peer, address);
}

static void uring_describe(struct reactor *reactor, char *text, uint32_t size)
{
    const struct uring_engine *engine = uring_state(reactor);
    snprintf(text, size,
             "io=uring sq=%u cq=%u single_issuer=%d defer_taskrun=%d ring_registered=%d "
             "recv_buffers=%ux%u wake=eventfd",
             *engine->ring.sq.kring_entries, *engine->ring.cq.kring_entries,
             (engine->flags & IORING_SETUP_SINGLE_ISSUER) != 0,
             (engine->flags & IORING_SETUP_DEFER_TASKRUN) != 0, engine->ring_registered,
             reactor->io_options.recv_count, reactor->io_options.recv_size);
}

const struct io_engine io_engine_uring = {
    .name = "uring",
    .open = uring_open,
    .submit = uring_submit,
    .poll = uring_poll,
    .wake = uring_wake,
    .now_ns = io_clock_now_ns,
    .wall_ms = io_clock_wall_ms,
    .recv_release = uring_recv_release,
    .socket_shutdown = uring_socket_shutdown,
    .socket_end_receive = socket_end_receive,
    .socket_limit = socket_limit,
    .socket_name = uring_socket_name,
    .describe = uring_describe,
    .close = uring_close,
};
