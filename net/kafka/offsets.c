/* ListOffsets (2): latest, earliest, the newest timestamp, or the first record at a time. */
#include "core/assert.h"
#include "core/limits.h"
#include "net/kafka/kafka.h"

enum { OFFSETS_WORDS = TOPIC_PARTITIONS_MAX / 64 + 1 };

struct offsets_item {
    struct request request;
    struct offsets *op;
    int32_t partition;
    int16_t code;
};

struct offsets_topic {
    struct bytes name;
    uint32_t count;
};

struct offsets {
    struct kafka_request request;
    struct offsets_topic *topics;
    struct offsets_item *items;
    uint32_t topic_count, item_count, awaited;
    /* A bit for each partition of the topic that is being looked at; zero between topics. */
    uint64_t named[OFFSETS_WORDS], twice[OFFSETS_WORDS];
};

/* Reads the body; fills topics and items if there are any yet, else only counts them. */
static bool offsets_read(struct offsets *op)
{
    struct kafka_reader body = op->request.body;
    int16_t version = op->request.version;
    (void)kafka_read_i32(&body); /* Replica: all read up to the high watermark. */
    if (version >= 2) {
        (void)read_u8(&body.bytes); /* Isolation: without transactions both are the same. */
    }
    uint32_t topics = kafka_read_count(&body, 2);
    uint32_t items = 0;
    for (uint32_t i = 0; i < topics && !body.bytes.failed; i++) {
        struct bytes name = kafka_read_string(&body);
        uint32_t count = kafka_read_count(&body, 12);
        if (op->topics != NULL) {
            op->topics[i] = (struct offsets_topic){.name = name, .count = count};
        }
        for (uint32_t j = 0; j < count && !body.bytes.failed; j++) {
            int32_t partition = kafka_read_i32(&body);
            int32_t epoch = version >= 4 ? kafka_read_i32(&body) : -1;
            int64_t timestamp = kafka_read_i64(&body);
            kafka_read_tags(&body);
            if (op->items != NULL) {
                struct offsets_item *item = &op->items[items];
                item->op = op;
                item->partition = partition;
                item->request.offsets.epoch = epoch;
                item->request.offsets.timestamp = timestamp;
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

static void offsets_encode_item(const struct offsets_item *item, int16_t version,
                                struct kafka_writer *writer)
{
    const struct request_offsets *offsets = &item->request.offsets;
    bool ok = item->code == KAFKA_NONE;
    kafka_write_i32(writer, item->partition);
    kafka_write_i16(writer, item->code);
    kafka_write_i64(writer, ok ? offsets->timestamp_found : -1);
    kafka_write_i64(writer, ok ? offsets->offset : -1);
    if (version >= 4) {
        kafka_write_i32(writer, ok ? offsets->epoch_found : -1);
    }
    kafka_write_tags(writer);
}

static void offsets_encode(void *state, struct kafka_writer *writer)
{
    const struct offsets *op = state;
    const struct offsets_item *item = op->items;
    if (op->request.version >= 2) {
        kafka_write_i32(writer, 0);
    }
    kafka_write_count(writer, op->topic_count);
    for (uint32_t i = 0; i < op->topic_count; i++) {
        kafka_write_string(writer, op->topics[i].name);
        kafka_write_count(writer, op->topics[i].count);
        for (uint32_t j = 0; j < op->topics[i].count; j++, item++) {
            offsets_encode_item(item, op->request.version, writer);
        }
        kafka_write_tags(writer);
    }
    kafka_write_tags(writer);
}

static void offsets_item_done(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct offsets_item *item = CONTAINER_OF(request, struct offsets_item, request);
    enum err err = (enum err)completion->result;
    item->code = err == ERR_NOT_READY ? KAFKA_NOT_LEADER : kafka_code(err);
    ASSERT(item->op->awaited > 0);
    if (--item->op->awaited == 0) {
        kafka_answer(&item->op->request, offsets_encode, item->op);
    }
}

/* Which partitions a topic's items name, once and more often. Those that cannot exist are refused
 * for that alone. */
static void offsets_mark(struct offsets *op, const struct offsets_item *first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t partition = (uint32_t)first[i].partition;
        if (partition < TOPIC_PARTITIONS_MAX) {
            uint64_t bit = (uint64_t)1 << partition % 64;
            op->twice[partition / 64] |= op->named[partition / 64] & bit;
            op->named[partition / 64] |= bit;
        }
    }
}

static void offsets_unmark(struct offsets *op, const struct offsets_item *first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t partition = (uint32_t)first[i].partition;
        if (partition < TOPIC_PARTITIONS_MAX) {
            op->named[partition / 64] = 0;
            op->twice[partition / 64] = 0;
        }
    }
}

static bool offsets_named_twice(const struct offsets *op, const struct offsets_item *item)
{
    uint32_t partition = (uint32_t)item->partition;
    return partition < TOPIC_PARTITIONS_MAX &&
           (op->twice[partition / 64] >> partition % 64 & 1) != 0;
}

static int16_t offsets_check(const struct offsets *op, const struct map_topic *topic,
                             struct offsets_item *item)
{
    int64_t timestamp = item->request.offsets.timestamp;
    if (offsets_named_twice(op, item)) {
        return KAFKA_INVALID_REQUEST;
    }
    int64_t least = op->request.version >= 7 ? OFFSETS_MAX_TIMESTAMP : OFFSETS_EARLIEST;
    if (timestamp < least) {
        return KAFKA_UNSUPPORTED_VERSION;
    }
    return kafka_code(
        kafka_find_partition(op->request.net, topic, item->partition, &item->request.partition));
}

static void offsets_submit(struct offsets *op)
{
    const struct map *map = kafka_map(&op->request);
    struct offsets_item *first = op->items;
    op->awaited = 1; /* This function. */
    for (uint32_t i = 0; i < op->topic_count; i++) {
        const struct map_topic *topic = map_topic_by_name(map, op->topics[i].name);
        offsets_mark(op, first, op->topics[i].count);
        for (uint32_t j = 0; j < op->topics[i].count; j++) {
            first[j].code = offsets_check(op, topic, &first[j]);
            if (first[j].code == KAFKA_NONE) {
                first[j].request.kind = REQUEST_OFFSETS;
                completion_init(&first[j].request.done, offsets_item_done);
                op->awaited++;
                route_submit(op->request.net, &first[j].request);
            }
        }
        offsets_unmark(op, first, op->topics[i].count);
        first += op->topics[i].count;
    }
    if (--op->awaited == 0) {
        kafka_answer(&op->request, offsets_encode, op);
    }
}

enum err kafka_offsets_start(const struct kafka_request *request)
{
    struct offsets counted = {.request = *request};
    if (!offsets_read(&counted)) {
        return ERR_CORRUPT;
    }
    struct call *call = request->call;
    uint64_t size = sizeof(struct offsets) +
                    counted.topic_count * (uint64_t)sizeof(struct offsets_topic) +
                    counted.item_count * (uint64_t)sizeof(struct offsets_item);
    enum err err = call_arena(call, size);
    if (err != OK) {
        return err;
    }
    struct offsets *op = call_take(call, sizeof(*op));
    op->request = *request;
    op->topics = call_take(call, counted.topic_count * (uint64_t)sizeof(*op->topics));
    op->items = call_take(call, counted.item_count * (uint64_t)sizeof(*op->items));
    bool read = offsets_read(op);
    ASSERT(read && op->item_count == counted.item_count);
    call->state = op;
    offsets_submit(op);
    return OK;
}
