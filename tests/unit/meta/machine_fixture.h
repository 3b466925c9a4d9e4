/* A map, and the commands that tests of the machine give it most. */
#pragma once

#include "meta/machine.h"

struct fixture {
    struct map *map;
    uint64_t version, sequence;
    uint64_t log_start; /* That a segment knows when it is sealed. */
    struct command_result result;
};

/* Of cmocka: *state is a struct fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Through bytes, as the log would. */
enum err fixture_apply(struct fixture *fixture, struct command *command);

struct topic_id fixture_id(uint8_t byte);

/* One command each; what came of it is in fixture->result, too. */
enum err fixture_create(struct fixture *fixture, const char *name, uint8_t id, uint32_t partitions);
enum err fixture_roll(struct fixture *fixture, uint8_t id, uint64_t segment, uint64_t end,
                      bool next);
enum err fixture_trim(struct fixture *fixture, uint8_t id, uint64_t segment, uint64_t log_start);
