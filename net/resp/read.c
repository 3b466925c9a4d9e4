/* See the header. */
#include "net/resp/read.h"

#include "core/assert.h"
#include "net/resp/read_chunk.h"
#include "net/resp/sink.h"
#include "net/resp/trim.h"

static void read_step(struct read *read);
static void read_write_step(struct read *read);
static void read_next_item(struct read *read);

/* Begins every state of a command that reads. */
static struct read *read_of(struct resp_op *op)
{
    return op->state;
}

static struct read_item *read_item(struct read *read)
{
    ASSERT(read->item < read->item_count);
    return &read->items[read->item];
}

static bool read_wants(const struct read_item *item)
{
    return item->ids != NULL && item->ids->wanted;
}

/* --- Writing. --- */

static void read_memory_back(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    struct resp_op *op = call->state;
    read_step(read_of(op));
}

/* Writes what the fetch brought. ERR_NO_MEMORY: waits; ERR_LIMIT: there is no room. */
static enum err read_write(struct read *read)
{
    struct read_item *item = read_item(read);
    struct sink counted = {.writer.protocol = read->op->protocol};
    struct read_chunk *chunk = NULL;
    enum err err = sink_pieces(&counted, item);
    if (err == OK && counted.entries > 0) {
        err = read_room(read, counted.writer.position, &chunk);
    }
    if (err == OK && counted.entries > 0) {
        struct sink sink = {
            .writer = {.data = chunk->block->data + chunk->end,
                       .size = counted.writer.position,
                       .protocol = read->op->protocol},
            .block = chunk->block->data,
            .end = chunk->first,
            .reverse = read->reverse,
        };
        err = sink_pieces(&sink, item);
        ASSERT(err == OK && sink.entries == counted.entries);
        if (read->reverse) {
            chunk->first -= (uint32_t)counted.writer.position;
            ASSERT(chunk->first == sink.end);
        } else {
            chunk->end += (uint32_t)counted.writer.position;
        }
    }
    if (err == OK) {
        if (read->item == 0 && item->entries == 0) {
            read->first_id = counted.first_id;
        }
        item->entries += counted.entries;
        item->offset = max_u64(item->offset, counted.next);
        if (!read_wants(item) && item->entries >= item->count) {
            item->offset_end = item->offset;
        }
        if (item->ids != NULL) {
            item->ids->next = counted.pick;
        }
    }
    return err;
}

/* --- Steps. --- */

static void read_home(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct read_item *item = CONTAINER_OF(request, struct read_item, request);
    struct read *read = read_of(item->op);
    item->away = false;
    if (completion->result < 0) {
        read->err = (enum err)completion->result;
    }
    read_step(read);
}

static void read_submit(struct read *read, enum read_state state, enum request_kind kind)
{
    struct read_item *item = read_item(read);
    ASSERT(!item->away);
    read->state = state;
    item->away = true;
    item->request.partition = item->partition;
    resp_submit(read->op, &item->request, kind, read_home);
}

static void read_finish(struct read *read)
{
    read->state = READ_IDLE;
    read->done(read->op);
}

static void read_look(struct read *read)
{
    struct read_item *item = read_item(read);
    item->facts = (struct stream_facts){0};
    item->request.identify = (struct request_identify){
        .id = item->from, .ends_only = item->at_end || item->last_only, .facts = &item->facts};
    read_submit(read, READ_LOOK, REQUEST_IDENTIFY);
}

static void read_look_end(struct read *read)
{
    struct read_item *item = read_item(read);
    item->request.identify = (struct request_identify){.id = item->to};
    read_submit(read, READ_LOOK_END, REQUEST_IDENTIFY);
}

static void read_fetch(struct read *read)
{
    struct read_item *item = read_item(read);
    item->request.fetch = (struct request_fetch){
        .offset = item->offset,
        .bytes_max = READ_FETCH_BYTES,
        .epoch = -1,
        .whole_first = true,
        .piece_capacity = RESP_PIECES,
        .pieces = read->pieces,
    };
    read_submit(read, READ_FETCH, REQUEST_FETCH);
}

/* How many of the entries from `offset` on are gone. */
static void read_look_live(struct read *read)
{
    struct read_item *item = read_item(read);
    item->facts.from = item->offset;
    item->facts.to = item->offset_end;
    item->request.identify = (struct request_identify){.ends_only = true, .facts = &item->facts};
    read_submit(read, READ_LOOK_LIVE, REQUEST_IDENTIFY);
}

static void read_looked_live(struct read *read)
{
    struct read_item *item = read_item(read);
    uint64_t from = resp_live_from(item->offset_least, item->offset_end, item->count,
                                   item->facts.deleted_between);
    if (from < item->offset) {
        item->offset = from;
        read_look_live(read);
        return;
    }
    read_fetch(read);
}

/* Both ends are known: as many as are wanted of what lies between. */
static void read_bound(struct read *read)
{
    struct read_item *item = read_item(read);
    uint64_t room = item->offset_end > item->offset ? item->offset_end - item->offset : 0;
    item->placed = true;
    if (room == 0 || read->full) {
        read_next_item(read);
        return;
    }
    if (room > item->count && item->newest) {
        item->offset_least = item->offset;
        item->offset = item->offset_end - item->count;
        if (item->facts.deleted > 0) {
            read_look_live(read);
            return;
        }
    }
    read_fetch(read);
}

/* From the next of the IDs that are wanted on. */
static void read_look_wanted(struct read *read)
{
    struct read_item *item = read_item(read);
    struct read_ids *ids = item->ids;
    ids->run_end = ids->next + 1;
    while (ids->run_end < ids->count &&
           stream_id_compare(ids->at[ids->run_end - 1], ids->at[ids->run_end]) < 0) {
        ids->run_end++;
    }
    item->from = ids->at[ids->next];
    ids->none = false;
    read_look(read);
}

static bool read_wants_more(const struct read_item *item)
{
    return read_wants(item) && item->ids->next < item->ids->count;
}

static void read_looked_wanted(struct read *read)
{
    struct read_item *item = read_item(read);
    item->ids->none = item->offset >= item->high_watermark;
    if (item->ids->none) {
        item->request.fetch = (struct request_fetch){0};
        read_write_step(read);
    } else {
        read_fetch(read);
    }
}

static void read_looked(struct read *read)
{
    struct read_item *item = read_item(read);
    const struct request_identify *identify = &item->request.identify;
    item->log_start = identify->log_start;
    item->high_watermark = identify->high_watermark;
    item->last = identify->last;
    item->offset = identify->offset;
    item->offset_end = identify->high_watermark;
    if (read_wants(item)) {
        read_looked_wanted(read);
        return;
    }
    if (item->at_end) {
        item->offset = item->offset_end;
    } else if (item->last_only) {
        item->offset = item->log_start;
        item->newest = true;
        item->count = 1;
    }
    if (item->ends) {
        read_look_end(read);
        return;
    }
    read_bound(read);
}

/* The end is behind the last record at or below `to`: before the first above it. */
static void read_looked_end(struct read *read)
{
    struct read_item *item = read_item(read);
    item->offset_end = item->request.identify.offset;
    read_bound(read);
}

/* An error that ends the item, not the command: records were trimmed under our hands. */
static bool read_passes(struct read *read)
{
    struct read_item *item = read_item(read);
    if (read->err != ERR_OFFSET_RANGE || item->offset >= item->request.fetch.log_start) {
        return false;
    }
    read->err = OK;
    item->offset = item->request.fetch.log_start;
    return true;
}

static void read_release(struct read *read)
{
    if (read_item(read)->request.fetch.piece_count > 0) {
        read_submit(read, READ_RELEASE, REQUEST_RELEASE);
        return;
    }
    read->state = READ_RELEASE;
    read_step(read);
}

static void read_write_step(struct read *read)
{
    enum err err = read_write(read);
    if (err == ERR_NO_MEMORY && read->chunk_count == 0) {
        read->state = READ_WRITE;
        call_await_memory(read->op->call, read_memory_back);
        return;
    }
    if (err == ERR_NO_MEMORY && read_give_up(read)) {
        read->restarts = true;
        err = OK;
    }
    if ((err == ERR_NO_MEMORY || err == ERR_LIMIT) && read->partial) {
        read->full = true;
        err = OK;
    }
    read->err = err;
    read_release(read);
}

static void read_released(struct read *read)
{
    struct read_item *item = read_item(read);
    item->request.fetch.piece_count = 0;
    if (read->restarts) {
        read->restarts = false;
        read_await_anew(read);
        return;
    }
    bool on = read->err == OK && !read->full && !read_is_void(read);
    bool more = read_wants(item) ? read_wants_more(item) : item->offset < item->offset_end;
    void (*next)(struct read * read) = read_wants(item) ? read_look_wanted : read_fetch;
    (on && more ? next : read_next_item)(read);
}

static void read_again(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    read_released(CONTAINER_OF(timer, struct read, timer));
}

static void read_fetched(struct read *read)
{
    const struct request_fetch *fetch = &read_item(read)->request.fetch;
    if (read_passes(read)) {
        read_released(read);
        return;
    }
    if (read->err == OK && fetch->piece_count == 0 && fetch->pressed) {
        /* Readers hold all memory: that is over soon, or their connections are. */
        timer_init(&read->timer, read_again);
        read->pressed_ms =
            min_u32(max_u32(2 * read->pressed_ms, READ_PRESSED_MS), READ_PRESSED_MS_MAX);
        timer_start(read->op->net->reactor, &read->timer, read->pressed_ms * NS_PER_MS);
        return;
    }
    read->pressed_ms = 0;
    if (read->err == OK && fetch->piece_count == 0) {
        read->err = ERR_NOT_READY;
    }
    if (read->err != OK || read_is_void(read)) {
        read_release(read);
        return;
    }
    read_write_step(read);
}

static void read_begin_item(struct read *read)
{
    struct read_item *item = read_item(read);
    bool sated = read_wants(item) && !read_wants_more(item);
    if (!item->known || read_is_void(read) || read->full || sated) {
        read_next_item(read);
    } else if (read_wants(item)) {
        read_look_wanted(read);
    } else if (!item->placed) {
        read_look(read);
    } else {
        item->offset_end = item->high_watermark;
        read_bound(read);
    }
}

/* There may be as many items that need nothing as a command has keys: not on one stack. */
static void read_pass(struct completion *completion)
{
    read_begin_item(CONTAINER_OF(completion, struct read, pass));
}

static void read_next_item(struct read *read)
{
    read->item++;
    if (read->err != OK || read->item >= read->item_count) {
        read_finish(read);
        return;
    }
    completion_init(&read->pass, read_pass);
    completion_fire(read->op->net->reactor, &read->pass, OK);
}

static void read_step(struct read *read)
{
    enum err err = read->err;
    switch (read->state) {
    case READ_LOOK:
    case READ_LOOK_END:
    case READ_LOOK_LIVE:
        if (err == ERR_TOPIC_UNKNOWN && read->blocks) {
            read_item(read)->known = false; /* Deleted just now: it may come again. */
            read->err = OK;
            read_next_item(read);
        } else if (err != OK) {
            read_next_item(read);
        } else if (read->state == READ_LOOK) {
            read_looked(read);
        } else if (read->state == READ_LOOK_END) {
            read_looked_end(read);
        } else {
            read_looked_live(read);
        }
        return;
    case READ_FETCH:
        read_fetched(read);
        return;
    case READ_WRITE:
        read_write_step(read);
        return;
    case READ_RELEASE:
        read_released(read);
        return;
    case READ_IDLE:
    case READ_ANEW:
    case READ_PARK:
        break;
    }
    UNREACHABLE();
}

void read_start(struct read *read)
{
    ASSERT(read->state == READ_IDLE && read->item_count > 0);
    read->item = 0;
    read->err = OK;
    read_begin_item(read);
}

void read_start_one(struct read *read, uint32_t item)
{
    ASSERT(read->state == READ_IDLE);
    read->item = item;
    read->item_count = item + 1;
    read->err = OK;
    read_begin_item(read);
}

bool read_is_void(const struct read *read)
{
    return read->op->call->conn->state == CONN_DEAD;
}

void read_cancel(struct resp_op *op)
{
    struct read *read = read_of(op);
    read->canceled = true;
    read_wake(read);
}

uint64_t read_length(const struct read_item *item)
{
    return item->high_watermark - item->log_start - item->facts.deleted;
}

void read_fail(struct read *read)
{
    if (read->err == ERR_LIMIT) {
        resp_fail(read->op, "ERR the reply would be larger than its memory, %d MiB; use COUNT",
                  READ_CHUNKS_MAX * READ_CHUNK_BYTES_MAX >> 20);
    } else {
        resp_fail_err(read->op, read->err);
    }
}
