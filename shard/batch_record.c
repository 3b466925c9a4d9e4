/* See the header. */
#include "shard/batch_record.h"

/* A length and its bytes; a length of -1 is NULL. False: neither. */
static bool read_field(struct bytes_reader *reader, struct bytes *bytes)
{
    int32_t size = read_varint(reader);
    *bytes = size >= 0 ? read_bytes(reader, (uint32_t)size) : (struct bytes){0};
    return size >= -1;
}

bool batch_header_read(struct bytes_reader *reader, struct batch_header *header)
{
    bool sound = read_field(reader, &header->name) && header->name.data != NULL;
    return sound && read_field(reader, &header->value) && !reader->failed;
}

bool batch_record_read(struct bytes_reader *reader, struct batch_record *record)
{
    int32_t length = read_varint(reader);
    if (length < 0 || reader->failed || (uint32_t)length > bytes_left(reader)) {
        return false;
    }
    uint32_t end = reader->position + (uint32_t)length;
    (void)read_u8(reader); /* Attributes: none is defined. */
    record->timestamp_delta = read_varlong(reader);
    record->offset_delta = read_varint(reader);
    bool sound = read_field(reader, &record->key);
    sound = read_field(reader, &record->value) && sound;
    int32_t headers = read_varint(reader);
    if (!sound || headers < 0 || reader->failed) {
        return false;
    }
    uint32_t headers_at = reader->position;
    for (int32_t i = 0; i < headers; i++) {
        struct batch_header header;
        if (!batch_header_read(reader, &header)) {
            return false;
        }
    }
    record->header_count = (uint32_t)headers;
    record->headers = bytes_of(reader->data + headers_at, reader->position - headers_at);
    return !reader->failed && reader->position == end;
}
