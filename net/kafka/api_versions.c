/* ApiVersions (18): the handshake; and FindCoordinator (10), which is listed for the sake of
 * clients that judge a broker by it, and answers 15 until groups exist. */
#include "core/assert.h"
#include "net/kafka/kafka.h"

struct kafka_versions {
    struct kafka_request request;
    int16_t error;
    int16_t version; /* Of the body. */
};

static void kafka_versions_encode(void *state, struct kafka_writer *writer)
{
    const struct kafka_versions *op = state;
    uint32_t count;
    const struct kafka_api *apis = kafka_apis(&count);
    kafka_write_i16(writer, op->error);
    kafka_write_count(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        kafka_write_i16(writer, apis[i].key);
        kafka_write_i16(writer, apis[i].advertised_min);
        kafka_write_i16(writer, apis[i].max);
        kafka_write_tags(writer);
    }
    if (op->version >= 1) {
        kafka_write_i32(writer, 0);
    }
    kafka_write_tags(writer);
}

static bool kafka_software_letter(uint8_t c, bool inner)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || (inner && (c == '-' || c == '.'));
}

/* [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])? */
static bool kafka_software_valid(struct bytes text)
{
    for (uint32_t i = 0; i < text.size; i++) {
        if (!kafka_software_letter(text.data[i], i > 0 && i + 1 < text.size)) {
            return false;
        }
    }
    return text.size > 0;
}

enum err kafka_versions_start(const struct kafka_request *request)
{
    uint32_t count;
    (void)kafka_apis(&count);
    struct kafka_reader body = request->body;
    int16_t error = KAFKA_NONE;
    int16_t version = request->version;
    if (version > 4) {
        error = KAFKA_UNSUPPORTED_VERSION;
        version = 0;
    } else {
        if (version >= 3) {
            bool name = kafka_software_valid(kafka_read_string(&body));
            bool number = kafka_software_valid(kafka_read_string(&body));
            error = name && number ? KAFKA_NONE : KAFKA_INVALID_REQUEST;
            kafka_read_tags(&body);
        }
        if (!kafka_read_done(&body)) {
            return ERR_CORRUPT;
        }
    }
    enum err err = call_arena(request->call, sizeof(struct kafka_versions));
    if (err != OK) {
        return err;
    }
    struct kafka_versions *op = call_take(request->call, sizeof(*op));
    op->request = *request;
    op->error = error;
    op->version = version;
    request->call->state = op;
    kafka_answer(&op->request, kafka_versions_encode, op);
    return OK;
}

struct kafka_coordinator {
    struct kafka_request request;
    uint32_t count;
    struct kafka_reader keys; /* Checked; stands at the first one. */
};

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
            kafka_write_string(writer, kafka_read_string(&keys));
            kafka_write_i32(writer, -1);
            kafka_write_text(writer, "");
            kafka_write_i32(writer, -1);
            kafka_write_i16(writer, KAFKA_COORDINATOR_NOT_AVAILABLE);
            kafka_write_text(writer, NULL);
            kafka_write_tags(writer);
        }
        kafka_write_tags(writer);
        return;
    }
    kafka_write_i16(writer, KAFKA_COORDINATOR_NOT_AVAILABLE);
    if (version >= 1) {
        kafka_write_text(writer, NULL);
    }
    kafka_write_i32(writer, -1);
    kafka_write_text(writer, "");
    kafka_write_i32(writer, -1);
    kafka_write_tags(writer);
}

enum err kafka_coordinator_start(const struct kafka_request *request)
{
    struct kafka_reader body = request->body;
    struct kafka_reader keys = body;
    uint32_t count = 0;
    if (request->version < 4) {
        (void)kafka_read_string(&body);
    }
    if (request->version >= 1) {
        (void)read_u8(&body.bytes);
    }
    if (request->version >= 4) {
        count = kafka_read_count(&body, 1);
        keys = body;
        for (uint32_t i = 0; i < count; i++) {
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
    op->request = *request;
    op->count = count;
    op->keys = keys;
    request->call->state = op;
    kafka_answer(&op->request, kafka_coordinator_encode, op);
    return OK;
}
