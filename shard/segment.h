/* A segment file, to the byte: header block, seal block, then extents. Little-endian. Positions of
 * frames differ between replicas, frames do not.
 *
 *     0       segment header (4096)      who it is
 *     4096    seal block (4096)          zero until it is sealed
 *     8192    extent, extent, ...        each one write, on fresh blocks: frames, or a milestone
 *
 *     header  0 "FLOESEGM"  8 version u32  12 file generation u32  16 segment id u64
 *             24 topic id 16  40 partition u32  44 epoch u32  48 base offset u64  56 salt u64
 *             64 RF u8  65 Qa u8  66 durability u8  67 flags u8  72 created ms u64
 *             80 cluster id 16  96 disk id 16  112 previous segment u64  120 its digest u64
 *             128 name length u16  130 name (<= 1024)  1160 leader u32  1164 members u32
 *             1168 members 24 each {node u32, zero u32, disk id 16}  2704 log start u64
 *             2712 stream id of the newest record before it: ms u64  2720 seq u64 (0: not known)
 *             4092 CRC-32C of 0..4091
 *     seal    0 "FLOESEAL"  8 version u32  16 segment id u64  24 salt u64  32 L u64  40 digest u64
 *             48 trailer position u64  56 trailer length u64  64 log start u64  72 records u64
 *             80 last ms u64  88 last seq u64  96 greatest record timestamp i64  104 sealed ms u64
 *             4092 CRC
 *     extent  0 "FEXT"  4 version u8  5 type u8  8 salt u64  16 own position u64
 *             24 padded size u32  28 boot u32  32 first offset u64  40 durable_end u64
 *             48 chain before u64  56 frames u32, or for types 2-4 the CRC of the body
 *             60 CRC of 0..59 */
#pragma once

#include "core/bytes.h"
#include "core/err.h"
#include "core/limits.h"
#include "shard/request.h"

enum {
    SEGMENT_HEADER_BYTES = 4096,
    SEGMENT_SEAL_POSITION = 4096,
    SEGMENT_DATA_POSITION = 8192,
    SEGMENT_VERSION = 1,
    EXTENT_HEADER_BYTES = 64,
};

/* A file is made anew so many bytes at a time. */
enum {
#ifdef FLOE_SIM
    SEGMENT_COPY_BYTES = 8 << 10, /* So that a file takes several. */
#else
    SEGMENT_COPY_BYTES = 256 << 10,
#endif
};

/* Behind what is not sound nobody looks further than this for the next extent: a recycled file goes
 * on for long, with bytes of its earlier life, and no extent is half as large. */
#define EXTENT_HUNT_BYTES (2 * (uint64_t)BATCH_BYTES_MAX)

enum extent_type {
    EXTENT_FRAMES = 1,
    EXTENT_INDEX = 2,
    EXTENT_PRODUCERS = 3,
    EXTENT_TRAILER = 4,
};

struct segment_header {
    uint32_t file_generation;
    uint64_t segment_id;
    struct topic_id topic;
    uint32_t partition, epoch;
    uint64_t base_offset, salt;
    uint8_t replication_factor, ack_quorum, durability, flags;
    uint64_t created_ms;
    uint8_t cluster_id[16], disk_id[16]; /* The disk is also the only member's. */
    uint64_t previous_id, previous_digest;
    char name[TOPIC_NAME_BYTES_MAX + 1];
    uint32_t leader_node, member_count;
    uint64_t log_start;
    uint64_t last_ms, last_seq; /* Stream ids do not go back, also when the clock does. */
};

struct segment_seal {
    uint64_t segment_id, salt, end_offset, digest;
    uint64_t trailer_position, trailer_bytes;
    uint64_t log_start, records, last_ms, last_seq;
    int64_t timestamp_max;
    uint64_t sealed_ms;
};

struct extent_header {
    uint8_t type; /* enum extent_type */
    uint64_t salt, position;
    uint32_t padded_size, boot;
    uint64_t offset_first, durable_end, chain;
    uint32_t frames_or_crc;
};

/* Fills a whole block of 4096 bytes. */
void segment_header_encode(const struct segment_header *header, uint8_t *block);

/* ERR_FOREIGN: not a segment. ERR_VERSION. ERR_CORRUPT: its checksum or a length is wrong. */
NODISCARD enum err segment_header_decode(const uint8_t *block, struct segment_header *header);

void segment_seal_encode(const struct segment_seal *seal, uint8_t *block);

/* ERR_NOT_FOUND: all zero, not sealed. ERR_CORRUPT otherwise. */
NODISCARD enum err segment_seal_decode(const uint8_t *block, struct segment_seal *seal);

void extent_header_encode(const struct extent_header *header, uint8_t *at);

/* ERR_CORRUPT: no extent of ours begins here. */
NODISCARD enum err extent_header_decode(const uint8_t *at, struct extent_header *header);

/* The same of an extent that stands at `position` of the segment with `salt`. ERR_FOREIGN: it was
 * written for another place, by another segment or by an earlier life of the file. */
NODISCARD enum err extent_header_at(const uint8_t *at, uint64_t salt, uint64_t position,
                                    struct extent_header *header);

/* Looks at every block of `data`, which stands at `position`, for extents of the segment with
 * `salt`: the greatest durable_end that one of them claims, at least `known`. */
uint64_t extent_evidence(struct bytes data, uint64_t salt, uint64_t position, uint64_t known);

/* The same blocks: where the last extent of the segment begins, `known` if there is none. */
uint64_t extent_last(struct bytes data, uint64_t salt, uint64_t position, uint64_t known);

/* Is it likely that an extent header of this segment stood here, though it cannot be decoded? What
 * is neither is of an earlier life of the file, or was never written. */
bool extent_header_was_here(const uint8_t *at, uint64_t salt, uint64_t position);

/* Files of segments are named by their id: 16 hex digits, then `suffix`. */
bool segment_is_name(const char *name, const char *suffix);

_Static_assert(1168 + 64 * 24 <= 2704, "64 members fit before the log start");
_Static_assert(TOPIC_NAME_BYTES_MAX <= 1024, "a name fits into the header");
