/* Records in and out of a batch: what is made is read back and passes a broker's checks; bytes that
 * are no records are told. */
#include "core/limits.h"
#include "shard/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct bytes text(const char *text)
{
    return bytes_text(text);
}

static uint8_t *make(const struct record_input *records, uint32_t count, uint32_t *size)
{
    *size = record_batch_size(records, count);
    assert_true(*size > BATCH_HEADER_BYTES);
    uint8_t *data = malloc(*size);
    assert_non_null(data);
    record_batch_encode(records, count, data, *size);
    return data;
}

static void what_is_made_is_read_back(void **state)
{
    (void)state;
    const struct record_header headers[] = {{text("a"), text("b")}, {text("empty"), {0}}};
    const struct record_input records[] = {
        {.key = text("k"), .value = text("value"), .timestamp = 1000000},
        {.value = text(""), .timestamp = 999999}, /* Earlier than the first: its delta is -1. */
        {.key = text(""),
         .timestamp = 1000000 + INT64_C(5000000000),
         .headers = headers,
         .header_count = 2},
    };
    uint32_t size;
    uint8_t *data = make(records, 3, &size);
    struct batch_rules rules = {.bytes_max = BATCH_BYTES_MAX,
                                .before_max_ms = INT64_MAX,
                                .after_max_ms = INT64_MAX,
                                .deep = true,
                                .require_zero_base = true};
    struct batch batch;
    assert_int_equal(batch_check(bytes_of(data, size), &rules, &batch), OK);
    assert_int_equal(batch.record_count, 3);
    assert_int_equal(batch.base_timestamp, 1000000);
    assert_int_equal(batch.max_timestamp, INT64_C(5001000000));
    assert_int_equal(batch.producer_id, -1);
    struct bytes_reader reader =
        bytes_reader(bytes_of(data + BATCH_HEADER_BYTES, size - BATCH_HEADER_BYTES));
    struct record record;
    for (int32_t i = 0; i < 3; i++) {
        assert_true(record_read(&reader, &record));
        assert_int_equal(record.offset_delta, i);
        assert_int_equal(record.timestamp_delta, records[i].timestamp - 1000000);
        assert_true(bytes_equal(record.key, records[i].key));
        assert_true(bytes_equal(record.value, records[i].value));
        assert_int_equal(record.key.data == NULL, records[i].key.data == NULL);
        assert_int_equal(record.value.data == NULL, records[i].value.data == NULL);
    }
    assert_int_equal(bytes_left(&reader), 0);
    assert_int_equal(record.header_count, 2);
    reader = bytes_reader(record.headers);
    struct record_header header;
    assert_true(record_read_header(&reader, &header));
    assert_true(bytes_equal(header.value, text("b")));
    assert_true(record_read_header(&reader, &header));
    assert_true(bytes_equal(header.name, text("empty")));
    assert_null(header.value.data);
    assert_false(record_read_header(&reader, &header));
    free(data);
}

/* Where a varint grows by a byte, the size must grow with it. */
static void sizes_are_right_where_lengths_grow(void **state)
{
    (void)state;
    static uint8_t bytes[40000];
    for (uint32_t value = 0; value < sizeof(bytes); value += value < 300 ? 1 : 4111) {
        struct record_input record = {.value = {bytes, value}, .timestamp = value};
        uint32_t size;
        free(make(&record, 1, &size));
    }

    enum { MANY = 20000 };
    struct record_input *records = calloc(MANY, sizeof(*records));
    assert_non_null(records);
    for (uint32_t i = 0; i < MANY; i++) {
        records[i].timestamp = (int64_t)i * 1000003 - 7000000;
    }
    uint32_t size;
    free(make(records, MANY, &size));
    free(records);
}

static void what_cannot_be_a_batch_has_no_size(void **state)
{
    (void)state;
    uint8_t byte = 0;
    struct record_input large = {
        .value = {&byte, BATCH_BYTES_MAX}}; /* Its size is looked at only. */
    assert_int_equal(record_batch_size(&large, 1), 0);
    large.value.size = UINT32_MAX;
    assert_int_equal(record_batch_size(&large, 1), 0);
    assert_int_equal(record_batch_size(&large, 0), 0);
}

/* Room that grows byte by byte takes a record exactly when it is as large as the batch with it. */
static void a_batch_takes_records_while_there_is_room(void **state)
{
    (void)state;
    const struct record_header header = {text("h"), {0}};
    const struct record_input records[] = {
        {.value = text("one"), .timestamp = 7},
        {.key = text("two"), .timestamp = 5, .headers = &header, .header_count = 1},
        {.key = text("three"), .value = text(""), .timestamp = 9},
    };
    uint32_t size;
    uint8_t *wanted = make(records, 3, &size);
    for (uint32_t room = BATCH_HEADER_BYTES; room <= size; room++) {
        uint8_t *data = malloc(room);
        assert_non_null(data);
        struct record_batch batch;
        record_batch_begin(&batch, data, room);
        uint32_t count = 0;
        while (count < 3 && record_batch_add(&batch, &records[count])) {
            count++;
        }
        assert_int_equal(count == 3, room == size);
        assert_true(count == 3 || record_batch_size(records, count + 1) > room);
        if (count > 0) {
            struct bytes made = record_batch_end(&batch);
            assert_int_equal(made.size, record_batch_size(records, count));
            assert_true(made.data == data);
            assert_true(count < 3 || memcmp(data, wanted, size) == 0);
        }
        free(data);
    }
    uint8_t data[BATCH_HEADER_BYTES + 8];
    struct record_batch batch;
    struct record_input large = {.value = {data, BATCH_BYTES_MAX}};
    record_batch_begin(&batch, data, sizeof(data));
    assert_false(record_batch_add(&batch, &large));
    large.value.size = UINT32_MAX;
    assert_false(record_batch_add(&batch, &large));
    free(wanted);
}

/* Each byte of a sound record set to each value: read or refused, never read past the end. */
static void spoiled_records_are_refused_or_stay_within(void **state)
{
    (void)state;
    const struct record_header headers[] = {{text("name"), text("content")}};
    const struct record_input input = {
        .key = text("k"), .value = text("value"), .headers = headers, .header_count = 1};
    uint32_t size;
    uint8_t *data = make(&input, 1, &size);
    uint32_t refused = 0;
    for (uint32_t at = BATCH_HEADER_BYTES; at < size; at++) {
        uint8_t before = data[at];
        for (uint32_t value = 0; value < 256; value++) {
            data[at] = (uint8_t)value;
            struct bytes_reader reader =
                bytes_reader(bytes_of(data + BATCH_HEADER_BYTES, size - BATCH_HEADER_BYTES));
            struct record record;
            if (!record_read(&reader, &record)) {
                refused++;
                continue;
            }
            assert_true(record.value.size <= size && record.key.size <= size);
            assert_true(record.headers.data + record.headers.size <= data + size);
        }
        data[at] = before;
    }
    assert_true(refused > 1000);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_made_is_read_back),
        cmocka_unit_test(sizes_are_right_where_lengths_grow),
        cmocka_unit_test(what_cannot_be_a_batch_has_no_size),
        cmocka_unit_test(a_batch_takes_records_while_there_is_room),
        cmocka_unit_test(spoiled_records_are_refused_or_stay_within),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
