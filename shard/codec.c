/* Each codec appends to a growing output; growth stops at the bound. The output is kept whole: the
 * records are parsed from it, and the bound is what a core can spare. A caller's own room is an
 * output that has grown to its bound already. */
#include "shard/codec.h"

#include "core/assert.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum {
    /* Writers that stream declare the window of their level, up to 128 MiB, whatever they write. */
    ZSTD_WINDOW_LOG_MAX = 27,
};

struct growing {
    uint8_t *data;
    size_t size, capacity, max;
    enum err err; /* If it is not the input that is broken. */
};

/* At least `room` free bytes, or false at the bound. */
static bool grow(struct growing *out, size_t room)
{
    size_t wanted = out->size + room;
    if (wanted <= out->capacity) {
        return true;
    }
    if (wanted > out->max) {
        out->err = ERR_BATCH_TOO_LARGE;
        return false;
    }
    size_t capacity = out->capacity * 2 > wanted ? out->capacity * 2 : wanted;
    capacity = capacity < out->max ? capacity : out->max;
    uint8_t *data = realloc(out->data, capacity);
    if (data == NULL) {
        out->err = ERR_NO_MEMORY;
        return false;
    }
    out->data = data;
    out->capacity = capacity;
    return true;
}

/* At least one free byte, and `room` if the bound leaves so many. */
static bool grow_some(struct growing *out, size_t room)
{
    size_t left = out->max - out->size;
    return grow(out, left > 0 && left < room ? left : room);
}

static bool open_gzip(struct bytes input, struct growing *out)
{
    z_stream stream = {0};
    int rc = inflateInit2(&stream, 15 + 16);
    bool ok = rc == Z_OK;
    /* zlib does not write its input, its type only says so. */
    stream.next_in = (Bytef *)(uintptr_t)input.data;
    stream.avail_in = input.size;
    while (ok && (stream.avail_in > 0 || rc != Z_STREAM_END)) {
        if (rc == Z_STREAM_END && inflateReset(&stream) != Z_OK) {
            break;
        }
        ok = grow_some(out, 4096);
        if (ok) {
            stream.next_out = out->data + out->size;
            stream.avail_out = (uInt)(out->capacity - out->size);
            uInt before = stream.avail_out;
            rc = inflate(&stream, Z_NO_FLUSH);
            out->size += before - stream.avail_out;
            ok = rc == Z_STREAM_END ||
                 (rc == Z_OK && (before != stream.avail_out || stream.avail_in > 0));
        }
    }
    (void)inflateEnd(&stream);
    if (rc == Z_MEM_ERROR) {
        out->err = ERR_NO_MEMORY;
    }
    return ok && rc == Z_STREAM_END && stream.avail_in == 0;
}

static bool open_snappy_block(struct bytes input, struct growing *out)
{
    size_t size = 0;
    const char *data = (const char *)input.data;
    /* A byte more: an empty block needs a place, too. */
    if (snappy_uncompressed_length(data, input.size, &size) != SNAPPY_OK || !grow(out, size + 1)) {
        return false;
    }
    size_t written = out->capacity - out->size;
    if (snappy_uncompress(data, input.size, (char *)out->data + out->size, &written) != SNAPPY_OK) {
        return false;
    }
    out->size += written;
    return true;
}

/* xerial: magic 8, version 4, compatible version 4, then {length i32, block} repeated. */
static bool open_snappy(struct bytes input, struct growing *out)
{
    static const uint8_t magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
    if (input.size < 16 || memcmp(input.data, magic, 8) != 0) {
        return open_snappy_block(input, out);
    }
    struct bytes_reader reader = bytes_reader(input);
    read_skip(&reader, 16);
    while (bytes_left(&reader) > 0) {
        uint32_t length = read_be32(&reader);
        struct bytes block = read_bytes(&reader, length);
        if (reader.failed || !open_snappy_block(block, out)) {
            return false;
        }
    }
    return !reader.failed;
}

static bool open_lz4(struct bytes input, struct growing *out)
{
    LZ4F_dctx *context = NULL;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION))) {
        out->err = ERR_NO_MEMORY;
        return false;
    }
    size_t used = 0, hint = 1;
    bool ok = true;
    while (ok && used < input.size && hint != 0) {
        ok = grow_some(out, 65536);
        if (ok) {
            size_t source = input.size - used, target = out->capacity - out->size;
            hint = LZ4F_decompress(context, out->data + out->size, &target, input.data + used,
                                   &source, NULL);
            ok = !LZ4F_isError(hint) && (source > 0 || target > 0);
            if (!ok && strcmp(LZ4F_getErrorName(hint), "ERROR_allocation_failed") == 0) {
                out->err = ERR_NO_MEMORY;
            }
            used += source;
            out->size += target;
        }
    }
    (void)LZ4F_freeDecompressionContext(context);
    return ok && hint == 0 && used == input.size;
}

static enum err zstd_err(size_t code)
{
    switch ((int)ZSTD_getErrorCode(code)) {
    case ZSTD_error_memory_allocation:
        return ERR_NO_MEMORY;
    case ZSTD_error_frameParameter_windowTooLarge:
        return ERR_BATCH_TOO_LARGE;
    default:
        return OK;
    }
}

static bool open_zstd(struct bytes input, struct growing *out)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ZSTD_inBuffer source = {.src = input.data, .size = input.size};
    size_t hint = 1;
    bool ok = context != NULL && !ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax,
                                                                      ZSTD_WINDOW_LOG_MAX));
    out->err = ok ? OK : ERR_NO_MEMORY;
    while (ok && (source.pos < source.size || hint != 0)) {
        ok = grow_some(out, 65536);
        if (ok) {
            ZSTD_outBuffer target = {.dst = out->data, .size = out->capacity, .pos = out->size};
            size_t before = source.pos;
            hint = ZSTD_decompressStream(context, &target, &source);
            ok = !ZSTD_isError(hint) && (source.pos > before || target.pos > out->size);
            out->err = zstd_err(hint);
            out->size = target.pos;
        }
    }
    (void)ZSTD_freeDCtx(context);
    return ok && hint == 0;
}

uint32_t codec_output_max(uint32_t size, uint32_t batch_bytes_max)
{
    uint64_t max =
        min_u64((uint64_t)size * CODEC_RATIO_MAX, (uint64_t)batch_bytes_max * CODEC_BATCHES_MAX);
    max = max_u64(max, max_u64(batch_bytes_max, CODEC_OUTPUT_BYTES_ANY));
    return (uint32_t)min_u64(max, CODEC_OUTPUT_BYTES_MAX);
}

enum err codec_open(enum codec codec, struct bytes input, struct codec_output *output)
{
    return codec_open_within(codec, input, CODEC_OUTPUT_BYTES_MAX, output);
}

static bool open_any(enum codec codec, struct bytes input, struct growing *out)
{
    switch (codec) {
    case CODEC_NONE:
        return false;
    case CODEC_GZIP:
        return open_gzip(input, out);
    case CODEC_SNAPPY:
        return open_snappy(input, out);
    case CODEC_LZ4:
        return open_lz4(input, out);
    case CODEC_ZSTD:
        return open_zstd(input, out);
    }
    return false; /* Not one that we know. */
}

enum err codec_open_within(enum codec codec, struct bytes input, uint32_t output_max,
                           struct codec_output *output)
{
    struct growing out = {.max = output_max};
    *output = (struct codec_output){0};
    if (codec == CODEC_NONE) {
        output->bytes = input;
        return OK;
    }
    if (!open_any(codec, input, &out)) {
        free(out.data);
        return out.err != OK ? out.err : ERR_BATCH_INVALID;
    }
    output->owned = out.data;
    output->bytes = bytes_of(out.data, (uint32_t)out.size);
    return OK;
}

enum err codec_open_into(enum codec codec, struct bytes input, uint8_t *room, uint32_t size,
                         struct bytes *plain)
{
    struct growing out = {.data = room, .capacity = size, .max = size};
    if (codec == CODEC_NONE) {
        *plain = input;
        return OK;
    }
    if (!open_any(codec, input, &out)) {
        return out.err != OK ? out.err : ERR_BATCH_INVALID;
    }
    ASSERT(out.data == room && out.size <= size);
    *plain = bytes_of(room, (uint32_t)out.size);
    return OK;
}

void codec_free(struct codec_output *output)
{
    free(output->owned);
    *output = (struct codec_output){0};
}
