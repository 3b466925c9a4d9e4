/* Memory of one call: an arena that is asked for once, and the room of its reply. */
#include "core/assert.h"
#include "net/server.h"

#include <string.h>

enum {
    CALL_ALIGN = 16,
    CALL_REPLY_SPARE = 512, /* Small replies fit behind what the call remembers. */
};

/* What tells of a server whose replies nobody reads must not wait behind them. So that who asks for
 * that and does not read leaves something to others, it does not where the class is scarce. */
static enum memory_class call_class(const struct call *call, uint64_t size)
{
    bool told = call->told && !memory_scarce(call->net->reactor->memory, MEMORY_CALL);
    return told ? MEMORY_CALL : call_memory_class(size);
}

/* A block of `size`, or what stands in the way. */
static enum err call_block(struct call *call, uint64_t size, struct block **block)
{
    struct memory *memory = call->net->reactor->memory;
    if (size > memory_block_max(memory)) {
        return ERR_TOO_LARGE;
    }
    *block = block_acquire(memory, call_class(call, size), (uint32_t)size);
    if (*block == NULL) {
        call->memory_wanted = (uint32_t)size;
        return ERR_NO_MEMORY;
    }
    return OK;
}

enum err call_arena(struct call *call, uint64_t size)
{
    ASSERT(call->arena == NULL);
    size = align_up(size + CALL_REPLY_SPARE, BLOCK_SIZE_MIN);
    enum err err = call_block(call, size, &call->arena);
    if (err == OK) {
        call->arena_size = (uint32_t)size;
        call->arena_used = 0;
    }
    return err;
}

void *call_take_part(struct call *call, uint64_t size, uint64_t zeroed)
{
    ASSERT(zeroed <= size);
    size = align_up(size, CALL_ALIGN);
    ASSERT(call->arena != NULL);
    ASSERT(size <= call->arena_size - call->arena_used);
    void *taken = call->arena->data + call->arena_used;
    if (zeroed > 0) {
        memset(taken, 0, (size_t)zeroed);
    }
    call->arena_used += (uint32_t)size;
    return taken;
}

void *call_take(struct call *call, uint64_t size)
{
    return call_take_part(call, size, size);
}

enum err call_reply_room(struct call *call, uint64_t size, uint8_t **data)
{
    ASSERT(call->reply_block == NULL);
    ASSERT(size > 0);
    if (call->arena != NULL && size <= call->arena_size - call->arena_used) {
        *data = call->arena->data + call->arena_used;
        return OK;
    }
    enum err err = call_block(call, size, &call->reply_block);
    if (err == OK) {
        *data = call->reply_block->data;
    }
    return err;
}

void call_await_memory(struct call *call, completion_fn *fn)
{
    completion_init(&call->waiter.done, fn);
    call->waiter.size = call->memory_wanted;
    call->waiter.class = call_class(call, call->memory_wanted);
    memory_await(call->net->reactor->memory, call->net->reactor, &call->waiter);
}

void call_reply_bytes(struct call *call, uint8_t *data, uint32_t size)
{
    call->vector_one = (struct iovec){.iov_base = data, .iov_len = size};
    call->vectors = &call->vector_one;
    call->vector_count = 1;
    call_reply(call);
}
