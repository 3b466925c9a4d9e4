/* Names of the counters, and the log-linear histogram.
 *
 *     values 0..15 have a bucket each; above, the highest bit chooses a power of two and the four
 *     bits below it one of its 16 steps, so a bucket is never wider than 1/16 of its values
 */
#include "core/stats.h"

#include "core/assert.h"

#include <pthread.h>

enum { STAT_NAME_BYTES = 32 };

#define X(name, help)                                                                              \
    _Static_assert(sizeof(#name) <= STAT_NAME_BYTES, "the name of a counter is too long");
STATS_TABLE(X)
#undef X

/* The table's names in lower case: written once by whoever asks first, constant from then on. */
static char stat_names[STAT_COUNT][STAT_NAME_BYTES];
static pthread_once_t stat_names_once = PTHREAD_ONCE_INIT;

static void stat_names_fill(void)
{
    static const char *const upper[STAT_COUNT] = {
#define X(name, help) #name,
        STATS_TABLE(X)
#undef X
    };
    for (uint32_t i = 0; i < STAT_COUNT; i++) {
        for (uint32_t j = 0; upper[i][j] != 0; j++) {
            char c = upper[i][j];
            stat_names[i][j] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        }
    }
}

const char *stat_name(enum stat_id stat)
{
    ASSERT(stat < STAT_COUNT);
    int failed = pthread_once(&stat_names_once, stat_names_fill);
    ASSERT(failed == 0);
    return stat_names[stat];
}

const char *stat_help(enum stat_id stat)
{
    static const char *const help_text[STAT_COUNT] = {
#define X(name, help) help,
        STATS_TABLE(X)
#undef X
    };
    ASSERT(stat < STAT_COUNT);
    return help_text[stat];
}

/* Values below 16 have buckets of their own; above, 16 per power of two. */
static uint32_t histogram_bucket(uint64_t value)
{
    if (value < HISTOGRAM_STEPS) {
        return (uint32_t)value;
    }
    uint32_t power = 63 - (uint32_t)__builtin_clzll(value);
    uint32_t step = (uint32_t)(value >> (power - 4)) - HISTOGRAM_STEPS;
    return (power - 3) * HISTOGRAM_STEPS + step;
}

/* The largest value in the bucket; of the last one UINT64_MAX, by wrapping. */
static uint64_t histogram_upper(uint32_t bucket)
{
    if (bucket < HISTOGRAM_STEPS) {
        return bucket;
    }
    uint32_t power = bucket / HISTOGRAM_STEPS + 3;
    uint64_t step = bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS;
    return ((step + 1) << (power - 4)) - 1;
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->sum += value;
    histogram->max = max_u64(histogram->max, value);
    histogram->buckets[histogram_bucket(value)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    ASSERT(into != from);
    into->count += from->count;
    into->sum += from->sum;
    into->max = max_u64(into->max, from->max);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
}

uint64_t histogram_count_until(const struct histogram *histogram, uint64_t value)
{
    uint32_t last = histogram_bucket(value);
    uint64_t count = 0;
    ASSERT(histogram_upper(last) == value);
    for (uint32_t i = 0; i <= last; i++) {
        count += histogram->buckets[i];
    }
    return count;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
    ASSERT(quantile >= 0.0 && quantile <= 1.0);
    if (histogram->count == 0) {
        return 0;
    }
    /* The nearest rank: the smallest value that at least this share of all does not exceed. */
    double wanted = quantile * (double)histogram->count;
    uint64_t rank = (uint64_t)wanted;
    rank = max_u64(1, rank + ((double)rank < wanted));
    rank = min_u64(rank, histogram->count);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank) {
            return min_u64(histogram_upper(i), histogram->max);
        }
    }
    UNREACHABLE();
}
