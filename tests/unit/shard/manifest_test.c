/* The MANIFEST and its segment records: each field comes back, and nothing is taken that is
 * damaged, cut, of another directory or of a later version. */
#include "shard/manifest.h"

#include "core/crc32c.h"
#include "core/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HEADER_CRC_AT = 4092, RECORD_CRC_AT = 188 };

/* Each field has a value of its own. */
static struct segment_record record_sample(uint64_t id)
{
    struct segment_record record = {
        .segment_id = 0x8000000000000000 | id,
        .partition = 0x01020304,
        .epoch = 0x11121314,
        .base_offset = 0x2122232425262728,
        .salt = 0x3132333435363738,
        .state = SEGMENT_OPEN,
        .durability = DURABILITY_OS,
        .replication_factor = 3,
        .ack_quorum = 2,
        .marks = SEGMENT_MARK_DAMAGED | SEGMENT_MARK_MISSING,
        .file_generation = 0x41424344,
        .boot = 0x51525354,
        .checkpoint_offset = 0x6162636465666768,
        .checkpoint_position = 0x7172737475767778,
        .checkpoint_chain = 0x8182838485868788,
        .end_offset = 0x9192939495969798,
        .digest = 0xa1a2a3a4a5a6a7a8,
        .log_start = 0xb1b2b3b4b5b6b7b8,
        .maybe_end = 0xc1c2c3c4c5c6c7c8,
        .timestamp_max = -7,
        .index_position = 0xd1d2d3d4d5d6d7d8,
    };
    memset(record.topic.bytes, 0xab, sizeof(record.topic.bytes));
    return record;
}

static void a_record_has_its_fields_where_the_page_says(void **state)
{
    (void)state;
    uint8_t at[SEGMENT_RECORD_BYTES];
    struct segment_record record = record_sample(9);
    segment_record_encode(&record, at);
    assert_true(load_le64(at) == record.segment_id);
    assert_memory_equal(at + 8, record.topic.bytes, 16);
    assert_int_equal(load_le32(at + 24), record.partition);
    assert_int_equal(load_le32(at + 28), record.epoch);
    assert_true(load_le64(at + 32) == record.base_offset);
    assert_true(load_le64(at + 40) == record.salt);
    assert_int_equal(at[48], SEGMENT_OPEN);
    assert_int_equal(at[49], DURABILITY_OS);
    assert_int_equal(at[50], 3);
    assert_int_equal(at[51], 2);
    assert_int_equal(load_le32(at + 52), record.marks);
    assert_int_equal(load_le32(at + 56), record.file_generation);
    assert_int_equal(load_le32(at + 60), record.boot);
    assert_true(load_le64(at + 64) == record.checkpoint_offset);
    assert_true(load_le64(at + 72) == record.checkpoint_position);
    assert_true(load_le64(at + 80) == record.checkpoint_chain);
    assert_true(load_le64(at + 96) == record.end_offset);
    assert_true(load_le64(at + 104) == record.digest);
    assert_true(load_le64(at + 112) == record.log_start);
    assert_true(load_le64(at + 120) == record.maybe_end);
    assert_true((int64_t)load_le64(at + 128) == -7);
    assert_int_equal(load_le32(at + 176), 1);
    assert_true(load_le64(at + 180) == record.index_position);
}

static void assert_same(const struct segment_record *a, const struct segment_record *b)
{
    uint8_t left[SEGMENT_RECORD_BYTES], right[SEGMENT_RECORD_BYTES];
    segment_record_encode(a, left);
    segment_record_encode(b, right);
    assert_memory_equal(left, right, SEGMENT_RECORD_BYTES);
}

static void a_record_comes_back_and_no_flipped_bit_is_taken(void **state)
{
    (void)state;
    uint8_t at[SEGMENT_RECORD_BYTES];
    struct segment_record record = record_sample(9), back;
    segment_record_encode(&record, at);
    assert_int_equal(segment_record_decode(at, &back), OK);
    assert_same(&record, &back);
    for (uint32_t bit = 0; bit < SEGMENT_RECORD_BYTES * 8; bit++) {
        at[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_int_equal(segment_record_decode(at, &back), ERR_CORRUPT);
        at[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    memset(at, 0, sizeof(at));
    assert_int_equal(segment_record_decode(at, &back), ERR_CORRUPT);
}

static void a_record_of_no_state_or_a_later_version_is_refused(void **state)
{
    (void)state;
    uint8_t at[SEGMENT_RECORD_BYTES];
    struct segment_record record = record_sample(9), back;
    static const uint8_t states[] = {0, 3, 255};
    for (uint32_t i = 0; i < 3; i++) {
        record.state = states[i];
        segment_record_encode(&record, at);
        assert_int_equal(segment_record_decode(at, &back), ERR_CORRUPT);
    }
    record.state = SEGMENT_SEALED;
    segment_record_encode(&record, at);
    assert_int_equal(segment_record_decode(at, &back), OK);
    store_le32(at + 176, 2);
    store_le32(at + RECORD_CRC_AT, crc32c(0, at, RECORD_CRC_AT));
    assert_int_equal(segment_record_decode(at, &back), ERR_CORRUPT);
}

/* --- The MANIFEST. --- */

static const uint8_t directory_id[16] = "directory id 16";
static const uint8_t another_id[16] = "another one id.";

static void make(struct manifest *manifest, uint32_t journals, uint32_t records)
{
    *manifest = (struct manifest){.generation = 77};
    memcpy(manifest->directory_id, directory_id, 16);
    for (uint32_t i = 0; i < journals; i++) {
        struct manifest_journal journal = {.file = 10 + i,
                                           .core = i,
                                           .id = 0xfedcba9876543210 - i,
                                           .first_seq = 1 + i,
                                           .bytes = 5000 + i};
        assert_int_equal(manifest_add_journal(manifest, &journal), OK);
    }
    for (uint32_t i = 0; i < records; i++) {
        struct segment_record record = record_sample(i);
        assert_int_equal(manifest_add_record(manifest, &record), OK);
    }
}

/* To be freed. */
static uint8_t *image_of(const struct manifest *manifest, uint32_t *size)
{
    *size = manifest_size(manifest);
    uint8_t *image = malloc(*size);
    assert_non_null(image);
    manifest_encode(manifest, image);
    return image;
}

static enum err decode(const uint8_t *image, uint32_t size)
{
    struct manifest back = {0};
    enum err err = manifest_decode(bytes_of(image, size), directory_id, &back);
    manifest_deinit(&back);
    return err;
}

static void a_manifest_comes_back_as_it_was(void **state)
{
    (void)state;
    static const uint32_t counts[][2] = {{0, 0}, {1, 0}, {0, 1}, {2, 3}, {64, 0}, {65, 22}};
    for (uint32_t k = 0; k < ARRAY_COUNT(counts); k++) {
        struct manifest manifest, back = {0};
        uint32_t size;
        make(&manifest, counts[k][0], counts[k][1]);
        uint8_t *image = image_of(&manifest, &size);
        assert_int_equal(size % DISK_BLOCK_BYTES, 0);
        assert_int_equal(manifest_image_bytes(image), size);
        assert_int_equal(manifest_decode(bytes_of(image, size), directory_id, &back), OK);
        assert_memory_equal(back.directory_id, directory_id, 16);
        assert_int_equal(back.generation, 77);
        assert_int_equal(back.journal_count, counts[k][0]);
        assert_int_equal(back.record_count, counts[k][1]);
        for (uint32_t i = 0; i < back.journal_count; i++) {
            assert_int_equal(back.journals[i].file, 10 + i);
            assert_int_equal(back.journals[i].core, i);
            assert_true(back.journals[i].id == manifest.journals[i].id);
            assert_int_equal(back.journals[i].first_seq, 1 + i);
            assert_int_equal(back.journals[i].bytes, 5000 + i);
        }
        for (uint32_t i = 0; i < back.record_count; i++) {
            assert_same(&back.records[i], &manifest.records[i]);
        }
        manifest_deinit(&back);
        manifest_deinit(&manifest);
        free(image);
    }
}

static void a_manifest_has_its_fields_where_the_page_says(void **state)
{
    (void)state;
    struct manifest manifest;
    uint32_t size;
    make(&manifest, 2, 1);
    uint8_t *image = image_of(&manifest, &size);
    assert_memory_equal(image, "FLOEMANI", 8);
    assert_int_equal(load_le32(image + 8), MANIFEST_VERSION);
    assert_int_equal(load_le32(image + 12), 2);
    assert_memory_equal(image + 16, directory_id, 16);
    assert_int_equal(load_le64(image + 32), 77);
    assert_int_equal(load_le32(image + 40), 1);
    assert_int_equal(load_le32(image + 44), crc32c(0, image + 4096, 2 * 64 + 192));
    assert_int_equal(load_le64(image + 48), size);
    assert_int_equal(load_le32(image + 4096 + 64), 11);
    assert_int_equal(load_le32(image + 4096 + 64 + 4), 1);
    assert_true(load_le64(image + 4096 + 64 + 8) == manifest.journals[1].id);
    assert_int_equal(load_le64(image + 4096 + 64 + 16), 2);
    assert_int_equal(load_le64(image + 4096 + 64 + 32), 5001);
    manifest_deinit(&manifest);
    free(image);
}

/* Everything but the padding at the end, which says nothing. */
static void no_flipped_bit_of_a_manifest_is_taken(void **state)
{
    (void)state;
    struct manifest manifest;
    uint32_t size;
    make(&manifest, 2, 2);
    uint8_t *image = image_of(&manifest, &size);
    uint32_t bytes = MANIFEST_HEADER_BYTES + 2 * MANIFEST_JOURNAL_BYTES + 2 * SEGMENT_RECORD_BYTES;
    assert_int_equal(decode(image, size), OK);
    for (uint32_t bit = 0; bit < bytes * 8; bit++) {
        image[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        enum err err = decode(image, size);
        if (err != ERR_CORRUPT && (err != ERR_FOREIGN || bit >= 64)) {
            fail_msg("bit %u of byte %u: %s", bit % 8, bit / 8, err_name(err));
        }
        image[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    manifest_deinit(&manifest);
    free(image);
}

static void no_cut_manifest_is_taken(void **state)
{
    (void)state;
    struct manifest manifest;
    uint32_t size;
    make(&manifest, 2, 22);
    uint8_t *image = image_of(&manifest, &size);
    for (uint32_t cut = 0; cut < size; cut++) {
        uint8_t *exact = malloc(cut == 0 ? 1 : cut); /* So that a read behind it is noticed. */
        assert_non_null(exact);
        memcpy(exact, image, cut);
        enum err err = decode(exact, cut);
        assert_int_equal(err, cut < MANIFEST_HEADER_BYTES ? ERR_FOREIGN : ERR_CORRUPT);
        free(exact);
    }
    manifest_deinit(&manifest);
    free(image);
}

static void mend(uint8_t *image)
{
    store_le32(image + HEADER_CRC_AT, crc32c(0, image, HEADER_CRC_AT));
}

static void a_manifest_of_another_directory_or_version_is_told_from_a_bad_one(void **state)
{
    (void)state;
    struct manifest manifest, back = {0};
    uint32_t size;
    make(&manifest, 1, 1);
    uint8_t *image = image_of(&manifest, &size);
    assert_int_equal(manifest_decode(bytes_of(image, size), another_id, &back), ERR_FOREIGN);
    manifest_deinit(&back);
    store_le32(image + 8, MANIFEST_VERSION + 1);
    mend(image);
    assert_int_equal(decode(image, size), ERR_VERSION);
    manifest_deinit(&manifest);
    free(image);
}

static void counts_that_lie_are_refused(void **state)
{
    (void)state;
    struct manifest manifest;
    uint32_t size;
    make(&manifest, 1, 1);
    uint8_t *image = image_of(&manifest, &size);
    static const uint32_t at[] = {12, 40};
    static const uint32_t lies[] = {0, 2, 30, 1024, 1025, 1 << 20, (1 << 20) + 1, UINT32_MAX};
    for (uint32_t i = 0; i < 2; i++) {
        for (uint32_t j = 0; j < ARRAY_COUNT(lies); j++) {
            store_le32(image + at[i], lies[j]);
            mend(image);
            assert_int_equal(decode(image, size), ERR_CORRUPT);
        }
        store_le32(image + at[i], 1);
    }
    store_le64(image + 48, size + DISK_BLOCK_BYTES);
    mend(image);
    assert_int_equal(decode(image, size), ERR_CORRUPT);
    store_le64(image + 48, size);
    /* Checksums that are right, around a record and a journal that are not. */
    uint8_t *body = image + MANIFEST_HEADER_BYTES;
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t *byte = body + (i == 0 ? 3 : MANIFEST_JOURNAL_BYTES + 3);
        *byte ^= 1;
        store_le32(image + 44, crc32c(0, body, MANIFEST_JOURNAL_BYTES + SEGMENT_RECORD_BYTES));
        mend(image);
        assert_int_equal(decode(image, size), ERR_CORRUPT);
        *byte ^= 1;
    }
    store_le32(image + 44, crc32c(0, body, MANIFEST_JOURNAL_BYTES + SEGMENT_RECORD_BYTES));
    mend(image);
    assert_int_equal(decode(image, size), OK);
    manifest_deinit(&manifest);
    free(image);
}

static void a_manifest_takes_so_many_journals_and_no_more(void **state)
{
    (void)state;
    struct manifest manifest;
    struct manifest_journal journal = {.id = 1};
    make(&manifest, MANIFEST_JOURNALS_MAX, 0);
    assert_int_equal(manifest_add_journal(&manifest, &journal), ERR_LIMIT);
    manifest.record_count = MANIFEST_RECORDS_MAX;
    struct segment_record record = record_sample(1);
    assert_int_equal(manifest_add_record(&manifest, &record), ERR_LIMIT);
    manifest.record_count = 0;
    manifest_deinit(&manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_has_its_fields_where_the_page_says),
        cmocka_unit_test(a_record_comes_back_and_no_flipped_bit_is_taken),
        cmocka_unit_test(a_record_of_no_state_or_a_later_version_is_refused),
        cmocka_unit_test(a_manifest_comes_back_as_it_was),
        cmocka_unit_test(a_manifest_has_its_fields_where_the_page_says),
        cmocka_unit_test(no_flipped_bit_of_a_manifest_is_taken),
        cmocka_unit_test(no_cut_manifest_is_taken),
        cmocka_unit_test(a_manifest_of_another_directory_or_version_is_told_from_a_bad_one),
        cmocka_unit_test(counts_that_lie_are_refused),
        cmocka_unit_test(a_manifest_takes_so_many_journals_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
