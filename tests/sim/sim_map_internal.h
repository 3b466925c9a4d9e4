/* What sim_map.c (the stand-in, and what is seen of either map), sim_map_real.c and sim_map_past.c
 * share. */
#pragma once

#include "tests/sim/sim_map.h"

enum { MAP_CORES_MAX = 16, MAP_PASTS = 16 };

/* A core's way to the map: the context of its hook. */
struct map_core {
    struct sim_map *map;
    struct reactor *reactor;
};

struct map_entry {
    struct sim_map_partition seen;
    struct sim_map *map;
    uint32_t segment_capacity;
    uint64_t end_offset;
    struct timer timer, trim_timer;
    struct reactor *reactor;
    struct shard_roll *roll; /* NULL: nobody waits. */
    struct shard_trim *trim;
    bool doomed; /* Somebody asked the real map to delete its topic. */
    bool here;   /* Still in the map that is being followed. */
};

/* The real one, as it was seen at a version. */
struct map_past {
    uint64_t version; /* 0: nothing. */
    struct sim_map_partition *seen;
    uint32_t count;
};

struct sim_map {
    struct sim_map_options options;
    struct sim_node *node;
    uint32_t life;
    struct map_core cores[MAP_CORES_MAX];
    uint32_t core_count;
    struct map_entry **entries;
    uint32_t entry_count, entry_capacity;
    uint64_t segment_next, topic_next;
    uint32_t refusals;
    uint64_t rolls, refused, unheard, removed;

    /* The real one. */
    uint32_t lost; /* See sim_map_lost(). */
    struct map_past pasts[MAP_PASTS];
    uint32_t past_next;
    bool followed;          /* In this life. */
    uint64_t version, boot; /* As last seen. */
};

/* NULL: it was never there. */
struct map_entry *map_find_entry(const struct sim_map *map, const struct partition_id *id);
struct map_entry *map_add_entry(struct sim_map *map, const struct partition_id *id);
void map_entry_push(struct map_entry *entry, const struct segment_info *info, uint32_t life);

/* sim_map_past.c: keeps what is seen now; makes what was seen at `version` what is seen. False: it
 * is not known. */
void map_past_keep(struct sim_map *map);
NODISCARD bool map_past_restore(struct sim_map *map, uint64_t version);
void map_past_forget_all(struct sim_map *map);

/* The open segment, which is always the last one; NULL: there is none. */
struct sim_map_segment *map_entry_open(const struct map_entry *entry);
