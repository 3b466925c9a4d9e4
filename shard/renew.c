/* See the header. */
#include "shard/renew.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/limits.h"
#include "core/log.h"
#include "shard/segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum renew_state {
    RENEW_CLEAN,
    RENEW_OPEN,
    RENEW_READ,
    RENEW_WRITE,
    RENEW_SYNC,
    RENEW_RENAME,
    RENEW_SYNC_PARTITION,
    RENEW_SYNC_POOL,
    RENEW_CLOSE, /* After a failure. */
};

static void renew_step(struct completion *done);

static void renew_go(struct renew *renew, enum renew_state state)
{
    renew->state = (int)state;
    completion_init(&renew->io.done, renew_step);
    io_submit(renew->reactor, &renew->io);
}

static void renew_end(struct renew *renew, int32_t result)
{
    free(renew->bytes);
    renew->bytes = NULL;
    completion_fire(renew->reactor, renew->done, result);
}

static void renew_fail(struct renew *renew, enum err err)
{
    COVER("a file cannot be made anew at a start");
    renew->err = err;
    if (renew->fd_new < 0) {
        renew_end(renew, err);
        return;
    }
    io_close(&renew->io, renew->fd_new);
    renew_go(renew, RENEW_CLOSE);
}

static void renew_read(struct renew *renew)
{
    io_read(&renew->io, renew->fd, renew->bytes, SEGMENT_COPY_BYTES, renew->position);
    renew_go(renew, RENEW_READ);
}

/* What was read goes to the same place; a bad header as it is. */
static void renew_write(struct renew *renew, uint32_t size)
{
    struct segment_header header;
    renew->size = (uint32_t)align_up(size, DISK_BLOCK_BYTES);
    memset(renew->bytes + size, 0, renew->size - size);
    if (renew->position == 0 && size >= SEGMENT_HEADER_BYTES &&
        segment_header_decode(renew->bytes, &header) == OK) {
        header.file_generation++;
        segment_header_encode(&header, renew->bytes);
    }
    io_write(&renew->io, renew->fd_new, renew->bytes, renew->size, renew->position, 0);
    renew_go(renew, RENEW_WRITE);
}

/* The directory of the old file: its path to the last '/'. */
static const char *renew_partition(struct renew *renew)
{
    (void)snprintf(renew->directory, sizeof(renew->directory), "%s", renew->path);
    char *slash = strrchr(renew->directory, '/');
    ASSERT(slash != NULL);
    *slash = 0;
    return renew->directory;
}

/* The step behind the one that ended well. */
static void renew_on(struct renew *renew, int32_t result)
{
    struct io *io = &renew->io;
    switch ((enum renew_state)renew->state) {
    case RENEW_CLEAN:
        io_open(io, renew->path_new, renew->flags | IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE);
        renew_go(renew, RENEW_OPEN);
        return;
    case RENEW_OPEN:
        renew->fd_new = result;
        renew_read(renew);
        return;
    case RENEW_READ:
        if (result > 0) {
            renew_write(renew, (uint32_t)result);
            return;
        }
        io_sync(io, renew->fd_new);
        renew_go(renew, RENEW_SYNC);
        return;
    case RENEW_WRITE:
        renew->position += renew->size;
        renew_read(renew);
        return;
    case RENEW_SYNC:
        io_rename(io, renew->path_new, renew->path);
        renew_go(renew, RENEW_RENAME);
        return;
    case RENEW_RENAME:
        io_sync_dir(io, renew_partition(renew));
        renew_go(renew, RENEW_SYNC_PARTITION);
        return;
    case RENEW_SYNC_PARTITION:
        (void)snprintf(renew->directory, sizeof(renew->directory), "%.500s/pool", renew->data_dir);
        io_sync_dir(io, renew->directory);
        renew_go(renew, RENEW_SYNC_POOL);
        return;
    case RENEW_SYNC_POOL:
        COVER("a file is made anew at a start");
        LOG_WARN("a segment's file was made anew after a sync or a write of the old one failed "
                 "file=%s bytes=%" PRIu64,
                 renew->path, renew->position);
        renew_end(renew, renew->fd_new);
        return;
    case RENEW_CLOSE:
        renew_end(renew, renew->err);
        return;
    }
    UNREACHABLE();
}

static void renew_step(struct completion *done)
{
    struct renew *renew = CONTAINER_OF(done, struct renew, io.done);
    int32_t result = done->result;
    bool may_fail = renew->state == RENEW_CLEAN || renew->state == RENEW_CLOSE;
    if (result < 0 && !may_fail) {
        renew_fail(renew, (enum err)result);
        return;
    }
    renew_on(renew, result);
}

void renew_start(struct renew *renew)
{
    renew->fd_new = -1;
    renew->bytes = aligned_alloc(DISK_BLOCK_BYTES, SEGMENT_COPY_BYTES);
    if (renew->bytes == NULL) {
        renew_end(renew, ERR_NO_MEMORY);
        return;
    }
    (void)snprintf(renew->path_new, sizeof(renew->path_new), "%.480s/pool/%016" PRIx64 ".new",
                   renew->data_dir, renew->segment_id);
    io_unlink(&renew->io, renew->path_new);
    renew_go(renew, RENEW_CLEAN);
}
