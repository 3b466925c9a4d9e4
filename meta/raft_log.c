/* The raft log: writing.
 *
 *     append, truncate, restart -> waiting -> frame in flight -> fired, in order
 *
 * All that came in a turn is gathered at its end: records from the head of `waiting`, as many as
 * fit a frame and the active file. When not even the first fits, the other file is begun anew; if
 * it still holds entries that no snapshot covers, the log is stalled until one does. A long append
 * may take several frames; it fires with the last. */
#include "core/assert.h"
#include "core/bytes.h"
#include "core/cover.h"
#include "meta/raft_log_internal.h"

#include <stdlib.h>
#include <string.h>

static void raft_log_push(struct raft_log_queue *queue, struct raft_log_append *wish)
{
    wish->next = NULL;
    if (queue->tail == NULL) {
        queue->head = wish;
    } else {
        queue->tail->next = wish;
    }
    queue->tail = wish;
}

static struct raft_log_append *raft_log_pop(struct raft_log_queue *queue)
{
    struct raft_log_append *wish = queue->head;
    if (wish != NULL) {
        queue->head = wish->next;
        queue->tail = queue->head == NULL ? NULL : queue->tail;
        wish->next = NULL;
    }
    return wish;
}

void raft_log_note_entry(struct raft_log_store *store, uint32_t file, uint64_t index)
{
    store->files[file].last_index = index;
}

void raft_log_note_truncate(struct raft_log_store *store, uint64_t index)
{
    ASSERT(index > 0);
    for (uint32_t i = 0; i < ARRAY_COUNT(store->files); i++) {
        struct raft_log_file *file = &store->files[i];
        file->last_index = min_u64(file->last_index, index - 1);
    }
}

/* Whether the frame can grow to `used` bytes and leave `reserve` of the file. */
static bool raft_log_fits(const struct raft_log_store *store, uint64_t used, uint64_t reserve)
{
    uint64_t padded = align_up(used, RAFT_LOG_BLOCK_BYTES);
    uint64_t position = store->files[store->active].position;
    return padded <= store->buffer_size && position + padded + reserve <= store->file_bytes;
}

static uint64_t raft_log_record_bytes(uint32_t size)
{
    return RAFT_LOG_RECORD_BYTES + align_up(size, 8);
}

/* One record at `at`, padded. */
static void raft_log_encode_record(uint8_t *at, enum raft_log_kind kind, uint64_t index,
                                   const struct raft_log_entry *entry)
{
    uint32_t size = entry == NULL ? 0 : entry->size;
    store_le64(at, index);
    store_le64(at + 8, entry == NULL ? 0 : entry->term);
    store_le32(at + 16, size);
    at[20] = (uint8_t)kind;
    at[21] = entry == NULL ? 0 : entry->type;
    store_le16(at + 22, 0);
    if (size > 0) {
        memcpy(at + RAFT_LOG_RECORD_BYTES, entry->data, size);
        memset(at + RAFT_LOG_RECORD_BYTES + size, 0, align_up(size, 8) - size);
    }
}

/* What a frame being filled has so far. */
struct raft_log_fill {
    uint32_t used, count;
    uint64_t index;
    bool full; /* The next record needs more room. */
};

/* Whether all of `wish` fits behind `used` bytes of a frame at `position`. */
static bool raft_log_fits_whole(const struct raft_log_store *store,
                                const struct raft_log_append *wish, uint64_t used,
                                uint64_t position)
{
    for (uint32_t i = 0; i < wish->count; i++) {
        uint64_t size = raft_log_record_bytes(wish->entries[i].size);
        if (align_up(used + size, RAFT_LOG_BLOCK_BYTES) > store->buffer_size) {
            position += align_up(used, RAFT_LOG_BLOCK_BYTES);
            used = RAFT_LOG_FRAME_BYTES;
        }
        used += size;
    }
    position += align_up(used, RAFT_LOG_BLOCK_BYTES);
    return position + RAFT_LOG_RESERVE_APPEND <= store->file_bytes;
}

/* An append that can is kept in one file: were it cut by a stall, its first entries would hold a
 * file that no snapshot can free, since they are not acknowledged before its last. */
static bool raft_log_may_begin(const struct raft_log_store *store,
                               const struct raft_log_append *wish, uint64_t used)
{
    return raft_log_fits_whole(store, wish, used, store->files[store->active].position) ||
           !raft_log_fits_whole(store, wish, RAFT_LOG_FRAME_BYTES, 0);
}

/* True when all of it is in the frame. */
static bool raft_log_fill_append(struct raft_log_store *store, struct raft_log_append *wish,
                                 struct raft_log_fill *fill)
{
    if (wish->taken == 0 && !raft_log_may_begin(store, wish, fill->used)) {
        fill->full = true;
        return false;
    }
    while (wish->taken < wish->count) {
        const struct raft_log_entry *entry = &wish->entries[wish->taken];
        uint32_t size = (uint32_t)raft_log_record_bytes(entry->size);
        if (!raft_log_fits(store, (uint64_t)fill->used + size, RAFT_LOG_RESERVE_APPEND)) {
            fill->full = true;
            return false;
        }
        ASSERT(wish->index + wish->taken == store->index_written);
        raft_log_encode_record(store->buffer + fill->used, RAFT_LOG_ENTRY, store->index_written,
                               entry);
        raft_log_note_entry(store, store->active, store->index_written);
        store->index_written++;
        fill->used += size;
        fill->count++;
        wish->taken++;
    }
    return true;
}

/* What a record of the log's own must leave of the file. */
static uint64_t raft_log_own_reserve(const struct raft_log_store *store,
                                     const struct raft_log_append *wish)
{
    if (wish->restart) {
        return 0;
    }
    uint64_t other = store->files[1 - store->active].last_index;
    bool frees = min_u64(other, wish->truncate - 1) <= store->snapshot_index;
    return frees ? RAFT_LOG_RESERVE_TRUNCATE : RAFT_LOG_RESERVE_APPEND;
}

/* A restart is written only when the snapshot that it names is durable. */
static bool raft_log_fill_own(struct raft_log_store *store, const struct raft_log_append *wish,
                              struct raft_log_fill *fill)
{
    if (wish->restart && store->snapshot_index + 1 < wish->truncate) {
        return false;
    }
    uint64_t reserve = raft_log_own_reserve(store, wish);
    if (!raft_log_fits(store, (uint64_t)fill->used + RAFT_LOG_RECORD_BYTES, reserve)) {
        fill->full = true;
        return false;
    }
    ASSERT(wish->restart || wish->truncate <= store->index_written);
    raft_log_encode_record(store->buffer + fill->used,
                           wish->restart ? RAFT_LOG_RESTART : RAFT_LOG_TRUNCATE, wish->truncate,
                           NULL);
    raft_log_note_truncate(store, wish->restart ? 1 : wish->truncate);
    store->index_written = wish->truncate;
    fill->used += RAFT_LOG_RECORD_BYTES;
    fill->count++;
    return true;
}

static void raft_log_fill(struct raft_log_store *store, struct raft_log_fill *fill)
{
    *fill = (struct raft_log_fill){.used = RAFT_LOG_FRAME_BYTES, .index = store->index_written};
    struct raft_log_append *wish;
    while ((wish = store->waiting.head) != NULL) {
        bool whole = wish->truncate == 0 ? raft_log_fill_append(store, wish, fill)
                                         : raft_log_fill_own(store, wish, fill);
        if (!whole) {
            return;
        }
        raft_log_push(&store->flying, raft_log_pop(&store->waiting));
    }
}

/* Begins the other file anew, if nothing in it is needed any more. */
static bool raft_log_switch(struct raft_log_store *store)
{
    struct raft_log_file *other = &store->files[1 - store->active];
    if (other->last_index > store->snapshot_index) {
        return false;
    }
    COVER("a raft log file is begun anew");
    other->generation = store->files[store->active].generation + 1;
    other->position = 0;
    other->last_index = 0;
    store->active = 1 - store->active;
    return true;
}

/* Header and padding around the records; prepares the write. */
static void raft_log_frame(struct raft_log_store *store, const struct raft_log_fill *fill,
                           struct io *io)
{
    struct raft_log_file *file = &store->files[store->active];
    uint8_t *at = store->buffer;
    uint32_t size = (uint32_t)align_up(fill->used, RAFT_LOG_BLOCK_BYTES);
    ASSERT(fill->count > 0);
    ASSERT(file->position + size <= store->file_bytes);
    memcpy(at, RAFT_LOG_MAGIC, 8);
    store_le32(at + 8, RAFT_LOG_VERSION);
    store_le64(at + 16, store->identity);
    store_le64(at + 24, file->generation);
    store_le64(at + 32, store->sequence);
    store_le64(at + 40, store->sequence); /* One in flight: all before it are durable. */
    store_le32(at + 48, fill->used - RAFT_LOG_FRAME_BYTES);
    store_le32(at + 52, fill->count);
    store_le64(at + 56, fill->index);
    memset(at + fill->used, 0, size - fill->used);
    store_le32(at + 12, raft_log_crc(at, fill->used));
    io_write(io, file->fd, at, size, file->position,
             MUTANT("raft-log-cached") ? 0U : IO_WRITE_DURABLE);
    file->position += size;
    store->sequence++;
    store->bytes_since_snapshot += size;
}

static void raft_log_cancel(struct raft_log_store *store, struct raft_log_append *wish)
{
    if (wish->truncate != 0) {
        free(wish);
    } else {
        completion_fire(store->reactor, &wish->done, ERR_CANCELED);
    }
}

/* The last wish of the log's own that voids all that waits before it; NULL: there is none. Behind a
 * restart the same index means another entry. */
static const struct raft_log_append *raft_log_last_void(const struct raft_log_store *store)
{
    const struct raft_log_append *last = NULL;
    uint64_t lowest = store->index_written; /* Of what waits so far. */
    for (const struct raft_log_append *wish = store->waiting.head; wish != NULL;
         wish = wish->next) {
        if (wish->restart) {
            return wish->truncate <= store->snapshot_index + 1 ? wish : last;
        }
        if (wish->truncate != 0 && wish->truncate <= lowest) {
            lowest = wish->truncate;
            last = wish;
        }
    }
    return last;
}

/* What is void anyway need not wait for a file, nor hold up what voids it. False: nothing is. */
static bool raft_log_cancel_void(struct raft_log_store *store)
{
    const struct raft_log_append *last = raft_log_last_void(store);
    if (last == NULL || last == store->waiting.head) {
        return false;
    }
    COVER("appends that wait for a file are void");
    while (store->waiting.head != last) {
        raft_log_cancel(store, raft_log_pop(&store->waiting));
    }
    return true;
}

/* Makes the next frame and prepares its write; false: there is none. */
static bool raft_log_gather(struct raft_log_store *store, struct io *io)
{
    struct raft_log_fill fill;
    ASSERT(store->flying.head == NULL);
    raft_log_fill(store, &fill);
    if (fill.count == 0 && fill.full && (raft_log_switch(store) || raft_log_cancel_void(store))) {
        raft_log_fill(store, &fill);
    }
    store->stalled = fill.count == 0 && fill.full;
    if (fill.count == 0) {
        return false;
    }
    raft_log_frame(store, &fill, io);
    return true;
}

/* What the frame carried is durable. */
static void raft_log_land(struct raft_log_store *store)
{
    struct raft_log_append *wish;
    while ((wish = raft_log_pop(&store->flying)) != NULL) {
        if (wish->restart && store->snapshot.state == RAFT_SNAPSHOT_RESTARTING) {
            raft_snapshot_restarted(store);
        }
        if (wish->truncate != 0) {
            free(wish);
        } else if (wish->done.fn != NULL) { /* Nobody awaits what raft_log_bootstrap() writes. */
            completion_fire(store->reactor, &wish->done, OK);
        }
    }
}

static void raft_log_written(struct completion *done)
{
    struct raft_log_store *store = CONTAINER_OF(done, struct raft_log_store, io.done);
    ASSERT(store->writing);
    if (done->result < 0) {
        PANIC("the raft log in \"%s\" cannot be written: %s. Look after the disk, then start again",
              store->dir, err_text((enum err)done->result));
    }
    store->writing = false;
    raft_log_land(store);
    raft_log_kick(store);
    raft_log_stop_step(store);
}

void raft_log_work(struct completion *work)
{
    struct raft_log_store *store = CONTAINER_OF(work, struct raft_log_store, work);
    if (!store->writing && store->waiting.head != NULL) {
        completion_init(&store->io.done, raft_log_written);
        if (raft_log_gather(store, &store->io)) {
            store->writing = true;
            io_submit(store->reactor, &store->io);
        }
    }
    raft_log_stop_step(store);
}

void raft_log_kick(struct raft_log_store *store)
{
    if (!store->writing && store->waiting.head != NULL && !store->work.queued) {
        reactor_defer(store->reactor, TURN_COMMIT, &store->work);
    }
}

enum err raft_log_write_now(struct raft_log_store *store)
{
    struct io io = {0};
    bool made = raft_log_gather(store, &io);
    ASSERT(made);
    ASSERT(store->waiting.head == NULL);
    int32_t result = raft_log_run(store, &io);
    if (result < 0) {
        return (enum err)result;
    }
    raft_log_land(store);
    return OK;
}

void raft_log_queue_own(struct raft_log_store *store, uint64_t index, bool restart)
{
    struct raft_log_append *wish = calloc(1, sizeof(*wish));
    if (wish == NULL) {
        PANIC("no memory for a record of the raft log");
    }
    wish->truncate = index;
    wish->restart = restart;
    store->index_next = index;
    raft_log_push(&store->waiting, wish);
}

void raft_log_append(struct raft_log_store *store, struct raft_log_append *append)
{
    ASSERT(append->count > 0);
    ASSERT(append->done.fn != NULL);
    ASSERT(store->stop_done == NULL);
    for (uint32_t i = 0; i < append->count; i++) {
        ASSERT(append->entries[i].size <= RAFT_LOG_ENTRY_BYTES_MAX);
    }
    append->taken = 0;
    append->truncate = 0;
    append->restart = false;
    append->index = store->index_next;
    store->index_next += append->count;
    raft_log_push(&store->waiting, append);
    raft_log_kick(store);
}

void raft_log_truncate(struct raft_log_store *store, uint64_t index)
{
    ASSERT(store->stop_done == NULL);
    ASSERT(index > store->snapshot_index);
    ASSERT(index <= store->index_next);
    if (index < store->index_next) {
        raft_log_queue_own(store, index, false);
        raft_log_kick(store);
    }
}

bool raft_log_wants_snapshot(const struct raft_log_store *store)
{
    return store->stalled || store->bytes_since_snapshot >= store->file_bytes / 4;
}

static void raft_log_stop_closed(struct completion *done)
{
    struct raft_log_store *store = CONTAINER_OF(done, struct raft_log_store, io.done);
    int *const descriptors[] = {&store->files[0].fd, &store->files[1].fd, &store->term_fd};
    *descriptors[store->stop_closed - 1] = -1;
    if (store->stop_closed == ARRAY_COUNT(descriptors)) {
        completion_fire(store->reactor, store->stop_done, OK);
        return;
    }
    io_close(&store->io, *descriptors[store->stop_closed++]);
    io_submit(store->reactor, &store->io);
}

void raft_log_stop_step(struct raft_log_store *store)
{
    bool busy = store->writing || store->work.queued || store->stop_closed > 0 ||
                store->flying.head != NULL || store->snapshot.state != RAFT_SNAPSHOT_IDLE;
    if (store->stop_done == NULL || busy) {
        return;
    }
    if (store->waiting.head != NULL && !store->stalled) {
        raft_log_kick(store);
        return;
    }
    while (store->waiting.head != NULL) {
        raft_log_cancel(store, raft_log_pop(&store->waiting));
    }
    completion_init(&store->io.done, raft_log_stop_closed);
    io_close(&store->io, store->files[0].fd);
    store->stop_closed = 1;
    io_submit(store->reactor, &store->io);
}

void raft_log_stop(struct raft_log_store *store, struct completion *done)
{
    ASSERT(store->stop_done == NULL);
    ASSERT(done->fn != NULL);
    store->stop_done = done;
    raft_log_kick(store);
    raft_log_stop_step(store);
}
