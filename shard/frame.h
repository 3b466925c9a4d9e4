/* A frame: what one group commit writes, identical on every replica. Little-endian; starts at
 * multiples of 8.
 *
 *     header  0 "FFRM"  4 version u8  5 flags u8  6 zero u16
 *             8 salt u64  16 segment id u64  24 epoch u32  28 body length u32
 *             32 first offset u64  40 records u32  44 batches u32  48 HW u64  56 log start u64
 *             64 chain before u64  72 reserved (= HW) u64  80 append time ms u64
 *             88 CRC of the body  92 CRC of 0..91
 *     body    batch table, 24 each {0 length u32, 4 records u32, 8 ms u64, 16 seq u64},
 *             then the Kafka batches back to back
 *
 * A control frame has neither record nor batch, and no offset is used up. It says where the log
 * starts; its body is empty, or a note: which records were deleted, or what the last stream ID is
 * (deleted.h). */
#pragma once

#include "core/bytes.h"
#include "core/err.h"
#include "shard/segment.h"

enum { FRAME_HEADER_BYTES = 96, FRAME_ROW_BYTES = 24, FRAME_VERSION = 1 };

enum frame_flag {
    FRAME_CONTROL = 1,
    FRAME_TRANSACTIONAL = 2,
};

struct frame_header {
    uint16_t flags; /* enum frame_flag */
    uint64_t salt, segment_id;
    uint32_t epoch, body_bytes;
    uint64_t offset_first;
    uint32_t records, batches;
    uint64_t high_watermark, log_start;
    uint64_t chain; /* Before this frame. */
    uint64_t append_ms;
    uint32_t body_crc;
};

struct frame_row {
    uint32_t length, records;
    uint64_t ms, seq;
};

void frame_header_encode(const struct frame_header *header, uint8_t *at);

/* ERR_CORRUPT: no frame of ours begins here. */
NODISCARD enum err frame_header_decode(const uint8_t *at, struct frame_header *header);

/* The same of the first frame that `extent` of the segment holds. ERR_FOREIGN: it was written for
 * another one, or is longer than its extent. */
NODISCARD enum err frame_header_in(const uint8_t *at, const struct extent_header *extent,
                                   uint64_t segment_id, struct frame_header *header);

/* The frames of one extent, one after the other, each at a multiple of 8. */
struct frame_cursor {
    const uint8_t *at; /* Of the next frame. */
    uint32_t left;     /* Bytes of the extent from there on. */
    uint32_t frames;   /* Not taken yet. */
    uint64_t salt, segment_id, offset;
    bool checked; /* The caller knows that the bodies are sound. */
};

/* `at` is where the whole extent stands in memory. */
void frame_cursor_init(struct frame_cursor *cursor, const uint8_t *at,
                       const struct extent_header *extent, uint64_t segment_id);

/* The header of the next frame, whose bytes begin at `*header_at`; its body is checked.
 * ERR_NOT_FOUND: that was the last one. ERR_CORRUPT, ERR_FOREIGN: as frame_header_in(), or it does
 * not follow the one before it. */
NODISCARD enum err frame_cursor_next(struct frame_cursor *cursor, struct frame_header *header,
                                     const uint8_t **header_at);

/* Looks at every block of `data`, as extent_evidence() does: the greatest log start that a frame of
 * the segment claims, at least `known`. */
uint64_t frame_log_start(struct bytes data, const struct segment_info *segment, uint64_t position,
                         uint64_t known);

void frame_row_encode(const struct frame_row *row, uint8_t *at);
void frame_row_decode(const uint8_t *at, struct frame_row *row);

/* The chain after a frame: XXH3-64 of its 96 header bytes (which hold the chain before it and the
 * CRC of the body). The chain at a segment's base is its salt. */
uint64_t frame_chain(const uint8_t *header);

/* Header and body, rounded up to 8. */
uint32_t frame_size(const struct frame_header *header);

uint32_t frame_body_crc(const uint8_t *body, uint32_t size);

/* The body's CRC, and that its table adds up to its length and its records, or that it is a note.
 * ERR_CORRUPT. */
NODISCARD enum err frame_check_body(const struct frame_header *header, const uint8_t *body);
