/* Several frames in one extent, and a walk along extents: as far as they are sound, no further. */
#include "shard/walk.h"

#include "core/limits.h"
#include "shard/milestone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SALT 0x5a5a5a5a00000001ULL

enum { SEGMENT = 7, EPOCH = 4, FILE_BYTES = 10 * DISK_BLOCK_BYTES, BATCH_BYTES = 101 };

/* Extents one behind the other from SEGMENT_DATA_POSITION on; `bytes` begins there. */
struct file {
    uint8_t bytes[FILE_BYTES];
    uint32_t used;
    uint64_t offset, chain;
    uint32_t boot;
};

static void file_init(struct file *file)
{
    memset(file, 0, sizeof(*file));
    file->chain = SALT;
    file->boot = 3;
}

/* A frame of two records at `at`; returns its size. */
static uint32_t put_frame(struct file *file, uint8_t *at)
{
    struct frame_header frame = {.salt = SALT,
                                 .segment_id = SEGMENT,
                                 .epoch = EPOCH,
                                 .body_bytes = FRAME_ROW_BYTES + BATCH_BYTES,
                                 .offset_first = file->offset,
                                 .records = 2,
                                 .batches = 1,
                                 .chain = file->chain};
    struct frame_row row = {.length = BATCH_BYTES, .records = 2, .ms = 1000};
    uint8_t *body = at + FRAME_HEADER_BYTES;
    frame_row_encode(&row, body);
    memset(body + FRAME_ROW_BYTES, 0x30 + (int)(file->offset % 10), BATCH_BYTES);
    frame.body_crc = frame_body_crc(body, frame.body_bytes);
    frame_header_encode(&frame, at);
    file->offset += 2;
    file->chain = frame_chain(at);
    return frame_size(&frame);
}

static struct extent_header put_extent(struct file *file, uint32_t frames, uint64_t durable_end)
{
    uint8_t *at = file->bytes + file->used;
    struct extent_header extent = {.type = EXTENT_FRAMES,
                                   .salt = SALT,
                                   .position = SEGMENT_DATA_POSITION + file->used,
                                   .boot = file->boot,
                                   .offset_first = file->offset,
                                   .durable_end = durable_end,
                                   .chain = file->chain,
                                   .frames_or_crc = frames};
    uint32_t size = EXTENT_HEADER_BYTES;
    for (uint32_t i = 0; i < frames; i++) {
        size += put_frame(file, at + size);
    }
    extent.padded_size = (uint32_t)align_up(size, DISK_BLOCK_BYTES);
    extent_header_encode(&extent, at);
    file->used += extent.padded_size;
    assert_true(file->used <= FILE_BYTES);
    return extent;
}

static struct walk walk_start(void)
{
    return (struct walk){.segment_id = SEGMENT,
                         .salt = SALT,
                         .epoch = EPOCH,
                         .position = SEGMENT_DATA_POSITION,
                         .chain = SALT};
}

static enum err step(struct walk *walk, const struct file *file, uint32_t left)
{
    struct extent_header extent;
    return walk_extent(walk, file->bytes + (walk->position - SEGMENT_DATA_POSITION), left, &extent);
}

/* Walks to the end; the number of extents that were sound. */
static uint32_t walk_all(struct walk *walk, const struct file *file)
{
    uint32_t count = 0;
    *walk = walk_start();
    while (walk->position - SEGMENT_DATA_POSITION < file->used &&
           step(walk, file, (uint32_t)(SEGMENT_DATA_POSITION + file->used - walk->position)) ==
               OK) {
        count++;
    }
    return count;
}

/* A file whose one extent has `frames` frames, and a cursor before the first. */
static struct extent_header one_extent(struct file *file, uint32_t frames,
                                       struct frame_cursor *cursor)
{
    file_init(file);
    struct extent_header extent = put_extent(file, frames, 0);
    frame_cursor_init(cursor, file->bytes, &extent, SEGMENT);
    return extent;
}

static void a_cursor_gives_each_frame_of_an_extent(void **state)
{
    (void)state;
    static struct file file;
    struct frame_cursor cursor;
    struct frame_header frame;
    const uint8_t *at;
    (void)one_extent(&file, 3, &cursor);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(frame_cursor_next(&cursor, &frame, &at), OK);
        assert_int_equal(frame.offset_first, 2 * i);
        assert_int_equal((at - file.bytes - EXTENT_HEADER_BYTES) % 8, 0);
    }
    assert_true(frame_chain(at) == file.chain);
    assert_int_equal(frame_cursor_next(&cursor, &frame, &at), ERR_NOT_FOUND);
    assert_int_equal(cursor.offset, 6);
}

static void a_cursor_stops_at_the_frame_that_is_bad(void **state)
{
    (void)state;
    static struct file file;
    struct frame_cursor cursor;
    struct frame_header frame;
    const uint8_t *at;
    struct extent_header extent = one_extent(&file, 3, &cursor);
    const uint32_t size = (uint32_t)align_up(FRAME_HEADER_BYTES + FRAME_ROW_BYTES + BATCH_BYTES, 8);
    const uint32_t second = EXTENT_HEADER_BYTES + size;
    const uint32_t sound = FRAME_HEADER_BYTES + FRAME_ROW_BYTES + BATCH_BYTES;
    for (uint32_t byte = second; byte < second + size; byte++) {
        file.bytes[byte] ^= 0x20;
        frame_cursor_init(&cursor, file.bytes, &extent, SEGMENT);
        assert_int_equal(frame_cursor_next(&cursor, &frame, &at), OK);
        enum err err = frame_cursor_next(&cursor, &frame, &at);
        assert_int_equal(err, byte < second + sound ? ERR_CORRUPT : OK); /* The padding is free. */
        file.bytes[byte] ^= 0x20;
    }
}

static enum err second_frame(struct file *file, const struct frame_header *second, bool same_salt)
{
    struct frame_cursor cursor;
    struct frame_header frame;
    const uint8_t *at;
    struct extent_header extent;
    assert_int_equal(extent_header_decode(file->bytes, &extent), OK);
    const uint32_t size = (uint32_t)align_up(FRAME_HEADER_BYTES + FRAME_ROW_BYTES + BATCH_BYTES, 8);
    frame_header_encode(second, file->bytes + EXTENT_HEADER_BYTES + size);
    frame_cursor_init(&cursor, file->bytes, &extent, SEGMENT);
    cursor.salt = same_salt ? cursor.salt : cursor.salt + 1;
    assert_int_equal(frame_cursor_next(&cursor, &frame, &at), same_salt ? OK : ERR_FOREIGN);
    return frame_cursor_next(&cursor, &frame, &at);
}

static void a_second_frame_of_elsewhere_is_foreign(void **state)
{
    (void)state;
    static struct file file;
    struct frame_header second, other;
    file_init(&file);
    (void)put_extent(&file, 2, 0);
    const uint32_t size = (uint32_t)align_up(FRAME_HEADER_BYTES + FRAME_ROW_BYTES + BATCH_BYTES, 8);
    assert_int_equal(frame_header_decode(file.bytes + EXTENT_HEADER_BYTES + size, &second), OK);
    assert_int_equal(second_frame(&file, &second, true), OK);
    other = second;
    other.salt++;
    assert_int_equal(second_frame(&file, &other, true), ERR_FOREIGN);
    other = second;
    other.segment_id++;
    assert_int_equal(second_frame(&file, &other, true), ERR_FOREIGN);
    other = second;
    other.offset_first++;
    assert_int_equal(second_frame(&file, &other, true), ERR_FOREIGN);
    other = second;
    other.body_bytes = DISK_BLOCK_BYTES;
    assert_int_equal(second_frame(&file, &other, true), ERR_FOREIGN);
    other.body_bytes = UINT32_MAX;
    assert_int_equal(second_frame(&file, &other, true), ERR_CORRUPT);
    assert_int_equal(second_frame(&file, &second, false), ERR_FOREIGN);
}

static void a_cursor_stays_inside_its_extent(void **state)
{
    (void)state;
    static struct file file;
    struct frame_cursor cursor;
    struct frame_header frame;
    const uint8_t *at;
    struct extent_header extent = one_extent(&file, 1, &cursor);
    extent.frames_or_crc = 2; /* More are claimed than there are. */
    frame_cursor_init(&cursor, file.bytes, &extent, SEGMENT);
    assert_int_equal(frame_cursor_next(&cursor, &frame, &at), OK);
    assert_int_equal(frame_cursor_next(&cursor, &frame, &at), ERR_CORRUPT);
    frame_cursor_init(&cursor, file.bytes, &extent, SEGMENT);
    cursor.left = FRAME_HEADER_BYTES - 1;
    assert_int_equal(frame_cursor_next(&cursor, &frame, &at), ERR_CORRUPT);
    cursor.left = FRAME_HEADER_BYTES + FRAME_ROW_BYTES + BATCH_BYTES - 1;
    assert_int_equal(frame_cursor_next(&cursor, &frame, &at), ERR_FOREIGN);
    cursor.left = FRAME_HEADER_BYTES + FRAME_ROW_BYTES + BATCH_BYTES; /* Without padding. */
    assert_int_equal(frame_cursor_next(&cursor, &frame, &at), OK);
    assert_int_equal(cursor.left, 0);
}

static void a_walk_goes_to_the_end_of_what_is_sound(void **state)
{
    (void)state;
    static struct file file;
    struct walk walk;
    file_init(&file);
    (void)put_extent(&file, 3, 0);
    (void)put_extent(&file, 1, 6);
    file.boot = 5; /* A later start goes on. */
    (void)put_extent(&file, 20, 8);
    assert_int_equal(walk_all(&walk, &file), 3);
    assert_int_equal(walk.offset, 48);
    assert_true(walk.chain == file.chain);
    assert_int_equal(walk.position, SEGMENT_DATA_POSITION + file.used);
    assert_int_equal(walk.evidence, 8);
    assert_int_equal(walk.boot, 5);
}

static void a_walk_asks_for_the_rest_of_an_extent(void **state)
{
    (void)state;
    static struct file file;
    struct walk walk = walk_start();
    file_init(&file);
    struct extent_header extent = put_extent(&file, 20, 0);
    assert_true(extent.padded_size > DISK_BLOCK_BYTES);
    for (uint32_t left = DISK_BLOCK_BYTES; left < extent.padded_size; left += DISK_BLOCK_BYTES) {
        assert_int_equal(step(&walk, &file, left), ERR_TRUNCATED);
    }
    assert_int_equal(walk.position, SEGMENT_DATA_POSITION);
    assert_int_equal(step(&walk, &file, extent.padded_size), OK);
}

static void every_damaged_byte_ends_a_walk_at_its_extent(void **state)
{
    (void)state;
    static struct file file;
    struct walk walk;
    file_init(&file);
    (void)put_extent(&file, 1, 0);
    (void)put_extent(&file, 2, 2);
    const uint32_t size = (uint32_t)align_up(FRAME_HEADER_BYTES + FRAME_ROW_BYTES + BATCH_BYTES, 8);
    const uint32_t sound = size - 3; /* A frame without its padding. */
    for (uint32_t i = 0; i < EXTENT_HEADER_BYTES + 2 * size; i++) {
        bool padding = i >= EXTENT_HEADER_BYTES && (i - EXTENT_HEADER_BYTES) % size >= sound;
        file.bytes[DISK_BLOCK_BYTES + i] ^= 4;
        assert_int_equal(walk_all(&walk, &file), padding ? 2 : 1);
        if (!padding) { /* Nothing of the bad extent is taken. */
            assert_int_equal(walk.offset, 2);
            assert_int_equal(walk.position, SEGMENT_DATA_POSITION + DISK_BLOCK_BYTES);
            assert_int_equal(walk.evidence, 0);
        }
        file.bytes[DISK_BLOCK_BYTES + i] ^= 4;
    }
}

static enum err with_extent(const struct extent_header *extent, struct walk *walk)
{
    static struct file file;
    file_init(&file);
    (void)put_extent(&file, 1, 0);
    extent_header_encode(extent, file.bytes);
    return step(walk, &file, DISK_BLOCK_BYTES);
}

static void extents_that_do_not_follow_end_a_walk(void **state)
{
    (void)state;
    static struct file file;
    file_init(&file);
    struct extent_header extent = put_extent(&file, 1, 0), other;
    struct walk walk = walk_start();
    assert_int_equal(with_extent(&extent, &walk), OK);
    other = extent;
    other.salt++;
    walk = walk_start();
    assert_int_equal(with_extent(&other, &walk), ERR_CORRUPT);
    other = extent;
    other.position += DISK_BLOCK_BYTES;
    assert_int_equal(with_extent(&other, &walk), ERR_CORRUPT);
    other = extent;
    other.offset_first = 1;
    assert_int_equal(with_extent(&other, &walk), ERR_CORRUPT);
    other = extent;
    other.chain++;
    assert_int_equal(with_extent(&other, &walk), ERR_CORRUPT);
    other = extent;
    other.frames_or_crc = 0;
    assert_int_equal(with_extent(&other, &walk), ERR_CORRUPT);
    other.frames_or_crc = 2;
    assert_int_equal(with_extent(&other, &walk), ERR_CORRUPT);
    other = extent;
    other.type = EXTENT_TRAILER;
    assert_int_equal(with_extent(&other, &walk), ERR_CORRUPT);
    walk.boot = extent.boot + 1; /* Of an earlier start than the one before it. */
    assert_int_equal(with_extent(&extent, &walk), ERR_CORRUPT);
    walk = walk_start();
    walk.epoch++;
    assert_int_equal(with_extent(&extent, &walk), ERR_CORRUPT);
    assert_int_equal(walk.offset, 0);
    assert_int_equal(walk.position, SEGMENT_DATA_POSITION);
}

/* An extent without frames, two blocks long; where its bytes are. */
static uint8_t *put_milestone(struct file *file, enum extent_type type)
{
    uint8_t *at = file->bytes + file->used;
    struct extent_header extent = {.type = (uint8_t)type,
                                   .salt = SALT,
                                   .position = SEGMENT_DATA_POSITION + file->used,
                                   .padded_size = 2 * DISK_BLOCK_BYTES,
                                   .boot = file->boot,
                                   .offset_first = file->offset,
                                   .chain = file->chain};
    memset(at + EXTENT_HEADER_BYTES, 9, DISK_BLOCK_BYTES + 100);
    milestone_seal(&extent, at);
    file->used += extent.padded_size;
    assert_true(file->used <= FILE_BYTES);
    return at;
}

static void extents_without_frames_are_passed_if_they_are_sound(void **state)
{
    (void)state;
    static struct file file;
    struct walk walk;
    file_init(&file);
    (void)put_extent(&file, 1, 0);
    uint8_t *at = put_milestone(&file, EXTENT_PRODUCERS);
    (void)put_extent(&file, 1, 2);
    assert_int_equal(walk_all(&walk, &file), 3);
    assert_int_equal(walk.offset, 4);
    at[EXTENT_HEADER_BYTES + 99] ^= 1;
    assert_int_equal(walk_all(&walk, &file), 1);
    at[EXTENT_HEADER_BYTES + 99] ^= 1;
    struct extent_header extent, other;
    assert_int_equal(extent_header_decode(at, &extent), OK);
    other = extent;
    other.chain++;
    extent_header_encode(&other, at);
    assert_int_equal(walk_all(&walk, &file), 1);
    other = extent;
    other.offset_first++;
    extent_header_encode(&other, at);
    assert_int_equal(walk_all(&walk, &file), 1);
}

/* Looks behind where the walk ended. */
static bool resume(struct walk *walk, const struct file *file)
{
    uint32_t from = (uint32_t)(walk->position - SEGMENT_DATA_POSITION) + DISK_BLOCK_BYTES;
    struct bytes rest = bytes_of(file->bytes + from, FILE_BYTES - from);
    return walk_resume(walk, rest, SEGMENT_DATA_POSITION + from);
}

static void a_walk_goes_on_behind_a_bad_milestone(void **state)
{
    (void)state;
    static struct file file;
    struct walk walk;
    file_init(&file);
    (void)put_extent(&file, 1, 0);
    uint8_t *producers = put_milestone(&file, EXTENT_PRODUCERS);
    uint8_t *index = put_milestone(&file, EXTENT_INDEX);
    uint64_t behind = SEGMENT_DATA_POSITION + file.used;
    (void)put_extent(&file, 1, 2);
    for (uint32_t byte = 0; byte < DISK_BLOCK_BYTES; byte += 13) {
        producers[byte] ^= 1;
        assert_int_equal(walk_all(&walk, &file), 1);
        assert_true(resume(&walk, &file)); /* With the index, which is sound. */
        assert_int_equal(walk.position, behind - 2 * DISK_BLOCK_BYTES);
        index[byte] ^= 1;
        assert_true(resume(&walk, &file));
        assert_int_equal(walk.position, behind);
        assert_int_equal(walk.offset, 2);
        assert_int_equal(step(&walk, &file, DISK_BLOCK_BYTES), OK);
        assert_int_equal(walk.offset, 4);
        producers[byte] ^= 1;
        index[byte] ^= 1;
    }
}

static void a_walk_does_not_go_on_where_a_frame_is_missing(void **state)
{
    (void)state;
    static struct file file;
    struct walk walk;
    file_init(&file);
    (void)put_extent(&file, 1, 0);
    uint32_t second = file.used;
    (void)put_extent(&file, 1, 0);
    (void)put_milestone(&file, EXTENT_INDEX);
    (void)put_extent(&file, 1, 2);
    file.bytes[second + 100] ^= 1;
    assert_int_equal(walk_all(&walk, &file), 1);
    assert_false(resume(&walk, &file));
    /* Nor to an extent of an earlier start, nor behind what stands before the first frame. */
    file.bytes[second + 100] ^= 1;
    file.bytes[second + DISK_BLOCK_BYTES] ^= 1;
    assert_int_equal(walk_all(&walk, &file), 2);
    struct walk later = walk;
    later.boot++;
    assert_false(resume(&later, &file));
    later = walk;
    later.chain++;
    assert_false(resume(&later, &file));
    assert_true(resume(&walk, &file));
    file_init(&file);
    uint8_t *producers = put_milestone(&file, EXTENT_PRODUCERS);
    (void)put_extent(&file, 1, 0);
    producers[100] ^= 1;
    assert_int_equal(walk_all(&walk, &file), 0);
    assert_false(resume(&walk, &file));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cursor_gives_each_frame_of_an_extent),
        cmocka_unit_test(a_cursor_stops_at_the_frame_that_is_bad),
        cmocka_unit_test(a_second_frame_of_elsewhere_is_foreign),
        cmocka_unit_test(a_cursor_stays_inside_its_extent),
        cmocka_unit_test(a_walk_goes_to_the_end_of_what_is_sound),
        cmocka_unit_test(a_walk_asks_for_the_rest_of_an_extent),
        cmocka_unit_test(every_damaged_byte_ends_a_walk_at_its_extent),
        cmocka_unit_test(extents_that_do_not_follow_end_a_walk),
        cmocka_unit_test(extents_without_frames_are_passed_if_they_are_sound),
        cmocka_unit_test(a_walk_goes_on_behind_a_bad_milestone),
        cmocka_unit_test(a_walk_does_not_go_on_where_a_frame_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
