/* Both encodings behind one set of names; see schema.h for the bytes. */
#include "net/kafka/schema.h"

#include "core/assert.h"
#include "shard/request.h"

enum { SCHEMA_REST_MAX = 4 }; /* Zeros behind a flexible request; the most seen is 3. */

struct kafka_reader kafka_reader(struct bytes body, bool flexible)
{
    return (struct kafka_reader){.bytes = bytes_reader(body), .flexible = flexible};
}

bool kafka_read_bool(struct kafka_reader *reader)
{
    return read_u8(&reader->bytes) != 0;
}

int16_t kafka_read_i16(struct kafka_reader *reader)
{
    return (int16_t)read_be16(&reader->bytes);
}

int32_t kafka_read_i32(struct kafka_reader *reader)
{
    return (int32_t)read_be32(&reader->bytes);
}

int64_t kafka_read_i64(struct kafka_reader *reader)
{
    return (int64_t)read_be64(&reader->bytes);
}

/* The view of `length` bytes; -1 is null, other negative lengths and lies fail. */
static struct bytes kafka_view(struct kafka_reader *reader, int64_t length)
{
    if (length == -1 || reader->bytes.failed) {
        return (struct bytes){0};
    }
    if (length < 0 || length > bytes_left(&reader->bytes)) {
        reader->bytes.failed = true;
        return (struct bytes){0};
    }
    struct bytes view = read_bytes(&reader->bytes, (uint32_t)length);
    if (view.data == NULL) {
        /* Empty, not null. */
        view.data = reader->bytes.data;
    }
    return view;
}

static int64_t kafka_compact_length(struct kafka_reader *reader)
{
    return (int64_t)read_uvarint(&reader->bytes) - 1;
}

struct bytes kafka_read_string_or_null(struct kafka_reader *reader)
{
    int64_t length =
        reader->flexible ? kafka_compact_length(reader) : (int64_t)kafka_read_i16(reader);
    if (length > INT16_MAX) {
        reader->bytes.failed = true;
    }
    return kafka_view(reader, length);
}

struct bytes kafka_read_string(struct kafka_reader *reader)
{
    struct bytes text = kafka_read_string_or_null(reader);
    if (text.data == NULL) {
        reader->bytes.failed = true;
    }
    return text;
}

struct bytes kafka_read_bytes_or_null(struct kafka_reader *reader)
{
    int64_t length =
        reader->flexible ? kafka_compact_length(reader) : (int64_t)kafka_read_i32(reader);
    return kafka_view(reader, length);
}

void kafka_read_id(struct kafka_reader *reader, struct topic_id *id)
{
    struct bytes view = read_bytes(&reader->bytes, sizeof(id->bytes));
    memset(id, 0, sizeof(*id));
    if (view.data != NULL && !reader->bytes.failed) {
        memcpy(id->bytes, view.data, sizeof(id->bytes));
    }
}

void kafka_read_topic(struct kafka_reader *reader, bool by_id, struct bytes *name,
                      struct topic_id *id)
{
    if (by_id) {
        kafka_read_id(reader, id);
    } else {
        *name = kafka_read_string(reader);
    }
}

bool kafka_read_count_or_null(struct kafka_reader *reader, uint32_t item, uint32_t *count)
{
    ASSERT(item > 0);
    int64_t length =
        reader->flexible ? kafka_compact_length(reader) : (int64_t)kafka_read_i32(reader);
    *count = 0;
    if (reader->bytes.failed) {
        return false;
    }
    if (length == -1) {
        return true;
    }
    if (length < 0 || length > bytes_left(&reader->bytes) / item) {
        reader->bytes.failed = true;
        return false;
    }
    *count = (uint32_t)length;
    return false;
}

uint32_t kafka_read_count(struct kafka_reader *reader, uint32_t item)
{
    uint32_t count;
    if (kafka_read_count_or_null(reader, item, &count)) {
        reader->bytes.failed = true;
    }
    return count;
}

void kafka_read_tags(struct kafka_reader *reader)
{
    if (!reader->flexible) {
        return;
    }
    uint32_t count = read_uvarint(&reader->bytes);
    if (count > bytes_left(&reader->bytes) / 2) {
        reader->bytes.failed = true;
    }
    for (uint32_t i = 0; i < count && !reader->bytes.failed; i++) {
        (void)read_uvarint(&reader->bytes);
        read_skip(&reader->bytes, read_uvarint(&reader->bytes));
    }
}

bool kafka_read_done(const struct kafka_reader *reader)
{
    struct bytes_reader rest = reader->bytes;
    bool done = !rest.failed && bytes_left(&rest) <= (reader->flexible ? SCHEMA_REST_MAX : 0);
    while (done && bytes_left(&rest) > 0) {
        done = read_u8(&rest) == 0;
    }
    return done;
}

void kafka_write_raw(struct kafka_writer *writer, const void *data, uint32_t size)
{
    if (writer->data != NULL && size > 0) {
        ASSERT(size <= writer->size - writer->position);
        memcpy(writer->data + writer->position, data, size);
    }
    writer->position += size;
}

void kafka_write_i8(struct kafka_writer *writer, int8_t value)
{
    kafka_write_raw(writer, &value, 1);
}

void kafka_write_bool(struct kafka_writer *writer, bool value)
{
    kafka_write_i8(writer, value ? 1 : 0);
}

void kafka_write_i16(struct kafka_writer *writer, int16_t value)
{
    uint8_t bytes[2];
    store_be16(bytes, (uint16_t)value);
    kafka_write_raw(writer, bytes, sizeof(bytes));
}

void kafka_write_i32(struct kafka_writer *writer, int32_t value)
{
    uint8_t bytes[4];
    store_be32(bytes, (uint32_t)value);
    kafka_write_raw(writer, bytes, sizeof(bytes));
}

void kafka_write_i64(struct kafka_writer *writer, int64_t value)
{
    uint8_t bytes[8];
    store_be64(bytes, (uint64_t)value);
    kafka_write_raw(writer, bytes, sizeof(bytes));
}

void kafka_write_uvarint(struct kafka_writer *writer, uint32_t value)
{
    uint8_t bytes[8];
    struct bytes_writer out = bytes_writer(bytes, sizeof(bytes));
    write_uvarint(&out, value);
    ASSERT(!out.failed);
    kafka_write_raw(writer, bytes, out.position);
}

void kafka_write_string(struct kafka_writer *writer, struct bytes text)
{
    ASSERT(text.size <= INT16_MAX);
    if (writer->flexible) {
        kafka_write_uvarint(writer, text.data == NULL ? 0 : text.size + 1);
    } else {
        kafka_write_i16(writer, text.data == NULL ? -1 : (int16_t)text.size);
    }
    kafka_write_raw(writer, text.data, text.size);
}

void kafka_write_text(struct kafka_writer *writer, const char *text)
{
    kafka_write_string(writer, text == NULL ? (struct bytes){0} : bytes_text(text));
}

void kafka_write_count(struct kafka_writer *writer, uint32_t count)
{
    ASSERT(count < INT32_MAX);
    if (writer->flexible) {
        kafka_write_uvarint(writer, count + 1);
    } else {
        kafka_write_i32(writer, (int32_t)count);
    }
}

void kafka_write_null_array(struct kafka_writer *writer)
{
    if (writer->flexible) {
        kafka_write_uvarint(writer, 0);
    } else {
        kafka_write_i32(writer, -1);
    }
}

void kafka_write_bytes_length(struct kafka_writer *writer, uint32_t size)
{
    kafka_write_count(writer, size);
}

void kafka_write_id(struct kafka_writer *writer, const struct topic_id *id)
{
    kafka_write_raw(writer, id->bytes, sizeof(id->bytes));
}

void kafka_write_topic(struct kafka_writer *writer, bool by_id, struct bytes name,
                       const struct topic_id *id)
{
    if (by_id) {
        kafka_write_id(writer, id);
    } else {
        kafka_write_string(writer, name);
    }
}

void kafka_write_tags(struct kafka_writer *writer)
{
    if (writer->flexible) {
        kafka_write_uvarint(writer, 0);
    }
}
