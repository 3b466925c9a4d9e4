/* Kafka's RecordBatch v2: the broker's checks, and the twelve bytes that it stamps. Big-endian, as
 * on the wire; stored verbatim but for base offset, leader epoch and, with LogAppendTime, the time.
 *
 *     0 baseOffset i64  8 batchLength i32 (bytes behind it)  12 partitionLeaderEpoch i32
 *     16 magic i8 (2)  17 crc u32 (CRC-32C of 21..end)  21 attributes i16  23 lastOffsetDelta i32
 *     27 baseTimestamp i64  35 maxTimestamp i64  43 producerId i64  51 producerEpoch i16
 *     53 baseSequence i32  57 recordCount i32  61 records (compressed as one if a codec is set)
 *
 * Source: Kafka's DefaultRecordBatch (KIP-98). */
#pragma once

#include "core/bytes.h"
#include "core/err.h"
#include "shard/request.h"

enum { BATCH_HEADER_BYTES = 61, BATCH_PREFIX_BYTES = 12, BATCH_CRC_FROM = 21 };

enum batch_attribute {
    BATCH_CODEC_MASK = 7,
    BATCH_APPEND_TIME = 1 << 3,
    BATCH_TRANSACTIONAL = 1 << 4,
    BATCH_CONTROL = 1 << 5,
};

struct deleted;
struct unpack;

struct batch {
    int64_t base_offset;
    uint32_t length; /* Of the whole batch, the prefix included. */
    int32_t leader_epoch;
    uint8_t magic;
    uint32_t crc;
    uint16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp, max_timestamp;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t record_count;
};

struct batch_rules {
    uint32_t bytes_max;
    enum timestamp_type timestamp_type;
    int64_t before_max_ms, after_max_ms;
    uint64_t now_ms;
    bool zstd_allowed;
    bool compacted;         /* Keys are required. */
    bool deep;              /* Open the batch and look at each record. */
    bool require_zero_base; /* baseOffset is 0, as producers send it. */
    bool crc_known;         /* It was computed a moment ago, in this process. */
};

/* The header alone, of the first batch in `data`; `length` is within `data`. ERR_BATCH_INVALID. */
NODISCARD enum err batch_parse(struct bytes data, struct batch *batch);

/* What a broker must check of a produced batch, cheap first, in two parts: what its sequence says
 * is judged between them (kafka.md, part B), by the producer table. A duplicate is one whatever the
 * topic's rules have become.
 *
 * ERR_BATCH_INVALID, ERR_BATCH_TOO_LARGE, ERR_BATCH_CRC, ERR_BATCH_CODEC, ERR_BATCH_TIMESTAMP for
 * times of the wrong type. */
NODISCARD enum err batch_check_header(struct bytes data, const struct batch_rules *rules,
                                      struct batch *batch);

/* Of a batch whose header passed: ERR_BATCH_TIMESTAMP, ERR_BATCH_INVALID, ERR_BATCH_TOO_LARGE when
 * too much comes out of it, ERR_BATCH_KEY: see batch_keyless(); ERR_NO_MEMORY. */
NODISCARD enum err batch_check_content(struct bytes data, const struct batch_rules *rules,
                                       const struct batch *batch);

/* The same for who cannot wait for all of it: then unpack_step() until that is over, or an error,
 * and unpack_end(). `rules` are borrowed until then. */
NODISCARD enum err batch_check_content_begin(struct unpack *unpack, struct bytes data,
                                             const struct batch_rules *rules,
                                             const struct batch *batch);

/* Which records have no key, of a batch that ERR_BATCH_KEY refused: up to `max` of their numbers.
 * Opens the batch, and looks at the first megabyte that comes out. */
enum { BATCH_KEYLESS_BYTES_MAX = 1 << 20 };

uint32_t batch_keyless(struct bytes data, uint32_t *indexes, uint32_t max);

/* Both. */
NODISCARD enum err batch_check(struct bytes data, const struct batch_rules *rules,
                               struct batch *batch);

/* Outside the CRC, hence free of cost. */
void batch_stamp(uint8_t *at, uint64_t base_offset, uint32_t epoch);

/* LogAppendTime: sets the bit and maxTimestamp, and mends the CRC without reading the records. */
void batch_stamp_append_time(uint8_t *at, uint32_t size, uint64_t ms);

/* The first record at or after `timestamp` in a stamped batch, at or behind offset `least`, and not
 * among `deleted`, which may be NULL. ERR_NOT_FOUND; ERR_DAMAGED when the records cannot be read;
 * ERR_NO_MEMORY. */
NODISCARD enum err batch_find_time(struct bytes data, int64_t timestamp, uint64_t least,
                                   const struct deleted *deleted, uint64_t *offset, int64_t *found);

/* The record with the greatest timestamp, the first of equals; false when it cannot be read. */
bool batch_timestamp_max_offset(struct bytes data, int64_t *timestamp, uint64_t *offset);
