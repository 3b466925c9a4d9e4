/* What floe top makes of /metrics: samples, rates between them, short numbers. */
#include "tools/cmd_top.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char first[] = "# HELP floe_build_info which floe this is\n"
                            "floe_build_info{version=\"1.2.3\",node=\"1\"} 1\n"
                            "floe_uptime_seconds 12.500\n"
                            "floe_topics 3\n"
                            "floe_turns_total{core=\"0\"} 100\n"
                            "floe_turns_total{core=\"meta\"} 7\n"
                            "floe_turns_idle_total{core=\"0\"} 99\n"
                            "floe_memory_used_bytes{core=\"0\",pool=\"append\"} 10\n"
                            "floe_memory_used_bytes{core=\"0\",pool=\"send\"} 32\n"
                            "floe_commit_seconds_sum{core=\"0\"} 1.0\n"
                            "floe_commit_seconds_count{core=\"0\"} 10\n"
                            "floe_group_lag_records{group=\"a b\",topic=\"t\",partition=\"0\"} 5\n";

static const char second[] = "floe_build_info{version=\"1.2.3\",node=\"1\"} 1\n"
                             "floe_turns_total{core=\"0\"} 300\n"
                             "floe_turns_total{core=\"1\"} 50\n"
                             "floe_turns_total{core=\"meta\"} 3\n"
                             "floe_memory_used_bytes{core=\"0\",pool=\"append\"} 1\n"
                             "floe_commit_seconds_sum{core=\"0\"} 1.5\n"
                             "floe_commit_seconds_count{core=\"0\"} 110";

static struct top_sample *parsed(const char *text, int64_t at_ms)
{
    struct top_sample *sample = calloc(1, sizeof(*sample));
    assert_non_null(sample);
    assert_true(top_parse(text, sample));
    sample->at_ms = at_ms;
    return sample;
}

static bool near(double value, double wanted)
{
    return value > wanted - 0.001 && value < wanted + 0.001;
}

static void a_sample_has_every_core(void **state)
{
    (void)state;
    struct top_sample *sample = parsed(first, 0);
    assert_int_equal(sample->core_count, 2);
    assert_string_equal(sample->cores[0].label, "0");
    assert_string_equal(sample->cores[1].label, "meta");
    assert_string_equal(sample->version, "1.2.3");
    assert_true(near(sample->uptime_s, 12.5) && near(sample->topics, 3));
    assert_true(near(sample->cores[0].values[TOP_TURNS], 100));
    assert_true(near(sample->cores[0].values[TOP_MEMORY], 42));
    free(sample);
}

static void rates_are_per_second(void **state)
{
    (void)state;
    struct top_sample *before = parsed(first, 1000), *after = parsed(second, 3000);
    double rates[TOP_VALUES];
    top_rates(before, after, 0, rates);
    assert_true(near(rates[TOP_TURNS], 100));
    assert_true(near(rates[TOP_COMMIT_MS], 5));
    assert_true(near(rates[TOP_MEMORY], 1)); /* As it is. */
    top_rates(before, after, 1, rates);
    assert_true(near(rates[TOP_TURNS], 0)); /* Was not there before. */
    assert_true(near(rates[TOP_COMMIT_MS], -1));
    top_rates(before, after, 2, rates);
    assert_true(near(rates[TOP_TURNS], 1.5)); /* Fell: started again. */
    top_total(before, after, rates);
    assert_true(near(rates[TOP_TURNS], 101.5));
    assert_true(near(rates[TOP_COMMIT_MS], 5));
    top_rates(after, after, 0, rates); /* In no time. */
    assert_true(near(rates[TOP_TURNS], 0));
    free(before);
    free(after);
}

static void what_is_no_metrics_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "\n\n",
        "<html>no</html>\n",
        "floe_turns_total{core=\"0\"} 1\n",
        "floe_build_info{version=\"1\"} 1\n",
        "floe_build_info{version=\"1\"} 1\nfloe_turns_total{core=\"\"} 1\n",
        "floe_build_info{version=\"1\"} 1\nfloe_turns_total{core=\"a label that is too long\"} 1\n",
        "floe_build_info{version=\"1\"} 1\nfloe_turns_total{core=\"0",
    };
    (void)state;
    struct top_sample *sample = calloc(1, sizeof(*sample));
    assert_non_null(sample);
    for (uint32_t i = 0; i < ARRAY_COUNT(texts); i++) {
        assert_false(top_parse(texts[i], sample));
    }
    assert_true(top_parse("floe_build_info{version=\"1\"} 1\nfloe_turns_total{core=\"0\"} NaN\n"
                          "floe_turns_total{core=\"0\"}\nfloe_turns_total 5\n#",
                          sample));
    assert_true(near(sample->cores[0].values[TOP_TURNS], 0));
    free(sample);
}

static void numbers_are_short(void **state)
{
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {-1, ""},         {0, "0"},        {7, "7"},         {0.25, "0.2"},    {42.5, "42.5"},
        {999, "999"},     {1000, "1.0k"},  {12345, "12.3k"}, {99949, "99.9k"}, {123456, "123k"},
        {999999, "1.0M"}, {2.5e9, "2.5G"}, {1e15, "1.0P"},   {1e18, "1.0E"},   {5e21, "5000E"},
    };

    char text[32];
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_string_equal(top_short(rows[i].value, text), rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sample_has_every_core),
        cmocka_unit_test(rates_are_per_second),
        cmocka_unit_test(what_is_no_metrics_is_refused),
        cmocka_unit_test(numbers_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
