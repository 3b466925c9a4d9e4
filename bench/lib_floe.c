/* floe as a library: bench/lib.h by means of shard/floe.h and nothing else. */
#include "bench/lib.h"
#include "core/assert.h"
#include "shard/floe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_MAX = 1000, PARTITIONS_MAX = 1000, IN_FLIGHT_MAX = 64, AGED_MIB = 256 };

static struct {
    const struct lib_case *what;
    struct floe *log;
    struct floe_partition *partitions[PARTITIONS_MAX];
    struct floe_pending *pending[PARTITIONS_MAX];
    struct floe_record records[BATCH_MAX];
    struct floe_reader *reader;
    uint32_t begun, ended; /* Of LIB_STREAM; the difference is under way. */
} state;

static void check(const char *what, int result)
{
    if (result != FLOE_OK) {
        lib_fail(what, floe_error_text(result));
    }
}

static void submit(uint32_t partition, struct floe_pending **pending)
{
    check("floe_append_submit", floe_append_submit(state.partitions[partition], state.records,
                                                   state.what->batch, pending));
}

static uint64_t stream(void)
{
    while (state.begun - state.ended < state.what->in_flight) {
        submit(0, &state.pending[state.begun++ % IN_FLIGHT_MAX]);
    }
    check("floe_append_wait", floe_append_wait(state.pending[state.ended++ % IN_FLIGHT_MAX], NULL));
    return state.what->batch;
}

static uint64_t append(void)
{
    const struct lib_case *what = state.what;
    if (what->partitions == 1 && what->batch == 1) {
        check("floe_append", floe_append(state.partitions[0], state.records, NULL));
    } else if (what->partitions == 1) {
        check("floe_append_batch",
              floe_append_batch(state.partitions[0], state.records, what->batch, NULL));
    } else {
        for (uint32_t at = 0; at < what->partitions; at++) {
            submit(at, &state.pending[at]);
        }
        for (uint32_t at = 0; at < what->partitions; at++) {
            check("floe_append_wait", floe_append_wait(state.pending[at], NULL));
        }
    }
    return (uint64_t)what->partitions * what->batch;
}

static uint64_t read_some(void)
{
    uint64_t records = 0, sum = 0;
    struct floe_view view;
    int result = FLOE_OK;
    while (records < LIB_READ_RECORDS &&
           (result = floe_reader_next(state.reader, &view)) == FLOE_OK) {
        sum += view.value_size + ((const uint8_t *)view.value)[view.value_size - 1];
        records++;
    }
    if (result == FLOE_END) {
        check("floe_reader_seek", floe_reader_seek(state.reader, FLOE_START));
    } else {
        check("floe_reader_next", result);
    }
    if (sum < records) {
        lib_fail("floe", "a record is empty");
    }
    return records;
}

static uint64_t step(void)
{
    switch (state.what->kind) {
    case LIB_APPEND:
        return append();
    case LIB_STREAM:
        return stream();
    case LIB_TAIL:
    case LIB_CATCHUP:
        return read_some();
    }
    UNREACHABLE();
}

static void open_log(void)
{
    const struct lib_case *what = state.what;
    char why[FLOE_MESSAGE_BYTES];
    struct floe_options options = FLOE_OPTIONS;
    options.memory_bytes = what->kind == LIB_CATCHUP ? MIB(64) : 0; /* 256 MiB. */
    if (floe_open(what->dir, &options, &state.log, why, sizeof(why)) != FLOE_OK) {
        lib_fail("floe_open", why);
    }
    struct floe_partition_options partition = FLOE_PARTITION_OPTIONS;
    partition.durability = what->durability == LIB_DISK ? FLOE_DURABILITY_DISK
                           : what->durability == LIB_OS ? FLOE_DURABILITY_OS
                                                        : FLOE_DURABILITY_MEMORY;
    for (uint32_t at = 0; at < what->partitions; at++) {
        check("floe_partition_open",
              floe_partition_open(state.log, "bench", at, &partition, &state.partitions[at]));
    }
}

/* Readers: what they read is appended first. Those of the disk begin with a fresh handle. */
static void preload(void)
{
    for (uint64_t bytes = 0; bytes < state.what->preload_bytes;
         bytes += (uint64_t)state.what->batch * state.what->record_bytes) {
        append();
    }
    if (state.what->kind == LIB_CATCHUP) {
        check("floe_close", floe_close(state.log));
        open_log();
    }
    check("floe_reader_open", floe_reader_open(state.partitions[0], FLOE_START, &state.reader));
}

/* As RocksDB is given log files beforehand: then the handle has touched its memory, and
 * blocks are written ahead in large steps. */
static void age(void)
{
    const struct lib_case *what = state.what;
    uint32_t batch = (uint32_t)min_u64(BATCH_MAX, div_ceil(KIB(64), what->record_bytes));
    uint64_t rounds = MIB(AGED_MIB) / ((uint64_t)batch * what->record_bytes * what->partitions) + 1;
    uint32_t window = what->partitions == 1 ? 8 : 1;
    for (uint64_t round = 0; round < rounds; round += window) {
        uint32_t count = what->partitions * window;
        for (uint32_t at = 0; at < count; at++) {
            check("floe_append_submit",
                  floe_append_submit(state.partitions[at % what->partitions], state.records, batch,
                                     &state.pending[at]));
        }
        for (uint32_t at = 0; at < count; at++) {
            check("floe_append_wait", floe_append_wait(state.pending[at], NULL));
        }
    }
}

static void open_floe(const struct lib_case *what)
{
    state.what = what;
    if (what->batch > BATCH_MAX || what->partitions > PARTITIONS_MAX ||
        what->in_flight > IN_FLIGHT_MAX) {
        lib_fail("floe", "more than this benchmark can do");
    }
    for (uint32_t i = 0; i < BATCH_MAX; i++) {
        state.records[i] = (struct floe_record){
            .value = what->payload,
            .value_size = what->record_bytes,
            .timestamp_ms = FLOE_NOW,
        };
    }
    open_log();
    if (what->preload_bytes > 0) {
        preload();
    } else if (!what->quick) {
        age();
    }
}

static uint64_t drain(void)
{
    uint64_t records = 0;
    for (; state.ended != state.begun; records += state.what->batch) {
        check("floe_append_wait",
              floe_append_wait(state.pending[state.ended++ % IN_FLIGHT_MAX], NULL));
    }
    return records;
}

static uint64_t flushes(void)
{
    struct floe_stats stats = {.struct_size = sizeof(stats)};
    check("floe_get_stats", floe_get_stats(state.log, &stats));
    return stats.flushes;
}

/* From a fresh handle: what a process would find that comes later. */
static uint64_t count(void)
{
    uint64_t records = 0;
    check("floe_close", floe_close(state.log));
    open_log();
    for (uint32_t at = 0; at < state.what->partitions; at++) {
        struct floe_view view;
        struct floe_reader *reader;
        int result = floe_reader_open(state.partitions[at], FLOE_START, &reader);
        while (result == FLOE_OK && (result = floe_reader_next(reader, &view)) == FLOE_OK) {
            records++;
        }
        if (result != FLOE_END) {
            check("floe_reader_next", result);
        }
        check("floe_reader_close", floe_reader_close(reader));
    }
    return records;
}

static void close_floe(void)
{
    check("floe_close", floe_close(state.log));
}

const struct lib_target lib_floe = {
    .name = "floe",
    .open = open_floe,
    .step = step,
    .drain = drain,
    .flushes = flushes,
    .count = count,
    .close = close_floe,
};
