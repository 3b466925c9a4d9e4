/* The map as its machine sees it. Topics are one array in order of name and one in order of id:
 * look-ups are binary searches, a change is a memmove; topics change a few times a second. */
#pragma once

#include "meta/command.h"
#include "meta/map.h"

/* How many results of each origin are kept for commands that arrive twice. */
enum { MAP_RESULTS_MAX = 64 };

/* Bit 63 tells a segment of the metadata from one of the library. */
#define MAP_SEGMENT_BIT ((uint64_t)1 << 63)

struct map_result {
    uint64_t sequence; /* 0 = free. */
    struct command_result result;
};

struct map_origin {
    uint32_t node_id;
    uint64_t newest;                            /* Greatest sequence applied. */
    struct map_result results[MAP_RESULTS_MAX]; /* At sequence % MAP_RESULTS_MAX. */
};

struct map {
    uint8_t cluster_id[16];
    uint64_t version;
    uint64_t segment_next;  /* Without the bit. */
    uint64_t producer_next; /* First producer id not handed out. */
    uint32_t topic_count, topic_capacity;
    uint32_t partition_count; /* Of all topics. */
    struct map_topic **by_name, **by_id;
    uint32_t node_count, node_capacity;
    struct map_node *nodes; /* By id. */
    uint32_t origin_count, origin_capacity;
    struct map_origin *origins;
};

struct map_topic *map_find_by_id(const struct map *map, const struct topic_id *id);

/* Takes `topic`, whose name and id are new. False without memory: `topic` is still the caller's. */
NODISCARD bool map_insert_topic(struct map *map, struct map_topic *topic);
void map_remove_topic(struct map *map, struct map_topic *topic); /* Does not free it. */
void map_free_topic(struct map_topic *topic);

/* Adds partitions without segments, so that there are `count`. */
NODISCARD bool map_grow_topic(struct map *map, struct map_topic *topic, uint32_t count);

NODISCARD bool map_add_segment(struct map_partition *partition, const struct segment_info *info);

/* Sets, or with a NULL value removes, one config. */
NODISCARD bool map_set_config(struct map_topic *topic, struct bytes key, struct bytes value);

/* The node's row, made if it is new; NULL without memory. */
struct map_node *map_make_node(struct map *map, uint32_t id);
struct map_origin *map_make_origin(struct map *map, uint32_t node_id);
