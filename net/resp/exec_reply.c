/* See the header. */
#include "net/resp/exec_reply.h"

#include "core/assert.h"
#include "core/cover.h"
#include "net/protocol.h"

#include <string.h>

enum {
    EXEC_HEAD_BYTES = 32,
    EXEC_BLOCK_BYTES_MIN = 4 << 10,
    EXEC_BLOCK_BYTES_MAX = 256 << 10,
};

/* The next one begins at `at`. */
static void reply_piece(struct exec_reply *reply, uint8_t *at, uint64_t room)
{
    ASSERT(reply->piece_count < ARRAY_COUNT(reply->pieces));
    reply->at = at;
    reply->room = room;
    reply->pieces[reply->piece_count++] = (struct iovec){.iov_base = at};
}

static void reply_took(struct exec_reply *reply, uint64_t size)
{
    ASSERT(size <= reply->room);
    reply->pieces[reply->piece_count - 1].iov_len += (size_t)size;
    reply->at += size;
    reply->room -= size;
}

/* A block of its own for `size` bytes; false: there is none, or there are as many as may be. */
static bool reply_grow(struct exec_reply *reply, struct memory *memory, uint64_t size)
{
    uint64_t last = reply->block_count == 1 ? 0 : reply->blocks[reply->block_count - 1]->size;
    uint64_t bytes = min_u64(max_u64(last * 4, EXEC_BLOCK_BYTES_MIN), EXEC_BLOCK_BYTES_MAX);
    bytes = max_u64(bytes, align_up(size, BLOCK_SIZE_MIN));
    if (reply->short_of_memory || reply->block_count == EXEC_BLOCKS_MAX ||
        reply->bytes + bytes > EXEC_REPLY_BYTES_MAX || bytes > memory_block_max(memory)) {
        return false;
    }
    if (reply->shared != NULL && *reply->shared + bytes > reply->shared_max) {
        return false;
    }
    struct block *block = block_acquire(memory, call_memory_class(bytes), (uint32_t)bytes);
    if (block == NULL) {
        return false;
    }
    if (reply->shared != NULL) {
        *reply->shared += bytes;
    }
    if (reply->reserve) {
        reply->spare = reply->at;
        reply->spare_room = reply->room;
        reply->reserve = false;
    }
    reply->blocks[reply->block_count++] = block;
    reply->bytes += bytes;
    reply_piece(reply, block->data, bytes);
    return true;
}

/* Whether `size` bytes fit where is written now, and all that may follow as well. */
static bool reply_fits(const struct exec_reply *reply, uint64_t size, uint32_t left)
{
    uint64_t kept = reply->reserve ? (uint64_t)left * EXEC_ANSWER_BYTES : 0;
    return reply->room >= size + kept;
}

/* Room for the reply of one command; NULL: there is none, and EXEC_ANSWER_BYTES are. */
static uint8_t *reply_room(struct exec_reply *reply, struct memory *memory, uint64_t size,
                           uint32_t left)
{
    if (reply_fits(reply, size, left) || reply_grow(reply, memory, size)) {
        return reply->at;
    }
    if (!reply->reserve && reply->room < EXEC_ANSWER_BYTES) {
        COVER("exec goes back to its reserve");
        reply->short_of_memory = true;
        reply->reserve = true;
        reply_piece(reply, reply->spare, reply->spare_room);
    }
    return reply_fits(reply, size, left) ? reply->at : NULL;
}

static void reply_no_room(struct exec_reply *reply)
{
    static const char words[] = "-ERR no memory for this reply, but it was done\r\n";
    _Static_assert(sizeof(words) - 1 <= EXEC_ANSWER_BYTES, "it always fits");
    memcpy(reply->at, words, sizeof(words) - 1);
    reply_took(reply, sizeof(words) - 1);
}

void exec_reply_add(struct exec_reply *reply, struct memory *memory, const struct iovec *vectors,
                    uint32_t count, uint32_t left)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        size += vectors[i].iov_len;
    }
    uint8_t *at = reply_room(reply, memory, size, left);
    if (at == NULL) {
        reply_no_room(reply);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        memcpy(at, vectors[i].iov_base, vectors[i].iov_len);
        at += vectors[i].iov_len;
    }
    reply_took(reply, size);
}

void exec_reply_begin(struct exec_reply *reply, uint32_t count, uint8_t protocol)
{
    struct resp_writer writer = {.data = reply->at, .size = EXEC_HEAD_BYTES, .protocol = protocol};
    resp_write_array(&writer, count);
    reply_took(reply, writer.position);
}

uint32_t exec_reply_reserve_bytes(uint32_t count)
{
    return EXEC_HEAD_BYTES + count * EXEC_ANSWER_BYTES;
}

void exec_reply_share(struct exec_reply *reply, uint64_t *shared, uint64_t shared_max)
{
    reply->shared = shared;
    reply->shared_max = shared_max;
    *shared += reply->bytes;
}

uint32_t exec_reply_open(struct exec_reply *reply, struct memory *memory, uint32_t count)
{
    uint32_t size = exec_reply_reserve_bytes(count);
    struct block *block = block_acquire(memory, call_memory_class(size), size);
    if (block == NULL) {
        return size;
    }
    *reply =
        (struct exec_reply){.blocks[0] = block, .block_count = 1, .bytes = size, .reserve = true};
    reply_piece(reply, block->data, size);
    return 0;
}

void exec_reply_close(struct exec_reply *reply)
{
    for (uint32_t i = 0; i < reply->block_count; i++) {
        block_unref(reply->blocks[i]);
    }
    reply->block_count = 0;
    if (reply->shared != NULL) {
        ASSERT(*reply->shared >= reply->bytes);
        *reply->shared -= reply->bytes;
        reply->shared = NULL;
    }
}
