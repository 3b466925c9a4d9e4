/* Logs that may lose their end: topics whose durability is less than `disk`.
 *
 *     a crash -> loose: ends anywhere from the floor on -> an answer or a seal tells where
 *
 * What is left is a prefix, of whole batches. The floor is the end of the last sealed segment: no
 * segment is sealed before its file is synced.
 *
 * And those of which an extent rotted that nothing on the disk proves any more, or not all of it:
 * several were written at once, or the proof was in a cache. The seal tells where they end, too. */
#include "core/assert.h"
#include "tests/sim/check_internal.h"

#include <inttypes.h>

static uint64_t loss_floor(const struct sim_map_partition *mapped)
{
    if (mapped->segment_count == 0) {
        return 0;
    }
    const struct segment_info *last = &mapped->segments[mapped->segment_count - 1].info;
    return last->state == SEGMENT_SEALED ? last->end_offset : last->base_offset;
}

/* What an ack means in the open segment; what is sealed is durable. */
static enum durability loss_durability(const struct sim_map_partition *mapped)
{
    if (mapped->segment_count == 0) {
        return mapped->config.durability;
    }
    const struct segment_info *last = &mapped->segments[mapped->segment_count - 1].info;
    return last->state == SEGMENT_OPEN ? last->durability : mapped->config.durability;
}

void check_ended(struct check *check, bool crashed, bool power_cut)
{
    if (!crashed && !check->faulty) {
        return;
    }
    for (uint32_t i = 0; i < sim_map_partition_count(check->map); i++) {
        const struct sim_map_partition *mapped = sim_map_partition(check->map, i);
        enum durability durability = loss_durability(mapped);
        if (durability == DURABILITY_MEMORY || (durability == DURABILITY_OS && power_cut)) {
            struct check_partition *partition = check_of(check, i);
            partition->floor = partition->loose ? partition->floor : loss_floor(mapped);
            partition->loose = true;
            partition->lossy = true;
            check_start_loose(check, i);
        }
    }
}

bool check_is_lossy(const struct check *check, uint32_t number)
{
    return number < check->partition_count && check->partitions[number]->lossy;
}

bool check_is_frail(const struct check *check, uint32_t number)
{
    return check->ever_faulty && number < sim_map_partition_count(check->map) &&
           sim_map_partition(check->map, number)->config.durability != DURABILITY_DISK;
}

/* Its log ends at `end`; false: that is within a batch. */
static bool loss_shed(struct check *check, uint32_t number, uint64_t end)
{
    struct check_partition *partition = check_of(check, number);
    while (partition->fact_count > 0 && partition->facts[partition->fact_count - 1].end > end) {
        const struct fact *last = &partition->facts[partition->fact_count - 1];
        if (last->offset < end) {
            check_fail(check, "partition %u: ends at %" PRIu64 ", within a batch", number, end);
            return false;
        }
        partition->arrivals[last->arrival].found = false;
        partition->arrivals[last->arrival].acked = false;
        partition->arrivals[last->arrival].refused = true;
        partition->fact_count--;
        check->counts.shed++;
    }
    partition->watermark = min_u64(partition->watermark, end);
    return true;
}

void check_resolve(struct check *check, uint32_t number, uint64_t end)
{
    struct check_partition *partition = check_of(check, number);
    if (!partition->loose) {
        return;
    }
    partition->loose = false;
    if (end < partition->floor) {
        check_fail(check, "partition %u: ends at %" PRIu64 ", but %" PRIu64 " was durable", number,
                   end, partition->floor);
        return;
    }
    (void)loss_shed(check, number, end);
}

void check_resolve_rot(struct check *check, uint32_t number, uint64_t end_offset)
{
    struct check_partition *partition = check_of(check, number);
    const struct check_proof *proof = &partition->rot_proof;
    if (proof->proven == UINT64_MAX) {
        return; /* Such rot is always seen. */
    }
    uint64_t end = check_end(check, number);
    if (end_offset < proof->proven || end_offset < min_u64(partition->rot_from, end)) {
        check_fail(check,
                   "partition %u: sealed at %" PRIu64 ", but from %" PRIu64
                   " it is damaged, and %" PRIu64 " is proven",
                   number, end_offset, partition->rot_from, proof->proven);
        return;
    }
    if (proof->proven >= proof->wanted || end_offset >= end) {
        return;
    }
    partition->lossy = true;
    if (loss_shed(check, number, end_offset)) {
        partition->floor = end_offset;
        check_start_loose(check, number);
    }
}
