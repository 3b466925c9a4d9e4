/* What a topic keeps no longer: looked at now and then, for every partition of the core.
 *
 *     by time  a segment may go when its newest record is older than retention.ms
 *     by size  ... while what is left is at least retention.bytes
 *
 * From the oldest on, sealed segments and whole ones: the log starts at the base of the first that
 * stays. When the newest has to go as well, the log rolls first; it goes the next time. The times
 * are the records' own, as in Kafka; where a client gave none, that of the append.
 *
 * A wall clock that jumps ahead would remove everything. It is believed at most an hour more than
 * the machine's own count says; beyond, the count alone is, until a restart. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/limits.h"
#include "core/log.h"
#include "shard/shard_internal.h"

#include <inttypes.h>

enum { CLOCK_JUMP_MS_MAX = 3600 * 1000 };

/* What is due in one partition. */
struct retention_plan {
    uint64_t log_start; /* The base of the first segment that stays. */
    bool roll;          /* The newest one should go, too. */
};

/* The greatest time that counts for the segment; INT64_MAX: it is not known. */
static int64_t retention_time(const struct partition *partition, const struct segment *segment)
{
    return segment->info.state == SEGMENT_SEALED ? segment->info.timestamp_max
                                                 : segment_time_max(partition, segment);
}

static uint64_t retention_bytes(const struct partition *partition, const struct segment *segment)
{
    if (segment->info.state == SEGMENT_SEALED) { /* An empty one may be gone from the map. */
        return segment->info.end_offset == segment->info.base_offset ? 0 : segment->info.bytes;
    }
    /* What is in the journal will be in the file. */
    return segment->file_made ? partition->writer.position + partition->writer.unwritten_bytes
                              : segment->position_end;
}

uint64_t partition_bytes(const struct partition *partition)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < partition->segment_count; i++) {
        bytes += retention_bytes(partition, partition->segments[i]);
    }
    return bytes;
}

static struct retention_plan retention_plan(const struct partition *partition, uint64_t now_ms)
{
    const struct partition_config *config = &partition->config;
    struct retention_plan plan = {.log_start = partition->log_start};
    uint64_t bytes = partition_bytes(partition);
    for (uint32_t i = 0; i < partition->segment_count; i++) {
        const struct segment *segment = partition->segments[i];
        uint64_t size = retention_bytes(partition, segment);
        int64_t time = retention_time(partition, segment);
        bool empty = segment_end(segment) == segment->info.base_offset;
        bool old = config->retention_ms >= 0 && time < (int64_t)now_ms &&
                   (int64_t)now_ms - time > config->retention_ms;
        bool large =
            config->retention_bytes >= 0 && bytes - size >= (uint64_t)config->retention_bytes;
        bool below = segment_end(segment) <= partition->log_start;
        if (!empty && !old && !large && !below) {
            break;
        }
        bytes -= size;
        bool newest = i + 1 == partition->segment_count;
        if (newest) {
            plan.roll = !empty;
            break;
        }
        plan.log_start = max_u64(plan.log_start, segment_end(segment));
    }
    return plan;
}

static void retention_partition(struct partition *partition, uint64_t now_ms)
{
    if (!partition->ready || partition->dropping || partition->stopped) {
        return;
    }
    struct retention_plan plan = retention_plan(partition, now_ms);
    trim_retain(partition, plan.log_start);
    bool resting = partition->roll.state == ROLL_IDLE && commit_idle(partition) &&
                   partition->waiting.head == NULL && !partition->damaged;
    if (plan.roll && resting && partition->unread) {
        COVER("retention needs to know the producers");
        recover_read(partition); /* The next file will have them; it is made the next time. */
    } else if (plan.roll && resting && partition->trim.state == TRIM_IDLE) {
        COVER("retention rolls a segment");
        roll_start(partition);
    }
    removal_list(partition);
}

uint64_t retention_clock(struct retention *retention, uint64_t now_ns, uint64_t now_ms)
{
    uint64_t counted = retention->clock_ms + (now_ns - retention->looked_ns) / NS_PER_MS;
    bool jumped = retention->looked_ns != 0 && now_ms > counted + CLOCK_JUMP_MS_MAX;
    if (jumped && !retention->jumped) {
        LOG_WARN("the clock jumped ahead, retention does not follow it until the next start "
                 "by_ms=%" PRIu64,
                 now_ms - counted);
    }
    retention->jumped = jumped;
    retention->clock_ms = jumped ? counted : now_ms;
    retention->looked_ns = now_ns;
    return retention->clock_ms;
}

static void retention_tick(struct completion *done)
{
    struct timer *timer = CONTAINER_OF(done, struct timer, done);
    struct retention *retention = CONTAINER_OF(timer, struct retention, timer);
    struct shard *shard = CONTAINER_OF(retention, struct shard, retention);
    uint64_t now_ms = retention_clock(retention, shard->reactor->now_ns, shard->reactor->now_ms);
    for (uint32_t i = 0; i < SHARD_BUCKETS; i++) {
        for (struct partition *p = shard->buckets[i]; p != NULL; p = p->next) {
            retention_partition(p, now_ms);
        }
    }
    pool_look(shard);
    timer_start(shard->reactor, timer, shard->options.retention_check_ms * NS_PER_MS);
}

void retention_begin(struct shard *shard)
{
    timer_init(&shard->retention.timer, retention_tick);
    if (shard->options.retention_check_ms > 0) {
        timer_start(shard->reactor, &shard->retention.timer,
                    shard->options.retention_check_ms * NS_PER_MS);
    }
}

void retention_end(struct shard *shard)
{
    timer_stop(shard->reactor, &shard->retention.timer);
}
