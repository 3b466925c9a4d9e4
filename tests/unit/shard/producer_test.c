/* The rules of idempotent producers. */
#include "shard/producer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum err add(struct producer_table *table, int16_t epoch, int32_t first, int32_t last,
                    uint64_t offset)
{
    struct producer_batch duplicate;
    bool is_duplicate = false;
    enum err err = producer_check(table, 9, epoch, first, last, &duplicate, &is_duplicate);
    if (err != OK) {
        return err;
    }
    if (is_duplicate) {
        assert_int_equal(duplicate.first_offset, offset);
        return ERR_EXISTS;
    }
    struct producer_batch batch = {
        .first_sequence = first, .last_sequence = last, .first_offset = offset, .time_ms = 5};
    return producer_stage(table, 9, epoch, &batch);
}

static void a_batch_of_the_window_is_a_duplicate_and_an_older_one_is_out_of_order(void **state)
{
    (void)state;
    struct producer_table *table = producer_table_create();
    for (int32_t i = 0; i < 6; i++) {
        assert_int_equal(add(table, 0, i * 10, i * 10 + 9, (uint64_t)i * 10), OK);
    }
    producer_commit(table, 60);
    for (int32_t i = 1; i < 6; i++) {
        assert_int_equal(add(table, 0, i * 10, i * 10 + 9, (uint64_t)i * 10), ERR_EXISTS);
    }
    assert_int_equal(add(table, 0, 0, 9, 0), ERR_SEQUENCE);
    assert_int_equal(add(table, 0, 61, 69, 0), ERR_SEQUENCE);
    assert_int_equal(add(table, 0, 50, 58, 0), ERR_SEQUENCE);
    producer_table_destroy(table);
}

static void epochs_fence_and_start_at_zero(void **state)
{
    (void)state;
    struct producer_table *table = producer_table_create();
    assert_int_equal(add(table, 3, 17, 18, 100), OK); /* An unknown producer begins anywhere. */
    assert_int_equal(add(table, 2, 19, 19, 0), ERR_PRODUCER_EPOCH);
    assert_int_equal(add(table, 4, 19, 19, 0), ERR_SEQUENCE);
    assert_int_equal(add(table, 4, 0, 0, 102), OK);
    assert_int_equal(add(table, 3, 19, 19, 0), ERR_PRODUCER_EPOCH);
    producer_table_destroy(table);
}

static void sequences_wrap_to_zero(void **state)
{
    (void)state;
    struct producer_table *table = producer_table_create();
    assert_int_equal(add(table, 0, INT32_MAX - 1, INT32_MAX, 1), OK);
    assert_int_equal(add(table, 0, 0, 4, 3), OK);
    assert_int_equal(add(table, 0, 5, 5, 8), OK);
    producer_table_destroy(table);
}

static void a_cut_is_an_undo(void **state)
{
    (void)state;
    struct producer_table *table = producer_table_create();
    assert_int_equal(add(table, 0, 0, 9, 0), OK);
    assert_int_equal(add(table, 0, 10, 19, 10), OK);
    assert_true(producer_rewind(table, 10));
    assert_false(producer_rewind(table, 10));
    assert_int_equal(add(table, 0, 10, 14, 10), OK);
    producer_table_destroy(table);
}

static void a_cut_brings_the_whole_window_back(void **state)
{
    (void)state;
    struct producer_table *table = producer_table_create();
    for (int32_t i = 0; i < 5; i++) {
        assert_int_equal(add(table, 0, i, i, (uint64_t)i), OK);
    }
    producer_commit(table, 5);
    for (int32_t i = 5; i < 30; i++) { /* More in flight than the window holds. */
        assert_int_equal(add(table, 0, i, i, (uint64_t)i), OK);
    }
    for (int32_t i = 0; i < 30; i++) {
        assert_int_equal(add(table, 0, i, i, (uint64_t)i), ERR_EXISTS);
    }
    producer_commit(table, 7);
    assert_true(producer_rewind(table, 7));
    for (int32_t i = 2; i < 7; i++) {
        assert_int_equal(add(table, 0, i, i, (uint64_t)i), ERR_EXISTS);
    }
    assert_int_equal(add(table, 0, 1, 1, 1), ERR_SEQUENCE);
    assert_int_equal(add(table, 0, 8, 8, 7), ERR_SEQUENCE);
    assert_int_equal(add(table, 0, 7, 7, 7), OK);
    producer_table_destroy(table);
}

static void a_cut_keeps_the_epoch(void **state)
{
    (void)state;
    struct producer_table *table = producer_table_create();
    uint8_t rows[PRODUCER_ROW_BYTES];
    assert_int_equal(add(table, 3, 0, 0, 0), OK);
    assert_true(producer_rewind(table, 0));
    assert_int_equal(add(table, 2, 0, 0, 0), ERR_PRODUCER_EPOCH); /* Though no batch is left. */
    assert_int_equal(producer_count(table), 0);
    assert_int_equal(producer_encode(table, rows, sizeof(rows)), 0);
    assert_int_equal(add(table, 4, 1, 1, 0), ERR_SEQUENCE);
    assert_int_equal(add(table, 3, 0, 0, 0), OK);
    producer_commit(table, 1);
    assert_int_equal(add(table, 5, 0, 0, 1), OK);
    assert_true(producer_rewind(table, 1));
    assert_int_equal(add(table, 3, 1, 1, 1), ERR_PRODUCER_EPOCH);
    assert_int_equal(add(table, 5, 1, 1, 1), ERR_SEQUENCE);
    producer_expire(table, 5); /* Of that time is also what was undone. */
    assert_int_equal(add(table, 4, 0, 0, 1), ERR_PRODUCER_EPOCH);
    assert_int_equal(add(table, 5, 0, 0, 1), OK);
    producer_commit(table, 2);
    assert_int_equal(add(table, 5, 1, 1, 2), OK);
    producer_table_destroy(table);
}

static void producers_are_told_apart_in_one_ring(void **state)
{
    (void)state;
    struct producer_table *table = producer_table_create();
    struct producer_batch duplicate;
    bool is_duplicate;
    for (uint64_t i = 0; i < 1000; i++) {
        struct producer_batch batch = {.first_sequence = (int32_t)(i / 7),
                                       .last_sequence = (int32_t)(i / 7),
                                       .first_offset = i};
        assert_int_equal(producer_stage(table, (int64_t)(i % 7), 0, &batch), OK);
        producer_commit(table, i < 20 ? 0 : i - 20);
    }
    assert_true(producer_rewind(table, 990));
    for (int64_t id = 0; id < 7; id++) {
        int32_t newest = (int32_t)(989 - (989 - id) % 7) / 7;
        assert_int_equal(producer_check(table, id, 0, newest, newest, &duplicate, &is_duplicate),
                         OK);
        assert_true(is_duplicate);
        assert_int_equal(duplicate.first_offset, newest * 7 + id);
        assert_int_equal(
            producer_check(table, id, 0, newest + 1, newest + 1, &duplicate, &is_duplicate), OK);
        assert_false(is_duplicate);
    }
    producer_table_destroy(table);
}

static void the_oldest_go_when_there_are_too_many(void **state)
{
    (void)state;
    struct producer_table *table = producer_table_create();
    struct producer_batch duplicate;
    bool is_duplicate;
    struct producer_batch batch = {.time_ms = 1};
    for (int64_t id = 0; id < 3 * PRODUCERS_MAX; id++) {
        bool flies = id == 10; /* What is staged may not be forgotten. */
        batch.first_offset = (uint64_t)id;
        batch.time_ms = 1000 + id / 100;
        assert_int_equal(flies ? producer_stage(table, id, 0, &batch)
                               : producer_record(table, id, 0, &batch),
                         OK);
        assert_true(producer_count(table) <= PRODUCERS_MAX);
    }
    assert_true(producer_count(table) > PRODUCERS_MAX / 2);

    const struct {
        int64_t id;
        bool known;
    } rows[] = {{0, false}, {10, true}, {PRODUCERS_MAX, false}, {3 * PRODUCERS_MAX - 1, true}};

    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_int_equal(producer_check(table, rows[i].id, 0, 0, 0, &duplicate, &is_duplicate), OK);
        assert_int_equal(is_duplicate, rows[i].known);
    }
    producer_commit(table, 11);
    assert_int_equal(producer_check(table, 10, 0, 0, 0, &duplicate, &is_duplicate), OK);
    assert_true(is_duplicate);
    producer_table_destroy(table);
}

static void rows_survive_encoding_and_lies_are_refused(void **state)
{
    (void)state;
    struct producer_table *table = producer_table_create(), *copy = producer_table_create();
    uint8_t rows[3 * PRODUCER_ROW_BYTES], again[sizeof(rows)];
    assert_int_equal(producer_greatest(table), -1);
    for (int64_t id = 3; id-- > 0;) {
        struct producer_batch batch = {.last_sequence = (int32_t)id, .time_ms = id};
        assert_int_equal(producer_record(table, id, 1, &batch), OK);
    }
    assert_int_equal(producer_encode(table, rows, sizeof(rows) - 1), 0);
    assert_int_equal(producer_encode(table, rows, sizeof(rows)), sizeof(rows));
    assert_int_equal(producer_decode(copy, bytes_of(rows, sizeof(rows))), OK);
    assert_int_equal(producer_encode(copy, again, sizeof(again)), sizeof(again));
    assert_memory_equal(rows, again, sizeof(rows));
    assert_int_equal(producer_greatest(copy), 2);
    producer_expire(copy, 1);
    assert_int_equal(producer_count(copy), 2);
    rows[10] = PRODUCER_WINDOW + 1;
    assert_int_equal(producer_decode(copy, bytes_of(rows, sizeof(rows))), ERR_CORRUPT);
    assert_int_equal(producer_decode(copy, bytes_of(rows, sizeof(rows) - 1)), ERR_CORRUPT);
    producer_table_destroy(table);
    producer_table_destroy(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_of_the_window_is_a_duplicate_and_an_older_one_is_out_of_order),
        cmocka_unit_test(epochs_fence_and_start_at_zero),
        cmocka_unit_test(sequences_wrap_to_zero),
        cmocka_unit_test(a_cut_is_an_undo),
        cmocka_unit_test(a_cut_brings_the_whole_window_back),
        cmocka_unit_test(a_cut_keeps_the_epoch),
        cmocka_unit_test(producers_are_told_apart_in_one_ring),
        cmocka_unit_test(the_oldest_go_when_there_are_too_many),
        cmocka_unit_test(rows_survive_encoding_and_lies_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
