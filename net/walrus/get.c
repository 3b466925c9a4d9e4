/* GET: takes the topic's cursor, reads the record there, moves the cursor on; the answer leaves
 * when that is durable.
 *
 *     TAKE -> READ -> a record: copied into the answer -> RETURN (the pieces) -> MOVE -> answer
 *              ^ |    none: LEAVE -> EMPTY;  too large, damaged: LEAVE -> ERR
 *              +-+    below the log's start, or nothing but brokers' batches: on behind them
 *
 * One connection's GETs go one after the other, so it holds the records of one. */
#include "core/assert.h"
#include "net/records.h"
#include "net/walrus/walrus.h"

#include <stdio.h>
#include <string.h>

enum { GET_READ_BYTES = 4096, GET_OK_BYTES = 3 };

struct walrus_get {
    struct call *call;
    struct cursor_op cursor;
    struct log_read read;
    struct records records;
    struct records_entry entry;
    struct block *room; /* What a compressed batch comes out in. */
    uint64_t position;
    enum err err;        /* What is answered, if it is not the record. */
    uint64_t too_large;  /* That record's size; 0: it is not. */
    uint8_t *reply;      /* "OK " and the record behind a length; NULL: there is none. */
    uint32_t reply_size; /* In all. */
    bool reading;
    bool moved; /* The cursor stands where the record is passed by. */
};

static void get_read(struct walrus_get *op);
static void get_look(struct walrus_get *op);

/* The last step; the room for short answers is in the arena. */
static void get_answer(struct walrus_get *op)
{
    struct call *call = op->call;
    enum err err;
    if (op->room != NULL) {
        block_unref(op->room);
        op->room = NULL;
    }
    if (op->err != OK) {
        if (call->reply_block != NULL) {
            block_unref(call->reply_block); /* It holds a record that nobody gets. */
            call->reply_block = NULL;
        }
        walrus_fail(call, op->err);
        return;
    }
    if (op->reply != NULL) {
        call_reply_bytes(call, op->reply, op->reply_size);
        return;
    }
    if (op->too_large > 0) {
        err = walrus_answer_error(call,
                                  "record of %llu bytes at offset %llu is larger than a frame; "
                                  "read it through another protocol",
                                  (unsigned long long)op->too_large,
                                  (unsigned long long)op->position);
    } else {
        err = walrus_answer(call, bytes_text("EMPTY"));
    }
    ASSERT(err == OK);
}

static void get_cursor_done(struct completion *completion)
{
    struct cursor_op *cursor = CONTAINER_OF(completion, struct cursor_op, done);
    struct walrus_get *op = CONTAINER_OF(cursor, struct walrus_get, cursor);
    if (completion->result != OK) {
        op->err = (enum err)completion->result;
    }
    get_answer(op);
}

/* The pieces are home. A client that is gone gets no record: the next one shall. */
static void get_released(struct completion *completion)
{
    struct log_read *read = CONTAINER_OF(completion, struct log_read, done);
    struct walrus_get *op = CONTAINER_OF(read, struct walrus_get, read);
    if (op->moved && op->call->conn->state != CONN_DEAD) {
        cursor_move(op->call->net, &op->cursor, op->position, get_cursor_done);
    } else {
        cursor_leave(op->call->net, &op->cursor, get_cursor_done);
    }
}

static void get_read_again(struct completion *completion)
{
    struct log_read *read = CONTAINER_OF(completion, struct log_read, done);
    get_read(CONTAINER_OF(read, struct walrus_get, read));
}

static void get_look_again(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    get_look(call->state);
}

/* A compressed batch wants a room, or a larger one. False: it is not there now, or never. */
static bool get_find_room(struct walrus_get *op, enum err *err)
{
    struct memory *memory = op->call->net->reactor->memory;
    uint32_t wanted = op->records.room_wanted;
    if (wanted > memory_block_max(memory)) {
        *err = ERR_TOO_LARGE;
        return false;
    }
    struct block *room = block_acquire(memory, MEMORY_SEND, wanted);
    if (room == NULL) {
        op->call->memory_wanted = wanted;
        *err = ERR_NO_MEMORY;
        return false;
    }
    if (op->room != NULL) {
        block_unref(op->room);
    }
    op->room = room;
    records_lend(&op->records, room->data, wanted);
    return true;
}

/* The record at the cursor into the answer. */
static enum err get_copy(struct walrus_get *op)
{
    struct bytes value = op->entry.record.value;
    uint64_t size = GET_OK_BYTES + (uint64_t)value.size;
    op->position = op->entry.offset;
    if (size > WALRUS_FRAME_BYTES_MAX) {
        op->too_large = value.size;
        return OK;
    }
    op->reply_size = WALRUS_PREFIX_BYTES + (uint32_t)size;
    enum err err = call_reply_room(op->call, op->reply_size, &op->reply);
    if (err != OK) {
        return err;
    }
    store_le32(op->reply, (uint32_t)size);
    memcpy(op->reply + WALRUS_PREFIX_BYTES, "OK ", GET_OK_BYTES);
    if (value.size > 0) {
        memcpy(op->reply + WALRUS_PREFIX_BYTES + GET_OK_BYTES, value.data, value.size);
    }
    op->position++;
    op->moved = true;
    return OK;
}

/* Looks for the first record at or behind the cursor; begins again where memory was missing. */
static enum err get_find(struct walrus_get *op)
{
    records_begin(&op->records, op->read.pieces, op->read.piece_count, op->position);
    if (op->room != NULL) {
        records_lend(&op->records, op->room->data, op->room->size);
    }
    enum err err;
    while ((err = records_next(&op->records, &op->entry)) == ERR_NO_MEMORY) {
        if (!get_find_room(op, &err)) {
            return err;
        }
    }
    return err == OK ? get_copy(op) : err;
}

static void get_look(struct walrus_get *op)
{
    enum err err = op->read.piece_count == 0 ? OK : get_find(op);
    if (err == ERR_NO_MEMORY) {
        call_await_memory(op->call, get_look_again);
        return;
    }
    if (err == ERR_NOT_FOUND) {
        /* Nothing but what is not for readers: on behind it. */
        const struct batch *last = &op->records.batch;
        op->position = (uint64_t)last->base_offset + (uint32_t)last->last_offset_delta + 1;
        log_release(&op->read, get_read_again);
        return;
    }
    op->err = err;
    log_release(&op->read, get_released);
}

/* Records below the log's start are gone; a log that ends below the cursor has lost its end. */
static bool get_back_in_range(struct walrus_get *op)
{
    uint64_t position =
        op->position < op->read.log_start ? op->read.log_start : op->read.high_watermark;
    bool changed = position != op->position;
    op->position = position;
    return changed;
}

static void get_read_done(struct completion *completion)
{
    struct log_read *read = CONTAINER_OF(completion, struct log_read, done);
    struct walrus_get *op = CONTAINER_OF(read, struct walrus_get, read);
    enum err err = (enum err)completion->result;
    op->reading = false;
    if (err == ERR_OFFSET_RANGE && get_back_in_range(op)) {
        log_release(read, get_read_again);
        return;
    }
    if (err != OK) {
        op->err = err;
        log_release(read, get_released);
        return;
    }
    get_look(op);
}

static void get_read(struct walrus_get *op)
{
    op->read.partition = op->cursor.partition;
    op->read.offset = op->position;
    op->read.bytes_max = GET_READ_BYTES;
    op->read.wait_ms = 0;
    op->reading = true;
    log_read(op->call->net, &op->read, get_read_done);
    if (op->call->canceled) {
        log_cancel(&op->read);
    }
}

static void get_taken(struct completion *completion)
{
    struct cursor_op *cursor = CONTAINER_OF(completion, struct cursor_op, done);
    struct walrus_get *op = CONTAINER_OF(cursor, struct walrus_get, cursor);
    if (completion->result != OK) {
        op->err = (enum err)completion->result;
        get_answer(op);
        return;
    }
    op->position = cursor->position;
    get_read(op);
}

void walrus_get_cancel(struct call *call)
{
    struct walrus_get *op = call->state;
    if (op->reading) {
        log_cancel(&op->read);
    }
}

enum err walrus_get(struct call *call, const struct walrus_request *request)
{
    struct partition_id id;
    enum err err = OK;
    if (call->conn->first != call) {
        return ERR_BUSY;
    }
    if (walrus_is_internal(request->topic)) {
        return walrus_answer_error(call, GROUP_TOPIC " is the server's own; nobody reads it here");
    }
    if (!walrus_find(call, request->topic, &id, &err)) {
        return err;
    }
    err = call_arena(call, sizeof(struct walrus_get) + WALRUS_TEXT_BYTES_MAX);
    if (err != OK) {
        return err;
    }
    struct walrus_get *op = call_take(call, sizeof(*op));
    op->call = call;
    call->state = op;
    cursor_take(call->net, &op->cursor, &id, get_taken);
    return OK;
}
