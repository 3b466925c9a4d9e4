/* See the header. */
#include "net/resp/read_chunk.h"

#include "core/assert.h"
#include "core/cover.h"

enum err read_room(struct read *read, uint64_t size, struct read_chunk **chunk)
{
    struct call *call = read->op->call;
    struct memory *memory = call->net->reactor->memory;
    uint32_t bytes = READ_CHUNK_BYTES_MIN;
    if (read->chunk_count > 0) {
        struct read_chunk *last = &read->chunks[read->chunk_count - 1];
        uint32_t room = read->reverse ? last->first : last->size - last->end;
        if (last->item == read->item && room >= size) {
            *chunk = last;
            return OK;
        }
        bytes = min_u32(last->size * 4, READ_CHUNK_BYTES_MAX);
    }
    if (read->chunk_count == READ_CHUNKS_MAX || size > memory_block_max(memory)) {
        return ERR_LIMIT;
    }
    bytes = max_u32(bytes, (uint32_t)align_up(size, READ_CHUNK_BYTES_MIN));
    struct block *block = block_acquire(memory, call_memory_class(bytes), bytes);
    if (block == NULL) {
        call->memory_wanted = bytes;
        return ERR_NO_MEMORY;
    }
    uint32_t at = read->reverse ? bytes : 0;
    *chunk = &read->chunks[read->chunk_count++];
    **chunk = (struct read_chunk){
        .block = block, .size = bytes, .first = at, .end = at, .item = read->item};
    return OK;
}

void read_add_chunks(struct read *read, uint32_t item)
{
    struct call *call = read->op->call;
    for (uint32_t i = 0; i < read->chunk_count; i++) {
        uint32_t at = read->reverse ? read->chunk_count - 1 - i : i;
        const struct read_chunk *chunk = &read->chunks[at];
        if (chunk->item == item && chunk->end > chunk->first) {
            call->vectors[call->vector_count++] =
                (struct iovec){.iov_base = chunk->block->data + chunk->first,
                               .iov_len = chunk->end - chunk->first};
        }
    }
}

void read_sent(struct resp_op *op)
{
    struct read *read = op->state;
    for (uint32_t i = 0; i < read->chunk_count; i++) {
        block_unref(read->chunks[i].block);
    }
    read->chunk_count = 0;
    read_unpark(read);
    resp_over(op);
}

/* In the step after that all chunks are one. */
static void read_anew(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    struct resp_op *op = call->state;
    struct read *read = op->state;
    struct memory *memory = call->net->reactor->memory;
    uint32_t bytes = call->memory_wanted;
    struct block *block = NULL;
    ASSERT(read->state == READ_ANEW && read->chunk_count == 0);
    if (!read_is_void(read)) {
        block = block_acquire(memory, call_memory_class(bytes), bytes);
        if (block == NULL) {
            call_await_memory(call, read_anew);
            return;
        }
        uint32_t at = read->reverse ? bytes : 0;
        read->chunks[read->chunk_count++] =
            (struct read_chunk){.block = block, .size = bytes, .first = at, .end = at};
    }
    read->state = READ_IDLE;
    read_start(read);
}

/* Gives back all that it holds; false: more than all of it at once there cannot be. */
bool read_give_up(struct read *read)
{
    struct call *call = read->op->call;
    uint32_t most = memory_block_max(call->net->reactor->memory);
    uint64_t held = 0;
    for (uint32_t i = 0; i < read->chunk_count; i++) {
        held += read->chunks[i].size;
    }
    if (!read->anew || held >= most) {
        return false;
    }
    COVER("a range is read anew for want of memory");
    ASSERT(read->item_count == 1 && read->items[0].ids == NULL);
    for (uint32_t i = 0; i < read->chunk_count; i++) {
        block_unref(read->chunks[i].block);
    }
    read->chunk_count = 0;
    read->items[0].entries = 0;
    read->items[0].placed = false;
    call->memory_wanted = (uint32_t)min_u64(max_u64(2 * held, held + call->memory_wanted), most);
    return true;
}

void read_await_anew(struct read *read)
{
    read->state = READ_ANEW;
    call_await_memory(read->op->call, read_anew);
}
