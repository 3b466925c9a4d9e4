/* Commands as bytes, little-endian, padded to a multiple of 8 (raft's entries want it):
 *
 *     0 version u8 (1)  1 kind u8  2 zero u16  4 origin u32  8 sequence u64  16 time u64  24 body
 *
 *     CLUSTER_INIT     cluster id 16
 *     NODE_REGISTER    node u32, cores u32, boot u64, addresses u32, each {16, port u16, family u8}
 *     TOPIC_CREATE     id 16, name u16 + bytes, partitions u32, RF u32, configs
 *     TOPIC_DELETE     id 16
 *     TOPIC_CONFIGURE  id 16, configs
 *     SEGMENT_ROLL     topic 16, partition u32, flags u8 (1 open next), durability u8, zero u16,
 *                      segment u64, end u64, digest u64, salt u64, leader u32, log start u64,
 *                      greatest time i64, bytes u64 (the last three not in older logs)
 *     PRODUCER_IDS     count u32
 *     SEGMENT_TRIM     topic 16, partition u32, zero u32, segment u64, log start u64
 *     ADOPT            topic 16, partition u32, partitions u32, epoch u32, leader u32,
 *                      durability u8, name u16 + bytes, segments u32, each {id u64, base u64,
 *                      salt u64, end u64, digest u64, epoch u32, state u8, durability u8, RF u8,
 *                      Qa u8}, then log start u64 and for each {greatest time i64, bytes u64}:
 *                      these are not in older logs
 *     TOPIC_GROW       id 16, partitions u32
 *     RAISE            next segment u64, next producer id u64
 *     configs          u32 count, each {key u16 + bytes, value u32 + bytes, UINT32_MAX = null} */
#include "meta/command.h"

#include "core/assert.h"

#include <string.h>

enum { COMMAND_VERSION = 1 };

static void write_text(struct bytes_writer *writer, struct bytes text)
{
    ASSERT(text.size <= UINT16_MAX);
    write_le16(writer, (uint16_t)text.size);
    write_bytes(writer, text.data, text.size);
}

static void write_configs(struct bytes_writer *writer, const struct command_config *configs,
                          uint32_t count)
{
    write_le32(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        write_text(writer, configs[i].key);
        if (configs[i].value.data == NULL) {
            write_le32(writer, UINT32_MAX);
        } else {
            write_le32(writer, configs[i].value.size);
            write_bytes(writer, configs[i].value.data, configs[i].value.size);
        }
    }
}

static void write_node(struct bytes_writer *writer, const struct command *command)
{
    write_le32(writer, command->node_register.node_id);
    write_le32(writer, command->node_register.core_count);
    write_le64(writer, command->node_register.boot);
    write_le32(writer, command->node_register.address_count);
    for (uint32_t i = 0; i < command->node_register.address_count; i++) {
        const struct io_address *address = &command->node_register.addresses[i];
        write_bytes(writer, address->bytes, sizeof(address->bytes));
        write_le16(writer, address->port);
        write_u8(writer, address->family);
    }
}

static void write_roll(struct bytes_writer *writer, const struct command *command)
{
    write_bytes(writer, command->segment_roll.partition.topic.bytes, 16);
    write_le32(writer, command->segment_roll.partition.partition);
    write_u8(writer, command->segment_roll.open_next ? 1 : 0);
    write_u8(writer, (uint8_t)command->segment_roll.durability);
    write_le16(writer, 0);
    write_le64(writer, command->segment_roll.segment_id);
    write_le64(writer, command->segment_roll.end_offset);
    write_le64(writer, command->segment_roll.digest);
    write_le64(writer, command->segment_roll.salt);
    write_le32(writer, command->segment_roll.leader_node);
    write_le64(writer, command->segment_roll.log_start);
    write_le64(writer, (uint64_t)command->segment_roll.timestamp_max);
    write_le64(writer, command->segment_roll.bytes);
}

static void write_trim(struct bytes_writer *writer, const struct command *command)
{
    write_bytes(writer, command->segment_trim.partition.topic.bytes, 16);
    write_le32(writer, command->segment_trim.partition.partition);
    write_le32(writer, 0);
    write_le64(writer, command->segment_trim.segment_id);
    write_le64(writer, command->segment_trim.log_start);
}

void command_adopt_encode(const struct segment_info *info, uint8_t *row)
{
    struct bytes_writer writer = bytes_writer(row, COMMAND_ADOPT_ROW_BYTES);
    write_le64(&writer, info->id);
    write_le64(&writer, info->base_offset);
    write_le64(&writer, info->salt);
    write_le64(&writer, info->end_offset);
    write_le64(&writer, info->digest);
    write_le32(&writer, info->epoch);
    write_u8(&writer, (uint8_t)info->state);
    write_u8(&writer, (uint8_t)info->durability);
    write_u8(&writer, info->replication_factor);
    write_u8(&writer, info->ack_quorum);
    ASSERT(writer.position == COMMAND_ADOPT_ROW_BYTES);
}

void command_adopt_encode_kept(const struct segment_info *info, uint8_t *row)
{
    store_le64(row, (uint64_t)info->timestamp_max);
    store_le64(row + 8, info->bytes);
}

enum err command_adopt_decode(const uint8_t *row, struct segment_info *info)
{
    struct bytes_reader reader = bytes_reader(bytes_of(row, COMMAND_ADOPT_ROW_BYTES));
    *info = (struct segment_info){.id = read_le64(&reader)};
    info->base_offset = read_le64(&reader);
    info->salt = read_le64(&reader);
    info->end_offset = read_le64(&reader);
    info->digest = read_le64(&reader);
    info->epoch = read_le32(&reader);
    uint8_t state = read_u8(&reader);
    uint8_t durability = read_u8(&reader);
    info->replication_factor = read_u8(&reader);
    info->ack_quorum = read_u8(&reader);
    if ((state != SEGMENT_OPEN && state != SEGMENT_SEALED) || durability > DURABILITY_MEMORY) {
        return ERR_CORRUPT;
    }
    info->state = (enum segment_state)state;
    info->durability = (enum durability)durability;
    return OK;
}

static void write_adopt(struct bytes_writer *writer, const struct command *command)
{
    struct bytes segments = command->adopt.segments;
    ASSERT(segments.size % COMMAND_ADOPT_ROW_BYTES == 0);
    write_bytes(writer, command->adopt.partition.topic.bytes, 16);
    write_le32(writer, command->adopt.partition.partition);
    write_le32(writer, command->adopt.partition_count);
    write_le32(writer, command->adopt.epoch);
    write_le32(writer, command->adopt.leader_node);
    write_u8(writer, (uint8_t)command->adopt.durability);
    write_text(writer, command->adopt.name);
    write_le32(writer, segments.size / COMMAND_ADOPT_ROW_BYTES);
    if (segments.size > 0) {
        write_bytes(writer, segments.data, segments.size);
    }
    write_le64(writer, command->adopt.log_start);
    struct bytes kept = command->adopt.kept;
    if (kept.size > 0) {
        ASSERT(kept.size / COMMAND_ADOPT_KEPT_BYTES == segments.size / COMMAND_ADOPT_ROW_BYTES);
        write_bytes(writer, kept.data, kept.size);
    }
}

static void write_body(struct bytes_writer *writer, const struct command *command)
{
    switch (command->kind) {
    case COMMAND_CLUSTER_INIT:
        write_bytes(writer, command->cluster_init.cluster_id, 16);
        return;
    case COMMAND_NODE_REGISTER:
        write_node(writer, command);
        return;
    case COMMAND_TOPIC_CREATE:
        write_bytes(writer, command->topic_create.id.bytes, 16);
        write_text(writer, command->topic_create.name);
        write_le32(writer, command->topic_create.partition_count);
        write_le32(writer, command->topic_create.replication_factor);
        write_configs(writer, command->topic_create.configs, command->topic_create.config_count);
        return;
    case COMMAND_TOPIC_DELETE:
        write_bytes(writer, command->topic_delete.id.bytes, 16);
        return;
    case COMMAND_TOPIC_CONFIGURE:
        write_bytes(writer, command->topic_configure.id.bytes, 16);
        write_configs(writer, command->topic_configure.configs,
                      command->topic_configure.config_count);
        return;
    case COMMAND_TOPIC_GROW:
        write_bytes(writer, command->topic_grow.id.bytes, 16);
        write_le32(writer, command->topic_grow.partition_count);
        return;
    case COMMAND_SEGMENT_ROLL:
        write_roll(writer, command);
        return;
    case COMMAND_PRODUCER_IDS:
        write_le32(writer, command->producer_ids.count);
        return;
    case COMMAND_SEGMENT_TRIM:
        write_trim(writer, command);
        return;
    case COMMAND_ADOPT:
        write_adopt(writer, command);
        return;
    case COMMAND_RAISE:
        write_le64(writer, command->raise.segment_next);
        write_le64(writer, command->raise.producer_next);
        return;
    }
    UNREACHABLE();
}

uint32_t command_encode(const struct command *command, uint8_t *data, uint32_t size)
{
    struct bytes_writer writer = bytes_writer(data, size);
    write_u8(&writer, COMMAND_VERSION);
    write_u8(&writer, (uint8_t)command->kind);
    write_le16(&writer, 0);
    write_le32(&writer, command->origin);
    write_le64(&writer, command->sequence);
    write_le64(&writer, command->time_ms);
    write_body(&writer, command);
    while (!writer.failed && !is_aligned(writer.position, 8)) {
        write_u8(&writer, 0);
    }
    return writer.failed ? 0 : writer.position;
}

static void read_id(struct bytes_reader *reader, uint8_t *id)
{
    struct bytes bytes = read_bytes(reader, 16);
    if (!reader->failed) {
        memcpy(id, bytes.data, 16);
    }
}

/* The number of configs; they stay views of the input. */
static uint32_t read_configs(struct bytes_reader *reader, struct command_config *configs)
{
    uint32_t count = read_le32(reader);
    if (count > COMMAND_CONFIGS_MAX) {
        reader->failed = true;
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        configs[i].key = read_bytes(reader, read_le16(reader));
        uint32_t size = read_le32(reader);
        configs[i].value = (struct bytes){0};
        if (size != UINT32_MAX) {
            configs[i].value = read_bytes(reader, size);
        }
    }
    return count;
}

static void read_node(struct bytes_reader *reader, struct command *command)
{
    command->node_register.node_id = read_le32(reader);
    command->node_register.core_count = read_le32(reader);
    command->node_register.boot = read_le64(reader);
    uint32_t count = read_le32(reader);
    reader->failed = reader->failed || count > COMMAND_ADDRESSES_MAX;
    for (uint32_t i = 0; i < count && !reader->failed; i++) {
        struct io_address *address = &command->node_register.addresses[i];
        read_id(reader, address->bytes);
        address->port = read_le16(reader);
        address->family = read_u8(reader);
    }
    command->node_register.address_count = count;
}

static void read_roll(struct bytes_reader *reader, struct command *command)
{
    read_id(reader, command->segment_roll.partition.topic.bytes);
    command->segment_roll.partition.partition = read_le32(reader);
    command->segment_roll.open_next = read_u8(reader) == 1;
    uint8_t durability = read_u8(reader);
    reader->failed = reader->failed || durability > DURABILITY_MEMORY;
    command->segment_roll.durability = (enum durability)durability;
    (void)read_le16(reader);
    command->segment_roll.segment_id = read_le64(reader);
    command->segment_roll.end_offset = read_le64(reader);
    command->segment_roll.digest = read_le64(reader);
    command->segment_roll.salt = read_le64(reader);
    command->segment_roll.leader_node = read_le32(reader);
    command->segment_roll.timestamp_max = INT64_MAX; /* Not known. */
    if (bytes_left(reader) >= 8) {
        command->segment_roll.log_start = read_le64(reader);
        command->segment_roll.timestamp_max = (int64_t)read_le64(reader);
        command->segment_roll.bytes = read_le64(reader);
    }
}

static void read_trim(struct bytes_reader *reader, struct command *command)
{
    read_id(reader, command->segment_trim.partition.topic.bytes);
    command->segment_trim.partition.partition = read_le32(reader);
    (void)read_le32(reader);
    command->segment_trim.segment_id = read_le64(reader);
    command->segment_trim.log_start = read_le64(reader);
}

static void read_adopt(struct bytes_reader *reader, struct command *command)
{
    read_id(reader, command->adopt.partition.topic.bytes);
    command->adopt.partition.partition = read_le32(reader);
    command->adopt.partition_count = read_le32(reader);
    command->adopt.epoch = read_le32(reader);
    command->adopt.leader_node = read_le32(reader);
    uint8_t durability = read_u8(reader);
    command->adopt.durability = (enum durability)durability;
    command->adopt.name = read_bytes(reader, read_le16(reader));
    uint32_t count = read_le32(reader);
    if (count > COMMAND_ADOPT_SEGMENTS_MAX || durability > DURABILITY_MEMORY) {
        reader->failed = true;
        return;
    }
    command->adopt.segments = read_bytes(reader, count * COMMAND_ADOPT_ROW_BYTES);
    for (uint32_t i = 0; i < count && !reader->failed; i++) {
        struct segment_info info;
        const uint8_t *row = command->adopt.segments.data + (size_t)i * COMMAND_ADOPT_ROW_BYTES;
        reader->failed = command_adopt_decode(row, &info) != OK;
    }
    if (bytes_left(reader) >= 8) {
        command->adopt.log_start = read_le64(reader);
    }
    if (bytes_left(reader) >= 8) {
        command->adopt.kept = read_bytes(reader, count * COMMAND_ADOPT_KEPT_BYTES);
    }
}

/* False for a kind that this release does not know. */
static bool read_body(struct bytes_reader *reader, struct command *command)
{
    switch (command->kind) {
    case COMMAND_CLUSTER_INIT:
        read_id(reader, command->cluster_init.cluster_id);
        return true;
    case COMMAND_NODE_REGISTER:
        read_node(reader, command);
        return true;
    case COMMAND_TOPIC_CREATE:
        read_id(reader, command->topic_create.id.bytes);
        command->topic_create.name = read_bytes(reader, read_le16(reader));
        command->topic_create.partition_count = read_le32(reader);
        command->topic_create.replication_factor = read_le32(reader);
        command->topic_create.config_count = read_configs(reader, command->topic_create.configs);
        return true;
    case COMMAND_TOPIC_DELETE:
        read_id(reader, command->topic_delete.id.bytes);
        return true;
    case COMMAND_TOPIC_CONFIGURE:
        read_id(reader, command->topic_configure.id.bytes);
        command->topic_configure.config_count =
            read_configs(reader, command->topic_configure.configs);
        return true;
    case COMMAND_TOPIC_GROW:
        read_id(reader, command->topic_grow.id.bytes);
        command->topic_grow.partition_count = read_le32(reader);
        return true;
    case COMMAND_SEGMENT_ROLL:
        read_roll(reader, command);
        return true;
    case COMMAND_PRODUCER_IDS:
        command->producer_ids.count = read_le32(reader);
        return true;
    case COMMAND_SEGMENT_TRIM:
        read_trim(reader, command);
        return true;
    case COMMAND_ADOPT:
        read_adopt(reader, command);
        return true;
    case COMMAND_RAISE:
        command->raise.segment_next = read_le64(reader);
        command->raise.producer_next = read_le64(reader);
        return true;
    }
    return false;
}

enum err command_decode(struct bytes data, struct command *command)
{
    struct bytes_reader reader = bytes_reader(data);
    memset(command, 0, sizeof(*command));
    if (read_u8(&reader) != COMMAND_VERSION) {
        return reader.failed ? ERR_CORRUPT : ERR_VERSION;
    }
    command->kind = (enum command_kind)read_u8(&reader);
    (void)read_le16(&reader);
    command->origin = read_le32(&reader);
    command->sequence = read_le64(&reader);
    command->time_ms = read_le64(&reader);
    if (!reader.failed && !read_body(&reader, command)) {
        return ERR_VERSION;
    }
    bool padded = bytes_left(&reader) < 8;
    while (bytes_left(&reader) > 0) {
        padded = read_u8(&reader) == 0 && padded;
    }
    return reader.failed || !padded ? ERR_CORRUPT : OK;
}
