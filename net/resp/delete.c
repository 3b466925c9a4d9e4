/* XDEL, XSETID.
 *
 *     XDEL    (LOOK where the entry of an ID is)... -> DELETE those that are there -> ... how many
 *     XSETID  LOOK at the stream -> SET_LAST
 *
 * What was deleted is gone before the answer leaves, as safe as an entry that was added. Its place
 * in the log stays empty: no other entry moves. */
#include "core/assert.h"
#include "net/resp/group.h"
#include "net/resp/text.h"

struct delete_state {
    struct resp_op *op;
    struct request request;
    struct delete_record records[DELETE_RECORDS_MAX];
    uint32_t next, count; /* The argument that is looked for; records so far. */
    uint64_t deleted;
};

struct set_state {
    struct resp_op *op;
    struct request request;
    struct stream_facts facts;
    struct stream_id last, deleted_max;
    int64_t added; /* -1: it stays. */
};

_Static_assert(sizeof(struct delete_state) <= RESP_DELETE_BYTES, "the command table's");
_Static_assert(sizeof(struct set_state) <= RESP_DELETE_BYTES, "the command table's");

/* --- XDEL. --- */

static void delete_step(struct resp_op *op);

static struct delete_state *delete_of(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    return CONTAINER_OF(request, struct delete_state, request);
}

/* What was deleted before stays so. */
static void delete_fail(struct delete_state *state, enum err err)
{
    struct resp_op *op = state->op;
    if (err == ERR_DELETIONS) {
        resp_fail(op, "ERR %s (XTRIM, or retention); %llu of these are deleted", err_text(err),
                  (unsigned long long)state->deleted);
    } else {
        resp_fail_err(op, err);
    }
}

static void delete_done(struct completion *completion)
{
    struct delete_state *state = delete_of(completion);
    if (completion->result < 0) {
        delete_fail(state, (enum err)completion->result);
        return;
    }
    state->deleted += state->request.delete.deleted;
    state->count = 0;
    delete_step(state->op);
}

static void delete_looked(struct completion *completion)
{
    struct delete_state *state = delete_of(completion);
    const struct request_identify *identify = &state->request.identify;
    if (completion->result < 0) {
        delete_fail(state, (enum err)completion->result);
        return;
    }
    if (identify->exact && identify->offset < identify->high_watermark) {
        state->records[state->count++] =
            (struct delete_record){.offset = identify->offset, .id = identify->id};
    }
    state->next++;
    delete_step(state->op);
}

static void delete_step(struct resp_op *op)
{
    struct delete_state *state = op->state;
    bool over = state->next == op->count;
    if (state->count == DELETE_RECORDS_MAX || (over && state->count > 0)) {
        state->request.delete =
            (struct request_delete){.records = state->records, .count = state->count};
        resp_submit(state->op, &state->request, REQUEST_DELETE, delete_done);
        return;
    }
    if (over) {
        resp_answer_integer(op, (int64_t)state->deleted);
        return;
    }
    state->request.identify = (struct request_identify){0};
    bool sound = resp_parse_id(op->arguments[state->next], 0, &state->request.identify.id, NULL);
    ASSERT(sound);
    resp_submit(state->op, &state->request, REQUEST_IDENTIFY, delete_looked);
}

void resp_xdel(struct resp_op *op)
{
    struct delete_state *state = op->state;
    struct stream_id id;
    state->op = op;
    state->next = 2;
    for (uint32_t i = 2; i < op->count; i++) {
        if (!resp_group_id(op, op->arguments[i], &id)) {
            return;
        }
    }
    if (resp_find_or_zero(op, op->arguments[1], &state->request.partition)) {
        delete_step(op);
    }
}

/* --- XSETID. --- */

static struct set_state *set_of(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    return CONTAINER_OF(request, struct set_state, request);
}

/* Also in a stream without entries: IDs never go back, for readers and groups know the old ones. */
static void set_fail_smaller(struct resp_op *op)
{
    resp_fail(op, "ERR The ID specified in XSETID is smaller than the target stream top item");
}

static void set_done(struct completion *completion)
{
    struct set_state *state = set_of(completion);
    if (completion->result == ERR_STREAM_ID) {
        set_fail_smaller(state->op);
    } else if (completion->result < 0) {
        resp_fail_err(state->op, (enum err)completion->result);
    } else {
        resp_answer_ok(state->op);
    }
}

static void set_looked(struct completion *completion)
{
    struct set_state *state = set_of(completion);
    struct resp_op *op = state->op;
    const struct request_identify *identify = &state->request.identify;
    uint64_t length = identify->high_watermark - identify->log_start - state->facts.deleted;
    if (completion->result < 0) {
        resp_fail_err(op, (enum err)completion->result);
    } else if (stream_id_compare(state->last, state->facts.deleted_max) < 0) {
        resp_fail(op, "ERR The ID specified in XSETID is smaller than current "
                      "max_deleted_entry_id");
    } else if (stream_id_compare(state->last, identify->last) < 0) {
        set_fail_smaller(op);
    } else if (state->added >= 0 && (uint64_t)state->added < length) {
        resp_fail(op, "ERR The entries_added specified in XSETID is smaller than the target stream "
                      "length");
    } else {
        state->request.set_last = (struct request_set_last){
            .last = state->last,
            .sets_added = state->added >= 0,
            .entries_added = state->added < 0 ? 0 : (uint64_t)state->added,
            .deleted_max = state->deleted_max,
        };
        resp_submit(state->op, &state->request, REQUEST_SET_LAST, set_done);
    }
}

/* ENTRIESADDED n, MAXDELETEDID id; false: answered. */
static bool set_options(struct resp_op *op, struct set_state *state)
{
    for (uint32_t i = 3; i < op->count; i += 2) {
        bool more = i + 1 < op->count;
        if (more && resp_argument_is(op, i, "ENTRIESADDED")) {
            if (!resp_parse_i64(op->arguments[i + 1], &state->added)) {
                resp_fail_integer(op);
                return false;
            }
            if (state->added < 0) {
                resp_fail(op, "ERR entries_added must be positive");
                return false;
            }
        } else if (more && resp_argument_is(op, i, "MAXDELETEDID")) {
            if (!resp_group_id(op, op->arguments[i + 1], &state->deleted_max)) {
                return false;
            }
            if (stream_id_compare(state->last, state->deleted_max) < 0) {
                resp_fail(op, "ERR The ID specified in XSETID is smaller than the provided "
                              "max_deleted_entry_id");
                return false;
            }
        } else {
            resp_fail_syntax(op);
            return false;
        }
    }
    return true;
}

void resp_xsetid(struct resp_op *op)
{
    struct set_state *state = op->state;
    state->op = op;
    state->added = -1;
    if (!resp_group_id(op, op->arguments[2], &state->last) || !set_options(op, state)) {
        return;
    }
    enum err err = resp_find_key(op, op->arguments[1], &state->request.partition);
    if (err == ERR_TOPIC_UNKNOWN) {
        resp_fail(op, "ERR no such key");
    } else if (err != OK) {
        resp_fail_told(op);
    } else {
        state->request.identify =
            (struct request_identify){.ends_only = true, .facts = &state->facts};
        resp_submit(state->op, &state->request, REQUEST_IDENTIFY, set_looked);
    }
}
