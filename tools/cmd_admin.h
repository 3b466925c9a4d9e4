/* Administration requests about one topic, which is the verb's operand: sent by librdkafka and
 * awaited, their errors turned into sentences and exit codes. */
#pragma once

#include "tools/cmd_client.h"

enum { ADMIN_ANSWER_MS = 30000, ADMIN_KEY_BYTES = 128 };

/* An administration request on its way: the queue that its answer comes to, and its timeout. */
struct admin {
    struct client client;
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options;
};

/* CMD_OK, or an exit code after it has said that nobody is there; admin_close() in any case. */
NODISCARD int admin_open(struct admin *admin, const struct cmd *cmd, rd_kafka_admin_op_t op);
void admin_close(struct admin *admin);

/* Awaits the one event of this request; NULL after it has said what went wrong. */
rd_kafka_event_t *admin_await(struct client *client, rd_kafka_queue_t *queue, int *code);

/* How the one topic of an answer fared; what is refused is said. The second also prints `what`. */
NODISCARD int admin_judge(struct admin *admin, const rd_kafka_topic_result_t *const *topics,
                          size_t count);
NODISCARD int admin_answered(struct admin *admin, const rd_kafka_topic_result_t *const *topics,
                             size_t count, const char *what);
NODISCARD int admin_judge_resource(struct client *client,
                                   const rd_kafka_ConfigResource_t **resources, size_t count);

/* One row: the topic, and what became of it. */
NODISCARD int admin_tell(const struct cmd *cmd, const char *what);

/* Splits "key=value". */
NODISCARD int admin_read_config(const struct cmd *cmd, const char *pair, char key[ADMIN_KEY_BYTES],
                                const char **value);

/* The settings of the topic; with CMD_OK the event is to be destroyed. */
struct admin_configs {
    rd_kafka_event_t *event;
    const rd_kafka_ConfigEntry_t **entries;
    size_t count;
};

NODISCARD int admin_read_configs(struct client *client, struct admin_configs *configs);
bool admin_is_set(const rd_kafka_ConfigEntry_t *entry); /* At the topic. */
const char *admin_source(const rd_kafka_ConfigEntry_t *entry);
