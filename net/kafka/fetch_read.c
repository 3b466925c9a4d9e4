/* The body of a Fetch request, versions 4 to 17: from 13 on topics are named by id, from
 * 15 on a follower says who it is in a tagged field. */
#include "net/kafka/fetch.h"

static uint32_t fetch_not_negative(int32_t value)
{
    return value < 0 ? 0 : (uint32_t)value;
}

static void fetch_read_item(struct fetch *op, struct kafka_reader *body, uint32_t index)
{
    int16_t version = op->request.version;
    int32_t partition = kafka_read_i32(body);
    int32_t epoch = version >= 9 ? kafka_read_i32(body) : -1;
    int64_t offset = kafka_read_i64(body);
    if (version >= 12) {
        (void)kafka_read_i32(body); /* Last fetched epoch: committed records never diverge. */
    }
    if (version >= 5) {
        (void)kafka_read_i64(body); /* A follower's log start. */
    }
    int32_t bytes_max = kafka_read_i32(body);
    kafka_read_tags(body);
    if (op->items != NULL) {
        struct fetch_item *item = &op->items[index];
        item->op = op;
        item->partition = partition;
        item->request.fetch.epoch = epoch;
        item->negative = offset < 0;
        item->offset = offset < 0 ? 0 : (uint64_t)offset;
        item->bytes_max = fetch_not_negative(bytes_max);
    }
}

static struct fetch_topic fetch_read_topic(const struct fetch *op, struct kafka_reader *body)
{
    struct fetch_topic topic = {0};
    kafka_read_topic(body, op->by_id, &topic.name, &topic.id);
    return topic;
}

/* Partitions that a session would forget: there is none. */
static void fetch_read_forgotten(const struct fetch *op, struct kafka_reader *body)
{
    uint32_t topics = kafka_read_count(body, 2);
    for (uint32_t i = 0; i < topics && !body->bytes.failed; i++) {
        (void)fetch_read_topic(op, body);
        uint32_t count = kafka_read_count(body, 4);
        read_skip(&body->bytes, count * 4);
        kafka_read_tags(body);
    }
}

bool fetch_read(struct fetch *op)
{
    struct kafka_reader body = op->request.body;
    int16_t version = op->request.version;
    op->by_id = version >= 13;
    if (version < 15) {
        (void)kafka_read_i32(&body); /* Replica: consumers all. */
    }
    op->wait_ms = fetch_not_negative(kafka_read_i32(&body));
    op->bytes_min = fetch_not_negative(kafka_read_i32(&body));
    op->bytes_max = fetch_not_negative(kafka_read_i32(&body));
    (void)read_u8(&body.bytes); /* Isolation: without transactions both are the same. */
    if (version >= 7) {
        int32_t session = kafka_read_i32(&body);
        int32_t epoch = kafka_read_i32(&body);
        /* Epochs 0 and -1 ask for everything; others go on with a session that we never gave. */
        op->error = session != 0 && epoch > 0 ? KAFKA_SESSION_NOT_FOUND : KAFKA_NONE;
    }
    uint32_t topics = kafka_read_count(&body, 2);
    uint32_t items = 0;
    for (uint32_t i = 0; i < topics && !body.bytes.failed; i++) {
        struct fetch_topic topic = fetch_read_topic(op, &body);
        topic.count = kafka_read_count(&body, 16);
        if (op->topics != NULL) {
            op->topics[i] = topic;
        }
        for (uint32_t j = 0; j < topic.count && !body.bytes.failed; j++) {
            fetch_read_item(op, &body, items++);
        }
        kafka_read_tags(&body);
    }
    if (version >= 7) {
        fetch_read_forgotten(op, &body);
    }
    if (version >= 11) {
        (void)kafka_read_string(&body);
    }
    kafka_read_tags(&body);
    op->topic_count = topics;
    op->item_count = items;
    return kafka_read_done(&body);
}
