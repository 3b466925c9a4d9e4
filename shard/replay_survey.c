/* Behind a hole of a journal: which segments may have been in it? The lost block may have had the
 * only record of one, so that nothing else in the journals names it. Its file does: a file with a
 * sound header and no seal block stands for its own record, and is suspect, unless the journals say
 * that all of it is here.
 *
 *     topics/ -> LIST each folder ... -> of each segment's file: OPEN -> HEAD -> CLOSE -> next
 *                                                                             -> segments */
#include "shard/replay.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/limits.h"
#include "shard/segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SURVEY_NAMES_BYTES = 64 << 10 };

enum survey_state {
    SURVEY_LIST,
    SURVEY_OPEN,
    SURVEY_HEAD,
    SURVEY_CLOSE,
};

/* A folder to be listed from `skip` on, or a file. */
struct survey_item {
    struct survey_item *next;
    bool file;
    uint32_t skip;
    char path[REPLAY_PATH_BYTES];
};

struct replay_survey {
    struct survey_item *items, *now;
    int fd;
    char names[SURVEY_NAMES_BYTES];
};

static void survey_step(struct completion *done);

static void survey_end(struct replay *replay, enum err err)
{
    struct replay_survey *survey = replay->survey;
    if (err != OK) {
        snprintf(replay->message, sizeof(replay->message),
                 "a journal lost a block, and the files that it may have been about cannot be "
                 "looked at: %.300s: %s",
                 survey->now == NULL ? "" : survey->now->path, err_text(err));
    }
    free(survey->now);
    while (survey->items != NULL) {
        struct survey_item *item = survey->items;
        survey->items = item->next;
        free(item);
    }
    free(survey);
    replay->survey = NULL;
    if (err != OK) {
        replay_finish(replay, err);
    } else {
        replay_segments(replay);
    }
}

static void survey_go(struct replay *replay, enum survey_state state)
{
    replay->state = (int)state;
    completion_init(&replay->io.done, survey_step);
    io_submit(replay->reactor, &replay->io);
}

/* `folder`/`name`, to be looked at. */
static enum err survey_add(struct replay_survey *survey, const char *folder, const char *name,
                           bool file, uint32_t skip)
{
    struct survey_item *item = calloc(1, sizeof(*item));
    if (item == NULL) {
        return ERR_NO_MEMORY;
    }
    int length =
        snprintf(item->path, sizeof(item->path), "%s%s%s", folder, name[0] == 0 ? "" : "/", name);
    if (length < 0 || (size_t)length >= sizeof(item->path)) {
        free(item);
        return OK; /* None of ours. */
    }
    if (length > 0 && item->path[length - 1] == '/') {
        item->path[length - 1] = 0;
    }
    item->file = file;
    item->skip = skip;
    item->next = survey->items;
    survey->items = item;
    return OK;
}

static void survey_next(struct replay *replay)
{
    struct replay_survey *survey = replay->survey;
    free(survey->now);
    survey->now = survey->items;
    if (survey->now == NULL) {
        survey_end(replay, OK);
        return;
    }
    survey->items = survey->now->next;
    if (survey->now->file) {
        io_open(&replay->io, survey->now->path, replay->options.direct ? IO_OPEN_DIRECT : 0U);
        survey_go(replay, SURVEY_OPEN);
    } else {
        io_list(&replay->io, survey->now->path, survey->names, SURVEY_NAMES_BYTES,
                survey->now->skip);
        survey_go(replay, SURVEY_LIST);
    }
}

static enum err survey_listed(struct replay *replay)
{
    struct replay_survey *survey = replay->survey;
    const struct survey_item *now = survey->now;
    const char *name = survey->names;
    enum err err = OK;
    for (uint32_t i = 0; i < replay->io.list.count && err == OK; i++, name += strlen(name) + 1) {
        bool folder = name[0] != 0 && name[strlen(name) - 1] == '/';
        if (folder || segment_is_name(name, ".seg")) {
            err = survey_add(survey, now->path, name, !folder, 0);
        }
    }
    if (err == OK && replay->io.list.more) {
        err = survey_add(survey, now->path, "", false, now->skip + replay->io.list.count);
    }
    return err;
}

/* Room for the record of the segment; NULL: it has one, or there is no memory. */
static struct replay_segment *survey_segment(struct replay *replay, uint64_t id, enum err *err)
{
    for (uint32_t i = 0; i < replay->segment_count; i++) {
        if (replay->segments[i].record.segment_id == id) {
            return replay->segments[i].known ? NULL : &replay->segments[i];
        }
    }
    size_t count = (size_t)replay->segment_count + 1;
    struct replay_segment *grown = realloc(replay->segments, count * sizeof(*grown));
    if (grown == NULL) {
        *err = ERR_NO_MEMORY;
        return NULL;
    }
    replay->segments = grown;
    struct replay_segment *segment = &grown[replay->segment_count++];
    *segment = (struct replay_segment){.behind_hole = UINT64_MAX, .holed = true};
    return segment;
}

static enum err survey_head(struct replay *replay, uint32_t size)
{
    struct segment_header header;
    struct segment_seal seal;
    enum err err = OK;
    if (size < SEGMENT_DATA_POSITION || segment_header_decode(replay->window, &header) != OK) {
        return OK; /* Whoever reads it will say so. */
    }
    if (segment_seal_decode(replay->window + SEGMENT_SEAL_POSITION, &seal) == OK &&
        seal.segment_id == header.segment_id && seal.salt == header.salt) {
        return OK; /* Complete. */
    }
    struct replay_segment *segment = survey_segment(replay, header.segment_id, &err);
    if (segment == NULL) {
        return err;
    }
    COVER("only its file says that a segment may have been in a hole");
    segment->record = (struct segment_record){
        .segment_id = header.segment_id,
        .topic = header.topic,
        .partition = header.partition,
        .epoch = header.epoch,
        .base_offset = header.base_offset,
        .salt = header.salt,
        .state = SEGMENT_OPEN,
        .durability = header.durability,
        .replication_factor = header.replication_factor,
        .ack_quorum = header.ack_quorum,
        .file_generation = header.file_generation,
        .checkpoint_offset = header.base_offset,
        .checkpoint_chain = header.salt,
        .log_start = header.log_start,
    };
    segment->evidence = max_u64(segment->evidence, header.base_offset);
    segment->known = true;
    return OK;
}

static void survey_step(struct completion *done)
{
    struct io *io = CONTAINER_OF(done, struct io, done);
    struct replay *replay = CONTAINER_OF(io, struct replay, io);
    struct replay_survey *survey = replay->survey;
    enum survey_state state = (enum survey_state)replay->state;
    bool gone = done->result == ERR_NOT_FOUND && (state == SURVEY_LIST || state == SURVEY_OPEN);
    enum err err = done->result < 0 && !gone ? (enum err)done->result : OK;
    if (state == SURVEY_OPEN && err == OK && !gone) {
        survey->fd = done->result;
        replay->state = (int)SURVEY_HEAD;
        completion_init(&replay->io.done, survey_step);
        err = replay_read(replay, survey->fd, 0, SEGMENT_DATA_POSITION);
        if (err == OK) {
            return;
        }
    } else if (state == SURVEY_HEAD) {
        replay->bytes_read += err == OK ? (uint32_t)done->result : 0;
        /* What cannot be read is told by whoever needs it. */
        err = err == OK ? survey_head(replay, (uint32_t)done->result) : OK;
        if (err == OK) {
            io_close(&replay->io, survey->fd);
            survey_go(replay, SURVEY_CLOSE);
            return;
        }
    } else if (state == SURVEY_LIST && err == OK && !gone) {
        err = survey_listed(replay);
    }
    if (err != OK) {
        survey_end(replay, err);
        return;
    }
    survey_next(replay);
}

void replay_survey(struct replay *replay)
{
    bool holed = false;
    for (uint32_t i = 0; i < replay->journal_count; i++) {
        holed = holed || replay->journals[i].hole != 0;
    }
    if (!holed || MUTANT("hole-marks-nobody")) {
        replay_segments(replay);
        return;
    }
    replay->survey = calloc(1, sizeof(*replay->survey));
    char topics[REPLAY_PATH_BYTES];
    (void)snprintf(topics, sizeof(topics), "%s/topics", replay->options.data_dir);
    if (replay->survey == NULL || survey_add(replay->survey, topics, "", false, 0) != OK) {
        free(replay->survey);
        replay->survey = NULL;
        snprintf(replay->message, sizeof(replay->message), "the journals: out of memory");
        replay_finish(replay, ERR_NO_MEMORY);
        return;
    }
    survey_next(replay);
}
