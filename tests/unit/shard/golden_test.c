/* Each structure on disk with fixed contents, byte for byte as in golden/: a change of format can't
 * go unnoticed. A line of a golden file is "position: bytes in hex"; lines of zeros are left out.
 */
#include "core/limits.h"
#include "shard/frame.h"
#include "shard/milestone.h"
#include "shard/segment.h"
#include "shard/superblock.h"
#include "shard/trailer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The chain behind the frame of extent.hex. */
#define GOLDEN_CHAIN 0xe697ec66a8e51ffeULL

enum { LINE_BYTES = 16, TEXT_BYTES = 64 << 10 };

static void assert_golden(const char *name, const uint8_t *data, uint32_t size)
{
    char path[512];
    static char text[TEXT_BYTES], want[TEXT_BYTES];
    int length = snprintf(text, sizeof(text), "size %u\n", size);
    for (uint32_t at = 0; at < size; at += LINE_BYTES) {
        static const uint8_t zeros[LINE_BYTES];
        uint32_t count = size - at < LINE_BYTES ? size - at : LINE_BYTES;
        if (memcmp(data + at, zeros, count) == 0) {
            continue;
        }
        length += snprintf(text + length, 16, "%04x:", at);
        for (uint32_t i = 0; i < count; i++) {
            length += snprintf(text + length, 8, "%s%02x", i % 4 == 0 ? " " : "", data[at + i]);
        }
        text[length++] = '\n';
        assert_true(length < TEXT_BYTES - 64);
    }
    text[length] = 0;
    snprintf(path, sizeof(path), "%s/%s.hex", GOLDEN_DIRECTORY, name);
    FILE *file = fopen(path, "r");
    size_t got = file != NULL ? fread(want, 1, sizeof(want) - 1, file) : 0;
    want[got] = 0;
    if (file != NULL) {
        fclose(file);
    }
    if (strcmp(text, want) != 0) {
        print_error("%s should be:\n%s", path, text);
    }
    assert_string_equal(text, want);
}

static void fill(uint8_t *bytes, uint8_t first)
{
    for (uint8_t i = 0; i < 16; i++) {
        bytes[i] = (uint8_t)(first + i);
    }
}

static void a_segment_header_is_golden(void **state)
{
    (void)state;
    uint8_t block[SEGMENT_HEADER_BYTES];
    struct segment_header header = {
        .file_generation = 0x01020304,
        .segment_id = 0x8000000000000a0b,
        .partition = 0x11121314,
        .epoch = 0x21222324,
        .base_offset = 0x3132333435363738,
        .salt = 0x4142434445464748,
        .replication_factor = 3,
        .ack_quorum = 2,
        .durability = DURABILITY_OS,
        .flags = 9,
        .created_ms = 1700000000000,
        .previous_id = 0x8000000000000a0a,
        .previous_digest = 0x5152535455565758,
        .name = "orders.eu",
        .leader_node = 0x61626364,
        .log_start = 0x7172737475767778,
    };
    fill(header.topic.bytes, 0xa0);
    fill(header.cluster_id, 0xb0);
    fill(header.disk_id, 0xc0);
    segment_header_encode(&header, block);
    assert_golden("segment_header", block, sizeof(block));
}

static void a_seal_block_is_golden(void **state)
{
    (void)state;
    uint8_t block[SEGMENT_HEADER_BYTES];
    struct segment_seal seal = {
        .segment_id = 0x8000000000000a0b,
        .salt = 0x4142434445464748,
        .end_offset = 0x0102030405060708,
        .digest = 0x1112131415161718,
        .trailer_position = 0x21000,
        .trailer_bytes = 0x3132,
        .log_start = 0x4142,
        .records = 0x5152,
        .last_ms = 0x6162,
        .last_seq = 0x7172,
        .timestamp_max = -2,
        .sealed_ms = 1700000000001,
    };
    segment_seal_encode(&seal, block);
    assert_golden("segment_seal", block, sizeof(block));
}

static void an_extent_with_a_frame_is_golden(void **state)
{
    (void)state;
    uint8_t data[EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES + FRAME_ROW_BYTES + 8];
    struct extent_header extent = {
        .type = EXTENT_FRAMES,
        .salt = 0x4142434445464748,
        .position = 0x102000,
        .padded_size = 0x3000,
        .boot = 0x01020304,
        .offset_first = 0x1112131415161718,
        .durable_end = 0x1112131415161717,
        .chain = 0x2122232425262728,
        .frames_or_crc = 1,
    };
    struct frame_row row = {.length = 8, .records = 2, .ms = 0x3132333435363738, .seq = 4};
    struct frame_header frame = {
        .flags = FRAME_TRANSACTIONAL,
        .salt = 0x4142434445464748,
        .segment_id = 0x8000000000000a0b,
        .epoch = 0x51525354,
        .body_bytes = FRAME_ROW_BYTES + 8,
        .offset_first = 0x1112131415161718,
        .records = 2,
        .batches = 1,
        .high_watermark = 0x6162636465666768,
        .log_start = 0x7172737475767778,
        .chain = 0x2122232425262728,
        .append_ms = 1700000000002,
    };
    uint8_t *body = data + EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES;
    frame_row_encode(&row, body);
    memcpy(body + FRAME_ROW_BYTES, "batches.", 8);
    frame.body_crc = frame_body_crc(body, frame.body_bytes);
    extent_header_encode(&extent, data);
    frame_header_encode(&frame, data + EXTENT_HEADER_BYTES);
    assert_golden("extent", data, sizeof(data));
    assert_int_equal(frame_check_body(&frame, body), OK);
    assert_true(frame_chain(data + EXTENT_HEADER_BYTES) == GOLDEN_CHAIN);
}

static void a_trailer_is_golden(void **state)
{
    (void)state;
    uint8_t body[1024];
    struct segment_index index;
    struct producer_table *producers = producer_table_create();
    segment_index_init(&index);
    assert_int_equal(segment_index_add(&index, 100, 8192, 0x0102, 3, 1000, 65536), OK);
    assert_int_equal(segment_index_add(&index, 200, 73728, 0x0405, 6, 900, 65536), OK);
    for (int32_t i = 0; i < 2; i++) {
        struct producer_batch batch = {.first_sequence = i * 10,
                                       .last_sequence = i * 10 + 9,
                                       .first_offset = 100 + (uint64_t)i * 10,
                                       .time_ms = 1700000000000 + i};
        assert_int_equal(producer_record(producers, 0x0102030405, 7, &batch), OK);
    }
    uint32_t size = trailer_size(&index, producers, NULL);
    assert_true(size <= sizeof(body));
    trailer_encode(&index, producers, NULL, body);
    assert_golden("trailer", body, size);
    producer_table_destroy(producers);
    segment_index_deinit(&index);
}

/* Producers and index, as they stand in a file between two frames. */
static void a_milestone_is_golden(void **state)
{
    (void)state;
    static uint8_t data[2 * DISK_BLOCK_BYTES];
    uint8_t *at = data + DISK_BLOCK_BYTES;
    struct segment_index index;
    struct producer_table *producers = producer_table_create();
    struct producer_batch batch = {.first_sequence = 10,
                                   .last_sequence = 19,
                                   .first_offset = 0x1112131415161700,
                                   .time_ms = 1700000000004};
    assert_int_equal(producer_record(producers, 0x0102030405, 7, &batch), OK);
    segment_index_init(&index);
    assert_int_equal(segment_index_add(&index, 100, 8192, 0x0102, 3, 1000, 65536), OK);
    assert_int_equal(segment_index_add(&index, 200, 73728, 0x0405, 6, 900, 65536), OK);
    struct extent_header extent = {
        .type = EXTENT_PRODUCERS,
        .salt = 0x4142434445464748,
        .position = 0x102000,
        .padded_size = DISK_BLOCK_BYTES,
        .boot = 0x01020304,
        .offset_first = 0x1112131415161718,
        .durable_end = 0x1112131415161717,
        .chain = 0x2122232425262728,
    };
    struct milestone milestone = {.log_start = 0x3132333435363738,
                                  .producers_position = extent.position,
                                  .last_ms = 0x0708,
                                  .last_seq = 9,
                                  .timestamp_max = 1001};
    memset(data, 0, sizeof(data));
    assert_int_equal(producer_encode(producers, data + EXTENT_HEADER_BYTES, 500),
                     PRODUCER_ROW_BYTES);
    milestone_seal(&extent, data);
    extent.type = EXTENT_INDEX;
    extent.position += DISK_BLOCK_BYTES;
    milestone_encode(&milestone, &index, at + EXTENT_HEADER_BYTES);
    milestone_seal(&extent, at);
    assert_golden("milestone", data, sizeof(data));
    producer_table_destroy(producers);
    segment_index_deinit(&index);
}

static void a_superblock_is_golden(void **state)
{
    (void)state;
    uint8_t slot[SUPERBLOCK_BYTES];
    struct superblock super = {
        .version_min = 1,
        .owner = SUPERBLOCK_SERVER,
        .node_id = 0x01020304,
        .boot = 0x1112131415161718,
        .time_ms = 1700000000003,
        .next_segment = 0x2122232425262728,
        .flags = 0x3132333435363738,
    };
    fill(super.directory_id, 0xa0);
    fill(super.disk_id, 0xb0);
    fill(super.cluster_id, 0xc0);
    fill(super.boot_nonce, 0xd0);
    fill(super.kernel_boot_id, 0xe0);
    superblock_encode(&super, slot);
    assert_golden("superblock", slot, sizeof(slot));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_segment_header_is_golden),
        cmocka_unit_test(a_seal_block_is_golden),
        cmocka_unit_test(an_extent_with_a_frame_is_golden),
        cmocka_unit_test(a_trailer_is_golden),
        cmocka_unit_test(a_milestone_is_golden),
        cmocka_unit_test(a_superblock_is_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
