/* One sync for the writes to many files, where files have one drive cache in common and a write
 * onto blocks that were durable before needs nothing but its flush (io.open.flush_domain). Such a
 * write is a plain one; its extent ends when a sync that began after it has ended well.
 *
 *     write -> written: joins -> the sync -> ended, of all that had joined when it began
 *
 * What is written back waits for GROUP_BYTES or GROUP_NS; a commit that goes to its file while
 * other files are written, too, waits for nobody but the sync that is running. A sync that fails
 * fails all of its files: none of them is synced again. */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

enum {
    GROUP_BYTES = 8 << 20,
    GROUP_OF_JOURNAL = 8, /* At most this part of it, for so long it keeps what is not synced. */
    PRESSURE_HIGH = 512,  /* Of 1024: see writeback.c. */
};

#define GROUP_NS (100 * NS_PER_MS)

static void flush_group_work(struct completion *work);
static void flush_group_tick(struct completion *done);

void flush_group_init(struct shard *shard)
{
    struct flush_group *group = &shard->flush_group;
    list_init(&group->written);
    list_init(&group->syncing);
    completion_init(&group->work, flush_group_work);
    timer_init(&group->timer, flush_group_tick);
}

void flush_group_join(struct shard *shard, uint64_t domain)
{
    if (shard->flush_group.domain == 0) {
        shard->flush_group.domain = domain;
    }
}

bool flush_group_takes(const struct extent_write *extent)
{
    const struct partition *partition = extent->partition;
    const struct flush_group *group = &partition->shard->flush_group;
    const struct segment *segment = partition_open_segment(partition);
    if (!MUTANT("group-anywhere") &&
        (segment->flush_domain == 0 || segment->flush_domain != group->domain)) {
        return false;
    }
    uint32_t own = partition->writer.extent_tail - partition->writer.extent_head - 1;
    return extent->chunk || group->flying + group->count > own;
}

static uint64_t flush_group_limit(const struct shard *shard)
{
    return shard->journal == NULL ? 0
                                  : min_u64(GROUP_BYTES, shard->journal->size / GROUP_OF_JOURNAL);
}

static bool flush_group_due(const struct shard *shard)
{
    const struct flush_group *group = &shard->flush_group;
    return group->hurry || group->bytes >= flush_group_limit(shard) ||
           journal_pressure(shard->journal) > PRESSURE_HIGH;
}

static void flush_group_kick(struct shard *shard)
{
    struct flush_group *group = &shard->flush_group;
    if (group->running || group->work.queued || list_empty(&group->written)) {
        return;
    }
    if (flush_group_due(shard)) {
        shard_enter(shard, NULL);
        reactor_defer(shard->reactor, TURN_JOURNAL, &group->work);
    } else if (!timer_running(&group->timer)) {
        timer_start(shard->reactor, &group->timer, GROUP_NS);
    }
}

static void flush_group_synced(struct completion *done)
{
    struct flush_group *group = CONTAINER_OF(done, struct flush_group, io.done);
    struct shard *shard = CONTAINER_OF(group, struct shard, flush_group);
    enum err err = done->result < 0 ? (enum err)done->result : OK;
    struct list *node;
    group->running = false;
    if (err != OK) {
        COVER("a sync of several files fails");
    }
    while ((node = list_pop_front(&group->syncing)) != NULL) {
        group->count--;
        extent_settled(CONTAINER_OF(node, struct extent_write, group_node), err);
    }
    flush_group_kick(shard);
    shard_leave(shard, NULL);
}

/* The file of the first: it is open for as long as its extent has not ended. */
static int flush_group_fd(const struct flush_group *group)
{
    const struct extent_write *extent =
        CONTAINER_OF(group->syncing.next, struct extent_write, group_node);
    return partition_open_segment(extent->partition)->fd;
}

static void flush_group_sync(struct shard *shard)
{
    struct flush_group *group = &shard->flush_group;
    struct list *node;
    while ((node = list_pop_front(&group->written)) != NULL) {
        list_push_back(&group->syncing, node);
    }
    ASSERT(group->count > 0);
    if (group->count > 1) {
        COVER("several writes to files share a sync");
    }
    stats_add(&shard->reactor->stats, STAT_FLUSHES_SPARED, group->count - 1);
    timer_stop(shard->reactor, &group->timer);
    group->bytes = 0;
    group->hurry = false;
    group->running = true;
    completion_init(&group->io.done, flush_group_synced);
    io_sync(&group->io, flush_group_fd(group));
    shard_enter(shard, NULL);
    io_submit(shard->reactor, &group->io);
}

static void flush_group_work(struct completion *work)
{
    struct flush_group *group = CONTAINER_OF(work, struct flush_group, work);
    struct shard *shard = CONTAINER_OF(group, struct shard, flush_group);
    if (!group->running && !list_empty(&group->written)) {
        flush_group_sync(shard);
    }
    shard_leave(shard, NULL);
}

static void flush_group_tick(struct completion *done)
{
    struct flush_group *group = CONTAINER_OF(done, struct flush_group, timer.done);
    group->hurry = true;
    flush_group_kick(CONTAINER_OF(group, struct shard, flush_group));
}

void flush_group_add(struct extent_write *extent)
{
    struct partition *partition = extent->partition;
    struct flush_group *group = &partition->shard->flush_group;
    list_push_back(&group->written, &extent->group_node);
    group->count++;
    group->bytes += extent->size;
    bool waits = !extent->chunk || extent->hurried || !extent_room(partition);
    group->hurry = group->hurry || waits;
    flush_group_kick(partition->shard);
}

void flush_group_hurry(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    struct flush_group *group = &partition->shard->flush_group;
    for (uint32_t i = writer->extent_head; i != writer->extent_tail; i++) {
        struct extent_write *extent = &writer->extents[i % EXTENTS_MAX];
        if (extent->grouped && !extent->ended) {
            extent->hurried = true;
            group->hurry = group->hurry || list_linked(&extent->group_node);
        }
    }
    if (group->hurry) {
        flush_group_kick(partition->shard);
    }
}
