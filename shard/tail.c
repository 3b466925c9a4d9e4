/* The tail cache: the blocks of recent commits, as they were written. A frame is found by its
 * offset, newest first; the oldest goes first when the cache is full or the core's memory runs dry.
 * A frame that is not in its file yet is pinned: it is the only copy in memory. What counts is
 * whole blocks, from their first frame to the last one: a block of one frame takes as much memory
 * as one that is full. */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

void tail_init(struct shard *shard)
{
    struct memory_stats stats;
    memory_stats(shard->reactor->memory, &stats);
    /* A quarter of the core: half of what appends can count on. */
    shard->tail_bytes_max = stats.limit_bytes / 4;
    list_init(&shard->tail);
    list_init(&shard->tail_pinned);
    list_init(&shard->tail_free);
}

/* Out of what is written back, and out of its block of the journal. */
static void tail_release(struct tail_frame *frame)
{
    struct partition *partition = frame->partition;
    struct writer *writer = &partition->writer;
    if (writer->pinned == frame) {
        struct list *next = frame->in_partition.next;
        writer->pinned =
            next == &partition->tail ? NULL : CONTAINER_OF(next, struct tail_frame, in_partition);
    }
    if (frame->journal_seq != 0) {
        journal_unpin(partition->shard->journal, frame);
    } else if (frame->gathered) {
        gather_release(frame);
    }
    frame->pinned = false;
}

void tail_hold(struct tail_frame *frame, uint64_t *held)
{
    ASSERT(!frame->counted);
    frame->counted = true;
    *held += frame->block->parts_held++ == 0 ? frame->block->size : 0;
}

void tail_let_go(struct tail_frame *frame, uint64_t *held)
{
    ASSERT(frame->counted);
    ASSERT(frame->block->parts_held > 0);
    frame->counted = false;
    if (--frame->block->parts_held == 0) {
        ASSERT(*held >= frame->block->size);
        *held -= frame->block->size;
    }
}

/* It has no frame any more. Whoever puts the next ones into it begins another: it would be held,
 * and count nowhere. */
static void tail_end_block(struct partition *partition, const struct block *block)
{
    struct shard *shard = partition->shard;
    ASSERT(block->parts_held == 0);
    ASSERT(shard->tail_bytes >= block->size);
    shard->tail_bytes -= block->size;
    if (partition->writer.slab == block) {
        commit_end_slab(partition);
    }
    if (partition->writer.gather == block) {
        gather_close(partition);
    }
}

void tail_drop(struct tail_frame *frame)
{
    struct shard *shard = frame->partition->shard;
    struct block *block = frame->block;
    ASSERT(block != NULL);
    ASSERT(block->parts > 0);
    if (frame->pinned) {
        writeback_drop(frame->partition, frame);
        tail_release(frame);
    }
    if (--block->parts == 0) {
        tail_end_block(frame->partition, block);
    }
    frame->block = NULL;
    list_remove(&frame->in_partition);
    list_remove(&frame->in_shard);
    list_push_back(&shard->tail_free, &frame->in_shard);
    block_unref(block);
}

void tail_drop_below(struct partition *partition, uint64_t offset)
{
    while (!list_empty(&partition->tail)) {
        struct tail_frame *frame =
            CONTAINER_OF(partition->tail.next, struct tail_frame, in_partition);
        if (frame->offset_end > offset) {
            break;
        }
        tail_drop(frame);
    }
}

void tail_unpin(struct tail_frame *frame)
{
    struct shard *shard = frame->partition->shard;
    ASSERT(frame->pinned);
    tail_release(frame);
    list_remove(&frame->in_shard);
    list_push_back(&shard->tail, &frame->in_shard);
}

/* Drops the oldest frame that may go; false: there is none. */
static bool tail_drop_oldest(struct shard *shard)
{
    if (list_empty(&shard->tail)) {
        return false;
    }
    tail_drop(CONTAINER_OF(shard->tail.next, struct tail_frame, in_shard));
    return true;
}

bool tail_reclaim(struct shard *shard, uint64_t bytes)
{
    uint64_t before = shard->tail_bytes;
    while (before - shard->tail_bytes < bytes && tail_drop_oldest(shard)) {
    }
    return shard->tail_bytes < before;
}

void tail_trim(struct shard *shard)
{
    while (shard->tail_bytes > shard->tail_bytes_max && tail_drop_oldest(shard)) {
    }
    if (shard->commits_wait_bytes > 0) {
        COVER("what is written makes room for commits that wait for memory");
        (void)tail_reclaim(shard, shard->commits_wait_bytes);
    }
}

/* A frame that is not used; NULL: every one is pinned. */
static struct tail_frame *tail_take(struct shard *shard)
{
    if (list_empty(&shard->tail_free) && shard->tail_frames_used < TAIL_FRAMES_MAX) {
        return &shard->tail_frames[shard->tail_frames_used++];
    }
    if (list_empty(&shard->tail_free) && !tail_drop_oldest(shard)) {
        return NULL;
    }
    return CONTAINER_OF(list_pop_front(&shard->tail_free), struct tail_frame, in_shard);
}

bool tail_room(const struct shard *shard)
{
    return !list_empty(&shard->tail_free) || shard->tail_frames_used < TAIL_FRAMES_MAX ||
           !list_empty(&shard->tail);
}

/* Takes over a reference of `block`. The frame is pinned. NULL: every frame is. */
struct tail_frame *tail_add(struct shard *shard, struct partition *partition, struct block *block)
{
    struct tail_frame *frame = tail_take(shard);
    if (frame == NULL) {
        return NULL;
    }
    *frame = (struct tail_frame){.block = block, .partition = partition, .pinned = true};
    list_init(&frame->in_partition);
    list_init(&frame->in_shard);
    list_push_back(&shard->tail_pinned, &frame->in_shard);
    list_push_back(&partition->tail, &frame->in_partition);
    shard->tail_bytes += block->parts++ == 0 ? block->size : 0;
    if (partition->writer.pinned == NULL) {
        partition->writer.pinned = frame;
    }
    return frame;
}

struct tail_frame *tail_find(struct partition *partition, uint64_t offset)
{
    for (struct list *at = partition->tail.prev; at != &partition->tail; at = at->prev) {
        struct tail_frame *frame = CONTAINER_OF(at, struct tail_frame, in_partition);
        if (frame->offset_first <= offset) {
            return offset < frame->offset_end ? frame : NULL;
        }
    }
    return NULL;
}

struct tail_frame *tail_next(struct partition *partition, const struct tail_frame *frame)
{
    if (frame->in_partition.next == &partition->tail) {
        return NULL;
    }
    struct tail_frame *next =
        CONTAINER_OF(frame->in_partition.next, struct tail_frame, in_partition);
    /* A frame is missing when the cache was full. */
    return next->offset_first == frame->offset_end ? next : NULL;
}

const uint8_t *tail_rows(const struct tail_frame *frame)
{
    return frame->block->data + frame->frame_at + FRAME_HEADER_BYTES;
}
