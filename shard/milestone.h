/* Milestones: what stands in the file of an open segment each 64 MiB, so that a restart need not
 * read what lies before. Two extents, one behind the other and written at once, between two frames:
 *
 *     producers (type 3)  their rows as of here, then {length u32, zero 12} and the state of
 *                         deleted records (deleted.h); not there if there is neither
 *     index (type 2)      all rows so far, then one that ends them and says the rest:
 *                         0 log start u64  8 position of the producers' extent u64, 0: none
 *                         16 and 24 stream id of the newest record before it: ms u64, seq u64
 *                         32 greatest record timestamp so far i64  40 zero u32  44 one u32
 *
 * Both carry the offset and the chain of the next frame. Nothing in them is not also in the frames
 * before them: one that is bad is passed over, and read around. Whether all before it is durable
 * only a checkpoint says, which names the position of the index (segment_record.h). */
#pragma once

#include "shard/deleted.h"
#include "shard/producer.h"
#include "shard/segment.h"
#include "shard/segment_index.h"

#define MILESTONE_BYTES MIB(64)

struct milestone {
    uint64_t log_start;          /* The greatest that the file's header and frames know so far. */
    uint64_t producers_position; /* 0: there are none. */
    uint64_t last_ms, last_seq;
    int64_t timestamp_max;
};

/* Bytes of the body of an index extent with `rows` rows, without padding. */
uint32_t milestone_size(uint32_t rows);

/* Writes the body of milestone_size() bytes. */
void milestone_encode(const struct milestone *milestone, const struct segment_index *index,
                      uint8_t *body);

/* `body`: of an extent whose checksum is right, padded; `index` is empty. ERR_CORRUPT,
 * ERR_NO_MEMORY. */
NODISCARD enum err milestone_decode(struct bytes body, struct milestone *milestone,
                                    struct segment_index *index);

/* Bytes of the body of an extent of type 3, without padding; 0: there is none. */
uint32_t milestone_state_size(uint32_t producers_bytes, const struct deleted *deleted);

/* What follows the rows of producers in the body: it is zero so far. */
void milestone_deleted_encode(const struct deleted *deleted, uint8_t *at);

/* The rows of producers at the beginning of a padded body. */
struct bytes milestone_producers(struct bytes body);

/* The state behind them, into one that is empty. ERR_CORRUPT, ERR_NO_MEMORY. */
NODISCARD enum err milestone_deleted(struct bytes body, struct deleted *deleted);

/* Whether the body of an extent of type 2 or 3, which stands whole at `at`, is what was written. */
bool milestone_is_sound(const uint8_t *at, const struct extent_header *extent);

/* Encodes header and checksum of an extent of type 2 or 3, whose padded body stands behind `at`. */
void milestone_seal(struct extent_header *extent, uint8_t *at);
