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

/* How much may come out of one batch. A megabyte takes about a millisecond of its core, so what a
 * few bytes can ask for is bounded by their number, too: zstd packs 128 MiB of zeros into 4 KiB. */
enum {
    CODEC_OUTPUT_BYTES_MAX = 128 << 20, /* Of any batch: twice the largest. */
    CODEC_OUTPUT_BYTES_ANY = 4 << 20,   /* Never too much: all zeros is a good batch. */
    CODEC_RATIO_MAX = 256,              /* Above that. Text rarely packs better than 30. */
    CODEC_BATCHES_MAX = 32, /* Nor more than so many of the largest batches, unpacked. */
};

/* The bound for `size` packed bytes where batches have at most `batch_bytes_max`. What could come
 * unpacked may come packed. */
uint32_t codec_output_max(uint32_t size, uint32_t batch_bytes_max);

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

/* As codec_open_within(), into `size` bytes of the caller's, which must be one more than come out:
 * else it may be ERR_BATCH_TOO_LARGE. *plain is within them; for CODEC_NONE it is `input`. */
NODISCARD enum err codec_open_into(enum codec codec, struct bytes input, uint8_t *room,
                                   uint32_t size, struct bytes *plain);
