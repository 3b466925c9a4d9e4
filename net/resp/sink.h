/* The entries that a fetch brought, as bytes of a reply: pure. */
#pragma once

#include "net/resp/read.h"

/* Where entries go. */
struct sink {
    struct resp_writer writer; /* Counts, while data is NULL. */
    uint8_t *block;            /* In reverse: each goes before those before it, from `end` on. */
    uint32_t end;
    bool reverse;
    uint64_t entries, next;
    uint64_t limit; /* So many entries at most; then it is full. */
    bool full;
    uint32_t pick; /* Of the IDs that are wanted: the next. */
    struct stream_id first_id;
    struct resp_id_line line;
};

/* Writes the entries of the item that are in the pieces of its fetch; sink->next is behind them.
 * ERR_DAMAGED, or an err of the codec: they cannot be read. */
NODISCARD enum err sink_pieces(struct sink *sink, const struct read_item *item);
