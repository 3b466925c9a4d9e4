/* What a disk does to a file that nobody touches: wrong bytes, a wrong block, a frame that is whole
 * but another one; and what a misdirected write does, at both its ends: frames that were meant for
 * elsewhere, and none where they were meant to be. In the file of a sealed segment anywhere; in
 * that of an open one where a later extent proves that some of it had been durable. The check is
 * told what may be damaged from now on, and how much is proven; a bad seal block or trailer may
 * damage nothing. */
#pragma once

#include "tests/sim/check.h"

/* Wrong bytes in a file of the real map; the name of the file, or NULL: there are none. *lost: so
 * many commands, the last ones, are lost with them, since they are in the last frame of the log. */
const char *rot_map(struct disk *disk, struct prng *prng, uint32_t *lost);

/* A block of a journal, which may be missed by any partition; once in a run. */
const char *rot_journal(struct disk *disk, const struct sim_map *map, struct check *check,
                        struct prng *prng);

struct rot_place {
    uint32_t partition;
    uint64_t segment_id, position;
};

/* Once per partition at most, between two lives. Says what is rotten now, and where; NULL: nothing.
 */
const char *rot_some(struct disk *disk, const struct sim_map *map, struct check *check,
                     struct prng *prng, struct rot_place *where);

/* A life ended: what proved that the rotten extents had been durable may be gone with a cache. */
void rot_again(const struct disk *disk, const struct sim_map *map, struct check *check);
