/* OffsetCommit (8) and OffsetDelete (47): topics with partitions of one group. Topics are known to
 * the engine by their ids: what is committed for one that is gone says nothing of the next one of
 * that name. */
#include "core/assert.h"
#include "net/kafka/groups.h"

struct offsets_topic {
    struct bytes name;
    uint32_t count;
};

/* The state of both. */
struct group_offsets {
    struct kafka_group_op op;
    struct group_call call;
    struct offsets_topic *topics;
    int32_t *partitions; /* As asked, by item. */
    uint32_t topic_count;
};

static void offsets_read_item(const struct kafka_request *request, struct kafka_reader *body,
                              struct group_offset_item *item)
{
    item->epoch = -1;
    if (request->key == KAFKA_OFFSET_COMMIT) {
        item->offset = kafka_read_i64(body);
        item->epoch = request->version >= 6 ? kafka_read_i32(body) : -1;
        item->metadata = kafka_read_string_or_null(body);
    }
}

/* Reads the topics; fills what there is room for, else only counts. */
static void offsets_read_topics(struct group_offsets *op, struct kafka_reader *body)
{
    const struct kafka_request *request = &op->op.request;
    uint32_t items = 0;
    op->topic_count = kafka_read_count(body, 2);
    for (uint32_t i = 0; i < op->topic_count && !body->bytes.failed; i++) {
        struct bytes name = kafka_read_string(body);
        uint32_t count = kafka_read_count(body, 4);
        if (op->topics != NULL) {
            op->topics[i] = (struct offsets_topic){.name = name, .count = count};
        }
        for (uint32_t j = 0; j < count && !body->bytes.failed; j++, items++) {
            struct group_offset_item item = {.topic_name = name};
            int32_t partition = kafka_read_i32(body);
            offsets_read_item(request, body, &item);
            kafka_read_tags(body);
            if (op->call.items != NULL) {
                op->call.items[items] = item;
                op->partitions[items] = partition;
            }
        }
        kafka_read_tags(body);
    }
    op->call.item_count = items;
}

static bool offsets_read(struct group_offsets *op)
{
    const struct kafka_request *request = &op->op.request;
    struct kafka_reader body = request->body;
    op->call.group = kafka_read_string(&body);
    if (request->key == KAFKA_OFFSET_COMMIT) {
        op->call.generation = kafka_read_i32(&body);
        op->call.member = kafka_read_string(&body);
        if (request->version >= 7) {
            op->call.instance = kafka_read_string_or_null(&body);
        }
        if (request->version <= 4) {
            (void)kafka_read_i64(&body); /* Retention: the broker's own. */
        }
    }
    offsets_read_topics(op, &body);
    kafka_read_tags(&body);
    return kafka_read_done(&body);
}

/* Gives each item its topic's id. */
static void offsets_resolve(struct group_offsets *op)
{
    const struct map *map = kafka_map(&op->op.request);
    struct group_offset_item *item = op->call.items;
    const int32_t *partition = op->partitions;
    for (uint32_t i = 0; i < op->topic_count; i++) {
        const struct map_topic *topic = map_topic_by_name(map, op->topics[i].name);
        for (uint32_t j = 0; j < op->topics[i].count; j++, item++, partition++) {
            if (topic == NULL || *partition < 0 || (uint32_t)*partition >= topic->partition_count) {
                item->code = GROUP_TOPIC_UNKNOWN;
            } else {
                item->topic = topic->id;
                item->partition = (uint32_t)*partition;
            }
        }
    }
}

static void offsets_write_topics(const struct group_offsets *op, enum group_code code,
                                 struct kafka_writer *writer)
{
    const struct group_offset_item *item = op->call.items;
    const int32_t *partition = op->partitions;
    kafka_write_count(writer, op->topic_count);
    for (uint32_t i = 0; i < op->topic_count; i++) {
        kafka_write_string(writer, op->topics[i].name);
        kafka_write_count(writer, op->topics[i].count);
        for (uint32_t j = 0; j < op->topics[i].count; j++, item++, partition++) {
            kafka_write_i32(writer, *partition);
            kafka_write_i16(writer, kafka_code_group(code == GROUP_OK ? item->code : code));
            kafka_write_tags(writer);
        }
        kafka_write_tags(writer);
    }
}

static void offsets_encode(void *state, struct kafka_writer *writer)
{
    const struct group_offsets *op = state;
    enum group_code code = kafka_group_code(&op->call);
    if (op->op.request.key == KAFKA_OFFSET_DELETE) {
        kafka_write_i16(writer, kafka_code_group(code));
        kafka_write_i32(writer, 0);
        if (code == GROUP_OK) {
            offsets_write_topics(op, code, writer);
        } else {
            kafka_write_count(writer, 0);
        }
        return;
    }
    if (op->op.request.version >= 3) {
        kafka_write_i32(writer, 0);
    }
    offsets_write_topics(op, code, writer);
    kafka_write_tags(writer);
}

static void offsets_finish(struct kafka_group_op *op)
{
    kafka_answer(&op->request, offsets_encode, op);
}

static enum err offsets_start(const struct kafka_request *request, enum group_kind kind)
{
    struct group_offsets counted = {.op.request = *request};
    if (!offsets_read(&counted)) {
        return ERR_CORRUPT;
    }
    struct call *call = request->call;
    uint64_t topics = counted.topic_count * (uint64_t)sizeof(struct offsets_topic);
    uint64_t items = counted.call.item_count * (uint64_t)sizeof(struct group_offset_item);
    uint64_t partitions = counted.call.item_count * (uint64_t)sizeof(int32_t);
    enum err err = call_arena(call, sizeof(struct group_offsets) + topics + items + partitions);
    if (err != OK) {
        return err;
    }
    struct group_offsets *op = call_take(call, sizeof(*op));
    op->op.request = *request;
    op->topics = call_take(call, topics);
    op->call.items = call_take(call, items);
    op->partitions = call_take(call, partitions);
    bool read = offsets_read(op);
    ASSERT(read && op->call.item_count == counted.call.item_count);
    op->call.kind = kind;
    offsets_resolve(op);
    call->state = op;
    kafka_group_submit(&op->op, &op->call, 1, offsets_finish);
    return OK;
}

enum err kafka_offset_commit_start(const struct kafka_request *request)
{
    return offsets_start(request, GROUP_COMMIT);
}

enum err kafka_offset_delete_start(const struct kafka_request *request)
{
    return offsets_start(request, GROUP_OFFSET_DELETE);
}
