/* librdkafka for the verbs: opened with few settings, waited for with patience of a few seconds,
 * its own log kept away from the terminal. */
#include "tools/cmd_client.h"

#include "core/assert.h"
#include "tools/errors.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    CLIENT_WAIT_MS = 10000,        /* For a server that takes its time. */
    CLIENT_REFUSED_WAIT_MS = 1500, /* For one that is not there: it may be starting. */
    CLIENT_ASK_MS = 500,
    CLIENT_POLL_MS = 100,
};

static int64_t client_now_ms(void)
{
    struct timespec now;
    int result = clock_gettime(CLOCK_MONOTONIC, &now);
    ASSERT(result == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The kind of an error of librdkafka or of the server. */
static int client_kind(rd_kafka_resp_err_t err)
{
    static const struct {
        rd_kafka_resp_err_t err;
        enum error error;
    } table[] = {
        {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ERROR_TOPIC_UNKNOWN},
        {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, ERROR_TOPIC_UNKNOWN},
        {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, ERROR_PARTITION_UNKNOWN},
        {RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, ERROR_TOPIC_EXISTS},
        {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, ERROR_TOPIC_INVALID},
        {RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, ERROR_TOPIC_INVALID},
        {RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, ERROR_TOPIC_INVALID},
        {RD_KAFKA_RESP_ERR_INVALID_CONFIG, ERROR_TOPIC_INVALID},
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ERROR_RECORD_TOO_LARGE},
        {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, ERROR_RECORD_TOO_LARGE},
        {RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, ERROR_OFFSET},
        {RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, ERROR_OFFSET},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ERROR_DENIED},
        {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, ERROR_DENIED},
        {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, ERROR_DENIED},
        {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, ERROR_DENIED},
        {RD_KAFKA_RESP_ERR__AUTHENTICATION, ERROR_DENIED},
        {RD_KAFKA_RESP_ERR__TRANSPORT, ERROR_UNREACHABLE},
        {RD_KAFKA_RESP_ERR__RESOLVE, ERROR_UNREACHABLE},
        {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, ERROR_UNREACHABLE},
        {RD_KAFKA_RESP_ERR__TIMED_OUT, ERROR_RETRY},
        {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, ERROR_RETRY},
        {RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, ERROR_RETRY},
        {RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, ERROR_RETRY},
        {RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, ERROR_RETRY},
        {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, ERROR_RETRY},
        {RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, ERROR_RETRY},
        {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, ERROR_RETRY},
        {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, ERROR_RETRY},
        {RD_KAFKA_RESP_ERR_NOT_CONTROLLER, ERROR_RETRY},
        {RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, ERROR_RETRY},
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(table); i++) {
        if (table[i].err == err) {
            return (int)table[i].error;
        }
    }
    return ERROR_REFUSED;
}

int client_exit(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR_NO_ERROR ? CMD_OK : errors_exit(client_kind(err));
}

int client_check_brokers(const struct cmd *cmd, const char *brokers)
{
    if (brokers[0] == '\0') {
        return cmd_fail(cmd, ERROR_VALUE, "-b is empty: give HOST:PORT");
    }
    if (strstr(brokers, "://") != NULL) {
        return cmd_fail(cmd, ERROR_VALUE, "-b %s: write it as HOST:PORT, without a protocol",
                        brokers);
    }
    for (const char *at = brokers; *at != '\0';) {
        char port[8] = "9092";
        int64_t number = 0;
        size_t size = strcspn(at, ",");
        const char *colon = memrchr(at, ':', size), *bracket = memrchr(at, ']', size);
        if (colon != NULL && (bracket == NULL || bracket < colon)) {
            (void)snprintf(port, sizeof(port), "%.*s", (int)((size_t)(at - colon) + size) - 1,
                           colon + 1);
        }
        if (size == 0 || colon == at || !cmd_parse_number(port, &number) || number < 1 ||
            number > UINT16_MAX) {
            return cmd_fail(cmd, ERROR_VALUE, "-b %s: give HOST:PORT, with a port from 1 to %d",
                            brokers, UINT16_MAX);
        }
        at += size + (at[size] == ',');
    }
    return CMD_OK;
}

/* Runs in rd_kafka_poll(), on our thread; what librdkafka says around the reason is left out. */
static void client_hears_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct client *client = opaque;
    (void)rk;
    client->down = client->down || err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
    if (err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        const char *bootstrap = strstr(reason, "/bootstrap: ");
        reason = bootstrap != NULL ? bootstrap + strlen("/bootstrap: ") : reason;
        (void)snprintf(client->reason, sizeof(client->reason), "%s", reason);
        char *after = strstr(client->reason, " (after ");
        if (after != NULL) {
            *after = '\0';
        }
    }
}

/* Nothing but data on stdout, nothing but our sentences on stderr. */
static void client_hears_log(const rd_kafka_t *rk, int level, const char *facility,
                             const char *text)
{
    (void)rk;
    (void)level;
    (void)facility;
    (void)text;
}

static int client_configure(struct client *client, rd_kafka_conf_t *conf,
                            const struct client_options *options)
{
    char text[512];
    const struct client_setting own[] = {
        {"bootstrap.servers", client->brokers}, {"client.id", "floe"},
        {"reconnect.backoff.ms", "50"},         {"reconnect.backoff.max.ms", "1000"},
        {"socket.keepalive.enable", "true"},
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(own) + options->setting_count; i++) {
        const struct client_setting *setting =
            i < ARRAY_COUNT(own) ? &own[i] : &options->settings[i - ARRAY_COUNT(own)];
        if (rd_kafka_conf_set(conf, setting->name, setting->value, text, sizeof(text)) !=
            RD_KAFKA_CONF_OK) {
            return cmd_fail(client->cmd, ERROR_CLIENT, "%s: check the value given", text);
        }
    }
    return CMD_OK;
}

int client_open(struct client *client, const struct cmd *cmd, const struct client_options *options)
{
    char text[512];
    const char *brokers = cmd_value(cmd, "--broker");
    *client = (struct client){.cmd = cmd, .brokers = brokers != NULL ? brokers : "localhost:9092"};
    int code = client_check_brokers(cmd, client->brokers);
    if (code != CMD_OK) {
        return code;
    }
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    code = client_configure(client, conf, options);
    if (code != CMD_OK) {
        rd_kafka_conf_destroy(conf);
        return code;
    }
    rd_kafka_conf_set_opaque(conf, client);
    rd_kafka_conf_set_error_cb(conf, client_hears_error);
    rd_kafka_conf_set_log_cb(conf, client_hears_log);
    if (options->delivered != NULL) {
        rd_kafka_conf_set_dr_msg_cb(conf, options->delivered);
    }
    client->rk = rd_kafka_new(options->type, conf, text, sizeof(text));
    if (client->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return cmd_fail(cmd, ERROR_OTHER, "cannot start the client: %s", text);
    }
    return CMD_OK;
}

int client_open_looker(struct client *client, const struct cmd *cmd)
{
    static const struct client_setting settings[] = {
        {"allow.auto.create.topics", "false"},
        {"auto.offset.reset", "error"},
        {"fetch.wait.max.ms", "100"},
        {"fetch.message.max.bytes", "65536"},
    };
    const struct client_options options = {
        .type = RD_KAFKA_CONSUMER, .settings = settings, .setting_count = ARRAY_COUNT(settings)};
    return client_open(client, cmd, &options);
}

void client_close(struct client *client)
{
    if (client->rk != NULL) {
        rd_kafka_destroy(client->rk);
        client->rk = NULL;
    }
}

int client_fail(struct client *client, rd_kafka_resp_err_t err, const char *what,
                const char *detail)
{
    int error = client_kind(err);
    bool unavailable = errors_exit(error) == CMD_UNAVAILABLE;
    if (unavailable && client->reason[0] != '\0') {
        return cmd_fail(client->cmd, ERROR_UNREACHABLE,
                        "%s: cannot reach %s: %s. Is floe serve running there? Give another "
                        "address with -b HOST:PORT",
                        what, client->brokers, client->reason);
    }
    const char *advice = unavailable ? ". Try again later" : "";
    const char *words = rd_kafka_err2str(err);
    if (detail == NULL || strcmp(detail, words) == 0) {
        detail = err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                     ? "it does not exist; floe topic list names what does"
                 : err == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION
                     ? "a name is 1 to 249 of A-Z a-z 0-9 . _ -, and not . or .."
                     : words;
    }
    return cmd_fail(client->cmd, error, "%s: %s%s", what, detail, advice);
}

/* Whether the answer is worth another look: the topic is being made. */
static bool client_is_early(const struct rd_kafka_metadata *metadata)
{
    for (int i = 0; i < metadata->topic_cnt; i++) {
        rd_kafka_resp_err_t err = metadata->topics[i].err;
        if (err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) {
            return true;
        }
    }
    return metadata->broker_cnt == 0;
}

int client_metadata(struct client *client, const char *topic,
                    const struct rd_kafka_metadata **metadata)
{
    char what[300];
    rd_kafka_topic_t *one = NULL;
    if (topic != NULL) {
        one = rd_kafka_topic_new(client->rk, topic, NULL);
        if (one == NULL) {
            return cmd_fail(client->cmd, ERROR_CLIENT, "topic \"%s\": %s", topic,
                            rd_kafka_err2str(rd_kafka_last_error()));
        }
    }
    int64_t start_ms = client_now_ms();
    rd_kafka_resp_err_t err;
    bool again;
    do {
        err = rd_kafka_metadata(client->rk, one == NULL, one, metadata, CLIENT_ASK_MS);
        (void)rd_kafka_poll(client->rk, 0);
        bool early = err == RD_KAFKA_RESP_ERR_NO_ERROR && client_is_early(*metadata);
        int64_t waited_ms = client_now_ms() - start_ms;
        bool refused = client->reason[0] != '\0' && waited_ms > CLIENT_REFUSED_WAIT_MS;
        again = (early || (client_exit(err) == CMD_UNAVAILABLE && !refused)) &&
                waited_ms < CLIENT_WAIT_MS;
        if (early && again) {
            rd_kafka_metadata_destroy(*metadata);
            (void)rd_kafka_poll(client->rk, CLIENT_ASK_MS / 10);
        }
    } while (again);
    if (one != NULL) {
        rd_kafka_topic_destroy(one);
    }
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)snprintf(what, sizeof(what), "%s%s", topic != NULL ? "topic " : "topics",
                       topic != NULL ? topic : "");
        return client_fail(client, err, what, NULL);
    }
    if (topic != NULL && (*metadata)->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        err = (*metadata)->topics[0].err;
        rd_kafka_metadata_destroy(*metadata);
        if (client_exit(err) == CMD_NOT_FOUND) {
            return cmd_fail(client->cmd, ERROR_TOPIC_UNKNOWN,
                            "topic \"%s\" does not exist on %s: make it with floe topic create %s",
                            topic, client->brokers, topic);
        }
        (void)snprintf(what, sizeof(what), "topic \"%s\"", topic);
        return client_fail(client, err, what, NULL);
    }
    client->reason[0] = '\0';
    return CMD_OK;
}

rd_kafka_topic_t *client_topic(struct client *client, const char *name)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client->rk, name, NULL);
    if (topic != NULL && rd_kafka_metadata(client->rk, 0, topic, &metadata, CLIENT_WAIT_MS) ==
                             RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_metadata_destroy(metadata);
    }
    return topic;
}

int64_t client_time_at(rd_kafka_topic_t *topic, int32_t partition, int64_t offset)
{
    int64_t time_ms = -1;
    if (rd_kafka_consume_start(topic, partition, offset) != 0) {
        return -1;
    }
    for (int64_t waited_ms = 0; waited_ms < CLIENT_WAIT_MS; waited_ms += CLIENT_POLL_MS) {
        rd_kafka_message_t *message = rd_kafka_consume(topic, partition, CLIENT_POLL_MS);
        if (message == NULL) {
            continue;
        }
        bool ends = message->err == RD_KAFKA_RESP_ERR_NO_ERROR ||
                    client_exit(message->err) != CMD_UNAVAILABLE;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            time_ms = rd_kafka_message_timestamp(message, NULL);
        }
        rd_kafka_message_destroy(message);
        if (ends) {
            break;
        }
    }
    (void)rd_kafka_consume_stop(topic, partition);
    return time_ms;
}
