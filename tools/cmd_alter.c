/* floe topic alter: more partitions, other settings. librdkafka 2.0 knows only the request that
 * says all that a topic sets (AlterConfigs), so what is set is read first, and sent again with the
 * changes: of two who alter one topic at the same moment, one may undo the other.
 *
 *     read settings -> are the keys known? -> would it grow as asked? -> alter -> grow
 */
#include "core/limits.h"
#include "tools/cmd_admin.h"
#include "tools/errors.h"

#include <stdio.h>
#include <string.h>

struct alter {
    const struct cmd *cmd;
    struct admin admin;
    const char *pairs[CMD_WORDS_MAX], *deleted[CMD_WORDS_MAX];
    uint32_t pair_count, deleted_count;
    int64_t partitions; /* -1: as many as there are. */
};

static int alter_read_flags(struct alter *alter)
{
    const struct cmd *cmd = alter->cmd;
    alter->pair_count = cmd_values(cmd, "--config", alter->pairs);
    alter->deleted_count = cmd_values(cmd, "--delete-config", alter->deleted);
    alter->partitions = -1;
    int code = cmd_number(cmd, "--partitions", 1, TOPIC_PARTITIONS_MAX, &alter->partitions);
    if (code != CMD_OK) {
        return code;
    }
    if (cmd_value(cmd, "--rf") != NULL) {
        return cmd_fail(cmd, ERROR_LATER,
                        "--rf is not available yet: it comes with more than one node");
    }
    if (alter->partitions < 0 && alter->pair_count == 0 && alter->deleted_count == 0) {
        return cmd_fail(cmd, ERROR_FLAG,
                        "nothing to change: give --partitions N, --config KEY=VALUE or "
                        "--delete-config KEY");
    }
    for (uint32_t i = 0; i < alter->pair_count; i++) {
        char key[ADMIN_KEY_BYTES];
        const char *value;
        code = admin_read_config(cmd, alter->pairs[i], key, &value);
        for (uint32_t j = 0; j < alter->deleted_count && code == CMD_OK; j++) {
            if (strcmp(alter->deleted[j], key) == 0) {
                code = cmd_fail(cmd, ERROR_FLAG, "%s is both set and deleted", key);
            }
        }
        if (code != CMD_OK) {
            return code;
        }
    }
    return CMD_OK;
}

/* Whether a flag is about this key: then what is set now does not matter. */
static bool alter_names(const struct alter *alter, const char *key)
{
    size_t size = strlen(key);
    for (uint32_t i = 0; i < alter->pair_count; i++) {
        if (strncmp(alter->pairs[i], key, size) == 0 && alter->pairs[i][size] == '=') {
            return true;
        }
    }
    for (uint32_t i = 0; i < alter->deleted_count; i++) {
        if (strcmp(alter->deleted[i], key) == 0) {
            return true;
        }
    }
    return false;
}

/* Of a key that is deleted the server hears nothing: it is checked here. */
static int alter_check_deleted(const struct alter *alter, const struct admin_configs *configs)
{
    for (uint32_t i = 0; i < alter->deleted_count; i++) {
        bool known = false;
        for (size_t j = 0; j < configs->count && !known; j++) {
            known = strcmp(rd_kafka_ConfigEntry_name(configs->entries[j]), alter->deleted[i]) == 0;
        }
        if (!known) {
            return cmd_fail(alter->cmd, ERROR_REFUSED,
                            "--delete-config %s: topics have no such config; see floe topic "
                            "describe --configs",
                            alter->deleted[i]);
        }
    }
    return CMD_OK;
}

/* All that the topic sets afterwards. */
static int alter_fill(const struct alter *alter, const struct admin_configs *configs,
                      rd_kafka_ConfigResource_t *resource)
{
    for (size_t i = 0; i < configs->count; i++) {
        const char *key = rd_kafka_ConfigEntry_name(configs->entries[i]);
        const char *value = rd_kafka_ConfigEntry_value(configs->entries[i]);
        if (admin_is_set(configs->entries[i]) && value != NULL && !alter_names(alter, key)) {
            (void)rd_kafka_ConfigResource_set_config(resource, key, value);
        }
    }
    for (uint32_t i = 0; i < alter->pair_count; i++) {
        char key[ADMIN_KEY_BYTES];
        const char *value;
        int code = admin_read_config(alter->cmd, alter->pairs[i], key, &value);
        if (code != CMD_OK) {
            return code;
        }
        if (rd_kafka_ConfigResource_set_config(resource, key, value) !=
            RD_KAFKA_RESP_ERR_NO_ERROR) {
            return cmd_fail(alter->cmd, ERROR_VALUE, "--config %s: not accepted", alter->pairs[i]);
        }
    }
    return CMD_OK;
}

static rd_kafka_AdminOptions_t *alter_options(const struct alter *alter, rd_kafka_admin_op_t op,
                                              bool only_look)
{
    char text[256];
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(alter->admin.client.rk, op);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, ADMIN_ANSWER_MS, text, sizeof(text));
    (void)rd_kafka_AdminOptions_set_validate_only(options, only_look ? 1 : 0, text, sizeof(text));
    return options;
}

static int alter_configs(struct alter *alter, rd_kafka_ConfigResource_t *resource, bool only_look)
{
    int code = CMD_OK;
    if (alter->pair_count + alter->deleted_count == 0) {
        return CMD_OK;
    }
    rd_kafka_AdminOptions_t *options =
        alter_options(alter, RD_KAFKA_ADMIN_OP_ALTERCONFIGS, only_look);
    rd_kafka_AlterConfigs(alter->admin.client.rk, &resource, 1, options, alter->admin.queue);
    rd_kafka_event_t *event = admin_await(&alter->admin.client, alter->admin.queue, &code);
    if (event != NULL) {
        size_t count = 0;
        const rd_kafka_ConfigResource_t **answers = rd_kafka_AlterConfigs_result_resources(
            rd_kafka_event_AlterConfigs_result(event), &count);
        code = admin_judge_resource(&alter->admin.client, answers, count);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    return code;
}

static int alter_partitions(struct alter *alter, bool only_look)
{
    char text[256];
    int code = CMD_OK;
    if (alter->partitions < 0) {
        return CMD_OK;
    }
    rd_kafka_NewPartitions_t *more = rd_kafka_NewPartitions_new(
        alter->cmd->operands[0], (size_t)alter->partitions, text, sizeof(text));
    if (more == NULL) {
        return cmd_fail(alter->cmd, ERROR_CLIENT, "topic \"%s\": %s", alter->cmd->operands[0],
                        text);
    }
    rd_kafka_AdminOptions_t *options =
        alter_options(alter, RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, only_look);
    rd_kafka_CreatePartitions(alter->admin.client.rk, &more, 1, options, alter->admin.queue);
    rd_kafka_event_t *event = admin_await(&alter->admin.client, alter->admin.queue, &code);
    if (event != NULL) {
        size_t count = 0;
        const rd_kafka_topic_result_t **topics = rd_kafka_CreatePartitions_result_topics(
            rd_kafka_event_CreatePartitions_result(event), &count);
        code = admin_judge(&alter->admin, topics, count);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewPartitions_destroy(more);
    return code;
}

/* Both or neither, as far as the server can tell beforehand. */
static int alter_do(struct alter *alter, rd_kafka_ConfigResource_t *resource)
{
    bool both = alter->partitions >= 0 && alter->pair_count + alter->deleted_count > 0;
    int code = both ? alter_partitions(alter, true) : CMD_OK;
    if (code == CMD_OK) {
        code = alter_configs(alter, resource, false);
    }
    if (code == CMD_OK) {
        code = alter_partitions(alter, false);
        code = code != CMD_OK && both ? CMD_PARTLY : code;
    }
    return code;
}

int cmd_topic_alter(const struct cmd *cmd)
{
    struct alter alter = {.cmd = cmd};
    struct admin_configs configs;
    int code = alter_read_flags(&alter);
    if (code != CMD_OK) {
        return code;
    }
    code = admin_open(&alter.admin, cmd, RD_KAFKA_ADMIN_OP_ALTERCONFIGS);
    if (code == CMD_OK) {
        code = admin_read_configs(&alter.admin.client, &configs);
    }
    if (code == CMD_OK) {
        rd_kafka_ConfigResource_t *resource =
            rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, cmd->operands[0]);
        code = alter_check_deleted(&alter, &configs);
        if (code == CMD_OK) {
            code = alter_fill(&alter, &configs, resource);
        }
        rd_kafka_event_destroy(configs.event);
        if (code == CMD_OK) {
            code = alter_do(&alter, resource);
        }
        rd_kafka_ConfigResource_destroy(resource);
    }
    admin_close(&alter.admin);
    return code != CMD_OK ? code : admin_tell(cmd, "altered");
}
