/* The superblock of an open directory changes: both slots, one after the other, are written and
 * durable before anybody is told. */
#include "shard/directory_internal.h"

#include "core/assert.h"

#include <string.h>

void directory_write_slot(struct directory *directory, uint32_t slot, enum directory_state state)
{
    uint8_t *at = directory->block->data;
    superblock_encode(&directory->super, at);
    io_write(&directory->io, directory->super_fd, at, SUPERBLOCK_BYTES,
             (uint64_t)slot * SUPERBLOCK_BYTES, IO_WRITE_DURABLE);
    directory_go(directory, state);
}

/* An error stays: a file whose write failed takes no more. */
void directory_updated(struct directory *directory, enum err err)
{
    directory->err = err;
    directory->updating = false;
    directory->state = DIRECTORY_DONE;
    if (directory->reserved != NULL && err == OK) {
        *directory->reserved = directory->segment_next;
    }
    directory->reserved = NULL;
    completion_fire(directory->reactor, directory->done, err);
}

/* Writes the superblock as it is now into both slots. */
static void directory_update(struct directory *directory, struct completion *done)
{
    ASSERT(!directory_reads(directory));
    directory->done = done;
    directory->updating = true;
    directory_write_slot(directory, 0, DIRECTORY_WRITE_FIRST);
}

void directory_join_cluster(struct directory *directory, const uint8_t cluster_id[16],
                            struct completion *done)
{
    ASSERT(directory->state == DIRECTORY_DONE);
    if (directory->err != OK || memcmp(directory->super.cluster_id, cluster_id, 16) == 0) {
        completion_fire(directory->reactor, done, directory->err);
        return;
    }
    memcpy(directory->super.cluster_id, cluster_id, 16);
    directory_update(directory, done);
}

void directory_adopted(struct directory *directory, struct completion *done)
{
    ASSERT(directory->state == DIRECTORY_DONE);
    if (directory->err != OK || (directory->super.flags & SUPERBLOCK_ADOPTING) == 0) {
        completion_fire(directory->reactor, done, directory->err);
        return;
    }
    directory->super.flags &= ~SUPERBLOCK_ADOPTING;
    directory_update(directory, done);
}

void directory_reserve(struct directory *directory, uint32_t count, uint64_t *first,
                       struct completion *done)
{
    ASSERT(directory->state == DIRECTORY_DONE && count > 0);
    if (directory->err != OK) {
        completion_fire(directory->reactor, done, directory->err);
        return;
    }
    directory->segment_next = directory->super.next_segment;
    directory->super.next_segment += count;
    directory->reserved = first;
    directory_update(directory, done);
}
