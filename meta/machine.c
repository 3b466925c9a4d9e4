/* Applying commands. Every refusal is a result and leaves the map as it was; a node that runs out
 * of memory here cannot go on, because its map would differ from the others'. */
#include "meta/machine.h"

#include "core/assert.h"
#include "core/limits.h"
#include "meta/map_internal.h"

#include <stdlib.h>
#include <string.h>

enum { PRODUCER_IDS_MAX = 100000 };

static void machine_need(bool done)
{
    if (!done) {
        PANIC("out of memory while applying the metadata log; the node must be restarted");
    }
}

static void machine_tell(const struct machine_watch *watch, enum machine_change change,
                         const struct map_topic *topic, uint32_t partition)
{
    if (watch != NULL && watch->changed != NULL) {
        watch->changed(watch->context, change, topic, partition);
    }
}

static enum err topic_create_check(const struct map *map, const struct command *command)
{
    struct bytes name = command->topic_create.name;
    if (!topic_name_is_allowed(name)) {
        return ERR_TOPIC_INVALID;
    }
    if (map_topic_by_name(map, name) != NULL) {
        return ERR_EXISTS;
    }
    if (topic_id_is_zero(&command->topic_create.id) ||
        map_topic_by_id(map, &command->topic_create.id) != NULL) {
        return ERR_INVALID;
    }
    if (command->topic_create.partition_count == 0 ||
        command->topic_create.partition_count > TOPIC_PARTITIONS_MAX) {
        return ERR_PARTITIONS_INVALID;
    }
    if (map->partition_count + command->topic_create.partition_count > PARTITIONS_MAX) {
        return ERR_PARTITIONS_INVALID; /* No core could serve them all, and no node start. */
    }
    uint32_t nodes = max_u32(1, map->node_count);
    return command->topic_create.replication_factor > nodes ? ERR_REPLICATION_INVALID : OK;
}

/* Who leads a partition before its first segment: the nodes in turn. */
static uint32_t first_leader(const struct map *map, uint32_t origin, uint32_t partition)
{
    return map->node_count > 0 ? map->nodes[partition % map->node_count].id : origin;
}

static enum err apply_topic_create(struct map *map, const struct command *command,
                                   struct command_result *result, const struct machine_watch *watch)
{
    enum err err = topic_create_check(map, command);
    if (err != OK) {
        return err;
    }
    struct map_topic *topic = calloc(1, sizeof(*topic));
    machine_need(topic != NULL);
    topic->id = command->topic_create.id;
    memcpy(topic->name, command->topic_create.name.data, command->topic_create.name.size);
    topic->created_ms = command->time_ms;
    topic->partition_count = command->topic_create.partition_count;
    topic->replication_factor = command->topic_create.replication_factor;
    topic->partitions = calloc(topic->partition_count, sizeof(*topic->partitions));
    machine_need(topic->partitions != NULL);
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        topic->partitions[i].leader_node = first_leader(map, command->origin, i);
    }
    for (uint32_t i = 0; i < command->topic_create.config_count; i++) {
        const struct command_config *config = &command->topic_create.configs[i];
        machine_need(map_set_config(topic, config->key, config->value));
    }
    machine_need(map_insert_topic(map, topic));
    result->topic = topic->id;
    machine_tell(watch, MACHINE_TOPIC_CREATED, topic, 0);
    return OK;
}

static enum err apply_topic_delete(struct map *map, const struct command *command,
                                   const struct machine_watch *watch)
{
    struct map_topic *topic = map_find_by_id(map, &command->topic_delete.id);
    if (topic == NULL) {
        return ERR_TOPIC_ID_UNKNOWN;
    }
    map_remove_topic(map, topic);
    machine_tell(watch, MACHINE_TOPIC_DELETED, topic, 0);
    map_free_topic(topic);
    return OK;
}

static enum err apply_topic_configure(struct map *map, const struct command *command,
                                      const struct machine_watch *watch)
{
    struct map_topic *topic = map_find_by_id(map, &command->topic_configure.id);
    if (topic == NULL) {
        return ERR_TOPIC_ID_UNKNOWN;
    }
    for (uint32_t i = 0; i < command->topic_configure.config_count; i++) {
        const struct command_config *config = &command->topic_configure.configs[i];
        machine_need(map_set_config(topic, config->key, config->value));
    }
    machine_tell(watch, MACHINE_TOPIC_CONFIGURED, topic, 0);
    return OK;
}

static enum err apply_topic_grow(struct map *map, const struct command *command,
                                 const struct machine_watch *watch)
{
    struct map_topic *topic = map_find_by_id(map, &command->topic_grow.id);
    if (topic == NULL) {
        return ERR_TOPIC_ID_UNKNOWN;
    }
    uint32_t first = topic->partition_count;
    uint32_t count = command->topic_grow.partition_count;
    if (count <= first || count > TOPIC_PARTITIONS_MAX ||
        map->partition_count + (count - first) > PARTITIONS_MAX) {
        return ERR_PARTITIONS_INVALID;
    }
    machine_need(map_grow_topic(map, topic, count));
    for (uint32_t i = first; i < count; i++) {
        topic->partitions[i].leader_node = first_leader(map, command->origin, i);
    }
    machine_tell(watch, MACHINE_TOPIC_GROWN, topic, first);
    return OK;
}

/* The open segment, which is always the last one; NULL: there is none. */
static struct segment_info *open_segment(const struct map_partition *partition)
{
    if (partition->segment_count == 0) {
        return NULL;
    }
    struct segment_info *last = &partition->segments[partition->segment_count - 1];
    return last->state == SEGMENT_OPEN ? last : NULL;
}

/* An empty segment leaves no trace but its epoch, unless it has frames without a record: they may
 * say which records are deleted. If it is all that is left of a log, its file is the only one that
 * knows the producers, and stays.
 *
 * A log that lost its end, as one that is not flushed can, begins there at the latest: what comes
 * behind is new. */
static void seal_segment(struct map_partition *partition, struct segment_info *open,
                         const struct command *command)
{
    uint64_t end_offset = command->segment_roll.end_offset;
    uint64_t log_start = max_u64(partition->log_start, command->segment_roll.log_start);
    partition->log_start = min_u64(log_start, end_offset);
    bool last_of_all = partition->segment_count == 1 && open->base_offset > 0;
    bool says_nothing = command->segment_roll.digest == open->salt;
    if (end_offset == open->base_offset && says_nothing && !last_of_all) {
        partition->segment_count--;
        return;
    }
    open->state = SEGMENT_SEALED;
    open->end_offset = end_offset;
    open->digest = command->segment_roll.digest;
    open->timestamp_max = command->segment_roll.timestamp_max;
    open->bytes = command->segment_roll.bytes;
    partition->end_offset = end_offset;
}

static struct map_partition *find_partition(struct map *map, const struct partition_id *id,
                                            struct map_topic **topic)
{
    *topic = map_find_by_id(map, &id->topic);
    bool known = *topic != NULL && id->partition < (*topic)->partition_count;
    return known ? &(*topic)->partitions[id->partition] : NULL;
}

static enum err apply_segment_roll(struct map *map, const struct command *command,
                                   struct command_result *result, const struct machine_watch *watch)
{
    const struct partition_id *id = &command->segment_roll.partition;
    struct map_topic *topic;
    struct map_partition *partition = find_partition(map, id, &topic);
    if (partition == NULL) {
        return ERR_TOPIC_ID_UNKNOWN;
    }
    struct segment_info *open = open_segment(partition);
    if ((open != NULL ? open->id : 0) != command->segment_roll.segment_id) {
        return ERR_NOT_LEADER; /* The map has moved on since the proposer looked. */
    }
    if (open != NULL && command->segment_roll.end_offset < open->base_offset) {
        return ERR_INVALID;
    }
    if (open != NULL) {
        seal_segment(partition, open, command);
    }
    if (command->segment_roll.open_next) {
        struct segment_info next = {
            .id = MAP_SEGMENT_BIT | map->segment_next,
            .epoch = partition->epoch + 1,
            .state = SEGMENT_OPEN,
            .base_offset = partition->end_offset,
            .salt = command->segment_roll.salt,
            .leader_node = command->segment_roll.leader_node,
            .replication_factor = 1,
            .ack_quorum = 1,
            .durability = command->segment_roll.durability,
        };
        machine_need(map_add_segment(partition, &next));
        map->segment_next++;
        partition->epoch = next.epoch;
        partition->leader_node = next.leader_node;
        result->segment = next;
    }
    machine_tell(watch, MACHINE_SEGMENT_ROLLED, topic, id->partition);
    return OK;
}

static enum err apply_segment_trim(struct map *map, const struct command *command,
                                   const struct machine_watch *watch)
{
    struct map_topic *topic;
    struct map_partition *partition = find_partition(map, &command->segment_trim.partition, &topic);
    if (partition == NULL) {
        return ERR_TOPIC_ID_UNKNOWN;
    }
    uint32_t gone = 0;
    while (gone < partition->segment_count &&
           partition->segments[gone].id != command->segment_trim.segment_id) {
        gone++;
    }
    if (gone == partition->segment_count) {
        return ERR_NOT_LEADER; /* The map has moved on since the proposer looked. */
    }
    const struct segment_info *kept = &partition->segments[gone];
    uint64_t log_start = command->segment_trim.log_start;
    if (log_start < kept->base_offset ||
        (kept->state == SEGMENT_SEALED && log_start > kept->end_offset)) {
        return ERR_INVALID;
    }
    partition->log_start = max_u64(partition->log_start, log_start);
    partition->segment_count -= gone;
    memmove(partition->segments, kept, partition->segment_count * sizeof(*kept));
    machine_tell(watch, MACHINE_SEGMENTS_TRIMMED, topic, command->segment_trim.partition.partition);
    return OK;
}

static enum err apply_node_register(struct map *map, const struct command *command)
{
    if (command->node_register.node_id == 0) {
        return ERR_INVALID;
    }
    struct map_node *node = map_make_node(map, command->node_register.node_id);
    machine_need(node != NULL);
    node->boot = command->node_register.boot;
    node->core_count = command->node_register.core_count;
    node->address_count = command->node_register.address_count;
    memcpy(node->addresses, command->node_register.addresses, sizeof(node->addresses));
    return OK;
}

static enum err apply_cluster_init(struct map *map, const struct command *command)
{
    static const uint8_t none[16];
    if (memcmp(map->cluster_id, none, sizeof(none)) != 0) {
        return ERR_EXISTS; /* A cluster's id never changes. */
    }
    memcpy(map->cluster_id, command->cluster_init.cluster_id, sizeof(map->cluster_id));
    return OK;
}

static enum err apply_producer_ids(struct map *map, const struct command *command,
                                   struct command_result *result)
{
    uint32_t count = command->producer_ids.count;
    if (count == 0 || count > PRODUCER_IDS_MAX) {
        return ERR_INVALID;
    }
    result->producer_id_first = map->producer_next;
    map->producer_next += count;
    return OK;
}

/* Makes the topic of an ADOPT. */
static enum err adopt_topic(struct map *map, const struct command *command,
                            const struct machine_watch *watch)
{
    static const char *const durabilities[] = {"disk", "os", "memory"};
    struct command create = {
        .kind = COMMAND_TOPIC_CREATE, .origin = command->origin, .time_ms = command->time_ms};
    create.topic_create.id = command->adopt.partition.topic;
    create.topic_create.name = command->adopt.name;
    create.topic_create.partition_count = command->adopt.partition_count;
    create.topic_create.config_count = 1;
    create.topic_create.configs[0] = (struct command_config){
        .key = bytes_text("durability"),
        .value = bytes_text(durabilities[command->adopt.durability]),
    };
    struct command_result result;
    return apply_topic_create(map, &create, &result, watch);
}

/* Segment `index` of an ADOPT; false: the partition has it, from a first try that was cut off. */
static bool adopt_segment(const struct map_partition *partition, const struct command *command,
                          uint32_t index, struct segment_info *info)
{
    const uint8_t *rows = command->adopt.segments.data;
    enum err err = command_adopt_decode(rows + (size_t)index * COMMAND_ADOPT_ROW_BYTES, info);
    ASSERT(err == OK); /* command_decode() looked at each. */
    info->leader_node = command->adopt.leader_node;
    info->timestamp_max = INT64_MAX; /* Not known. */
    if (command->adopt.kept.size > 0) {
        const uint8_t *kept = command->adopt.kept.data + (size_t)index * COMMAND_ADOPT_KEPT_BYTES;
        info->timestamp_max = (int64_t)load_le64(kept);
        info->bytes = load_le64(kept + 8);
    }
    for (uint32_t i = 0; i < partition->segment_count; i++) {
        if (partition->segments[i].id == info->id) {
            return false;
        }
    }
    return true;
}

/* They follow what is there and each other, without a gap; the last one may be open. */
static enum err adopt_check(const struct map_partition *partition, const struct command *command,
                            uint32_t count)
{
    bool any = partition->segment_count > 0;
    bool open = open_segment(partition) != NULL;
    uint64_t end = partition->end_offset;
    for (uint32_t i = 0; i < count; i++) {
        struct segment_info info;
        if (!adopt_segment(partition, command, i, &info)) {
            continue;
        }
        bool sealed = info.state == SEGMENT_SEALED;
        if (open || (any && info.base_offset != end) ||
            (sealed && info.end_offset < info.base_offset)) {
            return ERR_INVALID;
        }
        any = true;
        open = !sealed;
        end = info.end_offset;
    }
    return !open && any && command->adopt.log_start > end ? ERR_INVALID : OK;
}

static enum err apply_adopt(struct map *map, const struct command *command,
                            const struct machine_watch *watch)
{
    uint32_t number = command->adopt.partition.partition;
    uint32_t count = command->adopt.segments.size / COMMAND_ADOPT_ROW_BYTES;
    struct map_topic *topic = map_find_by_id(map, &command->adopt.partition.topic);
    uint32_t partitions = topic != NULL ? topic->partition_count : command->adopt.partition_count;
    bool renamed = topic != NULL && !bytes_equal(bytes_text(topic->name), command->adopt.name);
    if (number >= partitions || renamed) {
        return ERR_INVALID;
    }
    static const struct map_partition none;
    enum err err = adopt_check(topic != NULL ? &topic->partitions[number] : &none, command, count);
    if (err == OK && topic == NULL) {
        err = adopt_topic(map, command, watch);
        topic = map_find_by_id(map, &command->adopt.partition.topic);
    }
    if (err != OK) {
        return err;
    }
    struct map_partition *partition = &topic->partitions[number];
    for (uint32_t i = 0; i < count; i++) {
        struct segment_info info;
        if (adopt_segment(partition, command, i, &info)) {
            machine_need(map_add_segment(partition, &info));
            bool sealed = info.state == SEGMENT_SEALED;
            partition->end_offset = sealed ? info.end_offset : info.base_offset;
            partition->epoch = max_u32(partition->epoch, info.epoch);
        }
    }
    partition->epoch = max_u32(partition->epoch, command->adopt.epoch);
    partition->log_start = max_u64(partition->log_start, command->adopt.log_start);
    partition->leader_node = command->adopt.leader_node;
    machine_tell(watch, MACHINE_SEGMENT_ROLLED, topic, number);
    return OK;
}

/* What a lost map handed out is not handed out again. */
static enum err apply_raise(struct map *map, const struct command *command)
{
    uint64_t segment_next = command->raise.segment_next;
    uint64_t producer_next = command->raise.producer_next;
    if (segment_next >= COMMAND_RAISE_MAX || producer_next >= COMMAND_RAISE_MAX) {
        return ERR_INVALID;
    }
    map->segment_next = max_u64(map->segment_next, segment_next);
    map->producer_next = max_u64(map->producer_next, producer_next);
    return OK;
}

static enum err machine_dispatch(struct map *map, const struct command *command,
                                 struct command_result *result, const struct machine_watch *watch)
{
    switch (command->kind) {
    case COMMAND_CLUSTER_INIT:
        return apply_cluster_init(map, command);
    case COMMAND_NODE_REGISTER:
        return apply_node_register(map, command);
    case COMMAND_TOPIC_CREATE:
        return apply_topic_create(map, command, result, watch);
    case COMMAND_TOPIC_DELETE:
        return apply_topic_delete(map, command, watch);
    case COMMAND_TOPIC_CONFIGURE:
        return apply_topic_configure(map, command, watch);
    case COMMAND_TOPIC_GROW:
        return apply_topic_grow(map, command, watch);
    case COMMAND_SEGMENT_ROLL:
        return apply_segment_roll(map, command, result, watch);
    case COMMAND_SEGMENT_TRIM:
        return apply_segment_trim(map, command, watch);
    case COMMAND_PRODUCER_IDS:
        return apply_producer_ids(map, command, result);
    case COMMAND_ADOPT:
        return apply_adopt(map, command, watch);
    case COMMAND_RAISE:
        return apply_raise(map, command);
    }
    UNREACHABLE();
}

void machine_apply(struct map *map, uint64_t version, const struct command *command,
                   struct command_result *result, const struct machine_watch *watch)
{
    ASSERT(version > map->version);
    ASSERT(command->sequence > 0);
    map->version = version;
    memset(result, 0, sizeof(*result));
    struct map_origin *origin = map_make_origin(map, command->origin);
    machine_need(origin != NULL);
    struct map_result *kept = &origin->results[command->sequence % MAP_RESULTS_MAX];
    if (kept->sequence == command->sequence) {
        *result = kept->result;
        return;
    }
    if (command->sequence + MAP_RESULTS_MAX <= origin->newest) {
        result->err = ERR_TIMEOUT; /* So old that its result is forgotten: it is not done twice. */
        return;
    }
    result->err = machine_dispatch(map, command, result, watch);
    origin->newest = max_u64(origin->newest, command->sequence);
    kept->sequence = command->sequence;
    kept->result = *result;
}
