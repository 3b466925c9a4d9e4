/* floe group seek: the group reads on from somewhere else. Says first what would move, and does it
 * only with --yes; a group with members is left alone, for they would commit over it.
 *
 *     topics of the group, or --topic -> per partition: committed, new -> --yes: commit -> rows
 */
#include "tools/cmd_group.h"

#include "core/assert.h"
#include "tools/cmd_where.h"
#include "tools/errors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEK_QUERY_MS = 10000 };

struct seek_row {
    char *topic;
    int32_t partition;
    int64_t committed; /* -1: none. */
    int64_t to;
    const char *result; /* Static. */
};

struct seek {
    struct client client;
    const char *group;
    struct cmd_where where;
    int64_t only; /* Partition; -1: all. */
    bool yes;
    struct group_ask group_ask, offset_ask, alter_ask;
    const rd_kafka_topic_partition_list_t *offsets;
    struct seek_row *rows;
    size_t row_count, row_room;
    uint32_t moving, failed;
};

static int seek_add(struct seek *seek, const char *topic, int32_t partition)
{
    if (seek->only >= 0 && seek->only != partition) {
        return CMD_OK;
    }
    for (size_t i = 0; i < seek->row_count; i++) {
        if (group_compare(topic, partition, seek->rows[i].topic, seek->rows[i].partition) == 0) {
            return CMD_OK; /* --topic twice. */
        }
    }
    if (seek->row_count == seek->row_room) {
        size_t room = seek->row_room == 0 ? 64 : seek->row_room * 2;
        struct seek_row *rows = realloc(seek->rows, room * sizeof(*rows));
        if (rows == NULL) {
            return cmd_fail(seek->client.cmd, ERROR_MEMORY, "out of memory");
        }
        seek->rows = rows;
        seek->row_room = room;
    }
    char *name = strdup(topic);
    if (name == NULL) {
        return cmd_fail(seek->client.cmd, ERROR_MEMORY, "out of memory");
    }
    struct seek_row *row = &seek->rows[seek->row_count++];
    *row = (struct seek_row){.topic = name, .partition = partition, .committed = -1};
    for (int i = 0; i < seek->offsets->cnt; i++) {
        const rd_kafka_topic_partition_t *item = &seek->offsets->elems[i];
        if (item->partition == partition && strcmp(item->topic, topic) == 0 && item->offset >= 0) {
            row->committed = item->offset;
        }
    }
    return CMD_OK;
}

/* All partitions of a topic that was named. */
static int seek_add_topic(struct seek *seek, const char *topic)
{
    const struct rd_kafka_metadata *metadata;
    int code = client_metadata(&seek->client, topic, &metadata);
    if (code != CMD_OK) {
        return code;
    }
    for (int i = 0; i < metadata->topics[0].partition_cnt && code == CMD_OK; i++) {
        code = seek_add(seek, topic, metadata->topics[0].partitions[i].id);
    }
    rd_kafka_metadata_destroy(metadata);
    return code;
}

static int seek_compare(const void *left, const void *right)
{
    const struct seek_row *a = left, *b = right;
    return group_compare(a->topic, a->partition, b->topic, b->partition);
}

/* Which partitions are meant; that there are any. */
static int seek_gather(struct seek *seek)
{
    const struct cmd *cmd = seek->client.cmd;
    const char *topics[CMD_WORDS_MAX];
    uint32_t count = cmd_values(cmd, "--topic", topics);
    int code = CMD_OK;
    for (uint32_t i = 0; i < count && code == CMD_OK; i++) {
        code = seek_add_topic(seek, topics[i]);
    }
    for (int i = 0; i < seek->offsets->cnt && count == 0 && code == CMD_OK; i++) {
        code = seek_add(seek, seek->offsets->elems[i].topic, seek->offsets->elems[i].partition);
    }
    if (code != CMD_OK) {
        return code;
    }
    if (seek->row_count == 0 && seek->only >= 0) {
        return cmd_fail(cmd, ERROR_PARTITION_UNKNOWN,
                        count > 0 ? "no topic that was named has a partition %" PRId64
                                    ": floe topic describe TOPIC shows those there are"
                                  : "the group has committed no partition %" PRId64
                                    ": name the topic with --topic",
                        seek->only);
    }
    if (seek->row_count == 0) {
        return cmd_fail(cmd, ERROR_GROUP_UNKNOWN,
                        "group \"%s\" has committed nothing: name its topics with --topic",
                        seek->group);
    }
    qsort(seek->rows, seek->row_count, sizeof(*seek->rows), seek_compare);
    return CMD_OK;
}

/* Where one partition is to go on; within the log, for elsewhere nobody could read. */
static int seek_aim(struct seek *seek, struct seek_row *row)
{
    int64_t first = 0, end = 0;
    rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(
        seek->client.rk, row->topic, row->partition, &first, &end, SEEK_QUERY_MS);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR && seek->where.kind == CMD_WHERE_TIME) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_t *item =
            rd_kafka_topic_partition_list_add(list, row->topic, row->partition);
        item->offset = seek->where.number;
        err = rd_kafka_offsets_for_times(seek->client.rk, list, SEEK_QUERY_MS);
        err = err == RD_KAFKA_RESP_ERR_NO_ERROR ? item->err : err;
        row->to = item->offset >= 0 ? item->offset : end;
        rd_kafka_topic_partition_list_destroy(list);
    }
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        char what[400];
        (void)snprintf(what, sizeof(what), "topic \"%s\" partition %" PRId32, row->topic,
                       row->partition);
        return client_fail(&seek->client, err, what, NULL);
    }
    switch (seek->where.kind) {
    case CMD_WHERE_START:
        row->to = first;
        break;
    case CMD_WHERE_END:
        row->to = end;
        break;
    case CMD_WHERE_OFFSET:
        row->to = seek->where.number;
        break;
    case CMD_WHERE_LAST:
        row->to = seek->where.number < end ? end - seek->where.number : 0;
        break;
    case CMD_WHERE_TIME:
        break;
    }
    row->to = row->to > end ? end : row->to;
    row->to = row->to < first ? first : row->to;
    row->result = row->to == row->committed ? "as it is" : "would move";
    seek->moving += row->to != row->committed;
    return CMD_OK;
}

static void seek_hear(struct seek *seek, const rd_kafka_topic_partition_list_t *answers)
{
    for (int i = 0; i < answers->cnt; i++) {
        const rd_kafka_topic_partition_t *answer = &answers->elems[i];
        for (size_t j = 0; j < seek->row_count; j++) {
            struct seek_row *row = &seek->rows[j];
            if (group_compare(answer->topic, answer->partition, row->topic, row->partition) != 0) {
                continue;
            }
            row->result = answer->err == RD_KAFKA_RESP_ERR_NO_ERROR ? "moved" : "failed";
            if (answer->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
                seek->failed++;
                (void)group_fail(&seek->client, seek->group, answer->err, NULL);
            }
        }
    }
}

static int seek_do(struct seek *seek)
{
    struct group_ask *ask = &seek->alter_ask;
    size_t count = 0;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)seek->moving);
    for (size_t i = 0; i < seek->row_count; i++) {
        const struct seek_row *row = &seek->rows[i];
        if (row->to != row->committed) {
            rd_kafka_topic_partition_list_add(list, row->topic, row->partition)->offset = row->to;
        }
    }
    rd_kafka_AlterConsumerGroupOffsets_t *wish =
        rd_kafka_AlterConsumerGroupOffsets_new(seek->group, list);
    group_ask_begin(ask, &seek->client, RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS);
    rd_kafka_AlterConsumerGroupOffsets(seek->client.rk, &wish, 1, ask->options, ask->queue);
    rd_kafka_AlterConsumerGroupOffsets_destroy(wish);
    rd_kafka_topic_partition_list_destroy(list);
    int code = group_ask_await(ask, seek->group);
    if (code != CMD_OK) {
        return code;
    }
    const rd_kafka_group_result_t **groups = rd_kafka_AlterConsumerGroupOffsets_result_groups(
        rd_kafka_event_AlterConsumerGroupOffsets_result(ask->event), &count);
    const rd_kafka_error_t *error = count > 0 ? rd_kafka_group_result_error(groups[0]) : NULL;
    if (error != NULL) {
        return group_fail(&seek->client, seek->group, rd_kafka_error_code(error),
                          rd_kafka_error_string(error));
    }
    if (count > 0) {
        seek_hear(seek, rd_kafka_group_result_partitions(groups[0]));
    }
    return CMD_OK;
}

static int seek_print(const struct seek *seek)
{
    static const char *const columns[] = {"topic", "partition", "committed", "to", "result"};
    struct cmd_rows rows;
    cmd_rows_begin(&rows, seek->client.cmd, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < seek->row_count; i++) {
        const struct seek_row *row = &seek->rows[i];
        cmd_rows_text(&rows, row->topic);
        cmd_rows_number(&rows, row->partition);
        if (row->committed < 0) {
            cmd_rows_text(&rows, NULL);
        } else {
            cmd_rows_number(&rows, row->committed);
        }
        cmd_rows_number(&rows, row->to);
        cmd_rows_text(&rows, row->result);
    }
    return cmd_rows_end(&rows, seek->client.cmd);
}

/* That nobody would commit over it, and what is committed now. */
static int seek_look(struct seek *seek)
{
    const rd_kafka_ConsumerGroupDescription_t *group;
    group_ask_begin(&seek->group_ask, &seek->client, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    group_ask_begin(&seek->offset_ask, &seek->client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    bool named = cmd_value(seek->client.cmd, "--topic") != NULL;
    int code = group_describe(&seek->group_ask, !named, &group);
    if (code == CMD_OK && group != NULL &&
        rd_kafka_ConsumerGroupDescription_member_count(group) > 0) {
        code = group_fail(&seek->client, seek->group, RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP, NULL);
    }
    return code == CMD_OK ? group_offsets(&seek->offset_ask, &seek->offsets) : code;
}

static int seek_run(struct seek *seek)
{
    const struct cmd *cmd = seek->client.cmd;
    int code = seek_look(seek);
    code = code == CMD_OK ? seek_gather(seek) : code;
    for (size_t i = 0; i < seek->row_count && code == CMD_OK; i++) {
        code = seek_aim(seek, &seek->rows[i]);
    }
    if (code == CMD_OK && seek->yes && seek->moving > 0) {
        code = seek_do(seek);
    }
    if (code != CMD_OK) {
        return code;
    }
    code = seek_print(seek);
    if (!seek->yes && seek->moving > 0) {
        (void)cmd_fail(cmd, CMD_OK,
                       "%" PRIu32 " partition%s would move; nothing is changed: add --yes to do it",
                       seek->moving, seek->moving == 1 ? "" : "s");
    }
    if (seek->failed > 0) {
        return cmd_fail(cmd, seek->failed < seek->moving ? ERROR_PARTLY : ERROR_REFUSED,
                        "%" PRIu32 " of %" PRIu32 " partitions were not moved", seek->failed,
                        seek->moving);
    }
    return code;
}

/* The words of other tools, too. */
static bool seek_parse(const char *to, struct cmd_where *where)
{
    const char *word = strcmp(to, "earliest") == 0 ? "start"
                       : strcmp(to, "latest") == 0 ? "end"
                                                   : to;
    return cmd_where_parse(word, cmd_now_ms(), where);
}

int cmd_group_seek(const struct cmd *cmd)
{
    const char *to = cmd_value(cmd, "--to");
    struct seek seek = {
        .group = cmd->operands[0], .only = -1, .yes = cmd_value(cmd, "--yes") != NULL};
    if (to == NULL) {
        return cmd_fail(cmd, ERROR_FLAG, "--to is missing: start, end, an offset, -N or @TIME");
    }
    if (!seek_parse(to, &seek.where)) {
        return cmd_fail(cmd, ERROR_VALUE,
                        "--to %s: give start, end, an offset, -N for the last N records, @TIME, or "
                        "@-10m for ten minutes ago",
                        to);
    }
    if (seek.yes && cmd_value(cmd, "--dry-run") != NULL) {
        return cmd_fail(cmd, ERROR_FLAG, "--yes does it, --dry-run does not: give one of them");
    }
    int code = cmd_number(cmd, "--partition", 0, INT32_MAX, &seek.only);
    if (code != CMD_OK) {
        return code;
    }
    code = group_open(&seek.client, cmd);
    code = code == CMD_OK ? seek_run(&seek) : code;
    group_ask_end(&seek.group_ask);
    group_ask_end(&seek.offset_ask);
    group_ask_end(&seek.alter_ask);
    for (size_t i = 0; i < seek.row_count; i++) {
        free(seek.rows[i].topic);
    }
    free(seek.rows);
    client_close(&seek.client);
    return code;
}
