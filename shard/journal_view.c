/* See the header. What counts is decided by replay_scan.c; here nothing waits. */
#include "shard/journal_view.h"

#include "core/assert.h"
#include "core/limits.h"
#include "shard/replay.h"
#include "shard/superblock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VIEW_PROBLEMS_MAX = 64,
    VIEW_TRIES = 8, /* A running node writes while it is read. */
};

/* One segment, to be found by its id. */
struct view_row {
    uint64_t segment_id;
    uint32_t index;
};

struct journal_view {
    struct journal_view_io io;
    struct manifest manifest;
    struct replay replay;
    struct view_row *rows; /* Of replay.segments, by id. */
    struct journal_view_problem problems[VIEW_PROBLEMS_MAX];
    uint32_t problem_count;
};

static const char advice_put_back[] =
    "put it back from a copy: acked records may be in the journals; to go on without them, move "
    "MANIFEST and the folder journal out of the data directory";
static const char advice_disk[] = "look at the disk, then try again";

static void view_problem(struct journal_view *view, const char *name, const char *problem,
                         const char *advice)
{
    if (view->problem_count == VIEW_PROBLEMS_MAX) {
        return;
    }
    struct journal_view_problem *made = &view->problems[view->problem_count++];
    *made = (struct journal_view_problem){.problem = problem, .advice = advice};
    (void)snprintf(made->name, sizeof(made->name), "%s", name);
}

/* What became of reading a file, as a problem; OK then, unless there is no memory. */
static enum err view_failed(struct journal_view *view, const char *name, enum err err)
{
    if (err == ERR_NO_MEMORY) {
        return err;
    }
    bool damaged = err == ERR_CORRUPT || err == ERR_FOREIGN || err == ERR_NOT_FOUND;
    const char *problem = err == ERR_NOT_FOUND ? "it is missing" : err_text(err);
    const char *advice = err == ERR_VERSION ? "a newer floe wrote it: run that version"
                         : damaged          ? advice_put_back
                                            : advice_disk;
    view_problem(view, name, problem, advice);
    return OK;
}

/* The MANIFEST is of this directory, unless there is none to compare with. */
static enum err view_directory_id(struct journal_view *view, const uint8_t *header, uint8_t id[16])
{
    uint8_t *slots = calloc(SUPERBLOCK_SLOTS, SUPERBLOCK_BYTES);
    struct superblock superblock;
    uint64_t boot;
    if (slots == NULL) {
        return ERR_NO_MEMORY;
    }
    int64_t got = view->io.read(view->io.context, "superblock", 0, slots,
                                SUPERBLOCK_SLOTS * SUPERBLOCK_BYTES);
    enum err err = got < 0 ? (enum err)got : superblock_choose(slots, &superblock, &boot);
    free(slots);
    memcpy(id, err == OK ? superblock.directory_id : header + 16, 16);
    return err == OK ? OK : view_failed(view, "superblock", err);
}

/* Without a MANIFEST there is no journal; unless it got lost. */
static void view_no_manifest(struct journal_view *view)
{
    for (uint32_t i = 0; i < MANIFEST_JOURNALS_MAX; i++) {
        uint8_t magic[4] = {0};
        char name[32];
        (void)snprintf(name, sizeof(name), "journal/%u.jnl", i);
        int64_t got = view->io.read(view->io.context, name, 0, magic, sizeof(magic));
        if (got == (int64_t)sizeof(magic) && memcmp(magic, "FJNL", sizeof(magic)) == 0) {
            view_problem(view, "MANIFEST", "it is missing, and there are journals",
                         advice_put_back);
            return;
        }
        if (got == ERR_NOT_FOUND) {
            return;
        }
    }
}

static enum err view_read_manifest(struct journal_view *view)
{
    int64_t size = view->io.size(view->io.context, "MANIFEST");
    if (size == ERR_NOT_FOUND) {
        view_no_manifest(view);
        return OK;
    }
    if (size < (int64_t)MANIFEST_HEADER_BYTES || size > INT32_MAX) {
        return view_failed(view, "MANIFEST", size < 0 ? (enum err)size : ERR_FOREIGN);
    }
    uint8_t *image = malloc((size_t)size);
    uint8_t id[16];
    if (image == NULL) {
        return ERR_NO_MEMORY;
    }
    int64_t got = view->io.read(view->io.context, "MANIFEST", 0, image, (uint32_t)size);
    enum err err = got < 0 ? (enum err)got : got < size ? ERR_CORRUPT : OK;
    if (err == OK) {
        err = view_directory_id(view, image, id);
    }
    if (err == OK) {
        err = manifest_decode(bytes_of(image, (uint32_t)size), id, &view->manifest);
    }
    free(image);
    if (err != OK) {
        manifest_deinit(&view->manifest);
        return view_failed(view, "MANIFEST", err);
    }
    return OK;
}

/* Which blocks are whole. */
static enum err view_scan(struct journal_view *view, const char *name)
{
    struct replay *replay = &view->replay;
    struct replay_journal *journal = &replay->journals[replay->journal_at];
    int64_t got = view->io.size(view->io.context, name);
    if (got < 0) {
        return (enum err)got;
    }
    journal->size = (uint64_t)got & ~(uint64_t)(DISK_BLOCK_BYTES - 1);
    replay->position = 0;
    bool more = journal->size > 0;
    while (more) {
        uint64_t left = journal->size - replay->position;
        got = view->io.read(view->io.context, name, replay->position, replay->window,
                            (uint32_t)min_u64(left, JOURNAL_BLOCK_BYTES_MAX));
        if (got < 0) {
            return (enum err)got;
        }
        replay->window_position = replay->position;
        replay->window_size = (uint32_t)got;
        uint64_t before = replay->position;
        enum err err = replay_scan(replay, &more);
        if (err != OK) {
            return err;
        }
        more = more && replay->position > before;
    }
    replay_choose(journal);
    return OK;
}

static enum err view_read_journal(struct journal_view *view, const char *name)
{
    struct replay *replay = &view->replay;
    enum err err = view_scan(view, name);
    replay->block_at = 0;
    while (err == OK) {
        uint64_t position;
        uint32_t size;
        err = replay_plan_run(replay, &position, &size);
        if (err != OK || size == 0) {
            break;
        }
        int64_t got = view->io.read(view->io.context, name, position, replay->runs->bytes, size);
        err = got < 0 ? (enum err)got : replay_take_run(replay, (uint32_t)got);
    }
    if (err == OK && replay->journals[replay->journal_at].hole != 0) {
        view_problem(view, name, "a part of it that was durable is not there any more",
                     "records that were acked shortly before the last crash may be lost; start "
                     "floe: it says of which segments, and goes on with the others");
    }
    return err;
}

static enum err view_read_journals(struct journal_view *view)
{
    struct replay *replay = &view->replay;
    replay->manifest = &view->manifest;
    replay->journal_count = view->manifest.journal_count;
    replay->journals = calloc(max_u32(1, replay->journal_count), sizeof(*replay->journals));
    replay->window = malloc(JOURNAL_BLOCK_BYTES_MAX);
    enum err err = replay->journals == NULL || replay->window == NULL ? ERR_NO_MEMORY : OK;
    for (uint32_t i = 0; i < replay->journal_count && err == OK; i++) {
        char name[32];
        replay->journal_at = i;
        replay->journals[i].info = view->manifest.journals[i];
        (void)snprintf(name, sizeof(name), "journal/%u.jnl", replay->journals[i].info.file);
        err = view_read_journal(view, name);
        err = err == OK ? OK : view_failed(view, name, err);
    }
    return err == OK ? replay_merge(replay) : err;
}

static int view_compare(const void *left, const void *right)
{
    const struct view_row *a = left;
    const struct view_row *b = right;
    if (a->segment_id != b->segment_id) {
        return a->segment_id < b->segment_id ? -1 : 1;
    }
    return (a->index > b->index) - (a->index < b->index);
}

static enum err view_sort(struct journal_view *view)
{
    uint32_t count = view->replay.segment_count;
    view->rows = calloc(max_u32(1, count), sizeof(*view->rows));
    if (view->rows == NULL) {
        return ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        view->rows[i] = (struct view_row){view->replay.segments[i].record.segment_id, i};
    }
    if (count > 1) {
        qsort(view->rows, count, sizeof(*view->rows), view_compare);
    }
    return OK;
}

static enum err view_read(struct journal_view *view)
{
    enum err err = view_read_manifest(view);
    err = err == OK ? view_read_journals(view) : err;
    return err == OK ? view_sort(view) : err;
}

static void view_forget(struct journal_view *view)
{
    manifest_deinit(&view->manifest);
    replay_deinit(&view->replay);
    free(view->rows);
    view->rows = NULL;
    view->problem_count = 0;
}

enum err journal_view_open(struct journal_view **view, const struct journal_view_io *io)
{
    ASSERT(io->size != NULL && io->read != NULL);
    struct journal_view *made = calloc(1, sizeof(*made));
    *view = NULL;
    if (made == NULL) {
        return ERR_NO_MEMORY;
    }
    made->io = *io;
    enum err err = view_read(made);
    for (uint32_t i = 1; i < VIEW_TRIES && err == OK && made->problem_count > 0; i++) {
        view_forget(made); /* What a running node writes meanwhile looks like a hole. */
        err = view_read(made);
    }
    if (err != OK) {
        journal_view_close(made);
        return err;
    }
    *view = made;
    return OK;
}

void journal_view_close(struct journal_view *view)
{
    if (view != NULL) {
        view_forget(view);
        free(view);
    }
}

const struct journal_view_problem *journal_view_problem(const struct journal_view *view,
                                                        uint32_t index)
{
    return index < view->problem_count ? &view->problems[index] : NULL;
}

bool journal_view_segment(const struct journal_view *view, uint32_t index,
                          struct journal_view_segment *segment)
{
    if (index >= view->replay.segment_count) {
        return false;
    }
    const struct replay_segment *found = &view->replay.segments[index];
    *segment = (struct journal_view_segment){
        .record = found->known ? &found->record : NULL,
        .segment_id = found->record.segment_id,
        .evidence = found->evidence,
        .index = index,
        .frames = found->count,
    };
    return true;
}

bool journal_view_find(const struct journal_view *view, uint64_t segment_id,
                       struct journal_view_segment *segment)
{
    uint32_t low = 0, high = view->replay.segment_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (view->rows[middle].segment_id < segment_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < view->replay.segment_count && view->rows[low].segment_id == segment_id &&
           journal_view_segment(view, view->rows[low].index, segment);
}

const uint8_t *journal_view_next(const struct journal_view *view,
                                 const struct journal_view_segment *segment,
                                 struct journal_view_cursor *cursor)
{
    const struct replay_segment *found = &view->replay.segments[segment->index];
    uint32_t at = max_u32(cursor->at, found->first);
    const struct replay_entry *entry =
        replay_frame_next(&view->replay, found, &at, cursor->offset, cursor->chain);
    cursor->at = at;
    if (entry == NULL) {
        return NULL;
    }
    cursor->offset = entry->offset_end;
    cursor->chain = entry->chain_end;
    return entry->frame;
}

const char *journal_view_judge(const struct journal_view *view,
                               const struct journal_view_segment *segment, uint64_t evidence,
                               uint64_t reach)
{
    struct replay_segment judged = view->replay.segments[segment->index];
    judged.evidence = max_u64(judged.evidence, evidence);
    switch (replay_judge(&judged, reach)) {
    case REPLAY_WHOLE:
        return NULL;
    case REPLAY_DAMAGED:
        return (judged.record.marks & SEGMENT_MARK_SUSPECT) != 0
                   ? "a lost part of a journal may have held records that follow"
                   : "records that were durable are in neither file nor journal";
    case REPLAY_SUSPECT:
        return "a lost part of a journal may have held records that follow";
    }
    UNREACHABLE();
}
