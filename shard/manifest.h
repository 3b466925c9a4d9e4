/* The MANIFEST: which journals are live, and which segments need more than their file says.
 * Renaming it is the one commit point of recovery. Little-endian.
 *
 *     header (4096)  0 "FLOEMANI"  8 version u32  12 journal count u32  16 directory id 16
 *                    32 generation u64  40 record count u32  44 body CRC u32  48 length u64
 *                    4092 CRC-32C of 0..4091
 *     journals, 64 each   0 file number u32  4 core u32  8 journal id u64  16 first seq u64
 *                         24 covered seq u64  32 size u64  60 CRC of 0..59
 *     records, 192 each   see segment_record.h
 *
 * A journal that is not named is void, whatever its bytes say. */
#pragma once

#include "shard/segment_record.h"

enum {
    MANIFEST_HEADER_BYTES = 4096,
    MANIFEST_JOURNAL_BYTES = 64,
    MANIFEST_VERSION = 1,
    MANIFEST_JOURNALS_MAX = 1024,
    MANIFEST_RECORDS_MAX = 1 << 20,
};

struct manifest_journal {
    uint32_t file, core;
    uint64_t id, first_seq;
};

struct manifest {
    uint8_t directory_id[16];
    uint64_t generation;
    uint32_t journal_count, record_count;
    struct manifest_journal *journals; /* Both by malloc(); see manifest_deinit(). */
    struct segment_record *records;
};

void manifest_deinit(struct manifest *manifest);

/* What is given is copied. ERR_NO_MEMORY, ERR_LIMIT. */
NODISCARD enum err manifest_add_record(struct manifest *manifest,
                                       const struct segment_record *record);
NODISCARD enum err manifest_add_journal(struct manifest *manifest,
                                        const struct manifest_journal *journal);

/* Bytes of the whole image: a multiple of 4096. */
uint32_t manifest_size(const struct manifest *manifest);

/* Fills manifest_size() bytes. */
void manifest_encode(const struct manifest *manifest, uint8_t *image);

/* `manifest` is zero; deinit it also after an error. ERR_FOREIGN: not a MANIFEST, or of another
 * directory. ERR_VERSION: a newer floe wrote it. ERR_CORRUPT, ERR_NO_MEMORY. */
NODISCARD enum err manifest_decode(struct bytes image, const uint8_t directory_id[16],
                                   struct manifest *manifest);

/* How long the image is that begins with this header; 0: it is none that could be. */
uint32_t manifest_image_bytes(const uint8_t *header);
