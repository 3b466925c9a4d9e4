/* One data core of a node: what it is told, and how it answers. Only for node.c and node_core.c. */
#pragma once

#include "meta/agent.h"
#include "tools/node.h"

struct node;

/* What one data core runs. Touched by its own reactor, but for `answer` and the reads after start.
 */
struct node_core {
    struct node *node;
    struct reactor *reactor;
    uint32_t index;
    struct completion order;  /* Runs on the core. */
    struct completion step;   /* What the core awaits. */
    struct completion answer; /* Runs on the metadata core; its fn is set there. */
    struct completion cut;    /* Runs on the core, beside an order to drain. */
    struct reactor *meta_reactor;
    struct shard *shard;
    bool clean; /* Its shard stopped, and left nothing in the journal alone. */
    struct agent *agent;
    struct net *net;
    struct net_start net_start;
    struct shard_options shard_options;
    struct agent_options agent_options;
    struct net_options net_options;
};

/* What its door is told; `shared` is the node's. */
void node_core_set_net(struct node_core *core, const struct node_options *options,
                       uint32_t core_count, uint32_t node_id, struct net_shared *shared);

/* Orders: each runs on the core, and ends with an answer to the metadata core. */
void node_core_open(struct completion *order); /* Shard and agent; recovers its partitions. */
void node_core_open_door(struct completion *order);
void node_core_drain_door(struct completion *order);
void node_core_stop_door(struct completion *order);
void node_core_stop_agent(struct completion *order);
void node_core_stop_shard(struct completion *order);

/* Ends the drain; no order, and not answered. */
void node_core_cut_door(struct completion *cut);

/* The shard's rolls and trims go through the agent, which is made after it and goes before it. */
void node_core_roll(void *context, struct shard_roll *roll);
void node_core_trim(void *context, struct shard_trim *trim);
