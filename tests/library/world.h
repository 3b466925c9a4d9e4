/* A directory with a handle and a partition of its own, for a test of one claim. */
#pragma once

#include "shard/floe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct world {
    char dir[64];
    struct floe_options options;
    struct floe *log;
    struct floe_partition *partition;
    char message[FLOE_MESSAGE_BYTES];
};

/* As floe_open() has it; the message is in the world. */
int world_open(struct world *world);
void world_open_log(struct world *world); /* And partition 0 of "orders". */

/* cmocka's hooks: nothing is open; a handle for one thread; one that threads share. */
int world_setup(void **state);
int world_setup_own(void **state);
int world_setup_shared(void **state);
int world_teardown(void **state);

#define NONE(name)   cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define OWN(name)    cmocka_unit_test_setup_teardown(name, world_setup_own, world_teardown)
#define SHARED(name) cmocka_unit_test_setup_teardown(name, world_setup_shared, world_teardown)
#define BOTH(name)   OWN(name), SHARED(name)

static const struct floe_record small = {.value = "v", .value_size = 1, .timestamp_ms = FLOE_NOW};
