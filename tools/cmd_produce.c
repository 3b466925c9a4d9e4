/* floe produce: records from standard input or files, each one's delivery reported and counted.
 *
 *     read -> split at the delimiter -> librdkafka (its queue full: wait for reports) -> reports
 *
 * Empty lines are records. A last line without its delimiter is one too; the delimiter at the end
 * begins none. */
#include "core/assert.h"
#include "tools/cmd_client.h"
#include "tools/errors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PRODUCE_READ_BYTES = 1 << 16, PRODUCE_DELIMITER_BYTES = 64 };

struct produce {
    struct client client;
    const char *topic, *key;
    int32_t partition;
    rd_kafka_headers_t *headers; /* NULL: none. */
    char delimiter[PRODUCE_DELIMITER_BYTES];
    size_t delimiter_size; /* 0: all of the input is one record. */
    uint64_t delivered, failed;
    rd_kafka_resp_err_t err; /* The first. */
};

/* Runs in rd_kafka_poll(), on our thread. `produce` travels with each message. */
static void produce_reported(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct produce *produce = message->_private;
    (void)rk;
    (void)opaque;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        produce->delivered++;
        return;
    }
    produce->failed++;
    if (produce->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        produce->err = message->err;
    }
}

static void produce_refused(struct produce *produce, rd_kafka_resp_err_t err)
{
    produce->failed++;
    if (produce->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        produce->err = err;
    }
}

/* Hands one record over; librdkafka copies it. */
static void produce_record(struct produce *produce, const void *data, size_t size)
{
    static const char empty[1] = {0}; /* An empty line is an empty value, not a null one. */
    rd_kafka_resp_err_t err;
    do {
        rd_kafka_headers_t *headers =
            produce->headers != NULL ? rd_kafka_headers_copy(produce->headers) : NULL;
        rd_kafka_vu_t arguments[] = {
            {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = produce->topic},
            {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = produce->partition},
            {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
            {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = produce},
            {.vtype = RD_KAFKA_VTYPE_VALUE,
             .u.mem = {.ptr = (void *)(uintptr_t)(size > 0 ? data : empty), .size = size}},
            {.vtype = RD_KAFKA_VTYPE_KEY,
             .u.mem = {.ptr = (void *)(uintptr_t)produce->key,
                       .size = produce->key != NULL ? strlen(produce->key) : 0}},
            {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
        };
        size_t count = ARRAY_COUNT(arguments) - (headers == NULL);
        rd_kafka_error_t *error = rd_kafka_produceva(produce->client.rk, arguments, count);
        err = error != NULL ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
        if (error != NULL) {
            rd_kafka_error_destroy(error);
            if (headers != NULL) {
                rd_kafka_headers_destroy(headers);
            }
        }
        (void)rd_kafka_poll(produce->client.rk, err == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 100 : 0);
    } while (err == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        produce_refused(produce, err);
    }
}

/* What is read and not yet a whole record. */
struct produce_input {
    char *data;
    size_t size, room;
};

static bool produce_read(struct produce_input *input, int fd, bool *end)
{
    if (input->room - input->size < PRODUCE_READ_BYTES) {
        size_t room = input->room == 0 ? 4 * PRODUCE_READ_BYTES : 2 * input->room;
        char *data = realloc(input->data, room);
        if (data == NULL) {
            return false;
        }
        input->data = data;
        input->room = room;
    }
    ssize_t size;
    do {
        size = read(fd, input->data + input->size, PRODUCE_READ_BYTES);
    } while (size < 0 && errno == EINTR);
    *end = size == 0;
    input->size += size > 0 ? (size_t)size : 0;
    return size >= 0;
}

/* Splits everything that comes from `fd`; an empty delimiter keeps it whole. */
static int produce_stream(struct produce *produce, int fd, const char *name, const char *delimiter,
                          size_t delimiter_size)
{
    struct produce_input input = {0};
    bool end = false, good = true;
    while (!end && (good = produce_read(&input, fd, &end))) {
        size_t at = 0;
        while (delimiter_size > 0) {
            char *found = memmem(input.data + at, input.size - at, delimiter, delimiter_size);
            if (found == NULL) {
                break;
            }
            size_t place = (size_t)(found - input.data);
            produce_record(produce, input.data + at, place - at);
            at = place + delimiter_size;
        }
        memmove(input.data, input.data + at, input.size - at);
        input.size -= at;
    }
    if (good && (input.size > 0 || delimiter_size == 0)) {
        produce_record(produce, input.data, input.size);
    }
    int code = CMD_OK;
    if (!good) {
        code =
            cmd_fail(produce->client.cmd, ERROR_INPUT, "cannot read %s: %s", name, strerror(errno));
    }
    free(input.data);
    return code;
}

/* One record per file. */
static int produce_files(struct produce *produce)
{
    const struct cmd *cmd = produce->client.cmd;
    for (uint32_t i = 1; i < cmd->operand_count; i++) {
        FILE *file = fopen(cmd->operands[i], "re");
        if (file == NULL) {
            return cmd_fail(cmd, errors_of_path(errno), "cannot read %s: %s", cmd->operands[i],
                            strerror(errno));
        }
        int code = produce_stream(produce, fileno(file), cmd->operands[i], "", 0);
        (void)fclose(file);
        if (code != CMD_OK) {
            return code;
        }
    }
    return CMD_OK;
}

/* Of --delimiter \n \t \r \0 \\ stand for one byte; what else follows a backslash is kept as it is.
 */
static int produce_set_delimiter(struct produce *produce, const struct cmd *cmd)
{
    static const char from[] = "ntr0\\", to[] = "\n\t\r\0\\";
    const char *given = cmd_value(cmd, "--delimiter");
    for (const char *c = given != NULL ? given : "\\n"; *c != '\0'; c++) {
        const char *found = c[0] == '\\' && c[1] != '\0' ? strchr(from, c[1]) : NULL;
        if (produce->delimiter_size == sizeof(produce->delimiter)) {
            return cmd_fail(cmd, ERROR_VALUE, "-D %s: give at most %zu bytes", given,
                            sizeof(produce->delimiter));
        }
        produce->delimiter[produce->delimiter_size++] = found != NULL ? to[found - from] : *c;
        c += found != NULL;
    }
    return CMD_OK;
}

static int produce_set_headers(struct produce *produce, const struct cmd *cmd)
{
    const char *pairs[CMD_WORDS_MAX];
    uint32_t count = cmd_values(cmd, "--header", pairs);
    if (count == 0) {
        return CMD_OK;
    }
    produce->headers = rd_kafka_headers_new(count);
    for (uint32_t i = 0; i < count; i++) {
        const char *equals = strchr(pairs[i], '=');
        if (equals == NULL || equals == pairs[i]) {
            return cmd_fail(cmd, ERROR_VALUE, "-H %s: write it as name=value", pairs[i]);
        }
        (void)rd_kafka_header_add(produce->headers, pairs[i], equals - pairs[i], equals + 1, -1);
    }
    return CMD_OK;
}

/* Tells how it went: on stdout only where rows were asked for. */
static int produce_finish(struct produce *produce, int code)
{
    static const char *const columns[] = {"topic", "delivered", "failed"};
    const struct cmd *cmd = produce->client.cmd;
    if (cmd->output != CMD_TABLE) {
        struct cmd_rows rows;
        cmd_rows_begin(&rows, cmd, columns, ARRAY_COUNT(columns));
        cmd_rows_text(&rows, produce->topic);
        cmd_rows_number(&rows, (int64_t)produce->delivered);
        cmd_rows_number(&rows, (int64_t)produce->failed);
        int printed = cmd_rows_end(&rows, cmd);
        code = code != CMD_OK ? code : printed;
    }
    if (produce->failed == 0) {
        return code != CMD_OK && produce->delivered > 0 ? CMD_PARTLY : code;
    }
    char what[400];
    (void)snprintf(what, sizeof(what), "%" PRIu64 " of %" PRIu64 " records were not written to %s",
                   produce->failed, produce->failed + produce->delivered, produce->topic);
    code = client_fail(&produce->client, produce->err, what, NULL);
    return produce->delivered > 0 ? CMD_PARTLY : code;
}

static int produce_run(struct produce *produce)
{
    const struct cmd *cmd = produce->client.cmd;
    const struct rd_kafka_metadata *metadata;
    int code = client_metadata(&produce->client, produce->topic, &metadata);
    if (code != CMD_OK) {
        return code;
    }
    int partition_count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    if (produce->partition >= partition_count) {
        return cmd_fail(cmd, ERROR_PARTITION_UNKNOWN,
                        "topic \"%s\" has no partition %" PRId32 ": it has %d, from 0",
                        produce->topic, produce->partition, partition_count);
    }
    if (cmd->operand_count > 1) {
        code = produce_files(produce);
    } else {
        code = produce_stream(produce, STDIN_FILENO, "standard input", produce->delimiter,
                              produce->delimiter_size);
    }
    while (rd_kafka_flush(produce->client.rk, 1000) == RD_KAFKA_RESP_ERR__TIMED_OUT) {
        /* Each record ends within message.timeout.ms, so this does too. */
    }
    return produce_finish(produce, code);
}

int cmd_produce(const struct cmd *cmd)
{
    struct produce produce = {.topic = cmd->operands[0], .key = cmd_value(cmd, "--key")};
    const char *acks = cmd_value(cmd, "--acks");
    const char *codec = cmd_value(cmd, "--codec");
    int64_t partition = RD_KAFKA_PARTITION_UA;
    acks = acks != NULL ? acks : "all";
    codec = codec != NULL ? codec : "none";
    if (strcmp(acks, "all") != 0 && strcmp(acks, "1") != 0 && strcmp(acks, "0") != 0) {
        return cmd_fail(cmd, ERROR_VALUE, "--acks %s: give all, 1 or 0", acks);
    }
    int code = cmd_number(cmd, "--partition", 0, INT32_MAX, &partition);
    if (code != CMD_OK) {
        return code;
    }
    produce.partition = (int32_t)partition;
    code = produce_set_delimiter(&produce, cmd);
    if (code == CMD_OK) {
        code = produce_set_headers(&produce, cmd);
    }
    const struct client_setting settings[] = {
        {"acks", acks},
        {"enable.idempotence", strcmp(acks, "all") == 0 ? "true" : "false"},
        {"compression.codec", codec},
        {"partitioner", "murmur2_random"}, /* As Java's clients place keys. */
        {"message.timeout.ms", "30000"},
        {"message.max.bytes", "67108864"}, /* The server says what is too large. */
        {"linger.ms", "5"},
    };
    const struct client_options options = {
        .type = RD_KAFKA_PRODUCER,
        .settings = settings,
        .setting_count = ARRAY_COUNT(settings),
        .delivered = produce_reported,
    };
    if (code == CMD_OK) {
        code = client_open(&produce.client, cmd, &options);
    }
    if (code == CMD_OK) {
        code = produce_run(&produce);
    }
    client_close(&produce.client);
    if (produce.headers != NULL) {
        rd_kafka_headers_destroy(produce.headers);
    }
    return code;
}
