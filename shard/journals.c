/* See the header. What is already there is used again: the file of a journal keeps its size, and
 * its old bytes are void because its id is new. So are those of the spare ones, of which no
 * MANIFEST speaks until a core needs one: see journals_change.c.
 *
 *     OPEN -> HEAD -> BODY -> (replay) -> per core, then a spare per core: FILE_OPEN -> FILE_STAT
 *       -> FILE_GROW -> FILE_CLOSE -> SYNC_FILES -> STORE: the new MANIFEST */
#include "shard/journals_internal.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/limits.h"
#include "core/log.h"
#include "shard/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOURNAL_BYTES_MAX_ONE = 64 << 20 };

static void journals_step(struct completion *done);

static void journals_free(struct journals *journals)
{
    manifest_deinit(&journals->manifest);
    replay_deinit(&journals->replay);
    free(journals->files);
    free(journals->known);
    free(journals->image);
    free(journals);
}

static const char *journals_path(struct journals *journals, const char *name)
{
    (void)snprintf(journals->path, sizeof(journals->path), "%s/%s", journals->options.data_dir,
                   name);
    return journals->path;
}

static const char *journals_file_path(struct journals *journals, uint32_t file)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "journal/%u.jnl", file);
    return journals_path(journals, name);
}

static void journals_go(struct journals *journals, enum journals_state state)
{
    journals->state = state;
    completion_init(&journals->io.done, journals_step);
    io_submit(journals->reactor, &journals->io);
}

static void journals_end(struct journals *journals)
{
    struct reactor *reactor = journals->reactor;
    enum err err = journals->err;
    struct completion *done = journals->op != NULL ? &journals->op->done : journals->done;
    if (journals->op != NULL && err == OK) {
        journals->op->journals = journals;
        journals->op = NULL;
        journals->state = STATE_DONE;
        free(journals->image);
        journals->image = NULL;
    } else {
        journals_free(journals);
    }
    completion_fire(reactor, done, err);
}

/* Without space there are no journals in this life: the old MANIFEST stands, and what it names is
 * in the files by now, so that the next start finds the same again. Reads and deletes go on. */
static bool journals_do_without(struct journals *journals, enum err err)
{
    if (journals->op == NULL || journals->known == NULL || err != ERR_NO_SPACE) {
        return false;
    }
    COVER("no space for the journals");
    LOG_WARN("no space for the journals: appends go to their files, until floe starts with some "
             "space dir=%s",
             journals->options.data_dir);
    journals->without = true;
    journals->err = OK;
    return true;
}

/* Says it once, closes what is open, and ends. */
static void journals_fail(struct journals *journals, enum err err, const char *what)
{
    journals->err = err;
    if (journals_do_without(journals, err)) {
        what = "";
    } else if (journals->op != NULL && journals->op->message[0] == 0) {
        snprintf(journals->op->message, JOURNALS_MESSAGE_BYTES, "%s in %.300s: %s", what,
                 journals->options.data_dir, err_text(err));
    } else if (journals->op == NULL) {
        LOG_WARN("%s, the next start reads the journals dir=%s err=%s", what,
                 journals->options.data_dir, err_name(err));
    }
    if (journals->fd < 0) {
        journals_end(journals);
        return;
    }
    io_close(&journals->io, journals->fd);
    journals->fd = -1;
    journals_go(journals, STATE_FAILED);
}

static void journals_stored(struct completion *done)
{
    struct manifest_store *store = CONTAINER_OF(done, struct manifest_store, done);
    struct journals *journals = CONTAINER_OF(store, struct journals, store);
    if (done->result < 0) {
        journals_fail(journals, (enum err)done->result, "cannot write the MANIFEST");
        return;
    }
    journals_end(journals);
}

static void journals_store(struct journals *journals)
{
    struct manifest *manifest = &journals->manifest;
    manifest->generation++;
    memcpy(manifest->directory_id, journals->options.directory_id, 16);
    journals->state = STATE_STORE;
    completion_init(&journals->store.done, journals_stored);
    manifest_store(&journals->store, journals->reactor, journals->options.data_dir, manifest,
                   journals->options.direct);
}

/* A journal for each core, and a spare one. */

static bool journals_is_named(const struct journals *journals, uint32_t file)
{
    for (uint32_t i = 0; i < journals->manifest.journal_count; i++) {
        if (journals->manifest.journals[i].file == file) {
            return true;
        }
    }
    return false;
}

static void journals_file_next(struct journals *journals)
{
    if (journals->file_at == 2 * journals->options.core_count) {
        io_sync_dir(&journals->io, journals_path(journals, "journal"));
        journals_go(journals, STATE_SYNC_FILES);
        return;
    }
    struct journals_file *file = &journals->files[journals->file_at];
    file->file = journals->file_at == 0 ? 0 : journals->files[journals->file_at - 1].file + 1;
    while (journals_is_named(journals, file->file)) {
        file->file++; /* Of an earlier life, and still needed. */
    }
    while (file->id == 0) {
        file->id = prng_next(&journals->reactor->prng);
    }
    io_open(&journals->io, journals_file_path(journals, file->file),
            IO_OPEN_WRITE | IO_OPEN_CREATE);
    journals_go(journals, STATE_FILE_OPEN);
}

/* The files are there: the MANIFEST names them from here on. */
static void journals_name(struct journals *journals)
{
    for (uint32_t i = 0; i < journals->options.core_count; i++) {
        struct manifest_journal journal = {.file = journals->files[i].file,
                                           .core = i,
                                           .id = journals->files[i].id,
                                           .first_seq = 1,
                                           .bytes = journals->files[i].bytes};
        enum err err = manifest_add_journal(&journals->manifest, &journal);
        if (err != OK) {
            journals_fail(journals, err, "cannot name the journals");
            return;
        }
    }
    journals_store(journals);
}

/* A spare is no more than that: without it, a core whose journal fails goes on in the files. */
static void journals_spare_missing(struct journals *journals, enum err err)
{
    COVER("a spare journal cannot be made");
    LOG_WARN("no spare journal file=%s err=%s", journals->path, err_name(err));
    journals->files[journals->file_at].id = 0;
    if (journals->fd < 0) {
        journals->file_at++;
        journals_file_next(journals);
        return;
    }
    io_close(&journals->io, journals->fd);
    journals->fd = -1;
    journals_go(journals, STATE_FILE_CLOSE);
}

/* Takes the size that was found: is it less than it has to be? */
static bool journals_file_short(struct journals *journals)
{
    struct journals_file *file = &journals->files[journals->file_at];
    file->bytes = journals->io.stat.size & ~(uint64_t)(DISK_BLOCK_BYTES - 1);
    return file->bytes < journals->options.bytes;
}

static void journals_step_file(struct journals *journals, int32_t result)
{
    struct journals_file *file = &journals->files[journals->file_at];
    struct io *io = &journals->io;
    bool spare = journals->file_at >= journals->options.core_count;
    if (result < 0 && spare && journals->state != STATE_SYNC_FILES) {
        journals_spare_missing(journals, (enum err)result);
        return;
    }
    if (result < 0) {
        journals_fail(journals, (enum err)result, "cannot make the journals");
        return;
    }
    if (journals->state == STATE_FILE_OPEN) {
        journals->fd = result;
        io_stat(io, journals->path);
        journals_go(journals, STATE_FILE_STAT);
    } else if (journals->state == STATE_FILE_STAT && journals_file_short(journals)) {
        uint64_t missing = journals->options.bytes - file->bytes;
        io_allocate(io, journals->fd, file->bytes, missing);
        file->bytes += missing;
        journals_go(journals, STATE_FILE_GROW);
    } else if (journals->state == STATE_FILE_CLOSE) {
        journals->file_at++;
        journals_file_next(journals);
    } else if (journals->state == STATE_SYNC_FILES) {
        journals_name(journals);
    } else {
        io_close(io, journals->fd);
        journals->fd = -1;
        journals_go(journals, STATE_FILE_CLOSE);
    }
}

/* What the last life left. */

static int known_order(const void *left, const void *right)
{
    const struct journals_known *a = left;
    const struct journals_known *b = right;
    return (a->segment_id > b->segment_id) - (a->segment_id < b->segment_id);
}

/* Or one would stay of every segment that was open at a crash, for ever. */
static bool journals_can_forget(const struct journals *journals,
                                const struct segment_record *record)
{
    const struct journals_options *options = &journals->options;
    return (record->marks & SEGMENT_MARK_MISSING) != 0 && options->is_open != NULL &&
           !options->is_open(options->context, record);
}

/* The records of the new MANIFEST, and what shards are told. */
static enum err journals_remember(struct journals *journals)
{
    struct manifest *manifest = &journals->manifest;
    const struct replay *replay = &journals->replay;
    journals->known = calloc(max_u32(1, replay->segment_count), sizeof(*journals->known));
    if (journals->known == NULL) {
        return ERR_NO_MEMORY;
    }
    manifest->generation += replay->manifests;
    manifest->record_count = 0;
    manifest->journal_count = replay->retained ? manifest->journal_count : 0;
    for (uint32_t i = 0; i < replay->segment_count; i++) {
        const struct replay_segment *segment = &replay->segments[i];
        struct segment_record record = segment->record;
        if (segment->evidence <= record.base_offset && record.marks == 0) {
            continue;
        }
        if (journals_can_forget(journals, &record)) {
            COVER("what MANIFEST knew of a removed segment goes");
            continue;
        }
        record.state = SEGMENT_OPEN;
        record.maybe_end = segment->evidence;
        if (!MUTANT("mark-not-stored")) {
            enum err err = manifest_add_record(manifest, &record);
            if (err != OK) {
                return err;
            }
        }
        journals->known[journals->known_count++] = (struct journals_known){
            .segment_id = record.segment_id,
            .end = segment->evidence,
            .missing = (record.marks & SEGMENT_MARK_MISSING) != 0,
            .file_generation = record.file_generation,
            .index_position = record.index_position,
        };
    }
    qsort(journals->known, journals->known_count, sizeof(*journals->known), known_order);
    return OK;
}

static void journals_replayed(struct completion *done)
{
    struct journals *journals = CONTAINER_OF(done, struct journals, replayed);
    const struct replay *replay = &journals->replay;
    struct journals_open *op = journals->op;
    op->bytes_read = replay->bytes_read;
    op->bytes_written = replay->bytes_written;
    op->frames = replay->frames_written;
    op->segments = replay->segments_written;
    if (done->result < 0) {
        snprintf(op->message, sizeof(op->message), "%s", replay->message);
        journals_fail(journals, (enum err)done->result, "");
        return;
    }
    enum err err = journals_remember(journals);
    if (err != OK) {
        journals_fail(journals, err, "cannot read the journals");
        return;
    }
    if (replay->frames_written > 0) {
        LOG_INFO("journals replayed frames=%" PRIu64 " segments=%" PRIu64 " read=%" PRIu64
                 " written=%" PRIu64,
                 replay->frames_written, replay->segments_written, replay->bytes_read,
                 replay->bytes_written);
    }
    replay_deinit(&journals->replay);
    journals->file_at = 0;
    journals_file_next(journals);
}

static void journals_replay(struct journals *journals)
{
    struct replay_options options = {
        .data_dir = journals->options.data_dir,
        .boot = journals->options.boot,
        .direct = journals->options.direct,
    };
    journals->state = STATE_REPLAY;
    completion_init(&journals->replayed, journals_replayed);
    replay_start(&journals->replay, journals->reactor, &options, &journals->manifest,
                 &journals->replayed);
}

static void journals_decode(struct journals *journals, uint32_t size)
{
    enum err err = manifest_decode(bytes_of(journals->image, size), journals->options.directory_id,
                                   &journals->manifest);
    if (err != OK) {
        snprintf(journals->op->message, JOURNALS_MESSAGE_BYTES,
                 "the MANIFEST in %.300s cannot be used: %s. %s", journals->options.data_dir,
                 err_text(err),
                 err == ERR_VERSION ? "A newer floe wrote it; run that version"
                                    : "It says which journals hold acked records: put it back from "
                                      "a copy. To go on without them, move MANIFEST and the folder "
                                      "journal out of the data directory");
        journals_fail(journals, err, "");
        return;
    }
    io_close(&journals->io, journals->fd);
    journals->fd = -1;
    journals_go(journals, STATE_BODY_CLOSE);
}

static void journals_headed(struct journals *journals, uint32_t size)
{
    uint32_t bytes = size < MANIFEST_HEADER_BYTES ? 0 : manifest_image_bytes(journals->image);
    if (bytes <= MANIFEST_HEADER_BYTES) { /* Not one, or it names nothing. */
        journals_decode(journals, size);
        return;
    }
    free(journals->image);
    journals->image_bytes = bytes;
    journals->image = aligned_alloc(DISK_BLOCK_BYTES, bytes);
    if (journals->image == NULL) {
        journals_fail(journals, ERR_NO_MEMORY, "cannot read the MANIFEST");
        return;
    }
    io_read(&journals->io, journals->fd, journals->image, bytes, 0);
    journals_go(journals, STATE_BODY);
}

/* At one file after the other, whichever core wrote it. */
static void journals_look_next(struct journals *journals, uint32_t file)
{
    journals->file_at = file;
    io_open(&journals->io, journals_file_path(journals, file), 0);
    journals_go(journals, STATE_LOOK_OPEN);
}

/* Without a MANIFEST there is no journal; unless it got lost. */
static void journals_look(struct journals *journals, int32_t result)
{
    if (journals->state == STATE_LOOK_OPEN && result == ERR_NOT_FOUND) {
        journals_replay(journals);
        return;
    }
    if (result < 0) {
        journals_fail(journals, (enum err)result, "cannot look at the journals");
        return;
    }
    if (journals->state == STATE_LOOK_OPEN) {
        journals->fd = result;
        io_read(&journals->io, journals->fd, journals->image, DISK_BLOCK_BYTES, 0);
        journals_go(journals, STATE_LOOK_READ);
        return;
    }
    if (result >= 4 && memcmp(journals->image, "FJNL", 4) == 0) {
        snprintf(journals->op->message, JOURNALS_MESSAGE_BYTES,
                 "%.300s has journals, but its MANIFEST is missing: acked records may be in them. "
                 "Put it back from a copy. To go on without them, move the folder journal out of "
                 "the data directory",
                 journals->options.data_dir);
        journals_fail(journals, ERR_DAMAGED, "");
        return;
    }
    io_close(&journals->io, journals->fd);
    journals->fd = -1;
    journals_go(journals, STATE_LOOK_CLOSE);
}

static void journals_step_load(struct journals *journals, int32_t result)
{
    if (journals->state == STATE_OPEN && result == ERR_NOT_FOUND) {
        journals_look_next(journals, 0);
        return;
    }
    if (result < 0) {
        journals_fail(journals, (enum err)result, "cannot read the MANIFEST");
        return;
    }
    if (journals->state == STATE_LOOK_CLOSE) {
        journals_look_next(journals, journals->file_at + 1);
        return;
    }
    if (journals->state == STATE_OPEN) {
        journals->fd = result;
        io_read(&journals->io, journals->fd, journals->image, MANIFEST_HEADER_BYTES, 0);
        journals_go(journals, STATE_HEAD);
    } else if (journals->state == STATE_HEAD) {
        journals_headed(journals, (uint32_t)result);
    } else if (journals->state == STATE_BODY) {
        journals_decode(journals, (uint32_t)result);
    } else {
        journals_replay(journals);
    }
}

static void journals_step(struct completion *done)
{
    struct io *io = CONTAINER_OF(done, struct io, done);
    struct journals *journals = CONTAINER_OF(io, struct journals, io);
    switch (journals->state) {
    case STATE_LOOK_OPEN:
    case STATE_LOOK_READ:
        journals_look(journals, done->result);
        return;
    case STATE_OPEN:
    case STATE_LOOK_CLOSE:
    case STATE_HEAD:
    case STATE_BODY:
    case STATE_BODY_CLOSE:
        journals_step_load(journals, done->result);
        return;
    case STATE_FILE_OPEN:
    case STATE_FILE_STAT:
    case STATE_FILE_GROW:
    case STATE_FILE_CLOSE:
    case STATE_SYNC_FILES:
        journals_step_file(journals, done->result);
        return;
    case STATE_FAILED:
        journals_end(journals);
        return;
    case STATE_REPLAY:
    case STATE_STORE:
    case STATE_DONE:
        break;
    }
    UNREACHABLE();
}

void journals_open(struct journals_open *op, struct reactor *reactor,
                   const struct journals_options *options)
{
    struct journals *journals = calloc(1, sizeof(*journals));
    op->journals = NULL;
    op->message[0] = 0;
    if (journals != NULL) {
        journals->files = calloc((size_t)2 * options->core_count, sizeof(*journals->files));
        journals->image = aligned_alloc(DISK_BLOCK_BYTES, MANIFEST_HEADER_BYTES);
    }
    if (journals == NULL || journals->files == NULL || journals->image == NULL) {
        if (journals != NULL) {
            journals_free(journals);
        }
        snprintf(op->message, sizeof(op->message), "out of memory");
        completion_fire(reactor, &op->done, ERR_NO_MEMORY);
        return;
    }
    journals->reactor = reactor;
    journals->options = *options;
    journals->op = op;
    journals->fd = -1;
    uint64_t share = JOURNALS_BYTES_MAX_TOTAL / options->core_count;
    share = max_u64(JOURNAL_BYTES_MIN, min_u64(JOURNAL_BYTES_MAX_ONE, share));
    if (options->bytes == 0) {
        journals->options.bytes = JOURNAL_BYTES_MIN;
    }
    if (options->bytes_max == 0) {
        journals->options.bytes_max = share & ~(uint64_t)(DISK_BLOCK_BYTES - 1);
    }
    io_open(&journals->io, journals_path(journals, "MANIFEST"), 0);
    journals_go(journals, STATE_OPEN);
}

void journals_assign(struct journals *journals, uint32_t core, struct shard_options *options)
{
    ASSERT(core < journals->options.core_count);
    options->journals = journals;
    if (journals->without) {
        return;
    }
    options->journal_id = journals->files[core].id;
    options->journal_file = journals->files[core].file;
    options->journal_core = core;
    options->journal_bytes = journals->files[core].bytes;
    options->journal_bytes_max = journals->options.bytes_max;
    const struct journals_file *spare = &journals->files[journals->options.core_count + core];
    options->spare_id = spare->id;
    options->spare_file = spare->file;
    options->spare_bytes = spare->bytes;
}

void journals_close(struct journals *journals, bool clean, struct completion *done)
{
    ASSERT(journals->state == STATE_DONE && journals->changes == NULL);
    journals->done = done;
    journals->err = OK;
    uint32_t named = journals->manifest.journal_count;
    if (!clean || journals->without) {
        journals_end(journals);
        return;
    }
    /* Those that are retained stand first. */
    journals->manifest.journal_count = named - journals->options.core_count;
    journals_store(journals);
}

static const struct journals_known *known_find(const struct journals *journals, uint64_t segment_id)
{
    struct journals_known key = {.segment_id = segment_id};
    return journals == NULL || journals->known_count == 0
               ? NULL
               : bsearch(&key, journals->known, journals->known_count, sizeof(key), known_order);
}

uint64_t journals_milestone(const struct journals *journals, uint64_t segment_id,
                            uint32_t file_generation)
{
    const struct journals_known *found = known_find(journals, segment_id);
    return found == NULL || found->file_generation != file_generation ? 0 : found->index_position;
}

bool journals_evidence(const struct journals *journals, uint64_t segment_id, uint64_t *end,
                       bool *missing)
{
    const struct journals_known *found = known_find(journals, segment_id);
    if (found == NULL) {
        return false;
    }
    *end = found->end;
    *missing = found->missing;
    return true;
}
