/* The table of errors: its numbers, and the ways to name one. */
#include "tools/errors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void numbers_rise_and_every_kind_says_what_to_do(void **state)
{
    (void)state;
    int64_t before = 1000;
    for (uint32_t i = 0; i < errors_count; i++) {
        const struct error_kind *kind = &errors_table[i];
        assert_true((int64_t)kind->number > before && kind->number <= 9999);
        before = kind->number;
        assert_true(strlen(kind->what) > 3);
        assert_int_not_equal(kind->what[strlen(kind->what) - 1], '.');
        assert_int_equal(kind->cause[strlen(kind->cause) - 1], '.');
        assert_int_equal(kind->remedy[strlen(kind->remedy) - 1], '.');
        assert_ptr_equal(errors_find(kind->number), kind);
        assert_ptr_equal(errors_kind((int)kind->number), kind);
        assert_int_equal(errors_exit((int)kind->number), kind->exit);
    }
}

static void a_bare_exit_code_has_a_kind_that_keeps_it(void **state)
{
    (void)state;
    assert_null(errors_kind(CMD_OK));
    assert_null(errors_kind(CMD_INTERRUPTED));
    for (int code = CMD_FAILED; code <= CMD_EXISTS; code++) {
        assert_non_null(errors_kind(code));
        assert_int_equal(errors_exit(code), code);
    }
    assert_int_equal(errors_exit(CMD_INTERRUPTED), CMD_INTERRUPTED);
}

static void a_code_is_named_in_five_ways(void **state)
{
    (void)state;

    static const char *const good[] = {"FLOE-1401", "floe-1401", "[FLOE-1401]", "1401", "[1401]"};
    static const char *const bad[] = {"",      "FLOE-", "FLOE", "x1401",         "1401x",
                                      "[]",    "-1401", "[",    "FLOE-99999999", "FLOE 1401",
                                      "14 01", "[1401"};

    char text[ERROR_TEXT_BYTES];
    int64_t number;
    for (uint32_t i = 0; i < ARRAY_COUNT(good); i++) {
        number = 0;
        assert_true(errors_parse(good[i], &number));
        assert_int_equal(number, ERROR_TOPIC_UNKNOWN);
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_false(errors_parse(bad[i], &number));
    }
    assert_string_equal(errors_text(ERROR_TOPIC_UNKNOWN, text), "FLOE-1401");
}

static void the_nearest_is_near(void **state)
{
    (void)state;
    assert_int_equal(errors_nearest(0)->number, errors_table[0].number);
    assert_int_equal(errors_nearest(9999999)->number, errors_table[errors_count - 1].number);
    assert_int_equal(errors_nearest(1400)->number, ERROR_TOPIC_UNKNOWN);
}

static void what_opens_a_directory_fails_with_its_own_kind(void **state)
{
    (void)state;
    assert_int_equal(errors_of(ERR_BUSY), ERROR_DATA_BUSY);
    assert_int_equal(errors_of(ERR_VERSION), ERROR_DATA_FOREIGN);
    assert_int_equal(errors_of(ERR_DAMAGED), ERROR_DATA_DAMAGED);
    assert_int_equal(errors_of(ERR_TIMEOUT), ERROR_START);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_rise_and_every_kind_says_what_to_do),
        cmocka_unit_test(a_bare_exit_code_has_a_kind_that_keeps_it),
        cmocka_unit_test(a_code_is_named_in_five_ways),
        cmocka_unit_test(the_nearest_is_near),
        cmocka_unit_test(what_opens_a_directory_fails_with_its_own_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
