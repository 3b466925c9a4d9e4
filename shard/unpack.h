/* The records of a batch, unpacked and read a slice at a time, so that a few bytes that unpack to
 * much hold nobody up: codec.h -> a room of the caller's -> record_feed() of record.h.
 *
 *     begin -> step, step, ... -> over or an error -> end, begin on the next one, ... -> free
 *
 * Who steps chooses how much a step does, and may do other things between two of them. */
#pragma once

#include "shard/batch.h"
#include "shard/codec.h"
#include "shard/record.h"

enum {
    UNPACK_ROOM_BYTES_MIN = 2 * RECORD_PART_BYTES_MAX,
    /* What is not packed is read faster by about so much; and somebody had to send all of it. */
    UNPACK_PLAIN_TIMES = 8,
};

struct unpack {
    bool over; /* All that was asked for was read. */
    /* Its own: */
    struct codec_stream stream; /* Keeps its memory from one batch to the next. */
    struct record_feed feed;
    bool plain; /* Not packed: read where it stands, */
    bool whole; /* and up to the end of the batch. */
    struct bytes left;
    uint8_t carry[RECORD_PART_BYTES_MAX]; /* Of the last room what was not read. */
    uint32_t carried;
};

struct unpack_options {
    uint32_t output_max; /* Of bytes that are packed. */
    bool whole;          /* Nothing may stand behind the last record; else nobody looks. */
    record_each *each;
    void *context;
};

/* Begins on the records of a batch, borrowed until the end. `unpack` was zeroed once, or ended.
 * ERR_BATCH_INVALID: no known codec; ERR_NO_MEMORY. */
NODISCARD enum err unpack_begin(struct unpack *unpack, struct bytes data, const struct batch *batch,
                                const struct unpack_options *options);

/* Unpacks what fits into the room of `size` bytes, at least UNPACK_ROOM_BYTES_MIN, and reads it; of
 * a batch that is not packed UNPACK_PLAIN_TIMES as many, without a room. One block of snappy's that
 * is larger is unpacked in one step all the same; unpack_is_wide() is true before it. The room may
 * be used by others between two steps.
 *
 * Errors: of codec_stream_step() and record_feed(); ERR_BATCH_INVALID also for what stands behind
 * the last record. Whether a batch is sound does not depend on the room; if more than one thing is
 * wrong with it, which one is told may. */
NODISCARD enum err unpack_step(struct unpack *unpack, uint8_t *room, uint32_t size);
bool unpack_is_wide(const struct unpack *unpack);

void unpack_end(struct unpack *unpack); /* Of this batch, wherever it stands. */
void unpack_free(struct unpack *unpack);

/* All that is left, for who has the time; also frees. */
NODISCARD enum err unpack_run(struct unpack *unpack);
