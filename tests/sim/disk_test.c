/* The fault model itself: what a cut may take and what it may not. Each claim is tried with many
 * seeds; "for some seed" claims count how often it happened. */
#include "core/assert.h"
#include "tests/sim/disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SEEDS = 200, SIZE = 4 * DISK_PAGE_BYTES };

struct fixture {
    struct prng prng;
    struct disk *disk;
    int32_t file;
};

static void start(struct fixture *f, uint64_t seed)
{
    prng_seed_one(&f->prng, seed);
    f->disk = disk_create(&f->prng);
    assert_int_equal(disk_mkdir(f->disk, "/a"), OK);
    f->file = disk_open(f->disk, "/a/file", IO_OPEN_WRITE | IO_OPEN_CREATE);
    assert_true(f->file >= 0);
    assert_int_equal(disk_allocate(f->disk, f->file, 0, SIZE), OK);
    assert_int_equal(disk_sync_dir(f->disk, "/"), OK);
    assert_int_equal(disk_sync_dir(f->disk, "/a"), OK);
}

static void end(struct fixture *f)
{
    disk_destroy(f->disk);
}

static void put(struct fixture *f, uint8_t byte, uint64_t position, uint32_t size, bool durable)
{
    static uint8_t data[SIZE];
    memset(data, byte, sizeof(data));
    struct disk_write write = {f->file, data, size, position, durable};
    assert_int_equal(disk_write(f->disk, &write), OK);
}

/* How many of the sectors in [position, position + size) hold `byte` wholly; each is whole or not
 * touched. */
static uint32_t count_sectors(struct fixture *f, uint8_t byte, uint64_t position, uint32_t size)
{
    static uint8_t data[SIZE];
    uint32_t count = 0;
    assert_int_equal(disk_read(f->disk, f->file, data, size, position), size);
    for (uint32_t at = 0; at < size; at += DISK_SECTOR_BYTES) {
        uint32_t same = 0;
        for (uint32_t i = 0; i < DISK_SECTOR_BYTES; i++) {
            same += data[at + i] == byte;
        }
        assert_true(same == 0 || same == DISK_SECTOR_BYTES);
        count += same > 0;
    }
    return count;
}

static void unsynced_write_is_lost_in_any_part(void **state)
{
    (void)state;
    uint32_t none = 0;
    uint32_t all = 0;
    uint32_t part = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        put(&f, 'x', 0, SIZE, false);
        assert_int_equal(count_sectors(&f, 'x', 0, SIZE), SIZE / DISK_SECTOR_BYTES);
        disk_cut(f.disk);
        uint32_t count = count_sectors(&f, 'x', 0, SIZE);
        none += count == 0;
        all += count == SIZE / DISK_SECTOR_BYTES;
        part += count > 0 && count < SIZE / DISK_SECTOR_BYTES;
        end(&f);
    }
    assert_true(none > 10);
    assert_true(all > 10);
    assert_true(part > 10);
}

static void synced_write_is_never_lost(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        put(&f, 'x', 0, SIZE, false);
        disk_sync(f.disk, f.file, disk_moment(f.disk));
        put(&f, 'y', 0, DISK_PAGE_BYTES, false);
        disk_cut(f.disk);
        uint32_t count = count_sectors(&f, 'x', 0, SIZE) + count_sectors(&f, 'y', 0, SIZE);
        assert_int_equal(count, SIZE / DISK_SECTOR_BYTES);
        end(&f);
    }
}

static void sync_covers_only_what_had_completed_before_it(void **state)
{
    (void)state;
    uint32_t lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        put(&f, 'x', 0, DISK_PAGE_BYTES, false);
        uint64_t moment = disk_moment(f.disk);
        put(&f, 'y', DISK_PAGE_BYTES, DISK_PAGE_BYTES, false);
        disk_sync(f.disk, f.file, moment);
        disk_cut(f.disk);
        assert_int_equal(count_sectors(&f, 'x', 0, DISK_PAGE_BYTES), 8);
        lost += count_sectors(&f, 'y', DISK_PAGE_BYTES, DISK_PAGE_BYTES) < 8;
        end(&f);
    }
    assert_true(lost > 10);
}

static void sector_rewritten_during_a_sync_is_old_enough_or_newer(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        put(&f, 'x', 0, DISK_SECTOR_BYTES, false);
        uint64_t moment = disk_moment(f.disk);
        put(&f, 'y', 0, DISK_SECTOR_BYTES, false);
        disk_sync(f.disk, f.file, moment);
        disk_cut(f.disk);
        uint32_t kept = count_sectors(&f, 'x', 0, DISK_SECTOR_BYTES) +
                        count_sectors(&f, 'y', 0, DISK_SECTOR_BYTES);
        assert_int_equal(kept, 1);
        end(&f);
    }
}

static void what_a_sync_has_lost_is_there_until_a_cut_or_a_new_write(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        put(&f, 'x', 0, 2 * DISK_PAGE_BYTES, false);
        disk_lose(f.disk, f.file);
        assert_int_equal(count_sectors(&f, 'x', 0, 2 * DISK_PAGE_BYTES),
                         2 * DISK_PAGE_BYTES / DISK_SECTOR_BYTES);
        put(&f, 'y', DISK_PAGE_BYTES, DISK_PAGE_BYTES, false);
        disk_sync(f.disk, f.file, disk_moment(f.disk));
        assert_false(disk_is_durable(f.disk, f.file, 0, DISK_PAGE_BYTES));
        assert_true(disk_is_durable(f.disk, f.file, DISK_PAGE_BYTES, DISK_PAGE_BYTES));
        disk_cut(f.disk);
        assert_int_equal(count_sectors(&f, 'x', 0, DISK_PAGE_BYTES), 0);
        assert_int_equal(count_sectors(&f, 'y', DISK_PAGE_BYTES, DISK_PAGE_BYTES),
                         DISK_PAGE_BYTES / DISK_SECTOR_BYTES);
        end(&f);
    }
}

static void durable_write_is_durable_alone(void **state)
{
    (void)state;
    uint32_t lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        put(&f, 'x', 0, DISK_PAGE_BYTES, false);
        put(&f, 'y', DISK_PAGE_BYTES, DISK_PAGE_BYTES, true);
        disk_cut(f.disk);
        assert_int_equal(count_sectors(&f, 'y', DISK_PAGE_BYTES, DISK_PAGE_BYTES), 8);
        lost += count_sectors(&f, 'x', 0, DISK_PAGE_BYTES) < 8;
        end(&f);
    }
    assert_true(lost > 10);
}

static void durable_write_over_a_dirty_sector_stays(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        put(&f, 'x', 0, DISK_PAGE_BYTES, false);
        put(&f, 'y', 0, DISK_SECTOR_BYTES, true);
        disk_cut(f.disk);
        assert_int_equal(count_sectors(&f, 'y', 0, DISK_SECTOR_BYTES), 1);
        end(&f);
    }
}

static void torn_write_lands_in_part_even_when_it_was_meant_durable(void **state)
{
    (void)state;
    uint32_t part = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        static uint8_t data[SIZE];
        memset(data, 'x', sizeof(data));
        struct disk_write write = {f.file, data, SIZE, 0, true};
        disk_write_torn(f.disk, &write);
        uint32_t count = count_sectors(&f, 'x', 0, SIZE);
        part += count > 0 && count < SIZE / DISK_SECTOR_BYTES;
        end(&f);
    }
    assert_true(part > 10);
}

static void file_that_grew_without_a_sync_shrinks_back_or_shows_zeros(void **state)
{
    (void)state;
    uint32_t shrunk = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        put(&f, 'x', SIZE, DISK_PAGE_BYTES, false);
        assert_int_equal(disk_size(f.disk, f.file), SIZE + DISK_PAGE_BYTES);
        disk_cut(f.disk);
        uint64_t size = disk_size(f.disk, f.file);
        assert_true(size >= SIZE && size <= SIZE + DISK_PAGE_BYTES);
        shrunk += size < SIZE + DISK_PAGE_BYTES;
        end(&f);
    }
    assert_true(shrunk > 10);
}

static void new_name_is_lost_without_a_directory_sync(void **state)
{
    (void)state;
    uint32_t lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        int32_t file = disk_open(f.disk, "a/new", IO_OPEN_WRITE | IO_OPEN_CREATE);
        assert_true(file >= 0);
        struct disk_write write = {file, (const uint8_t *)"x", 1, 0, true};
        assert_int_equal(disk_write(f.disk, &write), OK);
        disk_cut(f.disk);
        lost += disk_find(f.disk, "a/new") == ERR_NOT_FOUND;
        end(&f);
    }
    assert_true(lost > 10);
    assert_true(lost < SEEDS - 10);
}

static void synced_directory_keeps_its_names(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        assert_int_equal(disk_mkdir(f.disk, "b"), OK);
        assert_int_equal(disk_rename(f.disk, "a/file", "b/moved"), OK);
        assert_int_equal(disk_sync_dir(f.disk, "b"), OK);
        disk_cut(f.disk);
        assert_int_equal(disk_find(f.disk, "b/moved"), f.file);
        assert_int_equal(disk_find(f.disk, "a/file"), ERR_NOT_FOUND);
        end(&f);
    }
}

static void changes_of_directories_survive_as_a_prefix(void **state)
{
    (void)state;
    uint32_t seen[4] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        assert_int_equal(disk_mkdir(f.disk, "1"), OK);
        assert_int_equal(disk_mkdir(f.disk, "2"), OK);
        assert_int_equal(disk_unlink(f.disk, "a/file"), OK);
        disk_cut(f.disk);
        bool one = disk_find(f.disk, "1") >= 0;
        bool two = disk_find(f.disk, "2") >= 0;
        bool gone = disk_find(f.disk, "a/file") < 0;
        assert_true(one || !two);
        assert_true(two || !gone);
        seen[one + two + gone]++;
        end(&f);
    }
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(seen[i] > 0);
    }
}

static void sync_apart_keeps_the_names_of_one_directory(void **state)
{
    (void)state;
    uint32_t kept = 0;
    uint32_t moved = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        disk_set_apart(f.disk, true);
        assert_int_equal(disk_mkdir(f.disk, "b"), OK);
        assert_true(disk_open(f.disk, "b/made", IO_OPEN_WRITE | IO_OPEN_CREATE) >= 0);
        assert_int_equal(disk_rename(f.disk, "a/file", "b/file"), OK);
        bool of_a = seed % 2 == 0; /* Without that of b the file may be nowhere. */
        assert_int_equal(disk_sync_dir(f.disk, of_a ? "a" : "b"), OK);
        disk_cut(f.disk);
        bool old = disk_find(f.disk, "a/file") >= 0;
        assert_true(!old || !of_a);
        assert_true(old || of_a || disk_find(f.disk, "b") >= 0);
        kept += disk_find(f.disk, "b/made") >= 0;
        moved += disk_find(f.disk, "b/file") >= 0;
        end(&f);
    }
    assert_true(kept > 10 && kept < SEEDS - 10);
    assert_true(moved > 10 && moved < SEEDS - 10);
}

static void rename_shows_the_old_or_the_new_file_never_none(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        int32_t file = disk_open(f.disk, "a/new", IO_OPEN_WRITE | IO_OPEN_CREATE);
        assert_true(file >= 0);
        assert_int_equal(disk_rename(f.disk, "a/new", "a/file"), OK);
        disk_cut(f.disk);
        int32_t found = disk_find(f.disk, "a/file");
        assert_true(found == f.file || found == file);
        end(&f);
    }
}

static void errors_are_those_of_the_operating_system(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 1);
    assert_int_equal(disk_open(f.disk, "a/none", IO_OPEN_WRITE), ERR_NOT_FOUND);
    assert_int_equal(disk_open(f.disk, "none/file", IO_OPEN_CREATE), ERR_NOT_FOUND);
    assert_int_equal(disk_open(f.disk, "a/file/x", IO_OPEN_CREATE), ERR_NOT_FOUND);
    assert_int_equal(disk_open(f.disk, "a/file", IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE), ERR_EXISTS);
    assert_int_equal(disk_open(f.disk, "a", 0), ERR_INVALID);
    assert_int_equal(disk_mkdir(f.disk, "a"), ERR_EXISTS);
    assert_int_equal(disk_unlink(f.disk, "a"), ERR_EXISTS);
    assert_int_equal(disk_unlink(f.disk, "a/none"), ERR_NOT_FOUND);
    assert_int_equal(disk_rename(f.disk, "a/none", "a/x"), ERR_NOT_FOUND);
    assert_int_equal(disk_sync_dir(f.disk, "none"), ERR_NOT_FOUND);
    disk_set_capacity(f.disk, SIZE + 100);
    assert_int_equal(disk_allocate(f.disk, f.file, SIZE, DISK_PAGE_BYTES), ERR_NO_SPACE);
    assert_int_equal(disk_size(f.disk, f.file), SIZE);
    end(&f);
}

static void truncated_bytes_do_not_come_back(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct fixture f;
        start(&f, seed);
        put(&f, 7, 0, SIZE, seed % 2 == 0);
        disk_truncate(f.disk, f.file, DISK_PAGE_BYTES);
        disk_truncate(f.disk, f.file, SIZE);
        assert_int_equal(disk_size(f.disk, f.file), DISK_PAGE_BYTES);
        if (seed % 3 > 0) {
            disk_cut(f.disk);
        }
        assert_int_equal(disk_size(f.disk, f.file), DISK_PAGE_BYTES);
        assert_int_equal(disk_allocate(f.disk, f.file, DISK_PAGE_BYTES, SIZE - DISK_PAGE_BYTES),
                         OK);
        assert_int_equal(count_sectors(&f, 7, DISK_PAGE_BYTES, SIZE - DISK_PAGE_BYTES), 0);
        end(&f);
    }
}

static void list_gives_names_in_pieces(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 1);
    assert_int_equal(disk_mkdir(f.disk, "a/dir"), OK);
    char names[8];
    struct io io = {.op = IO_LIST};
    io.list.path = "a";
    io.list.names = names;
    io.list.size = sizeof(names);
    assert_int_equal(disk_list(f.disk, &io), 5);
    assert_string_equal(names, "file");
    assert_true(io.list.more);
    io.list.skip = io.list.count;
    io.list.count = 0;
    io.list.more = false;
    assert_int_equal(disk_list(f.disk, &io), 5);
    assert_string_equal(names, "dir/");
    assert_false(io.list.more);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsynced_write_is_lost_in_any_part),
        cmocka_unit_test(synced_write_is_never_lost),
        cmocka_unit_test(sync_covers_only_what_had_completed_before_it),
        cmocka_unit_test(sector_rewritten_during_a_sync_is_old_enough_or_newer),
        cmocka_unit_test(what_a_sync_has_lost_is_there_until_a_cut_or_a_new_write),
        cmocka_unit_test(durable_write_is_durable_alone),
        cmocka_unit_test(durable_write_over_a_dirty_sector_stays),
        cmocka_unit_test(torn_write_lands_in_part_even_when_it_was_meant_durable),
        cmocka_unit_test(file_that_grew_without_a_sync_shrinks_back_or_shows_zeros),
        cmocka_unit_test(new_name_is_lost_without_a_directory_sync),
        cmocka_unit_test(synced_directory_keeps_its_names),
        cmocka_unit_test(changes_of_directories_survive_as_a_prefix),
        cmocka_unit_test(sync_apart_keeps_the_names_of_one_directory),
        cmocka_unit_test(rename_shows_the_old_or_the_new_file_never_none),
        cmocka_unit_test(errors_are_those_of_the_operating_system),
        cmocka_unit_test(truncated_bytes_do_not_come_back),
        cmocka_unit_test(list_gives_names_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
