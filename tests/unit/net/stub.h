/* The agent as the door sees it, without a metadata core: meta/agent.h over one map in memory that
 * only machine_apply() changes. It assigns and drops partitions at the shard as the real one does,
 * so no answer comes before its topic can be used. */
#pragma once

#include "core/reactor.h"
#include "meta/agent.h"
#include "meta/machine.h"

struct agent {
    struct reactor *reactor;
    struct shard *shard;
    struct map *map;
    struct partition_config config; /* What a topic gets that sets nothing. */
    uint32_t node_id;
    uint64_t version;
    uint32_t partitions_max; /* Of a topic; 0: as many as the map takes. */
    bool hold;               /* Proposals wait for stub_release(). */
    enum err fail; /* What the next proposals end with, unapplied. OK: they are applied. */
    uint32_t proposed;
    struct proposal *first, *last; /* In order; the first one is being worked on, unless held. */
    bool working;
    struct completion work;
    struct request request; /* The assignment or the drop that is out. */
    uint32_t partition;
};

/* Without a shard yet; the shard's hooks want the agent. */
struct agent *stub_open(struct reactor *reactor, uint32_t node_id);
void stub_close(struct agent *agent);

/* An empty map with a cluster id of 16 bytes 0xc1 and node `node_id`, as at the start. */
void stub_reset(struct agent *agent);

/* Applies `command` now: for what was there before the test began. */
enum err stub_apply(struct agent *agent, struct command *command, struct command_result *result);

void stub_release(struct agent *agent);
