/* Where in the log a stream ID stands. IDs rise with offsets, so this is a search, first among the
 * frames in memory, newest first, since who asks mostly asks for the end of the log:
 *
 *     identify -> above the newest, or below all: answered          (no wait)
 *              -> cache has a frame that begins at or below it      (no wait)
 *              -> reader: the last segment that begins at or below it (each one that is looked at
 *                 is loaded) -> index row -> frames (offsets.c)
 *
 * After a start the newest file is read before anything is answered, as before an append: it alone
 * knows the last ID, also of a log whose records are all trimmed. So it is before records are read:
 * it alone knows which are deleted. */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

static void identify_facts(const struct partition *partition, struct stream_facts *facts)
{
    const struct deleted *deleted = &partition->deleted;
    facts->deleted = deleted->records;
    facts->deleted_between = deleted_between(deleted, facts->from, facts->to);
    facts->entries_added = partition->high_watermark + deleted->added_bias;
    facts->deleted_max = deleted->deleted_max;
}

static void identify_fill(const struct partition *partition, struct request_identify *identify,
                          uint64_t offset)
{
    identify->last = partition->acked_id;
    identify->log_start = partition->log_start;
    identify->high_watermark = partition->high_watermark;
    if (identify->facts != NULL) {
        identify_facts(partition, identify->facts);
    }
    identify->exact = identify->exact && offset >= partition->log_start;
    offset = max_u64(offset, partition->log_start);
    identify->offset = min_u64(offset, partition->high_watermark);
}

static void identify_finish(struct partition *partition, struct request *request, uint64_t offset,
                            enum err err)
{
    identify_fill(partition, &request->identify, offset);
    request_finish(partition->shard->reactor, request, err);
}

static struct stream_id row_id(const uint8_t *at)
{
    struct frame_row row;
    frame_row_decode(at, &row);
    return (struct stream_id){row.ms, row.seq};
}

bool identify_in_frame(const uint8_t *header_at, struct request_identify *identify,
                       uint64_t *offset)
{
    struct stream_id id = identify->id;
    struct frame_header frame;
    enum err err = frame_header_decode(header_at, &frame);
    ASSERT(err == OK);
    *offset = frame.offset_first;
    for (uint32_t i = 0; i < frame.batches; i++) {
        struct frame_row row;
        frame_row_decode(header_at + FRAME_HEADER_BYTES + i * (size_t)FRAME_ROW_BYTES, &row);
        struct stream_id last = {row.ms, row.seq + row.records - 1};
        if (stream_id_compare(id, last) <= 0) {
            struct stream_id first = {row.ms, row.seq};
            identify->exact = stream_id_compare(id, first) >= 0;
            *offset += identify->exact ? id.seq - row.seq : 0;
            return true;
        }
        *offset += row.records;
    }
    return false;
}

/* The cache has the newest frame that begins at or below the ID. */
static bool identify_in_memory(const struct partition *partition, struct request_identify *identify,
                               uint64_t *offset)
{
    uint64_t end = partition->high_watermark;
    for (struct list *at = partition->tail.prev; at != &partition->tail; at = at->prev) {
        const struct tail_frame *frame = CONTAINER_OF(at, struct tail_frame, in_partition);
        if (frame->offset_first >= partition->high_watermark) {
            continue; /* Not acked yet. */
        }
        if (frame->offset_end != end) {
            return false; /* One is missing. */
        }
        end = frame->offset_first;
        if (stream_id_compare(row_id(tail_rows(frame)), identify->id) <= 0) {
            (void)identify_in_frame(tail_rows(frame) - FRAME_HEADER_BYTES, identify, offset);
            return true;
        }
    }
    return false;
}

static void identify_look(struct partition *partition, struct request *request)
{
    struct request_identify *identify = &request->identify;
    struct shard *shard = partition->shard;
    uint64_t offset = partition->high_watermark;
    bool none = partition->log_start == partition->high_watermark;
    if (!partition->end_lost &&
        (none || identify->ends_only || stream_id_compare(identify->id, partition->acked_id) > 0)) {
        identify_finish(partition, request, offset, OK);
        return;
    }
    if (identify->id.ms == 0 && identify->id.seq == 0) {
        identify_finish(partition, request, 0, OK);
        return;
    }
    if (identify_in_memory(partition, identify, &offset)) {
        identify_finish(partition, request, offset, OK);
        return;
    }
    request->owner_state = partition;
    shard_enter(shard, partition);
    reader_submit(shard, request);
}

bool reader_waits_unread(struct partition *partition, struct request *request)
{
    if (!partition->unread) {
        return false;
    }
    request_queue_push(&partition->unread_wait, request);
    recover_read(partition);
    return true;
}

void reader_pump(struct partition *partition)
{
    struct request_queue requests = partition->unread_wait;
    partition->unread_wait = (struct request_queue){0};
    struct request *request;
    while ((request = request_queue_pop(&requests)) != NULL) {
        if (request->kind == REQUEST_FETCH) {
            fetch_submit(partition, request);
        } else if (request->kind == REQUEST_OFFSETS) {
            offsets_submit(partition, request);
        } else {
            identify_look(partition, request);
        }
    }
}

void identify_submit(struct partition *partition, struct request *request)
{
    if (!partition->ready) {
        identify_finish(partition, request, 0, ERR_NOT_READY);
        return;
    }
    request->identify.exact = false;
    if (reader_waits_unread(partition, request)) {
        COVER("a stream ID is asked for before the newest file was read");
        return;
    }
    identify_look(partition, request);
}

/* The segment begins at or below the ID. Of one that nothing is known of yet, this is taken to be
 * so: the search inside ends at its first record then. */
static bool identify_begins_below(const struct segment *segment, struct stream_id id)
{
    if (segment->index.count > 0) {
        const struct index_row *row = &segment->index.rows[0];
        return stream_id_compare((struct stream_id){row->ms, row->seq}, id) <= 0;
    }
    const struct tail_frame *frame = tail_find(segment->partition, segment->info.base_offset);
    return frame == NULL || stream_id_compare(row_id(tail_rows(frame)), id) <= 0;
}

static bool identify_has_records(const struct segment *segment)
{
    return segment_end(segment) > max_u64(segment->info.base_offset, segment->partition->log_start);
}

/* The last segment with records that begins at or below the ID; the first if none does. NULL: waits
 * for a file, or there is none. */
static struct segment *identify_segment(struct reader *reader, bool *waits)
{
    const struct partition *partition = reader->partition;
    struct segment *below = NULL;
    struct segment *above = NULL;
    uint32_t low = 0;
    uint32_t high = partition->segment_count;
    *waits = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        while (middle > low && !identify_has_records(partition->segments[middle])) {
            middle--;
        }
        struct segment *segment = partition->segments[middle];
        if (!identify_has_records(segment)) {
            low += (high - low) / 2 + 1; /* Nor has any from here to the middle. */
            continue;
        }
        if (!segment->loaded && reader_load(reader, segment)) {
            *waits = true;
            return NULL;
        }
        if (identify_begins_below(segment, reader->request->identify.id)) {
            below = segment;
            low += (high - low) / 2 + 1;
        } else {
            above = segment;
            high = middle;
        }
    }
    return below != NULL ? below : above;
}

/* The last row at or below the ID; NULL: none is. */
static const struct index_row *identify_row(const struct segment *segment, struct stream_id id)
{
    const struct segment_index *index = &segment->index;
    uint32_t low = 0;
    uint32_t high = index->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct stream_id row = {index->rows[middle].ms, index->rows[middle].seq};
        if (stream_id_compare(row, id) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? &index->rows[low - 1] : NULL;
}

void identify_found(struct reader *reader, uint64_t offset)
{
    identify_fill(reader->partition, &reader->request->identify, offset);
    reader_finish(reader, OK);
}

void identify_choose(struct reader *reader)
{
    bool waits;
    struct segment *segment = identify_segment(reader, &waits);
    if (waits || (segment != NULL && reader_load(reader, segment))) {
        return;
    }
    if (segment == NULL) {
        COVER("all records go while a stream ID is looked for");
        identify_found(reader, reader->partition->high_watermark);
        return;
    }
    const struct index_row *row = identify_row(segment, reader->request->identify.id);
    offsets_search(reader, segment, row);
}
