/* Journal blocks and their entries: to bytes and back. */
#include "shard/journal_block.h"

#include "core/assert.h"
#include "core/crc32c.h"
#include "core/limits.h"

#include <string.h>

enum { BODY_CRC_AT = 88, HEADER_CRC_AT = 92 };

static const char journal_magic[4] = {'F', 'J', 'N', 'L'};

uint32_t journal_entry_size(uint32_t size)
{
    return JOURNAL_ENTRY_HEADER_BYTES + (uint32_t)align_up(size, 8);
}

uint32_t journal_entry_encode(const struct journal_entry *entry, uint8_t *at)
{
    uint32_t size = journal_entry_size(entry->body.size);
    store_le16(at, entry->type);
    store_le16(at + 2, 0);
    store_le32(at + 4, entry->body.size);
    store_le64(at + 8, entry->segment_id);
    store_le64(at + 16, entry->durable_end);
    store_le64(at + 24, entry->staged_end);
    memcpy(at + JOURNAL_ENTRY_HEADER_BYTES, entry->body.data, entry->body.size);
    uint32_t used = JOURNAL_ENTRY_HEADER_BYTES + entry->body.size;
    memset(at + used, 0, size - used);
    return size;
}

void journal_block_encode(const struct journal_block_header *header, uint8_t *at)
{
    ASSERT(is_aligned(header->length, DISK_BLOCK_BYTES));
    ASSERT(header->length > 0 && header->length <= JOURNAL_BLOCK_BYTES_MAX);
    memset(at, 0, JOURNAL_BLOCK_HEADER_BYTES);
    memcpy(at, journal_magic, 4);
    store_le16(at + 4, JOURNAL_VERSION);
    store_le16(at + 6, header->flags);
    store_le64(at + 8, header->journal_id);
    store_le64(at + 16, header->seq);
    store_le64(at + 24, header->position);
    store_le32(at + 32, header->length);
    store_le32(at + 36, header->entries);
    store_le64(at + 40, header->durable_seq);
    store_le64(at + 48, header->tail_seq);
    store_le32(at + 56, header->boot);
    store_le64(at + 64, header->ms);
    store_le32(at + BODY_CRC_AT, crc32c(0, at + JOURNAL_BLOCK_HEADER_BYTES,
                                        header->length - JOURNAL_BLOCK_HEADER_BYTES));
    store_le32(at + HEADER_CRC_AT, crc32c(0, at, HEADER_CRC_AT));
}

enum err journal_block_peek(const uint8_t *at, uint64_t journal_id, uint64_t position,
                            struct journal_block_header *header)
{
    memset(header, 0, sizeof(*header));
    if (memcmp(at, journal_magic, 4) != 0 || load_le16(at + 4) != JOURNAL_VERSION ||
        load_le32(at + HEADER_CRC_AT) != crc32c(0, at, HEADER_CRC_AT)) {
        return ERR_CORRUPT;
    }
    header->flags = load_le16(at + 6);
    header->journal_id = load_le64(at + 8);
    header->seq = load_le64(at + 16);
    header->position = load_le64(at + 24);
    header->length = load_le32(at + 32);
    header->entries = load_le32(at + 36);
    header->durable_seq = load_le64(at + 40);
    header->tail_seq = load_le64(at + 48);
    header->boot = load_le32(at + 56);
    header->ms = load_le64(at + 64);
    bool sound = header->journal_id == journal_id && header->position == position &&
                 header->length > 0 && header->length <= JOURNAL_BLOCK_BYTES_MAX &&
                 is_aligned(header->length, DISK_BLOCK_BYTES) &&
                 header->durable_seq < header->seq && header->tail_seq <= header->seq;
    return sound ? OK : ERR_CORRUPT;
}

enum err journal_block_check(const uint8_t *at, const struct journal_block_header *header)
{
    uint32_t crc =
        crc32c(0, at + JOURNAL_BLOCK_HEADER_BYTES, header->length - JOURNAL_BLOCK_HEADER_BYTES);
    return crc == load_le32(at + BODY_CRC_AT) ? OK : ERR_CORRUPT;
}

void journal_cursor_init(struct journal_cursor *cursor, const uint8_t *at,
                         const struct journal_block_header *header)
{
    *cursor = (struct journal_cursor){
        .at = at + JOURNAL_BLOCK_HEADER_BYTES,
        .left = header->length - JOURNAL_BLOCK_HEADER_BYTES,
        .entries = header->entries,
    };
}

bool journal_cursor_next(struct journal_cursor *cursor, struct journal_entry *entry)
{
    if (cursor->entries == 0 || cursor->left < JOURNAL_ENTRY_HEADER_BYTES) {
        return false;
    }
    const uint8_t *at = cursor->at;
    uint32_t size = load_le32(at + 4);
    if (size > cursor->left - JOURNAL_ENTRY_HEADER_BYTES) {
        return false;
    }
    *entry = (struct journal_entry){
        .type = load_le16(at),
        .segment_id = load_le64(at + 8),
        .durable_end = load_le64(at + 16),
        .staged_end = load_le64(at + 24),
        .body = {at + JOURNAL_ENTRY_HEADER_BYTES, size},
    };
    uint32_t step = min_u32(journal_entry_size(size), cursor->left);
    cursor->at += step;
    cursor->left -= step;
    cursor->entries--;
    return true;
}
