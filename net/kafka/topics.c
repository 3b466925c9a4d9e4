/* Topics with partitions: sent to their owners, counted home. */
#include "net/kafka/topics.h"

#include "core/assert.h"

void topics_answer(struct topics_op *op)
{
    kafka_answer(&op->request, op->api->encode, op);
}

static void topics_home(struct topics_op *op)
{
    ASSERT(op->awaited > 0);
    if (--op->awaited == 0) {
        op->api->finish(op);
    }
}

static void topics_item_done(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct topics_item *item = CONTAINER_OF(request, struct topics_item, request);
    item->code = kafka_code((enum err)completion->result);
    topics_home(item->op);
}

static void topics_check(struct topics_op *op, const struct topics_topic *topic,
                         struct topics_item *items)
{
    const struct map *map = kafka_map(&op->request);
    const struct map_topic *found =
        op->by_id ? map_topic_by_id(map, &topic->id) : map_topic_by_name(map, topic->name);
    if (op->request.call->late) {
        for (uint32_t i = 0; i < topic->count; i++) {
            items[i].code = kafka_code(ERR_STOPPING);
        }
        return;
    }
    if (found != NULL || !op->by_id) {
        op->api->check(op, found, items, topic->count);
        return;
    }
    for (uint32_t i = 0; i < topic->count; i++) {
        items[i].code = KAFKA_UNKNOWN_TOPIC_ID;
    }
}

static void topics_submit(struct topics_op *op)
{
    struct topics_item *item = op->items;
    op->awaited = 1; /* This function. */
    for (uint32_t i = 0; i < op->topic_count; i++) {
        topics_check(op, &op->topics[i], item);
        for (uint32_t j = 0; j < op->topics[i].count; j++, item++) {
            if (item->code == KAFKA_NONE) {
                item->request.kind = op->api->kind;
                completion_init(&item->request.done, topics_item_done);
                op->awaited++;
                route_submit(op->request.net, &item->request);
            }
        }
    }
    topics_home(op);
}

static bool topics_read_body(struct topics_op *op)
{
    struct kafka_reader body = op->request.body;
    op->api->read(op, &body);
    kafka_read_tags(&body);
    return kafka_read_done(&body);
}

enum err topics_start(struct topics_op *counted, uint64_t size)
{
    ASSERT(size >= sizeof(*counted));
    if (!topics_read_body(counted)) {
        return ERR_CORRUPT;
    }
    struct call *call = counted->request.call;
    uint64_t topics = counted->topic_count * (uint64_t)sizeof(struct topics_topic);
    uint64_t items = counted->item_count * (uint64_t)sizeof(struct topics_item);
    enum err err = call_arena(call, size + topics + items);
    if (err != OK) {
        return err;
    }
    struct topics_op *op = call_take(call, size);
    op->request = counted->request;
    op->api = counted->api;
    op->by_id = counted->by_id;
    op->topics = call_take(call, topics);
    op->items = call_take(call, items);
    bool read = topics_read_body(op);
    ASSERT(read && op->item_count == counted->item_count);
    call->state = op;
    topics_submit(op);
    return OK;
}
