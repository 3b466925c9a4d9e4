/* Segment records: to bytes and back. */
#include "shard/segment_record.h"

#include "core/crc32c.h"

#include <string.h>

enum { RECORD_CRC_AT = 188, RECORD_VERSION = 1 };

void segment_record_encode(const struct segment_record *record, uint8_t *at)
{
    memset(at, 0, SEGMENT_RECORD_BYTES);
    store_le64(at, record->segment_id);
    memcpy(at + 8, record->topic.bytes, sizeof(record->topic.bytes));
    store_le32(at + 24, record->partition);
    store_le32(at + 28, record->epoch);
    store_le64(at + 32, record->base_offset);
    store_le64(at + 40, record->salt);
    at[48] = record->state;
    at[49] = record->durability;
    at[50] = record->replication_factor;
    at[51] = record->ack_quorum;
    store_le32(at + 52, record->marks);
    store_le32(at + 56, record->file_generation);
    store_le32(at + 60, record->boot);
    store_le64(at + 64, record->checkpoint_offset);
    store_le64(at + 72, record->checkpoint_position);
    store_le64(at + 80, record->checkpoint_chain);
    store_le64(at + 96, record->end_offset);
    store_le64(at + 104, record->digest);
    store_le64(at + 112, record->log_start);
    store_le64(at + 120, record->maybe_end);
    store_le64(at + 128, (uint64_t)record->timestamp_max);
    store_le32(at + 176, RECORD_VERSION);
    store_le64(at + 180, record->index_position);
    store_le32(at + RECORD_CRC_AT, crc32c(0, at, RECORD_CRC_AT));
}

enum err segment_record_decode(const uint8_t *at, struct segment_record *record)
{
    memset(record, 0, sizeof(*record));
    if (load_le32(at + RECORD_CRC_AT) != crc32c(0, at, RECORD_CRC_AT) ||
        load_le32(at + 176) != RECORD_VERSION || at[48] < SEGMENT_OPEN || at[48] > SEGMENT_SEALED) {
        return ERR_CORRUPT;
    }
    record->segment_id = load_le64(at);
    memcpy(record->topic.bytes, at + 8, sizeof(record->topic.bytes));
    record->partition = load_le32(at + 24);
    record->epoch = load_le32(at + 28);
    record->base_offset = load_le64(at + 32);
    record->salt = load_le64(at + 40);
    record->state = at[48];
    record->durability = at[49];
    record->replication_factor = at[50];
    record->ack_quorum = at[51];
    record->marks = load_le32(at + 52);
    record->file_generation = load_le32(at + 56);
    record->boot = load_le32(at + 60);
    record->checkpoint_offset = load_le64(at + 64);
    record->checkpoint_position = load_le64(at + 72);
    record->checkpoint_chain = load_le64(at + 80);
    record->end_offset = load_le64(at + 96);
    record->digest = load_le64(at + 104);
    record->log_start = load_le64(at + 112);
    record->maybe_end = load_le64(at + 120);
    record->timestamp_max = (int64_t)load_le64(at + 128);
    record->index_position = load_le64(at + 180);
    return OK;
}
