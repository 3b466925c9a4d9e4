/* floe topic trim: the log of a topic starts later. Says first what would go, and does it only with
 * --yes.
 *
 *     --to  ->  per partition: first, next, the new first  ->  --yes: DeleteRecords  ->  a row each
 */
#include "core/assert.h"
#include "tools/cmd_client.h"
#include "tools/cmd_where.h"
#include "tools/errors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { TRIM_QUERY_MS = 10000, TRIM_ANSWER_MS = 65000 };

struct trim_partition {
    int32_t id;
    int64_t first, next, to;
    const char *result; /* What became of it; static. */
};

struct trim {
    struct client client;
    const char *topic;
    struct cmd_where where;
    bool yes;
    struct trim_partition *partitions;
    uint32_t partition_count;
    uint64_t records; /* That go. */
    uint32_t failed, done;
};

/* Which partitions there are, with their bounds. */
static int trim_look(struct trim *trim, int64_t only)
{
    const struct rd_kafka_metadata *metadata;
    int code = client_metadata(&trim->client, trim->topic, &metadata);
    if (code != CMD_OK) {
        return code;
    }
    const struct rd_kafka_metadata_topic *topic = &metadata->topics[0];
    int count = topic->partition_cnt;
    trim->partitions = calloc((size_t)count + 1, sizeof(*trim->partitions));
    for (int i = 0; i < count && trim->partitions != NULL; i++) {
        if (only < 0 || only == topic->partitions[i].id) {
            trim->partitions[trim->partition_count++].id = topic->partitions[i].id;
        }
    }
    rd_kafka_metadata_destroy(metadata);
    if (trim->partitions == NULL) {
        return cmd_fail(trim->client.cmd, ERROR_MEMORY, "out of memory");
    }
    if (trim->partition_count == 0) {
        return cmd_fail(trim->client.cmd, ERROR_PARTITION_UNKNOWN,
                        "topic \"%s\" has no partition %" PRId64 ": it has %d, from 0", trim->topic,
                        only, count);
    }
    for (uint32_t i = 0; i < trim->partition_count; i++) {
        struct trim_partition *partition = &trim->partitions[i];
        rd_kafka_resp_err_t err =
            rd_kafka_query_watermark_offsets(trim->client.rk, trim->topic, partition->id,
                                             &partition->first, &partition->next, TRIM_QUERY_MS);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return client_fail(&trim->client, err, "cannot ask for first and next offset", NULL);
        }
    }
    return CMD_OK;
}

/* The offsets of a time; a partition without a later record goes whole. */
static int trim_find_time(struct trim *trim)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)trim->partition_count);
    for (uint32_t i = 0; i < trim->partition_count; i++) {
        rd_kafka_topic_partition_list_add(list, trim->topic, trim->partitions[i].id)->offset =
            trim->where.number;
    }
    rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(trim->client.rk, list, TRIM_QUERY_MS);
    for (int i = 0; i < list->cnt && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        struct trim_partition *partition = &trim->partitions[i];
        err = list->elems[i].err;
        partition->to = list->elems[i].offset >= 0 ? list->elems[i].offset : partition->next;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return err == RD_KAFKA_RESP_ERR_NO_ERROR
               ? CMD_OK
               : client_fail(&trim->client, err, "cannot look up the time", NULL);
}

/* Where each partition is to start. */
static int trim_aim(struct trim *trim)
{
    int code = trim->where.kind == CMD_WHERE_TIME ? trim_find_time(trim) : CMD_OK;
    for (uint32_t i = 0; i < trim->partition_count && code == CMD_OK; i++) {
        struct trim_partition *partition = &trim->partitions[i];
        switch (trim->where.kind) {
        case CMD_WHERE_START:
            UNREACHABLE();
        case CMD_WHERE_END:
            partition->to = partition->next;
            break;
        case CMD_WHERE_OFFSET:
            partition->to = trim->where.number;
            break;
        case CMD_WHERE_LAST:
            partition->to =
                trim->where.number < partition->next ? partition->next - trim->where.number : 0;
            break;
        case CMD_WHERE_TIME:
            break;
        }
        partition->to = partition->to > partition->next ? partition->next : partition->to;
        partition->to = partition->to < partition->first ? partition->first : partition->to;
        partition->result = partition->to == partition->first ? "nothing to do" : "would go";
        trim->records += (uint64_t)(partition->to - partition->first);
    }
    return code;
}

static struct trim_partition *trim_find(struct trim *trim, int32_t id)
{
    for (uint32_t i = 0; i < trim->partition_count; i++) {
        if (trim->partitions[i].id == id) {
            return &trim->partitions[i];
        }
    }
    return NULL;
}

static void trim_hear(struct trim *trim, const rd_kafka_topic_partition_list_t *answers)
{
    for (int i = 0; i < answers->cnt; i++) {
        const rd_kafka_topic_partition_t *answer = &answers->elems[i];
        struct trim_partition *partition = trim_find(trim, answer->partition);
        if (partition == NULL) {
            continue;
        }
        bool good = answer->err == RD_KAFKA_RESP_ERR_NO_ERROR;
        partition->result = good ? "trimmed" : "failed";
        trim->done += good;
        trim->failed += !good;
        if (!good) {
            char what[64];
            (void)snprintf(what, sizeof(what), "partition %" PRId32, answer->partition);
            (void)client_fail(&trim->client, answer->err, what, NULL);
        } else {
            partition->to = answer->offset;
        }
    }
}

static int trim_do(struct trim *trim)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)trim->partition_count);
    for (uint32_t i = 0; i < trim->partition_count; i++) {
        const struct trim_partition *partition = &trim->partitions[i];
        if (partition->to > partition->first) {
            rd_kafka_topic_partition_list_add(list, trim->topic, partition->id)->offset =
                partition->to;
        }
    }
    rd_kafka_DeleteRecords_t *wish = rd_kafka_DeleteRecords_new(list);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(trim->client.rk);
    rd_kafka_DeleteRecords(trim->client.rk, &wish, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TRIM_ANSWER_MS);
    rd_kafka_resp_err_t err =
        event != NULL ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    int code = CMD_OK;
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        trim_hear(trim, rd_kafka_DeleteRecords_result_offsets(
                            rd_kafka_event_DeleteRecords_result(event)));
    } else {
        code = client_fail(&trim->client, err, trim->topic,
                           event != NULL ? rd_kafka_event_error_string(event) : NULL);
    }
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteRecords_destroy(wish);
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

static int trim_print(const struct trim *trim)
{
    static const char *const columns[] = {"topic", "partition", "first", "next_offset",
                                          "to",    "records",   "result"};
    struct cmd_rows rows;
    cmd_rows_begin(&rows, trim->client.cmd, columns, ARRAY_COUNT(columns));
    for (uint32_t i = 0; i < trim->partition_count; i++) {
        const struct trim_partition *partition = &trim->partitions[i];
        cmd_rows_text(&rows, trim->topic);
        cmd_rows_number(&rows, partition->id);
        cmd_rows_number(&rows, partition->first);
        cmd_rows_number(&rows, partition->next);
        cmd_rows_number(&rows, partition->to);
        cmd_rows_number(&rows, partition->to - partition->first);
        cmd_rows_text(&rows, partition->result);
    }
    return cmd_rows_end(&rows, trim->client.cmd);
}

static int trim_run(struct trim *trim, int64_t only)
{
    const struct cmd *cmd = trim->client.cmd;
    int code = trim_look(trim, only);
    code = code == CMD_OK ? trim_aim(trim) : code;
    if (code == CMD_OK && trim->yes && trim->records > 0) {
        code = trim_do(trim);
    }
    if (code != CMD_OK) {
        return code;
    }
    code = trim_print(trim);
    if (!trim->yes && trim->records > 0) {
        (void)cmd_fail(cmd, CMD_OK,
                       "%" PRIu64 " records would go for ever; nothing is changed: add --yes to do "
                       "it",
                       trim->records);
    }
    if (trim->failed > 0) {
        return cmd_fail(cmd, trim->done > 0 ? ERROR_PARTLY : ERROR_REFUSED,
                        "%" PRIu32 " partitions were not trimmed, %" PRIu32 " were", trim->failed,
                        trim->done);
    }
    return code;
}

int cmd_topic_trim(const struct cmd *cmd)
{
    const char *to = cmd_value(cmd, "--to");
    int64_t only = -1;
    struct trim trim = {.topic = cmd->operands[0], .yes = cmd_value(cmd, "--yes") != NULL};
    if (to == NULL) {
        return cmd_fail(cmd, ERROR_FLAG,
                        "--to is missing: the first offset to keep, end, -N or @TIME");
    }
    if (!cmd_where_parse(to, cmd_now_ms(), &trim.where) || trim.where.kind == CMD_WHERE_START) {
        return cmd_fail(cmd, ERROR_VALUE,
                        "--to %s: give the first offset to keep, end to keep none, -N to keep the "
                        "last N, or @TIME",
                        to);
    }
    int code = cmd_number(cmd, "--partition", 0, INT32_MAX, &only);
    if (code != CMD_OK) {
        return code;
    }
    /* As a consumer: a question must not make the topic. */
    code = client_open(&trim.client, cmd, &(struct client_options){.type = RD_KAFKA_CONSUMER});
    code = code == CMD_OK ? trim_run(&trim, only) : code;
    free(trim.partitions);
    client_close(&trim.client);
    return code;
}
