/* The MANIFEST: to bytes and back. */
#include "shard/manifest.h"

#include "core/assert.h"
#include "core/crc32c.h"
#include "core/limits.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_CRC_AT = 4092, JOURNAL_CRC_AT = 60 };

static const char manifest_magic[8] = {'F', 'L', 'O', 'E', 'M', 'A', 'N', 'I'};

void manifest_deinit(struct manifest *manifest)
{
    free(manifest->journals);
    free(manifest->records);
    *manifest = (struct manifest){0};
}

enum err manifest_add_record(struct manifest *manifest, const struct segment_record *record)
{
    if (manifest->record_count == MANIFEST_RECORDS_MAX) {
        return ERR_LIMIT;
    }
    uint32_t count = manifest->record_count;
    if ((count & (count - 1)) == 0) { /* 0 or a power of two: all the room there is. */
        size_t size = max_u64(1, (uint64_t)count * 2) * sizeof(*record);
        struct segment_record *grown = realloc(manifest->records, size);
        if (grown == NULL) {
            return ERR_NO_MEMORY;
        }
        manifest->records = grown;
    }
    manifest->records[manifest->record_count++] = *record;
    return OK;
}

enum err manifest_add_journal(struct manifest *manifest, const struct manifest_journal *journal)
{
    if (manifest->journal_count == MANIFEST_JOURNALS_MAX) {
        return ERR_LIMIT;
    }
    size_t size = ((size_t)manifest->journal_count + 1) * sizeof(*journal);
    struct manifest_journal *grown = realloc(manifest->journals, size);
    if (grown == NULL) {
        return ERR_NO_MEMORY;
    }
    manifest->journals = grown;
    manifest->journals[manifest->journal_count++] = *journal;
    return OK;
}

static uint32_t manifest_body(uint32_t journals, uint32_t records)
{
    return journals * MANIFEST_JOURNAL_BYTES + records * SEGMENT_RECORD_BYTES;
}

uint32_t manifest_size(const struct manifest *manifest)
{
    uint64_t body = manifest_body(manifest->journal_count, manifest->record_count);
    return MANIFEST_HEADER_BYTES + (uint32_t)align_up(body, DISK_BLOCK_BYTES);
}

void manifest_encode(const struct manifest *manifest, uint8_t *image)
{
    uint32_t size = manifest_size(manifest);
    uint32_t body = manifest_body(manifest->journal_count, manifest->record_count);
    memset(image, 0, size);
    uint8_t *at = image + MANIFEST_HEADER_BYTES;
    for (uint32_t i = 0; i < manifest->journal_count; i++) {
        const struct manifest_journal *journal = &manifest->journals[i];
        store_le32(at, journal->file);
        store_le32(at + 4, journal->core);
        store_le64(at + 8, journal->id);
        store_le64(at + 16, journal->first_seq);
        store_le64(at + 32, journal->bytes);
        store_le32(at + JOURNAL_CRC_AT, crc32c(0, at, JOURNAL_CRC_AT));
        at += MANIFEST_JOURNAL_BYTES;
    }
    for (uint32_t i = 0; i < manifest->record_count; i++) {
        segment_record_encode(&manifest->records[i], at);
        at += SEGMENT_RECORD_BYTES;
    }
    memcpy(image, manifest_magic, 8);
    store_le32(image + 8, MANIFEST_VERSION);
    store_le32(image + 12, manifest->journal_count);
    memcpy(image + 16, manifest->directory_id, 16);
    store_le64(image + 32, manifest->generation);
    store_le32(image + 40, manifest->record_count);
    store_le32(image + 44, crc32c(0, image + MANIFEST_HEADER_BYTES, body));
    store_le64(image + 48, size);
    store_le32(image + HEADER_CRC_AT, crc32c(0, image, HEADER_CRC_AT));
}

uint32_t manifest_image_bytes(const uint8_t *header)
{
    uint32_t journals = load_le32(header + 12);
    uint32_t records = load_le32(header + 40);
    if (memcmp(header, manifest_magic, 8) != 0 || journals > MANIFEST_JOURNALS_MAX ||
        records > MANIFEST_RECORDS_MAX ||
        load_le32(header + HEADER_CRC_AT) != crc32c(0, header, HEADER_CRC_AT)) {
        return 0;
    }
    uint64_t body = manifest_body(journals, records);
    return MANIFEST_HEADER_BYTES + (uint32_t)align_up(body, DISK_BLOCK_BYTES);
}

enum err manifest_decode(struct bytes image, const uint8_t directory_id[16],
                         struct manifest *manifest)
{
    const uint8_t *at = image.data;
    if (image.size < MANIFEST_HEADER_BYTES || memcmp(at, manifest_magic, 8) != 0) {
        return ERR_FOREIGN;
    }
    uint32_t size = manifest_image_bytes(at);
    if (size == 0 || size > image.size || load_le64(at + 48) != size) {
        return ERR_CORRUPT;
    }
    if (load_le32(at + 8) != MANIFEST_VERSION) {
        return ERR_VERSION;
    }
    if (memcmp(at + 16, directory_id, 16) != 0) {
        return ERR_FOREIGN;
    }
    uint32_t journals = load_le32(at + 12);
    uint32_t records = load_le32(at + 40);
    memcpy(manifest->directory_id, at + 16, 16);
    manifest->generation = load_le64(at + 32);
    uint32_t crc = load_le32(at + 44);
    at += MANIFEST_HEADER_BYTES;
    if (crc != crc32c(0, at, manifest_body(journals, records))) {
        return ERR_CORRUPT;
    }
    enum err err = OK;
    for (uint32_t i = 0; i < journals && err == OK; i++, at += MANIFEST_JOURNAL_BYTES) {
        struct manifest_journal journal = {.file = load_le32(at),
                                           .core = load_le32(at + 4),
                                           .id = load_le64(at + 8),
                                           .first_seq = load_le64(at + 16),
                                           .bytes = load_le64(at + 32)};
        err = load_le32(at + JOURNAL_CRC_AT) == crc32c(0, at, JOURNAL_CRC_AT)
                  ? manifest_add_journal(manifest, &journal)
                  : ERR_CORRUPT;
    }
    for (uint32_t i = 0; i < records && err == OK; i++, at += SEGMENT_RECORD_BYTES) {
        struct segment_record record;
        err = segment_record_decode(at, &record);
        err = err == OK ? manifest_add_record(manifest, &record) : err;
    }
    return err;
}
