/* Records of fetched batches: from an offset on, through all codecs, in room that is lent; what
 * cannot be read is told. */
#include "net/records.h"

#include "core/limits.h"
#include "shard/codec.h"
#include "tests/unit/net/wire.h"

#include <lz4frame.h>
#include <setjmp.h>
#include <snappy-c.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

enum { BATCH_MAX = 1 << 20, VALUES_BYTES = 100000 };

/* A batch of records "vv...", each of `bytes`, at `base`, in a block of exactly its size. */
static struct bytes batch_with(uint32_t bytes, uint32_t count, uint64_t base)
{
    static uint8_t values[VALUES_BYTES];
    struct record_input *input = calloc(count, sizeof(*input));
    assert_non_null(input);
    memset(values, 'v', sizeof(values));
    for (uint32_t i = 0; i < count; i++) {
        input[i].value = bytes_of(values, bytes);
        input[i].timestamp = 1000 - 3 * (int64_t)i; /* They need not grow. */
    }
    uint32_t size = record_batch_size(input, count);
    uint8_t *data = malloc(size);
    assert_non_null(data);
    record_batch_encode(input, count, data, size);
    wire_stamp(data, base, 1);
    free(input);
    return bytes_of(data, size);
}

static struct bytes batch_of(uint32_t count, uint64_t base)
{
    return batch_with(2, count, base);
}

static size_t pack_gzip(const uint8_t *from, size_t size, uint8_t *to)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)from;
    stream.avail_in = (uInt)size;
    stream.next_out = to;
    stream.avail_out = BATCH_MAX;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    (void)deflateEnd(&stream);
    return stream.total_out;
}

static size_t pack_snappy(const uint8_t *from, size_t size, uint8_t *to)
{
    size_t packed = BATCH_MAX;
    assert_int_equal(snappy_compress((const char *)from, size, (char *)to, &packed), SNAPPY_OK);
    return packed;
}

/* The same batch with its records packed; takes `plain` over. */
static struct bytes packed_of(struct bytes plain, enum codec codec)
{
    uint8_t *data = malloc(BATCH_MAX + BATCH_HEADER_BYTES);
    assert_non_null(data);
    const uint8_t *from = plain.data + BATCH_HEADER_BYTES;
    size_t size = plain.size - BATCH_HEADER_BYTES;
    uint8_t *to = data + BATCH_HEADER_BYTES;
    size_t packed = codec == CODEC_GZIP     ? pack_gzip(from, size, to)
                    : codec == CODEC_SNAPPY ? pack_snappy(from, size, to)
                    : codec == CODEC_LZ4    ? LZ4F_compressFrame(to, BATCH_MAX, from, size, NULL)
                                            : ZSTD_compress(to, BATCH_MAX, from, size, 3);
    assert_true(packed > 0 && packed < BATCH_MAX);
    memcpy(data, plain.data, BATCH_HEADER_BYTES);
    store_be16(data + 21, (uint16_t)codec);
    store_be32(data + 8, (uint32_t)packed + BATCH_HEADER_BYTES - BATCH_PREFIX_BYTES);
    free((void *)(uintptr_t)plain.data);
    return bytes_of(data, (uint32_t)packed + BATCH_HEADER_BYTES);
}

static struct fetch_piece piece_of(struct bytes batch)
{
    return (struct fetch_piece){.data = batch.data, .size = batch.size};
}

static void pieces_free(struct fetch_piece *pieces, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)pieces[i].data);
    }
}

/* Reads all; `lent` counts how often room was lent. The offsets are from..end - 1. */
static void assert_reads(const struct fetch_piece *pieces, uint32_t count, uint64_t from,
                         uint64_t end, uint32_t *lent)
{
    struct records records;
    struct records_entry entry;
    uint8_t *room = NULL;
    uint64_t next = from;
    *lent = 0;
    records_begin(&records, pieces, count, from);
    for (;;) {
        enum err err = records_next(&records, &entry);
        if (err == ERR_NO_MEMORY) {
            free(room);
            room = malloc(records.room_wanted);
            assert_non_null(room);
            records_lend(&records, room, records.room_wanted);
            (*lent)++;
            continue;
        }
        if (err == ERR_NOT_FOUND) {
            break;
        }
        assert_int_equal(err, OK);
        assert_int_equal(entry.offset, next);
        assert_true(entry.record.value.size >= 2);
        assert_int_equal(entry.record.value.data[0], 'v');
        next++;
    }
    assert_int_equal(next, end);
    assert_int_equal(records_next(&records, &entry), ERR_NOT_FOUND);
    free(room);
}

static void records_begin_where_they_are_asked_for(void **state)
{
    (void)state;
    struct fetch_piece pieces[3];
    uint32_t lent;
    /* Two batches in one piece, an empty piece, one more. */
    struct bytes one = batch_of(3, 100), two = batch_of(1, 103);
    uint8_t *both = malloc(one.size + two.size);
    assert_non_null(both);
    memcpy(both, one.data, one.size);
    memcpy(both + one.size, two.data, two.size);
    pieces[0] = (struct fetch_piece){.data = both, .size = one.size + two.size};
    pieces[1] = (struct fetch_piece){0};
    pieces[2] = piece_of(batch_of(10, 104));
    for (uint64_t from = 100; from <= 114; from++) {
        assert_reads(pieces, 3, from, 114, &lent);
        assert_int_equal(lent, 0);
    }
    assert_reads(pieces, 0, 5, 5, &lent);
    pieces_free(pieces, 3);
    free((void *)(uintptr_t)one.data);
    free((void *)(uintptr_t)two.data);
}

static void times_are_the_records_own_or_of_the_append(void **state)
{
    (void)state;
    struct bytes batch = batch_of(2, 7);
    struct fetch_piece piece = piece_of(batch);
    struct records records;
    struct records_entry entry;
    records_begin(&records, &piece, 1, 8);
    assert_int_equal(records_next(&records, &entry), OK);
    assert_int_equal(entry.timestamp, 997);
    batch_stamp_append_time((uint8_t *)(uintptr_t)batch.data, batch.size, 5000);
    records_begin(&records, &piece, 1, 8);
    assert_int_equal(records_next(&records, &entry), OK);
    assert_int_equal(entry.timestamp, 5000);
    pieces_free(&piece, 1);
}

static void all_codecs_open_in_room_that_is_lent(void **state)
{
    (void)state;
    for (enum codec codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        struct fetch_piece pieces[2];
        uint32_t lent;
        pieces[0] = piece_of(packed_of(batch_of(20, 0), codec));
        pieces[1] = piece_of(packed_of(batch_of(30, 20), codec));
        assert_reads(pieces, 2, 0, 50, &lent);
        assert_int_equal(lent, 1); /* The second batch finds room. */
        assert_reads(pieces, 2, 20, 50, &lent);
        assert_int_equal(lent, 1);
        assert_reads(pieces, 2, 50, 50, &lent);
        assert_int_equal(lent, 0); /* What is not asked for is not opened. */
        pieces_free(pieces, 2);
        /* It packs well: the first guess is too small. */
        pieces[0] = piece_of(packed_of(batch_with(VALUES_BYTES, 4, 0), codec));
        assert_reads(pieces, 1, 3, 4, &lent);
        assert_true(lent > 1);
        pieces_free(pieces, 1);
    }
}

static void what_comes_out_is_bounded(void **state)
{
    (void)state;

    /* 200 MiB of zeros in 200 KiB, which no batch may hold: refused, however much is lent. */
    enum { ZEROS = 200 << 20 };

    uint8_t *zeros = calloc(1, ZEROS);
    uint8_t *data = malloc(BATCH_MAX);
    assert_non_null(zeros);
    assert_non_null(data);
    struct bytes head = batch_of(1, 0);
    memcpy(data, head.data, BATCH_HEADER_BYTES);
    size_t packed =
        ZSTD_compress(data + BATCH_HEADER_BYTES, BATCH_MAX - BATCH_HEADER_BYTES, zeros, ZEROS, 1);
    free(zeros);
    assert_false(ZSTD_isError(packed));
    store_be16(data + 21, CODEC_ZSTD);
    store_be32(data + 8, (uint32_t)packed + BATCH_HEADER_BYTES - BATCH_PREFIX_BYTES);
    struct fetch_piece piece = {.data = data, .size = (uint32_t)packed + BATCH_HEADER_BYTES};
    struct records records;
    struct records_entry entry;
    records_begin(&records, &piece, 1, 0);
    uint32_t most = 0;
    uint8_t *room = NULL;
    enum err err;
    while ((err = records_next(&records, &entry)) == ERR_NO_MEMORY) {
        assert_true(records.room_wanted > most);
        most = records.room_wanted;
        free(room);
        room = malloc(most);
        assert_non_null(room);
        records_lend(&records, room, most);
    }
    assert_int_equal(err, ERR_DAMAGED);
    assert_true(most <= (uint32_t)CODEC_OUTPUT_BYTES_MAX + 1);
    free(room);
    free((void *)(uintptr_t)head.data);
    free(data);
}

static void brokers_batches_are_passed_over(void **state)
{
    (void)state;
    struct fetch_piece pieces[2] = {piece_of(batch_of(1, 0)), piece_of(batch_of(2, 1))};
    ((uint8_t *)(uintptr_t)pieces[0].data)[22] = BATCH_CONTROL | BATCH_TRANSACTIONAL;
    uint32_t lent;
    struct records records;
    struct records_entry entry;
    records_begin(&records, pieces, 2, 0);
    assert_int_equal(records_next(&records, &entry), OK);
    assert_int_equal(entry.offset, 1);
    assert_reads(pieces, 2, 1, 3, &lent);
    pieces_free(pieces, 2);
}

/* Each byte set to each value: read or told, within the piece, and to an end. */
static void damage_is_told(void **state)
{
    (void)state;
    static uint8_t room[128 << 10];
    for (uint32_t packed = 0; packed < 2; packed++) {
        struct bytes batch = batch_of(3, 0);
        batch = packed == 1 ? packed_of(batch, CODEC_SNAPPY) : batch;
        uint8_t *data = (uint8_t *)(uintptr_t)batch.data;
        struct fetch_piece piece = piece_of(batch);
        uint32_t told = 0;
        for (uint32_t at = 0; at < batch.size; at++) {
            uint8_t before = data[at];
            for (uint32_t value = 0; value < 256; value++) {
                struct records records;
                struct records_entry entry;
                data[at] = (uint8_t)value;
                records_begin(&records, &piece, 1, 0);
                records_lend(&records, room, sizeof(room));
                enum err err;
                uint32_t count = 0;
                while ((err = records_next(&records, &entry)) == OK) {
                    assert_true(count++ < batch.size);
                }
                told += err == ERR_DAMAGED;
                assert_true(err == ERR_DAMAGED || err == ERR_NOT_FOUND || err == ERR_NO_MEMORY);
            }
            data[at] = before;
        }
        assert_true(told > 2000);
        pieces_free(&piece, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_begin_where_they_are_asked_for),
        cmocka_unit_test(times_are_the_records_own_or_of_the_append),
        cmocka_unit_test(all_codecs_open_in_room_that_is_lent),
        cmocka_unit_test(what_comes_out_is_bounded),
        cmocka_unit_test(brokers_batches_are_passed_over),
        cmocka_unit_test(damage_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
