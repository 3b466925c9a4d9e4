/* Milestones of an open segment's file. When one is due it is planned for an offset to which both
 * the acks and the file come: the greater one of how far they are now. What the producers had sent
 * up to there is kept from then on, since when the file comes there they have sent more. Write-back
 * stops there, the milestone is written, and frames go on behind it. Which records are deleted it
 * says as of when it is written: notes go to the file at once, and none is on its way then.
 *
 *     due -> planned: the producers as of `offset` -> the file is there -> written -> checkpoint
 *                     ^------------------------------ it went past it
 *
 * While there is no journal to name it nothing stops for a milestone, and the file may go past one
 * that was planned before: then that is void, and planned anew.
 *
 * Only for segments whose checkpoints say where the file is sound. A milestone saves a restart some
 * reading and is never worth an append: without room or memory for it there is none for now. */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MILESTONE_TRIES = 8 /* In an interval, when it cannot be written. */ };

static uint64_t milestone_interval(const struct partition *partition)
{
    uint64_t bytes = partition->shard->options.milestone_bytes;
    return bytes == 0 ? MILESTONE_BYTES : bytes;
}

void milestone_begin(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    writer->milestone = (struct milestone_plan){
        .due = writer->position + milestone_interval(partition),
        .log_start = partition->log_start,
        .last_ms = partition->last_id.ms,
        .last_seq = partition->last_id.seq,
    };
}

static void milestone_drop(struct writer *writer)
{
    free(writer->milestone.producers);
    writer->milestone.producers = NULL;
    writer->milestone.producers_bytes = 0;
    writer->milestone.planned = false;
}

void milestone_end(struct partition *partition)
{
    milestone_drop(&partition->writer);
}

/* Not now. */
static void milestone_postpone(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    milestone_drop(writer);
    writer->milestone.due =
        writer->position + max_u64(1, milestone_interval(partition) / MILESTONE_TRIES);
}

/* Behind all that was submitted to the file. */
static void milestone_place(const struct partition *partition, uint64_t *offset, uint64_t *chain)
{
    const struct writer *writer = &partition->writer;
    const struct segment *segment = partition_open_segment(partition);
    *offset = segment->file_end;
    *chain = segment->file_chain;
    if (!extent_idle(partition)) {
        const struct extent_write *last = &writer->extents[(writer->extent_tail - 1) % EXTENTS_MAX];
        *offset = last->offset_end;
        *chain = last->chain_end;
    }
}

static uint32_t extent_bytes(uint32_t body)
{
    return body == 0 ? 0
                     : (uint32_t)align_up((uint64_t)EXTENT_HEADER_BYTES + body, DISK_BLOCK_BYTES);
}

/* What both extents take in the file, at most, if the next milestone is written behind all that is
 * not written yet. */
static uint64_t milestone_bytes(const struct partition *partition)
{
    const struct writer *writer = &partition->writer;
    const struct segment *segment = partition_open_segment(partition);
    uint64_t rows =
        segment->index.count + EXTENTS_MAX + 1 + writer->unwritten_bytes / INDEX_STEP_BYTES;
    uint32_t producers = writer->milestone.producers_bytes;
    if (!writer->milestone.planned && partition->producers != NULL) {
        producers = producer_count(partition->producers) * PRODUCER_ROW_BYTES;
    }
    uint32_t state = milestone_state_size(producers, &partition->deleted);
    return (uint64_t)extent_bytes(state) + extent_bytes(milestone_size((uint32_t)rows));
}

static bool milestone_is_wanted(const struct partition *partition)
{
    const struct segment *segment = partition_open_segment(partition);
    const struct journal *journal = partition->shard->journal;
    return segment->info.durability == DURABILITY_DISK && segment->loaded && journal != NULL &&
           !journal->failed && !partition->writer.failed && !partition->dropping;
}

uint64_t milestone_reserve(const struct partition *partition)
{
    const struct writer *writer = &partition->writer;
    bool soon = writer->milestone.planned ||
                writer->position + writer->unwritten_blocks >= writer->milestone.due;
    return soon && milestone_is_wanted(partition) ? milestone_bytes(partition) : 0;
}

static void milestone_plan(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    struct milestone_plan *plan = &writer->milestone;
    uint64_t offset, chain;
    milestone_place(partition, &offset, &chain);
    plan->offset = max_u64(offset, partition->high_watermark);
    if (partition->producers == NULL) {
        plan->planned = true;
        return;
    }
    struct producer_table *table = producer_table_copy(partition->producers);
    if (table == NULL) {
        milestone_postpone(partition);
        return;
    }
    producer_commit(table, MUTANT("milestone-claims-staged") ? UINT64_MAX : plan->offset);
    uint32_t bytes = producer_count(table) * PRODUCER_ROW_BYTES;
    plan->producers = malloc(max_u32(1, bytes));
    if (plan->producers != NULL) {
        plan->producers_bytes = producer_encode(table, plan->producers, bytes);
        ASSERT(plan->producers_bytes == bytes);
        plan->planned = true;
    } else {
        milestone_postpone(partition);
    }
    producer_table_destroy(table);
}

/* The rows that the file will have when what is on its way is there. */
static enum err milestone_rows(const struct partition *partition, struct segment_index *rows)
{
    const struct writer *writer = &partition->writer;
    enum err err = segment_index_copy(&partition_open_segment(partition)->index, rows);
    for (uint32_t i = writer->extent_head; i != writer->extent_tail && err == OK; i++) {
        const struct extent_write *extent = &writer->extents[i % EXTENTS_MAX];
        err = extent_index(extent, rows);
    }
    return err;
}

/* Both extents, in a block of their size. */
static void milestone_fill(const struct partition *partition, const struct extent_write *extent,
                           const struct segment_index *rows, uint8_t *at)
{
    const struct milestone_plan *plan = &partition->writer.milestone;
    struct extent_header header = {
        .salt = partition_open_segment(partition)->info.salt,
        .boot = partition->shard->options.boot,
        .offset_first = extent->offset_first,
        .durable_end = commit_durable_end(partition),
        .chain = extent->chain,
    };
    uint32_t before = (uint32_t)(extent->index_position - extent->position);
    struct milestone milestone = {
        .log_start = plan->log_start,
        .last_ms = plan->last_ms,
        .last_seq = plan->last_seq,
        .timestamp_max = rows->count > 0 ? rows->rows[rows->count - 1].timestamp_max : INT64_MIN,
    };
    memset(at, 0, extent->size);
    if (before > 0) {
        milestone.producers_position = extent->position;
        header.type = EXTENT_PRODUCERS;
        header.position = extent->position;
        header.padded_size = before;
        if (plan->producers_bytes > 0) {
            memcpy(at + EXTENT_HEADER_BYTES, plan->producers, plan->producers_bytes);
        }
        milestone_deleted_encode(&partition->deleted,
                                 at + EXTENT_HEADER_BYTES + plan->producers_bytes);
        milestone_seal(&header, at);
    }
    at += before;
    header.type = EXTENT_INDEX;
    header.position = extent->index_position;
    header.padded_size = extent->size - before;
    milestone_encode(&milestone, rows, at + EXTENT_HEADER_BYTES);
    milestone_seal(&header, at);
}

/* The file is where it was planned. False: it cannot be written. */
static bool milestone_write(struct partition *partition, const struct segment_index *rows,
                            uint64_t after)
{
    struct writer *writer = &partition->writer;
    struct reactor *reactor = partition->shard->reactor;
    uint32_t before =
        extent_bytes(milestone_state_size(writer->milestone.producers_bytes, &partition->deleted));
    uint64_t size = (uint64_t)before + extent_bytes(milestone_size(rows->count));
    uint64_t need = writer->position + size + writer->unwritten_blocks + after;
    if (need + TRAILER_RESERVE_BYTES > writer->allocated_end ||
        size > memory_block_max(reactor->memory)) {
        return false;
    }
    struct block *block = block_acquire(reactor->memory, MEMORY_RECOVERY, (uint32_t)size);
    if (block == NULL) {
        return false;
    }
    struct extent_write *extent = extent_begin(partition);
    milestone_place(partition, &extent->offset_first, &extent->chain);
    extent->offset_end = extent->offset_first;
    extent->chain_end = extent->chain;
    extent->size = (uint32_t)size;
    extent->index_position = extent->position + before;
    milestone_fill(partition, extent, rows, block->data);
    COVER("a milestone is written");
    milestone_drop(writer);
    extent_send(extent, block);
    writer->milestone.due = writer->position + milestone_interval(partition);
    return true;
}

void milestone_pump(struct partition *partition, uint64_t after)
{
    struct writer *writer = &partition->writer;
    uint64_t offset, chain;
    if (!milestone_is_wanted(partition)) {
        return;
    }
    milestone_place(partition, &offset, &chain);
    if (writer->milestone.planned && offset > writer->milestone.offset) {
        COVER("a file went past a planned milestone");
        milestone_drop(writer);
    }
    if (!writer->milestone.planned && writer->position >= writer->milestone.due) {
        milestone_plan(partition);
    }
    if (!writer->milestone.planned || offset < writer->milestone.offset ||
        !extent_room(partition)) {
        return;
    }
    if (partition->delete_flying) {
        COVER("a milestone waits for a note");
        return; /* It is before the milestone in the file, and does not count yet. */
    }
    struct segment_index rows;
    enum err err = milestone_rows(partition, &rows);
    bool written = err == OK && milestone_write(partition, &rows, after);
    segment_index_deinit(&rows);
    if (!written) {
        COVER("a milestone cannot be written");
        milestone_postpone(partition);
    }
}

uint64_t milestone_limit(const struct partition *partition)
{
    const struct writer *writer = &partition->writer;
    bool stands = writer->milestone.planned && milestone_is_wanted(partition);
    return stands ? writer->milestone.offset : UINT64_MAX;
}
