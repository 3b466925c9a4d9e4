/* The clients of a simulated node, and the auditors that assign partitions to its cores.
 *
 *     producers   append batches to one partition, up to five at a time, idempotent or not; what
 *                 was under way at a crash is sent again or given up
 *     readers     fetch at the end (long poll) or from anywhere, and look up offsets by time
 *     hoarders    in some lives: a crowd that keeps what it fetched
 *     auditors    one per partition: ASSIGN, then read the whole log (the audit)
 *     an admin    deletes a topic now and then, and makes another; with the real map, also under
 *                 the same name, changes settings, and adds partitions
 *     a trimmer   moves the start of a log, in half of all seeds; some topics retain little
 *
 * Clients are people elsewhere: they live through crashes, and hear nothing from a dead node. In
 * each life they sit on drawn cores and reach the owner's shard as connections do: by mail and,
 * with the real map, by the door's routing and the agent of the owner's core, who assigns then. */
#pragma once

#include "tests/sim/check.h"
#include "tests/sim/server.h"

enum { WORKLOAD_CORES_MAX = SERVER_CORES_MAX };

/* The node as its clients see it in one life. */
struct sim_life {
    struct sim_node *node;
    const struct sim_server *server; /* With the real map; NULL: the stand-in. */
    struct sim_map *map;
    struct check *check;
    struct prng *prng;
    uint32_t number, core_count;
    struct reactor *reactors[WORKLOAD_CORES_MAX + 1]; /* The metadata core's is the last. */
    struct shard *shards[WORKLOAD_CORES_MAX];
    uint32_t batches_max; /* Then producers rest. */
    bool tight;           /* Readers may hold next to nothing, and there is a crowd of them. */
    bool quiet;           /* Producers do not even send again. */
    bool faulty;          /* Errors are to be expected... */
    bool full_only;       /* ...of writes, for lack of space. */
};

/* Of each core, in a tight life: one look at a time. */
#define TIGHT_BYTES KIB(256)

struct workload_counts {
    uint64_t fetches, parked, lookups, deletes, reborn, wrong, damaged, trims, below;
    /* Topics under an old name, settings, more partitions, producer ids. */
    uint64_t again, configured, grown, blocks;
};

struct workload;

/* Makes topics and clients; with the real map its admin has to do it. */
struct workload *workload_create(struct sim_map *map, struct check *check, struct prng *prng,
                                 bool real);
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
void workload_cancel(struct workload *workload);     /* Then: long polls come home, too. */
bool workload_idle(const struct workload *workload); /* Nothing is away, but for long polls. */
bool workload_home(const struct workload *workload); /* Nothing is away. */

/* Who still waits for something. */
void workload_describe(const struct workload *workload, char *text, uint32_t size);
