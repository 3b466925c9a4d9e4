/* The journals, one after the other; then the segments.
 *
 *     STAT -> OPEN -> SYNC -> SCAN ... -> LOAD ... -> CLOSE -> next journal -> segments
 *
 * They are synced before they are read: after kill -9 what is read may be in a cache only, and must
 * not decide anything before it is durable. */
#include "shard/replay.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/limits.h"

#include <stdio.h>
#include <stdlib.h>

enum replay_state {
    REPLAY_STAT,
    REPLAY_OPEN,
    REPLAY_SYNC,
    REPLAY_SCAN,
    REPLAY_LOAD,
    REPLAY_CLOSE,
    REPLAY_FAILED,
};

static void replay_step(struct completion *done);

void replay_finish(struct replay *replay, enum err err)
{
    completion_fire(replay->reactor, replay->done, err);
}

static void replay_fail(struct replay *replay, enum err err, const char *advice)
{
    snprintf(replay->message, sizeof(replay->message), "cannot read the journal %.300s: %s%s%s",
             replay->journals[replay->journal_at].path, err_text(err), advice[0] != 0 ? ". " : "",
             advice);
    int fd = replay->journals[replay->journal_at].fd;
    replay->err = err;
    if (fd < 0) {
        replay_finish(replay, err);
        return;
    }
    replay->state = REPLAY_FAILED;
    completion_init(&replay->io.done, replay_step);
    io_close(&replay->io, fd);
    io_submit(replay->reactor, &replay->io);
}

enum err replay_read(struct replay *replay, int fd, uint64_t position, uint32_t size)
{
    ASSERT(is_aligned(position, DISK_BLOCK_BYTES) && is_aligned(size, DISK_BLOCK_BYTES));
    if (size > replay->window_capacity) {
        free(replay->window);
        replay->window = aligned_alloc(DISK_BLOCK_BYTES, size);
        replay->window_capacity = replay->window == NULL ? 0 : size;
    }
    if (replay->window == NULL) {
        return ERR_NO_MEMORY;
    }
    replay->window_position = position;
    io_read(&replay->io, fd, replay->window, size, position);
    io_submit(replay->reactor, &replay->io);
    return OK;
}

void replay_count(struct replay *replay, int32_t bytes)
{
    ASSERT(bytes >= 0);
    replay->bytes_read += (uint32_t)bytes;
    stats_add(&replay->reactor->stats, STAT_RECOVERY_READ_BYTES, (uint32_t)bytes);
}

static void replay_next_journal(struct replay *replay)
{
    if (replay->journal_at == replay->journal_count) {
        enum err err = replay_merge(replay);
        if (err != OK) {
            snprintf(replay->message, sizeof(replay->message), "the journals: %s", err_text(err));
            replay_finish(replay, err);
            return;
        }
        replay_survey(replay);
        return;
    }
    struct replay_journal *journal = &replay->journals[replay->journal_at];
    replay->state = REPLAY_STAT;
    completion_init(&replay->io.done, replay_step);
    io_stat(&replay->io, journal->path);
    io_submit(replay->reactor, &replay->io);
}

static void replay_scan_on(struct replay *replay)
{
    const struct replay_journal *journal = &replay->journals[replay->journal_at];
    uint64_t left = journal->size - replay->position;
    uint32_t size = (uint32_t)min_u64(left, JOURNAL_BLOCK_BYTES_MAX);
    replay->state = REPLAY_SCAN;
    enum err err = replay_read(replay, journal->fd, replay->position,
                               (uint32_t)align_up(size, DISK_BLOCK_BYTES));
    if (err != OK) {
        replay_fail(replay, err, "");
    }
}

static void replay_load_on(struct replay *replay)
{
    struct replay_journal *journal = &replay->journals[replay->journal_at];
    uint64_t position = 0;
    uint32_t size;
    enum err err = replay_plan_run(replay, &position, &size);
    if (err != OK) {
        replay_fail(replay, err, "");
        return;
    }
    if (size == 0) {
        replay->state = REPLAY_CLOSE;
        io_close(&replay->io, journal->fd);
    } else {
        replay->state = REPLAY_LOAD;
        io_read(&replay->io, journal->fd, replay->runs->bytes, size, position);
    }
    io_submit(replay->reactor, &replay->io);
}

static void replay_opened(struct replay *replay, int32_t result)
{
    struct replay_journal *journal = &replay->journals[replay->journal_at];
    if (replay->state == REPLAY_STAT) {
        journal->size = replay->io.stat.size & ~(uint64_t)(DISK_BLOCK_BYTES - 1);
        replay->state = REPLAY_OPEN;
        io_open(&replay->io, journal->path,
                IO_OPEN_WRITE | (replay->options.direct ? IO_OPEN_DIRECT : 0U));
    } else {
        journal->fd = result;
        replay->state = REPLAY_SYNC;
        if (MUTANT("trust-the-cache")) {
            completion_fire(replay->reactor, &replay->io.done, OK);
            return;
        }
        io_sync(&replay->io, journal->fd);
    }
    io_submit(replay->reactor, &replay->io);
}

static void replay_step(struct completion *done)
{
    struct io *io = CONTAINER_OF(done, struct io, done);
    struct replay *replay = CONTAINER_OF(io, struct replay, io);
    struct replay_journal *journal = &replay->journals[replay->journal_at];
    int32_t result = done->result;
    if (result < 0) {
        replay_fail(replay, (enum err)result,
                    result == ERR_NOT_FOUND
                        ? "Acked records may be in it: put it back. To go on without them, move "
                          "the folder journal and the file MANIFEST out of the data directory"
                        : "");
        return;
    }
    completion_init(&replay->io.done, replay_step);
    enum err err = OK;
    bool more = false;
    switch ((enum replay_state)replay->state) {
    case REPLAY_STAT:
    case REPLAY_OPEN:
        replay_opened(replay, result);
        return;
    case REPLAY_SYNC:
        replay->position = 0;
        more = journal->size > 0;
        break;
    case REPLAY_SCAN:
        replay_count(replay, result);
        replay->window_size = (uint32_t)result;
        err = replay_scan(replay, &more);
        more = more && result > 0;
        break;
    case REPLAY_LOAD:
        replay_count(replay, result);
        err = replay_take_run(replay, (uint32_t)result);
        if (err == OK) {
            replay_load_on(replay);
            return;
        }
        break;
    case REPLAY_FAILED:
        replay_finish(replay, replay->err);
        return;
    case REPLAY_CLOSE:
        journal->fd = -1;
        replay->journal_at++;
        replay_next_journal(replay);
        return;
    }
    if (err != OK) {
        replay_fail(replay, err, "");
    } else if (more) {
        replay_scan_on(replay);
    } else {
        replay_choose(journal);
        if (journal->size < journal->info.bytes) {
            COVER("the file of a journal is shorter than it was");
            journal->hole = max_u64(journal->hole, journal->last + 1);
        }
        replay->block_at = 0;
        replay_load_on(replay);
    }
}

void replay_start(struct replay *replay, struct reactor *reactor,
                  const struct replay_options *options, const struct manifest *manifest,
                  struct completion *done)
{
    replay->reactor = reactor;
    replay->options = *options;
    replay->manifest = manifest;
    replay->done = done;
    replay->journal_count =
        MUTANT("one-journal") ? min_u32(1, manifest->journal_count) : manifest->journal_count;
    replay->journals = calloc(max_u32(1, replay->journal_count), sizeof(*replay->journals));
    if (replay->journals == NULL) {
        snprintf(replay->message, sizeof(replay->message), "the journals: out of memory");
        replay_finish(replay, ERR_NO_MEMORY);
        return;
    }
    for (uint32_t i = 0; i < replay->journal_count; i++) {
        struct replay_journal *journal = &replay->journals[i];
        journal->info = manifest->journals[i];
        journal->fd = -1;
        (void)snprintf(journal->path, sizeof(journal->path), "%s/journal/%u.jnl", options->data_dir,
                       journal->info.file);
    }
    replay_next_journal(replay);
}

void replay_deinit(struct replay *replay)
{
    for (uint32_t i = 0; i < replay->journal_count && replay->journals != NULL; i++) {
        free(replay->journals[i].blocks);
    }
    while (replay->runs != NULL) {
        struct replay_run *run = replay->runs;
        replay->runs = run->next;
        free(run->bytes);
        free(run);
    }
    free(replay->journals);
    free(replay->entries);
    free(replay->records);
    free(replay->segments);
    free(replay->window);
    *replay = (struct replay){0};
}
