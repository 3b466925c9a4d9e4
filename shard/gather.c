/* Frames of a `memory` segment on their way to the file. Nothing of them is promised, so nobody
 * waits: a frame is put behind the one before it, in a block of the partition, and acked there and
 * then. A block is the extent that will stand in the file, with room for its header in front:
 *
 *     block    [extent header | frame | frame | frame | free            ]
 *     written  when it is full, when it is old, when memory is short, or when somebody waits for
 *              the disk: a sync, a roll, a stop, a frame that is too large to be gathered
 *
 * Neither the journal nor a copy is needed. What is not in the file yet is pinned, and counts with
 * all of its block: half of the tail cache at most, and a block more; then whoever needs another
 * block waits. A block's size follows what is appended. */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

enum {
    GATHER_BYTES_MIN = 16 << 10,
    GATHER_BYTES_MAX = 256 << 10,
    GATHER_FRAME_BYTES_MAX = 128 << 10, /* Larger ones are written alone. */
    GATHER_MS = 100,                    /* A block is twice as old when it is written, at most. */
};

bool gather_takes(const struct partition *partition, uint32_t frame_bytes)
{
    const struct shard *shard = partition->shard;
    enum durability durability = partition_open_segment(partition)->info.durability;
    bool ours = durability == DURABILITY_MEMORY ||
                (durability == DURABILITY_OS && MUTANT("os-acked-at-staging"));
    /* A mapped file takes a copy that outlives the process: better than to gather. */
    return ours && shard->journal != NULL && !shard->options.mapped &&
           frame_bytes <= GATHER_FRAME_BYTES_MAX;
}

uint32_t gather_pressure(const struct shard *shard)
{
    const struct journal *journal = shard->journal;
    if (!tail_room(shard)) {
        return JOURNAL_PRESSURE_FULL; /* Whoever has the frames: some must go to their files. */
    }
    uint64_t memory = journal->held_bytes * 2 * JOURNAL_PRESSURE_FULL / shard->tail_bytes_max;
    uint64_t frames = (uint64_t)journal->held_frames * 2 * JOURNAL_PRESSURE_FULL / TAIL_FRAMES_MAX;
    return (uint32_t)min_u64(JOURNAL_PRESSURE_FULL, max_u64(memory, frames));
}

/* The block takes nothing more. */
void gather_close(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    struct block *block = writer->gather;
    if (block == NULL) {
        return;
    }
    writer->gather_bytes = writer->gather_used < block->size / 2
                               ? max_u32(GATHER_BYTES_MIN, block->size / 2)
                               : min_u32(GATHER_BYTES_MAX, block->size * 2);
    writer->gather = NULL;
    list_remove(&partition->gather_node);
    block_unref(block);
}

void gather_push(struct partition *partition)
{
    const struct writer *writer = &partition->writer;
    while (writer->unwritten != NULL && writer->unwritten->gathered &&
           writer->unwritten->block != writer->gather &&
           writeback_chunk(partition, GATHER_BYTES_MAX, 0)) {
    }
}

/* Blocks that were there at the last tick go out. */
static void gather_tick(struct completion *done)
{
    struct journal *journal = CONTAINER_OF(done, struct journal, gather_timer.done);
    struct list *node = journal->gathering.next;
    while (node != &journal->gathering) {
        struct partition *partition = CONTAINER_OF(node, struct partition, gather_node);
        node = node->next;
        if (partition->writer.gather_old) {
            gather_close(partition);
            gather_push(partition);
        } else {
            partition->writer.gather_old = true;
        }
    }
    if (!list_empty(&journal->gathering)) {
        timer_start(journal->shard->reactor, &journal->gather_timer, GATHER_MS * NS_PER_MS);
    }
}

void gather_init(struct journal *journal)
{
    list_init(&journal->gathering);
    timer_init(&journal->gather_timer, gather_tick);
}

void gather_stop(struct journal *journal)
{
    timer_stop(journal->shard->reactor, &journal->gather_timer);
}

/* Everything else must be written before more may be staged. */
static void gather_await_disk(struct partition *partition)
{
    struct journal *journal = partition->shard->journal;
    COVER("what was acked at staging waits for the disk");
    if (!list_linked(&partition->journal_wait_node)) {
        list_push_back(&journal->waiting, &partition->journal_wait_node);
    }
    gather_close(partition);
    gather_push(partition);
    writeback_kick(journal);
}

enum gather_answer gather_offer(struct partition *partition, uint32_t frame_bytes, uint32_t *size)
{
    struct shard *shard = partition->shard;
    struct journal *journal = shard->journal;
    struct writer *writer = &partition->writer;
    uint32_t free_bytes = writer->gather == NULL ? 0 : writer->gather->size - writer->gather_used;
    bool full = gather_pressure(shard) >= JOURNAL_PRESSURE_FULL;
    bool frames = journal->held_frames < TAIL_FRAMES_MAX / 2;
    if (tail_room(shard) && frames && free_bytes >= frame_bytes) {
        return GATHER_TAKE; /* It takes no memory that is not held already. */
    }
    if (full) {
        gather_await_disk(partition);
        return GATHER_WAIT;
    }
    gather_close(partition);
    gather_push(partition);
    *size = max_u32(GATHER_BYTES_MIN, writer->gather_bytes);
    while (*size < EXTENT_HEADER_BYTES + frame_bytes) {
        *size *= 2; /* A block has a power of two, and all of it is used. */
    }
    struct block *block = block_acquire(shard->reactor->memory, MEMORY_APPEND, *size);
    if (block == NULL) {
        return GATHER_NO_MEMORY;
    }
    ASSERT(block->size == *size);
    writer->gather = block;
    writer->gather_used = EXTENT_HEADER_BYTES;
    writer->gather_old = false;
    list_push_back(&journal->gathering, &partition->gather_node);
    if (!timer_running(&journal->gather_timer)) {
        timer_start(shard->reactor, &journal->gather_timer, GATHER_MS * NS_PER_MS);
    }
    return GATHER_TAKE;
}

void gather_add(struct partition *partition, struct tail_frame *frame)
{
    struct writer *writer = &partition->writer;
    struct journal *journal = partition->shard->journal;
    ASSERT(frame->block == writer->gather);
    ASSERT(frame->frame_at == writer->gather_used);
    frame->gathered = true;
    journal->held_frames++;
    tail_hold(frame, &journal->held_bytes);
    writer->gather_used += frame->frame_bytes;
    writeback_add(partition, frame);
}

void gather_release(struct tail_frame *frame)
{
    struct journal *journal = frame->partition->shard->journal;
    ASSERT(journal->held_frames > 0);
    journal->held_frames--;
    tail_let_go(frame, &journal->held_bytes);
}

/* The file takes nothing more, and nobody else has them: they may go when others need the place. */
void gather_give_up(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    gather_close(partition);
    while (writer->pinned != NULL && writer->pinned->gathered) {
        struct tail_frame *frame = writer->pinned;
        writeback_drop(partition, frame);
        tail_unpin(frame);
    }
}
