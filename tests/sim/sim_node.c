/* A simulated node from outside: its disk's manners, its crashes, its memory. */
#include "core/assert.h"
#include "tests/sim/io_engine_sim_internal.h"
#include "tests/sim/process.h"

void sim_node_set_manners(struct sim_node *node, const struct sim_disk_manners *manners)
{
    node->manners = *manners;
}

void sim_node_crash_in(struct sim_node *node, uint64_t events)
{
    node->crash_in = events;
}

uint64_t sim_node_faults(const struct sim_node *node)
{
    return node->faults;
}

bool sim_node_crashed(const struct sim_node *node)
{
    return node->crashed;
}

uint64_t sim_node_events(const struct sim_node *node)
{
    return node->events;
}

bool sim_node_event(struct sim_node *node)
{
    if (node->crashed) {
        return false;
    }
    node->events++;
    if (node->crash_in > 0 && --node->crash_in == 0) {
        node->crashed = true;
    }
    return !node->crashed;
}

size_t sim_node_memory(const struct sim_node *node)
{
    return process_bytes(node->process);
}

void sim_node_enter(struct sim_node *node)
{
    struct process *before = process_enter(node->process);
    ASSERT(before == NULL);
}

void sim_node_leave(struct sim_node *node)
{
    struct process *before = process_enter(NULL);
    ASSERT(before == node->process);
}
