/* Commands in a row that append to one stream: pure. They go to the log as one batch.
 *
 *     *5 $4 XADD $1 s $1 * | $1 f $1 v | *5 $4 XADD $1 s $1 * | $1 g $2 vv | ...
 *     ------- head ------- |  fields   | the same bytes again |   fields   |
 *
 * All that decides about such a command but its fields is in its head, so what holds of the first
 * one holds of all: they are one XADD, its options too, whose ID is `*`, or one PUT, with several
 * entries, and as many answers.
 *
 * resp_frame() cuts runs from what has arrived, but not behind a MULTI, where each command is
 * answered at once that it was put aside. EXEC joins those, whatever their heads are (exec.c): its
 * batch is made as a run's, entry by entry, in resp_run_room(). */
#pragma once

#include "net/resp/parse.h"

enum {
    RESP_RUN_COMMANDS_MAX = 512,
    RESP_RUN_BYTES_MAX = 64 << 10,
    RESP_RUN_SPARE_BYTES = 32, /* A record takes no more than its command and so many. */
};

struct resp_run {
    uint32_t head_bytes; /* From the first byte of a command to its fields. */
    uint32_t behind;     /* So many arguments come then: fields, or a value. */
    uint32_t commands;
    struct bytes key;
};

/* Whether the command of `first` bytes at the beginning of `input`, which is whole, can be one of a
 * run, and what comes behind it begins with the same head. All but run->commands is set then. */
bool resp_run_begin(struct bytes input, uint32_t first, struct resp_run *run);

/* How many bytes at the beginning of `input` are the run: whole commands, of which a batch of
 * bytes_max bytes can be made, but always the first. Sets run->commands. */
uint32_t resp_run_measure(struct bytes input, uint32_t first, uint32_t bytes_max,
                          struct resp_run *run);

/* The room that a batch of so many commands needs at most, which have so many bytes as arrays. */
uint64_t resp_run_room(uint64_t bytes, uint32_t commands);

/* Takes the next command of a run apart, from *position on, and goes behind it: its `behind`
 * arguments that stand behind the head. */
void resp_run_next(struct bytes frame, uint32_t head_bytes, uint32_t behind, uint32_t *position,
                   struct bytes *arguments);
