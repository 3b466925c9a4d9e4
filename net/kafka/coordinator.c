/* FindCoordinator (10): the node that has a group. Every core of it answers for every group, and
 * there is one node. There are no transactions: their coordinator is not available. */
#include "net/kafka/kafka.h"

enum { COORDINATOR_GROUP = 0 };

struct kafka_coordinator {
    struct kafka_request request;
    uint8_t type;
    uint32_t count;
    struct kafka_reader keys; /* Checked; stands at the first one. */
};

static int16_t coordinator_code(const struct kafka_coordinator *op, struct bytes key)
{
    if (op->type != COORDINATOR_GROUP || op->request.call->late) {
        return KAFKA_COORDINATOR_NOT_AVAILABLE;
    }
    return key.size == 0 ? (int16_t)KAFKA_INVALID_GROUP_ID : (int16_t)KAFKA_NONE;
}

static void coordinator_write_node(const struct kafka_coordinator *op, int16_t code,
                                   struct kafka_writer *writer)
{
    if (code == KAFKA_NONE) {
        kafka_write_i32(writer, (int32_t)op->request.net->options.node_id);
        kafka_write_own_address(&op->request, writer);
        return;
    }
    kafka_write_i32(writer, -1);
    kafka_write_text(writer, "");
    kafka_write_i32(writer, -1);
}

static void kafka_coordinator_encode(void *state, struct kafka_writer *writer)
{
    const struct kafka_coordinator *op = state;
    int16_t version = op->request.version;
    struct kafka_reader keys = op->keys;
    if (version >= 1) {
        kafka_write_i32(writer, 0);
    }
    if (version >= 4) {
        kafka_write_count(writer, op->count);
        for (uint32_t i = 0; i < op->count; i++) {
            struct bytes key = kafka_read_string(&keys);
            int16_t code = coordinator_code(op, key);
            kafka_write_string(writer, key);
            coordinator_write_node(op, code, writer);
            kafka_write_i16(writer, code);
            kafka_write_text(writer, NULL);
            kafka_write_tags(writer);
        }
        kafka_write_tags(writer);
        return;
    }
    int16_t code = coordinator_code(op, kafka_read_string(&keys));
    kafka_write_i16(writer, code);
    if (version >= 1) {
        kafka_write_text(writer, NULL);
    }
    coordinator_write_node(op, code, writer);
    kafka_write_tags(writer);
}

enum err kafka_coordinator_start(const struct kafka_request *request)
{
    struct kafka_reader body = request->body;
    struct kafka_coordinator read = {.request = *request, .count = 1};
    read.keys = body;
    if (request->version < 4) {
        (void)kafka_read_string(&body);
    }
    if (request->version >= 1) {
        read.type = read_u8(&body.bytes);
    }
    if (request->version >= 4) {
        read.count = kafka_read_count(&body, 1);
        read.keys = body;
        for (uint32_t i = 0; i < read.count; i++) {
            (void)kafka_read_string(&body);
        }
    }
    kafka_read_tags(&body);
    if (!kafka_read_done(&body)) {
        return ERR_CORRUPT;
    }
    enum err err = call_arena(request->call, sizeof(struct kafka_coordinator));
    if (err != OK) {
        return err;
    }
    struct kafka_coordinator *op = call_take(request->call, sizeof(*op));
    *op = read;
    request->call->state = op;
    kafka_answer(&op->request, kafka_coordinator_encode, op);
    return OK;
}
