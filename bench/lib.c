/* floe_lib_bench: one measurement of one log in this process; bench/run_lib makes a table of many.
 *
 *     open, preload -> warm up -> measure ... rest (no clock runs) ... measure -> drain -> count
 *
 * A step is a unit of work that is waited for; its time is from the end of the one before. The
 * clock is looked at once a step. Prints one line of JSON. */
#include "bench/lib.h"
#include "core/prng.h"
#include "core/stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { RECORD_BYTES_MAX = 1 << 20 };

struct bench {
    const struct lib_target *target;
    struct lib_case what;
    double seconds, warm_seconds;
    /* Sums of the times in which the clock ran. */
    uint64_t ns, cpu_ns, write_bytes;
    uint64_t started_ns, started_cpu_ns, started_write_bytes;
    uint64_t records, steps, records_ever;
    struct histogram step_ns;
};

NORETURN void lib_fail(const char *what, const char *why)
{
    fprintf(stderr, "floe_lib_bench: %s: %s\n", what, why);
    exit(1);
}

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* User and system time of all threads; the kernel's own threads are nobody's. */
static uint64_t cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * NS_PER_S +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static uint64_t write_bytes(void)
{
    char line[128];
    uint64_t bytes = 0;
    FILE *file = fopen("/proc/self/io", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "write_bytes: ", 13) == 0) {
            bytes = strtoull(line + 13, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return bytes;
}

static void clock_start(struct bench *bench)
{
    bench->started_write_bytes = write_bytes();
    bench->started_cpu_ns = cpu_ns();
    bench->started_ns = clock_ns();
}

static void clock_stop(struct bench *bench)
{
    bench->ns += clock_ns() - bench->started_ns;
    bench->cpu_ns += cpu_ns() - bench->started_cpu_ns;
    bench->write_bytes += write_bytes() - bench->started_write_bytes;
}

/* Steps until `seconds` of clock time are over. */
static void go(struct bench *bench, double seconds)
{
    uint64_t length_ns = (uint64_t)(seconds * (double)NS_PER_S), since_rest = 0;
    clock_start(bench);
    uint64_t before_ns = bench->started_ns, end_ns = before_ns + length_ns;
    do {
        uint64_t records = bench->target->step(), now_ns = clock_ns();
        histogram_record(&bench->step_ns, now_ns - before_ns);
        bench->records += records;
        bench->steps++;
        since_rest += records * bench->what.record_bytes;
        before_ns = now_ns;
        if (since_rest >= MIB(64) && bench->target->rest != NULL) {
            clock_stop(bench);
            bench->target->rest();
            clock_start(bench);
            end_ns += bench->started_ns - before_ns;
            before_ns = bench->started_ns;
            since_rest = 0;
        }
    } while (before_ns < end_ns);
    clock_stop(bench);
    bench->records_ever += bench->records;
}

static void forget(struct bench *bench)
{
    bench->ns = bench->cpu_ns = bench->write_bytes = 0;
    bench->records = bench->steps = 0;
    memset(&bench->step_ns, 0, sizeof(bench->step_ns));
}

static void report(const struct bench *bench, uint64_t flushes, uint64_t counted)
{
    const struct histogram *steps = &bench->step_ns;
    printf("{\"target\":\"%s\",\"seconds\":%.6f,\"cpu_s\":%.6f,\"records\":%" PRIu64
           ",\"steps\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"write_bytes\":%" PRIu64
           ",\"flushes\":%" PRIu64,
           bench->target->name, (double)bench->ns / 1e9, (double)bench->cpu_ns / 1e9,
           bench->records, bench->steps, bench->records * bench->what.record_bytes,
           bench->write_bytes, flushes);
    printf(",\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f",
           (double)histogram_quantile(steps, 0.5) / 1e3,
           (double)histogram_quantile(steps, 0.99) / 1e3,
           (double)histogram_quantile(steps, 0.999) / 1e3, (double)steps->max / 1e3);
    if (bench->what.quick && counted != UINT64_MAX) {
        printf(",\"appended\":%" PRIu64 ",\"counted\":%" PRIu64, bench->records_ever, counted);
    }
    printf("}\n");
}

static const struct lib_target *const targets[] = {
    &lib_floe,    &lib_raw,         &lib_files,
#ifdef FLOE_HAS_ROCKSDB
    &lib_rocksdb, &lib_rocksdb_wal,
#endif
};

static const struct lib_target *target_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
        if (strcmp(targets[i]->name, name) == 0) {
            return targets[i];
        }
    }
    fprintf(stderr, "floe_lib_bench: there is no target %s\n", name);
    exit(2);
}

static uint32_t word_in(const char *name, const char *value, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i], value) == 0) {
            return (uint32_t)i;
        }
    }
    fprintf(stderr, "floe_lib_bench: %s cannot be %s\n", name, value);
    exit(2);
}

static uint32_t number_in(const char *name, const char *value, uint32_t max)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (*end != '\0' || end == value || number == 0 || number > max) {
        fprintf(stderr, "floe_lib_bench: %s %s: from 1 to %u\n", name, value, max);
        exit(2);
    }
    return (uint32_t)number;
}

static void read_option(struct bench *bench, const char *name, const char *value)
{
    static const char *const kinds[] = {"append", "stream", "tail", "catchup"};
    static const char *const durabilities[] = {"disk", "os", "memory"};
    struct lib_case *what = &bench->what;
    if (strcmp(name, "--target") == 0) {
        bench->target = target_named(value);
    } else if (strcmp(name, "--kind") == 0) {
        what->kind = (enum lib_kind)word_in(name, value, kinds, ARRAY_COUNT(kinds));
    } else if (strcmp(name, "--durability") == 0) {
        what->durability =
            (enum lib_durability)word_in(name, value, durabilities, ARRAY_COUNT(durabilities));
    } else if (strcmp(name, "--dir") == 0) {
        what->dir = value;
    } else if (strcmp(name, "--record-bytes") == 0) {
        what->record_bytes = number_in(name, value, RECORD_BYTES_MAX);
    } else if (strcmp(name, "--batch") == 0) {
        what->batch = number_in(name, value, 1000);
    } else if (strcmp(name, "--partitions") == 0) {
        what->partitions = number_in(name, value, 1000);
    } else if (strcmp(name, "--in-flight") == 0) {
        what->in_flight = number_in(name, value, 64);
    } else if (strcmp(name, "--preload-mib") == 0) {
        what->preload_bytes = MIB(number_in(name, value, 1 << 20));
    } else if (strcmp(name, "--milliseconds") == 0) {
        bench->seconds = number_in(name, value, 1 << 20) / 1e3;
    } else if (strcmp(name, "--warm-milliseconds") == 0) {
        bench->warm_seconds = number_in(name, value, 1 << 20) / 1e3;
    } else if (strcmp(name, "--targets") == 0) {
        for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
            printf("%s\n", targets[i]->name);
        }
        exit(0);
    } else if (strcmp(name, "--quick") == 0) {
        bench->what.quick = strcmp(value, "yes") == 0;
    } else {
        fprintf(stderr, "floe_lib_bench: there is no option %s\n", name);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static struct bench bench = {
        .what = {.record_bytes = 1000, .batch = 1, .partitions = 1, .in_flight = 1},
        .seconds = 1,
        .warm_seconds = 0.5,
    };
    for (int i = 1; i + 1 < argc; i += 2) {
        read_option(&bench, argv[i], argv[i + 1]);
    }
    if (bench.target == NULL || bench.what.dir == NULL || argc % 2 == 0) {
        fprintf(stderr, "floe_lib_bench --target NAME --dir DIR ...: bench/run_lib starts it\n");
        return 2;
    }
    static uint8_t payload[RECORD_BYTES_MAX];
    struct prng prng;
    prng_seed_one(&prng, 1);
    prng_fill(&prng, payload, max_u32(bench.what.record_bytes, LIB_PAYLOAD_BYTES_MIN));
    bench.what.payload = payload;
    bench.target->open(&bench.what);
    go(&bench, bench.warm_seconds);
    bench.records_ever += bench.target->drain();
    forget(&bench);
    uint64_t flushes = bench.target->flushes();
    go(&bench, bench.seconds);
    flushes = bench.target->flushes() - flushes;
    bench.records_ever += bench.target->drain();
    uint64_t counted = bench.what.quick ? bench.target->count() : UINT64_MAX;
    report(&bench, flushes, counted);
    bench.target->close();
    return 0;
}
