/* See cmd_group.h. */
#include "tools/cmd_group.h"
#include "tools/errors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { GROUP_ANSWER_MS = 30000 };

void group_ask_begin(struct group_ask *ask, struct client *client, rd_kafka_admin_op_t op)
{
    char text[256];
    *ask = (struct group_ask){.client = client,
                              .queue = rd_kafka_queue_new(client->rk),
                              .options = rd_kafka_AdminOptions_new(client->rk, op)};
    (void)rd_kafka_AdminOptions_set_request_timeout(ask->options, GROUP_ANSWER_MS, text,
                                                    sizeof(text));
}

int group_ask_await(struct group_ask *ask, const char *what)
{
    ask->event = rd_kafka_queue_poll(ask->queue, GROUP_ANSWER_MS + 5000);
    rd_kafka_resp_err_t err =
        ask->event != NULL ? rd_kafka_event_error(ask->event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return CMD_OK;
    }
    return client_fail(ask->client, err, what,
                       ask->event != NULL ? rd_kafka_event_error_string(ask->event) : NULL);
}

void group_ask_end(struct group_ask *ask)
{
    if (ask->event != NULL) {
        rd_kafka_event_destroy(ask->event);
    }
    if (ask->options != NULL) {
        rd_kafka_AdminOptions_destroy(ask->options);
    }
    if (ask->queue != NULL) {
        rd_kafka_queue_destroy(ask->queue);
    }
    *ask = (struct group_ask){0};
}

int group_fail(struct client *client, const char *group, rd_kafka_resp_err_t err,
               const char *detail)
{
    char what[400];
    switch ((int)err) {
    case RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND:
        return cmd_fail(client->cmd, ERROR_GROUP_UNKNOWN,
                        "group \"%s\" does not exist on %s; floe group list names what does", group,
                        client->brokers);
    case RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID: /* Says a group with members to who is none. */
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
        return cmd_fail(client->cmd, ERROR_GROUP_BUSY,
                        "group \"%s\" has members that consume now: stop them first; floe group "
                        "describe %s shows which",
                        group, group);
    default:
        (void)snprintf(what, sizeof(what), "group \"%s\"", group);
        return client_fail(client, err, what, detail);
    }
}

int group_open(struct client *client, const struct cmd *cmd)
{
    const struct rd_kafka_metadata *metadata;
    if (cmd->operand_count > 0 && cmd->operands[0][0] == '\0') {
        return cmd_fail(cmd, ERROR_OPERAND,
                        "GROUP is empty: floe group list names those there are");
    }
    int code = client_open_looker(client, cmd);
    if (code == CMD_OK) {
        /* Within seconds; a request of administration would wait for half a minute. */
        code = client_metadata(client, NULL, &metadata);
    }
    if (code == CMD_OK) {
        rd_kafka_metadata_destroy(metadata);
    }
    return code;
}

int group_describe(struct group_ask *ask, bool must_be,
                   const rd_kafka_ConsumerGroupDescription_t **group)
{
    struct client *client = ask->client;
    const char *name = client->cmd->operands[0];
    size_t count = 0;
    rd_kafka_DescribeConsumerGroups(client->rk, &name, 1, ask->options, ask->queue);
    int code = group_ask_await(ask, name);
    if (code != CMD_OK) {
        return code;
    }
    const rd_kafka_ConsumerGroupDescription_t **groups =
        rd_kafka_DescribeConsumerGroups_result_groups(
            rd_kafka_event_DescribeConsumerGroups_result(ask->event), &count);
    if (count != 1) {
        return cmd_fail(client->cmd, ERROR_REFUSED,
                        "the server answered for %zu groups instead of one", count);
    }
    const rd_kafka_error_t *error = rd_kafka_ConsumerGroupDescription_error(groups[0]);
    rd_kafka_resp_err_t err =
        error != NULL ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    bool dead =
        err == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND ||
        (err == RD_KAFKA_RESP_ERR_NO_ERROR &&
         rd_kafka_ConsumerGroupDescription_state(groups[0]) == RD_KAFKA_CONSUMER_GROUP_STATE_DEAD);
    *group = dead ? NULL : groups[0];
    if (dead && !must_be) {
        return CMD_OK;
    }
    if (dead) {
        err = RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND;
    }
    return err == RD_KAFKA_RESP_ERR_NO_ERROR
               ? CMD_OK
               : group_fail(client, name, err, error != NULL ? rd_kafka_error_string(error) : NULL);
}

int group_offsets(struct group_ask *ask, const rd_kafka_topic_partition_list_t **offsets)
{
    struct client *client = ask->client;
    const char *name = client->cmd->operands[0];
    size_t count = 0;
    rd_kafka_ListConsumerGroupOffsets_t *wish = rd_kafka_ListConsumerGroupOffsets_new(name, NULL);
    rd_kafka_ListConsumerGroupOffsets(client->rk, &wish, 1, ask->options, ask->queue);
    rd_kafka_ListConsumerGroupOffsets_destroy(wish);
    int code = group_ask_await(ask, name);
    if (code != CMD_OK) {
        return code;
    }
    const rd_kafka_group_result_t **groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
        rd_kafka_event_ListConsumerGroupOffsets_result(ask->event), &count);
    if (count != 1) {
        return cmd_fail(client->cmd, ERROR_REFUSED,
                        "the server answered for %zu groups instead of one", count);
    }
    const rd_kafka_error_t *error = rd_kafka_group_result_error(groups[0]);
    if (error != NULL) {
        return group_fail(client, name, rd_kafka_error_code(error), rd_kafka_error_string(error));
    }
    *offsets = rd_kafka_group_result_partitions(groups[0]);
    return CMD_OK;
}

int group_compare(const char *topic, int32_t partition, const char *other_topic,
                  int32_t other_partition)
{
    int order = strcmp(topic, other_topic);
    return order != 0 ? order : partition < other_partition ? -1 : partition > other_partition;
}

void group_seconds(struct cmd_rows *rows, int64_t ms)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%" PRId64 ".%03d", ms / 1000, (int)(ms % 1000));
    if (ms < 0) {
        cmd_rows_text(rows, NULL);
    } else {
        cmd_rows_json(rows, text, text);
    }
}
