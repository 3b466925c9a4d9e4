/* The checks of a produced batch, in the order in which they are cheap. */
#include "shard/batch.h"

#include "core/assert.h"
#include "core/crc32c.h"
#include "core/limits.h"
#include "shard/codec.h"
#include "shard/deleted.h"
#include "shard/unpack.h"

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

static enum err batch_unpack(struct bytes data, const struct batch *batch,
                             const struct unpack_options *options)
{
    struct unpack unpack = {0};
    enum err err = unpack_begin(&unpack, data, batch, options);
    return err == OK ? unpack_run(&unpack) : err;
}

/* Every record is there, in order. */
static enum err check_record(void *context, int32_t index, const struct record_fact *fact)
{
    const struct batch_rules *rules = context;
    if (fact->offset_delta != index) {
        return ERR_BATCH_INVALID;
    }
    return rules->compacted && fact->keyless ? ERR_BATCH_KEY : OK;
}

struct keyless {
    uint32_t *indexes;
    uint32_t count, max;
};

static enum err note_keyless(void *context, int32_t index, const struct record_fact *fact)
{
    struct keyless *keyless = context;
    if (fact->keyless) {
        keyless->indexes[keyless->count++] = (uint32_t)index;
    }
    return keyless->count == keyless->max ? ERR_LIMIT : OK;
}

uint32_t batch_keyless(struct bytes data, uint32_t *indexes, uint32_t max)
{
    struct batch batch;
    struct keyless keyless = {.indexes = indexes, .max = max};
    ASSERT(max > 0);
    if (batch_parse(data, &batch) == OK) {
        struct unpack_options options = {
            .output_max = BATCH_KEYLESS_BYTES_MAX, .each = note_keyless, .context = &keyless};
        enum err err = batch_unpack(data, &batch, &options);
        (void)err; /* Those before are to blame whatever stands behind. */
    }
    return keyless.count;
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

enum err batch_check_content_begin(struct unpack *unpack, struct bytes data,
                                   const struct batch_rules *rules, const struct batch *batch)
{
    enum err err = batch_check_times(rules, batch);
    unpack->over = true;
    if (err != OK || (!rules->deep && !rules->compacted)) {
        return err;
    }
    struct unpack_options options = {
        .output_max = codec_output_max(batch->length - BATCH_HEADER_BYTES, rules->bytes_max),
        .whole = true,
        .each = check_record,
        .context = (void *)(uintptr_t)rules,
    };
    return unpack_begin(unpack, data, batch, &options);
}

enum err batch_check_content(struct bytes data, const struct batch_rules *rules,
                             const struct batch *batch)
{
    struct unpack unpack = {0};
    enum err err = batch_check_content_begin(&unpack, data, rules, batch);
    return err == OK ? unpack_run(&unpack) : err;
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

/* Looks for the first record at or after `timestamp`, from offset `least` on; `greatest`: for the
 * first of the latest. */
struct search {
    const struct batch *batch;
    const struct deleted *deleted;
    bool greatest;
    int64_t timestamp;
    uint64_t least;
    enum err err; /* ERR_NOT_FOUND, so far. */
    uint64_t offset;
    int64_t found;
};

/* Nobody opened the batch when it came: its records may say anything. */
static enum err search_record(void *context, int32_t index, const struct record_fact *fact)
{
    struct search *search = context;
    const struct batch *batch = search->batch;
    bool append_time = (batch->attributes & BATCH_APPEND_TIME) != 0;
    int64_t time = batch->max_timestamp;
    (void)index;
    if (fact->offset_delta < 0 || fact->offset_delta > batch->last_offset_delta ||
        (!append_time &&
         __builtin_add_overflow(batch->base_timestamp, fact->timestamp_delta, &time))) {
        return ERR_DAMAGED;
    }
    uint64_t at = (uint64_t)batch->base_offset + (uint32_t)fact->offset_delta;
    if (at < search->least || (search->deleted != NULL && deleted_has(search->deleted, at))) {
        return OK;
    }
    bool better =
        search->greatest ? search->err != OK || time > search->found : time >= search->timestamp;
    if (better) {
        search->offset = at;
        search->found = time;
        search->err = OK;
    }
    return better && !search->greatest ? ERR_CANCELED : OK; /* Enough is known. */
}

static enum err batch_search(struct bytes data, struct search *search)
{
    struct batch batch;
    search->err = ERR_NOT_FOUND;
    search->batch = &batch;
    if (batch_parse(data, &batch) != OK) {
        return ERR_DAMAGED;
    }
    struct unpack_options options = {
        .output_max = codec_output_max(batch.length - BATCH_HEADER_BYTES, BATCH_BYTES_MAX),
        .each = search_record,
        .context = search,
    };
    enum err err = batch_unpack(data, &batch, &options);
    if (err == OK || err == ERR_CANCELED) {
        return search->err;
    }
    return err == ERR_NO_MEMORY ? err : ERR_DAMAGED;
}

enum err batch_find_time(struct bytes data, int64_t timestamp, uint64_t least,
                         const struct deleted *deleted, uint64_t *offset, int64_t *found)
{
    struct search search = {.timestamp = timestamp, .least = least, .deleted = deleted};
    enum err err = batch_search(data, &search);
    if (err == OK) {
        *offset = search.offset;
        *found = search.found;
    }
    return err;
}

bool batch_timestamp_max_offset(struct bytes data, int64_t *timestamp, uint64_t *offset)
{
    struct search search = {.greatest = true};
    bool found = batch_search(data, &search) == OK;
    if (found) {
        *offset = search.offset;
        *timestamp = search.found;
    }
    return found;
}
