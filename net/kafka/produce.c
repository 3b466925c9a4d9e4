/* Produce (0): each partition's batch goes to its owner core as it stands in the frame; the answer
 * is in the client's order. acks = 0 has no answer; there an error closes the connection.
 *
 * The request's timeout bounds how long a leader waits for its followers: there are none, and an
 * append that is under way is never given up, because "timed out" would leave open what is stored.
 */
#include "core/assert.h"
#include "net/kafka/kafka.h"

struct produce_item {
    struct request request;
    struct produce *op;
    int32_t partition;
    int16_t code;
};

struct produce_topic {
    struct bytes name;
    uint32_t count;
};

struct produce {
    struct kafka_request request;
    struct produce_topic *topics;
    struct produce_item *items;
    uint32_t topic_count, item_count;
    uint32_t awaited;
    int16_t acks;
    bool transactional;
};

/* Reads the body; fills topics and items if there are any yet, else only counts them. */
static bool produce_read(struct produce *op)
{
    struct kafka_reader body = op->request.body;
    op->transactional = kafka_read_string_or_null(&body).data != NULL;
    op->acks = kafka_read_i16(&body);
    (void)kafka_read_i32(&body); /* The timeout. */
    uint32_t topics = kafka_read_count(&body, 2);
    uint32_t items = 0;
    for (uint32_t i = 0; i < topics && !body.bytes.failed; i++) {
        struct bytes name = kafka_read_string(&body);
        uint32_t count = kafka_read_count(&body, 5);
        if (op->topics != NULL) {
            op->topics[i] = (struct produce_topic){.name = name, .count = count};
        }
        for (uint32_t j = 0; j < count && !body.bytes.failed; j++) {
            int32_t partition = kafka_read_i32(&body);
            struct bytes batch = kafka_read_bytes_or_null(&body);
            kafka_read_tags(&body);
            if (op->items != NULL) {
                op->items[items].op = op;
                op->items[items].partition = partition;
                op->items[items].request.produce.batch = batch;
            }
            items++;
        }
        kafka_read_tags(&body);
    }
    kafka_read_tags(&body);
    op->topic_count = topics;
    op->item_count = items;
    return kafka_read_done(&body);
}

static void produce_encode_item(const struct produce_item *item, int16_t version,
                                struct kafka_writer *writer)
{
    const struct request_produce *produce = &item->request.produce;
    bool ok = item->code == KAFKA_NONE;
    kafka_write_i32(writer, item->partition);
    kafka_write_i16(writer, item->code);
    kafka_write_i64(writer, ok ? (int64_t)produce->base_offset : -1);
    kafka_write_i64(writer, ok ? produce->append_time_ms : -1);
    if (version >= 5) {
        kafka_write_i64(writer, ok ? (int64_t)produce->log_start : -1);
    }
    if (version >= 8) {
        kafka_write_count(writer, 0); /* Never null: librdkafka allocates by it. */
        kafka_write_text(writer, NULL);
    }
    kafka_write_tags(writer);
}

static void produce_encode(void *state, struct kafka_writer *writer)
{
    const struct produce *op = state;
    const struct produce_item *item = op->items;
    kafka_write_count(writer, op->topic_count);
    for (uint32_t i = 0; i < op->topic_count; i++) {
        kafka_write_string(writer, op->topics[i].name);
        kafka_write_count(writer, op->topics[i].count);
        for (uint32_t j = 0; j < op->topics[i].count; j++, item++) {
            produce_encode_item(item, op->request.version, writer);
        }
        kafka_write_tags(writer);
    }
    kafka_write_i32(writer, 0);
    kafka_write_tags(writer);
}

static void produce_finish(struct produce *op)
{
    ASSERT(op->awaited == 0);
    if (op->acks != 0) {
        kafka_answer(&op->request, produce_encode, op);
        return;
    }
    for (uint32_t i = 0; i < op->item_count; i++) {
        if (op->items[i].code != KAFKA_NONE) {
            /* The only way to tell a client that asked for no answer. */
            op->request.call->last = true;
        }
    }
    call_reply(op->request.call);
}

static void produce_item_done(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct produce_item *item = CONTAINER_OF(request, struct produce_item, request);
    item->code = kafka_code((enum err)completion->result);
    ASSERT(item->op->awaited > 0);
    if (--item->op->awaited == 0) {
        produce_finish(item->op);
    }
}

/* What can be told without the log. */
static int16_t produce_check(const struct produce *op, const struct map_topic *topic,
                             struct produce_item *item)
{
    if (op->acks < -1 || op->acks > 1) {
        return KAFKA_INVALID_ACKS;
    }
    if (op->transactional) {
        return KAFKA_INVALID_TXN_STATE;
    }
    enum err err =
        kafka_find_partition(op->request.net, topic, item->partition, &item->request.partition);
    if (err != OK) {
        return kafka_code(err);
    }
    return item->request.produce.batch.size == 0 ? KAFKA_INVALID_RECORD : KAFKA_NONE;
}

static void produce_submit(struct produce *op)
{
    const struct map *map = kafka_map(&op->request);
    struct produce_item *item = op->items;
    op->awaited = 1; /* This function. */
    for (uint32_t i = 0; i < op->topic_count; i++) {
        const struct map_topic *topic = map_topic_by_name(map, op->topics[i].name);
        for (uint32_t j = 0; j < op->topics[i].count; j++, item++) {
            item->code = produce_check(op, topic, item);
            if (item->code == KAFKA_NONE) {
                item->request.kind = REQUEST_PRODUCE;
                item->request.produce.zstd_allowed = op->request.version >= 7;
                completion_init(&item->request.done, produce_item_done);
                op->awaited++;
                route_submit(op->request.net, &item->request);
            }
        }
    }
    if (--op->awaited == 0) {
        produce_finish(op);
    }
}

enum err kafka_produce_start(const struct kafka_request *request)
{
    struct produce counted = {.request = *request};
    if (!produce_read(&counted)) {
        return ERR_CORRUPT;
    }
    struct call *call = request->call;
    uint64_t size = sizeof(struct produce) +
                    counted.topic_count * (uint64_t)sizeof(struct produce_topic) +
                    counted.item_count * (uint64_t)sizeof(struct produce_item);
    enum err err = call_arena(call, size);
    if (err != OK) {
        return err;
    }
    struct produce *op = call_take(call, sizeof(*op));
    op->request = *request;
    op->topics = call_take(call, counted.topic_count * (uint64_t)sizeof(*op->topics));
    op->items = call_take(call, counted.item_count * (uint64_t)sizeof(*op->items));
    bool read = produce_read(op);
    ASSERT(read && op->item_count == counted.item_count);
    call->state = op;
    produce_submit(op);
    return OK;
}
