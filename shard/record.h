/* Records inside a RecordBatch v2: read one after the other, and made into a batch. All lengths are
 * zigzag varints:
 *
 *     record  length, attributes u8, timestampDelta, offsetDelta, key length (-1: null), key,
 *             value length (-1: null), value, header count, headers
 *     header  name length, name, value length (-1: null), value */
#pragma once

#include "core/bytes.h"
#include "core/err.h"
#include "shard/batch.h"

struct record_header {
    struct bytes name, value; /* value.data NULL: null. */
};

struct record {
    int64_t timestamp_delta;
    int32_t offset_delta;
    struct bytes key, value; /* data NULL: null. */
    uint32_t header_count;
    struct bytes headers; /* As they stand there, the count not included; all are sound. */
};

/* The next record; views into the input. False if it does not parse or runs past its length. */
bool record_read(struct bytes_reader *reader, struct record *record);

/* The next of record->headers; false: it does not parse. */
bool record_read_header(struct bytes_reader *reader, struct record_header *header);

/* A record that is read part by part; zeroed before its first. For record.c. */
struct record_scan {
    uint32_t part;    /* Comes next; 0 = the record's first. */
    uint32_t left;    /* Bytes of the record behind what was read or is passed over. */
    uint32_t headers; /* That were not read yet. */
};

/* More bytes a part of a record never has: lengths and deltas, but no key, value or name. */
enum { RECORD_PART_BYTES_MAX = 26 };

/* What is known of a record that was passed over. */
struct record_fact {
    int64_t timestamp_delta;
    int32_t offset_delta;
    bool keyless;
};

/* Called with each record when it has been read: which it is of its batch, from 0 on. Another
 * answer than OK ends the reading. */
typedef enum err record_each(void *context, int32_t index, const struct record_fact *fact);

/* Reads the records of a batch, of which the bytes come a part at a time: nothing is kept of them,
 * however large they are. They are sound exactly when record_read() says so of each. */
struct record_feed {
    int32_t count, read;
    bool reading;  /* One has begun. */
    uint32_t pass; /* Bytes to be passed over before its next part. */
    struct record_scan scan;
    struct record_fact fact; /* Of it. */
    record_each *each;
    void *context;
};

void record_feed_begin(struct record_feed *feed, int32_t count, record_each *each, void *context);

/* Reads on. *used  how far; what is left, less than RECORD_PART_BYTES_MAX, is to come again in
 * front of the next bytes, but for what stands behind the last record.
 * last  nothing comes behind `data`
 * ERR_BATCH_INVALID; or what `each` said. */
NODISCARD enum err record_feed(struct record_feed *feed, struct bytes data, bool last,
                               uint32_t *used);
bool record_feed_over(const struct record_feed *feed); /* All of them were read. */

/* What a batch is made of. */
struct record_input {
    struct bytes key, value;
    int64_t timestamp;
    const struct record_header *headers;
    uint32_t header_count;
};

/* The size of a batch of `count` records, 0: none can be as large. */
uint32_t record_batch_size(const struct record_input *records, uint32_t count);

/* Encodes an uncompressed batch without a producer into `data`, of record_batch_size() bytes.
 * baseOffset and leader epoch are 0: the shard stamps them, and the CRC leaves them out. */
void record_batch_encode(const struct record_input *records, uint32_t count, uint8_t *data,
                         uint32_t size);

/* The same, a record at a time: begin, add for each, end. */
struct record_batch {
    uint8_t *data;
    uint32_t room, size, count;
    int64_t first, greatest; /* Timestamps. */
};

/* data  room for `room` bytes, the header's among them */
void record_batch_begin(struct record_batch *batch, uint8_t *data, uint32_t room);

/* False: there is no room for it, or no batch can be as large; then nothing was added. */
bool record_batch_add(struct record_batch *batch, const struct record_input *record);

/* The batch, in `data`; it has a record at least. */
struct bytes record_batch_end(struct record_batch *batch);
