/* DescribeGroups (15), ListGroups (16) and DeleteGroups (42). */
#include "core/assert.h"
#include "net/kafka/groups.h"

/* --- Several groups by name. --- */

struct groups_op {
    struct kafka_group_op op;
    uint32_t count;
};

/* Reads names; fills calls if there are any yet, else only counts them. */
static bool groups_read(const struct kafka_request *request, enum group_kind kind,
                        struct group_call *calls, uint32_t *count)
{
    struct kafka_reader body = request->body;
    *count = kafka_read_count(&body, 1);
    for (uint32_t i = 0; i < *count && !body.bytes.failed; i++) {
        struct bytes name = kafka_read_string(&body);
        if (calls != NULL) {
            calls[i].kind = kind;
            calls[i].group = name;
        }
    }
    if (request->key == KAFKA_DESCRIBE_GROUPS && request->version >= 3) {
        (void)kafka_read_bool(&body); /* Authorized operations: not told. */
    }
    kafka_read_tags(&body);
    return kafka_read_done(&body);
}

static enum err groups_start(const struct kafka_request *request, enum group_kind kind,
                             void (*finish)(struct kafka_group_op *op))
{
    uint32_t count;
    if (!groups_read(request, kind, NULL, &count)) {
        return ERR_CORRUPT;
    }
    struct call *call = request->call;
    uint64_t calls = count * (uint64_t)sizeof(struct group_call);
    enum err err = call_arena(call, sizeof(struct groups_op) + calls);
    if (err != OK) {
        return err;
    }
    struct groups_op *op = call_take(call, sizeof(*op));
    struct group_call *taken = call_take(call, calls);
    op->op.request = *request;
    bool read = groups_read(request, kind, taken, &op->count);
    ASSERT(read && op->count == count);
    call->state = op;
    kafka_group_submit(&op->op, taken, count, finish);
    return OK;
}

/* --- DescribeGroups. --- */

static struct bytes describe_text(struct bytes text)
{
    return text.data == NULL ? bytes_text("") : text;
}

static void describe_write_bytes(struct kafka_writer *writer, struct bytes bytes)
{
    kafka_write_bytes_length(writer, bytes.size);
    kafka_write_raw(writer, bytes.data, bytes.size);
}

static void describe_write_members(struct bytes_reader *answer, int16_t version,
                                   struct kafka_writer *writer)
{
    uint32_t count = answer == NULL ? 0 : read_le32(answer);
    kafka_write_count(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        kafka_write_string(writer, group_read_text(answer));
        struct bytes instance = group_read_text(answer);
        if (version >= 4) {
            kafka_write_string(writer, instance);
        }
        kafka_write_string(writer, describe_text(group_read_text(answer)));
        kafka_write_string(writer, describe_text(group_read_text(answer)));
        describe_write_bytes(writer, group_read_text(answer));
        describe_write_bytes(writer, group_read_text(answer));
        kafka_write_tags(writer);
    }
}

static void describe_write_group(const struct group_call *call, int16_t version,
                                 struct kafka_writer *writer)
{
    enum group_code code = kafka_group_code(call);
    bool ok = code == GROUP_OK;
    bool dead = code == GROUP_NOT_FOUND;
    struct bytes_reader answer = bytes_reader(call->result);
    struct bytes state = ok ? group_read_text(&answer) : bytes_text(dead ? "Dead" : "");
    struct bytes type = ok ? group_read_text(&answer) : bytes_text("");
    struct bytes protocol = ok ? group_read_text(&answer) : bytes_text("");
    kafka_write_i16(writer, dead && version < 6 ? (int16_t)KAFKA_NONE : kafka_code_group(code));
    if (version >= 6) {
        kafka_write_text(writer, dead ? "there is no such group" : NULL);
    }
    kafka_write_string(writer, call->group);
    kafka_write_string(writer, state);
    kafka_write_string(writer, describe_text(type));
    kafka_write_string(writer, describe_text(protocol));
    describe_write_members(ok ? &answer : NULL, version, writer);
    if (version >= 3) {
        kafka_write_i32(writer, INT32_MIN);
    }
    kafka_write_tags(writer);
}

static void describe_encode(void *state, struct kafka_writer *writer)
{
    const struct groups_op *op = state;
    int16_t version = op->op.request.version;
    if (version >= 1) {
        kafka_write_i32(writer, 0);
    }
    kafka_write_count(writer, op->count);
    for (uint32_t i = 0; i < op->count; i++) {
        describe_write_group(&op->op.calls[i], version, writer);
    }
    kafka_write_tags(writer);
}

static void describe_finish(struct kafka_group_op *op)
{
    kafka_answer(&op->request, describe_encode, op);
}

enum err kafka_describe_groups_start(const struct kafka_request *request)
{
    return groups_start(request, GROUP_DESCRIBE, describe_finish);
}

/* --- DeleteGroups. --- */

static void delete_groups_encode(void *state, struct kafka_writer *writer)
{
    const struct groups_op *op = state;
    kafka_write_i32(writer, 0);
    kafka_write_count(writer, op->count);
    for (uint32_t i = 0; i < op->count; i++) {
        kafka_write_string(writer, op->op.calls[i].group);
        kafka_write_i16(writer, kafka_code_group(kafka_group_code(&op->op.calls[i])));
        kafka_write_tags(writer);
    }
    kafka_write_tags(writer);
}

static void delete_groups_finish(struct kafka_group_op *op)
{
    kafka_answer(&op->request, delete_groups_encode, op);
}

enum err kafka_delete_groups_start(const struct kafka_request *request)
{
    return groups_start(request, GROUP_DELETE, delete_groups_finish);
}

/* --- ListGroups: every partition of the internal topic is asked. --- */

struct list_groups {
    struct kafka_group_op op;
    struct kafka_reader states, types; /* Checked; each stands at its first one. */
    uint32_t state_count, type_count;
    enum group_code code; /* The first that is not GROUP_OK. */
};

static uint32_t list_read_filter(struct kafka_reader *body, struct kafka_reader *filter)
{
    uint32_t count = kafka_read_count(body, 1);
    *filter = *body;
    for (uint32_t i = 0; i < count && !body->bytes.failed; i++) {
        (void)kafka_read_string(body);
    }
    return count;
}

/* Without a filter all pass. Names of states are compared as tools write them: in any case. */
static bool list_passes(struct kafka_reader filter, uint32_t count, struct bytes name)
{
    for (uint32_t i = 0; i < count; i++) {
        struct bytes wanted = kafka_read_string(&filter);
        bool same = wanted.size == name.size;
        for (uint32_t j = 0; same && j < name.size; j++) {
            same = (wanted.data[j] | 32) == (name.data[j] | 32);
        }
        if (same) {
            return true;
        }
    }
    return count == 0;
}

/* Counts the groups that pass, or writes them. */
static uint32_t list_walk(const struct list_groups *op, struct kafka_writer *writer)
{
    int16_t version = op->op.request.version;
    uint32_t passed = 0;
    bool classic = list_passes(op->types, op->type_count, bytes_text("classic"));
    for (uint32_t i = 0; classic && i < op->op.call_count; i++) {
        struct bytes_reader answer = bytes_reader(op->op.calls[i].result);
        bool ok = kafka_group_code(&op->op.calls[i]) == GROUP_OK;
        uint32_t count = ok ? read_le32(&answer) : 0;
        for (uint32_t j = 0; j < count; j++) {
            struct bytes id = group_read_text(&answer);
            struct bytes type = group_read_text(&answer);
            struct bytes state = group_read_text(&answer);
            if (!list_passes(op->states, op->state_count, state)) {
                continue;
            }
            passed++;
            if (writer != NULL) {
                kafka_write_string(writer, id);
                kafka_write_string(writer, describe_text(type));
                if (version >= 4) {
                    kafka_write_string(writer, state);
                }
                if (version >= 5) {
                    kafka_write_text(writer, "classic");
                }
                kafka_write_tags(writer);
            }
        }
    }
    return passed;
}

static void list_encode(void *state, struct kafka_writer *writer)
{
    const struct list_groups *op = state;
    if (op->op.request.version >= 1) {
        kafka_write_i32(writer, 0);
    }
    /* It is asked of every node: none is looked for. */
    enum group_code code = op->code == GROUP_STOPPING ? GROUP_NOT_AVAILABLE : op->code;
    kafka_write_i16(writer, kafka_code_group(code));
    kafka_write_count(writer, list_walk(op, NULL));
    (void)list_walk(op, writer);
    kafka_write_tags(writer);
}

static void list_finish(struct kafka_group_op *group_op)
{
    struct list_groups *op = CONTAINER_OF(group_op, struct list_groups, op);
    for (uint32_t i = 0; i < group_op->call_count && op->code == GROUP_OK; i++) {
        op->code = kafka_group_code(&group_op->calls[i]);
    }
    kafka_answer(&group_op->request, list_encode, op);
}

enum err kafka_list_groups_start(const struct kafka_request *request)
{
    struct kafka_reader body = request->body;
    struct list_groups read = {.op.request = *request};
    if (request->version >= 4) {
        read.state_count = list_read_filter(&body, &read.states);
    }
    if (request->version >= 5) {
        read.type_count = list_read_filter(&body, &read.types);
    }
    kafka_read_tags(&body);
    if (!kafka_read_done(&body)) {
        return ERR_CORRUPT;
    }
    uint32_t count = group_partition_count(request->net);
    uint64_t calls = count * (uint64_t)sizeof(struct group_call);
    enum err err = call_arena(request->call, sizeof(read) + calls);
    if (err != OK) {
        return err;
    }
    struct list_groups *op = call_take(request->call, sizeof(*op));
    struct group_call *taken = call_take(request->call, calls);
    *op = read;
    for (uint32_t i = 0; i < count; i++) {
        taken[i].kind = GROUP_LIST;
        taken[i].partition = i;
    }
    request->call->state = op;
    kafka_group_submit(&op->op, taken, count, list_finish);
    return OK;
}
