/* See the header. */
#include "net/records.h"

#include "core/assert.h"
#include "core/limits.h"
#include "shard/codec.h"

enum { RECORDS_ROOM_MIN = 64 << 10 };

void records_begin(struct records *records, const struct fetch_piece *pieces, uint32_t count,
                   uint64_t from)
{
    *records = (struct records){.pieces = pieces, .piece_count = count, .from = from};
}

void records_lend(struct records *records, void *room, uint32_t size)
{
    ASSERT(room != NULL && size > 0);
    ASSERT(records->record_count == 0); /* Views into the old one are in use. */
    records->room = room;
    records->room_size = size;
}

/* The room that the next try needs; ERR_DAMAGED: no batch holds so much. */
static enum err records_want(struct records *records, uint32_t packed, bool tried)
{
    /* One byte more than may come out: it is how the end is told from too much. */
    uint32_t most = codec_output_max(packed, BATCH_BYTES_MAX) + 1;
    if (tried && records->room_size >= most) {
        return ERR_DAMAGED;
    }
    uint64_t wanted = max_u64(4 * (uint64_t)packed, RECORDS_ROOM_MIN);
    wanted = tried ? max_u64(wanted, 2 * (uint64_t)records->room_size) : wanted;
    records->room_wanted = (uint32_t)min_u64(wanted, most);
    return ERR_NO_MEMORY;
}

/* Opens the batch's records. */
static enum err records_unpack(struct records *records, struct bytes packed)
{
    uint32_t codec = records->batch.attributes & BATCH_CODEC_MASK;
    struct bytes plain = packed;
    if (codec > CODEC_ZSTD) {
        return ERR_DAMAGED;
    }
    if (codec != CODEC_NONE && records->room == NULL) {
        return records_want(records, packed.size, false);
    }
    if (codec != CODEC_NONE) {
        enum err err =
            codec_open_into((enum codec)codec, packed, records->room, records->room_size, &plain);
        if (err == ERR_BATCH_TOO_LARGE) {
            return records_want(records, packed.size, true);
        }
        if (err != OK) {
            return err == ERR_NO_MEMORY ? ERR_LIMIT : ERR_DAMAGED;
        }
    }
    records->reader = bytes_reader(plain);
    records->record_count = (uint32_t)records->batch.record_count;
    return OK;
}

/* Nothing of the batch is asked for: it ends before `from`, or is for brokers only. */
static bool records_skip(const struct records *records)
{
    const struct batch *batch = &records->batch;
    uint64_t last = (uint64_t)batch->base_offset + (uint32_t)batch->last_offset_delta;
    return last < records->from || (batch->attributes & BATCH_CONTROL) != 0 ||
           batch->record_count == 0;
}

static enum err records_open(struct records *records)
{
    while (records->left.size == 0) {
        if (records->piece_count == 0) {
            return ERR_NOT_FOUND;
        }
        records->left = bytes_of(records->pieces->data, records->pieces->size);
        records->pieces++;
        records->piece_count--;
    }
    struct batch *batch = &records->batch;
    if (batch_parse(records->left, batch) != OK || batch->record_count < 0 ||
        batch->last_offset_delta < 0 || batch->base_offset < 0) {
        return ERR_DAMAGED;
    }
    ASSERT(batch->length >= BATCH_HEADER_BYTES && batch->length <= records->left.size);
    enum err err = OK;
    if (!records_skip(records)) {
        const uint8_t *data = records->left.data;
        err = records_unpack(
            records, bytes_of(data + BATCH_HEADER_BYTES, batch->length - BATCH_HEADER_BYTES));
    }
    if (err == OK) {
        records->left.data += batch->length;
        records->left.size -= batch->length;
    }
    return err;
}

enum err records_next(struct records *records, struct records_entry *entry)
{
    const struct batch *batch = &records->batch;
    for (;;) {
        while (records->record_count == 0) {
            enum err err = records_open(records);
            if (err != OK) {
                return err;
            }
        }
        struct record *record = &entry->record;
        if (!record_read(&records->reader, record) || record->offset_delta < 0 ||
            record->offset_delta > batch->last_offset_delta) {
            return ERR_DAMAGED;
        }
        records->record_count--;
        entry->offset = (uint64_t)batch->base_offset + (uint32_t)record->offset_delta;
        bool appended = (batch->attributes & BATCH_APPEND_TIME) != 0;
        /* Unsigned: a delta of any size wraps, as it does with everybody else. */
        entry->timestamp =
            appended
                ? batch->max_timestamp
                : (int64_t)((uint64_t)batch->base_timestamp + (uint64_t)record->timestamp_delta);
        if (entry->offset >= records->from) {
            return OK;
        }
    }
}
