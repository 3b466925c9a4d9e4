/* XREADGROUP: one stream after the other is taken from its group, read, and given back; the reply
 * leaves when what was delivered is durable.
 *
 *     LOOK each (if there are several) -> TAKE -> read the log -> GIVE, CLAIM or RELEASE -> next
 *          nothing new, BLOCK: parked at each stream's core as XREAD is, and with a WAIT at each
 *          group's; whatever comes first, all is asked again
 *
 * An ID other than `>` reads what is pending for the reader, and never waits. */
#include "core/assert.h"
#include "net/resp/group.h"
#include "net/resp/text.h"

/* One stream. */
struct reader_item {
    struct resp_group wait;
    struct partition_id partition;
    struct stream_id from; /* What is pending is read from here on. */
    struct stream_id last; /* What the group has read, as it was seen. */
    bool history, waits, answered;
};

struct reader_state {
    struct range_state range; /* The first. */
    struct resp_group group;
    struct group_ids ids;
    struct reader_item *items;
    uint32_t count, item;
    uint32_t awaited; /* WAITs and their cancels. */
    struct bytes name, reader;
    bool no_ack;
    struct completion pass;
};

_Static_assert(sizeof(struct reader_state) + 16 + 66 * sizeof(struct iovec) <= RESP_READER_BYTES,
               "the command table's");
_Static_assert((sizeof(struct read_item) + sizeof(struct reader_item) + 48) / 2 + 32 <=
                   RESP_READER_KEY_BYTES,
               "an item for each two arguments");

static void reader_take(struct resp_op *op);
static void reader_begin(struct resp_op *op);

/* --- The reply. --- */

static void encode_reader(struct resp_op *op, struct resp_writer *writer)
{
    const struct reader_state *state = op->state;
    range_write_streams(op, writer, state->range.found);
    for (uint32_t i = 0; i < state->count; i++) {
        if (state->items[i].answered) {
            range_write_stream(op, writer, i);
        }
    }
}

static void reader_close(struct resp_op *op)
{
    struct reader_state *state = op->state;
    group_ids_close(&state->ids);
    state->range.read.item_count = state->count;
}

static void reader_fail(struct resp_op *op, enum group_code code)
{
    struct reader_state *state = op->state;
    struct bytes key = state->range.read.items[state->item].key;
    reader_close(op);
    if (code == GROUP_CANCELED) {
        resp_answer_null_array(op);
    } else {
        resp_group_fail(op, code, NULL, key, state->name);
    }
}

/* --- One stream. --- */

static void reader_next(struct completion *completion)
{
    struct reader_state *state = CONTAINER_OF(completion, struct reader_state, pass);
    reader_take(state->range.read.op);
}

static void reader_given(struct resp_op *op, enum group_code code)
{
    struct reader_state *state = op->state;
    struct reader_item *item = &state->items[state->item];
    if (code == GROUP_OK && state->range.read.err != OK) {
        reader_close(op);
        read_fail(&state->range.read);
        return;
    }
    if (code != GROUP_OK) {
        reader_fail(op, code);
        return;
    }
    item->answered = item->history || state->range.read.items[state->item].entries > 0;
    state->range.found += item->answered ? 1 : 0;
    state->item++;
    completion_init(&state->pass, reader_next);
    completion_fire(op->net->reactor, &state->pass, OK);
}

static void reader_give(struct resp_op *op, enum stream_wish_kind kind)
{
    struct reader_state *state = op->state;
    resp_group_ask(op, &state->group, kind, &state->items[state->item].partition, reader_given);
}

/* How many entries there ever were up to the last one that was read, as offsets tell it. Where some
 * were deleted that may be ahead, it is known no longer: until the end is reached, or if it was
 * known `before` and they are all behind. */
static int64_t reader_counted(const struct read_item *item, const struct read_ids *ids,
                              int64_t before)
{
    const struct stream_facts *facts = &item->facts;
    uint64_t ahead = item->high_watermark - min_u64(ids->behind, item->high_watermark);
    bool behind = before >= 0 && stream_id_compare(facts->deleted_max, ids->at[0]) < 0;
    bool known = facts->deleted == 0 || ahead == 0 || behind;
    return known && facts->entries_added >= ahead ? (int64_t)(facts->entries_added - ahead) : -1;
}

static void reader_read_done(struct resp_op *op)
{
    struct reader_state *state = op->state;
    struct stream_wish *wish = &state->group.wish;
    struct read_ids *ids = &state->ids.ids;
    bool history = state->items[state->item].history;
    wish->ids = ids->at;
    wish->found = ids->found;
    wish->id_count = history ? ids->next : ids->count;
    if (state->range.read.err != OK || wish->id_count == 0) {
        reader_give(op, STREAM_RELEASE);
    } else if (history) {
        wish->deliveries = -1;
        wish->keep_missing = true;
        wish->passive = true;
        reader_give(op, STREAM_CLAIM);
    } else {
        wish->entries_read =
            reader_counted(&state->range.read.items[state->item], ids, wish->entries_read);
        wish->no_ack = state->no_ack;
        reader_give(op, STREAM_GIVE);
    }
}

static void reader_taken(struct resp_op *op, enum group_code code)
{
    struct reader_state *state = op->state;
    struct reader_item *item = &state->items[state->item];
    struct read_item *read = &state->range.read.items[state->item];
    struct stream_wish *wish = &state->group.wish;
    if (code != GROUP_OK) {
        reader_fail(op, code);
        return;
    }
    item->last = wish->id;
    read->partition = item->partition;
    read->known = true;
    read->placed = false;
    read->ids = &state->ids.ids;
    read->count = state->ids.capacity;
    read->from = wish->id;
    read->at_end = !item->history && !resp_id_after(&read->from);
    read->ids->wanted = read->ids->nulls = item->history;
    read->ids->count = item->history ? wish->id_count : 0;
    read->ids->next = 0;
    read_start_one(&state->range.read, state->item);
}

static void reader_all(struct resp_op *op);

static void reader_take(struct resp_op *op)
{
    struct reader_state *state = op->state;
    if (state->item == state->count || state->range.read.full || read_is_void(&state->range.read)) {
        reader_all(op);
        return;
    }
    struct reader_item *item = &state->items[state->item];
    struct stream_wish *wish = &state->group.wish;
    if (resp_find_key(op, state->range.read.items[state->item].key, &item->partition) != OK) {
        reader_fail(op, GROUP_NOT_FOUND);
        return;
    }
    *wish = (struct stream_wish){.group = state->name,
                                 .reader = state->reader,
                                 .id = item->from,
                                 .no_ack = state->no_ack,
                                 .ids = state->ids.ids.at,
                                 .capacity = state->ids.capacity};
    resp_group_ask(op, &state->group, item->history ? STREAM_TAKE_OWN : STREAM_TAKE_NEW,
                   &item->partition, reader_taken);
}

/* --- Before it: all groups must be there, or nothing is delivered. --- */

static void reader_look(struct resp_op *op);

static void reader_looked(struct resp_op *op, enum group_code code)
{
    struct reader_state *state = op->state;
    if (code != GROUP_OK) {
        reader_fail(op, code);
        return;
    }
    state->item++;
    reader_look(op);
}

static void reader_look(struct resp_op *op)
{
    struct reader_state *state = op->state;
    if (state->count == 1 || state->item == state->count) {
        state->item = 0;
        reader_take(op);
        return;
    }
    struct reader_item *item = &state->items[state->item];
    if (resp_find_key(op, state->range.read.items[state->item].key, &item->partition) != OK) {
        reader_fail(op, GROUP_NOT_FOUND);
        return;
    }
    state->group.wish = (struct stream_wish){.group = state->name, .reader = state->reader};
    resp_group_ask(op, &state->group, STREAM_LOOK, &item->partition, reader_looked);
}

/* --- Behind it: an answer, or waiting. --- */

static void reader_rested(struct reader_state *state)
{
    if (--state->awaited == 0) {
        reader_begin(state->range.read.op);
    }
}

static struct reader_state *reader_of(struct group_call *call)
{
    return CONTAINER_OF(call, struct resp_group, call)->op->state;
}

static void reader_wait_done(struct resp_op *op, enum group_code code)
{
    struct reader_state *state = op->state;
    (void)code; /* Asking again tells. */
    read_wake(&state->range.read);
    reader_rested(state);
}

static void reader_wait_canceled(struct completion *completion)
{
    reader_rested(reader_of(CONTAINER_OF(completion, struct group_call, canceled)));
}

/* All is home but the WAITs. */
static void reader_parked(struct resp_op *op)
{
    struct reader_state *state = op->state;
    for (uint32_t i = 0; i < state->count; i++) {
        struct group_call *call = &state->items[i].wait.call;
        completion_init(&call->canceled, reader_wait_canceled);
        state->awaited += group_cancel(op->net, call) ? 1 : 0;
    }
    reader_rested(state); /* The park's. */
}

static void reader_park(struct resp_op *op)
{
    struct reader_state *state = op->state;
    struct read *read = &state->range.read;
    if (!read_may_park(read)) {
        return;
    }
    state->awaited = 1 + state->count;
    for (uint32_t i = 0; i < state->count; i++) {
        struct resp_group *wait = &state->items[i].wait;
        wait->wish = (struct stream_wish){.group = state->name, .id = state->items[i].last};
        resp_group_ask(op, wait, STREAM_WAIT, &state->items[i].partition, reader_wait_done);
    }
    read->done = reader_parked;
    read_park(read);
}

/* Every stream was asked. */
static void reader_all(struct resp_op *op)
{
    struct reader_state *state = op->state;
    struct read *read = &state->range.read;
    uint64_t now_ns = op->net->reactor->now_ns;
    reader_close(op);
    if (state->range.found > 0) {
        op->encode = encode_reader;
        range_reply(op);
        return;
    }
    bool over = (read->deadline_ns != 0 && now_ns >= read->deadline_ns) ||
                (op->call->conn->held && now_ns - state->range.begun_ns >= READ_PARK_NS_MAX);
    if (!read->blocks || op->exec != NULL || read->canceled || over) {
        resp_answer_null_array(op);
        return;
    }
    reader_park(op);
}

static void reader_again(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    reader_begin(CONTAINER_OF(waiter, struct call, waiter)->state);
}

static void reader_begin(struct resp_op *op)
{
    struct reader_state *state = op->state;
    uint32_t capacity = (uint32_t)min_u64(state->range.count, GROUP_IDS_MAX);
    if (group_ids_open(op, &state->ids, capacity, reader_again) == OK) {
        state->range.read.done = reader_read_done;
        state->item = 0;
        reader_look(op);
    }
}

/* --- Words. --- */

/* What an ID says; false: answered. */
static bool reader_id(struct resp_op *op, struct reader_item *item, struct bytes text)
{
    char sign = text.size == 1 ? (char)text.data[0] : 0;
    if (sign == '>') {
        return true;
    }
    if (sign == '$' || sign == '+') {
        resp_fail(op,
                  "ERR The %c ID is meaningless in the context of XREADGROUP: you want to read the "
                  "history of this consumer by specifying a proper ID, or use the > ID to get new "
                  "messages. The %c ID would just return an empty result set.",
                  sign, sign);
        return false;
    }
    item->history = true;
    if (!resp_group_id(op, text, &item->from)) {
        return false;
    }
    if (!resp_id_after(&item->from)) {
        item->from = (struct stream_id){UINT64_MAX, UINT64_MAX};
    }
    return true;
}

/* BLOCK and COUNT; false: answered. */
static bool reader_number(struct resp_op *op, struct reader_state *state, uint32_t at)
{
    int64_t value;
    struct read *read = &state->range.read;
    bool blocks = resp_argument_is(op, at, "BLOCK");
    if (!resp_parse_i64(op->arguments[at + 1], &value)) {
        if (blocks) {
            resp_fail(op, "ERR timeout is not an integer or out of range");
        } else {
            resp_fail_integer(op);
        }
        return false;
    }
    if (blocks && value < 0) {
        resp_fail(op, "ERR timeout is negative");
        return false;
    }
    if (!blocks) {
        state->range.count = value <= 0 ? UINT64_MAX : (uint64_t)value;
        return true;
    }
    uint64_t wait_ns = min_u64((uint64_t)value, UINT32_MAX) * NS_PER_MS;
    read->blocks = true;
    read->deadline_ns = value == 0 ? 0 : op->net->reactor->now_ns + wait_ns;
    return true;
}

/* The options before STREAMS; where the keys begin, 0: answered. */
static uint32_t reader_options(struct resp_op *op, struct reader_state *state)
{
    for (uint32_t i = 1; i < op->count; i++) {
        uint32_t more = op->count - i - 1;
        bool number = resp_argument_is(op, i, "BLOCK") || resp_argument_is(op, i, "COUNT");
        if (number && more > 0) {
            if (!reader_number(op, state, i)) {
                return 0;
            }
            i++;
        } else if (resp_argument_is(op, i, "STREAMS") && more > 0) {
            return i + 1;
        } else if (resp_argument_is(op, i, "GROUP") && more >= 2) {
            state->name = op->arguments[i + 1];
            state->reader = op->arguments[i + 2];
            i += 2;
        } else if (resp_argument_is(op, i, "NOACK")) {
            state->no_ack = true;
        } else {
            break;
        }
    }
    resp_fail_syntax(op);
    return 0;
}

static void reader_sent(struct resp_op *op)
{
    reader_close(op);
    read_sent(op);
}

void resp_xreadgroup(struct resp_op *op)
{
    struct reader_state *state = op->state;
    state->range.count = UINT64_MAX;
    state->range.begun_ns = op->net->reactor->now_ns;
    uint32_t at = reader_options(op, state);
    if (at == 0) {
        return;
    }
    uint32_t left = op->count - at;
    if (left % 2 != 0) {
        resp_fail(op, "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or "
                      "'>' must be specified.");
        return;
    }
    if (state->name.data == NULL) {
        resp_fail(op, "ERR Missing GROUP option for XREADGROUP");
        return;
    }
    if (!resp_group_name(op, state->name) || !resp_group_name(op, state->reader)) {
        return;
    }
    state->count = left / 2;
    uint64_t size = align_up(sizeof(*state), 16);
    (void)range_init(op, size + state->count * sizeof(struct reader_item), state->count,
                     reader_read_done);
    op->sent = reader_sent;
    state->items = (struct reader_item *)(void *)((uint8_t *)op->state + size);
    state->range.read.partial = true;
    for (uint32_t i = 0; i < state->count; i++) {
        state->range.read.items[i].key = op->arguments[at + i];
        if (!reader_id(op, &state->items[i], op->arguments[at + state->count + i])) {
            return;
        }
    }
    reader_begin(op);
}
