/* See the header. */
#include "tests/sim/inside.h"

#include "core/assert.h"
#include "shard/journal_block.h"
#include "shard/shard_internal.h"

#include <inttypes.h>
#include <stdlib.h>

struct inside {
    struct check *check;
    struct disk *disk;
    struct shard *shard;
    const char *wrong; /* The first contradiction; NULL: none. */
};

static void inside_claim(struct inside *inside, bool holds, const char *wrong)
{
    if (!holds && inside->wrong == NULL) {
        inside->wrong = wrong;
    }
}

/* The open segment of the journal's entry, if it is at work. */
static struct partition *inside_partition_of(const struct shard *shard, uint64_t segment_id)
{
    for (uint32_t i = 0; i < SHARD_BUCKETS; i++) {
        for (struct partition *p = shard->buckets[i]; p != NULL; p = p->next) {
            const struct segment *open = partition_open_segment(p);
            if (open != NULL && open->info.id == segment_id) {
                return p;
            }
        }
    }
    return NULL;
}

/* 9: what a block says of itself, and of the segments in it. */
static void inside_block(struct inside *inside, const struct journal *journal, uint64_t seq,
                         const uint8_t *at, const struct journal_live *live)
{
    struct journal_block_header header;
    bool sound = journal_block_peek(at, journal->id, live->position, &header) == OK &&
                 header.seq == seq && header.length == live->length &&
                 journal_block_check(at, &header) == OK;
    inside_claim(inside, sound, "a live block of the journal is not there any more");
    if (!sound) {
        return;
    }
    inside_claim(inside, header.durable_seq <= journal->durable_seq,
                 "a block of the journal says that a later one is durable");
    inside_claim(inside, header.tail_seq <= journal->tail_seq,
                 "a block of the journal says that more may go than is so");
    struct journal_cursor cursor;
    struct journal_entry entry;
    journal_cursor_init(&cursor, at, &header);
    while (journal_cursor_next(&cursor, &entry)) {
        const struct partition *partition = inside_partition_of(inside->shard, entry.segment_id);
        inside_claim(inside,
                     partition == NULL || entry.durable_end <= partition->high_watermark ||
                         entry.durable_end == partition_open_segment(partition)->info.base_offset,
                     "an entry of the journal says of more than was acked that it is durable");
    }
}

/* 7: from the oldest that recovery may need to the newest, each behind the one before it. */
static void inside_ring(struct inside *inside, const struct journal *journal)
{
    uint64_t first = max_u64(journal->durable_tail_seq, 1);
    const struct journal_live *oldest = &journal->live[first % journal->live_count];
    uint64_t end = 0;
    bool lap = false;
    for (uint64_t seq = first; seq < journal->seq_next; seq++) {
        const struct journal_live *live = &journal->live[seq % journal->live_count];
        bool again = seq > first && live->position < end;
        inside_claim(inside, !again || !lap, "the journal overtakes its own tail");
        lap = lap || again;
        end = live->position + live->length;
        inside_claim(inside, !lap || end <= oldest->position,
                     "the journal writes over a block that may be needed");
    }
}

static void inside_journal(struct inside *inside, const struct journal *journal)
{
    int32_t inode = disk_find(inside->disk, journal->path);
    if (inode < 0 || !journal_is_open(journal)) {
        return;
    }
    inside_ring(inside, journal);
    inside_claim(inside, journal->pinned_bytes <= journal->size,
                 "more is pinned than fits"); /* 11 */
    for (uint64_t seq = max_u64(journal->tail_seq, 1); seq <= journal->done_seq; seq++) {
        const struct journal_live *live = &journal->live[seq % journal->live_count];
        const struct journal_write *write = &journal->writes[seq % JOURNAL_WRITES_MAX];
        if (write->seq == seq && write->state == JOURNAL_WRITE_WRITING) {
            continue; /* Again; and that may fail. */
        }
        uint8_t *at = malloc(live->length);
        ASSERT(at != NULL);
        uint32_t got = disk_read(inside->disk, inode, at, live->length, live->position);
        inside_claim(inside, got == live->length, "the journal's file is too short");
        inside_block(inside, journal, seq, at, live);
        free(at);
        inside_claim(inside,
                     seq > journal->durable_seq ||
                         disk_is_durable(inside->disk, inode, live->position, live->length),
                     "a block of the journal is not as durable as it is taken to be");
    }
}

/* Is this acked frame safe, as its segment promises? */
static bool inside_is_journaled(const struct partition *partition, const struct tail_frame *frame,
                                enum durability durability)
{
    const struct journal *journal = partition->shard->journal;
    uint64_t seq = frame->journal_seq;
    if (durability == DURABILITY_MEMORY || (journal != NULL && journal->failed)) {
        return true;
    }
    return seq >= journal->tail_seq && seq != 0 &&
           seq <= (durability == DURABILITY_DISK ? journal->durable_seq : journal->done_seq);
}

/* 1, 3, 5 and 6, from the end of what the file has. */
static void inside_frames(struct inside *inside, struct partition *partition,
                          const struct segment *segment)
{
    uint64_t end = segment->file_end;
    struct tail_frame *frame = partition->writer.pinned;
    for (; frame != NULL; frame = tail_next(partition, frame)) {
        bool records = frame->offset_end > frame->offset_first;
        inside_claim(inside, frame->offset_first == end && frame->pinned,
                     "what is in no file is not in memory either");
        inside_claim(inside,
                     !records || frame->offset_end > partition->high_watermark ||
                         inside_is_journaled(partition, frame, segment->info.durability),
                     "an acked frame is neither in its file nor in the journal");
        end = frame->offset_end;
    }
    inside_claim(inside, end >= partition->high_watermark, "an acked frame is nowhere");
}

/* 2, 4 and 10: the file itself. */
static void inside_file(struct inside *inside, struct partition *partition,
                        const struct segment *segment)
{
    const struct writer *writer = &partition->writer;
    char path[SHARD_PATH_BYTES];
    segment_path(segment, path);
    int32_t inode = disk_find(inside->disk, path);
    inside_claim(inside, inode >= 0, "the file of an open segment is gone");
    if (inode < 0) {
        return;
    }
    bool disk = segment->info.durability == DURABILITY_DISK;
    inside_claim(inside, disk_name_is_durable(inside->disk, path),
                 "the name of an open segment's file is not durable");
    uint64_t durable = disk ? segment->position_end : SEGMENT_DATA_POSITION;
    /* The seal block is written behind all else, and that may fail. */
    inside_claim(inside,
                 disk_is_durable(inside->disk, inode, 0, DISK_BLOCK_BYTES) &&
                     disk_is_durable(inside->disk, inode, SEGMENT_DATA_POSITION,
                                     (uint32_t)(durable - SEGMENT_DATA_POSITION)),
                 "what an open segment's file has is not durable");
    bool given_back = partition->roll.state == ROLL_SEALING; /* What is behind the trailer. */
    inside_claim(inside,
                 (given_back || writer->allocated_end <= disk_size(inside->disk, inode)) &&
                     writer->position + writer->unwritten_blocks <= writer->allocated_end,
                 "no blocks are kept for what is to be written back");
    disk_protect(inside->disk, inode, SEGMENT_DATA_POSITION, segment->position_end);
}

static void inside_partition(struct inside *inside, struct partition *partition)
{
    const struct segment *segment = partition_open_segment(partition);
    const struct writer *writer = &partition->writer;
    bool works = partition->ready && !partition->damaged && !partition->dropping &&
                 !partition->stopped && !partition->sync_failed && segment != NULL &&
                 segment->file_made && !writer->failed && !writer->broken && !writer->seal_done;
    if (!works) {
        return;
    }
    inside_frames(inside, partition, segment);
    inside_file(inside, partition, segment);
    inside_claim(inside, /* 8 */
                 writer->pinned == NULL || writer->pinned->journal_seq == 0 ||
                     segment->record_seq >= partition->shard->journal->tail_seq,
                 "who the frames in the journal belong to is not in it");
    inside_claim(inside,
                 partition->high_watermark <= writer->submitted_end &&
                     writer->submitted_end <= partition->offset_next,
                 "the high watermark is ahead of what was submitted");
    if (inside->wrong != NULL) {
        check_fail(inside->check,
                   "%s, topic %s, partition %u: high watermark %" PRIu64
                   ", in the file up to %" PRIu64,
                   inside->wrong, partition->name, partition->id.partition,
                   partition->high_watermark, segment->file_end);
    }
}

void inside_look(struct check *check, struct disk *disk, struct shard *shard)
{
    struct inside inside = {.check = check, .disk = disk, .shard = shard};
    for (uint32_t i = 0; i < SHARD_BUCKETS && inside.wrong == NULL; i++) {
        for (struct partition *p = shard->buckets[i]; p != NULL && inside.wrong == NULL;
             p = p->next) {
            inside_partition(&inside, p);
        }
    }
    if (inside.wrong == NULL && shard->journal != NULL) {
        inside_journal(&inside, shard->journal);
        if (inside.wrong != NULL) {
            check_fail(check, "%s, tail %" PRIu64 ", durable tail %" PRIu64 ", next %" PRIu64,
                       inside.wrong, shard->journal->tail_seq, shard->journal->durable_tail_seq,
                       shard->journal->seq_next);
        }
    }
    if (disk_trespassed(disk)) {
        check_fail(check, "something was written over acked bytes");
    }
}
