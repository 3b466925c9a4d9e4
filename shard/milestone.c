/* See the header. */
#include "shard/milestone.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/crc32c.h"

enum { ROW_COUNT_AT = 40, ROW_LAST_AT = 44 };

/* Before the state of deleted records: where a row of a producer has its count it has a zero. */
enum { STATE_HEAD_BYTES = 16 };

static uint32_t milestone_crc(const uint8_t *at, uint32_t padded_size)
{
    return crc32c(0, at + EXTENT_HEADER_BYTES, padded_size - (uint32_t)EXTENT_HEADER_BYTES);
}

uint32_t milestone_size(uint32_t rows)
{
    return (rows + 1) * INDEX_ROW_BYTES;
}

void milestone_encode(const struct milestone *milestone, const struct segment_index *index,
                      uint8_t *body)
{
    uint32_t bytes = index->count * INDEX_ROW_BYTES;
    uint32_t written = segment_index_encode(index, body, bytes);
    ASSERT(written == bytes);
    uint8_t *at = body + bytes;
    store_le64(at, milestone->log_start);
    store_le64(at + 8, milestone->producers_position);
    store_le64(at + 16, milestone->last_ms);
    store_le64(at + 24, milestone->last_seq);
    store_le64(at + 32, (uint64_t)milestone->timestamp_max);
    store_le32(at + ROW_COUNT_AT, 0);
    store_le32(at + ROW_LAST_AT, 1);
}

enum err milestone_decode(struct bytes body, struct milestone *milestone,
                          struct segment_index *index)
{
    uint32_t rows = 0; /* Bytes of them. */
    while (body.size - rows >= INDEX_ROW_BYTES && load_le32(body.data + rows + ROW_COUNT_AT) != 0) {
        rows += INDEX_ROW_BYTES;
    }
    const uint8_t *at = body.data + rows;
    if (body.size - rows < INDEX_ROW_BYTES || load_le32(at + ROW_LAST_AT) != 1) {
        return ERR_CORRUPT;
    }
    *milestone = (struct milestone){
        .log_start = load_le64(at),
        .producers_position = load_le64(at + 8),
        .last_ms = load_le64(at + 16),
        .last_seq = load_le64(at + 24),
        .timestamp_max = (int64_t)load_le64(at + 32),
    };
    return segment_index_decode(index, bytes_of(body.data, rows));
}

struct bytes milestone_producers(struct bytes body)
{
    /* Rows end where the padding begins: no row has a count of zero. */
    uint32_t used = 0;
    while (body.size - used >= PRODUCER_ROW_BYTES && body.data[used + 10] != 0) {
        used += PRODUCER_ROW_BYTES;
    }
    return bytes_of(body.data, used);
}

uint32_t milestone_state_size(uint32_t producers_bytes, const struct deleted *deleted)
{
    bool has = !deleted_is_empty(deleted) && !MUTANT("no-deleted-state");
    return producers_bytes + (has ? STATE_HEAD_BYTES + deleted_size(deleted) : 0);
}

void milestone_deleted_encode(const struct deleted *deleted, uint8_t *at)
{
    if (milestone_state_size(0, deleted) > 0) {
        store_le32(at, deleted_size(deleted));
        deleted_encode(deleted, at + STATE_HEAD_BYTES);
    }
}

enum err milestone_deleted(struct bytes body, struct deleted *deleted)
{
    uint32_t used = milestone_producers(body).size;
    const uint8_t *at = body.data + used;
    uint32_t left = body.size - used;
    uint32_t size = left < STATE_HEAD_BYTES ? 0 : load_le32(at);
    if (size == 0) {
        return OK;
    }
    return size <= left - STATE_HEAD_BYTES
               ? deleted_decode(deleted, bytes_of(at + STATE_HEAD_BYTES, size))
               : ERR_CORRUPT;
}

bool milestone_is_sound(const uint8_t *at, const struct extent_header *extent)
{
    return milestone_crc(at, extent->padded_size) == extent->frames_or_crc;
}

void milestone_seal(struct extent_header *extent, uint8_t *at)
{
    ASSERT(extent->type == EXTENT_INDEX || extent->type == EXTENT_PRODUCERS);
    extent->frames_or_crc = milestone_crc(at, extent->padded_size);
    extent_header_encode(extent, at);
}
