/* The checks of a record batch: each wrong thing gets its own error, and nothing else passes. */
#include "core/crc32c.h"
#include "core/limits.h"
#include "shard/batch.h"
#include "shard/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

static const struct batch_rules rules_usual = {
    .bytes_max = 1048588,
    .timestamp_type = TIMESTAMP_CREATE,
    .before_max_ms = INT64_MAX,
    .after_max_ms = 3600000,
    .now_ms = 1700000000000,
    .zstd_allowed = true,
    .deep = true,
    .require_zero_base = true,
};

struct sample {
    uint8_t data[4096];
    uint32_t size;
};

static void sample_seal(struct sample *sample)
{
    store_be32(sample->data + 8, sample->size - BATCH_PREFIX_BYTES);
    store_be32(sample->data + 17,
               crc32c(0, sample->data + BATCH_CRC_FROM, sample->size - BATCH_CRC_FROM));
}

static uint32_t sample_records(uint8_t *data, uint32_t room, uint32_t count)
{
    struct bytes_writer writer = bytes_writer(data, room);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t body[64];
        struct bytes_writer record = bytes_writer(body, sizeof(body));
        write_u8(&record, 0);
        write_varlong(&record, (int64_t)i * 10);
        write_varint(&record, (int32_t)i);
        write_varint(&record, 1);
        write_bytes(&record, "k", 1);
        write_varint(&record, 5);
        write_bytes(&record, "value", 5);
        write_varint(&record, 1);
        write_varint(&record, 1);
        write_bytes(&record, "h", 1);
        write_varint(&record, -1);
        write_varint(&writer, (int32_t)record.position);
        write_bytes(&writer, body, record.position);
    }
    assert_false(writer.failed);
    return writer.position;
}

static void sample_make(struct sample *sample, uint32_t count)
{
    memset(sample, 0, sizeof(*sample));
    uint8_t *at = sample->data;
    store_be32(at + 12, UINT32_MAX);
    at[16] = 2;
    store_be32(at + 23, count - 1);
    store_be64(at + 27, 1699999999000);
    store_be64(at + 35, 1699999999000 + (uint64_t)(count - 1) * 10);
    store_be64(at + 43, UINT64_MAX);
    store_be16(at + 51, UINT16_MAX);
    store_be32(at + 53, UINT32_MAX);
    store_be32(at + 57, count);
    sample->size = BATCH_HEADER_BYTES + sample_records(at + BATCH_HEADER_BYTES, 4000, count);
    sample_seal(sample);
}

static enum err sample_check(const struct sample *sample, const struct batch_rules *rules)
{
    struct batch batch;
    /* A copy of exact size: the sanitizer sees every byte that is read beyond it. */
    uint8_t *exact = malloc(sample->size);
    memcpy(exact, sample->data, sample->size);
    enum err err = batch_check(bytes_of(exact, sample->size), rules, &batch);
    free(exact);
    return err;
}

static void a_good_batch_passes(void **state)
{
    (void)state;
    struct sample sample;
    sample_make(&sample, 3);
    assert_int_equal(sample_check(&sample, &rules_usual), OK);
}

static void every_flipped_bit_is_seen(void **state)
{
    (void)state;
    struct sample sample;
    sample_make(&sample, 2);
    for (uint32_t bit = 0; bit < sample.size * 8; bit++) {
        uint32_t byte = bit / 8;
        if (byte >= 12 && byte < 16) {
            continue; /* The leader epoch is the broker's to write. */
        }
        sample.data[byte] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(sample_check(&sample, &rules_usual), OK);
        sample.data[byte] ^= (uint8_t)(1 << bit % 8);
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct sample sample;
    sample_make(&sample, 3);
    for (uint32_t size = sample.size; size-- > 1;) {
        sample.size = size;
        assert_int_equal(sample_check(&sample, &rules_usual), ERR_BATCH_INVALID);
    }
}

static void each_wrong_field_gets_its_error(void **state)
{
    (void)state;

    static const struct {
        uint32_t at, width;
        uint64_t value;
        enum err err;
    } cases[] = {
        {21, 2, 1 << 5, ERR_BATCH_INVALID},   /* control */
        {21, 2, 1 << 3, ERR_BATCH_TIMESTAMP}, /* LogAppendTime on a CreateTime topic */
        {21, 2, 5, ERR_BATCH_INVALID},        /* unknown codec */
        {21, 2, 1 << 7, ERR_BATCH_INVALID},   /* reserved bit */
        {21, 2, 1 << 4, ERR_BATCH_INVALID},   /* transactional, without a producer */
        {57, 4, 0, ERR_BATCH_INVALID},        /* no record */
        {57, 4, 4, ERR_BATCH_INVALID},        /* more than lastOffsetDelta says */
        {43, 8, 7, ERR_BATCH_INVALID},        /* producer without epoch */
        {35, 8, 1700003700000, ERR_BATCH_TIMESTAMP},
    };

    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sample sample;
        sample_make(&sample, 3);
        uint8_t *at = sample.data + cases[i].at;
        if (cases[i].width == 2) {
            store_be16(at, (uint16_t)cases[i].value);
        } else if (cases[i].width == 4) {
            store_be32(at, (uint32_t)cases[i].value);
        } else {
            store_be64(at, cases[i].value);
        }
        sample_seal(&sample);
        assert_int_equal(sample_check(&sample, &rules_usual), cases[i].err);
    }
}

static void limits_and_bases_are_checked(void **state)
{
    (void)state;
    struct sample sample;
    struct batch_rules rules = rules_usual;
    sample_make(&sample, 3);
    rules.bytes_max = sample.size - 1;
    assert_int_equal(sample_check(&sample, &rules), ERR_BATCH_TOO_LARGE);
    store_be64(sample.data, 1);
    assert_int_equal(sample_check(&sample, &rules_usual), ERR_BATCH_INVALID);
    sample.data[16] = 1;
    assert_int_equal(sample_check(&sample, &rules_usual), ERR_BATCH_INVALID);
}

static void a_lie_inside_is_found_by_opening_the_batch(void **state)
{
    (void)state;
    struct sample sample;
    struct batch_rules shallow = rules_usual;
    shallow.deep = false;
    sample_make(&sample, 3);
    store_be32(sample.data + 57, 2);
    store_be32(sample.data + 23, 1);
    sample_seal(&sample);
    assert_int_equal(sample_check(&sample, &shallow), OK);
    assert_int_equal(sample_check(&sample, &rules_usual), ERR_BATCH_INVALID);
}

static void zstd_is_opened_and_needs_a_new_enough_request(void **state)
{
    (void)state;
    struct sample sample;
    uint8_t records[4000];
    sample_make(&sample, 3);
    uint32_t size = sample_records(records, sizeof(records), 3);
    size_t packed = ZSTD_compress(sample.data + BATCH_HEADER_BYTES, 3000, records, size, 1);
    sample.size = BATCH_HEADER_BYTES + (uint32_t)packed;
    store_be16(sample.data + 21, CODEC_ZSTD);
    sample_seal(&sample);
    assert_int_equal(sample_check(&sample, &rules_usual), OK);
    struct batch_rules old = rules_usual;
    old.zstd_allowed = false;
    assert_int_equal(sample_check(&sample, &old), ERR_BATCH_CODEC);
    sample.size -= 3;
    sample_seal(&sample);
    assert_int_equal(sample_check(&sample, &rules_usual), ERR_BATCH_INVALID);
}

/* One record with a value of zeros; its size. `plain` is all zero. */
static uint32_t zeros_record(uint8_t *plain, uint32_t value_bytes)
{
    uint8_t head[16];
    struct bytes_writer body = bytes_writer(head, sizeof(head));
    write_u8(&body, 0);
    write_varlong(&body, 0);
    write_varint(&body, 0);
    write_varint(&body, -1);
    write_varint(&body, (int32_t)value_bytes);
    struct bytes_writer writer = bytes_writer(plain, 32);
    write_varint(&writer, (int32_t)(body.position + value_bytes + 1)); /* No headers: a zero. */
    write_bytes(&writer, head, body.position);
    assert_false(writer.failed);
    return writer.position + value_bytes + 1;
}

static uint32_t zeros_pack(enum codec codec, uint8_t *plain, uint32_t size, uint8_t *at,
                           uint32_t room)
{
    if (codec == CODEC_ZSTD) {
        size_t packed = ZSTD_compress(at, room, plain, size, 1);
        assert_false(ZSTD_isError(packed));
        return (uint32_t)packed;
    }
    z_stream stream = {.next_in = plain, .avail_in = size, .next_out = at, .avail_out = (uInt)room};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    uint32_t packed = (uint32_t)stream.total_out;
    assert_int_equal(deflateEnd(&stream), Z_OK);
    return packed;
}

/* Checks a batch of one record of packed zeros. */
static enum err zeros_check(uint32_t value_bytes, enum codec codec, uint32_t bytes_max)
{
    struct batch_rules rules = rules_usual;
    struct sample head;
    struct batch batch;
    rules.bytes_max = bytes_max;
    sample_make(&head, 1);
    uint32_t room = value_bytes / 100 + 1000;
    uint8_t *plain = calloc(1, value_bytes + 100);
    uint8_t *data = malloc(BATCH_HEADER_BYTES + room);
    assert_true(plain != NULL && data != NULL);
    memcpy(data, head.data, BATCH_HEADER_BYTES);
    store_be16(data + 21, (uint16_t)codec);
    uint32_t size = zeros_record(plain, value_bytes);
    size = BATCH_HEADER_BYTES + zeros_pack(codec, plain, size, data + BATCH_HEADER_BYTES, room);
    store_be32(data + 8, size - BATCH_PREFIX_BYTES);
    store_be32(data + 17, crc32c(0, data + BATCH_CRC_FROM, size - BATCH_CRC_FROM));
    enum err err = batch_check(bytes_of(data, size), &rules, &batch);
    free(plain);
    free(data);
    return err;
}

static void a_bomb_is_refused(void **state)
{
    (void)state;
    const uint32_t usual = 1048588;
    /* The 100 KiB that it is in gzip would allow 25 MiB, the 4 KiB in zstd allow 4 MiB. */
    assert_int_equal(zeros_check(100 << 20, CODEC_ZSTD, usual), ERR_BATCH_TOO_LARGE);
    assert_int_equal(zeros_check(100 << 20, CODEC_GZIP, usual), ERR_BATCH_TOO_LARGE);
    assert_int_equal(zeros_check(5 << 20, CODEC_ZSTD, usual), ERR_BATCH_TOO_LARGE);
}

static void what_packs_well_is_no_bomb(void **state)
{
    (void)state;
    assert_int_equal(zeros_check(900 << 10, CODEC_GZIP, 1048588), OK);
    assert_int_equal(zeros_check(900 << 10, CODEC_ZSTD, 1048588), OK);
    assert_int_equal(zeros_check(900 << 10, CODEC_ZSTD, 10000), OK);
    assert_int_equal(zeros_check(20 << 20, CODEC_ZSTD, 32 << 20),
                     OK); /* Unpacked it may come, too. */
    assert_int_equal(codec_output_max(10, 1 << 20), 4 << 20);
    assert_int_equal(codec_output_max(100 << 10, 1 << 20), 25 << 20);
    assert_int_equal(codec_output_max(1 << 20, 8 << 20), CODEC_OUTPUT_BYTES_MAX);
    assert_int_equal(codec_output_max(1 << 20, 1 << 20), 32 << 20);
    assert_int_equal(codec_output_max(10, BATCH_BYTES_MAX), 64 << 20);
}

static void append_time_mends_the_crc_without_reading_the_records(void **state)
{
    (void)state;
    struct sample sample;
    struct batch_rules rules = rules_usual;
    rules.timestamp_type = TIMESTAMP_APPEND;
    sample_make(&sample, 5);
    batch_stamp_append_time(sample.data, sample.size, 1700000000123);
    assert_int_equal(sample_check(&sample, &rules), OK);
    batch_stamp(sample.data, 0, 7);
    assert_int_equal(sample_check(&sample, &rules), OK);
    assert_int_equal(load_be32(sample.data + 12), 7);
}

static void a_time_finds_its_record(void **state)
{
    (void)state;
    struct sample sample;
    uint64_t offset = 0;
    int64_t found = 0;
    sample_make(&sample, 5);
    batch_stamp(sample.data, 1000, 0);
    struct bytes data = bytes_of(sample.data, sample.size);
    assert_int_equal(batch_find_time(data, 1699999999011, 0, NULL, &offset, &found), OK);
    assert_int_equal(offset, 1002);
    assert_int_equal(found, 1699999999020);
    assert_int_equal(batch_find_time(data, 1699999999041, 0, NULL, &offset, &found), ERR_NOT_FOUND);
    assert_true(batch_timestamp_max_offset(data, &found, &offset));
    assert_int_equal(offset, 1004);
}

/* One record, as a client may write it that lies. */
static void sample_lie(struct sample *sample, int64_t base, int64_t time_delta, int32_t delta)
{
    sample_make(sample, 1);
    struct bytes_writer writer = bytes_writer(sample->data + BATCH_HEADER_BYTES, 100);
    struct bytes_writer body = bytes_writer(sample->data + BATCH_HEADER_BYTES + 1, 99);
    write_u8(&body, 0);
    write_varlong(&body, time_delta);
    write_varint(&body, delta);
    write_varint(&body, -1);
    write_varint(&body, -1);
    write_varint(&body, 0);
    assert_true(body.position < 64);
    write_varint(&writer, (int32_t)body.position);
    store_be64(sample->data + 27, (uint64_t)base);
    sample->size = BATCH_HEADER_BYTES + 1 + body.position;
    sample_seal(sample);
}

static void a_lie_that_was_stored_is_damage_when_it_is_searched(void **state)
{
    (void)state;
    struct sample sample;
    uint64_t offset = 0;
    int64_t found = 0;
    sample_lie(&sample, 1000, 5, 0);
    assert_int_equal(
        batch_find_time(bytes_of(sample.data, sample.size), 1001, 0, NULL, &offset, &found), OK);
    assert_int_equal(found, 1005);
    sample_lie(&sample, INT64_MAX, 1, 0);
    assert_int_equal(
        batch_find_time(bytes_of(sample.data, sample.size), 1, 0, NULL, &offset, &found),
        ERR_DAMAGED);
    sample_lie(&sample, INT64_MIN, -1, 0);
    assert_int_equal(
        batch_find_time(bytes_of(sample.data, sample.size), 1, 0, NULL, &offset, &found),
        ERR_DAMAGED);
    sample_lie(&sample, 1000, 5, -1);
    assert_int_equal(
        batch_find_time(bytes_of(sample.data, sample.size), 1, 0, NULL, &offset, &found),
        ERR_DAMAGED);
    sample_lie(&sample, 1000, 5, 1);
    assert_false(batch_timestamp_max_offset(bytes_of(sample.data, sample.size), &found, &offset));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_batch_passes),
        cmocka_unit_test(every_flipped_bit_is_seen),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(each_wrong_field_gets_its_error),
        cmocka_unit_test(limits_and_bases_are_checked),
        cmocka_unit_test(a_lie_inside_is_found_by_opening_the_batch),
        cmocka_unit_test(zstd_is_opened_and_needs_a_new_enough_request),
        cmocka_unit_test(a_bomb_is_refused),
        cmocka_unit_test(what_packs_well_is_no_bomb),
        cmocka_unit_test(append_time_mends_the_crc_without_reading_the_records),
        cmocka_unit_test(a_time_finds_its_record),
        cmocka_unit_test(a_lie_that_was_stored_is_damage_when_it_is_searched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
