/* See the header. */
#include "tests/unit/meta/machine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->map = map_create();
    *state = fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    map_destroy(fixture->map);
    free(fixture);
    return 0;
}

enum err fixture_apply(struct fixture *fixture, struct command *command)
{
    uint8_t bytes[4096];
    struct command decoded;
    command->origin = 1;
    command->sequence = ++fixture->sequence;
    command->time_ms = 1000;
    uint32_t size = command_encode(command, bytes, sizeof(bytes));
    assert_true(size > 0 && size % 8 == 0);
    assert_int_equal(command_decode(bytes_of(bytes, size), &decoded), OK);
    machine_apply(fixture->map, ++fixture->version, &decoded, &fixture->result, NULL);
    return fixture->result.err;
}

struct topic_id fixture_id(uint8_t byte)
{
    struct topic_id id;
    memset(id.bytes, byte, sizeof(id.bytes));
    return id;
}

enum err fixture_create(struct fixture *fixture, const char *name, uint8_t id, uint32_t partitions)
{
    struct command command = {.kind = COMMAND_TOPIC_CREATE};
    command.topic_create.id = fixture_id(id);
    command.topic_create.name = bytes_text(name);
    command.topic_create.partition_count = partitions;
    command.topic_create.config_count = 1;
    command.topic_create.configs[0] =
        (struct command_config){.key = bytes_text("retention.ms"), .value = bytes_text("5")};
    return fixture_apply(fixture, &command);
}

enum err fixture_roll(struct fixture *fixture, uint8_t id, uint64_t segment, uint64_t end,
                      bool next)
{
    struct command command = {.kind = COMMAND_SEGMENT_ROLL};
    command.segment_roll.partition.topic = fixture_id(id);
    command.segment_roll.segment_id = segment;
    command.segment_roll.end_offset = end;
    command.segment_roll.digest = end * 3;
    command.segment_roll.log_start = fixture->log_start;
    command.segment_roll.timestamp_max = (int64_t)end * 5;
    command.segment_roll.bytes = end * 7;
    command.segment_roll.open_next = next;
    command.segment_roll.salt = end * 3; /* So an empty one has it as its digest. */
    command.segment_roll.leader_node = 1;
    return fixture_apply(fixture, &command);
}

enum err fixture_trim(struct fixture *fixture, uint8_t id, uint64_t segment, uint64_t log_start)
{
    struct command command = {.kind = COMMAND_SEGMENT_TRIM};
    command.segment_trim.partition.topic = fixture_id(id);
    command.segment_trim.segment_id = segment;
    command.segment_trim.log_start = log_start;
    return fixture_apply(fixture, &command);
}
