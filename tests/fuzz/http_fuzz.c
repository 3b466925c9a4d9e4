/* Whatever a client sends as HTTP, in whatever pieces: a head is judged alike however it comes;
 * requests are answered or refused, answers are whole, and all that was lent is home at the end.
 *
 * The first byte chooses how it comes, see fuzz_net.h, and
 *
 *     1  the rest is {which u8, changes u8, {position u16, value u8}...}...: samples of requests
 *        with `changes % 4` bytes changed, one behind the other; else the stream as it is */
#include "core/assert.h"
#include "net/http/http.h"
#include "tests/fuzz/fuzz_net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FUZZ_INPUT_BYTES_MAX = 384,
    FUZZ_SAMPLES_MAX = 5,
    FUZZ_ANSWER_BYTES_MAX = 4 << 20,
    FUZZ_SAMPLED = 1
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const fuzz_samples[] = {
    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /livez HTTP/1.0\r\nHost: [::1]:9092\r\n\r\n",
    "HEAD /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain;version=0.0.4\r\n\r\n",
    "GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "OPTIONS /v1/topics HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: POST\r\n\r\n",
    "GET /v1/topics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /v1/topics/%74 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /v1/topics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Content-Length: 62\r\n\r\n"
    "{\"name\":\"n\",\"partitions\":2,\"configs\":{\"retention.ms\":\"1000\"}}  ",
    "DELETE /v1/topics/t HTTP/1.1\r\nHost: localhost\r\nX-Floe: 1\r\n\r\n",
    "POST /v1/topics/t/records?key=k%00&timestamp=5 HTTP/1.1\r\nHost: localhost\r\nX-Floe: 1\r\n"
    "Content-Length: 5\r\n\r\nhello",
    "POST /v1/topics/made/records HTTP/1.1\r\nHost: localhost\r\nX-Floe: 1\r\n"
    "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "POST /v1/topics/t/records HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Content-Length: 141\r\n\r\n"
    "{\"records\":[{\"key\":\"a\",\"value\":\"1\",\"headers\":{\"h\":\"v\",\"n\":null}},"
    "{\"value_base64\":\"AAEC\",\"partition\":0,\"headers\":[{\"name\":\"x\",\"value\":\"y\"}]}]} ",
    "GET /v1/topics/t/records?from=-2&n=3&wait=5 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /v1/topics/t/records?from=@5&partition=0 HTTP/1.1\r\nHost: localhost\r\n"
    "Accept: application/octet-stream\r\n\r\n",
    "GET /v1/topics/t/stream?from=start HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /v1/topics/t/stream HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
};

static struct {
    bool open;
    uint8_t answer[FUZZ_ANSWER_BYTES_MAX];
    uint32_t size;
} fuzz;

static void fuzz_take_answer(const uint8_t *data, size_t size)
{
    size_t room = sizeof(fuzz.answer) - fuzz.size;
    size = size < room ? size : room;
    memcpy(fuzz.answer + fuzz.size, data, size);
    fuzz.size += (uint32_t)size;
}

static const uint8_t *fuzz_find(struct bytes in, const char *text)
{
    return in.size == 0 ? NULL : memmem(in.data, in.size, text, strlen(text));
}

/* One answer; 0: nothing can be said about what follows. */
static uint32_t fuzz_check_answer(struct bytes left)
{
    static const char begin[] = "HTTP/1.1 ";
    static const char length[] = "Content-Length: ";
    const uint8_t *end = fuzz_find(left, "\r\n\r\n");
    ASSERT(left.size > sizeof(begin) && memcmp(left.data, begin, sizeof(begin) - 1) == 0);
    ASSERT(end != NULL);
    struct bytes head = bytes_of(left.data, (uint32_t)(end - left.data) + 4);
    if (fuzz_find(head, "text/event-stream") != NULL || fuzz_find(head, "octet-stream") != NULL) {
        return 0;
    }
    const uint8_t *at = fuzz_find(head, length);
    uint32_t body =
        at == NULL ? 0 : (uint32_t)strtoul((const char *)at + sizeof(length) - 1, NULL, 10);
    uint32_t rest = left.size - head.size;
    bool headless =
        rest == 0 || (rest >= sizeof(begin) && memcmp(end + 4, begin, sizeof(begin) - 1) == 0);
    ASSERT(headless || body <= rest); /* Of a HEAD, only the head. */
    return head.size + (headless ? 0 : body);
}

static void fuzz_check_answers(void)
{
    uint32_t at = 0;
    while (at < fuzz.size && fuzz.size < sizeof(fuzz.answer)) {
        uint32_t size = fuzz_check_answer(bytes_of(fuzz.answer + at, fuzz.size - at));
        if (size == 0) {
            return;
        }
        at += size;
    }
}

static enum http_found fuzz_look(struct bytes text, uint32_t step, struct http_head *head,
                                 struct http_fault *fault, uint32_t *size)
{
    struct http_scan scan = {0};
    enum http_found found = HTTP_MORE;
    fault->status = 0;
    for (uint32_t have = 0; have < text.size && found == HTTP_MORE;) {
        have = min_u32(have + step, text.size);
        found = http_scan(&scan, bytes_of(text.data, have), fault);
    }
    *size = scan.position;
    if (found == HTTP_WHOLE && !http_head_parse(bytes_of(text.data, *size), head, fault)) {
        found = HTTP_FAULTY;
    }
    return found;
}

/* However it comes, a head is one thing. */
static void fuzz_judge_head(struct bytes text)
{
    struct http_head whole = {0}, pieces = {0};
    struct http_fault fault, other;
    uint32_t size, other_size;
    enum http_found found = fuzz_look(text, UINT32_MAX / 2, &whole, &fault, &size);
    ASSERT(found == fuzz_look(text, 1, &pieces, &other, &other_size));
    ASSERT(fault.status == other.status && size == other_size);
    ASSERT((found == HTTP_FAULTY) == (fault.status != 0));
    if (found == HTTP_WHOLE) {
        ASSERT(whole.size == size && whole.body_bytes == pieces.body_bytes);
        ASSERT(whole.path.size > 0 && whole.fields[HTTP_FIELD_HOST].size > 0);
    }
}

static void fuzz_put_samples(const uint8_t *data, uint32_t size)
{
    struct bytes_reader in = bytes_reader(bytes_of(data, size));
    fuzz_net.stream_size = 0;
    for (uint32_t samples = 0; bytes_left(&in) >= 2 && samples < FUZZ_SAMPLES_MAX; samples++) {
        const char *sample = fuzz_samples[read_u8(&in) % ARRAY_COUNT(fuzz_samples)];
        uint32_t changes = read_u8(&in) % 4;
        uint32_t sample_size = (uint32_t)strlen(sample);
        if (sample_size > FUZZ_STREAM_BYTES_MAX - fuzz_net.stream_size) {
            return;
        }
        uint8_t *at = fuzz_net.stream + fuzz_net.stream_size;
        memcpy(at, sample, sample_size);
        for (uint32_t i = 0; i < changes && bytes_left(&in) >= 3; i++) {
            uint32_t position = read_be16(&in) % sample_size;
            at[position] = read_u8(&in);
        }
        fuzz_net.stream_size += sample_size;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > FUZZ_INPUT_BYTES_MAX) {
        return 0;
    }
    if (!fuzz.open) {
        fuzz.open = true;
        fuzz_net.take_answer = fuzz_take_answer;
        fuzz_net_begin();
    }
    fuzz.size = 0;
    fuzz_net_reset();
    fuzz_net_flags(data[0]);
    if ((data[0] & FUZZ_SAMPLED) != 0) {
        fuzz_put_samples(data + 1, (uint32_t)size - 1);
    } else {
        memcpy(fuzz_net.stream, data + 1, size - 1);
        fuzz_net.stream_size = (uint32_t)size - 1;
    }
    fuzz_judge_head(bytes_of(fuzz_net.stream, fuzz_net.stream_size));
    fuzz_net_run(NET_HTTP);
    if (!fuzz_net.reset) {
        fuzz_check_answers();
    }
    return 0;
}
