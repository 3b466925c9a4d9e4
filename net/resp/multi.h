/* Transactions: MULTI puts the commands behind it aside, EXEC runs them.
 *
 *     MULTI -> (command -> QUEUED)... -> EXEC: the watched key as it was? -> one by one -> array
 *
 * They are of one topic. XADDs with `*` that follow each other are one batch, as far as one goes
 * (exec.c): all of them or none, nobody's between them. Commands of other connections may come
 * between the others.
 *
 * What is put aside is copied into blocks of the core's memory, counted and bounded: a peer that
 * never says EXEC holds no more, and all of them no more than a part of the core's. */
#pragma once

#include "net/resp/resp.h"

enum {
    MULTI_COMMANDS_MAX = 16000, /* Their answers at the least are known to have room: see exec.c. */
    MULTI_BYTES_MAX = 4 << 20,
    MULTI_MEMORY_PART = 8, /* All transactions of a core: its memory by this. */
};

#define MULTI_SHARDS                                                                               \
    "ERR %s keys are owned by different shards; use one topic per transaction, or a pipeline "     \
    "without MULTI"

/* A key at the time of WATCH. */
struct multi_watch {
    bool set, known; /* known: it existed. */
    struct partition_id partition;
    struct stream_id last;
    struct stream_facts facts;
    uint64_t log_start, high_watermark;
};

/* The front of a block's data. Behind it commands, each a multi_command and its frame. */
struct multi_chunk {
    struct block *next;
    uint32_t used, size; /* Bytes, this included. */
};

/* Aligned to 8. */
struct multi_command {
    uint32_t size;  /* Of the frame that follows. */
    uint32_t plain; /* An XADD with `*` and no option: so many arguments. Others: 0. */
};

/* What a connection keeps from WATCH or MULTI on: the first chunk's data. */
struct resp_transaction {
    struct multi_chunk chunk;
    struct block *block, *last; /* The first one, which has this, and the newest. */
    bool open;                  /* MULTI was said. */
    bool spoiled;               /* A command was refused: EXEC will be. */
    bool differs;               /* There are several keys. */
    uint32_t commands;
    uint64_t bytes; /* Of blocks. */
    uint32_t key_size;
    uint8_t key[RESP_KEY_BYTES]; /* The one of the commands, or of WATCH. */
    struct multi_watch watch;
};

/* Between MULTI and what ends it. */
bool multi_is_open(const struct resp_client *client);

/* Whether a command is put aside now. */
bool multi_queues(const struct resp_client *client, const struct resp_command *command);

/* For CLIENT LIST: how many are put aside; -1: there was no MULTI. */
int multi_count(const struct resp_client *client);

/* Puts it aside, and answers. */
void multi_queue(struct resp_op *op);

/* A command was refused before it began: if it is within a transaction, that is refused as well. */
void multi_spoil(struct resp_op *op);

/* Gives everything back. */
void multi_free(struct net *net, struct resp_transaction *transaction);
void multi_forget(struct net *net, struct resp_client *client);

/* The next command from *chunk and *at on, which begin with the first block and 0; false: that was
 * the last one. */
bool multi_next(struct block **chunk, uint32_t *at, struct multi_command *command,
                struct bytes *frame);

/* --- exec.c, for the command that runs within an EXEC: its reply is there; it is over. --- */

void exec_answered(struct resp_op *op);
void exec_over(struct resp_op *op);
