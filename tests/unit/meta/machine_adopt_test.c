/* The machine: segments that come with ids of their own, and ids that are raised above what was
 * ever handed out. */
#include "tests/unit/meta/machine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static enum err adopt(struct fixture *fixture, uint8_t id, const char *name,
                      const struct segment_info *segments, uint32_t count)
{
    uint8_t rows[8 * COMMAND_ADOPT_ROW_BYTES];
    struct command command = {.kind = COMMAND_ADOPT};
    assert_true(count <= 8);
    for (uint32_t i = 0; i < count; i++) {
        command_adopt_encode(&segments[i], rows + (size_t)i * COMMAND_ADOPT_ROW_BYTES);
    }
    command.adopt.partition = (struct partition_id){.topic = fixture_id(id), .partition = 1};
    command.adopt.name = bytes_text(name);
    command.adopt.partition_count = 2;
    command.adopt.epoch = 9;
    command.adopt.leader_node = 3;
    command.adopt.durability = DURABILITY_OS;
    command.adopt.segments = bytes_of(rows, count * (uint32_t)COMMAND_ADOPT_ROW_BYTES);
    return fixture_apply(fixture, &command);
}

static struct segment_info library_segment(uint64_t id, uint64_t base, uint64_t end)
{
    return (struct segment_info){.id = id,
                                 .epoch = (uint32_t)id,
                                 .state = end > base ? SEGMENT_SEALED : SEGMENT_OPEN,
                                 .base_offset = base,
                                 .salt = id * 7,
                                 .end_offset = end,
                                 .digest = end * 3,
                                 .replication_factor = 1,
                                 .ack_quorum = 1,
                                 .durability = DURABILITY_OS};
}

static void adopted_segments_keep_their_ids_and_the_log_goes_on_behind_them(void **state)
{
    struct fixture *fixture = *state;
    const struct segment_info segments[] = {
        library_segment(4, 100, 110), library_segment(5, 110, 130), library_segment(6, 130, 0)};
    for (uint32_t i = 1; i <= 3; i++) { /* Cut off, begun again, and once more for nothing. */
        assert_int_equal(adopt(fixture, 1, "t", segments, i), OK);
    }
    const struct map_topic *topic = map_topic_by_name(fixture->map, bytes_text("t"));
    assert_non_null(topic);
    assert_int_equal(topic->partition_count, 2);
    assert_int_equal(topic->partitions[0].segment_count, 0);
    assert_string_equal(map_topic_config(topic, "durability"), "os");
    const struct map_partition *partition = &topic->partitions[1];
    assert_int_equal(partition->segment_count, 3);
    assert_int_equal(partition->segments[0].id, 4);
    assert_int_equal(partition->segments[0].base_offset, 100);
    assert_int_equal(partition->segments[1].digest, 390);
    assert_int_equal(partition->segments[1].salt, 35);
    assert_int_equal(partition->segments[2].state, SEGMENT_OPEN);
    assert_int_equal(partition->segments[2].leader_node, 3);
    assert_int_equal(partition->epoch, 9);
    struct command command = {.kind = COMMAND_SEGMENT_ROLL};
    command.segment_roll.partition = (struct partition_id){.topic = fixture_id(1), .partition = 1};
    command.segment_roll.segment_id = 6;
    command.segment_roll.end_offset = 140;
    command.segment_roll.open_next = true;
    assert_int_equal(fixture_apply(fixture, &command), OK);
    assert_int_equal(fixture->result.segment.base_offset, 140);
    assert_int_equal(fixture->result.segment.epoch, 10);
    assert_true(fixture->result.segment.id >> 63 == 1);
}

static void what_cannot_be_adopted_leaves_the_map_as_it_was(void **state)
{
    struct fixture *fixture = *state;
    const struct segment_info gap[] = {library_segment(4, 0, 10), library_segment(5, 11, 20)};
    const struct segment_info open[] = {library_segment(4, 0, 0), library_segment(5, 10, 20)};
    const struct segment_info next[] = {library_segment(8, 10, 20)};
    assert_int_equal(adopt(fixture, 1, "t", gap, 2), ERR_INVALID);
    assert_int_equal(adopt(fixture, 1, "t", open, 2), ERR_INVALID);
    assert_int_equal(adopt(fixture, 1, "a b", gap, 1), ERR_TOPIC_INVALID);
    assert_int_equal(map_topic_count(fixture->map), 0);
    assert_int_equal(adopt(fixture, 1, "t", gap, 1), OK);
    assert_int_equal(adopt(fixture, 2, "t", gap, 1), ERR_EXISTS); /* The name is another's. */
    assert_int_equal(adopt(fixture, 1, "u", gap, 1), ERR_INVALID);
    assert_int_equal(adopt(fixture, 1, "t", gap + 1, 1), ERR_INVALID);
    assert_int_equal(map_topic_count(fixture->map), 1);
    assert_int_equal(map_topic_at(fixture->map, 0)->partitions[1].segment_count, 1);
    assert_int_equal(adopt(fixture, 1, "t", next, 1), OK);
}

static void an_adoption_that_is_no_row_of_segments_is_refused(void **state)
{
    (void)state;
    uint8_t row[COMMAND_ADOPT_ROW_BYTES], bytes[512];
    struct segment_info info = library_segment(4, 0, 10);
    command_adopt_encode(&info, row);
    struct command command = {.kind = COMMAND_ADOPT, .sequence = 1}, decoded;
    command.adopt.name = bytes_text("t");
    command.adopt.segments = bytes_of(row, sizeof(row));
    for (uint32_t at = 44; at < 46; at++) { /* State, durability. */
        row[at] ^= 0x40;
        uint32_t size = command_encode(&command, bytes, sizeof(bytes));
        assert_int_equal(command_decode(bytes_of(bytes, size), &decoded), ERR_CORRUPT);
        row[at] ^= 0x40;
    }
    uint32_t size = command_encode(&command, bytes, sizeof(bytes));
    assert_int_equal(command_decode(bytes_of(bytes, size), &decoded), OK);
    assert_int_equal(command_decode(bytes_of(bytes, size - 8), &decoded), OK); /* An older log. */
    assert_int_equal(decoded.adopt.kept.size, 0);
    for (uint32_t cut = 16; cut < size; cut += 8) {
        assert_int_not_equal(command_decode(bytes_of(bytes, size - cut), &decoded), OK);
    }
}

static void an_adopted_log_keeps_its_start_and_what_retention_needs(void **state)
{
    struct fixture *fixture = *state;
    struct segment_info segments[] = {library_segment(4, 100, 110), library_segment(5, 110, 130)};
    uint8_t rows[2 * COMMAND_ADOPT_ROW_BYTES], kept[2 * COMMAND_ADOPT_KEPT_BYTES];
    assert_int_equal(adopt(fixture, 1, "older", segments, 2), OK);
    const struct map_topic *topic = map_topic_by_name(fixture->map, bytes_text("older"));
    /* A time that is not known is no time long ago: retention must not take it for old. */
    assert_true(topic->partitions[1].segments[0].timestamp_max == INT64_MAX);
    assert_true(topic->partitions[1].log_start == 0);
    for (uint32_t i = 0; i < 2; i++) {
        segments[i].timestamp_max = 1000 + i;
        segments[i].bytes = 8192 * (i + 1);
        command_adopt_encode(&segments[i], rows + (size_t)i * COMMAND_ADOPT_ROW_BYTES);
        command_adopt_encode_kept(&segments[i], kept + (size_t)i * COMMAND_ADOPT_KEPT_BYTES);
    }
    struct command command = {.kind = COMMAND_ADOPT};
    command.adopt.partition.topic = fixture_id(2);
    command.adopt.name = bytes_text("t");
    command.adopt.partition_count = 1;
    command.adopt.segments = bytes_of(rows, sizeof(rows));
    command.adopt.kept = bytes_of(kept, sizeof(kept));
    command.adopt.log_start = 131;
    assert_int_equal(fixture_apply(fixture, &command),
                     ERR_INVALID); /* Behind the end of the log. */
    assert_null(map_topic_by_name(fixture->map, bytes_text("t")));
    command.adopt.log_start = 105;
    assert_int_equal(fixture_apply(fixture, &command), OK);
    topic = map_topic_by_name(fixture->map, bytes_text("t"));
    const struct map_partition *partition = &topic->partitions[0];
    assert_int_equal(partition->log_start, 105);
    assert_int_equal(partition->segments[1].timestamp_max, 1001);
    assert_int_equal(partition->segments[1].bytes, 16384);
    command.adopt.log_start = 0;
    assert_int_equal(fixture_apply(fixture, &command), OK); /* Once more, for nothing. */
    assert_int_equal(partition->log_start, 105);
}

static uint64_t next_segment_id(struct fixture *fixture)
{
    struct command command = {.kind = COMMAND_SEGMENT_ROLL};
    command.segment_roll.partition = (struct partition_id){.topic = fixture_id(1)};
    const struct map_partition *partition = &map_topic_at(fixture->map, 0)->partitions[0];
    uint32_t count = partition->segment_count;
    command.segment_roll.segment_id = count > 0 ? partition->segments[count - 1].id : 0;
    command.segment_roll.end_offset = partition->end_offset + 1;
    command.segment_roll.open_next = true;
    assert_int_equal(fixture_apply(fixture, &command), OK);
    return fixture->result.segment.id & ~((uint64_t)1 << 63);
}

static uint64_t next_producer_id(struct fixture *fixture)
{
    struct command command = {.kind = COMMAND_PRODUCER_IDS};
    command.producer_ids.count = 10;
    assert_int_equal(fixture_apply(fixture, &command), OK);
    return fixture->result.producer_id_first;
}

static void raised_ids_are_not_handed_out_again_and_nothing_falls(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(fixture_create(fixture, "t", 1, 1), OK);
    uint64_t segment = next_segment_id(fixture);
    uint64_t producer = next_producer_id(fixture);
    struct command command = {.kind = COMMAND_RAISE};
    command.raise.segment_next = segment + 500;
    command.raise.producer_next = producer + 7000;
    assert_int_equal(fixture_apply(fixture, &command), OK);
    assert_true(next_segment_id(fixture) == segment + 500);
    assert_true(next_producer_id(fixture) == producer + 7000);
    command.raise.segment_next = segment + 1; /* Lower: both stay. */
    command.raise.producer_next = 0;
    assert_int_equal(fixture_apply(fixture, &command), OK);
    assert_true(next_segment_id(fixture) == segment + 501);
    assert_true(next_producer_id(fixture) == producer + 7010);
    command.raise.segment_next = COMMAND_RAISE_MAX; /* Nothing would be left to hand out. */
    assert_int_equal(fixture_apply(fixture, &command), ERR_INVALID);
    command.raise.segment_next = 0;
    command.raise.producer_next = UINT64_MAX;
    assert_int_equal(fixture_apply(fixture, &command), ERR_INVALID);
    assert_true(next_segment_id(fixture) == segment + 502);
    assert_true(next_producer_id(fixture) == producer + 7020);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(adopted_segments_keep_their_ids_and_the_log_goes_on_behind_them),
        T(what_cannot_be_adopted_leaves_the_map_as_it_was),
        T(an_adoption_that_is_no_row_of_segments_is_refused),
        T(an_adopted_log_keeps_its_start_and_what_retention_needs),
        T(raised_ids_are_not_handed_out_again_and_nothing_falls),
    };
    return cmocka_run_group_tests_name("meta/machine_adopt", tests, NULL, NULL);
}
