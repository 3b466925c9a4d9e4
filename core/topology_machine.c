/* What of this machine is ours: the CPUs by affinity (a cpuset shows there), the quota and the
 * memory by cgroup v2, from our own group up to the root: each level may only take away. What
 * cannot be read limits nothing. */
#include "core/assert.h"
#include "core/topology.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <sched.h>
#endif

enum { TOPOLOGY_PATH_BYTES = 4096, TOPOLOGY_LINE_BYTES = 4096, TOPOLOGY_SETS = 4 };

/* The first line of a small file, without its newline. */
static bool topology_read_line(const char *path, char *line, int size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool read = fgets(line, size, file) != NULL;
    (void)fclose(file);
    if (read) {
        line[strcspn(line, "\n")] = '\0';
    }
    return read;
}

/* The path of our group within the hierarchy: the line "0::/system.slice/floe.service". */
static bool topology_cgroup_path(char path[TOPOLOGY_PATH_BYTES])
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL) {
        return false;
    }
    bool found = false;
    char line[TOPOLOGY_LINE_BYTES];
    while (!found && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "0::/", 4) == 0) {
            line[strcspn(line, "\n")] = '\0';
            (void)snprintf(path, TOPOLOGY_PATH_BYTES, "%s", line + 3);
            found = true;
        }
    }
    (void)fclose(file);
    return found;
}

/* "150000 100000" is 1500, "max 100000" none. */
static void topology_apply_cpu(struct topology_options *options, const char *line)
{
    unsigned long long quota, period;
    if (sscanf(line, "%llu %llu", &quota, &period) != 2 || period == 0 ||
        quota > UINT32_MAX / 1000 * period) {
        return;
    }
    uint64_t milli = max_u64(1, quota * 1000 / period);
    if (options->cpu_quota_milli == 0 || milli < options->cpu_quota_milli) {
        options->cpu_quota_milli = (uint32_t)milli;
    }
}

static void topology_apply_memory(struct topology_options *options, const char *line)
{
    char *end;
    unsigned long long bytes = strtoull(line, &end, 10);
    if (end != line && *end == '\0' && bytes > 0) {
        options->memory_total = min_u64(options->memory_total, bytes);
    }
}

static void topology_read_cgroup(struct topology_options *options)
{
    char group[TOPOLOGY_PATH_BYTES];
    if (!topology_cgroup_path(group)) {
        return;
    }
    while (true) {
        char path[TOPOLOGY_PATH_BYTES + 64], line[TOPOLOGY_LINE_BYTES];
        (void)snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.max", group);
        if (topology_read_line(path, line, sizeof(line))) {
            topology_apply_cpu(options, line);
        }
        (void)snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", group);
        if (topology_read_line(path, line, sizeof(line))) {
            topology_apply_memory(options, line);
        }
        char *slash = strrchr(group, '/');
        if (slash == NULL) {
            return;
        }
        *slash = '\0';
    }
}

/* The CPUs of this thread as "0-3,8"; false when they are unknown or the text is too small. */
static bool topology_read_affinity(char *text, uint32_t size)
{
#ifdef __linux__
    cpu_set_t sets[TOPOLOGY_SETS];
    CPU_ZERO_S(sizeof(sets), sets);
    if (sched_getaffinity(0, sizeof(sets), sets) != 0) {
        return false;
    }
    const uint32_t count = TOPOLOGY_SETS * CPU_SETSIZE;
    uint32_t used = 0;
    for (uint32_t low = 0; low < count; low++) {
        if (!CPU_ISSET_S(low, sizeof(sets), sets)) {
            continue;
        }
        uint32_t high = low;
        while (high + 1 < count && CPU_ISSET_S(high + 1, sizeof(sets), sets)) {
            high++;
        }
        const char *comma = used == 0 ? "" : ",";
        int more = low == high ? snprintf(text + used, size - used, "%s%" PRIu32, comma, low)
                               : snprintf(text + used, size - used, "%s%" PRIu32 "-%" PRIu32, comma,
                                          low, high);
        if (more < 0 || (uint32_t)more >= size - used) {
            return false;
        }
        used += (uint32_t)more;
        low = high;
    }
    return used > 0;
#else
    (void)text;
    (void)size;
    return false;
#endif
}

void topology_read_machine(struct topology_options *options, char *cpuset_text, uint32_t size)
{
    ASSERT(options != NULL);
    ASSERT(cpuset_text != NULL && size > 0);
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_size = sysconf(_SC_PAGESIZE);
    options->memory_total =
        pages > 0 && page_size > 0 ? (uint64_t)pages * (uint64_t)page_size : GIB(1);
    options->cpu_quota_milli = 0;
    topology_read_cgroup(options);
    options->cpuset = topology_read_affinity(cpuset_text, size) ? cpuset_text : NULL;
}
