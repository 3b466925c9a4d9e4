/* How many bytes each partition has on the disk, as the server says (DescribeLogDirs), which
 * librdkafka does not ask. */
#pragma once

#include "tools/cmd.h"

struct log_dirs_row {
    const char *topic; /* Of `name_size` bytes, without an end. */
    uint32_t name_size;
    int32_t partition;
    int64_t bytes;
};

struct log_dirs_answer {
    uint8_t *data;
    struct log_dirs_row *rows;
    size_t count, room, last;
};

/* False: nobody answers so; then no partition has a size. */
NODISCARD bool log_dirs_ask(struct log_dirs_answer *answer, const struct cmd *cmd,
                            const char *brokers);
void log_dirs_free(struct log_dirs_answer *answer);

/* -1: not known. Quick when it is asked in the order of the answer. */
int64_t log_dirs_bytes(struct log_dirs_answer *answer, const char *topic, int32_t partition);
