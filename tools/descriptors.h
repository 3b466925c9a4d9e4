/* What the limit of open files is spent on. One half goes to the files of the log, the other to
 * connections, so that neither takes the last descriptor from the other; what the server itself
 * needs is set aside before. */
#pragma once

#include "tools/cmd.h"

struct descriptors {
    uint64_t limit;           /* Of the process. */
    uint64_t least;           /* Below, a server does not start. */
    uint64_t ample;           /* From here on nothing is held back. */
    uint32_t files_max;       /* Of the log, per core; 0: the limit is too low. */
    uint32_t connections_max; /* Per core: as many as were asked for, or as there is room. */
};

/* Pure: the shares of `cores` data cores under `limit`, of which each would take `connections`. */
void descriptors_share(struct descriptors *descriptors, uint64_t limit, uint32_t cores,
                       uint32_t connections);

/* Raises the limit of this process to what its owner may raise it to, and shares that. CMD_OK,
 * with a warning where something is held back, or CMD_FAILED after it has said why. */
int descriptors_judge(struct descriptors *descriptors, const struct cmd *cmd, uint32_t cores,
                      uint32_t connections);
