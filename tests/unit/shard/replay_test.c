/* Starts after a kill: what was acked is there, whatever the number of cores; and what was damaged
 * meanwhile is served, or reported, but never cut without a word, also after another start. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/crc32c.h"
#include "shard/journal_block.h"
#include "shard/manifest.h"
#include "shard/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCK = 4096, LARGE_BYTES = 100000, LARGE_EXTENT = 25 * BLOCK, COPY_BYTES = 1 << 20 };

/* --- The table's hands. --- */

static const char *path_of(const struct engine *engine, const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", engine->dir, name);
    return path;
}

static const char *segment_path_of(const struct engine *engine, uint32_t index)
{
    static char path[256];
    engine_segment_path(engine, index, path, sizeof(path));
    return path;
}

static FILE *opened(const char *path, long position)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, position, SEEK_SET), 0);
    return file;
}

static void bytes_read(const char *path, long position, uint8_t *at, size_t size)
{
    FILE *file = opened(path, position);
    assert_int_equal(fread(at, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void bytes_write(const char *path, long position, const uint8_t *at, size_t size)
{
    FILE *file = opened(path, position);
    assert_int_equal(fwrite(at, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void flip(const char *path, long position)
{
    uint8_t byte;
    bytes_read(path, position, &byte, 1);
    byte ^= 0x10;
    bytes_write(path, position, &byte, 1);
}

static void cut(const char *path, long size)
{
    assert_int_equal(truncate(path, size), 0);
}

static void zero(const char *path, long position, size_t size)
{
    static const uint8_t zeros[COPY_BYTES];
    assert_true(size <= sizeof(zeros));
    bytes_write(path, position, zeros, size);
}

static void copy_block(const char *path, long from, long to)
{
    uint8_t block[BLOCK];
    bytes_read(path, from, block, BLOCK);
    bytes_write(path, to, block, BLOCK);
}

static size_t whole(const char *path, uint8_t *at)
{
    FILE *file = opened(path, 0);
    size_t size = fread(at, 1, COPY_BYTES, file);
    assert_true(size < COPY_BYTES);
    assert_int_equal(fclose(file), 0);
    return size;
}

/* --- What a test sees. --- */

static enum err read_at(struct engine *engine, uint64_t offset)
{
    struct call call;
    enum err err = claim_fetch(&call, engine, offset);
    if (err == OK) {
        assert_true(call.request.fetch.piece_count > 0);
        assert_int_equal(load_be64(call.pieces[0].data), offset);
    }
    call_release(&call);
    return err;
}

static void assert_served(struct engine *engine, uint64_t end)
{
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(claim_latest(engine), end);
    for (uint64_t offset = 0; offset < end; offset++) {
        assert_int_equal(read_at(engine, offset), OK);
    }
}

/* Acked records from `valid` on are lost, and whoever asks is told. */
static void assert_damaged(struct engine *engine, uint64_t valid)
{
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(claim_latest(engine), valid);
    for (uint64_t offset = 0; offset < valid; offset++) {
        assert_int_equal(read_at(engine, offset), OK);
    }
    assert_int_equal(read_at(engine, valid), ERR_DAMAGED);
    assert_int_equal(claim_append_plain(engine, 1, 50, 5000), ERR_DAMAGED);
    assert_int_equal(engine->segments[engine->segment_count - 1].state, SEGMENT_OPEN);
}

static const struct claim_start usual = {.journals = {.cores = 1}};

/* --- Nothing is damaged. --- */

static void check_other_cores(struct engine *engine, const struct io_engine *io)
{
    static const uint32_t cores[] = {1, 3, 4, 2};
    uint64_t end = 0;
    for (uint32_t i = 0; i < 4; i++) {
        engine_append_each(engine, 5, 100);
        end += 5;
        engine->with.cores = cores[i];
        engine->with.core = cores[i] - 1;
        engine_crash(engine, io);
        assert_int_equal(engine->journals_opened.frames, 5);
        assert_served(engine, end);
    }
}

static void a_kill_loses_nothing_whatever_the_number_of_cores(void **state)
{
    (void)state;
    static const struct claim_start two = {.journals = {.cores = 2, .core = 1}};
    claim_on_wrapped_from(&two, check_other_cores);
}

/* As if the start before had died before its MANIFEST was in place. */
static void check_again(struct engine *engine, const struct io_engine *io)
{
    static uint8_t manifest[COPY_BYTES], before[COPY_BYTES], after[COPY_BYTES];
    engine_append_each(engine, 6, 100);
    engine_kill(engine);
    size_t size = whole(path_of(engine, "MANIFEST"), manifest);
    assert_int_equal(engine_open_journals(engine, io), OK);
    assert_int_equal(engine->journals_opened.frames, 6);
    assert_int_equal(engine->journals_opened.segments, 1);
    engine_kill(engine);
    bytes_write(path_of(engine, "MANIFEST"), 0, manifest, size);
    bytes_read(segment_path_of(engine, 0), 0, before, 16 * BLOCK);
    assert_int_equal(engine_open_journals(engine, io), OK);
    assert_int_equal(engine->journals_opened.frames, 0);
    assert_int_equal(engine->journals_opened.bytes_written, 0);
    assert_true(engine->journals_opened.bytes_read > 0);
    bytes_read(segment_path_of(engine, 0), 0, after, 16 * BLOCK);
    assert_memory_equal(before, after, 16 * BLOCK);
    engine_open_shard(engine);
    assert_served(engine, 6);
}

static void a_second_replay_finds_all_in_the_files(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_again);
}

/* --- Damage to files and journals. --- */

/* Six small appends, of which nothing is in the file: blocks 0 to 5, the record in the first. */
static void in_journal(struct engine *engine)
{
    engine_append_each(engine, 6, 100);
}

/* Three large ones, in the file; three small ones in the journal. */
static void in_both(struct engine *engine)
{
    engine_append_each(engine, 3, LARGE_BYTES);
    engine_append_each(engine, 3, 100);
}

/* A sealed segment of three, an open one of three in the journal. */
static void in_two_segments(struct engine *engine)
{
    engine->config.segment_records = 3;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 6, 100);
}

/* Of this partition one append in the first block; all others are of another one. */
static void with_another_partition(struct engine *engine)
{
    struct partition_id id = engine->id;
    engine_append_each(engine, 1, 100);
    uint32_t count = engine->segment_count;
    engine->unrecorded = true;
    engine->segment_count = 0;
    engine->id.partition = 9;
    assert_int_equal(engine_assign(engine), OK);
    engine_append_each(engine, 4, 100);
    engine->unrecorded = false;
    engine->segment_count = count;
    engine->id = id;
}

#define JOURNAL    path_of(engine, "journal/0.jnl")
#define MANIFEST   path_of(engine, "MANIFEST")
#define FILE_OF(n) segment_path_of(engine, n)

static void spoil_nothing(struct engine *engine)
{
    (void)engine;
}

static void spoil_last_block(struct engine *engine)
{
    flip(JOURNAL, 5 * BLOCK + 300);
}

static void spoil_last_block_header(struct engine *engine)
{
    flip(JOURNAL, 5 * BLOCK + 41);
}

static void spoil_middle_block(struct engine *engine)
{
    flip(JOURNAL, 2 * BLOCK + 300);
}

static void spoil_first_block(struct engine *engine)
{
    flip(JOURNAL, 300);
}

static void spoil_swapped_blocks(struct engine *engine)
{
    copy_block(JOURNAL, BLOCK, 10 * BLOCK);
    copy_block(JOURNAL, 2 * BLOCK, BLOCK);
    copy_block(JOURNAL, 10 * BLOCK, 2 * BLOCK);
    zero(JOURNAL, 10 * BLOCK, BLOCK);
}

static void spoil_copied_block(struct engine *engine)
{
    copy_block(JOURNAL, BLOCK, 3 * BLOCK);
}

static void spoil_zero_block(struct engine *engine)
{
    zero(JOURNAL, 4 * BLOCK, BLOCK);
}

static void spoil_cut_journal(struct engine *engine)
{
    cut(JOURNAL, 2 * BLOCK);
}

static void spoil_empty_journal(struct engine *engine)
{
    cut(JOURNAL, 0);
}

static void spoil_header(struct engine *engine)
{
    flip(FILE_OF(0), 50);
}

static void spoil_extent(struct engine *engine)
{
    flip(FILE_OF(0), 2 * BLOCK + LARGE_EXTENT + 17);
}

static void spoil_frame(struct engine *engine)
{
    flip(FILE_OF(0), 2 * BLOCK + LARGE_EXTENT + 64 + 33);
}

static void spoil_batch(struct engine *engine)
{
    flip(FILE_OF(0), 2 * BLOCK + LARGE_EXTENT + 50000);
}

static void spoil_last_extent(struct engine *engine)
{
    flip(FILE_OF(0), 2 * BLOCK + 2 * LARGE_EXTENT + 17);
}

static void spoil_swapped_extents(struct engine *engine)
{
    static uint8_t extents[2][LARGE_EXTENT];
    bytes_read(FILE_OF(0), 2 * BLOCK, extents[0], 2 * (size_t)LARGE_EXTENT);
    bytes_write(FILE_OF(0), 2 * BLOCK, extents[1], LARGE_EXTENT);
    bytes_write(FILE_OF(0), 2 * BLOCK + LARGE_EXTENT, extents[0], LARGE_EXTENT);
}

static void spoil_cut_file(struct engine *engine)
{
    cut(FILE_OF(0), 2 * BLOCK + LARGE_EXTENT);
}

static void spoil_empty_file(struct engine *engine)
{
    cut(FILE_OF(0), 0);
}

static void spoil_no_file(struct engine *engine)
{
    assert_int_equal(remove(FILE_OF(0)), 0);
}

static void spoil_foreign_file(struct engine *engine)
{
    static uint8_t other[COPY_BYTES];
    size_t size = whole(FILE_OF(0), other);
    bytes_write(FILE_OF(1), 0, other, size);
}

static void spoil_seal_block(struct engine *engine)
{
    flip(FILE_OF(0), BLOCK + 33);
}

static void spoil_trailer(struct engine *engine)
{
    uint8_t block[BLOCK];
    struct segment_seal seal;
    bytes_read(FILE_OF(0), BLOCK, block, BLOCK);
    assert_int_equal(segment_seal_decode(block, &seal), OK);
    flip(FILE_OF(0), (long)seal.trailer_position + 70);
}

enum outcome { SERVED, DAMAGED };

struct row {
    const char *what;
    void (*fill)(struct engine *engine);
    void (*spoil)(struct engine *engine);
    enum outcome outcome;
    uint64_t end; /* Of what can be read. */
};

static const struct row rows[] = {
    {"nothing", in_journal, spoil_nothing, SERVED, 6},
    {"the last block: torn, or rotten before anything proved it", in_journal, spoil_last_block,
     SERVED, 5},
    {"its header", in_journal, spoil_last_block_header, SERVED, 5},
    {"a block in the middle", in_journal, spoil_middle_block, DAMAGED, 2},
    {"the one before the last", in_journal, spoil_zero_block, DAMAGED, 4},
    {"the first block, with the record", in_journal, spoil_first_block, DAMAGED, 0},
    {"the same, and all else is of others", with_another_partition, spoil_first_block, DAMAGED, 0},
    {"two blocks swapped", in_journal, spoil_swapped_blocks, DAMAGED, 1},
    {"a block in place of another", in_journal, spoil_copied_block, DAMAGED, 3},
    {"a journal cut short", in_journal, spoil_cut_journal, DAMAGED, 2},
    {"a journal without bytes", in_journal, spoil_empty_journal, DAMAGED, 0},
    {"nothing, of both", in_both, spoil_nothing, SERVED, 6},
    {"the header", in_both, spoil_header, DAMAGED, 0},
    {"an extent", in_both, spoil_extent, DAMAGED, 1},
    {"a frame", in_both, spoil_frame, DAMAGED, 1},
    {"a batch", in_both, spoil_batch, DAMAGED, 1},
    {"the last extent", in_both, spoil_last_extent, DAMAGED, 2},
    {"two extents swapped", in_both, spoil_swapped_extents, DAMAGED, 0},
    {"a file cut short", in_both, spoil_cut_file, DAMAGED, 1},
    {"a file without bytes", in_both, spoil_empty_file, DAMAGED, 0},
    {"no file", in_both, spoil_no_file, DAMAGED, 0},
    {"nothing, of two segments", in_two_segments, spoil_nothing, SERVED, 6},
    {"the file of another segment", in_two_segments, spoil_foreign_file, DAMAGED, 3},
    {"a seal block", in_two_segments, spoil_seal_block, SERVED, 6},
    {"a trailer", in_two_segments, spoil_trailer, SERVED, 6},
};

static void check_row(struct engine *engine, const struct io_engine *io, const struct row *row)
{
    row->fill(engine);
    engine_kill(engine);
    row->spoil(engine);
    enum err err = engine_open_journals(engine, io);
    if (err != OK) {
        fail_msg("%s: %s", row->what, engine->journals_opened.message);
    }
    for (uint32_t start = 0; start < 3; start++) {
        print_message("%s, start %u\n", row->what, start);
        if (start == 0) {
            engine_open_shard(engine);
        } else {
            engine_crash(engine, io);
        }
        if (row->outcome == SERVED) {
            assert_served(engine, row->end + start);
            assert_int_equal(claim_append_plain(engine, 1, 50, 5000), OK);
        } else {
            assert_damaged(engine, row->end);
        }
    }
}

static void each_damage_has_its_outcome_and_keeps_it(void **state)
{
    (void)state;
    struct io_engine wrapped = engine_wrap(&io_engine_posix);
    for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct engine *engine = claim_begin(&wrapped, &usual);
        check_row(engine, &wrapped, &rows[i]);
        claim_end(engine);
    }
}

/* An old copy of the superblock was put back: the number of this start is below those of the file.
 */
static void check_old_boot(struct engine *engine, const struct io_engine *io)
{
    engine->boot = 50;
    claim_crash(engine, io);
    engine_append_each(engine, 2, LARGE_BYTES);
    engine_append_each(engine, 1, 100);
    engine_kill(engine);
    engine->boot = 1;
    assert_int_equal(engine_open_journals(engine, io), OK);
    engine_open_shard(engine);
    assert_int_equal(engine->journals_opened.frames, 1);
    assert_served(engine, 3);
    assert_int_equal(claim_append_plain(engine, 1, 50, 5000), OK);
    engine_crash(engine, io);
    assert_served(engine, 4);
}

static void a_boot_number_that_went_back_costs_nothing(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_old_boot);
}

/* --- What a start refuses, with a sentence that helps. --- */

static void mend_manifest(const struct engine *engine, long at, uint8_t value)
{
    uint8_t block[BLOCK];
    bytes_read(MANIFEST, 0, block, BLOCK);
    block[at] = value;
    store_le32(block + BLOCK - 4, crc32c(0, block, BLOCK - 4));
    bytes_write(MANIFEST, 0, block, BLOCK);
}

static void spoil_manifest_empty(struct engine *engine)
{
    cut(MANIFEST, 0);
}

static void spoil_manifest_head_only(struct engine *engine)
{
    cut(MANIFEST, BLOCK);
}

static void spoil_manifest_bit(struct engine *engine)
{
    flip(MANIFEST, 33);
}

static void spoil_manifest_journal(struct engine *engine)
{
    flip(MANIFEST, BLOCK + 9);
}

static void spoil_manifest_foreign(struct engine *engine)
{
    mend_manifest(engine, 16, 0xff);
}

static void spoil_manifest_newer(struct engine *engine)
{
    mend_manifest(engine, 8, MANIFEST_VERSION + 1);
}

static void spoil_manifest_gone(struct engine *engine)
{
    assert_int_equal(remove(MANIFEST), 0);
}

static void spoil_journal_gone(struct engine *engine)
{
    assert_int_equal(remove(JOURNAL), 0);
}

struct refusal {
    const char *what;
    void (*spoil)(struct engine *engine);
    enum err err;
    const char *says; /* Beside where it is. */
};

static const struct refusal refusals[] = {
    {"a MANIFEST without bytes", spoil_manifest_empty, ERR_FOREIGN, "put it back from a copy"},
    {"a MANIFEST cut short", spoil_manifest_head_only, ERR_CORRUPT, "put it back from a copy"},
    {"a flipped bit in its header", spoil_manifest_bit, ERR_CORRUPT, "put it back from a copy"},
    {"one in a journal's name", spoil_manifest_journal, ERR_CORRUPT, "put it back from a copy"},
    {"the MANIFEST of another directory", spoil_manifest_foreign, ERR_FOREIGN,
     "put it back from a copy"},
    {"a newer MANIFEST", spoil_manifest_newer, ERR_VERSION, "A newer floe wrote it"},
    {"no MANIFEST", spoil_manifest_gone, ERR_DAMAGED, "its MANIFEST is missing"},
    {"no journal", spoil_journal_gone, ERR_NOT_FOUND, "put it back"},
};

/* It is refused as often as it is tried, and nothing is changed: put right again, all is served. */
static void check_refusal(struct engine *engine, const struct io_engine *io,
                          const struct refusal *refusal)
{
    static uint8_t manifest[COPY_BYTES], journal[COPY_BYTES];
    in_journal(engine);
    engine_kill(engine);
    size_t manifest_bytes = whole(MANIFEST, manifest);
    bytes_read(JOURNAL, 0, journal, 1 << 20);
    refusal->spoil(engine);
    for (uint32_t start = 0; start < 2; start++) {
        enum err err = engine_open_journals(engine, io);
        const char *message = engine->journals_opened.message;
        if (err != refusal->err || strstr(message, refusal->says) == NULL ||
            strstr(message, engine->dir) == NULL) {
            fail_msg("%s: %s: %s", refusal->what, err_name(err), message);
        }
        engine_kill(engine);
    }
    FILE *file = fopen(MANIFEST, "ab");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    file = fopen(JOURNAL, "ab");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    bytes_write(MANIFEST, 0, manifest, manifest_bytes);
    bytes_write(JOURNAL, 0, journal, 1 << 20);
    assert_int_equal(engine_open_journals(engine, io), OK);
    engine_open_shard(engine);
    assert_served(engine, 6);
}

static void a_start_is_refused_rather_than_made_without_what_was_acked(void **state)
{
    (void)state;
    struct io_engine wrapped = engine_wrap(&io_engine_posix);
    for (uint32_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct engine *engine = claim_begin(&wrapped, &usual);
        check_refusal(engine, &wrapped, &refusals[i]);
        claim_end(engine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_loses_nothing_whatever_the_number_of_cores),
        cmocka_unit_test(a_second_replay_finds_all_in_the_files),
        cmocka_unit_test(each_damage_has_its_outcome_and_keeps_it),
        cmocka_unit_test(a_boot_number_that_went_back_costs_nothing),
        cmocka_unit_test(a_start_is_refused_rather_than_made_without_what_was_acked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
