/* Header, seal block and extent header: to bytes and back. */
#include "shard/segment.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/crc32c.h"

#include <string.h>

enum { BLOCK_CRC_AT = 4092 };

static const char segment_magic[8] = {'F', 'L', 'O', 'E', 'S', 'E', 'G', 'M'};
static const char seal_magic[8] = {'F', 'L', 'O', 'E', 'S', 'E', 'A', 'L'};
static const char extent_magic[4] = {'F', 'E', 'X', 'T'};

void segment_header_encode(const struct segment_header *header, uint8_t *block)
{
    size_t name_bytes = strlen(header->name);
    ASSERT(name_bytes <= TOPIC_NAME_BYTES_MAX);
    memset(block, 0, SEGMENT_HEADER_BYTES);
    memcpy(block, segment_magic, 8);
    store_le32(block + 8, SEGMENT_VERSION);
    store_le32(block + 12, header->file_generation);
    store_le64(block + 16, header->segment_id);
    memcpy(block + 24, header->topic.bytes, 16);
    store_le32(block + 40, header->partition);
    store_le32(block + 44, header->epoch);
    store_le64(block + 48, header->base_offset);
    store_le64(block + 56, header->salt);
    block[64] = header->replication_factor;
    block[65] = header->ack_quorum;
    block[66] = header->durability;
    block[67] = header->flags;
    store_le64(block + 72, header->created_ms);
    memcpy(block + 80, header->cluster_id, 16);
    memcpy(block + 96, header->disk_id, 16);
    store_le64(block + 112, header->previous_id);
    store_le64(block + 120, header->previous_digest);
    store_le16(block + 128, (uint16_t)name_bytes);
    memcpy(block + 130, header->name, name_bytes);
    store_le32(block + 1160, header->leader_node);
    store_le32(block + 1164, 1);
    store_le32(block + 1168, header->leader_node);
    memcpy(block + 1176, header->disk_id, 16);
    store_le64(block + 2704, header->log_start);
    store_le64(block + 2712, header->last_ms);
    store_le64(block + 2720, header->last_seq);
    store_le32(block + BLOCK_CRC_AT, crc32c(0, block, BLOCK_CRC_AT));
}

enum err segment_header_decode(const uint8_t *block, struct segment_header *header)
{
    memset(header, 0, sizeof(*header));
    if (memcmp(block, segment_magic, 8) != 0) {
        return ERR_FOREIGN;
    }
    if (load_le32(block + 8) != SEGMENT_VERSION) {
        return ERR_VERSION;
    }
    uint16_t name_bytes = load_le16(block + 128);
    if (load_le32(block + BLOCK_CRC_AT) != crc32c(0, block, BLOCK_CRC_AT) ||
        name_bytes > TOPIC_NAME_BYTES_MAX) {
        return ERR_CORRUPT;
    }
    header->file_generation = load_le32(block + 12);
    header->segment_id = load_le64(block + 16);
    memcpy(header->topic.bytes, block + 24, 16);
    header->partition = load_le32(block + 40);
    header->epoch = load_le32(block + 44);
    header->base_offset = load_le64(block + 48);
    header->salt = load_le64(block + 56);
    header->replication_factor = block[64];
    header->ack_quorum = block[65];
    header->durability = block[66];
    header->flags = block[67];
    header->created_ms = load_le64(block + 72);
    memcpy(header->cluster_id, block + 80, 16);
    memcpy(header->disk_id, block + 96, 16);
    header->previous_id = load_le64(block + 112);
    header->previous_digest = load_le64(block + 120);
    memcpy(header->name, block + 130, name_bytes);
    header->leader_node = load_le32(block + 1160);
    header->member_count = load_le32(block + 1164);
    header->log_start = load_le64(block + 2704);
    header->last_ms = load_le64(block + 2712);
    header->last_seq = load_le64(block + 2720);
    return OK;
}

void segment_seal_encode(const struct segment_seal *seal, uint8_t *block)
{
    memset(block, 0, SEGMENT_HEADER_BYTES);
    memcpy(block, seal_magic, 8);
    store_le32(block + 8, SEGMENT_VERSION);
    store_le64(block + 16, seal->segment_id);
    store_le64(block + 24, seal->salt);
    store_le64(block + 32, seal->end_offset);
    store_le64(block + 40, seal->digest);
    store_le64(block + 48, seal->trailer_position);
    store_le64(block + 56, seal->trailer_bytes);
    store_le64(block + 64, seal->log_start);
    store_le64(block + 72, seal->records);
    store_le64(block + 80, seal->last_ms);
    store_le64(block + 88, seal->last_seq);
    store_le64(block + 96, (uint64_t)seal->timestamp_max);
    store_le64(block + 104, seal->sealed_ms);
    store_le32(block + BLOCK_CRC_AT, crc32c(0, block, BLOCK_CRC_AT));
}

enum err segment_seal_decode(const uint8_t *block, struct segment_seal *seal)
{
    memset(seal, 0, sizeof(*seal));
    /* All bytes are equal to their neighbours, and the first is zero. */
    if (block[0] == 0 && memcmp(block, block + 1, SEGMENT_HEADER_BYTES - 1) == 0) {
        return ERR_NOT_FOUND;
    }
    if (memcmp(block, seal_magic, 8) != 0 || load_le32(block + 8) != SEGMENT_VERSION ||
        load_le32(block + BLOCK_CRC_AT) != crc32c(0, block, BLOCK_CRC_AT)) {
        return ERR_CORRUPT;
    }
    seal->segment_id = load_le64(block + 16);
    seal->salt = load_le64(block + 24);
    seal->end_offset = load_le64(block + 32);
    seal->digest = load_le64(block + 40);
    seal->trailer_position = load_le64(block + 48);
    seal->trailer_bytes = load_le64(block + 56);
    seal->log_start = load_le64(block + 64);
    seal->records = load_le64(block + 72);
    seal->last_ms = load_le64(block + 80);
    seal->last_seq = load_le64(block + 88);
    seal->timestamp_max = (int64_t)load_le64(block + 96);
    seal->sealed_ms = load_le64(block + 104);
    return OK;
}

void extent_header_encode(const struct extent_header *header, uint8_t *at)
{
    ASSERT(is_aligned(header->padded_size, DISK_BLOCK_BYTES));
    ASSERT(is_aligned(header->position, DISK_BLOCK_BYTES));
    memset(at, 0, EXTENT_HEADER_BYTES);
    memcpy(at, extent_magic, 4);
    at[4] = SEGMENT_VERSION;
    at[5] = header->type;
    store_le64(at + 8, header->salt);
    store_le64(at + 16, header->position);
    store_le32(at + 24, header->padded_size);
    store_le32(at + 28, header->boot);
    store_le64(at + 32, header->offset_first);
    store_le64(at + 40, header->durable_end);
    store_le64(at + 48, header->chain);
    store_le32(at + 56, header->frames_or_crc);
    store_le32(at + 60, crc32c(0, at, 60));
}

enum err extent_header_decode(const uint8_t *at, struct extent_header *header)
{
    memset(header, 0, sizeof(*header));
    if (memcmp(at, extent_magic, 4) != 0 || at[4] != SEGMENT_VERSION ||
        load_le32(at + 60) != crc32c(0, at, 60)) {
        return ERR_CORRUPT;
    }
    header->type = at[5];
    header->salt = load_le64(at + 8);
    header->position = load_le64(at + 16);
    header->padded_size = load_le32(at + 24);
    header->boot = load_le32(at + 28);
    header->offset_first = load_le64(at + 32);
    header->durable_end = load_le64(at + 40);
    header->chain = load_le64(at + 48);
    header->frames_or_crc = load_le32(at + 56);
    bool sound = header->type >= EXTENT_FRAMES && header->type <= EXTENT_TRAILER &&
                 header->padded_size >= DISK_BLOCK_BYTES &&
                 is_aligned(header->padded_size, DISK_BLOCK_BYTES);
    return sound ? OK : ERR_CORRUPT;
}

enum err extent_header_at(const uint8_t *at, uint64_t salt, uint64_t position,
                          struct extent_header *header)
{
    enum err err = extent_header_decode(at, header);
    bool here = (header->salt == salt || MUTANT("no-salt")) && header->position == position;
    return err == OK && !here ? ERR_FOREIGN : err;
}

uint64_t extent_evidence(struct bytes data, uint64_t salt, uint64_t position, uint64_t known)
{
    for (uint32_t at = 0; data.size - at >= DISK_BLOCK_BYTES; at += DISK_BLOCK_BYTES) {
        struct extent_header extent;
        if (extent_header_at(data.data + at, salt, position + at, &extent) == OK) {
            known =
                max_u64(known, MUTANT("gap-is-damage") ? extent.offset_first : extent.durable_end);
        }
    }
    return known;
}

uint64_t extent_last(struct bytes data, uint64_t salt, uint64_t position, uint64_t known)
{
    for (uint32_t at = 0; data.size - at >= DISK_BLOCK_BYTES; at += DISK_BLOCK_BYTES) {
        struct extent_header extent;
        if (extent_header_at(data.data + at, salt, position + at, &extent) == OK) {
            known = position + at;
        }
    }
    return known;
}

bool extent_header_was_here(const uint8_t *at, uint64_t salt, uint64_t position)
{
    bool marked = memcmp(at, extent_magic, 4) == 0;
    bool ours = load_le64(at + 8) == salt;
    bool here = load_le64(at + 16) == position;
    struct extent_header extent;
    return extent_header_decode(at, &extent) != OK && marked + ours + here >= 2;
}

bool segment_is_name(const char *name, const char *suffix)
{
    enum { ID_DIGITS = 16 };

    return strspn(name, "0123456789abcdef") == ID_DIGITS && strcmp(name + ID_DIGITS, suffix) == 0;
}
