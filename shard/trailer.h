/* The trailer of a sealed segment: the body of an extent of type 4. Little-endian.
 *
 *     u32 sections, then each {type u32, length u32, bytes}
 *     1 index rows   2 producer rows at L   (3 and 4 are reserved) */
#pragma once

#include "shard/producer.h"
#include "shard/segment_index.h"

/* Bytes of the body. `producers` may be NULL: none. */
uint32_t trailer_size(const struct segment_index *index, const struct producer_table *producers);

/* Writes the body of trailer_size() bytes. */
void trailer_encode(const struct segment_index *index, const struct producer_table *producers,
                    uint8_t *body);

/* Fills what is given: `index` is empty; either may be NULL. Unknown sections are passed over.
 * ERR_CORRUPT, ERR_NO_MEMORY. */
NODISCARD enum err trailer_decode(struct bytes body, struct segment_index *index,
                                  struct producer_table *producers);
