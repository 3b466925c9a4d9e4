/* Frames: to bytes and back. */
#include "shard/frame.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/crc32c.h"
#include "shard/deleted.h"

#include <string.h>
#include <xxhash.h>

static const char frame_magic[4] = {'F', 'F', 'R', 'M'};

void frame_header_encode(const struct frame_header *header, uint8_t *at)
{
    ASSERT((header->flags & ~(FRAME_CONTROL | FRAME_TRANSACTIONAL)) == 0);
    memset(at, 0, FRAME_HEADER_BYTES);
    memcpy(at, frame_magic, 4);
    at[4] = FRAME_VERSION;
    at[5] = (uint8_t)header->flags;
    store_le64(at + 8, header->salt);
    store_le64(at + 16, header->segment_id);
    store_le32(at + 24, header->epoch);
    store_le32(at + 28, header->body_bytes);
    store_le64(at + 32, header->offset_first);
    store_le32(at + 40, header->records);
    store_le32(at + 44, header->batches);
    store_le64(at + 48, header->high_watermark);
    store_le64(at + 56, header->log_start);
    store_le64(at + 64, header->chain);
    store_le64(at + 72, header->high_watermark);
    store_le64(at + 80, header->append_ms);
    store_le32(at + 88, header->body_crc);
    store_le32(at + 92, crc32c(0, at, 92));
}

enum err frame_header_decode(const uint8_t *at, struct frame_header *header)
{
    memset(header, 0, sizeof(*header));
    if (memcmp(at, frame_magic, 4) != 0 || at[4] != FRAME_VERSION ||
        load_le32(at + 92) != crc32c(0, at, 92)) {
        return ERR_CORRUPT;
    }
    header->flags = at[5];
    header->salt = load_le64(at + 8);
    header->segment_id = load_le64(at + 16);
    header->epoch = load_le32(at + 24);
    header->body_bytes = load_le32(at + 28);
    header->offset_first = load_le64(at + 32);
    header->records = load_le32(at + 40);
    header->batches = load_le32(at + 44);
    header->high_watermark = load_le64(at + 48);
    header->log_start = load_le64(at + 56);
    header->chain = load_le64(at + 64);
    header->append_ms = load_le64(at + 80);
    header->body_crc = load_le32(at + 88);
    uint64_t table = (uint64_t)header->batches * FRAME_ROW_BYTES;
    return table <= header->body_bytes && header->body_bytes < UINT32_MAX / 2 ? OK : ERR_CORRUPT;
}

enum err frame_header_in(const uint8_t *at, const struct extent_header *extent, uint64_t segment_id,
                         struct frame_header *header)
{
    enum err err = frame_header_decode(at, header);
    if (err != OK) {
        return err;
    }
    bool ours = header->salt == extent->salt && header->segment_id == segment_id &&
                header->offset_first == extent->offset_first &&
                (uint64_t)EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES + header->body_bytes <=
                    extent->padded_size;
    return ours ? OK : ERR_FOREIGN;
}

void frame_cursor_init(struct frame_cursor *cursor, const uint8_t *at,
                       const struct extent_header *extent, uint64_t segment_id)
{
    *cursor = (struct frame_cursor){
        .at = at + EXTENT_HEADER_BYTES,
        .left = extent->padded_size - (uint32_t)EXTENT_HEADER_BYTES,
        .frames = extent->frames_or_crc,
        .salt = extent->salt,
        .segment_id = segment_id,
        .offset = extent->offset_first,
    };
}

enum err frame_cursor_next(struct frame_cursor *cursor, struct frame_header *header,
                           const uint8_t **header_at)
{
    if (cursor->frames == 0) {
        return ERR_NOT_FOUND;
    }
    if (cursor->left < FRAME_HEADER_BYTES) {
        return ERR_CORRUPT;
    }
    enum err err = frame_header_decode(cursor->at, header);
    if (err != OK) {
        return err;
    }
    if (header->salt != cursor->salt || header->segment_id != cursor->segment_id ||
        header->offset_first != cursor->offset ||
        (uint64_t)FRAME_HEADER_BYTES + header->body_bytes > cursor->left) {
        return ERR_FOREIGN;
    }
    *header_at = cursor->at;
    uint32_t size = min_u32(frame_size(header), cursor->left);
    cursor->at += size;
    cursor->left -= size;
    cursor->frames--;
    cursor->offset += header->records;
    if (cursor->checked || MUTANT("no-body-check")) {
        return OK;
    }
    return frame_check_body(header, *header_at + FRAME_HEADER_BYTES);
}

/* Of the frames that begin in this extent, as far as their headers are there. */
static uint64_t extent_log_start(struct bytes data, const struct extent_header *extent,
                                 uint64_t segment_id, uint64_t known)
{
    struct frame_header frame;
    uint64_t at = EXTENT_HEADER_BYTES;
    uint64_t end = min_u64(data.size, extent->padded_size);
    for (uint32_t i = 0; i < extent->frames_or_crc && at + FRAME_HEADER_BYTES <= end; i++) {
        if (frame_header_decode(data.data + at, &frame) != OK || frame.salt != extent->salt ||
            frame.segment_id != segment_id) {
            break;
        }
        known = max_u64(known, frame.log_start);
        at += frame_size(&frame);
    }
    return known;
}

uint64_t frame_log_start(struct bytes data, const struct segment_info *segment, uint64_t position,
                         uint64_t known)
{
    for (uint32_t at = 0; data.size - at >= DISK_BLOCK_BYTES; at += DISK_BLOCK_BYTES) {
        struct extent_header extent;
        struct bytes here = bytes_of(data.data + at, data.size - at);
        if (extent_header_at(here.data, segment->salt, position + at, &extent) == OK &&
            extent.type == EXTENT_FRAMES) {
            known = extent_log_start(here, &extent, segment->id, known);
        }
    }
    return known;
}

void frame_row_encode(const struct frame_row *row, uint8_t *at)
{
    store_le32(at, row->length);
    store_le32(at + 4, row->records);
    store_le64(at + 8, row->ms);
    store_le64(at + 16, row->seq);
}

void frame_row_decode(const uint8_t *at, struct frame_row *row)
{
    row->length = load_le32(at);
    row->records = load_le32(at + 4);
    row->ms = load_le64(at + 8);
    row->seq = load_le64(at + 16);
}

uint64_t frame_chain(const uint8_t *header)
{
    return XXH3_64bits(header, FRAME_HEADER_BYTES);
}

uint32_t frame_size(const struct frame_header *header)
{
    return (uint32_t)align_up((uint64_t)FRAME_HEADER_BYTES + header->body_bytes, 8);
}

uint32_t frame_body_crc(const uint8_t *body, uint32_t size)
{
    return crc32c(0, body, size);
}

enum err frame_check_body(const struct frame_header *header, const uint8_t *body)
{
    if (frame_body_crc(body, header->body_bytes) != header->body_crc) {
        return ERR_CORRUPT;
    }
    if ((header->flags & FRAME_CONTROL) != 0) {
        struct note note;
        bool sound = header->batches == 0 && header->records == 0;
        bool says = header->body_bytes > 0;
        return sound && (!says || note_decode(bytes_of(body, header->body_bytes), &note) == OK)
                   ? OK
                   : ERR_CORRUPT;
    }
    uint64_t bytes = (uint64_t)header->batches * FRAME_ROW_BYTES;
    uint64_t records = 0;
    if (bytes > header->body_bytes) {
        return ERR_CORRUPT;
    }
    for (uint32_t i = 0; i < header->batches; i++) {
        struct frame_row row;
        frame_row_decode(body + (size_t)i * FRAME_ROW_BYTES, &row);
        bytes += row.length;
        records += row.records;
    }
    return bytes == header->body_bytes && records == header->records ? OK : ERR_CORRUPT;
}
