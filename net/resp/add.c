/* Commands that change a stream: XADD, XTRIM, PUT; XLEN.
 *
 *     XADD   key unknown -> the map makes the topic -> append -> (MINID: look the ID up) -> trim
 *     XTRIM  look the ID, or the ends, up -> trim
 *            where entries were deleted: -> how far back do so many go? ... -> how many go? -> trim
 *
 * Commands in a row to one stream (run.h) are one batch; the shard puts the batches of a turn into
 * one frame. */
#include "core/assert.h"
#include "core/cover.h"
#include "net/resp/fields.h"
#include "net/resp/resp.h"
#include "net/resp/text.h"
#include "net/resp/trim.h"

#include <stddef.h>
#include <string.h>

struct add_state {
    struct resp_op *op;
    struct request request;
    struct resp_trim trim;
    struct record_input record;
    char order[FIELDS_ORDER_BYTES];
    uint32_t fields_at; /* Of a PUT: the value's place. */
    bool existing;      /* NOMKSTREAM */
    bool put;
    enum produce_id id_kind;
    struct stream_id id;
    struct stream_facts facts;
    uint64_t log_start, log_end, target;
    uint64_t gone;                 /* Of what is trimmed: so many were deleted before. */
    struct resp_proposal proposal; /* Not zeroed at first. */
};

_Static_assert(offsetof(struct add_state, proposal) <= RESP_ADD_ZEROED_BYTES, "all but the change");
_Static_assert(sizeof(struct add_state) <= RESP_ADD_BYTES, "the command table's");

/* A field takes no more bytes in a record than in an array, and three more than in a line. */
static uint64_t batch_room(struct bytes frame, uint32_t count, uint32_t commands)
{
    return resp_run_room(frame.size, commands) + 3ULL * count + 128;
}

uint64_t resp_add_room(struct bytes frame, uint32_t count, uint32_t commands)
{
    enum { REPLY_BYTES = 24 }; /* An ID; larger ones have a block of their own. */

    uint64_t headers = (count / 2 + 2ULL) * sizeof(struct record_header);
    uint64_t arguments = commands > 1 ? count * sizeof(struct bytes) : 0;
    return headers + arguments + batch_room(frame, count, commands) +
           (commands - 1ULL) * REPLY_BYTES;
}

bool resp_add_is_plain(struct resp_op *op)
{
    struct partition_id id;
    if (op->count < 3 || resp_find_key(op, op->arguments[1], &id) != OK) {
        return false;
    }
    struct bytes third = op->arguments[2];
    bool is_id =
        third.size > 0 && (third.data[0] == '*' || (third.data[0] >= '0' && third.data[0] <= '9'));
    return op->command->start == resp_put || is_id;
}

static struct resp_op *add_op(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    return CONTAINER_OF(request, struct add_state, request)->op;
}

/* --- The answer. --- */

static void encode_ids(struct resp_op *op, struct resp_writer *writer)
{
    const struct add_state *add = op->state;
    struct stream_id first = {add->id.ms, add->id.seq + op->unanswered};
    resp_write_ids(writer, first, op->commands - op->unanswered);
}

static void encode_offsets(struct resp_op *op, struct resp_writer *writer)
{
    for (uint32_t i = op->unanswered; i < op->commands; i++) {
        resp_write_integer(writer, op->integer + i);
    }
}

/* `trimmed`: so many records went. */
static void add_finish(struct resp_op *op, uint64_t trimmed)
{
    const struct add_state *add = op->state;
    if (op->command->start == resp_xtrim) {
        resp_answer_integer(op, (int64_t)trimmed);
    } else if (add->put) {
        resp_answer(op, encode_offsets);
    } else {
        resp_answer(op, encode_ids);
    }
}

/* --- Trimming. --- */

/* Entries that were appended are answered, or they would be sent again: the next XADD trims. */
static void trim_fail(struct resp_op *op, enum err err)
{
    if (op->command->start == resp_xtrim) {
        resp_fail_err(op, err);
    } else {
        COVER("entries are appended, and then the trim fails");
        add_finish(op, 0);
    }
}

static void trim_done(struct completion *completion)
{
    struct resp_op *op = add_op(completion);
    struct add_state *add = op->state;
    if (completion->result < 0) {
        trim_fail(op, (enum err)completion->result);
        return;
    }
    uint64_t log_start = add->request.trim.log_start;
    add_finish(op,
               log_start > add->log_start + add->gone ? log_start - add->log_start - add->gone : 0);
}

static void trim_submit(struct resp_op *op)
{
    struct add_state *add = op->state;
    add->request.trim = (struct request_trim){.offset = (int64_t)add->target};
    resp_submit(op, &add->request, REQUEST_TRIM, trim_done);
}

/* How many were deleted in [from, to). */
static void trim_ask(struct resp_op *op, uint64_t from, uint64_t to, completion_fn *done)
{
    struct add_state *add = op->state;
    add->facts = (struct stream_facts){.from = from, .to = to};
    add->request.identify = (struct request_identify){.ends_only = true, .facts = &add->facts};
    resp_submit(op, &add->request, REQUEST_IDENTIFY, done);
}

static void trim_counted(struct completion *completion)
{
    struct resp_op *op = add_op(completion);
    struct add_state *add = op->state;
    if (completion->result < 0) {
        trim_fail(op, (enum err)completion->result);
        return;
    }
    add->gone = add->facts.deleted_between;
    trim_submit(op);
}

static void trim_decide(struct resp_op *op, uint64_t offset)
{
    struct add_state *add = op->state;
    add->target = resp_trim_target(&add->trim, add->log_start, add->log_end, offset,
                                   op->net->resp.node_entries);
    if (add->target <= add->log_start) {
        add_finish(op, 0);
    } else if (op->command->start == resp_xtrim && add->facts.deleted > 0) {
        trim_ask(op, add->log_start, add->target, trim_counted);
    } else {
        trim_submit(op);
    }
}

/* Those that stay begin earlier, the more of them are gone. */
static void trim_looked_live(struct completion *completion)
{
    struct resp_op *op = add_op(completion);
    struct add_state *add = op->state;
    if (completion->result < 0) {
        trim_fail(op, (enum err)completion->result);
        return;
    }
    uint64_t from =
        resp_live_from(add->log_start, add->log_end, add->trim.length, add->facts.deleted_between);
    if (from < add->target) {
        add->target = from;
        trim_ask(op, from, add->log_end, trim_looked_live);
        return;
    }
    add->trim.length = add->log_end - from;
    trim_decide(op, 0);
}

static void trim_looked(struct completion *completion)
{
    struct resp_op *op = add_op(completion);
    struct add_state *add = op->state;
    if (completion->result < 0) {
        trim_fail(op, (enum err)completion->result);
        return;
    }
    const struct request_identify *identify = &add->request.identify;
    add->log_start = identify->log_start;
    add->log_end = identify->high_watermark;
    uint64_t room = add->log_end - add->log_start;
    if (add->trim.kind == RESP_TRIM_LENGTH && add->facts.deleted > 0 && room > add->trim.length) {
        add->target = add->log_end - add->trim.length;
        trim_ask(op, add->target, add->log_end, trim_looked_live);
        return;
    }
    trim_decide(op, identify->offset);
}

static void trim_look(struct resp_op *op)
{
    struct add_state *add = op->state;
    add->facts = (struct stream_facts){0};
    add->request.identify = (struct request_identify){
        .id = add->trim.id, .ends_only = add->trim.kind == RESP_TRIM_LENGTH, .facts = &add->facts};
    resp_submit(op, &add->request, REQUEST_IDENTIFY, trim_looked);
}

void resp_xtrim(struct resp_op *op)
{
    struct add_state *add = op->state;
    const char *error = "ERR syntax error";
    uint32_t at = 2;
    bool sound = true;
    add->op = op;
    while (sound && at < op->count) {
        uint32_t before = at;
        sound = resp_trim_parse(op->arguments, op->count, &at, &add->trim, &error);
        if (sound && at == before) {
            error = "ERR syntax error";
            sound = false;
        }
    }
    sound = sound && resp_trim_check(&add->trim, &error);
    if (sound && add->trim.kind == RESP_TRIM_NONE) {
        error = "ERR syntax error, XTRIM must be called with a trimming strategy";
        sound = false;
    }
    if (!sound) {
        resp_fail(op, "%s", error);
        return;
    }
    if (resp_find_or_zero(op, op->arguments[1], &add->request.partition)) {
        trim_look(op);
    }
}

/* --- Appending. --- */

void resp_explain_append(struct resp_op *op, enum err err)
{
    if (err == ERR_STREAM_ID) {
        resp_explain(op, "ERR The stream has exhausted the last possible ID, unable to add more "
                         "items");
    } else {
        resp_explain_err(op, err);
    }
}

static void add_done(struct completion *completion)
{
    struct resp_op *op = add_op(completion);
    struct add_state *add = op->state;
    const struct request_produce *produce = &add->request.produce;
    enum err err = (enum err)completion->result;
    if (err == ERR_STREAM_ID && add->id_kind != PRODUCE_ID_AUTO) {
        resp_fail(op, "ERR The ID specified in XADD is equal or smaller than the target stream top "
                      "item");
        return;
    }
    if (op->commands > 1 && (err == ERR_BATCH_TOO_LARGE || err == ERR_BATCH_KEY)) {
        COVER("the settings of a topic change while a run of entries is on its way");
        resp_fail(op, "TRYAGAIN settings of the topic have just changed, send it again");
        return;
    }
    if (err != OK) {
        resp_explain_append(op, err);
        resp_fail_told(op);
        return;
    }
    add->id = produce->id;
    op->integer = (int64_t)produce->base_offset;
    bool trims = add->trim.kind == RESP_TRIM_ID;
    if (add->trim.kind == RESP_TRIM_LENGTH) { /* Deleted entries only make it less. */
        uint64_t end = produce->base_offset + op->commands;
        trims = resp_trim_target(&add->trim, produce->log_start, end, 0,
                                 op->net->resp.node_entries) > produce->log_start;
    }
    if (trims) {
        trim_look(op);
    } else {
        add_finish(op, 0);
    }
}

/* What the arguments behind the head of a command are as a record. */
static void add_record(struct add_state *add, const struct bytes *arguments, uint32_t count,
                       struct record_header *headers)
{
    add->record = (struct record_input){.timestamp = add->record.timestamp};
    if (add->put) {
        add->record.value = arguments[0];
    } else {
        fields_encode(arguments, count / 2, &add->record, headers, add->order);
    }
}

/* Each command's entry, one behind the other; false: one is larger than any batch can be. */
static bool add_encode(struct resp_op *op, struct record_batch *batch)
{
    struct add_state *add = op->state;
    struct call *call = op->call;
    uint32_t behind = op->count - add->fields_at;
    uint64_t headers_bytes = (behind / 2 + 1ULL) * sizeof(struct record_header);
    struct record_header *headers = call_take_part(call, headers_bytes, 0);
    add->record.timestamp = (int64_t)op->net->reactor->now_ms;
    if (op->commands == 1) {
        add_record(add, op->arguments + add->fields_at, behind, headers);
        return record_batch_add(batch, &add->record);
    }
    struct bytes *arguments = call_take_part(call, behind * sizeof(struct bytes), 0);
    uint32_t position = 0;
    bool added = true;
    for (uint32_t i = 0; i < op->commands && added; i++) {
        resp_run_next(call->frame, op->run_head, behind, &position, arguments);
        add_record(add, arguments, behind, headers);
        added = record_batch_add(batch, &add->record);
    }
    ASSERT(position == call->frame.size);
    return added;
}

static void add_append(struct resp_op *op)
{
    struct add_state *add = op->state;
    struct record_batch batch;
    uint64_t room = batch_room(op->call->frame, op->count, op->commands);
    record_batch_begin(&batch, call_take_part(op->call, room, 0), (uint32_t)room);
    if (!add_encode(op, &batch)) {
        ASSERT(op->commands == 1);
        resp_fail_err(op, ERR_TOO_LARGE);
        return;
    }
    add->request.produce = (struct request_produce){
        .batch = record_batch_end(&batch),
        .made_here = true,
        .id_kind = add->id_kind,
        .id = add->id,
    };
    resp_submit(op, &add->request, REQUEST_PRODUCE, add_done);
}

static void add_created(struct resp_op *op, enum err err)
{
    struct add_state *add = op->state;
    if (err == OK) {
        err = resp_find_key(op, op->arguments[1], &add->request.partition);
    }
    if (err == ERR_INVALID && op->error[0] != 0) {
        resp_fail_told(op);
    } else if (err != OK) {
        resp_fail_err(op, err);
    } else {
        add_append(op);
    }
}

static void add_begin(struct resp_op *op)
{
    struct add_state *add = op->state;
    add->op = op;
    enum err err = resp_find_key(op, op->arguments[1], &add->request.partition);
    if (err == ERR_TOPIC_UNKNOWN && add->put) {
        resp_fail(op, "ERR unknown topic %.*s", (int)min_u32(op->arguments[1].size, 200),
                  op->arguments[1].size == 0 ? "" : (const char *)op->arguments[1].data);
        return;
    }
    if (err == ERR_TOPIC_UNKNOWN && add->existing) {
        resp_answer_null(op);
        return;
    }
    if (err == ERR_TOPIC_UNKNOWN) {
        add->proposal = (struct resp_proposal){.op = op};
        op->proposal = &add->proposal;
        err = resp_create(op, op->arguments[1], 1, false, add_created);
        if (err != OK) {
            resp_fail_told(op);
        }
        return;
    }
    if (err != OK) {
        resp_fail_told(op);
        return;
    }
    add_append(op);
}

/* "*", "5-*", "5", "5-3". */
static bool add_parse_id(struct resp_op *op, struct bytes text)
{
    struct add_state *add = op->state;
    if (text.size == 1 && text.data[0] == '*') {
        add->id_kind = PRODUCE_ID_AUTO;
        return true;
    }
    if (text.size > 2 && memcmp(text.data + text.size - 2, "-*", 2) == 0) {
        bool whole;
        add->id_kind = PRODUCE_ID_MS;
        text.size -= 2;
        if (resp_parse_id(text, 0, &add->id, &whole) && !whole) {
            return true;
        }
    } else {
        add->id_kind = PRODUCE_ID_EXACT;
        bool digit = text.size > 0 && text.data[0] != '-' && text.data[0] != '+';
        if (digit && resp_parse_id(text, 0, &add->id, NULL)) {
            if (add->id.ms != 0 || add->id.seq != 0) {
                return true;
            }
            resp_fail(op, "ERR The ID specified in XADD must be greater than 0-0");
            return false;
        }
    }
    resp_fail(op, "ERR Invalid stream ID specified as stream command argument");
    return false;
}

void resp_xadd(struct resp_op *op)
{
    struct add_state *add = op->state;
    const char *error;
    uint32_t at = 2;
    for (uint32_t before = 0; at < op->count && at != before;) {
        before = at;
        if (resp_argument_is(op, at, "NOMKSTREAM")) {
            add->existing = true;
            at++;
        } else if (!resp_trim_parse(op->arguments, op->count, &at, &add->trim, &error)) {
            resp_fail(op, "%s", error);
            return;
        }
    }
    if (at >= op->count) {
        resp_fail_arity(op);
        return;
    }
    if (!add_parse_id(op, op->arguments[at])) {
        return;
    }
    add->fields_at = at + 1;
    if (op->count - add->fields_at < 2 || (op->count - add->fields_at) % 2 != 0) {
        resp_fail_arity(op);
        return;
    }
    if (!resp_trim_check(&add->trim, &error)) {
        resp_fail(op, "%s", error);
        return;
    }
    add_begin(op);
}

void resp_put(struct resp_op *op)
{
    struct add_state *add = op->state;
    add->put = true;
    add->fields_at = 2;
    add_begin(op);
}

/* --- Others. --- */

static void len_done(struct completion *completion)
{
    struct resp_op *op = add_op(completion);
    const struct add_state *add = op->state;
    const struct request_identify *identify = &add->request.identify;
    if (completion->result < 0) {
        resp_fail_err(op, (enum err)completion->result);
        return;
    }
    uint64_t length = identify->high_watermark - identify->log_start - add->facts.deleted;
    resp_answer_integer(op, (int64_t)length);
}

void resp_xlen(struct resp_op *op)
{
    struct add_state *add = op->state;
    add->op = op;
    if (resp_find_or_zero(op, op->arguments[1], &add->request.partition)) {
        add->request.identify = (struct request_identify){.ends_only = true, .facts = &add->facts};
        resp_submit(op, &add->request, REQUEST_IDENTIFY, len_done);
    }
}

/* --- REGISTER. --- */

struct register_state {
    struct resp_proposal proposal;
};

_Static_assert(sizeof(struct register_state) <= RESP_CHANGE_BYTES, "the command table's");

static void register_done(struct resp_op *op, enum err err)
{
    if (err == OK) {
        resp_answer_ok(op);
    } else {
        resp_fail_err(op, err);
    }
}

/* Idempotent: that a topic is there is all that is asked. */
void resp_register(struct resp_op *op)
{
    struct register_state *state = op->state;
    struct bytes key = op->arguments[1];
    uint64_t partitions = 1;
    struct partition_id id;
    bool counted = op->count == 4 && resp_argument_is(op, 2, "PARTITIONS");
    if (op->count != 2 && !counted) {
        resp_fail_syntax(op);
        return;
    }
    if (counted && (!resp_parse_u64(op->arguments[3], &partitions) || partitions == 0 ||
                    partitions > TOPIC_PARTITIONS_MAX)) {
        resp_fail(op, "ERR a topic has 1 to %d partitions", TOPIC_PARTITIONS_MAX);
        return;
    }
    if (map_topic_by_name(resp_map(op), key) != NULL) {
        resp_answer_ok(op);
        return;
    }
    enum err err = resp_find_key(op, key, &id);
    if (err == OK) {
        resp_answer_ok(op);
    } else if (err != ERR_TOPIC_UNKNOWN) {
        resp_fail_told(op);
    } else {
        op->proposal = &state->proposal;
        err = resp_create(op, key, (uint32_t)partitions, true, register_done);
        ASSERT(err == OK);
    }
}
