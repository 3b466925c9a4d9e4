/* Arrivals and facts: see the header. */
#include "core/assert.h"
#include "tests/sim/check_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grow(void *rows, uint32_t *capacity, size_t row_bytes)
{
    *capacity = max_u32(16, *capacity * 2);
    void *grown = realloc(rows, *capacity * row_bytes);
    ASSERT(grown != NULL);
    return grown;
}

struct check *check_create(const struct sim_map *map, const struct disk *disk)
{
    struct check *check = calloc(1, sizeof(*check));
    ASSERT(check != NULL);
    check->map = map;
    check->disk = disk;
    return check;
}

void check_destroy(struct check *check)
{
    for (uint32_t i = 0; i < check->batch_count; i++) {
        free(check->batches[i]->data);
        free(check->batches[i]);
    }
    for (uint32_t i = 0; i < check->partition_count; i++) {
        free(check->partitions[i]->arrivals);
        free(check->partitions[i]->erased);
        free(check->partitions[i]->facts);
        free(check->partitions[i]);
    }
    free(check->batches);
    free(check->partitions);
    free(check);
}

const char *check_failure(const struct check *check)
{
    return check->failed ? check->text : NULL;
}

void check_fail(struct check *check, const char *format, ...)
{
    if (check->failed) {
        return;
    }
    check->failed = true;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(check->text, sizeof(check->text), format, arguments);
    va_end(arguments);
}

const struct check_counts *check_counts(const struct check *check)
{
    return &check->counts;
}

void check_life(struct check *check, uint32_t life)
{
    check->life = life;
    check->faulty = false;
    check->replay_faulty = false;
    for (uint32_t i = 0; i < check->partition_count; i++) {
        struct check_partition *partition = check->partitions[i];
        partition->all_unheard = partition->all_unheard || partition->all_asked > 0;
        partition->all_asked = 0;
    }
}

void check_clock_jumped(struct check *check)
{
    check->jumped = true;
}

void check_settle(struct check *check)
{
    check->settled = true;
}

void check_replay_is_faulty(struct check *check)
{
    check->replay_faulty = true;
}

void check_life_is_faulty(struct check *check)
{
    check->faulty = true;
    check->ever_faulty = true;
    for (uint32_t i = 0; i < check->partition_count; i++) {
        struct check_partition *partition = check->partitions[i];
        for (uint32_t a = partition->arrival_count; a-- > 0;) {
            if (partition->arrivals[a].life != check->life) {
                break;
            }
            partition->arrivals[a].faulty = true;
        }
    }
}

struct check_partition *check_of(struct check *check, uint32_t partition)
{
    while (check->partition_count <= partition) {
        if (check->partition_count == check->partition_capacity) {
            check->partitions = grow(check->partitions, &check->partition_capacity,
                                     sizeof(struct check_partition *));
        }
        struct check_partition *made = calloc(1, sizeof(*made));
        ASSERT(made != NULL);
        check->partitions[check->partition_count++] = made;
    }
    return check->partitions[partition];
}

const struct sim_batch *check_batch(struct check *check, const struct sim_batch *batch)
{
    ASSERT(batch->number == check->batch_count);
    struct sim_batch *made = malloc(sizeof(*made));
    ASSERT(made != NULL);
    *made = *batch;
    if (check->batch_count == check->batch_capacity) {
        check->batches = grow(check->batches, &check->batch_capacity, sizeof(struct sim_batch *));
    }
    check->batches[check->batch_count++] = made;
    return made;
}

uint32_t check_arrived(struct check *check, const struct sim_batch *batch, uint64_t ms)
{
    struct check_partition *partition = check_of(check, batch->partition);
    if (partition->arrival_count == partition->arrival_capacity) {
        partition->arrivals =
            grow(partition->arrivals, &partition->arrival_capacity, sizeof(struct arrival));
    }
    partition->arrivals[partition->arrival_count] =
        (struct arrival){.batch = batch, .life = check->life, .ms = ms, .faulty = check->faulty};
    return partition->arrival_count++;
}

void check_refused(struct check *check, const struct sim_batch *batch, uint32_t arrival)
{
    struct check_partition *partition = check_of(check, batch->partition);
    ASSERT(arrival < partition->arrival_count);
    partition->arrivals[arrival].refused = true;
}

uint64_t check_end(const struct check *check, uint32_t number)
{
    if (number >= check->partition_count) {
        return 0;
    }
    const struct check_partition *partition = check->partitions[number];
    if (partition->loose) {
        return partition->floor;
    }
    uint64_t end = partition->fact_count == 0 ? 0 : partition->facts[partition->fact_count - 1].end;
    return max_u64(end, partition->watermark);
}

uint32_t check_fact_at(const struct check_partition *partition, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = partition->fact_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (partition->facts[middle].end <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The first arrival of the batch in [from, end) that can have become the fact; UINT32_MAX: none. */
static uint32_t fact_arrival(const struct check_partition *partition, const struct fact *fact,
                             uint32_t from, uint32_t end)
{
    for (uint32_t i = from; i < end; i++) {
        const struct arrival *arrival = &partition->arrivals[i];
        if (arrival->batch == fact->batch && arrival->life == fact->life) {
            return i;
        }
    }
    return UINT32_MAX;
}

/* Gives each fact an arrival, in order and of its segment's life. The first that fits is right if
 * any is; facts that were learned out of order may have to give theirs up. False: none fits. */
static bool facts_arrive(struct check_partition *partition)
{
    uint32_t from = 0;
    for (uint32_t i = 0; i < partition->arrival_count; i++) {
        partition->arrivals[i].found = false;
    }
    for (uint32_t i = 0; i < partition->fact_count; i++) {
        struct fact *fact = &partition->facts[i];
        fact->arrival = fact_arrival(partition, fact, from, partition->arrival_count);
        if (fact->arrival == UINT32_MAX) {
            return false;
        }
        partition->arrivals[fact->arrival].found = true;
        from = fact->arrival + 1;
    }
    return true;
}

/* An idempotent batch stands in the log once. */
static bool fact_is_second(struct check *check, const struct check_partition *partition,
                           const struct sim_batch *batch, uint64_t offset)
{
    for (uint32_t i = 0; batch->idempotent && i < partition->arrival_count; i++) {
        const struct arrival *arrival = &partition->arrivals[i];
        if (arrival->batch == batch && arrival->found) {
            check_fail(check,
                       "partition %u: batch %" PRIu64 " of an idempotent producer is there twice, "
                       "the second time at %" PRIu64,
                       batch->partition, batch->number, offset);
            return true;
        }
    }
    return false;
}

/* A batch nobody knew of at its offset: can it be there? */
static bool fact_admit(struct check *check, const struct check_partition *partition,
                       struct fact *fact, uint32_t place)
{
    const struct sim_batch *batch = fact->batch;
    const struct sim_map_segment *segment =
        sim_map_segment_of(sim_map_partition(check->map, batch->partition), fact->offset);
    const struct fact *after = place < partition->fact_count ? &partition->facts[place] : NULL;
    if (batch->wrong != OK) {
        check_fail(check, "partition %u: batch %" PRIu64 " is at %" PRIu64 ", not refused: %s",
                   batch->partition, batch->number, fact->offset, err_name(batch->wrong));
        return false;
    }
    if (segment == NULL) {
        check_fail(check, "partition %u: a batch at %" PRIu64 ", where the map has no segment",
                   batch->partition, fact->offset);
        return false;
    }
    if (after != NULL && after->offset < fact->end) {
        check_fail(check,
                   "partition %u: batch %" PRIu64 " at %" PRIu64 "..%" PRIu64
                   ", where batch %" PRIu64 " stands at %" PRIu64,
                   batch->partition, batch->number, fact->offset, fact->end, after->batch->number,
                   after->offset);
        return false;
    }
    fact->life = segment->life;
    return !fact_is_second(check, partition, batch, fact->offset);
}

static void fact_insert(struct check_partition *partition, const struct fact *fact, uint32_t place)
{
    if (partition->fact_count == partition->fact_capacity) {
        partition->facts = grow(partition->facts, &partition->fact_capacity, sizeof(struct fact));
    }
    memmove(&partition->facts[place + 1], &partition->facts[place],
            (partition->fact_count - place) * sizeof(struct fact));
    partition->fact_count++;
    partition->facts[place] = *fact;
}

void check_fact(struct check *check, const struct sim_batch *batch, uint64_t offset)
{
    struct check_partition *partition = check_of(check, batch->partition);
    struct fact fact = {.offset = offset, .end = offset + batch->records, .batch = batch};
    uint32_t place = check_fact_at(partition, offset);
    uint32_t from = place == 0 ? 0 : partition->facts[place - 1].arrival + 1;
    uint32_t end = partition->arrival_count;
    if (place < partition->fact_count) {
        end = partition->facts[place].arrival;
        if (partition->facts[place].offset == offset && partition->facts[place].batch == batch) {
            return;
        }
    }
    if (!fact_admit(check, partition, &fact, place)) {
        return;
    }
    check->counts.saved += fact.life < check->life;
    fact.arrival = fact_arrival(partition, &fact, from, end);
    fact_insert(partition, &fact, place);
    if (fact.arrival != UINT32_MAX) {
        partition->arrivals[fact.arrival].found = true;
    } else if (!facts_arrive(partition)) {
        check_fail(check,
                   "partition %u: batch %" PRIu64 " at %" PRIu64
                   " did not arrive in life %u, came out of order, or is there too often",
                   batch->partition, batch->number, offset, fact.life);
    }
}

void check_append_time(struct check *check, uint32_t number, uint64_t offset, int64_t ms)
{
    const struct check_partition *partition = check_of(check, number);
    const struct sim_map_partition *mapped = sim_map_partition(check->map, number);
    struct fact *fact = &partition->facts[check_fact_at(partition, offset)];
    if (mapped->config.timestamp_type != TIMESTAMP_APPEND) {
        ms = ms == -1 ? 0 : ms; /* There is none, and none was heard of. */
    }
    if (fact->append_ms == 0 && mapped->config.timestamp_type == TIMESTAMP_APPEND) {
        fact->append_ms = (uint64_t)ms;
    }
    if (fact->append_ms != (uint64_t)ms) {
        check_fail(check,
                   "partition %u: append time %" PRId64 " at %" PRIu64 ", it was %" PRIu64
                   " before",
                   number, ms, offset, fact->append_ms);
    }
}

/* Then the answer can be that to a duplicate, which carries the time of staging. */
void check_acked(struct check *check, const struct check_ack *ack)
{
    const struct sim_batch *batch = ack->batch;
    struct check_partition *partition = check_of(check, batch->partition);
    if (sim_map_partition(check->map, batch->partition)->deleted) {
        return;
    }
    check_fact(check, batch, ack->offset);
    if (check->failed) {
        return;
    }
    struct fact *fact = &partition->facts[check_fact_at(partition, ack->offset)];
    struct arrival *arrival = &partition->arrivals[fact->arrival];
    check->counts.acked += !arrival->acked;
    check->counts.duplicate += arrival->acked || arrival->life < check->life;
    arrival->acked = true;
    fact->acked_ms = fact->acked_ms == 0 ? ack->ms : fact->acked_ms;
    check_append_time(check, batch->partition, ack->offset, ack->append_ms);
}
