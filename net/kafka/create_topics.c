/* CreateTopics (19): checked here as far as the map's state is not needed, then proposed one after
 * the other; each answer comes once every core knows the topic.
 *
 *     NEXT topic -> refused: next -> validate only: next -> propose -> answered -> NEXT ... ->
 * answer
 */
#include "core/assert.h"
#include "core/limits.h"
#include "net/group/group.h"
#include "net/kafka/configs.h"

#include <stdio.h>

enum {
    CREATE_MESSAGE_BYTES = 256,
    CREATE_CONFIGS_MAX = 512, /* Topics of one answer whose settings are told: 1.5 KB of each. */
};

struct create_topic {
    struct bytes name;
    int32_t partitions;
    int16_t replication;
    uint32_t assignment_count; /* Partitions placed by hand. */
    bool assignment_bad;
    uint32_t config_first, config_count;
    int16_t code;
    struct topic_id id;
    char message[CREATE_MESSAGE_BYTES];
};

struct create_topics {
    struct kafka_request request;
    struct create_topic *topics;
    struct command_config *configs;
    uint32_t topic_count, config_count, next;
    bool validate_only;
    struct proposal proposal;
};

static void create_refuse(struct create_topic *topic, int16_t code, const char *message)
{
    topic->code = code;
    snprintf(topic->message, sizeof(topic->message), "%s", message);
}

/* Partitions placed by hand: right are the ids 0..n-1, each once, on this cluster's only node. */
static void create_read_assignments(const struct create_topics *op, struct kafka_reader *body,
                                    struct create_topic *topic)
{
    topic->assignment_count = kafka_read_count(body, 5);
    for (uint32_t i = 0; i < topic->assignment_count && !body->bytes.failed; i++) {
        int32_t partition = kafka_read_i32(body);
        topic->assignment_bad = topic->assignment_bad || partition != (int32_t)i;
        topic->assignment_bad =
            !kafka_read_own_replica(&op->request, body) || topic->assignment_bad;
        kafka_read_tags(body);
    }
}

/* Reads the body; fills topics and configs if there are any yet, else only counts them. */
static bool create_read(struct create_topics *op)
{
    struct kafka_reader body = op->request.body;
    uint32_t configs = 0;
    op->topic_count = kafka_read_count(&body, 10);
    for (uint32_t i = 0; i < op->topic_count && !body.bytes.failed; i++) {
        struct create_topic topic = {.name = kafka_read_string(&body)};
        topic.partitions = kafka_read_i32(&body);
        topic.replication = kafka_read_i16(&body);
        create_read_assignments(op, &body, &topic);
        topic.config_first = configs;
        topic.config_count = kafka_read_count(&body, 2);
        for (uint32_t j = 0; j < topic.config_count && !body.bytes.failed; j++, configs++) {
            struct command_config config = {.key = kafka_read_string(&body)};
            config.value = kafka_read_string_or_null(&body);
            kafka_read_tags(&body);
            if (op->configs != NULL) {
                op->configs[configs] = config;
            }
        }
        kafka_read_tags(&body);
        if (op->topics != NULL) {
            op->topics[i] = topic;
        }
    }
    (void)kafka_read_i32(&body); /* The client's timeout: raft's own is shorter. */
    op->validate_only = kafka_read_bool(&body);
    kafka_read_tags(&body);
    op->config_count = configs;
    return kafka_read_done(&body);
}

static uint32_t create_partitions(const struct create_topics *op, const struct create_topic *topic)
{
    if (topic->assignment_count > 0) {
        return topic->assignment_count;
    }
    return topic->partitions == -1 ? op->request.net->options.partitions_default
                                   : (uint32_t)topic->partitions;
}

/* All of a topic's settings; of one that is only looked at, as they would be. */
static void create_encode_configs(const struct create_topics *op, const struct create_topic *topic,
                                  struct kafka_writer *writer)
{
    const struct config_set set = {
        .configs = op->configs + topic->config_first,
        .count = topic->config_count,
    };
    uint32_t count = config_topic_rows();
    kafka_write_count(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        struct config_row row;
        config_topic_row(op->request.net, &set, i, &row);
        kafka_write_text(writer, row.name);
        kafka_write_text(writer, row.values[0].text);
        kafka_write_bool(writer, row.read_only);
        kafka_write_i8(writer, (int8_t)row.values[0].origin);
        kafka_write_bool(writer, false); /* Sensitive: none is. */
        kafka_write_tags(writer);
    }
}

static void create_encode_topic(const struct create_topics *op, const struct create_topic *topic,
                                struct kafka_writer *writer)
{
    int16_t version = op->request.version;
    bool ok = topic->code == KAFKA_NONE;
    kafka_write_string(writer, topic->name);
    if (version >= 7) {
        kafka_write_id(writer, &topic->id);
    }
    kafka_write_i16(writer, topic->code);
    kafka_write_text(writer, topic->message[0] == 0 ? NULL : topic->message);
    if (version >= 5) {
        int16_t replication = topic->replication < 1 ? 1 : topic->replication;
        kafka_write_i32(writer, ok ? (int32_t)create_partitions(op, topic) : -1);
        kafka_write_i16(writer, ok ? replication : (int16_t)-1);
        if (ok && op->topic_count <= CREATE_CONFIGS_MAX) {
            create_encode_configs(op, topic, writer);
        } else {
            kafka_write_count(writer, 0);
        }
    }
    kafka_write_tags(writer);
}

static void create_encode(void *state, struct kafka_writer *writer)
{
    const struct create_topics *op = state;
    kafka_write_i32(writer, 0);
    kafka_write_count(writer, op->topic_count);
    for (uint32_t i = 0; i < op->topic_count; i++) {
        create_encode_topic(op, &op->topics[i], writer);
    }
    kafka_write_tags(writer);
}

static bool create_named_twice(const struct create_topics *op, uint32_t index)
{
    for (uint32_t i = 0; i < op->topic_count; i++) {
        if (i != index && bytes_equal(op->topics[i].name, op->topics[index].name)) {
            return true;
        }
    }
    return false;
}

static void create_check_configs(const struct create_topics *op, struct create_topic *topic)
{
    if (topic->config_count > COMMAND_CONFIGS_MAX) {
        create_refuse(topic, KAFKA_INVALID_CONFIG, "too many configs of one topic");
        return;
    }
    for (uint32_t i = 0; i < topic->config_count; i++) {
        const struct command_config *config = &op->configs[topic->config_first + i];
        char message[CREATE_MESSAGE_BYTES] = {0};
        if (config->value.data != NULL &&
            agent_check_topic_config(config->key, config->value, message) != OK) {
            create_refuse(topic, KAFKA_INVALID_CONFIG, message);
            return;
        }
    }
}

static void create_check_shape(const struct create_topics *op, struct create_topic *topic)
{
    uint32_t nodes = max_u32(map_node_count(kafka_map(&op->request)), 1);
    if (topic->assignment_count > 0) {
        bool mixed = topic->partitions != -1 || topic->replication != -1;
        if (mixed) {
            create_refuse(topic, KAFKA_INVALID_REQUEST,
                          "give either assignments or a number of partitions and replicas");
        } else if (topic->assignment_bad) {
            create_refuse(topic, KAFKA_INVALID_ASSIGNMENT,
                          "assignments must name each partition from 0 on, on this node");
        }
    } else if (topic->partitions != -1 && topic->partitions < 1) {
        create_refuse(topic, KAFKA_INVALID_PARTITIONS, "a topic needs at least one partition");
    } else if (topic->replication != -1 && topic->replication < 1) {
        create_refuse(topic, KAFKA_INVALID_REPLICATION, "replication factor must be at least 1");
    } else if (topic->replication > 0 && (uint32_t)topic->replication > nodes) {
        snprintf(topic->message, sizeof(topic->message),
                 "replication factor %d is larger than the number of nodes, %u", topic->replication,
                 nodes);
        topic->code = KAFKA_INVALID_REPLICATION;
    }
    if (topic->code == KAFKA_NONE && create_partitions(op, topic) > TOPIC_PARTITIONS_MAX) {
        snprintf(topic->message, sizeof(topic->message), "a topic has at most %d partitions",
                 TOPIC_PARTITIONS_MAX);
        topic->code = KAFKA_INVALID_PARTITIONS;
    }
}

static void create_check(const struct create_topics *op, uint32_t index)
{
    struct create_topic *topic = &op->topics[index];
    if (!kafka_topic_name_valid(topic->name)) {
        create_refuse(topic, KAFKA_INVALID_TOPIC,
                      "topic names are 1 to 249 of [a-zA-Z0-9._-], not '.' or '..'");
    } else if (group_topic_is_internal(topic->name)) {
        create_refuse(topic, KAFKA_INVALID_TOPIC, "the topic is made when the first group is");
    } else if (create_named_twice(op, index)) {
        create_refuse(topic, KAFKA_INVALID_REQUEST, "the topic is named twice in this request");
    } else if (map_topic_by_name(kafka_map(&op->request), topic->name) != NULL) {
        create_refuse(topic, KAFKA_TOPIC_EXISTS, "a topic of this name exists already");
    } else {
        create_check_shape(op, topic);
        if (topic->code == KAFKA_NONE) {
            create_check_configs(op, topic);
        }
    }
}

static void create_next(struct create_topics *op);

static void create_answered(struct completion *completion)
{
    struct proposal *proposal = CONTAINER_OF(completion, struct proposal, done);
    struct create_topics *op = CONTAINER_OF(proposal, struct create_topics, proposal);
    struct create_topic *topic = &op->topics[op->next];
    enum err err = (enum err)completion->result;
    if (err != OK) {
        create_refuse(topic, kafka_code_admin(err), err_text(err));
    } else {
        topic->id = proposal->result.topic;
    }
    op->next++;
    create_next(op);
}

static void create_propose(struct create_topics *op, const struct create_topic *topic)
{
    log_propose_topic(op->request.net, &op->proposal, topic->name, create_partitions(op, topic));
    struct command *command = &op->proposal.command;
    command->topic_create.replication_factor =
        topic->replication < 1 ? 0 : (uint32_t)topic->replication;
    for (uint32_t i = 0; i < topic->config_count; i++) {
        struct command_config config = op->configs[topic->config_first + i];
        if (config.value.data != NULL) {
            command->topic_create.configs[command->topic_create.config_count++] = config;
        }
    }
    completion_init(&op->proposal.done, create_answered);
    log_propose(op->request.call, &op->proposal);
}

static void create_next(struct create_topics *op)
{
    for (; op->next < op->topic_count; op->next++) {
        struct create_topic *topic = &op->topics[op->next];
        create_check(op, op->next);
        if (topic->code == KAFKA_NONE && !op->validate_only) {
            create_propose(op, topic);
            return;
        }
    }
    kafka_answer(&op->request, create_encode, op);
}

enum err kafka_create_topics_start(const struct kafka_request *request)
{
    struct create_topics counted = {.request = *request};

    /* A name check for duplicates is quadratic: no request creates more than this many. */
    enum { CREATE_TOPICS_MAX = 4096 };

    if (!create_read(&counted)) {
        return ERR_CORRUPT;
    }
    if (counted.topic_count > CREATE_TOPICS_MAX) {
        return ERR_LIMIT;
    }
    struct call *call = request->call;
    uint64_t topics = counted.topic_count * sizeof(struct create_topic);
    uint64_t configs = counted.config_count * sizeof(struct command_config);
    enum err err = call_arena(call, sizeof(struct create_topics) + topics + configs);
    if (err != OK) {
        return err;
    }
    struct create_topics *op = call_take(call, sizeof(*op));
    op->request = *request;
    op->topics = call_take(call, topics);
    op->configs = call_take(call, configs);
    bool read = create_read(op);
    ASSERT(read && op->topic_count == counted.topic_count);
    call->state = op;
    create_next(op);
    return OK;
}
