/* What the log answers, held against what is known of it. */
#include "core/assert.h"
#include "shard/batch.h"
#include "tests/sim/batch_maker.h"
#include "tests/sim/check_internal.h"

#include <inttypes.h>
#include <string.h>

void check_watermark(struct check *check, uint32_t number, uint64_t watermark, uint64_t end)
{
    struct check_partition *partition = check_of(check, number);
    if (partition->rotten_open) {
        /* How far it is sound, or where it starts; what is behind is damaged, not gone. */
        end = min_u64(end, partition->rot_from);
    } else {
        check_resolve(check, number, watermark);
    }
    if (watermark < end && check->replay_faulty) {
        return;
    }
    if (watermark < end) {
        check_fail(check, "partition %u: high watermark %" PRIu64 ", but %" PRIu64 " was there",
                   number, watermark, end);
        return;
    }
    if (check->settled && !partition->rotten_open && watermark != check_end(check, number)) {
        check_fail(check, "partition %u: recovered to %" PRIu64 ", before it was %" PRIu64, number,
                   watermark, check_end(check, number));
        return;
    }
    partition->watermark = max_u64(partition->watermark, watermark);
}

void check_sealed(struct check *check, uint32_t number, uint64_t end_offset, bool late)
{
    check_resolve(check, number, end_offset);
    uint64_t end = check_end(check, number);
    struct check_partition *partition = check_of(check, number);
    if (partition->rotten_open && late) {
        partition->rotten_open = false; /* It rotted after that. */
        partition->rot_end = end_offset;
    }
    if (partition->rotten_open) {
        check_resolve_rot(check, number, end_offset);
        end = check_end(check, number);
    }
    if (partition->rotten_open && end_offset < end) {
        check_fail(check,
                   "partition %u: sealed at %" PRIu64 ", but from %" PRIu64
                   " it is damaged (end %" PRIu64 ")",
                   number, end_offset, partition->rot_from, end);
    } else if (partition->rotten_open && partition->rot_covered) { /* Nobody looked. */
        partition->rotten_open = false;
        partition->rot_end = end_offset;
        check->counts.unread++;
    } else if (partition->rotten_open) { /* The journal had all of it: nothing is lost. */
        partition->rotten = false;
        partition->rotten_open = false;
        check->counts.healed++;
    } else if (end_offset < end) {
        check_fail(check, "partition %u: sealed at %" PRIu64 ", but %" PRIu64 " was there", number,
                   end_offset, end);
    }
}

void check_rotted(struct check *check, uint32_t number, uint64_t from, uint64_t end, bool open)
{
    struct check_partition *partition = check_of(check, number);
    partition->touched = true;
    partition->rotten = end > from;
    partition->rotten_open = open;
    partition->was_rotten = partition->was_rotten || open;
    partition->rot_from = from;
    partition->rot_end = end;
    partition->rot_proof = (struct check_proof){.proven = UINT64_MAX};
    check->counts.rotten++;
}

void check_proven(struct check *check, uint32_t number, const struct check_proof *proof)
{
    check_of(check, number)->rot_proof = *proof;
}

struct check_proof *check_proof(struct check *check, uint32_t number)
{
    struct check_partition *partition = check_of(check, number);
    bool some = partition->rotten_open && partition->rot_proof.proven != UINT64_MAX;
    return some ? &partition->rot_proof : NULL;
}

void check_milestone_rotted(struct check *check, uint32_t number)
{
    check_rotted(check, number, 0, 0, false);
    check->counts.milestones++;
}

void check_covered(struct check *check, uint32_t number)
{
    check_of(check, number)->rot_covered = true;
}

void check_strayed(struct check *check)
{
    check->counts.strays++;
}

bool check_is_touched(const struct check *check, uint32_t number)
{
    return number < check->partition_count && check->partitions[number]->touched;
}

/* The map forgot that it let the segment go, and its file went. */
static bool segment_is_missing(const struct check *check, const struct sim_map_partition *mapped,
                               const struct sim_map_segment *segment)
{
    return check->partitions[mapped->number]->undone && !segment->gone &&
           segment->info.state == SEGMENT_SEALED &&
           check_file_find(check->disk, mapped, &segment->info) < 0;
}

static bool some_is_missing(const struct check *check, uint32_t number)
{
    if (number >= check->partition_count || !check->partitions[number]->undone) {
        return false;
    }
    const struct sim_map_partition *mapped = sim_map_partition(check->map, number);
    uint32_t i = 0;
    while (i < mapped->segment_count && !segment_is_missing(check, mapped, &mapped->segments[i])) {
        i++;
    }
    return i < mapped->segment_count;
}

bool check_is_rotten(const struct check *check, uint32_t number)
{
    return check_is_frail(check, number) || some_is_missing(check, number) ||
           (number < check->partition_count && check->partitions[number]->rotten);
}

bool check_may_be_damaged(const struct check *check, uint32_t number, uint64_t offset,
                          uint64_t *end)
{
    if (!check_is_rotten(check, number)) {
        return false;
    }
    const struct check_partition *partition = check->partitions[number];
    const struct sim_map_partition *mapped = sim_map_partition(check->map, number);
    const struct sim_map_segment *segment = sim_map_segment_of(mapped, offset);
    if (segment != NULL && segment_is_missing(check, mapped, segment)) {
        *end = segment->info.end_offset;
        return true;
    }
    if (check_is_frail(check, number)) {
        bool sealed = segment != NULL && segment->info.state == SEGMENT_SEALED;
        *end = sealed ? segment->info.end_offset : UINT64_MAX;
        return true;
    }
    *end = partition->rot_end;
    return offset >= partition->rot_from && offset < partition->rot_end;
}

/* Is this batch, but for what the broker stamps, the one that was submitted? */
static bool same_bytes(const struct sim_batch *batch, const uint8_t *stored, bool append_time)
{
    const uint8_t *made = batch->data;
    bool same = memcmp(stored + 8, made + 8, 4) == 0 && stored[16] == made[16] &&
                memcmp(stored + 23, made + 23, 12) == 0 &&
                memcmp(stored + 43, made + 43, batch->size - 43) == 0;
    if (!append_time) {
        same = same && memcmp(stored + 17, made + 17, 26) == 0;
    }
    return same;
}

static const struct sim_batch *stored_batch(struct check *check, uint32_t number,
                                            struct bytes bytes, const struct batch *parsed)
{
    const struct sim_map_partition *mapped = sim_map_partition(check->map, number);
    const struct batch_rules rules = {
        .bytes_max = UINT32_MAX, .timestamp_type = TIMESTAMP_APPEND, .deep = true};
    struct batch again;
    uint64_t key;
    bool ours = batch_maker_number(bytes, &key) && key < check->batch_count;
    const struct sim_batch *batch = ours ? check->batches[key] : NULL;
    if (!ours || batch->partition != number || batch->size != parsed->length ||
        !same_bytes(batch, bytes.data, mapped->config.timestamp_type == TIMESTAMP_APPEND) ||
        batch_check(bytes, &rules, &again) != OK) {
        check_fail(check, "partition %u: the batch at %" PRId64 " is not one that was submitted",
                   number, parsed->base_offset);
        return NULL;
    }
    return batch;
}

static void check_stored(struct check *check, uint32_t number, struct bytes bytes,
                         const struct batch *parsed)
{
    const struct sim_batch *batch = stored_batch(check, number, bytes, parsed);
    if (batch == NULL) {
        return;
    }
    check_fact(check, batch, (uint64_t)parsed->base_offset);
    const struct sim_map_partition *mapped = sim_map_partition(check->map, number);
    if (!check->failed && mapped->config.timestamp_type == TIMESTAMP_APPEND) {
        check_append_time(check, number, (uint64_t)parsed->base_offset, parsed->max_timestamp);
    }
    const struct sim_map_segment *segment =
        sim_map_segment_of(mapped, (uint64_t)parsed->base_offset);
    if (!check->failed && (uint32_t)parsed->leader_epoch != segment->info.epoch) {
        check_fail(check, "partition %u: epoch %d at %" PRId64 ", the map says %u", number,
                   parsed->leader_epoch, parsed->base_offset, segment->info.epoch);
    }
}

void check_fetched(struct check *check, uint32_t number, struct bytes data, uint64_t mark,
                   uint64_t *offset)
{
    bool first = true;
    for (uint32_t at = 0; at < data.size && !check->failed;) {
        struct batch parsed;
        struct bytes rest = bytes_of(data.data + at, data.size - at);
        if (batch_parse(rest, &parsed) != OK) {
            check_fail(check, "partition %u: a fetch at %" PRIu64 " is not of whole batches",
                       number, *offset);
            return;
        }
        uint64_t base = (uint64_t)parsed.base_offset;
        uint64_t end = base + (uint32_t)parsed.last_offset_delta + 1;
        bool all = end == base + (uint32_t)parsed.record_count;
        if ((first ? base > *offset : base != *offset) || end <= *offset) {
            check_fail(check, "partition %u: wanted %" PRIu64 ", got %" PRIu64 "..%" PRIu64, number,
                       *offset, base, end);
            return;
        }
        rest.size = parsed.length;
        if (all) {
            check_stored(check, number, rest, &parsed);
        } else {
            check_rewritten(check, number, rest, &parsed, mark);
        }
        for (uint64_t at_offset = base; all && at_offset < end && !check->failed; at_offset++) {
            if (check_is_erased(check, number, at_offset, mark)) {
                check_fail(check, "partition %u: the record at %" PRIu64 " is read, it was deleted",
                           number, at_offset);
            }
        }
        check->counts.read++;
        *offset = end;
        first = false;
        at += parsed.length;
    }
}

/* The first fact of those around `start` that follow each other without a hole. */
static uint32_t facts_whole_from(const struct check_partition *partition, uint64_t start)
{
    uint32_t first = check_fact_at(partition, start);
    while (first > 0 && first < partition->fact_count &&
           partition->facts[first - 1].end == partition->facts[first].offset) {
        first--;
    }
    return first;
}

/* Everything that arrived in an earlier life before something that is there is there, or may have
 * been trimmed before anybody knew of it. */
void check_audited(struct check *check, uint32_t number, uint64_t start, uint64_t end)
{
    struct check_partition *partition = check_of(check, number);
    uint64_t next = start;
    if (check_is_rotten(check, number)) {
        return; /* Not all of it could be read. */
    }
    for (uint32_t i = check_fact_at(partition, start); i < partition->fact_count && next < end;
         i++) {
        if (partition->facts[i].offset > next) {
            break;
        }
        next = partition->facts[i].end;
    }
    if (next < end) {
        check_fail(check, "partition %u: read to %" PRIu64 ", and %" PRIu64 " is unknown", number,
                   end, next);
        return;
    }
    uint32_t first = facts_whole_from(partition, start);
    bool all = first == partition->fact_count ? start == 0 : partition->facts[first].offset == 0;
    uint32_t excused = all                             ? 0
                       : first < partition->fact_count ? partition->facts[first].arrival
                                                       : partition->arrival_count;
    uint32_t life = UINT32_MAX;
    for (uint32_t i = partition->arrival_count; i-- > 0;) {
        const struct arrival *arrival = &partition->arrivals[i];
        if (arrival->life <= partition->audited) {
            break;
        }
        if (arrival->life == check->life) {
            continue;
        }
        bool known = arrival->found || arrival->refused || arrival->faulty ||
                     arrival->batch->wrong != OK || i < excused;
        for (uint32_t o = 0; !known && arrival->batch->idempotent && o < i; o++) {
            known = partition->arrivals[o].batch == arrival->batch && partition->arrivals[o].found;
        }
        if (!known && arrival->life == life) {
            check_fail(check,
                       "partition %u: batch %" PRIu64 " arrived before others and is not there",
                       number, arrival->batch->number);
            return;
        }
        check->counts.lost += !known;
        life = arrival->found ? arrival->life : life;
    }
    partition->audited = check->life - 1;
    check_log(check, number, first);
    check_files(check, number);
}

int64_t check_some_time(const struct check *check, uint32_t number, struct prng *prng)
{
    if (number >= check->partition_count || check->partitions[number]->fact_count == 0) {
        return 0;
    }
    const struct check_partition *partition = check->partitions[number];
    const struct fact *fact = &partition->facts[prng_below(prng, partition->fact_count)];
    return fact->append_ms != 0 ? (int64_t)fact->append_ms
                                : fact->batch->timestamp + fact->batch->records - 1;
}

static bool look_up_contradicts(const struct check *check, const struct check_partition *partition,
                                const struct check_lookup *lookup)
{
    bool greatest = lookup->wanted == OFFSETS_MAX_TIMESTAMP;
    uint64_t most = check_start_most(check, lookup->partition);
    if (lookup->offset >= 0 &&
        ((uint64_t)lookup->offset < lookup->start ||
         check_is_erased(check, lookup->partition, (uint64_t)lookup->offset, lookup->mark))) {
        return true;
    }
    const struct sim_map_partition *mapped = sim_map_partition(check->map, lookup->partition);
    for (uint32_t i = 0; i < partition->fact_count; i++) {
        const struct fact *fact = &partition->facts[i];
        int64_t first = fact->batch->timestamp;
        int64_t last = first + fact->batch->records - 1;
        if (mapped->config.timestamp_type == TIMESTAMP_APPEND) {
            first = last = (int64_t)fact->append_ms; /* All records have the same. */
        }
        if (first == 0) {
            continue; /* Not heard of yet. */
        }
        bool holds = lookup->offset >= (int64_t)fact->offset && lookup->offset < (int64_t)fact->end;
        int64_t step = last > first ? 1 : 0;
        if (holds && first + step * (lookup->offset - (int64_t)fact->offset) != lookup->timestamp) {
            return true;
        }
        if (holds &&
            sim_map_segment_of(mapped, fact->offset)->info.epoch != (uint32_t)lookup->epoch) {
            return true;
        }
        if (fact->end > lookup->end || fact->offset < most ||
            check_may_be_erased(check, lookup->partition, fact->offset, fact->end)) {
            continue; /* Perhaps it was not there yet, or no more. */
        }
        if (greatest) {
            if (last > lookup->timestamp) {
                return true;
            }
        } else if (last >= lookup->wanted) {
            int64_t skip = lookup->wanted > first ? lookup->wanted - first : 0; /* Records. */
            if (lookup->offset < 0 || lookup->offset > (int64_t)fact->offset + skip) {
                return true;
            }
        }
    }
    return lookup->offset >= 0 && !greatest && lookup->timestamp < lookup->wanted;
}

void check_looked_up(struct check *check, const struct check_lookup *lookup)
{
    if (look_up_contradicts(check, check_of(check, lookup->partition), lookup)) {
        check_fail(check,
                   "partition %u: the time %" PRId64 " is at offset %" PRId64 " (time %" PRId64
                   ", epoch %d), the log says otherwise",
                   lookup->partition, lookup->wanted, lookup->offset, lookup->timestamp,
                   lookup->epoch);
    }
}
