/* What commands about groups share; see the header. */
#include "net/resp/group.h"

#include "core/assert.h"
#include "net/resp/text.h"

#include <stdio.h>
#include <string.h>

const char group_none[] = "a key or a group";
const char group_none_xinfo[] = "a group of a key";

/* --- Wishes. --- */

static void group_released(struct completion *completion)
{
    struct group_call *call = CONTAINER_OF(completion, struct group_call, released);
    struct resp_group *group = CONTAINER_OF(call, struct resp_group, call);
    resp_over(group->op);
}

/* The reply has left: what the wish brought goes back. */
static void group_sent(struct resp_op *op)
{
    struct resp_group *group = op->state;
    completion_init(&group->call.released, group_released);
    if (!group_release(op->net, &group->call)) {
        resp_over(op);
    }
}

static void group_answered(struct completion *completion)
{
    struct group_call *call = CONTAINER_OF(completion, struct group_call, done);
    struct resp_group *group = CONTAINER_OF(call, struct resp_group, call);
    group->done(group->op, (enum group_code)completion->result);
}

void resp_group_ask(struct resp_op *op, struct resp_group *group, enum stream_wish_kind kind,
                    const struct partition_id *partition, resp_group_fn *done)
{
    group->op = op;
    group->done = done;
    group->wish.kind = kind;
    group->wish.key =
        (struct stream_key){.topic = partition->topic, .partition = partition->partition};
    group->call.kind = GROUP_STREAM;
    group->call.stream = &group->wish;
    completion_init(&group->call.done, group_answered);
    group_submit(op->net, &group->call);
}

static int shown(struct bytes text)
{
    return (int)min_u32(text.size, 80);
}

static const char *shown_text(struct bytes text)
{
    return text.size == 0 ? "" : (const char *)text.data;
}

static void fail_none(struct resp_op *op, const char *none, struct bytes key, struct bytes name)
{
    if (none == group_none_xinfo) {
        resp_fail(op, "NOGROUP No such consumer group '%.*s' for key name '%.*s'", shown(name),
                  shown_text(name), shown(key), shown_text(key));
    } else if (none == group_none) {
        resp_fail(op, "NOGROUP No such key '%.*s' or consumer group '%.*s'", shown(key),
                  shown_text(key), shown(name), shown_text(name));
    } else {
        resp_fail(op,
                  "NOGROUP No such key '%.*s' or consumer group '%.*s' in XREADGROUP with GROUP "
                  "option",
                  shown(key), shown_text(key), shown(name), shown_text(name));
    }
}

void resp_group_fail(struct resp_op *op, enum group_code code, const char *none, struct bytes key,
                     struct bytes name)
{
    if (code == GROUP_LOADING) {
        resp_fail(op, "LOADING the log of groups is being read, retry");
    } else if (code == GROUP_NOT_FOUND) {
        fail_none(op, none, key, name);
    } else if (code == GROUP_EXISTS) {
        resp_fail(op, "BUSYGROUP Consumer Group name already exists");
    } else if (code == GROUP_LIMIT) {
        resp_fail(op,
                  "ERR groups of readers have no memory left on this core, or this one has %d "
                  "consumers: acknowledge entries (XACK), delete consumers or groups (XGROUP)",
                  STREAM_READERS_MAX);
    } else if (code == GROUP_TOO_LARGE) {
        resp_fail(op, "ERR the reply is larger than a block of memory; use a smaller COUNT");
    } else {
        resp_fail(op, "TRYAGAIN the core of the group cannot serve it now");
    }
}

bool resp_group_name(struct resp_op *op, struct bytes name)
{
    if (name.size == 0 || name.size > STREAM_NAME_BYTES_MAX) {
        resp_fail(op, "ERR the name of a group or a consumer has 1 to %d bytes",
                  STREAM_NAME_BYTES_MAX);
        return false;
    }
    return true;
}

bool resp_group_id(struct resp_op *op, struct bytes text, struct stream_id *id)
{
    bool digit = text.size > 0 && text.data[0] >= '0' && text.data[0] <= '9';
    if (!digit || !resp_parse_id(text, 0, id, NULL)) {
        resp_fail(op, "ERR Invalid stream ID specified as stream command argument");
        return false;
    }
    return true;
}

/* --- Memory for IDs. --- */

enum err group_ids_open(struct resp_op *op, struct group_ids *ids, uint32_t capacity,
                        completion_fn *again)
{
    struct memory *memory = op->net->reactor->memory;
    uint64_t size = (uint64_t)capacity * (sizeof(struct stream_id) + 1);
    ASSERT(capacity > 0 && ids->block == NULL && size <= memory_block_max(memory));
    ids->block = block_acquire(memory, call_memory_class(size), (uint32_t)size);
    if (ids->block == NULL) {
        op->call->memory_wanted = (uint32_t)size;
        call_await_memory(op->call, again);
        return ERR_NO_MEMORY;
    }
    ids->capacity = capacity;
    ids->ids = (struct read_ids){
        .at = (struct stream_id *)(void *)ids->block->data,
        .found = ids->block->data + (uint64_t)capacity * sizeof(struct stream_id),
    };
    return OK;
}

void group_ids_close(struct group_ids *ids)
{
    if (ids->block != NULL) {
        block_unref(ids->block);
        ids->block = NULL;
    }
}

/* --- XGROUP. --- */

/* The front is the wish, for group_sent(). */
struct group_state {
    struct resp_group group;
    struct resp_proposal proposal;
    struct request request;
    struct partition_id partition;
    struct group_ids ids;
    bool make, at_end, pending_all;
    resp_group_fn *answer;
    enum stream_wish_kind kind;
};

_Static_assert(sizeof(struct group_state) <= RESP_GROUP_BYTES, "the command table's");

static struct bytes group_key(const struct resp_op *op)
{
    return op->arguments[op->command->start == resp_xgroup ? 2 : 1];
}

static void xgroup_answer(struct resp_op *op, enum group_code code)
{
    const struct group_state *state = op->state;
    bool counts = state->kind == STREAM_READER_ADD || state->kind == STREAM_READER_DROP;
    if (state->kind == STREAM_DESTROY && (code == GROUP_OK || code == GROUP_NOT_FOUND)) {
        resp_answer_integer(op, code == GROUP_OK ? 1 : 0);
    } else if (code != GROUP_OK) {
        resp_group_fail(op, code, group_none_xinfo, op->arguments[2], op->arguments[3]);
    } else if (counts) {
        resp_answer_integer(op, (int64_t)state->group.wish.number);
    } else {
        resp_answer_ok(op);
    }
}

static void xgroup_ask(struct resp_op *op)
{
    struct group_state *state = op->state;
    resp_group_ask(op, &state->group, state->kind, &state->partition, xgroup_answer);
}

/* `$`: the stream's last ID. */
static void xgroup_looked(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct group_state *state = CONTAINER_OF(request, struct group_state, request);
    struct resp_op *op = state->group.op;
    if (completion->result < 0) {
        resp_fail_err(op, (enum err)completion->result);
        return;
    }
    state->group.wish.id = request->identify.last;
    xgroup_ask(op);
}

static void xgroup_look(struct resp_op *op)
{
    struct group_state *state = op->state;
    if (!state->at_end) {
        xgroup_ask(op);
        return;
    }
    state->request.partition = state->partition;
    state->request.identify = (struct request_identify){.ends_only = true};
    resp_submit(op, &state->request, REQUEST_IDENTIFY, xgroup_looked);
}

static void xgroup_made(struct resp_op *op, enum err err)
{
    struct group_state *state = op->state;
    if (err == OK) {
        err = resp_find_key(op, op->arguments[2], &state->partition);
    }
    if (err == ERR_INVALID && op->error[0] != 0) {
        resp_fail_told(op);
    } else if (err != OK) {
        resp_fail_err(op, err);
    } else {
        xgroup_look(op);
    }
}

static void xgroup_find(struct resp_op *op)
{
    struct group_state *state = op->state;
    enum err err = resp_find_key(op, op->arguments[2], &state->partition);
    if (err == ERR_TOPIC_UNKNOWN && state->make) {
        op->proposal = &state->proposal;
        err = resp_create(op, op->arguments[2], 1, false, xgroup_made);
        if (err != OK) {
            resp_fail_told(op);
        }
        return;
    }
    if (err == ERR_TOPIC_UNKNOWN) {
        resp_fail(op, "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE "
                      "you may want to use the MKSTREAM option to create an empty stream "
                      "automatically.");
    } else if (err != OK) {
        resp_fail_told(op);
    } else {
        xgroup_look(op);
    }
}

/* MKSTREAM, ENTRIESREAD; false: answered. */
static bool xgroup_options(struct resp_op *op)
{
    struct group_state *state = op->state;
    struct stream_wish *wish = &state->group.wish;
    bool sets = state->kind == STREAM_CREATE || state->kind == STREAM_SETID;
    wish->entries_read = -1;
    for (uint32_t i = 5; i < op->count; i++) {
        if (state->kind == STREAM_CREATE && resp_argument_is(op, i, "MKSTREAM")) {
            state->make = true;
        } else if (sets && resp_argument_is(op, i, "ENTRIESREAD") && i + 1 < op->count) {
            i++;
            if (!resp_parse_i64(op->arguments[i], &wish->entries_read)) {
                resp_fail_integer(op);
                return false;
            }
            if (wish->entries_read < -1) {
                resp_fail(op, "ERR value for ENTRIESREAD must be positive or -1");
                return false;
            }
        } else {
            resp_fail_subcommand_arity(op);
            return false;
        }
    }
    return true;
}

static bool xgroup_id(struct resp_op *op)
{
    struct group_state *state = op->state;
    struct bytes text = op->arguments[4];
    struct stream_id *id = &state->group.wish.id;
    bool least = text.size == 1 && (text.data[0] == '-' || text.data[0] == '+');
    state->at_end = text.size == 1 && text.data[0] == '$';
    if (state->at_end) {
        return true;
    }
    if (least && state->kind == STREAM_SETID) { /* It takes the ends of ranges as well. */
        return resp_parse_id(text, 0, id, NULL);
    }
    return resp_group_id(op, text, id);
}

static void encode_xgroup_help(struct resp_op *op, struct resp_writer *writer)
{
    static const char *const lines[] = {
        "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CREATE <key> <groupname> <id|$> [MKSTREAM] [ENTRIESREAD entries_read]",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "DELCONSUMER <key> <groupname> <consumer>",
        "DESTROY <key> <groupname>",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    };
    (void)op;
    resp_write_array(writer, ARRAY_COUNT(lines));
    for (uint32_t i = 0; i < ARRAY_COUNT(lines); i++) {
        resp_write_simple(writer, lines[i]);
    }
}

static const struct {
    const char *name;
    enum stream_wish_kind kind;
    uint32_t least, most; /* Arguments. */
} subcommands[] = {
    {"CREATE", STREAM_CREATE, 5, 8},           {"SETID", STREAM_SETID, 5, 7},
    {"DESTROY", STREAM_DESTROY, 4, 4},         {"CREATECONSUMER", STREAM_READER_ADD, 5, 5},
    {"DELCONSUMER", STREAM_READER_DROP, 5, 5},
};

static bool xgroup_subcommand(struct resp_op *op, struct group_state *state)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(subcommands); i++) {
        if (!resp_argument_is(op, 1, subcommands[i].name)) {
            continue;
        }
        if (op->count < subcommands[i].least || op->count > subcommands[i].most) {
            resp_fail_subcommand_arity(op);
            return false;
        }
        state->kind = subcommands[i].kind;
        return true;
    }
    resp_fail_subcommand(op);
    return false;
}

void resp_xgroup(struct resp_op *op)
{
    struct group_state *state = op->state;
    struct stream_wish *wish = &state->group.wish;
    if (resp_argument_is(op, 1, "HELP")) {
        if (op->count == 2) {
            resp_answer(op, encode_xgroup_help);
        } else {
            resp_fail_subcommand_arity(op);
        }
        return;
    }
    state->group.op = op;
    op->sent = group_sent;
    if (!xgroup_subcommand(op, state)) {
        return;
    }
    bool reader = state->kind == STREAM_READER_ADD || state->kind == STREAM_READER_DROP;
    bool sets = state->kind == STREAM_CREATE || state->kind == STREAM_SETID;
    wish->group = op->arguments[3];
    if (!resp_group_name(op, wish->group) || (sets && !xgroup_options(op)) ||
        (sets && !xgroup_id(op))) {
        return;
    }
    if (reader) {
        wish->reader = op->arguments[4];
        if (!resp_group_name(op, wish->reader)) {
            return;
        }
    }
    xgroup_find(op);
}

/* --- XACK. --- */

static void xack_answer(struct resp_op *op, enum group_code code)
{
    struct group_state *state = op->state;
    group_ids_close(&state->ids);
    if (code == GROUP_OK || code == GROUP_NOT_FOUND) {
        resp_answer_integer(op, (int64_t)state->group.wish.number);
    } else {
        resp_group_fail(op, code, group_none, group_key(op), op->arguments[2]);
    }
}

static void xack_go_on(struct resp_op *op);

static void xack_again(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    xack_go_on(CONTAINER_OF(waiter, struct call, waiter)->state);
}

static void xack_go_on(struct resp_op *op)
{
    struct group_state *state = op->state;
    struct stream_wish *wish = &state->group.wish;
    uint32_t count = op->count - 3;
    for (uint32_t i = 0; i < count; i++) { /* Before it holds anything: answered, it may be gone. */
        struct stream_id id;
        if (!resp_group_id(op, op->arguments[3 + i], &id)) {
            return;
        }
    }
    if (group_ids_open(op, &state->ids, count, xack_again) != OK) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        bool sound = resp_group_id(op, op->arguments[3 + i], &state->ids.ids.at[i]);
        ASSERT(sound);
    }
    wish->ids = state->ids.ids.at;
    wish->id_count = count;
    resp_group_ask(op, &state->group, STREAM_ACK, &state->partition, xack_answer);
}

void resp_xack(struct resp_op *op)
{
    struct group_state *state = op->state;
    state->group.op = op;
    op->sent = group_sent;
    state->group.wish.group = op->arguments[2];
    if (op->count - 3 > GROUP_CLAIM_MAX) {
        resp_fail(op, "ERR XACK takes %d IDs at most", GROUP_CLAIM_MAX);
        return;
    }
    if (!resp_group_name(op, op->arguments[2])) {
        return;
    }
    if (resp_find_or_zero(op, op->arguments[1], &state->partition)) {
        xack_go_on(op);
    }
}

/* --- XPENDING. --- */

static struct stream_id read_id(struct bytes_reader *reader)
{
    struct stream_id id = {.ms = read_le64(reader)};
    id.seq = read_le64(reader);
    return id;
}

static void encode_summary(struct resp_op *op, struct resp_writer *writer)
{
    const struct group_state *state = op->state;
    struct bytes_reader reader = bytes_reader(state->group.call.result);
    uint64_t pending = read_le64(&reader);
    resp_write_array(writer, 4);
    resp_write_integer(writer, (int64_t)pending);
    if (pending == 0) {
        resp_write_null(writer);
        resp_write_null(writer);
        resp_write_null_array(writer);
        return;
    }
    resp_write_id(writer, read_id(&reader));
    resp_write_id(writer, read_id(&reader));
    uint32_t count = read_le32(&reader);
    resp_write_array(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        char text[24];
        resp_write_array(writer, 2);
        resp_write_bulk(writer, group_read_text(&reader));
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)read_le64(&reader));
        resp_write_text(writer, text);
    }
    ASSERT(!reader.failed);
}

static void encode_pending(struct resp_op *op, struct resp_writer *writer)
{
    const struct group_state *state = op->state;
    struct bytes_reader reader = bytes_reader(state->group.call.result);
    uint32_t count = read_le32(&reader);
    resp_write_array(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        resp_write_array(writer, 4);
        resp_write_id(writer, read_id(&reader));
        resp_write_bulk(writer, group_read_text(&reader));
        resp_write_integer(writer, (int64_t)read_le64(&reader));
        resp_write_integer(writer, read_le32(&reader));
    }
    ASSERT(!reader.failed);
}

static void xpending_answer(struct resp_op *op, enum group_code code)
{
    const struct group_state *state = op->state;
    if (code != GROUP_OK) {
        resp_group_fail(op, code, group_none, op->arguments[1], op->arguments[2]);
        return;
    }
    resp_answer(op, state->kind == STREAM_SUMMARY ? encode_summary : encode_pending);
}

/* [IDLE ms] start end count [consumer]; false: answered. */
static bool xpending_parse(struct resp_op *op, struct stream_wish *wish)
{
    uint32_t at = 3;
    int64_t idle_ms = 0;
    int64_t count;
    if (resp_argument_is(op, 3, "IDLE")) {
        at = 5;
        if (!resp_parse_i64(op->arguments[4], &idle_ms)) {
            resp_fail_integer(op);
            return false;
        }
    }
    if (op->count < at + 3 || op->count > at + 4) {
        resp_fail_syntax(op);
        return false;
    }
    if (!resp_parse_i64(op->arguments[at + 2], &count)) {
        resp_fail_integer(op);
        return false;
    }
    wish->count = count < 0 ? 0 : (uint64_t)count;
    wish->idle_ms = idle_ms < 0 ? 0 : (uint64_t)idle_ms;
    if (op->count == at + 4) {
        wish->reader = op->arguments[at + 3];
    }
    return range_parse_end(op, op->arguments[at], true, &wish->id) &&
           range_parse_end(op, op->arguments[at + 1], false, &wish->id_end);
}

void resp_xpending(struct resp_op *op)
{
    struct group_state *state = op->state;
    state->group.op = op;
    op->sent = group_sent;
    state->group.wish.group = op->arguments[2];
    state->kind = op->count == 3 ? STREAM_SUMMARY : STREAM_PENDING;
    if (op->count != 3 && (op->count < 6 || op->count > 9)) {
        resp_fail_syntax(op);
        return;
    }
    if (op->count != 3 && !xpending_parse(op, &state->group.wish)) {
        return;
    }
    if (!resp_group_name(op, op->arguments[2])) {
        return;
    }
    enum err err = resp_find_key(op, op->arguments[1], &state->partition);
    if (err == ERR_TOPIC_UNKNOWN) {
        resp_group_fail(op, GROUP_NOT_FOUND, group_none, op->arguments[1], op->arguments[2]);
    } else if (err != OK) {
        resp_fail_told(op);
    } else {
        resp_group_ask(op, &state->group, state->kind, &state->partition, xpending_answer);
    }
}
