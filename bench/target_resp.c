/* Redis's protocol: XADD of one field, XREAD COUNT from an ID. For floe, Redis and the null
 * server. */
#include "bench/target.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
    READ_COUNT = 100,
    HEAD_BYTES = 512,
    SEQ_BITS = 22, /* Of a cursor; the rest are milliseconds. */
};

/* --- Answers. --- */

/* The number of a line ("$15", "*-1"); *next is behind it, 0 if the line is not whole. */
static int64_t line_number(struct bytes got, uint32_t at, uint32_t *next)
{
    const uint8_t *end = memchr(got.data + at, '\n', got.size - at);
    *next = 0;
    if (end == NULL) {
        return 0;
    }
    *next = (uint32_t)(end - got.data) + 1;
    bool negative = at + 1 < got.size && got.data[at + 1] == '-';
    int64_t number = 0;
    for (uint32_t i = at + (negative ? 2 : 1); got.data[i] >= '0' && got.data[i] <= '9'; i++) {
        number = number * 10 + got.data[i] - '0';
    }
    return negative ? -1 : number;
}

/* Behind a value and all that is in it: so many are still to come. */
static uint64_t resp_answer_size(struct bytes got)
{
    uint64_t left = 1;
    uint64_t at = 0;
    while (left > 0) {
        uint32_t next;
        if (at >= got.size) {
            return 0;
        }
        int64_t number = line_number(got, (uint32_t)at, &next);
        if (next == 0) {
            return 0;
        }
        uint8_t type = got.data[at];
        at = next;
        left--;
        if (type == '$' && number >= 0) {
            at += (uint64_t)number + 2;
        } else if (type == '*' && number > 0) {
            left += (uint64_t)number;
        }
    }
    return at;
}

static bool resp_produced(const struct load_options *options, struct bytes frame,
                          uint32_t batch_crc, struct answer *answer)
{
    (void)options;
    (void)batch_crc;
    if (frame.data[0] != '$') {
        snprintf(answer->message, sizeof(answer->message), "%.*s", (int)frame.size,
                 (const char *)frame.data);
        return false;
    }
    return true;
}

static uint64_t number_at(const uint8_t **at)
{
    uint64_t number = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        number = number * 10 + **at - '0';
    }
    return number;
}

/* *1 *2 KEY *N and N times *2 ID *2 FIELD VALUE. */
static bool resp_fetched(const struct load_options *options, struct bytes frame,
                         struct answer *answer)
{
    (void)options;
    uint32_t at = 0;
    if (frame.size >= 3 && memcmp(frame.data, "*-1", 3) == 0) {
        return true;
    }
    uint32_t next;
    uint32_t skipped = 0;
    for (; skipped < 2 && frame.data[at] == '*'; skipped++) {
        (void)line_number(frame, at, &next);
        at = next;
    }
    if (skipped < 2) {
        (void)resp_produced(options, frame, 0, answer);
        return false;
    }
    at += (uint32_t)resp_answer_size(bytes_of(frame.data + at, frame.size - at));
    int64_t count = line_number(frame, at, &next);
    at = next;
    for (int64_t i = 0; i < count; i++) {
        struct bytes entry = bytes_of(frame.data + at, frame.size - at);
        if (i == count - 1) {
            (void)line_number(entry, 0, &next);
            (void)line_number(entry, next, &next);
            const uint8_t *id = entry.data + next;
            uint64_t ms = number_at(&id);
            id++;
            answer->cursor = ms << SEQ_BITS | number_at(&id);
        }
        at += (uint32_t)resp_answer_size(entry);
    }
    answer->records = (uint32_t)count;
    answer->bytes = frame.size;
    return true;
}

/* --- Requests. --- */

static uint32_t resp_produce(const struct load_options *options, struct bytes batch,
                             uint32_t partition, uint8_t *at)
{
    char head[HEAD_BYTES];
    (void)partition; /* One stream. */
    uint32_t value = value_text(options, batch, NULL);
    int size = snprintf(head, sizeof(head),
                        "*5\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n$1\r\n*\r\n$5\r\nvalue\r\n$%u\r\n",
                        strlen(options->topic), options->topic, value);
    if (at != NULL) {
        memcpy(at, head, (size_t)size);
        (void)value_text(options, batch, at + size);
        memcpy(at + size + value, "\r\n", 2);
    }
    return (uint32_t)size + value + 2;
}

static uint32_t resp_fetch(const struct load_options *options, uint32_t partition, uint64_t cursor,
                           uint8_t *at)
{
    char text[HEAD_BYTES];
    char id[64];
    (void)partition;
    int id_size = snprintf(id, sizeof(id), "%llu-%llu", (unsigned long long)(cursor >> SEQ_BITS),
                           (unsigned long long)(cursor & ((1U << SEQ_BITS) - 1)));
    int size = snprintf(text, sizeof(text),
                        "*6\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n$3\r\n%d\r\n$7\r\nSTREAMS\r\n"
                        "$%zu\r\n%s\r\n$%d\r\n%s\r\n",
                        READ_COUNT, strlen(options->topic), options->topic, id_size, id);
    if (at != NULL) {
        memcpy(at, text, (size_t)size);
    }
    return (uint32_t)size;
}

/* The stream is there before many write to it at once. */
static bool resp_prepare(const struct load_options *options, int fd, char *message)
{
    char text[HEAD_BYTES];
    uint8_t answer[256];
    int size = snprintf(text, sizeof(text), "XADD %s * value first\r\n", options->topic);
    if (send(fd, text, (size_t)size, MSG_NOSIGNAL) != size) {
        snprintf(message, TARGET_MESSAGE_BYTES, "the connection is broken");
        return false;
    }
    uint32_t filled = 0;
    while (resp_answer_size(bytes_of(answer, filled)) == 0 && filled < sizeof(answer)) {
        ssize_t rc = recv(fd, answer + filled, sizeof(answer) - filled, 0);
        if (rc <= 0) {
            break;
        }
        filled += (uint32_t)rc;
    }
    snprintf(message, TARGET_MESSAGE_BYTES, "%.*s", (int)min_u32(filled, 200),
             (const char *)answer);
    return filled > 0 && answer[0] == '$';
}

const struct target target_resp = {
    .name = "resp",
    .single = true,
    .prepare = resp_prepare,
    .answer_size = resp_answer_size,
    .produce = resp_produce,
    .fetch = resp_fetch,
    .produced = resp_produced,
    .fetched = resp_fetched,
};
