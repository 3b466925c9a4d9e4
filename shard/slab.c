/* Small frames of a partition that are on their way into the journal share blocks: a frame of some
 * hundred bytes would else hold a block of its own until its file has it. */
#include "shard/shard_internal.h"

enum {
    SLAB_BYTES_MIN = 4 << 10,
    SLAB_BYTES_MAX = 16 << 10, /* All of it counts as held, however little it has. */
};

void commit_end_slab(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    if (writer->slab != NULL) {
        block_unref(writer->slab);
        writer->slab = NULL;
    }
}

/* Room in a block that the partition's small frames share, each block larger than the one before;
 * a reference. NULL: the frame has one of its own. */
struct block *commit_slab(struct partition *partition, uint32_t frame_bytes)
{
    struct writer *writer = &partition->writer;
    uint32_t size = SLAB_BYTES_MIN;
    if (frame_bytes > SLAB_BYTES_MIN) {
        return NULL;
    }
    if (writer->slab != NULL) {
        if (writer->slab->size - writer->slab_used >= frame_bytes) {
            return block_ref(writer->slab);
        }
        size = min_u32(SLAB_BYTES_MAX, writer->slab->size * 2);
        commit_end_slab(partition);
    }
    writer->slab = block_acquire(partition->shard->reactor->memory, MEMORY_APPEND, size);
    writer->slab_used = 0;
    return writer->slab == NULL ? NULL : block_ref(writer->slab);
}
