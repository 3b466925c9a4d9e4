/* Fetch (1): every partition is asked at its owner core at once; without enough data the request
 * is parked at all of them until the first has some, or until max_wait is over.
 *
 *     LOOK --- enough, an error, no time left -------------------------------> REPLY
 *       ^ \ \--- the first batch is too large: FIRST asks for it whole ------->  |
 *       |  \---- too little: what it brought goes back (RELEASE) --> PARK        |
 *       |                                                             |          v
 *       +--- too little yet, or newer data only <- all are home <-----+        sent, then
 *                      (first one home or the timer cancels the rest)          RETURN -> done
 *
 * A parked request asks from the high watermark that LOOK saw, so it wakes for newer data only; one
 * whose core had no memory to lend (shard/lend.c) asks again for what is there. The records are
 * never copied: pieces are lent by the owner cores and leave in the connection's send.
 *
 * Limits: the shares of the partitions together stay within the total, and none brings more than
 * its share. Only if the first partition with data has a batch that does not fit, that one is asked
 * again, for that batch whole (KIP-74); of later ones the answer then takes what still fits. */
#include "net/kafka/fetch.h"

#include "core/assert.h"

#include <stdio.h>

enum {
    FETCH_PIECES_MAX = 256, /* Of one partition. */
    FETCH_PIECES_MIN = 4,
    FETCH_PIECES_LOW = 16,
    FETCH_PIECES_TARGET = 1024, /* Of one request. */
};

#define FETCH_BYTES_MAX ((uint32_t)MIB(55)) /* Kafka's fetch.max.bytes. */

/* Nobody is waited for longer, whatever max_wait: a peer that has left is seen by an answer. */
#define FETCH_WAIT_MS_MAX ((uint64_t)60000)

static void fetch_step(struct fetch *op);

static void fetch_home(struct fetch *op)
{
    ASSERT(op->awaited > 0);
    if (--op->awaited == 0) {
        fetch_step(op);
    }
}

static void fetch_cancel_done(struct completion *completion)
{
    struct route_cancel *cancel = CONTAINER_OF(completion, struct route_cancel, done);
    struct fetch_item *item = CONTAINER_OF(cancel, struct fetch_item, cancel);
    fetch_home(item->op);
}

/* Everything that is still parked comes home. */
static void fetch_cancel_parked(struct fetch *op)
{
    if (op->state != FETCH_PARK || op->canceling) {
        return;
    }
    op->canceling = true;
    for (uint32_t i = 0; i < op->item_count; i++) {
        struct fetch_item *item = &op->items[i];
        if (item->away) {
            completion_init(&item->cancel.done, fetch_cancel_done);
            op->awaited++;
            route_cancel(op->request.net, &item->cancel, &item->request);
        }
    }
}

static void fetch_item_done(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct fetch_item *item = CONTAINER_OF(request, struct fetch_item, request);
    struct fetch *op = item->op;
    enum err err = (enum err)completion->result;
    item->away = false;
    if (request->kind == REQUEST_RELEASE) {
        request->fetch.piece_count = 0;
        request->fetch.size_bytes = 0;
    } else if (err == ERR_CANCELED && request->fetch.park) {
        /* It waited in vain: what the last look saw still holds. */
        request->fetch.size_bytes = 0;
    } else {
        item->code = kafka_code_fetch(err);
        item->known = err == OK || err == ERR_OFFSET_RANGE;
        item->pressed = request->fetch.pressed;
        item->high_watermark = request->fetch.high_watermark;
        item->log_start = request->fetch.log_start;
        item->size = request->fetch.size_bytes;
    }
    fetch_cancel_parked(op);
    fetch_home(op);
}

static void fetch_submit(struct fetch *op, struct fetch_item *item)
{
    ASSERT(!item->away);
    item->away = true;
    op->awaited++;
    completion_init(&item->request.done, fetch_item_done);
    route_submit(op->request.net, &item->request);
}

static void fetch_ask_item(struct fetch *op, struct fetch_item *item, bool park, bool whole_first)
{
    struct request_fetch *fetch = &item->request.fetch;
    ASSERT(fetch->piece_count == 0);
    item->request.kind = REQUEST_FETCH;
    bool newer = park && !item->pressed;
    fetch->offset = newer ? max_u64(item->offset, item->high_watermark) : item->offset;
    fetch->park = park;
    fetch->parked = false;
    fetch->whole_first = whole_first;
    fetch->size_bytes = 0;
    item->size = 0;
    fetch_submit(op, item);
}

/* Asks all partitions that have no error. */
static void fetch_ask(struct fetch *op, bool park)
{
    op->state = park ? FETCH_PARK : FETCH_LOOK;
    op->canceling = false;
    op->awaited = 1; /* This function. */
    for (uint32_t i = 0; i < op->item_count; i++) {
        if (op->items[i].code == KAFKA_NONE) {
            fetch_ask_item(op, &op->items[i], park, false);
        }
    }
    fetch_home(op);
}

/* There are records, but the next batch is larger than what the partition may bring. */
static bool fetch_too_large(const struct fetch_item *item)
{
    return item->code == KAFKA_NONE && item->known && !item->pressed && item->size == 0 &&
           item->offset < item->high_watermark;
}

/* Asks for the first batch of the first partition with data, if that did not fit; false: it did. */
static bool fetch_ask_first(struct fetch *op)
{
    for (uint32_t i = 0; i < op->item_count; i++) {
        struct fetch_item *item = &op->items[i];
        if (fetch_too_large(item)) {
            op->state = FETCH_FIRST;
            fetch_ask_item(op, item, false, true);
            return true;
        }
        if (item->code == KAFKA_NONE && item->size > 0) {
            return false;
        }
    }
    return false;
}

/* Gives back what was brought; then fetch_step() goes on in `next`. */
static void fetch_release(struct fetch *op, enum fetch_state next)
{
    op->state = next;
    op->awaited = 1; /* This function. */
    for (uint32_t i = 0; i < op->item_count; i++) {
        struct fetch_item *item = &op->items[i];
        if (item->request.fetch.piece_count > 0) {
            item->request.kind = REQUEST_RELEASE;
            fetch_submit(op, item);
        }
    }
    fetch_home(op);
}

static bool fetch_no_time(const struct fetch *op)
{
    return op->expired || op->request.net->reactor->now_ns >= op->deadline_ns;
}

static bool fetch_enough(const struct fetch *op)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < op->item_count; i++) {
        const struct fetch_item *item = &op->items[i];
        if (item->code != KAFKA_NONE || fetch_too_large(item) ||
            item->request.fetch.piece_count == item->request.fetch.piece_capacity) {
            return true;
        }
        size += item->size;
    }
    return size >= op->bytes_min || op->item_count == 0;
}

/* --- The answer. --- */

/* How many of each partition's pieces are sent. */
static void fetch_choose(struct fetch *op)
{
    uint64_t left = op->bytes_max;
    bool first = true;
    for (uint32_t i = 0; i < op->item_count; i++) {
        struct fetch_item *item = &op->items[i];
        const struct request_fetch *fetch = &item->request.fetch;
        uint64_t room = first ? UINT64_MAX : min_u64(left, item->bytes_max);
        item->taken = 0;
        item->taken_bytes = 0;
        while (item->code == KAFKA_NONE && item->taken < fetch->piece_count) {
            uint32_t size = fetch->pieces[item->taken].size;
            if (item->taken_bytes + (uint64_t)size > room) {
                break;
            }
            item->taken_bytes += size;
            item->taken++;
        }
        first = first && item->taken == 0;
        left -= min_u64(left, item->taken_bytes);
    }
}

/* The bytes so far become a vector, the pieces follow: only when writing for good. */
static void fetch_cut(struct fetch *op, struct kafka_writer *writer, const struct fetch_item *item)
{
    if (writer->data == NULL) {
        return;
    }
    struct call *call = op->request.call;
    call->vectors[call->vector_count++] = (struct iovec){
        .iov_base = writer->data + op->cut, .iov_len = (size_t)(writer->position - op->cut)};
    op->cut = writer->position;
    for (uint32_t i = 0; item != NULL && i < item->taken; i++) {
        const struct fetch_piece *piece = &item->request.fetch.pieces[i];
        /* An iovec of a send is only read; its type does not say so. */
        void *data = (void *)(uintptr_t)piece->data;
        call->vectors[call->vector_count++] =
            (struct iovec){.iov_base = data, .iov_len = piece->size};
    }
}

static void fetch_encode_item(struct fetch *op, const struct fetch_item *item,
                              struct kafka_writer *writer)
{
    int16_t version = op->request.version;
    int16_t code = item->code;
    if (version <= 5 && code == KAFKA_STORAGE_ERROR) {
        code = KAFKA_NOT_LEADER;
    }
    int64_t high = item->known ? (int64_t)item->high_watermark : -1;
    kafka_write_i32(writer, item->partition);
    kafka_write_i16(writer, code);
    kafka_write_i64(writer, high);
    kafka_write_i64(writer, high); /* Last stable offset: no transaction is ever open. */
    if (version >= 5) {
        kafka_write_i64(writer, item->known ? (int64_t)item->log_start : -1);
    }
    kafka_write_count(writer, 0); /* Aborted transactions. */
    if (version >= 11) {
        kafka_write_i32(writer, -1); /* Preferred read replica. */
    }
    kafka_write_bytes_length(writer, item->taken_bytes); /* Empty, never null. */
    if (item->taken > 0) {
        fetch_cut(op, writer, item);
    }
    kafka_write_tags(writer);
}

static void fetch_encode(struct fetch *op, struct kafka_writer *writer)
{
    int16_t version = op->request.version;
    kafka_write_i32(writer, 0);
    if (version >= 7) {
        kafka_write_i16(writer, op->error);
        kafka_write_i32(writer, 0); /* No session. */
    }
    uint32_t topics = op->error == KAFKA_NONE ? op->topic_count : 0;
    const struct fetch_item *item = op->items;
    kafka_write_count(writer, topics);
    for (uint32_t i = 0; i < topics; i++) {
        kafka_write_topic(writer, op->by_id, op->topics[i].name, &op->topics[i].id);
        kafka_write_count(writer, op->topics[i].count);
        for (uint32_t j = 0; j < op->topics[i].count; j++, item++) {
            fetch_encode_item(op, item, writer);
        }
        kafka_write_tags(writer);
    }
    kafka_write_tags(writer);
    fetch_cut(op, writer, NULL);
}

static void fetch_reply(struct fetch *op);

static void fetch_reply_again(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    fetch_reply(call->state);
}

static void fetch_reply(struct fetch *op)
{
    struct call *call = op->request.call;
    op->state = FETCH_REPLY;
    fetch_choose(op);
    struct kafka_writer writer = {0};
    kafka_write_header(&op->request, &writer, 4);
    fetch_encode(op, &writer);
    uint8_t *data;
    enum err err = call_reply_room(call, writer.position, &data);
    if (err == ERR_NO_MEMORY) {
        call_await_memory(call, fetch_reply_again);
        return;
    }
    if (err != OK) {
        call->last = true;
        call_reply(call);
        return;
    }
    uint64_t records = 0;
    for (uint32_t i = 0; i < op->item_count; i++) {
        records += op->items[i].taken_bytes;
    }
    uint64_t total = writer.position + records;
    ASSERT(total <= INT32_MAX);
    call->vectors = op->vectors;
    op->cut = 0;
    writer = (struct kafka_writer){.data = data, .size = writer.position};
    kafka_write_header(&op->request, &writer, (uint32_t)total);
    fetch_encode(op, &writer);
    ASSERT(writer.position == writer.size);
    ASSERT(call->vector_count <= op->vector_capacity);
    call_reply(call);
}

static void fetch_timeout(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    struct fetch *op = CONTAINER_OF(timer, struct fetch, timer);
    op->expired = true;
    fetch_cancel_parked(op);
}

static void fetch_park(struct fetch *op)
{
    struct reactor *reactor = op->request.net->reactor;
    if (fetch_no_time(op)) {
        fetch_ask(op, false);
        return;
    }
    timer_start(reactor, &op->timer, op->deadline_ns - reactor->now_ns);
    fetch_ask(op, true);
}

/* What was brought is not enough; but if it holds the memory that another partition waits for, it
 * must do: given back, it would be brought again, and so on. */
static void fetch_wait(struct fetch *op)
{
    bool pressed = false;
    op->partial = false;
    for (uint32_t i = 0; i < op->item_count; i++) {
        op->partial = op->partial || op->items[i].size > 0;
        pressed = pressed || op->items[i].pressed;
    }
    if (op->partial && pressed) {
        fetch_reply(op);
        return;
    }
    fetch_release(op, FETCH_RELEASE_TO_PARK);
}

static bool fetch_first_pressed(const struct fetch *op)
{
    for (uint32_t i = 0; i < op->item_count; i++) {
        if (op->items[i].size > 0) {
            return false;
        }
        if (op->items[i].pressed) {
            return true;
        }
    }
    return false;
}

/* All partitions have come home. */
static void fetch_step(struct fetch *op)
{
    switch (op->state) {
    case FETCH_LOOK:
        if (fetch_ask_first(op)) {
            return;
        }
        if (fetch_enough(op) || fetch_no_time(op)) {
            fetch_reply(op);
            return;
        }
        fetch_wait(op);
        return;
    case FETCH_RELEASE_TO_PARK:
        fetch_park(op);
        return;
    case FETCH_PARK:
        timer_stop(op->request.net->reactor, &op->timer);
        if (!op->partial && fetch_ask_first(op)) {
            return;
        }
        if (!op->partial && (fetch_enough(op) || fetch_no_time(op))) {
            fetch_reply(op);
            return;
        }
        fetch_release(op, FETCH_RELEASE_TO_LOOK);
        return;
    case FETCH_RELEASE_TO_LOOK:
        fetch_ask(op, false);
        return;
    case FETCH_FIRST:
        if (fetch_first_pressed(op) && !fetch_no_time(op)) {
            fetch_wait(op);
            return;
        }
        fetch_reply(op);
        return;
    case FETCH_RETURN:
        call_done(op->request.call);
        return;
    case FETCH_REPLY:
        break;
    }
    UNREACHABLE();
}

void kafka_fetch_cancel(struct call *call)
{
    struct fetch *op = call->state;
    op->expired = true;
    fetch_cancel_parked(op);
}

void kafka_fetch_sent(struct call *call)
{
    struct fetch *op = call->state;
    ASSERT(op->state == FETCH_REPLY && op->awaited == 0);
    fetch_release(op, FETCH_RETURN);
}

/* --- The request. --- */

/* Looks the partitions of one topic up; a topic that is asked by id is unknown by it. */
static void fetch_find(const struct fetch *op, const struct fetch_topic *asked,
                       struct fetch_item *items)
{
    const struct map *map = kafka_map(&op->request);
    const struct map_topic *topic =
        op->by_id ? map_topic_by_id(map, &asked->id) : map_topic_by_name(map, asked->name);
    for (uint32_t i = 0; i < asked->count; i++) {
        struct fetch_item *item = &items[i];
        if (op->request.call->late) {
            item->code = kafka_code_fetch(ERR_STOPPING);
            continue;
        }
        enum err err = topic == NULL && op->by_id
                           ? ERR_TOPIC_ID_UNKNOWN
                           : kafka_find_partition(op->request.net, topic, item->partition,
                                                  &item->request.partition);
        item->code = kafka_code_fetch(err);
        if (err == OK && item->negative) {
            item->code = KAFKA_OFFSET_OUT_OF_RANGE;
        }
    }
}

/* Looks the partitions up and divides the total among them. */
static void fetch_prepare(struct fetch *op)
{
    uint32_t share = max_u32(op->bytes_max / max_u32(op->item_count, 1), 1);
    uint64_t wanted = 0;
    uint32_t first = 0;
    for (uint32_t i = 0; i < op->topic_count; i++) {
        fetch_find(op, &op->topics[i], op->items + first);
        first += op->topics[i].count;
    }
    for (uint32_t i = 0; i < op->item_count; i++) {
        wanted += min_u32(op->items[i].bytes_max, op->bytes_max);
    }
    for (uint32_t i = 0; i < op->item_count; i++) {
        struct fetch_item *item = &op->items[i];
        struct request_fetch *fetch = &item->request.fetch;
        fetch->bytes_max = max_u32(min_u32(item->bytes_max, op->bytes_max), 1);
        if (wanted > op->bytes_max) {
            fetch->bytes_max = min_u32(fetch->bytes_max, share);
        }
        fetch->pieces = op->pieces + (uint64_t)i * op->piece_capacity;
        fetch->piece_capacity = op->piece_capacity;
    }
}

enum err kafka_fetch_start(const struct kafka_request *request)
{
    struct fetch counted = {.request = *request};
    if (!fetch_read(&counted)) {
        return ERR_CORRUPT;
    }
    struct call *call = request->call;
    uint64_t items = counted.item_count;
    uint32_t pieces = FETCH_PIECES_TARGET / max_u32(counted.item_count, 1);
    bool low = memory_low(request->net->reactor->memory, MEMORY_CALL);
    pieces = min_u32(max_u32(pieces, FETCH_PIECES_MIN), low ? FETCH_PIECES_LOW : FETCH_PIECES_MAX);
    uint64_t vectors = items * (pieces + 1) + 1;
    uint64_t size = sizeof(struct fetch) + counted.topic_count * sizeof(struct fetch_topic) +
                    items * sizeof(struct fetch_item) +
                    items * pieces * sizeof(struct fetch_piece) + vectors * sizeof(struct iovec);
    enum err err = call_arena(call, size);
    if (err != OK) {
        return err;
    }
    struct fetch *op = call_take(call, sizeof(*op));
    op->request = *request;
    op->topics = call_take(call, counted.topic_count * sizeof(struct fetch_topic));
    op->items = call_take(call, items * sizeof(struct fetch_item));
    op->pieces = call_take(call, items * pieces * sizeof(struct fetch_piece));
    op->vectors = call_take(call, vectors * sizeof(struct iovec));
    op->vector_capacity = (uint32_t)vectors;
    op->piece_capacity = pieces;
    bool read = fetch_read(op);
    ASSERT(read && op->item_count == items);
    op->bytes_max = min_u32(op->bytes_max, FETCH_BYTES_MAX);
    op->bytes_min = min_u32(op->bytes_min, op->bytes_max);
    timer_init(&op->timer, fetch_timeout);
    op->deadline_ns =
        request->net->reactor->now_ns + min_u64(op->wait_ms, FETCH_WAIT_MS_MAX) * NS_PER_MS;
    call->state = op;
    if (op->error != KAFKA_NONE) {
        op->item_count = 0;
        fetch_reply(op);
        return OK;
    }
    fetch_prepare(op);
    fetch_ask(op, false);
    return OK;
}
