/* What operations on files do to a node's disk, at the moment at which they take effect: by its
 * descriptors and, in part, by what its manners say. */
#include "core/assert.h"
#include "tests/sim/io_engine_sim_internal.h"

#include <stdlib.h>
#include <string.h>

/* Descriptors begin where those of a program would: small numbers stay unused. */
enum { SIM_FD_FIRST = 3 };

struct sim_fd *sim_fd(struct sim_node *node, int fd)
{
    ASSERT(fd >= SIM_FD_FIRST && (uint32_t)fd < node->fd_count + SIM_FD_FIRST);
    struct sim_fd *entry = &node->fds[fd - SIM_FD_FIRST];
    ASSERT(entry->kind != SIM_FD_FREE);
    return entry;
}

int32_t sim_fd_add(struct sim_node *node, const struct sim_fd *entry)
{
    uint32_t at = 0;
    while (at < node->fd_count && node->fds[at].kind != SIM_FD_FREE) {
        at++;
    }
    if (at == node->fd_count) {
        uint32_t count = max_u32(16, node->fd_count * 2);
        node->fds = realloc(node->fds, count * sizeof(*node->fds));
        ASSERT(node->fds != NULL);
        memset(node->fds + at, 0, (count - at) * sizeof(*node->fds));
        node->fd_count = count;
    }
    node->fds[at] = *entry;
    return (int32_t)(at + SIM_FD_FIRST);
}

static bool sim_ends_with(const char *path, const char *end)
{
    size_t size = strlen(path);
    size_t tail = strlen(end);
    return size >= tail && strcmp(path + size - tail, end) == 0;
}

static enum sim_files sim_files_of(const char *path)
{
    if (sim_ends_with(path, ".seg") || sim_ends_with(path, ".new")) {
        return SIM_FILES_SEGMENTS;
    }
    return sim_ends_with(path, ".jnl")           ? SIM_FILES_JOURNALS
           : sim_ends_with(path, "MANIFEST.tmp") ? SIM_FILES_MANIFEST
                                                 : SIM_FILES_ALL;
}

static int32_t sim_open_file(struct sim_node *node, struct io *io)
{
    int32_t inode = disk_open(node->disk, io->open.path, io->flags);
    if (inode < 0) {
        return inode;
    }
    io->open.direct = (io->flags & IO_OPEN_DIRECT) != 0 && !node->manners.refuses_direct;
    io->open.flush_domain = io->open.direct && node->manners.flush_device ? 1 : 0;
    struct sim_fd entry = {.kind = SIM_FD_FILE,
                           .number = inode,
                           .write = (io->flags & IO_OPEN_WRITE) != 0,
                           .direct = io->open.direct,
                           .files = sim_files_of(io->open.path)};
    return sim_fd_add(node, &entry);
}

static int32_t sim_lock(struct sim_node *node, int fd, bool shared)
{
    struct sim_fd *entry = sim_fd(node, fd);
    for (uint32_t i = 0; i < node->fd_count; i++) {
        const struct sim_fd *other = &node->fds[i];
        if (other != entry && other->kind == SIM_FD_FILE && other->locked &&
            other->number == entry->number && !(shared && other->shared)) {
            return ERR_BUSY;
        }
    }
    entry->locked = true;
    entry->shared = shared;
    return OK;
}

static bool sim_aligned(const struct sim_fd *fd, const void *data, uint32_t size, uint64_t position)
{
    return !fd->direct ||
           (is_aligned((uintptr_t)data, SIM_BLOCK_BYTES) && is_aligned(size, SIM_BLOCK_BYTES) &&
            is_aligned(position, SIM_BLOCK_BYTES));
}

static bool sim_fault_hits(struct sim_node *node, const struct sim_fd *fd, uint64_t *countdown)
{
    struct sim_disk_manners *manners = &node->manners;
    bool meant = manners->files == SIM_FILES_ALL || manners->files == fd->files;
    if (!meant || *countdown == 0 || --*countdown > 0) {
        return false;
    }
    *countdown = manners->again_in;
    manners->files = manners->again_files;
    manners->again_in = 0;
    return true;
}

struct disk_write sim_disk_write(struct sim_node *node, const struct io *io)
{
    return (struct disk_write){
        .inode = sim_fd(node, io->fd)->number,
        .data = io->write.data,
        .size = io->write.size,
        .position = io->write.position,
        .durable = (io->flags & IO_WRITE_DURABLE) != 0,
    };
}

/* What a write leaves that fails. A copy into the page cache is made page by page, and none of them
 * is torn: a full page is copied at once, or not at all. */
static void sim_write_torn(struct sim_node *node, const struct io *io,
                           const struct disk_write *write)
{
    if ((io->flags & IO_WRITE_CACHED) == 0) {
        disk_write_torn(node->disk, write);
        return;
    }
    struct disk_write pages = *write;
    uint32_t count = write->size / DISK_PAGE_BYTES;
    pages.size = (uint32_t)prng_below(&node->world->prng, count + 1) * DISK_PAGE_BYTES;
    enum err err = pages.size == 0 ? OK : disk_write(node->disk, &pages);
    MAYBE(err != OK); /* The disk is full. */
}

static int32_t sim_write(struct sim_node *node, const struct io *io)
{
    const struct sim_fd *fd = sim_fd(node, io->fd);
    ASSERT(fd->write);
    if (!sim_aligned(fd, io->write.data, io->write.size, io->write.position)) {
        return ERR_INVALID;
    }
    struct disk_write write = sim_disk_write(node, io);
    if (sim_fault_hits(node, fd, &node->manners.write_fail_in)) {
        sim_write_torn(node, io, &write);
        node->faults++;
        return ERR_IO;
    }
    enum err err = disk_write(node->disk, &write);
    if (err == OK && write.durable && node->manners.flush_whole) {
        disk_sync(node->disk, write.inode, disk_moment(node->disk));
    }
    return err == OK ? (int32_t)io->write.size : (int32_t)err;
}

static int32_t sim_read(struct sim_node *node, const struct io *io)
{
    const struct sim_fd *fd = sim_fd(node, io->fd);
    if (!sim_aligned(fd, io->read.data, io->read.size, io->read.position)) {
        return ERR_INVALID;
    }
    return (int32_t)disk_read(node->disk, fd->number, io->read.data, io->read.size,
                              io->read.position);
}

static int32_t sim_sync(struct sim_node *node, const struct io *io)
{
    if (sim_fault_hits(node, sim_fd(node, io->fd), &node->manners.sync_fail_in)) {
        node->faults++;
        if (node->manners.sync_loses) {
            disk_lose(node->disk, sim_fd(node, io->fd)->number);
        }
        return ERR_IO; /* What was dirty stays so: lost at a cut, or written by luck. */
    }
    disk_sync(node->disk, sim_fd(node, io->fd)->number, io->engine[NOTE_MOMENT]);
    if (node->manners.flush_device) {
        disk_flush(node->disk, io->engine[NOTE_MOMENT]);
    }
    return OK;
}

static int32_t sim_stat(struct sim_node *node, struct io *io)
{
    int32_t inode = disk_find(node->disk, io->stat.path);
    if (inode < 0) {
        return inode;
    }
    io->stat.directory = disk_is_directory(node->disk, inode);
    io->stat.size = disk_size(node->disk, inode);
    io->stat.taken = align_up(io->stat.size, SIM_BLOCK_BYTES);
    io->stat.device = 1;
    return OK;
}

/* The operation takes effect. */
int32_t sim_effect(struct sim_node *node, struct io *io)
{
    switch (io->op) {
    case IO_READ:
        return sim_read(node, io);
    case IO_WRITE:
        return sim_write(node, io);
    case IO_SYNC:
        return sim_sync(node, io);
    case IO_OPEN:
        return sim_open_file(node, io);
    case IO_ALLOCATE:
        return disk_allocate(node->disk, sim_fd(node, io->fd)->number, io->allocate.position,
                             io->allocate.size);
    case IO_TRUNCATE:
        disk_truncate(node->disk, sim_fd(node, io->fd)->number, io->truncate.size);
        return OK;
    case IO_RENAME:
        return disk_rename(node->disk, io->rename.from, io->rename.to);
    case IO_UNLINK:
        return disk_unlink(node->disk, io->path.path);
    case IO_MKDIR:
        return disk_mkdir(node->disk, io->path.path);
    case IO_SYNC_DIR:
        return disk_sync_dir(node->disk, io->path.path);
    case IO_LIST:
        return disk_list(node->disk, io);
    case IO_STAT:
        return sim_stat(node, io);
    case IO_SPACE:
        disk_space(node->disk, &io->space.free_bytes, &io->space.total_bytes);
        return OK;
    case IO_LOCK:
        return sim_lock(node, io->fd, (io->flags & IO_LOCK_SHARED) != 0);
    case IO_CLOSE: {
        struct sim_fd *fd = sim_fd(node, io->fd);
        if (fd->kind == SIM_FD_SOCKET) {
            network_close(node->world->network, fd->number);
        }
        *fd = (struct sim_fd){0};
        return OK;
    }
    case IO_NONE:
    case IO_LISTEN:
    case IO_ACCEPT:
    case IO_CONNECT:
    case IO_RECV:
    case IO_SEND:
        break;
    }
    UNREACHABLE();
}
