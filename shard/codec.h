/* Decompression of a batch's records, bounded: a few hundred bytes can claim gigabytes. gzip
 * (several members too), snappy (raw, or in the chunks of xerial's framing), lz4 frames, zstd. */
#pragma once

#include "core/bytes.h"
#include "core/err.h"

enum codec {
    CODEC_NONE,
    CODEC_GZIP,
    CODEC_SNAPPY,
    CODEC_LZ4,
    CODEC_ZSTD,
};

/* How much may come out of one batch. A megabyte takes up to a millisecond, so what a few bytes can
 * ask for is bounded by their number, too: zstd packs 128 MiB of zeros into 4 KiB. */
enum {
    CODEC_OUTPUT_BYTES_MAX = 128 << 20, /* Of any batch: twice the largest. */
    CODEC_OUTPUT_BYTES_ANY = 4 << 20,   /* Never too much: all zeros is a good batch. */
    CODEC_RATIO_MAX = 256,              /* Above that. Text rarely packs better than 30. */
    CODEC_BATCHES_MAX = 32, /* Nor more than so many of the largest batches, unpacked. */
};

/* The bound for `size` packed bytes where batches have at most `batch_bytes_max`. What could come
 * unpacked may come packed. */
uint32_t codec_output_max(uint32_t size, uint32_t batch_bytes_max);

/* Unpacks a step at a time, the same in whatever steps. Zeroed at first; used for one batch after
 * the other, it keeps the decoders' memory: a stream between two batches has 9 MiB at most.
 *
 * One that is under way has what its codec needs: gzip 40 KiB; lz4 8.4 MiB, for blocks of 4 MiB;
 * zstd its window, of which no more is touched than has come out; snappy a whole block, as it has
 * no smaller part: a batch that is one block has `wide_bytes` for all that comes out. So it is what
 * may come out of the batch (codec_output_max()) and 9 MiB at most. */
struct codec_stream {
    enum codec codec;
    bool over;       /* All of it came out, and nothing was wrong. */
    uint32_t wanted; /* The next step unpacks so much at once, see codec_stream_widen(). 0: none. */
    /* Its own: */
    struct bytes input;
    uint32_t used; /* Of the input. */
    uint32_t left; /* So much may still come out. */
    bool inside;   /* A gzip member or a zstd frame. */
    bool chunks;   /* xerial's. */
    uint8_t *wide; /* Of the last block what was not handed out yet: [wide_at, wide_end). */
    uint32_t wide_bytes, wide_at, wide_end;
    struct z_stream_s *gzip;
    struct LZ4F_dctx_s *lz4;
    struct ZSTD_DCtx_s *zstd;
};

/* Begins on `input`, which is borrowed until the end. ERR_BATCH_INVALID: no codec that is known;
 * ERR_NO_MEMORY. */
NODISCARD enum err codec_stream_begin(struct codec_stream *stream, enum codec codec,
                                      struct bytes input, uint32_t output_max);

/* Unpacks up to `size` bytes into `room`, and takes about as much of the input at most, or 64 KiB.
 * OK: *plain, perhaps nothing; then it is `over`, or goes on. ERR_BATCH_INVALID: broken;
 * ERR_BATCH_TOO_LARGE: more than `output_max` comes out; ERR_NO_MEMORY. */
NODISCARD enum err codec_stream_step(struct codec_stream *stream, uint8_t *room, uint32_t size,
                                     struct bytes *plain);

/* After a step that wanted more room than it had, for a snappy block: makes that room, and the next
 * step unpacks all of the block (6 GB/s; three bytes make 64 at most). A caller whose room is
 * larger next time need not. ERR_NO_MEMORY. */
NODISCARD enum err codec_stream_widen(struct codec_stream *stream);

void codec_stream_end(struct codec_stream *stream); /* Of this batch, wherever it stands. */
void codec_stream_free(struct codec_stream *stream);

/* The decompressed bytes, in memory that codec_free() takes back; for CODEC_NONE a view of `input`.
 * ERR_BATCH_INVALID: broken. ERR_BATCH_TOO_LARGE: more than `output_max` comes out.
 * ERR_NO_MEMORY. */
struct codec_output {
    struct bytes bytes;
    uint8_t *owned;
};

NODISCARD enum err codec_open_within(enum codec codec, struct bytes input, uint32_t output_max,
                                     struct codec_output *output);

/* Of a batch that was judged when it came: within what any batch may hold. */
NODISCARD enum err codec_open(enum codec codec, struct bytes input, struct codec_output *output);
void codec_free(struct codec_output *output);

/* As codec_open_within(), into `size` bytes of the caller's: ERR_BATCH_TOO_LARGE, more come out.
 * *plain is within them; for CODEC_NONE it is `input`. */
NODISCARD enum err codec_open_into(enum codec codec, struct bytes input, uint8_t *room,
                                   uint32_t size, struct bytes *plain);
