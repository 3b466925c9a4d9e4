/* The memory of a core, and the taking and giving back of all of it. */
#pragma once

#include "core/memory.h"

/* Memory of `limit_bytes` on no NUMA node of its own; never NULL. The caller closes it. */
struct memory *open_memory(uint64_t limit_bytes);

/* Takes blocks of `size` bytes until none comes, into `blocks` from `*count` on, which is advanced.
 * Returns how many bytes they have. */
uint64_t take_all(struct memory *memory, enum memory_class class, uint32_t size,
                  struct block **blocks, uint32_t *count);

/* Gives back the `*count` blocks, the last one first. */
void give_all(struct block **blocks, uint32_t *count);
