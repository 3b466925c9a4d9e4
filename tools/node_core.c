/* See the header. A core answers by posting its `answer` to the metadata core. */
#include "tools/node_core.h"

#include <string.h>

static void node_core_answer(struct node_core *core, int32_t result)
{
    reactor_post(core->meta_reactor, &core->answer, result);
}

static void node_core_stepped(struct completion *completion)
{
    struct node_core *core = CONTAINER_OF(completion, struct node_core, step);
    node_core_answer(core, completion->result);
}

void node_core_open(struct completion *completion)
{
    struct node_core *core = CONTAINER_OF(completion, struct node_core, order);
    enum err err = shard_open(&core->shard, core->reactor, &core->shard_options);
    if (err == OK) {
        core->agent_options.shard = core->shard;
        err = agent_open(&core->agent, core->reactor, &core->agent_options);
    }
    if (err != OK) {
        node_core_answer(core, err);
        return;
    }
    completion_init(&core->step, node_core_stepped);
    agent_start(core->agent, &core->step);
}

/* net_start answers through its own completion, which stands elsewhere in the core. */
static void node_core_door_opened(struct completion *completion)
{
    struct net_start *start = CONTAINER_OF(completion, struct net_start, done);
    struct node_core *core = CONTAINER_OF(start, struct node_core, net_start);
    node_core_answer(core, completion->result);
}

void node_core_open_door(struct completion *completion)
{
    struct node_core *core = CONTAINER_OF(completion, struct node_core, order);
    core->net_options.agent = core->agent;
    enum err err = net_open(&core->net, core->reactor, &core->net_options);
    if (err != OK) {
        node_core_answer(core, err);
        return;
    }
    completion_init(&core->net_start.done, node_core_door_opened);
    net_start(core->net, &core->net_start);
}

void node_core_drain_door(struct completion *completion)
{
    struct node_core *core = CONTAINER_OF(completion, struct node_core, order);
    if (core->net == NULL) {
        node_core_answer(core, OK);
        return;
    }
    completion_init(&core->step, node_core_stepped);
    net_drain(core->net, &core->step);
}

void node_core_cut_door(struct completion *completion)
{
    struct node_core *core = CONTAINER_OF(completion, struct node_core, cut);
    if (core->net != NULL) {
        net_cut(core->net);
    }
}

void node_core_stop_door(struct completion *completion)
{
    struct node_core *core = CONTAINER_OF(completion, struct node_core, order);
    if (core->net == NULL) {
        node_core_answer(core, OK);
        return;
    }
    completion_init(&core->step, node_core_stepped);
    net_stop(core->net, &core->step);
}

void node_core_stop_agent(struct completion *completion)
{
    struct node_core *core = CONTAINER_OF(completion, struct node_core, order);
    if (core->net != NULL) {
        net_close(core->net);
        core->net = NULL;
    }
    if (core->agent == NULL) {
        node_core_answer(core, OK);
        return;
    }
    completion_init(&core->step, node_core_stepped);
    agent_stop(core->agent, &core->step);
}

static void node_core_shard_stopped(struct completion *completion)
{
    struct node_core *core = CONTAINER_OF(completion, struct node_core, step);
    core->clean = shard_is_clean(core->shard);
    shard_close(core->shard);
    core->shard = NULL;
    node_core_answer(core, completion->result);
}

/* The agent goes after its shard: a shard that stops may still tell the map where a segment ended.
 */
void node_core_stop_shard(struct completion *completion)
{
    struct node_core *core = CONTAINER_OF(completion, struct node_core, order);
    if (core->agent != NULL) {
        agent_close(core->agent);
        core->agent = NULL;
    }
    if (core->shard == NULL) {
        node_core_answer(core, OK);
        return;
    }
    completion_init(&core->step, node_core_shard_stopped);
    shard_stop(core->shard, &core->step);
}

void node_core_roll(void *context, struct shard_roll *roll)
{
    const struct node_core *core = context;
    if (core->agent == NULL) {
        completion_fire(core->reactor, &roll->done, ERR_NOT_READY);
        return;
    }
    agent_roll(core->agent, roll);
}

void node_core_trim(void *context, struct shard_trim *trim)
{
    const struct node_core *core = context;
    if (core->agent == NULL) {
        completion_fire(core->reactor, &trim->done, ERR_NOT_READY);
        return;
    }
    agent_trim(core->agent, trim);
}

void node_core_set_net(struct node_core *core, const struct node_options *options,
                       uint32_t core_count, uint32_t node_id, struct net_shared *shared)
{
    core->net_options = (struct net_options){
        .core_index = core->index,
        .core_count = core_count,
        .node_id = node_id,
        .listen_count = options->listen_count,
        .advertise = options->advertise,
        .http = options->http,
        .topic_auto_create = options->topic_auto_create,
        .resp_allow_delete = options->resp_allow_delete,
        .resp_allow_flush = options->resp_allow_flush,
        .partitions_default = options->partitions_default,
        .data_dir = options->data_dir,
        .settings = options->settings,
        .connections_max = options->connections_max,
        .address_connections_max = options->address_connections_max,
        .idle_timeout_ms = options->idle_timeout_ms,
        .stall_timeout_ms = options->stall_timeout_ms,
        .drain_timeout_ms = options->drain_timeout_ms,
        .shared = shared,
        .groups = options->groups,
    };
    memcpy(core->net_options.listen, options->listen, sizeof(options->listen));
}
