/* What the verbs of a group share: its state, members and offsets, asked by librdkafka. The group
 * is the verb's first operand. */
#pragma once

#include "tools/cmd_client.h"

/* A question on its way, and its answer once it is here: what stands in that lives as long. */
struct group_ask {
    struct client *client;
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options;
    rd_kafka_event_t *event;
};

void group_ask_begin(struct group_ask *ask, struct client *client, rd_kafka_admin_op_t op);

/* CMD_OK: ask->event is there. Else it has said what went wrong with `what`. */
NODISCARD int group_ask_await(struct group_ask *ask, const char *what);
void group_ask_end(struct group_ask *ask);

/* What is refused, as a sentence about the group; returns the exit code. */
int group_fail(struct client *client, const char *group, rd_kafka_resp_err_t err,
               const char *detail);

/* Opens a client and sees that somebody is there; for reading times of records, too. */
NODISCARD int group_open(struct client *client, const struct cmd *cmd);

/* State and members. A group that is not there is an error if `must_be`; else `*group` is NULL. */
NODISCARD int group_describe(struct group_ask *ask, bool must_be,
                             const rd_kafka_ConsumerGroupDescription_t **group);

/* Every offset that the group has committed; valid until group_ask_end(). */
NODISCARD int group_offsets(struct group_ask *ask, const rd_kafka_topic_partition_list_t **offsets);

/* In the order of topics and partitions, for qsort(). */
int group_compare(const char *topic, int32_t partition, const char *other_topic,
                  int32_t other_partition);

/* "1.5" for 1500 ms; ms < 0: nothing. */
void group_seconds(struct cmd_rows *rows, int64_t ms);
