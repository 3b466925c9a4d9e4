/* See power_content.h. */
#include "power_content.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CONTENT_TIME_MS INT64_C(1700000000000)

enum {
    CONTENT_LARGE_BYTES = 64 * 1024,
    CONTENT_LARGER_BYTES = 300 * 1000,
};

/* What a batch is to be: `count` records of least..most-1 bytes each. */
struct content_shape {
    uint32_t count;
    uint64_t least, most;
};

uint64_t content_next(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mixed = *state;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

uint64_t content_below(uint64_t *state, uint64_t limit)
{
    return content_next(state) % limit;
}

static uint64_t content_state(const struct content *content, uint32_t partition, uint64_t number)
{
    uint64_t state = content->seed;
    state = content_next(&state) ^ partition;
    state = content_next(&state) ^ number;
    return content_next(&state);
}

static struct content_shape content_shape(const struct content *content, uint64_t *state)
{
    struct content_shape shape = {.count = 1, .least = 100, .most = 4096};
    if (content_below(state, 100) < content->large_percent) {
        static const uint32_t counts[] = {1, 1, 16, CONTENT_RECORDS_MAX};
        shape.count = counts[content_below(state, 4)];
        shape.least = CONTENT_LARGE_BYTES / shape.count + 1;
        shape.most = CONTENT_LARGER_BYTES / shape.count;
        return shape;
    }
    uint64_t draw = content_below(state, 10);
    if (draw < 2) {
        shape.count = 2 + (uint32_t)content_below(state, 19);
        shape.most = 2000;
    } else if (draw == 2) {
        shape.least = 4096; /* Near the edges of blocks. */
        shape.most = 4200;
    } else if (draw == 3) {
        shape.least = 4096;
        shape.most = CONTENT_LARGE_BYTES;
    }
    return shape;
}

uint32_t content_count(const struct content *content, uint32_t partition, uint64_t number)
{
    uint64_t state = content_state(content, partition, number);
    return content_shape(content, &state).count;
}

void content_make(const struct content *content, uint32_t partition, uint64_t number,
                  struct content_batch *batch)
{
    uint64_t state = content_state(content, partition, number);
    struct content_shape shape = content_shape(content, &state);
    uint64_t *word = batch->words;
    batch->count = shape.count;
    batch->header = (struct floe_header){
        .name = "power", .name_size = 5, .value = batch->keys[0], .value_size = 3};
    for (uint32_t i = 0; i < shape.count; i++) {
        uint64_t size = shape.least + content_below(&state, shape.most - shape.least);
        int key_size = snprintf(batch->keys[i], CONTENT_KEY_BYTES,
                                "%" PRIu32 " %" PRIu64 " %" PRIu32, partition, number, i);
        batch->records[i] = (struct floe_record){
            .key = i % 2 == 0 ? batch->keys[i] : NULL,
            .key_size = i % 2 == 0 ? (size_t)key_size : 0,
            .value = word,
            .value_size = (size_t)size,
            .timestamp_ms = CONTENT_TIME_MS + (int64_t)(number * CONTENT_RECORDS_MAX + i),
            .headers = (number + i) % 5 == 0 ? &batch->header : NULL,
            .header_count = (number + i) % 5 == 0 ? 1 : 0,
        };
        for (uint64_t at = 0; at < size; at += sizeof(*word)) {
            *word++ = content_next(&state);
        }
    }
}

uint64_t content_sum(const struct content_batch *batch)
{
    uint64_t sum = batch->count;
    for (uint32_t i = 0; i < batch->count; i++) {
        const uint8_t *value = batch->records[i].value;
        for (size_t at = 0; at < batch->records[i].value_size; at += sizeof(uint64_t)) {
            uint64_t word = 0;
            size_t left = batch->records[i].value_size - at;
            memcpy(&word, value + at, left < sizeof(word) ? left : sizeof(word));
            sum = (sum ^ word) * UINT64_C(0x100000001b3);
            sum ^= sum >> 29;
        }
    }
    return sum;
}

bool content_equal(const struct floe_record *record, struct floe_reader *reader,
                   const struct floe_view *view)
{
    if ((record->key == NULL) != (view->key == NULL) || record->key_size != view->key_size ||
        record->value_size != view->value_size || record->timestamp_ms != view->timestamp_ms ||
        record->header_count != view->header_count) {
        return false;
    }
    struct floe_header header;
    const struct floe_header *wanted = record->headers;
    if (wanted != NULL &&
        (floe_reader_header(reader, 0, &header) != FLOE_OK ||
         header.name_size != wanted->name_size || header.value_size != wanted->value_size ||
         memcmp(header.name, wanted->name, wanted->name_size) != 0 ||
         memcmp(header.value, wanted->value, wanted->value_size) != 0)) {
        return false;
    }
    return (record->key == NULL || memcmp(record->key, view->key, record->key_size) == 0) &&
           memcmp(record->value, view->value, record->value_size) == 0;
}

void content_seek(const struct content *content, uint32_t partition, uint64_t offset,
                  struct content_place *place)
{
    uint32_t count = content_count(content, partition, place->number);
    while (place->offset + count <= offset) {
        place->offset += count;
        place->number++;
        count = content_count(content, partition, place->number);
    }
}
