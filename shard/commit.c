/* Group commit: what was staged becomes one extent of the segment file.
 *
 *     FREE -> WRITING -> WRITTEN -> (all before it are written too) acked -> FREE
 *
 * No timer: while COMMITS_MAX are in flight the next one gathers. A frame goes out only when its
 * blocks exist; they are allocated ahead in growing steps. Acks are in file order, because a frame
 * counts as durable only if every earlier write to its file is. A failed write ends the file: it
 * takes no more appends, what was not acked fails, and the next append rolls. Each frame says where
 * the log starts; where nothing is staged a control frame, which is empty, does (trim.c). */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/shard_internal.h"

#include <inttypes.h>
#include <string.h>

static void commit_gather(struct partition *partition);

/* A frame has something to say. */
static bool commit_wanted(const struct partition *partition)
{
    return partition->staged.head != NULL || trim_wants_frame(partition);
}

bool commit_idle(const struct partition *partition)
{
    const struct writer *writer = &partition->writer;
    return writer->head == writer->tail && !commit_wanted(partition) && !writer->allocating &&
           !partition->commit_waits;
}

static void commit_rest(struct partition *partition)
{
    append_pump(partition);
    if (partition->roll.state == ROLL_DRAIN && commit_idle(partition)) {
        roll_drained(partition);
    }
}

static void commit_allocated(struct completion *done)
{
    struct writer *writer = CONTAINER_OF(done, struct writer, allocate.done);
    struct partition *partition = CONTAINER_OF(writer, struct partition, writer);
    ASSERT(writer->allocating);
    writer->allocating = false;
    if (done->result == OK) {
        writer->allocated_end += writer->allocate.allocate.size;
        writer->allocate_step = min_u64(writer->allocate_step * 2, ALLOCATE_BYTES_MAX);
        commit_gather(partition);
    } else {
        COVER("no blocks for an append");
        writer->allocate_step = ALLOCATE_BYTES_MIN;
        if (partition->staged.head != NULL) {
            LOG_WARN("segment cannot grow, appends fail topic=%s partition=%u err=%s",
                     partition->name, partition->id.partition, err_name((enum err)done->result));
            append_fail_staged(partition, ERR_STORAGE);
        }
        if (trim_wants_frame(partition)) {
            trim_frame_failed(partition);
        }
    }
    commit_rest(partition);
    shard_leave(partition->shard, partition);
}

static void commit_allocate(struct partition *partition, uint64_t size)
{
    struct writer *writer = &partition->writer;
    if (writer->allocating) {
        return;
    }
    writer->allocating = true;
    uint64_t step = max_u64(align_up(size, ALLOCATE_BYTES_MIN), writer->allocate_step);
    completion_init(&writer->allocate.done, commit_allocated);
    io_allocate(&writer->allocate, partition_open_segment(partition)->fd, writer->allocated_end,
                step);
    shard_enter(partition->shard, partition);
    io_submit(partition->shard->reactor, &writer->allocate);
}

static void commit_ack(struct partition *partition, struct commit *commit)
{
    struct segment *segment = partition_open_segment(partition);
    struct reactor *reactor = partition->shard->reactor;
    ASSERT(commit->offset_first == partition->high_watermark);
    commit->acked = true;
    partition->high_watermark = commit->offset_end;
    partition->writer.durable_chain = commit->chain_end;
    if (partition->producers != NULL) {
        producer_commit(partition->producers, commit->offset_end);
    }
    segment->position_end = commit->position + commit->size;
    if (commit->timestamp_max > segment->timestamp_max) {
        segment->timestamp_max = commit->timestamp_max;
    }
    bool control = commit->offset_end == commit->offset_first;
    if (!control &&
        segment_index_add(&segment->index, commit->offset_first, commit->position, commit->ms,
                          commit->seq, commit->timestamp_max, commit->size) != OK) {
        segment->loaded = false; /* Read back from the file when it is needed. */
    }
    struct request *request;
    while ((request = request_queue_pop(&commit->requests)) != NULL) {
        request->owner_state = NULL;
        request->produce.log_start = partition->log_start;
        request_finish(reactor, request, OK);
    }
    append_wake_duplicates(partition);
    partition_wake_readers(partition);
    trim_frame_acked(partition, commit->log_start);
}

/* Nothing is in flight any more on a file that failed. */
static void commit_collapse(struct partition *partition)
{
    partition->writer.submitted_end = partition->high_watermark;
    append_fail_staged(partition, ERR_STORAGE);
    trim_frame_failed(partition);
}

static void commit_fail(struct partition *partition, struct commit *commit)
{
    struct writer *writer = &partition->writer;
    if (!writer->failed) {
        writer->failed = true;
        LOG_ERROR("segment write failed, the segment ends here topic=%s partition=%u end=%" PRIu64
                  " err=%s",
                  partition->name, partition->id.partition, partition->high_watermark,
                  err_name(commit->err));
    }
    request_queue_fail(partition->shard, &commit->requests, ERR_STORAGE);
}

/* Acks what is written and has nothing unwritten before it. */
static void commit_settle(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    while (writer->head != writer->tail) {
        struct commit *commit = &writer->commits[writer->head % COMMITS_MAX];
        if (commit->state != COMMIT_WRITTEN) {
            break;
        }
        bool early = commit->acked;
        bool sound = commit->err == OK && !writer->failed;
        if (!sound) {
            commit_fail(partition, commit);
        } else if (!early) {
            commit_ack(partition, commit);
        }
        if (commit->frame != NULL) {
            commit->frame->in_flight = false;
            if (!sound && !early) {
                tail_drop(commit->frame);
            }
        } else {
            block_unref(commit->block);
        }
        commit->frame = NULL;
        commit->block = NULL;
        commit->state = COMMIT_FREE;
        writer->head++;
    }
    if (writer->failed && writer->head == writer->tail) {
        commit_collapse(partition);
    }
    tail_trim(partition->shard);
}

static void commit_written(struct completion *done)
{
    struct commit *commit = CONTAINER_OF(done, struct commit, io.done);
    struct partition *partition = commit->partition;
    struct reactor *reactor = partition->shard->reactor;
    ASSERT(commit->state == COMMIT_WRITING);
    commit->state = COMMIT_WRITTEN;
    commit->err = done->result < 0 ? (enum err)done->result : OK;
    histogram_record(&reactor->stats.commit_ns, reactor->now_ns - commit->started_ns);
    commit_settle(partition);
    commit_kick(partition);
    commit_rest(partition);
    shard_leave(partition->shard, partition);
}

/* How many staged requests the next frame takes, and the size of its extent. */
static uint32_t commit_measure(const struct partition *partition, uint32_t *size, uint32_t *body)
{
    uint32_t count = 0;
    uint32_t bytes = 0;
    *size = DISK_BLOCK_BYTES; /* Of a control frame. */
    for (const struct request *r = partition->staged.head; r != NULL; r = r->next) {
        uint64_t next = (uint64_t)bytes + FRAME_ROW_BYTES + r->produce.batch.size;
        uint64_t padded = align_up(EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES + align_up(next, 8),
                                   DISK_BLOCK_BYTES);
        if (count > 0 && padded > COMMIT_BYTES_TARGET) {
            break;
        }
        count++;
        bytes = (uint32_t)next;
        *size = (uint32_t)padded;
    }
    *body = bytes;
    return count;
}

/* Copies the batches into the frame, stamps them, and fills the table before them. */
static uint64_t commit_fill(struct partition *partition, struct commit *commit, uint8_t *body,
                            uint32_t count)
{
    struct reactor *reactor = partition->shard->reactor;
    uint32_t epoch = partition_open_segment(partition)->info.epoch;
    uint8_t *at = body + count * FRAME_ROW_BYTES;
    uint64_t offset = commit->offset_first;
    commit->timestamp_max = INT64_MIN;
    for (uint32_t i = 0; i < count; i++) {
        struct request *request = request_queue_pop(&partition->staged);
        struct batch batch;
        enum err err = batch_parse(request->produce.batch, &batch);
        ASSERT(err == OK);
        ASSERT(request->produce.base_offset == offset);
        uint32_t size = request->produce.batch.size;
        uint32_t records = (uint32_t)batch.last_offset_delta + 1;
        memcpy(at, request->produce.batch.data, size);
        batch_stamp(at, offset, epoch);
        uint64_t now_ms = reactor->now_ms;
        if (request->produce.append_time_ms >= 0) {
            batch.max_timestamp = request->produce.append_time_ms;
            now_ms = (uint64_t)batch.max_timestamp;
            batch_stamp_append_time(at, size, now_ms + (MUTANT("append-time-off") ? 1 : 0));
        }
        if (batch.max_timestamp > commit->timestamp_max) {
            commit->timestamp_max = batch.max_timestamp;
        }
        if (now_ms > partition->last_ms) {
            partition->last_ms = now_ms;
            partition->seq_next = 0;
        }
        if (i == 0) {
            commit->ms = partition->last_ms;
            commit->seq = partition->seq_next;
        }
        struct frame_row row = {.length = size,
                                .records = records,
                                .ms = partition->last_ms + (MUTANT("stream-ms-off") ? 1 : 0),
                                .seq = partition->seq_next + (MUTANT("stream-seq-off") ? 1 : 0)};
        frame_row_encode(&row, body + i * FRAME_ROW_BYTES);
        partition->seq_next += records;
        offset += records;
        at += size;
        request_queue_push(&commit->requests, request);
    }
    return offset;
}

/* What is known to be on the disk: recovery takes it as evidence, so it never exceeds the truth. */
static uint64_t commit_durable_end(const struct partition *partition)
{
    const struct segment_info *info = &partition_open_segment(partition)->info;
    return info->durability == DURABILITY_DISK ? partition->high_watermark : info->base_offset;
}

/* Writes extent header and frame into the block. */
static void commit_encode(struct partition *partition, struct commit *commit, uint32_t count,
                          uint32_t body_bytes)
{
    const struct segment *segment = partition_open_segment(partition);
    struct writer *writer = &partition->writer;
    commit->log_start = trim_frame_log_start(partition);
    uint8_t *at = commit->block->data;
    uint8_t *body = at + EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES;
    commit->offset_end = commit_fill(partition, commit, body, count);
    struct frame_header frame = {
        .flags = count == 0 ? FRAME_CONTROL : 0,
        .salt = segment->info.salt,
        .segment_id = segment->info.id,
        .epoch = segment->info.epoch,
        .body_bytes = body_bytes,
        .offset_first = commit->offset_first,
        .records = (uint32_t)(commit->offset_end - commit->offset_first),
        .batches = count,
        .high_watermark = partition->high_watermark,
        .log_start = commit->log_start,
        .chain = writer->chain,
        .append_ms = partition->shard->reactor->now_ms,
        .body_crc = frame_body_crc(body, body_bytes),
    };
    frame_header_encode(&frame, at + EXTENT_HEADER_BYTES);
    struct extent_header extent = {
        .type = EXTENT_FRAMES,
        .salt = segment->info.salt,
        .position = commit->position,
        .padded_size = commit->size,
        .boot = partition->shard->options.boot,
        .offset_first = commit->offset_first,
        .durable_end = commit_durable_end(partition),
        .chain = writer->chain,
        .frames_or_crc = 1,
    };
    extent_header_encode(&extent, at);
    uint32_t used = EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES + body_bytes;
    memset(at + used, 0, commit->size - used);
    writer->chain = frame_chain(at + EXTENT_HEADER_BYTES);
    commit->chain_end = writer->chain;
}

static void commit_submit(struct partition *partition, struct block *block, uint32_t count,
                          uint32_t size, uint32_t body_bytes)
{
    struct writer *writer = &partition->writer;
    struct reactor *reactor = partition->shard->reactor;
    struct segment *segment = partition_open_segment(partition);
    struct commit *commit = &writer->commits[writer->tail++ % COMMITS_MAX];
    ASSERT(commit->state == COMMIT_FREE);
    ASSERT(writer->position + size <= writer->allocated_end);
    commit->partition = partition;
    commit->state = COMMIT_WRITING;
    commit->block = block;
    commit->position = writer->position;
    commit->size = size;
    commit->offset_first = writer->submitted_end;
    commit->started_ns = reactor->now_ns;
    commit->requests = (struct request_queue){0};
    commit->acked = false;
    commit_encode(partition, commit, count, body_bytes);
    writer->position += size;
    writer->submitted_end = commit->offset_end;
    commit->frame = count == 0 ? NULL : tail_add(partition->shard, partition, block);
    if (commit->frame != NULL) {
        uint32_t data_at =
            EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES + count * (uint32_t)FRAME_ROW_BYTES;
        commit->frame->offset_first = commit->offset_first;
        commit->frame->offset_end = commit->offset_end;
        commit->frame->data_at = data_at;
        commit->frame->data_size = body_bytes - count * (uint32_t)FRAME_ROW_BYTES;
    }
    uint32_t flags = segment->info.durability == DURABILITY_DISK ? IO_WRITE_DURABLE : 0U;
    completion_init(&commit->io.done, commit_written);
    io_write(&commit->io, segment->fd, block->data, size, commit->position, flags);
    shard_enter(partition->shard, partition);
    io_submit(reactor, &commit->io);
    stats_add(&reactor->stats, STAT_COMMITS, 1);
    bool in_order = commit->offset_first == partition->high_watermark;
    if ((segment->info.durability == DURABILITY_MEMORY || MUTANT("ack-at-submit")) && in_order) {
        commit_ack(partition, commit);
    }
}

static void commit_memory(struct completion *done)
{
    struct partition *partition = CONTAINER_OF(done, struct partition, commit_memory.done);
    ASSERT(partition->commit_waits);
    partition->commit_waits = false;
    commit_gather(partition);
    commit_rest(partition);
    shard_leave(partition->shard, partition);
}

static void commit_gather(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    struct reactor *reactor = partition->shard->reactor;
    while (commit_wanted(partition) && writer->tail - writer->head < COMMITS_MAX &&
           !partition->commit_waits && !writer->failed) {
        uint32_t size;
        uint32_t body_bytes;
        uint32_t count = commit_measure(partition, &size, &body_bytes);
        uint64_t need = writer->position + size + TRAILER_RESERVE_BYTES;
        if (need > writer->allocated_end) {
            commit_allocate(partition, need - writer->allocated_end);
            return;
        }
        struct block *block = block_acquire(reactor->memory, MEMORY_APPEND, size);
        if (block == NULL) {
            COVER("commit waits for memory");
            partition->commit_waits = true;
            partition->commit_memory.size = size;
            partition->commit_memory.class = MEMORY_APPEND;
            completion_init(&partition->commit_memory.done, commit_memory);
            shard_enter(partition->shard, partition);
            memory_await(reactor->memory, reactor, &partition->commit_memory);
            return;
        }
        commit_submit(partition, block, count, size, body_bytes);
    }
    bool low = writer->allocated_end - writer->position < writer->allocate_step / 2;
    bool more = writer->bytes < partition->config.segment_bytes;
    if (writer->tail != writer->head && low && more && !writer->failed) {
        commit_allocate(partition, 1);
    }
}

void commit_work(struct completion *work)
{
    struct partition *partition = CONTAINER_OF(work, struct partition, commit_work);
    if (partition_open_segment(partition) != NULL) {
        commit_gather(partition);
    }
    commit_rest(partition);
    shard_leave(partition->shard, partition);
}

void commit_kick(struct partition *partition)
{
    if (partition->commit_work.queued || !commit_wanted(partition)) {
        return;
    }
    shard_enter(partition->shard, partition);
    reactor_defer(partition->shard->reactor, TURN_COMMIT, &partition->commit_work);
}
