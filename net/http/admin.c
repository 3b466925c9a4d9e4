/* POST /v1/topics and DELETE /v1/topics/{topic}: proposals to the map. */
#include "core/assert.h"
#include "net/group/group.h"
#include "net/http/json.h"
#include "net/log.h"

#include <string.h>

struct admin {
    struct http_op *op;
    struct proposal proposal;
    uint32_t partitions;
    uint32_t text_used;
    char name[TOPIC_NAME_BYTES_MAX + 1];
    char text[8192]; /* Of the configs: the document is gone when they are encoded. */
};

_Static_assert(sizeof(struct admin) <= HTTP_ADMIN_BYTES, "http_routes knows the size");

/* --- Creation. --- */

static void create_encode(struct http_op *op, struct http_writer *writer)
{
    const struct admin *admin = op->state;
    char id[TOPIC_ID_TEXT_BYTES];
    http_put_text(writer, "{\"name\":");
    http_put_json(writer, bytes_text(admin->name));
    http_printf(writer, ",\"id\":\"%s\",\"partitions\":%u}\n",
                topic_id_text(&admin->proposal.result.topic, id), admin->partitions);
}

static void create_answered(struct completion *completion)
{
    struct proposal *proposal = CONTAINER_OF(completion, struct proposal, done);
    struct admin *admin = CONTAINER_OF(proposal, struct admin, proposal);
    if (completion->result < 0) {
        http_refuse_err(admin->op, (enum err)completion->result, "the topic was not made");
        return;
    }
    http_answer(admin->op, &(struct http_answer){
                               .status = 201, .type = "application/json", .encode = create_encode});
}

/* A copy that outlives the document; data NULL: there is no room. */
static struct bytes create_keep(struct admin *admin, struct bytes text)
{
    static const struct bytes none = {0};
    if (text.size > sizeof(admin->text) - admin->text_used) {
        return none;
    }
    char *at = admin->text + admin->text_used;
    memcpy(at, text.data, text.size);
    admin->text_used += text.size;
    return bytes_of(at, text.size);
}

static bool create_read_configs(struct admin *admin, json_t *configs)
{
    struct http_op *op = admin->op;
    struct command *command = &admin->proposal.command;
    const char *key;
    json_t *value;
    if (configs == NULL) {
        return true;
    }
    if (!json_is_object(configs) || json_object_size(configs) > COMMAND_CONFIGS_MAX) {
        http_fault(&op->fault, 400, "\"configs\" is no object of at most %d names and texts",
                   COMMAND_CONFIGS_MAX);
        return false;
    }
    json_object_foreach(configs, key, value)
    {
        char message[256] = "";
        struct bytes text;
        if (!http_json_text(op, configs, key, &text) || text.data == NULL) {
            http_fault(&op->fault, 400, "the config has to be a text, also if it is a number");
            return false;
        }
        struct command_config config = {.key = create_keep(admin, bytes_text(key)),
                                        .value = create_keep(admin, text)};
        if (config.key.data == NULL || config.value.data == NULL) {
            http_fault(&op->fault, 413, "the configs are longer than %zu bytes in all",
                       sizeof(admin->text));
            return false;
        }
        if (agent_check_topic_config(config.key, config.value, message) != OK) {
            http_fault(&op->fault, 422, "%s", message);
            return false;
        }
        command->topic_create.configs[command->topic_create.config_count++] = config;
    }
    return true;
}

static bool create_read(struct admin *admin, json_t *document)
{
    static const char *const names[] = {"name", "partitions", "replication", "configs"};
    struct http_op *op = admin->op;
    struct bytes name;
    char quoted[HTTP_QUOTE_BYTES];
    int64_t partitions = op->net->options.partitions_default, replication = 0;
    if (!http_json_known(op, document, "the document", names, ARRAY_COUNT(names)) ||
        !http_json_text(op, document, "name", &name) ||
        !http_json_number(op, document, "partitions", 1, TOPIC_PARTITIONS_MAX, &partitions) ||
        !http_json_number(op, document, "replication", 1, map_node_count(http_map(op)),
                          &replication)) {
        return false;
    }
    if (!topic_name_is_allowed(name)) {
        http_fault(&op->fault, 422, "\"%s\" is no name of a topic: 1 to 249 of a-z A-Z 0-9 . _ -",
                   http_quote(name, quoted));
        return false;
    }
    if (group_topic_is_internal(name)) {
        http_fault(&op->fault, 422, "\"%s\" is a name of the server's own: take another",
                   http_quote(name, quoted));
        return false;
    }
    memcpy(admin->name, name.data, name.size);
    admin->name[name.size] = 0;
    admin->partitions = (uint32_t)partitions;
    log_propose_topic(op->net, &admin->proposal, bytes_text(admin->name), admin->partitions);
    admin->proposal.command.topic_create.replication_factor = (uint32_t)replication;
    return create_read_configs(admin, json_object_get(document, "configs"));
}

enum err http_create_start(struct http_op *op)
{
    struct admin *admin = op->state;
    admin->op = op;
    json_t *document = http_json_read(op);
    bool good = document != NULL && create_read(admin, document);
    if (document != NULL) {
        http_json_end(document);
    }
    if (!good) {
        http_refuse_fault(op);
        return OK;
    }
    completion_init(&admin->proposal.done, create_answered);
    agent_propose(op->net->options.agent, &admin->proposal);
    return OK;
}

/* --- Deletion. --- */

static void delete_answered(struct completion *completion)
{
    struct proposal *proposal = CONTAINER_OF(completion, struct proposal, done);
    struct admin *admin = CONTAINER_OF(proposal, struct admin, proposal);
    if (completion->result < 0) {
        http_refuse_err(admin->op, (enum err)completion->result, "the topic was not deleted");
        return;
    }
    http_answer(admin->op, &(struct http_answer){.status = 204});
}

enum err http_delete_start(struct http_op *op)
{
    struct admin *admin = op->state;
    const struct map_topic *topic = http_topic(op);
    if (topic == NULL) {
        return OK;
    }
    admin->op = op;
    admin->proposal = (struct proposal){.command.kind = COMMAND_TOPIC_DELETE};
    admin->proposal.command.time_ms = op->net->reactor->now_ms;
    admin->proposal.command.topic_delete.id = topic->id;
    completion_init(&admin->proposal.done, delete_answered);
    agent_propose(op->net->options.agent, &admin->proposal);
    return OK;
}
