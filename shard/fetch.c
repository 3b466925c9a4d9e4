/* Fetches: from the tail cache at once, else from the file, else parked until there is something.
 *
 *     fetch -> cache has the offset -> pieces                        (no wait)
 *           -> offset = high watermark -> parked -> fetch again      (the turn of the next ack)
 *           -> readers hold too much (lend.c) -> parked -> fetch again
 *           -> reader: OPEN/LOAD (load.c) -> READ -> parse -> pieces
 *                                                 ^  |
 *                                                 +--+ next extent, or a larger buffer
 *
 * A piece is a run of whole batches inside one block; the request holds a reference on the block
 * for each piece until it is released. */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

static void fetch_finish(struct partition *partition, struct request *request, enum err err)
{
    struct reactor *reactor = partition->shard->reactor;
    request->owner_state = NULL;
    request->fetch.high_watermark = partition->high_watermark;
    request->fetch.log_start = partition->log_start;
    stats_add(&reactor->stats, STAT_FETCH_BYTES, request->fetch.size_bytes);
    request_finish(reactor, request, err);
}

/* Adds from the batches at `data` those that hold or follow *offset, within the limits. False when
 * the request takes no more. */
static bool fetch_take(struct shard *shard, struct request_fetch *fetch, struct block *block,
                       struct bytes data, uint64_t *offset)
{
    const uint8_t *first = NULL;
    uint32_t taken = 0;
    bool room = fetch->piece_count < fetch->piece_capacity;
    for (uint32_t at = 0; room && at < data.size;) {
        struct batch batch;
        if (batch_parse(bytes_of(data.data + at, data.size - at), &batch) != OK) {
            room = false;
            break;
        }
        uint64_t end =
            (uint64_t)batch.base_offset + (uint64_t)(uint32_t)batch.last_offset_delta + 1;
        if (end > *offset) {
            uint64_t total = (uint64_t)fetch->size_bytes + taken + batch.length;
            bool is_first = fetch->size_bytes + taken == 0;
            if (total > fetch->bytes_max && !(is_first && fetch->whole_first)) {
                room = false;
                break;
            }
            first = first == NULL ? data.data + at : first;
            taken += batch.length;
            *offset = end;
        }
        at += batch.length;
    }
    if (first != NULL) {
        lend_block(shard, fetch, bytes_of(first, taken), block);
    }
    return room;
}

static bool fetch_from_tail(struct partition *partition, struct request_fetch *fetch)
{
    struct shard *shard = partition->shard;
    uint64_t offset = fetch->offset;
    bool room = true;
    bool found = false;
    struct tail_frame *frame = NULL;
    while (room && offset < partition->high_watermark) {
        frame = frame == NULL ? tail_find(partition, offset) : tail_next(partition, frame);
        if (frame == NULL || (frame->block->lent == 0 && lend_full(shard))) {
            break;
        }
        found = true;
        stats_add(&shard->reactor->stats, STAT_FETCH_FROM_CACHE, 1);
        struct bytes data = bytes_of(frame->block->data + frame->data_at, frame->data_size);
        room = fetch_take(shard, fetch, frame->block, data, &offset);
    }
    return found;
}

static void fetch_park(struct partition *partition, struct request_queue *queue,
                       struct request *request)
{
    request->fetch.parked = true;
    stats_add(&partition->shard->reactor->stats, STAT_FETCH_PARKED, 1);
    request_queue_push(queue, request);
}

/* There are records, and no memory in which they could be lent. */
static void fetch_press(struct partition *partition, struct request *request)
{
    COVER("readers hold all the memory that they may");
    stats_add(&partition->shard->reactor->stats, STAT_FETCH_PRESSED, 1);
    if (request->fetch.park) {
        fetch_park(partition, &partition->shard->pressed, request);
        return;
    }
    request->fetch.pressed = true;
    fetch_finish(partition, request, OK);
}

/* The client has heard of an epoch that this core has not. */
static bool fetch_is_ahead(const struct partition *partition, const struct request_fetch *fetch)
{
    int64_t epoch = (int64_t)partition_epoch(partition) - (MUTANT("epoch-behind") ? 1 : 0);
    return fetch->epoch > epoch && !MUTANT("no-epoch-unknown");
}

void fetch_submit(struct partition *partition, struct request *request)
{
    struct request_fetch *fetch = &request->fetch;
    struct shard *shard = partition->shard;
    fetch->parked = false;
    fetch->pressed = false;
    stats_add(&shard->reactor->stats, STAT_FETCHES, 1);
    enum err err = OK;
    if (!partition->ready) {
        err = ERR_NOT_READY;
    } else if (fetch_is_ahead(partition, fetch)) {
        err = ERR_EPOCH_UNKNOWN;
    } else if (partition->end_lost && fetch->offset >= partition->high_watermark) {
        err = ERR_DAMAGED; /* Not "out of range": a reader would go on elsewhere and not know. */
    } else if (fetch->offset > partition->offset_next || fetch->offset < partition->log_start) {
        err = ERR_OFFSET_RANGE;
    }
    if (err != OK) {
        fetch_finish(partition, request, err);
        return;
    }
    if (fetch->offset >= partition->high_watermark) {
        if (!fetch->park) {
            fetch_finish(partition, request, OK);
            return;
        }
        fetch_park(partition, &partition->parked, request);
        return;
    }
    if (fetch->piece_capacity == 0 || fetch_from_tail(partition, fetch)) {
        fetch_finish(partition, request, OK);
        return;
    }
    if (lend_full(shard)) {
        fetch_press(partition, request);
        return;
    }
    shard->lend_reads++;
    request->owner_state = partition;
    shard_enter(shard, partition);
    reader_submit(shard, request);
}

void fetch_release(struct shard *shard, struct request *request)
{
    lend_return(shard, &request->fetch);
    request_finish(shard->reactor, request, OK);
}

enum err frame_at(const struct segment *segment, const uint8_t *at, uint64_t position,
                  struct extent_header *extent, struct frame_header *frame)
{
    enum err err = extent_header_at(at, segment->info.salt, position, extent);
    if (err != OK || extent->type != EXTENT_FRAMES) {
        return err;
    }
    return frame_header_in(at + EXTENT_HEADER_BYTES, extent, segment->info.id, frame);
}

static void reader_step(struct completion *work);

static void reader_begin(struct reader *reader, struct request *request)
{
    struct shard *shard = reader->shard;
    struct partition *partition = request->owner_state;
    *reader = (struct reader){.shard = shard, .request = request, .partition = partition};
    completion_init(&reader->work, reader_step);
    completion_fire(shard->reactor, &reader->work, OK);
}

void reader_submit(struct shard *shard, struct request *request)
{
    struct reader *reader = shard->readers_free;
    if (reader == NULL) {
        COVER("fetch waits for a reader");
        request_queue_push(&shard->readers_wait, request);
        return;
    }
    shard->readers_free = reader->next;
    reader->shard = shard;
    reader_begin(reader, request);
}

void reader_finish(struct reader *reader, enum err err)
{
    struct shard *shard = reader->shard;
    struct partition *partition = reader->partition;
    struct request *request = reader->request;
    if (reader->segment != NULL) {
        segment_unpin(reader->segment);
    }
    if (reader->block != NULL) {
        block_unref(reader->block);
    }
    request->owner_state = NULL;
    if (partition->dropping && request->kind == REQUEST_FETCH && request->fetch.piece_count == 0) {
        err = ERR_TOPIC_UNKNOWN;
    }
    if (request->kind == REQUEST_FETCH) {
        ASSERT(shard->lend_reads > 0);
        shard->lend_reads--;
        fetch_finish(partition, request, err);
        lend_wake(shard);
    } else {
        request_finish(shard->reactor, request, err);
    }
    struct request *next = request_queue_pop(&shard->readers_wait);
    if (next != NULL) {
        reader_begin(reader, next);
    } else {
        *reader = (struct reader){.shard = shard, .next = shard->readers_free};
        shard->readers_free = reader;
    }
    shard_leave(shard, partition);
}

bool reader_load(struct reader *reader, struct segment *segment)
{
    if (reader->segment != segment) {
        if (reader->segment != NULL) {
            segment_unpin(reader->segment);
        }
        reader->segment = segment;
        segment_pin(segment);
    }
    if (segment->fd >= 0 && segment->loaded) {
        return false;
    }
    reader->load = (struct load){0};
    load_start(&reader->load, segment, &reader->work);
    return true;
}

static void reader_memory(struct completion *done)
{
    struct reader *reader = CONTAINER_OF(done, struct reader, memory.done);
    (void)reader_read(reader, reader->position, reader->bytes);
}

static void reader_done(struct completion *done)
{
    struct reader *reader = CONTAINER_OF(done, struct reader, io.done);
    reader->work.result = done->result;
    reader_step(&reader->work);
}

/* Reads `bytes` at `position`; false if that can never fit into memory. */
bool reader_read(struct reader *reader, uint64_t position, uint32_t bytes)
{
    struct reactor *reactor = reader->shard->reactor;
    reader->position = position;
    reader->bytes = bytes;
    if (bytes > memory_block_max(reactor->memory)) {
        return false;
    }
    if (reader->block != NULL) {
        block_unref(reader->block);
    }
    reader->block = block_acquire(reactor->memory, MEMORY_APPEND, bytes);
    if (reader->block == NULL) {
        COVER("reader waits for memory");
        reader->memory.size = bytes;
        reader->memory.class = MEMORY_APPEND;
        completion_init(&reader->memory.done, reader_memory);
        memory_await(reactor->memory, reactor, &reader->memory);
        return true;
    }
    completion_init(&reader->io.done, reader_done);
    io_read(&reader->io, reader->segment->fd, reader->block->data, bytes, position);
    io_submit(reactor, &reader->io);
    return true;
}

/* Takes from the frames of one whole extent. */
static enum err fetch_extent(struct reader *reader, const uint8_t *at,
                             const struct extent_header *extent, uint64_t *offset, bool *room)
{
    struct frame_cursor cursor;
    struct frame_header frame;
    const uint8_t *header_at;
    frame_cursor_init(&cursor, at, extent, reader->segment->info.id);
    while (*room) {
        enum err err = frame_cursor_next(&cursor, &frame, &header_at);
        if (err != OK) {
            return err == ERR_NOT_FOUND ? OK : err;
        }
        if (frame.offset_first >= reader->offset_end) { /* Its commit failed: the segment ended. */
            COVER("an extent goes on behind the end of its segment");
            return OK;
        }
        if (frame.offset_first + frame.records <= *offset) {
            continue;
        }
        uint32_t table = frame.batches * (uint32_t)FRAME_ROW_BYTES;
        const uint8_t *batches = header_at + FRAME_HEADER_BYTES + table;
        stats_add(&reader->shard->reactor->stats, STAT_FETCH_FROM_FILE, 1);
        *room = fetch_take(reader->shard, &reader->request->fetch, reader->block,
                           bytes_of(batches, frame.body_bytes - table), offset);
    }
    return OK;
}

/* Takes what the request wants from the `size` bytes read, or reads on. */
static void fetch_parse(struct reader *reader, uint32_t size)
{
    struct request_fetch *fetch = &reader->request->fetch;
    uint64_t offset = fetch->offset;
    uint64_t end = reader->offset_end;
    uint32_t at = 0;
    uint32_t bytes = READ_BYTES;
    uint64_t next = 0;
    bool room = true;
    enum err err = OK;
    while (room && offset < end && next == 0 && size - at >= DISK_BLOCK_BYTES) {
        struct extent_header extent;
        struct frame_header frame = {0};
        const uint8_t *here = reader->block->data + at;
        err = frame_at(reader->segment, here, reader->position + at, &extent, &frame);
        if (err != OK) {
            break;
        }
        bool wanted = extent.type == EXTENT_FRAMES &&
                      (extent.frames_or_crc > 1 || frame.offset_first + frame.records > offset);
        if (extent.padded_size > size - at) {
            next = reader->position + at + (wanted ? 0 : extent.padded_size);
            bytes = wanted ? max_u32(READ_BYTES, extent.padded_size) : (uint32_t)READ_BYTES;
            err = wanted && at == 0 && reader->bytes >= bytes ? ERR_DAMAGED : OK;
            break;
        }
        if (wanted) {
            err = fetch_extent(reader, here, &extent, &offset, &room);
            if (err != OK) {
                break;
            }
        }
        at += extent.padded_size;
    }
    if (err != OK) {
        err = segment_tell(reader->segment, ERR_DAMAGED);
    }
    if (fetch->piece_count > 0 || !room || offset >= end || err != OK) {
        reader_finish(reader, fetch->piece_count > 0 ? OK : err);
        return;
    }
    if (!reader_read(reader, next == 0 ? reader->position + at : next, bytes)) {
        reader_finish(reader, ERR_NO_MEMORY);
    }
}

static void fetch_step(struct reader *reader, int32_t result)
{
    struct partition *partition = reader->partition;
    struct request_fetch *fetch = &reader->request->fetch;
    if (reader->segment == NULL || reader->block == NULL) {
        struct segment *segment = reader->segment != NULL
                                      ? reader->segment
                                      : partition_segment_of(partition, fetch->offset);
        if (segment == NULL || result < 0) {
            reader_finish(reader, segment == NULL ? ERR_OFFSET_RANGE
                                                  : segment_tell(segment, (enum err)result));
            return;
        }
        if (reader_load(reader, segment)) {
            return;
        }
        if (segment->damaged && fetch->offset >= segment->valid_end) {
            reader_finish(reader, ERR_DAMAGED);
            return;
        }
        const struct index_row *row = segment_index_by_offset(&segment->index, fetch->offset);
        uint64_t position = row == NULL ? SEGMENT_DATA_POSITION : row->position;
        reader->offset_end = segment_file_end(segment);
        if (fetch->offset >= reader->offset_end) { /* It was in memory, and went while we looked. */
            reader_finish(reader, ERR_NOT_READY);
            return;
        }
        (void)reader_read(reader, position, READ_BYTES);
        return;
    }
    if (result < (int32_t)DISK_BLOCK_BYTES) {
        enum err err = result < 0 ? (enum err)result : ERR_TRUNCATED;
        reader_finish(reader, segment_tell(reader->segment, err));
        return;
    }
    fetch_parse(reader, (uint32_t)result);
}

static void reader_step(struct completion *work)
{
    struct reader *reader = CONTAINER_OF(work, struct reader, work);
    if (reader->request->kind == REQUEST_FETCH) {
        fetch_step(reader, work->result);
    } else {
        offsets_step(reader, work->result < 0 ? (enum err)work->result : OK);
    }
}
