/* Identities and owners. How a request goes home is tested with the shard. */
#include "shard/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void an_id_is_told_from_another_and_written_in_hex(void **state)
{
    (void)state;
    struct topic_id a = {{0}}, b;
    char text[TOPIC_ID_TEXT_BYTES];
    assert_true(topic_id_is_zero(&a));
    a.bytes[0] = 0x0a;
    a.bytes[15] = 0xf1;
    b = a;
    assert_false(topic_id_is_zero(&a));
    assert_true(topic_id_equal(&a, &b));
    for (uint32_t i = 0; i < sizeof(b.bytes); i++) {
        b.bytes[i] ^= 1;
        assert_false(topic_id_equal(&a, &b));
        b.bytes[i] ^= 1;
    }
    assert_ptr_equal(topic_id_text(&a, text), text);
    assert_string_equal(text, "0a0000000000000000000000000000f1");
}

static void partitions_of_a_topic_go_round_the_cores(void **state)
{
    (void)state;
    for (uint32_t cores = 1; cores <= 9; cores++) {
        struct partition_id id = {.topic = {{7, 7, 7}}};
        uint32_t first = partition_core(&id, cores);
        for (id.partition = 0; id.partition < 3 * cores; id.partition++) {
            assert_int_equal(partition_core(&id, cores), (first + id.partition) % cores);
        }
    }
}

static void topics_begin_on_different_cores(void **state)
{
    (void)state;
    uint32_t hits[8] = {0};
    for (uint32_t i = 0; i < 256; i++) {
        struct partition_id id = {.topic = {{(uint8_t)i, 1}}};
        hits[partition_core(&id, 8)]++;
    }
    for (uint32_t i = 0; i < 8; i++) {
        assert_in_range(hits[i], 10, 60);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_told_from_another_and_written_in_hex),
        cmocka_unit_test(partitions_of_a_topic_go_round_the_cores),
        cmocka_unit_test(topics_begin_on_different_cores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
