/* See cmd_top.h. */
#include "tools/cmd_top.h"

#include "core/assert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const top_columns[TOP_VALUES + 1] = {
    "core",    "turns", "requests",  "in_bytes",    "out_bytes",  "records",
    "flushes", "mails", "commit_ms", "connections", "partitions", "memory"};

enum top_kind {
    TOP_COUNTER,
    TOP_GAUGE,
    TOP_MEAN, /* A sum in seconds over a count of commits. */
};

static const struct {
    const char *name;
    enum top_kind kind;
} top_metrics[TOP_VALUES] = {
    [TOP_TURNS] = {"floe_turns_total", TOP_COUNTER},
    [TOP_REQUESTS] = {"floe_requests_total", TOP_COUNTER},
    [TOP_IN] = {"floe_recv_bytes_total", TOP_COUNTER},
    [TOP_OUT] = {"floe_send_bytes_total", TOP_COUNTER},
    [TOP_RECORDS] = {"floe_append_records_total", TOP_COUNTER},
    [TOP_FLUSHES] = {"floe_flushes_total", TOP_COUNTER},
    [TOP_MAILS] = {"floe_mails_total", TOP_COUNTER},
    [TOP_COMMIT_MS] = {"floe_commit_seconds_sum", TOP_MEAN},
    [TOP_CONNECTIONS] = {"floe_connections", TOP_GAUGE},
    [TOP_PARTITIONS] = {"floe_core_partitions", TOP_GAUGE},
    [TOP_MEMORY] = {"floe_memory_used_bytes", TOP_GAUGE},
};

static struct top_core *sample_core(struct top_sample *sample, const char *label, size_t size)
{
    if (size == 0 || size >= TOP_LABEL_BYTES) {
        return NULL;
    }
    for (uint32_t i = sample->core_count; i > 0; i--) {
        struct top_core *core = &sample->cores[i - 1];
        if (strlen(core->label) == size && memcmp(core->label, label, size) == 0) {
            return core;
        }
    }
    if (sample->core_count == TOP_CORES_MAX) {
        return NULL;
    }
    struct top_core *core = &sample->cores[sample->core_count++];
    *core = (struct top_core){0};
    memcpy(core->label, label, size);
    return core;
}

static bool sample_is(const char *line, size_t size, const char *name)
{
    return strlen(name) == size && memcmp(line, name, size) == 0;
}

/* name{core="0",pool="append"} 12 */
static void sample_of_core(struct top_sample *sample, const char *line, size_t name_size,
                           double value)
{
    static const char label[] = "{core=\"";
    const char *at = line + name_size;
    if (strncmp(at, label, sizeof(label) - 1) != 0) {
        return;
    }
    at += sizeof(label) - 1;
    for (uint32_t i = 0; i <= TOP_VALUES; i++) {
        bool commits = i == TOP_VALUES;
        const char *name = commits ? "floe_commit_seconds_count" : top_metrics[i].name;
        struct top_core *core =
            sample_is(line, name_size, name) ? sample_core(sample, at, strcspn(at, "\"\n")) : NULL;
        if (core != NULL) {
            *(commits ? &core->commits : &core->values[i]) += value; /* Pools add up. */
        }
    }
}

static void sample_of_node(struct top_sample *sample, const char *line, size_t size, double value)
{
    if (sample_is(line, size, "floe_uptime_seconds")) {
        sample->uptime_s = value;
    } else if (sample_is(line, size, "floe_topics")) {
        sample->topics = value;
    } else if (sample_is(line, size, "floe_partitions")) {
        sample->partitions = value;
    } else if (sample_is(line, size, "floe_build_info")) {
        (void)sscanf(line + size, "{version=\"%31[^\"\n]", sample->version);
    }
}

bool top_parse(const char *text, struct top_sample *sample)
{
    sample->core_count = 0;
    sample->version[0] = '\0';
    sample->uptime_s = sample->topics = sample->partitions = 0;
    for (const char *line = text; *line != '\0';) {
        size_t size = strcspn(line, "\n"), name = strcspn(line, "{ \n");
        const char *space = memrchr(line, ' ', size);
        if (line[0] != '#' && space != NULL && name < size) {
            double value = strtod(space, NULL);
            sample_of_core(sample, line, name, isfinite(value) ? value : 0);
            sample_of_node(sample, line, name, isfinite(value) ? value : 0);
        }
        line += size + (line[size] == '\n' ? 1 : 0);
    }
    return sample->core_count > 0 && sample->version[0] != '\0';
}

static const struct top_core *sample_find(const struct top_sample *sample, const char *label)
{
    for (uint32_t i = 0; i < sample->core_count; i++) {
        if (strcmp(sample->cores[i].label, label) == 0) {
            return &sample->cores[i];
        }
    }
    return NULL;
}

/* A counter that fell: the server was started again, and began at 0. */
static double sample_grown(double before, double after)
{
    return after >= before ? after - before : after;
}

void top_rates(const struct top_sample *before, const struct top_sample *after, uint32_t core,
               double rates[TOP_VALUES])
{
    ASSERT(core < after->core_count);
    const struct top_core *now = &after->cores[core], *then = sample_find(before, now->label);
    double seconds = (double)(after->at_ms - before->at_ms) / 1000;
    then = then != NULL ? then : now;
    seconds = seconds > 0 ? seconds : 1;
    for (uint32_t i = 0; i < TOP_VALUES; i++) {
        double grown = sample_grown(then->values[i], now->values[i]);
        double commits = sample_grown(then->commits, now->commits);
        rates[i] = top_metrics[i].kind == TOP_GAUGE     ? now->values[i]
                   : top_metrics[i].kind == TOP_COUNTER ? grown / seconds
                   : commits > 0                        ? grown * 1000 / commits
                                                        : -1;
    }
}

void top_total(const struct top_sample *before, const struct top_sample *after,
               double rates[TOP_VALUES])
{
    double commits = 0, spent_ms = 0, one[TOP_VALUES];
    for (uint32_t i = 0; i < TOP_VALUES; i++) {
        rates[i] = 0;
    }
    for (uint32_t core = 0; core < after->core_count; core++) {
        const struct top_core *now = &after->cores[core], *then = sample_find(before, now->label);
        double count = then != NULL ? sample_grown(then->commits, now->commits) : 0;
        top_rates(before, after, core, one);
        commits += count;
        spent_ms += one[TOP_COMMIT_MS] > 0 ? one[TOP_COMMIT_MS] * count : 0;
        for (uint32_t i = 0; i < TOP_VALUES; i++) {
            rates[i] += one[i];
        }
    }
    rates[TOP_COMMIT_MS] = commits > 0 ? spent_ms / commits : -1;
}

const char *top_short(double value, char text[32])
{
    static const char units[] = " kMGTPE";
    uint32_t unit = 0;
    if (value < 0) {
        return "";
    }
    while (value >= 999.5 && unit + 2 < sizeof(units)) {
        value /= 1000;
        unit++;
    }
    bool whole = value >= 99.95 || (unit == 0 && value == floor(value));
    (void)snprintf(text, 32, "%.*f", whole ? 0 : 1, value);
    if (unit > 0) {
        size_t size = strlen(text);
        (void)snprintf(text + size, 32 - size, "%c", units[unit]);
    }
    return text;
}
