/* HTTP: one record as a body, and reads of 100 records as JSON. The topic is there already. */
#include "bench/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_BYTES = 640, READ_COUNT = 100 };

static const uint8_t *find(struct bytes in, const char *word)
{
    return memmem(in.data, in.size, word, strlen(word));
}

static uint64_t http_answer_size(struct bytes got)
{
    const uint8_t *end = find(got, "\r\n\r\n");
    if (end == NULL) {
        return 0;
    }
    struct bytes head = bytes_of(got.data, (uint32_t)(end - got.data));
    const uint8_t *length = find(head, "Content-Length: ");
    uint64_t size = length == NULL ? 0 : strtoull((const char *)length + 16, NULL, 10);
    return head.size + 4 + size;
}

static uint32_t http_produce(const struct load_options *options, struct bytes batch,
                             uint32_t partition, uint8_t *at)
{
    char head[HEAD_BYTES];
    uint32_t value = value_text(options, batch, NULL);
    uint32_t size = (uint32_t)snprintf(head, sizeof(head),
                                       "POST /v1/topics/%s/records?partition=%u HTTP/1.1\r\n"
                                       "Host: localhost\r\nX-Floe: 1\r\n"
                                       "Content-Type: application/octet-stream\r\n"
                                       "Content-Length: %u\r\n\r\n",
                                       options->topic, partition, value);
    if (at != NULL) {
        memcpy(at, head, size);
        (void)value_text(options, batch, at + size);
    }
    return size + value;
}

static uint32_t http_fetch(const struct load_options *options, uint32_t partition, uint64_t cursor,
                           uint8_t *at)
{
    char head[HEAD_BYTES];
    uint32_t size =
        (uint32_t)snprintf(head, sizeof(head),
                           "GET /v1/topics/%s/records?partition=%u&from=%llu&n=%d HTTP/1.1\r\n"
                           "Host: localhost\r\n\r\n",
                           options->topic, partition, (unsigned long long)cursor, READ_COUNT);
    if (at != NULL) {
        memcpy(at, head, size);
    }
    return size;
}

static bool said_ok(struct bytes frame, struct answer *answer)
{
    bool ok = frame.size >= 12 && memcmp(frame.data + 9, "200", 3) == 0;
    if (!ok) {
        snprintf(answer->message, sizeof(answer->message), "%.*s", (int)min_u32(frame.size, 250),
                 (const char *)frame.data);
    }
    return ok;
}

static bool http_produced(const struct load_options *options, struct bytes frame,
                          uint32_t batch_crc, struct answer *answer)
{
    (void)options;
    (void)batch_crc;
    return said_ok(frame, answer);
}

/* The head of the document tells the rest: the offset behind its last record. */
static bool http_fetched(const struct load_options *options, struct bytes frame,
                         struct answer *answer)
{
    (void)options;
    const uint8_t *next = find(frame, "\"next\":");
    const uint8_t *first = find(frame, "{\"offset\":");
    if (!said_ok(frame, answer)) {
        return false;
    }
    if (next == NULL) {
        snprintf(answer->message, sizeof(answer->message), "no \"next\" in the answer");
        return false;
    }
    answer->cursor = strtoull((const char *)next + 7, NULL, 10);
    answer->records =
        first == NULL ? 0
                      : (uint32_t)(answer->cursor - strtoull((const char *)first + 10, NULL, 10));
    answer->bytes = frame.size;
    return true;
}

const struct target target_http = {
    .name = "http",
    .single = true,
    .answer_size = http_answer_size,
    .produce = http_produce,
    .fetch = http_fetch,
    .produced = http_produced,
    .fetched = http_fetched,
};
