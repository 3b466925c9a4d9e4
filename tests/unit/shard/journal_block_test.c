/* Blocks of the journal: each field stands where the format says and comes back, and nothing is
 * taken that is damaged, foreign, or lies about its length. */
#include "shard/journal_block.h"

#include "core/crc32c.h"
#include "core/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCK_BYTES = 2 * DISK_BLOCK_BYTES, HEADER_CRC_AT = 92, BODY_CRC_AT = 88 };

static const struct journal_block_header sample = {
    .flags = JOURNAL_WAITS,
    .journal_id = 0x1122334455667788,
    .seq = 900,
    .position = 3 * DISK_BLOCK_BYTES,
    .length = BLOCK_BYTES,
    .entries = 3,
    .durable_seq = 898,
    .tail_seq = 17,
    .boot = 5,
    .ms = 1700000000000,
};

/* Three entries, of bodies that need padding and one that is empty. */
static void make(uint8_t *block)
{
    static const uint8_t text[] = "the quick brown fox jumps over the lazy dog";
    static const uint32_t sizes[] = {13, 0, 32};
    memset(block, 0, BLOCK_BYTES);
    uint32_t used = JOURNAL_BLOCK_HEADER_BYTES;
    for (uint32_t i = 0; i < 3; i++) {
        struct journal_entry entry = {
            .type = i == 1 ? JOURNAL_SEGMENT : JOURNAL_FRAME,
            .segment_id = 70 + i,
            .durable_end = 100 + i,
            .staged_end = 200 + i,
            .body = {text, sizes[i]},
        };
        used += journal_entry_encode(&entry, block + used);
    }
    journal_block_encode(&sample, block);
}

static bool taken(const uint8_t *block)
{
    struct journal_block_header back;
    return journal_block_peek(block, sample.journal_id, sample.position, &back) == OK &&
           journal_block_check(block, &back) == OK;
}

static void a_block_has_its_fields_where_the_page_says(void **state)
{
    (void)state;
    static uint8_t block[BLOCK_BYTES];
    make(block);
    assert_memory_equal(block, "FJNL", 4);
    assert_int_equal(load_le16(block + 4), 1);
    assert_int_equal(load_le16(block + 6), 1);
    assert_true(load_le64(block + 8) == sample.journal_id);
    assert_int_equal(load_le64(block + 16), 900);
    assert_int_equal(load_le64(block + 24), 3 * DISK_BLOCK_BYTES);
    assert_int_equal(load_le32(block + 32), BLOCK_BYTES);
    assert_int_equal(load_le32(block + 36), 3);
    assert_int_equal(load_le64(block + 40), 898);
    assert_int_equal(load_le64(block + 48), 17);
    assert_int_equal(load_le32(block + 56), 5);
    assert_int_equal(load_le32(block + 60), 0);
    assert_true(load_le64(block + 64) == sample.ms);
    const uint8_t *entry = block + JOURNAL_BLOCK_HEADER_BYTES;
    assert_int_equal(load_le16(entry), JOURNAL_FRAME);
    assert_int_equal(load_le16(entry + 2), 0);
    assert_int_equal(load_le32(entry + 4), 13);
    assert_int_equal(load_le64(entry + 8), 70);
    assert_int_equal(load_le64(entry + 16), 100);
    assert_int_equal(load_le64(entry + 24), 200);
    assert_memory_equal(entry + 32, "the quick bro\0\0\0", 16);
    assert_int_equal(load_le16(entry + 48), JOURNAL_SEGMENT);
}

static void a_block_comes_back_as_it_was(void **state)
{
    (void)state;
    static uint8_t block[BLOCK_BYTES];
    struct journal_block_header back;
    make(block);
    assert_int_equal(journal_block_peek(block, sample.journal_id, sample.position, &back), OK);
    assert_int_equal(back.flags, sample.flags);
    assert_true(back.journal_id == sample.journal_id && back.seq == sample.seq);
    assert_true(back.position == sample.position && back.length == sample.length);
    assert_int_equal(back.entries, sample.entries);
    assert_true(back.durable_seq == sample.durable_seq && back.tail_seq == sample.tail_seq);
    assert_true(back.boot == sample.boot && back.ms == sample.ms);
    assert_int_equal(journal_block_check(block, &back), OK);
    struct journal_cursor cursor;
    struct journal_entry entry;
    static const uint32_t sizes[] = {13, 0, 32};
    journal_cursor_init(&cursor, block, &back);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(journal_cursor_next(&cursor, &entry));
        assert_int_equal(entry.type, i == 1 ? JOURNAL_SEGMENT : JOURNAL_FRAME);
        assert_int_equal(entry.segment_id, 70 + i);
        assert_int_equal(entry.durable_end, 100 + i);
        assert_int_equal(entry.staged_end, 200 + i);
        assert_int_equal(entry.body.size, sizes[i]);
        assert_memory_equal(entry.body.data, "the quick brown fox jumps over the lazy dog",
                            sizes[i]);
    }
    assert_false(journal_cursor_next(&cursor, &entry));
    assert_int_equal(journal_entry_size(0), 32);
    assert_int_equal(journal_entry_size(1), 40);
    assert_int_equal(journal_entry_size(8), 40);
}

static void no_flipped_bit_is_taken(void **state)
{
    (void)state;
    static uint8_t block[BLOCK_BYTES];
    make(block);
    assert_true(taken(block));
    for (uint32_t bit = 0; bit < BLOCK_BYTES * 8; bit++) {
        uint8_t mask = (uint8_t)(1U << (bit % 8));
        block[bit / 8] ^= mask;
        if (taken(block)) {
            fail_msg("bit %u of byte %u", bit % 8, bit / 8);
        }
        block[bit / 8] ^= mask;
    }
}

/* Of each length that a cut may leave, what is behind it is what stood there before. */
static void no_torn_block_is_taken(void **state)
{
    (void)state;
    static uint8_t block[BLOCK_BYTES], torn[BLOCK_BYTES];
    make(block);
    uint32_t used = BLOCK_BYTES;
    while (block[used - 1] == 0) {
        used--;
    }
    for (uint32_t cut = 0; cut < used; cut++) {
        for (uint32_t old = 0; old < 2; old++) {
            memset(torn, old == 0 ? 0 : 0x46, sizeof(torn));
            memcpy(torn, block, cut);
            if (taken(torn)) {
                fail_msg("cut at %u", cut);
            }
        }
    }
    memset(torn, 0, sizeof(torn));
    memcpy(torn, block, used);
    assert_true(taken(torn)); /* Only padding is missing, and zeros stood there. */
}

static void a_block_of_another_journal_or_place_is_not_ours(void **state)
{
    (void)state;
    static uint8_t block[BLOCK_BYTES];
    struct journal_block_header back;
    make(block);
    assert_int_equal(journal_block_peek(block, sample.journal_id + 1, sample.position, &back),
                     ERR_CORRUPT);
    assert_int_equal(journal_block_peek(block, sample.journal_id, 0, &back), ERR_CORRUPT);
    assert_int_equal(
        journal_block_peek(block, sample.journal_id, sample.position + DISK_BLOCK_BYTES, &back),
        ERR_CORRUPT);
}

/* A header whose checksum is right, but whose numbers cannot be. */
static bool peeks(uint32_t at, uint32_t bytes, uint64_t value)
{
    static uint8_t block[BLOCK_BYTES];
    struct journal_block_header back;
    make(block);
    if (bytes == 2) {
        store_le16(block + at, (uint16_t)value);
    } else if (bytes == 4) {
        store_le32(block + at, (uint32_t)value);
    } else {
        store_le64(block + at, value);
    }
    store_le32(block + HEADER_CRC_AT, crc32c(0, block, HEADER_CRC_AT));
    return journal_block_peek(block, sample.journal_id, sample.position, &back) == OK;
}

static void numbers_that_cannot_be_are_refused(void **state)
{
    (void)state;
    assert_true(peeks(32, 4, DISK_BLOCK_BYTES));
    assert_true(peeks(32, 4, JOURNAL_BLOCK_BYTES_MAX)); /* Whoever reads on has to look. */
    assert_false(peeks(32, 4, 0));
    assert_false(peeks(32, 4, DISK_BLOCK_BYTES + 8));
    assert_false(peeks(32, 4, JOURNAL_BLOCK_BYTES_MAX + DISK_BLOCK_BYTES));
    assert_false(peeks(32, 4, 0xfffff000));
    assert_false(peeks(4, 2, JOURNAL_VERSION + 1));
    assert_true(peeks(40, 8, 899));
    assert_false(peeks(40, 8, 900)); /* Durable before it was written. */
    assert_false(peeks(40, 8, UINT64_MAX));
    assert_true(peeks(48, 8, 900));
    assert_false(peeks(48, 8, 901)); /* A tail beyond itself. */
}

static void entries_never_reach_behind_their_block(void **state)
{
    (void)state;
    static uint8_t block[BLOCK_BYTES];
    struct journal_block_header header = sample;
    struct journal_cursor cursor;
    struct journal_entry entry;
    const uint32_t room = BLOCK_BYTES - JOURNAL_BLOCK_HEADER_BYTES - JOURNAL_ENTRY_HEADER_BYTES;
    make(block);
    uint8_t *length = block + JOURNAL_BLOCK_HEADER_BYTES + 4;
    static const uint32_t lies[] = {BLOCK_BYTES, 0x7fffffff, 0xfffffff8, 0xffffffff};
    for (uint32_t i = 0; i < 4; i++) {
        store_le32(length, lies[i]);
        journal_cursor_init(&cursor, block, &header);
        assert_false(journal_cursor_next(&cursor, &entry));
    }
    store_le32(length, room + 1);
    journal_cursor_init(&cursor, block, &header);
    assert_false(journal_cursor_next(&cursor, &entry));
    for (uint32_t less = 0; less < 8; less++) { /* To the end of the block, padding and all. */
        store_le32(length, room - less);
        journal_cursor_init(&cursor, block, &header);
        assert_true(journal_cursor_next(&cursor, &entry));
        assert_int_equal(entry.body.size, room - less);
        assert_false(journal_cursor_next(&cursor, &entry));
    }
    memset(block, 0, sizeof(block)); /* More entries are claimed than there is room for. */
    header.entries = UINT32_MAX;
    journal_cursor_init(&cursor, block, &header);
    uint32_t count = 0;
    while (journal_cursor_next(&cursor, &entry)) {
        count++;
    }
    assert_int_equal(count, (BLOCK_BYTES - JOURNAL_BLOCK_HEADER_BYTES) / 32);
    header.entries = 0;
    journal_cursor_init(&cursor, block, &header);
    assert_false(journal_cursor_next(&cursor, &entry));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_has_its_fields_where_the_page_says),
        cmocka_unit_test(a_block_comes_back_as_it_was),
        cmocka_unit_test(no_flipped_bit_is_taken),
        cmocka_unit_test(no_torn_block_is_taken),
        cmocka_unit_test(a_block_of_another_journal_or_place_is_not_ours),
        cmocka_unit_test(numbers_that_cannot_be_are_refused),
        cmocka_unit_test(entries_never_reach_behind_their_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
