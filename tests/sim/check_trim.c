/* Where logs start: what was told, asked for and retained. */
#include "tests/sim/check_internal.h"

#include <inttypes.h>

uint64_t check_start(const struct check *check, uint32_t number)
{
    return number < check->partition_count ? check->partitions[number]->start : 0;
}

bool check_start_is_lost(const struct check *check, uint32_t number)
{
    return check->replay_faulty ||
           (number < check->partition_count && check->partitions[number]->was_rotten);
}

uint64_t check_start_most(const struct check *check, uint32_t number)
{
    if (number >= check->partition_count) {
        return 0;
    }
    const struct check_partition *partition = check->partitions[number];
    if (partition->all_asked > 0 || partition->all_unheard) {
        return UINT64_MAX;
    }
    return max_u64(partition->start, max_u64(partition->start_asked, partition->start_retained));
}

void check_trim_asked(struct check *check, uint32_t number, int64_t offset)
{
    struct check_partition *partition = check_of(check, number);
    if (offset == TRIM_ALL) {
        partition->all_asked++;
    } else {
        partition->start_asked = max_u64(partition->start_asked, (uint64_t)offset);
    }
}

void check_trim_answered(struct check *check, uint32_t number, int64_t offset)
{
    struct check_partition *partition = check_of(check, number);
    if (offset == TRIM_ALL && partition->all_asked > 0) {
        partition->all_asked--;
    }
}

void check_started(struct check *check, uint32_t number, uint64_t log_start, uint64_t known)
{
    struct check_partition *partition = check_of(check, number);
    if (sim_map_partition(check->map, number)->deleted) {
        return;
    }
    if (log_start < known && !check_start_is_lost(check, number)) {
        check_fail(check, "partition %u: the log starts at %" PRIu64 ", it was %" PRIu64, number,
                   log_start, known);
    } else if (log_start > check_start_most(check, number)) {
        check_fail(check,
                   "partition %u: the log starts at %" PRIu64
                   ", nobody asked for more than %" PRIu64,
                   number, log_start, check_start_most(check, number));
    }
    partition->start = max_u64(partition->start, log_start);
}

void check_start_loose(struct check *check, uint32_t number)
{
    struct check_partition *partition = check_of(check, number);
    partition->start_retained = max_u64(partition->start_retained, partition->start);
    uint64_t log_start = sim_map_partition(check->map, number)->log_start;
    partition->start = min_u64(partition->start, min_u64(log_start, partition->floor));
}

void check_undone(struct check *check, uint32_t number)
{
    struct check_partition *partition = check_of(check, number);
    partition->undone = true;
    partition->start_retained = max_u64(partition->start_retained, partition->start);
    partition->start = min_u64(partition->start, sim_map_partition(check->map, number)->log_start);
}

void check_recovered(struct check *check, uint32_t number)
{
    check_of(check, number)->all_unheard = false;
}

/* The greatest time of a record that is known to be in the segment. */
static int64_t segment_newest(const struct check_partition *partition, bool stamped,
                              const struct segment_info *info)
{
    int64_t newest = INT64_MIN;
    for (uint32_t i = check_fact_at(partition, info->base_offset); i < partition->fact_count; i++) {
        const struct fact *fact = &partition->facts[i];
        if (fact->offset >= info->end_offset) {
            break;
        }
        int64_t last =
            stamped ? (int64_t)fact->append_ms : fact->batch->timestamp + fact->batch->records - 1;
        newest = last > newest ? last : newest;
    }
    return newest;
}

/* Of all segments from `index` on; the open one has at most the size of its file. */
static uint64_t bytes_from(const struct check *check, const struct sim_map_partition *mapped,
                           uint32_t index)
{
    uint64_t bytes = 0;
    for (uint32_t i = index; i < mapped->segment_count; i++) {
        const struct segment_info *info = &mapped->segments[i].info;
        int32_t inode = check_file_find(check->disk, mapped, info);
        bytes += info->state == SEGMENT_SEALED ? info->bytes
                 : inode >= 0                  ? disk_size(check->disk, inode)
                                               : 0;
    }
    return bytes;
}

void check_trimmed(struct check *check, uint32_t number, uint64_t log_start, uint64_t ms)
{
    struct check_partition *partition = check_of(check, number);
    const struct sim_map_partition *mapped = sim_map_partition(check->map, number);
    const struct partition_config *config = &mapped->config;
    bool stamped = config->timestamp_type == TIMESTAMP_APPEND;
    if (log_start <= check_start_most(check, number)) {
        return;
    }
    check->counts.retained++;
    for (uint32_t i = 0; i < mapped->segment_count; i++) {
        const struct segment_info *info = &mapped->segments[i].info;
        if (mapped->segments[i].gone || info->base_offset >= log_start) {
            continue;
        }
        bool whole = info->state == SEGMENT_SEALED && info->end_offset <= log_start;
        int64_t newest = segment_newest(partition, stamped, info);
        /* Where the clock jumped nobody can say what it was when the shard looked. */
        bool old = config->retention_ms >= 0 &&
                   (check->jumped || newest + config->retention_ms < (int64_t)ms);
        bool large = config->retention_bytes >= 0 &&
                     bytes_from(check, mapped, i + 1) >= (uint64_t)config->retention_bytes;
        if (!whole || (info->end_offset > info->base_offset && !old && !large)) {
            check_fail(check,
                       "partition %u: retention moves the start to %" PRIu64
                       ", but the segment at %" PRIu64 " is neither old nor too much",
                       number, log_start, info->base_offset);
            return;
        }
    }
    partition->start_retained = max_u64(partition->start_retained, log_start);
}
