/* The whole map as bytes, little-endian, for snapshots and for cores that start:
 *
 *     0 "FLOEMAPS"  8 version u32 (2)  12 CRC-32C of everything behind  16 length u64  24:
 *     cluster id 16, version u64, next segment u64, next producer id u64
 *     nodes u32, each {id u32, cores u32, boot u64, addresses u32, each {16, port u16, family u8}}
 *     topics u32 in order of name, each {id 16, name u16 + bytes, created u64, RF u32,
 *         configs u32, each {key u16 + bytes, value u32 + bytes},
 *         partitions u32, each {epoch u32, leader u32, end u64, log start u64, segments u32, each
 *         segment 72}}
 *     origins u32, each {node u32, newest u64, results u32, each result 128}
 *
 * Version 1 has no log start, and segments of 64 bytes whose last 8 are zero: neither greatest time
 * nor size of the file. */
#include "core/assert.h"
#include "core/crc32c.h"
#include "meta/machine.h"
#include "meta/map_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAP_VERSION = 2, MAP_VERSION_LEAST = 1, MAP_HEADER_BYTES = 24 };

static const char map_magic[8] = {'F', 'L', 'O', 'E', 'M', 'A', 'P', 'S'};

/* Counts what it would write, and writes only while it fits: one walk serves both uses. */
struct map_writer {
    uint8_t *data;
    uint64_t size, position;
};

static void put(struct map_writer *writer, const void *data, uint32_t size)
{
    if (size > 0 && writer->position + size <= writer->size) {
        memcpy(writer->data + writer->position, data, size);
    }
    writer->position += size;
}

static void put_u8(struct map_writer *writer, uint8_t value)
{
    put(writer, &value, 1);
}

static void put_u16(struct map_writer *writer, uint16_t value)
{
    uint8_t bytes[2];
    store_le16(bytes, value);
    put(writer, bytes, sizeof(bytes));
}

static void put_u32(struct map_writer *writer, uint32_t value)
{
    uint8_t bytes[4];
    store_le32(bytes, value);
    put(writer, bytes, sizeof(bytes));
}

static void put_u64(struct map_writer *writer, uint64_t value)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    put(writer, bytes, sizeof(bytes));
}

static void put_segment(struct map_writer *writer, const struct segment_info *segment)
{
    put_u64(writer, segment->id);
    put_u32(writer, segment->epoch);
    put_u32(writer, (uint32_t)segment->state);
    put_u64(writer, segment->base_offset);
    put_u64(writer, segment->salt);
    put_u64(writer, segment->end_offset);
    put_u64(writer, segment->digest);
    put_u32(writer, segment->leader_node);
    put_u8(writer, segment->replication_factor);
    put_u8(writer, segment->ack_quorum);
    put_u16(writer, (uint16_t)segment->durability);
    put_u64(writer, (uint64_t)segment->timestamp_max);
    put_u64(writer, segment->bytes);
}

static void put_topic(struct map_writer *writer, const struct map_topic *topic)
{
    put(writer, topic->id.bytes, 16);
    put_u16(writer, (uint16_t)strlen(topic->name));
    put(writer, topic->name, (uint32_t)strlen(topic->name));
    put_u64(writer, topic->created_ms);
    put_u32(writer, topic->replication_factor);
    put_u32(writer, topic->config_count);
    for (uint32_t i = 0; i < topic->config_count; i++) {
        const struct map_config_entry *config = &topic->configs[i];
        put_u16(writer, (uint16_t)strlen(config->key));
        put(writer, config->key, (uint32_t)strlen(config->key));
        put_u32(writer, (uint32_t)strlen(config->value));
        put(writer, config->value, (uint32_t)strlen(config->value));
    }
    put_u32(writer, topic->partition_count);
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const struct map_partition *partition = &topic->partitions[i];
        put_u32(writer, partition->epoch);
        put_u32(writer, partition->leader_node);
        put_u64(writer, partition->end_offset);
        put_u64(writer, partition->log_start);
        put_u32(writer, partition->segment_count);
        for (uint32_t j = 0; j < partition->segment_count; j++) {
            put_segment(writer, &partition->segments[j]);
        }
    }
}

static void put_node(struct map_writer *writer, const struct map_node *node)
{
    put_u32(writer, node->id);
    put_u32(writer, node->core_count);
    put_u64(writer, node->boot);
    put_u32(writer, node->address_count);
    for (uint32_t i = 0; i < node->address_count; i++) {
        put(writer, node->addresses[i].bytes, 16);
        put_u16(writer, node->addresses[i].port);
        put_u8(writer, node->addresses[i].family);
    }
}

static void put_origin(struct map_writer *writer, const struct map_origin *origin)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < MAP_RESULTS_MAX; i++) {
        count += origin->results[i].sequence != 0;
    }
    put_u32(writer, origin->node_id);
    put_u64(writer, origin->newest);
    put_u32(writer, count);
    for (uint32_t i = 0; i < MAP_RESULTS_MAX; i++) {
        const struct map_result *kept = &origin->results[i];
        if (kept->sequence != 0) {
            put_u64(writer, kept->sequence);
            put_u32(writer, (uint32_t)kept->result.err);
            put(writer, kept->result.topic.bytes, 16);
            put_segment(writer, &kept->result.segment);
            put_u64(writer, kept->result.producer_id_first);
        }
    }
}

uint64_t machine_encode(const struct map *map, uint8_t *data, uint64_t size)
{
    struct map_writer writer = {.data = data, .size = size, .position = MAP_HEADER_BYTES};
    put(&writer, map->cluster_id, 16);
    put_u64(&writer, map->version);
    put_u64(&writer, map->segment_next);
    put_u64(&writer, map->producer_next);
    put_u32(&writer, map->node_count);
    for (uint32_t i = 0; i < map->node_count; i++) {
        put_node(&writer, &map->nodes[i]);
    }
    put_u32(&writer, map->topic_count);
    for (uint32_t i = 0; i < map->topic_count; i++) {
        put_topic(&writer, map->by_name[i]);
    }
    put_u32(&writer, map->origin_count);
    for (uint32_t i = 0; i < map->origin_count; i++) {
        put_origin(&writer, &map->origins[i]);
    }
    if (writer.position <= size) {
        memcpy(data, map_magic, sizeof(map_magic));
        store_le32(data + 8, MAP_VERSION);
        store_le64(data + 16, writer.position);
        store_le32(data + 12, crc32c(0, data + 16, (size_t)(writer.position - 16)));
    }
    return writer.position;
}

/* What is read, and the version in which it was written. */
struct map_reader {
    struct bytes_reader bytes;
    uint32_t version;
};

static bool get_segment(struct map_reader *map_reader, struct segment_info *segment)
{
    struct bytes_reader *reader = &map_reader->bytes;
    segment->id = read_le64(reader);
    segment->epoch = read_le32(reader);
    uint32_t state = read_le32(reader);
    segment->state = (enum segment_state)state;
    segment->base_offset = read_le64(reader);
    segment->salt = read_le64(reader);
    segment->end_offset = read_le64(reader);
    segment->digest = read_le64(reader);
    segment->leader_node = read_le32(reader);
    segment->replication_factor = read_u8(reader);
    segment->ack_quorum = read_u8(reader);
    uint16_t durability = read_le16(reader);
    segment->durability = (enum durability)durability;
    segment->timestamp_max = (int64_t)read_le64(reader);
    segment->bytes = 0;
    if (map_reader->version == 1) {
        segment->timestamp_max = INT64_MAX; /* Not known. */
    } else {
        segment->bytes = read_le64(reader);
    }
    return !reader->failed && state <= SEGMENT_SEALED && durability <= DURABILITY_MEMORY;
}

static bool get_partition(struct map_reader *map_reader, struct map_partition *partition)
{
    struct bytes_reader *reader = &map_reader->bytes;
    partition->epoch = read_le32(reader);
    partition->leader_node = read_le32(reader);
    partition->end_offset = read_le64(reader);
    partition->log_start = map_reader->version == 1 ? 0 : read_le64(reader);
    uint32_t count = read_le32(reader);
    for (uint32_t i = 0; i < count; i++) {
        struct segment_info segment;
        if (!get_segment(map_reader, &segment) || !map_add_segment(partition, &segment)) {
            return false;
        }
    }
    return !reader->failed;
}

/* Fills `topic`, which map_free_topic() can take at any point. */
static bool get_topic(struct map_reader *map_reader, struct map_topic *topic)
{
    struct bytes_reader *reader = &map_reader->bytes;
    struct bytes id = read_bytes(reader, 16);
    struct bytes name = read_bytes(reader, read_le16(reader));
    if (reader->failed || name.size > TOPIC_NAME_BYTES_MAX) {
        return false;
    }
    memcpy(topic->id.bytes, id.data, 16);
    memcpy(topic->name, name.data, name.size);
    topic->created_ms = read_le64(reader);
    topic->replication_factor = read_le32(reader);
    uint32_t configs = read_le32(reader);
    for (uint32_t i = 0; i < configs; i++) {
        struct bytes key = read_bytes(reader, read_le16(reader));
        struct bytes value = read_bytes(reader, read_le32(reader));
        if (reader->failed || !map_set_config(topic, key, value)) {
            return false;
        }
    }
    uint32_t count = read_le32(reader);
    if (reader->failed || count > TOPIC_PARTITIONS_MAX) {
        return false;
    }
    topic->partitions = calloc(max_u32(count, 1), sizeof(*topic->partitions));
    if (topic->partitions == NULL) {
        return false;
    }
    topic->partition_count = count;
    for (uint32_t i = 0; i < count; i++) {
        if (!get_partition(map_reader, &topic->partitions[i])) {
            return false;
        }
    }
    return true;
}

static bool get_topics(struct map_reader *reader, struct map *map)
{
    uint32_t count = read_le32(&reader->bytes);
    for (uint32_t i = 0; i < count; i++) {
        struct map_topic *topic = calloc(1, sizeof(*topic));
        if (topic == NULL || !get_topic(reader, topic) || !map_insert_topic(map, topic)) {
            map_free_topic(topic);
            return false;
        }
    }
    return !reader->bytes.failed;
}

static bool get_nodes(struct bytes_reader *reader, struct map *map)
{
    uint32_t count = read_le32(reader);
    for (uint32_t i = 0; i < count; i++) {
        struct map_node *node = map_make_node(map, read_le32(reader));
        if (reader->failed || node == NULL) {
            return false;
        }
        node->core_count = read_le32(reader);
        node->boot = read_le64(reader);
        node->address_count = read_le32(reader);
        if (node->address_count > ARRAY_COUNT(node->addresses)) {
            return false;
        }
        for (uint32_t j = 0; j < node->address_count; j++) {
            struct bytes bytes = read_bytes(reader, 16);
            node->addresses[j].port = read_le16(reader);
            node->addresses[j].family = read_u8(reader);
            if (reader->failed) {
                return false;
            }
            memcpy(node->addresses[j].bytes, bytes.data, 16);
        }
    }
    return !reader->failed;
}

static bool get_result(struct map_reader *map_reader, struct map_origin *origin)
{
    struct bytes_reader *reader = &map_reader->bytes;
    uint64_t sequence = read_le64(reader);
    struct map_result *kept = &origin->results[sequence % MAP_RESULTS_MAX];
    kept->sequence = sequence;
    kept->result.err = (enum err)(int32_t)read_le32(reader);
    struct bytes topic = read_bytes(reader, 16);
    if (!get_segment(map_reader, &kept->result.segment)) {
        return false;
    }
    memcpy(kept->result.topic.bytes, topic.data, 16);
    kept->result.producer_id_first = read_le64(reader);
    return !reader->failed;
}

static bool get_origins(struct map_reader *map_reader, struct map *map)
{
    struct bytes_reader *reader = &map_reader->bytes;
    uint32_t count = read_le32(reader);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t node_id = read_le32(reader);
        struct map_origin *origin = reader->failed ? NULL : map_make_origin(map, node_id);
        if (origin == NULL) {
            return false;
        }
        origin->newest = read_le64(reader);
        uint32_t results = read_le32(reader);
        for (uint32_t j = 0; j < results; j++) {
            if (!get_result(map_reader, origin)) {
                return false;
            }
        }
    }
    return !reader->failed;
}

enum err machine_decode(struct map *map, const uint8_t *data, uint64_t size)
{
    ASSERT(map->topic_count == 0 && map->node_count == 0 && map->origin_count == 0);
    if (size < MAP_HEADER_BYTES || size > UINT32_MAX || memcmp(data, map_magic, 8) != 0) {
        return ERR_CORRUPT;
    }
    uint32_t version = load_le32(data + 8);
    if (version < MAP_VERSION_LEAST || version > MAP_VERSION) {
        return ERR_VERSION;
    }
    if (load_le64(data + 16) != size ||
        load_le32(data + 12) != crc32c(0, data + 16, (size_t)(size - 16))) {
        return ERR_CORRUPT;
    }
    struct map_reader map_reader = {
        .bytes = bytes_reader(bytes_of(data + MAP_HEADER_BYTES, (uint32_t)size - MAP_HEADER_BYTES)),
        .version = version,
    };
    struct bytes_reader *reader = &map_reader.bytes;
    struct bytes cluster = read_bytes(reader, 16);
    map->version = read_le64(reader);
    map->segment_next = read_le64(reader);
    map->producer_next = read_le64(reader);
    if (reader->failed) {
        return ERR_CORRUPT;
    }
    memcpy(map->cluster_id, cluster.data, 16);
    bool sound =
        get_nodes(reader, map) && get_topics(&map_reader, map) && get_origins(&map_reader, map);
    return sound && bytes_left(reader) == 0 ? OK : ERR_CORRUPT;
}
