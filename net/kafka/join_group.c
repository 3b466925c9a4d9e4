/* JoinGroup (11) and SyncGroup (14): the two that may wait, in the group, for other members. */
#include "core/assert.h"
#include "net/kafka/groups.h"

#include <stdio.h>

enum { PAIR_EXTRA_BYTES = 8 }; /* What a packed pair may have more than one on the wire. */

/* Packs pairs of a name and bytes as the engine has them; only counts and checks without `at`. */
static bool group_pack_pairs(struct kafka_reader *body, uint32_t *count,
                             struct bytes_writer *writer)
{
    *count = kafka_read_count(body, 2);
    for (uint32_t i = 0; i < *count && !body->bytes.failed; i++) {
        struct bytes name = kafka_read_string(body);
        struct bytes value = kafka_read_bytes_or_null(body);
        kafka_read_tags(body);
        if (writer != NULL && !body->bytes.failed) {
            write_le32(writer, name.size);
            write_bytes(writer, name.data, name.size);
            write_le32(writer, value.size);
            if (value.size > 0) {
                write_bytes(writer, value.data, value.size);
            }
        }
    }
    return !body->bytes.failed;
}

/* What both are, and the pairs of their request are packed behind. */
struct pair_group {
    struct kafka_group_op op;
    struct group_call call;
};

/* Reads the body into the call, and packs its pairs, or only counts them without a writer. */
typedef bool pair_read_fn(const struct kafka_request *request, struct group_call *call,
                          uint32_t *pairs, struct bytes_writer *writer);

/* Begins the state of the call, of `size` bytes with a pair_group at their front, and reads the
 * request into it; `packed` are its pairs. As kafka_api.start. */
static enum err pair_take(const struct kafka_request *request, enum group_kind kind, uint64_t size,
                          pair_read_fn *read_body, struct bytes *packed)
{
    struct call *call = request->call;
    struct group_call counted = {.kind = kind};
    uint32_t pairs = 0;
    if (!read_body(request, &counted, &pairs, NULL)) {
        return ERR_CORRUPT;
    }
    uint64_t packed_max = call->frame.size + (uint64_t)pairs * PAIR_EXTRA_BYTES;
    enum err err = call_arena(call, size + packed_max);
    if (err != OK) {
        return err;
    }
    struct pair_group *op = call_take(call, size);
    struct bytes_writer writer = bytes_writer(call_take(call, packed_max), (uint32_t)packed_max);
    op->op.request = *request;
    op->call.kind = kind;
    bool sound = read_body(request, &op->call, &pairs, &writer);
    ASSERT(sound && !writer.failed);
    *packed = bytes_of(writer.data, writer.position);
    call->state = op;
    return OK;
}

/* --- JoinGroup. --- */

struct join_group {
    struct pair_group pair;
    uint8_t new_id[CLASSIC_ID_BYTES_MAX];
    char host[IO_ADDRESS_TEXT_BYTES + 1];
};

static bool join_read(const struct kafka_request *request, struct group_call *call, uint32_t *pairs,
                      struct bytes_writer *writer)
{
    struct kafka_reader body = request->body;
    struct classic_join *join = &call->join;
    int16_t version = request->version;
    call->group = kafka_read_string(&body);
    int32_t session_ms = kafka_read_i32(&body);
    int32_t rebalance_ms = version >= 1 ? kafka_read_i32(&body) : session_ms;
    join->session_ms = session_ms < 0 ? 0 : (uint32_t)session_ms;
    join->rebalance_ms = rebalance_ms < 0 ? join->session_ms : (uint32_t)rebalance_ms;
    join->member = kafka_read_string(&body);
    if (version >= 5) {
        join->instance = kafka_read_string_or_null(&body);
    }
    join->type = kafka_read_string(&body);
    bool packed = group_pack_pairs(&body, pairs, writer);
    join->protocol_count = *pairs;
    if (version >= 8) {
        (void)kafka_read_string_or_null(&body); /* Why it joins. */
    }
    kafka_read_tags(&body);
    return packed && kafka_read_done(&body);
}

static void join_write_members(const struct pair_group *op, struct bytes_reader *answer,
                               struct kafka_writer *writer)
{
    uint32_t count = answer == NULL ? 0 : read_le32(answer);
    kafka_write_count(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        struct bytes id = group_read_text(answer);
        struct bytes instance = group_read_text(answer);
        struct bytes metadata = group_read_text(answer);
        kafka_write_string(writer, id);
        if (op->op.request.version >= 5) {
            kafka_write_string(writer, instance);
        }
        kafka_write_bytes_length(writer, metadata.size);
        kafka_write_raw(writer, metadata.data, metadata.size);
        kafka_write_tags(writer);
    }
}

static struct bytes join_not_null(struct bytes text)
{
    return text.data == NULL ? bytes_text("") : text;
}

static void join_encode(void *state, struct kafka_writer *writer)
{
    const struct pair_group *op = state;
    int16_t version = op->op.request.version;
    enum group_code code = kafka_group_code(&op->call);
    struct bytes_reader answer = bytes_reader(op->call.result);
    bool ok = code == GROUP_OK;
    struct bytes type = ok ? group_read_text(&answer) : (struct bytes){0};
    struct bytes protocol = ok ? group_read_text(&answer) : (struct bytes){0};
    struct bytes leader = ok ? group_read_text(&answer) : bytes_text("");
    struct bytes member = ok                               ? group_read_text(&answer)
                          : code == GROUP_MEMBER_ID_NEEDED ? op->call.join.new_id
                                                           : op->call.join.member;
    if (version >= 2) {
        kafka_write_i32(writer, 0);
    }
    kafka_write_i16(writer, kafka_code_group(code));
    kafka_write_i32(writer, ok ? op->call.generation : -1);
    if (version >= 7) {
        kafka_write_string(writer, type);
        kafka_write_string(writer, protocol);
    } else {
        kafka_write_string(writer, join_not_null(protocol));
    }
    kafka_write_string(writer, leader);
    if (version >= 9) {
        kafka_write_bool(writer, ok && op->call.skip_assignment);
    }
    kafka_write_string(writer, join_not_null(member));
    join_write_members(op, ok ? &answer : NULL, writer);
    kafka_write_tags(writer);
}

static void join_finish(struct kafka_group_op *op)
{
    kafka_answer(&op->request, join_encode, op);
}

/* As Kafka shows it: "/127.0.0.1". */
static struct bytes join_host(const struct conn *conn, char *room)
{
    char text[IO_ADDRESS_TEXT_BYTES];
    (void)io_address_text(&conn->peer, text);
    char *colon = strrchr(text, ':');
    if (colon != NULL) {
        *colon = 0;
    }
    (void)snprintf(room, IO_ADDRESS_TEXT_BYTES + 1, "/%s", text);
    return bytes_text(room);
}

enum err kafka_join_group_start(const struct kafka_request *request)
{
    struct bytes packed;
    enum err err = pair_take(request, GROUP_JOIN, sizeof(struct join_group), join_read, &packed);
    if (err != OK) {
        return err;
    }
    struct join_group *op = request->call->state;
    struct classic_join *join = &op->pair.call.join;
    join->protocols = packed;
    join->client = request->client;
    join->host = join_host(request->call->conn, op->host);
    join->new_id =
        group_draw_id(request->net->reactor,
                      join->instance.data != NULL ? join->instance : request->client, op->new_id);
    join->id_needed = request->version >= 4;
    join->skip_known = request->version >= 9;
    kafka_group_submit(&op->pair.op, &op->pair.call, 1, join_finish);
    return OK;
}

/* --- SyncGroup. --- */

static bool sync_read(const struct kafka_request *request, struct group_call *call, uint32_t *pairs,
                      struct bytes_writer *writer)
{
    struct kafka_reader body = request->body;
    struct classic_sync *sync = &call->sync;
    call->group = kafka_read_string(&body);
    sync->generation = kafka_read_i32(&body);
    sync->member = kafka_read_string(&body);
    if (request->version >= 3) {
        sync->instance = kafka_read_string_or_null(&body);
    }
    if (request->version >= 5) {
        sync->type = kafka_read_string_or_null(&body);
        sync->protocol = kafka_read_string_or_null(&body);
    }
    bool packed = group_pack_pairs(&body, pairs, writer);
    sync->assignment_count = *pairs;
    kafka_read_tags(&body);
    return packed && kafka_read_done(&body);
}

static void sync_encode(void *state, struct kafka_writer *writer)
{
    const struct pair_group *op = state;
    int16_t version = op->op.request.version;
    enum group_code code = kafka_group_code(&op->call);
    struct bytes_reader answer = bytes_reader(op->call.result);
    bool ok = code == GROUP_OK;
    struct bytes type = ok ? group_read_text(&answer) : (struct bytes){0};
    struct bytes protocol = ok ? group_read_text(&answer) : (struct bytes){0};
    struct bytes assignment = ok ? group_read_text(&answer) : (struct bytes){0};
    if (version >= 1) {
        kafka_write_i32(writer, 0);
    }
    kafka_write_i16(writer, kafka_code_group(code));
    if (version >= 5) {
        kafka_write_string(writer, type);
        kafka_write_string(writer, protocol);
    }
    kafka_write_bytes_length(writer, assignment.size); /* Empty, never null. */
    kafka_write_raw(writer, assignment.data, assignment.size);
    kafka_write_tags(writer);
}

static void sync_finish(struct kafka_group_op *op)
{
    kafka_answer(&op->request, sync_encode, op);
}

enum err kafka_sync_group_start(const struct kafka_request *request)
{
    struct bytes packed;
    enum err err = pair_take(request, GROUP_SYNC, sizeof(struct pair_group), sync_read, &packed);
    if (err != OK) {
        return err;
    }
    struct pair_group *op = request->call->state;
    op->call.sync.assignments = packed;
    kafka_group_submit(&op->op, &op->call, 1, sync_finish);
    return OK;
}
