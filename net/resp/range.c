/* Commands that look into streams: XRANGE, XREVRANGE, XREAD, XINFO. */
#include "net/resp/range.h"
#include "core/assert.h"
#include "net/resp/group.h"
#include "net/resp/text.h"

#include <string.h>

/* Divides op->state: the state, the items, the vectors. */
struct range_state *range_init(struct resp_op *op, uint64_t size, uint32_t items,
                               void (*done)(struct resp_op *op))
{
    struct range_state *range = op->state;
    uint8_t *at = op->state;
    at += align_up(size, 16);
    range->read.op = op;
    range->read.done = done;
    range->read.items = (struct read_item *)(void *)at;
    range->read.item_count = items;
    at += align_up(items * sizeof(struct read_item), 16);
    range->read.vectors = (struct iovec *)(void *)at;
    uint64_t room = resp_state_bytes(op->command, op->count);
    uint64_t vectors = READ_CHUNKS_MAX + 2ULL * items + 2;
    uint64_t used = (uint64_t)(at - (uint8_t *)op->state) + vectors * sizeof(struct iovec);
    ASSERT(used <= room);
    for (uint32_t i = 0; i < items; i++) {
        range->read.items[i].op = op;
        range->read.items[i].to = (struct stream_id){UINT64_MAX, UINT64_MAX};
        range->read.items[i].count = UINT64_MAX;
    }
    op->cancel = read_cancel;
    op->sent = read_sent;
    return range;
}

/* --- The reply: bytes, and chunks between them. --- */

void range_cut(struct resp_op *op, struct resp_writer *writer, uint32_t item)
{
    struct range_state *range = op->state;
    struct call *call = op->call;
    if (writer->data == NULL) {
        return;
    }
    if (writer->position > range->cut) {
        call->vectors[call->vector_count++] =
            (struct iovec){.iov_base = writer->data + range->cut,
                           .iov_len = (size_t)(writer->position - range->cut)};
        range->cut = writer->position;
    }
    if (item < range->read.item_count) {
        read_add_chunks(&range->read, item);
    }
}

static void range_memory_back(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    range_reply(call->state);
}

void range_reply(struct resp_op *op)
{
    struct range_state *range = op->state;
    struct call *call = op->call;
    struct resp_writer counted = {.protocol = op->protocol};
    uint8_t *data;
    op->encode(op, &counted);
    enum err err = call_reply_room(call, counted.position, &data);
    if (err == ERR_NO_MEMORY) {
        call_await_memory(call, range_memory_back);
        return;
    }
    if (err != OK) {
        resp_fail(op, "ERR the reply is larger than a block of memory; name fewer keys");
        return;
    }
    struct resp_writer writer = {.data = data, .size = counted.position, .protocol = op->protocol};
    call->vectors = range->read.vectors;
    call->vector_count = 0;
    range->cut = 0;
    op->encode(op, &writer);
    ASSERT(writer.position == writer.size);
    range_cut(op, &writer, UINT32_MAX);
    resp_send(op);
}

/* --- XRANGE, XREVRANGE. --- */

static void encode_range(struct resp_op *op, struct resp_writer *writer)
{
    const struct range_state *range = op->state;
    resp_write_array(writer, range->read.items[0].entries);
    range_cut(op, writer, 0);
}

static void encode_empty(struct resp_op *op, struct resp_writer *writer)
{
    (void)op;
    resp_write_array(writer, 0);
}

static void range_done(struct resp_op *op)
{
    struct range_state *range = op->state;
    if (range->read.err != OK) {
        read_fail(&range->read);
        return;
    }
    op->encode = encode_range;
    range_reply(op);
}

bool range_parse_end(struct resp_op *op, struct bytes text, bool least, struct stream_id *id)
{
    bool excludes = text.size > 1 && text.data[0] == '(';
    if (excludes) {
        text = bytes_of(text.data + 1, text.size - 1);
    }
    bool special = text.size == 1 && (text.data[0] == '-' || text.data[0] == '+');
    if (!resp_parse_id(text, least ? 0 : UINT64_MAX, id, NULL) || (excludes && special)) {
        resp_fail(op, "ERR Invalid stream ID specified as stream command argument");
        return false;
    }
    if (excludes && !(least ? resp_id_after(id) : resp_id_before(id))) {
        resp_fail(op, least ? "ERR invalid start ID for the interval"
                            : "ERR invalid end ID for the interval");
        return false;
    }
    return true;
}

/* COUNT n, if it is there. */
static bool range_parse_count(struct resp_op *op, int64_t *count)
{
    *count = -1;
    for (uint32_t i = 4; i < op->count; i += 2) {
        if (i + 1 >= op->count || !resp_argument_is(op, i, "COUNT")) {
            resp_fail_syntax(op);
            return false;
        }
        if (!resp_parse_i64(op->arguments[i + 1], count)) {
            resp_fail_integer(op);
            return false;
        }
        *count = *count < 0 ? 0 : *count;
    }
    return true;
}

void resp_xrange(struct resp_op *op)
{
    bool reverse = op->command->name[1] == 'r' && op->command->name[2] == 'e';
    struct range_state *range = range_init(op, sizeof(struct range_state), 1, range_done);
    struct read_item *item = &range->read.items[0];
    int64_t count;
    if (!range_parse_end(op, op->arguments[reverse ? 3 : 2], true, &item->from) ||
        !range_parse_end(op, op->arguments[reverse ? 2 : 3], false, &item->to) ||
        !range_parse_count(op, &count)) {
        return;
    }
    enum err err = resp_find_key(op, op->arguments[1], &item->partition);
    if (err == ERR_TOPIC_UNKNOWN || (err == OK && count == 0)) {
        if (count == 0) {
            resp_answer_null_array(op);
        } else {
            resp_answer(op, encode_empty);
        }
        return;
    }
    if (err != OK) {
        resp_fail_told(op);
        return;
    }
    item->known = true;
    item->count = count < 0 ? UINT64_MAX : (uint64_t)count;
    item->newest = reverse;
    item->ends = resp_id_after(&item->to);
    range->read.reverse = reverse;
    range->read.anew = true;
    read_start(&range->read);
}

/* --- XREAD. --- */

void range_write_streams(const struct resp_op *op, struct resp_writer *writer, uint64_t count)
{
    if (op->protocol == 3) {
        resp_write_map(writer, count);
    } else {
        resp_write_array(writer, count);
    }
}

void range_write_stream(struct resp_op *op, struct resp_writer *writer, uint32_t item)
{
    const struct range_state *range = op->state;
    if (op->protocol != 3) {
        resp_write_array(writer, 2);
    }
    resp_write_bulk(writer, range->read.items[item].key);
    resp_write_array(writer, range->read.items[item].entries);
    range_cut(op, writer, item);
}

static void encode_read(struct resp_op *op, struct resp_writer *writer)
{
    const struct range_state *range = op->state;
    range_write_streams(op, writer, range->found);
    for (uint32_t i = 0; i < range->read.item_count; i++) {
        if (range->read.items[i].entries > 0) {
            range_write_stream(op, writer, i);
        }
    }
}

static void xread_parked(struct resp_op *op);

static void xread_done(struct resp_op *op)
{
    struct range_state *range = op->state;
    struct read *read = &range->read;
    if (read->err != OK) {
        read_fail(read);
        return;
    }
    range->found = 0;
    for (uint32_t i = 0; i < read->item_count; i++) {
        range->found += read->items[i].entries > 0 ? 1 : 0;
    }
    if (range->found > 0) {
        op->encode = encode_read;
        range_reply(op);
        return;
    }
    uint64_t now_ns = op->net->reactor->now_ns;
    bool over = (read->deadline_ns != 0 && now_ns >= read->deadline_ns) ||
                (op->call->conn->held && now_ns - range->begun_ns >= READ_PARK_NS_MAX);
    if (!read->blocks || op->exec != NULL || read->canceled || over) {
        resp_answer_null_array(op);
        return;
    }
    if (read_may_park(read)) {
        read->done = xread_parked;
        read_park(read);
    }
}

/* Looks at the map for those keys that did not exist. */
static void xread_find(struct resp_op *op)
{
    struct range_state *range = op->state;
    for (uint32_t i = 0; i < range->read.item_count; i++) {
        struct read_item *item = &range->read.items[i];
        if (!item->known) {
            item->known = resp_find_key(op, item->key, &item->partition) == OK;
            item->placed = false;
            item->at_end = false; /* All of it is new. */
            item->newest = item->last_only = false;
        }
    }
}

static void xread_parked(struct resp_op *op)
{
    struct range_state *range = op->state;
    range->read.done = xread_done;
    xread_find(op);
    for (uint32_t i = 0; i < range->read.item_count; i++) {
        struct read_item *item = &range->read.items[i];
        item->count = range->count;
        item->at_end = item->at_end && item->placed; /* Not the end of another log. */
        item->placed = item->at_end; /* What came may be below an ID that was not reached yet. */
    }
    read_start(&range->read);
}

/* The options before STREAMS; where the keys begin, 0: answered. */
static uint32_t xread_options(struct resp_op *op, struct range_state *range)
{
    int64_t value;
    for (uint32_t i = 1; i < op->count; i += 2) {
        bool more = i + 1 < op->count;
        if (resp_argument_is(op, i, "STREAMS") && more) {
            return i + 1;
        }
        bool blocks = resp_argument_is(op, i, "BLOCK");
        if (!more || (!blocks && !resp_argument_is(op, i, "COUNT"))) {
            bool group = resp_argument_is(op, i, "GROUP");
            if (group) {
                resp_fail(op, "ERR The GROUP option is only supported by XREADGROUP. You called "
                              "XREAD instead.");
            } else {
                resp_fail_syntax(op);
            }
            return 0;
        }
        if (!resp_parse_i64(op->arguments[i + 1], &value)) {
            if (blocks) {
                resp_fail(op, "ERR timeout is not an integer or out of range");
            } else {
                resp_fail_integer(op);
            }
            return 0;
        }
        if (blocks && value < 0) {
            resp_fail(op, "ERR timeout is negative");
            return 0;
        }
        if (blocks) {
            range->read.blocks = true;
            uint64_t wait_ns = min_u64((uint64_t)value, UINT32_MAX) * NS_PER_MS;
            range->read.deadline_ns = value == 0 ? 0 : op->net->reactor->now_ns + wait_ns;
        } else {
            range->count = value <= 0 ? UINT64_MAX : (uint64_t)value;
        }
    }
    resp_fail_syntax(op);
    return 0;
}

/* What an ID says of its item; false: answered. */
static bool xread_item(struct resp_op *op, struct read_item *item, struct bytes text)
{
    if (text.size == 1 && text.data[0] == '>') {
        resp_fail(op, "ERR The > ID can be specified only when calling XREADGROUP using the GROUP "
                      "<group> <consumer> option.");
        return false;
    }
    item->at_end = text.size == 1 && text.data[0] == '$';
    item->last_only = text.size == 1 && text.data[0] == '+';
    if (item->at_end || item->last_only) {
        return true;
    }
    if (!resp_parse_id(text, 0, &item->from, NULL) || (text.size == 1 && text.data[0] == '-')) {
        resp_fail(op, "ERR Invalid stream ID specified as stream command argument");
        return false;
    }
    if (!resp_id_after(&item->from)) {
        item->at_end = true; /* Nothing is above the greatest. */
    }
    return true;
}

void resp_xread(struct resp_op *op)
{
    struct range_state *range = op->state;
    range->count = UINT64_MAX;
    range->begun_ns = op->net->reactor->now_ns;
    uint32_t at = xread_options(op, range);
    if (at == 0) {
        return;
    }
    uint32_t left = op->count - at;
    if (left == 0 || left % 2 != 0) {
        resp_fail(op, "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' "
                      "must be specified.");
        return;
    }
    (void)range_init(op, sizeof(struct range_state), left / 2, xread_done);
    range->read.partial = true;
    for (uint32_t i = 0; i < left / 2; i++) {
        struct read_item *item = &range->read.items[i];
        item->key = op->arguments[at + i];
        item->count = range->count;
        if (!xread_item(op, item, op->arguments[at + left / 2 + i])) {
            return;
        }
        enum err err = resp_find_key(op, item->key, &item->partition);
        if (err == ERR_INVALID) {
            resp_fail_told(op);
            return;
        }
        item->known = err == OK;
    }
    read_start(&range->read);
}

/* --- XINFO. --- */

static void write_entry_or_null(struct resp_op *op, struct resp_writer *writer, uint32_t item)
{
    const struct range_state *range = op->state;
    if (range->read.items[item].entries == 0) {
        resp_write_null(writer);
    } else {
        range_cut(op, writer, item);
    }
}

/* Trees there are none; nodes are what `~` rounds to. */
static void encode_info_stream(struct resp_op *op, struct resp_writer *writer)
{
    const struct range_state *range = op->state;
    const struct read_item *item = &range->read.items[0];
    uint64_t length = read_length(item);
    uint64_t node = max_u64(op->net->resp.node_entries, 1);
    resp_write_map(writer, range->full ? 9 : 10);
    resp_write_text(writer, "length");
    resp_write_integer(writer, (int64_t)length);
    resp_write_text(writer, "radix-tree-keys");
    resp_write_integer(writer, (int64_t)((length + node - 1) / node));
    resp_write_text(writer, "radix-tree-nodes");
    resp_write_integer(writer, (int64_t)((length + node - 1) / node) + 1);
    resp_write_text(writer, "last-generated-id");
    resp_write_id(writer, item->last);
    resp_write_text(writer, "max-deleted-entry-id");
    resp_write_id(writer, item->facts.deleted_max);
    resp_write_text(writer, "entries-added");
    resp_write_integer(writer, (int64_t)item->facts.entries_added);
    resp_write_text(writer, "recorded-first-entry-id");
    resp_write_id(writer, range->read.first_id);
    if (range->full) {
        resp_write_text(writer, "entries");
        resp_write_array(writer, item->entries);
        range_cut(op, writer, 0);
        resp_write_text(writer, "groups");
        info_write_groups(op, writer);
        return;
    }
    resp_write_text(writer, "groups");
    info_write_groups(op, writer);
    resp_write_text(writer, "first-entry");
    write_entry_or_null(op, writer, 0);
    resp_write_text(writer, "last-entry");
    write_entry_or_null(op, writer, 1);
}

static void xinfo_done(struct resp_op *op)
{
    struct range_state *range = op->state;
    if (range->read.err != OK) {
        read_fail(&range->read);
        return;
    }
    info_ask_groups(op, encode_info_stream);
}

static void encode_xinfo_help(struct resp_op *op, struct resp_writer *writer)
{
    (void)op;
    resp_write_array(writer, 4);
    resp_write_simple(writer, "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    resp_write_simple(writer, "CONSUMERS <key> <groupname>");
    resp_write_simple(writer, "GROUPS <key>");
    resp_write_simple(writer, "STREAM <key> [FULL [COUNT <count>]]");
}

static bool xinfo_full(struct resp_op *op, struct range_state *range, int64_t *count)
{
    *count = 10;
    range->full = resp_argument_is(op, 3, "FULL");
    bool counted = op->count == 6 && resp_argument_is(op, 4, "COUNT");
    if (op->count > 3 && (!range->full || (op->count != 4 && !counted))) {
        resp_fail_syntax(op);
        return false;
    }
    if (counted && !resp_parse_i64(op->arguments[5], count)) {
        resp_fail_integer(op);
        return false;
    }
    *count = *count < 0 ? 10 : *count;
    return true;
}

void resp_xinfo(struct resp_op *op)
{
    int64_t count;
    if (resp_argument_is(op, 1, "HELP") && op->count == 2) {
        resp_answer(op, encode_xinfo_help);
        return;
    }
    if (resp_argument_is(op, 1, "GROUPS")) {
        info_groups(op);
        return;
    }
    if (resp_argument_is(op, 1, "CONSUMERS")) {
        info_readers(op);
        return;
    }
    bool help = resp_argument_is(op, 1, "HELP");
    if (!help && !resp_argument_is(op, 1, "STREAM")) {
        resp_fail_subcommand(op);
        return;
    }
    if (help || op->count < 3) {
        resp_fail_subcommand_arity(op);
        return;
    }
    struct range_state *range = range_init(op, sizeof(struct info_state), 2, xinfo_done);
    if (!xinfo_full(op, range, &count)) {
        return;
    }
    range->count = (uint64_t)count;
    struct read_item *items = range->read.items;
    enum err err = resp_find_key(op, op->arguments[2], &items[0].partition);
    if (err == ERR_TOPIC_UNKNOWN) {
        resp_fail(op, "ERR no such key");
        return;
    }
    if (err != OK) {
        resp_fail_told(op);
        return;
    }
    items[0].known = true;
    items[0].count = range->full ? (count == 0 ? UINT64_MAX : (uint64_t)count) : 1;
    items[1].partition = items[0].partition;
    items[1].known = !range->full;
    items[1].last_only = true;
    read_start(&range->read);
}
