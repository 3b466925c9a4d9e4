/* One entry of the raft log: the commands that waited together.
 *
 *     0 version u8 (1)  1 zero u8 x 3  4 count u32  8 commands, each {bytes u32, zero u32}, command
 *
 * Commands are multiples of 8 bytes, and so is the entry: raft's log wants that. */
#pragma once

#include "meta/command.h"

enum { ENTRY_HEADER_BYTES = 8, ENTRY_COMMAND_HEADER_BYTES = 8 };

/* Begins an entry in `writer`, which has room for the header. */
void entry_begin(struct bytes_writer *writer);

/* False and nothing added when `command` does not fit. */
NODISCARD bool entry_add(struct bytes_writer *writer, const struct command *command);

struct entry_reader {
    struct bytes_reader reader;
    uint32_t left; /* Commands not read yet. */
};

/* ERR_CORRUPT, ERR_VERSION. */
NODISCARD enum err entry_open(struct entry_reader *entry, struct bytes data);

/* The next command; its views point into the entry. Only while `left` > 0. */
NODISCARD enum err entry_next(struct entry_reader *entry, struct command *command);
