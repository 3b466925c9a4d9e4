/* The tail cache: the blocks of recent commits, as they were written. A frame is found by its
 * offset, newest first; the oldest goes first when the cache is full or the core's memory runs dry.
 * A frame that is not in its file yet is pinned: it is the only copy in memory. */
#include "core/assert.h"
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

void tail_drop(struct tail_frame *frame)
{
    struct shard *shard = frame->partition->shard;
    ASSERT(frame->block != NULL);
    ASSERT(shard->tail_bytes >= frame->charge);
    if (frame->pinned) {
        writeback_drop(frame->partition, frame);
        tail_release(frame);
    }
    shard->tail_bytes -= frame->charge;
    struct block *block = frame->block;
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

/* Drops the oldest frame that may go; its size, or 0 if there is none. */
static uint64_t tail_drop_oldest(struct shard *shard)
{
    if (list_empty(&shard->tail)) {
        return 0;
    }
    struct tail_frame *frame = CONTAINER_OF(shard->tail.next, struct tail_frame, in_shard);
    uint64_t size = frame->charge;
    tail_drop(frame);
    return size;
}

void tail_trim(struct shard *shard)
{
    while (shard->tail_bytes > shard->tail_bytes_max && tail_drop_oldest(shard) > 0) {
    }
}

bool tail_reclaim(struct shard *shard, uint64_t bytes)
{
    uint64_t freed = 0;
    while (freed < bytes) {
        uint64_t size = tail_drop_oldest(shard);
        if (size == 0) {
            break;
        }
        freed += size;
    }
    return freed > 0;
}

/* A frame that is not used; NULL: every one is pinned. */
static struct tail_frame *tail_take(struct shard *shard)
{
    if (list_empty(&shard->tail_free) && shard->tail_frames_used < TAIL_FRAMES_MAX) {
        return &shard->tail_frames[shard->tail_frames_used++];
    }
    if (list_empty(&shard->tail_free) && tail_drop_oldest(shard) == 0) {
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
struct tail_frame *tail_add(struct shard *shard, struct partition *partition, struct block *block,
                            uint32_t charge)
{
    struct tail_frame *frame = tail_take(shard);
    if (frame == NULL) {
        return NULL;
    }
    *frame = (struct tail_frame){
        .block = block, .partition = partition, .pinned = true, .charge = charge};
    list_init(&frame->in_partition);
    list_init(&frame->in_shard);
    list_push_back(&shard->tail_pinned, &frame->in_shard);
    list_push_back(&partition->tail, &frame->in_partition);
    shard->tail_bytes += charge;
    if (partition->writer.pinned == NULL) {
        partition->writer.pinned = frame;
    }
    return frame;
}

void tail_charge(struct tail_frame *frame, uint32_t more)
{
    struct shard *shard = frame->partition->shard;
    frame->charge += more;
    shard->tail_bytes += more;
    if (frame->pinned && frame->gathered) {
        shard->journal->held_bytes += more;
    }
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
