/* The clients of a simulated node, and the auditors that assign partitions to its cores.
 *
 *     producers   append batches to one partition, up to five at a time, idempotent or not; what
 *                 was under way at a crash is sent again or given up
 *     readers     fetch at the end (long poll) or from anywhere, and look up offsets by time
 *     hoarders    in some lives: a crowd that keeps what it fetched
 *     auditors    one per partition: ASSIGN, then read the whole log (the audit)
 *     an admin    deletes a topic now and then, and makes another
 *
 * Clients are people elsewhere: they live through crashes, and hear nothing from a dead node. In
 * each life they sit on drawn cores and reach the owner's shard as connections do, by mail. */
#pragma once

#include "tests/sim/check.h"

enum { WORKLOAD_CORES_MAX = 4 };

/* The node as its clients see it in one life. */
struct sim_life {
    struct sim_node *node;
    struct sim_map *map;
    struct check *check;
    struct prng *prng;
    uint32_t number, core_count;
    struct reactor *reactors[WORKLOAD_CORES_MAX];
    struct shard *shards[WORKLOAD_CORES_MAX];
    uint32_t batches_max; /* Then producers rest. */
    bool quiet;           /* Producers do not even send again. */
    bool faulty;          /* Errors are to be expected. */
};

struct workload_counts {
    uint64_t fetches, parked, lookups, deletes, reborn, wrong, damaged;
};

struct workload;

/* Makes topics and clients. */
struct workload *workload_create(struct sim_map *map, struct check *check, struct prng *prng);
void workload_destroy(struct workload *workload);
const struct workload_counts *workload_counts(const struct workload *workload);

/* Between turns, with the node's shards open: assigns all partitions and lets the clients go. What
 * they did in an earlier life is over. `life` is borrowed until the next one. */
void workload_start(struct workload *workload, struct sim_life *life);

bool workload_assigned(const struct workload *workload); /* Every partition is recovered. */
bool workload_audited(const struct workload *workload);  /* ... and its log was read. */
bool workload_resting(const struct workload *workload);  /* The life's batches are made. */

/* No new work from here on. */
void workload_stop(struct workload *workload);
bool workload_idle(const struct workload *workload); /* Nothing is away, but for long polls. */
bool workload_home(const struct workload *workload); /* Nothing is away. */
