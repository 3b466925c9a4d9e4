/* Whatever a client sends as HTTP, in whatever pieces: a head is judged alike however it comes;
 * requests are answered or refused, answers are whole, and all that was lent is home at the end.
 *
 * The first byte chooses how it comes, see fuzz_net.h, and
 *
 *     1  the rest is {which u8, changes u8, {position u16, value u8}...}...: samples of requests
 *        with `changes % 4` bytes changed, one behind the other; else the stream as it is
 *     2  topic "t" has packed records */
#include "core/assert.h"
#include "net/http/http.h"
#include "shard/batch.h"
#include "shard/codec.h"
#include "tests/fuzz/fuzz_net.h"
#include "tests/unit/net/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum {
    FUZZ_INPUT_BYTES_MAX = 384,
    FUZZ_SAMPLES_MAX = 5,
    FUZZ_STEPS_MAX = 1024,
    FUZZ_PACKED_BYTES_MAX = 4096,
    FUZZ_PLAIN_BYTES_MAX = 80 << 10,
    FUZZ_ANSWER_BYTES_MAX = 4 << 20,
    FUZZ_SAMPLED = 1,
    FUZZ_PACKED = 2,
    FUZZ_SAMPLE_BYTES_MAX = FUZZ_STREAM_BYTES_MAX / FUZZ_SAMPLES_MAX,
};

_Static_assert(FUZZ_SAMPLE_BYTES_MAX > 5 * HTTP_TARGET_BYTES_MAX, "long samples fit");

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a sample: what is too long for a request line, more headers than are taken, and nothing, but a
 * large packed batch stands in topic "t" then. */
#define FUZZ_LONG    "\1"
#define FUZZ_HEADERS "\2"
#define FUZZ_LARGE   "\3"

#define FUZZ_POST "POST /v1/topics/t/records HTTP/1.1\r\nHost: localhost\r\nX-Floe: 1\r\n"
#define FUZZ_JSON FUZZ_POST "Content-Type: application/json\r\nContent-Length: 64\r\n\r\n"

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
    "Content-Length: 63\r\n\r\n"
    "{\"name\":\"n\",\"partitions\":2,\"configs\":{\"retention.ms\":\"1000\"}}  ",
    "DELETE /v1/topics/t HTTP/1.1\r\nHost: localhost\r\nX-Floe: 1\r\n\r\n",
    "POST /v1/topics/t/records?key=k%00&timestamp=5 HTTP/1.1\r\nHost: localhost\r\nX-Floe: 1\r\n"
    "Content-Length: 5\r\n\r\nhello",
    "POST /v1/topics/made/records HTTP/1.1\r\nHost: localhost\r\nX-Floe: 1\r\n"
    "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "POST /v1/topics/t/records HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Content-Length: 142\r\n\r\n"
    "{\"records\":[{\"key\":\"a\",\"value\":\"1\",\"headers\":{\"h\":\"v\",\"n\":null}},"
    "{\"value_base64\":\"AAEC\",\"partition\":0,\"headers\":[{\"name\":\"x\",\"value\":\"y\"}]}]} ",
    "GET /v1/topics/t/records?from=-2&n=3&wait=5 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /v1/topics/t/records?from=@5&partition=0 HTTP/1.1\r\nHost: localhost\r\n"
    "Accept: application/octet-stream\r\n\r\n",
    "GET /v1/topics/t/stream?from=start HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /v1/topics/t/stream HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "GET /" FUZZ_LONG " HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /" FUZZ_LONG FUZZ_LONG " HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost \t\r\nX: " FUZZ_LONG FUZZ_LONG FUZZ_LONG FUZZ_LONG
    "\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\n" FUZZ_HEADERS "\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    FUZZ_POST "Content-Length: 9000000\r\n\r\n",
    FUZZ_POST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    FUZZ_POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
    FUZZ_POST "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    FUZZ_POST "Content-Length: 3\r\n\r\n\xff\xfe\xfd",
    "POST /v1/topics/p/records?partition=1 HTTP/1.1\r\nHost: localhost\r\nX-Floe: 1\r\n"
    "Content-Length: 5\r\n\r\nhello",
    "POST /v1/topics/p/records?key=one HTTP/1.1\r\nHost: localhost\r\nX-Floe: 1\r\n"
    "Content-Length: 5\r\n\r\nhello",
    "GET /v1/topics/p/records?from=start HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /v1/topics/p/records?from=start&partition=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /v1/topics/p/records?from=start&partition=9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /v1/topics/t/records?from=start&n=9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    FUZZ_JSON "{\"records\":[]}                                                  ",
    FUZZ_JSON "{\"records\":[5]}                                                 ",
    FUZZ_JSON "{\"records\":[{\"key\":\"a\",\"key_base64\":\"AAEC\"}]}                   ",
    FUZZ_JSON "{\"records\":[{\"value_base64\":\"A\"},{\"value\":5}]}                  ",
    FUZZ_JSON "{\"records\":[{\"headers\":[5]}]}                                   ",
    FUZZ_JSON "{\"records\":[{\"headers\":5}]}                                     ",
    FUZZ_JSON "{\"records\":[{\"headers\":[{\"value\":\"y\"}]}]}                       ",
    FUZZ_JSON "{\"records\":[{\"headers\":[{\"name_base64\":\"AAEC\"}]}]}              ",
    FUZZ_JSON "{\"records\":[{\"headers\":[{\"other\":1}]},{\"headers\":{\"a\":1}}]}     ",
    FUZZ_JSON "{\"records\":[{\"key\":5}]}                                         ",
    FUZZ_JSON "{\"records\":[{\"headers\":{\"a\":5}}]}                               ",
    FUZZ_LARGE "GET /v1/topics/t/records?from=start&n=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /v1/topics/t/stream HTTP/1.1\r\nHost: localhost\r\n\r\n",
};

static struct {
    bool open;
    uint8_t answer[FUZZ_ANSWER_BYTES_MAX];
    uint32_t size;
    bool large; /* The large packed batch stands in topic "t". */
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
    uint32_t step = 1 + text.size / FUZZ_STEPS_MAX;
    struct http_head whole = {0}, pieces = {0};
    struct http_fault fault, other;
    uint32_t size, other_size;
    enum http_found found = fuzz_look(text, UINT32_MAX / 2, &whole, &fault, &size);
    ASSERT(found == fuzz_look(text, step, &pieces, &other, &other_size));
    ASSERT(fault.status == other.status && size == other_size);
    ASSERT((found == HTTP_FAULTY) == (fault.status != 0));
    if (found == HTTP_WHOLE) {
        ASSERT(whole.size == size && whole.body_bytes == pieces.body_bytes);
        ASSERT(whole.path.size > 0 && whole.fields[HTTP_FIELD_HOST].size > 0);
    }
}

/* A batch of topic "t" that is packed by zstd; a large one is more than readers make room for
 * first. */
static void fuzz_put_packed(bool large)
{
    static uint8_t batches[2][FUZZ_PACKED_BYTES_MAX], plain[FUZZ_PLAIN_BYTES_MAX];
    static uint32_t sizes[2];
    uint8_t *batch = batches[large];
    uint32_t size = sizes[large];
    if (size == 0) {
        struct bytes bytes = wire_batch(&(struct wire_batch){.records = large ? 30 : 3,
                                                             .value_bytes = large ? 2500 : 20,
                                                             .timestamp = 1000,
                                                             .producer_id = -1,
                                                             .producer_epoch = -1,
                                                             .sequence = -1,
                                                             .attributes = CODEC_ZSTD,
                                                             .keys = true},
                                        plain, sizeof(plain));
        memcpy(batch, bytes.data, BATCH_HEADER_BYTES);
        size_t packed =
            ZSTD_compress(batch + BATCH_HEADER_BYTES, FUZZ_PACKED_BYTES_MAX - BATCH_HEADER_BYTES,
                          bytes.data + BATCH_HEADER_BYTES, bytes.size - BATCH_HEADER_BYTES, 1);
        ASSERT(!ZSTD_isError(packed));
        size = BATCH_HEADER_BYTES + (uint32_t)packed;
        store_be32(batch + 8, size - BATCH_PREFIX_BYTES);
        wire_mend_crc(batch, size);
        sizes[large] = size;
    }
    struct request produce = {.kind = REQUEST_PRODUCE};
    memset(produce.partition.topic.bytes, 't', sizeof(produce.partition.topic.bytes));
    produce.produce.batch = bytes_of(batch, size);
    produce.produce.zstd_allowed = true;
    fuzz_net_submit(&produce);
    ASSERT(produce.done.result == OK);
}

/* Writes a sample where there is room for all of them; returns its size. */
static uint32_t fuzz_put_sample(const char *sample, uint8_t *at)
{
    struct bytes_writer out = bytes_writer(at, FUZZ_SAMPLE_BYTES_MAX);
    if (*sample == FUZZ_LARGE[0]) {
        if (!fuzz.large) {
            fuzz_put_packed(true);
        }
        fuzz.large = true;
        sample++;
    }
    for (; *sample != 0; sample++) {
        uint32_t times = *sample == FUZZ_LONG[0]      ? HTTP_TARGET_BYTES_MAX
                         : *sample == FUZZ_HEADERS[0] ? HTTP_HEADERS_MAX
                                                      : 0;
        for (uint32_t i = 0; i < times; i++) {
            write_bytes(&out, *sample == FUZZ_LONG[0] ? "x" : "a:b\r\n",
                        *sample == FUZZ_LONG[0] ? 1 : 5);
        }
        if (times == 0) {
            write_u8(&out, (uint8_t)*sample);
        }
    }
    ASSERT(!out.failed);
    return out.position;
}

static void fuzz_put_samples(const uint8_t *data, uint32_t size)
{
    struct bytes_reader in = bytes_reader(bytes_of(data, size));
    fuzz_net.stream_size = 0;
    for (uint32_t samples = 0; bytes_left(&in) >= 2 && samples < FUZZ_SAMPLES_MAX; samples++) {
        const char *sample = fuzz_samples[read_u8(&in) % ARRAY_COUNT(fuzz_samples)];
        uint32_t changes = read_u8(&in) % 4;
        uint8_t *at = fuzz_net.stream + fuzz_net.stream_size;
        uint32_t sample_size = fuzz_put_sample(sample, at);
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
    fuzz.large = false;
    fuzz_net_reset();
    fuzz_net_flags(data[0]);
    if ((data[0] & FUZZ_SAMPLED) != 0) {
        fuzz_put_samples(data + 1, (uint32_t)size - 1);
    } else {
        memcpy(fuzz_net.stream, data + 1, size - 1);
        fuzz_net.stream_size = (uint32_t)size - 1;
    }
    if ((data[0] & FUZZ_PACKED) != 0) {
        fuzz_put_packed(false);
    }
    fuzz_judge_head(bytes_of(fuzz_net.stream, fuzz_net.stream_size));
    fuzz_net_run(NET_HTTP);
    if (!fuzz_net.reset) {
        fuzz_check_answers();
    }
    return 0;
}
