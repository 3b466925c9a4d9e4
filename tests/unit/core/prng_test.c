/* One seed is one sequence, known and even. */
#include "core/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Worked out by hand from the definition with the state 1, 2, 3, 4. */
static void the_first_numbers_are_those_of_the_paper(void **state)
{
    (void)state;
    const uint64_t seed[4] = {1, 2, 3, 4};
    struct prng prng;
    prng_seed(&prng, seed);
    assert_true(prng_next(&prng) == 11520);
    assert_true(prng_next(&prng) == 0);
    assert_true(prng_next(&prng) == 1509978240);
    assert_true(prng_next(&prng) == 1215971899390074240);
}

static void a_seed_of_zeros_is_replaced(void **state)
{
    (void)state;
    const uint64_t zeros[4] = {0};
    struct prng prng;
    prng_seed(&prng, zeros);
    uint64_t seen = 0;
    for (int i = 0; i < 8; i++) {
        seen |= prng_next(&prng);
    }
    assert_true(seen != 0);
}

static void one_seed_is_one_sequence(void **state)
{
    (void)state;
    struct prng a, b, c;
    prng_seed_one(&a, 42);
    prng_seed_one(&b, 42);
    prng_seed_one(&c, 43);
    uint32_t same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t value = prng_next(&a);
        assert_true(value == prng_next(&b));
        same += value == prng_next(&c);
    }
    assert_int_equal(same, 0);
}

static void numbers_below_a_bound_are_even(void **state)
{
    (void)state;
    struct prng prng;
    prng_seed_one(&prng, 7);
    for (uint64_t bound = 1; bound <= 17; bound++) {
        uint32_t counts[17] = {0};
        for (uint32_t i = 0; i < 1000 * bound; i++) {
            uint64_t value = prng_below(&prng, bound);
            assert_true(value < bound);
            counts[value]++;
        }
        for (uint32_t i = 0; i < bound; i++) {
            assert_in_range(counts[i], 850, 1150);
        }
    }
    /* Half of all numbers must be rejected for this bound, and none above it may come. */
    for (int i = 0; i < 1000; i++) {
        assert_true(prng_below(&prng, ((uint64_t)1 << 63) + 1) <= (uint64_t)1 << 63);
    }
}

static void a_chance_is_a_percentage(void **state)
{
    (void)state;
    struct prng prng;
    prng_seed_one(&prng, 8);
    uint32_t hits = 0;
    for (int i = 0; i < 10000; i++) {
        assert_false(prng_chance(&prng, 0));
        assert_true(prng_chance(&prng, 100));
        hits += prng_chance(&prng, 25);
    }
    assert_in_range(hits, 2300, 2700);
}

static void a_filled_buffer_is_the_sequence_and_no_byte_more(void **state)
{
    (void)state;
    for (size_t size = 0; size < 33; size++) {
        uint8_t data[40];
        memset(data, 0, sizeof(data));
        struct prng prng, again;
        prng_seed_one(&prng, size);
        again = prng;
        prng_fill(&prng, data, size);
        for (size_t at = 0; at < size; at += 8) {
            uint64_t value = prng_next(&again);
            assert_memory_equal(data + at, &value, size - at < 8 ? size - at : 8);
        }
        for (size_t at = size; at < sizeof(data); at++) {
            assert_int_equal(data[at], 0);
        }
        assert_true(prng_next(&prng) == prng_next(&again));
    }
}

static void entropy_differs_from_call_to_call(void **state)
{
    (void)state;
    uint64_t a[4] = {0}, b[4] = {0};
    assert_true(prng_entropy(a));
    assert_true(prng_entropy(b));
    assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_numbers_are_those_of_the_paper),
        cmocka_unit_test(a_seed_of_zeros_is_replaced),
        cmocka_unit_test(one_seed_is_one_sequence),
        cmocka_unit_test(numbers_below_a_bound_are_even),
        cmocka_unit_test(a_chance_is_a_percentage),
        cmocka_unit_test(a_filled_buffer_is_the_sequence_and_no_byte_more),
        cmocka_unit_test(entropy_differs_from_call_to_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
