/* The life of one block of the journal:
 *
 *     FREE -> FILLING (one turn) -> WRITING -> WRITTEN -> (all before it are) -> [SYNCING] -> FREE
 *
 * A block for which somebody waits for the disk is written durably. If a block before it was not,
 * a durable write of this one alone would not cover that: then it is written plainly, and the file
 * is synced when both are there. After the first failure the file is dead for this life: what is
 * pinned goes to the files, durably, and acks go on from there; every commit is direct until the
 * spare takes over (journal_spare.c), or to the end. */
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
    write->waits = write->waits || journal_pressure(journal) > JOURNAL_PRESSURE_FULL / 2;
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
    journal_live(journal, write->seq)->length = length;
    if (write->position < journal->head) {
        journal_lap(journal);
    }
    journal->head = write->position + length;
    journal->seq_next++;
    /* All before this one are durable, or are in flight to be so. */
    write->durable = write->waits && journal->plain_seq <= journal->durable_seq;
    if (!write->durable && !MUTANT("flush-over-unsynced")) {
        journal->plain_seq = write->seq;
    }
    write->state = JOURNAL_WRITE_WRITING;
    completion_init(&write->io.done, journal_written);
    io_write(&write->io, journal->fd, write->buffer->data, length, write->position,
             write->durable ? IO_WRITE_DURABLE : 0U);
    shard_enter(journal->shard, NULL);
    io_submit(reactor, &write->io);
    stats_add(&reactor->stats, STAT_JOURNAL_BLOCKS, 1);
    stats_add(&reactor->stats, STAT_JOURNAL_BYTES, length);
    writeback_allow(journal, length);
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
}

static void journal_wake(struct journal *journal)
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
        if (write->durable) {
            journal->durable_seq = write->seq;
            journal->durable_tail_seq = write->tail_seq;
        }
    }
    write->state = JOURNAL_WRITE_FREE;
    struct list *node;
    while ((node = list_pop_front(&write->commits)) != NULL) {
        commit_journaled(CONTAINER_OF(node, struct commit, journal_node), err);
    }
}

static void journal_synced(struct completion *done);

/* In the order of the blocks; false: this one has to wait. */
static bool journal_settle_one(struct journal *journal, struct journal_write *write)
{
    if (write->state != JOURNAL_WRITE_WRITTEN) {
        return false;
    }
    if (write->err != OK) {
        journal_fail(journal, write->err);
    } else if (write->waits && !write->durable && !journal->failed &&
               !MUTANT("flush-over-unsynced")) {
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

static void journal_settle(struct journal *journal)
{
    for (;;) {
        /* The older one of the two, or the only one in flight. */
        struct journal_write *write = &journal->writes[journal->seq_next % JOURNAL_WRITES_MAX];
        if (write->state == JOURNAL_WRITE_FREE || write->state == JOURNAL_WRITE_FILLING) {
            write = &journal->writes[(journal->seq_next + 1) % JOURNAL_WRITES_MAX];
        }
        if (write->state == JOURNAL_WRITE_FREE || write->state == JOURNAL_WRITE_FILLING ||
            !journal_settle_one(journal, write)) {
            break;
        }
    }
    journal_move_tail(journal);
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
    bool more = journal->records_due || tail;
    if (journal->filling == NULL && more && journal_is_open(journal)) {
        (void)journal_begin(journal, JOURNAL_RECORD_BYTES, tail);
    }
    struct journal_write *write = journal->filling;
    if (write != NULL && (write->entries > 0 || (more && journal_is_open(journal)))) {
        write->waits = write->waits || list_empty(&write->commits);
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
        reactor_defer(journal->shard->reactor, TURN_COMMIT, &journal->work);
    }
    writeback_kick(journal);
}
