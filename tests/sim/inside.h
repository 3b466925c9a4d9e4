/* The engine seen from inside, held against the disk: what must be true whenever somebody was told
 * that a record is there (storage.md, section D, 1-11).
 *
 *     1, 6  what is acked is in its file or in a live block of the journal, durable as promised
 *     2     so are the header and the name of its file
 *     3, 5  what its file does not have is in memory, without a hole
 *     4     nothing is written where acked bytes are (the disk watches: disk_protect())
 *     7     blocks of the journal that recovery may need do not overlap
 *     8     the record of a segment with frames in the journal is in it
 *     9     no block says of more than is so that it is durable
 *     10    the file has the blocks for what is to be written back
 *     11    what is pinned fits the journal
 *
 * It looks between turns, when the engine is at rest. */
#pragma once

#include "shard/shard.h"
#include "tests/sim/check.h"

/* Of one core, in a life of which no fault has been heard. */
void inside_look(struct check *check, struct disk *disk, struct shard *shard);
