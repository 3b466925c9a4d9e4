/* What an engine must provide. Called per turn, not per operation: the indirection is free.
 *
 * An engine owns each submitted io until it fires it. It maps errno per operation, resubmits on
 * EINTR, completes partial sends and never retries a failed or short file write. */
#pragma once

#include "core/io.h"

struct io_engine_options {
    uint32_t entries;         /* Operations in flight that need no queueing: 256-4096. */
    uint32_t recv_count;      /* Lent receive buffers, a power of two. */
    uint32_t recv_size;       /* Bytes of each. */
    struct io_helper *helper; /* Runs what would block; shared by the reactors of a process. */
    void *world;              /* The simulator's node; NULL otherwise. */
};

struct io_engine {
    const char *name; /* "uring", "posix", "sim" */

    /* In the reactor's own thread. ERR_UNSUPPORTED or ERR_DENIED: the caller may fall back. */
    enum err (*open)(struct reactor *reactor, const struct io_engine_options *options);

    /* Takes a list of ios linked through `next`. */
    void (*submit)(struct reactor *reactor, struct io *batch);

    /* Enters the kernel once, fires what has completed; waits at most wait_ns for the first, or for
     * wake(). UINT64_MAX: no limit. Returns how many it fired. */
    uint32_t (*poll)(struct reactor *reactor, uint64_t wait_ns);

    /* Ends `peer`'s sleep. From any thread; `self` is the calling reactor or NULL. Carries no data.
     */
    void (*wake)(struct reactor *self, struct reactor *peer);

    uint64_t (*now_ns)(struct reactor *reactor);  /* Monotonic. */
    uint64_t (*wall_ms)(struct reactor *reactor); /* Unix time. */

    void (*recv_release)(struct reactor *reactor, struct io *io);
    void (*socket_shutdown)(struct reactor *reactor, int fd);
    void (*socket_end_receive)(struct reactor *reactor, int fd);
    void (*socket_limit)(int fd, uint32_t unsent_max, uint32_t received_max); /* NULL: no kernel. */
    enum err (*socket_name)(struct reactor *reactor, int fd, bool peer, struct io_address *address);

    /* One logfmt fragment for the start-up line: what was probed and is in use. */
    void (*describe)(struct reactor *reactor, char *text, uint32_t size);

    void (*close)(struct reactor *reactor); /* Nothing is in flight. */
};

extern const struct io_engine io_engine_posix;
#ifdef FLOE_HAS_URING
extern const struct io_engine io_engine_uring;
#endif

/* For engines of a real machine: their clocks. */
uint64_t io_clock_now_ns(struct reactor *reactor);
uint64_t io_clock_wall_ms(struct reactor *reactor);

/* A FIFO of ios linked through `next`. */
struct io_list {
    struct io *head, *tail;
};

void io_list_push(struct io_list *list, struct io *io);
struct io *io_list_pop(struct io_list *list);          /* NULL when empty. */
struct io *io_list_take(struct io_list *list, int fd); /* The first on `fd`; NULL: none is. */

/* For engines: counts what was done and fires. On the reactor's own thread. */
void io_complete(struct reactor *reactor, struct io *io, int32_t result);

/* For engines: an errno value (positive) as an err, for the operation that met it. */
enum err io_op_err(enum io_op op, int number);

/* For engines: moves the vectors of an IO_SEND past `bytes` that went out. */
void io_send_consume(struct io *io, size_t bytes);

/* True for what runs in the helper: everything on files but READ, WRITE, SYNC and CLOSE. */
bool io_is_helper_op(enum io_op op);

/* True for what an engine does where it is submitted: CLOSE, and a write that is a copy. */
bool io_is_done_at_once(const struct io *io);

/* A thread that runs blocking file operations one after the other; completions go home through
 * reactor_post(). Shared by all uring reactors of a process; each posix reactor has one of its own.
 */
struct io_helper;
NODISCARD struct io_helper *io_helper_start(void); /* NULL: no thread could be made. */
void io_helper_submit(struct io_helper *helper, struct reactor *reactor, struct io *io);
void io_helper_stop(struct io_helper *helper); /* Runs what is queued, then joins. */

/* Executes one file operation synchronously; the result as `done` would carry it. */
int32_t io_execute(struct io *io);
