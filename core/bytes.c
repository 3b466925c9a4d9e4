/* Checked cursors. The loads are memcpy: compilers make one instruction of each. */
#include "core/bytes.h"

#include "core/assert.h"

#include <string.h>

#define LOAD(name, type, convert)                                                                  \
    type load_##name(const uint8_t *at)                                                            \
    {                                                                                              \
        type value;                                                                                \
        memcpy(&value, at, sizeof(value));                                                         \
        return convert(value);                                                                     \
    }
#define STORE(name, type, convert)                                                                 \
    void store_##name(uint8_t *at, type value)                                                     \
    {                                                                                              \
        value = convert(value);                                                                    \
        memcpy(at, &value, sizeof(value));                                                         \
    }
LOAD(le16, uint16_t, )
LOAD(le32, uint32_t, )
LOAD(le64, uint64_t, )
LOAD(be16, uint16_t, __builtin_bswap16)
LOAD(be32, uint32_t, __builtin_bswap32)
LOAD(be64, uint64_t, __builtin_bswap64)
STORE(le16, uint16_t, )
STORE(le32, uint32_t, )
STORE(le64, uint64_t, )
STORE(be16, uint16_t, __builtin_bswap16)
STORE(be32, uint32_t, __builtin_bswap32)
STORE(be64, uint64_t, __builtin_bswap64)

struct bytes bytes_of(const void *data, uint32_t size)
{
    ASSERT(data != NULL || size == 0);
    return (struct bytes){.data = data, .size = size};
}

struct bytes bytes_text(const char *text)
{
    ASSERT(text != NULL);
    size_t size = strlen(text);
    ASSERT(size <= UINT32_MAX);
    return bytes_of(text, (uint32_t)size);
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

struct bytes_reader bytes_reader(struct bytes bytes)
{
    ASSERT(bytes.data != NULL || bytes.size == 0);
    return (struct bytes_reader){.data = bytes.data, .size = bytes.size};
}

uint32_t bytes_left(const struct bytes_reader *reader)
{
    ASSERT(reader->position <= reader->size);
    return reader->failed ? 0 : reader->size - reader->position;
}

/* Looks at what is left before it moves, and after the first failure moves no more. */
static const uint8_t *read_take(struct bytes_reader *reader, uint32_t size)
{
    ASSERT(reader->position <= reader->size);
    if (reader->failed || reader->size - reader->position < size) {
        reader->failed = true;
        return NULL;
    }
    if (reader->data == NULL) {
        return NULL; /* Nothing of nothing: no fault, and no arithmetic on a null pointer. */
    }
    const uint8_t *at = reader->data + reader->position;
    reader->position += size;
    return at;
}

#define READ(name, type, size)                                                                     \
    type read_##name(struct bytes_reader *reader)                                                  \
    {                                                                                              \
        const uint8_t *at = read_take(reader, size);                                               \
        return at != NULL ? load_##name(at) : 0;                                                   \
    }
READ(be16, uint16_t, 2)
READ(be32, uint32_t, 4)
READ(be64, uint64_t, 8)
READ(le16, uint16_t, 2)
READ(le32, uint32_t, 4)
READ(le64, uint64_t, 8)

uint8_t read_u8(struct bytes_reader *reader)
{
    const uint8_t *at = read_take(reader, 1);
    return at != NULL ? *at : 0;
}

/* LEB128 of at most `bits` bits; more bytes, or more bits in the last one, fail. Zero bits at the
 * top are read as protobuf reads them. */
static uint64_t read_leb128(struct bytes_reader *reader, uint32_t bits)
{
    uint64_t value = 0;
    ASSERT(reader->position <= reader->size);
    if (!reader->failed && reader->size - reader->position >= 2) { /* Most are of one or two. */
        const uint8_t *at = reader->data + reader->position;
        if (at[0] < 0x80) {
            reader->position++;
            return at[0];
        }
        if (at[1] < 0x80) {
            reader->position += 2;
            return (uint64_t)(at[0] & 0x7f) | (uint64_t)at[1] << 7;
        }
    }
    for (uint32_t shift = 0; shift < bits; shift += 7) {
        uint8_t byte = read_u8(reader);
        uint64_t part = byte & 0x7f;
        if (shift + 7 > bits && (part >> (bits - shift)) != 0) {
            break;
        }
        value |= part << shift;
        if ((byte & 0x80) == 0) {
            return reader->failed ? 0 : value;
        }
    }
    reader->failed = true;
    return 0;
}

uint32_t read_uvarint(struct bytes_reader *reader)
{
    return (uint32_t)read_leb128(reader, 32);
}

int32_t read_varint(struct bytes_reader *reader)
{
    uint32_t value = read_uvarint(reader);
    return (int32_t)((value >> 1) ^ (0U - (value & 1)));
}

int64_t read_varlong(struct bytes_reader *reader)
{
    uint64_t value = read_leb128(reader, 64);
    return (int64_t)((value >> 1) ^ (UINT64_C(0) - (value & 1)));
}

struct bytes read_bytes(struct bytes_reader *reader, uint32_t size)
{
    const uint8_t *at = read_take(reader, size);
    return (struct bytes){.data = at, .size = at != NULL ? size : 0};
}

void read_skip(struct bytes_reader *reader, uint32_t size)
{
    (void)read_take(reader, size);
}

struct bytes_writer bytes_writer(void *data, uint32_t size)
{
    ASSERT(data != NULL || size == 0);
    return (struct bytes_writer){.data = data, .size = size};
}

static uint8_t *write_take(struct bytes_writer *writer, uint32_t size)
{
    ASSERT(writer->position <= writer->size);
    if (writer->failed || writer->size - writer->position < size) {
        writer->failed = true;
        return NULL;
    }
    if (writer->data == NULL) {
        return NULL;
    }
    uint8_t *at = writer->data + writer->position;
    writer->position += size;
    return at;
}

#define WRITE(name, type, size)                                                                    \
    void write_##name(struct bytes_writer *writer, type value)                                     \
    {                                                                                              \
        uint8_t *at = write_take(writer, size);                                                    \
        if (at != NULL) {                                                                          \
            store_##name(at, value);                                                               \
        }                                                                                          \
    }
WRITE(be16, uint16_t, 2)
WRITE(be32, uint32_t, 4)
WRITE(be64, uint64_t, 8)
WRITE(le16, uint16_t, 2)
WRITE(le32, uint32_t, 4)
WRITE(le64, uint64_t, 8)

void write_u8(struct bytes_writer *writer, uint8_t value)
{
    uint8_t *at = write_take(writer, 1);
    if (at != NULL) {
        *at = value;
    }
}

static void write_leb128(struct bytes_writer *writer, uint64_t value)
{
    uint8_t encoded[10];
    uint32_t size = 0;
    while (value >= 0x80) {
        encoded[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    encoded[size++] = (uint8_t)value;
    ASSERT(size <= sizeof(encoded));
    write_bytes(writer, encoded, size); /* Whole or not at all. */
}

void write_uvarint(struct bytes_writer *writer, uint32_t value)
{
    write_leb128(writer, value);
}

void write_varint(struct bytes_writer *writer, int32_t value)
{
    write_leb128(writer, ((uint32_t)value << 1) ^ (uint32_t)(value >> 31));
}

void write_varlong(struct bytes_writer *writer, int64_t value)
{
    write_leb128(writer, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

void write_bytes(struct bytes_writer *writer, const void *data, uint32_t size)
{
    ASSERT(data != NULL || size == 0);
    uint8_t *at = write_take(writer, size);
    if (at != NULL && size > 0) {
        memcpy(at, data, size);
    }
}
