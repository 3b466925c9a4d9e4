/* XINFO GROUPS and CONSUMERS, and what XINFO STREAM tells of groups. */
#include "core/assert.h"
#include "net/resp/group.h"

_Static_assert(sizeof(struct info_state) + 2 * sizeof(struct read_item) + 16 +
                       72 * sizeof(struct iovec) <=
                   RESP_CLAIM_BYTES,
               "the command table's");

static struct stream_id read_id(struct bytes_reader *reader)
{
    struct stream_id id = {.ms = read_le64(reader)};
    id.seq = read_le64(reader);
    return id;
}

/* --- How far a group is behind. --- */

/* Whether an entry at or behind `id` may have been deleted that is not below all that are left. */
static bool has_holes(const struct range_state *range, struct stream_id id)
{
    const struct read_item *item = &range->read.items[0];
    struct stream_id deleted = item->facts.deleted_max;
    return (deleted.ms > 0 || deleted.seq > 0) && read_length(item) > 0 &&
           stream_id_compare(range->read.first_id, deleted) <= 0 &&
           stream_id_compare(id, deleted) <= 0;
}

/* How many entries were ever added up to `id`, where that is certain; -1: it is not. */
static int64_t distance(const struct range_state *range, struct stream_id id)
{
    const struct read_item *item = &range->read.items[0];
    uint64_t length = read_length(item);
    uint64_t added = item->facts.entries_added;
    int past_last = stream_id_compare(id, item->last);
    if (past_last == 0 || (length == 0 && past_last < 0)) {
        return (int64_t)added;
    }
    if (past_last > 0 || length == 0) {
        return -1;
    }
    int past_first = stream_id_compare(id, range->read.first_id);
    if (past_first > 0 || has_holes(range, (struct stream_id){0, 0}) || added < length) {
        return -1;
    }
    return (int64_t)(added - length + (past_first == 0 ? 1 : 0));
}

static void write_lag(struct resp_writer *writer, const struct range_state *range,
                      struct stream_id last, int64_t entries_read)
{
    int64_t added = (int64_t)range->read.items[0].facts.entries_added;
    if (added == 0) {
        resp_write_integer(writer, 0);
        return;
    }
    bool counted = entries_read >= 0 && !has_holes(range, last);
    int64_t read = counted ? entries_read : distance(range, last);
    if (read < 0) {
        resp_write_null(writer);
    } else {
        resp_write_integer(writer, added - read);
    }
}

/* --- Groups. --- */

static void write_count(struct resp_writer *writer, int64_t count)
{
    if (count < 0) {
        resp_write_null(writer);
    } else {
        resp_write_integer(writer, count);
    }
}

static void write_pending(struct resp_writer *writer, struct bytes_reader *reader, bool named)
{
    uint32_t count = read_le32(reader);
    resp_write_array(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        resp_write_array(writer, named ? 4 : 3);
        resp_write_id(writer, read_id(reader));
        if (named) {
            resp_write_bulk(writer, group_read_text(reader));
        }
        resp_write_integer(writer, (int64_t)read_le64(reader));
        resp_write_integer(writer, read_le32(reader));
    }
}

static void write_full_readers(struct resp_writer *writer, struct bytes_reader *reader,
                               uint32_t count)
{
    resp_write_array(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        resp_write_map(writer, 5);
        resp_write_text(writer, "name");
        resp_write_bulk(writer, group_read_text(reader));
        resp_write_text(writer, "seen-time");
        resp_write_integer(writer, (int64_t)read_le64(reader));
        resp_write_text(writer, "active-time");
        resp_write_integer(writer, (int64_t)read_le64(reader));
        resp_write_text(writer, "pel-count");
        resp_write_integer(writer, (int64_t)read_le64(reader));
        resp_write_text(writer, "pending");
        write_pending(writer, reader, false);
    }
}

static void write_group(struct resp_op *op, struct resp_writer *writer, struct bytes_reader *reader,
                        bool full)
{
    const struct info_state *state = op->state;
    struct bytes name = group_read_text(reader);
    uint32_t readers = read_le32(reader);
    uint64_t pending = read_le64(reader);
    struct stream_id last = read_id(reader);
    int64_t entries_read = (int64_t)read_le64(reader);
    resp_write_map(writer, full ? 7 : 6);
    resp_write_text(writer, "name");
    resp_write_bulk(writer, name);
    if (!full) {
        resp_write_text(writer, "consumers");
        resp_write_integer(writer, readers);
        resp_write_text(writer, "pending");
        resp_write_integer(writer, (int64_t)pending);
    }
    resp_write_text(writer, "last-delivered-id");
    resp_write_id(writer, last);
    resp_write_text(writer, "entries-read");
    write_count(writer, entries_read);
    resp_write_text(writer, "lag");
    write_lag(writer, &state->range, last, entries_read);
    if (full) {
        resp_write_text(writer, "pel-count");
        resp_write_integer(writer, (int64_t)pending);
        resp_write_text(writer, "pending");
        write_pending(writer, reader, true);
        resp_write_text(writer, "consumers");
        write_full_readers(writer, reader, readers);
    }
}

static void write_groups(struct resp_op *op, struct resp_writer *writer, bool full)
{
    const struct info_state *state = op->state;
    struct bytes_reader reader = bytes_reader(state->group.call.result);
    uint32_t count = read_le32(&reader);
    resp_write_array(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        write_group(op, writer, &reader, full);
    }
    ASSERT(!reader.failed && bytes_left(&reader) == 0);
}

void info_write_groups(struct resp_op *op, struct resp_writer *writer)
{
    const struct info_state *state = op->state;
    if (state->range.full) {
        write_groups(op, writer, true);
    } else {
        resp_write_integer(writer, (int64_t)state->group.wish.number);
    }
}

static void encode_groups(struct resp_op *op, struct resp_writer *writer)
{
    write_groups(op, writer, false);
}

static void encode_readers(struct resp_op *op, struct resp_writer *writer)
{
    const struct info_state *state = op->state;
    struct bytes_reader reader = bytes_reader(state->group.call.result);
    uint32_t count = read_le32(&reader);
    resp_write_array(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        resp_write_map(writer, 4);
        resp_write_text(writer, "name");
        resp_write_bulk(writer, group_read_text(&reader));
        resp_write_text(writer, "pending");
        resp_write_integer(writer, (int64_t)read_le64(&reader));
        resp_write_text(writer, "idle");
        resp_write_integer(writer, (int64_t)read_le64(&reader));
        resp_write_text(writer, "inactive");
        resp_write_integer(writer, (int64_t)read_le64(&reader));
    }
    ASSERT(!reader.failed && bytes_left(&reader) == 0);
}

/* --- The course. --- */

static void info_released(struct completion *completion)
{
    struct group_call *call = CONTAINER_OF(completion, struct group_call, released);
    read_sent(CONTAINER_OF(call, struct resp_group, call)->op);
}

static void info_sent(struct resp_op *op)
{
    struct info_state *state = op->state;
    completion_init(&state->group.call.released, info_released);
    if (!group_release(op->net, &state->group.call)) {
        read_sent(op);
    }
}

static void info_answered(struct resp_op *op, enum group_code code)
{
    struct info_state *state = op->state;
    if (code == GROUP_NOT_FOUND) {
        resp_group_fail(op, code, group_none_xinfo, op->arguments[2], state->group.wish.group);
    } else if (code != GROUP_OK) {
        resp_group_fail(op, code, group_none, op->arguments[2], state->group.wish.group);
    } else {
        range_reply(op);
    }
}

void info_ask_groups(struct resp_op *op, resp_encode_fn *encode)
{
    struct info_state *state = op->state;
    bool listed = state->range.full || encode == encode_groups;
    op->encode = encode;
    op->sent = info_sent;
    state->group.wish.full = state->range.full;
    state->group.wish.count = state->range.count == 0 ? UINT64_MAX : state->range.count;
    resp_group_ask(op, &state->group, listed ? STREAM_GROUPS : STREAM_COUNT,
                   &state->range.read.items[0].partition, info_answered);
}

static void info_groups_read(struct resp_op *op)
{
    struct info_state *state = op->state;
    if (state->range.read.err != OK) {
        read_fail(&state->range.read);
        return;
    }
    info_ask_groups(op, encode_groups);
}

/* The stream that is asked about; NULL: answered. */
static struct info_state *info_find(struct resp_op *op)
{
    struct info_state *state = op->state;
    (void)range_init(op, sizeof(*state), 1, info_groups_read);
    enum err err = resp_find_key(op, op->arguments[2], &state->range.read.items[0].partition);
    if (err == ERR_TOPIC_UNKNOWN) {
        resp_fail(op, "ERR no such key");
    } else if (err != OK) {
        resp_fail_told(op);
    }
    return err == OK ? state : NULL;
}

/* The first entry's ID says more about how far groups are behind. */
void info_groups(struct resp_op *op)
{
    if (op->count != 3) {
        resp_fail_subcommand_arity(op);
        return;
    }
    struct info_state *state = info_find(op);
    if (state != NULL) {
        state->range.read.items[0].known = true;
        state->range.read.items[0].count = 1;
        read_start(&state->range.read);
    }
}

void info_readers(struct resp_op *op)
{
    if (op->count != 4) {
        resp_fail_subcommand_arity(op);
        return;
    }
    if (!resp_group_name(op, op->arguments[3])) {
        return;
    }
    struct info_state *state = info_find(op);
    if (state != NULL) {
        op->encode = encode_readers;
        op->sent = info_sent;
        state->group.wish.group = op->arguments[3];
        resp_group_ask(op, &state->group, STREAM_READERS, &state->range.read.items[0].partition,
                       info_answered);
    }
}
