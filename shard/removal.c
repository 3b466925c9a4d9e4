/* Files that the map has forgotten.
 *
 *     removal_take():  off the partition's list, onto `doomed`
 *     WAITING -> nobody reads it any more -> close, RECYCLING (pool.c), freed -> the next
 *     LISTING, once in a life: names in the directory that are older than the map's first segment
 *              -> SWEEPING them. A crash left them
 *
 * An empty segment is not in the map once it is sealed, but its file is there: it goes with those
 * around it, by another look at the names. Else it would stand alone, before a gap, and a survey
 * would miss what was removed.
 *
 * Where a file goes no directory is synced: a name that comes back after a power cut is swept. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/shard_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { REMOVAL_NAMES_BYTES = 4096 };

static void removal_step(struct completion *done);

static void removal_io(struct removal *removal, enum removal_state state)
{
    struct partition *partition = CONTAINER_OF(removal, struct partition, removal);
    removal->state = state;
    completion_init(&removal->io.done, removal_step);
    io_submit(partition->shard->reactor, &removal->io);
}

/* The oldest, off the list; NULL: there is none, or somebody has pinned it. In that order, so that
 * a crash leaves files without a gap between them. */
static struct segment *removal_pick(struct removal *removal)
{
    struct segment *segment = removal->doomed;
    if (segment == NULL || segment->pins > 0) {
        return NULL;
    }
    removal->doomed = segment->doomed_next;
    return segment;
}

static void removal_end(struct partition *partition)
{
    struct removal *removal = &partition->removal;
    if (removal->names != NULL) {
        block_unref(removal->names);
        removal->names = NULL;
    }
    removal->state = REMOVAL_IDLE;
    shard_leave(partition->shard, partition);
}

static void removal_next(struct partition *partition)
{
    struct removal *removal = &partition->removal;
    struct segment *segment = removal_pick(removal);
    if (segment != NULL) {
        removal->state = REMOVAL_RECYCLING;
        completion_init(&removal->io.done, removal_step);
        segment_recycle(segment, &removal->io.done);
        journal_forget(segment);
        looks_forget(segment);
        segment_index_deinit(&segment->index);
        free(segment);
    } else if (removal->doomed != NULL) {
        COVER("a reader still has a removed segment");
        removal->state = REMOVAL_WAITING;
    } else {
        removal_end(partition);
    }
}

/* The id that a name in the directory stands for; UINT64_MAX: it is no segment's. */
static uint64_t removal_id(const char *name)
{
    return segment_is_name(name, ".seg") ? strtoull(name, NULL, 16) : UINT64_MAX;
}

static bool removal_is_doomed(const struct removal *removal, uint64_t id)
{
    for (const struct segment *at = removal->doomed; at != NULL; at = at->doomed_next) {
        if (at->info.id == id) {
            return true;
        }
    }
    return false;
}

static bool removal_is_known(const struct partition *partition, uint64_t id)
{
    for (uint32_t i = 0; i < partition->segment_count; i++) {
        if (partition->segments[i]->info.id == id) {
            return true;
        }
    }
    return id == UINT64_MAX;
}

/* Unlinks the next name that is older than all that the map knows. */
static void removal_sweep(struct partition *partition)
{
    struct removal *removal = &partition->removal;
    while (removal->names_at < removal->names_bytes) {
        const char *name = (const char *)removal->names->data + removal->names_at;
        uint64_t id = removal_id(name);
        removal->names_at += (uint32_t)strlen(name) + 1;
        if (id < removal->oldest && !removal_is_doomed(removal, id)) {
            COVER("a file that a crash left is swept");
            LOG_INFO("file of a removed segment is swept topic=%s partition=%u segment=%016" PRIx64,
                     partition->name, partition->id.partition, id);
            segment_id_path(partition, id, partition->recycle.path);
            io_unlink(&removal->io, partition->recycle.path);
            removal_io(removal, REMOVAL_SWEEPING);
            return;
        }
        if (id >= removal->oldest && !removal->between && !removal_is_known(partition, id)) {
            COVER("a file that the map does not know is between its segments");
            removal->between = true;
        }
    }
    removal_next(partition);
}

static void removal_step(struct completion *done)
{
    struct removal *removal = CONTAINER_OF(done, struct removal, io.done);
    struct partition *partition = CONTAINER_OF(removal, struct partition, removal);
    switch (removal->state) {
    case REMOVAL_RECYCLING:
        if (done->result < 0 && done->result != ERR_NOT_FOUND) {
            LOG_WARN("file of a removed segment stays until the next start topic=%s partition=%u "
                     "file=%s reason=\"%s\"",
                     partition->name, partition->id.partition, partition->recycle.path,
                     err_text((enum err)done->result));
        }
        removal_next(partition);
        return;
    case REMOVAL_LISTING:
        removal->names_at = 0;
        removal->between = false;
        removal->names_bytes = done->result < 0 ? 0 : (uint32_t)done->result;
        removal->swept =
            done->result == ERR_NOT_FOUND || (done->result >= 0 && !removal->io.list.more);
        removal_sweep(partition);
        return;
    case REMOVAL_SWEEPING:
        removal_sweep(partition);
        return;
    case REMOVAL_WAITING:
        removal_next(partition);
        return;
    case REMOVAL_IDLE:
        break;
    }
    UNREACHABLE();
}

/* Goes on, or begins; never inline. */
static void removal_wake(struct partition *partition)
{
    struct removal *removal = &partition->removal;
    if (removal->state == REMOVAL_IDLE) {
        shard_enter(partition->shard, partition);
        removal->state = REMOVAL_WAITING;
    }
    if (removal->state == REMOVAL_WAITING && !removal->io.done.queued) {
        completion_init(&removal->io.done, removal_step);
        completion_fire(partition->shard->reactor, &removal->io.done, OK);
    }
}

void removal_take(struct partition *partition, uint64_t first_kept)
{
    struct removal *removal = &partition->removal;
    uint32_t count = 0;
    struct segment **last = &removal->doomed;
    while (*last != NULL) {
        last = &(*last)->doomed_next;
    }
    while (partition->segments[count]->info.id != first_kept) {
        struct segment *segment = partition->segments[count++];
        ASSERT(count < partition->segment_count);
        ASSERT(segment->info.state == SEGMENT_SEALED);
        segment->doomed = true;
        segment->doomed_next = NULL;
        *last = segment;
        last = &segment->doomed_next;
        stats_add(&partition->shard->reactor->stats, STAT_SEGMENTS_REMOVED, 1);
    }
    if (count > 0) {
        LOG_INFO("segments removed topic=%s partition=%u count=%u start=%" PRIu64, partition->name,
                 partition->id.partition, count, partition->log_start);
        partition->segment_count -= count;
        memmove(partition->segments, partition->segments + count,
                partition->segment_count * sizeof(*partition->segments));
        tail_drop_below(partition, partition->segments[0]->info.base_offset);
        /* First what an earlier life left: it is older, and must not stay behind a gap. */
        removal->swept = removal->swept && !removal->between;
        removal_list(partition);
        removal_wake(partition);
    }
}

void removal_unpinned(struct segment *segment)
{
    ASSERT(segment->doomed && segment->pins == 0);
    removal_wake(segment->partition);
}

void removal_list(struct partition *partition)
{
    struct removal *removal = &partition->removal;
    if (removal->swept || removal->state != REMOVAL_IDLE || partition->segment_count == 0) {
        return;
    }
    removal->names =
        block_acquire(partition->shard->reactor->memory, MEMORY_RECOVERY, REMOVAL_NAMES_BYTES);
    if (removal->names == NULL) {
        return; /* Another time. */
    }
    shard_enter(partition->shard, partition);
    removal->oldest = UINT64_MAX;
    for (uint32_t i = 0; i < partition->segment_count; i++) {
        removal->oldest = min_u64(removal->oldest, partition->segments[i]->info.id);
    }
    partition_path(partition, partition->recycle.path);
    io_list(&removal->io, partition->recycle.path, (char *)removal->names->data,
            REMOVAL_NAMES_BYTES, 0);
    removal_io(removal, REMOVAL_LISTING);
}
