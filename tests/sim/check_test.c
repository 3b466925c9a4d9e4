/* What the check lets pass of a log whose file rotted, and what it does not: of an open segment
 * with batches at 0..10, 10..20 and 20..30, all acked, each an extent of its file. */
#include "core/assert.h"
#include "shard/frame.h"
#include "shard/segment.h"
#include "tests/sim/rot.h"
#include "tests/sim/sim_map_internal.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BATCHES = 3, RECORDS = 10, BLOCK = DISK_PAGE_BYTES, SEEDS = 300 };

static const uint64_t salt = 77, foreign_salt = 78;

struct fixture {
    struct prng prng;
    struct disk *disk;
    struct sim_map *map;
    struct check *check;
    int32_t file;
};

static void start(struct fixture *f, uint64_t seed, enum durability durability)
{
    prng_seed_one(&f->prng, seed);
    f->disk = disk_create(&f->prng);
    struct sim_map_options options = {.prng = &f->prng};
    f->map = sim_map_create(&options);
    struct partition_config config = {.durability = durability};
    (void)sim_map_topic_create(f->map, &config, 1);
    f->check = check_create(f->map, f->disk);
    check_life(f->check, 1);
    struct segment_info info = {
        .id = 5, .state = SEGMENT_OPEN, .salt = salt, .durability = durability};
    map_entry_push(f->map->entries[0], &info, 1);
    for (uint64_t i = 0; i < BATCHES; i++) {
        struct sim_batch made = {.number = i, .records = RECORDS, .data = malloc(1)};
        assert_non_null(made.data);
        struct check_ack ack = {check_batch(f->check, &made), i * RECORDS, 1, -1};
        (void)check_arrived(f->check, ack.batch, 1);
        check_acked(f->check, &ack);
    }
    assert_null(check_failure(f->check));
    assert_int_equal(check_end(f->check, 0), 30);
}

static void end(struct fixture *f)
{
    check_destroy(f->check);
    sim_map_destroy(f->map);
    disk_destroy(f->disk);
}

/* The file, with a name that lasts. */
static void make_file(struct fixture *f)
{
    char path[DISK_NAME_BYTES], topic[TOPIC_ID_TEXT_BYTES];
    const struct partition_id *id = &sim_map_partition(f->map, 0)->id;
    topic_id_text(&id->topic, topic);
    static const char *const above[] = {"data", "data/topics"};
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(disk_mkdir(f->disk, above[i]), OK);
    }
    (void)snprintf(path, sizeof(path), "data/topics/%s", topic);
    assert_int_equal(disk_mkdir(f->disk, path), OK);
    (void)snprintf(path, sizeof(path), "data/topics/%s/0", topic);
    assert_int_equal(disk_mkdir(f->disk, path), OK);
    (void)snprintf(path, sizeof(path), "data/topics/%s/0/%016x.seg", topic, 5);
    f->file = disk_open(f->disk, path, IO_OPEN_WRITE | IO_OPEN_CREATE);
    assert_true(f->file >= 0);
    (void)snprintf(path, sizeof(path), "data/topics/%s/0", topic);
    static const char *const all[] = {"/", "data", "data/topics"};
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(disk_sync_dir(f->disk, all[i]), OK);
    }
    (void)snprintf(path, sizeof(path), "data/topics/%s", topic);
    assert_int_equal(disk_sync_dir(f->disk, path), OK);
    (void)snprintf(path, sizeof(path), "data/topics/%s/0", topic);
    assert_int_equal(disk_sync_dir(f->disk, path), OK);
    assert_int_equal(disk_allocate(f->disk, f->file, 0, 16 * BLOCK), OK);
}

static uint64_t position_of(uint64_t index)
{
    return SEGMENT_DATA_POSITION + index * BLOCK;
}

/* One frame at 10 x `index`, written when `durable_end` was durable. */
static void put(struct fixture *f, uint64_t index, uint64_t durable_end, uint64_t its_salt,
                bool durable)
{
    uint8_t block[BLOCK] = {0};
    const struct extent_header extent = {
        .type = EXTENT_FRAMES,
        .salt = its_salt,
        .position = position_of(index),
        .padded_size = BLOCK,
        .boot = 1,
        .offset_first = index * RECORDS,
        .durable_end = durable_end,
        .frames_or_crc = 1,
    };
    const struct frame_header frame = {
        .salt = its_salt, .segment_id = 5, .offset_first = index * RECORDS, .records = RECORDS};
    extent_header_encode(&extent, block);
    frame_header_encode(&frame, block + EXTENT_HEADER_BYTES);
    struct disk_write write = {f->file, block, BLOCK, position_of(index), durable};
    assert_int_equal(disk_write(f->disk, &write), OK);
}

/* A seal at `end_offset` when the extent at 10 is rotten, and `proven` is what is proven. */
static const char *sealed(struct fixture *f, uint64_t proven, uint64_t end_offset)
{
    const struct check_proof proof = {
        .segment_id = 5, .position = position_of(1), .wanted = 20, .proven = proven};
    start(f, 1, DURABILITY_DISK);
    check_rotted(f->check, 0, 10, UINT64_MAX, true);
    check_proven(f->check, 0, &proof);
    check_sealed(f->check, 0, end_offset, false);
    return check_failure(f->check);
}

static void what_nothing_proves_may_be_cut_and_no_more(void **state)
{
    (void)state;

    static const struct {
        uint64_t proven, end_offset;
        bool passes;
    } rows[] = {
        {0, 0, false},   {0, 10, true},   {0, 20, true},   {10, 10, true},  {10, 0, false},
        {15, 20, true},  {15, 10, false}, {20, 10, false}, {20, 20, false}, {20, 30, true},
        {30, 20, false}, {30, 30, true},  {0, 15, false},  {35, 30, false}, {UINT64_MAX, 20, false},
    };

    for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture f;
        const char *failure = sealed(&f, rows[i].proven, rows[i].end_offset);
        print_message("proven %" PRIu64 ", sealed at %" PRIu64 ": %s\n", rows[i].proven,
                      rows[i].end_offset, failure == NULL ? "passes" : failure);
        assert_int_equal(failure == NULL, rows[i].passes);
        if (failure == NULL) {
            assert_int_equal(check_end(f.check, 0), rows[i].end_offset);
        }
        end(&f);
    }
}

/* The header is rotten, and the log was trimmed to 15 before that. */
static void a_damaged_log_that_starts_within_a_batch_does_not_end_there(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 1, DURABILITY_MEMORY);
    check_trim_asked(f.check, 0, 15);
    check_ended(f.check, true, false);
    check_rotted(f.check, 0, 0, UINT64_MAX, true);
    check_watermark(f.check, 0, 15, 0);
    assert_null(check_failure(f.check));
    end(&f);
    start(&f, 1, DURABILITY_MEMORY); /* Where nothing is damaged it does. */
    check_ended(f.check, true, false);
    check_watermark(f.check, 0, 15, 0);
    assert_non_null(check_failure(f.check));
    end(&f);
}

/* Until something rots that can be cut; what is said to be proven then. NULL: it never does. */
static struct check_proof *rot_until(struct fixture *f, const char *what)
{
    struct rot_place where;
    const char *said = rot_some(f->disk, f->map, f->check, &f->prng, &where);
    return said != NULL && strcmp(said, what) == 0 ? check_proof(f->check, 0) : NULL;
}

static void a_proof_in_a_cache_goes_with_it(void **state)
{
    (void)state;
    uint32_t kept = 0, gone = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct fixture f;
        start(&f, seed, DURABILITY_DISK);
        make_file(&f);
        put(&f, 0, 0, salt, true);
        put(&f, 1, 10, salt, true);
        put(&f, 2, 20, salt, false);
        struct check_proof *proof = rot_until(&f, "bytes of a frame");
        if (proof != NULL && proof->position == position_of(0)) {
            assert_int_equal(proof->proven, 20);
            assert_int_equal(proof->wanted, 10);
            rot_again(f.disk, f.map, f.check);
            assert_int_equal(proof->proven, 20); /* A kill takes nothing. */
            disk_cut(f.disk);
            rot_again(f.disk, f.map, f.check);
            assert_true(proof->proven == 20 || proof->proven == 10);
            kept += proof->proven == 20;
            gone += proof->proven == 10;
        }
        end(&f);
    }
    assert_true(kept > 0);
    assert_true(gone > 0);
}

static void what_a_file_held_before_proves_nothing(void **state)
{
    (void)state;
    uint32_t rotten = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct fixture f;
        struct rot_place where;
        start(&f, seed, DURABILITY_DISK);
        make_file(&f);
        put(&f, 0, 0, salt, true);
        put(&f, 1, 10, foreign_salt, true);
        put(&f, 2, 20, foreign_salt, true);
        assert_null(rot_some(f.disk, f.map, f.check, &f.prng, &where));
        put(&f, 1, 10, salt, true);
        rotten += rot_some(f.disk, f.map, f.check, &f.prng, &where) != NULL;
        end(&f);
    }
    assert_true(rotten > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nothing_proves_may_be_cut_and_no_more),
        cmocka_unit_test(a_damaged_log_that_starts_within_a_batch_does_not_end_there),
        cmocka_unit_test(a_proof_in_a_cache_goes_with_it),
        cmocka_unit_test(what_a_file_held_before_proves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
