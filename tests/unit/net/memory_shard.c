/* See the header. */
#include "tests/unit/net/memory_shard.h"

#include "core/assert.h"
#include "core/crc32c.h"
#include "shard/batch.h"

#include <stdlib.h>
#include <string.h>

/* The face that net/ calls wants a struct shard: this is it. */
static struct memory_shard *memory_of(struct shard *shard)
{
    return (struct memory_shard *)(void *)shard;
}

void memory_shard_open(struct memory_shard *shard, struct reactor *reactor)
{
    *shard = (struct memory_shard){.reactor = reactor};
    for (uint32_t i = 0; i < MEMORY_LOGS_MAX; i++) {
        shard->logs[i].data = malloc(MEMORY_LOG_BYTES);
        ASSERT(shard->logs[i].data != NULL);
    }
}

void memory_shard_close(struct memory_shard *shard)
{
    memory_shard_reset(shard);
    for (uint32_t i = 0; i < MEMORY_LOGS_MAX; i++) {
        free(shard->logs[i].data);
    }
}

static void memory_log_clear(struct memory_log *log)
{
    ASSERT(log->parked == NULL);
    log->used = false;
    log->size = 0;
    log->batch_count = 0;
    log->start = 0;
    log->last_id = (struct stream_id){0, 0};
}

void memory_shard_reset(struct memory_shard *shard)
{
    ASSERT(shard->lent == 0);
    for (uint32_t i = 0; i < MEMORY_LOGS_MAX; i++) {
        memory_log_clear(&shard->logs[i]);
    }
}

static struct memory_log *memory_find(struct memory_shard *shard, const struct partition_id *id)
{
    for (uint32_t i = 0; i < MEMORY_LOGS_MAX; i++) {
        struct memory_log *log = &shard->logs[i];
        if (log->used && log->id.partition == id->partition &&
            topic_id_equal(&log->id.topic, &id->topic)) {
            return log;
        }
    }
    return NULL;
}

static uint64_t memory_log_end(const struct memory_log *log)
{
    return log->batch_count == 0 ? 0 : log->ends[log->batch_count - 1];
}

static struct bytes memory_log_batch(const struct memory_log *log, uint32_t index)
{
    uint32_t at = log->positions[index];
    uint32_t end = index + 1 < log->batch_count ? log->positions[index + 1] : log->size;
    return bytes_of(log->data + at, end - at);
}

/* What is parked comes home; it asks again for what there is now. */
static void memory_wake(struct memory_shard *shard, struct memory_log *log, enum err err)
{
    while (log->parked != NULL) {
        struct request *request = log->parked;
        log->parked = request->next;
        request->next = NULL;
        if (err == OK) {
            request->fetch.park = false;
            shard_submit((struct shard *)(void *)shard, request);
            request->fetch.park = true;
        } else {
            request_finish(shard->reactor, request, err);
        }
    }
}

static void memory_mend(struct bytes batch)
{
    uint8_t *at = (uint8_t *)(uintptr_t)batch.data;
    if (batch.size >= BATCH_HEADER_BYTES) {
        store_be64(at, 0);
        store_be32(at + 8, batch.size - BATCH_PREFIX_BYTES);
        at[16] = 2;
        store_be32(at + 17, crc32c(0, at + BATCH_CRC_FROM, batch.size - BATCH_CRC_FROM));
    }
}

/* IDs without a clock: ms is that of the last one, or 1. */
static enum err memory_choose_id(struct memory_log *log, struct request_produce *produce,
                                 uint32_t records)
{
    struct stream_id id = produce->id;
    if (produce->id_kind == PRODUCE_ID_AUTO) {
        id = (struct stream_id){max_u64(log->last_id.ms, 1), log->last_id.seq + 1};
    } else if (produce->id_kind == PRODUCE_ID_MS) {
        id.seq = id.ms == log->last_id.ms ? log->last_id.seq + 1 : 0;
    }
    if (stream_id_compare(id, log->last_id) <= 0 || id.seq > UINT64_MAX - records) {
        return ERR_STREAM_ID;
    }
    produce->id = id;
    log->last_id = (struct stream_id){id.ms, id.seq + records - 1};
    return OK;
}

static void memory_identify(const struct memory_log *log, struct request_identify *identify)
{
    identify->last = log->last_id;
    identify->log_start = log->start;
    identify->high_watermark = memory_log_end(log);
    identify->offset = 0;
    identify->exact = false;
    if (identify->facts != NULL) { /* Nothing is ever deleted here. */
        identify->facts->entries_added = identify->high_watermark;
    }
    for (uint32_t i = 0; i < log->batch_count; i++) {
        struct frame_row row;
        frame_row_decode(log->rows[i], &row);
        struct stream_id first = {row.ms, row.seq};
        struct stream_id last = {row.ms, row.seq + row.records - 1};
        if (stream_id_compare(identify->id, last) <= 0) {
            bool inside = stream_id_compare(identify->id, first) > 0;
            identify->exact = stream_id_compare(identify->id, first) >= 0;
            identify->offset += inside ? identify->id.seq - row.seq : 0;
            break;
        }
        identify->offset = log->ends[i];
    }
    identify->offset = max_u64(identify->offset, log->start);
}

static enum err memory_produce(struct memory_shard *shard, struct memory_log *log,
                               struct request_produce *produce)
{
    struct batch_rules rules = {
        .bytes_max = MEMORY_LOG_BYTES / 4,
        .before_max_ms = INT64_MAX,
        .after_max_ms = INT64_MAX,
        .zstd_allowed = produce->zstd_allowed,
        .require_zero_base = true,
    };
    struct batch batch;
    if (shard->mend_batches) {
        memory_mend(produce->batch);
    }
    enum err err = batch_check(produce->batch, &rules, &batch);
    if (err != OK) {
        return err;
    }
    if (log->batch_count == MEMORY_LOG_BATCHES ||
        produce->batch.size > MEMORY_LOG_BYTES - log->size) {
        return ERR_NO_SPACE;
    }
    uint64_t base = memory_log_end(log);
    if (produce->end_known && produce->end != base) {
        return ERR_OFFSET_RANGE;
    }
    uint8_t *at = log->data + log->size;
    memcpy(at, produce->batch.data, produce->batch.size);
    batch_stamp(at, base, 1);
    err = memory_choose_id(log, produce, (uint32_t)batch.record_count);
    if (err != OK) {
        return err;
    }
    struct frame_row row = {.length = produce->batch.size,
                            .records = (uint32_t)batch.record_count,
                            .ms = produce->id.ms,
                            .seq = produce->id.seq};
    frame_row_encode(&row, log->rows[log->batch_count]);
    log->positions[log->batch_count] = log->size;
    log->ends[log->batch_count++] = base + (uint32_t)batch.record_count;
    log->size += produce->batch.size;
    produce->base_offset = base;
    produce->append_time_ms = -1;
    produce->log_start = log->start;
    memory_wake(shard, log, OK);
    return OK;
}

/* False: it is parked. */
static bool memory_fetch(struct memory_shard *shard, struct memory_log *log,
                         struct request *request, enum err *err)
{
    struct request_fetch *fetch = &request->fetch;
    fetch->piece_count = 0;
    fetch->size_bytes = 0;
    fetch->high_watermark = memory_log_end(log);
    fetch->log_start = log->start;
    *err = fetch->epoch > 1                        ? ERR_EPOCH_UNKNOWN
           : fetch->offset > fetch->high_watermark ? ERR_OFFSET_RANGE
           : fetch->offset < log->start            ? ERR_OFFSET_RANGE
                                                   : OK;
    if (*err == OK && fetch->offset == fetch->high_watermark && fetch->park) {
        request->next = log->parked;
        log->parked = request;
        return false;
    }
    for (uint32_t i = 0; *err == OK && i < log->batch_count; i++) {
        struct bytes batch = memory_log_batch(log, i);
        bool whole = fetch->whole_first && fetch->piece_count == 0;
        if (log->ends[i] <= fetch->offset) {
            continue;
        }
        if (fetch->piece_count == fetch->piece_capacity ||
            (fetch->size_bytes + batch.size > fetch->bytes_max && !whole)) {
            break;
        }
        fetch->pieces[fetch->piece_count++] =
            (struct fetch_piece){.data = batch.data, .size = batch.size, .rows = log->rows[i]};
        fetch->size_bytes += batch.size;
        shard->lent++;
    }
    return true;
}

static enum err memory_offsets(const struct memory_log *log, struct request_offsets *offsets)
{
    offsets->timestamp_found = -1;
    offsets->offset = -1;
    offsets->epoch_found = 1;
    if (offsets->epoch > 1) {
        return ERR_EPOCH_UNKNOWN;
    }
    if (offsets->timestamp == OFFSETS_LATEST) {
        offsets->offset = (int64_t)memory_log_end(log);
    } else if (offsets->timestamp < 0) {
        offsets->offset = (int64_t)log->start;
    }
    for (uint32_t i = 0; offsets->timestamp >= 0 && i < log->batch_count; i++) {
        uint64_t offset;
        if (batch_find_time(memory_log_batch(log, i), offsets->timestamp, log->start, NULL, &offset,
                            &offsets->timestamp_found) == OK) {
            offsets->offset = (int64_t)offset;
            break;
        }
    }
    return OK;
}

static enum err memory_trim(struct memory_log *log, struct request_trim *trim)
{
    uint64_t end = memory_log_end(log);
    uint64_t start = trim->offset == TRIM_ALL ? end : (uint64_t)trim->offset;
    if (start <= end) {
        log->start = max_u64(log->start, start);
    }
    trim->log_start = log->start;
    return start <= end ? OK : ERR_OFFSET_RANGE;
}

static enum err memory_assign(struct memory_shard *shard, const struct partition_id *id)
{
    for (uint32_t i = 0; i < MEMORY_LOGS_MAX; i++) {
        if (!shard->logs[i].used) {
            shard->logs[i].used = true;
            shard->logs[i].id = *id;
            break;
        }
    }
    /* Those that find no log stay without one: unknown to all that ask. */
    return OK;
}

static void memory_release(struct memory_shard *shard, struct request *request)
{
    ASSERT(shard->lent >= request->fetch.piece_count);
    shard->lent -= request->fetch.piece_count;
    request->fetch.piece_count = 0;
    request->fetch.size_bytes = 0;
    request_finish(shard->reactor, request, OK);
}

void shard_submit(struct shard *shard, struct request *request)
{
    struct memory_shard *memory = memory_of(shard);
    struct memory_log *log = memory_find(memory, &request->partition);
    enum err err = OK;
    if (request->kind == REQUEST_RELEASE) {
        memory_release(memory, request);
        return;
    }
    if (request->kind == REQUEST_ASSIGN) {
        request_finish(memory->reactor, request, memory_assign(memory, &request->partition));
        return;
    }
    if (log == NULL) {
        /* The agent may ask for what found no log. */
        bool absent = request->kind == REQUEST_DROP || request->kind == REQUEST_CONFIGURE;
        request_finish(memory->reactor, request, absent ? OK : ERR_TOPIC_UNKNOWN);
        return;
    }
    switch (request->kind) {
    case REQUEST_PRODUCE:
        err = memory_produce(memory, log, &request->produce);
        break;
    case REQUEST_FETCH:
        if (!memory_fetch(memory, log, request, &err)) {
            return;
        }
        break;
    case REQUEST_OFFSETS:
        err = memory_offsets(log, &request->offsets);
        break;
    case REQUEST_SIZE:
        request->size_bytes = log->size;
        break;
    case REQUEST_IDENTIFY:
        memory_identify(log, &request->identify);
        break;
    case REQUEST_SYNC:
        break;
    case REQUEST_TRIM:
        err = memory_trim(log, &request->trim);
        break;
    case REQUEST_DELETE:
    case REQUEST_SET_LAST:
        err = ERR_UNSUPPORTED;
        break;
    case REQUEST_DROP:
        memory_wake(memory, log, ERR_TOPIC_UNKNOWN);
        /* Pieces that are lent stay readable: the bytes are there until the next append. */
        memory_log_clear(log);
        break;
    case REQUEST_RELEASE:
    case REQUEST_ASSIGN:
    case REQUEST_CONFIGURE:
        break;
    }
    request_finish(memory->reactor, request, err);
}

void shard_cancel(struct shard *shard, struct request *fetch)
{
    struct memory_shard *memory = memory_of(shard);
    struct memory_log *log = memory_find(memory, &fetch->partition);
    for (struct request **at = log == NULL ? NULL : &log->parked; at != NULL && *at != NULL;
         at = &(*at)->next) {
        if (*at == fetch) {
            *at = fetch->next;
            fetch->next = NULL;
            request_finish(memory->reactor, fetch, ERR_CANCELED);
            return;
        }
    }
}

uint32_t shard_partition_count(const struct shard *shard)
{
    const struct memory_shard *self = (const struct memory_shard *)(const void *)shard;
    uint32_t count = 0;
    for (uint32_t i = 0; i < MEMORY_LOGS_MAX; i++) {
        count += self->logs[i].used;
    }
    return count;
}
