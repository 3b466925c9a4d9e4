/* The map: cluster, nodes, topics, partitions, segments. It is the state of the metadata machine;
 * every core holds a copy of its own that only machine_apply() changes, between turns of its users.
 * Reads are plain loads. Pointers are valid until control returns to the reactor. */
#pragma once

#include "core/io.h"
#include "core/limits.h"
#include "shard/request.h"

struct map_node {
    uint32_t id;
    uint64_t boot;
    uint32_t core_count;
    uint32_t address_count;
    struct io_address addresses[8];
};

struct map_partition {
    uint32_t epoch;       /* Of the newest segment; 0 before the first. */
    uint32_t leader_node; /* Of the newest segment, or who will lead the first. */
    uint64_t end_offset;  /* Base of the next segment: L of the last sealed one. */
    uint64_t log_start;   /* The open segment may know a greater one. */
    uint32_t segment_count, segment_capacity;
    struct segment_info *segments; /* By base offset; at most the last one is open. */
};

struct map_config_entry {
    char *key, *value;
};

struct map_topic {
    struct topic_id id;
    char name[TOPIC_NAME_BYTES_MAX + 1];
    uint64_t created_ms;
    uint32_t partition_count;
    uint32_t replication_factor; /* 0 = default. */
    struct map_partition *partitions;
    uint32_t config_count;
    struct map_config_entry *configs; /* Only what was set; sorted by key. */
};

struct map;

NODISCARD struct map *map_create(void);
void map_destroy(struct map *map);

/* NULL when unknown. */
const struct map_topic *map_topic_by_name(const struct map *map, struct bytes name);
const struct map_topic *map_topic_by_id(const struct map *map, const struct topic_id *id);
const struct map_node *map_node_by_id(const struct map *map, uint32_t id);

/* In order of name; `index` < count. */
uint32_t map_topic_count(const struct map *map);
const struct map_topic *map_topic_at(const struct map *map, uint32_t index);
uint32_t map_node_count(const struct map *map);
const struct map_node *map_node_at(const struct map *map, uint32_t index);

const uint8_t *map_cluster_id(const struct map *map); /* 16 bytes; zero before CLUSTER_INIT. */
uint64_t map_version(const struct map *map);          /* How many commands were applied, ever. */

/* Made by a client of Redis under a key that is no name for Kafka (net/resp/key.h): its clients are
 * not shown it among all topics. */
#define MAP_HIDDEN_PREFIX "__resp."

bool map_topic_is_hidden(const struct map_topic *topic);

/* The value that was set for `key`, or NULL. */
const char *map_topic_config(const struct map_topic *topic, const char *key);
