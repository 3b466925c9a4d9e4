/* See the header. One proposal after the other:
 *
 *     queued -> applied -> refused: answered
 *                       -> a topic came, changed or goes: its partitions at the shard, in order
 *                          -> answered
 */
#include "tests/unit/net/stub.h"

#include "core/assert.h"

#include <stdlib.h>
#include <string.h>

static void stub_step(struct completion *work);

void stub_reset(struct agent *agent)
{
    ASSERT(agent->first == NULL);
    map_destroy(agent->map);
    agent->map = map_create();
    ASSERT(agent->map != NULL);
    agent->version = 0;
    agent->proposed = 0;
    struct command_result result;
    struct command command = {.kind = COMMAND_CLUSTER_INIT};
    memset(command.cluster_init.cluster_id, 0xc1, sizeof(command.cluster_init.cluster_id));
    enum err err = stub_apply(agent, &command, &result);
    ASSERT(err == OK);
    command = (struct command){.kind = COMMAND_NODE_REGISTER};
    command.node_register.node_id = agent->node_id;
    command.node_register.core_count = 1;
    err = stub_apply(agent, &command, &result);
    ASSERT(err == OK);
}

struct agent *stub_open(struct reactor *reactor, uint32_t node_id)
{
    struct agent *agent = calloc(1, sizeof(*agent));
    ASSERT(agent != NULL);
    agent->reactor = reactor;
    agent->node_id = node_id;
    agent->config = (struct partition_config){
        .segment_records = SEGMENT_RECORDS_DEFAULT,
        .segment_bytes = SEGMENT_BYTES_DEFAULT,
        .batch_bytes_max = BATCH_BYTES_MAX_DEFAULT,
        .durability = DURABILITY_DISK,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = 3600000,
        .producer_expiry_ms = 86400000,
        .retention_ms = 604800000,
        .retention_bytes = -1,
    };
    completion_init(&agent->work, stub_step);
    stub_reset(agent);
    return agent;
}

void stub_close(struct agent *agent)
{
    ASSERT(agent->first == NULL);
    map_destroy(agent->map);
    free(agent);
}

enum err stub_apply(struct agent *agent, struct command *command, struct command_result *result)
{
    agent->version++;
    command->origin = agent->node_id;
    command->sequence = agent->version;
    machine_apply(agent->map, agent->version, command, result, NULL);
    return result->err;
}

/* --- Proposals. --- */

static void stub_answer(struct agent *agent, enum err err)
{
    struct proposal *proposal = agent->first;
    agent->first = proposal->next;
    agent->working = false;
    completion_fire(agent->reactor, &proposal->done, err);
    if (agent->first != NULL && !agent->hold) {
        agent->working = true;
        completion_fire(agent->reactor, &agent->work, OK);
    }
}

static void stub_topic_step(struct completion *done);

/* The next partition of the topic that came or goes. */
static void stub_topic_next(struct agent *agent, enum request_kind kind)
{
    struct request *request = &agent->request;
    struct partition_id id = request->partition;
    *request = (struct request){.kind = kind, .partition = id, .home = agent->reactor};
    const struct map_topic *topic = map_topic_by_id(agent->map, &id.topic);
    ASSERT(topic != NULL);
    if (agent->partition == topic->partition_count) {
        struct proposal *proposal = agent->first;
        if (kind == REQUEST_DROP) {
            (void)stub_apply(agent, &proposal->command, &proposal->result);
        }
        stub_answer(agent, proposal->result.err);
        return;
    }
    struct partition_config config;
    request->partition.partition = agent->partition++;
    agent_partition_config(&agent->config, topic, &config);
    if (kind == REQUEST_ASSIGN) {
        request->assign.topic_name = topic->name;
        request->assign.config = &config;
    } else if (kind == REQUEST_CONFIGURE) {
        request->configure = &config;
    }
    completion_init(&request->done, stub_topic_step);
    shard_submit(agent->shard, request);
}

static void stub_topic_step(struct completion *done)
{
    struct request *request = CONTAINER_OF(done, struct request, done);
    struct agent *agent = CONTAINER_OF(request, struct agent, request);
    ASSERT(done->result == OK);
    stub_topic_next(agent, request->kind);
}

static void stub_step(struct completion *work)
{
    struct agent *agent = CONTAINER_OF(work, struct agent, work);
    struct proposal *proposal = agent->first;
    if (agent->fail != OK) {
        stub_answer(agent, agent->fail);
        return;
    }
    agent->partition = 0;
    uint32_t wanted = proposal->command.kind == COMMAND_TOPIC_CREATE
                          ? proposal->command.topic_create.partition_count
                      : proposal->command.kind == COMMAND_TOPIC_GROW
                          ? proposal->command.topic_grow.partition_count
                          : 0;
    if (agent->partitions_max > 0 && wanted > agent->partitions_max) {
        stub_answer(agent, ERR_PARTITIONS_INVALID);
        return;
    }
    if (proposal->command.kind == COMMAND_TOPIC_DELETE) {
        agent->request.partition.topic = proposal->command.topic_delete.id;
        if (map_topic_by_id(agent->map, &proposal->command.topic_delete.id) == NULL) {
            stub_answer(agent, ERR_TOPIC_ID_UNKNOWN);
            return;
        }
        stub_topic_next(agent, REQUEST_DROP);
        return;
    }
    if (proposal->command.kind == COMMAND_TOPIC_GROW) {
        const struct map_topic *topic =
            map_topic_by_id(agent->map, &proposal->command.topic_grow.id);
        agent->partition = topic == NULL ? 0 : topic->partition_count; /* Where it goes on. */
    }
    enum err err = stub_apply(agent, &proposal->command, &proposal->result);
    if (err == OK && proposal->command.kind == COMMAND_TOPIC_CREATE) {
        agent->request.partition.topic = proposal->result.topic;
        stub_topic_next(agent, REQUEST_ASSIGN);
    } else if (err == OK && proposal->command.kind == COMMAND_TOPIC_GROW) {
        agent->request.partition.topic = proposal->command.topic_grow.id;
        stub_topic_next(agent, REQUEST_ASSIGN);
    } else if (err == OK && proposal->command.kind == COMMAND_TOPIC_CONFIGURE) {
        agent->request.partition.topic = proposal->command.topic_configure.id;
        stub_topic_next(agent, REQUEST_CONFIGURE);
    } else {
        stub_answer(agent, err);
    }
}

void agent_propose(struct agent *agent, struct proposal *proposal)
{
    proposal->next = NULL;
    agent->proposed++;
    if (agent->first == NULL) {
        agent->first = proposal;
    } else {
        agent->last->next = proposal;
    }
    agent->last = proposal;
    if (!agent->working && !agent->hold) {
        agent->working = true;
        completion_fire(agent->reactor, &agent->work, OK);
    }
}

void stub_release(struct agent *agent)
{
    agent->hold = false;
    if (agent->first != NULL && !agent->working) {
        agent->working = true;
        completion_fire(agent->reactor, &agent->work, OK);
    }
}

/* --- The rest of meta/agent.h. --- */

const struct map *agent_map(const struct agent *agent)
{
    return agent->map;
}

void agent_deliver(struct agent *agent, struct request *request)
{
    shard_submit(agent->shard, request);
}

void agent_cancel(struct agent *agent, struct request *fetch)
{
    shard_cancel(agent->shard, fetch);
}

void agent_roll(void *context, struct shard_roll *roll)
{
    struct agent *agent = context;
    struct command_result result;
    struct command command = {.kind = COMMAND_SEGMENT_ROLL};
    command.segment_roll.partition = roll->partition;
    command.segment_roll.segment_id = roll->segment_id;
    command.segment_roll.end_offset = roll->end_offset;
    command.segment_roll.digest = roll->digest;
    command.segment_roll.open_next = roll->open_next;
    command.segment_roll.salt = agent->version + 1;
    command.segment_roll.durability = roll->durability;
    command.segment_roll.leader_node = agent->node_id;
    command.segment_roll.log_start = roll->log_start;
    command.segment_roll.timestamp_max = roll->timestamp_max;
    command.segment_roll.bytes = roll->bytes;
    enum err err = stub_apply(agent, &command, &result);
    roll->next = result.segment;
    completion_fire(agent->reactor, &roll->done, err);
}

void agent_trim(void *context, struct shard_trim *trim)
{
    struct agent *agent = context;
    struct command_result result;
    struct command command = {.kind = COMMAND_SEGMENT_TRIM};
    command.segment_trim.partition = trim->partition;
    command.segment_trim.segment_id = trim->segment_id;
    command.segment_trim.log_start = trim->log_start;
    completion_fire(agent->reactor, &trim->done, stub_apply(agent, &command, &result));
}

void agent_partition_config(const struct partition_config *fallback, const struct map_topic *topic,
                            struct partition_config *config)
{
    *config = *fallback;
    const char *bytes_max = map_topic_config(topic, "max.message.bytes");
    if (bytes_max != NULL) {
        config->batch_bytes_max = (uint32_t)strtoul(bytes_max, NULL, 10);
    }
    const char *records = map_topic_config(topic, "segment.records");
    if (records != NULL) {
        config->segment_records = strtoul(records, NULL, 10);
    }
    const char *type = map_topic_config(topic, "message.timestamp.type");
    if (type != NULL && strcmp(type, "LogAppendTime") == 0) {
        config->timestamp_type = TIMESTAMP_APPEND;
    }
    const char *policy = map_topic_config(topic, "cleanup.policy");
    config->compacted = policy != NULL && strcmp(policy, "compact") == 0;
    config->deep_validation = config->compacted;
}

const struct partition_config *agent_config_default(const struct agent *agent)
{
    return &agent->config;
}

/* Only programs that make cores call these; they are here so that no other agent is linked. */
enum err agent_open(struct agent **agent, struct reactor *reactor,
                    const struct agent_options *options)
{
    *agent = stub_open(reactor, options->node_id);
    (*agent)->shard = options->shard;
    (*agent)->config = options->config_default;
    return OK;
}

void agent_start(struct agent *agent, struct completion *done)
{
    completion_fire(agent->reactor, done, OK);
}

void agent_stop(struct agent *agent, struct completion *done)
{
    completion_fire(agent->reactor, done, OK);
}

void agent_close(struct agent *agent)
{
    stub_close(agent);
}
