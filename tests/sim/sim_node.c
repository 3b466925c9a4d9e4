/* A simulated node from outside: its disk's manners, its crashes, its memory. */
#include "core/assert.h"
#include "tests/sim/io_engine_sim_internal.h"
#include "tests/sim/process.h"

#include <stdarg.h>
#include <stdio.h>

/* The linker sends the product's calls of assert_panic() here (--wrap). */
NORETURN void __wrap_assert_panic(const char *file, int line, const char *format, ...)
    PRINTF_LIKE(3, 4);
NORETURN void __real_assert_panic(const char *file, int line, const char *format, ...)
    PRINTF_LIKE(3, 4);

static struct sim_node *sim_turning;

void sim_node_turns(struct sim_node *node)
{
    sim_turning = node;
}

void __wrap_assert_panic(const char *file, int line, const char *format, ...)
{
    char text[SIM_PANIC_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (sim_turning == NULL) {
        __real_assert_panic(file, line, "%s", text);
    }
    memcpy(sim_turning->panic, text, sizeof(text));
    sim_turning->crashed = true;
    longjmp(sim_turning->escape, 1);
}

const char *sim_node_panic(const struct sim_node *node)
{
    return node->panic[0] != 0 ? node->panic : NULL;
}

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

uint64_t sim_node_slow(const struct sim_node *node)
{
    return node->slow;
}

bool sim_node_crashed(const struct sim_node *node)
{
    return node->crashed;
}

uint64_t sim_node_events(const struct sim_node *node)
{
    return node->events;
}

uint64_t sim_node_now_ns(const struct sim_node *node)
{
    return node->world->now_ns;
}

uint64_t sim_node_now_ms(const struct sim_node *node)
{
    return node->world->wall_offset_ms + node->world->now_ns / NS_PER_MS;
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
