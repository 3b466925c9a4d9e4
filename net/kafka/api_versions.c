/* ApiVersions (18): the handshake. */
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
