/* The journal of one core, to the byte: blocks, each one physical write, in a file that is written
 * round and round. It has no header of its own: the MANIFEST names its id. Little-endian.
 *
 *     block (96)  0 "FJNL"  4 version u16  6 flags u16  8 journal id u64  16 seq u64, +1 each
 *                 24 own position u64  32 length u32, a multiple of 4096  36 entries u32
 *                 40 durable seq u64: all blocks up to it were durable when this was submitted
 *                 48 tail seq u64: recovery needs no block below it  56 boot u32  60 zero
 *                 64 time ms u64  72 zero 16  88 CRC of bytes 96..length  92 CRC of 0..91
 *     entry (32)  0 type u16  2 flags u16  4 body length u32  8 segment id u64
 *                 16 durable_end u64 of that segment here at submission
 *                 24 staged_end u64: end of its newest frame in this or an earlier block
 *                 then the body, padded to 8
 *     types       1 FRAME: the frame as it will stand in the file
 *                 2 SEGMENT: segment_record.h: who it is, and its checkpoint */
#pragma once

#include "core/bytes.h"
#include "core/err.h"
#include "shard/segment_record.h"

enum {
    JOURNAL_BLOCK_HEADER_BYTES = 96,
    JOURNAL_ENTRY_HEADER_BYTES = 32,
    JOURNAL_BLOCK_BYTES_MAX = 4 << 20,
    JOURNAL_VERSION = 1,
};

enum journal_flag {
    JOURNAL_WAITS = 1, /* Somebody waits for the disk. */
};

enum journal_entry_type {
    JOURNAL_FRAME = 1,
    JOURNAL_SEGMENT = 2,
};

struct journal_block_header {
    uint16_t flags; /* enum journal_flag */
    uint64_t journal_id, seq, position;
    uint32_t length, entries;
    uint64_t durable_seq, tail_seq;
    uint32_t boot;
    uint64_t ms;
};

struct journal_entry {
    uint16_t type; /* enum journal_entry_type */
    uint64_t segment_id, durable_end, staged_end;
    struct bytes body;
};

/* Bytes that an entry with a body of `size` takes. */
uint32_t journal_entry_size(uint32_t size);

/* Writes entry header, body and padding to `at`; returns journal_entry_size(). */
uint32_t journal_entry_encode(const struct journal_entry *entry, uint8_t *at);

/* Fills the header of a block whose entries stand behind it already, zero-padded to its length. */
void journal_block_encode(const struct journal_block_header *header, uint8_t *at);

/* The header alone, if a block of this journal begins here, at its own position: its length may be
 * more than was read. ERR_CORRUPT: none does. */
NODISCARD enum err journal_block_peek(const uint8_t *at, uint64_t journal_id, uint64_t position,
                                      struct journal_block_header *header);

/* Whether what stands behind the header, `header->length` bytes from `at` on, is what was written.
 * ERR_CORRUPT. */
NODISCARD enum err journal_block_check(const uint8_t *at,
                                       const struct journal_block_header *header);

/* The entries of a checked block, one after the other. False: there are no more. */
struct journal_cursor {
    const uint8_t *at;
    uint32_t left, entries;
};

void journal_cursor_init(struct journal_cursor *cursor, const uint8_t *at,
                         const struct journal_block_header *header);
bool journal_cursor_next(struct journal_cursor *cursor, struct journal_entry *entry);
