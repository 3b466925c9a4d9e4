/* What run.c (seeds), life.c (one life) and life_server.c (one life with the real map) share. */
#pragma once

#include "shard/directory.h"
#include "shard/journals.h"
#include "shard/survey.h"
#include "tests/sim/check.h"
#include "tests/sim/run.h"
#include "tests/sim/server.h"
#include "tests/sim/sim_map.h"
#include "tests/sim/workload.h"

enum life_phase {
    LIFE_OPENING,
    LIFE_REPLAYING,
    LIFE_SURVEYING, /* What the files say, against the map. */
    LIFE_WORKING,
    LIFE_DRAINING,
    LIFE_STOPPING,
    LIFE_CLOSING,
    LIFE_OVER,
};

enum trouble {
    TROUBLE_NEVER,
    TROUBLE_EARLY,
    TROUBLE_LATE,
};

/* What a seed's disks and clocks are like; chances in percent. */
struct trouble_mix {
    uint32_t chance, second_chance;             /* Of trouble in a life; of two kinds of it. */
    uint32_t power_chance;                      /* That a life ends with a power cut, not a kill. */
    uint32_t slow_chance;                       /* Of each flush. */
    bool jumps;                                 /* Of the wall clock. */
    bool flush_whole, flush_device, sync_loses; /* See struct sim_disk_manners. */
};

struct shard_stopping {
    struct completion done;
    uint32_t *left;
};

struct run {
    const struct sim_options *options;
    bool real; /* The map is the real one, in a node as the product makes it. */
    struct partition_config config_default;
    struct sim_server server;
    struct sim_counts *counts;
    struct prng *prng;
    struct sim_world *world;
    struct sim_node *node;
    struct sim_map *map;
    struct check *check;
    struct workload *workload;
    uint32_t lives;
    struct trouble_mix mix;
    bool rots; /* Files go bad between lives: see rot.h. */
    /* Of the current life. */
    struct sim_life life;
    enum life_phase phase;
    struct directory_open open;
    struct directory_identity identity; /* As first reported, with the latest boot. */
    bool opened, open_ended, surveyed;
    struct journals_open journals_open;
    struct journals *journals;
    struct survey_walk walk;
    struct survey survey; /* Of a process: gone with it. */
    uint32_t cores_before;
    struct sim_disk_manners manners;
    enum trouble trouble;
    bool map_rotten;       /* Its files are: it may refuse to start, saying so. */
    uint32_t full_for;     /* Steps until there is space again; 0: not in this life. */
    bool space_back;       /* There is... */
    uint64_t space_acked;  /* ...since so many were acked. */
    uint64_t looked_acked; /* So many were when the engine was looked at from inside. */
    uint32_t hurry; /* Steps until it is told to stop, whatever it is at; 0 = when it is done. */
    bool canceled;  /* The start was, by such a stop. */
    uint32_t shards_left;
    struct shard_stopping stopping[WORKLOAD_CORES_MAX];
    struct completion closed;
    bool directory_closed, recovered;
};

/* run.c */
void run_say(const struct run *run, const char *format, ...) PRINTF_LIKE(2, 3);
bool run_is_directed(const struct run *run, enum sim_directed directed);

/* Small ones, so that they are full and go round: of one core, and at most. */
struct journal_sizes {
    uint64_t bytes, bytes_max;
};

struct journal_sizes run_draw_journals(struct run *run);
uint64_t run_milestone_bytes(const struct run *run); /* Of all lives, as the next one. */
uint32_t run_slice_bytes(const struct run *run);

/* life.c: from its begin to its end, by a stop, a crash or a failure. */
void life_run(struct run *run, uint32_t number);
/* True when nothing is left to do, or the life was told to stop before. */
bool life_must_stop(struct run *run);
void life_leave(struct run *run); /* Nothing runs any more: the reactors go. */

/* trouble.c */
void trouble_draw_mix(struct run *run); /* Of the seed. */
void trouble_begin(struct run *run);    /* A life does; its manners were drawn. */
void life_trouble(struct run *run);     /* Trouble does. */
void trouble_step(struct run *run);
void trouble_end(struct run *run);

/* life_server.c */
void server_begin(struct run *run);
bool server_move(struct run *run); /* As life_move(). */
