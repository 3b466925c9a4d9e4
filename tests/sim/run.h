/* One seed, one run: a node, its disk and its clients through several lives.
 *
 *     OPENING    the superblock                   a crash may come at any I/O event of a life, at
 *     REPLAYING  the journals                     random among all of them; then the power fails
 *     SURVEYING  the files, against the map       or the process was killed, and the next life
 *     WORKING    shards, recovery, clients        begins, with as many cores as the seed says
 *     DRAINING   no new work
 *     STOPPING   shards seal and close
 *     CLOSING    the journals, the directory
 *     OVER       every byte of memory is back
 *
 * The last lives are without crash: one that works, two that find what is there.
 *
 * As a script: one life that crashes at a given event, with a healthy disk, then a life that works
 * and the two that look. Up to the crash it is the same life, whichever event is given. */
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
    X(shed, "batches lost as os and memory allow")                                                 \
    X(duplicates, "duplicates answered")                                                           \
    X(polls, "long polls answered")                                                                \
    X(pressed, "fetches without memory")                                                           \
    X(sliced, "batches judged over several turns")                                                 \
    X(ahead, "looks read ahead")                                                                   \
    X(shared, "looks that readers shared")                                                         \
    X(resumed, "fetches that got memory back")                                                     \
    X(wrong, "wrong batches refused")                                                              \
    X(lookups, "look-ups answered")                                                                \
    X(other_cores, "restarts with other cores")                                                    \
    X(deletes, "topics deleted")                                                                   \
    X(trims, "trims")                                                                              \
    X(below, "fetches below the log's start")                                                      \
    X(erased, "records deleted")                                                                   \
    X(rewritten, "batches read without them")                                                      \
    X(retained, "logs cut by retention")                                                           \
    X(retention_rolls, "rolls by retention")                                                       \
    X(removed, "segments removed")                                                                 \
    X(pooled, "files into the pool")                                                               \
    X(recycled, "segment files made of pooled ones")                                               \
    X(pools_emptied, "pools that a full disk emptied")                                             \
    X(swept, "files swept")                                                                        \
    X(faults, "failed writes and syncs")                                                           \
    X(refusals, "rolls refused")                                                                   \
    X(full, "lives with a full disk")                                                              \
    X(after_full, "that went on when there was space")                                             \
    X(doubles, "lives with two troubles")                                                          \
    X(jumps, "jumps of the clock")                                                                 \
    X(whole_flushes, "disks that flush whole files")                                               \
    X(device_flushes, "disks that flush all files")                                                \
    X(slow, "slow flushes")                                                                        \
    X(syncs_lost, "failed syncs that lost what they should have kept")                             \
    X(rotten, "rotten segments")                                                                   \
    X(healed, "rotten segments healed from the journal")                                           \
    X(unread, "rotten segments sealed as they are, below a milestone")                             \
    X(milestone_rots, "rotten milestones")                                                         \
    X(milestones, "files read from a milestone on")                                                \
    X(milestones_bad, "milestones that were bad, so that the file was read")                       \
    X(milestones_passed, "bad milestones passed over")                                             \
    X(strays, "by writes meant for elsewhere")                                                     \
    X(damaged, "times damage was reported")                                                        \
    X(replayed, "frames replayed")                                                                 \
    X(replay_crashes, "crashes in a replay")                                                       \
    X(laps, "laps of a journal")                                                                   \
    X(full_journals, "appends that met a full journal")                                            \
    X(replaced, "journals followed by their spare")                                                \
    X(sync_blocks, "blocks of a journal that waited for a sync")                                   \
    X(journal_failures, "journals that failed")                                                    \
    X(carried, "segment records carried on")                                                       \
    X(rebuilt, "segment files made anew")                                                          \
    X(added, "extents of these that only memory had")                                              \
    X(no_rebuilds, "segment files that could not be made anew")                                    \
    X(no_spares, "spare journals that could not take over")                                        \
    X(no_ways, "shards without a safe way on")                                                     \
    X(clean_stops, "stops that left nothing to replay")                                            \
    X(map_damaged, "damaged maps refused")                                                         \
    X(raft_files, "raft log files begun anew")                                                     \
    X(raft_litter, "raft snapshots left by a crash")                                               \
    X(again, "topics under an old name")                                                           \
    X(configured, "topics configured")                                                             \
    X(grown, "topics grown")                                                                       \
    X(id_blocks, "blocks of producer ids")                                                         \
    X(no_starts, "starts that failed")                                                             \
    X(gave_up, "nodes that gave up")                                                               \
    X(stops, "orderly stops")                                                                      \
    X(hurries, "stops before all was recovered")

struct sim_counts {
    uint64_t seeds, crashes, power_cuts, acked, recoveries, rolls, read, events, real, looks;

#define X(name, text) uint64_t name;
    SIM_SOMETIMES(X)
#undef X
};

/* More of one kind of bad luck than a seed draws: what it finds is rare otherwise. */
enum sim_directed {
    DIRECTED_NONE,
    DIRECTED_JOURNAL_ROT,   /* A durable block of a journal is gone, before the replay. */
    DIRECTED_JOURNAL_FAILS, /* Each life has a journal that fails, and most a power cut. */
    DIRECTED_FILE_ROT,      /* A file rots before each life. */
};

struct sim_options {
    uint64_t seed;
    enum sim_directed directed;
    bool verbose;       /* Says what happens, to stdout. */
    uint64_t script_at; /* 0: no script; else the event at which its first life crashes. */
    bool script_power;  /* By a power cut, else by a kill. */
};

struct sim_result {
    bool failed;
    bool script_over;          /* The script's first life had fewer events. */
    uint64_t digest;           /* Of what happened: the same for the same seed. */
    char text[SIM_TEXT_BYTES]; /* If it failed. */
};

/* Adds to `counts`. */
void sim_run(const struct sim_options *options, struct sim_counts *counts,
             struct sim_result *result);
