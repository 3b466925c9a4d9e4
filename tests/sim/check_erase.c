/* Single records that clients delete: what was told is held against what is read. */
#include "core/crc32c.h"
#include "core/prng.h"
#include "shard/batch.h"
#include "shard/record.h"
#include "tests/sim/check_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* By offset: the first at or behind it. */
static uint32_t erased_at(const struct check_partition *partition, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = partition->erased_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (partition->erased[middle].offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct erased *erased_find(const struct check_partition *partition, uint64_t offset)
{
    uint32_t place = erased_at(partition, offset);
    bool found = place < partition->erased_count && partition->erased[place].offset == offset;
    return found ? &partition->erased[place] : NULL;
}

/* What a bad file said of deleted records is in no other place. */
static bool erasing_counts(const struct check *check, uint32_t number)
{
    const struct check_partition *partition = check->partitions[number];
    return !partition->touched && !partition->lossy && !partition->loose && !partition->undone &&
           !check_is_rotten(check, number);
}

uint32_t check_erase_pick(const struct check *check, uint32_t number, struct prng *prng,
                          uint64_t *offsets, uint32_t max)
{
    if (number >= check->partition_count) {
        return 0;
    }
    const struct check_partition *partition = check->partitions[number];
    bool disk = sim_map_partition(check->map, number)->config.durability == DURABILITY_DISK;
    if (!disk || partition->fact_count == 0 || !erasing_counts(check, number)) {
        return 0;
    }
    const struct fact *fact = &partition->facts[prng_below(prng, partition->fact_count)];
    if (fact->acked_ms == 0) { /* Its offset is what somebody was told. */
        return 0;
    }
    bool all = prng_chance(prng, 30);
    uint32_t count = 0;
    for (uint64_t offset = fact->offset; offset < fact->end && count < max; offset++) {
        if (all || prng_chance(prng, 30)) {
            offsets[count++] = offset;
        }
    }
    return count;
}

void check_erase_asked(struct check *check, uint32_t number, uint64_t offset)
{
    struct check_partition *partition = check_of(check, number);
    uint32_t place = erased_at(partition, offset);
    if (erased_find(partition, offset) != NULL) {
        return;
    }
    if (partition->erased_count == partition->erased_capacity) {
        partition->erased_capacity = max_u32(8, 2 * partition->erased_capacity);
        partition->erased =
            realloc(partition->erased, partition->erased_capacity * sizeof(*partition->erased));
        if (partition->erased == NULL) {
            abort();
        }
    }
    memmove(&partition->erased[place + 1], &partition->erased[place],
            (partition->erased_count - place) * sizeof(*partition->erased));
    partition->erased[place] = (struct erased){.offset = offset};
    partition->erased_count++;
}

void check_erase_answered(struct check *check, uint32_t number, uint64_t offset)
{
    struct erased *erased = erased_find(check_of(check, number), offset);
    if (erased != NULL && erased->told == 0) {
        erased->told = ++check->erase_mark;
        check->counts.erased++;
    }
}

uint64_t check_erase_mark(const struct check *check)
{
    return check->erase_mark;
}

bool check_is_erased(const struct check *check, uint32_t number, uint64_t offset, uint64_t mark)
{
    const struct erased *erased = erased_find(check->partitions[number], offset);
    return erased != NULL && erased->told != 0 && erased->told <= mark &&
           offset >= check_start_most(check, number) && erasing_counts(check, number);
}

bool check_may_be_erased(const struct check *check, uint32_t number, uint64_t from, uint64_t end)
{
    const struct check_partition *partition = check->partitions[number];
    uint32_t place = erased_at(partition, from);
    return place < partition->erased_count && partition->erased[place].offset < end;
}

/* One record: of the batch that was submitted, and there may it be. */
static bool erased_record(struct check *check, uint32_t number, const struct check_erased *got,
                          const struct batch *parsed, struct bytes record, uint32_t delta)
{
    struct bytes_reader reader = bytes_reader(
        bytes_of(got->batch->data + BATCH_HEADER_BYTES, got->batch->size - BATCH_HEADER_BYTES));
    uint32_t from = 0;
    struct record made = {0};
    for (uint32_t i = 0; i <= delta; i++) {
        from = reader.position;
        if (!record_read(&reader, &made)) {
            return false;
        }
    }
    uint64_t offset = (uint64_t)parsed->base_offset + delta;
    if (check_is_erased(check, number, offset, got->mark)) {
        check_fail(check, "partition %u: the record at %" PRIu64 " is read, it was deleted", number,
                   offset);
    }
    return record.size == reader.position - from &&
           memcmp(record.data, reader.data + from, record.size) == 0;
}

/* What is missing was to be deleted. */
static bool erased_gap(const struct check_partition *partition, uint64_t from, uint64_t end)
{
    while (from < end && erased_find(partition, from) != NULL) {
        from++;
    }
    return from == end;
}

void check_rewritten(struct check *check, uint32_t number, struct bytes data,
                     const struct batch *parsed, uint64_t mark)
{
    const struct check_partition *partition = check_of(check, number);
    uint64_t base = (uint64_t)parsed->base_offset;
    uint64_t end = base + (uint32_t)parsed->last_offset_delta + 1;
    uint32_t place = check_fact_at(partition, base);
    const struct fact *fact = place < partition->fact_count ? &partition->facts[place] : NULL;
    bool sound =
        fact != NULL && fact->offset == base && fact->end == end &&
        crc32c(0, data.data + BATCH_CRC_FROM, data.size - BATCH_CRC_FROM) == parsed->crc &&
        (sim_map_partition(check->map, number)->config.timestamp_type == TIMESTAMP_APPEND ||
         memcmp(data.data + 23, fact->batch->data + 23, 34) == 0);
    struct bytes_reader reader =
        bytes_reader(bytes_of(data.data + BATCH_HEADER_BYTES, data.size - BATCH_HEADER_BYTES));
    uint64_t next = base;
    for (int32_t i = 0; sound && i < parsed->record_count; i++) {
        struct record record;
        uint32_t from = reader.position;
        sound = record_read(&reader, &record) && record.offset_delta >= 0 &&
                base + (uint32_t)record.offset_delta >= next &&
                record.offset_delta < (int32_t)(end - base);
        if (sound) {
            uint64_t offset = base + (uint32_t)record.offset_delta;
            struct bytes bytes = bytes_of(reader.data + from, reader.position - from);
            const struct check_erased got = {.batch = fact->batch, .mark = mark};
            sound =
                erased_gap(partition, next, offset) &&
                erased_record(check, number, &got, parsed, bytes, (uint32_t)record.offset_delta);
            next = offset + 1;
        }
    }
    if (!sound || bytes_left(&reader) != 0 || !erased_gap(partition, next, end)) {
        check_fail(check,
                   "partition %u: the batch at %" PRIu64
                   " is not what is left of one that was submitted",
                   number, base);
    }
    check->counts.rewritten++;
}
