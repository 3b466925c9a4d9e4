/* Places in a log as flags name them: all forms, and what is none. */
#include "tools/cmd_where.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const int64_t now_ms = INT64_C(1800000000000); /* 2027-01-15T08:00:00Z */

static void every_form_is_read(void **state)
{
    (void)state;

    static const struct {
        const char *text;
        enum cmd_where_kind kind;
        int64_t number;
    } rows[] = {
        {"start", CMD_WHERE_START, 0},
        {"end", CMD_WHERE_END, 0},
        {"0", CMD_WHERE_OFFSET, 0},
        {"9223372036854775807", CMD_WHERE_OFFSET, INT64_MAX},
        {"-1", CMD_WHERE_LAST, 1},
        {"-0", CMD_WHERE_LAST, 0},
        {"-9223372036854775807", CMD_WHERE_LAST, INT64_MAX},
        {"@0", CMD_WHERE_TIME, 0},
        {"@1764000000123", CMD_WHERE_TIME, INT64_C(1764000000123)},
        {"@2025-11-24", CMD_WHERE_TIME, INT64_C(1763942400000)},
        {"@2025-11-24T16:00:00", CMD_WHERE_TIME, INT64_C(1764000000000)},
        {"@2025-11-24 16:00:00Z", CMD_WHERE_TIME, INT64_C(1764000000000)},
        {"@2025-11-24T16:00:00.5", CMD_WHERE_TIME, INT64_C(1764000000500)},
        {"@2025-11-24T16:00:00.123456Z", CMD_WHERE_TIME, INT64_C(1764000000123)},
        {"@2025-11-24T18:00:00+02:00", CMD_WHERE_TIME, INT64_C(1764000000000)},
        {"@2025-11-24T10:30:00-05:30", CMD_WHERE_TIME, INT64_C(1764000000000)},
        {"@2024-02-29", CMD_WHERE_TIME, INT64_C(1709164800000)},
        {"@-250ms", CMD_WHERE_TIME, INT64_C(1799999999750)},
        {"@-2s", CMD_WHERE_TIME, INT64_C(1799999998000)},
        {"@-10m", CMD_WHERE_TIME, INT64_C(1799999400000)},
        {"@-1h", CMD_WHERE_TIME, INT64_C(1799996400000)},
        {"@-1d", CMD_WHERE_TIME, INT64_C(1799913600000)},
        {"@-999999d", CMD_WHERE_TIME, 0},
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cmd_where where;
        assert_true(cmd_where_parse(rows[i].text, now_ms, &where));
        assert_int_equal(where.kind, rows[i].kind);
        assert_int_equal(where.number, rows[i].number);
    }
}

static void what_is_none_is_refused(void **state)
{
    (void)state;

    static const char *const bad[] = {
        "",
        "-",
        "--1",
        "1x",
        "x1",
        "1.5",
        "Start",
        "ends",
        "@",
        "@-",
        "@-1",
        "@-1w",
        "@-m",
        "@--1m",
        "@noon",
        "@2025-13-01",
        "@2025-02-30",
        "@2023-02-29",
        "@1969-12-31",
        "@2025-11-24T",
        "@2025-11-24T16:00",
        "@2025-11-24T16:00:00.",
        "@2025-11-24T16:00:00z",
        "@2025-11-24T16:00:00+2",
        "@2025-11-24T16:00:00+24:00",
        "@2025-11-24T16:00:00+02:60",
        "@2025-11-24x",
        "9223372036854775808",
        "@9223372036854775808",
        "@-99999999999999999d",
        " 1",
        "1 ",
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct cmd_where where;
        if (cmd_where_parse(bad[i], now_ms, &where)) {
            print_error("\"%s\" is taken\n", bad[i]);
            fail();
        }
    }
}

static void a_time_is_printed_as_it_is_read(void **state)
{
    (void)state;

    static const int64_t times[] = {0, 1, 999, INT64_C(1764000000123), INT64_C(253402300799999)};

    for (uint32_t i = 0; i < ARRAY_COUNT(times); i++) {
        char text[CMD_TIME_BYTES];
        int64_t time_ms;
        assert_true(cmd_where_parse_time(cmd_time_text(times[i], text), now_ms, &time_ms));
        assert_int_equal(time_ms, times[i]);
    }
    char text[CMD_TIME_BYTES];
    assert_string_equal(cmd_time_text(INT64_C(1764000000123), text), "2025-11-24T16:00:00.123Z");
    assert_string_equal(cmd_time_text(-1, text), "");
    assert_string_equal(cmd_time_text(INT64_MAX, text), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_read),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(a_time_is_printed_as_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
