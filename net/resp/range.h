/* Commands that reply with entries: their state and their reply, which is bytes of the command's
 * own with chunks of entries between them. */
#pragma once

#include "net/resp/read.h"

/* The front of these commands' state is the read. */
struct range_state {
    struct read read;
    uint64_t count, begun_ns;
    uint64_t found; /* XREAD: streams with entries. */
    bool full;      /* XINFO STREAM FULL */
    uint64_t cut;   /* So many bytes of the command's own have their vector. */
};

_Static_assert(sizeof(struct range_state) + 32 + (READ_CHUNKS_MAX + 2) * sizeof(struct iovec) <=
                   RESP_READ_BYTES,
               "the state, aligned, and vectors");
_Static_assert(sizeof(struct read_item) + 2 * sizeof(struct iovec) <= 2 * RESP_READ_KEY_BYTES,
               "an item for two arguments: a key and an ID");

/* Divides op->state: the state, of `size` bytes with range_state at its front, the items, the
 * vectors. */
struct range_state *range_init(struct resp_op *op, uint64_t size, uint32_t items,
                               void (*done)(struct resp_op *op));

/* What was written since the last cut becomes a vector, the chunks of the item follow: only when
 * writing for good. */
void range_cut(struct resp_op *op, struct resp_writer *writer, uint32_t item);

/* A reply of so many streams begins; one of them, with the entries that were found in it. */
void range_write_streams(const struct resp_op *op, struct resp_writer *writer, uint64_t count);
void range_write_stream(struct resp_op *op, struct resp_writer *writer, uint32_t item);

/* op->encode writes all but the chunks, and cuts where those stand. */
void range_reply(struct resp_op *op);
