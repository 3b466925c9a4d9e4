/* Records inside a RecordBatch v2, read one after the other. All lengths are zigzag varints:
 *
 *     record  length, attributes u8, timestampDelta, offsetDelta, key length (-1: null), key,
 *             value length (-1: null), value, header count, headers
 *     header  name length, name, value length (-1: null), value */
#pragma once

#include "core/bytes.h"

struct batch_header {
    struct bytes name, value; /* value.data NULL: null. */
};

struct batch_record {
    int64_t timestamp_delta;
    int32_t offset_delta;
    struct bytes key, value; /* data NULL: null. */
    uint32_t header_count;
    struct bytes headers; /* As they stand there, the count not included; all are sound. */
};

/* The next record; views into the input. False if it does not parse or runs past its length. */
bool batch_record_read(struct bytes_reader *reader, struct batch_record *record);

/* The next of record->headers; false: there is none. */
bool batch_header_read(struct bytes_reader *reader, struct batch_header *header);
