/* The map that a simulated node asks: a model of meta/machine.c that is durable and takes its time.
 * What shards and clients need of a map goes through here, so that the real one can take its place.
 *
 *     roll or trim asked -> a drawn delay -> [crash] -> committed -> [crash] -> answered
 *
 * Both crash points are I/O events of the node (sim_node_event()). The map survives every crash;
 * what waited for an answer does not. Partitions are numbered in order of creation, for good. */
#pragma once

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
    /* A segment is about to be sealed: nothing at or above `end_offset` will ever be there. */
    void (*sealed)(void *context, uint32_t partition, uint64_t end_offset);
    /* The log is about to start at `log_start`; it was asked for before `ms`. */
    void (*trimmed)(void *context, uint32_t partition, uint64_t log_start, uint64_t ms);
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

uint32_t sim_map_waiting(const struct sim_map *map); /* Rolls asked and not answered. */
uint64_t sim_map_rolls(const struct sim_map *map);   /* Segments opened so far. */
uint64_t sim_map_refused(const struct sim_map *map); /* Rolls refused so far. */
uint64_t sim_map_unheard(const struct sim_map *map); /* Committed, and a crash ate the answer. */
uint64_t sim_map_removed(const struct sim_map *map); /* Segments that went with a trim. */
