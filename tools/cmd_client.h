/* A connection to a server for the verbs that need one: librdkafka, set up the same way each time,
 * with its errors turned into sentences and exit codes. */
#pragma once

#include "tools/cmd.h"

#include <librdkafka/rdkafka.h>

enum { CLIENT_REASON_BYTES = 256 };

struct client_setting {
    const char *name, *value;
};

struct client_options {
    rd_kafka_type_t type;
    const struct client_setting *settings;
    uint32_t setting_count;
    void (*delivered)(rd_kafka_t *rk, const rd_kafka_message_t *message, void *client);
};

struct client {
    const struct cmd *cmd;
    rd_kafka_t *rk;
    const char *brokers;
    bool down;                        /* No server was reached, since it was set to false. */
    char reason[CLIENT_REASON_BYTES]; /* Of the last connection error; empty: none yet. */
};

/* CMD_OK, or an exit code after it has said what is wrong. The client must not move: librdkafka
 * knows its address. */
NODISCARD int client_open(struct client *client, const struct cmd *cmd,
                          const struct client_options *options);
/* As client_open(), for who looks at a record here and there: makes no topic, fetches little. */
NODISCARD int client_open_looker(struct client *client, const struct cmd *cmd);
void client_close(struct client *client);

/* Whether -b is HOST:PORT, or several, parted by commas. CMD_OK, or CMD_USAGE after it has said
 * what is wrong. client_open() asks, too. */
NODISCARD int client_check_brokers(const struct cmd *cmd, const char *brokers);

/* Asks for one topic (made on the way if the server makes topics when named) or, with NULL, for
 * all. CMD_OK: `*metadata` is to be freed with rd_kafka_metadata_destroy(). */
NODISCARD int client_metadata(struct client *client, const char *topic,
                              const struct rd_kafka_metadata **metadata);

/* "cannot reach ..." or, once connected, the error itself; returns the exit code. */
int client_fail(struct client *client, rd_kafka_resp_err_t err, const char *what,
                const char *detail);

/* The exit code of an error. */
int client_exit(rd_kafka_resp_err_t err);

/* A handle that knows its leaders now: unasked, librdkafka would look within a second. NULL: the
 * name is none. */
rd_kafka_topic_t *client_topic(struct client *client, const char *name);

/* For a consumer: the time of the record at `offset`, or of the first one behind it; -1: none
 * came. */
int64_t client_time_at(rd_kafka_topic_t *topic, int32_t partition, int64_t offset);
