/* See the header. */
#include "tests/unit/core/memory_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct memory *open_memory(uint64_t limit_bytes)
{
    struct memory *memory = NULL;
    struct memory_options options = {.limit_bytes = limit_bytes, .numa_node = -1};
    assert_int_equal(memory_open(&memory, &options), OK);
    assert_non_null(memory);
    return memory;
}

uint64_t take_all(struct memory *memory, enum memory_class class, uint32_t size,
                  struct block **blocks, uint32_t *count)
{
    uint64_t bytes = 0;
    struct block *block;
    while ((block = block_acquire(memory, class, size)) != NULL) {
        blocks[(*count)++] = block;
        bytes += block->size;
    }
    return bytes;
}

void give_all(struct block **blocks, uint32_t *count)
{
    while (*count > 0) {
        block_unref(blocks[--*count]);
    }
}
