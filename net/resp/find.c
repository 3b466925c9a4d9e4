/* Keys and topics: which partition a key is, what keys there are, and changes of that. */
#include "core/assert.h"
#include "net/resp/key.h"
#include "net/resp/resp.h"
#include "net/resp/text.h"

#include <stdio.h>
#include <string.h>

const struct map *resp_map(const struct resp_op *op)
{
    return agent_map(op->net->options.agent);
}

static enum err find_partition(struct resp_op *op, const struct map_topic *topic,
                               uint32_t partition, struct partition_id *id)
{
    if (partition >= topic->partition_count) {
        resp_explain(op, "ERR topic '%s' has %u partitions", topic->name, topic->partition_count);
        return ERR_INVALID;
    }
    *id = (struct partition_id){.topic = topic->id, .partition = partition};
    if (topic->partitions[partition].leader_node != op->net->options.node_id) {
        resp_explain(op, "TRYAGAIN %s", err_text(ERR_NOT_LEADER));
        return ERR_INVALID;
    }
    return OK;
}

/* The topic of a key that names one of its partitions: "logs/3"; NULL. */
static const struct map_topic *find_numbered(const struct map *map, struct bytes key,
                                             uint32_t *partition)
{
    uint8_t room[TOPIC_NAME_BYTES_MAX];
    struct bytes name;
    bool numbered = resp_key_partition(key, &name, partition) && topic_name_is_allowed(name) &&
                    resp_key_name(name, room, &name);
    return numbered ? map_topic_by_name(map, name) : NULL;
}

uint32_t resp_run_bytes(const struct net *net, struct bytes key)
{
    uint8_t room[TOPIC_NAME_BYTES_MAX];
    struct bytes name;
    uint32_t partition;
    struct partition_config config;
    const struct map *map = agent_map(net->options.agent);
    bool possible = resp_key_name(key, room, &name);
    const struct map_topic *topic = possible ? map_topic_by_name(map, name) : NULL;
    if (topic == NULL) {
        topic = find_numbered(map, key, &partition);
    }
    if (topic == NULL) {
        return 0;
    }
    agent_partition_config(agent_config_default(net->options.agent), topic, &config);
    return config.compacted ? 0 : config.batch_bytes_max;
}

enum err resp_find_key(struct resp_op *op, struct bytes key, struct partition_id *id)
{
    uint8_t room[TOPIC_NAME_BYTES_MAX];
    struct bytes name;
    uint32_t partition;
    const struct map *map = resp_map(op);
    bool possible = resp_key_name(key, room, &name);
    const struct map_topic *topic = possible ? map_topic_by_name(map, name) : NULL;
    if (topic != NULL && topic->partition_count > 1) {
        resp_explain(op, "ERR topic '%s' has %u partitions; use '%s/0'..'%s/%u'", topic->name,
                     topic->partition_count, topic->name, topic->name, topic->partition_count - 1);
        return ERR_INVALID;
    }
    if (topic != NULL) {
        return find_partition(op, topic, 0, id);
    }
    topic = find_numbered(map, key, &partition);
    if (topic != NULL) {
        return find_partition(op, topic, partition, id);
    }
    if (!possible) {
        (void)snprintf(
            op->error, sizeof(op->error),
            "ERR the key is too long for the name of a topic, %d bytes; letters, digits, "
            "'.' and '-' take one, others three",
            TOPIC_NAME_BYTES_MAX);
        return ERR_INVALID;
    }
    return ERR_TOPIC_UNKNOWN;
}

bool resp_keys_next(const struct map *map, struct resp_keys *keys)
{
    for (; keys->topic < map_topic_count(map); keys->topic++, keys->partition = 0) {
        const struct map_topic *topic = map_topic_at(map, keys->topic);
        _Static_assert(RESP_KEY_BYTES > TOPIC_NAME_BYTES_MAX + 12, "a name, a slash, a number");
        if (keys->partition >= topic->partition_count ||
            !resp_name_key(bytes_text(topic->name), keys->room, &keys->key)) {
            continue;
        }
        if (topic->partition_count > 1) {
            uint32_t size = keys->key.size;
            int more = snprintf((char *)keys->room + size, sizeof(keys->room) - size, "/%u",
                                keys->partition);
            keys->key.size += (uint32_t)more;
        }
        keys->partition++;
        return true;
    }
    return false;
}

static void propose_done(struct completion *completion)
{
    struct proposal *proposal = CONTAINER_OF(completion, struct proposal, done);
    struct resp_op *op = CONTAINER_OF(proposal, struct resp_proposal, proposal)->op;
    enum err err = (enum err)completion->result;
    op->proposed(op, err == ERR_EXISTS ? OK : err);
}

static void propose(struct resp_op *op, resp_done_fn *done)
{
    op->proposed = done;
    op->proposal->proposal.command.time_ms = op->net->reactor->now_ms;
    op->proposal->op = op;
    completion_init(&op->proposal->proposal.done, propose_done);
    agent_propose(op->net->options.agent, &op->proposal->proposal);
}

enum err resp_create(struct resp_op *op, struct bytes key, uint32_t partitions, bool asked,
                     resp_done_fn *done)
{
    struct bytes name;
    ASSERT(op->proposal != NULL);
    bool possible = resp_key_name(key, op->proposal->name, &name);
    ASSERT(possible); /* resp_find_key() has looked. */
    if (!asked && !op->net->options.topic_auto_create) {
        resp_explain(op, "ERR unknown topic '%.*s'; make it: REGISTER %.*s, or floe topic create",
                     (int)min_u32(key.size, 64), (const char *)key.data, (int)min_u32(key.size, 64),
                     (const char *)key.data);
        return ERR_DENIED;
    }
    struct command *command = &op->proposal->proposal.command;
    *command = (struct command){.kind = COMMAND_TOPIC_CREATE};
    struct topic_id *id = &command->topic_create.id;
    prng_fill(&op->net->reactor->prng, id->bytes, sizeof(id->bytes));
    id->bytes[6] = (uint8_t)((id->bytes[6] & 0x0f) | 0x40);
    id->bytes[8] = (uint8_t)((id->bytes[8] & 0x3f) | 0x80);
    command->topic_create.name = name;
    command->topic_create.partition_count = partitions;
    propose(op, done);
    return OK;
}

void resp_delete(struct resp_op *op, const struct topic_id *id, resp_done_fn *done)
{
    struct command *command = &op->proposal->proposal.command;
    *command = (struct command){.kind = COMMAND_TOPIC_DELETE};
    command->topic_delete.id = *id;
    propose(op, done);
}

void resp_submit(struct resp_op *op, struct request *request, enum request_kind kind,
                 completion_fn *done)
{
    request->kind = kind;
    completion_init(&request->done, done);
    route_submit(op->net, request);
}

bool resp_find_or_zero(struct resp_op *op, struct bytes key, struct partition_id *id)
{
    enum err err = resp_find_key(op, key, id);
    if (err == ERR_TOPIC_UNKNOWN) {
        resp_answer_integer(op, 0);
    } else if (err != OK) {
        resp_fail_told(op);
    }
    return err == OK;
}
