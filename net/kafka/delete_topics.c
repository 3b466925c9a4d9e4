/* DeleteTopics (20): by name, since version 6 by id too; proposed one after the other. */
#include "core/assert.h"
#include "net/group/group.h"
#include "net/kafka/kafka.h"

struct delete_topic {
    struct bytes name; /* .data NULL: by id, and unknown. */
    struct topic_id id;
    int16_t code;
    bool by_name;
    char found[TOPIC_NAME_BYTES_MAX]; /* The name of what was asked by id: the map forgets it. */
};

struct delete_topics {
    struct kafka_request request;
    struct delete_topic *topics;
    uint32_t topic_count, next;
    struct proposal proposal;
};

/* Reads the body; fills topics if there are any yet, else only counts them. */
static bool delete_read(struct delete_topics *op)
{
    struct kafka_reader body = op->request.body;
    bool by_id = op->request.version >= 6;
    op->topic_count = kafka_read_count(&body, 1);
    for (uint32_t i = 0; i < op->topic_count && !body.bytes.failed; i++) {
        struct delete_topic topic = {0};
        if (by_id) {
            topic.name = kafka_read_string_or_null(&body);
            kafka_read_id(&body, &topic.id);
            kafka_read_tags(&body);
        } else {
            topic.name = kafka_read_string(&body);
        }
        if (op->topics != NULL) {
            op->topics[i] = topic;
        }
    }
    (void)kafka_read_i32(&body);
    kafka_read_tags(&body);
    return kafka_read_done(&body);
}

static void delete_encode(void *state, struct kafka_writer *writer)
{
    const struct delete_topics *op = state;
    int16_t version = op->request.version;
    kafka_write_i32(writer, 0);
    kafka_write_count(writer, op->topic_count);
    for (uint32_t i = 0; i < op->topic_count; i++) {
        const struct delete_topic *topic = &op->topics[i];
        kafka_write_string(writer, topic->name);
        if (version >= 6) {
            kafka_write_id(writer, &topic->id);
        }
        kafka_write_i16(writer, topic->code);
        if (version >= 5) {
            kafka_write_text(writer, NULL);
        }
        kafka_write_tags(writer);
    }
    kafka_write_tags(writer);
}

static void delete_next(struct delete_topics *op);

static void delete_answered(struct completion *completion)
{
    struct proposal *proposal = CONTAINER_OF(completion, struct proposal, done);
    struct delete_topics *op = CONTAINER_OF(proposal, struct delete_topics, proposal);
    struct delete_topic *topic = &op->topics[op->next];
    enum err err = (enum err)completion->result;
    if (err == ERR_TOPIC_ID_UNKNOWN && topic->by_name) {
        err = ERR_TOPIC_UNKNOWN; /* Somebody else was first. */
    }
    topic->code = kafka_code_admin(err);
    op->next++;
    delete_next(op);
}

static void delete_next(struct delete_topics *op)
{
    for (; op->next < op->topic_count; op->next++) {
        struct delete_topic *topic = &op->topics[op->next];
        bool named = topic->name.data != NULL;
        const struct map *map = kafka_map(&op->request);
        const struct map_topic *found =
            named ? map_topic_by_name(map, topic->name) : map_topic_by_id(map, &topic->id);
        if (named && !topic_id_is_zero(&topic->id)) {
            topic->code = KAFKA_INVALID_REQUEST;
        } else if (found == NULL) {
            topic->code = named ? KAFKA_UNKNOWN_TOPIC : KAFKA_UNKNOWN_TOPIC_ID;
        } else if (group_topic_is_internal(bytes_text(found->name))) {
            topic->code = KAFKA_INVALID_TOPIC;
        } else {
            topic->id = found->id;
            topic->by_name = named;
            if (!named) {
                topic->name = bytes_of(topic->found, (uint32_t)strlen(found->name));
                memcpy(topic->found, found->name, topic->name.size);
            }
            op->proposal = (struct proposal){.command.kind = COMMAND_TOPIC_DELETE};
            op->proposal.command.time_ms = op->request.net->reactor->now_ms;
            op->proposal.command.topic_delete.id = found->id;
            completion_init(&op->proposal.done, delete_answered);
            log_propose(op->request.call, &op->proposal);
            return;
        }
    }
    kafka_answer(&op->request, delete_encode, op);
}

enum err kafka_delete_topics_start(const struct kafka_request *request)
{
    struct delete_topics counted = {.request = *request};
    if (!delete_read(&counted)) {
        return ERR_CORRUPT;
    }
    struct call *call = request->call;
    uint64_t topics = counted.topic_count * sizeof(struct delete_topic);
    enum err err = call_arena(call, sizeof(struct delete_topics) + topics);
    if (err != OK) {
        return err;
    }
    struct delete_topics *op = call_take(call, sizeof(*op));
    op->request = *request;
    op->topics = call_take(call, topics);
    bool read = delete_read(op);
    ASSERT(read && op->topic_count == counted.topic_count);
    call->state = op;
    delete_next(op);
    return OK;
}
