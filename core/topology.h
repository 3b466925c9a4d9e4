/* From the machine to a plan of cores. Pure: the plan is a function of an hwloc topology and the
 * settings, so it is tested on synthetic machines. Pinning is separate. */
#pragma once

#include "core/err.h"
#include "core/reactor.h"

struct topology_options {
    const char *cores;        /* "auto", a count, or a list of logical CPUs "0-3,8". */
    bool smt;                 /* Use hyper-threads as cores of their own. */
    bool numa;                /* Memory and placement by NUMA node. */
    bool dev;                 /* At most 2 cores. */
    uint64_t memory_limit;    /* 0 = auto: a quarter of the machine's or cgroup's memory. */
    uint64_t memory_total;    /* Of machine or cgroup, whichever is less. */
    uint32_t cpu_quota_milli; /* cgroup quota in thousandths of a CPU; 0 = none. */
    const char *cpuset;       /* CPUs this process may use, "0-3,8"; NULL = all. */
};

struct topology_core {
    uint32_t cpu;  /* Logical CPU to pin to. */
    int numa_node; /* -1 = unknown. */
    uint64_t memory_bytes;
};

struct topology_plan {
    uint32_t core_count;
    struct topology_core cores[REACTORS_MAX - 1];
    struct topology_core
        meta; /* The metadata core: shares the CPU of the last core when none is spare. */
    bool
        pinned; /* false: fewer CPUs than cores, or a quota below the CPUs: let the kernel place. */
    uint32_t idle_poll_us; /* 0 unless CPUs are spare. */
};

/* `synthetic` is an hwloc synthetic description ("numa:2 core:32 pu:2"), NULL = this machine.
 * ERR_INVALID: `message` (of at least 256 bytes) says what is wrong with which value. */
NODISCARD enum err topology_plan(const struct topology_options *options, const char *synthetic,
                                 struct topology_plan *plan, char *message);

/* Fills cpu_quota_milli, cpuset and memory_total from cgroup v2, sched_getaffinity and sysconf. */
void topology_read_machine(struct topology_options *options, char *cpuset_text, uint32_t size);

/* memory_options.bind: asks for pages on the node. A machine without it, or a container that
 * forbids it, is as good. */
void topology_bind(void *at, uint64_t bytes, int numa_node);

/* Pins the calling thread and makes its memory local. ERR_DENIED or ERR_INVALID: say so, go on. */
NODISCARD enum err topology_pin(const struct topology_core *core);
