/* What is known of one segment, as the journal and the MANIFEST keep it. Little-endian, 192 bytes.
 *
 *     0 segment id u64  8 topic id 16  24 partition u32  28 epoch u32  32 base offset u64
 *     40 salt u64  48 state u8 (1 open, 2 sealed)  49 durability u8  50 RF u8  51 Qa u8
 *     52 marks u32  56 file generation u32  60 boot of the checkpoint u32
 *     64 checkpoint: offset u64  72 position u64  80 chain u64  88 fence position u64
 *     96 L u64  104 digest u64  112 log start u64  120 maybe end u64
 *     128 greatest record timestamp i64  136 greatest append time u64  144 data records u64
 *     152 reserved: LSO u64  160 HW at seal u64  168 length u64  176 version u32
 *     180 position of the last index extent below the checkpoint u64, 0: none
 *     188 CRC-32C of 0..187
 *
 * The checkpoint says: the file is sound up to here, so a scan begins here. */
#pragma once

#include "core/err.h"
#include "shard/request.h"

enum { SEGMENT_RECORD_BYTES = 192 };

enum segment_mark {
    SEGMENT_MARK_DAMAGED = 1, /* Acked records between the valid end and `maybe_end` are lost. */
    SEGMENT_MARK_SUSPECT = 2, /* A lost part of a journal may have held its acked records. */
    SEGMENT_MARK_MISSING = 4, /* There was a file. */
    SEGMENT_MARK_FAILED = 32, /* A start met a failed sync or write of the file: it is made anew. */
};

struct segment_record {
    uint64_t segment_id;
    struct topic_id topic;
    uint32_t partition, epoch;
    uint64_t base_offset, salt;
    uint8_t state; /* enum segment_state */
    uint8_t durability, replication_factor, ack_quorum;
    uint32_t marks; /* enum segment_mark */
    uint32_t file_generation, boot;
    uint64_t checkpoint_offset, checkpoint_position, checkpoint_chain;
    uint64_t end_offset, digest, log_start, maybe_end;
    int64_t timestamp_max;
    uint64_t index_position;
};

/* Fills SEGMENT_RECORD_BYTES. */
void segment_record_encode(const struct segment_record *record, uint8_t *at);

/* ERR_CORRUPT. */
NODISCARD enum err segment_record_decode(const uint8_t *at, struct segment_record *record);
