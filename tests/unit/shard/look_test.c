/* What readers read of files: each part once, some of it before they ask, and never too much. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/crc32c.h"
#include "shard/batch.h"
#include "shard/shard_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    BATCHES = 100,
    BATCH_BYTES = 60000, /* Four to a look. */
    EXTENT_BYTES = 61440,
    LOOK_BATCHES = 4,
};

static uint64_t count(const struct engine *engine, enum stat_id stat)
{
    return engine->reactor.stats.counters[stat];
}

/* A log that only files have, read by a shard that has read nothing yet. */
static void begin(struct engine *engine)
{
    engine_append_each(engine, BATCHES, BATCH_BYTES);
    claim_restart(engine);
    struct call call;
    call_offsets(&call, engine, 1000); /* Opens the file, and loads its index. */
    assert_int_equal(call.err, OK);
}

static uint64_t call_end(const struct call *call)
{
    uint64_t end = call->request.fetch.offset;
    for (uint32_t i = 0; i < call->request.fetch.piece_count; i++) {
        const struct fetch_piece *piece = &call->pieces[i];
        for (uint32_t at = 0; at < piece->size;) {
            struct batch batch;
            assert_int_equal(batch_parse(bytes_of(piece->data + at, piece->size - at), &batch), OK);
            assert_int_equal(batch.base_offset, end);
            end += (uint32_t)batch.last_offset_delta + 1;
            at += batch.length;
        }
    }
    return end;
}

/* One fetch, given back at once; where it ended. */
static uint64_t read_on(struct engine *engine, uint64_t offset)
{
    struct call call;
    assert_int_equal(claim_fetch(&call, engine, offset), OK);
    uint64_t end = call_end(&call);
    call_release(&call);
    return end;
}

static void read_to_end(struct engine *engine, uint64_t offset)
{
    while (offset < BATCHES) {
        uint64_t end = read_on(engine, offset);
        assert_true(end > offset);
        offset = end;
    }
}

static void check_once(struct engine *engine)
{
    const uint32_t sizes[] = {1 << 20, 200000, 61000};
    for (uint32_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        if (i == 0) {
            begin(engine);
        } else {
            claim_restart(engine);
            assert_int_equal(claim_offset(engine, 1000), 0);
        }
        uint64_t reads = count(engine, STAT_FILE_READS);
        uint64_t bytes = count(engine, STAT_FILE_READ_BYTES);
        uint64_t checked = count(engine, STAT_FRAMES_CHECKED);
        engine->fetch_bytes_max = sizes[i];
        read_to_end(engine, 0);
        assert_int_equal(count(engine, STAT_FILE_READ_BYTES) - bytes, BATCHES * EXTENT_BYTES);
        assert_int_equal(count(engine, STAT_FILE_READS) - reads, BATCHES / LOOK_BATCHES);
        assert_int_equal(count(engine, STAT_FRAMES_CHECKED) - checked, BATCHES);
        assert_true(count(engine, STAT_READS_AHEAD) > 0);
        read_to_end(engine, 0); /* All of it is still there. */
        assert_int_equal(count(engine, STAT_FILE_READS) - reads, BATCHES / LOOK_BATCHES);
        assert_int_equal(count(engine, STAT_FRAMES_CHECKED) - checked, BATCHES);
    }
}

static void consumer_reads_and_checks_every_byte_once(void **state)
{
    (void)state;
    claim_on_engines(check_once);
}

static void check_large_fetch(struct engine *engine)
{
    struct call call;
    begin(engine);
    assert_int_equal(claim_fetch(&call, engine, 0), OK);
    /* 1 MiB, in as many pieces as the fetch has room for. */
    assert_int_equal(call_end(&call), 16);
    assert_int_equal(call.request.fetch.piece_count, ENGINE_PIECES_MAX);
    call_release(&call);
}

static void large_fetch_is_answered_from_several_looks(void **state)
{
    (void)state;
    claim_on_engines(check_large_fetch);
}

static void check_two(struct engine *engine)
{
    begin(engine);
    uint64_t bytes = count(engine, STAT_FILE_READ_BYTES);
    engine->fetch_bytes_max = 130000;
    uint64_t offsets[2] = {0, 0};
    while (offsets[0] < BATCHES || offsets[1] < BATCHES) {
        struct call calls[2];
        for (uint32_t i = 0; i < 2; i++) {
            call_fetch(&calls[i], engine, offsets[i], false);
        }
        for (uint32_t i = 0; i < 2; i++) {
            call_wait(&calls[i]);
            assert_int_equal(calls[i].err, OK);
            offsets[i] = call_end(&calls[i]);
        }
        call_release(&calls[0]);
        call_release(&calls[1]);
    }
    assert_int_equal(count(engine, STAT_FILE_READ_BYTES) - bytes, BATCHES * EXTENT_BYTES);
    assert_true(count(engine, STAT_READS_SHARED) > 0);
    /* One that comes a little later and elsewhere finds what is there, too. */
    read_to_end(engine, 6);
    assert_int_equal(count(engine, STAT_FILE_READ_BYTES) - bytes, BATCHES * EXTENT_BYTES);
}

static void two_consumers_read_the_file_once(void **state)
{
    (void)state;
    claim_on_engines(check_two);
}

/* The most reads that are in flight while a consumer goes from 0 to the end. */
static void check_in_flight(struct engine *engine, const struct io_engine *io)
{
    (void)io;
    begin(engine);
    engine->fetch_bytes_max = 200000;
    struct looks *looks = &engine->shard->looks;
    uint64_t most = 0;
    for (uint64_t offset = 0; offset < BATCHES;) {
        struct call call;
        call_fetch(&call, engine, offset, false);
        while (call.finished == 0) {
            uint32_t seen = engine_fault.seen[IO_READ];
            (void)reactor_turn(&engine->reactor, NS_PER_MS);
            most = max_u64(most, engine_fault.seen[IO_READ] - seen);
            assert_true(looks->bytes_ahead <= LOOKS_AHEAD * READ_BYTES);
        }
        assert_int_equal(call.err, OK);
        offset = call_end(&call);
        call_release(&call);
    }
    assert_in_range(most, 2, LOOKS_AHEAD + 1); /* Begun in one turn. */
}

static void several_looks_are_read_at_once_for_who_is_far_behind(void **state)
{
    (void)state;
    claim_on_wrapped(check_in_flight);
}

static void check_random(struct engine *engine)
{
    begin(engine);
    engine->fetch_bytes_max = 61000;
    for (uint64_t i = 0; i < 200; i++) {
        (void)read_on(engine, (i * 37) % 33 * 3); /* Never where another one ended. */
    }
    assert_int_equal(count(engine, STAT_READS_AHEAD), 0);
    assert_true(engine->shard->looks.stream_count > 1);
}

static void who_jumps_about_has_nothing_read_ahead(void **state)
{
    (void)state;
    claim_on_engines(check_random);
}

/* --- Limits. --- */

static void check_bounds(struct engine *engine)
{
    engine->readers_bytes_max = MIB(3);
    begin(engine);
    const struct looks *looks = &engine->shard->looks;
    assert_int_equal(looks->stream_count, 1);
    engine->fetch_bytes_max = 130000;
    uint64_t offsets[5] = {0, 20, 40, 60, 80};
    for (uint32_t round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < ARRAY_COUNT(offsets); i++) {
            offsets[i] = read_on(engine, offsets[i]);
            assert_true(looks->bytes <= MIB(3));
            assert_true(looks->bytes_ahead <= MIB(3) / 2);
        }
    }
    for (uint32_t i = 0; i < 2 * BATCHES; i++) { /* Alone again, it is a stream. */
        offsets[0] = read_on(engine, offsets[0] % BATCHES);
        assert_true(looks->bytes <= MIB(3));
    }
    assert_true(count(engine, STAT_READS_AHEAD) > 0);
    engine_rest(engine); /* What is read ahead has come. */
    assert_int_equal(looks->bytes, looks->bytes_resting);
}

static void what_is_read_for_readers_keeps_to_their_memory(void **state)
{
    (void)state;
    claim_on_engines(check_bounds);
}

static void check_kept(struct engine *engine)
{
    begin(engine);
    struct looks *looks = &engine->shard->looks;
    looks->kept_max = MIB(2); /* A third of the file. */
    read_to_end(engine, 0);
    assert_true(looks->bytes <= MIB(2));
    for (uint32_t i = 0; i < 4; i++) { /* More is kept each time that it is missed. */
        read_to_end(engine, 0);
    }
    uint64_t reads = count(engine, STAT_FILE_READS);
    read_to_end(engine, 0);
    assert_int_equal(count(engine, STAT_FILE_READS), reads);
    assert_in_range(looks->kept_max, BATCHES * EXTENT_BYTES, MIB(128) / 4);
    /* What could never be kept is not missed. */
    engine->readers_bytes_max = MIB(3);
    claim_restart(engine);
    looks = &engine->shard->looks;
    looks->kept_max = MIB(1);
    for (uint32_t i = 0; i < 4; i++) {
        read_to_end(engine, 0);
    }
    assert_int_equal(looks->kept_max, MIB(1));
}

static void what_readers_miss_is_kept(void **state)
{
    (void)state;
    claim_on_engines(check_kept);
}

/* Without rows a look may end inside an extent; and one look is all that a reader may hold. */
static void check_cut_looks(struct engine *engine)
{
    engine->readers_bytes_max = READ_BYTES;
    begin(engine);
    struct segment *segment = shard_partition(engine->shard, &engine->id)->segments[0];
    uint64_t position_end = segment->position_end;
    segment->index.count = 0;
    segment->position_end = 0;
    read_to_end(engine, 0);
    engine->fetch_bytes_max = 61000;
    assert_int_equal(read_on(engine, 50), 51);
    assert_int_equal(read_on(engine, 17), 18);
    assert_int_equal(count(engine, STAT_READS_AHEAD), 0);
    engine_turns(engine, 5);
    assert_int_equal(engine->shard->looks.used, 0); /* Nobody else may have them. */
    assert_int_equal(engine->shard->lend_reads, 0);
    segment->position_end = position_end;
}

static void file_without_an_index_is_read_all_the_same(void **state)
{
    (void)state;
    claim_on_engines(check_cut_looks);
}

static void check_appends_first(struct engine *engine)
{
    begin(engine);
    read_to_end(engine, 0);
    uint64_t resting = engine->shard->looks.bytes_resting;
    assert_true(resting >= BATCHES * EXTENT_BYTES);
    struct block *blocks[128] = {0};
    uint32_t taken = 0;
    while (taken < ARRAY_COUNT(blocks) &&
           (blocks[taken] =
                block_acquire(engine->reactor.memory, MEMORY_APPEND, (uint32_t)MIB(1))) != NULL) {
        taken++;
    }
    assert_int_equal(engine->shard->looks.bytes, 0); /* All gave way. */
    struct call call;
    call_fetch(&call, engine, 0, false);
    engine_turns(engine, 5);
    assert_int_equal(call.finished, 0); /* Waits for memory. */
    for (uint32_t i = 0; i < taken; i++) {
        block_unref(blocks[i]);
    }
    call_wait(&call);
    assert_int_equal(call.err, OK);
    call_release(&call);
}

static void looks_give_way_to_appends(void **state)
{
    (void)state;
    claim_on_engines(check_appends_first);
}

/* --- What goes wrong. --- */

static void check_damage(struct engine *engine)
{
    struct call call;
    begin(engine);
    /* In the middle of the 11th extent: a look that is read ahead. */
    engine_spoil(engine, 0, SEGMENT_DATA_POSITION + 10 * EXTENT_BYTES + 30000);
    engine->fetch_bytes_max = 61000;
    for (uint64_t offset = 0; offset < 10; offset++) {
        assert_int_equal(read_on(engine, offset), offset + 1);
    }
    assert_true(count(engine, STAT_READS_AHEAD) > 0);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(claim_fetch(&call, engine, 10), ERR_DAMAGED);
        call_release(&call);
    }
    assert_int_equal(read_on(engine, 11), 12);
    engine->fetch_bytes_max = 0; /* A large one ends before it. */
    assert_int_equal(read_on(engine, 0), 10);
    /* What was wrong is read again, not remembered. */
    engine_spoil(engine, 0, SEGMENT_DATA_POSITION + 10 * EXTENT_BYTES + 30000);
    assert_int_equal(read_on(engine, 10), 26);
}

static void damage_in_what_was_read_ahead_is_told_at_its_offset(void **state)
{
    (void)state;
    claim_on_engines(check_damage);
}

/* The extent that begins there, and its only frame, with another chain; all else is sound. */
static void forge_chain(const struct engine *engine, long position)
{
    uint8_t at[EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES];
    engine_peek(engine, 0, position, at, sizeof(at));
    uint8_t *frame = at + EXTENT_HEADER_BYTES;
    assert_int_equal(load_le64(at + 48), load_le64(frame + 64));
    store_le64(at + 48, load_le64(at + 48) + 1);
    store_le64(frame + 64, load_le64(frame + 64) + 1);
    store_le32(at + 60, crc32c(0, at, 60));
    store_le32(frame + 92, crc32c(0, frame, 92));
    engine_poke(engine, 0, position, at, sizeof(at));
}

static void check_chain(struct engine *engine)
{
    const uint32_t sizes[] = {61000, 1 << 20};
    begin(engine);
    forge_chain(engine, SEGMENT_DATA_POSITION + 10 * EXTENT_BYTES);
    for (uint32_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct call call;
        uint64_t offset = 0;
        enum err err;
        engine->fetch_bytes_max = sizes[i];
        while ((err = claim_fetch(&call, engine, offset)) == OK) {
            offset = call_end(&call);
            call_release(&call);
            assert_true(offset <= 10);
        }
        assert_int_equal(err, ERR_DAMAGED);
        assert_int_equal(offset, 10);
    }
}

static void frame_that_does_not_follow_the_one_before_it_is_damage(void **state)
{
    (void)state;
    claim_on_engines(check_chain);
}

static void check_cut(struct engine *engine)
{
    struct call call;
    char path[256];
    begin(engine);
    engine_segment_path(engine, 0, path, sizeof(path));
    assert_int_equal(truncate(path, SEGMENT_DATA_POSITION + 10 * EXTENT_BYTES + 4096), 0);
    uint64_t offset = 0;
    while (offset < 10) {
        engine->fetch_bytes_max = 130000;
        uint64_t end = read_on(engine, offset);
        assert_true(end > offset && end <= 10);
        offset = end;
    }
    assert_int_equal(claim_fetch(&call, engine, 10), ERR_DAMAGED);
    assert_int_equal(claim_fetch(&call, engine, 60), ERR_DAMAGED);
    assert_int_equal(read_on(engine, 0), 2);
}

static void truncated_file_is_read_up_to_its_end(void **state)
{
    (void)state;
    claim_on_engines(check_cut);
}

static void check_error(struct engine *engine, const struct io_engine *io)
{
    struct call call;
    (void)io;
    begin(engine);
    engine->fetch_bytes_max = 130000;
    for (uint64_t offset = 0; offset < 8; offset += 2) {
        assert_int_equal(read_on(engine, offset), offset + 2);
    }
    engine_turns(engine, 5);
    engine_fault.op = IO_READ; /* What is there already is still given. */
    engine_fault.err = ERR_IO;
    uint64_t offset = 8;
    enum err err;
    while ((err = claim_fetch(&call, engine, offset)) == OK) {
        offset = call_end(&call);
        call_release(&call);
    }
    assert_int_equal(err, ERR_STORAGE);
    assert_in_range(offset, 12, 40);
    engine_fault.op = IO_NONE;
    read_to_end(engine, offset);
}

static void failed_read_is_told_to_who_comes_there_and_tried_again(void **state)
{
    (void)state;
    claim_on_wrapped(check_error);
}

/* --- What goes. --- */

static void check_removal(struct engine *engine)
{
    struct call call, trim;
    engine->config.segment_records = 20;
    assert_int_equal(engine_assign(engine), OK);
    begin(engine);
    engine->fetch_bytes_max = 130000;
    for (uint64_t offset = 0; offset < 4; offset += 2) {
        assert_int_equal(read_on(engine, offset), offset + 2);
    }
    call_fetch(&call, engine, 4, false);
    (void)reactor_turn(&engine->reactor, 0); /* Its looks are being read, and more ahead of it. */
    call_trim_start(&trim, engine, 20);
    call_wait(&call);
    assert_true(call.err == OK);
    assert_int_equal(call_end(&call), 6);
    call_wait(&trim);
    assert_int_equal(trim.err, OK);
    engine_turns(engine, 100);
    assert_false(engine_has_file(engine, (1ULL << 63) | 1));
    assert_int_equal(call_end(&call), 6); /* Lent, it is still there. */
    call_release(&call);
    assert_int_equal(engine->shard->looks.bytes, 0); /* Of the others nothing was read. */
    struct call below;
    assert_int_equal(claim_fetch(&below, engine, 4), ERR_OFFSET_RANGE);
    assert_int_equal(read_on(engine, 20), 22);
}

static void removed_segment_takes_its_looks_along(void **state)
{
    (void)state;
    claim_on_engines(check_removal);
}

static void check_drop(struct engine *engine)
{
    struct call call, drop;
    begin(engine);
    engine->fetch_bytes_max = 130000;
    for (uint64_t offset = 0; offset < 8; offset += 2) {
        assert_int_equal(read_on(engine, offset), offset + 2);
    }
    call_fetch(&call, engine, 8, false);
    (void)reactor_turn(&engine->reactor, 0);
    call_drop(&drop, engine);
    call_wait(&call);
    call_wait(&drop);
    assert_int_equal(drop.err, OK);
    if (call.err == OK) {
        call_release(&call);
    }
    assert_int_equal(engine->shard->looks.bytes, 0);
}

static void dropped_topic_takes_its_looks_along(void **state)
{
    (void)state;
    claim_on_engines(check_drop);
}

static void check_stop(struct engine *engine)
{
    struct call call;
    begin(engine);
    engine->fetch_bytes_max = 130000;
    for (uint64_t offset = 0; offset < 8; offset += 2) {
        assert_int_equal(read_on(engine, offset), offset + 2);
    }
    call_fetch(&call, engine, 8, false);
    call_wait(&call);
    call_release(&call);
    claim_restart(engine); /* With reads ahead under way. */
    engine->fetch_bytes_max = 0;
    read_to_end(engine, 0);
}

static void stop_waits_for_what_is_read_ahead(void **state)
{
    (void)state;
    claim_on_engines(check_stop);
}

/* A file that grows: what was read of its end does not hide what comes behind. */
static void check_growth(struct engine *engine)
{
    begin(engine);
    engine->config.segment_records = 1000;
    assert_int_equal(engine_assign(engine), OK);
    uint64_t end = BATCHES;
    for (uint32_t round = 0; round < 10; round++) {
        engine_append_each(engine, 3, 100 + round * 30000);
        end += 3;
        while (!list_empty(&engine->shard->tail)) { /* Only the file has it. */
            tail_drop(CONTAINER_OF(engine->shard->tail.next, struct tail_frame, in_shard));
        }
        uint64_t offset = BATCHES;
        while (offset < end) {
            uint64_t next = read_on(engine, offset);
            assert_true(next > offset);
            offset = next;
        }
        assert_int_equal(offset, end);
    }
}

static void end_of_a_file_that_grows_is_not_hidden(void **state)
{
    (void)state;
    claim_on_engines(check_growth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(consumer_reads_and_checks_every_byte_once),
        cmocka_unit_test(large_fetch_is_answered_from_several_looks),
        cmocka_unit_test(two_consumers_read_the_file_once),
        cmocka_unit_test(several_looks_are_read_at_once_for_who_is_far_behind),
        cmocka_unit_test(who_jumps_about_has_nothing_read_ahead),
        cmocka_unit_test(what_is_read_for_readers_keeps_to_their_memory),
        cmocka_unit_test(what_readers_miss_is_kept),
        cmocka_unit_test(file_without_an_index_is_read_all_the_same),
        cmocka_unit_test(looks_give_way_to_appends),
        cmocka_unit_test(damage_in_what_was_read_ahead_is_told_at_its_offset),
        cmocka_unit_test(frame_that_does_not_follow_the_one_before_it_is_damage),
        cmocka_unit_test(truncated_file_is_read_up_to_its_end),
        cmocka_unit_test(failed_read_is_told_to_who_comes_there_and_tried_again),
        cmocka_unit_test(removed_segment_takes_its_looks_along),
        cmocka_unit_test(dropped_topic_takes_its_looks_along),
        cmocka_unit_test(stop_waits_for_what_is_read_ahead),
        cmocka_unit_test(end_of_a_file_that_grows_is_not_hidden),
    };
    return cmocka_run_group_tests_name("shard/look", tests, NULL, NULL);
}
