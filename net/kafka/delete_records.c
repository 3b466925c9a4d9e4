/* DeleteRecords (21): the log of a partition starts later. The answer says where; what is below is
 * gone for every reader, and its files as soon as a whole segment is.
 *
 * The request's timeout is not used: what was asked of the owner is waited for and told. */
#include "core/assert.h"
#include "net/kafka/kafka.h"

struct delete_item {
    struct request request;
    struct delete_records *op;
    int32_t partition;
    int16_t code;
};

struct delete_records_topic {
    struct bytes name;
    uint32_t count;
};

struct delete_records {
    struct kafka_request request;
    struct delete_records_topic *topics;
    struct delete_item *items;
    uint32_t topic_count, item_count, awaited;
};

/* Reads the body; fills topics and items if there are any yet, else only counts them. */
static bool delete_read(struct delete_records *op)
{
    struct kafka_reader body = op->request.body;
    uint32_t topics = kafka_read_count(&body, 2);
    uint32_t items = 0;
    for (uint32_t i = 0; i < topics && !body.bytes.failed; i++) {
        struct bytes name = kafka_read_string(&body);
        uint32_t count = kafka_read_count(&body, 12);
        if (op->topics != NULL) {
            op->topics[i] = (struct delete_records_topic){.name = name, .count = count};
        }
        for (uint32_t j = 0; j < count && !body.bytes.failed; j++) {
            int32_t partition = kafka_read_i32(&body);
            int64_t offset = kafka_read_i64(&body);
            kafka_read_tags(&body);
            if (op->items != NULL) {
                struct delete_item *item = &op->items[items];
                item->op = op;
                item->partition = partition;
                item->request.trim.offset = offset;
            }
            items++;
        }
        kafka_read_tags(&body);
    }
    (void)kafka_read_i32(&body); /* The timeout. */
    kafka_read_tags(&body);
    op->topic_count = topics;
    op->item_count = items;
    return kafka_read_done(&body);
}

static void delete_encode(void *state, struct kafka_writer *writer)
{
    const struct delete_records *op = state;
    const struct delete_item *item = op->items;
    kafka_write_i32(writer, 0);
    kafka_write_count(writer, op->topic_count);
    for (uint32_t i = 0; i < op->topic_count; i++) {
        kafka_write_string(writer, op->topics[i].name);
        kafka_write_count(writer, op->topics[i].count);
        for (uint32_t j = 0; j < op->topics[i].count; j++, item++) {
            bool ok = item->code == KAFKA_NONE;
            kafka_write_i32(writer, item->partition);
            kafka_write_i64(writer, ok ? (int64_t)item->request.trim.log_start : -1);
            kafka_write_i16(writer, item->code);
            kafka_write_tags(writer);
        }
        kafka_write_tags(writer);
    }
    kafka_write_tags(writer);
}

static void delete_item_done(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct delete_item *item = CONTAINER_OF(request, struct delete_item, request);
    item->code = kafka_code((enum err)completion->result);
    ASSERT(item->op->awaited > 0);
    if (--item->op->awaited == 0) {
        kafka_answer(&item->op->request, delete_encode, item->op);
    }
}

/* What is only compacted keeps the newest record of each key: no offset may cut that away. */
static bool delete_is_allowed(const struct map_topic *topic)
{
    const char *policy = topic == NULL ? NULL : map_topic_config(topic, "cleanup.policy");
    return policy == NULL || strcmp(policy, "compact") != 0;
}

static void delete_submit(struct delete_records *op)
{
    const struct map *map = kafka_map(&op->request);
    struct delete_item *item = op->items;
    op->awaited = 1; /* This function. */
    for (uint32_t i = 0; i < op->topic_count; i++) {
        const struct map_topic *topic = map_topic_by_name(map, op->topics[i].name);
        for (uint32_t j = 0; j < op->topics[i].count; j++, item++) {
            item->code = kafka_code(kafka_find_partition(op->request.net, topic, item->partition,
                                                         &item->request.partition));
            if (item->code == KAFKA_NONE && !delete_is_allowed(topic)) {
                item->code = KAFKA_POLICY_VIOLATION;
            }
            if (item->code == KAFKA_NONE) {
                item->request.kind = REQUEST_TRIM;
                completion_init(&item->request.done, delete_item_done);
                op->awaited++;
                route_submit(op->request.net, &item->request);
            }
        }
    }
    if (--op->awaited == 0) {
        kafka_answer(&op->request, delete_encode, op);
    }
}

enum err kafka_delete_records_start(const struct kafka_request *request)
{
    struct delete_records counted = {.request = *request};
    if (!delete_read(&counted)) {
        return ERR_CORRUPT;
    }
    struct call *call = request->call;
    uint64_t size = sizeof(struct delete_records) +
                    counted.topic_count * (uint64_t)sizeof(struct delete_records_topic) +
                    counted.item_count * (uint64_t)sizeof(struct delete_item);
    enum err err = call_arena(call, size);
    if (err != OK) {
        return err;
    }
    struct delete_records *op = call_take(call, sizeof(*op));
    op->request = *request;
    op->topics = call_take(call, counted.topic_count * (uint64_t)sizeof(*op->topics));
    op->items = call_take(call, counted.item_count * (uint64_t)sizeof(*op->items));
    bool read = delete_read(op);
    ASSERT(read && op->item_count == counted.item_count);
    call->state = op;
    delete_submit(op);
    return OK;
}
