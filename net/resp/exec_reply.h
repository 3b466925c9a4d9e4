/* The replies of a transaction's commands, one behind the other in blocks of memory.
 *
 * A command that was run has an answer, whatever memory there is: for each one EXEC_ANSWER_BYTES
 * are reserved before the first begins, enough for an ID and for the words that its reply had no
 * room. Replies go there while there is enough for all, then into blocks that grow, and when there
 * are no more of those, there again. */
#pragma once

#include "core/memory.h"
#include "net/resp/write.h"

#include <sys/uio.h>

enum {
    EXEC_ANSWER_BYTES = 64,
    EXEC_BLOCKS_MAX = 62,
    EXEC_REPLY_BYTES_MAX = 16 << 20,
};

struct exec_reply {
    struct block *blocks[EXEC_BLOCKS_MAX];
    struct iovec pieces[EXEC_BLOCKS_MAX + 2]; /* In order; the last one grows. */
    uint32_t block_count, piece_count;
    uint64_t bytes; /* Of blocks. */
    uint8_t *at;    /* Behind the last piece. */
    uint64_t room;  /* From there on. */
    uint8_t *spare; /* What is left of the reserve, when it is not there that is written. */
    uint64_t spare_room;
    bool reserve; /* It is. */
    bool short_of_memory;
    uint64_t *shared; /* Counts the bytes of all replies, which may not grow above `shared_max`. */
    uint64_t shared_max;
};

/* Reserves what `count` commands need at the least. 0: it is there; else so many bytes of memory
 * are missing. */
NODISCARD uint32_t exec_reply_open(struct exec_reply *reply, struct memory *memory, uint32_t count);
void exec_reply_close(struct exec_reply *reply);

uint32_t exec_reply_reserve_bytes(uint32_t count); /* What exec_reply_open() takes. */

/* Behind exec_reply_open(). */
void exec_reply_share(struct exec_reply *reply, uint64_t *shared, uint64_t shared_max);

/* An array of so many begins. */
void exec_reply_begin(struct exec_reply *reply, uint32_t count, uint8_t protocol);

/* The next one's; `left` are behind it. */
void exec_reply_add(struct exec_reply *reply, struct memory *memory, const struct iovec *vectors,
                    uint32_t count, uint32_t left);
