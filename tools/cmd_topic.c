/* floe topic: create, list, describe, delete, by Kafka's administration requests. */
#include "core/assert.h"
#include "core/limits.h"
#include "tools/cmd_admin.h"
#include "tools/errors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TOPIC_QUERY_MS = 5000 };

/* The --config flags into `topic`. */
static int topic_set_configs(const struct cmd *cmd, rd_kafka_NewTopic_t *topic)
{
    const char *pairs[CMD_WORDS_MAX];
    uint32_t count = cmd_values(cmd, "--config", pairs);
    for (uint32_t i = 0; i < count; i++) {
        char key[ADMIN_KEY_BYTES];
        const char *value;
        int code = admin_read_config(cmd, pairs[i], key, &value);
        if (code != CMD_OK) {
            return code;
        }
        if (rd_kafka_NewTopic_set_config(topic, key, value) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return cmd_fail(cmd, ERROR_VALUE, "--config %s: not accepted", pairs[i]);
        }
    }
    return CMD_OK;
}

static int topic_create_ask(struct admin *admin, rd_kafka_NewTopic_t *topic)
{
    int code = CMD_OK;
    rd_kafka_CreateTopics(admin->client.rk, &topic, 1, admin->options, admin->queue);
    rd_kafka_event_t *event = admin_await(&admin->client, admin->queue, &code);
    if (event == NULL) {
        return code;
    }
    size_t count = 0;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    code = admin_answered(admin, results, count, "created");
    rd_kafka_event_destroy(event);
    return code;
}

int cmd_topic_create(const struct cmd *cmd)
{
    char text[256];
    int64_t partitions = -1, replicas = -1; /* -1: the server's default. */
    int code = cmd_number(cmd, "--partitions", 1, TOPIC_PARTITIONS_MAX, &partitions);
    if (code == CMD_OK) {
        code = cmd_number(cmd, "--rf", 1, INT16_MAX, &replicas);
    }
    if (code != CMD_OK) {
        return code;
    }
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(cmd->operands[0], (int)partitions, (int)replicas, text, sizeof(text));
    if (topic == NULL) {
        return cmd_fail(cmd, ERROR_CLIENT, "topic \"%s\": %s", cmd->operands[0], text);
    }
    code = topic_set_configs(cmd, topic);
    if (code == CMD_OK) {
        struct admin admin;
        code = admin_open(&admin, cmd, RD_KAFKA_ADMIN_OP_CREATETOPICS);
        if (code == CMD_OK) {
            code = topic_create_ask(&admin, topic);
        }
        admin_close(&admin);
    }
    rd_kafka_NewTopic_destroy(topic);
    return code;
}

int cmd_topic_delete(const struct cmd *cmd)
{
    struct admin admin;
    int code = admin_open(&admin, cmd, RD_KAFKA_ADMIN_OP_DELETETOPICS);
    if (code == CMD_OK) {
        rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(cmd->operands[0]);
        rd_kafka_DeleteTopics(admin.client.rk, &topic, 1, admin.options, admin.queue);
        rd_kafka_event_t *event = admin_await(&admin.client, admin.queue, &code);
        if (event != NULL) {
            size_t count = 0;
            const rd_kafka_topic_result_t **results = rd_kafka_DeleteTopics_result_topics(
                rd_kafka_event_DeleteTopics_result(event), &count);
            code = admin_answered(&admin, results, count, "deleted");
            rd_kafka_event_destroy(event);
        }
        rd_kafka_DeleteTopic_destroy(topic);
    }
    admin_close(&admin);
    return code;
}

int cmd_topic_list(const struct cmd *cmd)
{
    static const char *const columns[] = {"topic", "partitions", "replicas"};
    struct client client;
    const struct rd_kafka_metadata *metadata;
    int code = client_open(&client, cmd, &(struct client_options){.type = RD_KAFKA_PRODUCER});
    if (code == CMD_OK) {
        code = client_metadata(&client, NULL, &metadata);
    }
    if (code == CMD_OK) {
        struct cmd_rows rows;
        cmd_rows_begin(&rows, cmd, columns, ARRAY_COUNT(columns));
        for (int i = 0; i < metadata->topic_cnt; i++) {
            const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];
            cmd_rows_text(&rows, topic->topic);
            cmd_rows_number(&rows, topic->partition_cnt);
            cmd_rows_number(&rows, topic->partition_cnt > 0 ? topic->partitions[0].replica_cnt : 0);
        }
        code = cmd_rows_end(&rows, cmd);
        rd_kafka_metadata_destroy(metadata);
    }
    client_close(&client);
    return code;
}

/* "[1,2]" and "1,2". */
static void topic_nodes(struct cmd_rows *rows, const int32_t *nodes, int count)
{
    char json[256] = "[";
    size_t used = 1;
    for (int i = 0; i < count && used + 16 < sizeof(json); i++) {
        used += (size_t)snprintf(json + used, sizeof(json) - used, "%s%" PRId32, i > 0 ? "," : "",
                                 nodes[i]);
    }
    json[used] = '\0';
    char text[256];
    (void)snprintf(text, sizeof(text), "%s", json + 1);
    (void)snprintf(json + used, sizeof(json) - used, "]");
    cmd_rows_json(rows, json, text);
}

static int topic_describe_partitions(struct client *client,
                                     const struct rd_kafka_metadata_topic *topic)
{
    static const char *const columns[] = {"partition", "leader",      "replicas", "in_sync",
                                          "first",     "next_offset", "records"};
    const struct cmd *cmd = client->cmd;
    struct cmd_rows rows;
    int failed = CMD_OK;
    cmd_rows_begin(&rows, cmd, columns, ARRAY_COUNT(columns));
    for (int i = 0; i < topic->partition_cnt; i++) {
        const struct rd_kafka_metadata_partition *partition = &topic->partitions[i];
        int64_t first = -1, next = -1;
        rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(
            client->rk, topic->topic, partition->id, &first, &next, TOPIC_QUERY_MS);
        cmd_rows_number(&rows, partition->id);
        cmd_rows_number(&rows, partition->leader);
        topic_nodes(&rows, partition->replicas, partition->replica_cnt);
        topic_nodes(&rows, partition->isrs, partition->isr_cnt);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            cmd_rows_number(&rows, first);
            cmd_rows_number(&rows, next);
            cmd_rows_number(&rows, next - first);
        } else {
            cmd_rows_text(&rows, NULL);
            cmd_rows_text(&rows, NULL);
            cmd_rows_text(&rows, NULL);
            failed = cmd_fail(cmd, ERROR_PARTLY, "offsets of partition %" PRId32 ": %s",
                              partition->id, rd_kafka_err2str(err));
        }
    }
    int code = cmd_rows_end(&rows, cmd);
    return code != CMD_OK ? code : failed;
}

/* Those that the topic sets, or with --configs all of them. */
static int topic_describe_configs(struct client *client, bool all)
{
    static const char *const columns[] = {"config", "value", "source"};
    struct admin_configs configs;
    int code = admin_read_configs(client, &configs);
    if (code != CMD_OK) {
        return code;
    }
    struct cmd_rows rows;
    uint32_t shown = 0;
    for (size_t i = 0; i < configs.count; i++) {
        shown += all || admin_is_set(configs.entries[i]);
    }
    if (shown > 0 || all) {
        if (!all) {
            putchar('\n');
        }
        cmd_rows_begin(&rows, client->cmd, columns, ARRAY_COUNT(columns));
        for (size_t i = 0; i < configs.count; i++) {
            if (all || admin_is_set(configs.entries[i])) {
                cmd_rows_text(&rows, rd_kafka_ConfigEntry_name(configs.entries[i]));
                cmd_rows_text(&rows, rd_kafka_ConfigEntry_value(configs.entries[i]));
                cmd_rows_text(&rows, admin_source(configs.entries[i]));
            }
        }
        code = cmd_rows_end(&rows, client->cmd);
    }
    rd_kafka_event_destroy(configs.event);
    return code;
}

int cmd_topic_describe(const struct cmd *cmd)
{
    struct client client;
    const struct rd_kafka_metadata *metadata;
    bool configs = cmd_value(cmd, "--configs") != NULL;
    /* As a consumer: a question must not make the topic. */
    int code = client_open(&client, cmd, &(struct client_options){.type = RD_KAFKA_CONSUMER});
    if (code == CMD_OK) {
        code = client_metadata(&client, cmd->operands[0], &metadata);
    }
    if (code == CMD_OK) {
        ASSERT(metadata->topic_cnt == 1);
        if (!configs) {
            code = topic_describe_partitions(&client, &metadata->topics[0]);
        }
        if (configs || (code == CMD_OK && cmd->output == CMD_TABLE)) {
            code = topic_describe_configs(&client, configs);
        }
        rd_kafka_metadata_destroy(metadata);
    }
    client_close(&client);
    return code;
}
