/* The checks of a produced batch, in the order in which they are cheap. */
#include "shard/batch.h"

#include "core/assert.h"
#include "core/crc32c.h"
#include "shard/codec.h"
#include "shard/deleted.h"
#include "shard/record.h"

#include <string.h>

enum err batch_parse(struct bytes data, struct batch *batch)
{
    memset(batch, 0, sizeof(*batch));
    if (data.size < BATCH_HEADER_BYTES) {
        return ERR_BATCH_INVALID;
    }
    const uint8_t *at = data.data;
    uint32_t rest = load_be32(at + 8);
    batch->magic = at[16];
    if (batch->magic != 2 || rest < BATCH_HEADER_BYTES - BATCH_PREFIX_BYTES ||
        rest > data.size - BATCH_PREFIX_BYTES) {
        return ERR_BATCH_INVALID;
    }
    batch->base_offset = (int64_t)load_be64(at);
    batch->length = rest + BATCH_PREFIX_BYTES;
    batch->leader_epoch = (int32_t)load_be32(at + 12);
    batch->crc = load_be32(at + 17);
    batch->attributes = load_be16(at + 21);
    batch->last_offset_delta = (int32_t)load_be32(at + 23);
    batch->base_timestamp = (int64_t)load_be64(at + 27);
    batch->max_timestamp = (int64_t)load_be64(at + 35);
    batch->producer_id = (int64_t)load_be64(at + 43);
    batch->producer_epoch = (int16_t)load_be16(at + 51);
    batch->base_sequence = (int32_t)load_be32(at + 53);
    batch->record_count = (int32_t)load_be32(at + 57);
    return OK;
}

/* Opens the batch: every record is there, in order, and nothing else. */
static enum err batch_check_records(struct bytes data, const struct batch_rules *rules,
                                    const struct batch *batch)
{
    struct codec_output output;
    struct bytes records = {.data = data.data + BATCH_HEADER_BYTES,
                            .size = batch->length - BATCH_HEADER_BYTES};
    enum err err = codec_open_within((enum codec)(batch->attributes & BATCH_CODEC_MASK), records,
                                     codec_output_max(records.size, rules->bytes_max), &output);
    if (err != OK) {
        return err;
    }
    struct bytes_reader reader = bytes_reader(output.bytes);
    for (int32_t i = 0; i < batch->record_count && err == OK; i++) {
        struct record record;
        if (!record_read(&reader, &record) || record.offset_delta != i) {
            err = ERR_BATCH_INVALID;
        } else if (rules->compacted && record.key.data == NULL) {
            err = ERR_BATCH_KEY;
        }
    }
    if (err == OK && bytes_left(&reader) != 0) {
        err = ERR_BATCH_INVALID;
    }
    codec_free(&output);
    return err;
}

uint32_t batch_keyless(struct bytes data, uint32_t *indexes, uint32_t max)
{
    struct batch batch;
    struct codec_output output;
    if (batch_parse(data, &batch) != OK) {
        return 0;
    }
    struct bytes records = {.data = data.data + BATCH_HEADER_BYTES,
                            .size = batch.length - BATCH_HEADER_BYTES};
    if (codec_open((enum codec)(batch.attributes & BATCH_CODEC_MASK), records, &output) != OK) {
        return 0;
    }
    struct bytes_reader reader = bytes_reader(output.bytes);
    struct record record;
    uint32_t count = 0;
    for (int32_t i = 0; i < batch.record_count && count < max; i++) {
        if (!record_read(&reader, &record)) {
            break;
        }
        if (record.key.data == NULL) {
            indexes[count++] = (uint32_t)i;
        }
    }
    codec_free(&output);
    return count;
}

static enum err batch_check_attributes(const struct batch_rules *rules, const struct batch *batch)
{
    uint32_t codec = batch->attributes & BATCH_CODEC_MASK;
    if ((batch->attributes & BATCH_CONTROL) != 0) {
        return ERR_BATCH_INVALID; /* Only brokers write control records. */
    }
    if ((batch->attributes & BATCH_APPEND_TIME) != 0 && rules->timestamp_type == TIMESTAMP_CREATE) {
        return ERR_BATCH_TIMESTAMP;
    }
    if (codec > CODEC_ZSTD || (batch->attributes & 0xffc0) != 0) {
        return ERR_BATCH_INVALID;
    }
    return codec == CODEC_ZSTD && !rules->zstd_allowed ? ERR_BATCH_CODEC : OK;
}

static enum err batch_check_producer(const struct batch *batch)
{
    bool transactional = (batch->attributes & BATCH_TRANSACTIONAL) != 0;
    if (batch->producer_id >= 0 && (batch->producer_epoch < 0 || batch->base_sequence < 0)) {
        return ERR_BATCH_INVALID;
    }
    return transactional ? ERR_BATCH_INVALID : OK; /* No request carries a transaction yet. */
}

static enum err batch_check_times(const struct batch_rules *rules, const struct batch *batch)
{
    if (rules->timestamp_type != TIMESTAMP_CREATE) {
        return OK;
    }
    int64_t now = (int64_t)rules->now_ms;
    int64_t latest, earliest;
    if (__builtin_add_overflow(now, rules->after_max_ms, &latest)) {
        latest = INT64_MAX;
    }
    if (__builtin_sub_overflow(now, rules->before_max_ms, &earliest)) {
        earliest = INT64_MIN;
    }
    bool late = batch->max_timestamp > latest;
    bool early = batch->base_timestamp >= 0 && batch->base_timestamp < earliest;
    return late || early ? ERR_BATCH_TIMESTAMP : OK;
}

enum err batch_check_header(struct bytes data, const struct batch_rules *rules, struct batch *batch)
{
    enum err err = batch_parse(data, batch);
    if (err != OK || batch->length != data.size) {
        return ERR_BATCH_INVALID; /* Exactly one batch, nothing behind it. */
    }
    if (batch->length > rules->bytes_max) {
        return ERR_BATCH_TOO_LARGE;
    }
    if (!rules->crc_known &&
        crc32c(0, data.data + BATCH_CRC_FROM, data.size - BATCH_CRC_FROM) != batch->crc) {
        return ERR_BATCH_CRC;
    }
    err = batch_check_attributes(rules, batch);
    if (err != OK) {
        return err;
    }
    if (batch->record_count < 1 || batch->last_offset_delta != batch->record_count - 1 ||
        (rules->require_zero_base && batch->base_offset != 0)) {
        return ERR_BATCH_INVALID;
    }
    return batch_check_producer(batch);
}

enum err batch_check_content(struct bytes data, const struct batch_rules *rules,
                             const struct batch *batch)
{
    enum err err = batch_check_times(rules, batch);
    if (err == OK && (rules->deep || rules->compacted)) {
        err = batch_check_records(data, rules, batch);
    }
    return err;
}

enum err batch_check(struct bytes data, const struct batch_rules *rules, struct batch *batch)
{
    enum err err = batch_check_header(data, rules, batch);
    return err == OK ? batch_check_content(data, rules, batch) : err;
}

void batch_stamp(uint8_t *at, uint64_t base_offset, uint32_t epoch)
{
    store_be64(at, base_offset);
    store_be32(at + 12, epoch);
}

void batch_stamp_append_time(uint8_t *at, uint32_t size, uint64_t ms)
{
    uint8_t delta[BATCH_HEADER_BYTES - BATCH_CRC_FROM];
    ASSERT(size >= BATCH_HEADER_BYTES);
    memcpy(delta, at + BATCH_CRC_FROM, sizeof(delta));
    store_be16(at + 21, (uint16_t)(load_be16(at + 21) | BATCH_APPEND_TIME));
    store_be64(at + 35, ms);
    for (uint32_t i = 0; i < sizeof(delta); i++) {
        delta[i] ^= at[BATCH_CRC_FROM + i];
    }
    store_be32(at + 17,
               crc32c_patch(load_be32(at + 17), delta, sizeof(delta), size - BATCH_HEADER_BYTES));
}

/* Walks the records from offset `least` on: the first at or after `timestamp`; `greatest`: the
 * first of the largest. */
static enum err batch_search(struct bytes data, bool greatest, int64_t timestamp, uint64_t least,
                             const struct deleted *deleted, uint64_t *offset, int64_t *found)
{
    struct batch batch;
    struct codec_output output;
    if (batch_parse(data, &batch) != OK) {
        return ERR_DAMAGED;
    }
    struct bytes records = {.data = data.data + BATCH_HEADER_BYTES,
                            .size = batch.length - BATCH_HEADER_BYTES};
    bool append_time = (batch.attributes & BATCH_APPEND_TIME) != 0;
    enum err err = codec_open((enum codec)(batch.attributes & BATCH_CODEC_MASK), records, &output);
    if (err != OK) {
        return err == ERR_NO_MEMORY ? err : ERR_DAMAGED;
    }
    struct bytes_reader reader = bytes_reader(output.bytes);
    err = ERR_NOT_FOUND;
    for (int32_t i = 0; i < batch.record_count; i++) {
        struct record record;
        /* Nobody opened the batch when it came: its records may say anything. */
        if (!record_read(&reader, &record) || record.offset_delta < 0 ||
            record.offset_delta > batch.last_offset_delta) {
            err = ERR_DAMAGED;
            break;
        }
        int64_t time = batch.max_timestamp;
        if (!append_time &&
            __builtin_add_overflow(batch.base_timestamp, record.timestamp_delta, &time)) {
            err = ERR_DAMAGED;
            break;
        }
        uint64_t at = (uint64_t)batch.base_offset + (uint32_t)record.offset_delta;
        if (at < least || (deleted != NULL && deleted_has(deleted, at))) {
            continue;
        }
        bool better = greatest ? err != OK || time > *found : time >= timestamp;
        if (better) {
            *offset = at;
            *found = time;
            err = OK;
            if (!greatest) {
                break;
            }
        }
    }
    codec_free(&output);
    return err;
}

enum err batch_find_time(struct bytes data, int64_t timestamp, uint64_t least,
                         const struct deleted *deleted, uint64_t *offset, int64_t *found)
{
    return batch_search(data, false, timestamp, least, deleted, offset, found);
}

bool batch_timestamp_max_offset(struct bytes data, int64_t *timestamp, uint64_t *offset)
{
    return batch_search(data, true, 0, 0, NULL, offset, timestamp) == OK;
}
