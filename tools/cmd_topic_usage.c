/* floe topic usage: how many records each partition has, and of which times, from what any client
 * may ask: its first and next offset, its first and its last record, its bytes on the disk. */
#include "core/assert.h"
#include "core/limits.h"
#include "tools/cmd_client.h"
#include "tools/cmd_log_dirs.h"
#include "tools/cmd_where.h"
#include "tools/errors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { USAGE_QUERY_MS = 10000, USAGE_UNKNOWN = 6 /* Columns that are not known then. */ };

struct usage {
    struct client client;
    struct cmd_rows rows;
    struct log_dirs_answer dirs;
    uint64_t failed;
};

/* A number for programs, a date for people. */
static void usage_time(struct usage *usage, int64_t time_ms)
{
    char json[32], text[CMD_TIME_BYTES];
    (void)snprintf(json, sizeof(json), "%" PRId64, time_ms);
    if (time_ms < 0) {
        cmd_rows_text(&usage->rows, NULL);
    } else {
        cmd_rows_json(&usage->rows, json, cmd_time_text(time_ms, text));
    }
}

static void usage_partition(struct usage *usage, rd_kafka_topic_t *topic, const char *name,
                            int32_t partition)
{
    int64_t first = 0, next = 0;
    rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(usage->client.rk, name, partition,
                                                               &first, &next, USAGE_QUERY_MS);
    cmd_rows_text(&usage->rows, name);
    cmd_rows_number(&usage->rows, partition);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        char what[400];
        (void)snprintf(what, sizeof(what), "topic \"%s\" partition %" PRId32, name, partition);
        (void)client_fail(&usage->client, err, what, NULL);
        usage->failed++;
        for (uint32_t i = 0; i < USAGE_UNKNOWN; i++) {
            cmd_rows_text(&usage->rows, NULL);
        }
        return;
    }
    cmd_rows_number(&usage->rows, first);
    cmd_rows_number(&usage->rows, next);
    cmd_rows_number(&usage->rows, next - first);
    usage_time(usage, next > first ? client_time_at(topic, partition, first) : -1);
    usage_time(usage, next > first ? client_time_at(topic, partition, next - 1) : -1);
    int64_t bytes = log_dirs_bytes(&usage->dirs, name, partition);
    if (bytes < 0) {
        cmd_rows_text(&usage->rows, NULL);
    } else {
        cmd_rows_number(&usage->rows, bytes);
    }
}

static int usage_run(struct usage *usage, const struct rd_kafka_metadata *metadata)
{
    static const char *const columns[] = {"topic",   "partition", "first",  "next_offset",
                                          "records", "oldest",    "newest", "bytes"};
    const struct cmd *cmd = usage->client.cmd;
    if (!log_dirs_ask(&usage->dirs, cmd, usage->client.brokers)) {
        (void)cmd_fail(cmd, CMD_OK, "the server does not say how many bytes there are");
    }
    cmd_rows_begin(&usage->rows, cmd, columns, ARRAY_COUNT(columns));
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];
        if (cmd->operand_count == 0 && strcmp(topic->topic, TOPIC_OF_OFFSETS) == 0) {
            continue; /* The server's own: only when it is named. */
        }
        rd_kafka_topic_t *handle = client_topic(&usage->client, topic->topic);
        for (int p = 0; p < topic->partition_cnt && handle != NULL; p++) {
            usage_partition(usage, handle, topic->topic, topic->partitions[p].id);
        }
        if (handle != NULL) {
            rd_kafka_topic_destroy(handle);
        }
    }
    log_dirs_free(&usage->dirs);
    int code = cmd_rows_end(&usage->rows, cmd);
    if (code == CMD_OK && usage->failed > 0) {
        code =
            cmd_fail(cmd, ERROR_PARTLY, "%" PRIu64 " partitions could not be asked", usage->failed);
    }
    return code;
}

int cmd_topic_usage(const struct cmd *cmd)
{
    const struct rd_kafka_metadata *metadata;
    struct usage usage = {0};
    int code = client_open_looker(&usage.client, cmd);
    if (code == CMD_OK) {
        code = client_metadata(&usage.client, cmd->operand_count > 0 ? cmd->operands[0] : NULL,
                               &metadata);
    }
    if (code == CMD_OK) {
        code = usage_run(&usage, metadata);
        rd_kafka_metadata_destroy(metadata);
    }
    client_close(&usage.client);
    return code;
}
