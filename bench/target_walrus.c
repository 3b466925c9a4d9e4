/* Walrus's protocol: PUT and GET of one record. The topic is there already; GET's cursor is the
 * server's. */
#include "bench/target.h"

#include <stdio.h>
#include <string.h>

enum { HEAD_BYTES = 512 };

static uint64_t walrus_answer_size(struct bytes got)
{
    return got.size < 4 ? 0 : 4 + (uint64_t)load_le32(got.data);
}

static uint32_t frame_write(uint8_t *at, const char *text, uint32_t size, uint32_t more)
{
    if (at != NULL) {
        store_le32(at, size + more);
        memcpy(at + 4, text, size);
    }
    return 4 + size + more;
}

static uint32_t walrus_produce(const struct load_options *options, struct bytes batch,
                               uint32_t partition, uint8_t *at)
{
    char text[HEAD_BYTES];
    (void)partition;
    uint32_t size = (uint32_t)snprintf(text, sizeof(text), "PUT %s ", options->topic);
    uint32_t value = value_text(options, batch, at == NULL ? NULL : at + 4 + size);
    return frame_write(at, text, size, value);
}

static uint32_t walrus_fetch(const struct load_options *options, uint32_t partition,
                             uint64_t cursor, uint8_t *at)
{
    char text[HEAD_BYTES];
    (void)partition;
    (void)cursor;
    return frame_write(at, text, (uint32_t)snprintf(text, sizeof(text), "GET %s", options->topic),
                       0);
}

static bool said_ok(struct bytes frame, struct answer *answer)
{
    bool ok = frame.size >= 6 && memcmp(frame.data + 4, "OK", 2) == 0;
    if (!ok) {
        snprintf(answer->message, sizeof(answer->message), "%.*s",
                 (int)min_u32(frame.size - 4, 200), (const char *)frame.data + 4);
    }
    return ok;
}

static bool walrus_produced(const struct load_options *options, struct bytes frame,
                            uint32_t batch_crc, struct answer *answer)
{
    (void)options;
    (void)batch_crc;
    return said_ok(frame, answer);
}

static bool walrus_fetched(const struct load_options *options, struct bytes frame,
                           struct answer *answer)
{
    (void)options;
    if (frame.size == 9 && memcmp(frame.data + 4, "EMPTY", 5) == 0) {
        return true;
    }
    answer->records = 1;
    answer->bytes = frame.size;
    return said_ok(frame, answer);
}

const struct target target_walrus = {
    .name = "walrus",
    .single = true,
    .answer_size = walrus_answer_size,
    .produce = walrus_produce,
    .fetch = walrus_fetch,
    .produced = walrus_produced,
    .fetched = walrus_fetched,
};
