/* From the journal to the files: what is pinned is written back in large writes, paced so that the
 * commit path does not feel it, oldest first so that the journal's tail moves.
 *
 *     pressure below 1/4   a byte per byte journaled, and whole chunks only
 *     from there to 1/2    rising to two, and whatever is oldest
 *     above 3/4            no limit
 *
 * Nor is there one while a commit waits for memory: what is pinned may be all that there is. When
 * the journal has failed everything goes at once, acked or not: acks come from the files. */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

enum {
    CHUNK_BYTES_MIN = 16 << 10,
    CHUNK_BYTES_MAX = 256 << 10,
    CHUNKS = 2,
    CHUNKS_MANY = 8, /* From MANY partitions on. */
    MANY = 500,
    ALLOWANCE_MAX = 8 << 20,
    PRESSURE = 1024,
    BLOCK_BYTES_MAX = 1 << 20,
};

/* Of an open segment whose file still takes writes, and is not about to go. */
static bool writeback_wanted(const struct partition *partition)
{
    return partition->writer.unwritten != NULL && !partition->writer.failed &&
           !partition->dropping && partition_open_segment(partition) != NULL;
}

void writeback_add(struct partition *partition, struct tail_frame *frame)
{
    struct writer *writer = &partition->writer;
    struct journal *journal = partition->shard->journal;
    if (writer->unwritten == NULL) {
        writer->unwritten = frame;
    }
    writer->unwritten_bytes += frame->frame_bytes;
    writer->unwritten_blocks += extent_frame_blocks(frame->frame_bytes);
    if (!list_linked(&partition->behind_node)) {
        list_push_back(&journal->behind, &partition->behind_node);
        journal->behind_count++;
    }
}

void writeback_leave(struct partition *partition)
{
    if (list_linked(&partition->behind_node)) {
        list_remove(&partition->behind_node);
        partition->shard->journal->behind_count--;
    }
}

/* The frame is on its way to the file, or of no use; a no-op if it was before. */
void writeback_drop(struct partition *partition, struct tail_frame *frame)
{
    struct writer *writer = &partition->writer;
    if (writer->unwritten == NULL || frame->offset_first < writer->unwritten->offset_first) {
        return;
    }
    ASSERT(writer->unwritten_bytes >= frame->frame_bytes);
    writer->unwritten_bytes -= frame->frame_bytes;
    writer->unwritten_blocks -= extent_frame_blocks(frame->frame_bytes);
    if (writer->unwritten == frame) {
        struct list *next = frame->in_partition.next;
        writer->unwritten =
            next == &partition->tail ? NULL : CONTAINER_OF(next, struct tail_frame, in_partition);
    }
    if (writer->unwritten == NULL) {
        writeback_leave(partition);
    }
}

void writeback_allow(struct journal *journal, uint64_t bytes)
{
    uint32_t p = journal_pressure(journal);
    uint64_t factor = PRESSURE; /* Of PRESSURE. */
    if (p > PRESSURE / 4) {
        factor += min_u64(PRESSURE, (uint64_t)(p - PRESSURE / 4) * 4);
    }
    journal->allowance = min_u64(ALLOWANCE_MAX, journal->allowance + bytes * factor / PRESSURE);
    writeback_kick(journal);
}

static uint64_t writeback_chunk_bytes(const struct journal *journal)
{
    uint64_t share = journal->size / 2 / (2 * max_u64(1, journal->behind_count));
    return max_u64(CHUNK_BYTES_MIN, min_u64(CHUNK_BYTES_MAX, share));
}

static uint32_t writeback_chunks_max(const struct journal *journal, uint32_t pressure)
{
    uint32_t chunks = journal->behind_count >= MANY ? CHUNKS_MANY : CHUNKS;
    return chunks * (pressure > PRESSURE * 3 / 4 ? 4 : pressure > PRESSURE / 2 ? 2 : 1);
}

/* Frames that are acked, from the first unwritten one on: their bytes up to `limit`. */
static uint64_t writeback_ready(const struct partition *partition, uint64_t limit)
{
    const struct writer *writer = &partition->writer;
    const struct journal *journal = partition->shard->journal;
    uint64_t bytes = 0;
    struct tail_frame *frame = writer->unwritten;
    while (frame != NULL && bytes < limit) {
        bool acked = frame->offset_end <= partition->high_watermark;
        if (!acked && !journal->failed && !writer->failed) {
            break;
        }
        bytes += frame->frame_bytes;
        struct list *next = frame->in_partition.next;
        frame =
            next == &partition->tail ? NULL : CONTAINER_OF(next, struct tail_frame, in_partition);
    }
    return bytes;
}

/* There was no memory: all try again. */
static void writeback_memory(struct completion *done)
{
    struct journal *journal = CONTAINER_OF(done, struct journal, memory.done);
    struct list *node;
    journal->memory_waits = false;
    list_for_each (node, &journal->behind) {
        commit_poke(CONTAINER_OF(node, struct partition, behind_node));
    }
    writeback_kick(journal);
    shard_leave(journal->shard, NULL);
}

static void writeback_await_memory(struct journal *journal, uint32_t size)
{
    COVER("a chunk waits for memory");
    if (journal->memory_waits) {
        return;
    }
    journal->memory_waits = true;
    journal->memory.size = size;
    journal->memory.class = MEMORY_RECOVERY;
    completion_init(&journal->memory.done, writeback_memory);
    shard_enter(journal->shard, NULL);
    memory_await(journal->shard->reactor->memory, journal->shard->reactor, &journal->memory);
}

/* A block that stands as it will in the file: all of it, where it is. */
static void writeback_gathered(struct partition *partition)
{
    struct reactor *reactor = partition->shard->reactor;
    struct block *block = block_ref(partition->writer.unwritten->block);
    struct extent_write *extent = extent_begin(partition);
    uint32_t used = extent_take(extent, block);
    stats_add(&reactor->stats, STAT_WRITEBACK_CHUNKS, 1);
    stats_add(&reactor->stats, STAT_WRITEBACK_BYTES, used);
    extent_submit(extent, block, used);
}

bool writeback_chunk(struct partition *partition, uint64_t limit, uint64_t after)
{
    struct reactor *reactor = partition->shard->reactor;
    struct writer *writer = &partition->writer;
    if (!writeback_wanted(partition)) {
        return false;
    }
    milestone_pump(partition, after);
    if (!extent_room(partition) || writer->unwritten->offset_first >= milestone_limit(partition)) {
        return false;
    }
    const struct tail_frame *first = writer->unwritten;
    if (first->gathered && first->frame_at == EXTENT_HEADER_BYTES) {
        writeback_gathered(partition);
        return true;
    }
    uint64_t size = max_u64(limit, first->frame_bytes);
    size = min_u64(size, writer->unwritten_bytes) + EXTENT_HEADER_BYTES;
    size = align_up(size, DISK_BLOCK_BYTES);
    struct block *block = block_acquire(reactor->memory, MEMORY_RECOVERY, (uint32_t)size);
    if (block == NULL) {
        writeback_await_memory(partition->shard->journal, (uint32_t)size);
        return false;
    }
    struct extent_write *extent = extent_begin(partition);
    extent->chunk = true;
    partition->shard->journal->chunks++;
    uint32_t used = extent_fill(extent, block->data, size);
    stats_add(&reactor->stats, STAT_WRITEBACK_CHUNKS, 1);
    stats_add(&reactor->stats, STAT_WRITEBACK_BYTES, used);
    extent_submit(extent, block, used);
    return true;
}

bool writeback_flush(struct partition *partition)
{
    while (writeback_wanted(partition) && writeback_chunk(partition, BLOCK_BYTES_MAX, 0)) {
    }
    flush_group_hurry(partition);
    return extent_idle(partition) && !writeback_wanted(partition);
}

/* As much as can be, whatever it is. */
static bool writeback_forced(const struct journal *journal, uint32_t pressure)
{
    return pressure > PRESSURE * 3 / 4 || journal->failed || journal->shard->commits_wait_bytes > 0;
}

/* The next partition to write back, oldest first; NULL: nobody may be. */
static struct partition *writeback_choose(const struct journal *journal, uint32_t pressure)
{
    uint64_t chunk = writeback_chunk_bytes(journal);
    struct list *node;
    list_for_each (node, &journal->behind) {
        struct partition *partition = CONTAINER_OF(node, struct partition, behind_node);
        bool enough = partition->writer.unwritten_bytes >= chunk || pressure > PRESSURE / 4 ||
                      writeback_forced(journal, pressure);
        if (enough && writeback_wanted(partition) && extent_room(partition) &&
            writeback_ready(partition, 1) > 0) {
            return partition;
        }
    }
    return NULL;
}

void writeback_work(struct completion *work)
{
    struct journal *journal = CONTAINER_OF(work, struct journal, writeback_work);
    uint32_t pressure = max_u32(journal_pressure(journal), gather_pressure(journal->shard));
    uint64_t chunk = writeback_chunk_bytes(journal);
    bool forced = writeback_forced(journal, pressure);
    while (journal->chunks < writeback_chunks_max(journal, pressure) &&
           (forced || journal->allowance >= chunk)) {
        struct partition *partition = writeback_choose(journal, pressure);
        if (partition == NULL ||
            !writeback_chunk(partition, min_u64(chunk, writeback_ready(partition, chunk)), 0)) {
            break;
        }
        journal->allowance -= min_u64(journal->allowance, chunk);
        if (list_linked(&partition->behind_node)) { /* The next one's turn. */
            list_remove(&partition->behind_node);
            list_push_back(&journal->behind, &partition->behind_node);
        }
    }
    shard_leave(journal->shard, NULL);
}

void writeback_kick(struct journal *journal)
{
    if (!journal->writeback_work.queued && !list_empty(&journal->behind)) {
        shard_enter(journal->shard, NULL);
        reactor_defer(journal->shard->reactor, TURN_JOURNAL, &journal->writeback_work);
    }
}
