/* What this process takes of its machine: for metrics. What the system does not tell is 0. */
#pragma once

#include "core/base.h"

struct process_usage {
    uint64_t resident_bytes, virtual_bytes;
    uint64_t descriptors_open, descriptors_max;
    uint64_t cpu_us; /* User and system, of all threads. */
    uint64_t age_ms; /* Since it began. */
};

/* A few microseconds; where Linux is older than 6.2, as many more as there are open descriptors. */
void process_usage(struct process_usage *usage);
