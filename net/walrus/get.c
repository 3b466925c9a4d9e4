/* GET: the next record (next.h) as Walrus's answer. */
#include "core/assert.h"
#include "net/walrus/next.h"
#include "net/walrus/walrus.h"

#include <stdio.h>
#include <string.h>

enum { GET_OK_BYTES = 3 };

struct walrus_get {
    struct walrus_next next;
    uint64_t too_large;  /* That record's size; 0: it is not. */
    uint8_t *reply;      /* "OK " and the record behind a length. */
    uint32_t reply_size; /* In all. */
};

static struct walrus_get *get_of(struct walrus_next *next)
{
    return CONTAINER_OF(next, struct walrus_get, next);
}

/* The room for short answers is in the arena. */
static void get_done(struct walrus_next *next, enum err err)
{
    struct walrus_get *op = get_of(next);
    struct call *call = next->call;
    if (err != OK) {
        if (call->reply_block != NULL) {
            block_unref(call->reply_block); /* It holds a record that nobody gets. */
            call->reply_block = NULL;
        }
        walrus_fail(call, err);
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
                                  (unsigned long long)next->position);
    } else {
        err = walrus_answer(call, bytes_text("EMPTY"));
    }
    ASSERT(err == OK);
}

/* The record at the cursor into the answer. */
static enum err get_take(struct walrus_next *next)
{
    struct walrus_get *op = get_of(next);
    struct bytes value = next->entry.record.value;
    uint64_t size = GET_OK_BYTES + (uint64_t)value.size;
    if (size > WALRUS_FRAME_BYTES_MAX) {
        op->too_large = value.size;
        next->stay = true;
        return OK;
    }
    op->reply_size = WALRUS_PREFIX_BYTES + (uint32_t)size;
    enum err err = call_reply_room(next->call, op->reply_size, &op->reply);
    if (err != OK) {
        return err;
    }
    store_le32(op->reply, (uint32_t)size);
    memcpy(op->reply + WALRUS_PREFIX_BYTES, "OK ", GET_OK_BYTES);
    if (value.size > 0) {
        memcpy(op->reply + WALRUS_PREFIX_BYTES + GET_OK_BYTES, value.data, value.size);
    }
    return OK;
}

static void get_memory_back(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    struct walrus_get *op = call->state;
    walrus_next_look(&op->next);
}

void walrus_get_cancel(struct call *call)
{
    struct walrus_get *op = call->state;
    walrus_next_cancel(&op->next);
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
    op->next.call = call;
    op->next.take = get_take;
    op->next.done = get_done;
    op->next.memory_back = get_memory_back;
    call->state = op;
    walrus_next_start(&op->next, &id);
    return OK;
}
