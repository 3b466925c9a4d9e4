/* AlterConfigs (33) and IncrementalAlterConfigs (44): the settings of topics. The older one says
 * all that a topic sets, the newer one what changes. Checked here, proposed one topic after the
 * other; each answer comes once every core has the change and its shard follows it.
 *
 *     NEXT resource -> refused: next -> validate only: next -> propose -> answered -> NEXT ...
 *
 * A word is added to a list, or taken from it, as the list is in this core's map: of two requests
 * at the same time the later one may undo the earlier. */
#include "core/assert.h"
#include "net/kafka/configs.h"

#include <stdio.h>

enum {
    ALTER_RESOURCES_MAX = 4096, /* Looking for one that is named twice is quadratic. */
    ALTER_LIST_BYTES = 64,
};

enum alter_kind {
    ALTER_SET = 0,
    ALTER_DELETE = 1,
    ALTER_APPEND = 2,
    ALTER_SUBTRACT = 3,
};

struct alter_change {
    struct bytes key, value;
    int8_t kind;
    char list[ALTER_LIST_BYTES]; /* What an APPEND or SUBTRACT makes of it. */
};

struct alter_resource {
    int8_t type;
    struct bytes name;
    uint32_t first, count; /* Of changes. */
    int16_t code;
    char message[AGENT_MESSAGE_BYTES];
};

struct alter_configs {
    struct kafka_request request;
    struct alter_resource *resources;
    struct alter_change *changes;
    uint32_t resource_count, change_count, next;
    bool validate_only;
    struct proposal proposal;
};

static bool alter_is_incremental(const struct alter_configs *op)
{
    return op->request.key == KAFKA_INCREMENTAL_ALTER_CONFIGS;
}

/* Reads the body; fills resources and changes if there are any yet, else only counts them. */
static bool alter_read(struct alter_configs *op)
{
    struct kafka_reader body = op->request.body;
    uint32_t changes = 0;
    op->resource_count = kafka_read_count(&body, 4);
    for (uint32_t i = 0; i < op->resource_count && !body.bytes.failed; i++) {
        struct alter_resource resource = {.type = (int8_t)read_u8(&body.bytes)};
        resource.name = kafka_read_string(&body);
        resource.first = changes;
        resource.count = kafka_read_count(&body, 2);
        for (uint32_t j = 0; j < resource.count && !body.bytes.failed; j++, changes++) {
            struct alter_change change = {.key = kafka_read_string(&body)};
            change.kind = alter_is_incremental(op) ? (int8_t)read_u8(&body.bytes) : ALTER_SET;
            change.value = kafka_read_string_or_null(&body);
            kafka_read_tags(&body);
            if (op->changes != NULL) {
                op->changes[changes] = change;
            }
        }
        kafka_read_tags(&body);
        if (op->resources != NULL) {
            op->resources[i] = resource;
        }
    }
    op->validate_only = kafka_read_bool(&body);
    kafka_read_tags(&body);
    op->change_count = changes;
    return kafka_read_done(&body);
}

static void alter_encode(void *state, struct kafka_writer *writer)
{
    const struct alter_configs *op = state;
    kafka_write_i32(writer, 0);
    kafka_write_count(writer, op->resource_count);
    for (uint32_t i = 0; i < op->resource_count; i++) {
        const struct alter_resource *resource = &op->resources[i];
        kafka_write_i16(writer, resource->code);
        kafka_write_text(writer, resource->message[0] == 0 ? NULL : resource->message);
        kafka_write_i8(writer, resource->type);
        kafka_write_string(writer, resource->name);
        kafka_write_tags(writer);
    }
    kafka_write_tags(writer);
}

/* --- Judging. --- */

static void alter_refuse(struct alter_resource *resource, int16_t code, const char *message)
{
    resource->code = code;
    (void)snprintf(resource->message, sizeof(resource->message), "%s", message);
}

/* "why: KEY", of bytes that anybody sent. */
static void alter_refuse_key(struct alter_resource *resource, int16_t code, const char *why,
                             struct bytes key)
{
    resource->code = code;
    (void)snprintf(resource->message, sizeof(resource->message), "%s: %.*s", why,
                   (int)min_u32(key.size, 100), (const char *)key.data);
}

/* Whether `word` is one of the words of `list`, which commas part. */
static bool list_has(const char *list, struct bytes word)
{
    while (*list != 0) {
        uint32_t size = (uint32_t)strcspn(list, ",");
        if (bytes_equal(bytes_of(list, size), word)) {
            return true;
        }
        list += size;
        list += *list == ',' ? 1 : 0;
    }
    return false;
}

static void list_add(char list[ALTER_LIST_BYTES], struct bytes word)
{
    size_t used = strlen(list);
    (void)snprintf(list + used, ALTER_LIST_BYTES - used, "%s%.*s", used > 0 ? "," : "",
                   (int)word.size, (const char *)word.data);
}

/* The words of `from` that are not in `without`, and are not there yet. */
static void list_take(char list[ALTER_LIST_BYTES], const char *from, const char *without)
{
    while (*from != 0) {
        struct bytes word = bytes_of(from, (uint32_t)strcspn(from, ","));
        if (!list_has(without, word) && !list_has(list, word)) {
            list_add(list, word);
        }
        from += word.size;
        from += *from == ',' ? 1 : 0;
    }
}

/* Turns a change of a list into its new value. */
static bool alter_list(const struct alter_configs *op, const struct map_topic *topic,
                       const struct config_option *option, struct alter_change *change)
{
    char now[AGENT_VALUE_BYTES];
    char given[ALTER_LIST_BYTES];
    const char *stored = map_topic_config(topic, option->key);
    if (change->value.size >= sizeof(given)) {
        return false;
    }
    (void)snprintf(given, sizeof(given), "%.*s", (int)change->value.size,
                   (const char *)change->value.data);
    if (stored != NULL) {
        agent_value_text(option, stored, now);
    } else {
        agent_topic_default(agent_config_default(op->request.net->options.agent), option, now);
    }
    change->list[0] = 0;
    list_take(change->list, now, change->kind == ALTER_SUBTRACT ? given : "");
    if (change->kind == ALTER_APPEND) {
        list_take(change->list, given, "");
    }
    change->value = bytes_text(change->list);
    return true;
}

static void alter_check_change(const struct alter_configs *op, struct alter_resource *resource,
                               const struct map_topic *topic, uint32_t index)
{
    struct alter_change *change = &op->changes[resource->first + index];
    char key[AGENT_VALUE_BYTES] = {0};
    for (uint32_t i = 0; i < index; i++) {
        if (bytes_equal(op->changes[resource->first + i].key, change->key)) {
            alter_refuse_key(resource, KAFKA_INVALID_REQUEST, "this key is named twice",
                             change->key);
            return;
        }
    }
    if (change->kind < ALTER_SET || change->kind > ALTER_SUBTRACT) {
        alter_refuse_key(resource, KAFKA_INVALID_REQUEST,
                         "no such operation (0 sets, 1 deletes, 2 appends, 3 subtracts) on",
                         change->key);
        return;
    }
    if (change->kind == ALTER_DELETE) {
        change->value = (struct bytes){0};
    } else if (change->value.data == NULL) {
        alter_refuse_key(resource, KAFKA_INVALID_REQUEST, "null is no value of", change->key);
        return;
    }
    if (agent_check_topic_config(change->key, (struct bytes){0}, resource->message) != OK) {
        resource->code = KAFKA_INVALID_CONFIG;
        return;
    }
    memcpy(key, change->key.data, change->key.size);
    bool list = config_is_list(key);
    if (change->kind >= ALTER_APPEND &&
        (!list || !alter_list(op, topic, agent_topic_option(key), change))) {
        alter_refuse_key(resource, KAFKA_INVALID_CONFIG,
                         list ? "too long a list for topic config"
                              : "only lists take append and subtract, not topic config",
                         change->key);
        return;
    }
    if (change->value.data != NULL &&
        agent_check_topic_config(change->key, change->value, resource->message) != OK) {
        resource->code = KAFKA_INVALID_CONFIG;
    }
}

static bool alter_named_twice(const struct alter_configs *op, uint32_t index)
{
    for (uint32_t i = 0; i < op->resource_count; i++) {
        if (i != index && op->resources[i].type == op->resources[index].type &&
            bytes_equal(op->resources[i].name, op->resources[index].name)) {
            return true;
        }
    }
    return false;
}

/* The topic that the next resource means, if it may be changed as asked. */
static const struct map_topic *alter_check(const struct alter_configs *op)
{
    struct alter_resource *resource = &op->resources[op->next];
    const struct map_topic *topic = map_topic_by_name(kafka_map(&op->request), resource->name);
    if (resource->type == CONFIG_RESOURCE_BROKER) {
        alter_refuse(resource, KAFKA_INVALID_REQUEST,
                     "settings of a node are read at its start: change its file or flags, and "
                     "start it again");
    } else if (resource->type != CONFIG_RESOURCE_TOPIC) {
        alter_refuse(resource, KAFKA_INVALID_REQUEST,
                     "only resources of type 2, topics, have settings that can be changed");
    } else if (alter_named_twice(op, op->next)) {
        alter_refuse(resource, KAFKA_INVALID_REQUEST, "the topic is named twice in this request");
    } else if (topic == NULL) {
        alter_refuse(resource, KAFKA_UNKNOWN_TOPIC, "the topic does not exist");
    } else if (resource->count > COMMAND_CONFIGS_MAX) {
        alter_refuse(resource, KAFKA_INVALID_CONFIG, "too many configs of one topic");
    }
    for (uint32_t i = 0; i < resource->count && resource->code == KAFKA_NONE; i++) {
        alter_check_change(op, resource, topic, i);
    }
    return resource->code == KAFKA_NONE ? topic : NULL;
}

/* --- Proposing. --- */

static void alter_next(struct alter_configs *op);

static void alter_answered(struct completion *completion)
{
    struct proposal *proposal = CONTAINER_OF(completion, struct proposal, done);
    struct alter_configs *op = CONTAINER_OF(proposal, struct alter_configs, proposal);
    enum err err = (enum err)completion->result;
    if (err != OK) {
        err = err == ERR_TOPIC_ID_UNKNOWN ? ERR_TOPIC_UNKNOWN : err; /* Deleted meanwhile. */
        alter_refuse(&op->resources[op->next], kafka_code_admin(err), err_text(err));
    }
    op->next++;
    alter_next(op);
}

static bool alter_names(const struct alter_configs *op, const struct alter_resource *resource,
                        const char *key)
{
    for (uint32_t i = 0; i < resource->count; i++) {
        if (bytes_equal(op->changes[resource->first + i].key, bytes_text(key))) {
            return true;
        }
    }
    return false;
}

/* The changes as a command's; the older request also takes back what it does not name. */
static void alter_fill(const struct alter_configs *op, const struct map_topic *topic,
                       struct command *command)
{
    const struct alter_resource *resource = &op->resources[op->next];
    struct command_config *configs = command->topic_configure.configs;
    uint32_t count = 0;
    for (uint32_t i = 0; i < resource->count; i++) {
        const struct alter_change *change = &op->changes[resource->first + i];
        configs[count++] = (struct command_config){.key = change->key, .value = change->value};
    }
    uint32_t rows = alter_is_incremental(op) ? 0 : config_topic_rows();
    for (uint32_t i = 0; i < rows; i++) {
        const char *key = config_topic_name(i);
        if (map_topic_config(topic, key) != NULL && !alter_names(op, resource, key)) {
            configs[count++] = (struct command_config){.key = bytes_text(key)};
        }
    }
    ASSERT(count <= COMMAND_CONFIGS_MAX); /* Each known key once. */
    command->topic_configure.id = topic->id;
    command->topic_configure.config_count = count;
}

static void alter_next(struct alter_configs *op)
{
    for (; op->next < op->resource_count; op->next++) {
        const struct map_topic *topic = alter_check(op);
        if (topic == NULL || op->validate_only) {
            continue;
        }
        op->proposal = (struct proposal){.command.kind = COMMAND_TOPIC_CONFIGURE};
        op->proposal.command.time_ms = op->request.net->reactor->now_ms;
        alter_fill(op, topic, &op->proposal.command);
        if (op->proposal.command.topic_configure.config_count > 0) {
            completion_init(&op->proposal.done, alter_answered);
            log_propose(op->request.call, &op->proposal);
            return;
        }
    }
    kafka_answer(&op->request, alter_encode, op);
}

enum err kafka_alter_configs_start(const struct kafka_request *request)
{
    struct alter_configs counted = {.request = *request};
    if (!alter_read(&counted)) {
        return ERR_CORRUPT;
    }
    if (counted.resource_count > ALTER_RESOURCES_MAX) {
        return ERR_LIMIT;
    }
    struct call *call = request->call;
    uint64_t resources = counted.resource_count * (uint64_t)sizeof(struct alter_resource);
    uint64_t changes = counted.change_count * (uint64_t)sizeof(struct alter_change);
    enum err err = call_arena(call, sizeof(struct alter_configs) + resources + changes);
    if (err != OK) {
        return err;
    }
    struct alter_configs *op = call_take(call, sizeof(*op));
    op->request = *request;
    op->resources = call_take(call, resources);
    op->changes = call_take(call, changes);
    bool read = alter_read(op);
    ASSERT(read && op->resource_count == counted.resource_count);
    call->state = op;
    alter_next(op);
    return OK;
}
