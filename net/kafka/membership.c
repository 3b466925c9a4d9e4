/* Heartbeat (12) and LeaveGroup (13). */
#include "core/assert.h"
#include "net/kafka/groups.h"

/* --- Heartbeat. --- */

struct heartbeat {
    struct kafka_group_op op;
    struct group_call call;
};

static void heartbeat_encode(void *state, struct kafka_writer *writer)
{
    const struct heartbeat *op = state;
    if (op->op.request.version >= 1) {
        kafka_write_i32(writer, 0);
    }
    kafka_write_i16(writer, kafka_code_group(kafka_group_code(&op->call)));
    kafka_write_tags(writer);
}

static void heartbeat_finish(struct kafka_group_op *op)
{
    kafka_answer(&op->request, heartbeat_encode, op);
}

enum err kafka_heartbeat_start(const struct kafka_request *request)
{
    struct kafka_reader body = request->body;
    struct bytes group = kafka_read_string(&body);
    int32_t generation = kafka_read_i32(&body);
    struct bytes member = kafka_read_string(&body);
    struct bytes instance = {0};
    if (request->version >= 3) {
        instance = kafka_read_string_or_null(&body);
    }
    kafka_read_tags(&body);
    if (!kafka_read_done(&body)) {
        return ERR_CORRUPT;
    }
    enum err err = call_arena(request->call, sizeof(struct heartbeat));
    if (err != OK) {
        return err;
    }
    struct heartbeat *op = call_take(request->call, sizeof(*op));
    op->op.request = *request;
    op->call.kind = GROUP_HEARTBEAT;
    op->call.group = group;
    op->call.generation = generation;
    op->call.member = member;
    op->call.instance = instance;
    request->call->state = op;
    kafka_group_submit(&op->op, &op->call, 1, heartbeat_finish);
    return OK;
}

/* --- LeaveGroup. --- */

struct leave_group {
    struct kafka_group_op op;
    struct group_call call;
};

/* Reads the body; fills members if there is room for any, else only counts them. */
static bool leave_read(const struct kafka_request *request, struct group_call *call)
{
    struct kafka_reader body = request->body;
    int16_t version = request->version;
    call->group = kafka_read_string(&body);
    call->leave_count = version >= 3 ? kafka_read_count(&body, 3) : 1;
    for (uint32_t i = 0; i < call->leave_count && !body.bytes.failed; i++) {
        struct group_leave_item item = {.member = kafka_read_string(&body)};
        if (version >= 3) {
            item.instance = kafka_read_string_or_null(&body);
        }
        if (version >= 5) {
            (void)kafka_read_string_or_null(&body); /* Why it leaves. */
        }
        if (version >= 3) {
            kafka_read_tags(&body);
        }
        if (call->leaves != NULL) {
            call->leaves[i] = item;
        }
    }
    kafka_read_tags(&body);
    return kafka_read_done(&body);
}

static void leave_encode(void *state, struct kafka_writer *writer)
{
    const struct leave_group *op = state;
    const struct group_call *call = &op->call;
    int16_t version = op->op.request.version;
    enum group_code code = kafka_group_code(call);
    if (version < 3 && code == GROUP_OK) {
        code = call->leaves[0].code;
    }
    if (version >= 1) {
        kafka_write_i32(writer, 0);
    }
    kafka_write_i16(writer, kafka_code_group(code));
    if (version >= 3) {
        uint32_t count = code == GROUP_OK ? call->leave_count : 0;
        kafka_write_count(writer, count);
        for (uint32_t i = 0; i < count; i++) {
            kafka_write_string(writer, call->leaves[i].member);
            kafka_write_string(writer, call->leaves[i].instance);
            kafka_write_i16(writer, kafka_code_group(call->leaves[i].code));
            kafka_write_tags(writer);
        }
    }
    kafka_write_tags(writer);
}

static void leave_finish(struct kafka_group_op *op)
{
    kafka_answer(&op->request, leave_encode, op);
}

enum err kafka_leave_group_start(const struct kafka_request *request)
{
    struct group_call counted = {.kind = GROUP_LEAVE};
    if (!leave_read(request, &counted)) {
        return ERR_CORRUPT;
    }
    struct call *call = request->call;
    uint64_t items = counted.leave_count * (uint64_t)sizeof(struct group_leave_item);
    enum err err = call_arena(call, sizeof(struct leave_group) + items);
    if (err != OK) {
        return err;
    }
    struct leave_group *op = call_take(call, sizeof(*op));
    op->op.request = *request;
    op->call.kind = GROUP_LEAVE;
    op->call.leaves = call_take(call, items);
    bool read = leave_read(request, &op->call);
    ASSERT(read && op->call.leave_count == counted.leave_count);
    call->state = op;
    kafka_group_submit(&op->op, &op->call, 1, leave_finish);
    return OK;
}
