/* Administration requests of the topic verbs, by librdkafka: asked, awaited, judged. */
#include "tools/cmd_admin.h"
#include "tools/errors.h"

#include <stdio.h>
#include <string.h>

int admin_open(struct admin *admin, const struct cmd *cmd, rd_kafka_admin_op_t op)
{
    char text[256];
    *admin = (struct admin){0};
    int code =
        client_open(&admin->client, cmd, &(struct client_options){.type = RD_KAFKA_PRODUCER});
    if (code != CMD_OK) {
        return code;
    }
    admin->queue = rd_kafka_queue_new(admin->client.rk);
    admin->options = rd_kafka_AdminOptions_new(admin->client.rk, op);
    (void)rd_kafka_AdminOptions_set_request_timeout(admin->options, ADMIN_ANSWER_MS, text,
                                                    sizeof(text));
    (void)rd_kafka_AdminOptions_set_operation_timeout(admin->options, ADMIN_ANSWER_MS, text,
                                                      sizeof(text));
    /* Says within seconds that nobody is there; the request itself would wait for half a minute. */
    const struct rd_kafka_metadata *metadata;
    code = client_metadata(&admin->client, NULL, &metadata);
    if (code == CMD_OK) {
        rd_kafka_metadata_destroy(metadata);
    }
    return code;
}

void admin_close(struct admin *admin)
{
    if (admin->options != NULL) {
        rd_kafka_AdminOptions_destroy(admin->options);
    }
    if (admin->queue != NULL) {
        rd_kafka_queue_destroy(admin->queue);
    }
    client_close(&admin->client);
}

int admin_judge(struct admin *admin, const rd_kafka_topic_result_t *const *topics, size_t count)
{
    const struct cmd *cmd = admin->client.cmd;
    char sentence[400];
    if (count != 1) {
        return cmd_fail(cmd, ERROR_REFUSED, "the server answered for %zu topics instead of one",
                        count);
    }
    rd_kafka_resp_err_t err = rd_kafka_topic_result_error(topics[0]);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)snprintf(sentence, sizeof(sentence), "topic \"%s\"", cmd->operands[0]);
        return client_fail(&admin->client, err, sentence,
                           rd_kafka_topic_result_error_string(topics[0]));
    }
    return CMD_OK;
}

int admin_tell(const struct cmd *cmd, const char *what)
{
    static const char *const columns[] = {"topic", "result"};
    struct cmd_rows rows;
    cmd_rows_begin(&rows, cmd, columns, ARRAY_COUNT(columns));
    cmd_rows_text(&rows, cmd->operands[0]);
    cmd_rows_text(&rows, what);
    return cmd_rows_end(&rows, cmd);
}

int admin_answered(struct admin *admin, const rd_kafka_topic_result_t *const *topics, size_t count,
                   const char *what)
{
    int code = admin_judge(admin, topics, count);
    return code != CMD_OK ? code : admin_tell(admin->client.cmd, what);
}

rd_kafka_event_t *admin_await(struct client *client, rd_kafka_queue_t *queue, int *code)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ADMIN_ANSWER_MS + 5000);
    rd_kafka_resp_err_t err =
        event != NULL ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return event;
    }
    *code = client_fail(client, err, client->cmd->operands[0],
                        event != NULL ? rd_kafka_event_error_string(event) : NULL);
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    return NULL;
}

int admin_read_config(const struct cmd *cmd, const char *pair, char key[ADMIN_KEY_BYTES],
                      const char **value)
{
    const char *equals = strchr(pair, '=');
    if (equals == NULL || equals == pair || equals - pair >= ADMIN_KEY_BYTES) {
        return cmd_fail(cmd, ERROR_VALUE, "--config %s: write it as key=value", pair);
    }
    (void)snprintf(key, ADMIN_KEY_BYTES, "%.*s", (int)(equals - pair), pair);
    *value = equals + 1;
    return CMD_OK;
}

bool admin_is_set(const rd_kafka_ConfigEntry_t *entry)
{
    return rd_kafka_ConfigEntry_source(entry) == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG;
}

const char *admin_source(const rd_kafka_ConfigEntry_t *entry)
{
    rd_kafka_ConfigSource_t source = rd_kafka_ConfigEntry_source(entry);
    return admin_is_set(entry)                                     ? "topic"
           : source == RD_KAFKA_CONFIG_SOURCE_STATIC_BROKER_CONFIG ? "node"
           : source == RD_KAFKA_CONFIG_SOURCE_DEFAULT_CONFIG       ? "default"
                                                                   : "other";
}

int admin_read_configs(struct client *client, struct admin_configs *configs)
{
    const struct cmd *cmd = client->cmd;
    char text[256];
    int code = CMD_OK;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client->rk);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(client->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, ADMIN_ANSWER_MS, text, sizeof(text));
    rd_kafka_ConfigResource_t *asked =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, cmd->operands[0]);
    rd_kafka_DescribeConfigs(client->rk, &asked, 1, options, queue);
    *configs = (struct admin_configs){.event = admin_await(client, queue, &code)};
    rd_kafka_ConfigResource_destroy(asked);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    if (configs->event == NULL) {
        return code;
    }
    size_t count = 0;
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(configs->event), &count);
    code = admin_judge_resource(client, resources, count);
    if (code != CMD_OK) {
        rd_kafka_event_destroy(configs->event);
        return code;
    }
    configs->entries = rd_kafka_ConfigResource_configs(resources[0], &configs->count);
    return CMD_OK;
}

int admin_judge_resource(struct client *client, const rd_kafka_ConfigResource_t **resources,
                         size_t count)
{
    const struct cmd *cmd = client->cmd;
    char sentence[400];
    if (count != 1) {
        return cmd_fail(cmd, ERROR_REFUSED, "the server answered for %zu topics instead of one",
                        count);
    }
    rd_kafka_resp_err_t err = rd_kafka_ConfigResource_error(resources[0]);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)snprintf(sentence, sizeof(sentence), "topic \"%s\"", cmd->operands[0]);
        return client_fail(client, err, sentence,
                           rd_kafka_ConfigResource_error_string(resources[0]));
    }
    return CMD_OK;
}
