/* One seed, one run: a node, its disk and its clients through several lives.
 *
 *     OPENING    the superblock                   a crash may come at any I/O event of a life, at
 *     WORKING    shards, recovery, clients        random among all of them; then the power fails
 *     DRAINING   no new work                      or the process was killed, and the next life
 *     STOPPING   shards seal and close            begins, with as many cores as the seed says
 *     CLOSING    the directory
 *     OVER       every byte of memory is back
 *
 * The last lives are without crash: one that works, two that find what is there. */
#pragma once

#include "core/base.h"

enum { SIM_TEXT_BYTES = 600 };

/* What must have been seen in many seeds, or the simulator looks away. */
#define SIM_SOMETIMES(X)                                                                           \
    X(torn, "torn tails")                                                                          \
    X(recovery_crashes, "crashes in recovery")                                                     \
    X(roll_crashes, "crashes in a roll")                                                           \
    X(unheard_rolls, "rolls never heard of")                                                       \
    X(stop_crashes, "crashes in a stop")                                                           \
    X(names_lost, "names lost")                                                                    \
    X(sectors_lost, "sectors lost")                                                                \
    X(kept, "unacked batches kept")                                                                \
    X(gone, "unacked batches gone")                                                                \
    X(duplicates, "duplicates answered")                                                           \
    X(polls, "long polls answered")                                                                \
    X(lookups, "look-ups answered")                                                                \
    X(other_cores, "restarts with other cores")                                                    \
    X(deletes, "topics deleted")                                                                   \
    X(faults, "failed writes and syncs")                                                           \
    X(refusals, "rolls refused")                                                                   \
    X(full, "lives with a full disk")                                                              \
    X(stops, "orderly stops")

struct sim_counts {
    uint64_t seeds, crashes, power_cuts, acked, recoveries, rolls, read, events;

#define X(name, text) uint64_t name;
    SIM_SOMETIMES(X)
#undef X
};

struct sim_result {
    bool failed;
    uint64_t digest;           /* Of what happened: the same for the same seed. */
    char text[SIM_TEXT_BYTES]; /* If it failed. */
};

/* Adds to `counts`. `verbose`: says what happens, to stdout. */
void sim_run(uint64_t seed, bool verbose, struct sim_counts *counts, struct sim_result *result);
