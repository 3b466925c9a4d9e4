/* See the header. It is read back before the rename: a misdirected write must not become the one
 * thing that everything else hangs on. */
#include "shard/manifest_store.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void store_step(struct completion *done);

static void store_go(struct manifest_store *store, enum manifest_store_state state)
{
    store->state = state;
    completion_init(&store->io.done, store_step);
    io_submit(store->reactor, &store->io);
}

static void store_end(struct manifest_store *store, enum err err)
{
    free(store->image);
    store->image = NULL;
    completion_fire(store->reactor, &store->done, err);
}

static void store_fail(struct manifest_store *store, enum err err)
{
    if (store->fd < 0) {
        store_end(store, err);
        return;
    }
    store->err = err;
    io_close(&store->io, store->fd);
    store->fd = -1;
    store_go(store, MANIFEST_STORE_FAILED);
}

/* What was read back is compared with a second image: the first was read over. */
static bool store_same(const struct manifest_store *store, uint32_t size)
{
    uint8_t *again = malloc(store->image_bytes);
    if (again == NULL || size < store->image_bytes) {
        free(again);
        return false;
    }
    manifest_encode(store->manifest, again);
    bool same = memcmp(again, store->image, store->image_bytes) == 0;
    free(again);
    return same;
}

/* The next step behind `state`, which ended with `result`. */
static void store_next(struct manifest_store *store, int32_t result)
{
    struct io *io = &store->io;
    switch (store->state) {
    case MANIFEST_STORE_UNLINK:
        io_open(io, store->path_new,
                IO_OPEN_WRITE | IO_OPEN_CREATE | (store->direct ? IO_OPEN_DIRECT : 0U));
        store_go(store, MANIFEST_STORE_OPEN);
        return;
    case MANIFEST_STORE_OPEN:
        store->fd = result;
        io_write(io, store->fd, store->image, store->image_bytes, 0, 0);
        store_go(store, MANIFEST_STORE_WRITE);
        return;
    case MANIFEST_STORE_WRITE:
        io_sync(io, store->fd);
        store_go(store, MANIFEST_STORE_SYNC);
        return;
    case MANIFEST_STORE_SYNC:
        memset(store->image, 0, store->image_bytes);
        io_read(io, store->fd, store->image, store->image_bytes, 0);
        store_go(store, MANIFEST_STORE_READ_BACK);
        return;
    case MANIFEST_STORE_READ_BACK:
        if (!store_same(store, (uint32_t)result)) {
            store_fail(store, ERR_CORRUPT);
            return;
        }
        io_close(io, store->fd);
        store->fd = -1;
        store_go(store, MANIFEST_STORE_CLOSE);
        return;
    case MANIFEST_STORE_CLOSE:
        io_rename(io, store->path_new, store->path);
        store_go(store, MANIFEST_STORE_RENAME);
        return;
    case MANIFEST_STORE_RENAME:
        if (MUTANT("manifest-name-cached")) {
            store_end(store, OK);
            return;
        }
        io_sync_dir(io, store->data_dir);
        store_go(store, MANIFEST_STORE_SYNC_DIRECTORY);
        return;
    case MANIFEST_STORE_SYNC_DIRECTORY:
        store_end(store, OK);
        return;
    case MANIFEST_STORE_FAILED:
        store_end(store, store->err);
        return;
    }
    UNREACHABLE();
}

static void store_step(struct completion *done)
{
    struct io *io = CONTAINER_OF(done, struct io, done);
    struct manifest_store *store = CONTAINER_OF(io, struct manifest_store, io);
    bool may_fail = store->state == MANIFEST_STORE_UNLINK || store->state == MANIFEST_STORE_FAILED;
    if (done->result < 0 && !may_fail) {
        store_fail(store, (enum err)done->result);
        return;
    }
    store_next(store, done->result);
}

void manifest_store(struct manifest_store *store, struct reactor *reactor, const char *data_dir,
                    const struct manifest *manifest, bool direct)
{
    store->reactor = reactor;
    store->data_dir = data_dir;
    store->manifest = manifest;
    store->direct = direct;
    store->fd = -1;
    store->image_bytes = manifest_size(manifest);
    store->image = aligned_alloc(DISK_BLOCK_BYTES, store->image_bytes);
    if (store->image == NULL) {
        store_end(store, ERR_NO_MEMORY);
        return;
    }
    manifest_encode(manifest, store->image);
    (void)snprintf(store->path, sizeof(store->path), "%s/MANIFEST", data_dir);
    (void)snprintf(store->path_new, sizeof(store->path_new), "%s/MANIFEST.tmp", data_dir);
    io_unlink(&store->io, store->path_new);
    store_go(store, MANIFEST_STORE_UNLINK);
}
