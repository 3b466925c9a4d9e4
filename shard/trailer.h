/* The trailer of a sealed segment: the body of an extent of type 4. Little-endian.
 *
 *     u32 sections, then each {type u32, length u32, bytes}
 *     1 index rows   2 producer rows at L   (3 is reserved)
 *     4 the state of deleted records at L (deleted.h); not there if there is nothing to remember */
#pragma once

#include "shard/deleted.h"
#include "shard/producer.h"
#include "shard/segment_index.h"

/* Bytes of the body. `producers` and `deleted` may be NULL: none. */
uint32_t trailer_size(const struct segment_index *index, const struct producer_table *producers,
                      const struct deleted *deleted);

/* Writes the body of trailer_size() bytes. */
void trailer_encode(const struct segment_index *index, const struct producer_table *producers,
                    const struct deleted *deleted, uint8_t *body);

/* Fills what is given: `index` and `deleted` are empty; each may be NULL. Unknown sections are
 * passed over. ERR_CORRUPT, ERR_NO_MEMORY. */
NODISCARD enum err trailer_decode(struct bytes body, struct segment_index *index,
                                  struct producer_table *producers, struct deleted *deleted);
