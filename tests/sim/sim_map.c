/* The stand-in, and what is seen of either map. The rules are those of apply_segment_roll() and
 * apply_segment_trim() in meta/machine.c. */
#include "core/assert.h"
#include "tests/sim/sim_map_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAP_DELAY_MS_MAX = 4 };

#define MAP_SEGMENT_BIT (1ULL << 63)

struct sim_map *sim_map_create(const struct sim_map_options *options)
{
    struct sim_map *map = calloc(1, sizeof(*map));
    ASSERT(map != NULL);
    map->options = *options;
    map->segment_next = 1;
    return map;
}

void sim_map_destroy(struct sim_map *map)
{
    for (uint32_t i = 0; i < map->entry_count; i++) {
        free(map->entries[i]->seen.segments);
        free(map->entries[i]);
    }
    map_past_forget_all(map);
    free(map->entries);
    free(map);
}

void sim_map_start(struct sim_map *map, struct sim_node *node, uint32_t life)
{
    map->node = node;
    map->life = life;
    map->core_count = 0;
    map->refusals = 0;
    map->followed = false;
    for (uint32_t i = 0; i < map->entry_count; i++) {
        map->entries[i]->roll = NULL;
        map->entries[i]->trim = NULL;
    }
}

struct sim_map_segment *map_entry_open(const struct map_entry *entry)
{
    if (entry->seen.segment_count == 0) {
        return NULL;
    }
    struct sim_map_segment *last = &entry->seen.segments[entry->seen.segment_count - 1];
    return last->info.state == SEGMENT_OPEN ? last : NULL;
}

static void entry_seal(struct map_entry *entry, const struct shard_roll *roll)
{
    const struct sim_map_options *options = &entry->map->options;
    struct sim_map_segment *open = map_entry_open(entry);
    ASSERT(open != NULL);
    options->sealed(options->context, entry->seen.number, roll->end_offset, false);
    entry->seen.log_start =
        min_u64(max_u64(entry->seen.log_start, roll->log_start), roll->end_offset);
    uint32_t count = entry->seen.segment_count;
    bool last_of_all =
        open->info.base_offset > 0 && (count == 1 || entry->seen.segments[count - 2].gone);
    bool says_nothing = roll->digest == open->info.salt;
    if (roll->end_offset == open->info.base_offset && says_nothing && !last_of_all) {
        entry->seen.segment_count--; /* An empty one leaves no trace but its epoch. */
        return;
    }
    open->info.state = SEGMENT_SEALED;
    open->info.end_offset = roll->end_offset;
    open->info.digest = roll->digest;
    open->info.timestamp_max = roll->timestamp_max;
    open->info.bytes = roll->bytes;
    entry->end_offset = roll->end_offset;
}

void map_entry_push(struct map_entry *entry, const struct segment_info *info, uint32_t life)
{
    struct sim_map_partition *seen = &entry->seen;
    if (seen->segment_count == entry->segment_capacity) {
        entry->segment_capacity = max_u32(8, entry->segment_capacity * 2);
        seen->segments = realloc(seen->segments, entry->segment_capacity * sizeof(*seen->segments));
        ASSERT(seen->segments != NULL);
    }
    seen->segments[seen->segment_count++] = (struct sim_map_segment){.info = *info, .life = life};
    entry->map->rolls++;
}

static void entry_add(struct map_entry *entry, struct shard_roll *roll)
{
    struct sim_map *map = entry->map;
    struct sim_map_partition *seen = &entry->seen;
    seen->epoch++;
    seen->epoch_ns = entry->reactor->now_ns;
    roll->next = (struct segment_info){
        .id = MAP_SEGMENT_BIT | map->segment_next++,
        .epoch = seen->epoch,
        .state = SEGMENT_OPEN,
        .base_offset = entry->end_offset,
        .salt = prng_next(map->options.prng),
        .leader_node = 1,
        .replication_factor = 1,
        .ack_quorum = 1,
        .durability = roll->durability,
    };
    map_entry_push(entry, &roll->next, map->life);
}

static enum err entry_apply(struct map_entry *entry, struct shard_roll *roll)
{
    const struct sim_map_segment *open = map_entry_open(entry);
    if (entry->seen.deleted) {
        return ERR_TOPIC_ID_UNKNOWN;
    }
    if ((open != NULL ? open->info.id : 0) != roll->segment_id) {
        return ERR_NOT_LEADER;
    }
    if (open != NULL && roll->end_offset < open->info.base_offset) {
        return ERR_INVALID;
    }
    if (prng_below(entry->map->options.prng, 1000) < entry->map->refusals) {
        entry->map->refused++;
        return ERR_NOT_READY;
    }
    if (open != NULL) {
        entry_seal(entry, roll);
    }
    if (roll->open_next) {
        entry_add(entry, roll);
    }
    return OK;
}

static void map_answer(struct completion *done)
{
    struct timer *timer = CONTAINER_OF(done, struct timer, done);
    struct map_entry *entry = CONTAINER_OF(timer, struct map_entry, timer);
    struct sim_map *map = entry->map;
    struct shard_roll *roll = entry->roll;
    ASSERT(roll != NULL);
    if (!sim_node_event(map->node)) {
        return;
    }
    enum err err = entry_apply(entry, roll);
    if (!sim_node_event(map->node)) {
        map->unheard += err == OK;
        return;
    }
    entry->roll = NULL;
    completion_fire(entry->reactor, &roll->done, err);
}

static enum err entry_trim(struct map_entry *entry, const struct shard_trim *trim)
{
    struct sim_map *map = entry->map;
    struct sim_map_partition *seen = &entry->seen;
    uint32_t kept = 0;
    while (kept < seen->segment_count &&
           (seen->segments[kept].gone || seen->segments[kept].info.id != trim->segment_id)) {
        kept++;
    }
    if (seen->deleted) {
        return ERR_TOPIC_ID_UNKNOWN;
    }
    if (kept == seen->segment_count) {
        return ERR_NOT_LEADER;
    }
    const struct segment_info *info = &seen->segments[kept].info;
    if (trim->log_start < info->base_offset ||
        (info->state == SEGMENT_SEALED && trim->log_start > info->end_offset)) {
        return ERR_INVALID;
    }
    if (prng_below(map->options.prng, 1000) < map->refusals) {
        map->refused++;
        return ERR_NOT_READY;
    }
    map->options.trimmed(map->options.context, seen->number, trim->log_start,
                         entry->reactor->now_ms);
    seen->log_start = max_u64(seen->log_start, trim->log_start);
    for (uint32_t i = 0; i < kept; i++) {
        map->removed += !seen->segments[i].gone;
        seen->segments[i].gone = true;
    }
    return OK;
}

static void map_answer_trim(struct completion *done)
{
    struct timer *timer = CONTAINER_OF(done, struct timer, done);
    struct map_entry *entry = CONTAINER_OF(timer, struct map_entry, trim_timer);
    struct sim_map *map = entry->map;
    struct shard_trim *trim = entry->trim;
    ASSERT(trim != NULL);
    if (!sim_node_event(map->node)) {
        return;
    }
    enum err err = entry_trim(entry, trim);
    if (!sim_node_event(map->node)) {
        map->unheard += err == OK;
        return;
    }
    entry->trim = NULL;
    completion_fire(entry->reactor, &trim->done, err);
}

struct map_entry *map_find_entry(const struct sim_map *map, const struct partition_id *id)
{
    for (uint32_t i = 0; i < map->entry_count; i++) {
        struct map_entry *entry = map->entries[i];
        if (entry->seen.id.partition == id->partition &&
            topic_id_equal(&entry->seen.id.topic, &id->topic)) {
            return entry;
        }
    }
    return NULL;
}

static void map_roll(void *context, struct shard_roll *roll)
{
    const struct map_core *core = context;
    struct map_entry *entry = map_find_entry(core->map, &roll->partition);
    ASSERT(entry != NULL);
    ASSERT(entry->roll == NULL);
    entry->roll = roll;
    entry->reactor = core->reactor;
    timer_init(&entry->timer, map_answer);
    timer_start(core->reactor, &entry->timer,
                prng_below(core->map->options.prng, MAP_DELAY_MS_MAX) * NS_PER_MS);
}

static void map_trim(void *context, struct shard_trim *trim)
{
    const struct map_core *core = context;
    struct map_entry *entry = map_find_entry(core->map, &trim->partition);
    ASSERT(entry != NULL && entry->trim == NULL);
    entry->trim = trim;
    entry->reactor = core->reactor;
    timer_init(&entry->trim_timer, map_answer_trim);
    timer_start(core->reactor, &entry->trim_timer,
                prng_below(core->map->options.prng, MAP_DELAY_MS_MAX) * NS_PER_MS);
}

struct shard_hooks sim_map_hooks(struct sim_map *map, struct reactor *reactor)
{
    ASSERT(map->core_count < MAP_CORES_MAX);
    struct map_core *core = &map->cores[map->core_count++];
    *core = (struct map_core){.map = map, .reactor = reactor};
    return (struct shard_hooks){.context = core, .roll = map_roll, .trim = map_trim};
}

struct map_entry *map_add_entry(struct sim_map *map, const struct partition_id *id)
{
    if (map->entry_count == map->entry_capacity) {
        map->entry_capacity = max_u32(16, map->entry_capacity * 2);
        map->entries = realloc(map->entries, map->entry_capacity * sizeof(struct map_entry *));
        ASSERT(map->entries != NULL);
    }
    struct map_entry *entry = calloc(1, sizeof(*entry));
    ASSERT(entry != NULL);
    entry->map = map;
    entry->seen.id = *id;
    entry->seen.number = map->entry_count;
    map->entries[map->entry_count++] = entry;
    return entry;
}

uint32_t sim_map_topic_create(struct sim_map *map, const struct partition_config *config,
                              uint32_t partitions)
{
    struct topic_id id;
    uint32_t first = map->entry_count;
    prng_fill(map->options.prng, id.bytes, sizeof(id.bytes));
    map->topic_next++;
    for (uint32_t i = 0; i < partitions; i++) {
        const struct partition_id partition = {.topic = id, .partition = i};
        struct map_entry *entry = map_add_entry(map, &partition);
        entry->seen.config = *config;
        (void)snprintf(entry->seen.topic_name, sizeof(entry->seen.topic_name), "topic-%u",
                       (unsigned)(map->topic_next % 1000));
    }
    return first;
}

void sim_map_topic_delete(struct sim_map *map, uint32_t partition)
{
    const struct topic_id id = sim_map_partition(map, partition)->id.topic;
    for (uint32_t i = 0; i < map->entry_count; i++) {
        struct sim_map_partition *seen = &map->entries[i]->seen;
        seen->deleted = seen->deleted || topic_id_equal(&seen->id.topic, &id);
    }
}

uint32_t sim_map_partition_count(const struct sim_map *map)
{
    return map->entry_count;
}

const struct sim_map_partition *sim_map_partition(const struct sim_map *map, uint32_t number)
{
    ASSERT(number < map->entry_count);
    return &map->entries[number]->seen;
}

const struct sim_map_segment *sim_map_segment_of(const struct sim_map_partition *partition,
                                                 uint64_t offset)
{
    for (uint32_t i = partition->segment_count; i-- > 0;) {
        const struct sim_map_segment *segment = &partition->segments[i];
        bool ended = segment->info.state == SEGMENT_SEALED && offset >= segment->info.end_offset;
        if (offset >= segment->info.base_offset) {
            return ended ? NULL : segment;
        }
    }
    return NULL;
}

uint32_t sim_map_segments(const struct sim_map_partition *partition, struct segment_info *segments)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < partition->segment_count; i++) {
        if (!partition->segments[i].gone) {
            segments[count++] = partition->segments[i].info;
        }
    }
    return count;
}

void sim_map_set_refusals(struct sim_map *map, uint32_t per_mille)
{
    map->refusals = per_mille;
}

uint32_t sim_map_waiting(const struct sim_map *map)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < map->entry_count; i++) {
        count += map->entries[i]->roll != NULL;
    }
    return count;
}

uint64_t sim_map_rolls(const struct sim_map *map)
{
    return map->rolls;
}

uint64_t sim_map_refused(const struct sim_map *map)
{
    return map->refused;
}

uint64_t sim_map_removed(const struct sim_map *map)
{
    return map->removed;
}

uint64_t sim_map_unheard(const struct sim_map *map)
{
    return map->unheard;
}
