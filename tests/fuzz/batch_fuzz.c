/* Whatever a client sends as a batch, and whatever a disk gives back as a frame, a trailer or a
 * header: it is refused or it is sound, and nothing outside of it is read.
 *
 * The first byte chooses what the rest is. A batch gets its lengths and checksums mended first, or
 * no input would ever come past them. */
#include "core/assert.h"
#include "core/crc32c.h"
#include "shard/batch.h"
#include "shard/codec.h"
#include "shard/deleted.h"
#include "shard/frame.h"
#include "shard/segment.h"
#include "shard/superblock.h"
#include "shard/trailer.h"
#include "shard/unpack.h"

#include <stdlib.h>
#include <string.h>

enum { FUZZ_INPUT_BYTES_MAX = 64 << 10 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The verdict on the content of a batch, with a room of `size` bytes; one that uses it between two
 * slices is no matter. */
static enum err fuzz_sliced(struct bytes data, const struct batch_rules *rules,
                            const struct batch *batch, uint32_t size)
{
    struct unpack unpack = {0};
    uint8_t *room = malloc(size);
    ASSERT(room != NULL);
    enum err err = batch_check_content_begin(&unpack, data, rules, batch);
    while (err == OK && !unpack.over) {
        err = unpack_step(&unpack, room, size);
        memset(room, 0xa5, size);
    }
    unpack_free(&unpack);
    free(room);
    return err;
}

static void fuzz_batch(uint8_t *data, uint32_t size, bool mend)
{
    struct batch_rules rules = {
        .bytes_max = FUZZ_INPUT_BYTES_MAX,
        .before_max_ms = INT64_MAX,
        .after_max_ms = INT64_MAX,
        .zstd_allowed = true,
        .deep = true,
    };
    if (mend && size >= BATCH_HEADER_BYTES) {
        store_be32(data + 8, size - BATCH_PREFIX_BYTES);
        data[16] = 2;
        store_be32(data + 17, crc32c(0, data + BATCH_CRC_FROM, size - BATCH_CRC_FROM));
    }
    struct batch batch;
    uint64_t offset = 0;
    int64_t found = 0;
    bool sound = batch_check(bytes_of(data, size), &rules, &batch) == OK;
    if (batch_check_header(bytes_of(data, size), &rules, &batch) == OK) {
        uint32_t room = UNPACK_ROOM_BYTES_MIN + size % 199;
        enum err err = fuzz_sliced(bytes_of(data, size), &rules, &batch, room);
        ASSERT((err == OK) == sound);
    }
    if (batch_find_time(bytes_of(data, size), 0, 0, NULL, &offset, &found) == OK) {
        ASSERT(found >= 0);
    }
    bool readable = batch_timestamp_max_offset(bytes_of(data, size), &found, &offset);
    if (sound && readable) {
        ASSERT(offset - (uint64_t)batch.base_offset < (uint64_t)batch.record_count);
        batch_stamp(data, 1000, 3);
        batch_stamp_append_time(data, size, 5);
        rules.timestamp_type = TIMESTAMP_APPEND;
        ASSERT(batch_check(bytes_of(data, size), &rules, &batch) == OK);
    }
}

static void fuzz_codec(enum codec codec, const uint8_t *data, uint32_t size)
{
    enum { OUTPUT_BYTES_MAX = 4 << 20 };

    struct codec_output output;
    struct bytes input = bytes_of(data, size);
    enum err wanted = codec_open_within(codec, input, OUTPUT_BYTES_MAX, &output);
    ASSERT(wanted != OK || output.bytes.size <= OUTPUT_BYTES_MAX);
    /* The same in steps, each into a room of its own. */
    struct codec_stream stream = {0};
    uint32_t step = 1 + size * 7 % 1000, at = 0;
    enum err err = codec_stream_begin(&stream, codec, input, OUTPUT_BYTES_MAX);
    while (err == OK && !stream.over) {
        uint8_t *room = malloc(step);
        struct bytes plain = {0};
        ASSERT(room != NULL);
        err = stream.wanted > 0 ? codec_stream_widen(&stream) : OK;
        err = err == OK ? codec_stream_step(&stream, room, step, &plain) : err;
        if (wanted == OK && plain.size > 0) {
            ASSERT(plain.size <= output.bytes.size - at);
            ASSERT(memcmp(output.bytes.data + at, plain.data, plain.size) == 0);
        }
        at += plain.size;
        free(room);
    }
    codec_stream_free(&stream);
    ASSERT(err == wanted);
    ASSERT(wanted != OK || at == output.bytes.size);
    codec_free(&output);
}

static void fuzz_frame(uint8_t *data, uint32_t size)
{
    struct frame_header frame;
    if (size < FRAME_HEADER_BYTES) {
        return;
    }
    memcpy(data, "FFRM\1", 5);
    store_le32(data + 88, frame_body_crc(data + FRAME_HEADER_BYTES, size - FRAME_HEADER_BYTES));
    store_le32(data + 28, size - FRAME_HEADER_BYTES);
    store_le32(data + 92, crc32c(0, data, 92));
    if (frame_header_decode(data, &frame) == OK &&
        frame_check_body(&frame, data + FRAME_HEADER_BYTES) == OK) {
        struct note note;
        ASSERT((uint64_t)frame.batches * FRAME_ROW_BYTES <= size);
        if ((frame.flags & FRAME_CONTROL) != 0 && frame.body_bytes > 0) {
            enum err err =
                note_decode(bytes_of(data + FRAME_HEADER_BYTES, frame.body_bytes), &note);
            ASSERT(err == OK);
            for (uint32_t i = 0; i < note.range_count; i++) {
                struct deleted_range range = note_range(&note, i);
                ASSERT(range.first < range.end);
            }
        }
    }
}

static void fuzz_trailer(const uint8_t *data, uint32_t size)
{
    struct segment_index index;
    struct producer_table *producers = producer_table_create();
    segment_index_init(&index);
    if (producers != NULL && trailer_decode(bytes_of(data, size), &index, producers, NULL) == OK) {
        uint32_t wanted = trailer_size(&index, producers, NULL);
        uint8_t *body = malloc(wanted);
        ASSERT(body != NULL);
        trailer_encode(&index, producers, NULL, body);
        free(body);
    }
    producer_table_destroy(producers);
    segment_index_deinit(&index);
}

static void fuzz_block(uint8_t *block)
{
    struct segment_header header;
    struct segment_seal seal;
    struct superblock super;
    store_le32(block + 4092, crc32c(0, block, 4092));
    if (segment_header_decode(block, &header) == OK) {
        segment_header_encode(&header, block);
        ASSERT(segment_header_decode(block, &header) == OK);
    }
    if (segment_seal_decode(block, &seal) == OK) {
        segment_seal_encode(&seal, block);
    }
    if (superblock_decode(block, &super) == OK) {
        superblock_encode(&super, block);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > FUZZ_INPUT_BYTES_MAX) {
        return 0;
    }
    uint8_t kind = data[0] % 9;
    uint32_t rest = (uint32_t)size - 1;
    /* Of exact size: the sanitizer sees each byte that is read beyond. */
    uint8_t *copy = calloc(1, kind == 8 ? SEGMENT_HEADER_BYTES : rest + (rest == 0));
    ASSERT(copy != NULL);
    memcpy(copy, data + 1, kind == 8 && rest > SEGMENT_HEADER_BYTES ? SEGMENT_HEADER_BYTES : rest);
    if (kind < 2) {
        fuzz_batch(copy, rest, kind == 1);
    } else if (kind < 6) {
        fuzz_codec((enum codec)(kind - 1), copy, rest);
    } else if (kind == 6) {
        fuzz_frame(copy, rest);
    } else if (kind == 7) {
        fuzz_trailer(copy, rest);
    } else {
        fuzz_block(copy);
    }
    free(copy);
    return 0;
}
