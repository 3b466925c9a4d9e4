/* Requests of RESP clients, as bytes: pure.
 *
 *     array    *<count> CRLF, then each argument as $<size> CRLF <bytes> CRLF
 *     inline   a line: words with blanks between, or in quotes, as people type them
 *
 * A command may come in any pieces. What was looked through once is not looked at again. */
#pragma once

#include "core/bytes.h"

enum {
    RESP_LINE_BYTES_MAX = 64 << 10,   /* Of an inline command, or of a count. */
    RESP_ARGUMENTS_MAX = 1024 * 1024, /* Of one command. */
    RESP_ERROR_BYTES = 256,
};

/* What can be wrong with a request: after that nobody knows where the next one begins. */
enum resp_fault {
    RESP_SOUND,
    RESP_FAULT_COUNT_LINE,
    RESP_FAULT_COUNT,
    RESP_FAULT_DOLLAR, /* It is not there. */
    RESP_FAULT_SIZE_LINE,
    RESP_FAULT_SIZE,
    RESP_FAULT_INLINE,
    RESP_FAULT_QUOTES,
};

/* How far a command was looked through that has not come whole. Zero: nothing of it. */
struct resp_scan {
    uint32_t position;  /* Everything before it was looked at; may lie behind the input. */
    uint32_t searched;  /* And there is no end of a line from there to here. */
    uint32_t arguments; /* Of an array: still to come. */
    bool array;         /* Its count was read. */
    enum resp_fault fault;
    uint8_t got; /* Where a '$' should be. */
};

/* The sentence that clients know, without "ERR". */
void resp_fault_text(enum resp_fault fault, uint8_t got, char *text); /* Of RESP_ERROR_BYTES. */

/* The size of the first command in `input`, which begins where it began when `scan` was zero. 0:
 * there must be more, at least scan->position bytes. ERR_INVALID: see scan->fault. */
int64_t resp_scan(struct resp_scan *scan, struct bytes input);

/* How many arguments the whole command `frame` has at most. */
uint32_t resp_arguments_max(struct bytes frame);

/* The first one of an array; false: it has none. */
bool resp_first_argument(struct bytes frame, struct bytes *argument);

/* Where the arguments of a whole array begin. */
uint32_t resp_head_bytes(struct bytes frame);

/* Takes `count` of its arguments apart, which begin at `position`; what follows them does. */
uint32_t resp_split_some(struct bytes frame, uint32_t position, struct bytes *arguments,
                         uint32_t count);

/* Takes the whole command apart: how many arguments there are. -1: an inline command with quotes
 * that do not match.
 *
 * arguments  room for resp_arguments_max(); views into `frame`, or into `text`
 * text       room for frame.size bytes: what inline arguments become without their quotes */
int64_t resp_split(struct bytes frame, struct bytes *arguments, uint8_t *text);
