/* floe produce: records from standard input or files, each one's delivery reported and counted.
 *
 *     read -> split at the delimiter, or by --format -> librdkafka (queue full: wait for reports)
 *          -> reports
 *
 * Empty lines are records. A last line without its delimiter is one too; the delimiter at the end
 * begins none. */
#include "core/assert.h"
#include "tools/cmd_client.h"
#include "tools/cmd_format.h"
#include "tools/errors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PRODUCE_READ_BYTES = 1 << 16, PRODUCE_DELIMITER_BYTES = 64 };

/* One record; what it does not say itself, the flags do. */
struct produce_item {
    const char *key, *value; /* NULL: null. */
    size_t key_size, value_size;
    int32_t partition;
    int64_t timestamp; /* 0: now. */
    rd_kafka_headers_t *headers;
};

struct produce {
    struct client client;
    const char *topic, *key;
    int32_t partition;
    rd_kafka_headers_t *headers; /* NULL: none. */
    char delimiter[PRODUCE_DELIMITER_BYTES];
    size_t delimiter_size;    /* 0: all of the input is one record. */
    struct cmd_format format; /* In place of the delimiter, if it has pieces. */
    uint64_t taken;           /* By --format. */
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
static void produce_item(struct produce *produce, const struct produce_item *item)
{
    static const char empty[1] = {0}; /* An empty line is an empty value, not a null one. */
    const char *key = item->key != NULL && item->key_size == 0 ? empty : item->key;
    const char *value = item->value != NULL && item->value_size == 0 ? empty : item->value;
    rd_kafka_resp_err_t err;
    do {
        rd_kafka_headers_t *headers =
            item->headers != NULL ? rd_kafka_headers_copy(item->headers) : NULL;
        rd_kafka_vu_t arguments[] = {
            {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = produce->topic},
            {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = item->partition},
            {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
            {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = produce},
            {.vtype = RD_KAFKA_VTYPE_VALUE,
             .u.mem = {.ptr = (void *)(uintptr_t)value, .size = item->value_size}},
            {.vtype = RD_KAFKA_VTYPE_KEY,
             .u.mem = {.ptr = (void *)(uintptr_t)key, .size = item->key_size}},
            {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = item->timestamp},
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

static struct produce_item produce_plain(const struct produce *produce)
{
    return (struct produce_item){
        .key = produce->key,
        .key_size = produce->key != NULL ? strlen(produce->key) : 0,
        .partition = produce->partition,
        .headers = produce->headers,
    };
}

static void produce_record(struct produce *produce, const char *data, size_t size)
{
    struct produce_item item = produce_plain(produce);
    item.value = size > 0 ? data : "";
    item.value_size = size;
    produce_item(produce, &item);
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

/* A whole number of a field; false: it is none, or none within the bounds. */
static bool produce_number(const struct cmd_format_value *value, int64_t max, int64_t *number)
{
    char text[24];
    if (value->size >= sizeof(text)) {
        return false;
    }
    (void)snprintf(text, sizeof(text), "%.*s", (int)value->size, value->data);
    return cmd_parse_number(text, number) && *number >= 0 && *number <= max;
}

/* "a=1,b=2" */
static rd_kafka_headers_t *produce_headers_of(const struct cmd_format_value *value)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
    for (size_t at = 0; at < value->size;) {
        const char *name = value->data + at;
        const char *comma = memchr(name, ',', value->size - at);
        size_t size = comma != NULL ? (size_t)(comma - name) : value->size - at;
        const char *equals = memchr(name, '=', size);
        if (equals == NULL || equals == name) {
            rd_kafka_headers_destroy(headers);
            return NULL;
        }
        (void)rd_kafka_header_add(headers, name, equals - name, equals + 1,
                                  (ssize_t)size - (equals + 1 - name));
        at += size + 1;
    }
    return headers;
}

/* Why the fields do not make a record; NULL: they do. */
static const char *produce_fill(const struct produce *produce, struct produce_item *item,
                                const struct cmd_format_value *values)
{
    int64_t partition = item->partition;
    for (uint32_t i = 0; i < produce->format.count; i++) {
        const struct cmd_format_value *value = &values[i];
        switch (produce->format.pieces[i].field) {
        case 'k':
            item->key = value->data;
            item->key_size = value->size;
            break;
        case 'v':
            item->value = value->data;
            item->value_size = value->size;
            break;
        case 'p':
            if (!produce_number(value, INT32_MAX, &partition)) {
                return "%p is no partition's number";
            }
            item->partition = (int32_t)partition;
            break;
        case 'd':
        case 'T':
            if (!produce_number(value, INT64_MAX, &item->timestamp)) {
                return "the time is no number of ms since 1970";
            }
            break;
        case 'h':
            item->headers = produce_headers_of(value);
            if (item->headers == NULL) {
                return "%h is not name=value,name=value";
            }
            break;
        default:
            break;
        }
    }
    return NULL;
}

/* All records that are there whole, by --format; `*at`: so far. */
static int produce_by_format(struct produce *produce, const struct produce_input *input, bool end,
                             size_t *at)
{
    const struct cmd *cmd = produce->client.cmd;
    struct cmd_format_value values[CMD_FORMAT_PIECES_MAX];
    size_t used = 0;
    while (*at < input->size) {
        enum cmd_format_found found = cmd_format_split(&produce->format, input->data + *at,
                                                       input->size - *at, end, values, &used);
        if (found == CMD_FORMAT_MORE) {
            return CMD_OK;
        }
        struct produce_item item = produce_plain(produce);
        const char *wrong = found == CMD_FORMAT_WRONG
                                ? "what should stand between its fields is missing"
                                : produce_fill(produce, &item, values);
        produce->taken += wrong == NULL;
        if (wrong == NULL) {
            produce_item(produce, &item);
            *at += used;
        }
        if (item.headers != NULL && item.headers != produce->headers) {
            rd_kafka_headers_destroy(item.headers);
        }
        if (wrong != NULL) {
            return cmd_fail(cmd, ERROR_RECORD, "record %" PRIu64 " of the input: %s",
                            produce->taken + 1, wrong);
        }
    }
    return CMD_OK;
}

/* Splits everything that comes from `fd`; an empty delimiter keeps it whole. */
static int produce_stream(struct produce *produce, int fd, const char *name, const char *delimiter,
                          size_t delimiter_size)
{
    struct produce_input input = {0};
    bool formed = produce->format.count > 0, end = false, good = true;
    int code = CMD_OK;
    while (!end && code == CMD_OK && (good = produce_read(&input, fd, &end))) {
        size_t at = 0;
        if (formed) {
            code = produce_by_format(produce, &input, end, &at);
        }
        while (!formed && delimiter_size > 0) {
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
    if (good && !formed && (input.size > 0 || delimiter_size == 0)) {
        produce_record(produce, input.data, input.size);
    }
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

/* --format, and that nothing is said twice. */
static int produce_set_format(struct produce *produce, const struct cmd *cmd)
{
    static const struct {
        const char *flag;
        char field; /* '\0': whatever the format has. */
    } others[] = {{"--delimiter", '\0'}, {"--key", 'k'}, {"--partition", 'p'}, {"--header", 'h'}};

    const char *text = cmd_value(cmd, "--format");
    if (text == NULL) {
        return CMD_OK;
    }
    int code = cmd_format_read(&produce->format, cmd, text, CMD_FORMAT_READ_FIELDS);
    if (code != CMD_OK) {
        return code;
    }
    if (!cmd_format_parts(&produce->format)) {
        return cmd_fail(cmd, ERROR_FORMAT, "--format %s: %s", text, produce->format.reason);
    }
    char fields[CMD_FORMAT_PIECES_MAX + 1] = "";
    for (uint32_t i = 0, count = 0; i < produce->format.count; i++) {
        char field = produce->format.pieces[i].field;
        if (field != '\0' && strchr(fields, field) != NULL) {
            return cmd_fail(cmd, ERROR_FORMAT, "--format %s: %%%c stands there twice", text, field);
        }
        if (field != '\0') {
            fields[count++] = field;
        }
    }
    if (strpbrk(fields, "kv") == NULL) {
        return cmd_fail(cmd, ERROR_FORMAT, "--format %s: it needs %%v, or %%k alone", text);
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(others); i++) {
        if (cmd_value(cmd, others[i].flag) != NULL &&
            (others[i].field == '\0' || strchr(fields, others[i].field) != NULL)) {
            return cmd_fail(cmd, ERROR_FLAG, "%s and --format %s: give one of them", others[i].flag,
                            text);
        }
    }
    if (cmd->operand_count > 1) {
        return cmd_fail(cmd, ERROR_FLAG, "--format is for standard input: a file is one record");
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
        if (isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1) {
            (void)fputs("a record per line; Ctrl-D ends\n", stderr);
        }
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
    int code = cmd_number(cmd, "--partition", 0, INT32_MAX, &partition);
    if (code != CMD_OK) {
        return code;
    }
    produce.partition = (int32_t)partition;
    code = produce_set_delimiter(&produce, cmd);
    if (code == CMD_OK) {
        code = produce_set_headers(&produce, cmd);
    }
    if (code == CMD_OK) {
        code = produce_set_format(&produce, cmd);
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
    cmd_format_free(&produce.format);
    if (produce.headers != NULL) {
        rd_kafka_headers_destroy(produce.headers);
    }
    return code;
}
