/* Group commit: what was staged becomes one frame. Small ones go into the core's journal together
 * with those of other partitions, and to their file later; large ones straight to the file, with
 * all that is pinned before them.
 *
 *     FREE -> WRITING -> WRITTEN -> (all before it are written too) acked -> FREE
 *
 * No timer: while COMMITS_MAX are in flight the next one gathers. A frame goes out only when the
 * blocks that it will take in the file exist; they are allocated ahead in growing steps. Acks are
 * in offset order. A failed write ends the file: it takes no more appends, what was not acked
 * fails, and the next append rolls. Each frame says where the log starts; where nothing is staged a
 * control frame, which has no batch and goes to the file, does (trim.c). So do notes (delete.c). */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/shard_internal.h"

#include <inttypes.h>
#include <string.h>

static void commit_gather(struct partition *partition);
static void commit_allocated(struct completion *done);

/* A frame has something to say. */
static bool commit_wanted(const struct partition *partition)
{
    return partition->staged.head != NULL || trim_wants_frame(partition) ||
           delete_wants_frame(partition);
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
    rebuild_mend(partition);
    if (partition->roll.state == ROLL_DRAIN && commit_idle(partition) &&
        writeback_flush(partition)) {
        roll_drained(partition);
    }
}

/* The pool gave its space back: once more. */
static void commit_allocate_again(struct completion *done)
{
    struct writer *writer = CONTAINER_OF(done, struct writer, allocate.done);
    struct partition *partition = CONTAINER_OF(writer, struct partition, writer);
    completion_init(&writer->allocate.done, commit_allocated);
    io_submit(partition->shard->reactor, &writer->allocate);
}

static void commit_allocated(struct completion *done)
{
    struct writer *writer = CONTAINER_OF(done, struct writer, allocate.done);
    struct partition *partition = CONTAINER_OF(writer, struct partition, writer);
    ASSERT(writer->allocating);
    int32_t result = done->result;
    if (result == ERR_NO_SPACE) {
        completion_init(&writer->allocate.done, commit_allocate_again);
        if (pool_empty(partition->shard, &writer->allocate.done)) {
            return;
        }
    }
    writer->allocating = false;
    if (result == OK) {
        writer->allocated_end += writer->allocate.allocate.size;
        writer->allocate_step = min_u64(writer->allocate_step * 2, ALLOCATE_BYTES_MAX);
        commit_gather(partition);
    } else {
        COVER("no blocks for an append");
        writer->allocate_step = ALLOCATE_BYTES_MIN;
        if (partition->staged.head != NULL) {
            LOG_WARN("segment cannot grow, appends fail topic=%s partition=%u err=%s",
                     partition->name, partition->id.partition, err_name((enum err)result));
            append_fail_staged(partition, ERR_STORAGE);
        }
        if (trim_wants_frame(partition)) {
            trim_frame_failed(partition);
        }
        delete_fail(partition, ERR_STORAGE);
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
    partition->acked_id = commit->last_id;
    partition->writer.durable_chain = commit->chain_end;
    delete_acked(partition, commit);
    if (partition->producers != NULL) {
        producer_commit(partition->producers, commit->offset_end);
    }
    if (commit->timestamp_max > segment->timestamp_max) {
        segment->timestamp_max = commit->timestamp_max;
    }
    struct request *request;
    while ((request = request_queue_pop(&commit->requests)) != NULL) {
        request->owner_state = NULL;
        if (request->kind == REQUEST_PRODUCE) {
            request->produce.log_start = partition->log_start;
        }
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
    gather_give_up(partition);
    append_fail_staged(partition, ERR_STORAGE);
    trim_frame_failed(partition);
}

static void commit_fail(struct partition *partition, struct commit *commit)
{
    struct writer *writer = &partition->writer;
    writer->failed = true;
    writer->broken = true;
    request_queue_fail(partition->shard, &commit->requests, ERR_STORAGE);
}

/* Acked, or never to be. A frame that no file and no journal will have is dropped; if it was acked
 * nevertheless (`memory`), it may go when others need its place. */
static void commit_end(struct commit *commit, bool sound, bool early)
{
    struct partition *partition = commit->partition;
    struct tail_frame *frame = commit->frame;
    commit->frame = NULL;
    commit->state = COMMIT_FREE;
    delete_ended(partition, commit);
    partition->writer.head++;
    if (frame == NULL || sound) {
        return;
    }
    if (!early) {
        tail_drop(frame);
    } else if (frame->pinned && frame->journal_seq == 0) {
        writeback_drop(partition, frame);
        tail_unpin(frame);
    }
}

/* Acks what is written and has nothing unwritten before it. */
static void commit_settle_all(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    while (writer->head != writer->tail) {
        struct commit *commit = &writer->commits[writer->head % COMMITS_MAX];
        if (commit->state != COMMIT_WRITTEN) {
            const struct commit *next = &writer->commits[(writer->head + 1) % COMMITS_MAX];
            if (MUTANT("segment-order") && next->state == COMMIT_WRITTEN && !commit->acked) {
                commit_ack(partition, commit);
            }
            break;
        }
        struct reactor *reactor = partition->shard->reactor;
        histogram_record(&reactor->stats.commit_ns, reactor->now_ns - commit->started_ns);
        bool early = commit->acked;
        bool sound = commit->err == OK && !writer->broken && !partition->shard->dead;
        if (!sound) {
            commit_fail(partition, commit);
        } else if (!early) {
            commit_ack(partition, commit);
        }
        commit_end(commit, sound, early);
    }
    if (writer->failed && writer->head == writer->tail) {
        commit_collapse(partition);
    }
    tail_trim(partition->shard);
}

void commit_settle(struct partition *partition)
{
    commit_settle_all(partition);
    commit_kick(partition);
    commit_rest(partition);
}

/* Those that a failed journal left to their file, which will not get them any more. And whoever
 * waits for the commits to rest, a roll or a trim, goes on: what was staged has just failed. */
void commit_give_up(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    for (uint32_t i = writer->head; i != writer->tail && writer->unwritten != NULL; i++) {
        struct commit *commit = &writer->commits[i % COMMITS_MAX];
        if (commit->state == COMMIT_WRITING && !commit->in_journal &&
            commit->offset_first >= writer->unwritten->offset_first) {
            COVER("a topic is deleted while its commits wait for a file");
            commit->state = COMMIT_WRITTEN;
            commit->err = ERR_STORAGE;
        }
    }
    commit_settle(partition);
}

void commit_journaled(struct commit *commit, enum err err)
{
    struct partition *partition = commit->partition;
    ASSERT(commit->state == COMMIT_WRITING && commit->in_journal);
    commit->in_journal = false;
    if (err == OK || partition->writer.failed || partition->dropping) {
        commit->state = COMMIT_WRITTEN;
        commit->err = err;
    } /* Else its file will have it: see journal.c. */
    commit_settle(partition);
    shard_leave(partition->shard, partition);
}

/* How many staged requests the next frame takes, and the size of its body. */
static uint32_t commit_measure(const struct partition *partition, uint32_t *body)
{
    uint32_t count = 0;
    uint32_t bytes = 0;
    for (const struct request *r = partition->staged.head; r != NULL; r = r->next) {
        uint64_t next = (uint64_t)bytes + FRAME_ROW_BYTES + r->produce.batch.size;
        uint32_t padded = extent_frame_blocks(FRAME_HEADER_BYTES + align_up(next, 8));
        if (count > 0 && padded > COMMIT_BYTES_TARGET) {
            break;
        }
        count++;
        bytes = (uint32_t)next;
    }
    *body = bytes;
    return count;
}

/* What the next frame is, and the way that it takes. */
struct commit_plan {
    uint32_t count, body_bytes, frame_bytes;
    bool note; /* The body is one. */
    bool direct, gathered;
};

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
        struct stream_id id = append_draw_id(partition, request, now_ms, records);
        request->produce.id = id;
        struct frame_row row = {.length = size,
                                .records = records,
                                .ms = id.ms + (MUTANT("stream-ms-off") ? 1 : 0),
                                .seq = id.seq + (MUTANT("stream-seq-off") ? 1 : 0)};
        frame_row_encode(&row, body + i * FRAME_ROW_BYTES);
        offset += records;
        at += size;
        request_queue_push(&commit->requests, request);
    }
    return offset;
}

/* What is known to be on the disk: recovery takes it as evidence, so it never exceeds the truth. */
uint64_t commit_durable_end(const struct partition *partition)
{
    const struct segment_info *info = &partition_open_segment(partition)->info;
    if (MUTANT("durable-end-ahead")) {
        return partition->writer.submitted_end;
    }
    return info->durability == DURABILITY_DISK ? partition->high_watermark : info->base_offset;
}

/* Writes the frame to `at`, padded to 8. */
static void commit_encode(struct partition *partition, struct commit *commit, uint8_t *at,
                          const struct commit_plan *plan)
{
    uint32_t count = plan->count;
    uint32_t body_bytes = plan->body_bytes;
    const struct segment *segment = partition_open_segment(partition);
    struct writer *writer = &partition->writer;
    commit->log_start = trim_frame_log_start(partition);
    uint8_t *body = at + FRAME_HEADER_BYTES;
    commit->offset_end = commit_fill(partition, commit, body, count);
    if (plan->note) {
        delete_fill(partition, commit, body);
        commit->note = bytes_of(body, body_bytes);
    }
    commit->last_id = partition->last_id;
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
    frame_header_encode(&frame, at);
    memset(body + body_bytes, 0, frame_size(&frame) - FRAME_HEADER_BYTES - body_bytes);
    writer->chain = frame_chain(at);
    commit->chain_end = writer->chain;
}

/* Keeps the new frame, which stands at `at` of `block`, where readers find it. */
static void commit_keep(struct commit *commit, struct block *block, uint32_t at, uint32_t count,
                        uint32_t body_bytes)
{
    struct partition *partition = commit->partition;
    uint32_t bytes = (uint32_t)align_up((uint64_t)FRAME_HEADER_BYTES + body_bytes, 8);
    struct tail_frame *frame = tail_add(partition->shard, partition, block);
    commit->frame = frame;
    if (frame == NULL) {
        block_unref(block);
        return;
    }
    uint32_t table = count * (uint32_t)FRAME_ROW_BYTES;
    frame->offset_first = commit->offset_first;
    frame->offset_end = commit->offset_end;
    frame->timestamp_max = commit->timestamp_max;
    frame->frame_at = at;
    frame->frame_bytes = bytes;
    frame->data_at = at + (uint32_t)FRAME_HEADER_BYTES + table;
    frame->data_size = body_bytes - table;
}

/* Stages the next frame, and acks it: nothing of it has to be written first. */
static void commit_hold(struct partition *partition, const struct commit_plan *plan)
{
    struct writer *writer = &partition->writer;
    struct block *block = writer->gather;
    struct commit commit = {
        .partition = partition,
        .offset_first = writer->submitted_end,
    };
    uint32_t at = writer->gather_used;
    commit_encode(partition, &commit, block->data + at, plan);
    writer->submitted_end = commit.offset_end;
    commit_keep(&commit, block_ref(block), at, plan->count, plan->body_bytes);
    ASSERT(commit.frame != NULL);
    gather_add(partition, commit.frame);
    stats_add(&partition->shard->reactor->stats, STAT_COMMITS, 1);
    commit_ack(partition, &commit);
}

static void commit_submit(struct partition *partition, struct block *block,
                          const struct commit_plan *plan)
{
    struct writer *writer = &partition->writer;
    struct reactor *reactor = partition->shard->reactor;
    struct commit *commit = &writer->commits[writer->tail++ % COMMITS_MAX];
    ASSERT(commit->state == COMMIT_FREE);
    *commit = (struct commit){
        .partition = partition,
        .state = COMMIT_WRITING,
        .offset_first = writer->submitted_end,
        .started_ns = reactor->now_ns,
    };
    list_init(&commit->journal_node);
    struct extent_write *extent = plan->direct ? extent_begin(partition) : NULL;
    uint32_t at = 0;
    if (extent != NULL) {
        at = extent_fill(extent, block->data, UINT64_MAX);
    } else if (block == writer->slab) {
        at = writer->slab_used;
        writer->slab_used += plan->frame_bytes;
    }
    commit_encode(partition, commit, block->data + at, plan);
    if (plan->note) { /* Notes count in the file, too: a block each. */
        commit->note_block = block_ref(block);
        writer->bytes += extent_frame_blocks(plan->frame_bytes);
    }
    writer->submitted_end = commit->offset_end;
    if (extent != NULL) {
        extent_add(extent, block->data + at, commit->offset_end, commit->timestamp_max);
        extent->commit = commit;
        if (plan->count > 0) {
            commit_keep(commit, block_ref(block), at, plan->count, plan->body_bytes);
        }
        extent_submit(extent, block, at + plan->frame_bytes);
    } else {
        commit_keep(commit, block, at, plan->count, plan->body_bytes);
        ASSERT(commit->frame != NULL);
        writer->journaled_end = commit->offset_end;
        writeback_add(partition, commit->frame);
        journal_add(partition, commit);
    }
    stats_add(&reactor->stats, STAT_COMMITS, 1);
    bool in_order = commit->offset_first == partition->high_watermark;
    enum durability durability = partition_open_segment(partition)->info.durability;
    if ((durability == DURABILITY_MEMORY || MUTANT("ack-at-submit")) && in_order) {
        commit_ack(partition, commit);
    }
}

static void commit_memory(struct completion *done)
{
    struct partition *partition = CONTAINER_OF(done, struct partition, commit_memory.done);
    struct shard *shard = partition->shard;
    ASSERT(partition->commit_waits);
    ASSERT(shard->commits_wait_bytes >= partition->commit_memory.size);
    partition->commit_waits = false;
    shard->commits_wait_bytes -= partition->commit_memory.size;
    commit_gather(partition);
    commit_rest(partition);
    shard_leave(shard, partition);
}

/* What is pinned may have all of it: some of that goes to the files, and then out of memory. */
static void commit_await_memory(struct partition *partition, uint32_t size)
{
    struct shard *shard = partition->shard;
    struct reactor *reactor = shard->reactor;
    COVER("commit waits for memory");
    partition->commit_waits = true;
    partition->commit_memory.size = size;
    partition->commit_memory.class = MEMORY_APPEND;
    completion_init(&partition->commit_memory.done, commit_memory);
    shard->commits_wait_bytes += size;
    shard_enter(shard, partition);
    memory_await(reactor->memory, reactor, &partition->commit_memory);
    if (shard->journal != NULL) {
        writeback_kick(shard->journal);
    }
}

/* Chooses the way of the next frame. False: it waits for a block of the journal, or for a write to
 * the file. */
static bool commit_route(struct partition *partition, struct commit_plan *plan)
{
    const struct writer *writer = &partition->writer;
    if (plan->gathered) {
        uint32_t size;
        enum gather_answer answer = gather_offer(partition, plan->frame_bytes, &size);
        if (answer == GATHER_NO_MEMORY) {
            commit_await_memory(partition, size);
        }
        return answer == GATHER_TAKE;
    }
    enum journal_answer answer =
        plan->count == 0 ? JOURNAL_DIRECT : journal_offer(partition, plan->frame_bytes);
    plan->direct = answer == JOURNAL_DIRECT;
    if (!plan->direct) {
        return answer == JOURNAL_TAKE;
    }
    /* Nothing overtakes: what is pinned goes along, in the same write if it fits and no milestone
     * comes between. */
    uint64_t after = extent_frame_blocks(plan->frame_bytes);
    milestone_pump(partition, after);
    while (writer->unwritten != NULL &&
           (writer->unwritten->gathered || milestone_limit(partition) != UINT64_MAX ||
            writer->unwritten_bytes + plan->frame_bytes > COMMIT_BYTES_TARGET)) {
        if (!writeback_chunk(partition, COMMIT_BYTES_TARGET, after)) {
            return false;
        }
        milestone_pump(partition, after);
    }
    return extent_room(partition) && milestone_limit(partition) == UINT64_MAX;
}

static void commit_gather(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    struct reactor *reactor = partition->shard->reactor;
    while (commit_wanted(partition) && writer->tail - writer->head < COMMITS_MAX &&
           !partition->commit_waits && !writer->failed && !partition->shard->dead) {
        struct commit_plan plan = {.body_bytes = delete_measure(partition)};
        plan.note = plan.body_bytes > 0;
        if (!plan.note && !commit_wanted(partition)) {
            break; /* There was nothing to delete. */
        }
        if (!plan.note) {
            plan.count = commit_measure(partition, &plan.body_bytes);
        }
        plan.frame_bytes = (uint32_t)align_up((uint64_t)FRAME_HEADER_BYTES + plan.body_bytes, 8);
        uint64_t need = writer->position + writer->unwritten_blocks +
                        extent_frame_blocks(plan.frame_bytes) + milestone_reserve(partition) +
                        TRAILER_RESERVE_BYTES;
        if (need > writer->allocated_end) {
            commit_allocate(partition, need - writer->allocated_end);
            return;
        }
        plan.gathered = plan.count > 0 && gather_takes(partition, plan.frame_bytes);
        if (!commit_route(partition, &plan)) {
            return;
        }
        if (plan.gathered) {
            commit_hold(partition, &plan);
            continue;
        }
        uint64_t size = plan.frame_bytes;
        if (plan.direct) {
            size += EXTENT_HEADER_BYTES + writer->unwritten_bytes;
            size = align_up(size, DISK_BLOCK_BYTES);
        }
        struct block *block = plan.direct ? NULL : commit_slab(partition, plan.frame_bytes);
        if (block == NULL) {
            block = block_acquire(reactor->memory, MEMORY_APPEND, (uint32_t)size);
        }
        if (block == NULL) {
            commit_await_memory(partition, (uint32_t)size);
            return;
        }
        commit_submit(partition, block, &plan);
    }
    uint64_t taken = writer->position + writer->unwritten_blocks;
    bool low = writer->allocated_end < taken + writer->allocate_step / 2;
    bool more = writer->bytes < partition->config.segment_bytes;
    bool busy = writer->tail != writer->head || writer->gather != NULL;
    if (busy && low && more && !writer->failed) {
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
    if (commit_wanted(partition)) {
        commit_poke(partition);
    }
}

void commit_poke(struct partition *partition)
{
    if (partition->commit_work.queued) {
        return;
    }
    shard_enter(partition->shard, partition);
    reactor_defer(partition->shard->reactor, TURN_COMMIT, &partition->commit_work);
}
