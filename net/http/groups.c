/* GET /v1/groups: what every partition of the internal topic lists. GET /v1/groups/{group}: state,
 * members, and how far each partition is behind. See also lag.h. */
#include "core/assert.h"
#include "net/http/lag.h"

#include <string.h>

const char *http_lag_topic(const struct http_op *op, const struct group_lag_row *row)
{
    const struct map_topic *topic = map_topic_by_id(http_map(op), &row->topic);
    return topic == NULL ? NULL : topic->name;
}

void http_put_seconds(struct http_writer *writer, int64_t ms)
{
    http_printf(writer, "%lld.%03u", (long long)(ms / 1000), (unsigned)(ms % 1000));
}

bool http_lag_open(struct http_lag *lag, struct net *net, uint32_t *wanted)
{
    struct memory *memory = net->reactor->memory;
    *wanted = HTTP_LAG_ROOM_BYTES;
    lag->room =
        HTTP_LAG_ROOM_BYTES <= memory_block_max(memory)
            ? block_acquire(memory, call_memory_class(HTTP_LAG_ROOM_BYTES), HTTP_LAG_ROOM_BYTES)
            : NULL;
    lag->lag = lag->room != NULL ? group_lag_open(net) : NULL;
    if (lag->lag == NULL && lag->room != NULL) {
        block_unref(lag->room);
        lag->room = NULL;
    }
    return lag->lag != NULL;
}

void http_lag_close(struct http_lag *lag)
{
    if (lag->lag != NULL) {
        group_lag_close(lag->lag);
        block_unref(lag->room);
        *lag = (struct http_lag){0};
    }
}

/* A group's own word for what went wrong. */
static void groups_refuse(struct http_op *op, enum group_code code, struct bytes group)
{
    char quoted[HTTP_QUOTE_BYTES];
    switch ((int)code) {
    case GROUP_NOT_FOUND:
        http_refuse(op, 404, "there is no group \"%s\": GET /v1/groups names those there are",
                    http_quote(group, quoted));
        return;
    case GROUP_INVALID_ID:
        http_refuse(op, 422, "\"%s\" is no name of a group: 1 to %d bytes",
                    http_quote(group, quoted), CLASSIC_NAME_BYTES_MAX);
        return;
    default:
        http_refuse(op, 503, "the groups are being read, or cannot be read now: ask again");
    }
}

/* --- The list. --- */

struct groups_list {
    struct http_op *op;
    struct block *block; /* Of the calls. */
    struct group_call *calls;
    uint32_t count, awaited;
    bool returning;
};

_Static_assert(sizeof(struct groups_list) <= HTTP_GROUPS_BYTES, "http_routes knows the size");

static void groups_put_text(struct http_writer *writer, const char *name, struct bytes text)
{
    http_printf(writer, ",\"%s\":", name);
    if (text.data == NULL) {
        http_put_text(writer, "null");
    } else {
        http_put_json(writer, text);
    }
}

static void groups_encode(struct http_op *op, struct http_writer *writer)
{
    const struct groups_list *state = op->state;
    const char *comma = "";
    http_put_text(writer, "{\"groups\":[");
    for (uint32_t i = 0; i < state->count; i++) {
        struct bytes_reader answer = bytes_reader(state->calls[i].result);
        uint32_t count = read_le32(&answer);
        for (uint32_t j = 0; j < count; j++) {
            http_printf(writer, "%s\n{\"group\":", comma);
            http_put_json(writer, group_read_text(&answer));
            groups_put_text(writer, "type", group_read_text(&answer));
            groups_put_text(writer, "state", group_read_text(&answer));
            http_put_text(writer, "}");
            comma = ",";
        }
    }
    http_put_text(writer, "]}\n");
}

static void groups_home(struct groups_list *state)
{
    ASSERT(state->awaited > 0);
    if (--state->awaited > 0) {
        return;
    }
    if (state->returning) {
        block_unref(state->block);
        call_done(state->op->call);
        return;
    }
    for (uint32_t i = 0; i < state->count; i++) {
        if (state->calls[i].done.result != GROUP_OK) {
            groups_refuse(state->op, (enum group_code)state->calls[i].done.result,
                          (struct bytes){0});
            return;
        }
    }
    http_answer(state->op, &(struct http_answer){
                               .status = 200, .type = "application/json", .encode = groups_encode});
}

static void groups_answered(struct completion *completion)
{
    groups_home(CONTAINER_OF(completion, struct group_call, done)->user);
}

static void groups_released(struct completion *completion)
{
    groups_home(CONTAINER_OF(completion, struct group_call, released)->user);
}

enum err http_groups_start(struct http_op *op)
{
    struct groups_list *state = op->state;
    uint32_t count = group_partition_count(op->net);
    uint32_t bytes = max_u32(count, 1) * (uint32_t)sizeof(struct group_call);
    state->block = block_acquire(op->net->reactor->memory, call_memory_class(bytes), bytes);
    if (state->block == NULL) {
        op->call->memory_wanted = bytes;
        return ERR_NO_MEMORY;
    }
    void *calls = state->block->data;
    state->op = op;
    state->calls = calls;
    state->count = count;
    state->awaited = 1; /* This function. */
    for (uint32_t i = 0; i < count; i++) {
        state->calls[i] = (struct group_call){.kind = GROUP_LIST, .partition = i, .user = state};
        completion_init(&state->calls[i].done, groups_answered);
        state->awaited++;
        group_submit(op->net, &state->calls[i]);
    }
    groups_home(state);
    return OK;
}

void http_groups_sent(struct http_op *op)
{
    struct groups_list *state = op->state;
    if (state->block == NULL) {
        call_done(op->call);
        return;
    }
    state->returning = true;
    state->awaited = 1; /* This function. */
    for (uint32_t i = 0; i < state->count; i++) {
        completion_init(&state->calls[i].released, groups_released);
        state->awaited += group_release(op->net, &state->calls[i]) ? 1 : 0;
    }
    groups_home(state);
}

/* --- One group. --- */

struct group_op {
    struct http_op *op;
    struct http_lag lag;
    uint64_t now_ms;
    struct group_call call; /* DESCRIBE. */
};

_Static_assert(sizeof(struct group_op) <= HTTP_GROUP_BYTES, "http_routes knows the size");

/* Kafka's assignment of a consumer: version, topics with partitions. What is something else is not
 * shown. */
static void group_put_assignment(struct bytes assignment, struct http_writer *writer)
{
    struct bytes_reader reader = bytes_reader(assignment);
    (void)read_be16(&reader);
    uint32_t topics = read_be32(&reader);
    http_put_text(writer, ",\"assignment\":[");
    for (uint32_t i = 0; i < topics && !reader.failed; i++) {
        struct bytes name = read_bytes(&reader, read_be16(&reader));
        uint32_t count = read_be32(&reader);
        if (reader.failed || count > bytes_left(&reader) / 4) {
            break;
        }
        http_put_text(writer, i == 0 ? "{\"topic\":" : ",{\"topic\":");
        http_put_json(writer, name);
        http_put_text(writer, ",\"partitions\":[");
        for (uint32_t j = 0; j < count; j++) {
            http_printf(writer, "%s%u", j == 0 ? "" : ",", read_be32(&reader));
        }
        http_put_text(writer, "]}");
    }
    http_put_text(writer, "]");
}

static void group_put_members(struct bytes_reader *answer, bool consumers,
                              struct http_writer *writer)
{
    uint32_t count = read_le32(answer);
    http_put_text(writer, ",\"members\":[");
    for (uint32_t i = 0; i < count && bytes_left(answer) > 0; i++) {
        http_put_text(writer, i == 0 ? "\n{\"member\":" : ",\n{\"member\":");
        http_put_json(writer, group_read_text(answer));
        groups_put_text(writer, "instance", group_read_text(answer));
        groups_put_text(writer, "client", group_read_text(answer));
        struct bytes host = group_read_text(answer);
        bool slash = host.size > 0 && host.data[0] == '/'; /* As Kafka writes it. */
        groups_put_text(writer, "host", slash ? bytes_of(host.data + 1, host.size - 1) : host);
        (void)group_read_text(answer);
        struct bytes assignment = group_read_text(answer);
        if (consumers) {
            group_put_assignment(assignment, writer);
        }
        http_put_text(writer, "}");
    }
    http_put_text(writer, "]");
}

static void group_put_number(struct http_writer *writer, const char *name, int64_t number)
{
    http_printf(writer, ",\"%s\":", name);
    if (number < 0) {
        http_put_text(writer, "null");
    } else {
        http_put_number(writer, number);
    }
}

static void group_put_lag(const struct http_op *op, const struct group_lag *lag, uint64_t now_ms,
                          struct http_writer *writer)
{
    const char *comma = "";
    http_put_text(writer, ",\"partitions\":[");
    for (uint32_t i = 0; i < lag->row_count; i++) {
        const struct group_lag_row *row = &lag->rows[i];
        const char *topic = http_lag_topic(op, row);
        if (topic == NULL) {
            continue;
        }
        http_printf(writer, "%s\n{\"topic\":", comma);
        http_put_json(writer, bytes_text(topic));
        http_printf(writer, ",\"partition\":%u", row->partition);
        group_put_number(writer, "committed", row->committed);
        group_put_number(writer, "end", row->end);
        group_put_number(writer, "lag", row->lag);
        int64_t ms = group_lag_ms(row, now_ms);
        http_put_text(writer, ",\"lag_seconds\":");
        if (ms < 0) {
            http_put_text(writer, "null");
        } else {
            http_put_seconds(writer, ms);
        }
        http_put_text(writer, "}");
        comma = ",";
    }
    http_printf(writer, "],\"left_out\":%llu}\n", (unsigned long long)lag->left_out);
}

static void group_encode(struct http_op *op, struct http_writer *writer)
{
    const struct group_op *state = op->state;
    struct bytes_reader answer = bytes_reader(state->call.result);
    http_put_text(writer, "{\"group\":");
    http_put_json(writer, op->topic);
    groups_put_text(writer, "state", group_read_text(&answer));
    struct bytes type = group_read_text(&answer);
    groups_put_text(writer, "type", type);
    groups_put_text(writer, "protocol", group_read_text(&answer));
    bool consumers = type.size == 8 && memcmp(type.data, "consumer", 8) == 0;
    group_put_members(&answer, consumers, writer);
    group_put_lag(op, state->lag.lag, state->now_ms, writer);
}

static void group_lag_known(struct completion *completion)
{
    struct group_lag *lag = CONTAINER_OF(completion, struct group_lag, done);
    struct group_op *state = lag->user;
    state->now_ms = state->op->net->reactor->now_ms;
    if (lag->code != GROUP_OK) {
        groups_refuse(state->op, lag->code, state->op->topic);
        return;
    }
    http_answer(state->op, &(struct http_answer){.status = 200,
                                                 .type = "application/json",
                                                 .encode = group_encode,
                                                 .room = state->lag.room->data,
                                                 .room_bytes = state->lag.room->size});
}

static void group_described(struct completion *completion)
{
    struct group_call *call = CONTAINER_OF(completion, struct group_call, done);
    struct group_op *state = CONTAINER_OF(call, struct group_op, call);
    if (completion->result != GROUP_OK) {
        groups_refuse(state->op, (enum group_code)completion->result, state->op->topic);
        return;
    }
    struct group_lag *lag = state->lag.lag;
    lag->user = state;
    completion_init(&lag->done, group_lag_known);
    group_lag_start(lag, state->op->topic);
}

enum err http_group_start(struct http_op *op)
{
    struct group_op *state = op->state;
    if (HTTP_LAG_ROOM_BYTES > memory_block_max(op->net->reactor->memory)) {
        http_refuse(op, 503, "a core has no room for what a group tells: raise memory.limit");
        return OK;
    }
    if (!http_lag_open(&state->lag, op->net, &op->call->memory_wanted)) {
        return ERR_NO_MEMORY;
    }
    state->op = op;
    state->call = (struct group_call){.kind = GROUP_DESCRIBE, .group = op->topic};
    completion_init(&state->call.done, group_described);
    group_submit(op->net, &state->call);
    return OK;
}

static void group_returned(struct completion *completion)
{
    struct group_call *call = CONTAINER_OF(completion, struct group_call, released);
    call_done(CONTAINER_OF(call, struct group_op, call)->op->call);
}

void http_group_sent(struct http_op *op)
{
    struct group_op *state = op->state;
    http_lag_close(&state->lag);
    completion_init(&state->call.released, group_returned);
    if (state->op == NULL || !group_release(op->net, &state->call)) {
        call_done(op->call);
    }
}
