/* The life of one block of the journal:
 *
 *     FREE -> FILLING (one turn) -> WRITING -> WRITTEN -> (all before it are) -> [SYNCING] -> FREE
 *
 * A block for which somebody waits for the disk is written durably. If a block before it was not,
 * a durable write of this one alone would not cover that: then it is written plainly, and the file
 * is synced when both are there. After the first failure the file is dead for this life: what is
 * pinned goes to the files, durably, and acks go on from there; every commit is direct until the
 * spare takes over (journal_spare.c). The second failure ends the node.
 *
 * A small block that nobody waits for is copied into the page cache, where it survives the process;
 * while it is the newest one, and of one page, more is put into it and it is copied again: as far
 * as processes go that happens wholly or not at all. Such blocks are synced behind, before they are
 * half of the file: until then the space before them does not come back. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/journal.h"
#include "shard/journal_block.h"
#include "shard/shard_internal.h"

#include <string.h>

static void journal_written(struct completion *done);

void journal_submit(struct journal *journal)
{
    struct journal_write *write = journal->filling;
    struct reactor *reactor = journal->shard->reactor;
    journal_put_records(journal);
    journal->filling = NULL;
    /* Without a flush no tail is durable, and no space comes back. */
    write->flush = write->flush || journal_pressure(journal) > JOURNAL_PRESSURE_FULL / 2;
    journal_move_tail(journal);
    write->tail_seq = min_u64(journal->tail_seq, write->seq);
    uint32_t length = (uint32_t)align_up(write->used, DISK_BLOCK_BYTES);
    memset(write->buffer->data + write->used, 0, length - write->used);
    struct journal_block_header header = {
        .flags = write->waits ? JOURNAL_WAITS : 0,
        .journal_id = journal->id,
        .seq = write->seq,
        .position = write->position,
        .length = length,
        .entries = write->entries,
        .durable_seq = MUTANT("durable-seq-ahead") ? write->seq - 1 : journal->durable_seq,
        .tail_seq = write->tail_seq,
        .boot = journal->shard->options.boot,
        .ms = reactor->now_ms,
    };
    journal_block_encode(&header, write->buffer->data);
    if (!write->again) {
        journal_live(journal, write->seq)->length = length;
        if (write->position < journal->head) {
            journal_lap(journal);
        }
        journal->head = write->position + length;
        journal->seq_next++;
    }
    journal->open_page = NULL;
    /* All before this one are durable, or are in flight to be so. */
    bool behind = journal->plain_seq > journal->durable_seq || write->again;
    write->durable = (write->waits || write->flush) && !behind;
    if (!write->durable && !MUTANT("flush-over-unsynced")) {
        journal->plain_seq = write->seq;
    }
    write->cached = !write->durable && !write->waits && length <= JOURNAL_CACHED_BYTES;
    ASSERT(write->cached || !write->again);
    write->state = JOURNAL_WRITE_WRITING;
    completion_init(&write->io.done, journal_written);
    io_write(&write->io, write->cached ? journal->fd_cached : journal->fd, write->buffer->data,
             length, write->position,
             write->durable  ? IO_WRITE_DURABLE
             : write->cached ? IO_WRITE_CACHED
                             : 0U);
    shard_enter(journal->shard, NULL);
    io_submit(reactor, &write->io);
    stats_add(&reactor->stats, STAT_JOURNAL_BLOCKS, 1);
    stats_add(&reactor->stats, STAT_JOURNAL_BYTES, length);
    writeback_allow(journal, write->again ? write->used - write->used_before : length);
}

/* The first failure. Whoever waits for a block gets his frames into the files. */
void journal_fail(struct journal *journal, enum err err)
{
    if (journal->failed) {
        return;
    }
    COVER("the journal fails");
    journal->failed = true;
    LOG_ERROR("the journal cannot be written, small appends go to their files from here on "
              "core=%u file=%s err=%s",
              journal->shard->reactor->index, journal->path, err_name(err));
    const char *what = journal->spare_taken ? "a journal failed, and then its spare"
                       : journal->shard->rebuilding > 0
                           ? "a segment's file failed, and then the journal"
                       : err == ERR_NO_SPACE ? "a block of the journal that exists has no space"
                                             : NULL;
    if (what != NULL) {
        shard_fail(journal->shard, what, journal->path, err);
    }
}

void journal_wake(struct journal *journal)
{
    struct list *node;
    while ((node = list_pop_front(&journal->waiting)) != NULL) {
        commit_kick(CONTAINER_OF(node, struct partition, journal_wait_node));
    }
}

/* Tells the commits of a block; it may be taken again. */
static void journal_release(struct journal *journal, struct journal_write *write)
{
    enum err err = journal->failed ? ERR_STORAGE : OK;
    if (err == OK) {
        journal->done_seq = write->seq;
        journal->done_tail_seq = write->tail_seq;
        journal->sync_wanted = journal->sync_wanted || write->flush;
        if (write->durable) {
            journal->durable_seq = write->seq;
            journal->durable_tail_seq = write->tail_seq;
            journal->sync_wanted = false;
        }
        bool newest = write->seq + 1 == journal->seq_next && journal->filling == NULL;
        bool counted_on = journal->durable_seq >= write->seq ||
                          (journal->syncing && journal->sync_seq >= write->seq);
        bool whole = !journal->shard->options.mapped; /* A copy into a mapped page may be cut. */
        if (newest && !counted_on && whole && write->cached && write->used <= DISK_BLOCK_BYTES) {
            journal->open_page = write;
        }
    }
    write->state = JOURNAL_WRITE_FREE;
    struct list *node;
    while ((node = list_pop_front(&write->commits)) != NULL) {
        commit_journaled(CONTAINER_OF(node, struct commit, journal_node), err);
    }
}

static void journal_synced(struct completion *done);
static void journal_settle(struct journal *journal);

/* In the order of the blocks; false: this one has to wait. */
static bool journal_settle_one(struct journal *journal, struct journal_write *write)
{
    if (write->state != JOURNAL_WRITE_WRITTEN) {
        return false;
    }
    if (write->err != OK && journal->spare_taken && MUTANT("spare-never-fails")) {
        write->err = OK;
    }
    if (write->err != OK) {
        journal_fail(journal, write->err);
    } else if (write->waits && !write->durable && !journal->failed &&
               !MUTANT("flush-over-unsynced")) {
        if (journal->syncing) {
            return false; /* Its end looks here again; an error is told to one sync alone. */
        }
        COVER("a block of the journal waits for a sync");
        write->state = JOURNAL_WRITE_SYNCING;
        completion_init(&write->io.done, journal_synced);
        io_sync(&write->io, journal->fd);
        shard_enter(journal->shard, NULL);
        io_submit(journal->shard->reactor, &write->io);
        return false;
    }
    journal_release(journal, write);
    return true;
}

static void journal_synced_behind(struct completion *done)
{
    struct journal *journal = CONTAINER_OF(done, struct journal, sync_io.done);
    journal->syncing = false;
    if (done->result < 0) {
        journal_fail(journal, (enum err)done->result);
    } else if (journal->sync_seq > journal->durable_seq) {
        journal->durable_seq = journal->sync_seq;
        journal->durable_tail_seq = journal->sync_tail_seq;
    }
    journal_settle(journal);
    shard_leave(journal->shard, NULL);
}

/* Makes durable what is written, for its own sake: commits do not wait for it. */
static void journal_sync_behind(struct journal *journal)
{
    /* A page that is to be written again would change under the sync: soon. */
    bool changes = journal->filling != NULL && journal->filling->again;
    /* An error is told to one sync alone: never two at once. */
    bool synced = journal->writes[0].state == JOURNAL_WRITE_SYNCING ||
                  journal->writes[1].state == JOURNAL_WRITE_SYNCING;
    if (journal->syncing || synced || changes || !journal_is_open(journal) ||
        journal->done_seq <= journal->durable_seq) {
        return;
    }
    COVER("blocks of the journal are synced behind");
    journal->syncing = true;
    journal->sync_wanted = false;
    journal->open_page = NULL; /* What is said to be durable is written no more. */
    journal->sync_seq = journal->done_seq;
    journal->sync_tail_seq = journal->done_tail_seq;
    completion_init(&journal->sync_io.done, journal_synced_behind);
    io_sync(&journal->sync_io, journal->fd);
    shard_enter(journal->shard, NULL);
    io_submit(journal->shard->reactor, &journal->sync_io);
}

/* Would a sync give space back, and is that half of the file? */
static bool journal_sync_is_due(const struct journal *journal)
{
    return journal->done_tail_seq > journal->durable_tail_seq &&
           journal_distance(journal, journal->durable_tail_seq) > journal->size / 2;
}

static void journal_settle(struct journal *journal)
{
    for (;;) {
        /* The older one of the two, or the only one in flight. */
        struct journal_write *write = &journal->writes[journal->seq_next % JOURNAL_WRITES_MAX];
        if (write->state == JOURNAL_WRITE_FREE || write->state == JOURNAL_WRITE_FILLING ||
            (write->state == JOURNAL_WRITE_WRITING && MUTANT("journal-order"))) {
            write = &journal->writes[(journal->seq_next + 1) % JOURNAL_WRITES_MAX];
        }
        if (write->state == JOURNAL_WRITE_FREE || write->state == JOURNAL_WRITE_FILLING ||
            !journal_settle_one(journal, write)) {
            break;
        }
    }
    journal_move_tail(journal);
    if (journal->sync_wanted || journal_sync_is_due(journal)) {
        journal_sync_behind(journal);
    }
    journal_wake(journal);
    journal_replace(journal);
    writeback_kick(journal);
}

static void journal_written(struct completion *done)
{
    struct journal_write *write = CONTAINER_OF(done, struct journal_write, io.done);
    struct journal *journal = write->journal;
    write->state = JOURNAL_WRITE_WRITTEN;
    write->err = done->result < 0 ? (enum err)done->result : OK;
    journal_settle(journal);
    shard_leave(journal->shard, NULL);
}

static void journal_synced(struct completion *done)
{
    struct journal_write *write = CONTAINER_OF(done, struct journal_write, io.done);
    struct journal *journal = write->journal;
    if (done->result < 0 && MUTANT("sync-again")) {
        completion_init(&write->io.done, journal_synced);
        io_sync(&write->io, journal->fd);
        io_submit(journal->shard->reactor, &write->io);
        return;
    }
    write->state = JOURNAL_WRITE_WRITTEN;
    write->durable = true;
    write->err = done->result < 0 ? (enum err)done->result : OK;
    journal_settle(journal);
    shard_leave(journal->shard, NULL);
}

void journal_work(struct completion *work)
{
    struct journal *journal = CONTAINER_OF(work, struct journal, work);
    bool tail = journal->durable_tail_seq < journal->tail_seq || journal_is_held(journal);
    if (tail && journal->durable_tail_seq < journal->done_tail_seq) {
        journal_sync_behind(journal); /* A block that says so is there already. */
    }
    tail = tail && !journal->syncing;
    bool more = journal->records_due || tail;
    if (journal->filling == NULL && more && journal_is_open(journal)) {
        (void)journal_begin(journal, JOURNAL_RECORD_BYTES, tail);
    }
    struct journal_write *write = journal->filling;
    if (write != NULL && (write->entries > 0 || (more && journal_is_open(journal)))) {
        write->flush = write->flush || list_empty(&write->commits);
        journal_submit(journal);
    } else if (write != NULL) {
        write->state = JOURNAL_WRITE_FREE;
        journal->filling = NULL;
        journal_replace(journal);
    }
    shard_leave(journal->shard, NULL);
}

void journal_kick(struct journal *journal)
{
    journal_move_tail(journal);
    if (!journal->work.queued && journal_is_open(journal)) {
        shard_enter(journal->shard, NULL);
        reactor_defer(journal->shard->reactor, TURN_JOURNAL, &journal->work);
    }
    writeback_kick(journal);
}
