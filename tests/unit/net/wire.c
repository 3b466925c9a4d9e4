/* See the header. */
#include "tests/unit/net/wire.h"

#include "core/assert.h"
#include "core/crc32c.h"

#include <stdlib.h>
#include <string.h>

struct wire wire_open(uint32_t capacity)
{
    struct wire wire = {
        .data = calloc(1, capacity), .any = calloc(capacity, sizeof(bool)), .capacity = capacity};
    ASSERT(wire.data != NULL && wire.any != NULL);
    return wire;
}

void wire_close(struct wire *wire)
{
    free(wire->data);
    free(wire->any);
}

static void wire_byte(struct wire *wire, uint8_t byte, bool any)
{
    ASSERT(wire->size < wire->capacity);
    wire->any[wire->size] = any;
    wire->data[wire->size++] = byte;
}

static uint8_t wire_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = memchr(digits, c, 16);
    ASSERT(at != NULL);
    return (uint8_t)(at - digits);
}

static void wire_insert(struct wire *wire, char kind, struct bytes insert)
{
    uint8_t length[8];
    struct bytes_writer out = bytes_writer(length, sizeof(length));
    if (kind == '4') {
        write_be32(&out, insert.size);
    } else {
        ASSERT(kind == 'v');
        write_uvarint(&out, insert.size + 1);
    }
    for (uint32_t i = 0; i < out.position; i++) {
        wire_byte(wire, length[i], false);
    }
    for (uint32_t i = 0; i < insert.size; i++) {
        wire_byte(wire, insert.data[i], false);
    }
}

void wire_add(struct wire *wire, const char *text, struct bytes insert)
{
    for (const char *at = text; *at != 0; at++) {
        if (*at == ' ') {
            continue;
        }
        if (*at == '*') {
            wire->more = true;
            continue;
        }
        if (*at == '\'') {
            for (at++; *at != '\''; at++) {
                ASSERT(*at != 0);
                wire_byte(wire, (uint8_t)*at, false);
            }
            continue;
        }
        char next = at[1];
        if (*at == '$') {
            wire_insert(wire, next, insert);
        } else if (*at == '.') {
            ASSERT(next == '.');
            wire_byte(wire, 0, true);
        } else {
            wire_byte(wire, (uint8_t)(wire_digit(*at) << 4 | wire_digit(next)), false);
        }
        at++;
    }
}

void wire_mend_crc(uint8_t *at, uint32_t size)
{
    store_be32(at + 17, crc32c(0, at + 21, size - 21));
}

struct bytes wire_batch(const struct wire_batch *batch, uint8_t *at, uint32_t capacity)
{
    struct bytes_writer out = bytes_writer(at, capacity);
    write_be64(&out, 0);
    write_be32(&out, 0); /* Length: below. */
    write_be32(&out, UINT32_MAX);
    write_u8(&out, 2);
    write_be32(&out, 0); /* CRC: below. */
    write_be16(&out, batch->attributes);
    write_be32(&out, batch->records - 1);
    write_be64(&out, (uint64_t)batch->timestamp);
    write_be64(&out, (uint64_t)batch->timestamp + batch->records - 1);
    write_be64(&out, (uint64_t)batch->producer_id);
    write_be16(&out, (uint16_t)batch->producer_epoch);
    write_be32(&out, (uint32_t)batch->sequence);
    write_be32(&out, batch->records);
    for (uint32_t i = 0; i < batch->records; i++) {
        uint8_t head[32];
        struct bytes_writer record = bytes_writer(head, sizeof(head));
        write_u8(&record, 0);
        write_varlong(&record, i);
        write_varint(&record, (int32_t)i);
        write_varint(&record, batch->keys ? 1 : -1);
        if (batch->keys) {
            write_u8(&record, 'k');
        }
        write_varint(&record, (int32_t)batch->value_bytes);
        write_varint(&out, (int32_t)(record.position + batch->value_bytes + 1));
        write_bytes(&out, head, record.position);
        for (uint32_t j = 0; j < batch->value_bytes; j++) {
            write_u8(&out, (uint8_t)('a' + i % 26));
        }
        write_varint(&out, 0);
    }
    ASSERT(!out.failed);
    store_be32(at + 8, out.position - 12);
    wire_mend_crc(at, out.position);
    return bytes_of(at, out.position);
}

struct bytes wire_plain_batch(uint32_t records, int64_t timestamp, uint8_t *at, uint32_t capacity)
{
    struct wire_batch batch = {
        .records = records,
        .value_bytes = 5,
        .timestamp = timestamp,
        .producer_id = -1,
        .producer_epoch = -1,
        .sequence = -1,
    };
    return wire_batch(&batch, at, capacity);
}

void wire_stamp(uint8_t *at, uint64_t base_offset, uint32_t epoch)
{
    store_be64(at, base_offset);
    store_be32(at + 12, epoch);
}
