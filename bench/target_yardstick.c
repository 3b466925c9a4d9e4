/* The yardstick's side of the load generator; the wire stands in bench/yardstick.h. */
#include "bench/target.h"
#include "bench/yardstick.h"

#include <stdio.h>
#include <string.h>

static uint64_t yardstick_answer_size(struct bytes got)
{
    uint64_t head = sizeof(struct yardstick_header);
    return got.size < head ? 0 : head + (uint64_t)load_le32(got.data);
}

static uint32_t yardstick_produce(const struct load_options *options, struct bytes batch,
                                  uint32_t partition, uint8_t *at)
{
    (void)options;
    (void)partition; /* It keeps one log. */
    struct yardstick_header header = {.size = batch.size, .word = YARDSTICK_APPEND};
    if (at != NULL) {
        memcpy(at, &header, sizeof(header));
        memcpy(at + sizeof(header), batch.data, batch.size);
    }
    return (uint32_t)sizeof(header) + batch.size;
}

static uint32_t yardstick_fetch(const struct load_options *options, uint32_t partition,
                                uint64_t cursor, uint8_t *at)
{
    (void)partition;
    struct yardstick_header header = {
        .size = (uint32_t)options->fetch_bytes, .word = YARDSTICK_READ, .offset = cursor};
    if (at != NULL) {
        memcpy(at, &header, sizeof(header));
    }
    return sizeof(header);
}

static bool yardstick_produced(const struct load_options *options, struct bytes frame,
                               uint32_t batch_crc, struct answer *answer)
{
    (void)options;
    struct yardstick_header header;
    memcpy(&header, frame.data, sizeof(header));
    if (header.size != 0 || header.word != batch_crc) {
        snprintf(answer->message, sizeof(answer->message), "its CRC is %08x, not %08x", header.word,
                 batch_crc);
        return false;
    }
    return true;
}

static bool yardstick_fetched(const struct load_options *options, struct bytes frame,
                              struct answer *answer)
{
    (void)options;
    struct yardstick_header header;
    uint64_t ignored;
    memcpy(&header, frame.data, sizeof(header));
    batches_walk(bytes_of(frame.data + sizeof(header), header.size), answer, &ignored);
    answer->cursor = header.offset;
    return true;
}

const struct target target_yardstick = {
    .name = "yardstick",
    .answer_size = yardstick_answer_size,
    .produce = yardstick_produce,
    .fetch = yardstick_fetch,
    .produced = yardstick_produced,
    .fetched = yardstick_fetched,
};
