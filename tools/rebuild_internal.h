/* What rebuild.c and rebuild_chain.c share. */
#pragma once

#include "tools/rebuild.h"

#define REBUILD_SEGMENT_BIT ((uint64_t)1 << 63) /* Of ids that a map gave; see map_internal.h. */

extern const char rebuild_decision_gap[];
extern const char rebuild_decision_overlap[];

/* Notes what is amiss with a partition; a loss goes before anything else. */
void rebuild_find(struct rebuild_partition *partition, const char *finding, const char *decision,
                  bool loss);

bool rebuild_chain_has(const struct survey_partition *chain, uint64_t segment_id);

/* Fills rebuild->survey, a chain for each partition whose topic is not left out. ERR_NO_MEMORY. */
NODISCARD enum err rebuild_chains(struct rebuild *rebuild);
