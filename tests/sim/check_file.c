/* The files of sealed segments as they are on the disk, byte by byte, without the product's reader:
 * what no answer shows. Each is looked at once, when its log was read for the first time. */
#include "core/assert.h"
#include "core/crc32c.h"
#include "core/limits.h"
#include "shard/batch.h"
#include "shard/frame.h"
#include "shard/producer.h"
#include "shard/segment.h"
#include "shard/segment_index.h"
#include "tests/sim/check_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A walk through one file. */
struct walk {
    struct check *check;
    struct check_partition *partition;
    const struct sim_map_partition *mapped;
    const struct segment_info *info;
    int32_t inode;
    uint64_t position, offset, chain, log_start;
    struct extent_header extent;
    struct frame_header frame;
};

static void walk_fail(const struct walk *walk, const char *what)
{
    check_fail(walk->check,
               "partition %u: in the file of the segment at %" PRIu64 ", offset %" PRIu64
               " (position %" PRIu64 "): %s",
               walk->mapped->number, walk->info->base_offset, walk->offset, walk->position, what);
}

/* Between the batch before and this one, some arrived in a life whose disk failed. Their numbers
 * are gone with them, also for the lives behind: the header of the next file has the last one. */
static bool walk_skips(const struct check_partition *partition, uint32_t fact_at)
{
    uint32_t from = fact_at == 0 ? 0 : partition->facts[fact_at - 1].arrival + 1;
    for (uint32_t i = from; i <= partition->facts[fact_at].arrival; i++) {
        if (partition->arrivals[i].faulty) {
            return true;
        }
    }
    return false;
}

/* Who came, when, and as which record: ms of the commit, or of the moment that the batch was given
 * its append time, and a number that begins at 0 in each. */
static const char *walk_row(struct walk *walk, const struct frame_row *row, struct bytes stored)
{
    struct check_partition *partition = walk->partition;
    uint32_t fact_at = check_fact_at(partition, walk->offset);
    const struct fact *fact = &partition->facts[fact_at];
    bool stamped = walk->mapped->config.timestamp_type == TIMESTAMP_APPEND;
    struct batch batch;
    bool trimmed = walk->offset < partition->start; /* Perhaps before anybody knew of it. */
    if (trimmed &&
        (fact_at == partition->fact_count || partition->facts[fact_at].offset != walk->offset)) {
        partition->row_ms = row->ms;
        partition->row_next = row->seq + row->records;
        walk->offset += row->records;
        return NULL;
    }
    if (fact->offset != walk->offset || row->length != fact->batch->size ||
        row->records != fact->batch->records) {
        return "a row is not about the batch that is there";
    }
    if (batch_parse(stored, &batch) != OK) {
        return "a row is not about a batch";
    }
    /* The wall clock may go back, stream ids do not. */
    const struct arrival *arrival = &partition->arrivals[fact->arrival];
    uint64_t ms = stamped ? (uint64_t)batch.max_timestamp : walk->frame.append_ms;
    bool unsure = partition->row_unsure || partition->row_lost;
    if (partition->row_unsure && row->ms == ms && ms < partition->row_ms) {
        partition->row_ms = 0;
        partition->row_next = 0;
    }
    if (unsure && row->ms > ms && row->ms > partition->row_ms) {
        partition->row_ms = row->ms; /* Behind a batch that was never acked, or not looked at. */
        partition->row_next = row->seq;
    }
    partition->row_unsure = false;
    bool later = ms > partition->row_ms;
    if (row->ms != max_u64(ms, partition->row_ms) || (stamped && ms > walk->frame.append_ms)) {
        return "the ms of a row is not that of the commit";
    }
    if (later && !walk->check->jumped &&
        (ms < arrival->ms || (fact->acked_ms != 0 && ms > fact->acked_ms))) {
        return "the ms of a row is not of its time";
    }
    uint64_t next = later ? 0 : partition->row_next;
    bool skips = row->seq > next && !walk_skips(partition, fact_at) && !partition->row_lost;
    if (row->seq < next || skips) {
        return "the stream id of a row does not follow";
    }
    partition->row_ms = row->ms;
    partition->row_next = row->seq + row->records;
    partition->row_lost = false;
    walk->offset += row->records;
    return NULL;
}

/* A log start never falls, nobody asked for more, and no frame has one behind itself. */
static bool walk_start(struct walk *walk)
{
    uint64_t log_start = walk->frame.log_start;
    bool sound = log_start >= walk->log_start && log_start <= walk->frame.offset_first &&
                 log_start <= check_start_most(walk->check, walk->mapped->number);
    walk->log_start = log_start;
    return sound;
}

static const char *walk_frame(struct walk *walk, const uint8_t *header, uint32_t left)
{
    const struct frame_header *frame = &walk->frame;
    const struct segment_info *info = walk->info;
    const uint8_t *body = header + FRAME_HEADER_BYTES;
    if (frame_header_decode(header, &walk->frame) != OK ||
        FRAME_HEADER_BYTES + frame->body_bytes > left || frame_check_body(frame, body) != OK) {
        return "a bad frame";
    }
    if (frame->salt != info->salt || frame->segment_id != info->id || frame->epoch != info->epoch ||
        frame->offset_first != walk->offset ||
        frame->flags != (frame->records == 0 ? FRAME_CONTROL : 0)) {
        return "a frame of something else";
    }
    if (!walk_start(walk)) {
        return "a frame says that the log starts elsewhere";
    }
    if (frame->chain != walk->chain) {
        return "the chain is broken";
    }
    /* An extent may be written back: more than its frames was durable, in the journal. */
    if (frame->high_watermark > walk->offset || walk->extent.durable_end > walk->info->end_offset) {
        return "a frame says that more was durable than was there";
    }
    const uint8_t *at = body + (size_t)frame->batches * FRAME_ROW_BYTES;
    for (uint32_t i = 0; i < frame->batches; i++) {
        struct frame_row row;
        frame_row_decode(body + (size_t)i * FRAME_ROW_BYTES, &row);
        const char *wrong = walk_row(walk, &row, bytes_of(at, row.length));
        if (wrong != NULL) {
            return wrong;
        }
        at += row.length;
    }
    walk->chain = frame_chain(header);
    return NULL;
}

/* The frames of an extent, each at a multiple of 8. */
static const char *walk_frames(struct walk *walk, const uint8_t *bytes)
{
    const char *wrong = walk->extent.chain == walk->chain ? NULL : "the chain is broken";
    wrong = walk->extent.frames_or_crc > 0 ? wrong : "an extent without frames";
    uint32_t at = EXTENT_HEADER_BYTES;
    /* The last one may hold frames whose commits failed: the segment ended before them. */
    bool ended = false;
    for (uint32_t i = 0; i < walk->extent.frames_or_crc && wrong == NULL && !ended; i++) {
        uint32_t left = walk->extent.padded_size - at;
        wrong = left < FRAME_HEADER_BYTES ? "a frame too many" : NULL;
        wrong = wrong != NULL ? wrong : walk_frame(walk, bytes + at, left);
        at += wrong == NULL ? min_u32(frame_size(&walk->frame), left) : 0;
        ended = walk->offset == walk->info->end_offset && walk->chain == walk->info->digest;
    }
    return wrong;
}

/* What is between the frames of an extent of type 2 or 3, or before the first one: only what is in
 * the frames before. */
static const char *walk_milestone(const struct walk *walk, const uint8_t *bytes)
{
    const struct extent_header *extent = &walk->extent;
    const uint8_t *body = bytes + EXTENT_HEADER_BYTES;
    uint32_t size = extent->padded_size - (uint32_t)EXTENT_HEADER_BYTES;
    if (extent->chain != walk->chain) {
        return "a milestone does not follow";
    }
    if (crc32c(0, body, size) != extent->frames_or_crc) {
        return NULL; /* It was torn, or went bad. */
    }
    if (extent->type == EXTENT_PRODUCERS) {
        for (uint32_t at = 0; size - at >= PRODUCER_ROW_BYTES && body[at + 10] != 0;
             at += PRODUCER_ROW_BYTES) {
            for (uint32_t i = 0; i < body[at + 10]; i++) {
                if (load_le64(body + at + 16 + i * 24 + 8) >= extent->offset_first) {
                    return "a producer is said to have sent what stands behind";
                }
            }
        }
        return NULL;
    }
    uint64_t position = 0;
    uint32_t at = 0;
    for (; size - at >= INDEX_ROW_BYTES && load_le32(body + at + 40) != 0; at += INDEX_ROW_BYTES) {
        if (load_le64(body + at) >= extent->offset_first || load_le64(body + at + 8) <= position ||
            load_le64(body + at + 8) >= extent->position) {
            return "a row of the index is about nothing";
        }
        position = load_le64(body + at + 8);
    }
    bool ended = size - at >= INDEX_ROW_BYTES && load_le32(body + at + 44) == 1;
    bool start = ended && load_le64(body + at) >= walk->log_start &&
                 load_le64(body + at) <= check_start_most(walk->check, walk->mapped->number);
    return start ? NULL : "an index does not say where the log starts";
}

/* An extent of this segment, in its place. In a recycled file others stand, too. (The product has
 * a function for this, and deliberate bugs in it.) */
static bool walk_header(const struct walk *walk, const uint8_t *head, uint64_t position,
                        struct extent_header *extent)
{
    return extent_header_decode(head, extent) == OK && extent->salt == walk->info->salt &&
           extent->position == position;
}

/* Where the next extent stands that follows what was before: a write between them may have been
 * torn, and was no frame. */
static bool walk_resume(struct walk *walk)
{
    const struct disk *disk = walk->check->disk;
    uint8_t head[EXTENT_HEADER_BYTES];
    struct extent_header extent;
    for (uint64_t at = walk->position + DISK_BLOCK_BYTES; walk->position > SEGMENT_DATA_POSITION;
         at += DISK_BLOCK_BYTES) {
        if (disk_read(disk, walk->inode, head, sizeof(head), at) < sizeof(head)) {
            break;
        }
        if (walk_header(walk, head, at, &extent) && extent.chain == walk->chain &&
            extent.offset_first == walk->offset) {
            walk->position = at;
            return true;
        }
    }
    return false;
}

/* One extent; what is wrong with it, or NULL. */
static const char *walk_extent(struct walk *walk)
{
    const struct disk *disk = walk->check->disk;
    uint8_t head[EXTENT_HEADER_BYTES];
    if (disk_read(disk, walk->inode, head, sizeof(head), walk->position) < sizeof(head) ||
        !walk_header(walk, head, walk->position, &walk->extent)) {
        return walk_resume(walk) ? NULL : "no extent";
    }
    const struct extent_header *extent = &walk->extent;
    if (extent->padded_size < DISK_BLOCK_BYTES || extent->offset_first != walk->offset) {
        return "an extent of something else";
    }
    uint8_t *bytes = malloc(extent->padded_size);
    ASSERT(bytes != NULL);
    bool whole = disk_read(disk, walk->inode, bytes, extent->padded_size, walk->position) ==
                 extent->padded_size;
    const char *wrong = !whole                           ? "the file ends early"
                        : extent->type == EXTENT_FRAMES  ? walk_frames(walk, bytes)
                        : extent->type == EXTENT_TRAILER ? NULL
                                                         : walk_milestone(walk, bytes);
    free(bytes);
    walk->position += wrong == NULL ? extent->padded_size : 0;
    return wrong;
}

/* It need not be there: a write of it may have failed. */
static const char *walk_seal(const struct walk *walk)
{
    uint8_t block[DISK_BLOCK_BYTES];
    struct segment_seal seal;
    uint32_t size =
        disk_read(walk->check->disk, walk->inode, block, sizeof(block), SEGMENT_SEAL_POSITION);
    bool valid = size == sizeof(block) && segment_seal_decode(block, &seal) == OK;
    bool empty = walk->info->end_offset == walk->info->base_offset; /* Without a time. */
    bool timed = seal.last_ms == walk->partition->row_ms || walk->partition->row_lost || empty;
    bool same = valid && seal.log_start >= walk->log_start && seal.log_start <= walk->offset &&
                seal.end_offset == walk->offset && seal.digest == walk->chain &&
                seal.trailer_position == walk->position && timed;
    return same || !valid ? NULL : "the seal block says something else";
}

int32_t check_file_find(const struct disk *disk, const struct sim_map_partition *partition,
                        const struct segment_info *segment)
{
    char topic[TOPIC_ID_TEXT_BYTES];
    char path[128];
    (void)snprintf(path, sizeof(path), "data/topics/%s/%u/%016" PRIx64 ".seg",
                   topic_id_text(&partition->id.topic, topic), partition->id.partition,
                   segment->id);
    return disk_find(disk, path);
}

/* Control frames may follow the last record, and the producers stand in an empty file, too. */
static bool walk_goes_on(struct walk *walk)
{
    uint8_t head[EXTENT_HEADER_BYTES];
    struct extent_header extent;
    bool more = walk->offset == walk->info->end_offset && walk->chain != walk->info->digest;
    if (walk->offset < walk->info->end_offset || more) {
        return true;
    }
    uint32_t size = disk_read(walk->check->disk, walk->inode, head, sizeof(head), walk->position);
    if (walk->offset > walk->info->end_offset || size < sizeof(head)) {
        return false;
    }
    if (!walk_header(walk, head, walk->position, &extent)) {
        return walk_resume(walk) && walk_goes_on(walk); /* It may be the trailer. */
    }
    return extent.type == EXTENT_PRODUCERS || extent.type == EXTENT_INDEX;
}

static void walk_segment(struct walk *walk)
{
    walk->inode = check_file_find(walk->check->disk, walk->mapped, walk->info);
    walk->position = SEGMENT_DATA_POSITION;
    walk->offset = walk->info->base_offset;
    walk->chain = walk->info->salt;
    const char *wrong = walk->inode < 0 ? "there is none" : NULL;
    while (wrong == NULL && walk_goes_on(walk)) {
        wrong = walk_extent(walk);
    }
    if (wrong == NULL &&
        (walk->offset != walk->info->end_offset || walk->chain != walk->info->digest)) {
        wrong = "it does not end as the map says";
    }
    wrong = wrong == NULL ? walk_seal(walk) : wrong;
    if (wrong != NULL) {
        walk_fail(walk, wrong);
    }
}

void check_files(struct check *check, uint32_t number)
{
    const struct sim_map_partition *mapped = sim_map_partition(check->map, number);
    struct check_partition *partition = check_of(check, number);
    if (check->faulty) {
        return; /* A file whose write failed is completed from the journal at the next start. */
    }
    for (uint32_t i = 0; i < mapped->segment_count && !check->failed; i++) {
        const struct segment_info *info = &mapped->segments[i].info;
        /* Recovery of an empty open segment forgets the last stream id: a known fault, which shows
         * when the clock goes back meanwhile. */
        if (check->jumped && i > 0 && mapped->segments[i].life != mapped->segments[i - 1].life) {
            partition->row_unsure = true;
        }
        if (info->state == SEGMENT_SEALED && info->base_offset >= partition->walked &&
            !mapped->segments[i].gone) {
            partition->row_lost = partition->row_lost || info->base_offset > partition->walked;
            struct walk walk = {
                .check = check, .partition = partition, .mapped = mapped, .info = info};
            walk_segment(&walk);
            partition->walked = info->end_offset;
        }
    }
}
