/* One node without a door: two data cores with shard and agent, and the metadata core, all turned
 * by the test's own thread. */
#pragma once

#include "core/io_engine.h"
#include "meta/agent.h"
#include "meta/machine.h"
#include "meta/meta.h"

enum { CLUSTER_CORES = 2, CLUSTER_REACTORS = CLUSTER_CORES + 1 };

struct cluster {
    struct reactor reactors[CLUSTER_REACTORS];
    struct io_helper *helper;
    const struct io_engine *io;
    char dir[64], meta_dir[80];
    uint64_t log_file_bytes;
    uint32_t node_id;
    struct meta *meta;
    struct meta_start meta_start;
    struct shard *shards[CLUSTER_CORES];
    struct agent *agents[CLUSTER_CORES];
};

/* What a completion told. */
struct outcome {
    struct completion done;
    bool fired;
    enum err err;
};

/* The engines that this build has. */
const struct io_engine *const *cluster_engines(uint32_t *count);

void cluster_make(struct cluster *cluster, const struct io_engine *io, uint64_t log_file_bytes);
void cluster_remove(struct cluster *cluster);

/* Starts meta alone: its result; reactors stay open until cluster_stop(). */
enum err cluster_start_meta(struct cluster *cluster);
void cluster_start(struct cluster *cluster);
void cluster_stop(struct cluster *cluster); /* In order; whatever of it was started. */

void cluster_turns(struct cluster *cluster, uint32_t count);
void outcome_init(struct outcome *outcome);
void outcome_wait(struct cluster *cluster, struct outcome *outcome);

/* Proposes on `core` and waits. */
struct command_result cluster_propose(struct cluster *cluster, uint32_t core,
                                      const struct command *command);
struct command_result cluster_create_topic(struct cluster *cluster, uint32_t core, const char *name,
                                           uint32_t partitions);

/* Submits to the owner of its partition and waits. */
enum err cluster_request(struct cluster *cluster, struct request *request);
