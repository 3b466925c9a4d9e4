/* Waiting for entries: XREAD BLOCK.
 *
 *     read_park(): each key is waited for at its core, as a Fetch without data is; keys that do not
 *     exist are looked for now and then -> the first one home, the deadline or a cancel ends it for
 *     all -> all are home -> done() */
#include "core/assert.h"
#include "net/resp/read.h"

#include <inttypes.h>

enum { WAIT_SHARE = 8 }; /* Of what all who wait may remember: one of them. */

static struct read *park_read(struct resp_op *op)
{
    return op->state;
}

/* For INFO. */
static void park_count(const struct read *read, int by)
{
    struct net_resp *resp = &read->op->net->resp;
    uint32_t keys = (uint32_t)by * read->item_count;
    resp->blocked += (uint32_t)by;
    resp->blocking_keys += keys;
    resp->blocking_nokey += read->op->command->start == resp_xreadgroup ? keys : 0;
}

static void park_home(struct read *read)
{
    ASSERT(read->awaited > 0);
    if (--read->awaited > 0) {
        return;
    }
    timer_stop(read->op->net->reactor, &read->timer);
    park_count(read, -1);
    read->parked = false;
    read->state = READ_IDLE;
    read->done(read->op);
}

static void park_cancel_done(struct completion *completion)
{
    struct route_cancel *cancel = CONTAINER_OF(completion, struct route_cancel, done);
    park_home(park_read(CONTAINER_OF(cancel, struct read_item, cancel)->op));
}

void read_wake(struct read *read)
{
    if (!read->parked || read->canceling) {
        return;
    }
    read->canceling = true;
    for (uint32_t i = 0; i < read->item_count; i++) {
        struct read_item *item = &read->items[i];
        if (item->away) {
            completion_init(&item->cancel.done, park_cancel_done);
            read->awaited++;
            route_cancel(read->op->net, &item->cancel, &item->request);
        }
    }
    park_home(read); /* The timer's. */
}

static void park_item_done(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct read_item *item = CONTAINER_OF(request, struct read_item, request);
    struct read *read = park_read(item->op);
    item->away = false;
    enum err err = (enum err)completion->result;
    if (err == OK || err == ERR_CANCELED) {
        item->high_watermark = max_u64(item->offset, request->fetch.high_watermark);
    } else if (err == ERR_OFFSET_RANGE) {
        item->placed = false; /* Trimmed, or another log: looked for anew. */
    } else {
        item->known = false;
        item->placed = false;
    }
    read_wake(read);
    park_home(read);
}

static void park_timeout(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    read_wake(CONTAINER_OF(timer, struct read, timer));
}

/* How long until somebody looks again: keys that do not exist are made without a word to us. */
static uint64_t park_delay_ns(const struct read *read, bool polls)
{
    const uint64_t poll_ns = polls ? 20 * NS_PER_MS : READ_PARK_NS_MAX;
    uint64_t now_ns = read->op->net->reactor->now_ns;
    uint64_t left_ns = read->deadline_ns == 0       ? UINT64_MAX / 2
                       : read->deadline_ns > now_ns ? read->deadline_ns - now_ns
                                                    : 0;
    return min_u64(left_ns, poll_ns);
}

bool read_may_park(struct read *read)
{
    struct net *net = read->op->net;
    const struct block *arena = read->op->call->arena;
    uint64_t *blocked = &net->resp.blocked_bytes[arena->class];
    uint64_t most = memory_cap(net->reactor->memory, arena->class) / 2;
    if (read->waits_bytes > 0) { /* It keeps its place while it looks again. */
        return true;
    }
    if (arena->size > most / WAIT_SHARE) {
        resp_fail(read->op,
                  "ERR so many keys cannot be waited for at once: they take %" PRIu32
                  " KiB, %" PRIu64 " are allowed; name fewer keys, or raise memory.limit",
                  arena->size >> 10, most / WAIT_SHARE >> 10);
        return false;
    }
    if (*blocked + arena->size > most) {
        resp_fail(read->op,
                  "ERR too many clients wait for entries on this core: they remember %" PRIu64
                  " KiB of %" PRIu64 "; raise memory.limit, or let fewer connections block",
                  *blocked >> 10, most >> 10);
        return false;
    }
    read->waits_bytes = arena->size;
    *blocked += arena->size;
    return true;
}

void read_unpark(struct read *read)
{
    if (read->waits_bytes > 0) {
        read->op->net->resp.blocked_bytes[read->op->call->arena->class] -= read->waits_bytes;
        read->waits_bytes = 0;
    }
}

void read_park(struct read *read)
{
    struct reactor *reactor = read->op->net->reactor;
    bool polls = false;
    ASSERT(read->state == READ_IDLE);
    read->state = READ_PARK;
    read->parked = true;
    read->canceling = false;
    read->awaited = 2; /* This function, and the timer or what cancels it. */
    park_count(read, 1);
    for (uint32_t i = 0; i < read->item_count; i++) {
        struct read_item *item = &read->items[i];
        if (!item->known || !item->placed) {
            polls = true;
            continue;
        }
        item->request.partition = item->partition;
        item->request.fetch = (struct request_fetch){
            .offset = item->offset, .epoch = -1, .bytes_max = 1, .park = true};
        item->away = true;
        read->awaited++;
        resp_submit(read->op, &item->request, REQUEST_FETCH, park_item_done);
    }
    timer_init(&read->timer, park_timeout);
    timer_start(reactor, &read->timer, park_delay_ns(read, polls));
    park_home(read);
}
