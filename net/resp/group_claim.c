/* XCLAIM, XAUTOCLAIM: pending entries change hands.
 *
 *     TAKE: which may be claimed -> read them in the log -> CLAIM those that are there; those that
 *     are gone from it are pending no longer -> the reply, when that is durable */
#include "core/assert.h"
#include "net/resp/group.h"
#include "net/resp/text.h"

struct claim_state {
    struct range_state range; /* The first. */
    struct resp_group group;
    struct group_ids ids;
    struct partition_id partition;
    struct stream_id from, cursor;
    uint64_t idle_ms, delivered_ms, count;
    int64_t deliveries;
    struct stream_id last;
    bool idle, force, just_id; /* idle: XAUTOCLAIM */
};

_Static_assert(sizeof(struct claim_state) + sizeof(struct read_item) + 16 +
                       70 * sizeof(struct iovec) <=
                   RESP_CLAIM_BYTES,
               "the command table's");

/* --- The reply. --- */

static uint32_t claim_count(const struct read_ids *ids, bool found)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ids->next; i++) {
        count += (ids->found[i] != 0) == found ? 1 : 0;
    }
    return count;
}

static void write_ids(struct resp_writer *writer, const struct read_ids *ids, bool found)
{
    resp_write_array(writer, claim_count(ids, found));
    for (uint32_t i = 0; i < ids->next; i++) {
        if ((ids->found[i] != 0) == found) {
            resp_write_id(writer, ids->at[i]);
        }
    }
}

static void encode_claim(struct resp_op *op, struct resp_writer *writer)
{
    const struct claim_state *state = op->state;
    if (state->idle) {
        resp_write_array(writer, 3);
        resp_write_id(writer, state->cursor);
    }
    if (state->just_id) {
        write_ids(writer, &state->ids.ids, true);
    } else {
        resp_write_array(writer, state->range.read.items[0].entries);
        range_cut(op, writer, 0);
    }
    if (state->idle) {
        write_ids(writer, &state->ids.ids, false);
    }
}

static void claim_sent(struct resp_op *op)
{
    struct claim_state *state = op->state;
    group_ids_close(&state->ids);
    read_sent(op);
}

/* --- The course. --- */

static void claim_ask(struct resp_op *op, enum stream_wish_kind kind, resp_group_fn *done)
{
    struct claim_state *state = op->state;
    resp_group_ask(op, &state->group, kind, &state->partition, done);
}

static void claim_fail(struct resp_op *op, enum group_code code)
{
    resp_group_fail(op, code, group_none, op->arguments[1], op->arguments[2]);
}

static void claim_done(struct resp_op *op, enum group_code code)
{
    struct claim_state *state = op->state;
    if (code != GROUP_OK) {
        claim_fail(op, code);
    } else if (state->range.read.err != OK) {
        read_fail(&state->range.read);
    } else {
        op->encode = encode_claim;
        range_reply(op);
    }
}

static void claim_read_done(struct resp_op *op)
{
    struct claim_state *state = op->state;
    struct stream_wish *wish = &state->group.wish;
    struct read_ids *ids = &state->ids.ids;
    if (state->range.read.err != OK || read_is_void(&state->range.read)) {
        claim_ask(op, STREAM_RELEASE, claim_done);
        return;
    }
    if (ids->next < ids->count) {
        state->cursor = ids->at[ids->next]; /* No more went into the reply. */
    }
    wish->id_count = ids->next;
    wish->deliveries = state->deliveries;
    wish->delivered_ms = state->delivered_ms;
    wish->last = state->last;
    wish->just_id = state->just_id;
    claim_ask(op, STREAM_CLAIM, claim_done);
}

static void claim_taken(struct resp_op *op, enum group_code code)
{
    struct claim_state *state = op->state;
    struct read_item *item = &state->range.read.items[0];
    const struct stream_wish *wish = &state->group.wish;
    if (code != GROUP_OK) {
        claim_fail(op, code);
        return;
    }
    state->cursor = wish->id;
    item->partition = state->partition;
    item->known = true;
    item->ids = &state->ids.ids;
    item->ids->wanted = true;
    item->ids->silent = state->just_id;
    item->ids->count = wish->id_count;
    read_start(&state->range.read);
}

static bool claim_id_list(struct resp_op *op, struct claim_state *state)
{
    for (uint32_t i = 0; i < state->ids.capacity; i++) {
        if (!resp_group_id(op, op->arguments[5 + i], &state->ids.ids.at[i])) {
            return false;
        }
    }
    return true;
}

static void claim_begin(struct resp_op *op);

static void claim_again(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    claim_begin(CONTAINER_OF(waiter, struct call, waiter)->state);
}

static void claim_begin(struct resp_op *op)
{
    struct claim_state *state = op->state;
    if (group_ids_open(op, &state->ids, (uint32_t)state->count, claim_again) != OK) {
        return;
    }
    if (!state->idle && !claim_id_list(op, state)) {
        return;
    }
    state->group.wish = (struct stream_wish){
        .group = op->arguments[2],
        .reader = op->arguments[3],
        .id = state->from,
        .idle_ms = state->idle_ms,
        .count = state->count,
        .ids = state->ids.ids.at,
        .found = state->ids.ids.found,
        .id_count = state->idle ? 0 : (uint32_t)state->count,
        .capacity = state->ids.capacity,
        .force = state->force,
    };
    claim_ask(op, state->idle ? STREAM_TAKE_IDLE : STREAM_TAKE_NAMED, claim_taken);
}

static void claim_find(struct resp_op *op)
{
    struct claim_state *state = op->state;
    enum err err = resp_find_key(op, op->arguments[1], &state->partition);
    if (err == ERR_TOPIC_UNKNOWN) {
        claim_fail(op, GROUP_NOT_FOUND);
    } else if (err != OK) {
        resp_fail_told(op);
    } else if (resp_group_name(op, op->arguments[2]) && resp_group_name(op, op->arguments[3])) {
        claim_begin(op);
    }
}

/* --- Words. --- */

static struct claim_state *claim_init(struct resp_op *op)
{
    struct claim_state *state = op->state;
    (void)range_init(op, sizeof(*state), 1, claim_read_done);
    op->sent = claim_sent;
    state->deliveries = -1;
    return state;
}

/* The number behind a word; false: answered. */
static bool claim_number(struct resp_op *op, uint32_t at, const char *word, int64_t *value)
{
    if (resp_parse_i64(op->arguments[at], value)) {
        return true;
    }
    resp_fail(op, "ERR Invalid %s argument for %s", word,
              op->command->start == resp_xclaim ? "XCLAIM" : "XAUTOCLAIM");
    return false;
}

/* One option of XCLAIM at *at; false: answered. */
static bool xclaim_option(struct resp_op *op, struct claim_state *state, uint32_t *at)
{
    int64_t value;
    int64_t now_ms = (int64_t)op->net->reactor->now_ms;
    uint32_t i = *at;
    bool more = i + 1 < op->count;
    bool idle = resp_argument_is(op, i, "IDLE") && more;
    bool time = resp_argument_is(op, i, "TIME") && more;
    bool retry = resp_argument_is(op, i, "RETRYCOUNT") && more;
    *at += 1;
    if (resp_argument_is(op, i, "FORCE")) {
        state->force = true;
    } else if (resp_argument_is(op, i, "JUSTID")) {
        state->just_id = true;
    } else if (idle || time || retry) {
        const char *word = idle ? "IDLE option" : time ? "TIME option" : "RETRYCOUNT option";
        *at += 1;
        if (!claim_number(op, i + 1, word, &value)) {
            return false;
        }
        if (retry) {
            state->deliveries = value < 0 ? -1 : value;
            return true;
        }
        /* A time that cannot be is taken as now: clients may have counted with another clock. */
        bool sound = value >= 0 && value <= now_ms;
        state->delivered_ms = !sound ? 0 : (uint64_t)(idle ? now_ms - value : value);
    } else if (resp_argument_is(op, i, "LASTID") && more) {
        *at += 1;
        return resp_group_id(op, op->arguments[i + 1], &state->last);
    } else {
        resp_fail(op, "ERR Unrecognized XCLAIM option '%.*s'",
                  (int)min_u32(op->arguments[i].size, 64),
                  op->arguments[i].size == 0 ? "" : (const char *)op->arguments[i].data);
        return false;
    }
    return true;
}

void resp_xclaim(struct resp_op *op)
{
    struct claim_state *state = claim_init(op);
    int64_t idle_ms;
    struct stream_id id;
    if (!claim_number(op, 4, "min-idle-time", &idle_ms)) {
        return;
    }
    state->idle_ms = idle_ms < 0 ? 0 : (uint64_t)idle_ms;
    uint32_t at = 5;
    while (at < op->count && op->arguments[at].size > 0 && op->arguments[at].data[0] >= '0' &&
           op->arguments[at].data[0] <= '9' && resp_parse_id(op->arguments[at], 0, &id, NULL)) {
        at++;
    }
    state->count = at - 5;
    while (at < op->count) {
        if (!xclaim_option(op, state, &at)) {
            return;
        }
    }
    if (state->count == 0 || state->count > GROUP_CLAIM_MAX) {
        resp_fail(op, "ERR XCLAIM takes 1 to %d IDs", GROUP_CLAIM_MAX);
        return;
    }
    claim_find(op);
}

void resp_xautoclaim(struct resp_op *op)
{
    struct claim_state *state = claim_init(op);
    int64_t idle_ms;
    int64_t count = 100;
    state->idle = true;
    if (!claim_number(op, 4, "min-idle-time", &idle_ms) ||
        !range_parse_end(op, op->arguments[5], true, &state->from)) {
        return;
    }
    state->idle_ms = idle_ms < 0 ? 0 : (uint64_t)idle_ms;
    for (uint32_t i = 6; i < op->count; i++) {
        if (resp_argument_is(op, i, "JUSTID")) {
            state->just_id = true;
        } else if (resp_argument_is(op, i, "COUNT") && i + 1 < op->count) {
            i++;
            if (!resp_parse_i64(op->arguments[i], &count) || count < 1 ||
                count > INT64_MAX / (int64_t)sizeof(struct stream_id)) {
                resp_fail(op, "ERR COUNT must be > 0");
                return;
            }
        } else {
            resp_fail_syntax(op);
            return;
        }
    }
    /* More than are claimed at once are claimed with the next cursor. */
    state->count = min_u64((uint64_t)count, GROUP_IDS_MAX);
    state->range.read.partial = true;
    claim_find(op);
}
