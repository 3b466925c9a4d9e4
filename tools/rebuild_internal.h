/* What rebuild.c, rebuild_chain.c and rebuild_told.c share. */
#pragma once

#include "tools/rebuild.h"

#define REBUILD_SEGMENT_BIT ((uint64_t)1 << 63) /* Of ids that a map gave; see map_internal.h. */

extern const char rebuild_decision_gap[];
extern const char rebuild_decision_overlap[];

/* Notes what is amiss with a partition; a loss goes before anything else. */
void rebuild_find(struct rebuild_partition *partition, const char *finding, const char *decision,
                  bool loss);

static inline bool rebuild_id_equal(const struct partition_id *a, const struct partition_id *b)
{
    return a->partition == b->partition && topic_id_equal(&a->topic, &b->topic);
}

static inline void rebuild_step(const struct rebuild *rebuild)
{
    if (rebuild->steps != NULL) {
        (*rebuild->steps)++;
    }
}

/* Fills rebuild->told, and makes room for as many that are missing. ERR_NO_MEMORY. */
NODISCARD enum err rebuild_listen(struct rebuild *rebuild);

/* The first of `rows`, which are told or missing, that does not stand before `id`. */
uint32_t rebuild_told_first(const struct rebuild *rebuild, const struct rebuild_told *rows,
                            uint32_t count, const struct partition_id *id);

/* Where a file says that its segment ends. */
uint64_t rebuild_end(const struct log_file *file);

bool rebuild_chain_has(const struct survey_partition *chain, uint64_t segment_id);

/* Fills rebuild->survey, a chain for each partition whose topic is not left out. ERR_NO_MEMORY. */
NODISCARD enum err rebuild_chains(struct rebuild *rebuild);
