/* DescribeCluster (60): who is there, as Metadata says it, without topics. */
#include "net/kafka/kafka.h"

enum {
    ENDPOINT_BROKERS = 1,
    ENDPOINT_CONTROLLERS = 2,
};

struct describe_cluster {
    struct kafka_request request;
    int8_t endpoint;
    int16_t code;
    const char *message;
};

static void describe_cluster_encode(void *state, struct kafka_writer *writer)
{
    const struct describe_cluster *op = state;
    int16_t version = op->request.version;
    bool ok = op->code == KAFKA_NONE;
    char cluster[KAFKA_CLUSTER_TEXT_BYTES];
    kafka_write_i32(writer, 0);
    kafka_write_i16(writer, op->code);
    kafka_write_text(writer, op->message);
    if (version >= 1) {
        kafka_write_i8(writer, ENDPOINT_BROKERS);
    }
    kafka_write_text(
        writer, ok ? kafka_cluster_text(map_cluster_id(kafka_map(&op->request)), cluster) : "");
    kafka_write_i32(writer, ok ? (int32_t)op->request.net->options.node_id : -1);
    if (ok) {
        const struct kafka_brokers shape = {.rack = true, .fenced = version >= 2};
        kafka_write_brokers(&op->request, &shape, writer);
    } else {
        kafka_write_count(writer, 0);
    }
    kafka_write_i32(writer, INT32_MIN); /* Authorized operations: not told. */
    kafka_write_tags(writer);
}

enum err kafka_describe_cluster_start(const struct kafka_request *request)
{
    struct kafka_reader body = request->body;
    int8_t endpoint = ENDPOINT_BROKERS;
    (void)kafka_read_bool(&body);
    if (request->version >= 1) {
        endpoint = (int8_t)read_u8(&body.bytes);
    }
    if (request->version >= 2) {
        (void)kafka_read_bool(&body); /* Fenced ones, too: there is none. */
    }
    kafka_read_tags(&body);
    if (!kafka_read_done(&body)) {
        return ERR_CORRUPT;
    }
    enum err err = call_arena(request->call, sizeof(struct describe_cluster));
    if (err != OK) {
        return err;
    }
    struct describe_cluster *op = call_take(request->call, sizeof(*op));
    op->request = *request;
    op->endpoint = endpoint;
    if (endpoint == ENDPOINT_CONTROLLERS) {
        op->code = KAFKA_MISMATCHED_ENDPOINT;
        op->message = "this is the endpoint of a broker: ask for brokers";
    } else if (endpoint != ENDPOINT_BROKERS) {
        op->code = KAFKA_UNSUPPORTED_ENDPOINT;
        op->message = "there is no such type of endpoint: 1 asks for brokers";
    }
    request->call->state = op;
    kafka_answer(&op->request, describe_cluster_encode, op);
    return OK;
}
