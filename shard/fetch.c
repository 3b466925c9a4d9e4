/* Fetches: from the tail cache at once, else from the file, else parked until there is something.
 *
 *     fetch -> cache has the offset -> pieces                        (no wait)
 *           -> offset = high watermark -> parked -> fetch again      (the turn of the next ack)
 *           -> readers hold too much (lend.c) -> parked -> fetch again
 *           -> reader: OPEN/LOAD (load.c) -> look (look.c) -> take -> pieces
 *                                             ^                |
 *                                             +----------------+ the look that follows
 *
 * A piece is a run of whole batches inside one block; the request holds a reference on the block,
 * or on the look that has it, for each piece until it is released. */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"
#include "shard/take.h"

static void fetch_finish(struct partition *partition, struct request *request, enum err err)
{
    struct reactor *reactor = partition->shard->reactor;
    request->owner_state = NULL;
    request->fetch.high_watermark = partition->high_watermark;
    request->fetch.log_start = partition->log_start;
    stats_add(&reactor->stats, STAT_FETCH_BYTES, request->fetch.size_bytes);
    request_finish(reactor, request, err);
}

/* False: it has nothing of it. *starved: it has, and there is no memory to lend it. */
static bool fetch_from_tail(struct partition *partition, struct request_fetch *fetch, bool *starved)
{
    struct shard *shard = partition->shard;
    uint64_t offset = fetch->offset;
    bool room = true, found = false;
    struct tail_frame *frame = NULL;
    while (room && offset < partition->high_watermark) {
        frame = frame == NULL ? tail_find(partition, offset) : tail_next(partition, frame);
        if (frame == NULL || (frame->block->lent == 0 && lend_full(shard))) {
            break;
        }
        found = true;
        stats_add(&shard->reactor->stats, STAT_FETCH_FROM_CACHE, 1);
        struct block *block = block_ref(frame->block); /* A copy may push the frame out. */
        struct bytes data = bytes_of(block->data + frame->data_at, frame->data_size);
        struct fetch_source source = {
            .partition = partition, .block = block, .rows = tail_rows(frame)};
        room = take_batches(fetch, &source, data, &offset);
        *starved = source.starved > 0;
        block_unref(block);
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

/* A reader can take it from there, and wait for memory if it must. */
static bool fetch_in_file(const struct partition *partition, uint64_t offset)
{
    const struct segment *segment = partition_segment_of(partition, offset);
    return segment != NULL && offset < segment_file_end(segment);
}

void fetch_submit(struct partition *partition, struct request *request)
{
    struct request_fetch *fetch = &request->fetch;
    struct shard *shard = partition->shard;
    fetch->parked = false;
    fetch->pressed = false;
    stats_add(&shard->reactor->stats, STAT_FETCHES, 1);
    enum err err = OK;
    if (shard->dead) {
        err = ERR_IO;
    } else if (!partition->ready) {
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
    if (reader_waits_unread(partition, request)) {
        return;
    }
    bool starved = false;
    bool found = fetch->piece_capacity == 0 || fetch_from_tail(partition, fetch, &starved);
    if (found && !(starved && fetch_in_file(partition, fetch->offset))) {
        /* What waits for what readers give back is woken by that alone. */
        if (starved && lend_full(shard)) {
            fetch_press(partition, request);
            return;
        }
        fetch->pressed = starved;
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

static void reader_step(struct completion *work);

static void reader_begin(struct reader *reader, struct request *request)
{
    struct shard *shard = reader->shard;
    struct partition *partition = request->owner_state;
    *reader = (struct reader){.shard = shard, .request = request, .partition = partition};
    reader->reserved = request->kind == REQUEST_FETCH;
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

/* It has its look, or needs none. */
static void reader_unreserve(struct reader *reader)
{
    struct shard *shard = reader->shard;
    if (reader->reserved) {
        ASSERT(shard->lend_reads > 0);
        shard->lend_reads--;
        reader->reserved = false;
        lend_wake(shard);
    }
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
    if (reader->look != NULL) {
        look_unref(reader->look);
    }
    request->owner_state = NULL;
    if (partition->dropping && request->kind == REQUEST_FETCH && request->fetch.piece_count == 0) {
        err = ERR_TOPIC_UNKNOWN;
    }
    if (request->kind == REQUEST_FETCH) {
        reader_unreserve(reader);
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
    stats_add(&reader->shard->reactor->stats, STAT_FETCH_READ_BYTES,
              done->result > 0 ? (uint64_t)done->result : 0);
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

/* What the request wants was taken, or cannot be had: where the next one may go on. */
static void fetch_end(struct reader *reader, enum err err)
{
    const struct request_fetch *fetch = &reader->request->fetch;
    struct stream *stream = reader->stream;
    if (fetch->piece_count > 0 && stream->serial == reader->stream_serial) {
        stream->offset_first = fetch->offset;
        stream->offset = reader->offset;
        stream->segment_id = reader->chained ? reader->segment->info.id : 0;
        stream->position = reader->position;
        stream->chain = reader->chain;
    }
    reader_finish(reader, fetch->piece_count > 0 ? OK : err);
}

/* Takes from the frames of one whole extent; `*room`: the request takes more. */
static enum err fetch_frames(struct reader *reader, const uint8_t *at,
                             const struct extent_header *extent, bool *room)
{
    struct look *look = reader->look;
    struct fetch_source source = {
        .partition = reader->partition, .block = look->block, .look = look};
    struct frame_cursor cursor;
    struct frame_header frame;
    const uint8_t *header_at;
    uint64_t chain = extent->chain;
    frame_cursor_init(&cursor, at, extent, reader->segment->info.id);
    cursor.checked = true; /* Those that leave are, once. */
    look_enter(look, at);
    while (*room) {
        enum err err = frame_cursor_next(&cursor, &frame, &header_at);
        if (err == ERR_NOT_FOUND) {
            look_leave(look, at, (uint32_t)(cursor.at - look->block->data), extent->padded_size);
            reader->chain = chain;
            reader->chained = true;
            reader->position += extent->padded_size;
            return OK;
        }
        if (err != OK || (frame.chain != chain && !MUTANT("no-chain-check"))) {
            return ERR_CORRUPT;
        }
        chain = frame_chain(header_at);
        if (frame.offset_first >= reader->offset_end) { /* Its commit failed: the segment ended. */
            COVER("an extent goes on behind the end of its segment");
            *room = false;
            return OK;
        }
        if (frame.offset_first + frame.records <= reader->offset) {
            continue;
        }
        err = look_check(look, &frame, header_at);
        if (err != OK) {
            return err;
        }
        uint32_t table = frame.batches * (uint32_t)FRAME_ROW_BYTES;
        source.rows = header_at + FRAME_HEADER_BYTES;
        stats_add(&reader->shard->reactor->stats, STAT_FETCH_FROM_FILE, 1);
        *room =
            take_batches(&reader->request->fetch, &source,
                         bytes_of(source.rows + table, frame.body_bytes - table), &reader->offset);
        reader->starved = source.starved;
    }
    reader->chain = extent->chain; /* The next fetch begins in this extent. */
    reader->chained = true;
    return OK;
}

/* Takes what the request wants from the extent at reader->position, of which the look has `left`
 * bytes, and moves behind it. ERR_TRUNCATED: it has more, reader->least bytes. */
static enum err fetch_extent(struct reader *reader, const uint8_t *at, uint32_t left, bool *room)
{
    struct extent_header extent;
    struct frame_header frame = {0};
    reader->least = 0;
    if (left < DISK_BLOCK_BYTES) {
        return ERR_CORRUPT;
    }
    if (frame_at(reader->segment, at, reader->position, &extent, &frame) != OK) {
        uint64_t next = reader_pass(reader, reader->position);
        if (next == 0) {
            return ERR_CORRUPT;
        }
        reader->chained = false; /* Control frames may be among what is passed over. */
        reader->position = next;
        return OK;
    }
    bool frames = extent.type == EXTENT_FRAMES;
    if (frames && reader->chained && extent.chain != reader->chain && !MUTANT("no-chain-check")) {
        return ERR_CORRUPT;
    }
    bool wanted =
        frames && (extent.frames_or_crc > 1 || frame.offset_first + frame.records > reader->offset);
    if (!wanted) {
        reader->chained = reader->chained && !frames;
        reader->position += extent.padded_size;
        return OK;
    }
    if (extent.padded_size > left) {
        reader->least = extent.padded_size;
        return ERR_TRUNCATED;
    }
    return fetch_frames(reader, at, &extent, room);
}

/* Is it worth a wait, or none, to go on to what follows the look? */
static bool fetch_goes_on(const struct reader *reader)
{
    const struct request_fetch *fetch = &reader->request->fetch;
    if (fetch->piece_count == 0) {
        return true;
    }
    if (fetch->piece_count == fetch->piece_capacity || fetch->size_bytes >= fetch->bytes_max) {
        return false;
    }
    const struct look *next = look_find(reader->segment, reader->position);
    return fetch->bytes_max - fetch->size_bytes >= reader->shard->looks.look_bytes ||
           (next != NULL && next->reading == NULL);
}

static void fetch_memory(struct completion *done);

/* Waits for memory for a copy, with the look at hand; or goes home for others to give theirs back.
 */
static void fetch_starved(struct reader *reader)
{
    struct reactor *reactor = reader->shard->reactor;
    if (lend_full_beside(reader->shard, reader->look)) {
        COVER("readers hold all that they may in copies without deleted records");
        stats_add(&reactor->stats, STAT_FETCH_PRESSED, 1);
        reader->request->fetch.pressed = true;
        fetch_end(reader, OK);
        return;
    }
    COVER("a copy without deleted records waits for memory");
    reader->memory.size = reader->starved;
    reader->memory.class = MEMORY_APPEND;
    completion_init(&reader->memory.done, fetch_memory);
    memory_await(reactor->memory, reactor, &reader->memory);
}

/* Takes what the request wants from the look. True: it goes on with the look that follows. */
static bool fetch_parse(struct reader *reader)
{
    const struct request_fetch *fetch = &reader->request->fetch;
    struct look *look = reader->look;
    uint64_t look_end = look->position + look->size;
    bool room = true;
    enum err err = OK;
    while (err == OK && room && reader->offset < reader->offset_end &&
           reader->position < look_end) {
        uint32_t at = (uint32_t)(reader->position - look->position);
        err = fetch_extent(reader, look->block->data + at, look->size - at, &room);
    }
    if (!room && reader->starved > 0) {
        fetch_starved(reader);
        return false;
    }
    bool over = err == OK && (!room || reader->offset >= reader->offset_end);
    if (err == ERR_TRUNCATED && look->cut && look->err == OK) {
        COVER("a look is cut off inside an extent");
        err = OK;
    } else if (err == OK && !over && look->err != OK) {
        err = look->err;
    } else if (err != OK) {
        COVER("a reader meets a frame that is not sound");
        err = ERR_DAMAGED;
        look_drop(look); /* Perhaps it only came so. */
    }
    if (err != OK) {
        err = segment_tell(reader->segment, err);
    }
    if (err != OK || over || !fetch_goes_on(reader)) {
        fetch_end(reader, err);
        return false;
    }
    reader->look = NULL;
    if (fetch->piece_count == 0) { /* What was promised to it is not somebody else's now. */
        reader->reserved = true;
        reader->shard->lend_reads++;
    }
    look_unref(look);
    if (reader->least == 0 && reader->stream->serial == reader->stream_serial) {
        stream_step(reader->stream);
    }
    return true;
}

static void fetch_go(struct reader *reader);

static void fetch_memory(struct completion *done)
{
    fetch_go(CONTAINER_OF(done, struct reader, memory.done));
}

/* Begins to read the look at reader->position. NULL: waits for memory, or the fetch ended. */
static struct look *fetch_start_look(struct reader *reader)
{
    struct shard *shard = reader->shard;
    struct memory *memory = shard->reactor->memory;
    bool first = reader->request->fetch.piece_count == 0;
    bool cut;
    uint32_t bytes = look_bytes_at(reader->segment, reader->position, reader->least, &cut);
    if (bytes > memory_block_max(memory)) {
        fetch_end(reader, ERR_NO_MEMORY);
        return NULL;
    }
    struct look *look = NULL;
    if (reader->reserved || !lend_full(shard)) {
        look = look_start(reader->segment, reader->position, reader->least, NULL);
    }
    if (look == NULL && !first) {
        COVER("a fetch ends where there is no memory for more");
        fetch_end(reader, OK);
    } else if (look == NULL) {
        COVER("reader waits for memory");
        reader->memory.size = bytes;
        reader->memory.class = MEMORY_APPEND;
        completion_init(&reader->memory.done, fetch_memory);
        memory_await(memory, shard->reactor, &reader->memory);
    }
    return look;
}

/* Has the look that holds what is at reader->position. False: waits for it, or the fetch ended. */
static bool fetch_look(struct reader *reader)
{
    struct look *look = reader->look;
    if (look == NULL) {
        look = look_find(reader->segment, reader->position);
        if (look == NULL) {
            look = fetch_start_look(reader);
            if (look == NULL) {
                return false;
            }
        } else if (look->ahead_of == NULL) {
            COVER("a reader finds a look that is there for somebody else");
            stats_add(&reader->shard->reactor->stats, STAT_READS_SHARED, 1);
        }
        reader->look = look_ref(look);
        reader_unreserve(reader);
        if (!look->cut && reader->stream->serial == reader->stream_serial) {
            stream_ahead(reader->stream, reader->segment, look->position + look->size);
        }
    }
    if (look->reading != NULL) {
        completion_list_push(&look->waiting, &reader->work);
        return false;
    }
    return true;
}

static void fetch_go(struct reader *reader)
{
    while (fetch_look(reader) && fetch_parse(reader)) {
    }
}

/* Where in the file the offset is looked for: where the stream says, or from the index. */
static void fetch_seek(struct reader *reader)
{
    const struct segment *segment = reader->segment;
    uint64_t offset = reader->request->fetch.offset;
    struct stream *stream = stream_find(reader->partition, offset);
    reader->stream = stream;
    reader->stream_serial = stream->serial;
    reader->offset = offset;
    reader->chained = stream->segment_id == segment->info.id && stream->offset == offset;
    if (reader->chained) {
        reader->position = stream->position;
        reader->chain = stream->chain;
        return;
    }
    const struct index_row *row = segment_index_by_offset(&segment->index, offset);
    reader->position = row == NULL ? SEGMENT_DATA_POSITION : row->position;
}

static void fetch_step(struct reader *reader, int32_t result)
{
    struct partition *partition = reader->partition;
    const struct request_fetch *fetch = &reader->request->fetch;
    if (reader->look != NULL) {
        fetch_go(reader);
        return;
    }
    struct segment *segment =
        reader->segment != NULL ? reader->segment : partition_segment_of(partition, fetch->offset);
    if (segment == NULL || result < 0) {
        reader_finish(reader,
                      segment == NULL ? ERR_OFFSET_RANGE : segment_tell(segment, (enum err)result));
        return;
    }
    if (reader_load(reader, segment)) {
        return;
    }
    if (segment->damaged && fetch->offset >= segment->valid_end) {
        reader_finish(reader, ERR_DAMAGED);
        return;
    }
    reader->offset_end = segment_file_end(segment);
    if (fetch->offset >= reader->offset_end) { /* It was in memory, and went while we looked. */
        bool lost = partition_open_segment(partition) == segment && partition->writer.failed;
        reader_finish(reader, lost ? ERR_DAMAGED : ERR_NOT_READY);
        return;
    }
    fetch_seek(reader);
    fetch_go(reader);
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
