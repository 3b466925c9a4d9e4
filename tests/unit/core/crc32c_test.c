/* Every path of crc32c() against the definition, bit by bit, over every length that changes path.
 */
#include "core/crc32c.h"

#include "core/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DATA_BYTES = 4096 };

/* The definition: one bit at a time. */
static uint32_t reference(uint32_t crc, const uint8_t *data, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
        }
    }
    return ~crc;
}

static void fill(uint8_t *data, size_t size, uint64_t seed)
{
    struct prng prng;
    prng_seed_one(&prng, seed);
    prng_fill(&prng, data, size);
}

static void the_known_answers_hold(void **state)
{
    (void)state;
    uint8_t data[32];
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c_portable(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0x1234, NULL, 0), 0x1234);
    memset(data, 0, sizeof(data)); /* RFC 3720, B.4. */
    assert_int_equal(crc32c(0, data, sizeof(data)), 0x8a9136aa);
    memset(data, 0xff, sizeof(data));
    assert_int_equal(crc32c(0, data, sizeof(data)), 0x62a8ab43);
}

static void every_length_and_alignment_agrees_with_the_definition(void **state)
{
    (void)state;
    uint8_t data[1200];
    fill(data, sizeof(data), 1);
    for (size_t at = 0; at < 9; at++) {
        for (size_t size = 0; size < 1100; size += size < 80 || size > 480 ? 1 : 7) {
            uint32_t expected = reference(0, data + at, size);
            assert_int_equal(crc32c(0, data + at, size), expected);
            if (at < 2) {
                assert_int_equal(crc32c_portable(0, data + at, size), expected);
            }
        }
    }
}

static void pieces_add_up_to_the_whole(void **state)
{
    (void)state;
    uint8_t data[DATA_BYTES];
    fill(data, sizeof(data), 2);
    uint32_t whole = reference(0, data, sizeof(data));
    for (size_t cut = 0; cut <= sizeof(data); cut += 37) {
        uint32_t crc = crc32c(0, data, cut);
        assert_int_equal(crc32c(crc, data + cut, sizeof(data) - cut), whole);
    }
}

static void a_patch_equals_a_new_checksum(void **state)
{
    (void)state;
    uint8_t old[DATA_BYTES], new[DATA_BYTES], delta[64];
    fill(old, sizeof(old), 3);
    for (size_t delta_size = 0; delta_size <= 32; delta_size++) {
        for (size_t tail = 0; tail < 2000; tail = tail < 70 ? tail + 1 : tail * 2) {
            fill(delta, sizeof(delta), delta_size * 5000 + tail);
            memcpy(new, old, delta_size + tail);
            for (size_t i = 0; i < delta_size; i++) {
                new[i] ^= delta[i];
            }
            uint32_t before = crc32c(0, old, delta_size + tail);
            uint32_t after = crc32c(0, new, delta_size + tail);
            assert_int_equal(crc32c_patch(before, delta, delta_size, tail), after);
            assert_int_equal(crc32c_patch_portable(before, delta, delta_size, tail), after);
        }
    }
}

/* Behind a prefix the patch is the same: the CRC before the change does not matter. */
static void a_patch_works_behind_a_prefix(void **state)
{
    (void)state;
    uint8_t data[600];
    const uint8_t delta[8] = {1, 2, 3, 4, 5, 6, 7, 0x80};
    fill(data, sizeof(data), 4);
    uint32_t before = crc32c(0, data, sizeof(data));
    for (size_t i = 0; i < sizeof(delta); i++) {
        data[100 + i] ^= delta[i];
    }
    uint32_t after = crc32c(0, data, sizeof(data));
    assert_int_equal(crc32c_patch(before, delta, sizeof(delta), sizeof(data) - 108), after);
}

static void a_patch_far_from_the_end_is_right_too(void **state)
{
    (void)state;
    const size_t size = (8 << 20) + 5;
    uint8_t *data = calloc(1, size);
    assert_non_null(data);
    const uint8_t delta[3] = {0x55, 0, 0xaa};
    uint32_t before = crc32c(0, data, size);
    memcpy(data, delta, sizeof(delta));
    assert_int_equal(crc32c_patch(before, delta, sizeof(delta), size - sizeof(delta)),
                     crc32c(0, data, size));
    free(data);
    /* Where no buffer can be made, the two ways must agree, and 2^31 zeros act as one zero. */
    for (uint64_t tail = 1; tail < (uint64_t)1 << 40; tail = tail * 3 + 1) {
        assert_int_equal(crc32c_patch(7, delta, sizeof(delta), tail),
                         crc32c_patch_portable(7, delta, sizeof(delta), tail));
    }
    assert_int_equal(crc32c_patch(7, delta, sizeof(delta), (uint64_t)1 << 31),
                     crc32c_patch(7, delta, sizeof(delta), 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_known_answers_hold),
        cmocka_unit_test(every_length_and_alignment_agrees_with_the_definition),
        cmocka_unit_test(pieces_add_up_to_the_whole),
        cmocka_unit_test(a_patch_equals_a_new_checksum),
        cmocka_unit_test(a_patch_works_behind_a_prefix),
        cmocka_unit_test(a_patch_far_from_the_end_is_right_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
