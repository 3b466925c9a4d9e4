/* See the header. */
#include "shard/unpack.h"

#include "core/assert.h"

#include <string.h>

enum err unpack_begin(struct unpack *unpack, struct bytes data, const struct batch *batch,
                      const struct unpack_options *options)
{
    ASSERT(batch->length >= BATCH_HEADER_BYTES && batch->length <= data.size);
    enum codec codec = (enum codec)(batch->attributes & BATCH_CODEC_MASK);
    unpack->over = false;
    unpack->plain = codec == CODEC_NONE;
    unpack->whole = options->whole;
    unpack->left = bytes_of(data.data + BATCH_HEADER_BYTES, batch->length - BATCH_HEADER_BYTES);
    unpack->carried = 0;
    record_feed_begin(&unpack->feed, batch->record_count, options->each, options->context);
    return codec_stream_begin(&unpack->stream, codec, unpack->left, options->output_max);
}

/* What was read, of which `left` bytes are not; `last`: no more comes. */
static enum err unpack_judge(struct unpack *unpack, uint32_t left, bool last)
{
    bool read = record_feed_over(&unpack->feed);
    unpack->over = read && (last || !unpack->whole);
    return read && left > 0 && unpack->whole ? ERR_BATCH_INVALID : OK;
}

static enum err unpack_plain(struct unpack *unpack, uint32_t size)
{
    uint64_t most = (uint64_t)size * UNPACK_PLAIN_TIMES;
    struct bytes here = {unpack->left.data, (uint32_t)min_u64(most, unpack->left.size)};
    bool last = here.size == unpack->left.size;
    uint32_t used;
    enum err err = record_feed(&unpack->feed, here, last, &used);
    if (err == OK) {
        err = unpack_judge(unpack, here.size - used, last);
    }
    unpack->left.data += used;
    unpack->left.size -= used;
    return err;
}

bool unpack_is_wide(const struct unpack *unpack)
{
    return unpack->stream.wanted > 0;
}

enum err unpack_step(struct unpack *unpack, uint8_t *room, uint32_t size)
{
    struct codec_stream *stream = &unpack->stream;
    ASSERT(!unpack->over);
    ASSERT(size >= UNPACK_ROOM_BYTES_MIN);
    if (unpack->plain) {
        return unpack_plain(unpack, size);
    }
    enum err err = unpack_is_wide(unpack) ? codec_stream_widen(stream) : OK;
    struct bytes plain = {0};
    uint32_t carried = unpack->carried;
    memcpy(room, unpack->carry, carried);
    if (err == OK && !stream->over) {
        err = codec_stream_step(stream, room + carried, size - carried, &plain);
    }
    if (err != OK) {
        return err;
    }
    struct bytes here = bytes_of(room, carried + plain.size);
    uint32_t used;
    err = record_feed(&unpack->feed, here, stream->over, &used);
    if (err != OK) {
        return err;
    }
    uint32_t left = here.size - used;
    err = unpack_judge(unpack, left, stream->over);
    if (err == OK && !unpack->over) {
        ASSERT(left < RECORD_PART_BYTES_MAX);
        memcpy(unpack->carry, room + used, left);
        unpack->carried = left;
    }
    return err;
}

void unpack_end(struct unpack *unpack)
{
    codec_stream_end(&unpack->stream);
    unpack->left = (struct bytes){0};
}

void unpack_free(struct unpack *unpack)
{
    codec_stream_free(&unpack->stream);
    *unpack = (struct unpack){0};
}

enum err unpack_run(struct unpack *unpack)
{
    enum { ROOM_BYTES = 16 << 10 };

    uint8_t room[ROOM_BYTES];
    enum err err = OK;
    while (err == OK && !unpack->over) {
        err = unpack_step(unpack, room, sizeof(room));
    }
    unpack_free(unpack);
    return err;
}
