/* A batch opens to the same in whatever steps it is unpacked, and its records are judged the same
 * in whatever parts they come. */
#include "shard/unpack.h"

#include <lz4frame.h>
#include <setjmp.h>
#include <snappy-c.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

enum { PLAIN_BYTES = 9000, PACKED_BYTES = 4 * PLAIN_BYTES };

struct form {
    const char *name;
    enum codec codec;
    uint8_t data[PACKED_BYTES];
    uint32_t size;
};

static uint8_t plain[PLAIN_BYTES];
static struct form forms[9];
static uint32_t form_count;
static uint32_t noise = 1;

static uint32_t draw(uint32_t below)
{
    noise = noise * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)noise * below) >> 32);
}

static struct form *form_add(const char *name, enum codec codec)
{
    assert_true(form_count < ARRAY_COUNT(forms));
    struct form *form = &forms[form_count++];
    form->name = name;
    form->codec = codec;
    return form;
}

static void add_gzip(struct form *form, uint32_t from, uint32_t size)
{
    z_stream stream = {.next_in = plain + from,
                       .avail_in = size,
                       .next_out = form->data + form->size,
                       .avail_out = PACKED_BYTES - form->size};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    form->size += (uint32_t)stream.total_out;
    assert_int_equal(deflateEnd(&stream), Z_OK);
}

static void add_snappy(struct form *form, uint32_t from, uint32_t size)
{
    size_t room = PACKED_BYTES - form->size;
    assert_int_equal(
        snappy_compress((const char *)plain + from, size, (char *)form->data + form->size, &room),
        SNAPPY_OK);
    form->size += (uint32_t)room;
}

static void add_xerial(struct form *form, uint32_t chunk)
{
    static const uint8_t head[16] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};
    memcpy(form->data, head, sizeof(head));
    form->size = sizeof(head);
    for (uint32_t from = 0; from < PLAIN_BYTES; from += chunk) {
        uint32_t at = form->size;
        form->size += 4;
        add_snappy(form, from, min_u32(chunk, PLAIN_BYTES - from));
        store_be32(form->data + at, form->size - at - 4);
    }
}

static void add_lz4(struct form *form, bool checked)
{
    LZ4F_preferences_t how = {0};
    how.frameInfo.blockMode = checked ? LZ4F_blockLinked : LZ4F_blockIndependent;
    how.frameInfo.contentChecksumFlag = checked ? LZ4F_contentChecksumEnabled : 0;
    how.frameInfo.blockSizeID = checked ? LZ4F_max64KB : LZ4F_max4MB;
    size_t size = LZ4F_compressFrame(form->data, PACKED_BYTES, plain, PLAIN_BYTES, &how);
    assert_false(LZ4F_isError(size));
    form->size = (uint32_t)size;
}

/* `tell`: the frame says how much comes out. */
static void add_zstd(struct form *form, uint32_t from, uint32_t size, bool tell)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_inBuffer in = {.src = plain + from, .size = size};
    ZSTD_outBuffer out = {.dst = form->data + form->size, .size = PACKED_BYTES - form->size};
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, tell);
    while (!tell && in.pos < in.size) {
        assert_false(ZSTD_isError(ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue)));
    }
    assert_int_equal(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0);
    form->size += (uint32_t)out.pos;
    (void)ZSTD_freeCCtx(context);
}

static int make_forms(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < PLAIN_BYTES; i++) {
        plain[i] = i % 16 < 11 ? (uint8_t)('a' + i / 500 % 26) : (uint8_t)draw(256);
    }
    add_gzip(form_add("gzip", CODEC_GZIP), 0, PLAIN_BYTES);
    add_gzip(form_add("gzip of two", CODEC_GZIP), 0, 4000);
    add_gzip(&forms[form_count - 1], 4000, PLAIN_BYTES - 4000);
    add_snappy(form_add("snappy", CODEC_SNAPPY), 0, PLAIN_BYTES);
    add_xerial(form_add("snappy in chunks", CODEC_SNAPPY), 1000);
    add_lz4(form_add("lz4", CODEC_LZ4), false);
    add_lz4(form_add("lz4, linked and checked", CODEC_LZ4), true);
    add_zstd(form_add("zstd", CODEC_ZSTD), 0, PLAIN_BYTES, true);
    add_zstd(form_add("zstd of no told size", CODEC_ZSTD), 0, PLAIN_BYTES, false);
    add_zstd(form_add("zstd of two", CODEC_ZSTD), 0, 4000, true);
    add_zstd(&forms[form_count - 1], 4000, PLAIN_BYTES - 4000, true);
    return 0;
}

/* --- Bytes. --- */

static uint8_t opened[2 * PLAIN_BYTES];

/* Opens into `opened` in steps of `step` bytes; each into a room of just that size. */
static enum err open_in_steps(struct codec_stream *stream, enum codec codec, struct bytes input,
                              uint32_t step, uint32_t output_max, uint32_t *size)
{
    uint8_t *room = malloc(step);
    assert_non_null(room);
    *size = 0;
    uint32_t idle = 0;
    enum err err = codec_stream_begin(stream, codec, input, output_max);
    while (err == OK && !stream->over) {
        struct bytes bytes;
        assert_true(idle++ < 100);
        err = stream->wanted > 0 ? codec_stream_widen(stream) : OK;
        assert_int_equal(err, OK);
        err = codec_stream_step(stream, room, step, &bytes);
        assert_true(bytes.size <= step && *size + bytes.size <= sizeof(opened));
        memcpy(opened + *size, bytes.data, bytes.size);
        *size += bytes.size;
        idle = bytes.size > 0 ? 0 : idle;
    }
    codec_stream_end(stream);
    free(room);
    return err;
}

static const uint32_t steps[] = {1, 2, 7, 26, 255, 999, 4096, 65536};

/* Says the same whatever the step, and as what opens it at once. */
static enum err assert_same(struct codec_stream *stream, enum codec codec, struct bytes input,
                            uint32_t output_max)
{
    struct codec_output output;
    enum err wanted = codec_open_within(codec, input, output_max, &output);
    for (uint32_t i = 0; i < ARRAY_COUNT(steps); i++) {
        uint32_t size;
        assert_int_equal(open_in_steps(stream, codec, input, steps[i], output_max, &size), wanted);
        if (wanted == OK) {
            assert_int_equal(size, output.bytes.size);
            assert_memory_equal(opened, output.bytes.data, size);
        }
    }
    codec_free(&output);
    return wanted;
}

static void any_step_opens_the_same(void **state)
{
    (void)state;
    struct codec_stream stream = {0}; /* Of all: what one left behind is no matter to the next. */
    for (uint32_t i = 0; i < form_count; i++) {
        const struct form *form = &forms[i];
        struct bytes input = bytes_of(form->data, form->size);
        uint32_t size;
        for (uint32_t s = 0; s < ARRAY_COUNT(steps); s++) {
            assert_int_equal(
                open_in_steps(&stream, form->codec, input, steps[s], PLAIN_BYTES, &size), OK);
            assert_int_equal(size, PLAIN_BYTES);
            assert_memory_equal(opened, plain, PLAIN_BYTES);
        }
        assert_int_equal(assert_same(&stream, form->codec, input, PLAIN_BYTES), OK);
        assert_int_equal(assert_same(&stream, form->codec, input, PLAIN_BYTES - 1),
                         ERR_BATCH_TOO_LARGE);
        assert_int_equal(assert_same(&stream, form->codec, input, 10), ERR_BATCH_TOO_LARGE);
    }
    codec_stream_free(&stream);
}

static void what_is_cut_or_spoiled_is_refused_the_same(void **state)
{
    (void)state;
    struct codec_stream stream = {0};
    for (uint32_t i = 0; i < form_count; i++) {
        struct form *form = &forms[i];
        for (uint32_t n = 0; n < 40; n++) { /* Of exact size. */
            uint32_t size = n < 30 ? n : draw(form->size);
            uint8_t *exact = malloc(max_u32(1, size));
            assert_non_null(exact);
            memcpy(exact, form->data, size);
            (void)assert_same(&stream, form->codec, bytes_of(exact, size), 2 * PLAIN_BYTES);
            free(exact);
        }
        uint8_t *exact = malloc(form->size + 1);
        assert_non_null(exact);
        memcpy(exact, form->data, form->size);
        exact[form->size] = 'x';
        assert_int_equal(
            assert_same(&stream, form->codec, bytes_of(exact, form->size + 1), 2 * PLAIN_BYTES),
            ERR_BATCH_INVALID);
        for (uint32_t n = 0; n < 120; n++) {
            uint32_t at = n < 40 ? n % form->size : draw(form->size);
            exact[at] ^= (uint8_t)(1 << draw(8));
            (void)assert_same(&stream, form->codec, bytes_of(exact, form->size), PLAIN_BYTES + 100);
            exact[at] = form->data[at];
        }
        free(exact);
    }
    codec_stream_free(&stream);
}

static void a_stream_between_two_batches_keeps_little(void **state)
{
    (void)state;
    static uint8_t zeros[8 << 20], packed[10 << 20];
    struct codec_stream stream = {0};
    size_t size = sizeof(packed);
    assert_int_equal(snappy_compress((char *)zeros, sizeof(zeros), (char *)packed, &size),
                     SNAPPY_OK);
    uint8_t room[4096];
    struct bytes bytes;
    struct bytes input = bytes_of(packed, (uint32_t)size);
    assert_int_equal(codec_stream_begin(&stream, CODEC_SNAPPY, input, sizeof(zeros)), OK);
    assert_int_equal(codec_stream_step(&stream, room, sizeof(room), &bytes), OK);
    assert_int_equal(bytes.size, 0);
    assert_int_equal(stream.wanted, sizeof(zeros));
    assert_int_equal(codec_stream_widen(&stream), OK);
    assert_int_equal(codec_stream_step(&stream, room, sizeof(room), &bytes), OK);
    assert_int_equal(bytes.size, sizeof(room));
    codec_stream_end(&stream);
    assert_null(stream.wide);
    assert_int_equal(stream.wide_bytes, 0);
    size = ZSTD_compress(packed, sizeof(packed), zeros, sizeof(zeros), 1);
    input = bytes_of(packed, (uint32_t)size);
    assert_int_equal(codec_stream_begin(&stream, CODEC_ZSTD, input, sizeof(zeros)), OK);
    assert_int_equal(codec_stream_step(&stream, room, sizeof(room), &bytes), OK);
    codec_stream_end(&stream);
    codec_stream_free(&stream);
    assert_null(stream.zstd);
}

/* --- Records. --- */

struct judge {
    bool keys;
};

static enum err judge_record(void *context, int32_t index, const struct record_fact *fact)
{
    const struct judge *judge = context;
    if (fact->offset_delta != index) {
        return ERR_BATCH_INVALID;
    }
    return judge->keys && fact->keyless ? ERR_BATCH_KEY : OK;
}

/* The rules once more, on all of it. */
static enum err judge_whole(struct bytes data, int32_t count, bool keys)
{
    struct bytes_reader reader = bytes_reader(data);
    for (int32_t i = 0; i < count; i++) {
        struct record record;
        if (!record_read(&reader, &record) || record.offset_delta != i) {
            return ERR_BATCH_INVALID;
        }
        if (keys && record.key.data == NULL) {
            return ERR_BATCH_KEY;
        }
    }
    return bytes_left(&reader) == 0 ? OK : ERR_BATCH_INVALID;
}

/* In two parts, of exact size: [0, at), and what that left with the rest. */
static enum err judge_parts(struct bytes data, uint32_t at, int32_t count, bool keys)
{
    struct judge judge = {.keys = keys};
    struct record_feed feed;
    record_feed_begin(&feed, count, judge_record, &judge);
    uint32_t position = 0;
    enum err err = OK;
    for (uint32_t part = 0; part < 2 && err == OK; part++) {
        uint32_t end = part == 0 ? at : data.size;
        uint8_t *exact = malloc(max_u32(1, end - position));
        assert_non_null(exact);
        memcpy(exact, data.data + position, end - position);
        uint32_t used;
        err = record_feed(&feed, bytes_of(exact, end - position), part == 1, &used);
        assert_true(used <= end - position);
        bool read = feed.read == feed.count && !feed.reading;
        assert_true(err != OK || read || part == 1 ||
                    end - position - used < RECORD_PART_BYTES_MAX);
        position += used;
        free(exact);
    }
    return err == OK && position < data.size ? ERR_BATCH_INVALID : err;
}

/* Some records, of which keys, values and headers may be missing or long; how many. */
static int32_t make_records(uint8_t *at, uint32_t *size)
{
    static uint8_t bytes[400];
    struct record_header headers[3];
    struct record_batch batch;
    record_batch_begin(&batch, at, 4096);
    uint32_t count = 1 + draw(4);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t h = 0; h < ARRAY_COUNT(headers); h++) {
            headers[h].name = bytes_of(bytes, draw(80));
            headers[h].value = draw(3) == 0 ? (struct bytes){0} : bytes_of(bytes, draw(80));
        }
        struct record_input input = {
            .key = draw(3) == 0 ? (struct bytes){0} : bytes_of(bytes, draw(90)),
            .value = draw(4) == 0 ? (struct bytes){0} : bytes_of(bytes, draw(sizeof(bytes))),
            .timestamp = (int64_t)draw(UINT32_MAX) << draw(30),
            .headers = headers,
            .header_count = draw(ARRAY_COUNT(headers) + 1),
        };
        assert_true(record_batch_add(&batch, &input));
    }
    *size = record_batch_end(&batch).size;
    return (int32_t)count;
}

static void records_in_parts_are_judged_as_whole_ones(void **state)
{
    (void)state;
    static uint8_t batch[4096];
    uint32_t seen[3] = {0};
    for (uint32_t n = 0; n < 1500; n++) {
        uint32_t size;
        int32_t count = make_records(batch, &size);
        struct bytes data = bytes_of(batch + BATCH_HEADER_BYTES, size - BATCH_HEADER_BYTES);
        for (uint32_t spoiled = draw(3); spoiled > 0; spoiled--) {
            batch[BATCH_HEADER_BYTES + draw(data.size)] ^= (uint8_t)(1 << draw(8));
        }
        data.size -= draw(5) == 0 ? draw(data.size) : 0;
        count += draw(9) == 0 ? 1 : draw(9) == 0 ? -1 : 0;
        bool keys = draw(2) == 0;
        if (count < 1) {
            continue;
        }
        enum err wanted = judge_whole(data, count, keys);
        seen[wanted == OK ? 0 : wanted == ERR_BATCH_KEY ? 1 : 2]++;
        for (uint32_t at = 0; at <= data.size; at++) {
            assert_int_equal(judge_parts(data, at, count, keys), wanted);
        }
    }
    assert_true(seen[0] > 100 && seen[1] > 100 && seen[2] > 100);
}

/* --- Both. --- */

static uint8_t packed_batch[BATCH_HEADER_BYTES + PACKED_BYTES];

static struct bytes pack_batch(enum codec codec, const uint8_t *records, uint32_t size)
{
    struct form form = {.codec = codec};
    assert_true(size <= PLAIN_BYTES);
    memcpy(plain, records, size);
    if (codec == CODEC_GZIP) {
        add_gzip(&form, 0, size);
    } else if (codec == CODEC_SNAPPY) {
        add_snappy(&form, 0, size);
    } else if (codec == CODEC_LZ4) {
        form.size = (uint32_t)LZ4F_compressFrame(form.data, PACKED_BYTES, plain, size, NULL);
    } else if (codec == CODEC_ZSTD) {
        add_zstd(&form, 0, size, draw(2) == 0);
    } else {
        memcpy(form.data, plain, size);
        form.size = size;
    }
    memcpy(packed_batch + BATCH_HEADER_BYTES, form.data, form.size);
    return bytes_of(packed_batch, BATCH_HEADER_BYTES + form.size);
}

static enum err unpack_in(struct unpack *unpack, struct bytes data, const struct batch *batch,
                          struct judge *judge, uint32_t size)
{
    const struct unpack_options options = {
        .output_max = PLAIN_BYTES, .whole = true, .each = judge_record, .context = judge};
    uint8_t *room = malloc(size);
    assert_non_null(room);
    enum err err = unpack_begin(unpack, data, batch, &options);
    while (err == OK && !unpack->over) {
        err = unpack_step(unpack, room, size);
    }
    unpack_end(unpack);
    free(room);
    return err;
}

static void batches_are_judged_the_same_in_any_room(void **state)
{
    (void)state;
    static uint8_t records[4096];
    static const uint32_t rooms[] = {UNPACK_ROOM_BYTES_MIN, 61, 200, 65536};
    struct unpack unpack = {0};
    uint32_t sound = 0, wrong = 0;
    for (uint32_t n = 0; n < 2000; n++) {
        uint32_t size;
        int32_t count = make_records(records, &size);
        size -= BATCH_HEADER_BYTES;
        uint8_t *at = records + BATCH_HEADER_BYTES;
        if (draw(2) == 0) {
            at[draw(size)] ^= (uint8_t)(1 << draw(8));
        }
        struct judge judge = {.keys = draw(2) == 0};
        enum err wanted = judge_whole(bytes_of(at, size), count, judge.keys);
        enum codec codec = (enum codec)draw(CODEC_ZSTD + 1);
        struct bytes data = pack_batch(codec, at, size);
        struct batch batch = {
            .length = data.size, .attributes = (uint16_t)codec, .record_count = count};
        bool spoiled = codec != CODEC_NONE && draw(4) == 0;
        if (spoiled) {
            packed_batch[BATCH_HEADER_BYTES + draw(data.size - BATCH_HEADER_BYTES)] ^= 4;
        }
        enum err first = OK;
        for (uint32_t i = 0; i < ARRAY_COUNT(rooms); i++) {
            enum err err = unpack_in(&unpack, data, &batch, &judge, rooms[i]);
            first = i == 0 ? err : first;
            assert_int_equal(err == OK, first == OK); /* What is wrong twice is told as either. */
        }
        assert_true(spoiled || first == wanted);
        sound += first == OK;
        wrong += first != OK;
    }
    assert_true(sound > 300 && wrong > 300);
    unpack_free(&unpack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_step_opens_the_same),
        cmocka_unit_test(what_is_cut_or_spoiled_is_refused_the_same),
        cmocka_unit_test(a_stream_between_two_batches_keeps_little),
        cmocka_unit_test(records_in_parts_are_judged_as_whole_ones),
        cmocka_unit_test(batches_are_judged_the_same_in_any_room),
    };
    return cmocka_run_group_tests(tests, make_forms, NULL);
}
