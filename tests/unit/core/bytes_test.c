/* Cursors never leave their buffer, fail for good, and varints are those of protobuf and Kafka. */
#include "core/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct bytes_reader reader_over(const void *data, uint32_t size)
{
    return bytes_reader(bytes_of(data, size));
}

static void integers_of_both_orders_read_back(void **state)
{
    (void)state;
    uint8_t buffer[29];
    struct bytes_writer writer = bytes_writer(buffer, sizeof(buffer));
    write_u8(&writer, 0xab);
    write_be16(&writer, 0x0102);
    write_be32(&writer, 0x01020304);
    write_be64(&writer, 0x0102030405060708);
    write_le16(&writer, 0x0102);
    write_le32(&writer, 0x01020304);
    write_le64(&writer, 0x0102030405060708);
    assert_false(writer.failed);
    assert_int_equal(writer.position, sizeof(buffer));
    const uint8_t expected[29] = {0xab, 1, 2, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8,
                                  2,    1, 4, 3, 2, 1, 8, 7, 6, 5, 4, 3, 2, 1};
    assert_memory_equal(buffer, expected, sizeof(buffer));

    struct bytes_reader reader = reader_over(buffer, sizeof(buffer));
    assert_int_equal(read_u8(&reader), 0xab);
    assert_int_equal(read_be16(&reader), 0x0102);
    assert_int_equal(read_be32(&reader), 0x01020304);
    assert_true(read_be64(&reader) == 0x0102030405060708);
    assert_int_equal(read_le16(&reader), 0x0102);
    assert_int_equal(read_le32(&reader), 0x01020304);
    assert_true(read_le64(&reader) == 0x0102030405060708);
    assert_false(reader.failed);
    assert_int_equal(bytes_left(&reader), 0);
}

/* Each read of `size` bytes from each shorter input fails, gives 0 and stays failed. */
static void a_read_past_the_end_fails_for_good(void **state)
{
    (void)state;
    uint8_t data[8];
    memset(data, 0xff, sizeof(data));
    for (uint32_t size = 0; size < 8; size++) {
        struct bytes_reader reader = reader_over(data, size);
        assert_true(read_be64(&reader) == 0);
        assert_true(reader.failed);
        assert_int_equal(bytes_left(&reader), 0);
        assert_int_equal(read_u8(&reader), 0); /* Though a byte would be there. */
        assert_int_equal(read_uvarint(&reader), 0);
        assert_null(read_bytes(&reader, 0).data);
        assert_true(reader.failed);
    }
    struct bytes_reader reader = reader_over(data, 3);
    read_skip(&reader, UINT32_MAX);
    assert_true(reader.failed);
    reader = reader_over(data, 1);
    assert_int_equal(read_be16(&reader), 0);
    reader = reader_over(data, 3);
    assert_int_equal(read_le32(&reader), 0);
    reader = reader_over(data, 7);
    assert_true(read_le64(&reader) == 0);
    reader = reader_over(data, 1);
    assert_int_equal(read_le16(&reader), 0);
    reader = reader_over(data, 3);
    assert_int_equal(read_be32(&reader), 0);
}

static void a_view_of_bytes_is_part_of_the_input(void **state)
{
    (void)state;
    const uint8_t data[] = {1, 2, 3, 4};
    struct bytes_reader reader = reader_over(data, sizeof(data));
    read_skip(&reader, 1);
    struct bytes view = read_bytes(&reader, 3);
    assert_ptr_equal(view.data, data + 1);
    assert_int_equal(view.size, 3);
    view = read_bytes(&reader, 0);
    assert_non_null(view.data); /* Empty, not null. */
    assert_false(reader.failed);
    view = read_bytes(&reader, 1);
    assert_true(reader.failed);
    assert_null(view.data);
    assert_int_equal(view.size, 0);
}

static void nothing_can_be_read_from_nothing(void **state)
{
    (void)state;
    struct bytes_reader reader = bytes_reader(bytes_of(NULL, 0));
    assert_int_equal(read_bytes(&reader, 0).size, 0);
    read_skip(&reader, 0);
    assert_false(reader.failed);
    assert_int_equal(read_u8(&reader), 0);
    assert_true(reader.failed);
    struct bytes_writer writer = bytes_writer(NULL, 0);
    write_bytes(&writer, NULL, 0);
    assert_false(writer.failed);
    write_u8(&writer, 1);
    assert_true(writer.failed);
}

static void a_write_that_does_not_fit_leaves_the_buffer_alone(void **state)
{
    (void)state;
    uint8_t buffer[9];
    for (uint32_t size = 0; size < 8; size++) {
        memset(buffer, 0x55, sizeof(buffer));
        struct bytes_writer writer = bytes_writer(buffer, size);
        write_be64(&writer, UINT64_MAX);
        assert_true(writer.failed);
        assert_int_equal(writer.position, 0);
        write_u8(&writer, 1); /* Would fit, but the writer has failed. */
        write_bytes(&writer, "", 0);
        assert_int_equal(writer.position, 0);
        for (uint32_t i = 0; i < sizeof(buffer); i++) {
            assert_int_equal(buffer[i], 0x55);
        }
    }
    /* A varint is written whole or not at all. */
    struct bytes_writer writer = bytes_writer(buffer, 4);
    write_uvarint(&writer, UINT32_MAX);
    assert_true(writer.failed);
    assert_int_equal(writer.position, 0);
    assert_int_equal(buffer[0], 0x55);
}

static void check_varlong(int64_t value)
{
    uint8_t buffer[10];
    struct bytes_writer writer = bytes_writer(buffer, sizeof(buffer));
    write_varlong(&writer, value);
    assert_false(writer.failed);
    struct bytes_reader reader = reader_over(buffer, writer.position);
    assert_true(read_varlong(&reader) == value);
    assert_false(reader.failed);
    assert_int_equal(bytes_left(&reader), 0);
    for (uint32_t size = 0; size < writer.position; size++) { /* Cut anywhere, it fails. */
        reader = reader_over(buffer, size);
        assert_true(read_varlong(&reader) == 0);
        assert_true(reader.failed);
    }
    if (value < INT32_MIN || value > INT32_MAX) {
        return;
    }
    uint8_t narrow[5];
    struct bytes_writer narrow_writer = bytes_writer(narrow, sizeof(narrow));
    write_varint(&narrow_writer, (int32_t)value);
    assert_int_equal(narrow_writer.position, writer.position);
    assert_memory_equal(narrow, buffer, writer.position);
    reader = reader_over(narrow, narrow_writer.position);
    assert_int_equal(read_varint(&reader), (int32_t)value);
    assert_false(reader.failed);
}

static void signed_varints_read_back_around_every_power_of_two(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 64; bit++) {
        for (uint64_t delta = 0; delta < 5; delta++) {
            uint64_t value = ((uint64_t)1 << bit) + delta - 2;
            check_varlong((int64_t)value);
            check_varlong((int64_t)(0 - value));
        }
    }
    check_varlong(INT64_MIN);
    check_varlong(INT64_MAX);
    check_varlong(INT32_MIN);
    check_varlong(INT32_MAX);
}

static void varints_have_the_bytes_of_protobuf(void **state)
{
    (void)state;

    static const struct {
        int32_t value;
        uint32_t size;
        uint8_t encoded[5];
    } signed_cases[] = {
        {0, 1, {0}},         {-1, 1, {1}},
        {1, 1, {2}},         {-2, 1, {3}},
        {63, 1, {0x7e}},     {-64, 1, {0x7f}},
        {64, 2, {0x80, 1}},  {INT32_MAX, 5, {0xfe, 0xff, 0xff, 0xff, 0x0f}},
        {300, 2, {0xd8, 4}}, {INT32_MIN, 5, {0xff, 0xff, 0xff, 0xff, 0x0f}},
    };

    uint8_t buffer[10];
    for (size_t i = 0; i < ARRAY_COUNT(signed_cases); i++) {
        struct bytes_writer writer = bytes_writer(buffer, sizeof(buffer));
        write_varint(&writer, signed_cases[i].value);
        assert_int_equal(writer.position, signed_cases[i].size);
        assert_memory_equal(buffer, signed_cases[i].encoded, writer.position);
    }
    struct bytes_writer writer = bytes_writer(buffer, sizeof(buffer));
    write_uvarint(&writer, 300);
    assert_int_equal(writer.position, 2);
    assert_int_equal(buffer[0], 0xac);
    assert_int_equal(buffer[1], 0x02);
}

static void check_leb128(const uint8_t *data, uint32_t size, bool narrow_fails, bool wide_fails)
{
    struct bytes_reader reader = reader_over(data, size);
    uint32_t narrow = read_uvarint(&reader);
    assert_int_equal(reader.failed, narrow_fails);
    assert_true(!narrow_fails || narrow == 0);
    reader = reader_over(data, size);
    int64_t wide = read_varlong(&reader);
    assert_int_equal(reader.failed, wide_fails);
    assert_true(!wide_fails || wide == 0);
}

static void a_varint_that_is_too_long_or_too_large_fails(void **state)
{
    (void)state;
    const uint8_t most[] = {0xff, 0xff, 0xff, 0xff, 0x0f};
    const uint8_t bit_32[] = {0xff, 0xff, 0xff, 0xff, 0x1f};
    const uint8_t six[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    const uint8_t padded[] = {0x80, 0x80, 0x80, 0x80, 0x00};
    const uint8_t ten[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    const uint8_t bit_64[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03};
    const uint8_t eleven[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    check_leb128(most, sizeof(most), false, false);
    check_leb128(bit_32, sizeof(bit_32), true, false);
    check_leb128(six, sizeof(six), true, false);
    check_leb128(padded, sizeof(padded), false, false);
    check_leb128(ten, sizeof(ten), true, false);
    check_leb128(bit_64, sizeof(bit_64), true, true);
    check_leb128(eleven, sizeof(eleven), true, true);
    struct bytes_reader reader = reader_over(most, sizeof(most));
    assert_int_equal(read_uvarint(&reader), UINT32_MAX);
}

/* Every input of three bytes: what is read is what was written, or it failed. */
static void every_short_varint_is_read_as_the_definition_says(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 1U << 21; bits += 7) { /* 7 and 2^21 have no common factor. */
        uint8_t data[3] = {(uint8_t)(bits & 0xff), (uint8_t)(bits >> 8 & 0xff),
                           (uint8_t)(bits >> 16)};
        uint32_t expected = 0, size = 0;
        do {
            expected |= (uint32_t)(data[size] & 0x7f) << (7 * size);
        } while ((data[size++] & 0x80) != 0 && size < 3);
        bool whole = (data[size - 1] & 0x80) == 0;
        struct bytes_reader reader = reader_over(data, sizeof(data));
        assert_int_equal(read_uvarint(&reader), whole ? expected : 0);
        assert_int_equal(reader.failed, !whole);
        assert_true(!whole || reader.position == size);
    }
}

static void loads_and_stores_take_any_alignment(void **state)
{
    (void)state;
    uint8_t buffer[16];
    for (uint32_t at = 0; at < 8; at++) {
        store_le16(buffer + at, 0x1234);
        assert_int_equal(load_be16(buffer + at), 0x3412);
        store_be32(buffer + at, 0x12345678);
        assert_int_equal(load_le32(buffer + at), 0x78563412);
        store_be64(buffer + at, 0x123456789abcdef0);
        assert_true(load_le64(buffer + at) == 0xf0debc9a78563412);
        assert_true(load_be64(buffer + at) == 0x123456789abcdef0);
        store_le64(buffer + at, 5);
        store_be16(buffer + at, 0x0102);
        store_le32(buffer + at + 2, 6);
        assert_int_equal(load_le16(buffer + at), 0x0201);
        assert_int_equal(load_be32(buffer + at + 2), 0x06000000);
    }
}

static void views_are_equal_by_content(void **state)
{
    (void)state;
    assert_true(bytes_equal(bytes_text("floe"), bytes_of("floe!", 4)));
    assert_false(bytes_equal(bytes_text("floe"), bytes_text("floE")));
    assert_false(bytes_equal(bytes_text("floe"), bytes_text("flo")));
    assert_true(bytes_equal(bytes_text(""), bytes_of(NULL, 0)));
    assert_int_equal(bytes_text("four").size, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_both_orders_read_back),
        cmocka_unit_test(a_read_past_the_end_fails_for_good),
        cmocka_unit_test(a_view_of_bytes_is_part_of_the_input),
        cmocka_unit_test(nothing_can_be_read_from_nothing),
        cmocka_unit_test(a_write_that_does_not_fit_leaves_the_buffer_alone),
        cmocka_unit_test(signed_varints_read_back_around_every_power_of_two),
        cmocka_unit_test(varints_have_the_bytes_of_protobuf),
        cmocka_unit_test(a_varint_that_is_too_long_or_too_large_fails),
        cmocka_unit_test(every_short_varint_is_read_as_the_definition_says),
        cmocka_unit_test(loads_and_stores_take_any_alignment),
        cmocka_unit_test(views_are_equal_by_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
