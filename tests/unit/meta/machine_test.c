/* The machine: each command's effect and refusals, duplicates, and that two maps which saw the same
 * commands, one of them through bytes and snapshots, are equal to the byte. */
#include "core/crc32c.h"
#include "core/limits.h"
#include "core/prng.h"
#include "tests/unit/meta/machine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void a_topic_is_found_by_name_and_by_id_until_it_is_deleted(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(fixture_create(fixture, "b", 2, 3), OK);
    assert_int_equal(fixture_create(fixture, "a", 1, 1), OK);
    assert_int_equal(fixture_create(fixture, "ab", 3, 1), OK);
    assert_string_equal(map_topic_at(fixture->map, 1)->name, "ab");
    struct topic_id id = fixture_id(2);
    const struct map_topic *topic = map_topic_by_name(fixture->map, bytes_text("b"));
    assert_ptr_equal(map_topic_by_id(fixture->map, &id), topic);
    assert_int_equal(topic->partition_count, 3);
    assert_string_equal(map_topic_config(topic, "retention.ms"), "5");
    assert_null(map_topic_config(topic, "retention.bytes"));
    struct command command = {.kind = COMMAND_TOPIC_DELETE};
    command.topic_delete.id = id;
    assert_int_equal(fixture_apply(fixture, &command), OK);
    assert_null(map_topic_by_name(fixture->map, bytes_text("b")));
    assert_int_equal(fixture_apply(fixture, &command), ERR_TOPIC_ID_UNKNOWN);
    assert_int_equal(map_topic_count(fixture->map), 2);
}

static void a_bad_topic_is_refused_with_its_reason(void **state)
{
    static const char *const names[] = {"", ".", "..", "a b", "a/b", "\xc3\xa4"};
    struct fixture *fixture = *state;
    char longest[TOPIC_NAME_BYTES_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[TOPIC_NAME_BYTES_MAX + 1] = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(fixture_create(fixture, names[i], 1, 1), ERR_TOPIC_INVALID);
    }
    assert_int_equal(fixture_create(fixture, longest, 1, 1), ERR_TOPIC_INVALID);
    assert_int_equal(fixture_create(fixture, longest + 1, 1, 1), OK);
    assert_int_equal(fixture_create(fixture, longest + 1, 2, 1), ERR_EXISTS);
    assert_int_equal(fixture_create(fixture, "t", 1, 1), ERR_INVALID);
    assert_int_equal(fixture_create(fixture, "t", 0, 1), ERR_INVALID);
    assert_int_equal(fixture_create(fixture, "t", 2, 0), ERR_PARTITIONS_INVALID);
    assert_int_equal(fixture_create(fixture, "t", 2, TOPIC_PARTITIONS_MAX + 1),
                     ERR_PARTITIONS_INVALID);
    struct command command = {.kind = COMMAND_TOPIC_CREATE};
    command.topic_create.id = fixture_id(9);
    command.topic_create.name = bytes_text("t");
    command.topic_create.partition_count = 1;
    command.topic_create.replication_factor = 2;
    assert_int_equal(fixture_apply(fixture, &command), ERR_REPLICATION_INVALID);
    assert_int_equal(map_topic_count(fixture->map), 1);
}

static void no_more_partitions_than_a_core_can_serve(void **state)
{
    struct fixture *fixture = *state;
    char name[8];
    uint8_t topics = PARTITIONS_MAX / TOPIC_PARTITIONS_MAX;
    for (uint8_t i = 1; i < topics; i++) {
        (void)snprintf(name, sizeof(name), "t%u", i);
        assert_int_equal(fixture_create(fixture, name, i, TOPIC_PARTITIONS_MAX), OK);
    }
    assert_int_equal(fixture_create(fixture, "t", topics, TOPIC_PARTITIONS_MAX - 1), OK);
    assert_int_equal(fixture_create(fixture, "u", topics + 1, 2), ERR_PARTITIONS_INVALID);
    assert_int_equal(fixture_create(fixture, "u", topics + 1, 1), OK);
    struct command command = {.kind = COMMAND_TOPIC_DELETE};
    command.topic_delete.id = fixture_id(1);
    assert_int_equal(fixture_create(fixture, "v", topics + 2, 1), ERR_PARTITIONS_INVALID);
    assert_int_equal(fixture_apply(fixture, &command), OK);
    assert_int_equal(fixture_create(fixture, "v", topics + 2, TOPIC_PARTITIONS_MAX), OK);
}

static void segments_follow_each_other_and_a_late_roll_is_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(fixture_create(fixture, "t", 1, 1), OK);
    const struct map_partition *partition =
        &map_topic_by_name(fixture->map, bytes_text("t"))->partitions[0];
    assert_int_equal(fixture_roll(fixture, 1, 5, 0, true), ERR_NOT_LEADER);
    assert_int_equal(fixture_roll(fixture, 1, 0, 0, true), OK);
    struct segment_info first = fixture->result.segment;
    assert_int_equal(first.base_offset, 0);
    assert_int_equal(fixture_roll(fixture, 1, 0, 0, true), ERR_NOT_LEADER);
    assert_int_equal(fixture_roll(fixture, 1, first.id, 100, true), OK);
    struct segment_info second = fixture->result.segment;
    assert_int_equal(second.base_offset, 100);
    assert_true(second.epoch > first.epoch && second.id > first.id);
    assert_int_equal(partition->segment_count, 2);
    assert_int_equal(partition->segments[0].state, SEGMENT_SEALED);
    assert_int_equal(partition->segments[0].digest, 300);
    assert_int_equal(fixture_roll(fixture, 1, second.id, 99, true), ERR_INVALID);
    assert_int_equal(fixture_roll(fixture, 1, second.id, 100, false), OK);
    assert_int_equal(partition->segment_count, 1); /* The empty one left no trace ... */
    assert_int_equal(fixture_roll(fixture, 1, 0, 0, true), OK);
    assert_true(fixture->result.segment.epoch > second.epoch); /* ... but its epoch. */
    assert_int_equal(fixture->result.segment.base_offset, 100);
    assert_int_equal(fixture_roll(fixture, 2, 0, 0, true), ERR_TOPIC_ID_UNKNOWN);
}

static void a_trim_forgets_whole_segments_and_may_come_twice(void **state)
{
    struct fixture *fixture = *state;
    uint64_t ids[4] = {0};
    assert_int_equal(fixture_create(fixture, "t", 1, 1), OK);
    const struct map_partition *partition =
        &map_topic_by_name(fixture->map, bytes_text("t"))->partitions[0];
    for (uint32_t i = 0; i < 4; i++) { /* [0, 10) [10, 20) [20, 30) and an open one. */
        assert_int_equal(fixture_roll(fixture, 1, i == 0 ? 0 : ids[i - 1], (uint64_t)i * 10, true),
                         OK);
        ids[i] = fixture->result.segment.id;
    }
    assert_int_equal(partition->segments[1].timestamp_max, 100);
    assert_int_equal(partition->segments[1].bytes, 140);
    assert_int_equal(fixture_trim(fixture, 1, ids[1], 9), ERR_INVALID);  /* A part of what goes. */
    assert_int_equal(fixture_trim(fixture, 1, ids[1], 21), ERR_INVALID); /* Of what stays all. */
    assert_int_equal(fixture_trim(fixture, 1, 12345, 20), ERR_NOT_LEADER);
    assert_int_equal(fixture_trim(fixture, 2, ids[1], 15), ERR_TOPIC_ID_UNKNOWN);
    assert_int_equal(partition->segment_count, 4);
    assert_int_equal(partition->log_start, 0);
    assert_int_equal(fixture_trim(fixture, 1, ids[1], 15), OK);
    assert_int_equal(fixture_trim(fixture, 1, ids[1], 15), OK);
    assert_int_equal(partition->segment_count, 3);
    assert_int_equal(partition->segments[0].id, ids[1]);
    assert_int_equal(partition->log_start, 15);
    assert_int_equal(fixture_trim(fixture, 1, ids[1], 12), OK); /* Late: nothing comes back. */
    assert_int_equal(partition->log_start, 15);
    assert_int_equal(fixture_trim(fixture, 1, ids[0], 15), ERR_NOT_LEADER);
    assert_int_equal(fixture_trim(fixture, 1, ids[3], 34), OK);
    assert_int_equal(partition->segment_count, 1);
    assert_int_equal(partition->log_start, 34);
    assert_int_equal(partition->end_offset, 30); /* Of the sealed ones. */
}

static void a_sealed_segment_tells_where_the_log_starts(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(fixture_create(fixture, "t", 1, 1), OK);
    const struct map_partition *partition =
        &map_topic_by_name(fixture->map, bytes_text("t"))->partitions[0];
    assert_int_equal(fixture_roll(fixture, 1, 0, 0, true), OK);
    uint64_t first = fixture->result.segment.id;
    fixture->log_start = 40;
    assert_int_equal(fixture_roll(fixture, 1, first, 100, true), OK);
    uint64_t second = fixture->result.segment.id;
    assert_int_equal(partition->log_start, 40);
    assert_int_equal(partition->segment_count, 2); /* Whoever leads it trims. */
    /* The second one lost its end, and where it said that the log starts with it. */
    assert_int_equal(fixture_trim(fixture, 1, second, 180), OK);
    assert_int_equal(fixture_roll(fixture, 1, second, 150, true), OK);
    assert_int_equal(partition->log_start, 150);
    assert_int_equal(fixture->result.segment.base_offset, 150);
}

static void the_last_segment_of_a_log_stays_though_it_is_empty(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(fixture_create(fixture, "t", 1, 1), OK);
    const struct map_partition *partition =
        &map_topic_by_name(fixture->map, bytes_text("t"))->partitions[0];
    assert_int_equal(fixture_roll(fixture, 1, 0, 0, true), OK);
    assert_int_equal(fixture_roll(fixture, 1, fixture->result.segment.id, 0, true), OK);
    assert_int_equal(partition->segment_count, 1); /* Nothing was ever there. */
    assert_int_equal(fixture_roll(fixture, 1, fixture->result.segment.id, 10, true), OK);
    uint64_t second = fixture->result.segment.id;
    assert_int_equal(fixture_trim(fixture, 1, second, 10), OK);
    assert_int_equal(fixture_roll(fixture, 1, second, 10, false), OK);
    assert_int_equal(partition->segment_count, 1);
    assert_int_equal(partition->segments[0].id, second);
    assert_int_equal(partition->segments[0].state, SEGMENT_SEALED);
    assert_int_equal(fixture_roll(fixture, 1, 0, 0, true), OK);
    assert_int_equal(fixture->result.segment.base_offset, 10);
    assert_int_equal(fixture_trim(fixture, 1, fixture->result.segment.id, 10), OK);
    assert_int_equal(partition->segment_count, 1);
}

static void a_command_that_arrives_twice_is_done_once(void **state)
{
    struct fixture *fixture = *state;
    struct command command = {.kind = COMMAND_PRODUCER_IDS, .origin = 4, .sequence = 1};
    struct command_result first, again;
    command.producer_ids.count = 1000;
    machine_apply(fixture->map, 1, &command, &first, NULL);
    machine_apply(fixture->map, 2, &command, &again, NULL);
    assert_int_equal(first.err, OK);
    assert_int_equal(again.producer_id_first, first.producer_id_first);
    command.sequence = 1000;
    machine_apply(fixture->map, 3, &command, &again, NULL);
    assert_int_equal(again.producer_id_first, first.producer_id_first + 1000);
    command.sequence = 2; /* Too old to be remembered: not done, and not taken for done. */
    machine_apply(fixture->map, 4, &command, &again, NULL);
    assert_int_equal(again.err, ERR_TIMEOUT);
    command.producer_ids.count = 0;
    command.sequence = 1001;
    machine_apply(fixture->map, 5, &command, &again, NULL);
    assert_int_equal(again.err, ERR_INVALID);
}

static void the_cluster_id_is_set_once(void **state)
{
    struct fixture *fixture = *state;
    struct command command = {.kind = COMMAND_CLUSTER_INIT};
    memset(command.cluster_init.cluster_id, 5, 16);
    assert_int_equal(fixture_apply(fixture, &command), OK);
    command.cluster_init.cluster_id[0] = 6;
    assert_int_equal(fixture_apply(fixture, &command), ERR_EXISTS);
    assert_int_equal(map_cluster_id(fixture->map)[0], 5);
}

static enum err grow(struct fixture *fixture, uint8_t id, uint32_t partitions)
{
    struct command command = {.kind = COMMAND_TOPIC_GROW};
    command.topic_grow.id = fixture_id(id);
    command.topic_grow.partition_count = partitions;
    return fixture_apply(fixture, &command);
}

static void a_topic_grows_and_never_shrinks(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(fixture_create(fixture, "t", 1, 2), OK);
    assert_int_equal(fixture_roll(fixture, 1, 0, 0, true), OK);
    uint64_t segment = fixture->result.segment.id;
    assert_int_equal(grow(fixture, 1, 5), OK);
    const struct map_topic *topic = map_topic_by_name(fixture->map, bytes_text("t"));
    assert_int_equal(topic->partition_count, 5);
    /* What was there is as it was; what is new is empty, and has somebody who leads it. */
    assert_true(topic->partitions[0].segments[0].id == segment);
    for (uint32_t i = 2; i < 5; i++) {
        assert_int_equal(topic->partitions[i].segment_count, 0);
        assert_int_equal(topic->partitions[i].epoch, 0);
        assert_int_equal(topic->partitions[i].leader_node, 1);
    }
    assert_int_equal(grow(fixture, 1, 5), ERR_PARTITIONS_INVALID);
    assert_int_equal(grow(fixture, 1, 4), ERR_PARTITIONS_INVALID);
    assert_int_equal(grow(fixture, 1, 0), ERR_PARTITIONS_INVALID);
    assert_int_equal(grow(fixture, 1, TOPIC_PARTITIONS_MAX + 1), ERR_PARTITIONS_INVALID);
    assert_int_equal(grow(fixture, 2, 7), ERR_TOPIC_ID_UNKNOWN);
    assert_int_equal(topic->partition_count, 5);
    assert_int_equal(grow(fixture, 1, TOPIC_PARTITIONS_MAX), OK);
}

static void topics_do_not_grow_beyond_what_a_node_can_serve(void **state)
{
    struct fixture *fixture = *state;
    uint32_t topics = PARTITIONS_MAX / TOPIC_PARTITIONS_MAX;
    for (uint32_t i = 1; i <= topics; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%u", i);
        uint32_t partitions = i == 1 ? 1 : TOPIC_PARTITIONS_MAX;
        assert_int_equal(fixture_create(fixture, name, (uint8_t)i, partitions), OK);
    }
    assert_int_equal(fixture_create(fixture, "more", 100, 2), OK);
    assert_int_equal(grow(fixture, 1, TOPIC_PARTITIONS_MAX), ERR_PARTITIONS_INVALID);
    assert_int_equal(grow(fixture, 1, TOPIC_PARTITIONS_MAX - 2), OK);
    assert_int_equal(grow(fixture, 100, 3), ERR_PARTITIONS_INVALID);
    /* What a deletion gives back can be had again. */
    struct command command = {.kind = COMMAND_TOPIC_DELETE};
    command.topic_delete.id = fixture_id(1);
    assert_int_equal(fixture_apply(fixture, &command), OK);
    assert_int_equal(grow(fixture, 100, 3), OK);
}

/* One of every kind, at random. */
static void random_command(struct fixture *fixture, struct prng *prng)
{
    char name[16];
    uint8_t id = (uint8_t)(1 + prng_below(prng, 5));
    struct topic_id topic = fixture_id(id);
    const struct map_topic *known = map_topic_by_id(fixture->map, &topic);
    struct command command = {0};
    switch (prng_below(prng, 7)) {
    case 0:
        snprintf(name, sizeof(name), "t%u", id);
        (void)fixture_create(fixture, name, id, (uint32_t)(1 + prng_below(prng, 4)));
        return;
    case 1:
        command.kind = COMMAND_TOPIC_DELETE;
        command.topic_delete.id = topic;
        (void)fixture_apply(fixture, &command);
        return;
    case 2:
        command.kind = COMMAND_NODE_REGISTER;
        command.node_register.node_id = id;
        command.node_register.boot = fixture->version;
        command.node_register.address_count = 1;
        command.node_register.addresses[0] = (struct io_address){.port = 9092, .family = 4};
        (void)fixture_apply(fixture, &command);
        return;
    case 3:
        command.kind = COMMAND_TOPIC_CONFIGURE;
        command.topic_configure.id = topic;
        command.topic_configure.config_count = 1;
        command.topic_configure.configs[0].key = bytes_text("segment.bytes");
        if (prng_chance(prng, 50)) {
            command.topic_configure.configs[0].value = bytes_text("1048576");
        }
        (void)fixture_apply(fixture, &command);
        return;
    case 4:
        (void)grow(fixture, id, (uint32_t)(1 + prng_below(prng, 9)));
        return;
    default:
        if (known != NULL) {
            const struct map_partition *partition = &known->partitions[0];
            uint32_t count = partition->segment_count;
            bool open = count > 0 && partition->segments[count - 1].state == SEGMENT_OPEN;
            const struct segment_info *last = open ? &partition->segments[count - 1] : NULL;
            if (count > 0 && prng_chance(prng, 20)) {
                const struct segment_info *kept = &partition->segments[prng_below(prng, count)];
                (void)fixture_trim(fixture, id, kept->id, kept->base_offset + prng_below(prng, 2));
                return;
            }
            (void)fixture_roll(fixture, id, open ? last->id : 0,
                               open ? last->base_offset + prng_below(prng, 3) : 0,
                               prng_chance(prng, 70));
        }
    }
}

static void maps_with_one_history_are_equal_to_the_byte(void **state)
{
    struct fixture *fixture = *state;
    struct prng prng;
    prng_seed_one(&prng, 42);
    for (uint32_t i = 0; i < 2000; i++) {
        random_command(fixture, &prng);
        if (i % 50 != 0) {
            continue;
        }
        uint64_t size = machine_encode(fixture->map, NULL, 0);
        uint8_t *bytes = malloc(size), *again = malloc(size);
        assert_int_equal(machine_encode(fixture->map, bytes, size), size);
        struct map *copy = map_create();
        assert_int_equal(machine_decode(copy, bytes, size), OK);
        assert_int_equal(machine_encode(copy, again, size), size);
        assert_memory_equal(bytes, again, size);
        /* Goes on with the copy: what a snapshot lost would show. */
        map_destroy(fixture->map);
        fixture->map = copy;
        free(bytes);
        free(again);
    }
}

static void a_damaged_snapshot_is_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(fixture_create(fixture, "t", 1, 2), OK);
    uint64_t size = machine_encode(fixture->map, NULL, 0);
    uint8_t *bytes = malloc(size);
    machine_encode(fixture->map, bytes, size);
    for (uint64_t at = 0; at < size; at++) {
        struct map *copy = map_create();
        bytes[at] ^= 0x20;
        assert_int_not_equal(machine_decode(copy, bytes, size), OK);
        bytes[at] ^= 0x20;
        map_destroy(copy);
    }
    free(bytes);
}

static void a_snapshot_of_the_first_version_is_read(void **state)
{
    (void)state;
    uint8_t bytes[512] = "FLOEMAPS";
    struct bytes_writer out = bytes_writer(bytes + 24, sizeof(bytes) - 24);
    for (uint32_t i = 0; i < 5; i++) { /* Cluster, version, segment, producer. */
        write_le64(&out, i + 1);
    }
    write_le32(&out, 0); /* Nodes. */
    write_le32(&out, 1);
    write_bytes(&out, fixture_id(1).bytes, 16);
    write_le16(&out, 1);
    write_bytes(&out, (const uint8_t *)"t", 1);
    write_le64(&out, 1000); /* Created, RF, configs, partitions. */
    write_le32(&out, 0);
    write_le32(&out, 0);
    write_le32(&out, 1);
    write_le32(&out, 7); /* Epoch, leader, end, segments. */
    write_le32(&out, 1);
    write_le64(&out, 10);
    write_le32(&out, 1);
    write_le64(&out, 99); /* Id, epoch, state, base, salt, end, digest, leader. */
    write_le32(&out, 7);
    write_le32(&out, SEGMENT_SEALED);
    write_le64(&out, 0);
    write_le64(&out, 5);
    write_le64(&out, 10);
    write_le64(&out, 6);
    write_le32(&out, 1);
    write_le32(&out, 0x0101);
    write_le64(&out, 0);
    write_le32(&out, 0); /* Origins. */
    assert_false(out.failed);
    uint64_t size = 24 + out.position;
    store_le32(bytes + 8, 1);
    store_le64(bytes + 16, size);
    store_le32(bytes + 12, crc32c(0, bytes + 16, (size_t)(size - 16)));
    struct map *map = map_create();
    assert_int_equal(machine_decode(map, bytes, size), OK);
    const struct map_partition *partition = &map_topic_by_name(map, bytes_text("t"))->partitions[0];
    assert_int_equal(partition->log_start, 0);
    assert_int_equal(partition->segments[0].end_offset, 10);
    assert_true(partition->segments[0].timestamp_max == INT64_MAX);
    map_destroy(map);
}

static void a_roll_of_an_older_log_is_read(void **state)
{
    (void)state;
    uint8_t bytes[512];
    struct command command = {.kind = COMMAND_SEGMENT_ROLL, .sequence = 1}, decoded;
    command.segment_roll.leader_node = 8;
    command.segment_roll.log_start = 9;
    uint32_t size = command_encode(&command, bytes, sizeof(bytes));
    assert_int_equal(command_decode(bytes_of(bytes, size), &decoded), OK);
    assert_int_equal(decoded.segment_roll.log_start, 9);

    enum { OLD_BODY_END = 84, OLD_BYTES = 88 };

    memset(bytes + OLD_BODY_END, 0, OLD_BYTES - OLD_BODY_END);
    assert_int_equal(command_decode(bytes_of(bytes, OLD_BYTES), &decoded), OK);
    assert_int_equal(decoded.segment_roll.leader_node, 8);
    assert_int_equal(decoded.segment_roll.log_start, 0);
    assert_true(decoded.segment_roll.timestamp_max == INT64_MAX);
}

static void truncated_and_unknown_commands_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[512];
    struct command command = {.kind = COMMAND_TOPIC_CREATE, .sequence = 1}, decoded;
    command.topic_create.id = fixture_id(1);
    command.topic_create.name = bytes_text("orders");
    command.topic_create.partition_count = 1;
    uint32_t size = command_encode(&command, bytes, sizeof(bytes));
    for (uint32_t cut = 8; cut < size; cut += 8) {
        assert_int_not_equal(command_decode(bytes_of(bytes, size - cut), &decoded), OK);
    }
    bytes[1] = 99;
    assert_int_equal(command_decode(bytes_of(bytes, size), &decoded), ERR_VERSION);
    bytes[0] = 9;
    assert_int_equal(command_decode(bytes_of(bytes, size), &decoded), ERR_VERSION);
    assert_int_equal(command_encode(&command, bytes, 20), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_topic_is_found_by_name_and_by_id_until_it_is_deleted),
        T(a_bad_topic_is_refused_with_its_reason),
        T(no_more_partitions_than_a_core_can_serve),
        T(segments_follow_each_other_and_a_late_roll_is_refused),
        T(a_trim_forgets_whole_segments_and_may_come_twice),
        T(a_sealed_segment_tells_where_the_log_starts),
        T(the_last_segment_of_a_log_stays_though_it_is_empty),
        T(a_command_that_arrives_twice_is_done_once),
        T(the_cluster_id_is_set_once),
        T(a_topic_grows_and_never_shrinks),
        T(topics_do_not_grow_beyond_what_a_node_can_serve),
        T(maps_with_one_history_are_equal_to_the_byte),
        T(a_damaged_snapshot_is_refused),
        T(a_snapshot_of_the_first_version_is_read),
        T(a_roll_of_an_older_log_is_read),
        T(truncated_and_unknown_commands_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
