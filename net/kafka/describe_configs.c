/* DescribeConfigs (32): the settings of topics and of this node, with their sources. Everything is
 * on this core: the map has what is set, the node's options the rest. */
#include "core/assert.h"
#include "net/kafka/configs.h"

#include <stdio.h>

enum {
    /* Each key is looked for among the settings: no request of a person or tool has more. */
    DESCRIBE_KEYS_MAX = 16384,
    DESCRIBE_RESOURCES_MAX = 16384,
};

struct describe_resource {
    int8_t type;
    struct bytes name;
    bool all;
    uint32_t key_first, key_count;
};

struct describe_configs {
    struct kafka_request request;
    struct describe_resource *resources;
    struct bytes *keys;
    uint32_t resource_count, key_count;
    bool synonyms, documentation;
};

/* Reads the body; fills resources and keys if there are any yet, else only counts them. */
static bool describe_read(struct describe_configs *op)
{
    struct kafka_reader body = op->request.body;
    uint32_t keys = 0;
    op->resource_count = kafka_read_count(&body, 4);
    for (uint32_t i = 0; i < op->resource_count && !body.bytes.failed; i++) {
        struct describe_resource resource = {.type = (int8_t)read_u8(&body.bytes)};
        resource.name = kafka_read_string(&body);
        resource.all = kafka_read_count_or_null(&body, 1, &resource.key_count);
        resource.key_first = keys;
        for (uint32_t j = 0; j < resource.key_count && !body.bytes.failed; j++, keys++) {
            struct bytes key = kafka_read_string(&body);
            if (op->keys != NULL) {
                op->keys[keys] = key;
            }
        }
        kafka_read_tags(&body);
        if (op->resources != NULL) {
            op->resources[i] = resource;
        }
    }
    op->synonyms = kafka_read_bool(&body);
    op->documentation = op->request.version >= 3 && kafka_read_bool(&body);
    kafka_read_tags(&body);
    op->key_count = keys;
    return kafka_read_done(&body);
}

static bool describe_wants(const struct describe_configs *op,
                           const struct describe_resource *resource, const char *name)
{
    for (uint32_t i = 0; i < resource->key_count; i++) {
        if (bytes_equal(op->keys[resource->key_first + i], bytes_text(name))) {
            return true;
        }
    }
    return resource->all;
}

static void describe_write_row(const struct describe_configs *op, const struct config_row *row,
                               struct kafka_writer *writer)
{
    kafka_write_text(writer, row->name);
    kafka_write_text(writer, row->values[0].text);
    kafka_write_bool(writer, row->read_only);
    kafka_write_i8(writer, (int8_t)row->values[0].origin);
    kafka_write_bool(writer, false); /* Sensitive: no setting is. */
    uint32_t synonyms = op->synonyms ? row->count : 0;
    kafka_write_count(writer, synonyms);
    for (uint32_t i = 0; i < synonyms; i++) {
        kafka_write_text(writer, row->values[i].name);
        kafka_write_text(writer, row->values[i].text);
        kafka_write_i8(writer, (int8_t)row->values[i].origin);
        kafka_write_tags(writer);
    }
    if (op->request.version >= 3) {
        kafka_write_i8(writer, row->type);
        kafka_write_text(writer, op->documentation ? row->sentence : NULL);
    }
    kafka_write_tags(writer);
}

/* How many settings there are to choose from; or a code and its reason. */
static int16_t describe_find(const struct describe_configs *op,
                             const struct describe_resource *resource,
                             const struct map_topic **topic, uint32_t *count,
                             char message[AGENT_MESSAGE_BYTES])
{
    const struct net *net = op->request.net;
    *topic = NULL;
    *count = 0;
    message[0] = 0;
    if (resource->type == CONFIG_RESOURCE_TOPIC) {
        *topic = map_topic_by_name(kafka_map(&op->request), resource->name);
        *count = *topic != NULL ? config_topic_rows() : 0;
        if (!kafka_topic_name_valid(resource->name)) {
            (void)snprintf(message, AGENT_MESSAGE_BYTES,
                           "topic names are 1 to 249 of [a-zA-Z0-9._-], not '.' or '..'");
            return KAFKA_INVALID_TOPIC;
        }
        if (*topic == NULL) {
            (void)snprintf(message, AGENT_MESSAGE_BYTES, "the topic does not exist");
            return KAFKA_UNKNOWN_TOPIC;
        }
        return KAFKA_NONE;
    }
    if (resource->type != CONFIG_RESOURCE_BROKER) {
        (void)snprintf(message, AGENT_MESSAGE_BYTES,
                       "resources of type %d have no settings here: 2 is a topic, 4 a broker",
                       resource->type);
        return KAFKA_INVALID_REQUEST;
    }
    char own[16];
    (void)snprintf(own, sizeof(own), "%u", net->options.node_id);
    if (bytes_equal(resource->name, bytes_text(own))) {
        *count = config_node_rows(net);
    } else if (resource->name.size > 0) { /* Without a name: what is set for all nodes, nothing. */
        (void)snprintf(message, AGENT_MESSAGE_BYTES, "this is node %s: ask the one that is meant",
                       own);
        return KAFKA_INVALID_REQUEST;
    }
    return KAFKA_NONE;
}

/* Those of `count` that are wanted; `topic` NULL: the node's. */
static void describe_write_rows(const struct describe_configs *op,
                                const struct describe_resource *resource,
                                const struct map_topic *topic, uint32_t count,
                                struct kafka_writer *writer)
{
    const struct net *net = op->request.net;
    const struct config_set set = {.topic = topic};
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < count; i++) {
        wanted += describe_wants(op, resource,
                                 topic != NULL ? config_topic_name(i) : config_node_name(net, i));
    }
    kafka_write_count(writer, wanted);
    for (uint32_t i = 0; i < count && wanted > 0; i++) {
        struct config_row row;
        if (!describe_wants(op, resource,
                            topic != NULL ? config_topic_name(i) : config_node_name(net, i))) {
            continue;
        }
        if (topic != NULL) {
            config_topic_row(net, &set, i, &row);
        } else {
            config_node_row(net, i, &row);
        }
        describe_write_row(op, &row, writer);
        wanted--;
    }
}

static void describe_write_resource(const struct describe_configs *op,
                                    const struct describe_resource *resource,
                                    struct kafka_writer *writer)
{
    const struct map_topic *topic;
    uint32_t count;
    char message[AGENT_MESSAGE_BYTES];
    int16_t code = describe_find(op, resource, &topic, &count, message);
    kafka_write_i16(writer, code);
    kafka_write_text(writer, message[0] == 0 ? NULL : message);
    kafka_write_i8(writer, resource->type);
    kafka_write_string(writer, resource->name);
    describe_write_rows(op, resource, topic, count, writer);
    kafka_write_tags(writer);
}

static void describe_encode(void *state, struct kafka_writer *writer)
{
    const struct describe_configs *op = state;
    kafka_write_i32(writer, 0);
    kafka_write_count(writer, op->resource_count);
    for (uint32_t i = 0; i < op->resource_count; i++) {
        describe_write_resource(op, &op->resources[i], writer);
    }
    kafka_write_tags(writer);
}

enum err kafka_describe_configs_start(const struct kafka_request *request)
{
    struct describe_configs counted = {.request = *request};
    if (!describe_read(&counted)) {
        return ERR_CORRUPT;
    }
    if (counted.resource_count > DESCRIBE_RESOURCES_MAX || counted.key_count > DESCRIBE_KEYS_MAX) {
        return ERR_LIMIT;
    }
    struct call *call = request->call;
    uint64_t resources = counted.resource_count * sizeof(struct describe_resource);
    uint64_t keys = counted.key_count * sizeof(struct bytes);
    enum err err = call_arena(call, sizeof(struct describe_configs) + resources + keys);
    if (err != OK) {
        return err;
    }
    struct describe_configs *op = call_take(call, sizeof(*op));
    op->request = *request;
    op->resources = call_take(call, resources);
    op->keys = call_take(call, keys);
    bool read = describe_read(op);
    ASSERT(read && op->resource_count == counted.resource_count);
    call->state = op;
    kafka_answer(&op->request, describe_encode, op);
    return OK;
}
