/* Frames that only the journal has, for who may not write them to their file: they stay in memory,
 * pinned, and are served from there. */
#include "core/assert.h"
#include "shard/shard_internal.h"

#include <string.h>

enum err shard_hold(struct shard *shard, const struct partition_id *id, struct bytes bytes)
{
    struct partition *partition = shard_partition(shard, id);
    struct frame_header frame;
    if (partition == NULL || partition->segment_count == 0 || bytes.size < FRAME_HEADER_BYTES ||
        frame_header_decode(bytes.data, &frame) != OK || frame_size(&frame) > bytes.size ||
        bytes.size > memory_block_max(shard->reactor->memory)) {
        return ERR_INVALID;
    }
    struct segment *segment = partition->segments[partition->segment_count - 1];
    struct block *block = block_acquire(shard->reactor->memory, MEMORY_APPEND, bytes.size);
    if (block == NULL || !tail_room(shard)) {
        if (block != NULL) {
            block_unref(block);
        }
        return ERR_NO_MEMORY;
    }
    memcpy(block->data, bytes.data, bytes.size);
    struct tail_frame *held = tail_add(shard, partition, block);
    ASSERT(held != NULL);
    uint32_t table = frame.batches * (uint32_t)FRAME_ROW_BYTES;
    held->offset_first = frame.offset_first;
    held->offset_end = frame.offset_first + frame.records;
    held->frame_bytes = bytes.size;
    held->data_at = (uint32_t)FRAME_HEADER_BYTES + table;
    held->data_size = frame.body_bytes - table;
    segment->file_end = min_u64(segment->file_end, frame.offset_first);
    return OK;
}
