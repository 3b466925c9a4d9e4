/* The structures on disk: each field stands where the format says, and no damaged one is taken. */
#include "shard/frame.h"
#include "shard/segment.h"
#include "shard/superblock.h"
#include "shard/trailer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct segment_header header_sample(void)
{
    struct segment_header header = {
        .file_generation = 1,
        .segment_id = 0x8000000000000007,
        .partition = 3,
        .epoch = 4,
        .base_offset = 1000000,
        .salt = 0x1122334455667788,
        .replication_factor = 1,
        .ack_quorum = 1,
        .created_ms = 1700000000000,
        .previous_id = 0x8000000000000006,
        .previous_digest = 99,
        .name = "orders",
        .leader_node = 2,
        .log_start = 17,
    };
    memset(header.topic.bytes, 0xab, 16);
    memset(header.cluster_id, 0xcd, 16);
    memset(header.disk_id, 0xef, 16);
    return header;
}

static void a_segment_header_has_its_fields_where_the_page_says(void **state)
{
    (void)state;
    uint8_t block[SEGMENT_HEADER_BYTES];
    struct segment_header header = header_sample(), back;
    segment_header_encode(&header, block);
    assert_memory_equal(block, "FLOESEGM", 8);
    assert_int_equal(load_le32(block + 8), 1);
    assert_int_equal(load_le64(block + 16), header.segment_id);
    assert_int_equal(block[24], 0xab);
    assert_int_equal(load_le32(block + 40), 3);
    assert_int_equal(load_le64(block + 48), 1000000);
    assert_int_equal(load_le64(block + 56), header.salt);
    assert_int_equal(load_le64(block + 112), header.previous_id);
    assert_int_equal(load_le16(block + 128), 6);
    assert_memory_equal(block + 130, "orders", 6);
    assert_int_equal(load_le32(block + 1160), 2);
    assert_int_equal(load_le64(block + 2704), 17);
    assert_int_equal(segment_header_decode(block, &back), OK);
    header.member_count = 1;
    assert_string_equal(back.name, "orders");
    assert_int_equal(back.salt, header.salt);
    assert_int_equal(back.member_count, 1);
}

static void a_damaged_header_is_never_taken(void **state)
{
    (void)state;
    uint8_t block[SEGMENT_HEADER_BYTES];
    struct segment_header header = header_sample(), back;
    segment_header_encode(&header, block);
    for (uint32_t byte = 0; byte < SEGMENT_HEADER_BYTES; byte++) {
        block[byte] ^= 0x10;
        assert_int_not_equal(segment_header_decode(block, &back), OK);
        block[byte] ^= 0x10;
    }
    block[0] = 'X';
    assert_int_equal(segment_header_decode(block, &back), ERR_FOREIGN);
    segment_header_encode(&header, block);
    block[8] = 2;
    assert_int_equal(segment_header_decode(block, &back), ERR_VERSION);
}

static void a_seal_is_absent_sound_or_corrupt(void **state)
{
    (void)state;
    uint8_t block[SEGMENT_HEADER_BYTES] = {0};
    struct segment_seal seal = {.segment_id = 7, .end_offset = 500, .digest = 0x55}, back;
    assert_int_equal(segment_seal_decode(block, &back), ERR_NOT_FOUND);
    segment_seal_encode(&seal, block);
    assert_memory_equal(block, "FLOESEAL", 8);
    assert_int_equal(load_le64(block + 32), 500);
    assert_int_equal(segment_seal_decode(block, &back), OK);
    assert_int_equal(back.digest, 0x55);
    block[33] ^= 1;
    assert_int_equal(segment_seal_decode(block, &back), ERR_CORRUPT);
}

static void extents_and_frames_keep_their_fields_and_notice_each_flip(void **state)
{
    (void)state;
    uint8_t at[EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES];
    struct extent_header extent = {.type = EXTENT_FRAMES,
                                   .salt = 1,
                                   .position = 8192,
                                   .padded_size = 4096,
                                   .boot = 2,
                                   .offset_first = 3,
                                   .durable_end = 2,
                                   .chain = 5,
                                   .frames_or_crc = 1},
                         extent_back;
    struct frame_header frame = {.salt = 1,
                                 .segment_id = 7,
                                 .epoch = 4,
                                 .body_bytes = 124,
                                 .offset_first = 3,
                                 .records = 1,
                                 .batches = 1,
                                 .chain = 5},
                        frame_back;
    extent_header_encode(&extent, at);
    frame_header_encode(&frame, at + EXTENT_HEADER_BYTES);
    assert_int_equal(extent_header_decode(at, &extent_back), OK);
    assert_int_equal(frame_header_decode(at + EXTENT_HEADER_BYTES, &frame_back), OK);
    assert_int_equal(extent_back.durable_end, 2);
    assert_int_equal(frame_back.offset_first, 3);
    assert_int_equal(frame_size(&frame), 224);
    uint64_t chain = frame_chain(at + EXTENT_HEADER_BYTES);
    for (uint32_t byte = 0; byte < sizeof(at); byte++) {
        at[byte] ^= 0x04;
        if (byte < EXTENT_HEADER_BYTES) {
            assert_int_not_equal(extent_header_decode(at, &extent_back), OK);
        } else {
            assert_int_not_equal(frame_header_decode(at + EXTENT_HEADER_BYTES, &frame_back), OK);
            assert_true(frame_chain(at + EXTENT_HEADER_BYTES) != chain);
        }
        at[byte] ^= 0x04;
    }
}

static void what_was_written_for_another_place_is_foreign(void **state)
{
    (void)state;
    uint8_t data[2 * 4096] = {0};
    struct extent_header extent = {
        .type = EXTENT_FRAMES, .salt = 1, .position = 8192, .padded_size = 4096, .durable_end = 5};
    struct frame_header frame = {.salt = 1, .segment_id = 7, .offset_first = 3, .records = 1};
    struct extent_header found;
    struct frame_header inside;
    extent.offset_first = 3;
    extent_header_encode(&extent, data);
    frame_header_encode(&frame, data + EXTENT_HEADER_BYTES);
    assert_int_equal(extent_header_at(data, 1, 8192, &found), OK);
    assert_int_equal(extent_header_at(data, 2, 8192, &found), ERR_FOREIGN);
    assert_int_equal(extent_header_at(data, 1, 12288, &found), ERR_FOREIGN);
    assert_int_equal(extent_header_at(data + 4096, 1, 12288, &found), ERR_CORRUPT);
    /* Only what is in its place is evidence. */
    struct bytes both = bytes_of(data, sizeof(data));
    assert_int_equal(extent_evidence(both, 1, 8192, 2), 5);
    assert_int_equal(extent_evidence(both, 1, 8192, 6), 6);
    assert_int_equal(extent_evidence(both, 2, 8192, 2), 2);
    assert_int_equal(extent_evidence(both, 1, 4096, 2), 2);
    memcpy(data + 4096, data, 4096);
    memset(data, 0, 4096);
    assert_int_equal(extent_evidence(both, 1, 4096, 2), 5);
    const uint8_t *at = data + 4096 + EXTENT_HEADER_BYTES;
    assert_int_equal(frame_header_in(at, &extent, 7, &inside), OK);
    assert_int_equal(frame_header_in(at, &extent, 8, &inside), ERR_FOREIGN);
    assert_int_equal(frame_header_in(data, &extent, 7, &inside), ERR_CORRUPT);
    struct extent_header other = extent;
    other.salt = 2;
    assert_int_equal(frame_header_in(at, &other, 7, &inside), ERR_FOREIGN);
    other = extent;
    other.offset_first = 4;
    assert_int_equal(frame_header_in(at, &other, 7, &inside), ERR_FOREIGN);
    other = extent;
    other.padded_size = EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES - 1;
    assert_int_equal(frame_header_in(at, &other, 7, &inside), ERR_FOREIGN);
}

static void files_of_segments_have_names_of_their_own(void **state)
{
    (void)state;
    assert_true(segment_is_name("800000000000000a.seg", ".seg"));
    assert_false(segment_is_name("800000000000000a.new", ".seg"));
    assert_false(segment_is_name("80000000000000a.seg", ".seg"));
    assert_false(segment_is_name("8000000000000000a.seg", ".seg"));
    assert_false(segment_is_name("800000000000000A.seg", ".seg"));
    assert_false(segment_is_name("800000000000000a.segs", ".seg"));
    assert_false(segment_is_name("", ".seg"));
}

static void a_body_must_add_up(void **state)
{
    (void)state;
    uint8_t body[2 * FRAME_ROW_BYTES + 100] = {0};
    struct frame_row rows[2] = {{.length = 60, .records = 2}, {.length = 40, .records = 3}};
    for (uint32_t i = 0; i < 2; i++) {
        frame_row_encode(&rows[i], body + (size_t)i * FRAME_ROW_BYTES);
    }
    struct frame_header frame = {.body_bytes = sizeof(body), .batches = 2, .records = 5};
    frame.body_crc = frame_body_crc(body, sizeof(body));
    assert_int_equal(frame_check_body(&frame, body), OK);
    frame.records = 4;
    assert_int_equal(frame_check_body(&frame, body), ERR_CORRUPT);
    frame.records = 5;
    body[70] ^= 1;
    assert_int_equal(frame_check_body(&frame, body), ERR_CORRUPT);
}

static void the_newer_slot_speaks_and_a_lost_one_costs_a_boot_number(void **state)
{
    (void)state;
    uint8_t slots[SUPERBLOCK_SLOTS * SUPERBLOCK_BYTES];
    struct superblock super = {.version_min = 1, .owner = SUPERBLOCK_SERVER, .boot = 7}, chosen;
    uint64_t boot = 0;
    superblock_encode(&super, slots);
    super.boot = 8;
    superblock_encode(&super, slots + SUPERBLOCK_BYTES);
    assert_int_equal(superblock_choose(slots, &chosen, &boot), OK);
    assert_int_equal(boot, 9);
    slots[SUPERBLOCK_BYTES + 72] ^= 1;
    assert_int_equal(superblock_choose(slots, &chosen, &boot), OK);
    assert_int_equal(boot, 9);
    slots[72] ^= 1;
    assert_int_equal(superblock_choose(slots, &chosen, &boot), ERR_DAMAGED);
    super.directory_id[3] = 9; /* Another directory's; it would win. */
    super.boot = 100;
    superblock_encode(&super, slots);
    super.directory_id[3] = 0;
    superblock_encode(&super, slots + SUPERBLOCK_BYTES);
    assert_int_equal(superblock_choose(slots, &chosen, &boot), ERR_DAMAGED);
    super.version_min = 2;
    superblock_encode(&super, slots);
    assert_int_equal(superblock_choose(slots, &chosen, &boot), ERR_VERSION);
}

static void an_index_finds_by_offset_and_by_time_and_survives_a_trailer(void **state)
{
    (void)state;
    struct segment_index index, back;
    segment_index_init(&index);
    segment_index_init(&back);
    assert_null(segment_index_by_offset(&index, 0));
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(segment_index_add(&index, 10 + i, 8192 + (uint64_t)i * 32768, i, 0,
                                           1000 + (int64_t)i, 32768),
                         OK);
    }
    assert_int_equal(index.count, 50);
    assert_null(segment_index_by_offset(&index, 9));
    assert_int_equal(segment_index_by_offset(&index, 13)->offset_first, 12);
    assert_int_equal(segment_index_by_time(&index, 1005)->offset_first, 14);
    assert_null(segment_index_by_time(&index, 1100));
    uint8_t body[8192];
    uint32_t size = trailer_size(&index, NULL, NULL);
    assert_true(size <= sizeof(body));
    trailer_encode(&index, NULL, NULL, body);
    assert_int_equal(trailer_decode(bytes_of(body, size), &back, NULL, NULL), OK);
    assert_int_equal(back.count, 50);
    assert_int_equal(back.rows[49].position, index.rows[49].position);
    segment_index_deinit(&back);
    for (uint32_t cut = 1; cut < size; cut += 7) {
        assert_int_not_equal(trailer_decode(bytes_of(body, size - cut), &back, NULL, NULL), OK);
        segment_index_deinit(&back);
    }
    segment_index_deinit(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_segment_header_has_its_fields_where_the_page_says),
        cmocka_unit_test(a_damaged_header_is_never_taken),
        cmocka_unit_test(a_seal_is_absent_sound_or_corrupt),
        cmocka_unit_test(extents_and_frames_keep_their_fields_and_notice_each_flip),
        cmocka_unit_test(what_was_written_for_another_place_is_foreign),
        cmocka_unit_test(files_of_segments_have_names_of_their_own),
        cmocka_unit_test(a_body_must_add_up),
        cmocka_unit_test(the_newer_slot_speaks_and_a_lost_one_costs_a_boot_number),
        cmocka_unit_test(an_index_finds_by_offset_and_by_time_and_survives_a_trailer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
