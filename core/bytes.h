/* A view of bytes that somebody else owns, and checked cursors over it. A cursor that meets the end
 * or a malformed varint fails once and for good: every later read gives 0, and the caller looks at
 * `failed` where it suits. Wire integers are big-endian (Kafka), disk integers little-endian. */
#pragma once

#include "core/base.h"

struct bytes {
    const uint8_t *data; /* NULL only with size 0; NULL then means "null", not "empty". */
    uint32_t size;
};

struct bytes_reader {
    const uint8_t *data;
    uint32_t size, position;
    bool failed;
};

/* Writes into a fixed buffer; never past it: `failed` is set instead, and `position` stays. */
struct bytes_writer {
    uint8_t *data;
    uint32_t size, position;
    bool failed;
};

struct bytes bytes_of(const void *data, uint32_t size);
struct bytes bytes_text(const char *text); /* Without the NUL. */
bool bytes_equal(struct bytes a, struct bytes b);

struct bytes_reader bytes_reader(struct bytes bytes);
uint32_t bytes_left(const struct bytes_reader *reader);
uint8_t read_u8(struct bytes_reader *reader);
uint16_t read_be16(struct bytes_reader *reader);
uint32_t read_be32(struct bytes_reader *reader);
uint64_t read_be64(struct bytes_reader *reader);
uint16_t read_le16(struct bytes_reader *reader);
uint32_t read_le32(struct bytes_reader *reader);
uint64_t read_le64(struct bytes_reader *reader);
uint32_t read_uvarint(struct bytes_reader *reader);                  /* LEB128, at most 5 bytes. */
int32_t read_varint(struct bytes_reader *reader);                    /* Zigzag. */
int64_t read_varlong(struct bytes_reader *reader);                   /* Zigzag, at most 10 bytes. */
struct bytes read_bytes(struct bytes_reader *reader, uint32_t size); /* A view into the input. */
void read_skip(struct bytes_reader *reader, uint32_t size);

struct bytes_writer bytes_writer(void *data, uint32_t size);
void write_u8(struct bytes_writer *writer, uint8_t value);
void write_be16(struct bytes_writer *writer, uint16_t value);
void write_be32(struct bytes_writer *writer, uint32_t value);
void write_be64(struct bytes_writer *writer, uint64_t value);
void write_le16(struct bytes_writer *writer, uint16_t value);
void write_le32(struct bytes_writer *writer, uint32_t value);
void write_le64(struct bytes_writer *writer, uint64_t value);
void write_uvarint(struct bytes_writer *writer, uint32_t value);
void write_varint(struct bytes_writer *writer, int32_t value);
void write_varlong(struct bytes_writer *writer, int64_t value);
void write_bytes(struct bytes_writer *writer, const void *data, uint32_t size);

/* Unchecked loads and stores at a place whose bounds are known; any alignment. */
uint16_t load_le16(const uint8_t *at);
uint32_t load_le32(const uint8_t *at);
uint64_t load_le64(const uint8_t *at);
uint16_t load_be16(const uint8_t *at);
uint32_t load_be32(const uint8_t *at);
uint64_t load_be64(const uint8_t *at);
void store_le16(uint8_t *at, uint16_t value);
void store_le32(uint8_t *at, uint32_t value);
void store_le64(uint8_t *at, uint64_t value);
void store_be16(uint8_t *at, uint16_t value);
void store_be32(uint8_t *at, uint32_t value);
void store_be64(uint8_t *at, uint64_t value);
