/* What the limit of open files is spent on, at its edges. */
#include "tools/descriptors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct descriptors share(uint64_t limit, uint32_t cores, uint32_t connections)
{
    struct descriptors descriptors;
    descriptors_share(&descriptors, limit, cores, connections);
    assert_int_equal(descriptors.limit, limit);
    return descriptors;
}

static void the_log_gets_half_and_connections_no_more_than_the_other(void **state)
{
    (void)state;

    static const uint64_t limits[] = {256, 1024, 4096, 65536, 1048576};

    for (uint32_t i = 0; i < ARRAY_COUNT(limits); i++) {
        for (uint32_t cores = 1; cores <= 8; cores++) {
            struct descriptors found = share(limits[i], cores, 1000000);
            assert_true((uint64_t)found.files_max * cores <= limits[i] / 2);
            assert_true((uint64_t)found.files_max * cores >= limits[i] / 2 - 50 - cores * 6);
            assert_int_equal(found.connections_max, found.files_max);
        }
    }
}

static void connections_are_held_back_only_for_want_of_room(void **state)
{
    (void)state;
    struct descriptors found = share(65536, 2, 10000);
    assert_int_equal(found.connections_max, 10000);
    assert_true(found.limit >= found.ample);
    found = share(found.ample, 2, 10000);
    assert_int_equal(found.connections_max, 10000);
    found = share(found.ample - 1, 2, 10000);
    assert_true(found.connections_max < 10000);
}

static void few_files_are_not_ample_though_nobody_may_connect(void **state)
{
    (void)state;
    struct descriptors found = share(200, 2, 1);
    assert_true(found.limit < found.ample);
    found = share(found.ample, 2, 1);
    assert_true(found.files_max >= 64);
    assert_int_equal(found.connections_max, 1);
}

static void below_the_least_there_is_no_share(void **state)
{
    (void)state;
    for (uint32_t cores = 1; cores <= 128; cores *= 2) {
        struct descriptors found = share(0, cores, 10000);
        assert_int_equal(found.files_max, 0);
        uint64_t least = found.least;
        assert_int_equal(share(least - 1, cores, 10000).files_max, 0);
        found = share(least, cores, 10000);
        assert_true(found.files_max > 0);
        assert_true(found.connections_max > 0);
    }
    assert_true(share(64, 2, 10000).files_max > 0); /* Two cores start with 64. */
}

static void no_limit_at_all_is_a_share(void **state)
{
    (void)state;
    struct descriptors found = share(UINT64_MAX / 2, 4, 10000);
    assert_int_equal(found.files_max, UINT32_MAX);
    assert_int_equal(found.connections_max, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_gets_half_and_connections_no_more_than_the_other),
        cmocka_unit_test(connections_are_held_back_only_for_want_of_room),
        cmocka_unit_test(few_files_are_not_ample_though_nobody_may_connect),
        cmocka_unit_test(below_the_least_there_is_no_share),
        cmocka_unit_test(no_limit_at_all_is_a_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
