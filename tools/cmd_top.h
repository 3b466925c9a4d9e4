/* What floe top shows: samples of /metrics, and what happened between two of them. */
#pragma once

#include "tools/cmd.h"

enum { TOP_CORES_MAX = 1024, TOP_LABEL_BYTES = 16 };

/* In the order of the columns, behind the core. */
enum top_value {
    TOP_TURNS,
    TOP_REQUESTS,
    TOP_IN,
    TOP_OUT,
    TOP_RECORDS,
    TOP_FLUSHES,
    TOP_MAILS,
    TOP_COMMIT_MS,
    TOP_CONNECTIONS,
    TOP_PARTITIONS,
    TOP_MEMORY,
    TOP_VALUES,
};

struct top_core {
    char label[TOP_LABEL_BYTES]; /* "0", "meta" */
    double values[TOP_VALUES];   /* Of counters: since the start. */
    double commits;
};

struct top_sample {
    int64_t at_ms; /* Of a clock that does not jump. */
    uint32_t core_count;
    struct top_core cores[TOP_CORES_MAX];
    char version[32];
    double uptime_s, topics, partitions;
};

/* Reads Prometheus text; false: it is not floe's. Pure. */
NODISCARD bool top_parse(const char *text, struct top_sample *sample);

/* What a core did between two samples, per second; what it has now. -1: there is nothing to say (no
 * commit). A core that was not there before has done nothing. */
void top_rates(const struct top_sample *before, const struct top_sample *after, uint32_t core,
               double rates[TOP_VALUES]);

/* All cores together; commits by their mean. */
void top_total(const struct top_sample *before, const struct top_sample *after,
               double rates[TOP_VALUES]);

/* "1.2k", "34M": at most 6 characters; empty for -1. */
const char *top_short(double value, char text[32]);

/* The columns, "core" first. */
extern const char *const top_columns[TOP_VALUES + 1];
