/* CreatePartitions (37): topics get more partitions; the count is the new total. Proposed one after
 * the other; each answer comes once every core serves what is new. */
#include "core/assert.h"
#include "core/limits.h"
#include "net/kafka/kafka.h"

#include <stdio.h>

enum {
    GROW_MESSAGE_BYTES = 160,
    GROW_TOPICS_MAX = 4096, /* Looking for one that is named twice is quadratic. */
};

struct grow_topic {
    struct bytes name;
    int32_t partitions;
    bool assigned, assignment_bad;
    uint32_t assignment_count; /* Partitions placed by hand. */
    int16_t code;
    char message[GROW_MESSAGE_BYTES];
};

struct create_partitions {
    struct kafka_request request;
    struct grow_topic *topics;
    uint32_t topic_count, next;
    bool validate_only;
    struct proposal proposal;
};

/* Right is this cluster's only node, once, for each new partition. */
static void grow_read_assignments(const struct create_partitions *op, struct kafka_reader *body,
                                  struct grow_topic *topic)
{
    topic->assigned = !kafka_read_count_or_null(body, 1, &topic->assignment_count);
    for (uint32_t i = 0; i < topic->assignment_count && !body->bytes.failed; i++) {
        topic->assignment_bad =
            !kafka_read_own_replica(&op->request, body) || topic->assignment_bad;
        kafka_read_tags(body);
    }
}

/* Reads the body; fills topics if there are any yet, else only counts them. */
static bool grow_read(struct create_partitions *op)
{
    struct kafka_reader body = op->request.body;
    op->topic_count = kafka_read_count(&body, 6);
    for (uint32_t i = 0; i < op->topic_count && !body.bytes.failed; i++) {
        struct grow_topic topic = {.name = kafka_read_string(&body)};
        topic.partitions = kafka_read_i32(&body);
        grow_read_assignments(op, &body, &topic);
        kafka_read_tags(&body);
        if (op->topics != NULL) {
            op->topics[i] = topic;
        }
    }
    (void)kafka_read_i32(&body); /* The client's timeout: raft's own is shorter. */
    op->validate_only = kafka_read_bool(&body);
    kafka_read_tags(&body);
    return kafka_read_done(&body);
}

static void grow_encode(void *state, struct kafka_writer *writer)
{
    const struct create_partitions *op = state;
    kafka_write_i32(writer, 0);
    kafka_write_count(writer, op->topic_count);
    for (uint32_t i = 0; i < op->topic_count; i++) {
        const struct grow_topic *topic = &op->topics[i];
        kafka_write_string(writer, topic->name);
        kafka_write_i16(writer, topic->code);
        kafka_write_text(writer, topic->message[0] == 0 ? NULL : topic->message);
        kafka_write_tags(writer);
    }
    kafka_write_tags(writer);
}

static void grow_refuse(struct grow_topic *topic, int16_t code, const char *message)
{
    topic->code = code;
    (void)snprintf(topic->message, sizeof(topic->message), "%s", message);
}

static bool grow_named_twice(const struct create_partitions *op, uint32_t index)
{
    for (uint32_t i = 0; i < op->topic_count; i++) {
        if (i != index && bytes_equal(op->topics[i].name, op->topics[index].name)) {
            return true;
        }
    }
    return false;
}

static void grow_check_count(struct grow_topic *topic, const struct map_topic *found)
{
    uint32_t now = found->partition_count;
    if (topic->partitions <= (int32_t)now) {
        topic->code = KAFKA_INVALID_PARTITIONS;
        (void)snprintf(
            topic->message, sizeof(topic->message),
            "the topic has %u partitions, and %d is not more: the count is the new total", now,
            topic->partitions);
    } else if (topic->partitions > TOPIC_PARTITIONS_MAX) {
        topic->code = KAFKA_INVALID_PARTITIONS;
        (void)snprintf(topic->message, sizeof(topic->message), "a topic has at most %d partitions",
                       TOPIC_PARTITIONS_MAX);
    } else if (topic->assigned && topic->assignment_count != (uint32_t)topic->partitions - now) {
        grow_refuse(topic, KAFKA_INVALID_ASSIGNMENT,
                    "there must be an assignment for each new partition, and no other");
    } else if (topic->assignment_bad) {
        grow_refuse(topic, KAFKA_INVALID_ASSIGNMENT,
                    "each new partition must be assigned to this node, and no other");
    }
}

/* The topic that is meant next, if it may grow as asked. */
static const struct map_topic *grow_check(struct create_partitions *op)
{
    struct grow_topic *topic = &op->topics[op->next];
    const struct map_topic *found = map_topic_by_name(kafka_map(&op->request), topic->name);
    if (grow_named_twice(op, op->next)) {
        grow_refuse(topic, KAFKA_INVALID_REQUEST, "the topic is named twice in this request");
    } else if (found == NULL) {
        grow_refuse(topic, KAFKA_UNKNOWN_TOPIC, "the topic does not exist");
    } else {
        grow_check_count(topic, found);
    }
    return topic->code == KAFKA_NONE ? found : NULL;
}

static void grow_next(struct create_partitions *op);

static void grow_answered(struct completion *completion)
{
    struct proposal *proposal = CONTAINER_OF(completion, struct proposal, done);
    struct create_partitions *op = CONTAINER_OF(proposal, struct create_partitions, proposal);
    enum err err = (enum err)completion->result;
    if (err != OK) {
        err = err == ERR_TOPIC_ID_UNKNOWN ? ERR_TOPIC_UNKNOWN : err; /* Deleted meanwhile. */
        grow_refuse(&op->topics[op->next], kafka_code_admin(err), err_text(err));
    }
    op->next++;
    grow_next(op);
}

static void grow_next(struct create_partitions *op)
{
    for (; op->next < op->topic_count; op->next++) {
        const struct map_topic *found = grow_check(op);
        if (found != NULL && !op->validate_only) {
            op->proposal = (struct proposal){.command.kind = COMMAND_TOPIC_GROW};
            struct command *command = &op->proposal.command;
            command->time_ms = op->request.net->reactor->now_ms;
            command->topic_grow.id = found->id;
            command->topic_grow.partition_count = (uint32_t)op->topics[op->next].partitions;
            completion_init(&op->proposal.done, grow_answered);
            log_propose(op->request.call, &op->proposal);
            return;
        }
    }
    kafka_answer(&op->request, grow_encode, op);
}

enum err kafka_create_partitions_start(const struct kafka_request *request)
{
    struct create_partitions counted = {.request = *request};
    if (!grow_read(&counted)) {
        return ERR_CORRUPT;
    }
    if (counted.topic_count > GROW_TOPICS_MAX) {
        return ERR_LIMIT;
    }
    struct call *call = request->call;
    uint64_t topics = counted.topic_count * (uint64_t)sizeof(struct grow_topic);
    enum err err = call_arena(call, sizeof(struct create_partitions) + topics);
    if (err != OK) {
        return err;
    }
    struct create_partitions *op = call_take(call, sizeof(*op));
    op->request = *request;
    op->topics = call_take(call, topics);
    bool read = grow_read(op);
    ASSERT(read && op->topic_count == counted.topic_count);
    call->state = op;
    grow_next(op);
    return OK;
}
