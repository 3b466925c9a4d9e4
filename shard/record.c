/* See the header. */
#include "shard/record.h"

#include "core/assert.h"
#include "core/crc32c.h"
#include "core/limits.h"

#include <string.h>

enum record_part {
    RECORD_HEAD, /* Up to the length of the key. */
    RECORD_VALUE,
    RECORD_HEADERS, /* How many. */
    RECORD_NAME,
    RECORD_HEADER_VALUE,
};

/* Most varints have one byte, or two. */
static inline bool part_short(struct bytes_reader *reader, int32_t *value)
{
    uint32_t at = reader->position;
    if (reader->size - at < 2 || reader->failed) {
        return false;
    }
    uint32_t low = reader->data[at];
    uint32_t high = low < 0x80 ? 0 : reader->data[at + 1];
    uint32_t both = (low & 0x7f) | high << 7;
    *value = (int32_t)((both >> 1) ^ (0U - (both & 1)));
    reader->position += high >= 0x80 ? 0 : low < 0x80 ? 1 : 2;
    return high < 0x80;
}

static int32_t part_varint(struct bytes_reader *reader)
{
    int32_t value;
    return part_short(reader, &value) ? value : read_varint(reader);
}

static int64_t part_varlong(struct bytes_reader *reader)
{
    int32_t value;
    return part_short(reader, &value) ? value : read_varlong(reader);
}

/* The one place that knows what a record looks like. Reads the next part of a record: what stands
 * before the next bytes that somebody wrote into it, of which *size says how many they are (-1:
 * none, or null), and the reader is to pass over them. The record ended when a RECORD_HEAD is next.
 * False: it does not parse, or runs past its length. */
static bool record_part(struct bytes_reader *reader, struct record_scan *scan,
                        struct record *record, int32_t *size)
{
    uint32_t from = reader->position;
    int32_t length;
    *size = -1;
    switch ((enum record_part)scan->part) {
    case RECORD_HEAD:
        length = part_varint(reader);
        from = reader->position;
        read_skip(reader, 1); /* Attributes: none is defined. */
        record->timestamp_delta = part_varlong(reader);
        record->offset_delta = part_varint(reader);
        *size = part_varint(reader);
        if (length < 0) {
            return false;
        }
        scan->left = (uint32_t)length;
        scan->part = RECORD_VALUE;
        break;
    case RECORD_VALUE:
        *size = part_varint(reader);
        scan->part = RECORD_HEADERS;
        break;
    case RECORD_HEADERS:
        length = part_varint(reader);
        if (length < 0) {
            return false;
        }
        record->header_count = scan->headers = (uint32_t)length;
        scan->part = length > 0 ? RECORD_NAME : RECORD_HEAD;
        break;
    case RECORD_NAME:
        *size = part_varint(reader);
        if (*size < 0) {
            return false;
        }
        scan->part = RECORD_HEADER_VALUE;
        break;
    case RECORD_HEADER_VALUE:
        *size = part_varint(reader);
        scan->headers--;
        scan->part = scan->headers > 0 ? RECORD_NAME : RECORD_HEAD;
        break;
    }
    uint64_t used = (uint64_t)(reader->position - from) + (*size > 0 ? (uint32_t)*size : 0);
    if (reader->failed || *size < -1 || used > scan->left) {
        return false;
    }
    scan->left -= (uint32_t)used;
    return scan->part != RECORD_HEAD || scan->left == 0;
}

/* What stands behind a part. */
static struct bytes record_bytes(struct bytes_reader *reader, int32_t size)
{
    return size < 0 ? (struct bytes){0} : read_bytes(reader, (uint32_t)size);
}

bool record_read_header(struct bytes_reader *reader, struct record_header *header)
{
    struct record_scan scan = {.part = RECORD_NAME, .headers = 2, .left = UINT32_MAX};
    struct record none;
    int32_t size;
    if (!record_part(reader, &scan, &none, &size)) {
        return false;
    }
    header->name = record_bytes(reader, size);
    if (!record_part(reader, &scan, &none, &size)) {
        return false;
    }
    header->value = record_bytes(reader, size);
    return !reader->failed;
}

bool record_read(struct bytes_reader *reader, struct record *record)
{
    struct record_scan scan = {0};
    uint32_t headers_at = 0;
    do {
        enum record_part part = (enum record_part)scan.part;
        int32_t size;
        if (!record_part(reader, &scan, record, &size)) {
            return false;
        }
        struct bytes bytes = record_bytes(reader, size);
        if (part == RECORD_HEAD) {
            record->key = bytes;
        } else if (part == RECORD_VALUE) {
            record->value = bytes;
        } else if (part == RECORD_HEADERS) {
            headers_at = reader->position;
        }
    } while (scan.part != RECORD_HEAD);
    record->headers = bytes_of(reader->data + headers_at, reader->position - headers_at);
    return !reader->failed;
}

/* --- Records of which a part is there at a time. --- */

void record_feed_begin(struct record_feed *feed, int32_t count, record_each *each, void *context)
{
    *feed = (struct record_feed){.count = count > 0 ? count : 0, .each = each, .context = context};
}

bool record_feed_over(const struct record_feed *feed)
{
    return feed->read == feed->count && !feed->reading;
}

/* The next part, and perhaps the end of its record. */
static enum err feed_part(struct record_feed *feed, struct bytes_reader *reader)
{
    bool begins = feed->scan.part == RECORD_HEAD;
    struct record record;
    int32_t size;
    if (!record_part(reader, &feed->scan, &record, &size)) {
        return ERR_BATCH_INVALID;
    }
    if (begins) {
        feed->fact = (struct record_fact){.timestamp_delta = record.timestamp_delta,
                                          .offset_delta = record.offset_delta,
                                          .keyless = size < 0};
    }
    feed->pass = size > 0 ? (uint32_t)size : 0;
    return OK;
}

enum err record_feed(struct record_feed *feed, struct bytes data, bool last, uint32_t *used)
{
    struct bytes_reader reader = bytes_reader(data);
    uint32_t least = last ? 1 : RECORD_PART_BYTES_MAX;
    enum err err = OK;
    for (;;) {
        uint32_t left = reader.size - reader.position;
        uint32_t passed = min_u32(feed->pass, left);
        reader.position += passed;
        feed->pass -= passed;
        if (feed->pass > 0) {
            break;
        }
        if (feed->reading && feed->scan.part == RECORD_HEAD) {
            feed->reading = false;
            err = feed->each(feed->context, feed->read++, &feed->fact);
            if (err != OK) {
                break;
            }
        }
        if (feed->read == feed->count || left - passed < least) {
            break;
        }
        feed->reading = true;
        err = feed_part(feed, &reader);
        if (err != OK) {
            break;
        }
    }
    *used = reader.position;
    return err == OK && last && !record_feed_over(feed) ? ERR_BATCH_INVALID : err;
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
