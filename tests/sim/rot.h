/* What a disk does to a file that nobody touches: wrong bytes, a wrong block, or a frame that is
 * whole but another one. In the file of a sealed segment anywhere; in that of an open one where a
 * later extent proves that it had been durable. The check is told what may be damaged from now on;
 * a bad seal block or trailer may damage nothing. */
#pragma once

#include "tests/sim/check.h"

/* Once per partition at most, between two lives. Says what is rotten now; NULL: nothing. */
const char *rot_some(struct disk *disk, const struct sim_map *map, struct check *check,
                     struct prng *prng);
