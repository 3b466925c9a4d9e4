/* Each codec unpacks a step at a time, into a room of the caller's. Who wants all of it at once has
 * an output that grows, up to the bound; a caller's own room has grown to its bound already.
 *
 *     begin -> step -> step -> over     any error: the same in whatever steps it is unpacked
 *
 * Nothing here depends on where a step ends: a decoder is given what a step may take of the input,
 * and what it unpacked beyond the room it keeps. */
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
    ZSTD_HEADER_BYTES_MAX = 18,
    /* What a step may take where the room is smaller: what unpacks to nothing takes time, too. */
    STEP_INPUT_BYTES_MIN = 64 << 10,
    /* What is kept for the next batch: a context with the window of zstd's usual levels, and rooms
     * for the usual blocks. */
    ZSTD_KEPT_BYTES_MAX = 5 << 20,
    WIDE_KEPT_BYTES_MAX = 1 << 20,
};

uint32_t codec_output_max(uint32_t size, uint32_t batch_bytes_max)
{
    uint64_t max =
        min_u64((uint64_t)size * CODEC_RATIO_MAX, (uint64_t)batch_bytes_max * CODEC_BATCHES_MAX);
    max = max_u64(max, max_u64(batch_bytes_max, CODEC_OUTPUT_BYTES_ANY));
    return (uint32_t)min_u64(max, CODEC_OUTPUT_BYTES_MAX);
}

/* --- A step at a time. --- */

/* Where a step unpacks to, and what it may take of the input. */
struct step {
    uint8_t *room;
    uint32_t size, made;
    uint32_t input; /* Behind `used` of the stream. */
};

static uint32_t input_left(const struct codec_stream *stream)
{
    ASSERT(stream->used <= stream->input.size);
    return stream->input.size - stream->used;
}

static void step_took(struct codec_stream *stream, struct step *step, size_t used, size_t made)
{
    ASSERT(used <= step->input && made <= step->size - step->made);
    stream->used += (uint32_t)used;
    step->input -= (uint32_t)used;
    step->made += (uint32_t)made;
}

/* A decoder that neither took nor gave anything: it wants more than there is, or than it may have
 * in this step. */
static enum err step_stuck(const struct codec_stream *stream)
{
    return input_left(stream) == 0 ? ERR_BATCH_INVALID : OK;
}

static enum err begin_gzip(struct codec_stream *stream)
{
    if (stream->gzip != NULL) {
        return inflateReset(stream->gzip) == Z_OK ? OK : ERR_BATCH_INVALID;
    }
    z_stream *made = calloc(1, sizeof(*made));
    if (made == NULL || inflateInit2(made, 15 + 16) != Z_OK) {
        free(made);
        return ERR_NO_MEMORY;
    }
    stream->gzip = made;
    return OK;
}

static enum err step_gzip(struct codec_stream *stream, struct step *step)
{
    z_stream *gzip = stream->gzip;
    while (step->made < step->size) {
        if (!stream->inside && input_left(stream) == 0) {
            stream->over = true;
            return OK;
        }
        if (!stream->inside && inflateReset(gzip) != Z_OK) {
            return ERR_BATCH_INVALID;
        }
        stream->inside = true;
        /* zlib does not write its input, its type only says so. */
        gzip->next_in = (Bytef *)(uintptr_t)(stream->input.data + stream->used);
        gzip->avail_in = step->input;
        gzip->next_out = step->room + step->made;
        gzip->avail_out = step->size - step->made;
        int rc = inflate(gzip, Z_NO_FLUSH);
        size_t used = step->input - gzip->avail_in;
        size_t made = step->size - step->made - gzip->avail_out;
        step_took(stream, step, used, made);
        stream->inside = rc != Z_STREAM_END;
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) {
            return rc == Z_MEM_ERROR ? ERR_NO_MEMORY : ERR_BATCH_INVALID;
        }
        if (used == 0 && made == 0 && stream->inside) {
            return step_stuck(stream);
        }
    }
    return OK;
}

/* The next block of snappy's: xerial's framing is magic 8, version 4, compatible version 4, then
 * {length i32, block} repeated. */
static bool snappy_block(struct codec_stream *stream, struct bytes *block)
{
    struct bytes_reader reader = bytes_reader(stream->input);
    reader.position = stream->used;
    uint32_t size = stream->chunks ? read_be32(&reader) : input_left(stream);
    *block = read_bytes(&reader, size);
    return !reader.failed;
}

static void snappy_took(struct codec_stream *stream, struct bytes block)
{
    stream->used = (uint32_t)(block.data - stream->input.data) + block.size;
    stream->over = stream->used == stream->input.size;
}

/* Hands out of the wide room what fits. */
static void snappy_pour(struct codec_stream *stream, struct step *step)
{
    uint32_t size = min_u32(stream->wide_end - stream->wide_at, step->size - step->made);
    memcpy(step->room + step->made, stream->wide + stream->wide_at, size);
    stream->wide_at += size;
    step->made += size;
    stream->over = stream->wide_at == stream->wide_end && stream->used == stream->input.size;
}

/* A block that ends in the room, or else in the wide one if there is room. `*full`: in neither. */
static enum err snappy_open(struct codec_stream *stream, struct step *step, struct bytes block,
                            bool *full)
{
    const char *data = (const char *)block.data;
    size_t size = 0;
    if (snappy_uncompressed_length(data, block.size, &size) != SNAPPY_OK) {
        return ERR_BATCH_INVALID;
    }
    if (size > stream->left - step->made) {
        return ERR_BATCH_TOO_LARGE;
    }
    /* Three bytes make 64 at most: who claims more is not given a room. */
    if (size / 22 > block.size) {
        return ERR_BATCH_INVALID;
    }
    bool wide = size > step->size;
    *full = wide ? step->made > 0 || stream->wide_bytes < size : size > step->size - step->made;
    if (*full) {
        stream->wanted = wide && step->made == 0 ? (uint32_t)size : 0;
        return OK;
    }
    uint8_t *to = wide ? stream->wide : step->room + step->made;
    size_t written = wide ? stream->wide_bytes : step->size - step->made;
    if (snappy_uncompress(data, block.size, (char *)to, &written) != SNAPPY_OK) {
        return ERR_BATCH_INVALID;
    }
    ASSERT(written == size);
    snappy_took(stream, block);
    if (wide) {
        stream->wide_at = 0;
        stream->wide_end = (uint32_t)size;
        stream->over = false;
    } else {
        step->made += (uint32_t)size;
    }
    return OK;
}

static enum err step_snappy(struct codec_stream *stream, struct step *step)
{
    uint32_t from = stream->used;
    bool full = false;
    enum err err = OK;
    stream->wanted = 0;
    while (err == OK && !full && !stream->over) {
        struct bytes block;
        if (stream->wide_at < stream->wide_end) {
            snappy_pour(stream, step);
            full = step->made == step->size;
        } else if (stream->used - from > step->input) {
            full = true;
        } else if (!snappy_block(stream, &block)) {
            err = ERR_BATCH_INVALID;
        } else {
            err = snappy_open(stream, step, block, &full);
        }
    }
    return err;
}

static void begin_snappy(struct codec_stream *stream)
{
    static const uint8_t magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
    struct bytes input = stream->input;
    stream->chunks = input.size >= 16 && memcmp(input.data, magic, 8) == 0;
    if (stream->chunks) {
        stream->used = 16;
        stream->over = input.size == 16;
    }
}

static enum err begin_lz4(struct codec_stream *stream)
{
    if (stream->lz4 != NULL) {
        LZ4F_resetDecompressionContext(stream->lz4);
        return OK;
    }
    if (LZ4F_isError(LZ4F_createDecompressionContext(&stream->lz4, LZ4F_VERSION))) {
        stream->lz4 = NULL;
        return ERR_NO_MEMORY;
    }
    return OK;
}

static enum err step_lz4(struct codec_stream *stream, struct step *step)
{
    while (step->made < step->size) {
        size_t used = step->input, made = step->size - step->made;
        size_t hint = LZ4F_decompress(stream->lz4, step->room + step->made, &made,
                                      stream->input.data + stream->used, &used, NULL);
        if (LZ4F_isError(hint)) {
            bool memory = strcmp(LZ4F_getErrorName(hint), "ERROR_allocation_failed") == 0;
            return memory ? ERR_NO_MEMORY : ERR_BATCH_INVALID;
        }
        step_took(stream, step, used, made);
        if (hint == 0) {
            stream->over = true;
            return input_left(stream) == 0 ? OK : ERR_BATCH_INVALID;
        }
        if (used == 0 && made == 0) {
            return step_stuck(stream);
        }
    }
    return OK;
}

static enum err begin_zstd(struct codec_stream *stream)
{
    if (stream->zstd != NULL) {
        (void)ZSTD_DCtx_reset(stream->zstd, ZSTD_reset_session_only);
        return OK;
    }
    stream->zstd = ZSTD_createDCtx();
    if (stream->zstd == NULL) {
        return ERR_NO_MEMORY;
    }
    size_t set = ZSTD_DCtx_setParameter(stream->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    ASSERT(!ZSTD_isError(set));
    return OK;
}

static enum err zstd_err(size_t code)
{
    switch ((int)ZSTD_getErrorCode(code)) {
    case ZSTD_error_memory_allocation:
        return ERR_NO_MEMORY;
    case ZSTD_error_frameParameter_windowTooLarge:
        return ERR_BATCH_TOO_LARGE;
    default:
        return ERR_BATCH_INVALID;
    }
}

/* How much of a frame is its header: given first and alone, libzstd does not open the whole frame
 * past its window where the room is large enough, and says the same of it whatever the room is. 0:
 * no frame of today's format, nor one to be skipped. */
static uint32_t zstd_header(struct bytes frame)
{
    static const uint8_t id_bytes[4] = {0, 1, 2, 4};
    static const uint8_t size_bytes[4] = {0, 2, 4, 8};
    uint32_t magic = frame.size < 5 ? 0 : load_le32(frame.data);
    if ((magic & 0xfffffff0) == 0x184d2a50) {
        return frame.size;
    }
    if (magic != ZSTD_MAGICNUMBER) {
        return 0;
    }
    uint8_t what = frame.data[4];
    bool single = (what & 0x20) != 0; /* Else a byte for the window. */
    uint32_t size = size_bytes[what >> 6];
    size = size == 0 && single ? 1 : size;
    size += 5U + (single ? 0 : 1) + id_bytes[what & 3];
    return min_u32(size, frame.size);
}

static enum err step_zstd(struct codec_stream *stream, struct step *step)
{
    while (step->made < step->size) {
        uint32_t size = step->input;
        if (!stream->inside) {
            struct bytes rest = {stream->input.data + stream->used, input_left(stream)};
            stream->over = rest.size == 0 && stream->used > 0;
            if (stream->over) {
                return OK;
            }
            uint32_t header = zstd_header(rest);
            if (header == 0) {
                return ERR_BATCH_INVALID;
            }
            if (size < min_u32(header, ZSTD_HEADER_BYTES_MAX)) {
                return OK; /* In the next step. */
            }
            size = min_u32(size, header);
        }
        ZSTD_inBuffer source = {.src = stream->input.data + stream->used, .size = size};
        ZSTD_outBuffer target = {.dst = step->room + step->made, .size = step->size - step->made};
        size_t hint = ZSTD_decompressStream(stream->zstd, &target, &source);
        if (ZSTD_isError(hint)) {
            return zstd_err(hint);
        }
        step_took(stream, step, source.pos, target.pos);
        stream->inside = hint != 0;
        if (source.pos == 0 && target.pos == 0) {
            return step_stuck(stream);
        }
    }
    return OK;
}

static enum err step_none(struct codec_stream *stream, struct step *step)
{
    step->made = min_u32(step->size, input_left(stream));
    if (step->made > 0) {
        memcpy(step->room, stream->input.data + stream->used, step->made);
    }
    stream->used += step->made;
    stream->over = input_left(stream) == 0;
    return OK;
}

enum err codec_stream_begin(struct codec_stream *stream, enum codec codec, struct bytes input,
                            uint32_t output_max)
{
    stream->codec = codec;
    stream->input = input;
    stream->used = 0;
    stream->left = output_max;
    stream->over = false;
    stream->inside = codec == CODEC_GZIP;
    stream->wanted = 0;
    stream->wide_at = stream->wide_end = 0;
    switch (codec) {
    case CODEC_NONE:
        return OK;
    case CODEC_GZIP:
        return begin_gzip(stream);
    case CODEC_SNAPPY:
        begin_snappy(stream);
        return OK;
    case CODEC_LZ4:
        return begin_lz4(stream);
    case CODEC_ZSTD:
        return begin_zstd(stream);
    }
    return ERR_BATCH_INVALID; /* Not one that we know. */
}

static enum err step_any(struct codec_stream *stream, struct step *step)
{
    switch (stream->codec) {
    case CODEC_NONE:
        return step_none(stream, step);
    case CODEC_GZIP:
        return step_gzip(stream, step);
    case CODEC_SNAPPY:
        return step_snappy(stream, step);
    case CODEC_LZ4:
        return step_lz4(stream, step);
    case CODEC_ZSTD:
        return step_zstd(stream, step);
    }
    return ERR_BATCH_INVALID;
}

enum err codec_stream_step(struct codec_stream *stream, uint8_t *room, uint32_t size,
                           struct bytes *plain)
{
    ASSERT(size > 0);
    ASSERT(!stream->over);
    uint8_t more; /* When nothing more may come out, whether anything does. */
    bool full = stream->left == 0;
    struct step step = {
        .room = full ? &more : room,
        .size = full ? 1 : min_u32(size, stream->left),
        .input = min_u32(input_left(stream), max_u32(size, STEP_INPUT_BYTES_MIN)),
    };
    enum err err = step_any(stream, &step);
    *plain = bytes_of(room, 0);
    if (err == OK && full && step.made > 0) {
        err = ERR_BATCH_TOO_LARGE;
    }
    if (err == OK && !full) {
        stream->left -= step.made;
        plain->size = step.made;
    }
    return err;
}

enum err codec_stream_widen(struct codec_stream *stream)
{
    ASSERT(stream->wanted > stream->wide_bytes);
    free(stream->wide);
    stream->wide_bytes = 0;
    stream->wide = malloc(stream->wanted);
    if (stream->wide == NULL) {
        return ERR_NO_MEMORY;
    }
    stream->wide_bytes = stream->wanted;
    stream->wanted = 0;
    return OK;
}

/* Does the context hold blocks of the largest size, of 4 MiB? */
static bool lz4_is_large(struct bytes input)
{
    return input.size > 5 && (input.data[5] & 0x70) == 0x70;
}

void codec_stream_end(struct codec_stream *stream)
{
    /* A reset leaves something of a frame that did not end: liblz4 1.9.4 refuses the next one. */
    if (stream->codec == CODEC_LZ4 && (!stream->over || lz4_is_large(stream->input))) {
        (void)LZ4F_freeDecompressionContext(stream->lz4);
        stream->lz4 = NULL;
    }
    if (stream->zstd != NULL && ZSTD_sizeof_DCtx(stream->zstd) > ZSTD_KEPT_BYTES_MAX) {
        (void)ZSTD_freeDCtx(stream->zstd);
        stream->zstd = NULL;
    }
    if (stream->wide_bytes > WIDE_KEPT_BYTES_MAX) {
        free(stream->wide);
        stream->wide = NULL;
        stream->wide_bytes = 0;
    }
    stream->input = (struct bytes){0};
    stream->used = 0;
}

void codec_stream_free(struct codec_stream *stream)
{
    if (stream->gzip != NULL) {
        (void)inflateEnd(stream->gzip);
    }
    free(stream->gzip);
    (void)LZ4F_freeDecompressionContext(stream->lz4);
    (void)ZSTD_freeDCtx(stream->zstd);
    free(stream->wide);
    *stream = (struct codec_stream){0};
}

/* --- At once. --- */

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

/* Unpacks all of it behind what is in `out`. */
static enum err open_all(enum codec codec, struct bytes input, struct growing *out)
{
    struct codec_stream stream = {0};
    enum err err = codec_stream_begin(&stream, codec, input, (uint32_t)out->max);
    while (err == OK && !stream.over) {
        struct bytes plain;
        if (stream.left > 0 &&
            !(stream.wanted > 0 ? grow(out, stream.wanted) : grow_some(out, 65536))) {
            err = out->err;
            break;
        }
        uint32_t free_bytes = (uint32_t)(out->capacity - out->size);
        uint8_t *room = out->data == NULL ? NULL : out->data + out->size;
        err = codec_stream_step(&stream, room, max_u32(1, free_bytes), &plain);
        out->size += plain.size;
    }
    codec_stream_free(&stream);
    return err;
}

enum err codec_open(enum codec codec, struct bytes input, struct codec_output *output)
{
    return codec_open_within(codec, input, CODEC_OUTPUT_BYTES_MAX, output);
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
    enum err err = open_all(codec, input, &out);
    if (err != OK) {
        free(out.data);
        return err;
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
    enum err err = open_all(codec, input, &out);
    if (err != OK) {
        return err;
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
