/* A MANIFEST, whatever is in it: taken whole, and then it is the same when it is written again, or
 * refused.
 *
 * The input is a list of edits {u16 position, u8 value, u8 what} to a sound one of two journals and
 * three records; `what` says which checksums are made right again, and where the file is cut. */
#include "core/assert.h"
#include "core/crc32c.h"
#include "core/limits.h"
#include "shard/manifest.h"

#include <stdlib.h>
#include <string.h>

enum {
    JOURNALS = 2,
    RECORDS = 3,
    BODY_BYTES = JOURNALS * MANIFEST_JOURNAL_BYTES + RECORDS * SEGMENT_RECORD_BYTES,
    IMAGE_BYTES = MANIFEST_HEADER_BYTES + DISK_BLOCK_BYTES,
    EDIT_BYTES = 4,
    EDITS_MAX = 8,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t directory_id[16] = "directory id 16";

static void make_image(uint8_t *image)
{
    struct manifest manifest = {.generation = 5};
    memcpy(manifest.directory_id, directory_id, sizeof(directory_id));
    for (uint32_t i = 0; i < JOURNALS; i++) {
        struct manifest_journal journal = {.file = i, .core = i, .id = 100 + i, .first_seq = 1};
        enum err err = manifest_add_journal(&manifest, &journal);
        ASSERT(err == OK);
    }
    for (uint32_t i = 0; i < RECORDS; i++) {
        struct segment_record record = {.segment_id = 7 + i, .state = SEGMENT_OPEN, .maybe_end = 9};
        enum err err = manifest_add_record(&manifest, &record);
        ASSERT(err == OK);
    }
    ASSERT(manifest_size(&manifest) == IMAGE_BYTES);
    manifest_encode(&manifest, image);
    manifest_deinit(&manifest);
}

static void mend(uint8_t *image)
{
    uint8_t *at = image + MANIFEST_HEADER_BYTES;
    uint32_t journals = min_u32(load_le32(image + 12), JOURNALS);
    for (uint32_t i = 0; i < journals; i++, at += MANIFEST_JOURNAL_BYTES) {
        store_le32(at + 60, crc32c(0, at, 60));
    }
    uint32_t records = min_u32(load_le32(image + 40), RECORDS);
    for (uint32_t i = 0; i < records; i++, at += SEGMENT_RECORD_BYTES) {
        store_le32(at + SEGMENT_RECORD_BYTES - 4, crc32c(0, at, SEGMENT_RECORD_BYTES - 4));
    }
    uint32_t body = (uint32_t)(at - image) - MANIFEST_HEADER_BYTES;
    store_le32(image + 44, crc32c(0, image + MANIFEST_HEADER_BYTES, body));
    store_le32(image + 4092, crc32c(0, image, 4092));
}

static uint32_t edit_all(uint8_t *image, const uint8_t *data, size_t size)
{
    uint32_t bytes = IMAGE_BYTES;
    for (size_t i = 0; (i + 1) * EDIT_BYTES <= size; i++) {
        const uint8_t *edit = data + i * EDIT_BYTES;
        uint32_t position = load_le16(edit);
        position = (edit[3] & 4) != 0 ? position % 64
                                      : MANIFEST_HEADER_BYTES + position % (BODY_BYTES + 64);
        image[position] = edit[2];
        if ((edit[3] & 2) != 0) {
            mend(image);
        }
        if ((edit[3] & 0xf0) == 0xf0) {
            bytes = load_le16(edit) % IMAGE_BYTES;
        }
    }
    return bytes;
}

/* What was taken, written again, is taken again, and is the same. */
static void check_again(const struct manifest *manifest)
{
    uint32_t size = manifest_size(manifest);
    uint8_t *image = malloc(size), *again = malloc(size);
    struct manifest back = {0};
    ASSERT(image != NULL && again != NULL);
    manifest_encode(manifest, image);
    enum err err = manifest_decode(bytes_of(image, size), directory_id, &back);
    ASSERT(err == OK && manifest_size(&back) == size);
    manifest_encode(&back, again);
    ASSERT(memcmp(image, again, size) == 0);
    manifest_deinit(&back);
    free(image);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t sound[IMAGE_BYTES];
    if (size > EDITS_MAX * EDIT_BYTES) {
        return 0;
    }
    if (sound[0] == 0) {
        make_image(sound);
    }
    uint8_t edited[IMAGE_BYTES];
    memcpy(edited, sound, IMAGE_BYTES);
    uint32_t bytes = edit_all(edited, data, size);
    uint8_t *image = malloc(max_u32(1, bytes)); /* As long as the file: nothing is read behind. */
    ASSERT(image != NULL);
    memcpy(image, edited, bytes);
    struct manifest manifest = {0};
    enum err err = manifest_decode(bytes_of(image, bytes), directory_id, &manifest);
    ASSERT(err == OK || size >= EDIT_BYTES);
    ASSERT(err == OK || err == ERR_CORRUPT || err == ERR_FOREIGN || err == ERR_VERSION);
    if (bytes >= MANIFEST_HEADER_BYTES) {
        uint32_t said = manifest_image_bytes(image);
        ASSERT(err != OK || (said > 0 && said <= bytes));
    }
    if (err == OK) {
        check_again(&manifest);
    }
    manifest_deinit(&manifest);
    free(image);
    return 0;
}
