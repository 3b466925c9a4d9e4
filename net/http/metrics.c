/* See the header. A family: HELP, TYPE, then a sample for each core, or one of the node. Counters
 * of core/stats.h are families by themselves: floe_<name>_total. */
#include "net/http/metrics.h"

#include "core/assert.h"
#include "core/cover.h"
#include "net/http/lag.h"

#include <stdio.h>
#include <string.h>

typedef void metrics_fn(const struct metrics *metrics, const char *name,
                        struct http_writer *writer);

/* --- Samples. --- */

enum { METRICS_LABEL_BYTES = 24 };

/* "0", "1", ..., "meta": it stands behind the data cores. */
static const char *metrics_core(const struct metrics *metrics, uint32_t index,
                                char label[METRICS_LABEL_BYTES])
{
    if (index >= metrics->data_cores) {
        return "meta";
    }
    (void)snprintf(label, METRICS_LABEL_BYTES, "%u", index);
    return label;
}

static void metrics_one(const char *name, uint64_t value, struct http_writer *writer)
{
    http_printf(writer, "%s %llu\n", name, (unsigned long long)value);
}

static void metrics_of_core(const struct metrics *metrics, const char *name, uint32_t core,
                            uint64_t value, struct http_writer *writer)
{
    char label[METRICS_LABEL_BYTES];
    http_printf(writer, "%s{core=\"%s\"} %llu\n", name, metrics_core(metrics, core, label),
                (unsigned long long)value);
}

/* A value of each core's view. */
#define METRICS_EACH(fn_name, cores, value)                                                        \
    static void fn_name(const struct metrics *metrics, const char *name,                           \
                        struct http_writer *writer)                                                \
    {                                                                                              \
        for (uint32_t i = 0; i < (cores); i++) {                                                   \
            const struct census_view *view = &metrics->census->probes[i].view;                     \
            metrics_of_core(metrics, name, i, (value), writer);                                    \
        }                                                                                          \
    }

METRICS_EACH(metrics_connections, metrics->data_cores, view->connections)
METRICS_EACH(metrics_owned, metrics->data_cores, view->partitions)
METRICS_EACH(metrics_serving, metrics->data_cores, view->serves)
METRICS_EACH(metrics_memory_limit, metrics->census->count, view->memory.limit_bytes)
METRICS_EACH(metrics_memory_touched, metrics->census->count, view->memory.touched_bytes)

static void metrics_up(const struct metrics *metrics, const char *name, struct http_writer *writer)
{
    for (uint32_t i = 0; i < metrics->census->count; i++) {
        metrics_of_core(metrics, name, i, !metrics->census->probes[i].away, writer);
    }
}

/* A value of each pool of each core. */
static void metrics_pools(const struct metrics *metrics, const char *name, bool waits,
                          struct http_writer *writer)
{
    static const char *const pools[MEMORY_CLASS_COUNT] = {
        [MEMORY_APPEND] = "append",
        [MEMORY_RECEIVE] = "receive",
        [MEMORY_CALL] = "call",
        [MEMORY_SEND] = "send",
        [MEMORY_REPLICATION] = "replication",
        [MEMORY_RECOVERY] = "recovery",
    };
    char label[METRICS_LABEL_BYTES];
    for (uint32_t i = 0; i < metrics->census->count; i++) {
        for (uint32_t pool = 0; pool < MEMORY_CLASS_COUNT; pool++) {
            const struct memory_stats *memory = &metrics->census->probes[i].view.memory;
            http_printf(writer, "%s{core=\"%s\",pool=\"%s\"} %llu\n", name,
                        metrics_core(metrics, i, label), pools[pool],
                        (unsigned long long)(waits ? memory->waits : memory->used_bytes)[pool]);
        }
    }
}

static void metrics_memory_used(const struct metrics *metrics, const char *name,
                                struct http_writer *writer)
{
    metrics_pools(metrics, name, false, writer);
}

static void metrics_memory_waits(const struct metrics *metrics, const char *name,
                                 struct http_writer *writer)
{
    metrics_pools(metrics, name, true, writer);
}

static void metrics_commit(const struct metrics *metrics, const char *name,
                           struct http_writer *writer)
{
    char label[METRICS_LABEL_BYTES];
    for (uint32_t i = 0; i < metrics->data_cores; i++) {
        const struct census_view *view = &metrics->census->probes[i].view;
        const char *core = metrics_core(metrics, i, label);
        for (uint32_t j = 0; j < CENSUS_BOUNDS; j++) {
            http_printf(writer, "%s_bucket{core=\"%s\",le=\"%llu.%09llu\"} %llu\n", name, core,
                        (unsigned long long)(census_bound_ns(j) / NS_PER_S),
                        (unsigned long long)(census_bound_ns(j) % NS_PER_S),
                        (unsigned long long)view->commit_until[j]);
        }
        http_printf(writer, "%s_bucket{core=\"%s\",le=\"+Inf\"} %llu\n", name, core,
                    (unsigned long long)view->commit_count);
        http_printf(writer, "%s_sum{core=\"%s\"} %llu.%09llu\n", name, core,
                    (unsigned long long)(view->commit_sum_ns / NS_PER_S),
                    (unsigned long long)(view->commit_sum_ns % NS_PER_S));
        http_printf(writer, "%s_count{core=\"%s\"} %llu\n", name, core,
                    (unsigned long long)view->commit_count);
    }
}

static void metrics_build(const struct metrics *metrics, const char *name,
                          struct http_writer *writer)
{
    http_printf(writer, "%s{version=\"%s\",node=\"%u\"} 1\n", name, FLOE_VERSION, metrics->node_id);
}

/* Values of the node. */
#define METRICS_VALUE(fn_name, value)                                                              \
    static void fn_name(const struct metrics *metrics, const char *name,                           \
                        struct http_writer *writer)                                                \
    {                                                                                              \
        metrics_one(name, (value), writer);                                                        \
    }

METRICS_VALUE(metrics_cores, metrics->data_cores)
METRICS_VALUE(metrics_topics, metrics->topics)
METRICS_VALUE(metrics_partitions, metrics->partitions)
METRICS_VALUE(metrics_map_version, metrics->map_version)
METRICS_VALUE(metrics_resident, metrics->process.resident_bytes)
METRICS_VALUE(metrics_virtual, metrics->process.virtual_bytes)
METRICS_VALUE(metrics_fds, metrics->process.descriptors_open)
METRICS_VALUE(metrics_fds_max, metrics->process.descriptors_max)
METRICS_VALUE(metrics_start, (metrics->now_ms - metrics->process.age_ms) / 1000)

static void metrics_seconds(const char *name, uint64_t ms, struct http_writer *writer)
{
    http_printf(writer, "%s %llu.%03llu\n", name, (unsigned long long)(ms / 1000),
                (unsigned long long)(ms % 1000));
}

static void metrics_uptime(const struct metrics *metrics, const char *name,
                           struct http_writer *writer)
{
    metrics_seconds(name, metrics->process.age_ms, writer);
}

static void metrics_cpu(const struct metrics *metrics, const char *name, struct http_writer *writer)
{
    metrics_seconds(name, metrics->process.cpu_us / 1000, writer);
}

/* --- Groups. --- */

/* A label's value: what is no text, or would end it, is escaped. */
static void metrics_put_label(struct http_writer *writer, struct bytes text)
{
    bool plain = http_is_text(text);
    for (uint32_t i = 0; i < text.size; i++) {
        char c = (char)text.data[i];
        if (c == '\n') {
            http_put_text(writer, "\\n");
        } else if (c == '"' || c == '\\') {
            http_printf(writer, "\\%c", c);
        } else if (text.data[i] < 0x20 || text.data[i] == 0x7f || (!plain && text.data[i] > 0x7f)) {
            http_put_text(writer, "?");
        } else {
            http_put(writer, &c, 1);
        }
    }
}

/* Name and labels of one partition of a group. */
static void metrics_group_name(const struct metrics *metrics, const char *name, const char *group,
                               const struct group_lag_row *row, const char *topic,
                               struct http_writer *writer)
{
    http_printf(writer, "%s{%s=\"", name, group);
    metrics_put_label(writer, metrics->lag->groups[row->group]);
    http_put_text(writer, "\",topic=\"");
    metrics_put_label(writer, bytes_text(topic));
    http_printf(writer, "\",partition=\"%u\"} ", row->partition);
}

static void metrics_head(const char *name, const char *type, const char *help,
                         struct http_writer *writer);

/* A family that is not there if it has no sample. */
static void metrics_group_family(const struct metrics *metrics, const char *name, const char *help,
                                 const char *group, bool seconds, struct http_writer *writer)
{
    bool headed = false;
    for (uint32_t i = 0; i < metrics->lag->row_count; i++) {
        const struct group_lag_row *row = &metrics->lag->rows[i];
        const char *topic = http_lag_topic(metrics->op, row);
        int64_t value = seconds ? group_lag_ms(row, metrics->now_ms) : row->lag;
        if (topic == NULL || value < 0) {
            continue;
        }
        if (!headed) {
            metrics_head(name, "gauge", help, writer);
            headed = true;
        }
        metrics_group_name(metrics, name, group, row, topic, writer);
        if (seconds) {
            http_put_seconds(writer, value);
        } else {
            http_put_number(writer, value);
        }
        http_put_text(writer, "\n");
    }
}

static void metrics_groups(const struct metrics *metrics, struct http_writer *writer)
{
    if (metrics->lag == NULL) {
        return;
    }
    metrics_group_family(metrics, "floe_group_lag_records",
                         "records between what a group has committed and the end", "group", false,
                         writer);
    metrics_group_family(metrics, "floe_group_lag_seconds",
                         "seconds since the next record to read was written; 0 at the end", "group",
                         true, writer);
    metrics_group_family(metrics, "kafka_consumergroup_lag",
                         "floe_group_lag_records under the name that dashboards ask for",
                         "consumergroup", false, writer);
    metrics_head("floe_group_lag_left_out", "gauge",
                 "groups and partitions of groups that are too many to be told", writer);
    metrics_one("floe_group_lag_left_out", metrics->lag->left_out, writer);
}

/* --- The table. --- */

static const struct {
    const char *name, *type, *help;
    metrics_fn *write;
} metrics_table[] = {
    {"floe_build_info", "gauge", "which floe this is", metrics_build},
    {"floe_uptime_seconds", "gauge", "seconds since the process began", metrics_uptime},
    {"floe_cores", "gauge", "cores that carry data", metrics_cores},
    {"floe_core_up", "gauge", "1: the core answered the last round of questions", metrics_up},
    {"floe_core_serving", "gauge", "1: the core serves and is not draining", metrics_serving},
    {"floe_topics", "gauge", "topics in the map", metrics_topics},
    {"floe_partitions", "gauge", "partitions of all topics", metrics_partitions},
    {"floe_map_version", "gauge", "commands that the map has applied", metrics_map_version},
    {"floe_connections", "gauge", "client connections that are open", metrics_connections},
    {"floe_core_partitions", "gauge", "partitions that the core owns", metrics_owned},
    {"floe_memory_limit_bytes", "gauge", "memory that the core may use", metrics_memory_limit},
    {"floe_memory_touched_bytes", "gauge", "memory that the core has touched",
     metrics_memory_touched},
    {"floe_memory_used_bytes", "gauge", "memory in use, by pool", metrics_memory_used},
    {"floe_memory_waits_total", "counter", "times that a pool was found empty, by pool",
     metrics_memory_waits},
    {"floe_commit_seconds", "histogram", "time of a group commit, from its write to its end",
     metrics_commit},
    {"process_resident_memory_bytes", "gauge", "resident memory", metrics_resident},
    {"process_virtual_memory_bytes", "gauge", "address space, reserved and not touched too",
     metrics_virtual},
    {"process_open_fds", "gauge", "open file descriptors", metrics_fds},
    {"process_max_fds", "gauge", "limit of open file descriptors", metrics_fds_max},
    {"process_cpu_seconds_total", "counter", "user and system time of all threads", metrics_cpu},
    {"process_start_time_seconds", "gauge", "when the process began, Unix time", metrics_start},
};

/* Counters that also fall. */
static bool metrics_is_gauge(enum stat_id stat)
{
    return stat == STAT_POOL_BYTES;
}

static void metrics_head(const char *name, const char *type, const char *help,
                         struct http_writer *writer)
{
    http_printf(writer, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_write(const struct metrics *metrics, struct http_writer *writer)
{
    ASSERT(metrics->data_cores <= metrics->census->count);
    for (uint32_t i = 0; i < ARRAY_COUNT(metrics_table); i++) {
        metrics_head(metrics_table[i].name, metrics_table[i].type, metrics_table[i].help, writer);
        metrics_table[i].write(metrics, metrics_table[i].name, writer);
    }
    for (uint32_t i = 0; i < STAT_COUNT; i++) {
        enum stat_id stat = (enum stat_id)i;
        bool gauge = metrics_is_gauge(stat);
        char name[64];
        (void)snprintf(name, sizeof(name), "floe_%s%s", stat_name(stat), gauge ? "" : "_total");
        metrics_head(name, gauge ? "gauge" : "counter", stat_help(stat), writer);
        for (uint32_t core = 0; core < metrics->census->count; core++) {
            uint64_t value = metrics->census->probes[core].view.counters[i];
            metrics_of_core(metrics, name, core, value, writer);
        }
    }
    metrics_groups(metrics, writer);
}

/* --- GET /metrics: the cores and, when they all turn, the groups; but not for long. --- */

enum { METRICS_LAG_MS = 2000 };

struct metrics_op {
    struct http_op *op;
    struct census_waiter waiter;
    struct metrics metrics;
    struct http_lag lag;
    struct timer timer;
    bool answered, sent;
};

_Static_assert(sizeof(struct metrics_op) <= HTTP_METRICS_BYTES, "http_routes knows the size");

static void metrics_encode(struct http_op *op, struct http_writer *writer)
{
    const struct metrics_op *state = op->state;
    metrics_write(&state->metrics, writer);
}

static void metrics_answer(struct metrics_op *state)
{
    struct http_answer answer = {.status = 200,
                                 .type = "text/plain; version=0.0.4; charset=utf-8",
                                 .encode = metrics_encode};
    ASSERT(!state->answered);
    state->answered = true;
    state->op->call->told = true;
    if (state->lag.room != NULL) {
        answer.room = state->lag.room->data;
        answer.room_bytes = state->lag.room->size;
    }
    http_answer(state->op, &answer);
}

static void metrics_end(struct metrics_op *state)
{
    http_lag_close(&state->lag);
    call_done(state->op->call);
}

static void metrics_lag_known(struct completion *completion)
{
    struct group_lag *lag = CONTAINER_OF(completion, struct group_lag, done);
    struct metrics_op *state = lag->user;
    timer_stop(state->op->net->reactor, &state->timer);
    if (state->sent) {
        metrics_end(state);
    } else if (!state->answered) {
        state->metrics.lag = lag;
        metrics_answer(state);
    }
}

static void metrics_lag_late(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    COVER("metrics leave without the lag of groups");
    metrics_answer(CONTAINER_OF(timer, struct metrics_op, timer));
}

static void metrics_ask_lag(struct metrics_op *state)
{
    struct net *net = state->op->net;
    uint32_t wanted;
    if (!http_lag_open(&state->lag, net, &wanted)) {
        metrics_answer(state);
        return;
    }
    struct group_lag *lag = state->lag.lag;
    lag->user = state;
    completion_init(&lag->done, metrics_lag_known);
    timer_init(&state->timer, metrics_lag_late);
    timer_start(net->reactor, &state->timer, METRICS_LAG_MS * NS_PER_MS);
    group_lag_start(lag, (struct bytes){0});
}

static void metrics_answered(struct completion *completion)
{
    struct census_waiter *waiter = CONTAINER_OF(completion, struct census_waiter, done);
    struct metrics_op *state = CONTAINER_OF(waiter, struct metrics_op, waiter);
    struct http_op *op = state->op;
    const struct map *map = http_map(op);
    state->metrics = (struct metrics){
        .census = &op->net->http->census,
        .data_cores = min_u32(op->net->options.core_count, op->net->http->census.count),
        .now_ms = op->net->reactor->now_ms,
        .topics = map_topic_count(map),
        .map_version = map_version(map),
        .node_id = op->net->options.node_id,
        .op = op,
    };
    for (uint32_t i = 0; i < state->metrics.topics; i++) {
        state->metrics.partitions += map_topic_at(map, i)->partition_count;
    }
    process_usage(&state->metrics.process);
    if (completion->result == OK) {
        metrics_ask_lag(state);
    } else {
        metrics_answer(state);
    }
}

enum err http_metrics_start(struct http_op *op)
{
    struct metrics_op *state = op->state;
    state->op = op;
    completion_init(&state->waiter.done, metrics_answered);
    census_await(&op->net->http->census, &state->waiter);
    return OK;
}

void http_metrics_sent(struct http_op *op)
{
    struct metrics_op *state = op->state;
    state->sent = true;
    if (state->op == NULL || state->lag.lag == NULL || !state->lag.lag->out) {
        state->op = op;
        metrics_end(state);
    }
}
