/* The wire primitives in both encodings: what they read, what they refuse, what they write. */
#include "net/kafka/schema.h"
#include "shard/request.h"
#include "tests/unit/net/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A reader over a copy of exact size, so that the sanitizer sees a step beyond. */
struct input {
    struct wire wire;
    struct kafka_reader reader;
};

static struct input input_of(const char *text, bool flexible)
{
    struct wire measured = wire_open(64);
    wire_add(&measured, text, (struct bytes){0});
    struct input input = {.wire = wire_open(measured.size)};
    wire_close(&measured);
    wire_add(&input.wire, text, (struct bytes){0});
    input.reader = kafka_reader(bytes_of(input.wire.data, input.wire.size), flexible);
    return input;
}

enum kind {
    STRING,
    STRING_OR_NULL,
    BYTES_OR_NULL,
};

static struct bytes read_kind(struct kafka_reader *reader, enum kind kind)
{
    switch (kind) {
    case STRING:
        return kafka_read_string(reader);
    case STRING_OR_NULL:
        return kafka_read_string_or_null(reader);
    case BYTES_OR_NULL:
        return kafka_read_bytes_or_null(reader);
    }
    return (struct bytes){0};
}

static void views_are_read_in_both_encodings(void **state)
{
    static const struct {
        const char *text;
        bool flexible;
        enum kind kind;
        const char *value; /* NULL: null. */
    } rows[] = {
        {"0003'abc'", false, STRING, "abc"},
        {"0000", false, STRING, ""},
        {"0000", false, STRING_OR_NULL, ""},
        {"ffff", false, STRING_OR_NULL, NULL},
        {"04'abc'", true, STRING, "abc"},
        {"01", true, STRING, ""},
        {"00", true, STRING_OR_NULL, NULL},
        {"00000003'abc'", false, BYTES_OR_NULL, "abc"},
        {"00000000", false, BYTES_OR_NULL, ""},
        {"ffffffff", false, BYTES_OR_NULL, NULL},
        {"04'abc'", true, BYTES_OR_NULL, "abc"},
        {"8400'abc'", true, BYTES_OR_NULL, "abc"}, /* A varint longer than it must be. */
        {"00", true, BYTES_OR_NULL, NULL},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct input input = input_of(rows[i].text, rows[i].flexible);
        struct bytes value = read_kind(&input.reader, rows[i].kind);
        assert_true(kafka_read_done(&input.reader));
        assert_int_equal(value.data == NULL, rows[i].value == NULL);
        assert_true(rows[i].value == NULL || bytes_equal(value, bytes_text(rows[i].value)));
        wire_close(&input.wire);
    }
}

static void views_that_lie_fail(void **state)
{
    static const struct {
        const char *text;
        bool flexible;
        enum kind kind;
    } rows[] = {
        {"", false, STRING},
        {"00", false, STRING},
        {"0004'abc'", false, STRING},
        {"7fff'abc'", false, STRING},
        {"fffe'abc'", false, STRING_OR_NULL},
        {"8000", false, STRING_OR_NULL},
        {"ffff", false, STRING},
        {"", true, STRING},
        {"00", true, STRING},
        {"05'abc'", true, STRING},
        {"80", true, STRING_OR_NULL},
        {"ffffffff0f'abc'", true, STRING_OR_NULL},
        {"ffffffff1f'abc'", true, STRING_OR_NULL},
        {"ffffffffff0f'abc'", true, STRING_OR_NULL},
        {"000003'abc'", false, BYTES_OR_NULL},
        {"00000004'abc'", false, BYTES_OR_NULL},
        {"fffffffe'abc'", false, BYTES_OR_NULL},
        {"80000000'abc'", false, BYTES_OR_NULL},
        {"ffffffff0f'abc'", true, BYTES_OR_NULL},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct input input = input_of(rows[i].text, rows[i].flexible);
        struct bytes value = read_kind(&input.reader, rows[i].kind);
        assert_true(input.reader.bytes.failed);
        assert_null(value.data);
        assert_false(kafka_read_done(&input.reader));
        wire_close(&input.wire);
    }
}

static void a_string_is_below_32_kib_in_both_encodings(void **state)
{
    (void)state;
    for (uint32_t size = INT16_MAX; size <= INT16_MAX + 1; size++) {
        struct wire wire = wire_open(INT16_MAX + 8);
        struct bytes_writer out = bytes_writer(wire.data, wire.capacity);
        write_uvarint(&out, size + 1);
        struct kafka_reader reader = kafka_reader(bytes_of(wire.data, out.position + size), true);
        assert_int_equal(kafka_read_string(&reader).size, size == INT16_MAX ? size : 0);
        assert_int_equal(reader.bytes.failed, size > INT16_MAX);
        wire_close(&wire);
    }
}

static void counts_are_believed_only_if_they_fit(void **state)
{
    static const struct {
        const char *text;
        bool flexible;
        uint32_t item, count;
        bool null, fails;
    } rows[] = {
        {"00000002 01020304", false, 2, 2, false, false},
        {"00000002 010203", false, 2, 0, false, true},
        {"00000000", false, 100, 0, false, false},
        {"ffffffff", false, 2, 0, true, false},
        {"fffffffe 0000", false, 1, 0, false, true},
        {"7fffffff 0000", false, 1, 0, false, true},
        {"000000", false, 1, 0, false, true},
        {"03 01020304", true, 2, 2, false, false},
        {"03 010203", true, 2, 0, false, true},
        {"01", true, 100, 0, false, false},
        {"00", true, 2, 0, true, false},
        {"ffffffff0f 00", true, 1, 0, false, true},
        {"ff", true, 1, 0, false, true},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct input input = input_of(rows[i].text, rows[i].flexible);
        uint32_t count = 99;
        assert_int_equal(kafka_read_count_or_null(&input.reader, rows[i].item, &count),
                         rows[i].null);
        assert_int_equal(count, rows[i].count);
        assert_int_equal(input.reader.bytes.failed, rows[i].fails);
        input.reader.bytes.position = 0;
        input.reader.bytes.failed = false;
        assert_int_equal(kafka_read_count(&input.reader, rows[i].item), rows[i].count);
        assert_int_equal(input.reader.bytes.failed, rows[i].fails || rows[i].null);
        wire_close(&input.wire);
    }
}

static void tags_are_skipped_in_flexible_versions_only(void **state)
{
    static const struct {
        const char *text;
        bool flexible, done;
    } rows[] = {
        {"", false, true},
        {"00", false, false},
        {"00", true, true},
        {"00 00000000", true, true}, /* As librdkafka 2.0 leaves them, */
        {"00 00", true, true},
        {"00 0000000000", true, false}, /* but not for ever, */
        {"00 0001", true, false},       /* and nothing else. */
        {"", true, false},
        {"01 05 00", true, true},
        {"02 05 03'abc' 8601 01'x'", true, true},
        {"01 05 04'abc'", true, false},
        {"01 05", true, false},
        {"02 05 00", true, false},
        {"ffffffff0f 05 00", true, false},
        {"01 05 ffffffff0f 00", true, false},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct input input = input_of(rows[i].text, rows[i].flexible);
        kafka_read_tags(&input.reader);
        assert_int_equal(kafka_read_done(&input.reader), rows[i].done);
        wire_close(&input.wire);
    }
}

static void numbers_are_big_endian(void **state)
{
    (void)state;
    struct input input = input_of("fffe 80000001 8000000000000002 01 00 02", false);
    assert_int_equal(kafka_read_i16(&input.reader), -2);
    assert_int_equal(kafka_read_i32(&input.reader), INT32_MIN + 1);
    assert_int_equal(kafka_read_i64(&input.reader), INT64_MIN + 2);
    assert_true(kafka_read_bool(&input.reader));
    assert_false(kafka_read_bool(&input.reader));
    assert_true(kafka_read_bool(&input.reader));
    assert_true(kafka_read_done(&input.reader));
    assert_int_equal(kafka_read_i64(&input.reader), 0);
    assert_true(input.reader.bytes.failed);
    wire_close(&input.wire);
}

static void ids_are_sixteen_bytes(void **state)
{
    struct topic_id id;
    (void)state;
    struct input input = input_of("00112233 44556677 8899aabb ccddeeff 01", true);
    kafka_read_id(&input.reader, &id);
    assert_int_equal(id.bytes[0], 0);
    assert_int_equal(id.bytes[15], 0xff);
    kafka_read_id(&input.reader, &id);
    assert_true(input.reader.bytes.failed);
    assert_true(topic_id_is_zero(&id));
    wire_close(&input.wire);
}

/* Everything that can be written, once. */
static void write_all(struct kafka_writer *writer)
{
    struct topic_id id = {.bytes = {[0] = 0xaa, [15] = 0xbb}};
    kafka_write_i8(writer, -1);
    kafka_write_bool(writer, true);
    kafka_write_i16(writer, -2);
    kafka_write_i32(writer, 3);
    kafka_write_i64(writer, -4);
    kafka_write_text(writer, "ab");
    kafka_write_text(writer, "");
    kafka_write_text(writer, NULL);
    kafka_write_count(writer, 0);
    kafka_write_count(writer, 300);
    kafka_write_null_array(writer);
    kafka_write_bytes_length(writer, 127);
    kafka_write_id(writer, &id);
    kafka_write_tags(writer);
}

static void what_is_counted_is_what_is_written(void **state)
{
    static const char *const wanted[] = {
        "ff 01 fffe 00000003 fffffffffffffffc 0002'ab' 0000 ffff 00000000 0000012c ffffffff "
        "0000007f aa000000 00000000 00000000 000000bb",
        "ff 01 fffe 00000003 fffffffffffffffc 03'ab' 01 00 01 ad02 00 8001 aa000000 00000000 "
        "00000000 000000bb 00",
    };
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        struct wire wire = wire_open(128);
        uint8_t data[128];
        wire_add(&wire, wanted[i], (struct bytes){0});
        struct kafka_writer writer = {.flexible = i == 1};
        write_all(&writer);
        assert_int_equal(writer.position, wire.size);
        writer = (struct kafka_writer){.data = data, .size = wire.size, .flexible = i == 1};
        write_all(&writer);
        assert_int_equal(writer.position, wire.size);
        assert_memory_equal(data, wire.data, wire.size);
        wire_close(&wire);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_are_read_in_both_encodings),
        cmocka_unit_test(views_that_lie_fail),
        cmocka_unit_test(a_string_is_below_32_kib_in_both_encodings),
        cmocka_unit_test(counts_are_believed_only_if_they_fit),
        cmocka_unit_test(tags_are_skipped_in_flexible_versions_only),
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(ids_are_sixteen_bytes),
        cmocka_unit_test(what_is_counted_is_what_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
