/* Decompression: every form that clients send opens to the same bytes; nothing broken opens, and
 * nothing is read outside. */
#include "shard/codec.h"

#include <lz4frame.h>
#include <setjmp.h>
#include <snappy-c.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

enum { PLAIN_BYTES = 150000 };

struct packed {
    uint8_t data[2 * PLAIN_BYTES];
    uint32_t size;
};

static uint8_t plain[PLAIN_BYTES];

static int make_plain(void **state)
{
    (void)state;
    uint32_t noise = 1;
    for (uint32_t i = 0; i < PLAIN_BYTES; i++) {
        noise = noise * 1664525 + 1013904223;
        plain[i] = i % 16 < 12 ? (uint8_t)('a' + i / 1000 % 26) : (uint8_t)(noise >> 24);
    }
    return 0;
}

static void pack_gzip(struct packed *packed, uint32_t from, uint32_t size)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = plain + from;
    stream.avail_in = size;
    stream.next_out = packed->data + packed->size;
    stream.avail_out = (uInt)(sizeof(packed->data) - packed->size);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    packed->size += (uint32_t)stream.total_out;
    assert_int_equal(deflateEnd(&stream), Z_OK);
}

static void pack_snappy(struct packed *packed, uint32_t from, uint32_t size)
{
    size_t room = sizeof(packed->data) - packed->size;
    assert_int_equal(snappy_compress((const char *)plain + from, size,
                                     (char *)packed->data + packed->size, &room),
                     SNAPPY_OK);
    packed->size += (uint32_t)room;
}

static void pack_xerial(struct packed *packed)
{
    static const uint8_t head[16] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};
    memcpy(packed->data, head, sizeof(head));
    packed->size = sizeof(head);
    for (uint32_t from = 0; from < PLAIN_BYTES; from += 32768) {
        uint32_t at = packed->size;
        packed->size += 4;
        pack_snappy(packed, from, from + 32768 < PLAIN_BYTES ? 32768 : PLAIN_BYTES - from);
        store_be32(packed->data + at, packed->size - at - 4);
    }
}

static void pack_lz4(struct packed *packed)
{
    size_t size = LZ4F_compressFrame(packed->data, sizeof(packed->data), plain, PLAIN_BYTES, NULL);
    assert_false(LZ4F_isError(size));
    packed->size = (uint32_t)size;
}

/* Without the content's size in the frame, as streaming writers do it. */
static void pack_zstd(struct packed *packed)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_inBuffer in = {.src = plain, .size = PLAIN_BYTES};
    ZSTD_outBuffer out = {.dst = packed->data, .size = sizeof(packed->data)};
    while (in.pos < in.size) {
        assert_false(ZSTD_isError(ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue)));
    }
    assert_int_equal(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0);
    assert_int_equal(ZSTD_getFrameContentSize(packed->data, out.pos), ZSTD_CONTENTSIZE_UNKNOWN);
    packed->size = (uint32_t)out.pos;
    (void)ZSTD_freeCCtx(context);
}

static void assert_opens(enum codec codec, const struct packed *packed)
{
    struct codec_output output;
    assert_int_equal(codec_open(codec, bytes_of(packed->data, packed->size), &output), OK);
    assert_int_equal(output.bytes.size, PLAIN_BYTES);
    assert_memory_equal(output.bytes.data, plain, PLAIN_BYTES);
    codec_free(&output);
    assert_null(output.owned);
}

/* Cut short anywhere it is refused; with a flipped bit it may open to other bytes, but in bounds.
 */
static void assert_sturdy(enum codec codec, const struct packed *packed)
{
    struct codec_output output;
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t size = (uint32_t)((uint64_t)packed->size * i / 64);
        uint8_t *exact = malloc(size + 1);
        memcpy(exact, packed->data, size);
        exact = realloc(exact, size > 0 ? size : 1);
        enum err err = codec_open(codec, bytes_of(exact, size), &output);
        /* Chunks of xerial may end between two. */
        assert_true(err == ERR_BATCH_INVALID || codec == CODEC_SNAPPY);
        codec_free(&output);
        free(exact);
    }
    uint8_t *exact = malloc(packed->size);
    memcpy(exact, packed->data, packed->size);
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t at = i < 40 ? i % packed->size : i * 7919 % packed->size;
        exact[at] ^= (uint8_t)(1 << i % 8);
        if (codec_open(codec, bytes_of(exact, packed->size), &output) == OK) {
            assert_true(output.bytes.size <= CODEC_OUTPUT_BYTES_MAX);
        }
        codec_free(&output);
        exact[at] = packed->data[at];
    }
    free(exact);
}

static void gzip_of_several_members_opens_as_one(void **state)
{
    (void)state;
    static struct packed packed;
    packed.size = 0;
    pack_gzip(&packed, 0, 100000);
    pack_gzip(&packed, 100000, PLAIN_BYTES - 100000);
    assert_opens(CODEC_GZIP, &packed);
    packed.data[packed.size++] = 'x'; /* Nothing may stand behind the last member. */
    struct codec_output output;
    assert_int_equal(codec_open(CODEC_GZIP, bytes_of(packed.data, packed.size), &output),
                     ERR_BATCH_INVALID);
    packed.size = 0;
    pack_gzip(&packed, 0, PLAIN_BYTES);
    assert_sturdy(CODEC_GZIP, &packed);
}

static void snappy_opens_raw_and_in_chunks(void **state)
{
    (void)state;
    static struct packed packed;
    packed.size = 0;
    pack_snappy(&packed, 0, PLAIN_BYTES);
    assert_opens(CODEC_SNAPPY, &packed);
    assert_sturdy(CODEC_SNAPPY, &packed);
    pack_xerial(&packed);
    assert_opens(CODEC_SNAPPY, &packed);
    assert_sturdy(CODEC_SNAPPY, &packed);
}

static void snappy_that_claims_gigabytes_is_refused_before_memory_is_taken(void **state)
{
    (void)state;
    static const uint8_t claim[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 0};
    static const uint8_t nothing[] = {0};
    struct codec_output output;
    assert_int_equal(codec_open(CODEC_SNAPPY, bytes_of(claim, sizeof(claim)), &output),
                     ERR_BATCH_TOO_LARGE);
    assert_int_equal(codec_open(CODEC_SNAPPY, bytes_of(nothing, 1), &output), OK);
    assert_int_equal(output.bytes.size, 0);
    codec_free(&output);
}

static void lz4_and_zstd_open(void **state)
{
    (void)state;
    static struct packed packed;
    pack_lz4(&packed);
    assert_opens(CODEC_LZ4, &packed);
    assert_sturdy(CODEC_LZ4, &packed);
    pack_zstd(&packed);
    assert_opens(CODEC_ZSTD, &packed);
    assert_sturdy(CODEC_ZSTD, &packed);
}

/* The caller's room is enough with a byte more than comes out; no byte is written behind it. */
static void assert_into_room(enum codec codec, struct bytes input)
{
    struct bytes opened;
    uint8_t *room = malloc(PLAIN_BYTES + 1);
    assert_non_null(room);
    assert_int_equal(codec_open_into(codec, input, room, PLAIN_BYTES + 1, &opened), OK);
    assert_ptr_equal(opened.data, room);
    assert_true(bytes_equal(opened, bytes_of(plain, PLAIN_BYTES)));
    free(room);
    static const uint32_t small[] = {1, 100, PLAIN_BYTES / 2, PLAIN_BYTES - 1};
    for (uint32_t i = 0; i < ARRAY_COUNT(small); i++) {
        room = malloc(small[i]);
        assert_non_null(room);
        assert_int_equal(codec_open_into(codec, input, room, small[i], &opened),
                         ERR_BATCH_TOO_LARGE);
        free(room);
    }
}

static void more_than_the_bound_is_told_apart_from_broken(void **state)
{
    (void)state;
    static struct packed packed;
    struct codec_output output;
    for (enum codec codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        packed.size = 0;
        switch (codec) {
        case CODEC_GZIP:
            pack_gzip(&packed, 0, PLAIN_BYTES);
            break;
        case CODEC_SNAPPY:
            pack_xerial(&packed);
            break;
        case CODEC_LZ4:
            pack_lz4(&packed);
            break;
        case CODEC_ZSTD:
            pack_zstd(&packed);
            break;
        case CODEC_NONE:
            fail();
        }
        struct bytes input = bytes_of(packed.data, packed.size);
        assert_int_equal(codec_open_within(codec, input, PLAIN_BYTES - 1, &output),
                         ERR_BATCH_TOO_LARGE);
        assert_null(output.owned);
        assert_int_equal(codec_open_within(codec, input, PLAIN_BYTES + 1, &output), OK);
        codec_free(&output);
        assert_into_room(codec, input);
        input.size -= 1;
        enum err err = codec_open_within(codec, input, PLAIN_BYTES + 65536, &output);
        assert_int_equal(err, ERR_BATCH_INVALID);
    }
    /* A window of 256 MiB: nobody has room for that. */
    static const uint8_t wide[] = {0x28, 0xb5, 0x2f, 0xfd, 0, (28 - 10) << 3, 1, 0, 0};
    assert_int_equal(codec_open(CODEC_ZSTD, bytes_of(wide, sizeof(wide)), &output),
                     ERR_BATCH_TOO_LARGE);
}

static void a_codec_that_does_not_exist_opens_nothing(void **state)
{
    (void)state;
    struct codec_output output;
    assert_int_equal(codec_open((enum codec)5, bytes_of(plain, 10), &output), ERR_BATCH_INVALID);
    assert_int_equal(codec_open(CODEC_NONE, bytes_of(plain, 10), &output), OK);
    assert_ptr_equal(output.bytes.data, plain);
    codec_free(&output);
    uint8_t room[1];
    struct bytes opened;
    assert_int_equal(codec_open_into((enum codec)5, bytes_of(plain, 10), room, 1, &opened),
                     ERR_BATCH_INVALID);
    assert_int_equal(codec_open_into(CODEC_NONE, bytes_of(plain, 10), room, 1, &opened), OK);
    assert_ptr_equal(opened.data, plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gzip_of_several_members_opens_as_one),
        cmocka_unit_test(snappy_opens_raw_and_in_chunks),
        cmocka_unit_test(snappy_that_claims_gigabytes_is_refused_before_memory_is_taken),
        cmocka_unit_test(lz4_and_zstd_open),
        cmocka_unit_test(more_than_the_bound_is_told_apart_from_broken),
        cmocka_unit_test(a_codec_that_does_not_exist_opens_nothing),
    };
    return cmocka_run_group_tests(tests, make_plain, NULL);
}
