/* Names and descriptors of segment files. Open segments keep theirs pinned; sealed ones are opened
 * at first use and, when nobody uses them, closed as soon as too many others were used later, or
 * when the process has no descriptor left: the least recently used first. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/shard_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void topic_path(const struct partition *partition, char *path)
{
    char topic[TOPIC_ID_TEXT_BYTES];
    (void)snprintf(path, SHARD_PATH_BYTES, "%s/topics/%s", partition->shard->options.data_dir,
                   topic_id_text(&partition->id.topic, topic));
}

void partition_path(const struct partition *partition, char *path)
{
    char topic[TOPIC_ID_TEXT_BYTES];
    (void)snprintf(path, SHARD_PATH_BYTES, "%s/topics/%s/%u", partition->shard->options.data_dir,
                   topic_id_text(&partition->id.topic, topic), partition->id.partition);
}

void segment_path(const struct segment *segment, char *path)
{
    segment_id_path(segment->partition, segment->info.id, path);
}

void segment_id_path(const struct partition *partition, uint64_t id, char *path)
{
    char topic[TOPIC_ID_TEXT_BYTES];
    (void)snprintf(path, SHARD_PATH_BYTES, "%s/topics/%s/%u/%016" PRIx64 ".seg",
                   partition->shard->options.data_dir, topic_id_text(&partition->id.topic, topic),
                   partition->id.partition, id);
}

void segment_pool_path(const struct segment *segment, char *path)
{
    (void)snprintf(path, SHARD_PATH_BYTES, "%s/pool/%016" PRIx64 ".new",
                   segment->partition->shard->options.data_dir, segment->info.id);
}

enum err segment_tell(struct segment *segment, enum err err)
{
    const struct partition *partition = segment->partition;
    if (err == OK || err == ERR_NO_MEMORY) {
        return err;
    }
    bool lost = err == ERR_NOT_FOUND || err == ERR_TRUNCATED || err == ERR_CORRUPT ||
                err == ERR_FOREIGN || err == ERR_DAMAGED;
    bool first = segment->told != err;
    segment->told = err;
    if (lost && first) {
        LOG_ERROR("stored records are lost; stop floe and put the segment's file back from a copy, "
                  "or go on without them topic=%s partition=%u segment=%016" PRIx64 " base=%" PRIu64
                  " reason=\"%s\"",
                  partition->name, partition->id.partition, segment->info.id,
                  segment->info.base_offset, err_text(err));
    } else if (first) {
        LOG_ERROR("stored records cannot be read now; look at the disk, the file's owner and the "
                  "limit of open files topic=%s partition=%u segment=%016" PRIx64 " base=%" PRIu64
                  " reason=\"%s\"",
                  partition->name, partition->id.partition, segment->info.id,
                  segment->info.base_offset, err_text(err));
    }
    return lost ? ERR_DAMAGED : ERR_STORAGE;
}

/* A descriptor on its way out. */
struct closing {
    struct io io;
    struct shard *shard;
};

static void descriptor_closed(struct completion *done)
{
    struct closing *closing = CONTAINER_OF(done, struct closing, io.done);
    struct shard *shard = closing->shard;
    free(closing);
    shard_leave(shard, NULL);
}

void descriptor_close(struct shard *shard, int fd)
{
    ASSERT(fd >= 0);
    struct closing *closing = calloc(1, sizeof(*closing));
    if (closing == NULL) { /* It stays open to the end of the process, which costs no record. */
        LOG_ERROR("no memory to close a file fd=%d", fd);
        return;
    }
    closing->shard = shard;
    completion_init(&closing->io.done, descriptor_closed);
    io_close(&closing->io, fd);
    shard_enter(shard, NULL);
    io_submit(shard->reactor, &closing->io);
}

/* Into the list of those that may be closed, and out of it. */
static void files_give(struct segment *segment)
{
    struct shard *shard = segment->partition->shard;
    if (segment->fd >= 0 && segment->pins == 0) {
        list_push_back(&shard->files, &segment->lru);
        shard->files_idle++;
    }
}

static void files_take(struct segment *segment)
{
    struct shard *shard = segment->partition->shard;
    if (segment->fd >= 0 && segment->pins == 0) {
        ASSERT(shard->files_idle > 0);
        list_remove(&segment->lru);
        shard->files_idle--;
    }
}

static void segment_close_before(struct segment *segment)
{
    if (segment->fd_before >= 0) {
        descriptor_close(segment->partition->shard, segment->fd_before);
        segment->fd_before = -1;
    }
}

void segment_close(struct segment *segment)
{
    segment_close_before(segment);
    if (segment->fd < 0) {
        return;
    }
    struct shard *shard = segment->partition->shard;
    files_take(segment);
    descriptor_close(shard, segment->fd);
    segment->fd = -1;
    ASSERT(shard->files_open > 0);
    shard->files_open--;
}

void files_init(struct shard *shard)
{
    uint32_t most = shard->options.files_max;
    uint32_t readers = SHARD_READERS + SHARD_RECOVERIES_MAX + SHARD_FILES_IDLE_MIN;
    shard->files_writing = most == 0 ? UINT32_MAX : most - min_u32(most / 4, readers);
    shard->options.files_max = most == 0 ? SHARD_FILES_MAX : most;
}

bool files_may_make(struct shard *shard)
{
    uint32_t used = shard->files_open - shard->files_idle + shard->files_making;
    if (used < shard->files_writing) {
        return true;
    }
    stats_add(&shard->reactor->stats, STAT_FILES_REFUSED, 1);
    LOG_WARN("too many segments are open for one more; raise the limit of open files (ulimit -n, "
             "LimitNOFILE=) limit=%" PRIu64 " open=%u most=%u",
             shard->options.files_limit, used, shard->files_writing);
    return false;
}

static void files_evict(struct shard *shard)
{
    ASSERT(shard->files_idle > 0);
    stats_add(&shard->reactor->stats, STAT_FILES_EVICTED, 1);
    segment_close(CONTAINER_OF(shard->files.next, struct segment, lru));
}

void segment_recycle(struct segment *segment, struct completion *done)
{
    struct partition *partition = segment->partition;
    segment_close(segment);
    segment_path(segment, partition->recycle.path);
    bool sound = !segment->spoiled && !segment->damaged && segment->told == OK;
    recycle_file(partition, sound, done);
}

static void files_trim(struct shard *shard)
{
    while (shard->files_open > shard->options.files_max &&
           shard->files_idle > SHARD_FILES_IDLE_MIN) {
        files_evict(shard);
    }
}

bool files_make_room(struct shard *shard, enum err err, const char *path)
{
    if (err != ERR_LIMIT) {
        return false;
    }
    stats_add(&shard->reactor->stats, STAT_FILES_REFUSED, 1);
    bool room = shard->files_idle > 0;
    if (room) {
        COVER("idle files make room for another");
    }
    LOG_WARN("no descriptor is left for a file; raise the limit of open files (ulimit -n, "
             "LimitNOFILE=) or lower connections.max limit=%" PRIu64
             " segment_files=%u idle=%u file=%s",
             shard->options.files_limit, shard->files_open, shard->files_idle, path);
    for (uint32_t i = (shard->files_idle + 1) / 2; i > 0; i--) {
        files_evict(shard);
    }
    return room;
}

void segment_opened(struct segment *segment, int fd)
{
    struct shard *shard = segment->partition->shard;
    if (segment->fd >= 0) {
        descriptor_close(shard, fd);
        return;
    }
    segment->fd = fd;
    shard->files_open++;
    files_give(segment);
    files_trim(shard);
}

void segment_pin(struct segment *segment)
{
    files_take(segment);
    segment->pins++;
}

void segment_unpin(struct segment *segment)
{
    ASSERT(segment->pins > 0);
    segment->pins--;
    if (segment->pins == 0) {
        segment_close_before(segment);
    }
    files_give(segment);
    if (segment->doomed && segment->pins == 0) {
        removal_unpinned(segment);
    }
    files_trim(segment->partition->shard);
}

enum err frame_at(const struct segment *segment, const uint8_t *at, uint64_t position,
                  struct extent_header *extent, struct frame_header *frame)
{
    enum err err = extent_header_at(at, segment->info.salt, position, extent);
    if (err != OK || extent->type != EXTENT_FRAMES) {
        return err;
    }
    return frame_header_in(at + EXTENT_HEADER_BYTES, extent, segment->info.id, frame);
}
