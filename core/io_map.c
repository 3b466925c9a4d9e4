/* See the header. The whole file is mapped, and again when it has grown: address space is all that
 * this takes. */
#include "core/io_map.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/err.h"
#include "core/io_engine.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAPS_MAX = 1 << 16 }; /* Descriptors. */

struct io_map {
    pthread_mutex_t lock; /* The posix engine copies in its thread and in its helper. */
    uint8_t *base;        /* NULL: not mapped yet. */
    size_t size;
};

/* Owners of a descriptor come and go with a release and an acquire. */
static _Atomic(struct io_map *) io_maps[MAPS_MAX];

/* The copy under way in this thread, where it writes to, and where to go when that fails. */
static _Thread_local struct {
    volatile sig_atomic_t armed;
    const uint8_t *from, *end;
    sigjmp_buf escape;
} io_map_copy;

static struct sigaction io_map_before; /* Who handled the signal, under the lock. */
static pthread_mutex_t io_map_lock = PTHREAD_MUTEX_INITIALIZER;

/* The signal that this thread passed on last: what the kernel told of it, and how deep in the stack
 * that was. Whoever got it may never return, but leave by siglongjmp(); so this says that a signal
 * was passed on, not that one is. */
static _Thread_local struct {
    const siginfo_t *volatile info;
    volatile uintptr_t frame;
} io_map_passed;

/* Does a handler that we passed this signal to pass it back? Then it stands above us in the stack,
 * with the same message. The kernel puts a message of its own right above each signal that it
 * delivers, so one that is deeper in the stack has another. */
static bool io_map_came_back(const siginfo_t *info, uintptr_t frame)
{
    return io_map_passed.info == info && frame < io_map_passed.frame;
}

static void io_map_pass_on(int number, siginfo_t *info, void *context)
{
    if ((io_map_before.sa_flags & SA_SIGINFO) != 0) {
        io_map_before.sa_sigaction(number, info, context);
    } else if (io_map_before.sa_handler != SIG_DFL && io_map_before.sa_handler != SIG_IGN) {
        io_map_before.sa_handler(number);
    } else {
        (void)signal(number, SIG_DFL); /* The instruction runs again, and ends the process. */
    }
}

static void io_map_signal(int number, siginfo_t *info, void *context)
{
    const uint8_t *at = info->si_addr;
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    sig_atomic_t armed = io_map_copy.armed;
    if (armed && at >= io_map_copy.from && at < io_map_copy.end) {
        siglongjmp(io_map_copy.escape, 1);
    }
    if (io_map_came_back(info, frame)) {
        (void)signal(number, SIG_DFL);
        return;
    }
    io_map_passed.info = info;
    io_map_passed.frame = frame;
    /* Should that never return, this thread is in no copy any more. */
    io_map_copy.armed = 0;
    io_map_pass_on(number, info, context);
    io_map_copy.armed = armed;
    io_map_passed.info = NULL;
}

/* Unless it is installed: whoever took the signal since the last file is asked next. */
static void io_map_install(void)
{
    struct sigaction now, action;
    memset(&action, 0, sizeof(action));
    action.sa_sigaction = io_map_signal;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    (void)sigemptyset(&action.sa_mask);
    (void)pthread_mutex_lock(&io_map_lock);
    int rc = sigaction(SIGBUS, NULL, &now);
    ASSERT(rc == 0);
    if ((now.sa_flags & SA_SIGINFO) == 0 || now.sa_sigaction != io_map_signal) {
        io_map_before = now;
        rc = sigaction(SIGBUS, &action, NULL);
        ASSERT(rc == 0);
    }
    (void)pthread_mutex_unlock(&io_map_lock);
}

static struct io_map *io_map_of(int fd)
{
    return fd < 0 || fd >= MAPS_MAX ? NULL
                                    : atomic_load_explicit(&io_maps[fd], memory_order_acquire);
}

void io_map_opened(int fd)
{
    io_map_install();
    struct io_map *map = fd < MAPS_MAX ? calloc(1, sizeof(*map)) : NULL;
    if (map != NULL) {
        ASSERT(io_map_of(fd) == NULL);
        (void)pthread_mutex_init(&map->lock, NULL);
        atomic_store_explicit(&io_maps[fd], map, memory_order_release);
    }
}

void io_map_closed(int fd)
{
    struct io_map *map = io_map_of(fd);
    if (map == NULL) {
        return;
    }
    atomic_store_explicit(&io_maps[fd], NULL, memory_order_release);
    if (map->base != NULL) {
        (void)munmap(map->base, map->size);
    }
    (void)pthread_mutex_destroy(&map->lock);
    free(map);
}

bool io_map_has(int fd)
{
    return io_map_of(fd) != NULL;
}

/* Maps the file as long as it is now; false: it ends before `end`, or there is no memory for it. */
static bool io_map_reach(struct io_map *map, int fd, uint64_t end)
{
    if (end <= map->size) {
        return true;
    }
    struct stat status;
    if (fstat(fd, &status) != 0 || (uint64_t)status.st_size < end ||
        (uint64_t)status.st_size > SIZE_MAX / 2) {
        return false;
    }
    void *base = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        return false;
    }
    if (map->base != NULL) {
        COVER("a mapped file has grown");
        (void)munmap(map->base, map->size);
    }
    map->base = base;
    map->size = (size_t)status.st_size;
    return true;
}

/* False: the kernel had no page for it. Nothing here may be kept in a register over the jump. */
static bool io_map_copy_in(uint8_t *to, const uint8_t *data, uint32_t size)
{
    io_map_copy.from = to;
    io_map_copy.end = to + size;
    if (sigsetjmp(io_map_copy.escape, 0) != 0) {
        sigset_t bus; /* Where a sanitizer stands between, it is blocked in its handler. */
        (void)sigemptyset(&bus);
        (void)sigaddset(&bus, SIGBUS);
        (void)pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
        io_map_copy.armed = 0;
        return false;
    }
    io_map_copy.armed = 1;
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(to, data, size);
    atomic_signal_fence(memory_order_seq_cst);
    io_map_copy.armed = 0;
    return true;
}

/* Behind the end of the file, or where there is no address space. */
static int32_t io_map_write_past(int fd, const uint8_t *data, uint32_t size, uint64_t position)
{
    ssize_t rc;
    do {
        rc = pwrite(fd, data, size, (off_t)position);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0) {
        return io_op_err(IO_WRITE, errno);
    }
    return (uint64_t)rc == size ? (int32_t)size : (int32_t)ERR_IO;
}

int32_t io_map_write(int fd, const uint8_t *data, uint32_t size, uint64_t position)
{
    struct io_map *map = io_map_of(fd);
    ASSERT(map != NULL);
    (void)pthread_mutex_lock(&map->lock);
    bool reached = io_map_reach(map, fd, position + size);
    bool copied = reached && io_map_copy_in(map->base + position, data, size);
    (void)pthread_mutex_unlock(&map->lock);
    if (!reached) {
        return io_map_write_past(fd, data, size, position);
    }
    return copied ? (int32_t)size : (int32_t)ERR_IO;
}
