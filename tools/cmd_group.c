/* floe group list, describe, delete. */
#include "tools/cmd_group.h"

#include "core/assert.h"
#include "tools/cmd_where.h"
#include "tools/errors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP_QUERY_MS = 10000 };

/* --- list --- */

static int list_compare(const void *left, const void *right)
{
    const rd_kafka_ConsumerGroupListing_t *const *a = left, *const *b = right;
    return strcmp(rd_kafka_ConsumerGroupListing_group_id(*a),
                  rd_kafka_ConsumerGroupListing_group_id(*b));
}

/* What is described of the group with this name; NULL: it went away meanwhile. */
static const rd_kafka_ConsumerGroupDescription_t *
list_find(const rd_kafka_ConsumerGroupDescription_t **groups, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rd_kafka_ConsumerGroupDescription_group_id(groups[i]), name) == 0) {
            return groups[i];
        }
    }
    return NULL;
}

/* One row of what both answers say: of a group that is no group of consumers only the first. */
static void list_row(struct cmd_rows *rows, const char *name, rd_kafka_consumer_group_state_t state,
                     const rd_kafka_ConsumerGroupDescription_t *group)
{
    bool known = group != NULL && rd_kafka_ConsumerGroupDescription_error(group) == NULL;
    const char *protocol =
        known ? rd_kafka_ConsumerGroupDescription_partition_assignor(group) : NULL;
    state = known ? rd_kafka_ConsumerGroupDescription_state(group) : state;
    cmd_rows_text(rows, name);
    cmd_rows_text(rows, rd_kafka_consumer_group_state_name(state));
    cmd_rows_text(rows, protocol != NULL && protocol[0] != '\0' ? protocol : NULL);
    if (known) {
        cmd_rows_number(rows, (int64_t)rd_kafka_ConsumerGroupDescription_member_count(group));
    } else {
        cmd_rows_text(rows, NULL);
    }
}

static int list_print(struct client *client, const rd_kafka_ConsumerGroupListing_t **listed,
                      size_t count)
{
    static const char *const columns[] = {"group", "state", "protocol", "members"};
    struct group_ask ask;
    struct cmd_rows rows;
    size_t described = 0;
    int code = CMD_OK;
    const char **names = calloc(count + 1, sizeof(*names));
    const rd_kafka_ConsumerGroupDescription_t **groups = NULL;
    if (names == NULL) {
        return cmd_fail(client->cmd, ERROR_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        names[i] = rd_kafka_ConsumerGroupListing_group_id(listed[i]);
    }
    group_ask_begin(&ask, client, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    if (count > 0) {
        rd_kafka_DescribeConsumerGroups(client->rk, names, count, ask.options, ask.queue);
        code = group_ask_await(&ask, "groups");
    }
    if (count > 0 && code == CMD_OK) {
        groups = rd_kafka_DescribeConsumerGroups_result_groups(
            rd_kafka_event_DescribeConsumerGroups_result(ask.event), &described);
    }
    if (code == CMD_OK) {
        cmd_rows_begin(&rows, client->cmd, columns, ARRAY_COUNT(columns));
        for (size_t i = 0; i < count; i++) {
            list_row(&rows, names[i], rd_kafka_ConsumerGroupListing_state(listed[i]),
                     list_find(groups, described, names[i]));
        }
        code = cmd_rows_end(&rows, client->cmd);
    }
    group_ask_end(&ask);
    free(names);
    return code;
}

static int list_run(struct client *client)
{
    struct group_ask ask;
    size_t count = 0, errors = 0;
    group_ask_begin(&ask, client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS);
    rd_kafka_ListConsumerGroups(client->rk, ask.options, ask.queue);
    int code = group_ask_await(&ask, "groups");
    if (code == CMD_OK) {
        const rd_kafka_ListConsumerGroups_result_t *result =
            rd_kafka_event_ListConsumerGroups_result(ask.event);
        const rd_kafka_error_t **error = rd_kafka_ListConsumerGroups_result_errors(result, &errors);
        const rd_kafka_ConsumerGroupListing_t **listed =
            rd_kafka_ListConsumerGroups_result_valid(result, &count);
        if (errors > 0) {
            code = client_fail(client, rd_kafka_error_code(error[0]), "groups",
                               rd_kafka_error_string(error[0]));
        } else {
            if (count > 0) {
                qsort(listed, count, sizeof(*listed), list_compare);
            }
            code = list_print(client, listed, count);
        }
    }
    group_ask_end(&ask);
    return code;
}

int cmd_group_list(const struct cmd *cmd)
{
    struct client client = {0};
    int code = group_open(&client, cmd);
    code = code == CMD_OK ? list_run(&client) : code;
    client_close(&client);
    return code;
}

/* --- describe --- */

struct describe_row {
    const char *topic; /* NULL: a member without partitions. */
    int32_t partition;
    int64_t committed;                          /* -1: none. */
    int64_t end, lag;                           /* -1: not known. */
    int64_t lag_ms;                             /* -1: not known. */
    const rd_kafka_MemberDescription_t *member; /* NULL: nobody's. */
};

struct describe {
    struct client client;
    struct group_ask group_ask, offset_ask;
    const rd_kafka_ConsumerGroupDescription_t *group;
    const rd_kafka_topic_partition_list_t *offsets;
    struct describe_row *rows;
    size_t row_count, row_room;
    uint32_t failed;
};

static int describe_compare(const void *left, const void *right)
{
    const struct describe_row *a = left, *b = right;
    if (a->topic == NULL || b->topic == NULL) {
        return (a->topic == NULL) - (b->topic == NULL);
    }
    return group_compare(a->topic, a->partition, b->topic, b->partition);
}

/* The row of a partition, which may be new; NULL: no memory. */
static struct describe_row *describe_row(struct describe *describe, const char *topic,
                                         int32_t partition)
{
    for (size_t i = 0; i < describe->row_count && topic != NULL; i++) {
        struct describe_row *row = &describe->rows[i];
        if (row->topic != NULL && row->partition == partition && strcmp(row->topic, topic) == 0) {
            return row;
        }
    }
    if (describe->row_count == describe->row_room) {
        size_t room = describe->row_room == 0 ? 64 : describe->row_room * 2;
        struct describe_row *rows = realloc(describe->rows, room * sizeof(*rows));
        if (rows == NULL) {
            return NULL;
        }
        describe->rows = rows;
        describe->row_room = room;
    }
    struct describe_row *row = &describe->rows[describe->row_count++];
    *row = (struct describe_row){.topic = topic,
                                 .partition = partition,
                                 .committed = -1,
                                 .end = -1,
                                 .lag = -1,
                                 .lag_ms = -1};
    return row;
}

/* Partitions with an offset, those that a member has, and members that have none. */
static bool describe_gather(struct describe *describe)
{
    for (int i = 0; i < describe->offsets->cnt; i++) {
        const rd_kafka_topic_partition_t *item = &describe->offsets->elems[i];
        struct describe_row *row = describe_row(describe, item->topic, item->partition);
        if (row == NULL) {
            return false;
        }
        row->committed = item->offset >= 0 ? item->offset : -1;
    }
    size_t members = rd_kafka_ConsumerGroupDescription_member_count(describe->group);
    for (size_t i = 0; i < members; i++) {
        const rd_kafka_MemberDescription_t *member =
            rd_kafka_ConsumerGroupDescription_member(describe->group, i);
        const rd_kafka_MemberAssignment_t *assignment =
            rd_kafka_MemberDescription_assignment(member);
        const rd_kafka_topic_partition_list_t *list =
            assignment != NULL ? rd_kafka_MemberAssignment_partitions(assignment) : NULL;
        int count = list != NULL ? list->cnt : 0;
        for (int j = 0; j < count || j == 0; j++) {
            struct describe_row *row =
                count == 0 ? describe_row(describe, NULL, -1)
                           : describe_row(describe, list->elems[j].topic, list->elems[j].partition);
            if (row == NULL) {
                return false;
            }
            row->member = member;
        }
    }
    if (describe->row_count > 0) {
        qsort(describe->rows, describe->row_count, sizeof(*describe->rows), describe_compare);
    }
    return true;
}

/* How far behind: records up to the end, and how long ago the next one to read was appended. */
static void describe_lag(struct describe *describe, struct describe_row *row,
                         rd_kafka_topic_t *topic)
{
    struct client *client = &describe->client;
    int64_t first = 0;
    rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(
        client->rk, row->topic, row->partition, &first, &row->end, GROUP_QUERY_MS);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        char what[400];
        (void)snprintf(what, sizeof(what), "topic \"%s\" partition %" PRId32, row->topic,
                       row->partition);
        (void)client_fail(client, err, what, NULL);
        row->end = -1;
        describe->failed++;
        return;
    }
    if (row->committed < 0) {
        return;
    }
    int64_t from = row->committed > first ? row->committed : first;
    row->lag = row->end > from ? row->end - from : 0;
    row->lag_ms = 0;
    if (row->lag > 0) {
        int64_t time_ms = client_time_at(topic, row->partition, from), now_ms = cmd_now_ms();
        row->lag_ms = time_ms < 0 ? -1 : now_ms > time_ms ? now_ms - time_ms : 0;
    }
}

static void describe_measure(struct describe *describe)
{
    rd_kafka_topic_t *topic = NULL;
    for (size_t i = 0; i < describe->row_count && describe->rows[i].topic != NULL; i++) {
        struct describe_row *row = &describe->rows[i];
        if (topic == NULL || strcmp(rd_kafka_topic_name(topic), row->topic) != 0) {
            if (topic != NULL) {
                rd_kafka_topic_destroy(topic);
            }
            topic = client_topic(&describe->client, row->topic);
        }
        if (topic != NULL) {
            describe_lag(describe, row, topic);
        }
    }
    if (topic != NULL) {
        rd_kafka_topic_destroy(topic);
    }
}

static void describe_number(struct cmd_rows *rows, int64_t number)
{
    if (number < 0) {
        cmd_rows_text(rows, NULL);
    } else {
        cmd_rows_number(rows, number);
    }
}

static int describe_print(struct describe *describe)
{
    static const char *const columns[] = {"topic",       "partition", "committed", "end", "lag",
                                          "lag_seconds", "member",    "client",    "host"};
    struct cmd_rows rows;
    cmd_rows_begin(&rows, describe->client.cmd, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < describe->row_count; i++) {
        const struct describe_row *row = &describe->rows[i];
        const rd_kafka_MemberDescription_t *member = row->member;
        const char *host = member != NULL ? rd_kafka_MemberDescription_host(member) : NULL;
        cmd_rows_text(&rows, row->topic);
        describe_number(&rows, row->partition);
        describe_number(&rows, row->committed);
        describe_number(&rows, row->end);
        describe_number(&rows, row->lag);
        group_seconds(&rows, row->lag_ms);
        cmd_rows_text(&rows,
                      member != NULL ? rd_kafka_MemberDescription_consumer_id(member) : NULL);
        cmd_rows_text(&rows, member != NULL ? rd_kafka_MemberDescription_client_id(member) : NULL);
        cmd_rows_text(&rows, host != NULL && host[0] == '/' ? host + 1 : host);
    }
    return cmd_rows_end(&rows, describe->client.cmd);
}

/* In a table, behind the partitions: the group itself. */
static int describe_print_group(const struct describe *describe)
{
    static const char *const columns[] = {"group", "state", "protocol", "members"};
    struct cmd_rows rows;
    putchar('\n');
    cmd_rows_begin(&rows, describe->client.cmd, columns, ARRAY_COUNT(columns));
    list_row(&rows, describe->client.cmd->operands[0],
             rd_kafka_ConsumerGroupDescription_state(describe->group), describe->group);
    return cmd_rows_end(&rows, describe->client.cmd);
}

static int describe_run(struct describe *describe)
{
    const struct cmd *cmd = describe->client.cmd;
    group_ask_begin(&describe->group_ask, &describe->client,
                    RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    group_ask_begin(&describe->offset_ask, &describe->client,
                    RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    int code = group_describe(&describe->group_ask, true, &describe->group);
    code = code == CMD_OK ? group_offsets(&describe->offset_ask, &describe->offsets) : code;
    if (code != CMD_OK) {
        return code;
    }
    if (!describe_gather(describe)) {
        return cmd_fail(cmd, ERROR_MEMORY, "out of memory");
    }
    describe_measure(describe);
    code = describe_print(describe);
    if (code == CMD_OK && cmd->output == CMD_TABLE) {
        code = describe_print_group(describe);
    }
    if (code == CMD_OK && describe->failed > 0) {
        code = cmd_fail(cmd, ERROR_PARTLY, "%" PRIu32 " partitions could not be asked",
                        describe->failed);
    }
    return code;
}

int cmd_group_describe(const struct cmd *cmd)
{
    struct describe describe = {0};
    int code = group_open(&describe.client, cmd);
    code = code == CMD_OK ? describe_run(&describe) : code;
    group_ask_end(&describe.group_ask);
    group_ask_end(&describe.offset_ask);
    free(describe.rows);
    client_close(&describe.client);
    return code;
}

/* --- delete --- */

static int delete_run(struct client *client)
{
    static const char *const columns[] = {"group", "result"};
    const char *name = client->cmd->operands[0];
    struct group_ask ask;
    size_t count = 0;
    group_ask_begin(&ask, client, RD_KAFKA_ADMIN_OP_DELETEGROUPS);
    rd_kafka_DeleteGroup_t *wish = rd_kafka_DeleteGroup_new(name);
    rd_kafka_DeleteGroups(client->rk, &wish, 1, ask.options, ask.queue);
    rd_kafka_DeleteGroup_destroy(wish);
    int code = group_ask_await(&ask, name);
    if (code == CMD_OK) {
        const rd_kafka_group_result_t **groups = rd_kafka_DeleteGroups_result_groups(
            rd_kafka_event_DeleteGroups_result(ask.event), &count);
        const rd_kafka_error_t *error = count > 0 ? rd_kafka_group_result_error(groups[0]) : NULL;
        if (error != NULL) {
            code =
                group_fail(client, name, rd_kafka_error_code(error), rd_kafka_error_string(error));
        }
    }
    group_ask_end(&ask);
    if (code == CMD_OK) {
        struct cmd_rows rows;
        cmd_rows_begin(&rows, client->cmd, columns, ARRAY_COUNT(columns));
        cmd_rows_text(&rows, name);
        cmd_rows_text(&rows, "deleted");
        code = cmd_rows_end(&rows, client->cmd);
    }
    return code;
}

int cmd_group_delete(const struct cmd *cmd)
{
    struct client client = {0};
    int code = group_open(&client, cmd);
    code = code == CMD_OK ? delete_run(&client) : code;
    client_close(&client);
    return code;
}
