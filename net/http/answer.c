/* Answers: the head, the body that is counted before it is written, and problems in words. */
#include "core/assert.h"
#include "net/http/http.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *http_reason(uint16_t status)
{
    static const struct {
        uint16_t status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    UNREACHABLE();
}

uint16_t http_status(enum err err)
{
    switch (err) {
    case OK:
        return 200;
    case ERR_EXISTS:
    case ERR_STREAM_ID:
        return 409;
    case ERR_NOT_FOUND:
    case ERR_TOPIC_UNKNOWN:
    case ERR_TOPIC_ID_UNKNOWN:
        return 404;
    case ERR_DENIED:
        return 403;
    case ERR_TOO_LARGE:
    case ERR_BATCH_TOO_LARGE:
        return 413;
    case ERR_OFFSET_RANGE:
        return 416;
    case ERR_NO_SPACE:
    case ERR_DELETIONS:
        return 507;
    case ERR_INVALID:
    case ERR_TRUNCATED:
    case ERR_TOPIC_INVALID:
    case ERR_PARTITIONS_INVALID:
    case ERR_REPLICATION_INVALID:
    case ERR_CONFIG_INVALID:
    case ERR_BATCH_INVALID:
    case ERR_BATCH_KEY:
    case ERR_BATCH_CRC:
    case ERR_BATCH_TIMESTAMP:
    case ERR_BATCH_CODEC:
    case ERR_SEQUENCE:
    case ERR_PRODUCER_EPOCH:
        return 422;
    case ERR_UNSUPPORTED:
    case ERR_VERSION:
        return 501;
    case ERR_NO_MEMORY:
    case ERR_BUSY:
    case ERR_CANCELED:
    case ERR_CLOSED:
    case ERR_CONNECTION:
    case ERR_LIMIT:
    case ERR_NOT_LEADER:
    case ERR_NOT_READY:
    case ERR_STOPPING:
    case ERR_STORAGE:
    case ERR_EPOCH_UNKNOWN:
    case ERR_EPOCH_FENCED:
        return 503;
    case ERR_TIMEOUT:
        return 504;
    case ERR_IO:
    case ERR_READ_ONLY:
    case ERR_ADDRESS_IN_USE:
    case ERR_ADDRESS_INVALID:
    case ERR_CORRUPT:
    case ERR_DAMAGED:
    case ERR_FOREIGN:
        return 500;
    }
    UNREACHABLE();
}

/* RFC 9110's form: "Sun, 06 Nov 1994 08:49:37 GMT". */
static void http_put_date(struct http_writer *writer, uint64_t now_ms)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm tm = {0};
    (void)gmtime_r(&seconds, &tm);
    char line[] = "Date: ..., 00 ... 0000 00:00:00 GMT\r\n";
    memcpy(line + 6, days + 3 * (size_t)tm.tm_wday, 3);
    memcpy(line + 14, months + 3 * (size_t)tm.tm_mon, 3);
    const int numbers[] = {
        tm.tm_mday, (tm.tm_year + 1900) / 100, (tm.tm_year + 1900) % 100, tm.tm_hour, tm.tm_min,
        tm.tm_sec};
    static const uint8_t places[] = {11, 18, 20, 23, 26, 29};
    for (uint32_t i = 0; i < ARRAY_COUNT(places); i++) {
        line[places[i]] = (char)('0' + numbers[i] / 10 % 10);
        line[places[i] + 1] = (char)('0' + numbers[i] % 10);
    }
    http_put_text(writer, line);
}

void http_put_head(const struct http_op *op, struct http_writer *writer,
                   const struct http_answer *answer)
{
    http_put_text(writer, "HTTP/1.1 ");
    http_put_number(writer, answer->status);
    http_put_text(writer, " ");
    http_put_text(writer, http_reason(answer->status));
    http_put_text(writer, "\r\n");
    http_put_date(writer, op->net->reactor->now_ms);
    http_put_text(writer, "Server: floe\r\nCache-Control: no-store\r\n"
                          "X-Content-Type-Options: nosniff\r\n");
    if (answer->type != NULL) {
        http_put_text(writer, "Content-Type: ");
        http_put_text(writer, answer->type);
        http_put_text(writer, "\r\n");
    }
    if (answer->fields != NULL) {
        http_put_text(writer, answer->fields);
    }
    if (!op->head.keep_alive || op->head.old) {
        http_printf(writer, "Connection: %s\r\n", op->head.keep_alive ? "keep-alive" : "close");
    }
}

/* The whole head, its empty line included. */
static void http_encode_head(const struct http_op *op, struct http_writer *writer,
                             uint64_t body_bytes)
{
    http_put_head(op, writer, &op->answer);
    if (op->answer.status != 204) {
        http_put_text(writer, "Content-Length: ");
        http_put_number(writer, (int64_t)body_bytes);
        http_put_text(writer, "\r\n");
    }
    http_put_text(writer, "\r\n");
}

/* Where head and the encoded part of the body go. */
static enum err http_answer_room(struct http_op *op, uint64_t size, uint8_t **data)
{
    if (op->answer.room != NULL && size <= op->answer.room_bytes) {
        *data = op->answer.room;
        return OK;
    }
    return call_reply_room(op->call, size, data);
}

static enum err http_answer_try(struct http_op *op)
{
    const struct http_answer *answer = &op->answer;
    struct http_writer body = {0}, head = {0};
    if (answer->encode != NULL) {
        answer->encode(op, &body);
    }
    uint64_t suffix = answer->suffix != NULL ? strlen(answer->suffix) : 0;
    uint64_t body_bytes = body.position + answer->middle.size + suffix;
    http_encode_head(op, &head, body_bytes);
    bool whole = op->head.method != HTTP_HEAD;
    uint64_t front = head.position + (whole ? body.position : 0);
    uint8_t *data;
    enum err err = http_answer_room(op, front + suffix, &data);
    if (err != OK) {
        return err;
    }
    struct http_writer writer = {.data = data, .size = front + suffix};
    http_encode_head(op, &writer, body_bytes);
    if (whole && answer->encode != NULL) {
        answer->encode(op, &writer);
    }
    ASSERT(writer.position == front);
    http_put(&writer, answer->suffix, suffix);
    if (!whole || answer->middle.size == 0) {
        call_reply_bytes(op->call, data, (uint32_t)(whole ? front + suffix : front));
        return OK;
    }
    op->vectors[0] = (struct iovec){.iov_base = data, .iov_len = (size_t)front};
    memcpy(&op->vectors[1].iov_base, &answer->middle.data, sizeof(op->vectors[1].iov_base));
    op->vectors[1].iov_len = answer->middle.size;
    op->vectors[2] = (struct iovec){.iov_base = data + front, .iov_len = (size_t)suffix};
    op->call->vectors = op->vectors;
    op->call->vector_count = suffix > 0 ? 3 : 2;
    call_reply(op->call);
    return OK;
}

static void http_answer_again(struct completion *completion);

static void http_answer_or_wait(struct http_op *op)
{
    enum err err = http_answer_try(op);
    if (err == ERR_NO_MEMORY) {
        call_await_memory(op->call, http_answer_again);
    } else if (err != OK) {
        http_refuse(op, 500, "the answer is larger than the largest block of memory: ask for less");
    }
}

static void http_answer_again(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    http_answer_or_wait(call->state);
}

void http_answer(struct http_op *op, const struct http_answer *answer)
{
    op->answer = *answer;
    if (conn_closes_behind(op->call)) {
        http_last(op);
    }
    op->call->last = !op->head.keep_alive && !http_lingers(op);
    http_answer_or_wait(op);
}

/* --- Problems (RFC 9457). --- */

static void http_encode_problem(struct http_op *op, struct http_writer *writer)
{
    http_printf(writer,
                "{\"title\":\"%s\",\"status\":%u,\"detail\":", http_reason(op->fault.status),
                op->fault.status);
    http_put_json(writer, bytes_text(op->fault.detail));
    http_put_text(writer, "}\n");
}

void http_refuse_fault(struct http_op *op)
{
    ASSERT(op->fault.status >= 400);
    http_answer(op, &(struct http_answer){
                        .status = op->fault.status,
                        .type = "application/problem+json",
                        .fields = op->fields[0] != 0 ? op->fields : NULL,
                        .encode = http_encode_problem,
                    });
}

void http_refuse(struct http_op *op, uint16_t status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    op->fault.status = status;
    (void)vsnprintf(op->fault.detail, sizeof(op->fault.detail), format, list);
    va_end(list);
    http_refuse_fault(op);
}

static const char *http_remedy(enum err err)
{
    switch (http_status(err)) {
    case 503:
        return ": retry";
    case 504:
        return ": what became of it is not known, look before you retry";
    case 507:
        return ": free space, or lower retention";
    case 500:
        return ": see the server's log";
    default:
        return "";
    }
}

void http_refuse_err(struct http_op *op, enum err err, const char *what)
{
    ASSERT(err != OK);
    http_refuse(op, http_status(err), "%s: %s%s", what, err_text(err), http_remedy(err));
}
