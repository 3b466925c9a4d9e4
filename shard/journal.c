/* See the header: where the next block goes, what goes into it, and which blocks are still needed.
 * journal_write.c writes them. */
#include "shard/journal.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/journal_block.h"
#include "shard/shard_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SPARE_BYTES_MIN = 2 * DISK_BLOCK_BYTES,
    SPARE_BYTES_MAX = 256 << 10,
};

/* Kept free for blocks that move the tail: they carry it, or the records that hold it. */
static uint64_t journal_spare(const struct journal *journal)
{
    uint64_t share = journal->size / 16 & ~(uint64_t)(DISK_BLOCK_BYTES - 1);
    return max_u64(SPARE_BYTES_MIN, min_u64(SPARE_BYTES_MAX, share));
}

struct journal_live *journal_live(struct journal *journal, uint64_t seq)
{
    return &journal->live[seq % journal->live_count];
}

bool journal_is_open(const struct journal *journal)
{
    return journal != NULL && journal->fd >= 0 && !journal->failed && !journal->stopping;
}

/* Moves the tail over blocks that nobody needs; never over the newest one, whose header recovery
 * reads, nor over what is not written yet. */
void journal_move_tail(struct journal *journal)
{
    while (journal->tail_seq <= journal->done_seq && journal->tail_seq + 1 < journal->seq_next) {
        const struct journal_live *live = journal_live(journal, journal->tail_seq);
        bool recorded = live->records > 0 && !MUTANT("record-left-behind");
        if ((live->pins > 0 || recorded) && !MUTANT("tail-too-early")) {
            break;
        }
        journal->tail_seq++;
    }
}

/* Room for one block, and where: behind the newest one, or at the start of the file. */
static uint64_t journal_room(const struct journal *journal, uint64_t *position)
{
    *position = journal->head;
    if (journal->seq_next == 1) {
        return journal->size;
    }
    uint64_t tail =
        MUTANT("reuse-before-tail-durable") ? journal->tail_seq : journal->durable_tail_seq;
    uint64_t oldest = journal->live[tail % journal->live_count].position;
    if (journal->seq_next - tail >= journal->live_count) {
        return 0;
    }
    if (journal->head <= oldest) {
        return oldest - journal->head;
    }
    uint64_t here = journal->size - journal->head;
    if (here >= journal->size / 8 || here >= oldest) {
        return here;
    }
    *position = 0;
    return oldest;
}

static void journal_grown(struct completion *done)
{
    struct journal *journal = CONTAINER_OF(done, struct journal, io.done);
    journal->growing = false;
    journal_replace(journal);
    if (done->result == OK) {
        COVER("the journal grows");
        journal->size += journal->io.allocate.size;
    }
    shard_leave(journal->shard, NULL);
}

static void journal_grow(struct journal *journal)
{
    if (journal->growing || journal->size >= journal->size_max || !journal_is_open(journal)) {
        return;
    }
    journal->growing = true;
    completion_init(&journal->io.done, journal_grown);
    io_allocate(&journal->io, journal->fd, journal->size,
                min_u64(journal->size, journal->size_max - journal->size));
    shard_enter(journal->shard, NULL);
    io_submit(journal->shard->reactor, &journal->io);
}

/* It goes round again: a short lap says that it is small for what is written. */
void journal_lap(struct journal *journal)
{
    uint64_t now_ns = journal->shard->reactor->now_ns;
    bool quick = now_ns - journal->lap_started_ns < JOURNAL_LAP_NS_MIN;
    COVER("the journal begins a lap");
    journal->lap_started_ns = now_ns;
    if (quick) {
        journal_grow(journal);
    }
}

static uint32_t journal_buffer_bytes(const struct journal *journal)
{
    return (uint32_t)min_u64(JOURNAL_BUFFER_BYTES, journal->size_max / 4);
}

/* Until the end of the turn. */
static void journal_fill(struct journal *journal, struct journal_write *write)
{
    write->state = JOURNAL_WRITE_FILLING;
    write->err = OK;
    write->waits = false;
    write->flush = false;
    list_init(&write->commits);
    journal->filling = write;
    if (!journal->work.queued) {
        shard_enter(journal->shard, NULL);
        reactor_defer(journal->shard->reactor, TURN_JOURNAL, &journal->work);
    }
}

/* Begins a block of at least `bytes`; false: no write is free, or there is no room or memory. */
bool journal_begin(struct journal *journal, uint32_t bytes, bool spare)
{
    struct journal_write *write = &journal->writes[journal->seq_next % JOURNAL_WRITES_MAX];
    struct memory *memory = journal->shard->reactor->memory;
    ASSERT(journal->filling == NULL);
    if (write->state != JOURNAL_WRITE_FREE) {
        return false;
    }
    uint64_t position;
    uint64_t room = journal_room(journal, &position);
    room -= spare ? 0 : min_u64(room, journal_spare(journal));
    room = min_u64(room, journal_buffer_bytes(journal));
    if (room < align_up(JOURNAL_BLOCK_HEADER_BYTES + (uint64_t)bytes, DISK_BLOCK_BYTES)) {
        return false;
    }
    if (write->buffer == NULL) {
        write->buffer = block_acquire(memory, MEMORY_RECOVERY, journal_buffer_bytes(journal));
    }
    if (write->buffer == NULL) {
        return false;
    }
    write->seq = journal->seq_next;
    write->position = position;
    write->room = (uint32_t)(room & ~(uint64_t)(DISK_BLOCK_BYTES - 1));
    write->used = JOURNAL_BLOCK_HEADER_BYTES;
    write->entries = 0;
    write->again = false;
    write->used_before = 0;
    journal->open_page = NULL;
    *journal_live(journal, write->seq) = (struct journal_live){.position = position};
    journal_fill(journal, write);
    return true;
}

bool journal_reopen(struct journal *journal, uint32_t bytes)
{
    struct journal_write *write = journal->open_page;
    if (write == NULL || write->used + bytes > DISK_BLOCK_BYTES) {
        return false;
    }
    ASSERT(journal->filling == NULL);
    ASSERT(write->state == JOURNAL_WRITE_FREE);
    ASSERT(write->seq + 1 == journal->seq_next);
    ASSERT(write->seq > journal->durable_seq);
    write->again = true;
    write->used_before = write->used;
    write->room = DISK_BLOCK_BYTES;
    journal_fill(journal, write);
    return true;
}

static void journal_carry(struct journal *journal, uint32_t limit);

static bool journal_fits(const struct journal *journal, uint32_t bytes)
{
    const struct journal_write *write = journal->filling;
    return write != NULL && write->room - write->used >= bytes;
}

enum journal_answer journal_offer(struct partition *partition, uint32_t bytes)
{
    struct shard *shard = partition->shard;
    struct journal *journal = shard->journal;
    uint32_t need = journal_entry_size(bytes) + JOURNAL_RECORD_BYTES;
    if (!journal_is_open(journal) || bytes >= JOURNAL_FRAME_BYTES || !tail_room(shard) ||
        need > journal_buffer_bytes(journal) / 2) {
        return JOURNAL_DIRECT;
    }
    uint32_t pressure = journal_pressure(journal);
    if (pressure > JOURNAL_PRESSURE_FULL * 3 / 4 && bytes >= JOURNAL_FRAME_BYTES / 4) {
        return JOURNAL_DIRECT;
    }
    bool disk = partition_open_segment(partition)->info.durability == DURABILITY_DISK;
    bool alone = disk && journal->filling != NULL && journal->filling->again;
    if (journal_fits(journal, need) && !alone) {
        return JOURNAL_TAKE;
    }
    if (journal->filling != NULL && journal->filling->entries > 0) {
        journal_submit(journal);
    }
    if (journal->filling == NULL && !disk && journal_reopen(journal, need)) {
        return JOURNAL_TAKE;
    }
    if (journal->filling == NULL && journal_begin(journal, need, false)) {
        uint32_t room = journal->filling->room - journal->filling->used;
        journal_carry(journal, min_u32(room / 4, room - need));
        return JOURNAL_TAKE;
    }
    if (journal->writes[journal->seq_next % JOURNAL_WRITES_MAX].state == JOURNAL_WRITE_FREE ||
        journal->filling != NULL) {
        COVER("the journal is full");
        journal_grow(journal);
        journal_kick(journal);
        return JOURNAL_DIRECT;
    }
    if (!list_linked(&partition->journal_wait_node)) {
        list_push_back(&journal->waiting, &partition->journal_wait_node);
    }
    return JOURNAL_WAIT;
}

static void journal_put(struct journal *journal, const struct journal_entry *entry)
{
    struct journal_write *write = journal->filling;
    write->used += journal_entry_encode(entry, write->buffer->data + write->used);
    write->entries++;
    ASSERT(write->used <= write->room);
}

/* The newest record of the segment goes into the block that is filled. */
static void journal_put_record(struct journal *journal, struct segment *segment)
{
    const struct partition *partition = segment->partition;
    uint64_t seq = journal->filling->seq;
    bool disk = segment->info.durability == DURABILITY_DISK;
    uint8_t body[SEGMENT_RECORD_BYTES];
    struct segment_record record = {
        .segment_id = segment->info.id,
        .topic = partition->id.topic,
        .partition = partition->id.partition,
        .epoch = segment->info.epoch,
        .base_offset = segment->info.base_offset,
        .salt = segment->info.salt,
        .state = SEGMENT_OPEN,
        .durability = (uint8_t)segment->info.durability,
        .replication_factor = segment->info.replication_factor,
        .ack_quorum = segment->info.ack_quorum,
        .file_generation = segment->file_generation,
        .boot = partition->shard->options.boot,
        .log_start = partition->log_start,
        .timestamp_max = segment->timestamp_max,
        /* What is not durable in the file is no evidence. */
        .checkpoint_offset = disk ? segment->file_end : segment->info.base_offset,
        .checkpoint_position = disk ? segment->position_end : 0,
        .checkpoint_chain = disk ? segment->file_chain : segment->info.salt,
        .index_position = disk ? segment->index_position : 0,
    };
    segment_record_encode(&record, body);
    struct journal_entry entry = {
        .type = JOURNAL_SEGMENT,
        .segment_id = segment->info.id,
        .durable_end = MUTANT("checkpoint-says-nothing") ? 0 : commit_durable_end(partition),
        .staged_end = max_u64(partition->writer.journaled_end, segment->info.base_offset),
        .body = bytes_of(body, SEGMENT_RECORD_BYTES),
    };
    journal_put(journal, &entry);
    if (segment->record_seq != 0) {
        struct journal_live *before = journal_live(journal, segment->record_seq);
        ASSERT(before->records > 0);
        before->records--;
    }
    segment->record_seq = seq;
    journal_live(journal, seq)->records++;
    list_remove(&segment->record_node);
    list_push_back(&journal->records, &segment->record_node);
    list_remove(&segment->dirty_node);
}

void journal_add(struct partition *partition, struct commit *commit)
{
    struct journal *journal = partition->shard->journal;
    struct journal_write *write = journal->filling;
    struct segment *segment = partition_open_segment(partition);
    struct tail_frame *frame = commit->frame;
    if (segment->record_seq == 0) {
        journal_put_record(journal, segment);
    }
    struct journal_entry entry = {
        .type = JOURNAL_FRAME,
        .segment_id = segment->info.id,
        .durable_end = commit_durable_end(partition),
        .staged_end = frame->offset_end,
        .body = bytes_of(frame->block->data + frame->frame_at, frame->frame_bytes),
    };
    journal_put(journal, &entry);
    frame->journal_seq = write->seq;
    journal_live(journal, write->seq)->pins++;
    journal->pinned_bytes += frame->frame_bytes;
    tail_hold(frame, &journal->pinned_memory);
    commit->in_journal = true;
    shard_enter(partition->shard, partition);
    list_push_back(&write->commits, &commit->journal_node);
    write->waits = write->waits || (segment->info.durability == DURABILITY_DISK &&
                                    !MUTANT("journal-without-flush"));
    struct stats *stats = &partition->shard->reactor->stats;
    stats_add(stats, STAT_JOURNAL_FRAMES, 1);
}

void journal_unpin(struct journal *journal, struct tail_frame *frame)
{
    struct journal_live *live = journal_live(journal, frame->journal_seq);
    ASSERT(live->pins > 0);
    live->pins--;
    frame->journal_seq = 0;
    journal->pinned_bytes -= frame->frame_bytes;
    tail_let_go(frame, &journal->pinned_memory);
    journal_replace(journal);
}

static void journal_tick(struct completion *done)
{
    struct timer *timer = CONTAINER_OF(done, struct timer, done);
    struct journal *journal = CONTAINER_OF(timer, struct journal, timer);
    journal->records_due = true;
    journal_kick(journal);
}

void journal_touch(struct segment *segment)
{
    struct journal *journal = segment->partition->shard->journal;
    if (!journal_is_open(journal) || list_linked(&segment->dirty_node)) {
        return;
    }
    list_push_back(&journal->dirty, &segment->dirty_node);
    if (!timer_running(&journal->timer)) {
        timer_start(journal->shard->reactor, &journal->timer, JOURNAL_RECORD_MS * NS_PER_MS);
    }
}

void journal_tell(struct segment *segment)
{
    struct journal *journal = segment->partition->shard->journal;
    journal_touch(segment);
    if (journal_is_open(journal)) {
        journal->records_due = true;
        journal_kick(journal);
    }
}

void journal_forget(struct segment *segment)
{
    struct journal *journal = segment->partition->shard->journal;
    list_remove(&segment->dirty_node);
    list_remove(&segment->record_node);
    if (journal != NULL && segment->record_seq != 0) {
        struct journal_live *live = journal_live(journal, segment->record_seq);
        ASSERT(live->records > 0);
        live->records--;
    }
    segment->record_seq = 0;
}

/* Where they meet it is all of the file. */
uint64_t journal_distance(const struct journal *journal, uint64_t seq)
{
    uint64_t position = journal->live[seq % journal->live_count].position;
    return journal->head > position ? journal->head - position
                                    : journal->size - position + journal->head;
}

static uint64_t journal_span(const struct journal *journal)
{
    return journal->seq_next == 1 ? 0 : journal_distance(journal, journal->tail_seq);
}

bool journal_is_held(const struct journal *journal)
{
    uint64_t position;
    const struct journal_live *live = &journal->live[journal->tail_seq % journal->live_count];
    return journal->tail_seq <= journal->done_seq && journal->tail_seq + 1 < journal->seq_next &&
           live->pins == 0 && live->records > 0 &&
           journal_room(journal, &position) <= 2 * journal_spare(journal);
}

uint32_t journal_pressure(const struct journal *journal)
{
    uint64_t pinned = journal->pinned_bytes * 2 * JOURNAL_PRESSURE_FULL / journal->size;
    uint64_t span = journal_span(journal) * JOURNAL_PRESSURE_FULL / journal->size;
    uint64_t memory =
        journal->pinned_memory * 2 * JOURNAL_PRESSURE_FULL / journal->shard->tail_bytes_max;
    return (uint32_t)min_u64(JOURNAL_PRESSURE_FULL, max_u64(pinned, max_u64(span, memory)));
}

/* Carries on, into the block that is filled, the records of the older half of the journal, as far
 * as `limit` bytes go: in time, so that none of them holds the tail when space is short. */
static void journal_carry(struct journal *journal, uint32_t limit)
{
    while (limit >= JOURNAL_RECORD_BYTES && !list_empty(&journal->records) &&
           journal_fits(journal, JOURNAL_RECORD_BYTES)) {
        struct segment *segment = CONTAINER_OF(journal->records.next, struct segment, record_node);
        if (segment->record_seq == journal->filling->seq ||
            journal_distance(journal, segment->record_seq) <= journal->size / 2) {
            break;
        }
        COVER("a segment record is carried on");
        journal_put_record(journal, segment);
        limit -= JOURNAL_RECORD_BYTES;
    }
}

void journal_put_records(struct journal *journal)
{
    journal_carry(journal, UINT32_MAX);
    while (journal->records_due && !list_empty(&journal->dirty) && !journal_is_held(journal) &&
           journal_fits(journal, JOURNAL_RECORD_BYTES)) {
        journal_put_record(journal, CONTAINER_OF(journal->dirty.next, struct segment, dirty_node));
    }
    journal->records_due = journal->records_due && !list_empty(&journal->dirty);
}

static void journal_open_step(struct journal *journal, uint32_t flags);

/* First without O_DIRECT, then with it, if it is wanted. */
static void journal_opened(struct completion *done)
{
    struct journal *journal = CONTAINER_OF(done, struct journal, io.done);
    bool direct = journal->shard->options.direct;
    if (done->result < 0) {
        journal_fail(journal, (enum err)done->result);
        journal_replace(journal);
    } else if (direct && journal->fd_cached < 0) {
        journal->fd_cached = done->result;
        journal_open_step(journal, IO_OPEN_DIRECT);
    } else {
        journal->fd = done->result;
        journal->fd_cached = direct ? journal->fd_cached : journal->fd;
    }
    shard_leave(journal->shard, NULL);
}

static void journal_open_step(struct journal *journal, uint32_t flags)
{
    completion_init(&journal->io.done, journal_opened);
    io_open(&journal->io, journal->path, IO_OPEN_WRITE | flags);
    shard_enter(journal->shard, NULL);
    io_submit(journal->shard->reactor, &journal->io);
}

enum err journal_open(struct shard *shard)
{
    const struct shard_options *options = &shard->options;
    if (options->journal_id == 0) {
        return OK;
    }
    struct journal *journal = calloc(1, sizeof(*journal));
    if (journal == NULL) {
        return ERR_NO_MEMORY;
    }
    *journal = (struct journal){
        .shard = shard,
        .fd = -1,
        .fd_cached = -1,
        .id = options->journal_id,
        .size = options->journal_bytes,
        .size_max = max_u64(options->journal_bytes, options->journal_bytes_max),
        .spare_id = options->spare_id,
        .seq_next = 1,
        .tail_seq = 1,
        .done_tail_seq = 1,
        .durable_tail_seq = 1,
        .lap_started_ns = shard->reactor->now_ns,
    };
    uint64_t most = max_u64(journal->size_max, options->spare_bytes);
    journal->live_count = (uint32_t)(most / DISK_BLOCK_BYTES);
    journal->live = calloc(journal->live_count, sizeof(*journal->live));
    if (journal->live == NULL) {
        free(journal);
        return ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < JOURNAL_WRITES_MAX; i++) {
        journal->writes[i].journal = journal;
    }
    list_init(&journal->waiting);
    list_init(&journal->records);
    list_init(&journal->dirty);
    list_init(&journal->behind);
    gather_init(journal);
    completion_init(&journal->work, journal_work);
    completion_init(&journal->writeback_work, writeback_work);
    timer_init(&journal->timer, journal_tick);
    shard->journal = journal;
    (void)snprintf(journal->path, sizeof(journal->path), "%s/journal/%u.jnl", options->data_dir,
                   options->journal_file);
    journal_open_step(journal, options->mapped ? IO_OPEN_MAPPED : 0U);
    return OK;
}

void journal_close_file(struct journal *journal)
{
    if (journal->fd_cached >= 0 && journal->fd_cached != journal->fd) {
        descriptor_close(journal->shard, journal->fd_cached);
    }
    if (journal->fd >= 0) {
        descriptor_close(journal->shard, journal->fd);
    }
    journal->fd = -1;
    journal->fd_cached = -1;
}

void journal_stop(struct shard *shard)
{
    struct journal *journal = shard->journal;
    if (journal == NULL) {
        return;
    }
    timer_stop(shard->reactor, &journal->timer);
    gather_stop(journal);
    journal->stopping = true;
    for (uint32_t i = 0; i < JOURNAL_WRITES_MAX; i++) {
        if (journal->writes[i].buffer != NULL) {
            block_unref(journal->writes[i].buffer);
            journal->writes[i].buffer = NULL;
        }
    }
    journal_close_file(journal);
}

void journal_close(struct shard *shard)
{
    if (shard->journal != NULL) {
        free(shard->journal->live);
        free(shard->journal);
        shard->journal = NULL;
    }
}
