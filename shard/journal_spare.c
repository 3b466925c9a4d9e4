/* The spare journal takes over from one that failed:
 *
 *     failed -> acks only from files, where everything pinned goes now -> nothing is pinned
 *       -> the MANIFEST names the spare -> the old file is unlinked -> the spare is opened, written
 *
 * Not before all is in the files, those that are rebuilt (rebuild.c) included. Until then, and
 * where a full disk left no room for a spare, every commit is direct. Whatever fails on the way, a
 * file that takes what was pinned included, ends the node; so does the spare's own failure. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/limits.h"
#include "core/log.h"
#include "shard/journal.h"
#include "shard/shard_internal.h"

#include <stdio.h>
#include <stdlib.h>

static void spare_leave(struct journal *journal)
{
    journal->replacing = false;
    shard_leave(journal->shard, NULL);
}

/* The second failure: there is no safe way on. */
static void spare_give_up(struct journal *journal, const char *what, const char *file, enum err err)
{
    COVER("the spare journal cannot take over");
    shard_fail(journal->shard, what, file, err);
    spare_leave(journal);
}

/* No record of a segment is in the new one. */
static void spare_forget_records(struct journal *journal)
{
    struct list *node;
    while ((node = list_pop_front(&journal->records)) != NULL) {
        struct segment *segment = CONTAINER_OF(node, struct segment, record_node);
        segment->record_seq = 0;
    }
}

/* For a deliberate bug: what is pinned counts as written. */
static void spare_forget_pins(struct journal *journal)
{
    struct list *node;
    list_for_each (node, &journal->shard->tail_pinned) {
        struct tail_frame *frame = CONTAINER_OF(node, struct tail_frame, in_shard);
        if (frame->journal_seq != 0) {
            tail_let_go(frame, &journal->pinned_memory);
        }
        frame->journal_seq = 0;
    }
    journal->pinned_bytes = 0;
}

static void spare_open_step(struct journal *journal, uint32_t flags);

/* As journal_open() does it: first without O_DIRECT, then with it, if it is wanted. */
static void spare_opened(struct completion *done)
{
    struct journal *journal = CONTAINER_OF(done, struct journal, io.done);
    struct shard *shard = journal->shard;
    if (done->result < 0) {
        spare_give_up(journal, "the spare journal cannot take over from one that failed",
                      journal->path, (enum err)done->result);
        return;
    }
    if (shard->options.direct && journal->fd_cached < 0) {
        journal->fd_cached = done->result;
        spare_open_step(journal, IO_OPEN_DIRECT);
        return;
    }
    COVER("the spare journal takes over");
    if (MUTANT("spare-early")) {
        spare_forget_pins(journal);
    }
    ASSERT(journal->pinned_bytes == 0);
    spare_forget_records(journal);
    journal->fd = done->result;
    journal->fd_cached = shard->options.direct ? journal->fd_cached : journal->fd;
    journal->id = shard->options.spare_id;
    journal->size = shard->options.spare_bytes;
    journal->head = 0;
    journal->seq_next = 1;
    journal->tail_seq = 1;
    journal->done_seq = 0;
    journal->durable_seq = 0;
    journal->plain_seq = 0;
    journal->open_page = NULL;
    journal->sync_wanted = false;
    journal->done_tail_seq = 1;
    journal->durable_tail_seq = 1;
    journal->lap_started_ns = shard->reactor->now_ns;
    journal->failed = false;
    journal->spare_taken = true;
    stats_add(&shard->reactor->stats, STAT_JOURNALS_REPLACED, 1);
    LOG_WARN("the spare journal has taken over core=%u file=%s", shard->reactor->index,
             journal->path);
    spare_leave(journal);
}

static void spare_open_step(struct journal *journal, uint32_t flags)
{
    completion_init(&journal->io.done, spare_opened);
    io_open(&journal->io, journal->path, IO_OPEN_WRITE | flags);
    io_submit(journal->shard->reactor, &journal->io);
}

static void spare_unlinked(struct completion *done)
{
    struct journal *journal = CONTAINER_OF(done, struct journal, io.done);
    const struct shard_options *options = &journal->shard->options;
    MAYBE(done->result < 0); /* The next start looks at it again. */
    (void)snprintf(journal->path, sizeof(journal->path), "%s/journal/%u.jnl", options->data_dir,
                   options->spare_file);
    spare_open_step(journal, options->mapped ? IO_OPEN_MAPPED : 0U);
}

static void spare_named(struct completion *done)
{
    struct journals_change *change = CONTAINER_OF(done, struct journals_change, done);
    struct journal *journal = CONTAINER_OF(change, struct journal, change);
    if (done->result < 0) {
        char path[SHARD_PATH_BYTES];
        (void)snprintf(path, sizeof(path), "%s/MANIFEST", journal->shard->options.data_dir);
        spare_give_up(journal, "the MANIFEST cannot name the spare of a journal that failed", path,
                      (enum err)done->result);
        return;
    }
    journal_close_file(journal);
    completion_init(&journal->io.done, spare_unlinked);
    io_unlink(&journal->io, journal->path);
    io_submit(journal->shard->reactor, &journal->io);
}

static bool spare_may(const struct journal *journal)
{
    if (journal->growing || journal->syncing) {
        return false;
    }
    for (uint32_t i = 0; i < JOURNAL_WRITES_MAX; i++) {
        if (journal->writes[i].state != JOURNAL_WRITE_FREE) {
            return false;
        }
    }
    return journal->pinned_bytes == 0 || MUTANT("spare-early");
}

void journal_replace(struct journal *journal)
{
    struct shard *shard = journal->shard;
    const struct shard_options *options = &shard->options;
    if (!journal->failed || journal->replacing || journal->stopping || shard->stopping ||
        shard->dead || journal->spare_id == 0 || !spare_may(journal)) {
        return;
    }
    journal->replacing = true;
    journal->spare_id = 0; /* Whatever becomes of it. */
    shard_enter(shard, NULL);
    completion_init(&journal->change.done, spare_named);
    journals_use_spare(&journal->change, options->journals, shard->reactor, options->journal_core);
}
