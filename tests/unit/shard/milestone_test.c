/* Milestones in the files of open segments: a start reads what lies behind the last one, and knows
 * as much as if it had read all; one that is bad costs it the reading, and nothing else. */
#include "shard/milestone.h"

#include "core/limits.h"
#include "shard/inspect.h"
#include "tests/unit/shard/claim_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

enum {
    BLOCK = DISK_BLOCK_BYTES,
    LARGE_BYTES = 100000, /* Straight to the file. */
    READ_BYTES = 256 << 10,
    PRODUCER = 9,
    PLANNED_APPENDS = 15, /* Of 900 bytes: when the first milestone is planned. */
};

/* --- The format. --- */

static void row_add(struct segment_index *index, uint64_t offset)
{
    /* Each extent is as long as a row. */
    enum err err = segment_index_add(index, offset, SEGMENT_DATA_POSITION + offset * BLOCK,
                                     1000 + offset, 0, (int64_t)offset, INDEX_STEP_BYTES);
    assert_int_equal(err, OK);
}

static void an_index_extent_gives_back_its_rows_and_the_rest(void **state)
{
    (void)state;
    uint8_t body[4 * BLOCK] = {0};
    const struct milestone said = {
        .log_start = 3, .producers_position = 5, .last_ms = 7, .last_seq = 9, .timestamp_max = -1};
    for (uint64_t count = 0; count < 5; count++) {
        struct segment_index index, found;
        struct milestone heard;
        segment_index_init(&index);
        for (uint64_t i = 0; i < count; i++) {
            row_add(&index, i);
        }
        memset(body, 0, sizeof(body));
        milestone_encode(&said, &index, body);
        uint32_t size = milestone_size(index.count);
        assert_int_equal(size, (count + 1) * INDEX_ROW_BYTES);
        for (uint32_t padded = size; padded < size + 100; padded += 7) {
            segment_index_init(&found);
            assert_int_equal(milestone_decode(bytes_of(body, padded), &heard, &found), OK);
            assert_int_equal(heard.log_start, 3);
            assert_int_equal(heard.producers_position, 5);
            assert_int_equal(heard.last_ms, 7);
            assert_int_equal(heard.last_seq, 9);
            assert_int_equal(heard.timestamp_max, -1);
            assert_int_equal(found.count, count);
            uint8_t again[5 * INDEX_ROW_BYTES];
            uint32_t rows = segment_index_encode(&found, again, sizeof(again));
            assert_int_equal(rows, count * INDEX_ROW_BYTES);
            assert_memory_equal(again, body, rows);
            segment_index_deinit(&found);
        }
        /* Without the row that ends them, or rows that do not rise. */
        segment_index_init(&found);
        assert_int_equal(milestone_decode(bytes_of(body, size - 1), &heard, &found), ERR_CORRUPT);
        body[size - INDEX_ROW_BYTES + 44] = 0;
        assert_int_equal(milestone_decode(bytes_of(body, size), &heard, &found), ERR_CORRUPT);
        if (count > 1) {
            body[size - INDEX_ROW_BYTES + 44] = 1;
            memcpy(body + INDEX_ROW_BYTES, body, INDEX_ROW_BYTES);
            assert_int_equal(milestone_decode(bytes_of(body, size), &heard, &found), ERR_CORRUPT);
        }
        segment_index_deinit(&found);
        segment_index_deinit(&index);
    }
}

static void an_index_goes_on_as_its_copy_does(void **state)
{
    (void)state;
    struct segment_index index, copy;
    segment_index_init(&index);
    for (uint64_t i = 0; i < 20; i++) {
        row_add(&index, i);
    }
    assert_int_equal(segment_index_add(&index, 20, 40 * BLOCK, 1, 1, 1, 100), OK);
    assert_int_equal(segment_index_copy(&index, &copy), OK);
    for (uint64_t i = 21; i < 60; i++) {
        if (i == 40) { /* Else it would be of the row before. */
            segment_index_break(&index);
            segment_index_break(&copy);
        }
        assert_int_equal(segment_index_add(&index, i, 2 * i * BLOCK, 1, 1, 1, 200), OK);
        assert_int_equal(segment_index_add(&copy, i, 2 * i * BLOCK, 1, 1, 1, 200), OK);
    }
    assert_int_equal(index.count, 22);
    assert_int_equal(copy.count, index.count);
    assert_int_equal(index.rows[21].offset_first, 40);
    assert_memory_equal(index.rows, copy.rows, index.count * sizeof(*index.rows));
    segment_index_deinit(&copy);
    segment_index_deinit(&index);
}

/* --- In a file. --- */

static const struct claim_start often = {.journals = {.cores = 1, .milestone_bytes = 256 << 10}};

struct found {
    uint32_t count;              /* Of index extents. */
    uint64_t position, offset;   /* Of the last one. */
    uint64_t producers_position; /* Of the extent before it. */
    uint64_t file_bytes;
};

static struct found find(const struct engine *engine, uint32_t segment)
{
    struct found found = {0};
    char path[256];
    struct stat stat_of;
    engine_segment_path(engine, segment, path, sizeof(path));
    assert_int_equal(stat(path, &stat_of), 0);
    found.file_bytes = (uint64_t)stat_of.st_size;
    for (uint64_t at = SEGMENT_DATA_POSITION; at < found.file_bytes; at += BLOCK) {
        uint8_t head[EXTENT_HEADER_BYTES];
        struct extent_header extent;
        engine_peek(engine, segment, (long)at, head, sizeof(head));
        if (extent_header_at(head, engine->segments[segment].salt, at, &extent) != OK) {
            continue;
        }
        if (extent.type == EXTENT_PRODUCERS) {
            found.producers_position = at;
        }
        if (extent.type == EXTENT_INDEX) {
            found.position = at;
            found.offset = extent.offset_first;
            found.count++;
        }
    }
    return found;
}

/* Of one record, by PRODUCER. */
static enum err append_at(struct call *call, struct engine *engine, uint64_t offset, uint32_t bytes,
                          int64_t timestamp)
{
    static uint8_t batch[LARGE_BYTES + 200];
    struct batch_spec spec = {.records = 1,
                              .value_bytes = bytes,
                              .timestamp = timestamp,
                              .producer_id = PRODUCER,
                              .sequence = (int32_t)offset};
    call_append(call, engine, batch, batch_make(&spec, batch, sizeof(batch)));
    call_wait(call);
    return call->err;
}

/* With the time 1000 + its offset. */
static enum err append(struct call *call, struct engine *engine, uint64_t offset, uint32_t bytes)
{
    return append_at(call, engine, offset, bytes, 1000 + (int64_t)offset);
}

/* Of one record, by a producer of its own. */
static enum err append_alone(struct call *call, struct engine *engine, uint64_t offset)
{
    uint8_t batch[1100];
    struct batch_spec spec = {.records = 1,
                              .value_bytes = 900,
                              .timestamp = 1000 + (int64_t)offset,
                              .producer_id = PRODUCER + (int64_t)offset};
    call_append(call, engine, batch, batch_make(&spec, batch, sizeof(batch)));
    call_wait(call);
    return call->err;
}

static void append_all(struct engine *engine, uint64_t from, uint64_t count, uint32_t bytes)
{
    for (uint64_t i = from; i < from + count; i++) {
        struct call call;
        assert_int_equal(append(&call, engine, i, bytes), OK);
        assert_int_equal(call.request.produce.base_offset, i);
    }
    engine_turns(engine, 10); /* The checkpoint. */
}

/* All of [0, end) is there, found by offset and by time, and so are the producer's last batches. */
static void assert_all(struct engine *engine, uint64_t end)
{
    struct call call;
    assert_int_equal(claim_latest(engine), end);
    for (uint64_t offset = 0; offset < end; offset++) {
        assert_int_equal(claim_fetch(&call, engine, offset), OK);
        assert_true(call.request.fetch.piece_count > 0);
        assert_int_equal(load_be64(call.pieces[0].data), offset);
        call_release(&call);
        assert_int_equal(claim_offset(engine, 1000 + (int64_t)offset), offset);
    }
    assert_int_equal(claim_offset(engine, OFFSETS_MAX_TIMESTAMP), end - 1);
    for (uint64_t offset = end - 5; offset < end; offset++) {
        assert_int_equal(append(&call, engine, offset, 10), OK);
        assert_int_equal(call.request.produce.base_offset, offset);
    }
    assert_int_equal(append(&call, engine, end + 1, 10), ERR_SEQUENCE);
}

static uint64_t scanned(const struct engine *engine)
{
    return engine->reactor.stats.counters[STAT_SCANNED_BYTES];
}

/* Whether the start read all of the file. Else it read what is behind the milestone, to the end of
 * the blocks that were made ahead, and a look more for each of these: the milestone's two extents,
 * and what did not fit into the looks before. */
static bool scanned_all(const struct engine *engine, const struct found *found)
{
    uint64_t behind = found->file_bytes - found->position;
    bool all = scanned(engine) >= found->file_bytes;
    assert_true(found->position > 4 * READ_BYTES);
    assert_true(all || scanned(engine) <= behind + 3 * READ_BYTES);
    return all;
}

static void check_bound(struct engine *engine, const struct io_engine *io)
{
    append_all(engine, 0, 80, LARGE_BYTES);
    struct found found = find(engine, 0);
    assert_true(found.count > 20);
    assert_true(found.position > 80 * (uint64_t)LARGE_BYTES - (512 << 10));
    assert_true(found.producers_position == found.position - BLOCK);
    claim_crash(engine, io);
    assert_false(scanned_all(engine, &found));
    assert_true(engine->journals_opened.bytes_read <= 2 * MIB(1) + 4 * BLOCK);
    assert_int_equal(engine->segments[0].end_offset, 80);
    assert_all(engine, 80);
}

static void a_restart_reads_what_lies_behind_the_last_milestone(void **state)
{
    (void)state;
    claim_on_wrapped_from(&often, check_bound);
}

static void check_spoiled(struct engine *engine, const struct io_engine *io)
{
    for (uint32_t i = 0; i < 5; i++) {
        append_all(engine, 20 * i, 20, LARGE_BYTES);
        engine_kill(engine);
        struct found found = find(engine, i);
        assert_true(found.count > 5);
        const long places[] = {0, (long)found.position + 20, (long)found.position + 70,
                               (long)found.producers_position + 20,
                               (long)found.producers_position + 70};
        if (i > 0) {
            engine_spoil(engine, i, places[i]);
        }
        assert_int_equal(engine_open_journals(engine, io), OK);
        engine_open_shard(engine);
        assert_int_equal(engine_assign(engine), OK);
        assert_int_equal(scanned_all(engine, &found), i > 0);
        assert_int_equal(engine->segments[i].state, SEGMENT_SEALED);
        assert_all(engine, 20 * (i + 1));
    }
}

static void a_bad_milestone_costs_a_scan_and_nothing_else(void **state)
{
    (void)state;
    claim_on_wrapped_from(&often, check_spoiled);
}

/* The record with the time that is asked for is trimmed; the next one as late stands behind the
 * milestone, and behind one that is earlier. */
static void check_search_over(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    append_all(engine, 0, 8, LARGE_BYTES);
    assert_int_equal(append_at(&call, engine, 8, LARGE_BYTES, 9000), OK);
    append_all(engine, 9, 1, LARGE_BYTES);
    struct found found = find(engine, 0);
    assert_int_equal(found.offset, 9);
    assert_int_equal(append_at(&call, engine, 10, LARGE_BYTES, 9001), OK);
    call_trim(&call, engine, 9);
    assert_int_equal(call.err, OK);
    claim_crash(engine, io);
    const long places[] = {(long)found.producers_position, (long)found.position,
                           (long)found.producers_position + 70, (long)found.position + 70};
    for (uint32_t i = 0; i < ARRAY_COUNT(places); i++) {
        engine_spoil(engine, 0, places[i]);
        claim_restart(engine);
        assert_int_equal(claim_offset(engine, 9000), 10);
        assert_int_equal(claim_fetch(&call, engine, 9), OK);
        call_release(&call);
    }
}

static void a_search_goes_on_behind_a_bad_milestone(void **state)
{
    (void)state;
    claim_on_wrapped_from(&often, check_search_over);
}

/* Who reads from the start to the end goes on from look to look, over all that is bad. */
static void check_read_over(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    append_all(engine, 0, 40, LARGE_BYTES);
    struct found found = find(engine, 0);
    claim_crash(engine, io);
    engine_spoil(engine, 0, (long)found.position);
    engine_spoil(engine, 0, (long)found.producers_position + 9);
    claim_restart(engine);
    for (uint64_t offset = 0; offset < 40;) {
        assert_int_equal(claim_fetch(&call, engine, offset), OK);
        assert_true(call.request.fetch.piece_count > 0);
        for (uint32_t i = 0; i < call.request.fetch.piece_count; i++) {
            assert_int_equal(load_be64(call.pieces[i].data), offset);
            offset++;
        }
        call_release(&call);
    }
}

static void a_reader_goes_on_behind_a_bad_milestone(void **state)
{
    (void)state;
    claim_on_wrapped_from(&often, check_read_over);
}

struct looked {
    enum inspect_end end;
    const char *problem;
    uint64_t offset;
    uint32_t indexes, producers, passed;
};

static int64_t file_read(void *context, uint64_t position, uint8_t *data, uint32_t size)
{
    FILE *file = context;
    assert_int_equal(fseek(file, (long)position, SEEK_SET), 0);
    return (int64_t)fread(data, 1, size, file);
}

static struct looked look(const struct engine *engine)
{
    char path[256];
    struct looked looked = {0};
    engine_segment_path(engine, 0, path, sizeof(path));
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    struct inspect inspect = {.read = file_read, .context = file};
    assert_int_equal(inspect_open(&inspect), OK);
    while (inspect_next(&inspect) == OK) {
        looked.indexes += inspect.extent.type == EXTENT_INDEX;
        looked.producers += inspect.extent.type == EXTENT_PRODUCERS;
    }
    looked.end = inspect.end;
    looked.problem = inspect.problem;
    looked.offset = inspect.offset;
    looked.passed = inspect.passed;
    inspect_close(&inspect);
    assert_int_equal(fclose(file), 0);
    return looked;
}

/* For people, too: open, then sealed. */
static void check_inspect(struct engine *engine, const struct io_engine *io)
{
    append_all(engine, 0, 12, LARGE_BYTES);
    struct found found = find(engine, 0);
    engine_kill(engine);
    for (uint32_t sealed = 0; sealed < 2; sealed++) {
        struct looked looked = look(engine);
        assert_int_equal(looked.offset, 12);
        assert_null(looked.problem);
        assert_int_equal(looked.indexes, found.count);
        assert_int_equal(looked.producers, found.count);
        assert_int_equal(looked.passed, 0);
        const long places[] = {(long)found.producers_position + 9, (long)found.position + 70};
        for (uint32_t i = 0; i < 2; i++) {
            engine_spoil(engine, 0, places[i]);
            looked = look(engine);
            assert_int_equal(looked.offset, 12);
            assert_null(looked.problem);
            assert_int_equal(looked.end, INSPECT_END_CLEAN);
            assert_int_equal(looked.passed, i + 1);
        }
        for (uint32_t i = 0; i < 2; i++) {
            engine_spoil(engine, 0, places[i]);
        }
        if (sealed == 0) {
            assert_int_equal(engine_open_journals(engine, io), OK);
            engine_open_shard(engine);
            assert_int_equal(engine_assign(engine), OK);
        }
    }
}

static void an_inspection_passes_over_a_bad_milestone(void **state)
{
    (void)state;
    claim_on_wrapped_from(&often, check_inspect);
}

/* What rots before a milestone costs no start, and is found when it is read. */
static void check_unread(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    append_all(engine, 0, 20, LARGE_BYTES);
    engine_kill(engine);
    engine_spoil(engine, 0, SEGMENT_DATA_POSITION + 5000);
    assert_int_equal(engine_open_journals(engine, io), OK);
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(claim_latest(engine), 20);
    assert_int_equal(engine->segments[0].end_offset, 20);
    assert_int_equal(claim_fetch(&call, engine, 0), ERR_DAMAGED);
    call_release(&call);
    assert_int_equal(claim_fetch(&call, engine, 1), OK);
    call_release(&call);
    append_all(engine, 20, 1, 10);
}

static void damage_before_a_milestone_is_found_when_it_is_read(void **state)
{
    (void)state;
    claim_on_wrapped_from(&often, check_unread);
}

/* Small ones, of which the file has the first ones only: the producers of a milestone are those of
 * its place. */
static void check_journaled(struct engine *engine, const struct io_engine *io)
{
    append_all(engine, 0, 600, 900);
    struct found found = find(engine, 0);
    assert_true(found.count > 2);
    assert_true(found.offset > 0 && found.offset < 600);
    uint8_t row[PRODUCER_ROW_BYTES];
    engine_peek(engine, 0, (long)found.producers_position + EXTENT_HEADER_BYTES, row, sizeof(row));
    assert_int_equal(load_le64(row), PRODUCER);
    assert_int_equal(row[10], PRODUCER_WINDOW);
    for (uint32_t i = 0; i < PRODUCER_WINDOW; i++) {
        assert_int_equal(load_le64(row + 16 + i * 24 + 8), found.offset - PRODUCER_WINDOW + i);
    }
    claim_crash(engine, io);
    assert_all(engine, 600);
}

static void a_milestone_knows_the_producers_of_its_place(void **state)
{
    (void)state;
    static const struct claim_start small = {
        .journals = {
            .cores = 1, .bytes = 128 << 10, .bytes_max = 128 << 10, .milestone_bytes = 64 << 10}};
    claim_on_wrapped_from(&small, check_journaled);
}

/* A journal fails while a milestone is planned: until the spare takes over nothing stops for it.
 * The first one that the file has then knows who wrote up to its place. */
static void check_passed(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    uint64_t end = 0;
    for (; end == 0 || find(engine, 0).count == 0; end++) {
        if (end == PLANNED_APPENDS) {
            engine_rest(engine);
            engine_fail(IO_WRITE, 0, 1, ERR_IO);
        }
        assert_int_equal(append_alone(&call, engine, end), OK);
        assert_true(end < 100);
    }
    assert_true(end > PLANNED_APPENDS);
    assert_int_equal(engine_stat(engine, STAT_JOURNALS_REPLACED), 1);
    engine_turns(engine, 10); /* The checkpoint. */
    claim_crash(engine, io);
    for (uint64_t offset = 0; offset < end; offset++) {
        assert_int_equal(append_alone(&call, engine, offset), OK);
        assert_int_equal(call.request.produce.base_offset, offset);
    }
}

static void a_file_that_went_past_a_planned_milestone_plans_anew(void **state)
{
    (void)state;
    static const struct claim_start small = {
        .journals = {.cores = 1, .bytes = 128 << 10, .bytes_max = 128 << 10, .milestone_bytes = 1}};
    claim_on_wrapped_from(&small, check_passed);
}

/* Two starts that die before the segment is sealed: the MANIFEST still knows of it. */
static void check_twice(struct engine *engine, const struct io_engine *io)
{
    append_all(engine, 0, 40, LARGE_BYTES);
    struct found found = find(engine, 0);
    engine_kill(engine);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(engine_open_journals(engine, io), OK);
        engine_kill(engine);
    }
    assert_int_equal(engine_open_journals(engine, io), OK);
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    assert_false(scanned_all(engine, &found));
    assert_all(engine, 40);
}

static void a_start_that_dies_does_not_forget_the_milestone(void **state)
{
    (void)state;
    claim_on_wrapped_from(&often, check_twice);
}

/* Of a segment that may lose its end nothing says how far its file is sound. */
static void check_os(struct engine *engine, const struct io_engine *io)
{
    engine->config.durability = DURABILITY_OS;
    assert_int_equal(engine_assign(engine), OK);
    append_all(engine, 0, 20, LARGE_BYTES);
    assert_int_equal(find(engine, 0).count, 0);
    claim_crash(engine, io);
    assert_all(engine, 20);
}

static void only_durable_segments_have_milestones(void **state)
{
    (void)state;
    claim_on_wrapped_from(&often, check_os);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_extent_gives_back_its_rows_and_the_rest),
        cmocka_unit_test(an_index_goes_on_as_its_copy_does),
        cmocka_unit_test(a_restart_reads_what_lies_behind_the_last_milestone),
        cmocka_unit_test(a_bad_milestone_costs_a_scan_and_nothing_else),
        cmocka_unit_test(a_search_goes_on_behind_a_bad_milestone),
        cmocka_unit_test(a_reader_goes_on_behind_a_bad_milestone),
        cmocka_unit_test(an_inspection_passes_over_a_bad_milestone),
        cmocka_unit_test(damage_before_a_milestone_is_found_when_it_is_read),
        cmocka_unit_test(a_milestone_knows_the_producers_of_its_place),
        cmocka_unit_test(a_file_that_went_past_a_planned_milestone_plans_anew),
        cmocka_unit_test(a_start_that_dies_does_not_forget_the_milestone),
        cmocka_unit_test(only_durable_segments_have_milestones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
