/* Rows in order; binary search. */
#include "shard/segment_index.h"

#include "core/assert.h"

#include <stdlib.h>
#include <string.h>

void segment_index_init(struct segment_index *index)
{
    *index = (struct segment_index){0};
}

void segment_index_deinit(struct segment_index *index)
{
    free(index->rows);
    segment_index_init(index);
}

static enum err segment_index_push(struct segment_index *index, const struct index_row *row)
{
    if (index->count == index->capacity) {
        uint32_t capacity = max_u32(16, index->capacity * 2);
        struct index_row *rows = realloc(index->rows, capacity * sizeof(*rows));
        if (rows == NULL) {
            return ERR_NO_MEMORY;
        }
        index->rows = rows;
        index->capacity = capacity;
    }
    index->rows[index->count++] = *row;
    return OK;
}

enum err segment_index_add(struct segment_index *index, uint64_t offset, uint64_t position,
                           uint64_t ms, uint64_t seq, int64_t timestamp_max, uint32_t bytes)
{
    struct index_row *last = index->count > 0 ? &index->rows[index->count - 1] : NULL;
    if (last != NULL && index->bytes_since < INDEX_STEP_BYTES) {
        last->timestamp_max =
            last->timestamp_max > timestamp_max ? last->timestamp_max : timestamp_max;
        last->frame_count++;
        index->bytes_since += bytes;
        return OK;
    }
    ASSERT(last == NULL || (last->offset_first < offset && last->position < position));
    struct index_row row = {.offset_first = offset,
                            .position = position,
                            .ms = ms,
                            .seq = seq,
                            .timestamp_max = timestamp_max,
                            .frame_count = 1};
    if (last != NULL && last->timestamp_max > timestamp_max) {
        row.timestamp_max = last->timestamp_max;
    }
    index->bytes_since = bytes;
    return segment_index_push(index, &row);
}

void segment_index_break(struct segment_index *index)
{
    index->bytes_since = INDEX_STEP_BYTES;
}

enum err segment_index_copy(const struct segment_index *index, struct segment_index *copy)
{
    segment_index_init(copy);
    uint32_t capacity = max_u32(16, index->count);
    copy->rows = malloc(capacity * sizeof(*copy->rows));
    if (copy->rows == NULL) {
        return ERR_NO_MEMORY;
    }
    if (index->count > 0) {
        memcpy(copy->rows, index->rows, index->count * sizeof(*copy->rows));
    }
    copy->count = index->count;
    copy->capacity = capacity;
    copy->bytes_since = index->bytes_since;
    return OK;
}

const struct index_row *segment_index_by_offset(const struct segment_index *index, uint64_t offset)
{
    uint32_t low = 0, high = index->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->rows[middle].offset_first <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? &index->rows[low - 1] : NULL;
}

uint32_t segment_index_until(const struct segment_index *index, uint64_t position)
{
    uint32_t low = 0, high = index->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->rows[middle].position <= position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct index_row *segment_index_by_time(const struct segment_index *index, int64_t timestamp)
{
    uint32_t low = 0, high = index->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->rows[middle].timestamp_max < timestamp) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < index->count ? &index->rows[low] : NULL;
}

uint32_t segment_index_encode(const struct segment_index *index, uint8_t *data, uint32_t size)
{
    uint64_t wanted = (uint64_t)index->count * INDEX_ROW_BYTES;
    if (wanted > size) {
        return 0;
    }
    for (uint32_t i = 0; i < index->count; i++) {
        const struct index_row *row = &index->rows[i];
        uint8_t *at = data + (size_t)i * INDEX_ROW_BYTES;
        store_le64(at, row->offset_first);
        store_le64(at + 8, row->position);
        store_le64(at + 16, row->ms);
        store_le64(at + 24, row->seq);
        store_le64(at + 32, (uint64_t)row->timestamp_max);
        store_le32(at + 40, row->frame_count);
        store_le32(at + 44, 0);
    }
    return (uint32_t)wanted;
}

enum err segment_index_decode(struct segment_index *index, struct bytes data)
{
    if (data.size % INDEX_ROW_BYTES != 0) {
        return ERR_CORRUPT;
    }
    for (uint32_t at = 0; at < data.size; at += INDEX_ROW_BYTES) {
        const uint8_t *from = data.data + at;
        struct index_row row = {.offset_first = load_le64(from),
                                .position = load_le64(from + 8),
                                .ms = load_le64(from + 16),
                                .seq = load_le64(from + 24),
                                .timestamp_max = (int64_t)load_le64(from + 32),
                                .frame_count = load_le32(from + 40)};
        const struct index_row *last = index->count > 0 ? &index->rows[index->count - 1] : NULL;
        if (last != NULL &&
            (last->offset_first >= row.offset_first || last->position >= row.position)) {
            return ERR_CORRUPT;
        }
        enum err err = segment_index_push(index, &row);
        if (err != OK) {
            return err;
        }
    }
    return OK;
}
