/* Follows the real map: what it shows now against what it showed before. By a life's first look the
 * node has registered itself with its new boot, behind everything that earlier lives left. */
#include "core/assert.h"
#include "meta/agent.h"
#include "tests/sim/sim_map_internal.h"

#include <stdio.h>
#include <string.h>

enum { MAP_NODE_ID = 1, WRONG_TEXT_BYTES = 200 };

static void follow_wrong(const struct map_entry *entry, const char *what)
{
    const struct sim_map_options *options = &entry->map->options;
    options->wrong(options->context, entry->seen.number, what);
}

static void follow_sealed(const struct map_entry *entry, uint64_t end_offset)
{
    const struct sim_map_options *options = &entry->map->options;
    options->sealed(options->context, entry->seen.number, end_offset, !entry->map->followed);
}

static bool is_below(const struct segment_info *info, const struct segment_info *kept)
{
    return info->state == SEGMENT_SEALED ? info->end_offset <= kept->base_offset
                                         : info->base_offset < kept->base_offset;
}

/* How many of those that were seen are trimmed: the first that is there now stands behind them. */
static uint32_t follow_first(const struct sim_map_partition *seen, const struct map_partition *real)
{
    uint32_t first = 0;
    while (first < seen->segment_count && seen->segments[first].gone) {
        first++;
    }
    if (real->segment_count == 0) {
        return first;
    }
    const struct segment_info *kept = &real->segments[0];
    while (first < seen->segment_count && seen->segments[first].info.id != kept->id &&
           is_below(&seen->segments[first].info, kept)) {
        first++;
    }
    return first;
}

/* The open one is still there, was sealed, was sealed without records and is gone, or was trimmed
 * when it had been sealed. */
static void follow_open(struct map_entry *entry, const struct map_partition *real, uint32_t first)
{
    struct sim_map_partition *seen = &entry->seen;
    const struct sim_map_segment *open = map_entry_open(entry);
    if (open == NULL) {
        return;
    }
    uint32_t last = seen->segment_count - 1;
    if (last < first) {
        seen->segments[last].info.state = SEGMENT_SEALED;
        seen->segments[last].info.end_offset = real->segments[0].base_offset;
        follow_sealed(entry, real->segments[0].base_offset);
        return;
    }
    const struct segment_info *now =
        last - first < real->segment_count ? &real->segments[last - first] : NULL;
    if (now == NULL || now->id != open->info.id) {
        follow_sealed(entry, open->info.base_offset);
        seen->segment_count--;
    } else if (now->state == SEGMENT_SEALED) {
        follow_sealed(entry, now->end_offset);
    }
}

static bool follow_same(const struct segment_info *before, const struct segment_info *now)
{
    bool same = before->id == now->id && before->base_offset == now->base_offset &&
                before->epoch == now->epoch && before->salt == now->salt &&
                before->durability == now->durability;
    bool ended = before->state == SEGMENT_SEALED;
    return same &&
           (!ended || (now->state == SEGMENT_SEALED && before->end_offset == now->end_offset &&
                       before->digest == now->digest));
}

/* Where the log starts; the `first` segments are trimmed. */
static void follow_start(struct map_entry *entry, const struct map_partition *real, uint32_t first)
{
    struct sim_map *map = entry->map;
    struct sim_map_partition *seen = &entry->seen;
    bool lossy = seen->config.durability != DURABILITY_DISK; /* It starts where it ends. */
    if (real->log_start < seen->log_start && !lossy) {
        follow_wrong(entry, "starts before where it started");
        return;
    }
    if (real->log_start > seen->log_start) {
        map->options.trimmed(map->options.context, seen->number, real->log_start,
                             sim_node_now_ms(map->node));
    }
    seen->log_start = real->log_start;
    for (uint32_t i = 0; i < first; i++) {
        if (seen->segments[i].info.end_offset > real->log_start) {
            follow_wrong(entry, "has lost a segment");
            return;
        }
        map->removed += !seen->segments[i].gone;
        seen->segments[i].gone = true;
    }
}

static void follow_partition(struct map_entry *entry, const struct map_partition *real,
                             uint32_t life)
{
    struct sim_map_partition *seen = &entry->seen;
    uint32_t first = follow_first(seen, real);
    follow_open(entry, real, first);
    if (real->segment_count < seen->segment_count - first) {
        follow_wrong(entry, "has lost a segment");
        return;
    }
    for (uint32_t i = first; i < seen->segment_count; i++) {
        if (!follow_same(&seen->segments[i].info, &real->segments[i - first])) {
            follow_wrong(entry, "shows another segment than before");
            return;
        }
        seen->segments[i].info = real->segments[i - first];
    }
    for (uint32_t i = seen->segment_count - first; i < real->segment_count; i++) {
        map_entry_push(entry, &real->segments[i], life);
        if (real->segments[i].state == SEGMENT_SEALED) {
            follow_sealed(entry, real->segments[i].end_offset);
        }
    }
    follow_start(entry, real, first);
    if (real->epoch < seen->epoch) {
        follow_wrong(entry, "has an older epoch than before");
    }
    if (real->epoch > seen->epoch) {
        seen->epoch = real->epoch;
        seen->epoch_ns = sim_node_now_ns(entry->map->node);
    }
}

/* -1: all of it. */
static int64_t follow_retention(int64_t seen, int64_t now)
{
    return seen < 0 || (now >= 0 && now < seen) ? now : seen;
}

/* A log keeps to the limits of some moment of its topic: the widest of a segment are remembered,
 * the least that was retained, and the least that an ack meant. */
static void follow_config(struct map_entry *entry, const struct map_topic *topic, bool fresh)
{
    struct partition_config config;
    struct partition_config *seen = &entry->seen.config;
    agent_partition_config(&entry->map->options.config_default, topic, &config);
    if (fresh) {
        *seen = config;
        return;
    }
    seen->segment_records = max_u64(seen->segment_records, config.segment_records);
    seen->segment_bytes = max_u64(seen->segment_bytes, config.segment_bytes);
    if (config.durability > seen->durability) {
        seen->durability = config.durability;
    }
    seen->retention_ms = follow_retention(seen->retention_ms, config.retention_ms);
    seen->retention_bytes = follow_retention(seen->retention_bytes, config.retention_bytes);
}

static void follow_topic(struct sim_map *map, const struct map_topic *topic, uint32_t life)
{
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct partition_id id = {.topic = topic->id, .partition = i};
        struct map_entry *entry = map_find_entry(map, &id);
        bool fresh = entry == NULL;
        if (fresh) {
            entry = map_add_entry(map, &id);
            (void)snprintf(entry->seen.topic_name, sizeof(entry->seen.topic_name), "%.20s",
                           topic->name);
        }
        entry->here = true;
        if (entry->seen.deleted) {
            follow_wrong(entry, "was deleted and is back");
            return;
        }
        follow_config(entry, topic, fresh);
        follow_partition(entry, &topic->partitions[i], life);
    }
}

static void follow_gone(struct sim_map *map)
{
    for (uint32_t i = 0; i < map->entry_count; i++) {
        struct map_entry *entry = map->entries[i];
        if (!entry->here && !entry->seen.deleted) {
            entry->seen.deleted = true;
            if (!entry->doomed) {
                follow_wrong(entry, "is gone, and nobody deleted it");
            }
        }
        entry->here = false;
    }
}

void sim_map_look(struct sim_map *map)
{
    const struct map *source =
        map->options.source == NULL ? NULL : map->options.source(map->options.context);
    if (source == NULL || (map->followed && map_version(source) == map->version)) {
        return;
    }
    uint32_t life = map->life;
    if (!map->followed) {
        const struct map_node *node = map_node_by_id(source, MAP_NODE_ID);
        if (map->lost > 0 && !map_past_restore(map, map->version - map->lost)) {
            map->options.wrong(map->options.context, 0, "is of a map whose past is not known");
        }
        map->lost = 0;
        uint64_t least = map->version + 1;
        if (node == NULL || node->boot <= map->boot || map_version(source) < least) {
            char text[WRONG_TEXT_BYTES];
            (void)snprintf(text, sizeof(text),
                           "is of a map that lost commands: it has %llu and the node at boot %llu, "
                           "before it had %llu and boot %llu",
                           (unsigned long long)map_version(source),
                           (unsigned long long)(node == NULL ? 0 : node->boot),
                           (unsigned long long)map->version, (unsigned long long)map->boot);
            map->options.wrong(map->options.context, 0, text);
        }
        map->boot = node == NULL ? map->boot : node->boot;
        life--; /* What is new is of a life that has ended. */
    }
    uint64_t rolls = map->rolls;
    for (uint32_t i = 0; i < map_topic_count(source); i++) {
        follow_topic(map, map_topic_at(source, i), life);
    }
    follow_gone(map);
    map->unheard += map->followed ? 0 : map->rolls - rolls;
    map->version = map_version(source);
    map->followed = true;
    map_past_keep(map);
}

void sim_map_lost(struct sim_map *map, uint32_t commands)
{
    map->lost = commands;
}

bool sim_map_is_followed(const struct sim_map *map)
{
    return map->followed;
}

void sim_map_doom(struct sim_map *map, uint32_t partition)
{
    const struct topic_id id = sim_map_partition(map, partition)->id.topic;
    for (uint32_t i = 0; i < map->entry_count; i++) {
        struct map_entry *entry = map->entries[i];
        entry->doomed = entry->doomed || topic_id_equal(&entry->seen.id.topic, &id);
    }
}
