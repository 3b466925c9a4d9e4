/* What a start took from a journal is in its file, durably, and the journal's space is free from
 * then on: what goes bad of it is damage, though no extent of the file says that it was durable. */
#include "tests/unit/shard/claim_fixture.h"

#include "shard/frame.h"
#include "shard/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCK = 4096, LARGE_BYTES = 100000, LARGE_EXTENT = 25 * BLOCK };

static const struct claim_start usual = {.journals = {.cores = 1}};

/* The frame at `position` becomes another one, as whole as it was. */
static void forge(const struct engine *engine, long position)
{
    uint8_t header[FRAME_HEADER_BYTES];
    struct frame_header frame;
    engine_peek(engine, 0, position, header, sizeof(header));
    assert_int_equal(frame_header_decode(header, &frame), OK);
    frame.append_ms++;
    frame_header_encode(&frame, header);
    engine_poke(engine, 0, position, header, sizeof(header));
}

/* Says so as often as it starts. */
static void assert_damaged_from(struct engine *engine, const struct io_engine *io, uint64_t valid)
{
    for (uint32_t start = 0; start < 3; start++) {
        if (start > 0) {
            engine_crash(engine, io);
        }
        assert_int_equal(engine_assign(engine), OK);
        assert_int_equal(claim_latest(engine), valid);
        assert_int_equal(claim_read_at(engine, valid), ERR_DAMAGED);
        assert_int_equal(claim_append_plain(engine, 1, 50, 5000), ERR_DAMAGED);
        assert_int_equal(engine->segments[0].state, SEGMENT_OPEN); /* Nothing was cut. */
    }
}

static void start_again(struct engine *engine, const struct io_engine *io)
{
    assert_int_equal(engine_open_journals(engine, io), OK);
    assert_int_equal(engine->journals_opened.frames, 1);
}

static void check_rot_behind(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 1, 100);
    engine_kill(engine);
    start_again(engine, io);
    engine_spoil(engine, 0, SEGMENT_DATA_POSITION + 200);
    engine_open_shard(engine);
    assert_damaged_from(engine, io, 0);
}

static void what_a_replay_wrote_is_not_cut_when_it_goes_bad(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_rot_behind);
}

/* The replay begins behind the large ones, where their checkpoint says that the file is sound; the
 * walk from the start of the file ends there, at a frame that follows another one. */
static void check_forged_before(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 3, LARGE_BYTES);
    engine_append_each(engine, 1, 100);
    engine_kill(engine);
    forge(engine, SEGMENT_DATA_POSITION + 2L * LARGE_EXTENT + (long)EXTENT_HEADER_BYTES);
    start_again(engine, io);
    engine_open_shard(engine);
    assert_damaged_from(engine, io, 3);
}

static void another_frame_before_a_checkpoint_costs_nothing_behind_it_without_a_word(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_forged_before);
}

/* Nothing else may look like damage for it: the next torn tail is one. */
static void check_torn_behind(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, 2, 100);
    engine_kill(engine);
    assert_int_equal(engine_open_journals(engine, io), OK);
    assert_int_equal(engine->journals_opened.frames, 2);
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(claim_latest(engine), 2);
    engine_append_each(engine, 1, LARGE_BYTES);
    engine_append_each(engine, 1, LARGE_BYTES);
    engine_crash(engine, io);
    engine_spoil(engine, 1, SEGMENT_DATA_POSITION + LARGE_EXTENT + 200);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(claim_latest(engine), 3);
    assert_int_equal(claim_append_plain(engine, 1, 50, 5000), OK);
}

static void a_torn_tail_of_the_next_segment_is_still_cut(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_torn_behind);
}

/* Of how many segments MANIFEST speaks. */
static uint32_t manifest_records(const struct engine *engine)
{
    struct manifest manifest;
    claim_manifest_read(engine, &manifest);
    uint32_t count = manifest.record_count;
    manifest_deinit(&manifest);
    return count;
}

/* What was replayed into a file is remembered for as long as the map has that segment open, though
 * the file is gone: else it would be an empty one. When the map has forgotten it, so is this. */
static void check_gone(struct engine *engine, const struct io_engine *io)
{
    char path[256];
    engine_append_each(engine, 1, 100);
    engine_kill(engine);
    start_again(engine, io);
    assert_int_equal(manifest_records(engine), 1);
    engine_segment_path(engine, 0, path, sizeof(path));
    assert_int_equal(unlink(path), 0);
    for (uint32_t start = 0; start < 3; start++) {
        engine_kill(engine);
        assert_int_equal(engine_open_journals(engine, io), OK);
        assert_int_equal(manifest_records(engine), 1);
    }
    engine_kill(engine);
    engine->segment_count = 0;
    assert_int_equal(engine_open_journals(engine, io), OK);
    assert_int_equal(manifest_records(engine), 0);
}

static void of_a_segment_that_the_map_has_forgotten_nothing_is_kept(void **state)
{
    (void)state;
    claim_on_wrapped_from(&usual, check_gone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_replay_wrote_is_not_cut_when_it_goes_bad),
        cmocka_unit_test(another_frame_before_a_checkpoint_costs_nothing_behind_it_without_a_word),
        cmocka_unit_test(a_torn_tail_of_the_next_segment_is_still_cut),
        cmocka_unit_test(of_a_segment_that_the_map_has_forgotten_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
