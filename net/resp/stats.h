/* What RESP's commands did: counted by each core, added up when INFO is asked.
 *
 *     round: a mail goes from core to core and home; each adds what it has, or begins anew
 *
 * No counter is read across threads. */
#pragma once

#include "core/mailbox.h"

enum {
    RESP_COMMANDS_MAX = 96,    /* Of the table of commands. */
    RESP_ERROR_WORDS_MAX = 32, /* The words that errors begin with are ours, and fewer. */
    RESP_ERROR_WORD_BYTES = 24,
};

struct resp_command_stats {
    uint64_t calls, usec; /* usec: until they were answered, waiting included. */
    uint64_t rejected;    /* Before they began; these are no calls. */
    uint64_t failed;
};

struct resp_error_stats {
    char word[RESP_ERROR_WORD_BYTES];
    uint64_t count;
};

/* Of a core, or of all of them. */
struct resp_stats {
    uint64_t commands, errors;
    struct resp_command_stats of[RESP_COMMANDS_MAX]; /* As the table of commands has them. */
    struct resp_error_stats words[RESP_ERROR_WORDS_MAX];
    uint32_t word_count;
};

struct resp_op;

enum resp_round_kind {
    RESP_ROUND_SUM,
    RESP_ROUND_RESET,
    RESP_ROUND_NODE_ENTRIES, /* stream-node-max-entries is set. */
};

/* In a command's state. */
struct resp_round {
    struct mail mail;
    struct resp_op *op;
    void (*done)(struct resp_op *op);
    enum resp_round_kind kind;
    uint32_t next; /* The core it goes to. */
    uint32_t node_entries;
    struct resp_stats stats; /* SUM, out; and those that are not only RESP's: */
    uint64_t clients, blocked, blocking_keys, blocking_nokey;
    uint64_t used_bytes, accepted, received, sent;
};

void resp_round_start(struct resp_op *op, struct resp_round *round, enum resp_round_kind kind,
                      void (*done)(struct resp_op *op));

/* A command begins, is refused before it begins, and is answered. */
void resp_count_begin(struct resp_op *op);
void resp_count_rejected(struct resp_op *op);
void resp_count_end(struct resp_op *op);

/* `count` commands were run at once, within this one, which began with them. */
void resp_count_run(struct resp_op *op, const char *name, uint32_t count, bool failed);

/* An error's text, which begins with its word. */
void resp_count_error(struct resp_stats *stats, const char *text, uint32_t count);
