/* ListOffsets: latest and earliest from memory; by time through the index, then inside the batch.
 * The greatest timestamp is looked up as a time: first which it is, then where.
 *
 *     MAX: load every segment -> its greatest time -> search for that, or less if it was trimmed
 *     time: first segment that holds one as late -> index row -> frames -> batch
 *
 * Damage is never passed over: what is searched may stand there. */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

static void offsets_finish(struct reader *reader, int64_t offset, int64_t timestamp)
{
    struct request_offsets *out = &reader->request->offsets;
    out->offset = offset;
    out->timestamp_found = timestamp;
    /* Where it was found, though it may be off the list by now. */
    out->epoch_found = offset >= 0 ? (int32_t)reader->segment->info.epoch : -1;
    reader_finish(reader, OK);
}

/* What a search gave. One for the greatest time may have to be repeated: the record of a partly
 * trimmed segment that had it may be gone. Then the greatest is in [low, high], and halved. */
static void offsets_found(struct reader *reader, int64_t offset, int64_t timestamp)
{
    /* Above `high` is what was appended meanwhile: then it was the greatest. */
    if (!reader->narrowing || (offset >= 0 && timestamp >= reader->high)) {
        offsets_finish(reader, offset, timestamp);
        return;
    }
    COVER("the record with the greatest time was trimmed");
    if (offset >= 0) {
        reader->low = timestamp;
    } else {
        reader->high = reader->timestamp - 1;
    }
    if (reader->high < reader->low || reader->high < 0) {
        reader->narrowing = false; /* Nothing is there, or more was trimmed meanwhile: again. */
        const struct partition *partition = reader->partition;
        if (reader->log_start == partition->log_start &&
            reader->deleted == partition->deleted.records) {
            offsets_finish(reader, -1, -1);
            return;
        }
    }
    reader->timestamp = reader->low + (reader->high - reader->low + 1) / 2;
    reader->searching = false;
    reader->passed = 0;
    completion_init(&reader->work, reader->work.fn);
    completion_fire(reader->shard->reactor, &reader->work, OK);
}

void offsets_submit(struct partition *partition, struct request *request)
{
    struct request_offsets *out = &request->offsets;
    struct shard *shard = partition->shard;
    enum err err = OK;
    out->offset = -1;
    out->timestamp_found = -1;
    out->epoch_found = -1;
    if (!partition->ready) {
        err = ERR_NOT_READY;
    } else if (out->epoch >= 0 && (uint32_t)out->epoch > partition_epoch(partition)) {
        err = ERR_EPOCH_UNKNOWN;
    } else if (out->timestamp < OFFSETS_MAX_TIMESTAMP) {
        err = ERR_INVALID;
    }
    if (err == OK && out->timestamp != OFFSETS_LATEST && out->timestamp != OFFSETS_EARLIEST &&
        reader_waits_unread(partition, request)) {
        return;
    }
    if (err != OK || out->timestamp == OFFSETS_LATEST || out->timestamp == OFFSETS_EARLIEST) {
        if (err == OK) {
            out->offset = (int64_t)(out->timestamp == OFFSETS_LATEST ? partition->high_watermark
                                                                     : partition->log_start);
            const struct segment *segment = partition_segment_of(partition, (uint64_t)out->offset);
            out->epoch_found =
                (int32_t)(segment == NULL ? partition_epoch(partition) : segment->info.epoch);
        }
        request_finish(shard->reactor, request, err);
        return;
    }
    request->owner_state = partition;
    shard_enter(shard, partition);
    reader_submit(shard, request);
}

/* True: waits for a file. */
static bool offsets_load(struct reader *reader, struct segment *segment)
{
    bool empty = segment_end(segment) == segment->info.base_offset;
    return !empty && !segment->loaded && reader_load(reader, segment);
}

/* Of records that are lost nobody knows the times. */
static bool offsets_are_lost(const struct segment *segment)
{
    return segment->damaged &&
           (segment->valid_end < segment_end(segment) || segment->partition->end_lost);
}

static void offsets_read(struct reader *reader, uint64_t position, uint32_t bytes)
{
    reader->offset_end = segment_file_end(reader->segment);
    if (!reader_read(reader, position, bytes)) {
        reader_finish(reader, ERR_NO_MEMORY);
    }
}

static void offsets_choose(struct reader *reader);
static bool offsets_in_frame(struct reader *reader, const uint8_t *header_at);

/* Behind what the file has, the frames in memory. */
static void offsets_search_memory(struct reader *reader)
{
    struct partition *partition = reader->partition;
    const struct tail_frame *frame = tail_find(partition, reader->offset);
    uint64_t end = segment_end(reader->segment);
    while (frame != NULL && frame->offset_first < end) {
        if (offsets_in_frame(reader, frame->block->data + frame->frame_at)) {
            return;
        }
        reader->offset = frame->offset_end;
        frame = tail_next(partition, frame);
    }
    if (reader->offset < end) {
        reader_finish(reader, ERR_NOT_READY); /* It is on its way to the file. */
        return;
    }
    if (offsets_are_lost(reader->segment)) {
        reader_finish(reader, ERR_DAMAGED); /* What was found there was trimmed. */
        return;
    }
    if (reader->request->kind == REQUEST_IDENTIFY) {
        identify_found(reader, end); /* Between two segments. */
        return;
    }
    reader->searching = false;
    reader->passed = reader->segment->info.id;
    offsets_choose(reader);
}

void offsets_search(struct reader *reader, const struct segment *segment,
                    const struct index_row *row)
{
    reader->searching = true;
    reader->offset = row == NULL ? segment->info.base_offset : row->offset_first;
    if (reader->offset >= segment_file_end(segment)) {
        offsets_search_memory(reader);
        return;
    }
    offsets_read(reader, row == NULL ? SEGMENT_DATA_POSITION : row->position, READ_BYTES);
}

/* The first segment that was not passed; NULL: there is none. By its id, which grows: the list may
 * have lost its first ones since the last look. */
static struct segment *offsets_segment(const struct reader *reader)
{
    const struct partition *partition = reader->partition;
    uint32_t low = 0;
    uint32_t high = partition->segment_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (partition->segments[middle]->info.id <= reader->passed) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < partition->segment_count ? partition->segments[low] : NULL;
}

/* All of it was trimmed, and it is only not gone yet. */
static bool offsets_are_trimmed(const struct segment *segment)
{
    const struct partition *partition = segment->partition;
    bool end_lost = segment->info.state == SEGMENT_OPEN && partition->end_lost;
    return segment_end(segment) <= partition->log_start && !end_lost;
}

/* Chooses the first segment that may hold the time, and reads from where the index says. */
static void offsets_choose(struct reader *reader)
{
    struct segment *segment;
    while ((segment = offsets_segment(reader)) != NULL) {
        bool trimmed = offsets_are_trimmed(segment);
        if (!trimmed && offsets_load(reader, segment)) {
            return;
        }
        bool empty = segment_end(segment) == segment->info.base_offset;
        bool earlier = trimmed || empty || segment->timestamp_max < reader->timestamp;
        if (earlier && !trimmed && offsets_are_lost(segment)) {
            reader_finish(reader, ERR_DAMAGED);
            return;
        }
        if (earlier) {
            reader->passed = segment->info.id;
            continue;
        }
        if (reader_load(reader, segment)) {
            return;
        }
        const struct index_row *row = segment_index_by_time(&segment->index, reader->timestamp);
        offsets_search(reader, segment, row);
        return;
    }
    offsets_found(reader, -1, -1);
}

static bool offsets_in_batches(struct reader *reader, struct bytes data)
{
    uint64_t log_start = reader->partition->log_start;
    for (uint32_t at = 0; at < data.size;) {
        struct bytes rest = bytes_of(data.data + at, data.size - at);
        struct batch batch;
        if (batch_parse(rest, &batch) != OK) {
            return false;
        }
        rest.size = batch.length;
        at += batch.length;
        uint64_t end = (uint64_t)batch.base_offset + (uint32_t)batch.last_offset_delta + 1;
        if (batch.max_timestamp < reader->timestamp || end <= log_start) {
            continue;
        }
        uint64_t offset;
        int64_t found;
        enum err err = batch_find_time(rest, reader->timestamp, log_start,
                                       &reader->partition->deleted, &offset, &found);
        if (err == ERR_NO_MEMORY) {
            reader_finish(reader, err);
            return true;
        }
        if (err == ERR_DAMAGED) { /* As a client wrote it: nobody reads its times. */
            COVER("a look-up meets a batch that does not open");
            offset = max_u64((uint64_t)batch.base_offset, log_start);
            found = batch.max_timestamp;
            err = deleted_has(&reader->partition->deleted, offset) ? ERR_NOT_FOUND : err;
        }
        if (err != ERR_NOT_FOUND) {
            offsets_found(reader, (int64_t)offset, found);
            return true;
        }
    }
    return false;
}

/* True when the frame holds it, and the request went home. */
static bool offsets_in_frame(struct reader *reader, const uint8_t *header_at)
{
    if (reader->request->kind == REQUEST_IDENTIFY) {
        uint64_t offset;
        bool found = identify_in_frame(header_at, &reader->request->identify, &offset);
        if (found) {
            identify_found(reader, offset);
        }
        return found;
    }
    struct frame_header frame;
    enum err err = frame_header_decode(header_at, &frame);
    ASSERT(err == OK);
    if ((frame.flags & FRAME_CONTROL) != 0) {
        return false; /* Its body is a note, if anything. */
    }
    uint32_t table = frame.batches * (uint32_t)FRAME_ROW_BYTES;
    const uint8_t *batches = header_at + FRAME_HEADER_BYTES + table;
    return offsets_in_batches(reader, bytes_of(batches, frame.body_bytes - table));
}

/* One extent at `at`, of which `left` bytes were read. ERR_TRUNCATED: read more of it;
 * ERR_CANCELED: the request went home. */
static enum err offsets_extent(struct reader *reader, const uint8_t *at, uint64_t position,
                               uint32_t left, uint32_t *size)
{
    struct extent_header extent;
    struct frame_header frame = {0};
    enum err err = frame_at(reader->segment, at, position, &extent, &frame);
    if (err != OK) {
        return ERR_DAMAGED;
    }
    *size = extent.padded_size;
    if (extent.type != EXTENT_FRAMES) {
        return OK;
    }
    if (extent.padded_size > left) {
        return ERR_TRUNCATED;
    }
    struct frame_cursor cursor;
    const uint8_t *header_at;
    frame_cursor_init(&cursor, at, &extent, reader->segment->info.id);
    while ((err = frame_cursor_next(&cursor, &frame, &header_at)) == OK &&
           frame.offset_first < reader->offset_end) {
        if (offsets_in_frame(reader, header_at)) {
            return ERR_CANCELED;
        }
        reader->offset = frame.offset_first + frame.records;
    }
    return err == OK || err == ERR_NOT_FOUND ? OK : ERR_DAMAGED;
}

uint64_t reader_pass(const struct reader *reader, uint64_t position)
{
    const struct index_row *row = segment_index_by_offset(&reader->segment->index, reader->offset);
    bool passes = row != NULL && row->offset_first == reader->offset && row->position > position;
    if (!passes) {
        return 0;
    }
    COVER("a reader passes over what holds no record");
    return row->position;
}

void offsets_parse(struct reader *reader, uint32_t size)
{
    uint64_t end = reader->offset_end;
    uint64_t at = 0;
    uint32_t bytes = READ_BYTES;
    enum err err = size < DISK_BLOCK_BYTES ? ERR_DAMAGED : OK;
    while (err == OK && reader->offset < end && at + DISK_BLOCK_BYTES <= size) {
        uint32_t extent_bytes = 0;
        err = offsets_extent(reader, reader->block->data + at, reader->position + at,
                             (uint32_t)(size - at), &extent_bytes);
        uint64_t pass = err == ERR_DAMAGED ? reader_pass(reader, reader->position + at) : 0;
        if (pass > 0) {
            at = pass - reader->position;
            err = OK;
            break;
        }
        if (err == ERR_TRUNCATED) {
            bytes = max_u32(READ_BYTES, extent_bytes);
            err = at == 0 && reader->bytes >= bytes ? ERR_DAMAGED : OK; /* The file ends inside. */
            break;
        }
        at += err == OK ? extent_bytes : 0;
    }
    if (err == ERR_CANCELED) {
        return;
    }
    if (reader->offset >= segment_file_end(reader->segment)) {
        offsets_search_memory(reader);
    } else if (err != OK) {
        reader_finish(reader, segment_tell(reader->segment, err));
    } else {
        offsets_read(reader, reader->position + at, bytes);
    }
}

/* Begins the search for the greatest time: which it can be at most, and what is known to be there.
 * False: waits for a file, or the request went home. */
static bool offsets_greatest(struct reader *reader)
{
    const struct partition *partition = reader->partition;
    int64_t greatest = -1;
    int64_t there = -1; /* Of segments of which nothing is trimmed or deleted. */
    for (uint32_t i = 0; i < partition->segment_count; i++) {
        struct segment *segment = partition->segments[i];
        if (offsets_are_trimmed(segment)) {
            continue;
        }
        if (offsets_load(reader, segment)) {
            return false;
        }
        if (offsets_are_lost(segment)) {
            reader_finish(reader, ERR_DAMAGED);
            return false;
        }
        if (segment->timestamp_max > greatest) {
            greatest = segment->timestamp_max;
        }
        bool whole = segment->info.base_offset >= partition->log_start &&
                     deleted_between(&partition->deleted, segment->info.base_offset,
                                     segment_end(segment)) == 0;
        if (whole && segment->timestamp_max > there) {
            there = segment->timestamp_max;
        }
    }
    if (greatest < 0) {
        offsets_finish(reader, -1, -1);
        return false;
    }
    reader->narrowing = true;
    reader->log_start = partition->log_start;
    reader->deleted = partition->deleted.records;
    reader->low = there;
    reader->high = greatest;
    reader->timestamp = greatest;
    return true;
}

void offsets_step(struct reader *reader, enum err err)
{
    if (err != OK) {
        reader_finish(reader, segment_tell(reader->segment, err));
        return;
    }
    if (reader->searching) {
        offsets_parse(reader, (uint32_t)reader->io.done.result);
        return;
    }
    if (reader->request->kind == REQUEST_IDENTIFY) {
        identify_choose(reader);
        return;
    }
    if (reader->request->offsets.timestamp != OFFSETS_MAX_TIMESTAMP) {
        reader->timestamp = reader->request->offsets.timestamp;
    } else if (!reader->narrowing && !offsets_greatest(reader)) {
        return;
    }
    offsets_choose(reader);
}
