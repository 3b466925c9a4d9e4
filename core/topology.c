/* Which CPU each core gets. The decisions, each with a test:
 *
 *     candidates   the first allowed hyper-thread of each physical core; all of them with cpu.smt
 *     auto         every candidate, at most 256, no more than whole CPUs in the quota, no more than
 *                  memory.limit feeds; above 4 the last candidate is left to the metadata core
 *     N            N of the candidates, evenly spread over the machine, hence over its NUMA nodes;
 *                  more than there are: unpinned, several to a CPU
 *     a list       exactly these CPUs, in ascending order; one that is not allowed is an error
 *     metadata     a candidate that no data core uses; else a sibling hyper-thread of the last
 *                  core's CPU; else that CPU itself. With a list: only CPUs in the list
 *     pinned       unless cores outnumber CPUs or a quota is below the CPUs: pinned threads of
 *                  several such containers would meet on the same few. A list is always pinned
 *     memory       the metadata core gets MEMORY_LIMIT_MIN, the rest is split evenly
 *     idle poll    50 us where pinned and CPUs are left over; else 0
 */
#include "core/topology.h"

#include "core/assert.h"
#include "core/limits.h"

#include <errno.h>
#include <hwloc.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <numa.h>
#include <sched.h>
#endif

enum {
    TOPOLOGY_MESSAGE_BYTES = 256,
    TOPOLOGY_CPUS_MAX = 4096,
    TOPOLOGY_CORES_MAX = REACTORS_MAX - 1,
    TOPOLOGY_META_OWN = 4, /* With more cores than this the metadata core has a CPU of its own. */
    TOPOLOGY_IDLE_POLL_US = 50,
};

/* One CPU that this process may use. */
struct topology_cpu {
    uint32_t cpu;  /* As the operating system counts. */
    uint32_t core; /* Physical. */
    int numa_node;
    bool first; /* Of the allowed ones of its physical core. */
    bool used;  /* By a data core. */
};

struct topology_machine {
    uint32_t count;
    uint32_t candidate_count;
    uint32_t candidates[TOPOLOGY_CPUS_MAX]; /* Places in `cpus`. */
    struct topology_cpu cpus[TOPOLOGY_CPUS_MAX];
};

/* "0-3,8" into `set`. */
static bool topology_parse_list(const char *text, hwloc_bitmap_t set)
{
    hwloc_bitmap_zero(set);
    while (true) {
        char *end;
        if (*text < '0' || *text > '9') {
            return false;
        }
        unsigned long low = strtoul(text, &end, 10);
        unsigned long high = low;
        if (*end == '-') {
            text = end + 1;
            if (*text < '0' || *text > '9') {
                return false;
            }
            high = strtoul(text, &end, 10);
        }
        if (low > high || high >= TOPOLOGY_CPUS_MAX) {
            return false;
        }
        if (hwloc_bitmap_set_range(set, (unsigned)low, (int)high) != 0) {
            return false;
        }
        if (*end == '\0') {
            return true;
        }
        if (*end != ',') {
            return false;
        }
        text = end + 1;
    }
}

static int topology_node_of(hwloc_topology_t topology, hwloc_obj_t pu)
{
    hwloc_obj_t node = NULL;
    while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != NULL) {
        if (node->cpuset != NULL && hwloc_bitmap_isincluded(pu->cpuset, node->cpuset)) {
            return (int)node->os_index;
        }
    }
    return -1;
}

/* The CPUs in `allowed` (NULL: all), in the order of the machine. */
static void topology_collect(hwloc_topology_t topology, hwloc_const_bitmap_t allowed,
                             struct topology_machine *machine)
{
    hwloc_obj_t pu = NULL;
    machine->count = 0;
    while ((pu = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, pu)) != NULL) {
        if (machine->count == TOPOLOGY_CPUS_MAX ||
            (allowed != NULL && !hwloc_bitmap_isset(allowed, pu->os_index))) {
            continue;
        }
        hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, pu);
        uint32_t core_index = core == NULL ? pu->logical_index : core->logical_index;
        bool first = machine->count == 0 || machine->cpus[machine->count - 1].core != core_index;
        machine->cpus[machine->count++] = (struct topology_cpu){
            .cpu = pu->os_index,
            .core = core_index,
            .numa_node = topology_node_of(topology, pu),
            .first = first,
        };
    }
}

/* Loads the machine or the description and collects what is allowed. */
static enum err topology_load(const struct topology_options *options, const char *synthetic,
                              struct topology_machine *machine, char *message)
{
    hwloc_topology_t topology;
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    if (allowed == NULL || hwloc_topology_init(&topology) != 0) {
        hwloc_bitmap_free(allowed);
        (void)snprintf(message, TOPOLOGY_MESSAGE_BYTES, "out of memory for the CPU topology");
        return ERR_NO_MEMORY;
    }
    enum err err = OK;
    if (synthetic != NULL && hwloc_topology_set_synthetic(topology, synthetic) != 0) {
        err = ERR_INVALID;
    } else if (hwloc_topology_load(topology) != 0) {
        /* No filters: without packages and groups hwloc gives each node the whole machine. */
        err = ERR_INVALID;
    }
    if (err != OK) {
        (void)snprintf(message, TOPOLOGY_MESSAGE_BYTES, "cannot read the CPU topology of %.100s",
                       synthetic == NULL ? "this machine" : synthetic);
    } else if (options->cpuset != NULL && !topology_parse_list(options->cpuset, allowed)) {
        (void)snprintf(message, TOPOLOGY_MESSAGE_BYTES,
                       "the allowed CPUs \"%.100s\" are not a list such as 0-3,8", options->cpuset);
        err = ERR_INVALID;
    } else {
        topology_collect(topology, options->cpuset == NULL ? NULL : allowed, machine);
        if (machine->count == 0) {
            (void)snprintf(message, TOPOLOGY_MESSAGE_BYTES,
                           "none of the allowed CPUs \"%.100s\" is in this machine",
                           options->cpuset == NULL ? "all" : options->cpuset);
            err = ERR_INVALID;
        }
    }
    hwloc_topology_destroy(topology);
    hwloc_bitmap_free(allowed);
    return err;
}

/* Candidates of `auto` and N. */
static void topology_choose_all(const struct topology_options *options,
                                struct topology_machine *machine)
{
    machine->candidate_count = 0;
    for (uint32_t i = 0; i < machine->count; i++) {
        if (options->smt || machine->cpus[i].first) {
            machine->candidates[machine->candidate_count++] = i;
        }
    }
    ASSERT(machine->candidate_count > 0);
}

static enum err topology_choose_listed(const struct topology_options *options,
                                       struct topology_machine *machine, char *message)
{
    hwloc_bitmap_t wanted = hwloc_bitmap_alloc();
    if (wanted == NULL) {
        (void)snprintf(message, TOPOLOGY_MESSAGE_BYTES, "out of memory for the list of CPUs");
        return ERR_NO_MEMORY;
    }
    if (!topology_parse_list(options->cores, wanted)) {
        (void)snprintf(message, TOPOLOGY_MESSAGE_BYTES,
                       "cpu.cores = \"%.60s\" is wrong: give auto, a number of cores, or a list of "
                       "CPUs such as 0-3,8",
                       options->cores);
        hwloc_bitmap_free(wanted);
        return ERR_INVALID;
    }
    machine->candidate_count = 0;
    for (int cpu = hwloc_bitmap_first(wanted); cpu >= 0; cpu = hwloc_bitmap_next(wanted, cpu)) {
        uint32_t at = 0;
        while (at < machine->count && machine->cpus[at].cpu != (uint32_t)cpu) {
            at++;
        }
        if (at == machine->count) {
            (void)snprintf(message, TOPOLOGY_MESSAGE_BYTES,
                           "cpu.cores = \"%.60s\": CPU %d is not available to this process (it may "
                           "use %.60s): remove it from the list",
                           options->cores, cpu,
                           options->cpuset == NULL ? "all of the machine" : options->cpuset);
            hwloc_bitmap_free(wanted);
            return ERR_INVALID;
        }
        machine->candidates[machine->candidate_count++] = at;
    }
    hwloc_bitmap_free(wanted);
    return OK;
}

/* A plain number; 0 when it is none or too large to be a count of cores. */
static uint32_t topology_parse_count(const char *text)
{
    uint32_t value = 0;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > TOPOLOGY_CORES_MAX) {
            return 0;
        }
        value = value * 10 + (uint32_t)(*text - '0');
    }
    return value <= TOPOLOGY_CORES_MAX ? value : 0;
}

static bool topology_is_number(const char *text)
{
    return *text != '\0' && strspn(text, "0123456789") == strlen(text);
}

/* How many cores the memory feeds, the metadata core besides; 0 = not even one. */
static uint64_t topology_cores_fed(uint64_t memory_limit)
{
    return memory_limit < MEMORY_LIMIT_MIN ? 0 : memory_limit / MEMORY_LIMIT_MIN - 1;
}

static bool topology_quota_binds(const struct topology_options *options,
                                 const struct topology_machine *machine)
{
    return options->cpu_quota_milli != 0 &&
           options->cpu_quota_milli < (uint64_t)machine->count * 1000;
}

/* Fills machine->candidates, core_count and pinned. */
static enum err topology_count(const struct topology_options *options, uint64_t memory_limit,
                               struct topology_machine *machine, struct topology_plan *plan,
                               char *message)
{
    const bool automatic = strcmp(options->cores, "auto") == 0;
    const bool listed = !automatic && !topology_is_number(options->cores);
    uint64_t count;
    topology_choose_all(options, machine);
    if (listed) {
        enum err err = topology_choose_listed(options, machine, message);
        if (err != OK) {
            return err;
        }
        count = machine->candidate_count;
    } else if (automatic) {
        count = machine->candidate_count;
        count -= count > TOPOLOGY_META_OWN ? 1 : 0;
        if (topology_quota_binds(options, machine)) {
            count = min_u64(count, max_u64(1, options->cpu_quota_milli / 1000));
        }
        count = min_u64(count, TOPOLOGY_CORES_MAX);
        count = min_u64(count, max_u64(1, topology_cores_fed(memory_limit)));
    } else {
        count = topology_parse_count(options->cores);
    }
    if (count == 0 || count > TOPOLOGY_CORES_MAX) {
        (void)snprintf(message, TOPOLOGY_MESSAGE_BYTES,
                       "cpu.cores = \"%.60s\" is out of range: give 1 to %d cores", options->cores,
                       TOPOLOGY_CORES_MAX);
        return ERR_INVALID;
    }
    plan->core_count = (uint32_t)(options->dev ? min_u64(count, 2) : count);
    plan->pinned = plan->core_count <= machine->candidate_count &&
                   (listed || !topology_quota_binds(options, machine));
    return OK;
}

/* The CPU of the metadata core, once those of the data cores are marked. */
static const struct topology_cpu *topology_meta_cpu(const struct topology_machine *machine,
                                                    const struct topology_cpu *last, bool listed)
{
    for (uint32_t i = machine->candidate_count; i > 0; i--) {
        const struct topology_cpu *cpu = &machine->cpus[machine->candidates[i - 1]];
        if (!cpu->used) {
            return cpu;
        }
    }
    for (uint32_t i = 0; i < machine->count && !listed; i++) {
        if (!machine->cpus[i].used && machine->cpus[i].core == last->core) {
            return &machine->cpus[i];
        }
    }
    return last;
}

static struct topology_core topology_place(const struct topology_cpu *cpu, bool numa,
                                           uint64_t memory_bytes)
{
    return (struct topology_core){
        .cpu = cpu->cpu, .numa_node = numa ? cpu->numa_node : -1, .memory_bytes = memory_bytes};
}

static enum err topology_fill(const struct topology_options *options, const char *synthetic,
                              struct topology_machine *machine, struct topology_plan *plan,
                              char *message)
{
    enum err err = topology_load(options, synthetic, machine, message);
    if (err != OK) {
        return err;
    }
    uint64_t limit = options->memory_limit == 0 ? options->memory_total / 4 : options->memory_limit;
    err = topology_count(options, limit, machine, plan, message);
    if (err != OK) {
        return err;
    }
    if (topology_cores_fed(limit) < plan->core_count) {
        (void)snprintf(message, TOPOLOGY_MESSAGE_BYTES,
                       "memory.limit = %" PRIu64 "MiB%s is too small for %u cores: they and the "
                       "metadata core need %" PRIu64 "MiB each. Raise it, or lower cpu.cores",
                       limit >> 20, options->memory_limit == 0 ? " (auto, a quarter)" : "",
                       plan->core_count, (uint64_t)MEMORY_LIMIT_MIN >> 20);
        return ERR_INVALID;
    }
    if (options->memory_total != 0 && limit > options->memory_total) {
        (void)snprintf(message, TOPOLOGY_MESSAGE_BYTES,
                       "memory.limit = %" PRIu64 "MiB is more than the %" PRIu64 "MiB of this "
                       "machine or its cgroup. Lower it, or give auto",
                       limit >> 20, options->memory_total >> 20);
        return ERR_INVALID;
    }
    const uint64_t share =
        (limit - MEMORY_LIMIT_MIN) / plan->core_count & ~(uint64_t)(BLOCK_SIZE_MIN - 1);
    const bool numa = options->numa && plan->pinned;
    const struct topology_cpu *last = NULL;
    for (uint32_t i = 0; i < plan->core_count; i++) {
        uint32_t at = (uint32_t)((uint64_t)i * machine->candidate_count / plan->core_count);
        struct topology_cpu *cpu = &machine->cpus[machine->candidates[at]];
        cpu->used = true;
        plan->cores[i] = topology_place(cpu, numa, share);
        last = cpu;
    }
    const bool listed = strcmp(options->cores, "auto") != 0 && !topology_is_number(options->cores);
    plan->meta = topology_place(topology_meta_cpu(machine, last, listed), numa, MEMORY_LIMIT_MIN);
    const bool spare = plan->pinned && machine->count > plan->core_count + 1;
    plan->idle_poll_us = spare ? TOPOLOGY_IDLE_POLL_US : 0;
    return OK;
}

enum err topology_plan(const struct topology_options *options, const char *synthetic,
                       struct topology_plan *plan, char *message)
{
    ASSERT(options != NULL && options->cores != NULL);
    ASSERT(plan != NULL && message != NULL);
    *plan = (struct topology_plan){0};
    struct topology_machine *machine = calloc(1, sizeof(*machine)); /* 80 KiB, and only at start. */
    if (machine == NULL) {
        (void)snprintf(message, TOPOLOGY_MESSAGE_BYTES, "out of memory for the CPU topology");
        return ERR_NO_MEMORY;
    }
    enum err err = topology_fill(options, synthetic, machine, plan, message);
    free(machine);
    ASSERT(err != OK || (plan->core_count > 0 && plan->core_count <= TOPOLOGY_CORES_MAX));
    return err;
}

enum err topology_pin(const struct topology_core *core)
{
#ifdef __linux__
    ASSERT(core->cpu < TOPOLOGY_CPUS_MAX);
    cpu_set_t sets[TOPOLOGY_CPUS_MAX / CPU_SETSIZE];
    CPU_ZERO_S(sizeof(sets), sets);
    CPU_SET_S(core->cpu, sizeof(sets), sets);
    if (sched_setaffinity(0, sizeof(sets), sets) != 0) {
        return errno == EPERM ? ERR_DENIED : ERR_INVALID;
    }
    if (core->numa_node >= 0 && numa_available() >= 0) {
        numa_set_localalloc();
    }
    return OK;
#else
    (void)core;
    return ERR_UNSUPPORTED;
#endif
}

void topology_bind(void *at, uint64_t bytes, int numa_node)
{
#ifdef __linux__
    if (numa_node >= 0 && numa_available() >= 0 && numa_node <= numa_max_node()) {
        numa_tonode_memory(at, (size_t)bytes, numa_node);
    }
#else
    (void)at;
    (void)bytes;
    (void)numa_node;
#endif
}
