/* Sections of a trailer. */
#include "shard/trailer.h"

#include "core/assert.h"
#include "core/cover.h"

enum { SECTION_INDEX = 1, SECTION_PRODUCERS = 2, SECTION_DELETED = 4 };

static uint32_t producer_bytes(const struct producer_table *producers)
{
    return producers != NULL ? producer_count(producers) * PRODUCER_ROW_BYTES : 0;
}

static bool has_deleted(const struct deleted *deleted)
{
    return deleted != NULL && !deleted_is_empty(deleted) && !MUTANT("no-deleted-section");
}

uint32_t trailer_size(const struct segment_index *index, const struct producer_table *producers,
                      const struct deleted *deleted)
{
    uint32_t size = 4 + 8 + index->count * INDEX_ROW_BYTES + 8 + producer_bytes(producers);
    return size + (has_deleted(deleted) ? 8 + deleted_size(deleted) : 0);
}

void trailer_encode(const struct segment_index *index, const struct producer_table *producers,
                    const struct deleted *deleted, uint8_t *body)
{
    uint32_t size = trailer_size(index, producers, deleted);
    uint32_t index_bytes = index->count * INDEX_ROW_BYTES;
    store_le32(body, has_deleted(deleted) ? 3 : 2);
    store_le32(body + 4, SECTION_INDEX);
    store_le32(body + 8, index_bytes);
    uint32_t written = segment_index_encode(index, body + 12, index_bytes);
    ASSERT(written == index_bytes);
    uint8_t *at = body + 12 + index_bytes;
    store_le32(at, SECTION_PRODUCERS);
    store_le32(at + 4, producer_bytes(producers));
    if (producers != NULL) {
        written = producer_encode(producers, at + 8, producer_bytes(producers));
        ASSERT(written == producer_bytes(producers));
    }
    at += 8 + producer_bytes(producers);
    if (has_deleted(deleted)) {
        store_le32(at, SECTION_DELETED);
        store_le32(at + 4, deleted_size(deleted));
        deleted_encode(deleted, at + 8);
        at += 8 + deleted_size(deleted);
    }
    ASSERT(at == body + size);
}

enum err trailer_decode(struct bytes body, struct segment_index *index,
                        struct producer_table *producers, struct deleted *deleted)
{
    struct bytes_reader reader = bytes_reader(body);
    uint32_t sections = read_le32(&reader);
    for (uint32_t i = 0; i < sections && !reader.failed; i++) {
        uint32_t type = read_le32(&reader);
        uint32_t length = read_le32(&reader);
        struct bytes bytes = read_bytes(&reader, length);
        enum err err = OK;
        if (reader.failed) {
            return ERR_CORRUPT;
        }
        if (type == SECTION_INDEX && index != NULL) {
            err = segment_index_decode(index, bytes);
        } else if (type == SECTION_PRODUCERS && producers != NULL) {
            err = producer_decode(producers, bytes);
        } else if (type == SECTION_DELETED && deleted != NULL) {
            err = deleted_is_empty(deleted) ? deleted_decode(deleted, bytes) : ERR_CORRUPT;
        }
        if (err != OK) {
            return err;
        }
    }
    return reader.failed ? ERR_CORRUPT : OK;
}
