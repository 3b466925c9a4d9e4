/* Opening a data directory, step by step; what is already there is left as it is, so a start that
 * was interrupted anywhere is simply begun again.
 *
 *     MAKE -> LIST -> LOCK_OPEN -> LOCK -> [BUSY_READ] -> LOCK_WRITE -> SUPER_STAT -> SUPER_OPEN
 *          -> READ -> WRITE_FIRST -> WRITE_SECOND -> ROOMS (topics pool quarantine meta journal)
 *          -> POOL_LIST <-> POOL_UNLINK (what the pool of an earlier life left, and its rolls)
 *          -> SYNC -> SYNC_PARENT -> done     any error: close what is open, say what failed
 *
 * A reader: LOCK_OPEN -> LOCK (shared) -> [BUSY_READ] -> SUPER_OPEN -> READ -> done; no writes.
 *
 * The rooms are made behind both slots. So two bad slots without rooms are a first start that did
 * not come to its end, and nothing is lost by beginning anew; with rooms they are damage. */
#include "shard/directory_internal.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/limits.h"
#include "shard/segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const directory_rooms[] = {"topics", "pool", "quarantine", "meta", "journal"};

static const char *directory_path(struct directory *directory, const char *name)
{
    snprintf(directory->path, sizeof(directory->path), "%s/%s", directory->options.path, name);
    return directory->path;
}

static void directory_free(struct directory *directory)
{
    if (directory->block != NULL) {
        block_unref(directory->block);
    }
    free(directory);
}

static void directory_closed(struct directory *directory)
{
    struct directory_open *op = directory->op;
    struct completion *done = directory->done;
    struct reactor *reactor = directory->reactor;
    enum err err = directory->err;
    directory_free(directory);
    completion_fire(reactor, op != NULL ? &op->done : done, err);
}

/* Closes what is open, one after the other, then answers. */
static void directory_shut(struct directory *directory)
{
    if (directory->super_fd >= 0) {
        directory->state = DIRECTORY_FAILED_SUPER;
        io_close(&directory->io, directory->super_fd);
        directory->super_fd = -1;
        io_submit(directory->reactor, &directory->io);
    } else if (directory->lock_fd >= 0) {
        directory->state = DIRECTORY_FAILED_LOCK;
        io_close(&directory->io, directory->lock_fd);
        directory->lock_fd = -1;
        io_submit(directory->reactor, &directory->io);
    } else {
        directory_closed(directory);
    }
}

static const char *directory_advice(enum err err)
{
    if (err == ERR_DENIED) {
        return "Run floe as the user who owns it";
    }
    if (err == ERR_READ_ONLY) {
        return "Mount its file system for writing";
    }
    if (err == ERR_NO_SPACE) {
        return "Free some space on its disk";
    }
    return err == ERR_IO ? "The kernel's log says more about the disk" : "";
}

/* `advice` may be empty: then the error speaks for itself. */
static void directory_fail(struct directory *directory, enum err err, const char *what,
                           const char *advice)
{
    advice = advice[0] != 0 ? advice : directory_advice(err);
    snprintf(directory->op->message, DIRECTORY_MESSAGE_BYTES, "%s %s: %s%s%s", what,
             directory->options.path, err_text(err), advice[0] != 0 ? ". " : "", advice);
    directory->err = err;
    directory_shut(directory);
}

static void directory_make_room(struct directory *directory)
{
    io_mkdir(&directory->io, directory_path(directory, directory_rooms[directory->room]));
    directory_go(directory, DIRECTORY_ROOMS);
}

static void directory_list(struct directory *directory)
{
    io_list(&directory->io, directory->options.path, (char *)directory->block->data,
            DIRECTORY_NAMES_BYTES, 0);
    directory_go(directory, DIRECTORY_LIST);
}

/* A directory that holds other things and no superblock is somebody else's. A LOCK alone says
 * nothing: a first start may have ended behind it, but other stores have a file of that name. */
static void directory_listed(struct directory *directory, int32_t result)
{
    bool ours = false, strange = directory->io.list.more;
    const char *names = (const char *)directory->block->data;
    for (int32_t at = 0; at < result; at += (int32_t)strlen(names + at) + 1) {
        const char *name = names + at;
        ours = ours || strcmp(name, "superblock") == 0;
        directory->furnished = directory->furnished || strcmp(name, "topics/") == 0;
        /* A fresh file system has lost+found. */
        strange = strange || (strcmp(name, "LOCK") != 0 && strcmp(name, "lost+found/") != 0);
    }
    if (result >= 0 && !ours && directory->options.existing) {
        directory_fail(directory, ERR_NOT_FOUND, "cannot use the data directory",
                       "It is no data directory of floe");
        return;
    }
    if (result < 0 || (strange && !ours)) {
        enum err err = result < 0 ? (enum err)result : ERR_FOREIGN;
        directory_fail(directory, err, "cannot use the data directory",
                       result < 0 ? ""
                                  : "It holds files that floe did not make; give --data an "
                                    "empty or a new directory");
        return;
    }
    io_open(&directory->io, directory_path(directory, "LOCK"), IO_OPEN_WRITE | IO_OPEN_CREATE);
    directory_go(directory, DIRECTORY_LOCK_OPEN);
}

static void directory_say_busy(struct directory *directory, int32_t result)
{
    char text[64] = "";
    if (result > 0) {
        memcpy(text, directory->block->data, min_u32((uint32_t)result, sizeof(text) - 1));
        text[strcspn(text, "\n")] = 0;
    }
    snprintf(directory->op->message, DIRECTORY_MESSAGE_BYTES,
             "the data directory %s is in use by another process (%s); stop it or give --data "
             "another directory",
             directory->options.path, text[0] != 0 ? text : "its LOCK names none");
    directory->err = ERR_BUSY;
    directory_shut(directory);
}

static void directory_locked(struct directory *directory)
{
    char *text = (char *)directory->block->data;
    memset(text, ' ', 128);
    int length =
        snprintf(text, 128, "pid %ld floe %s\n", (long)getpid(), directory->options.version);
    ASSERT(length > 0 && length < 128);
    io_write(&directory->io, directory->lock_fd, directory->block->data, (uint32_t)length, 0, 0);
    directory_go(directory, DIRECTORY_LOCK_WRITE);
}

static void directory_found(struct directory *directory, int32_t result)
{
    bool empty = result == OK && directory->io.stat.size == 0;
    directory->fresh = result == ERR_NOT_FOUND || (empty && !directory->furnished);
    if (result < 0 && result != ERR_NOT_FOUND) {
        directory_fail(directory, (enum err)result, "cannot look at the superblock of", "");
        return;
    }
    io_open(&directory->io, directory_path(directory, "superblock"),
            IO_OPEN_WRITE | IO_OPEN_CREATE);
    directory_go(directory, DIRECTORY_SUPER_OPEN);
}

/* The identity of this start: the old one with a new boot, or a new one. */
static enum err directory_identify(struct directory *directory, int32_t read)
{
    const struct directory_options *options = &directory->options;
    struct superblock *super = &directory->super;
    struct prng *prng = &directory->reactor->prng;
    uint64_t boot = 1;
    if (!directory->fresh) {
        uint32_t size = SUPERBLOCK_SLOTS * SUPERBLOCK_BYTES;
        uint32_t got = read > 0 ? (uint32_t)read : 0;
        memset(directory->block->data + got, 0, size - min_u32(got, size));
        enum err err = superblock_choose(directory->block->data, super, &boot);
        directory->fresh = err == ERR_DAMAGED && !directory->furnished;
        if (err != OK && !directory->fresh) {
            return err;
        }
    }
    if (directory_reads(directory)) {
        return OK;
    }
    if (directory->fresh) {
        *super = (struct superblock){.version_min = SUPERBLOCK_VERSION, .next_segment = 1};
        prng_fill(prng, super->directory_id, 16);
        prng_fill(prng, super->disk_id, 16);
        super->node_id = options->node_id != 0 ? options->node_id : 1;
    } else if (super->owner != SUPERBLOCK_LIBRARY && options->mode == DIRECTORY_LIBRARY) {
        return ERR_FOREIGN;
    } else if (options->mode == DIRECTORY_SERVER && super->owner == SUPERBLOCK_LIBRARY) {
        COVER("a server adopts a library's directory");
        super->flags |= SUPERBLOCK_ADOPTING;
        super->node_id = options->node_id != 0 ? options->node_id : super->node_id;
    } else if (options->node_id != 0 && options->node_id != super->node_id) {
        return ERR_INVALID;
    }
    super->owner = options->mode == DIRECTORY_LIBRARY ? SUPERBLOCK_LIBRARY : SUPERBLOCK_SERVER;
    directory->segment_next = super->next_segment;
    super->next_segment += options->segments;
    super->boot = boot;
    super->time_ms = directory->reactor->now_ms;
    prng_fill(prng, super->boot_nonce, 16);
    memcpy(super->kernel_boot_id, directory->options.boot_id, 16);
    return OK;
}

static void directory_opened(struct directory *directory)
{
    struct directory_open *op = directory->op;
    const struct superblock *super = &directory->super;
    memcpy(op->identity.directory_id, super->directory_id, 16);
    memcpy(op->identity.disk_id, super->disk_id, 16);
    memcpy(op->identity.cluster_id, super->cluster_id, 16);
    op->identity.node_id = super->node_id;
    op->identity.boot = super->boot;
    op->identity.fresh = directory->fresh;
    op->identity.adopting = (super->flags & SUPERBLOCK_ADOPTING) != 0;
    op->identity.segment_next = directory->segment_next;
    op->directory = directory;
    directory->state = DIRECTORY_DONE;
    directory->op = NULL;
    completion_fire(directory->reactor, &op->done, OK);
}

static void directory_read(struct directory *directory, int32_t result)
{
    enum err err = result < 0 ? (enum err)result : directory_identify(directory, result);
    if (err == ERR_INVALID) {
        snprintf(directory->op->message, DIRECTORY_MESSAGE_BYTES,
                 "node.id is %u, but the data directory %s belongs to node %u; drop node.id or "
                 "give --data another directory",
                 directory->options.node_id, directory->options.path, directory->super.node_id);
        directory->err = err;
        directory_shut(directory);
    } else if (err != OK) {
        directory_fail(directory, err, "cannot open the superblock of",
                       err == ERR_VERSION   ? "A newer floe wrote it; run that version"
                       : err == ERR_FOREIGN ? "It belongs to a server; open it for reading only"
                       : err == ERR_DAMAGED
                           ? "Both slots are bad, or of two directories; restore it from a "
                             "backup"
                           : "");
    } else if (directory_reads(directory)) {
        directory_opened(directory);
    } else {
        directory_write_slot(directory, 0, DIRECTORY_WRITE_FIRST);
    }
}

static void directory_wrote_second(struct directory *directory)
{
    if (directory->updating) {
        directory_updated(directory, OK);
        return;
    }
    directory->room = 0;
    directory_make_room(directory);
}

static void directory_list_pool(struct directory *directory)
{
    io_list(&directory->io, directory_path(directory, "pool"), (char *)directory->block->data,
            DIRECTORY_NAMES_BYTES, 0);
    directory_go(directory, DIRECTORY_POOL_LIST);
}

/* A roll makes its file as <id>.new and renames it; no later life asks for its id. Files that wait
 * have numbers. Only their names go: where a rename was durable on one side alone, the other name
 * is a segment's, or is swept. */
static bool directory_is_left(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    return segment_is_name(name, ".new") || (digits > 0 && name[digits] == 0);
}

/* Unlinks the next leftover of the names that were listed. What cannot be unlinked stays: it takes
 * space and nothing else. */
static void directory_sweep(struct directory *directory, int32_t result)
{
    char name[DIRECTORY_NAME_BYTES_MAX];
    if (directory->state == DIRECTORY_POOL_LIST) {
        directory->names_at = 0;
        directory->names_end = result > 0 ? (uint32_t)result : 0;
        directory->swept = false;
    } else {
        directory->swept = directory->swept || result == OK;
    }
    while (directory->names_at < directory->names_end) {
        const char *next = (const char *)directory->block->data + directory->names_at;
        directory->names_at += (uint32_t)strlen(next) + 1;
        if (directory_is_left(next)) {
            snprintf(name, sizeof(name), "pool/%.24s", next);
            io_unlink(&directory->io, directory_path(directory, name));
            directory_go(directory, DIRECTORY_POOL_UNLINK);
            return;
        }
    }
    if (directory->swept) { /* There may be more than one list of them. */
        directory_list_pool(directory);
        return;
    }
    io_sync_dir(&directory->io, directory->options.path);
    directory_go(directory, DIRECTORY_SYNC);
}

static void directory_room_made(struct directory *directory, int32_t result)
{
    if (result < 0 && result != ERR_EXISTS) {
        directory_fail(directory, (enum err)result, "cannot make the rooms of", "");
        return;
    }
    directory->room++;
    if (directory->room < ARRAY_COUNT(directory_rooms)) {
        directory_make_room(directory);
        return;
    }
    directory_list_pool(directory);
}

/* The name of the directory stands in its parent. Always: the start that made it may have ended
 * before it came here, and no other mark says so. */
static void directory_sync_parent(struct directory *directory)
{
    char *path = directory->path;
    size_t size = strlen(directory->options.path);
    memcpy(path, directory->options.path, size + 1);
    while (size > 1 && path[size - 1] == '/') {
        size--;
    }
    while (size > 0 && path[size - 1] != '/') {
        size--;
    }
    path[size] = 0;
    io_sync_dir(&directory->io, size > 0 ? path : ".");
    directory_go(directory, DIRECTORY_SYNC_PARENT);
}

static void directory_synced(struct directory *directory, int32_t result)
{
    bool parent = directory->state == DIRECTORY_SYNC_PARENT;
    /* Who may not read or write the parent cannot have made a name in it; and some file systems
     * know no sync of a directory. */
    bool passable = parent && (result == ERR_DENIED || result == ERR_READ_ONLY ||
                               result == ERR_UNSUPPORTED || result == ERR_INVALID);
    if (result < 0 && !passable) {
        directory_fail(directory, (enum err)result, "cannot sync", "");
    } else if (!parent) {
        directory_sync_parent(directory);
    } else {
        directory_opened(directory);
    }
}

static void directory_step_lock(struct directory *directory, int32_t result)
{
    if (directory->state == DIRECTORY_LOCK_OPEN) {
        if (result < 0) {
            bool missing = result == ERR_NOT_FOUND;
            directory_fail(directory, (enum err)result, "cannot open LOCK in",
                           missing ? "It is no data directory of floe" : "");
            return;
        }
        directory->lock_fd = result;
        io_lock(&directory->io, directory->lock_fd,
                directory_reads(directory) ? IO_LOCK_SHARED : 0U);
        directory_go(directory, DIRECTORY_LOCK);
    } else if (result == ERR_BUSY) {
        io_read(&directory->io, directory->lock_fd, directory->block->data, 64, 0);
        directory_go(directory, DIRECTORY_BUSY_READ);
    } else if (result < 0) {
        directory_fail(directory, (enum err)result, "cannot lock", "");
    } else if (directory_reads(directory)) {
        io_open(&directory->io, directory_path(directory, "superblock"), 0);
        directory_go(directory, DIRECTORY_SUPER_OPEN);
    } else {
        directory_locked(directory);
    }
}

static void directory_step_super(struct directory *directory, int32_t result)
{
    if (result < 0) {
        if (directory->updating) {
            directory_updated(directory, (enum err)result);
            return;
        }
        directory_fail(directory, (enum err)result, "cannot write the superblock of", "");
    } else if (directory->state == DIRECTORY_SUPER_OPEN) {
        directory->super_fd = result;
        io_read(&directory->io, directory->super_fd, directory->block->data,
                SUPERBLOCK_SLOTS * SUPERBLOCK_BYTES, 0);
        directory_go(directory, DIRECTORY_READ);
    } else if (directory->state == DIRECTORY_WRITE_FIRST) {
        directory_write_slot(directory, 1, DIRECTORY_WRITE_SECOND);
    } else {
        directory_wrote_second(directory);
    }
}

static void directory_step(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    struct directory *directory = CONTAINER_OF(io, struct directory, io);
    int32_t result = completion->result;
    switch (directory->state) {
    case DIRECTORY_MAKE:
        if (result < 0 && result != ERR_EXISTS) {
            directory_fail(directory, (enum err)result, "cannot make the data directory",
                           "Its parent must exist and be writable");
            return;
        }
        directory_list(directory);
        return;
    case DIRECTORY_LIST:
        directory_listed(directory, result);
        return;
    case DIRECTORY_LOCK_OPEN:
    case DIRECTORY_LOCK:
        directory_step_lock(directory, result);
        return;
    case DIRECTORY_BUSY_READ:
        directory_say_busy(directory, result);
        return;
    case DIRECTORY_LOCK_WRITE:
        if (result < 0) {
            directory_fail(directory, (enum err)result, "cannot write LOCK in", "");
            return;
        }
        io_stat(io, directory_path(directory, "superblock"));
        directory_go(directory, DIRECTORY_SUPER_STAT);
        return;
    case DIRECTORY_SUPER_STAT:
        directory_found(directory, result);
        return;
    case DIRECTORY_READ:
        directory_read(directory, result);
        return;
    case DIRECTORY_SUPER_OPEN:
    case DIRECTORY_WRITE_FIRST:
    case DIRECTORY_WRITE_SECOND:
        directory_step_super(directory, result);
        return;
    case DIRECTORY_ROOMS:
        directory_room_made(directory, result);
        return;
    case DIRECTORY_POOL_LIST:
    case DIRECTORY_POOL_UNLINK:
        directory_sweep(directory, result);
        return;
    case DIRECTORY_SYNC:
    case DIRECTORY_SYNC_PARENT:
        directory_synced(directory, result);
        return;
    case DIRECTORY_FAILED_LOCK:
    case DIRECTORY_FAILED_SUPER:
        directory_shut(directory);
        return;
    case DIRECTORY_DONE:
        UNREACHABLE();
    }
}

void directory_open(struct directory_open *op, struct reactor *reactor,
                    const struct directory_options *options)
{
    struct directory *directory = calloc(1, sizeof(*directory));
    op->directory = NULL;
    op->message[0] = 0;
    if (strlen(options->path) + DIRECTORY_NAME_BYTES_MAX >= DIRECTORY_PATH_BYTES) {
        free(directory);
        snprintf(op->message, DIRECTORY_MESSAGE_BYTES,
                 "the path of the data directory is too long; give --data a shorter one");
        completion_fire(reactor, &op->done, ERR_INVALID);
        return;
    }
    struct block *block = NULL;
    if (directory != NULL) {
        block =
            block_acquire(reactor->memory, MEMORY_RECOVERY, SUPERBLOCK_SLOTS * SUPERBLOCK_BYTES);
    }
    if (block == NULL) {
        free(directory);
        snprintf(op->message, DIRECTORY_MESSAGE_BYTES, "out of memory");
        completion_fire(reactor, &op->done, ERR_NO_MEMORY);
        return;
    }
    *directory = (struct directory){.reactor = reactor,
                                    .op = op,
                                    .options = *options,
                                    .lock_fd = -1,
                                    .super_fd = -1,
                                    .block = block};
    completion_init(&directory->io.done, directory_step);
    if (directory_reads(directory)) {
        directory->furnished =
            true; /* A superblock that is not sound is damage, not a beginning. */
        io_open(&directory->io, directory_path(directory, "LOCK"), 0);
        directory_go(directory, DIRECTORY_LOCK_OPEN);
    } else if (options->existing) {
        directory_list(directory);
    } else {
        io_mkdir(&directory->io, directory->options.path);
        directory_go(directory, DIRECTORY_MAKE);
    }
}

void directory_close(struct directory *directory, struct completion *done)
{
    ASSERT(directory->state == DIRECTORY_DONE);
    directory->done = done;
    directory->err = OK;
    directory_shut(directory);
}
