/* See the header. */
#include "net/walrus/next.h"

#include "core/assert.h"
#include "net/conn.h"

enum { NEXT_READ_BYTES = 4096 };

static void next_read(struct walrus_next *next);

/* The last step. */
static void next_answer(struct walrus_next *next)
{
    if (next->room != NULL) {
        block_unref(next->room);
        next->room = NULL;
    }
    next->done(next, next->err);
}

static void next_cursor_done(struct completion *completion)
{
    struct cursor_op *cursor = CONTAINER_OF(completion, struct cursor_op, done);
    struct walrus_next *next = CONTAINER_OF(cursor, struct walrus_next, cursor);
    if (completion->result != OK) {
        next->err = (enum err)completion->result;
    }
    next_answer(next);
}

/* The pieces are home. A client that is gone gets no record: the next one shall. */
static void next_released(struct completion *completion)
{
    struct log_read *read = CONTAINER_OF(completion, struct log_read, done);
    struct walrus_next *next = CONTAINER_OF(read, struct walrus_next, read);
    if (next->moved && next->call->conn->state != CONN_DEAD) {
        cursor_move(next->call->net, &next->cursor, next->position, next_cursor_done);
    } else {
        cursor_leave(next->call->net, &next->cursor, next_cursor_done);
    }
}

static void next_read_again(struct completion *completion)
{
    struct log_read *read = CONTAINER_OF(completion, struct log_read, done);
    next_read(CONTAINER_OF(read, struct walrus_next, read));
}

/* A compressed batch wants a room, or a larger one. False: it is not there now, or never. */
static bool next_find_room(struct walrus_next *next, enum err *err)
{
    struct memory *memory = next->call->net->reactor->memory;
    uint32_t wanted = next->records.room_wanted;
    if (wanted > memory_block_max(memory)) {
        *err = ERR_TOO_LARGE;
        return false;
    }
    struct block *room = block_acquire(memory, call_memory_class(wanted), wanted);
    if (room == NULL) {
        next->call->memory_wanted = wanted;
        *err = ERR_NO_MEMORY;
        return false;
    }
    if (next->room != NULL) {
        block_unref(next->room);
    }
    next->room = room;
    records_lend(&next->records, room->data, wanted);
    return true;
}

/* Looks for the first record at or behind the cursor; begins again where memory was missing. */
static enum err next_find(struct walrus_next *next)
{
    records_begin(&next->records, next->read.pieces, next->read.piece_count, next->position);
    if (next->room != NULL) {
        records_lend(&next->records, next->room->data, next->room->size);
    }
    enum err err;
    while ((err = records_next(&next->records, &next->entry)) == ERR_NO_MEMORY) {
        if (!next_find_room(next, &err)) {
            return err;
        }
    }
    if (err != OK) {
        return err;
    }
    next->position = next->entry.offset;
    err = next->take(next);
    if (err == OK && !next->stay) {
        next->position++;
        next->moved = true;
    }
    return err;
}

void walrus_next_look(struct walrus_next *next)
{
    enum err err = next->read.piece_count == 0 ? OK : next_find(next);
    if (err == ERR_NO_MEMORY) {
        call_await_memory(next->call, next->memory_back);
        return;
    }
    if (err == ERR_NOT_FOUND) {
        /* Nothing but what is not for readers: on behind it. */
        const struct batch *last = &next->records.batch;
        next->position = (uint64_t)last->base_offset + (uint32_t)last->last_offset_delta + 1;
        log_release(&next->read, next_read_again);
        return;
    }
    next->err = err;
    log_release(&next->read, next_released);
}

/* Records below the log's start are gone; a log that ends below the cursor has lost its end. */
static bool next_back_in_range(struct walrus_next *next)
{
    uint64_t position =
        next->position < next->read.log_start ? next->read.log_start : next->read.high_watermark;
    bool changed = position != next->position;
    next->position = position;
    return changed;
}

static void next_read_done(struct completion *completion)
{
    struct log_read *read = CONTAINER_OF(completion, struct log_read, done);
    struct walrus_next *next = CONTAINER_OF(read, struct walrus_next, read);
    enum err err = (enum err)completion->result;
    next->reading = false;
    if (err == ERR_OFFSET_RANGE && next_back_in_range(next)) {
        log_release(read, next_read_again);
        return;
    }
    if (err != OK) {
        next->err = err;
        log_release(read, next_released);
        return;
    }
    walrus_next_look(next);
}

static void next_read(struct walrus_next *next)
{
    next->read.partition = next->cursor.partition;
    next->read.offset = next->position;
    next->read.bytes_max = NEXT_READ_BYTES;
    next->read.wait_ms = 0;
    next->reading = true;
    log_read(next->call->net, &next->read, next_read_done);
    if (next->call->canceled) {
        log_cancel(&next->read);
    }
}

static void next_taken(struct completion *completion)
{
    struct cursor_op *cursor = CONTAINER_OF(completion, struct cursor_op, done);
    struct walrus_next *next = CONTAINER_OF(cursor, struct walrus_next, cursor);
    if (completion->result != OK) {
        next->err = (enum err)completion->result;
        next_answer(next);
        return;
    }
    next->position = cursor->position;
    next_read(next);
}

void walrus_next_start(struct walrus_next *next, const struct partition_id *id)
{
    cursor_take(next->call->net, &next->cursor, id, next_taken);
}

void walrus_next_cancel(struct walrus_next *next)
{
    if (next->reading) {
        log_cancel(&next->read);
    }
}
