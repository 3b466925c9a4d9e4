/* Which blocks of a journal count, as tables: what a crash, or worse, left of it. */
#include "shard/replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCKS_MAX = 8 };

/* {seq, durable seq, tail seq}, in any order; seq 0 ends them. */
struct row {
    const char *what;
    uint64_t blocks[BLOCKS_MAX][3];
    uint64_t tail, last, hole;
};

static const struct row rows[] = {
    {"nothing was written", {{0}}, 0, 0, 0},
    {"one block", {{1, 0, 1}}, 1, 1, 0},
    {"all are there", {{1, 0, 1}, {2, 1, 1}, {3, 2, 1}}, 1, 3, 0},
    {"and the tail has moved", {{3, 2, 1}, {4, 3, 2}, {5, 4, 4}}, 4, 5, 0},
    {"they stand in another order", {{4, 3, 2}, {2, 1, 1}, {3, 2, 2}, {1, 0, 1}}, 2, 4, 0},
    {"the last lap's are partly written over", {{9, 8, 3}, {7, 6, 2}, {8, 7, 7}}, 7, 8, 0},
    {"a gap above D: what is behind it was never acked",
     {{1, 0, 1}, {2, 1, 1}, {4, 2, 1}},
     1,
     2,
     0},
    {"the first two were in flight, the first is torn", {{2, 0, 1}}, 1, 0, 0},
    {"a tail behind a gap names copies that are not replayed",
     {{1, 0, 1}, {2, 1, 1}, {4, 2, 4}, {5, 2, 4}},
     4,
     5,
     0},
    {"D is proved by the last one alone", {{1, 0, 1}, {2, 0, 1}, {3, 0, 1}, {4, 3, 1}}, 1, 4, 0},
    {"D lags behind many that nobody waited for", {{1, 0, 1}, {2, 0, 1}, {3, 0, 1}}, 1, 3, 0},
    {"a gap below D, in the middle", {{1, 0, 1}, {3, 2, 1}, {4, 3, 1}}, 1, 4, 2},
    {"a gap below D, at the tail", {{2, 1, 1}, {3, 2, 1}, {4, 3, 1}}, 1, 4, 1},
    {"several: the greatest", {{1, 0, 1}, {3, 2, 1}, {5, 4, 1}, {6, 5, 1}}, 1, 6, 4},
    {"D itself is gone, and what follows", {{1, 0, 1}, {2, 1, 1}, {5, 3, 1}}, 1, 3, 3},
    {"D itself is gone, what follows is there", {{1, 0, 1}, {2, 1, 1}, {4, 3, 1}}, 1, 4, 3},
    {"all below D are gone", {{9, 8, 5}}, 5, 9, 8},
    {"a hole below the tail is none", {{1, 0, 1}, {3, 2, 3}, {4, 3, 3}}, 3, 4, 0},
    {"a number beyond all counting",
     {{1, 0, 1}, {UINT64_MAX, UINT64_MAX - 1, 1}},
     1,
     UINT64_MAX,
     UINT64_MAX - 1},
    {"a hole, then a gap above D: not what is behind it",
     {{1, 0, 1}, {3, 2, 1}, {4, 3, 1}, {6, 4, 1}},
     1,
     4,
     2},
};

static void choose(const struct row *row, bool reverse, struct replay_journal *journal)
{
    *journal = (struct replay_journal){0};
    while (journal->block_count < BLOCKS_MAX && row->blocks[journal->block_count][0] != 0) {
        journal->block_count++;
    }
    journal->blocks = calloc(BLOCKS_MAX, sizeof(*journal->blocks));
    assert_non_null(journal->blocks);
    for (uint32_t i = 0; i < journal->block_count; i++) {
        const uint64_t *block = row->blocks[reverse ? journal->block_count - 1 - i : i];
        journal->blocks[i] =
            (struct replay_block){.seq = block[0], .durable_seq = block[1], .tail_seq = block[2]};
    }
    replay_choose(journal);
    free(journal->blocks);
    journal->blocks = NULL;
}

static void each_table_has_its_answer(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (uint32_t reverse = 0; reverse < 2; reverse++) {
            struct replay_journal journal;
            choose(&rows[i], reverse != 0, &journal);
            if (journal.last != rows[i].last || journal.hole != rows[i].hole ||
                (journal.last != 0 && journal.tail != rows[i].tail)) {
                fail_msg("%s: [%u, %u] hole %u", rows[i].what, (unsigned)journal.tail,
                         (unsigned)journal.last, (unsigned)journal.hole);
            }
        }
    }
}

static void two_journals_are_judged_each_for_itself(void **state)
{
    (void)state;
    struct replay_journal sound, holed;
    choose(&rows[2], false, &sound);
    choose(&rows[11], false, &holed);
    assert_int_equal(sound.hole, 0);
    assert_int_equal(sound.last, 3);
    assert_int_equal(holed.hole, 2);
    choose(&rows[2], true, &sound);
    assert_int_equal(sound.hole, 0);
}

/* A frame that a journal has, and a file too, behind what follows: what is before it was acked. */
static void a_frame_in_both_tells_of_what_is_missing(void **state)
{
    const uint8_t frame = 0;
    struct replay_entry entries[] = {
        {.offset_first = 0, .offset_end = 9, .chain = 77, .chain_end = 88, .frame = &frame},
        {.offset_first = 0, .offset_end = 4, .chain = 1, .chain_end = 2, .frame = &frame},
        {.offset_first = 4, .offset_end = 16, .chain = 30, .chain_end = 31, .frame = &frame},
        {.staged_end = 50},
    };
    struct later_extent extents[] = {
        {.position = 12288, .offset_first = 4, .chain = 20},
        {.position = 16384, .offset_first = 4, .chain = 30},
    };
    const struct replay_later later = {.rows = extents, .count = ARRAY_COUNT(extents)};
    const struct replay replay = {.entries = entries};
    struct replay_segment segment = {
        .known = true, .record.durability = DURABILITY_DISK, .first = 1, .count = 3};
    (void)state;
    assert_int_equal(replay_later_acked(&later, &replay, &segment, 4), 16);
    assert_int_equal(replay_later_acked(&later, &replay, &segment, 16), 0);
    extents[1].chain = 29; /* What stands there is something else. */
    assert_int_equal(replay_later_acked(&later, &replay, &segment, 4), 0);
    extents[1].chain = 30;
    segment.record.durability = DURABILITY_OS; /* It may have been acked, and be gone. */
    assert_int_equal(replay_later_acked(&later, &replay, &segment, 4), 0);
    segment.record.durability = DURABILITY_DISK;
    segment.known = false;
    assert_int_equal(replay_later_acked(&later, &replay, &segment, 4), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_in_both_tells_of_what_is_missing),
        cmocka_unit_test(each_table_has_its_answer),
        cmocka_unit_test(two_journals_are_judged_each_for_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
