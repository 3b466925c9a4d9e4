/* The next record of a topic, for all its readers together: what GET is, in each protocol that has
 * it. Takes the topic's cursor, reads the record there, moves the cursor on; done when that is
 * durable.
 *
 *     TAKE -> READ -> a record: take() -> RETURN (the pieces) -> MOVE -> done()
 *              ^ |    none, or take() passed by: LEAVE -> done()
 *              +-+    below the log's start, or nothing but brokers' batches: on behind them */
#pragma once

#include "net/log.h"
#include "net/records.h"
#include "net/walrus/cursor.h"

struct walrus_next {
    struct call *call;
    /* Copies what is answered of next->entry. ERR_NO_MEMORY: again when call->memory_wanted bytes
     * are there; any other error: the cursor stays, done() is told. */
    enum err (*take)(struct walrus_next *next);
    bool stay; /* Set by take(): the record is not taken after all. */

    /* The record's copy is answered if err is OK and `moved`; OK, but not moved: there is none. */
    void (*done)(struct walrus_next *next, enum err err);
    completion_fn *memory_back; /* Fires on call->waiter.done: calls walrus_next_look(). */

    struct cursor_op cursor;
    struct log_read read;
    struct records records;
    struct records_entry entry;
    struct block *room; /* What a compressed batch comes out in. */
    uint64_t position;
    enum err err;
    bool reading;
    bool moved; /* The cursor stands where the record is passed by. */
};

/* All above `cursor` is set. */
void walrus_next_start(struct walrus_next *next, const struct partition_id *id);
void walrus_next_look(struct walrus_next *next);
void walrus_next_cancel(struct walrus_next *next); /* What it waits for ends soon. */
