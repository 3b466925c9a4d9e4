/* What the files say without the map, against the map: every life begins with it, whatever ended
 * the one before. */
#include "shard/survey.h"
#include "tests/sim/check_internal.h"

#include <inttypes.h>

static const struct survey_segment *survey_segment(const struct survey_partition *found,
                                                   uint64_t id)
{
    for (uint32_t i = 0; found != NULL && i < found->segment_count; i++) {
        if (found->segments[i].info.id == id) {
            return &found->segments[i];
        }
    }
    return NULL;
}

/* Why a sealed segment is not as the map has it; NULL: it is. */
static const char *survey_wrong(const struct survey_partition *found,
                                const struct segment_info *info)
{
    const struct survey_segment *segment = survey_segment(found, info->id);
    if (segment == NULL) {
        return "is not found";
    }
    if (segment->info.base_offset != info->base_offset || segment->info.epoch != info->epoch ||
        segment->info.salt != info->salt || segment->info.durability != info->durability) {
        return "has another header";
    }
    if (segment->info.state == SEGMENT_OPEN) {
        bool last = segment == &found->segments[found->segment_count - 1];
        return last ? NULL : "is open before another one";
    }
    if (segment->info.end_offset != info->end_offset) {
        return "ends elsewhere";
    }
    if (segment->seal_sound && segment->info.timestamp_max != info->timestamp_max) {
        return "has another time";
    }
    if (segment->seal_sound && segment->info.bytes != info->bytes) {
        return "has another size";
    }
    return segment->digest_known && segment->info.digest != info->digest ? "has another digest"
                                                                         : NULL;
}

static const struct survey_fault *survey_fault_of(const struct survey *survey,
                                                  const struct partition_id *id)
{
    for (uint32_t i = 0; i < survey->fault_count; i++) {
        const struct survey_fault *fault = &survey->faults[i];
        if (fault->partition.partition == id->partition &&
            topic_id_equal(&fault->partition.topic, &id->topic)) {
            return fault;
        }
    }
    return NULL;
}

void check_surveyed(struct check *check, const struct survey *survey)
{
    for (uint32_t n = 0; n < sim_map_partition_count(check->map); n++) {
        const struct sim_map_partition *mapped = sim_map_partition(check->map, n);
        if (mapped->deleted || check_is_touched(check, n)) {
            continue;
        }
        const struct survey_partition *found = survey_find(survey, &mapped->id);
        if (found != NULL && found->faults > 0) {
            const struct survey_fault *fault = survey_fault_of(survey, &mapped->id);
            check_fail(
                check,
                "partition %u: the survey meets %u files that are no good: fault %d, segment "
                "%016" PRIx64,
                n, found->faults, fault == NULL ? -1 : (int)fault->kind,
                fault == NULL ? 0 : fault->segment_id);
        }
        for (uint32_t i = 0; i < mapped->segment_count; i++) {
            const struct segment_info *info = &mapped->segments[i].info;
            bool empty = info->end_offset == info->base_offset;
            bool there = info->state == SEGMENT_SEALED && !empty && !mapped->segments[i].gone;
            const char *wrong = there ? survey_wrong(found, info) : NULL;
            if (wrong != NULL) {
                check_fail(check,
                           "partition %u: in the survey, the sealed segment at %" PRIu64 " %s", n,
                           info->base_offset, wrong);
            }
        }
    }
}
