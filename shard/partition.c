/* One partition: its segments, its offsets, and its end.
 *
 *     drop: waiters fail at once -> what is under way ends -> each file: close, recycle
 *           -> its directory, then the topic's if empty -> freed, request goes home */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum err partition_create(struct shard *shard, const struct request *request,
                          struct partition **partition)
{
    struct partition *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return ERR_NO_MEMORY;
    }
    made->shard = shard;
    made->id = request->partition;
    made->config = *request->assign.config;
    made->epoch = request->assign.epoch;
    (void)snprintf(made->name, sizeof(made->name), "%s", request->assign.topic_name);
    list_init(&made->tail);
    list_init(&made->journal_wait_node);
    list_init(&made->behind_node);
    list_init(&made->gather_node);
    list_init(&made->head.node);
    completion_init(&made->commit_work, commit_work);
    deleted_init(&made->deleted, shard->reactor->memory, &shard->deleted_bytes);
    for (uint32_t i = 0; i < request->assign.segment_count; i++) {
        enum err err = partition_add_segment(made, &request->assign.segments[i]);
        if (err != OK) {
            partition_destroy(made);
            return err;
        }
    }
    if (made->segment_count > 0) {
        struct segment *last = made->segments[made->segment_count - 1];
        made->log_start = max_u64(request->assign.log_start, made->segments[0]->info.base_offset);
        made->high_watermark = segment_end(last);
        made->offset_next = made->high_watermark;
    }
    *partition = made;
    return OK;
}

void partition_destroy(struct partition *partition)
{
    ASSERT(partition->active == 0);
    ASSERT(partition->removal.doomed == NULL);
    ASSERT(!judge_waits(partition));
    gather_close(partition);
    commit_end_slab(partition);
    while (!list_empty(&partition->tail)) {
        tail_drop(CONTAINER_OF(partition->tail.next, struct tail_frame, in_partition));
    }
    list_remove(&partition->journal_wait_node);
    stream_forget(&partition->shard->looks, partition);
    if (partition->shard->journal != NULL) {
        journal_wake(partition->shard->journal); /* Whom its frames held up. */
    }
    for (uint32_t i = 0; i < partition->segment_count; i++) {
        ASSERT(partition->segments[i]->fd < 0);
        journal_forget(partition->segments[i]);
        looks_forget(partition->segments[i]);
        segment_index_deinit(&partition->segments[i]->index);
        free(partition->segments[i]);
    }
    milestone_end(partition);
    producer_table_destroy(partition->producers);
    deleted_clear(&partition->deleted);
    free(partition->segments);
    free(partition);
}

enum err partition_add_segment(struct partition *partition, const struct segment_info *info)
{
    if (partition->segment_count == partition->segment_capacity) {
        uint32_t capacity = max_u32(8, partition->segment_capacity * 2);
        struct segment **grown =
            realloc(partition->segments, capacity * sizeof(*partition->segments));
        if (grown == NULL) {
            return ERR_NO_MEMORY;
        }
        partition->segments = grown;
        partition->segment_capacity = capacity;
    }
    struct segment *segment = calloc(1, sizeof(*segment));
    if (segment == NULL) {
        return ERR_NO_MEMORY;
    }
    segment->partition = partition;
    segment->info = *info;
    segment->fd = -1;
    segment->fd_before = -1;
    segment->timestamp_max = INT64_MIN;
    segment->file_end = UINT64_MAX;
    list_init(&segment->lru);
    list_init(&segment->looks);
    list_init(&segment->record_node);
    list_init(&segment->dirty_node);
    segment_index_init(&segment->index);
    partition->segments[partition->segment_count++] = segment;
    return OK;
}

struct segment *partition_open_segment(const struct partition *partition)
{
    if (partition->segment_count == 0) {
        return NULL;
    }
    struct segment *last = partition->segments[partition->segment_count - 1];
    return last->info.state == SEGMENT_OPEN ? last : NULL;
}

uint64_t segment_end(const struct segment *segment)
{
    return segment->info.state == SEGMENT_SEALED
               ? segment->info.end_offset
               : max_u64(segment->info.base_offset, segment->partition->high_watermark);
}

uint64_t segment_file_end(const struct segment *segment)
{
    return min_u64(segment_end(segment), segment->file_end);
}

int64_t segment_time_max(const struct partition *partition, const struct segment *segment)
{
    return segment->timestamp_max >= 0 ? segment->timestamp_max : (int64_t)partition->last_id.ms;
}

struct segment *partition_segment_of(const struct partition *partition, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = partition->segment_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (segment_end(partition->segments[middle]) <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == partition->segment_count || partition->segments[low]->info.base_offset > offset) {
        return NULL;
    }
    return partition->segments[low];
}

uint32_t partition_epoch(const struct partition *partition)
{
    uint32_t count = partition->segment_count;
    return count == 0 ? partition->epoch
                      : max_u32(partition->epoch, partition->segments[count - 1]->info.epoch);
}

/* In arrival order: the queue is taken whole, and who still waits queues again. */
void partition_wake_readers(struct partition *partition)
{
    struct request_queue parked = partition->parked;
    partition->parked = (struct request_queue){0};
    struct request *request;
    while ((request = request_queue_pop(&parked)) != NULL) {
        if (MUTANT("no-wake")) {
            request_queue_push(&partition->parked, request);
            continue;
        }
        fetch_submit(partition, request);
    }
}

static void partition_free(struct partition *partition)
{
    struct shard *shard = partition->shard;
    struct request *request = partition->drop.request;
    for (uint32_t i = 0; i < SHARD_BUCKETS; i++) {
        struct partition **at = &shard->buckets[i];
        while (*at != NULL && *at != partition) {
            at = &(*at)->next;
        }
        if (*at == partition) {
            *at = partition->next;
            break;
        }
    }
    shard->partition_count--;
    partition_destroy(partition);
    request_finish(shard->reactor, request, OK);
    shard_leave(shard, NULL);
}

/* Steps 0..n-1 recycle the files, n the partition's directory, n+1 the topic's. A name that is not
 * there, or a directory that holds more, is no error. */
static void partition_drop_step(struct completion *done)
{
    struct partition *partition = CONTAINER_OF(done, struct partition, drop.io.done);
    struct drop *drop = &partition->drop;
    char *path = partition->recycle.path;
    completion_init(&drop->io.done, partition_drop_step);
    if (drop->segment < partition->segment_count) {
        struct segment *segment = partition->segments[drop->segment++];
        segment->spoiled = segment->spoiled || partition->writer.failed;
        segment_recycle(segment, &drop->io.done);
        return;
    } else if (drop->step == 1) {
        drop->step = 2;
        partition_path(partition, path);
    } else if (drop->step == 2) {
        drop->step = 3;
        topic_path(partition, path);
    } else {
        partition_free(partition);
        return;
    }
    io_unlink(&drop->io, path);
    io_submit(partition->shard->reactor, &drop->io);
}

void partition_idle(struct partition *partition)
{
    if (!partition->dropping || partition->drop.step != 0) {
        return;
    }
    partition->drop.step = 1;
    shard_enter(partition->shard, NULL);
    completion_init(&partition->drop.io.done, partition_drop_step);
    completion_fire(partition->shard->reactor, &partition->drop.io.done, OK);
}

/* Those of its fetches that wait until other readers give memory back. */
static void partition_fail_pressed(struct partition *partition, enum err err)
{
    struct shard *shard = partition->shard;
    struct request_queue pressed = shard->pressed;
    struct request_queue failed = {0};
    shard->pressed = (struct request_queue){0};
    struct request *request;
    while ((request = request_queue_pop(&pressed)) != NULL) {
        bool mine = shard_partition(shard, &request->partition) == partition;
        request_queue_push(mine ? &failed : &shard->pressed, request);
    }
    request_queue_fail(shard, &failed, err);
}

void partition_drop(struct partition *partition, struct request *request)
{
    ASSERT(!partition->dropping);
    partition->dropping = true;
    partition->drop.request = request;
    request_queue_fail(partition->shard, &partition->parked, ERR_TOPIC_UNKNOWN);
    partition_fail_pressed(partition, ERR_TOPIC_UNKNOWN);
    append_fail_waiting(partition, ERR_TOPIC_UNKNOWN);
    request_queue_fail(partition->shard, &partition->unread_wait, ERR_TOPIC_UNKNOWN);
    append_fail_staged(partition, ERR_TOPIC_UNKNOWN);
    list_remove(&partition->journal_wait_node);
    trim_drop(partition);
    commit_give_up(partition);
    if (partition->active == 0) {
        partition_idle(partition);
    }
}
