/* DeleteRecords (21): the log of a partition starts later. The answer says where; what is below is
 * gone for every reader, and its files as soon as a whole segment is.
 *
 * The request's timeout is not used: what was asked of the owner is waited for and told. */
#include "net/group/group.h"
#include "net/kafka/topics.h"

static void delete_read_item(struct topics_item *item, struct kafka_reader *body)
{
    item->request.trim.offset = kafka_read_i64(body);
}

static void delete_read(struct topics_op *op, struct kafka_reader *body)
{
    topics_read(op, body, 12, delete_read_item);
    (void)kafka_read_i32(body); /* The timeout. */
}

static void delete_write_item(const struct topics_item *item, struct kafka_writer *writer)
{
    bool ok = item->code == KAFKA_NONE;
    kafka_write_i32(writer, item->partition);
    kafka_write_i64(writer, ok ? (int64_t)item->request.trim.log_start : -1);
    kafka_write_i16(writer, item->code);
}

static void delete_encode(void *state, struct kafka_writer *writer)
{
    kafka_write_i32(writer, 0);
    topics_write(state, writer, delete_write_item);
    kafka_write_tags(writer);
}

/* What is only compacted keeps the newest record of each key: no offset may cut that away. */
static bool delete_is_allowed(const struct map_topic *topic)
{
    const char *policy = topic == NULL ? NULL : map_topic_config(topic, "cleanup.policy");
    return policy == NULL || strcmp(policy, "compact") != 0;
}

static void delete_check(struct topics_op *op, const struct map_topic *topic,
                         struct topics_item *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct topics_item *item = &items[i];
        item->code = kafka_code(kafka_find_partition(op->request.net, topic, item->partition,
                                                     &item->request.partition));
        if (topic != NULL && group_topic_is_internal(bytes_text(topic->name))) {
            item->code = KAFKA_INVALID_TOPIC;
        } else if (item->code == KAFKA_NONE && !delete_is_allowed(topic)) {
            item->code = KAFKA_POLICY_VIOLATION;
        }
    }
}

static const struct topics_api delete_api = {
    .kind = REQUEST_TRIM,
    .read = delete_read,
    .check = delete_check,
    .finish = topics_answer,
    .encode = delete_encode,
};

enum err kafka_delete_records_start(const struct kafka_request *request)
{
    struct topics_op counted = {.request = *request, .api = &delete_api};
    return topics_start(&counted, sizeof(counted));
}
