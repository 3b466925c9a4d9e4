/* What clients and checks see of the map of a simulated node. Which map that is, each seed draws:
 *
 *     the stand-in   a model of meta/machine.c that is durable, takes its time, and may refuse:
 *                    asked -> a drawn delay -> [crash] -> committed -> [crash] -> answered
 *     the real one   meta/ on the node's own metadata core and disk, looked at between its turns:
 *                    what was applied is durable, so what was seen once must be there for ever
 *
 * Both crash points of the stand-in are I/O events of the node (sim_node_event()). It survives
 * every crash; what waited for an answer does not. Partitions are numbered in the order in which
 * they were first seen, for good. */
#pragma once

#include "meta/map.h"
#include "shard/shard.h"
#include "tests/sim/io_engine_sim.h"

struct sim_map;

struct sim_map_segment {
    struct segment_info info;
    uint32_t life; /* In which it was opened. */
    bool gone;     /* Trimmed: remembered here, and forgotten by the map. */
};

struct sim_map_partition {
    struct partition_id id;
    struct partition_config config;
    char topic_name[24];
    uint32_t number;
    bool deleted;
    uint32_t epoch;    /* Of the newest segment, even if that left no trace. 0: there was none. */
    uint64_t epoch_ns; /* Since when. */
    uint64_t log_start;
    struct sim_map_segment *segments; /* By base offset. */
    uint32_t segment_count;
};

struct sim_map_options {
    struct prng *prng; /* Borrowed. */
    void *context;
    /* A segment is about to be sealed: nothing at or above `end_offset` will ever be there. `late`:
     * it was in a life that has ended, and nobody had seen it. */
    void (*sealed)(void *context, uint32_t partition, uint64_t end_offset, bool late);
    /* The log is about to start at `log_start`; it was asked for before `ms`. */
    void (*trimmed)(void *context, uint32_t partition, uint64_t log_start, uint64_t ms);

    /* Of the real one: what it shows contradicts what it showed before. */
    void (*wrong)(void *context, uint32_t partition, const char *what);
    /* ... but this it may: what came of commands that are lost is undone. */
    void (*undone)(void *context, uint32_t partition);
    /* The real one as it is now; NULL: it is not there. */
    const struct map *(*source)(void *context);
    struct partition_config config_default;
};

struct sim_map *sim_map_create(const struct sim_map_options *options);
void sim_map_destroy(struct sim_map *map);

/* A life of the node begins: nobody waits for an answer. */
void sim_map_start(struct sim_map *map, struct sim_node *node, uint32_t life);

/* For the shard on `core`; valid until the next start. */
struct shard_hooks sim_map_hooks(struct sim_map *map, struct reactor *reactor);

/* Adds a topic; the number of its first partition. */
uint32_t sim_map_topic_create(struct sim_map *map, const struct partition_config *config,
                              uint32_t partitions);

/* Marks all partitions of the topic that `partition` belongs to. */
void sim_map_topic_delete(struct sim_map *map, uint32_t partition);

uint32_t sim_map_partition_count(const struct sim_map *map); /* Deleted ones too. */
const struct sim_map_partition *sim_map_partition(const struct sim_map *map, uint32_t number);

/* The segment that holds `offset`, if there is one that can. */
const struct sim_map_segment *sim_map_segment_of(const struct sim_map_partition *partition,
                                                 uint64_t offset);

/* From now on so many of a thousand rolls are refused. */
void sim_map_set_refusals(struct sim_map *map, uint32_t per_mille);

/* Those that the map knows, into `segments`, which has room for all there ever were; the count. */
uint32_t sim_map_segments(const struct sim_map_partition *partition, struct segment_info *segments);
/* The real one: sees what has changed. */
void sim_map_look(struct sim_map *map);

/* The real one: the last frame of its log rotted, so that the last `commands` are gone as if they
 * had never been; no others. */
void sim_map_lost(struct sim_map *map, uint32_t commands);

/* The real one: in this life it has said all that earlier lives left. */
bool sim_map_is_followed(const struct sim_map *map);

/* The real one: somebody asks it to delete the topic of this partition. */
void sim_map_doom(struct sim_map *map, uint32_t partition);

uint32_t sim_map_waiting(const struct sim_map *map); /* Rolls asked and not answered. */
uint64_t sim_map_rolls(const struct sim_map *map);   /* Segments opened so far. */
uint64_t sim_map_refused(const struct sim_map *map); /* Rolls refused so far. */
uint64_t sim_map_unheard(const struct sim_map *map); /* Committed, and a crash ate the answer. */
uint64_t sim_map_removed(const struct sim_map *map); /* Segments that went with a trim. */
