/* What floe doctor asks the kernel. */
#include "tools/descriptors.h"
#include "tools/doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#ifdef FLOE_HAS_URING
#include <liburing.h>
#endif
#ifdef __linux__
#include <sys/timex.h>
#endif

enum { DOCTOR_YEAR_SECONDS = 31556952 };

bool doctor_read(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    text[0] = '\0';
    if (file == NULL) {
        return false;
    }
    bool read = fgets(text, (int)size, file) != NULL;
    (void)fclose(file);
    text[strcspn(text, "\n")] = '\0';
    return read;
}

/* --- io_uring. --- */

#ifdef FLOE_HAS_URING
/* 0, or the errno of a ring that is opened and closed again. */
static int machine_try_uring(void)
{
    struct io_uring ring;
    int error = -io_uring_queue_init(8, &ring, 0);
    if (error == 0) {
        io_uring_queue_exit(&ring);
    }
    return error;
}

static void machine_uring(struct doctor *doctor)
{
    const char *wanted = config_text(doctor->settings.config, "io.engine");
    char disabled[16];
    if (strcmp(wanted, "posix") == 0) {
        doctor_say(doctor, "io_uring", DOCTOR_OK, NULL, "not used: io.engine is posix");
        return;
    }
    int error = machine_try_uring();
    if (error == 0) {
        doctor_say(doctor, "io_uring", DOCTOR_OK, NULL, "allowed");
        return;
    }
    bool sysctl = doctor_read("/proc/sys/kernel/io_uring_disabled", disabled, sizeof(disabled)) &&
                  strcmp(disabled, "0") != 0;
    bool must = strcmp(wanted, "uring") == 0;
    doctor_say(doctor, "io_uring", must ? DOCTOR_FAIL : DOCTOR_WARN,
               error == ENOMEM ? "raise the limit of locked memory (ulimit -l, LimitMEMLOCK=)"
               : sysctl        ? "sysctl kernel.io_uring_disabled=0"
               : error == ENOSYS
                   ? "take a kernel with io_uring, of 5.19 or later, or set io.engine=posix"
                   : "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp "
                     "profile of the container, or set io.engine=posix",
               "%s%s: %s", strerror(error), sysctl ? " (sysctl io_uring_disabled)" : "",
               must ? "io.engine=uring cannot start" : "the posix engine would be used");
}
#else
static void machine_uring(struct doctor *doctor)
{
    doctor_say(doctor, "io_uring", DOCTOR_OK, NULL, "not in this build: the posix engine is used");
}
#endif

/* --- Limits. --- */

static void machine_memlock(struct doctor *doctor)
{
    struct rlimit limit = {0};
    struct utsname name = {0};
    unsigned major = 0, minor = 0;
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    (void)uname(&name);
    (void)sscanf(name.release, "%u.%u", &major, &minor);
    /* Since 5.12 a ring's memory is charged to the cgroup, not to this limit. */
    bool charged = major < 5 || (major == 5 && minor < 12);
    if (limit.rlim_max == RLIM_INFINITY) {
        doctor_say(doctor, "locked memory", DOCTOR_OK, NULL, "unlimited");
    } else if (!charged || limit.rlim_max >= MIB(8)) {
        doctor_say(doctor, "locked memory", DOCTOR_OK, NULL, "%" PRIu64 " KiB may be locked%s",
                   (uint64_t)limit.rlim_max / 1024, charged ? "" : ", io_uring needs none of it");
    } else {
        doctor_say(doctor, "locked memory", DOCTOR_WARN,
                   "raise it (ulimit -l, LimitMEMLOCK=infinity)", "%" PRIu64 " KiB may be locked",
                   (uint64_t)limit.rlim_max / 1024);
    }
}

static void machine_files(struct doctor *doctor)
{
    struct rlimit limit = {0};
    struct descriptors share;
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t most = limit.rlim_max == RLIM_INFINITY ? UINT64_MAX / 2 : (uint64_t)limit.rlim_max;
    uint32_t connections = (uint32_t)config_number(doctor->settings.config, "connections.max");
    descriptors_share(&share, most, doctor->settings.plan.core_count, connections);
    const char *remedy = "raise it (ulimit -Hn, LimitNOFILE=1048576), or lower connections.max";
    if (most < share.least) {
        doctor_say(doctor, "open files", DOCTOR_FAIL, "raise it (ulimit -Hn, LimitNOFILE=1048576)",
                   "%" PRIu64 " may be open, %u cores need %" PRIu64, most,
                   doctor->settings.plan.core_count, share.least);
    } else if (most < share.ample) {
        doctor_say(doctor, "open files", DOCTOR_WARN, remedy,
                   "%" PRIu64
                   " may be open: %u connections and %u files a core, not %u connections",
                   most, share.connections_max, share.files_max, connections);
    } else {
        doctor_say(doctor, "open files", DOCTOR_OK, NULL, "%" PRIu64 " may be open", most);
    }
}

static void machine_threads(struct doctor *doctor)
{
    struct rlimit limit = {0};
    uint32_t needed = doctor->settings.plan.core_count + 2;
    (void)getrlimit(RLIMIT_NPROC, &limit);
    if (limit.rlim_max == RLIM_INFINITY || geteuid() == 0) {
        doctor_say(doctor, "threads", DOCTOR_OK, NULL, "%u are needed, no limit for this user",
                   needed);
    } else if (limit.rlim_max < needed) {
        doctor_say(doctor, "threads", DOCTOR_FAIL, "raise it (ulimit -u, LimitNPROC=)",
                   "%u are needed, this user may have %" PRIu64, needed, (uint64_t)limit.rlim_max);
    } else {
        doctor_say(doctor, "threads", DOCTOR_OK, NULL,
                   "%u are needed, all processes of this user may have %" PRIu64, needed,
                   (uint64_t)limit.rlim_max);
    }
}

/* --- Memory and cores. --- */

static void machine_cores(struct doctor *doctor)
{
    const struct topology_plan *plan = &doctor->settings.plan;
    uint64_t bytes = 0;
    int nodes = 1;
    for (uint32_t i = 0; i < plan->core_count; i++) {
        bytes += plan->cores[i].memory_bytes;
        nodes = plan->cores[i].numa_node >= nodes ? plan->cores[i].numa_node + 1 : nodes;
    }
    if (plan->pinned) {
        doctor_say(doctor, "cores", DOCTOR_OK, NULL, "%u for data, each pinned to a CPU of its own",
                   plan->core_count);
    } else {
        doctor_say(doctor, "cores", DOCTOR_WARN,
                   "give the server whole CPUs (cpuset instead of a quota), or lower cpu.cores",
                   "%u for data, not pinned: the CPUs, or the quota of the cgroup, are too few",
                   plan->core_count);
    }
    struct topology_options options = {0};
    char cpuset[1024] = "";
    topology_read_machine(&options, cpuset, sizeof(cpuset));
    bool much = options.memory_total != 0 && bytes > options.memory_total / 10 * 8;
    doctor_say(doctor, "memory", much ? DOCTOR_WARN : DOCTOR_OK,
               much ? "leave some to the kernel: lower memory.limit" : NULL,
               "%" PRIu64 " MiB of %" PRIu64 " MiB", bytes >> 20, options.memory_total >> 20);

    char text[16];
    bool balancing = doctor_read("/proc/sys/kernel/numa_balancing", text, sizeof(text)) &&
                     strcmp(text, "0") != 0;
    bool hurts = nodes > 1 && balancing && plan->pinned;
    doctor_say(doctor, "NUMA", hurts ? DOCTOR_WARN : DOCTOR_OK,
               hurts ? "sysctl kernel.numa_balancing=0: memory lies beside its core already" : NULL,
               "%d node%s of memory%s", nodes, nodes > 1 ? "s" : "",
               hurts ? ", and the kernel moves pages between them" : "");
}

static void machine_pages(struct doctor *doctor)
{
    char text[128];
    if (!doctor_read("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof(text))) {
        doctor_say(doctor, "huge pages", DOCTOR_OK, NULL, "this kernel has no transparent ones");
        return;
    }
    bool never = strstr(text, "[never]") != NULL;
    doctor_say(doctor, "huge pages", never ? DOCTOR_WARN : DOCTOR_OK,
               never ? "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled" : NULL,
               "transparent: %s", text);
}

/* --- Clock. --- */

static void machine_clock(struct doctor *doctor)
{
    char source[64] = "";
    time_t now = time(NULL);
    if (now < (time_t)DOCTOR_YEAR_SECONDS * 50) {
        doctor_say(doctor, "clock", DOCTOR_FAIL, "set it, and let NTP keep it",
                   "it stands before the year 2020: records would get wrong times");
    } else {
#ifdef __linux__
        struct timex timex = {.modes = 0}; /* Asks, and sets nothing. */
        bool loose = adjtimex(&timex) == TIME_ERROR || (timex.status & STA_UNSYNC) != 0;
        doctor_say(doctor, "clock", loose ? DOCTOR_WARN : DOCTOR_OK,
                   loose ? "run chrony, ntpd or systemd-timesyncd; in a virtual machine its host "
                           "may do it unseen"
                         : NULL,
                   "%s", loose ? "no NTP client keeps it" : "kept by NTP");
#endif
    }
    if (doctor_read("/sys/devices/system/clocksource/clocksource0/current_clocksource", source,
                    sizeof(source))) {
        bool slow = strcmp(source, "hpet") == 0 || strcmp(source, "acpi_pm") == 0 ||
                    strcmp(source, "jiffies") == 0 || strcmp(source, "refined-jiffies") == 0;
        doctor_say(doctor, "clock source", slow ? DOCTOR_WARN : DOCTOR_OK,
                   slow ? "see dmesg for why the kernel gave up tsc: each look at the clock is a "
                          "system call now"
                        : NULL,
                   "%s", source);
    }
}

void doctor_check_machine(struct doctor *doctor)
{
    machine_uring(doctor);
    machine_memlock(doctor);
    if (doctor->planned) {
        machine_files(doctor);
        machine_threads(doctor);
        machine_cores(doctor);
    }
    machine_pages(doctor);
    machine_clock(doctor);
}
