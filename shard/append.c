/* One produce request on the core that owns the partition, up to its commit.
 *
 *     waiting -> CHECK -> STAGE -> staged -> (commit.c) -> acked       any error: home at once
 *      |           |        ^
 *      |           +-- unpacks to much: a slice in each turn, see judge.c
 *      |           |        +-- no open segment, full, or of another durability: everybody waits
 *      |           |            for the roll
 *      |           +-- duplicate of a batch that is not durable yet: duplicates -> acked with it
 *      |           +-- its stream ID is the client's, and what is staged has none yet
 *      +-- the first since a start: the newest file is read before, see recovery.c
 *
 * The queue is FIFO and only its head is looked at, so nothing overtakes. The producer's state is
 * that of the newest staged batch; a failed commit rewinds it. The batch stays borrowed in the
 * request until it is acked, so staging copies nothing. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/shard_internal.h"

/* The head of the queue leaves it. */
static void append_leave(struct partition *partition)
{
    (void)request_queue_pop(&partition->waiting);
    judge_forget(partition);
}

static void append_finish(struct partition *partition, struct request *request, enum err err)
{
    request->owner_state = NULL;
    request->produce.log_start = partition->log_start;
    request_finish(partition->shard->reactor, request, err);
}

static uint64_t batch_end(const struct batch *batch, uint64_t base)
{
    return base + (uint64_t)(uint32_t)batch->last_offset_delta + 1;
}

static struct batch_rules append_rules(const struct partition *partition,
                                       const struct request *request)
{
    const struct partition_config *config = &partition->config;
    const struct reactor *reactor = partition->shard->reactor;
    uint32_t room = memory_block_max(reactor->memory) - 2 * DISK_BLOCK_BYTES;
    return (struct batch_rules){
        .bytes_max = min_u32(config->batch_bytes_max, room),
        .timestamp_type = config->timestamp_type,
        .before_max_ms = config->timestamp_before_max_ms,
        .after_max_ms = config->timestamp_after_max_ms,
        .now_ms = reactor->now_ms,
        .zstd_allowed = request->produce.zstd_allowed,
        .crc_known = request->produce.made_here,
        .compacted = config->compacted,
        .deep = config->deep_validation && !request->produce.made_here,
        .require_zero_base = true,
    };
}

int32_t batch_sequence_last(const struct batch *batch)
{
    /* Sequences wrap from 2^31 - 1 to 0. */
    uint32_t last = (uint32_t)batch->base_sequence + (uint32_t)batch->last_offset_delta;
    return (int32_t)(last & INT32_MAX);
}

/* OK with *duplicate = true: the request was answered, or waits among the duplicates. */
static enum err append_check_producer(struct partition *partition, struct request *request,
                                      const struct batch *batch, bool *duplicate)
{
    *duplicate = false;
    if (batch->producer_id < 0 || partition->producers == NULL) {
        return OK;
    }
    struct producer_batch first = {0};
    enum err err =
        producer_check(partition->producers, batch->producer_id, batch->producer_epoch,
                       batch->base_sequence, batch_sequence_last(batch), &first, duplicate);
    if (err != OK || !*duplicate) {
        return err;
    }
    stats_add(&partition->shard->reactor->stats, STAT_APPEND_DUPLICATES, 1);
    request->produce.base_offset = first.first_offset;
    request->produce.append_time_ms =
        partition->config.timestamp_type == TIMESTAMP_APPEND ? first.time_ms : -1;
    append_leave(partition);
    if (batch_end(batch, first.first_offset) <= partition->high_watermark) {
        append_finish(partition, request, OK);
    } else {
        COVER("duplicate of a batch that is not durable yet");
        request_queue_push(&partition->duplicates, request);
    }
    return OK;
}

static bool append_must_roll(const struct partition *partition, const struct batch *batch)
{
    const struct segment *segment = partition_open_segment(partition);
    const struct writer *writer = &partition->writer;
    if (segment == NULL || !segment->file_made || writer->failed || writer->seal_done) {
        return true;
    }
    uint64_t records = writer->records + batch_end(batch, 0);
    uint64_t bytes = writer->bytes + batch->length;
    bool many = records > partition->config.segment_records && !MUTANT("no-records-limit");
    bool large = bytes > partition->config.segment_bytes && !MUTANT("no-bytes-limit");
    /* What an ack means is fixed for the life of a segment: a change begins the next one. */
    bool otherwise = segment->info.durability != partition->config.durability;
    return otherwise || (writer->records > 0 && (many || large));
}

static enum err append_record_producer(struct partition *partition, const struct batch *batch)
{
    if (batch->producer_id < 0) {
        return OK;
    }
    if (partition->producers == NULL) {
        partition->producers = producer_table_create();
        if (partition->producers == NULL) {
            return ERR_NO_MEMORY;
        }
    }
    struct producer_batch row = {
        .first_sequence = batch->base_sequence,
        .last_sequence = batch_sequence_last(batch),
        .first_offset = partition->offset_next,
        .time_ms = (int64_t)partition->shard->reactor->now_ms,
    };
    return producer_stage(partition->producers, batch->producer_id, batch->producer_epoch, &row);
}

static void append_stage(struct partition *partition, struct request *request,
                         const struct batch *batch)
{
    uint64_t records = batch_end(batch, 0);
    request->produce.base_offset = partition->offset_next;
    /* As the producer table has it: a duplicate is told the same. */
    request->produce.append_time_ms = partition->config.timestamp_type == TIMESTAMP_APPEND
                                          ? (int64_t)partition->shard->reactor->now_ms
                                          : -1;
    partition->offset_next += records;
    partition->writer.records += records;
    partition->writer.bytes += batch->length;
    stats_add(&partition->shard->reactor->stats, STAT_APPENDS, 1);
    stats_add(&partition->shard->reactor->stats, STAT_APPEND_RECORDS, records);
    stats_add(&partition->shard->reactor->stats, STAT_APPEND_BYTES, batch->length);
    request_queue_push(&partition->staged, request);
    commit_kick(partition);
}

/* Judges the head of the queue. What had to wait, for a roll or to be unpacked, is not judged
 * again, but for its sequence. ERR_BUSY: it waits. */
static enum err append_check(struct partition *partition, struct request *request,
                             struct batch *batch, bool *duplicate)
{
    struct bytes data = request->produce.batch;
    struct batch_rules rules = append_rules(partition, request);
    bool judged = partition->head.state == HEAD_JUDGED;
    enum err err = judged ? batch_parse(data, batch) : batch_check_header(data, &rules, batch);
    if (err == OK) {
        err = append_check_producer(partition, request, batch, duplicate);
    }
    return err == OK && !*duplicate ? judge_head(partition, &rules, batch) : err;
}

/* The stream ID behind which the next one comes; false: what is staged gets its own when it becomes
 * a frame. */
static bool append_last_id(const struct partition *partition, struct stream_id *last)
{
    const struct request *newest = partition->staged.tail;
    *last = newest == NULL ? partition->last_id : newest->produce.id;
    return newest == NULL || newest->produce.id_kind != PRODUCE_ID_AUTO;
}

/* Whether the batch can have an ID, and if the client says which, this one. ERR_BUSY: not known
 * yet. */
static enum err append_choose_id(const struct partition *partition, struct request *request,
                                 const struct batch *batch)
{
    enum { RESERVE_BITS = 40 }; /* More records than are ever staged. */

    struct request_produce *produce = &request->produce;
    struct stream_id last;
    bool known = append_last_id(partition, &last);
    if (produce->id_kind == PRODUCE_ID_AUTO) {
        bool none = last.ms == UINT64_MAX && last.seq >> RESERVE_BITS == UINT64_MAX >> RESERVE_BITS;
        return none ? ERR_STREAM_ID : OK;
    }
    if (batch->last_offset_delta != 0) {
        return ERR_INVALID;
    }
    if (!known) {
        COVER("a stream ID of a client waits for those before it");
        return ERR_BUSY;
    }
    if (produce->id_kind == PRODUCE_ID_MS) {
        produce->id.seq = produce->id.ms == last.ms ? last.seq + 1 : 0;
    }
    return stream_id_compare(produce->id, last) > 0 ? OK : ERR_STREAM_ID;
}

struct stream_id append_draw_id(struct partition *partition, const struct request *request,
                                uint64_t now_ms, uint32_t records)
{
    struct stream_id last = partition->last_id;
    struct stream_id id = {now_ms, 0};
    if (request->produce.id_kind != PRODUCE_ID_AUTO) {
        id = request->produce.id; /* As append_choose_id() found it. */
    } else if (now_ms <= last.ms && last.seq <= UINT64_MAX - records) {
        id = (struct stream_id){last.ms, last.seq + 1};
    } else if (now_ms <= last.ms) {
        COVER("a millisecond has no stream IDs left");
        id.ms = last.ms + 1;
    }
    partition->last_id = (struct stream_id){id.ms, id.seq + records - 1};
    ASSERT(stream_id_compare(last, partition->last_id) < 0);
    return id;
}

/* Looks at the head of the queue; false when it has to wait. */
static bool append_pump_one(struct partition *partition)
{
    struct request *request = partition->waiting.head;
    struct batch batch;
    bool duplicate = false;
    enum err err =
        partition->damaged ? ERR_DAMAGED : append_check(partition, request, &batch, &duplicate);
    if (err == OK && duplicate) {
        return true;
    }
    if (err == ERR_BUSY) {
        return false; /* The verdict looks again. */
    }
    if (err == OK && append_must_roll(partition, &batch)) {
        COVER("append waits for a roll");
        roll_start(partition);
        return false;
    }
    if (err == OK && request->produce.end_known && request->produce.end != partition->offset_next) {
        COVER("somebody appended before the batch that wants to be next");
        err = ERR_OFFSET_RANGE;
    }
    if (err == OK) {
        err = append_choose_id(partition, request, &batch);
        if (err == ERR_BUSY) {
            return false; /* The end of a commit looks again. */
        }
    }
    if (err == OK) {
        err = append_record_producer(partition, &batch);
    }
    append_leave(partition);
    if (err == OK) {
        append_stage(partition, request, &batch);
    } else {
        append_finish(partition, request, err);
    }
    return true;
}

void append_pump(struct partition *partition)
{
    delete_pump(partition);
    while (partition->waiting.head != NULL && !delete_holds_appends(partition)) {
        bool broken = partition->writer.failed && !commit_idle(partition);
        if (!partition->ready || partition->dropping || broken ||
            partition->roll.state != ROLL_IDLE || judge_waits(partition)) {
            return;
        }
        if (partition->unread) {
            recover_read(partition);
            return;
        }
        if (!append_pump_one(partition)) {
            return;
        }
    }
}

void append_submit(struct partition *partition, struct request *request)
{
    ASSERT(request->kind == REQUEST_PRODUCE);
    request_queue_push(&partition->waiting, request);
    append_pump(partition);
}

void append_fail_waiting(struct partition *partition, enum err err)
{
    judge_forget(partition);
    request_queue_fail(partition->shard, &partition->waiting, err);
    delete_fail(partition, err);
}

/* What is staged but not submitted never was: offsets, producers and what fills the segment go
 * back. */
void append_fail_staged(struct partition *partition, enum err err)
{
    const struct segment *open = partition_open_segment(partition);
    if (open != NULL && open->info.durability != DURABILITY_DISK && partition->writer.failed) {
        partition->sync_failed = true; /* Nobody syncs the file of a failed write. */
    }
    for (const struct request *r = partition->staged.head; r != NULL; r = r->next) {
        ASSERT(partition->writer.bytes >= r->produce.batch.size);
        partition->writer.bytes -= r->produce.batch.size;
    }
    request_queue_fail(partition->shard, &partition->staged, err);
    const struct segment *segment = partition_open_segment(partition);
    if (segment != NULL && segment->file_made && /* Else there is no writer. */
        partition->offset_next > partition->writer.submitted_end) {
        uint64_t records = partition->offset_next - partition->writer.submitted_end;
        ASSERT(partition->writer.records >= records);
        partition->writer.records -= records;
        partition->offset_next = partition->writer.submitted_end;
        if (partition->producers != NULL) {
            (void)producer_rewind(partition->producers, partition->offset_next);
        }
    }
    struct request_queue duplicates = partition->duplicates;
    partition->duplicates = (struct request_queue){0};
    struct request *request;
    while ((request = request_queue_pop(&duplicates)) != NULL) {
        if (request->produce.base_offset >= partition->offset_next) {
            append_finish(partition, request, err);
        } else {
            request_queue_push(&partition->duplicates, request);
        }
    }
}

void append_wake_duplicates(struct partition *partition)
{
    struct request_queue duplicates = partition->duplicates;
    partition->duplicates = (struct request_queue){0};
    struct request *request;
    while ((request = request_queue_pop(&duplicates)) != NULL) {
        struct batch batch;
        enum err err = batch_parse(request->produce.batch, &batch);
        ASSERT(err == OK);
        if (batch_end(&batch, request->produce.base_offset) <= partition->high_watermark) {
            append_finish(partition, request, OK);
        } else {
            request_queue_push(&partition->duplicates, request);
        }
    }
}
