/* floe consume: prints records of all partitions of a topic, or of one, without a consumer group.
 *
 *     per partition:  from --> reading --> done       by --until, or at the end of what there was
 *     ends when all are done, N records are printed, or on SIGINT and SIGTERM
 */
#include "core/assert.h"
#include "tools/cmd_client.h"
#include "tools/cmd_record.h"
#include "tools/cmd_where.h"
#include "tools/errors.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    CONSUME_QUERY_MS = 10000,
    CONSUME_POLL_MS = 100,
    CONSUME_SIGNAL_RECORDS = 128, /* While records are at hand, signals are looked for so often. */
};

struct consume_partition {
    int32_t id;
    int64_t from;  /* As librdkafka takes it. */
    int64_t until; /* First offset not to print; INT64_MAX = none. */
    bool done;
};

struct consume {
    struct client client;
    const char *topic;
    struct cmd_format format;
    const char *filters[CMD_WORDS_MAX]; /* All are in the key or the value. */
    uint32_t filter_count;
    rd_kafka_topic_t *handle;
    rd_kafka_queue_t *queue;
    struct consume_partition *partitions;
    uint32_t partition_count, reading;
    struct cmd_where where;
    int64_t until; /* First offset not to print; INT64_MAX: none. */
    bool until_end, told_down;
    int64_t left; /* Records to print. */
    struct cmd_rows rows;
    sigset_t signals;
};

/* The next header of a message. */
static bool consume_header(const struct cmd_record *record, size_t index,
                           struct cmd_record_header *header)
{
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(record->context, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_header_get_all(headers, index, &header->name, &header->value,
                                &header->value_size) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return false;
    }
    header->name_size = strlen(header->name);
    return true;
}

static bool consume_wants(const struct consume *consume, const rd_kafka_message_t *message)
{
    for (uint32_t i = 0; i < consume->filter_count; i++) {
        const char *text = consume->filters[i];
        size_t size = strlen(text);
        bool in_key =
            message->key != NULL && memmem(message->key, message->key_len, text, size) != NULL;
        bool in_value =
            message->payload != NULL && memmem(message->payload, message->len, text, size) != NULL;
        if (!in_key && !in_value) {
            return false;
        }
    }
    return true;
}

static void consume_print(struct consume *consume, rd_kafka_message_t *message)
{
    const struct cmd_record record = {
        .topic = consume->topic,
        .partition = message->partition,
        .offset = message->offset,
        .timestamp = rd_kafka_message_timestamp(message, NULL),
        .key = message->key,
        .value = message->payload,
        .key_size = message->key_len,
        .value_size = message->len,
        .header = consume_header,
        .context = message,
    };
    if (consume->client.cmd->output == CMD_TABLE) {
        cmd_record_print(&record, &consume->format);
    } else {
        cmd_record_row(&record, &consume->rows);
    }
}

/* Turns a time into an offset of each partition; one without a later record begins at its end. */
static int consume_find_time(struct consume *consume, int64_t time_ms)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)consume->partition_count);
    for (uint32_t i = 0; i < consume->partition_count; i++) {
        rd_kafka_topic_partition_list_add(list, consume->topic, consume->partitions[i].id)->offset =
            time_ms;
    }
    rd_kafka_resp_err_t err =
        rd_kafka_offsets_for_times(consume->client.rk, list, CONSUME_QUERY_MS);
    for (int i = 0; i < list->cnt && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        err = list->elems[i].err;
        consume->partitions[i].from =
            list->elems[i].offset >= 0 ? list->elems[i].offset : RD_KAFKA_OFFSET_END;
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return client_fail(&consume->client, err, "cannot look up the time", NULL);
    }
    return CMD_OK;
}

/* The last `count` records of each partition, or all where there are fewer. RD_KAFKA_OFFSET_TAIL()
 * would ask for offsets that were trimmed. */
static int consume_find_last(struct consume *consume, int64_t count)
{
    for (uint32_t i = 0; i < consume->partition_count; i++) {
        struct consume_partition *partition = &consume->partitions[i];
        int64_t first = 0, next = 0;
        rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(
            consume->client.rk, consume->topic, partition->id, &first, &next, CONSUME_QUERY_MS);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return client_fail(&consume->client, err, "cannot ask for the end", NULL);
        }
        partition->from = count < next - first ? next - count : first;
    }
    return CMD_OK;
}

static int consume_set_from(struct consume *consume)
{
    int64_t from = RD_KAFKA_OFFSET_BEGINNING;
    switch (consume->where.kind) {
    case CMD_WHERE_START:
        break;
    case CMD_WHERE_END:
        from = RD_KAFKA_OFFSET_END;
        break;
    case CMD_WHERE_OFFSET:
        from = consume->where.number;
        break;
    case CMD_WHERE_LAST:
        return consume_find_last(consume, consume->where.number);
    case CMD_WHERE_TIME:
        return consume_find_time(consume, consume->where.number);
    }
    for (uint32_t i = 0; i < consume->partition_count; i++) {
        consume->partitions[i].from = from;
    }
    return CMD_OK;
}

/* --until, and which partitions hold nothing in between. */
static int consume_set_until(struct consume *consume)
{
    bool end = consume->until_end;
    for (uint32_t i = 0; i < consume->partition_count; i++) {
        struct consume_partition *partition = &consume->partitions[i];
        int64_t first = 0, next = 0;
        partition->until = consume->until;
        if (end) {
            rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(
                consume->client.rk, consume->topic, partition->id, &first, &next, CONSUME_QUERY_MS);
            if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
                return client_fail(&consume->client, err, "cannot ask for the end", NULL);
            }
            partition->until = next;
        }
        partition->done = partition->until <= first || partition->from >= partition->until ||
                          (end && partition->from == RD_KAFKA_OFFSET_END);
        consume->reading += !partition->done;
    }
    return CMD_OK;
}

/* Which partitions, by the topic's metadata and -p. */
static int consume_choose(struct consume *consume)
{
    const struct rd_kafka_metadata *metadata;
    int64_t only = -1;
    int code = cmd_number(consume->client.cmd, "--partition", 0, INT32_MAX, &only);
    if (code == CMD_OK) {
        code = client_metadata(&consume->client, consume->topic, &metadata);
    }
    if (code != CMD_OK) {
        return code;
    }
    const struct rd_kafka_metadata_topic *topic = &metadata->topics[0];
    consume->partitions = calloc((size_t)topic->partition_cnt + 1, sizeof(*consume->partitions));
    for (int i = 0; i < topic->partition_cnt && consume->partitions != NULL; i++) {
        if (only < 0 || only == topic->partitions[i].id) {
            consume->partitions[consume->partition_count++].id = topic->partitions[i].id;
        }
    }
    int count = topic->partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    if (consume->partition_count == 0) {
        return cmd_fail(consume->client.cmd, ERROR_PARTITION_UNKNOWN,
                        "topic \"%s\" has no partition %" PRId64 ": it has %d, from 0",
                        consume->topic, only, count);
    }
    return CMD_OK;
}

static int consume_start(struct consume *consume)
{
    consume->handle = rd_kafka_topic_new(consume->client.rk, consume->topic, NULL);
    consume->queue = rd_kafka_queue_new(consume->client.rk);
    for (uint32_t i = 0; i < consume->partition_count; i++) {
        struct consume_partition *partition = &consume->partitions[i];
        if (!partition->done &&
            rd_kafka_consume_start_queue(consume->handle, partition->id, partition->from,
                                         consume->queue) != 0) {
            partition->done = true;
            return client_fail(&consume->client, rd_kafka_last_error(), "cannot start to read",
                               NULL);
        }
    }
    return CMD_OK;
}

static void consume_partition_done(struct consume *consume, struct consume_partition *partition)
{
    if (!partition->done) {
        partition->done = true;
        ASSERT(consume->reading > 0);
        consume->reading--;
        (void)rd_kafka_consume_stop(consume->handle, partition->id);
    }
}

static struct consume_partition *consume_find(struct consume *consume, int32_t id)
{
    for (uint32_t i = 0; i < consume->partition_count; i++) {
        if (consume->partitions[i].id == id) {
            return &consume->partitions[i];
        }
    }
    return NULL;
}

/* A record, the end of a partition, or an error. */
static int consume_take(struct consume *consume, rd_kafka_message_t *message)
{
    struct consume_partition *partition = consume_find(consume, message->partition);
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (partition != NULL && message->offset >= partition->until) {
            consume_partition_done(consume, partition);
        }
        return CMD_OK;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        char what[400];
        (void)snprintf(what, sizeof(what), "topic \"%s\" partition %" PRId32, consume->topic,
                       message->partition);
        int code = client_exit(message->err);
        if (code == CMD_UNAVAILABLE) {
            return CMD_OK; /* librdkafka goes on by itself when the server is back. */
        }
        if (partition != NULL && (message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE ||
                                  message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)) {
            return cmd_fail(consume->client.cmd, ERROR_OFFSET,
                            "%s: there is no offset %" PRId64
                            "; floe topic describe %s shows the first and the next one",
                            what, partition->from, consume->topic);
        }
        return client_fail(&consume->client, message->err, what, rd_kafka_message_errstr(message));
    }
    if (partition == NULL || partition->done) {
        return CMD_OK; /* Was on its way when the partition was stopped. */
    }
    if (message->offset < partition->until && consume_wants(consume, message)) {
        consume_print(consume, message);
        consume->left--;
    }
    if (message->offset + 1 >= partition->until) {
        consume_partition_done(consume, partition);
    }
    return CMD_OK;
}

/* A signal of ours that waits to be taken, without a handler. */
static bool consume_interrupted(const struct consume *consume)
{
    const struct timespec now = {0};
    return sigtimedwait(&consume->signals, NULL, &now) > 0;
}

/* Somebody who sees nothing happen may not know that this is right. */
static void consume_hint(const struct consume *consume)
{
    const struct cmd *cmd = consume->client.cmd;
    if (isatty(STDERR_FILENO) == 1 && cmd_value(cmd, "--from") == NULL &&
        cmd_value(cmd, "--until") == NULL) {
        (void)fputs(
            "waiting for new records; --from start prints those that are there, Ctrl-C ends\n",
            stderr);
    }
}

/* Once for each time that the server goes away; it is waited for. */
static void consume_say_down(struct consume *consume, bool heard)
{
    struct client *client = &consume->client;
    if (client->down && !consume->told_down) {
        (void)cmd_fail(client->cmd, CMD_OK, "%s does not answer any more; waiting for it",
                       client->brokers);
        consume->told_down = true;
    } else if (heard) {
        client->down = false;
        consume->told_down = false;
    }
}

static int consume_loop(struct consume *consume)
{
    int code = CMD_OK;
    consume_hint(consume);
    for (uint64_t taken = 1; code == CMD_OK && consume->reading > 0 && consume->left > 0; taken++) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(consume->queue, 0);
        bool waited = message == NULL;
        if (waited) {
            /* Nothing at hand: show what there is, then wait. */
            if (fflush(stdout) != 0) {
                return CMD_FAILED;
            }
            message = rd_kafka_consume_queue(consume->queue, CONSUME_POLL_MS);
            (void)rd_kafka_poll(consume->client.rk, 0);
            consume_say_down(consume, message != NULL);
        }
        if ((waited || taken % CONSUME_SIGNAL_RECORDS == 0) && consume_interrupted(consume)) {
            code = CMD_INTERRUPTED;
        }
        if (message != NULL) {
            if (code == CMD_OK) {
                code = consume_take(consume, message);
            }
            rd_kafka_message_destroy(message);
        }
    }
    return code;
}

static int consume_run(struct consume *consume)
{
    static const char *const columns[] = {CMD_RECORD_COLUMNS};
    const struct cmd *cmd = consume->client.cmd;
    int code = consume_choose(consume);
    if (code == CMD_OK) {
        code = consume_set_from(consume);
    }
    if (code == CMD_OK) {
        code = consume_set_until(consume);
    }
    if (code != CMD_OK) {
        return code;
    }
    if (cmd->output != CMD_TABLE) {
        cmd_rows_begin(&consume->rows, cmd, columns, ARRAY_COUNT(columns));
    }
    code = consume_start(consume);
    if (code == CMD_OK) {
        code = consume_loop(consume);
    }
    for (uint32_t i = 0; i < consume->partition_count; i++) {
        consume_partition_done(consume, &consume->partitions[i]);
    }
    int printed = CMD_OK;
    if (cmd->output != CMD_TABLE) {
        printed = cmd_rows_end(&consume->rows, cmd);
    } else if (fflush(stdout) != 0 || ferror(stdout)) {
        printed =
            cmd_fail(cmd, ERROR_OUTPUT, "standard output took not everything: %s", strerror(errno));
    }
    return code != CMD_OK ? code : printed;
}

/* The flags, before anybody is asked. */
static int consume_read_flags(struct consume *consume, const struct cmd *cmd)
{
    const char *from = cmd_value(cmd, "--from"), *until = cmd_value(cmd, "--until");
    consume->topic = cmd->operands[0];
    consume->filter_count = cmd_values(cmd, "--filter", consume->filters);
    consume->left = INT64_MAX;
    consume->until = INT64_MAX;
    consume->until_end = until != NULL && strcmp(until, "end") == 0;
    from = from != NULL ? from : until != NULL ? "start" : "end";
    if (!cmd_where_parse(from, cmd_now_ms(), &consume->where)) {
        return cmd_fail(
            cmd, ERROR_VALUE,
            "--from %s: give start, end, an offset, -N for the last N, or @TIME such as "
            "@2026-11-24T10:00:00 or @-10m",
            from);
    }
    if (until != NULL && !consume->until_end &&
        (!cmd_parse_number(until, &consume->until) || consume->until < 0)) {
        return cmd_fail(cmd, ERROR_VALUE, "--until %s: give end or an offset", until);
    }
    int code = cmd_number(cmd, "--count", 1, INT64_MAX, &consume->left);
    return code == CMD_OK ? cmd_record_format(&consume->format, cmd) : code;
}

int cmd_consume(const struct cmd *cmd)
{
    static const struct client_setting settings[] = {
        {"enable.partition.eof", "true"},
        {"auto.offset.reset", "error"},
        {"check.crcs", "true"},
        {"fetch.wait.max.ms", "500"},
        {"allow.auto.create.topics", "false"},
    };
    const struct client_options options = {
        .type = RD_KAFKA_CONSUMER, .settings = settings, .setting_count = ARRAY_COUNT(settings)};
    struct consume consume = {0};
    int code = consume_read_flags(&consume, cmd);
    if (code != CMD_OK) {
        cmd_format_free(&consume.format);
        return code;
    }
    sigemptyset(&consume.signals);
    sigaddset(&consume.signals, SIGINT);
    sigaddset(&consume.signals, SIGTERM);
    /* Before librdkafka makes its threads: none of them must take ours. */
    (void)pthread_sigmask(SIG_BLOCK, &consume.signals, NULL);
    code = client_open(&consume.client, cmd, &options);
    if (code == CMD_OK) {
        code = consume_run(&consume);
    }
    if (consume.queue != NULL) {
        rd_kafka_queue_destroy(consume.queue);
    }
    if (consume.handle != NULL) {
        rd_kafka_topic_destroy(consume.handle);
    }
    free(consume.partitions);
    cmd_format_free(&consume.format);
    client_close(&consume.client);
    return code;
}
