/* Writes to the file of an open segment. Each adds one extent: frames in offset order, on fresh
 * blocks. A frame counts as being in the file only if every earlier write to that file has ended
 * well, so the ends of writes are taken in the order in which they began. After the first failure
 * the file takes nothing more: what was acked stays in memory, and in the journal, until the file
 * is made anew (rebuild.c). */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/shard_internal.h"

#include <inttypes.h>
#include <string.h>

bool extent_room(const struct partition *partition)
{
    const struct writer *writer = &partition->writer;
    return writer->extent_tail - writer->extent_head < EXTENTS_MAX;
}

bool extent_idle(const struct partition *partition)
{
    return partition->writer.extent_head == partition->writer.extent_tail;
}

uint32_t extent_frame_blocks(uint64_t frame_bytes)
{
    return (uint32_t)align_up(EXTENT_HEADER_BYTES + frame_bytes, DISK_BLOCK_BYTES);
}

struct extent_write *extent_begin(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    ASSERT(extent_room(partition));
    struct extent_write *extent = &writer->extents[writer->extent_tail % EXTENTS_MAX];
    gather_close(partition); /* What is written behind its frames goes behind this. */
    *extent = (struct extent_write){
        .partition = partition,
        .position = writer->position,
        .timestamp_max = INT64_MIN,
    };
    list_init(&extent->group_node);
    return extent;
}

void extent_add(struct extent_write *extent, const uint8_t *at, uint64_t offset_end,
                int64_t timestamp_max)
{
    struct milestone_plan *milestone = &extent->partition->writer.milestone;
    struct frame_header frame;
    struct frame_row row = {0};
    enum err err = frame_header_decode(at, &frame);
    ASSERT(err == OK);
    if (extent->frames == 0) {
        if (frame.batches > 0) { /* Else it is a control frame, and the only one. */
            frame_row_decode(at + FRAME_HEADER_BYTES, &row);
        }
        extent->offset_first = frame.offset_first;
        extent->chain = frame.chain;
        extent->ms = row.ms;
        extent->seq = row.seq;
    }
    milestone->log_start = max_u64(milestone->log_start, frame.log_start);
    if (frame.batches > 0) {
        frame_row_decode(at + FRAME_HEADER_BYTES + (frame.batches - 1) * (size_t)FRAME_ROW_BYTES,
                         &row);
        milestone->last_ms = row.ms;
        milestone->last_seq = row.seq + row.records - 1;
    } else if (frame.body_bytes > 0) {
        struct note note;
        err = note_decode(bytes_of(at + FRAME_HEADER_BYTES, frame.body_bytes), &note);
        ASSERT(err == OK);
        milestone->last_ms = note.kind == NOTE_SET_LAST ? note.last.ms : milestone->last_ms;
        milestone->last_seq = note.kind == NOTE_SET_LAST ? note.last.seq : milestone->last_seq;
    }
    extent->frames++;
    extent->offset_end = offset_end;
    extent->last = at;
    if (timestamp_max > extent->timestamp_max) {
        extent->timestamp_max = timestamp_max;
    }
}

uint32_t extent_fill(struct extent_write *extent, uint8_t *at, uint64_t limit)
{
    struct partition *partition = extent->partition;
    uint32_t used = EXTENT_HEADER_BYTES;
    struct tail_frame *frame = partition->writer.unwritten;
    uint64_t end = milestone_limit(partition);
    while (frame != NULL && frame->offset_first < end &&
           (extent->frames == 0 || used + frame->frame_bytes <= limit)) {
        uint8_t *to = at + used;
        memcpy(to, frame->block->data + frame->frame_at, frame->frame_bytes);
        extent_add(extent, to, frame->offset_end, frame->timestamp_max);
        used += frame->frame_bytes;
        writeback_drop(partition, frame);
        frame = partition->writer.unwritten;
    }
    return used;
}

uint32_t extent_take(struct extent_write *extent, const struct block *block)
{
    struct partition *partition = extent->partition;
    uint32_t used = EXTENT_HEADER_BYTES;
    struct tail_frame *frame = partition->writer.unwritten;
    while (frame != NULL && frame->block == block) {
        ASSERT(frame->frame_at == used);
        extent_add(extent, block->data + used, frame->offset_end, frame->timestamp_max);
        used += frame->frame_bytes;
        writeback_drop(partition, frame);
        frame = partition->writer.unwritten;
    }
    return used;
}

/* All frames up to `end` are in the file. */
static void extent_unpin(struct partition *partition, uint64_t end)
{
    struct writer *writer = &partition->writer;
    while (writer->pinned != NULL && writer->pinned->offset_end <= end) {
        tail_unpin(writer->pinned);
    }
    if (writer->pinned == NULL) {
        commit_end_slab(partition); /* Who appends no more holds no memory. */
    }
}

enum err extent_index(const struct extent_write *extent, struct segment_index *index)
{
    if (extent->index_position != 0) {
        segment_index_break(index);
        return OK;
    }
    return extent->offset_end == extent->offset_first
               ? OK
               : segment_index_add(index, extent->offset_first, extent->position, extent->ms,
                                   extent->seq, extent->timestamp_max, extent->size);
}

static void extent_end(struct partition *partition, const struct extent_write *extent)
{
    struct writer *writer = &partition->writer;
    struct segment *segment = partition_open_segment(partition);
    ASSERT(segment->file_end == extent->offset_first);
    segment->file_end = extent->offset_end;
    segment->file_chain = extent->chain_end;
    segment->position_end = extent->position + extent->size;
    if (extent_index(extent, &segment->index) != OK) {
        segment->loaded = false; /* Read back from the file when it is needed. */
    }
    for (uint32_t i = writer->head; i != writer->tail; i++) {
        struct commit *commit = &writer->commits[i % COMMITS_MAX];
        /* A control frame ends where it begins: only its own write tells. */
        bool control = commit->offset_end == commit->offset_first;
        bool written =
            control ? commit == extent->commit : commit->offset_end <= extent->offset_end;
        if (commit->state == COMMIT_WRITING && written) {
            if (commit->in_journal) {
                COVER("a file is faster than the journal");
                list_remove(&commit->journal_node);
                commit->in_journal = false;
                shard_leave(partition->shard, partition); /* The write to the file stays. */
            }
            commit->state = COMMIT_WRITTEN;
        }
    }
    extent_unpin(partition, segment->file_end);
    if (extent->index_position != 0) {
        segment->index_position = extent->index_position;
        journal_tell(segment);
    } else {
        journal_touch(segment);
    }
}

/* Is a failed journal about to be followed by its spare? That needs every file. */
static bool extent_is_needed(const struct shard *shard)
{
    const struct journal *journal = shard->journal;
    return journal != NULL && journal->failed && (journal->spare_id != 0 || journal->replacing) &&
           !shard->stopping;
}

/* The failures that nothing mends. */
static void extent_judge(struct partition *partition, enum err err)
{
    char path[SHARD_PATH_BYTES];
    segment_path(partition_open_segment(partition), path);
    if (err == ERR_NO_SPACE) {
        shard_fail(partition->shard, "blocks of a segment's file that exist have no space", path,
                   err);
    } else if (extent_is_needed(partition->shard)) {
        COVER("a file fails while a spare journal takes over");
        shard_fail(partition->shard, "a journal failed, and then a file that takes its records",
                   path, err);
    }
}

/* Whoever waited for this file alone has failed; what a block of the journal holds has not. */
static void extent_fail(struct partition *partition, const struct extent_write *extent)
{
    struct writer *writer = &partition->writer;
    if (!writer->failed) {
        COVER("a write to a file fails");
        LOG_ERROR("segment write failed, the segment ends here topic=%s partition=%u end=%" PRIu64
                  " err=%s",
                  partition->name, partition->id.partition, partition->high_watermark,
                  err_name(extent->err));
        extent_judge(partition, extent->err);
    }
    writer->failed = true;
    for (uint32_t i = writer->head; i != writer->tail; i++) {
        struct commit *commit = &writer->commits[i % COMMITS_MAX];
        if (commit->state == COMMIT_WRITING && !commit->in_journal &&
            commit->offset_first >= extent->offset_first) {
            commit->state = COMMIT_WRITTEN;
            commit->err = ERR_STORAGE;
        }
    }
}

static void extent_settle(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    while (!extent_idle(partition)) {
        struct extent_write *extent = &writer->extents[writer->extent_head % EXTENTS_MAX];
        if (!extent->ended) {
            break;
        }
        if (extent->err == OK && !writer->failed) {
            extent_end(partition, extent);
        } else {
            extent->err = extent->err == OK ? ERR_STORAGE : extent->err;
            extent_fail(partition, extent);
        }
        if (extent->block != NULL) {
            block_unref(extent->block);
            extent->block = NULL;
        }
        writer->extent_head++;
    }
}

void extent_settled(struct extent_write *extent, enum err err)
{
    struct partition *partition = extent->partition;
    struct shard *shard = partition->shard;
    extent->ended = true;
    extent->err = err;
    extent_settle(partition);
    commit_settle(partition);
    if (shard->journal != NULL) {
        gather_push(partition);
        journal_wake(shard->journal);
        writeback_kick(shard->journal);
    }
    shard_leave(shard, partition);
}

static void extent_written(struct completion *done)
{
    struct extent_write *extent = CONTAINER_OF(done, struct extent_write, io.done);
    struct shard *shard = extent->partition->shard;
    if (extent->chunk) {
        ASSERT(shard->journal->chunks > 0);
        shard->journal->chunks--;
    }
    if (extent->durable) {
        ASSERT(shard->flush_group.flying > 0);
        shard->flush_group.flying--;
    }
    if (done->result < 0 || !extent->grouped) {
        extent_settled(extent, done->result < 0 ? (enum err)done->result : OK);
        return;
    }
    block_unref(extent->block);
    extent->block = NULL;
    flush_group_add(extent);
    if (shard->journal != NULL) {
        writeback_kick(shard->journal);
    }
}

void extent_submit(struct extent_write *extent, struct block *block, uint32_t used)
{
    struct partition *partition = extent->partition;
    const struct segment *segment = partition_open_segment(partition);
    ASSERT(extent->frames > 0);
    extent->chain_end = frame_chain(extent->last);
    extent->size = (uint32_t)align_up(used, DISK_BLOCK_BYTES);
    ASSERT(extent->size <= block->size);
    memset(block->data + used, 0, extent->size - used);
    struct extent_header header = {
        .type = EXTENT_FRAMES,
        .salt = segment->info.salt,
        .position = extent->position,
        .padded_size = extent->size,
        .boot = partition->shard->options.boot,
        .offset_first = extent->offset_first,
        .durable_end = commit_durable_end(partition),
        .chain = extent->chain,
        .frames_or_crc = extent->frames,
    };
    extent_header_encode(&header, block->data);
    extent_send(extent, block);
}

void extent_send(struct extent_write *extent, struct block *block)
{
    struct partition *partition = extent->partition;
    struct writer *writer = &partition->writer;
    const struct segment *segment = partition_open_segment(partition);
    ASSERT(extent == &writer->extents[writer->extent_tail % EXTENTS_MAX]);
    ASSERT(extent->size <= block->size);
    ASSERT(extent->position + extent->size <= writer->allocated_end);
    extent->block = block;
    bool rewrites = MUTANT("rewrite-block") && extent->size > DISK_BLOCK_BYTES;
    writer->position += extent->size - (rewrites ? DISK_BLOCK_BYTES : 0);
    writer->extent_tail++;
    pool_wrote(partition->shard, extent->size);
    extent->durable = segment->info.durability == DURABILITY_DISK &&
                      !(extent->chunk && MUTANT("write-back-cached"));
    extent->grouped = extent->durable && flush_group_takes(extent);
    partition->shard->flush_group.flying += extent->durable;
    uint32_t flags = extent->durable && !extent->grouped ? IO_WRITE_DURABLE : 0U;
    completion_init(&extent->io.done, extent_written);
    io_write(&extent->io, segment->fd, block->data, extent->size, extent->position, flags);
    shard_enter(partition->shard, partition);
    io_submit(partition->shard->reactor, &extent->io);
    if (!extent->chunk) {
        flush_group_hurry(partition); /* It ends no sooner than those before it. */
    }
    stats_add(&partition->shard->reactor->stats, STAT_SEGMENT_BYTES, extent->size);
}
