/* See the header. */
#include "tests/library/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int world_open(struct world *world)
{
    return floe_open(world->dir, &world->options, &world->log, world->message,
                     sizeof(world->message));
}

void world_open_log(struct world *world)
{
    assert_int_equal(world_open(world), FLOE_OK);
    assert_int_equal(floe_partition_open(world->log, "orders", 0, NULL, &world->partition),
                     FLOE_OK);
}

int world_setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world->options = (struct floe_options)FLOE_OPTIONS;
    snprintf(world->dir, sizeof(world->dir), "floe-misuse-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    *state = world;
    return 0;
}

int world_setup_own(void **state)
{
    (void)world_setup(state);
    world_open_log(*state);
    return 0;
}

int world_setup_shared(void **state)
{
    (void)world_setup(state);
    ((struct world *)*state)->options.shared = 1;
    world_open_log(*state);
    return 0;
}

int world_teardown(void **state)
{
    struct world *world = *state;
    char command[128];
    assert_int_equal(floe_close(world->log), FLOE_OK);
    snprintf(command, sizeof(command), "rm -rf %s", world->dir);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}
