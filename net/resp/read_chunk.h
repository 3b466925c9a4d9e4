/* The memory that entries are written into, for read.c: chunks, each larger than the one before it,
 * which are the reply. */
#pragma once

#include "net/resp/read.h"

/* A chunk of this item with room for `size` bytes more; ERR_LIMIT: the reply has as many as it
 * may. */
NODISCARD enum err read_room(struct read *read, uint64_t size, struct read_chunk **chunk);

/* For want of memory: gives all chunks back, so that the item can be read anew. False: it may not
 * be, or more than all of it at once there cannot be. */
NODISCARD bool read_give_up(struct read *read);

/* Behind read_give_up(), when nothing is lent any more: reads anew with twice the memory at once,
 * when there is so much. */
void read_await_anew(struct read *read);
