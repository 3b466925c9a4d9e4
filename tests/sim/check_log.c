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

void check_log(struct check *check, uint32_t number)
{
    const struct sim_map_partition *mapped = sim_map_partition(check->map, number);
    uint32_t from = 0;
    for (uint32_t i = 0; i < mapped->segment_count; i++) {
        if (mapped->segments[i].info.state == SEGMENT_SEALED) {
            log_segment(check, mapped, &mapped->segments[i].info, &from);
        }
    }
}
