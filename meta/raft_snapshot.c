/* The raft log's snapshots.
 *
 *     IDLE -> OPENING -> WRITING (in pieces) -> SYNCING -> CLOSING      snapshot.tmp
 *       -> RENAMING -> NAMING (flush the directory): durable, it counts
 *       -> [RESTARTING: drop_all, until the old entries are void] -> [CLEANING: the third newest]
 *       -> IDLE, done fires
 *
 *     no space -> [LEAVING: close] -> REMOVING (snapshot.tmp) -> IDLE, done fires
 *
 * The newest is loaded. If it does not check, the one before it serves, as long as the log reaches
 * back to it. */
#include "core/assert.h"
#include "core/bytes.h"
#include "core/cover.h"
#include "core/crc32c.h"
#include "core/log.h"
#include "meta/raft_log_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SNAPSHOT_PREFIX "snapshot-"

enum { SNAPSHOT_PIECE_BYTES = 4 << 20, SNAPSHOT_DIGITS = 16 };

static void raft_snapshot_name(uint64_t index, char *name)
{
    (void)snprintf(name, RAFT_LOG_NAME_BYTES, SNAPSHOT_PREFIX "%016" PRIx64, index);
}

uint64_t raft_snapshot_index(const char *name)
{
    size_t prefix = strlen(SNAPSHOT_PREFIX);
    if (strncmp(name, SNAPSHOT_PREFIX, prefix) != 0 || strlen(name) != prefix + SNAPSHOT_DIGITS) {
        return 0;
    }
    char *end = NULL;
    uint64_t index = strtoull(name + prefix, &end, 16);
    char again[RAFT_LOG_NAME_BYTES];
    raft_snapshot_name(index, again);
    return *end == 0 && strcmp(name, again) == 0 ? index : 0;
}

static enum err raft_snapshot_read_at(struct raft_log_store *store, int fd, uint8_t *data,
                                      uint64_t size, uint64_t position)
{
    for (uint64_t done = 0; done < size;) {
        struct io io = {0};
        uint32_t piece = (uint32_t)min_u64(size - done, SNAPSHOT_PIECE_BYTES);
        io_read(&io, fd, data + done, piece, position + done);
        int32_t result = raft_log_run(store, &io);
        if (result < 0) {
            return (enum err)result;
        }
        if ((uint32_t)result != piece) {
            return ERR_CORRUPT;
        }
        done += piece;
    }
    return OK;
}

/* ERR_CORRUPT: it does not check. */
static enum err raft_snapshot_check(const struct raft_log_store *store, const uint8_t *header,
                                    const uint8_t *data, uint64_t size)
{
    uint32_t crc = crc32c(raft_log_crc(header, RAFT_LOG_SNAPSHOT_HEADER_BYTES), data, size);
    if (load_le32(header + 12) != crc) {
        return ERR_CORRUPT;
    }
    if (load_le32(header + 8) != RAFT_LOG_VERSION) {
        return ERR_VERSION;
    }
    return load_le64(header + 16) != store->identity ? ERR_FOREIGN : OK;
}

static enum err raft_snapshot_read_file(struct raft_log_store *store, int fd, uint64_t index,
                                        uint64_t file_size, struct raft_log_found *found)
{
    uint8_t header[RAFT_LOG_SNAPSHOT_HEADER_BYTES];
    enum err err = raft_snapshot_read_at(store, fd, header, sizeof(header), 0);
    if (err != OK) {
        return err;
    }
    uint64_t size = load_le64(header + 40);
    if (memcmp(header, RAFT_SNAPSHOT_MAGIC, 8) != 0 || file_size < sizeof(header) ||
        size != file_size - sizeof(header)) {
        return ERR_CORRUPT;
    }
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (data == NULL) {
        return ERR_NO_MEMORY;
    }
    err = raft_snapshot_read_at(store, fd, data, size, sizeof(header));
    err = err == OK ? raft_snapshot_check(store, header, data, size) : err;
    if (err == OK && load_le64(header + 24) != index) {
        err = ERR_CORRUPT; /* Renamed by somebody. */
    }
    if (err != OK) {
        free(data);
        return err;
    }
    free(found->snapshot);
    found->snapshot = data;
    found->snapshot_size = size;
    found->snapshot_index = index;
    found->snapshot_term = load_le64(header + 32);
    return OK;
}

/* ERR_CORRUPT and no message: it does not check. */
static enum err raft_snapshot_read(struct raft_log_store *store, uint64_t index,
                                   struct raft_log_found *found, char *message)
{
    char name[RAFT_LOG_NAME_BYTES], path[RAFT_LOG_PATH_BYTES];
    raft_snapshot_name(index, name);
    raft_log_path(store, name, path);
    struct io io = {0};
    io_stat(&io, path);
    int32_t result = raft_log_run(store, &io);
    uint64_t size = io.stat.size;
    int fd = result < 0 ? result : raft_log_open_file(store, name, 0);
    enum err err = (enum err)fd;
    if (fd >= 0) {
        err = raft_snapshot_read_file(store, fd, index, size, found);
        raft_log_close_file(store, &fd);
    }
    if (err != OK && err != ERR_CORRUPT) {
        return raft_log_fail(store, message, err, "cannot read", name);
    }
    return err;
}

enum err raft_snapshot_load(struct raft_log_store *store, char *message)
{
    char *names = NULL;
    uint32_t bytes = 0;
    enum err err = raft_log_list(store, &names, &bytes, message);
    uint64_t newest = 0, second = 0;
    for (uint32_t at = 0; err == OK && at < bytes; at += (uint32_t)strlen(names + at) + 1) {
        uint64_t index = raft_snapshot_index(names + at);
        if (index > newest) {
            second = newest;
            newest = index;
        } else if (index > second) {
            second = index;
        }
    }
    free(names);
    if (err != OK || newest == 0) {
        return err;
    }
    err = raft_snapshot_read(store, newest, &store->found, message);
    if (err == ERR_CORRUPT && second != 0) {
        store->snapshot_bad = newest;
        newest = second;
        second = 0;
        err = raft_snapshot_read(store, newest, &store->found, message);
    }
    if (err == ERR_CORRUPT) {
        char name[RAFT_LOG_NAME_BYTES];
        raft_snapshot_name(newest, name);
        return raft_log_fail(store, message, ERR_DAMAGED, "the snapshot does not check:", name);
    }
    store->snapshot_index = newest;
    store->snapshot_previous = second;
    return err;
}

static bool raft_snapshot_is_litter(const struct raft_log_store *store, const char *name)
{
    uint64_t index = raft_snapshot_index(name);
    return strcmp(name, "snapshot.tmp") == 0 || strcmp(name, "term.tmp") == 0 ||
           (index != 0 && index != store->snapshot_index && index != store->snapshot_previous);
}

enum err raft_snapshot_clean(struct raft_log_store *store, char *message)
{
    char *names = NULL;
    uint32_t bytes = 0;
    enum err err = raft_log_list(store, &names, &bytes, message);
    for (uint32_t at = 0; err == OK && at < bytes; at += (uint32_t)strlen(names + at) + 1) {
        const char *name = names + at;
        if (!raft_snapshot_is_litter(store, name)) {
            continue;
        }
        if (store->snapshot_bad != 0 && raft_snapshot_index(name) == store->snapshot_bad) {
            LOG_WARN("the newest snapshot does not check, the one before it serves bad=%" PRIu64
                     " index=%" PRIu64,
                     store->snapshot_bad, store->snapshot_index);
        }
        COVER("a crash left half a raft snapshot or an old one");
        char path[RAFT_LOG_PATH_BYTES];
        struct io io = {0};
        raft_log_path(store, name, path);
        io_unlink(&io, path);
        int32_t result = raft_log_run(store, &io);
        err = result < 0 ? raft_log_fail(store, message, (enum err)result, "cannot remove", name)
                         : OK;
    }
    free(names);
    return err;
}

enum err raft_log_get(struct raft_log_store *store, struct raft_log_found *found, char *message)
{
    message[0] = 0;
    if (store->snapshot_index == 0) {
        (void)snprintf(message, RAFT_LOG_MESSAGE_BYTES, "there is no snapshot yet");
        return ERR_NOT_FOUND;
    }
    enum err err = raft_snapshot_read(store, store->snapshot_index, found, message);
    if (err == ERR_CORRUPT) {
        char name[RAFT_LOG_NAME_BYTES];
        raft_snapshot_name(store->snapshot_index, name);
        return raft_log_fail(store, message, ERR_DAMAGED, "the snapshot does not check:", name);
    }
    return err;
}

static void raft_snapshot_go(struct raft_log_store *store, enum raft_snapshot_state state)
{
    store->snapshot.state = state;
    io_submit(store->reactor, &store->snapshot.io);
}

static void raft_snapshot_write(struct raft_log_store *store)
{
    struct raft_snapshot_work *work = &store->snapshot;
    const struct raft_log_put *put = work->put;
    uint32_t piece = (uint32_t)min_u64(put->size - work->position, SNAPSHOT_PIECE_BYTES);
    io_write(&work->io, work->fd, put->data + work->position, piece, work->position, 0);
    work->position += piece;
    raft_snapshot_go(store, RAFT_SNAPSHOT_WRITING);
}

static void raft_snapshot_finish(struct raft_log_store *store, enum err err)
{
    struct raft_snapshot_work *work = &store->snapshot;
    struct raft_log_put *put = work->put;
    work->state = RAFT_SNAPSHOT_IDLE;
    work->put = NULL;
    completion_fire(store->reactor, &put->done, err);
    raft_log_stop_step(store);
}

static void raft_snapshot_drop_surplus(struct raft_log_store *store)
{
    struct raft_snapshot_work *work = &store->snapshot;
    if (work->surplus == 0) {
        raft_snapshot_finish(store, OK);
        return;
    }
    char name[RAFT_LOG_NAME_BYTES];
    raft_snapshot_name(work->surplus, name);
    raft_log_path(store, name, work->path);
    io_unlink(&work->io, work->path);
    raft_snapshot_go(store, RAFT_SNAPSHOT_CLEANING);
}

/* The next open finds it: entries that it covers are not needed any more. */
static void raft_snapshot_durable(struct raft_log_store *store)
{
    struct raft_snapshot_work *work = &store->snapshot;
    uint64_t index = work->put->index;
    work->surplus = 0;
    if (index != store->snapshot_index) {
        work->surplus = store->snapshot_previous;
        store->snapshot_previous = store->snapshot_index;
        store->snapshot_index = index;
    }
    raft_log_kick(store); /* Before this ends: who stops the log must see that it goes on. */
    if (work->put->drop_all) {
        work->state = RAFT_SNAPSHOT_RESTARTING;
    } else {
        raft_snapshot_drop_surplus(store);
    }
}

void raft_snapshot_restarted(struct raft_log_store *store)
{
    ASSERT(store->snapshot.state == RAFT_SNAPSHOT_RESTARTING);
    raft_snapshot_drop_surplus(store);
}

/* The log can do without it for a while: its files exist, so a topic may still be deleted to make
 * room. Half a file is kept for the starts that follow when the node ends here. */
static bool raft_snapshot_may_wait(const struct raft_log_store *store)
{
    const struct raft_log_file *other = &store->files[1 - store->active];
    bool room = store->files[store->active].position < store->file_bytes / 2 ||
                other->last_index <= store->snapshot_index;
    return room && !store->stalled && !store->snapshot.put->drop_all;
}

static void raft_snapshot_remove(struct raft_log_store *store)
{
    struct raft_snapshot_work *work = &store->snapshot;
    io_unlink(&work->io, work->path_new);
    raft_snapshot_go(store, RAFT_SNAPSHOT_REMOVING);
}

/* The disk is full: gives its blocks back. */
static void raft_snapshot_leave(struct raft_log_store *store)
{
    struct raft_snapshot_work *work = &store->snapshot;
    COVER("a raft snapshot finds no space");
    LOG_WARN("the disk is full, the metadata log grows without a snapshot for now dir=%s",
             store->dir);
    store->bytes_since_snapshot = max_u64(store->bytes_since_snapshot, store->file_bytes / 4);
    if (work->fd < 0) {
        raft_snapshot_remove(store);
        return;
    }
    io_close(&work->io, work->fd);
    work->fd = -1;
    raft_snapshot_go(store, RAFT_SNAPSHOT_LEAVING);
}

static void raft_snapshot_advance(struct raft_log_store *store)
{
    struct raft_snapshot_work *work = &store->snapshot;
    switch (work->state) {
    case RAFT_SNAPSHOT_OPENING:
        raft_snapshot_write(store);
        return;
    case RAFT_SNAPSHOT_WRITING:
        if (work->position < work->put->size) {
            raft_snapshot_write(store);
            return;
        }
        if (MUTANT("raft-snapshot-cached")) {
            io_stat(&work->io, store->dir);
        } else {
            io_sync(&work->io, work->fd);
        }
        raft_snapshot_go(store, RAFT_SNAPSHOT_SYNCING);
        return;
    case RAFT_SNAPSHOT_SYNCING:
        io_close(&work->io, work->fd);
        work->fd = -1;
        raft_snapshot_go(store, RAFT_SNAPSHOT_CLOSING);
        return;
    case RAFT_SNAPSHOT_CLOSING:
        io_rename(&work->io, work->path_new, work->path);
        raft_snapshot_go(store, RAFT_SNAPSHOT_RENAMING);
        return;
    case RAFT_SNAPSHOT_RENAMING:
        io_sync_dir(&work->io, store->dir);
        raft_snapshot_go(store, RAFT_SNAPSHOT_NAMING);
        return;
    case RAFT_SNAPSHOT_NAMING:
        raft_snapshot_durable(store);
        return;
    case RAFT_SNAPSHOT_CLEANING:
        raft_snapshot_finish(store, OK);
        return;
    case RAFT_SNAPSHOT_LEAVING:
        raft_snapshot_remove(store);
        return;
    case RAFT_SNAPSHOT_REMOVING:
        raft_snapshot_finish(store, ERR_NO_SPACE);
        return;
    case RAFT_SNAPSHOT_IDLE:
    case RAFT_SNAPSHOT_RESTARTING:
        break;
    }
    UNREACHABLE();
}

static void raft_snapshot_step(struct completion *done)
{
    struct raft_log_store *store = CONTAINER_OF(done, struct raft_log_store, snapshot.io.done);
    struct raft_snapshot_work *work = &store->snapshot;
    bool removing = work->state == RAFT_SNAPSHOT_REMOVING;
    if (done->result == ERR_NO_SPACE && work->state <= RAFT_SNAPSHOT_RENAMING &&
        raft_snapshot_may_wait(store)) {
        raft_snapshot_leave(store);
        return;
    }
    if (removing && done->result == ERR_NOT_FOUND) {
        done->result = OK; /* It was not even made. */
    }
    if (done->result < 0 && work->state == RAFT_SNAPSHOT_CLEANING) {
        LOG_WARN("an old snapshot stays index=%" PRIu64 " err=%s", work->surplus,
                 err_name((enum err)done->result)); /* The next open removes it. */
    } else if (done->result < 0) {
        PANIC("a snapshot of raft cannot be written to \"%s\": %s. Look after the disk, then start "
              "again",
              store->dir, err_text((enum err)done->result));
    }
    if (work->state == RAFT_SNAPSHOT_OPENING) {
        work->fd = done->result;
    }
    raft_snapshot_advance(store);
}

static void raft_snapshot_encode(const struct raft_log_store *store, const struct raft_log_put *put)
{
    uint8_t *at = put->data;
    memset(at, 0, RAFT_LOG_SNAPSHOT_HEADER_BYTES);
    memcpy(at, RAFT_SNAPSHOT_MAGIC, 8);
    store_le32(at + 8, RAFT_LOG_VERSION);
    store_le64(at + 16, store->identity);
    store_le64(at + 24, put->index);
    store_le64(at + 32, put->term);
    store_le64(at + 40, put->size - RAFT_LOG_SNAPSHOT_HEADER_BYTES);
    store_le32(at + 12, raft_log_crc(at, put->size));
}

void raft_log_put(struct raft_log_store *store, struct raft_log_put *put)
{
    struct raft_snapshot_work *work = &store->snapshot;
    ASSERT(work->state == RAFT_SNAPSHOT_IDLE);
    ASSERT(store->stop_done == NULL);
    ASSERT(put->size >= RAFT_LOG_SNAPSHOT_HEADER_BYTES);
    ASSERT(put->index > 0);
    ASSERT(put->index >= store->snapshot_index);
    raft_snapshot_encode(store, put);
    char name[RAFT_LOG_NAME_BYTES];
    raft_snapshot_name(put->index, name);
    raft_log_path(store, name, work->path);
    raft_log_path(store, "snapshot.tmp", work->path_new);
    work->put = put;
    work->position = 0;
    work->fd = -1;
    store->bytes_since_snapshot = 0;
    if (put->drop_all) {
        raft_log_queue_own(store, put->index + 1, true);
    } else {
        ASSERT(put->index < store->index_next);
    }
    completion_init(&work->io.done, raft_snapshot_step);
    io_open(&work->io, work->path_new, IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE);
    raft_snapshot_go(store, RAFT_SNAPSHOT_OPENING);
}
