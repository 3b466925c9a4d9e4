/* Counters have names fit for metrics; a quantile is within a step of the truth. */
#include "core/stats.h"

#include "core/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void names_are_lower_case_and_unique(void **state)
{
    (void)state;
    assert_string_equal(stat_name(STAT_TURNS_IDLE), "turns_idle");
    assert_string_equal(stat_name(STAT_LOG_DROPPED), "log_dropped");
    assert_string_equal(stat_help(STAT_TURNS), "turns of the loop");
    for (uint32_t i = 0; i < STAT_COUNT; i++) {
        const char *name = stat_name((enum stat_id)i);
        assert_true(strspn(name, "abcdefghijklmnopqrstuvwxyz_") == strlen(name));
        assert_true(strlen(stat_help((enum stat_id)i)) > 0);
        for (uint32_t j = 0; j < i; j++) {
            assert_string_not_equal(name, stat_name((enum stat_id)j));
        }
    }
}

static void an_empty_histogram_has_no_quantile(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    assert_true(histogram_quantile(&histogram, 0.0) == 0);
    assert_true(histogram_quantile(&histogram, 0.5) == 0);
    assert_true(histogram_quantile(&histogram, 1.0) == 0);
}

static void values_up_to_a_bound_are_counted(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    for (uint64_t value = 0; value < 5000; value++) {
        histogram_record(&histogram, value);
    }
    for (uint64_t bound = 1; bound <= 8192; bound *= 2) {
        assert_int_equal(histogram_count_until(&histogram, bound - 1), bound < 5000 ? bound : 5000);
    }
    assert_int_equal(histogram_count_until(&histogram, UINT64_MAX), 5000);
}

static void one_value_is_every_quantile(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 64; bit++) {
        for (uint64_t delta = 0; delta < 3; delta++) {
            uint64_t value = ((uint64_t)1 << bit) + delta - 1;
            struct histogram histogram = {0};
            histogram_record(&histogram, value);
            assert_true(histogram_quantile(&histogram, 0.0) == value);
            assert_true(histogram_quantile(&histogram, 0.5) == value);
            assert_true(histogram_quantile(&histogram, 1.0) == value);
        }
    }
    struct histogram histogram = {0};
    histogram_record(&histogram, UINT64_MAX);
    assert_true(histogram_quantile(&histogram, 1.0) == UINT64_MAX);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    for (uint64_t i = 1; i <= 10; i++) {
        histogram_record(&histogram, i);
    }
    assert_true(histogram.count == 10 && histogram.sum == 55 && histogram.max == 10);
    assert_true(histogram_quantile(&histogram, 0.5) == 5);
    assert_true(histogram_quantile(&histogram, 0.51) == 6);
    assert_true(histogram_quantile(&histogram, 0.9) == 9);
    assert_true(histogram_quantile(&histogram, 1.0) == 10);
    assert_true(histogram_quantile(&histogram, 0.0) == 1);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void quantiles_are_within_a_step_above_the_truth(void **state)
{
    (void)state;

    enum { COUNT = 2000 };

    static uint64_t values[COUNT];
    struct histogram histogram = {0};
    struct prng prng;
    prng_seed_one(&prng, 5);
    for (uint32_t i = 0; i < COUNT; i++) {
        values[i] = prng_next(&prng) >> prng_below(&prng, 64);
        histogram_record(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof(values[0]), compare);
    for (uint32_t rank = 1; rank <= COUNT; rank++) {
        uint64_t truth = values[rank - 1];
        uint64_t found = histogram_quantile(&histogram, (double)rank / (double)COUNT);
        assert_true(found >= truth);
        assert_true(found - truth <= truth / 16);
    }
}

static void merging_is_recording_all_in_one(void **state)
{
    (void)state;
    struct histogram a = {0}, b = {0}, both = {0};
    for (uint64_t i = 0; i < 1000; i++) {
        histogram_record(i % 3 == 0 ? &a : &b, i * i);
        histogram_record(&both, i * i);
    }
    histogram_merge(&a, &b);
    assert_memory_equal(&a, &both, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_lower_case_and_unique),
        cmocka_unit_test(an_empty_histogram_has_no_quantile),
        cmocka_unit_test(values_up_to_a_bound_are_counted),
        cmocka_unit_test(one_value_is_every_quantile),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(quantiles_are_within_a_step_above_the_truth),
        cmocka_unit_test(merging_is_recording_all_in_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
