/* The tail cache: the blocks of recent commits, as they were written. A frame is found by its
 * offset, newest first; the oldest goes first when the cache is full or the core's memory runs dry.
 * A frame that is still being written stays: it is the only copy. */
#include "core/assert.h"
#include "shard/shard_internal.h"

void tail_init(struct shard *shard)
{
    struct memory_stats stats;
    memory_stats(shard->reactor->memory, &stats);
    /* A quarter of the core: half of what appends can count on. */
    shard->tail_bytes_max = stats.limit_bytes / 4;
    list_init(&shard->tail);
    list_init(&shard->tail_free);
    for (uint32_t i = 0; i < TAIL_FRAMES_MAX; i++) {
        list_push_back(&shard->tail_free, &shard->tail_frames[i].in_shard);
    }
}

void tail_drop(struct tail_frame *frame)
{
    struct shard *shard = frame->partition->shard;
    ASSERT(frame->block != NULL);
    ASSERT(shard->tail_bytes >= frame->block->size);
    shard->tail_bytes -= frame->block->size;
    struct block *block = frame->block;
    frame->block = NULL;
    list_remove(&frame->in_partition);
    list_remove(&frame->in_shard);
    list_push_back(&shard->tail_free, &frame->in_shard);
    block_unref(block);
}

/* Drops the oldest frame that is written; its size, or 0 if there is none. */
static uint64_t tail_drop_oldest(struct shard *shard)
{
    struct list *entry;
    list_for_each (entry, &shard->tail) {
        struct tail_frame *frame = CONTAINER_OF(entry, struct tail_frame, in_shard);
        if (!frame->in_flight) {
            uint64_t size = frame->block->size;
            tail_drop(frame);
            return size;
        }
    }
    return 0;
}

void tail_trim(struct shard *shard)
{
    while (shard->tail_bytes > shard->tail_bytes_max && tail_drop_oldest(shard) > 0) {
    }
}

bool tail_reclaim(void *context, uint64_t bytes)
{
    struct shard *shard = context;
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

/* Takes over the reference of `block`. NULL: every frame is being written. */
struct tail_frame *tail_add(struct shard *shard, struct partition *partition, struct block *block)
{
    struct list *entry = list_pop_front(&shard->tail_free);
    if (entry == NULL) {
        if (tail_drop_oldest(shard) == 0) {
            return NULL;
        }
        entry = list_pop_front(&shard->tail_free);
        ASSERT(entry != NULL);
    }
    struct tail_frame *frame = CONTAINER_OF(entry, struct tail_frame, in_shard);
    *frame = (struct tail_frame){.block = block, .partition = partition, .in_flight = true};
    list_init(&frame->in_partition);
    list_push_back(&shard->tail, &frame->in_shard);
    list_push_back(&partition->tail, &frame->in_partition);
    shard->tail_bytes += block->size;
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
