/* Each allocation has its size in front. */
#include "net/group/memory.h"

#include "core/assert.h"

#include <stdlib.h>
#include <string.h>

enum { GROUP_MEMORY_HEAD = 16 };

void *group_alloc(struct group_memory *memory, uint64_t size)
{
    uint64_t total = align_up(size, GROUP_MEMORY_HEAD) + GROUP_MEMORY_HEAD;
    if (!memory->replaying && memory->used_bytes + total > memory->max_bytes) {
        return NULL;
    }
    uint64_t *head = calloc(1, (size_t)total);
    if (head == NULL) {
        return NULL;
    }
    *head = total;
    memory->used_bytes += total;
    return (uint8_t *)head + GROUP_MEMORY_HEAD;
}

void group_free(struct group_memory *memory, void *at)
{
    if (at == NULL) {
        return;
    }
    void *head = (uint8_t *)at - GROUP_MEMORY_HEAD;
    uint64_t total;
    memcpy(&total, head, sizeof(total));
    ASSERT(memory->used_bytes >= total);
    memory->used_bytes -= total;
    free(head);
}

bool group_copy(struct group_memory *memory, struct bytes bytes, struct bytes *copy)
{
    *copy = (struct bytes){0};
    if (bytes.data == NULL) {
        return true;
    }
    uint8_t *data = group_alloc(memory, bytes.size);
    if (data == NULL) {
        return false;
    }
    if (bytes.size > 0) {
        memcpy(data, bytes.data, bytes.size);
    }
    *copy = bytes_of(data, bytes.size);
    return true;
}

void group_free_copy(struct group_memory *memory, struct bytes *copy)
{
    group_free(memory, (void *)(uintptr_t)copy->data);
    *copy = (struct bytes){0};
}
