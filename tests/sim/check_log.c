/* What must be true of a log that was read from start to end. */
#include "tests/sim/check_internal.h"

#include <inttypes.h>

/* A segment takes what its topic's limits allow, or one batch. `from` moves behind its facts. */
static void log_segment(struct check *check, const struct sim_map_partition *mapped,
                        const struct segment_info *info, uint32_t *from)
{
    const struct check_partition *partition = check_of(check, mapped->number);
    const struct partition_config *config = &mapped->config;
    uint64_t bytes = 0;
    uint32_t batches = 0;
    for (; *from < partition->fact_count; (*from)++) {
        const struct fact *fact = &partition->facts[*from];
        if (fact->offset >= info->end_offset) {
            break;
        }
        bytes += fact->batch->size;
        batches++;
    }
    uint64_t records = info->end_offset - info->base_offset;
    if (batches > 1 && (records > config->segment_records || bytes > config->segment_bytes)) {
        check_fail(check,
                   "partition %u: the segment at %" PRIu64 " has %" PRIu64 " records and %" PRIu64
                   " bytes, the limits are %" PRIu64 " and %" PRIu64,
                   mapped->number, info->base_offset, records, bytes, config->segment_records,
                   config->segment_bytes);
    }
}

/* The batch before this one of the same producer; NULL: there is none. */
static const struct sim_batch *log_before(const struct check_partition *partition, uint32_t at,
                                          uint32_t first)
{
    int64_t id = partition->facts[at].batch->producer_id;
    while (at-- > first) {
        if (partition->facts[at].batch->producer_id == id) {
            return partition->facts[at].batch;
        }
    }
    return NULL;
}

/* Sequences of a producer follow each other, from 0 again with each greater epoch. */
static void log_sequences(struct check *check, uint32_t number, uint32_t first)
{
    const struct check_partition *partition = check_of(check, number);
    for (uint32_t i = first; i < partition->fact_count; i++) {
        const struct sim_batch *batch = partition->facts[i].batch;
        const struct sim_batch *before = batch->idempotent ? log_before(partition, i, first) : NULL;
        if (before == NULL) {
            continue;
        }
        uint32_t next = ((uint32_t)before->sequence + before->records) & INT32_MAX;
        next = batch->producer_epoch == before->producer_epoch ? next : 0;
        if (batch->producer_epoch < before->producer_epoch || (uint32_t)batch->sequence != next) {
            check_fail(check,
                       "partition %u: producer %" PRId64 " epoch %d sequence %d at %" PRIu64
                       " follows epoch %d sequence %d and %u records",
                       number, batch->producer_id, batch->producer_epoch, batch->sequence,
                       partition->facts[i].offset, before->producer_epoch, before->sequence,
                       before->records);
            return;
        }
    }
}

void check_log(struct check *check, uint32_t number, uint32_t first)
{
    const struct sim_map_partition *mapped = sim_map_partition(check->map, number);
    uint32_t from = 0;
    for (uint32_t i = 0; i < mapped->segment_count; i++) {
        if (mapped->segments[i].info.state == SEGMENT_SEALED) {
            log_segment(check, mapped, &mapped->segments[i].info, &from);
        }
    }
    log_sequences(check, number, first);
}
