/* ListOffsets: latest and earliest from memory; by time through the index, then inside the batch.
 * The greatest timestamp is looked up as a time: first which it is, then where.
 *
 *     MAX: load every segment -> its greatest time -> search for that
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
    out->epoch_found = -1;
    if (offset >= 0) {
        const struct segment *segment = partition_segment_of(reader->partition, (uint64_t)offset);
        out->epoch_found = segment == NULL ? -1 : (int32_t)segment->info.epoch;
    }
    reader_finish(reader, OK);
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
static bool offsets_in_frame(struct reader *reader, struct bytes data);

/* Behind what the file has, the frames in memory. */
static void offsets_search_memory(struct reader *reader)
{
    struct partition *partition = reader->partition;
    const struct tail_frame *frame = tail_find(partition, reader->offset);
    uint64_t end = segment_end(reader->segment);
    while (frame != NULL && frame->offset_first < end) {
        const uint8_t *data = frame->block->data + frame->data_at;
        if (offsets_in_frame(reader, bytes_of(data, frame->data_size))) {
            return;
        }
        reader->offset = frame->offset_end;
        frame = tail_next(partition, frame);
    }
    if (reader->offset < end) {
        reader_finish(reader, ERR_NOT_READY); /* It is on its way to the file. */
        return;
    }
    reader->searching = false;
    reader->segment_at++;
    offsets_choose(reader);
}

/* Chooses the first segment that may hold the time, and reads from where the index says. */
static void offsets_choose(struct reader *reader)
{
    struct partition *partition = reader->partition;
    for (; reader->segment_at < partition->segment_count; reader->segment_at++) {
        struct segment *segment = partition->segments[reader->segment_at];
        if (offsets_load(reader, segment)) {
            return;
        }
        bool empty = segment_end(segment) == segment->info.base_offset;
        bool earlier = empty || segment->timestamp_max < reader->timestamp;
        if (earlier && offsets_are_lost(segment)) {
            reader_finish(reader, ERR_DAMAGED);
            return;
        }
        if (earlier) {
            continue;
        }
        if (reader_load(reader, segment)) {
            return;
        }
        const struct index_row *row = segment_index_by_time(&segment->index, reader->timestamp);
        reader->searching = true;
        reader->offset = row == NULL ? segment->info.base_offset : row->offset_first;
        if (reader->offset >= segment_file_end(segment)) {
            offsets_search_memory(reader);
            return;
        }
        offsets_read(reader, row == NULL ? SEGMENT_DATA_POSITION : row->position, READ_BYTES);
        return;
    }
    offsets_finish(reader, -1, -1);
}

/* True when the frame holds it, and the request went home. */
static bool offsets_in_frame(struct reader *reader, struct bytes data)
{
    for (uint32_t at = 0; at < data.size;) {
        struct bytes rest = bytes_of(data.data + at, data.size - at);
        struct batch batch;
        if (batch_parse(rest, &batch) != OK) {
            return false;
        }
        rest.size = batch.length;
        at += batch.length;
        if (batch.max_timestamp < reader->timestamp) {
            continue;
        }
        uint64_t offset;
        int64_t found;
        enum err err = batch_find_time(rest, reader->timestamp, &offset, &found);
        if (err == ERR_NO_MEMORY) {
            reader_finish(reader, err);
            return true;
        }
        if (err == ERR_DAMAGED) { /* As a client wrote it: nobody reads its times. */
            COVER("a look-up meets a batch that does not open");
            offset = (uint64_t)batch.base_offset;
            found = batch.max_timestamp;
        }
        if (err != ERR_NOT_FOUND) {
            offsets_finish(reader, (int64_t)offset, found);
            return true;
        }
    }
    return false;
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
    if (extent.padded_size > left) {
        return ERR_TRUNCATED;
    }
    if (extent.type != EXTENT_FRAMES) {
        return OK;
    }
    struct frame_cursor cursor;
    const uint8_t *header_at;
    frame_cursor_init(&cursor, at, &extent, reader->segment->info.id);
    while ((err = frame_cursor_next(&cursor, &frame, &header_at)) == OK) {
        uint32_t table = frame.batches * (uint32_t)FRAME_ROW_BYTES;
        const uint8_t *batches = header_at + FRAME_HEADER_BYTES + table;
        if (offsets_in_frame(reader, bytes_of(batches, frame.body_bytes - table))) {
            return ERR_CANCELED;
        }
        reader->offset = frame.offset_first + frame.records;
    }
    return err == ERR_NOT_FOUND ? OK : ERR_DAMAGED;
}

static void offsets_parse(struct reader *reader, uint32_t size)
{
    uint64_t end = reader->offset_end;
    uint32_t at = 0;
    uint32_t bytes = READ_BYTES;
    enum err err = size < DISK_BLOCK_BYTES ? ERR_DAMAGED : OK;
    while (err == OK && reader->offset < end && size - at >= DISK_BLOCK_BYTES) {
        uint32_t extent_bytes = 0;
        err = offsets_extent(reader, reader->block->data + at, reader->position + at, size - at,
                             &extent_bytes);
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

void offsets_step(struct reader *reader, enum err err)
{
    struct partition *partition = reader->partition;
    if (err != OK) {
        reader_finish(reader, segment_tell(reader->segment, err));
        return;
    }
    if (reader->searching) {
        offsets_parse(reader, (uint32_t)reader->io.done.result);
        return;
    }
    reader->timestamp = reader->request->offsets.timestamp;
    if (reader->timestamp == OFFSETS_MAX_TIMESTAMP) {
        int64_t greatest = INT64_MIN;
        for (uint32_t i = 0; i < partition->segment_count; i++) {
            if (offsets_load(reader, partition->segments[i])) {
                return;
            }
            if (offsets_are_lost(partition->segments[i])) {
                reader_finish(reader, ERR_DAMAGED);
                return;
            }
            if (partition->segments[i]->timestamp_max > greatest) {
                greatest = partition->segments[i]->timestamp_max;
            }
        }
        reader->timestamp = greatest;
        if (greatest < 0) {
            offsets_finish(reader, -1, -1);
            return;
        }
    }
    offsets_choose(reader);
}
