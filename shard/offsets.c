/* ListOffsets: latest and earliest from memory; by time through the index, then inside the batch.
 * The greatest timestamp is looked up as a time: first which it is, then where.
 *
 *     MAX: load every segment -> its greatest time -> search for that
 *     time: first segment that holds one as late -> index row -> frames -> batch */
#include "core/assert.h"
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

/* Chooses the first segment that may hold the time, and reads from where the index says. */
static void offsets_choose(struct reader *reader)
{
    struct partition *partition = reader->partition;
    for (; reader->segment_at < partition->segment_count; reader->segment_at++) {
        struct segment *segment = partition->segments[reader->segment_at];
        if (offsets_load(reader, segment)) {
            return;
        }
        if (segment_end(segment) == segment->info.base_offset ||
            segment->timestamp_max < reader->timestamp) {
            continue;
        }
        if (reader_load(reader, segment)) {
            return;
        }
        const struct index_row *row = segment_index_by_time(&segment->index, reader->timestamp);
        reader->searching = true;
        (void)reader_read(reader, row == NULL ? SEGMENT_DATA_POSITION : row->position, READ_BYTES);
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
        uint64_t offset;
        int64_t found;
        rest.size = batch.length;
        if (batch.max_timestamp >= reader->timestamp &&
            batch_find_time(rest, reader->timestamp, &offset, &found) == OK) {
            offsets_finish(reader, (int64_t)offset, found);
            return true;
        }
        at += batch.length;
    }
    return false;
}

static void offsets_parse(struct reader *reader, uint32_t size)
{
    uint64_t end = segment_end(reader->segment);
    uint64_t next = 0;
    uint32_t at = 0;
    uint32_t bytes = READ_BYTES;
    bool over = false;
    while (!over && next == 0 && size - at >= DISK_BLOCK_BYTES) {
        struct extent_header extent;
        struct frame_header frame = {0};
        const uint8_t *here = reader->block->data + at;
        const uint8_t *body = here + EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES;
        enum err err = frame_at(reader->segment, here, reader->position + at, &extent, &frame);
        bool frames = err == OK && extent.type == EXTENT_FRAMES;
        over = err != OK || (frames && frame.offset_first >= end);
        if (over) {
            break;
        }
        if (extent.padded_size > size - at) {
            next = reader->position + at;
            bytes = max_u32(READ_BYTES, extent.padded_size);
            over = at == 0 && reader->bytes >= bytes;
            break;
        }
        if (frames && frame_check_body(&frame, body) != OK) {
            reader_finish(reader, ERR_DAMAGED);
            return;
        }
        uint32_t table = frame.batches * (uint32_t)FRAME_ROW_BYTES;
        if (frames && offsets_in_frame(reader, bytes_of(body + table, frame.body_bytes - table))) {
            return;
        }
        at += extent.padded_size;
    }
    if (over || size < DISK_BLOCK_BYTES) {
        reader->searching = false;
        reader->segment_at++;
        offsets_choose(reader);
        return;
    }
    if (!reader_read(reader, next == 0 ? reader->position + at : next, bytes)) {
        reader_finish(reader, ERR_NO_MEMORY);
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
