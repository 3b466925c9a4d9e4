/* See the header. */
#include "shard/record.h"

#include "core/assert.h"
#include "core/crc32c.h"
#include "core/limits.h"

#include <string.h>

/* A length and its bytes; a length of -1 is NULL. False: neither. */
static bool record_bytes(struct bytes_reader *reader, struct bytes *bytes)
{
    int32_t size = read_varint(reader);
    *bytes = size >= 0 ? read_bytes(reader, (uint32_t)size) : (struct bytes){0};
    return size >= -1;
}

bool record_read_header(struct bytes_reader *reader, struct record_header *header)
{
    bool sound = record_bytes(reader, &header->name) && header->name.data != NULL;
    return sound && record_bytes(reader, &header->value) && !reader->failed;
}

bool record_read(struct bytes_reader *reader, struct record *record)
{
    int32_t length = read_varint(reader);
    if (length < 0 || reader->failed || (uint32_t)length > bytes_left(reader)) {
        return false;
    }
    uint32_t end = reader->position + (uint32_t)length;
    (void)read_u8(reader); /* Attributes: none is defined. */
    record->timestamp_delta = read_varlong(reader);
    record->offset_delta = read_varint(reader);
    bool sound = record_bytes(reader, &record->key);
    sound = record_bytes(reader, &record->value) && sound;
    int32_t headers = read_varint(reader);
    if (!sound || headers < 0 || reader->failed) {
        return false;
    }
    uint32_t headers_at = reader->position;
    for (int32_t i = 0; i < headers; i++) {
        struct record_header header;
        if (!record_read_header(reader, &header)) {
            return false;
        }
    }
    record->header_count = (uint32_t)headers;
    record->headers = bytes_of(reader->data + headers_at, reader->position - headers_at);
    return !reader->failed && reader->position == end;
}

static uint64_t zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static uint32_t varint_size(int64_t value)
{
    uint32_t bits = 64 - (uint32_t)__builtin_clzll(zigzag(value) | 1);
    return (bits + 6) / 7;
}

static uint64_t bytes_field_size(struct bytes bytes)
{
    return bytes.data == NULL ? 1 : varint_size(bytes.size) + (uint64_t)bytes.size;
}

/* Behind the length. */
static uint64_t record_body_size(const struct record_input *record, int64_t first, uint32_t index)
{
    uint64_t size = 1 + varint_size(record->timestamp - first) + varint_size(index);
    size += bytes_field_size(record->key) + bytes_field_size(record->value);
    size += varint_size(record->header_count);
    for (uint32_t i = 0; i < record->header_count; i++) {
        size += bytes_field_size(record->headers[i].name);
        size += bytes_field_size(record->headers[i].value);
    }
    return size;
}

uint32_t record_batch_size(const struct record_input *records, uint32_t count)
{
    uint64_t size = BATCH_HEADER_BYTES;
    for (uint32_t i = 0; i < count && size <= BATCH_BYTES_MAX; i++) {
        uint64_t body = record_body_size(&records[i], records[0].timestamp, i);
        size += body + varint_size((int64_t)min_u64(body, BATCH_BYTES_MAX));
    }
    return count == 0 || size > BATCH_BYTES_MAX ? 0 : (uint32_t)size;
}

/* --- Writing: room for all of it is known to be there. --- */

static uint8_t *put_varint(uint8_t *at, int64_t value)
{
    uint64_t rest = zigzag(value);
    while (rest >= 0x80) {
        *at++ = (uint8_t)(rest | 0x80);
        rest >>= 7;
    }
    *at++ = (uint8_t)rest;
    return at;
}

static uint8_t *put_field(uint8_t *at, struct bytes bytes)
{
    at = put_varint(at, bytes.data == NULL ? -1 : (int64_t)bytes.size);
    if (bytes.size > 0) {
        memcpy(at, bytes.data, bytes.size);
    }
    return at + bytes.size;
}

void record_batch_begin(struct record_batch *batch, uint8_t *data, uint32_t room)
{
    ASSERT(data != NULL && room >= BATCH_HEADER_BYTES);
    *batch = (struct record_batch){
        .data = data, .room = min_u32(room, BATCH_BYTES_MAX), .size = BATCH_HEADER_BYTES};
}

bool record_batch_add(struct record_batch *batch, const struct record_input *record)
{
    if (batch->count == 0) {
        batch->first = batch->greatest = record->timestamp;
    }
    uint64_t body = record_body_size(record, batch->first, batch->count);
    if (body + varint_size((int64_t)min_u64(body, BATCH_BYTES_MAX)) > batch->room - batch->size) {
        return false;
    }
    uint8_t *at = put_varint(batch->data + batch->size, (int64_t)body);
    const uint8_t *end = at + body;
    *at++ = 0;
    at = put_varint(at, record->timestamp - batch->first);
    at = put_varint(at, batch->count);
    at = put_field(at, record->key);
    at = put_field(at, record->value);
    at = put_varint(at, record->header_count);
    for (uint32_t i = 0; i < record->header_count; i++) {
        at = put_field(at, record->headers[i].name);
        at = put_field(at, record->headers[i].value);
    }
    ASSERT(at == end);
    batch->size = (uint32_t)(at - batch->data);
    batch->count++;
    batch->greatest = record->timestamp > batch->greatest ? record->timestamp : batch->greatest;
    return true;
}

struct bytes record_batch_end(struct record_batch *batch)
{
    uint8_t *data = batch->data;
    uint32_t size = batch->size;
    ASSERT(batch->count > 0);
    struct bytes_writer writer = bytes_writer(data, BATCH_HEADER_BYTES);
    write_be64(&writer, 0);                         /* baseOffset */
    write_be32(&writer, size - BATCH_PREFIX_BYTES); /* batchLength */
    write_be32(&writer, 0);                         /* partitionLeaderEpoch */
    write_u8(&writer, 2);                           /* magic */
    write_be32(&writer, 0);                         /* crc, see below */
    write_be16(&writer, 0);                         /* attributes: no codec, CreateTime */
    write_be32(&writer, batch->count - 1);          /* lastOffsetDelta */
    write_be64(&writer, (uint64_t)batch->first);
    write_be64(&writer, (uint64_t)batch->greatest);
    write_be64(&writer, UINT64_MAX); /* No producer: id, epoch and sequence are -1. */
    write_be16(&writer, UINT16_MAX);
    write_be32(&writer, UINT32_MAX);
    write_be32(&writer, batch->count);
    ASSERT(!writer.failed && writer.position == BATCH_HEADER_BYTES);
    store_be32(data + 17, crc32c(0, data + BATCH_CRC_FROM, size - BATCH_CRC_FROM));
    return bytes_of(data, size);
}

void record_batch_encode(const struct record_input *records, uint32_t count, uint8_t *data,
                         uint32_t size)
{
    struct record_batch batch;
    record_batch_begin(&batch, data, size);
    for (uint32_t i = 0; i < count; i++) {
        bool added = record_batch_add(&batch, &records[i]);
        ASSERT(added);
    }
    struct bytes made = record_batch_end(&batch);
    ASSERT(made.size == size);
}
