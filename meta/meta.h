/* Raft on the metadata core: one struct meta per node, on a reactor of its own. It stores proposals
 * durably through canonical raft, applies them to its map and sends each applied command to the
 * agent of every core. A single node is a cluster of one: the same path. */
#pragma once

#include "core/reactor.h"
#include "meta/command.h"
#include "meta/map.h"

struct meta;

struct meta_options {
    const char *dir; /* data/meta, exists. */
    uint32_t node_id;
    uint32_t data_core_count; /* Agents live on reactors 0..count-1 of the group. */
    uint64_t boot;            /* Boot number from the superblock. */
    uint64_t log_file_bytes;  /* Size of each of the two preallocated raft log files. */

    /* What raft's contract makes blocking (term, vote, load) runs by this: NULL = io_execute(). The
     * simulator gives its own. */
    int32_t (*execute)(struct reactor *reactor, struct io *io);
};

enum { META_MESSAGE_BYTES = 512 };

struct meta_start {
    struct completion done; /* Result: OK, or an err that `message` explains. */
    char message[META_MESSAGE_BYTES];
};

NODISCARD enum err meta_open(struct meta **meta, struct reactor *reactor,
                             const struct meta_options *options);

/* Loads, bootstraps a fresh directory, elects itself, applies all. Agents that subscribe are sent
 * the map then. */
void meta_start(struct meta *meta, struct meta_start *start);

/* For the metadata core itself; valid after meta_start(). */
const struct map *meta_map(const struct meta *meta);

/* From the metadata core itself, before any agent subscribes: fires proposal->done with the result.
 * The proposal is the caller's until then. */
struct proposal;
void meta_submit(struct meta *meta, struct proposal *proposal);

void meta_stop(struct meta *meta, struct completion *done);
void meta_close(struct meta *meta);
