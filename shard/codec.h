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

/* No batch opens to more: 128 MiB, twice the largest batch. */
enum { CODEC_OUTPUT_BYTES_MAX = 128 << 20 };

/* The decompressed bytes, in memory that codec_free() takes back; for CODEC_NONE a view of `input`.
 * ERR_BATCH_INVALID: broken, or too much comes out. ERR_NO_MEMORY. */
struct codec_output {
    struct bytes bytes;
    uint8_t *owned;
};

NODISCARD enum err codec_open(enum codec codec, struct bytes input, struct codec_output *output);
void codec_free(struct codec_output *output);
