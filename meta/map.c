/* The map's tables. */
#include "core/assert.h"
#include "meta/map_internal.h"

#include <stdlib.h>
#include <string.h>

struct map *map_create(void)
{
    struct map *map = calloc(1, sizeof(*map));
    if (map != NULL) {
        map->segment_next = 1;
        map->producer_next = 1;
    }
    return map;
}

void map_destroy(struct map *map)
{
    if (map == NULL) {
        return;
    }
    for (uint32_t i = 0; i < map->topic_count; i++) {
        map_free_topic(map->by_name[i]);
    }
    free(map->by_name);
    free(map->by_id);
    free(map->nodes);
    free(map->origins);
    free(map);
}

/* `array` with room for one more of `size` bytes, or NULL. */
static void *grow(void *array, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    uint32_t wanted = max_u32(8, *capacity * 2);
    void *grown = realloc(array, wanted * size);
    if (grown != NULL) {
        *capacity = wanted;
    }
    return grown;
}

static int compare_name(const struct map_topic *topic, struct bytes name)
{
    uint32_t length = (uint32_t)strlen(topic->name);
    int order = name.size > 0 ? memcmp(topic->name, name.data, min_u32(length, name.size)) : 0;
    return order != 0 ? order : (length > name.size) - (length < name.size);
}

static uint32_t place_by_name(const struct map *map, struct bytes name)
{
    uint32_t low = 0, high = map->topic_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare_name(map->by_name[middle], name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint32_t place_by_id(const struct map *map, const struct topic_id *id)
{
    uint32_t low = 0, high = map->topic_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (memcmp(map->by_id[middle]->id.bytes, id->bytes, sizeof(id->bytes)) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct map_topic *map_topic_by_name(const struct map *map, struct bytes name)
{
    uint32_t place = place_by_name(map, name);
    bool found = place < map->topic_count && compare_name(map->by_name[place], name) == 0;
    return found ? map->by_name[place] : NULL;
}

struct map_topic *map_find_by_id(const struct map *map, const struct topic_id *id)
{
    uint32_t place = place_by_id(map, id);
    bool found = place < map->topic_count && topic_id_equal(&map->by_id[place]->id, id);
    return found ? map->by_id[place] : NULL;
}

const struct map_topic *map_topic_by_id(const struct map *map, const struct topic_id *id)
{
    return map_find_by_id(map, id);
}

static void insert_at(struct map_topic **topics, uint32_t count, uint32_t place,
                      struct map_topic *topic)
{
    memmove(&topics[place + 1], &topics[place], (count - place) * sizeof(*topics));
    topics[place] = topic;
}

static void remove_at(struct map_topic **topics, uint32_t count, uint32_t place)
{
    memmove(&topics[place], &topics[place + 1], (count - place - 1) * sizeof(*topics));
}

bool map_insert_topic(struct map *map, struct map_topic *topic)
{
    uint32_t capacity = map->topic_capacity;
    struct map_topic **by_name = grow(map->by_name, map->topic_count, &capacity, sizeof(*by_name));
    if (by_name == NULL) {
        return false;
    }
    map->by_name = by_name;
    struct map_topic **by_id =
        grow(map->by_id, map->topic_count, &map->topic_capacity, sizeof(*by_id));
    if (by_id == NULL) {
        return false;
    }
    map->by_id = by_id;
    uint32_t place = place_by_name(map, bytes_text(topic->name));
    uint32_t place_id = place_by_id(map, &topic->id);
    insert_at(map->by_name, map->topic_count, place, topic);
    insert_at(map->by_id, map->topic_count, place_id, topic);
    map->topic_count++;
    map->partition_count += topic->partition_count;
    return true;
}

void map_remove_topic(struct map *map, struct map_topic *topic)
{
    uint32_t place = place_by_name(map, bytes_text(topic->name));
    uint32_t place_id = place_by_id(map, &topic->id);
    ASSERT(map->by_name[place] == topic && map->by_id[place_id] == topic);
    remove_at(map->by_name, map->topic_count, place);
    remove_at(map->by_id, map->topic_count, place_id);
    map->topic_count--;
    ASSERT(map->partition_count >= topic->partition_count);
    map->partition_count -= topic->partition_count;
}

void map_free_topic(struct map_topic *topic)
{
    if (topic == NULL) {
        return;
    }
    for (uint32_t i = 0; i < topic->partition_count && topic->partitions != NULL; i++) {
        free(topic->partitions[i].segments);
    }
    for (uint32_t i = 0; i < topic->config_count; i++) {
        free(topic->configs[i].key);
        free(topic->configs[i].value);
    }
    free(topic->partitions);
    free(topic->configs);
    free(topic);
}

bool map_grow_topic(struct map *map, struct map_topic *topic, uint32_t count)
{
    ASSERT(count > topic->partition_count);
    struct map_partition *partitions =
        realloc(topic->partitions, count * sizeof(*topic->partitions));
    if (partitions == NULL) {
        return false;
    }
    uint32_t more = count - topic->partition_count;
    memset(partitions + topic->partition_count, 0, more * sizeof(*partitions));
    topic->partitions = partitions;
    topic->partition_count = count;
    map->partition_count += more;
    return true;
}

bool map_add_segment(struct map_partition *partition, const struct segment_info *info)
{
    struct segment_info *segments = grow(partition->segments, partition->segment_count,
                                         &partition->segment_capacity, sizeof(*segments));
    if (segments == NULL) {
        return false;
    }
    partition->segments = segments;
    partition->segments[partition->segment_count++] = *info;
    return true;
}

static char *copy_text(struct bytes text)
{
    char *copy = malloc((size_t)text.size + 1);
    if (copy != NULL) {
        if (text.size > 0) {
            memcpy(copy, text.data, text.size);
        }
        copy[text.size] = 0;
    }
    return copy;
}

static int compare_key(const char *key, struct bytes wanted)
{
    uint32_t length = (uint32_t)strlen(key);
    int order = wanted.size > 0 ? memcmp(key, wanted.data, min_u32(length, wanted.size)) : 0;
    return order != 0 ? order : (length > wanted.size) - (length < wanted.size);
}

bool map_set_config(struct map_topic *topic, struct bytes key, struct bytes value)
{
    uint32_t place = 0;
    while (place < topic->config_count && compare_key(topic->configs[place].key, key) < 0) {
        place++;
    }
    struct map_config_entry *at = topic->configs != NULL ? topic->configs + place : NULL;
    bool found = place < topic->config_count && compare_key(at->key, key) == 0;
    if (value.data == NULL) {
        if (found) {
            free(at->key);
            free(at->value);
            topic->config_count--;
            memmove(at, at + 1, (topic->config_count - place) * sizeof(*at));
        }
        return true;
    }
    char *copy = copy_text(value);
    if (copy == NULL) {
        return false;
    }
    if (found) {
        free(at->value);
        at->value = copy;
        return true;
    }
    char *name = copy_text(key);
    struct map_config_entry *configs =
        realloc(topic->configs, (topic->config_count + 1) * sizeof(*configs));
    if (configs != NULL) {
        topic->configs = configs;
    }
    if (name == NULL || configs == NULL) {
        free(name);
        free(copy);
        return false;
    }
    at = configs + place;
    memmove(at + 1, at, (topic->config_count - place) * sizeof(*at));
    *at = (struct map_config_entry){.key = name, .value = copy};
    topic->config_count++;
    return true;
}

struct map_node *map_make_node(struct map *map, uint32_t id)
{
    uint32_t place = 0;
    while (place < map->node_count && map->nodes[place].id < id) {
        place++;
    }
    if (place < map->node_count && map->nodes[place].id == id) {
        return &map->nodes[place];
    }
    struct map_node *nodes = grow(map->nodes, map->node_count, &map->node_capacity, sizeof(*nodes));
    if (nodes == NULL) {
        return NULL;
    }
    map->nodes = nodes;
    memmove(nodes + place + 1, nodes + place, (map->node_count - place) * sizeof(*nodes));
    nodes[place] = (struct map_node){.id = id};
    map->node_count++;
    return &nodes[place];
}

struct map_origin *map_make_origin(struct map *map, uint32_t node_id)
{
    for (uint32_t i = 0; i < map->origin_count; i++) {
        if (map->origins[i].node_id == node_id) {
            return &map->origins[i];
        }
    }
    struct map_origin *origins =
        grow(map->origins, map->origin_count, &map->origin_capacity, sizeof(*origins));
    if (origins == NULL) {
        return NULL;
    }
    map->origins = origins;
    struct map_origin *origin = &origins[map->origin_count++];
    memset(origin, 0, sizeof(*origin));
    origin->node_id = node_id;
    return origin;
}

const struct map_node *map_node_by_id(const struct map *map, uint32_t id)
{
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (map->nodes[i].id == id) {
            return &map->nodes[i];
        }
    }
    return NULL;
}

uint32_t map_topic_count(const struct map *map)
{
    return map->topic_count;
}

const struct map_topic *map_topic_at(const struct map *map, uint32_t index)
{
    ASSERT(index < map->topic_count);
    return map->by_name[index];
}

uint32_t map_node_count(const struct map *map)
{
    return map->node_count;
}

const struct map_node *map_node_at(const struct map *map, uint32_t index)
{
    ASSERT(index < map->node_count);
    return &map->nodes[index];
}

const uint8_t *map_cluster_id(const struct map *map)
{
    return map->cluster_id;
}

uint64_t map_version(const struct map *map)
{
    return map->version;
}

bool map_topic_is_hidden(const struct map_topic *topic)
{
    static const char prefix[] = MAP_HIDDEN_PREFIX;
    return strncmp(topic->name, prefix, sizeof(prefix) - 1) == 0;
}

const char *map_topic_config(const struct map_topic *topic, const char *key)
{
    for (uint32_t i = 0; i < topic->config_count; i++) {
        if (strcmp(topic->configs[i].key, key) == 0) {
            return topic->configs[i].value;
        }
    }
    return NULL;
}
