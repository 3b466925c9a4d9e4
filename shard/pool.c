/* See the header. */
#include "shard/pool.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/shard_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void pool_step(struct completion *done);
static void recycle_step(struct completion *done);

void pool_init(struct shard *shard)
{
    shard->pool = (struct file_pool){.window_ns = shard->reactor->now_ns};
}

/* Numbers of different cores differ. */
static void pool_path(const struct shard *shard, uint64_t number, char *path)
{
    (void)snprintf(path, POOL_PATH_BYTES, "%s/pool/%" PRIu64, shard->options.data_dir,
                   number * REACTORS_MAX + shard->reactor->index);
}

static void pool_count(struct shard *shard, uint64_t bytes)
{
    shard->pool.bytes += bytes;
    stats_add(&shard->reactor->stats, STAT_POOL_BYTES, bytes);
}

static struct pool_file pool_remove(struct shard *shard, uint32_t index)
{
    struct file_pool *pool = &shard->pool;
    struct pool_file file = pool->files[index];
    pool->count--;
    memmove(&pool->files[index], &pool->files[index + 1],
            (pool->count - index) * sizeof(pool->files[0]));
    pool_count(shard, -file.bytes);
    return file;
}

static void pool_turn_window(struct shard *shard)
{
    struct file_pool *pool = &shard->pool;
    uint64_t passed_ns = shard->reactor->now_ns - pool->window_ns;
    if (passed_ns >= POOL_WINDOW_NS) {
        pool->wrote_before = passed_ns < 2 * POOL_WINDOW_NS ? pool->wrote_now : 0;
        pool->wrote_now = 0;
        pool->window_ns = shard->reactor->now_ns;
    }
}

void pool_wrote(struct shard *shard, uint64_t bytes)
{
    pool_turn_window(shard);
    shard->pool.wrote_now += bytes;
}

static uint64_t pool_bytes_max(struct shard *shard)
{
    const struct file_pool *pool = &shard->pool;
    pool_turn_window(shard);
    uint64_t share = pool->disk_bytes / POOL_DISK_SHARE / max_u32(1, shard->reactor->peer_count);
    return min_u64(share, pool->wrote_now + pool->wrote_before);
}

/* Which file is to go; POOL_FILES_MAX: none. */
static uint32_t pool_victim(struct shard *shard)
{
    const struct file_pool *pool = &shard->pool;
    uint64_t most = pool_bytes_max(shard);
    for (uint32_t i = 0; i < pool->count; i++) {
        const struct pool_file *file = &pool->files[i];
        bool old = shard->reactor->now_ns - file->since_ns > POOL_WINDOW_NS;
        if (file->ready && (pool->emptying || old || file->yields || pool->bytes > most)) {
            return i;
        }
    }
    return POOL_FILES_MAX;
}

/* Unlinks what is to go, one after the other. A name that comes back after a crash is the
 * directory's to remove. */
static void pool_shrink(struct shard *shard)
{
    struct file_pool *pool = &shard->pool;
    if (pool->busy) {
        return;
    }
    uint32_t victim = pool_victim(shard);
    if (victim < POOL_FILES_MAX) {
        pool->busy = true;
        pool_path(shard, pool_remove(shard, victim).number, pool->path);
        completion_init(&pool->io.done, pool_step);
        io_unlink(&pool->io, pool->path);
        shard_enter(shard, NULL);
        io_submit(shard->reactor, &pool->io);
        return;
    }
    pool->emptying = false;
    struct completion *next;
    while ((next = completion_list_pop(&pool->waiters)) != NULL) {
        completion_fire(shard->reactor, next, OK);
    }
}

static void pool_step(struct completion *done)
{
    struct file_pool *pool = CONTAINER_OF(done, struct file_pool, io.done);
    struct shard *shard = CONTAINER_OF(pool, struct shard, pool);
    if (done->result < 0) {
        LOG_WARN("a pooled file stays until the next start file=%s reason=\"%s\"", pool->path,
                 err_text((enum err)done->result));
    }
    pool->busy = false;
    pool_shrink(shard);
    shard_leave(shard, NULL);
}

bool pool_empty(struct shard *shard, struct completion *done)
{
    struct file_pool *pool = &shard->pool;
    if (pool->count == 0 && !pool->busy) {
        return false;
    }
    COVER("the pool is emptied because space is short");
    pool->emptying = true;
    completion_list_push(&pool->waiters, done);
    pool_shrink(shard);
    return true;
}

bool pool_stop(struct shard *shard)
{
    struct file_pool *pool = &shard->pool;
    pool->emptying = pool->count > 0;
    pool_shrink(shard);
    return pool->count == 0 && !pool->busy;
}

/* What is left of the disk, as IO_SPACE found it: false: too little for a pool. */
static bool pool_learn(struct shard *shard, const struct io *space)
{
    shard->pool.disk_bytes = space->space.total_bytes;
    return space->space.free_bytes >= space->space.total_bytes / POOL_DISK_SHARE;
}

static void pool_looked(struct completion *done)
{
    struct file_pool *pool = CONTAINER_OF(done, struct file_pool, look.done);
    struct shard *shard = CONTAINER_OF(pool, struct shard, pool);
    pool->looking = false;
    pool->emptying = pool->emptying || (done->result == OK && !pool_learn(shard, &pool->look));
    pool_shrink(shard);
    shard_leave(shard, NULL);
}

void pool_look(struct shard *shard)
{
    struct file_pool *pool = &shard->pool;
    if (pool->count == 0 || pool->looking || shard->stopping) {
        return;
    }
    pool->looking = true;
    completion_init(&pool->look.done, pool_looked);
    io_space(&pool->look, shard->options.data_dir);
    shard_enter(shard, NULL);
    io_submit(shard->reactor, &pool->look);
}

bool pool_take(struct shard *shard, uint64_t least, uint64_t most, uint64_t *bytes, char *path)
{
    struct file_pool *pool = &shard->pool;
    uint32_t best = POOL_FILES_MAX;
    for (uint32_t i = 0; i < pool->count; i++) {
        const struct pool_file *file = &pool->files[i];
        if (file->ready && file->bytes >= least && file->bytes <= most &&
            (best == POOL_FILES_MAX || file->bytes > pool->files[best].bytes)) {
            best = i;
        }
    }
    if (best == POOL_FILES_MAX) {
        return false;
    }
    struct pool_file file = pool_remove(shard, best);
    *bytes = file.bytes;
    pool_path(shard, file.number, path);
    return true;
}

/* A file on its way in. */

static struct partition *recycle_partition(struct recycle *recycle)
{
    return CONTAINER_OF(recycle, struct partition, recycle);
}

static void recycle_go(struct recycle *recycle, enum recycle_state state)
{
    struct partition *partition = recycle_partition(recycle);
    recycle->state = state;
    completion_init(&recycle->io.done, recycle_step);
    io_submit(partition->shard->reactor, &recycle->io);
}

static void recycle_unlink(struct recycle *recycle, const char *path)
{
    io_unlink(&recycle->io, path);
    recycle_go(recycle, RECYCLE_UNLINK);
}

/* The smallest one goes, if it is smaller. */
static void recycle_push_out(struct shard *shard, uint64_t bytes)
{
    struct file_pool *pool = &shard->pool;
    struct pool_file *least = NULL;
    for (uint32_t i = 0; i < pool->count; i++) {
        struct pool_file *file = &pool->files[i];
        least = file->ready && (least == NULL || file->bytes < least->bytes) ? file : least;
    }
    if (least != NULL && least->bytes < bytes) {
        COVER("a larger file takes the place of a pooled one");
        least->yields = true;
        pool_shrink(shard);
    }
}

/* Holds a place for the file; false: there is none for it. */
static bool recycle_reserve(struct recycle *recycle)
{
    struct shard *shard = recycle_partition(recycle)->shard;
    struct file_pool *pool = &shard->pool;
    if (pool->count == POOL_FILES_MAX) {
        recycle_push_out(shard, recycle->bytes);
    }
    if (pool->count == POOL_FILES_MAX || pool->emptying || shard->stopping ||
        pool->bytes + recycle->bytes > pool_bytes_max(shard)) {
        return false;
    }
    recycle->number = pool->next++;
    pool->files[pool->count++] = (struct pool_file){
        .number = recycle->number, .bytes = recycle->bytes, .since_ns = shard->reactor->now_ns};
    pool_count(shard, recycle->bytes);
    return true;
}

static uint32_t recycle_place(const struct file_pool *pool, uint64_t number)
{
    uint32_t i = 0;
    while (pool->files[i].number != number) {
        i++;
        ASSERT(i < pool->count);
    }
    return i;
}

/* It cannot be kept after all: whichever name it has. */
static void recycle_undo(struct recycle *recycle)
{
    struct shard *shard = recycle_partition(recycle)->shard;
    COVER("a file cannot come into the pool");
    (void)pool_remove(shard, recycle_place(&shard->pool, recycle->number));
    recycle_unlink(recycle, recycle->state == RECYCLE_RENAME ? recycle->path : recycle->to);
}

/* The next step behind the one that ended well. */
static void recycle_on(struct recycle *recycle)
{
    struct partition *partition = recycle_partition(recycle);
    struct shard *shard = partition->shard;
    struct io *io = &recycle->io;
    switch (recycle->state) {
    case RECYCLE_STAT:
        recycle->bytes = io->stat.size & ~(uint64_t)(DISK_BLOCK_BYTES - 1);
        if (io->stat.taken < recycle->bytes) { /* With holes, or the file system packs it. */
            recycle_unlink(recycle, recycle->path);
            return;
        }
        io_space(io, shard->options.data_dir);
        recycle_go(recycle, RECYCLE_SPACE);
        return;
    case RECYCLE_SPACE:
        if (!pool_learn(shard, io)) {
            COVER("the disk is too full for a pool");
            shard->pool.emptying = true;
            pool_shrink(shard);
            recycle_unlink(recycle, recycle->path);
        } else if (!recycle_reserve(recycle)) {
            recycle_unlink(recycle, recycle->path);
        } else {
            pool_path(shard, recycle->number, recycle->to);
            io_rename(io, recycle->path, recycle->to);
            recycle_go(recycle, RECYCLE_RENAME);
        }
        return;
    case RECYCLE_RENAME:
        partition_path(partition, recycle->path);
        io_sync_dir(io, recycle->path);
        recycle_go(recycle, RECYCLE_SYNC_FROM);
        return;
    case RECYCLE_SYNC_FROM:
        (void)snprintf(recycle->path, sizeof(recycle->path), "%s/pool", shard->options.data_dir);
        io_sync_dir(io, recycle->path);
        recycle_go(recycle, RECYCLE_SYNC_POOL);
        return;
    case RECYCLE_SYNC_POOL:
        COVER("a file is in the pool");
        shard->pool.files[recycle_place(&shard->pool, recycle->number)].ready = true;
        pool_shrink(shard); /* Somebody may want it gone already. */
        break;
    case RECYCLE_UNLINK:
        break;
    }
    completion_fire(shard->reactor, recycle->done, OK);
}

static void recycle_step(struct completion *done)
{
    struct recycle *recycle = CONTAINER_OF(done, struct recycle, io.done);
    enum recycle_state state = recycle->state;
    if (done->result >= 0 && state == RECYCLE_RENAME && MUTANT("recycle-unsynced")) {
        recycle->state = RECYCLE_SYNC_POOL;
        recycle_on(recycle);
    } else if (done->result >= 0) {
        recycle_on(recycle);
    } else if (state == RECYCLE_STAT || state == RECYCLE_SPACE) {
        recycle_unlink(recycle, recycle->path);
    } else if (state == RECYCLE_UNLINK) {
        completion_fire(recycle_partition(recycle)->shard->reactor, recycle->done, done->result);
    } else {
        recycle_undo(recycle);
    }
}

void recycle_file(struct partition *partition, bool sound, struct completion *done)
{
    struct recycle *recycle = &partition->recycle;
    recycle->done = done;
    if (!sound || partition->shard->stopping) {
        recycle_unlink(recycle, recycle->path);
        return;
    }
    io_stat(&recycle->io, recycle->path);
    recycle_go(recycle, RECYCLE_STAT);
}
