/* The records of fetched batches, one after the other: pure, no I/O, no allocation of its own.
 *
 *     records_begin() -> records_next() -> OK: an entry ... -> ERR_NOT_FOUND: that was all
 *                             +-> ERR_NO_MEMORY: records_lend() room_wanted bytes, then again
 *
 * A compressed batch comes out in the room that the caller lends (and its codec's own few hundred
 * kilobytes while it works); without one no room is needed. Control batches are passed over. What
 * makes a batch is in shard/record.h: record_batch_size(), record_batch_encode(). */
#pragma once

#include "shard/record.h"
#include "shard/request.h"

struct records_entry {
    uint64_t offset;
    int64_t timestamp; /* Of its batch's append, if the topic says so. */
    struct record record;
};

struct records {
    const struct fetch_piece *pieces;
    uint32_t piece_count;
    struct bytes left; /* Of the piece: whole batches. */
    uint64_t from;
    struct batch batch;
    struct bytes_reader reader; /* Of the batch's records, */
    uint32_t record_count;      /* and how many are left. */
    uint8_t *room;
    uint32_t room_size;
    uint32_t room_wanted; /* Out. */
};

/* The records at `from` and behind it. Pieces and what they show are borrowed to the end. */
void records_begin(struct records *records, const struct fetch_piece *pieces, uint32_t count,
                   uint64_t from);

/* Room for what comes out of a compressed batch; in the place of any before. Another compressed
 * batch overwrites it. */
void records_lend(struct records *records, void *room, uint32_t size);

/* The next record; views into the pieces, or into the room until records_next() is called again.
 *
 * ERR_NOT_FOUND: there is none. ERR_NO_MEMORY: lend room_wanted bytes and call again; more than
 * once for one batch, for nobody knows how much comes out. ERR_LIMIT: the codec itself got no
 * memory. ERR_DAMAGED: it cannot be read; what came before is sound, what is behind is unknown. */
NODISCARD enum err records_next(struct records *records, struct records_entry *entry);
