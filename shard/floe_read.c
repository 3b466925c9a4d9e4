/* The face of libfloe: readers.
 *
 *     next -> record in the open batch
 *          -> next batch of the pieces at hand: open it
 *          -> pieces: give them back, fetch others -> none: the end
 *
 * A piece is a run of batches in a block of the reactor; a reader holds it until it wants more. */
#include "core/assert.h"
#include "shard/floe_internal.h"

#include <stdlib.h>
#include <string.h>

static void reader_fetched(struct completion *done)
{
    struct request *request = CONTAINER_OF(done, struct request, done);
    struct library_call *call = CONTAINER_OF(request, struct library_call, request);
    struct face_reader *reader = CONTAINER_OF(call, struct face_reader, call);
    if (request->fetch.park) {
        list_remove(&reader->parked);
        timer_stop(call->library->reactor, &reader->timer);
    }
    reader->holding = request->fetch.piece_count > 0;
    library_answer(call, done->result < 0 ? library_result((enum err)done->result) : FLOE_OK);
}

static void reader_timed_out(struct completion *done)
{
    struct face_reader *reader = CONTAINER_OF(done, struct face_reader, timer.done);
    reader->timed_out = true;
    shard_cancel(reader->call.library->shard, &reader->call.request);
}

/* Of a fetch that may wait; false: it was answered. */
static bool reader_park(struct face_reader *reader)
{
    struct library *library = reader->call.library;
    if (library->closing) {
        library_answer(&reader->call, FLOE_ERR_CLOSED);
        return false;
    }
    list_push_back(&library->parked, &reader->parked);
    timer_init(&reader->timer, reader_timed_out);
    if (reader->wait_ms >= 0) {
        uint64_t wait_ms = min_u64((uint64_t)reader->wait_ms, UINT32_MAX);
        timer_start(library->reactor, &reader->timer, wait_ms * NS_PER_MS);
    }
    return true;
}

static void reader_fetch(struct library_call *call)
{
    struct face_reader *reader = CONTAINER_OF(call, struct face_reader, call);
    struct request_fetch *fetch = &call->request.fetch;
    bool park = fetch->park;
    if (park && !reader_park(reader)) {
        return;
    }
    *fetch = (struct request_fetch){
        .offset = reader->offset,
        .bytes_max = LIBRARY_READ_BYTES,
        .epoch = -1,
        .whole_first = true,
        .park = park,
        .piece_capacity = LIBRARY_PIECES,
        .pieces = reader->pieces,
    };
    library_submit(call, REQUEST_FETCH, &reader->partition->id, reader_fetched);
}

static void reader_released(struct completion *done)
{
    struct request *request = CONTAINER_OF(done, struct request, done);
    struct library_call *call = CONTAINER_OF(request, struct library_call, request);
    CONTAINER_OF(call, struct face_reader, call)->holding = false;
    reader_fetch(call);
}

/* Gives back what it holds, then fetches. */
static void reader_start(struct library_call *call)
{
    struct face_reader *reader = CONTAINER_OF(call, struct face_reader, call);
    if (reader->holding) {
        library_submit(call, REQUEST_RELEASE, &reader->partition->id, reader_released);
    } else {
        reader_fetch(call);
    }
}

static void reader_close_batch(struct face_reader *reader)
{
    if (reader->in_batch) {
        codec_free(&reader->output);
        reader->in_batch = false;
    }
}

/* The pieces from reader->offset on. FLOE_END: none; the reader then holds nothing. */
static int reader_refill(struct face_reader *reader)
{
    reader_close_batch(reader);
    reader->piece = 0;
    reader->at = 0;
    reader->call.start = reader_start;
    reader->call.request.fetch.park = false;
    library_call(&reader->call);
    if (reader->call.result != FLOE_OK) {
        return reader->call.result;
    }
    const struct request_fetch *fetch = &reader->call.request.fetch;
    if (fetch->piece_count > 0) {
        return FLOE_OK;
    }
    if (fetch->pressed) {
        return FLOE_ERR_NO_MEMORY;
    }
    return reader->partition->end_damaged ? FLOE_ERR_DAMAGED : FLOE_END;
}

/* Opens the next batch that has records for us. FLOE_END: there is none in the pieces. */
static int reader_open_batch(struct face_reader *reader)
{
    const struct request_fetch *fetch = &reader->call.request.fetch;
    while (reader->holding && reader->piece < fetch->piece_count) {
        const struct fetch_piece *piece = &reader->pieces[reader->piece];
        struct bytes rest = bytes_of(piece->data + reader->at, piece->size - reader->at);
        if (rest.size == 0) {
            reader->piece++;
            reader->at = 0;
            continue;
        }
        if (batch_parse(rest, &reader->batch) != OK) {
            return FLOE_ERR_DAMAGED;
        }
        struct batch *batch = &reader->batch;
        uint64_t end = (uint64_t)batch->base_offset + (uint32_t)batch->last_offset_delta + 1;
        if (end <= reader->offset || (batch->attributes & BATCH_CONTROL) != 0) {
            reader->offset = max_u64(reader->offset, end);
            reader->at += batch->length;
            continue;
        }
        enum err err =
            codec_open((enum codec)(batch->attributes & BATCH_CODEC_MASK),
                       bytes_of(rest.data + BATCH_HEADER_BYTES, batch->length - BATCH_HEADER_BYTES),
                       &reader->output);
        if (err != OK) {
            return err == ERR_NO_MEMORY ? FLOE_ERR_NO_MEMORY : FLOE_ERR_DAMAGED;
        }
        reader->records = bytes_reader(reader->output.bytes);
        reader->index = 0;
        reader->in_batch = true;
        return FLOE_OK;
    }
    return FLOE_END;
}

static void reader_view(struct face_reader *reader, struct floe_view *view)
{
    const struct record *record = &reader->record;
    const struct batch *batch = &reader->batch;
    int64_t time = batch->max_timestamp;
    if ((batch->attributes & BATCH_APPEND_TIME) == 0 &&
        __builtin_add_overflow(batch->base_timestamp, record->timestamp_delta, &time)) {
        time = batch->max_timestamp; /* As a client wrote it; nobody reads such a time. */
    }
    *view = (struct floe_view){
        .offset = (uint64_t)batch->base_offset + (uint32_t)record->offset_delta,
        .timestamp_ms = time,
        .key = record->key.data,
        .value = record->value.data,
        .key_size = record->key.size,
        .value_size = record->value.size,
        .header_count = record->header_count,
    };
}

/* All its records were read; the next one begins behind it. */
static void reader_end_batch(struct face_reader *reader)
{
    const struct batch *batch = &reader->batch;
    uint64_t end = (uint64_t)batch->base_offset + (uint32_t)batch->last_offset_delta + 1;
    reader->offset = max_u64(reader->offset, end);
    reader->at += batch->length;
    reader_close_batch(reader);
}

/* The next record of the open batch that is not below our offset. FLOE_END: there is none. */
static int reader_record(struct face_reader *reader, struct floe_view *view)
{
    const struct batch *batch = &reader->batch;
    while (reader->index < batch->record_count) {
        struct record *record = &reader->record;
        if (!record_read(&reader->records, record) || record->offset_delta < 0 ||
            record->offset_delta > batch->last_offset_delta) {
            reader_close_batch(reader);
            return FLOE_ERR_DAMAGED;
        }
        reader->index++;
        uint64_t offset = (uint64_t)batch->base_offset + (uint32_t)record->offset_delta;
        if (offset >= reader->offset) {
            reader_view(reader, view);
            reader->offset = offset + 1;
            return FLOE_OK;
        }
    }
    reader_end_batch(reader);
    return FLOE_END;
}

int floe_reader_next(struct floe_reader *name, struct floe_view *view)
{
    void *object;
    int result = view == NULL ? FLOE_ERR_INVALID : face_use(name, NAME_READER, &object);
    if (result != FLOE_OK) {
        return result;
    }
    struct face_reader *reader = object;
    reader->record = (struct record){0};
    do {
        result = reader->in_batch ? reader_record(reader, view) : FLOE_END;
        if (result == FLOE_END) {
            result = reader_open_batch(reader);
            if (result == FLOE_END) {
                result = reader_refill(reader);
                result = result == FLOE_OK ? reader_open_batch(reader) : result;
            }
            if (result == FLOE_OK) {
                continue;
            }
        }
        break;
    } while (true);
    name_leave(name);
    return result;
}

int floe_reader_header(struct floe_reader *name, size_t number, struct floe_header *header)
{
    void *object;
    int result = header == NULL ? FLOE_ERR_INVALID : face_use(name, NAME_READER, &object);
    if (result != FLOE_OK) {
        return result;
    }
    const struct face_reader *reader = object;
    struct bytes_reader headers = bytes_reader(reader->record.headers);
    struct record_header found = {0};
    result = number < reader->record.header_count ? FLOE_OK : FLOE_ERR_NOT_FOUND;
    for (size_t i = 0; i <= number && result == FLOE_OK; i++) {
        bool sound = record_read_header(&headers, &found);
        result = sound ? FLOE_OK : FLOE_ERR_DAMAGED;
    }
    if (result == FLOE_OK) {
        *header = (struct floe_header){
            .name = (const char *)found.name.data,
            .value = found.value.data,
            .name_size = found.name.size,
            .value_size = found.value.size,
        };
    }
    name_leave(name);
    return result;
}

/* From now on at `offset`. */
static int reader_move(struct face_reader *reader, uint64_t offset)
{
    uint64_t start = 0, end = 0;
    int result = face_offset(reader->partition, OFFSETS_EARLIEST, &start);
    if (result == FLOE_OK) {
        result = face_offset(reader->partition, OFFSETS_LATEST, &end);
    }
    if (result != FLOE_OK) {
        return result;
    }
    if (offset == FLOE_START || offset == FLOE_TAIL) {
        offset = offset == FLOE_START ? start : end;
    }
    if (offset < start || offset > end) {
        return FLOE_ERR_OFFSET_RANGE;
    }
    reader_close_batch(reader);
    reader->record = (struct record){0};
    reader->offset = offset;
    reader->piece = LIBRARY_PIECES; /* What is at hand is passed over, and given back later. */
    return FLOE_OK;
}

int floe_reader_open(struct floe_partition *partition, uint64_t offset, struct floe_reader **reader)
{
    void *object;
    int result = reader == NULL ? FLOE_ERR_INVALID : face_use(partition, NAME_PARTITION, &object);
    if (result != FLOE_OK) {
        return result;
    }
    const struct face_partition *entered = object;
    struct face_reader *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        name_leave(partition);
        return FLOE_ERR_NO_MEMORY;
    }
    made->partition = entered->partition;
    made->call.library = entered->object.library;
    list_init(&made->parked);
    result = reader_move(made, offset);
    if (result == FLOE_OK) {
        result = face_add(entered->object.library, &made->object, NAME_READER);
    }
    if (result == FLOE_OK) {
        *reader = made->object.name;
    } else {
        free(made);
    }
    name_leave(partition);
    return result;
}

static void reader_release(struct library_call *call)
{
    struct face_reader *reader = CONTAINER_OF(call, struct face_reader, call);
    library_submit(call, REQUEST_RELEASE, &reader->partition->id, NULL);
}

void face_close_reader(struct face_reader *reader)
{
    reader_close_batch(reader);
    if (reader->holding) {
        reader->call.start = reader_release;
        library_call(&reader->call);
    }
    bool mine = face_end(&reader->object);
    ASSERT(mine); /* A name that lets in one caller at a time. */
    free(reader);
}

int floe_reader_close(struct floe_reader *reader)
{
    void *object;
    if (reader == NULL) {
        return FLOE_OK;
    }
    int result = face_enter(reader, NAME_READER, &object);
    if (result == FLOE_OK) {
        face_close_reader(object);
    }
    return result;
}

int floe_reader_seek(struct floe_reader *name, uint64_t offset)
{
    void *object;
    int result = face_use(name, NAME_READER, &object);
    if (result != FLOE_OK) {
        return result;
    }
    result = reader_move(object, offset);
    name_leave(name);
    return result;
}

int floe_reader_seek_time(struct floe_reader *name, int64_t timestamp_ms)
{
    void *object;
    int result = timestamp_ms < 0 ? FLOE_ERR_INVALID : face_use(name, NAME_READER, &object);
    if (result != FLOE_OK) {
        return result;
    }
    struct face_reader *reader = object;
    uint64_t offset = 0;
    result = face_offset(reader->partition, timestamp_ms, &offset);
    if (result == FLOE_OK) {
        result = reader_move(reader, offset);
    }
    name_leave(name);
    return result;
}

int floe_reader_offset(struct floe_reader *name, uint64_t *offset)
{
    void *object;
    int result = offset == NULL ? FLOE_ERR_INVALID : face_use(name, NAME_READER, &object);
    if (result == FLOE_OK) {
        *offset = ((struct face_reader *)object)->offset;
        name_leave(name);
    }
    return result;
}

void face_cancel_waits(struct library_call *call)
{
    struct library *library = call->library;
    struct list *at;
    library->closing = true;
    list_for_each (at, &library->parked) { /* They leave it later. */
        struct face_reader *reader = CONTAINER_OF(at, struct face_reader, parked);
        shard_cancel(library->shard, &reader->call.request);
    }
    library_answer(call, FLOE_OK);
}

static int reader_wait(struct face_reader *reader, int64_t timeout_ms)
{
    const struct library *library = reader->call.library;
    const struct request_fetch *fetch = &reader->call.request.fetch;
    if (reader->in_batch && reader->index < reader->batch.record_count) {
        return FLOE_OK;
    }
    if (reader->in_batch) {
        reader_end_batch(reader);
    }
    bool at_hand = reader->holding && reader->piece < fetch->piece_count;
    if (at_hand && (reader->piece + 1 < fetch->piece_count ||
                    reader->at < reader->pieces[reader->piece].size)) {
        return FLOE_OK;
    }
    if (library->options.mode == FLOE_READ_ONLY) {
        timeout_ms = 0; /* Nothing will ever come. */
    }
    if (!library->options.shared && timeout_ms < 0 && list_empty(&library->appends)) {
        timeout_ms = 0; /* Who could append waits here. */
    }
    reader->record = (struct record){0};
    reader->piece = 0;
    reader->at = 0;
    reader->wait_ms = timeout_ms;
    reader->timed_out = false;
    reader->call.start = reader_start;
    reader->call.request.fetch.park = true;
    library_call(&reader->call);
    reader->call.request.fetch.park = false;
    if (reader->call.request.fetch.piece_count > 0) {
        return FLOE_OK;
    }
    if (reader->timed_out) {
        return FLOE_ERR_TIMEOUT;
    }
    bool canceled = reader->call.result == FLOE_ERR_STORAGE && library->closing;
    return canceled ? FLOE_ERR_CLOSED : reader->call.result;
}

int floe_reader_wait(struct floe_reader *name, int64_t timeout_ms)
{
    void *object;
    int result = face_use(name, NAME_READER, &object);
    if (result == FLOE_OK) {
        result = reader_wait(object, timeout_ms);
        name_leave(name);
    }
    return result;
}
