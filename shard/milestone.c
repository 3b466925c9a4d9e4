/* See the header. */
#include "shard/milestone.h"

#include "core/assert.h"
#include "core/crc32c.h"

enum { ROW_COUNT_AT = 40, ROW_LAST_AT = 44 };

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
