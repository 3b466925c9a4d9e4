/* Prometheus text (0.0.4): every name once, in one table. */
#pragma once

#include "net/http/census.h"
#include "net/http/text.h"

#include "core/process.h"

/* What is written of; the views of a round are in census->probes. */
struct http_op;
struct group_lag;

struct metrics {
    const struct census *census;
    uint32_t data_cores;
    struct process_usage process;
    uint64_t now_ms; /* Unix time. */
    uint32_t topics, partitions;
    uint64_t map_version;
    uint32_t node_id;
    const struct http_op *op;    /* For names of topics. */
    const struct group_lag *lag; /* NULL: it is not known now. */
};

void metrics_write(const struct metrics *metrics, struct http_writer *writer);
