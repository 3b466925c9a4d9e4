/* Behind a hole of a journal: which segments may have been in it? The lost block may have had the
 * only record of one, so that nothing else in the journals names it. Its file does: a file with a
 * sound header and no seal block stands for its own record, and is suspect, unless the journals say
 * that all of it is here. */
#include "shard/replay.h"

#include "core/assert.h"
#include "core/cover.h"

#include <stdio.h>
#include <stdlib.h>

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

static enum err survey_take(struct replay *replay, const struct partition_id *id,
                            const struct survey_segment *found)
{
    const struct segment_info *info = &found->info;
    enum err err = OK;
    struct replay_segment *segment = survey_segment(replay, info->id, &err);
    if (segment == NULL) {
        return err;
    }
    COVER("only its file says that a segment may have been in a hole");
    segment->record = (struct segment_record){
        .segment_id = info->id,
        .topic = id->topic,
        .partition = id->partition,
        .epoch = info->epoch,
        .base_offset = info->base_offset,
        .salt = info->salt,
        .state = SEGMENT_OPEN,
        .durability = (uint8_t)info->durability,
        .replication_factor = info->replication_factor,
        .ack_quorum = info->ack_quorum,
        .file_generation = found->file_generation,
        .checkpoint_offset = info->base_offset,
        .checkpoint_chain = info->salt,
        .log_start = found->log_start,
    };
    segment->evidence = max_u64(segment->evidence, info->base_offset);
    segment->known = true;
    return OK;
}

/* Files that are no sound segments are told by whoever needs them. */
static void replay_surveyed(struct completion *done)
{
    struct survey_walk *walk = CONTAINER_OF(done, struct survey_walk, done);
    struct survey *survey = walk->survey;
    struct replay *replay = CONTAINER_OF(survey, struct replay, survey);
    enum err err = done->result < 0 ? (enum err)done->result : OK;
    for (uint32_t i = 0; i < survey->partition_count && err == OK; i++) {
        const struct survey_partition *partition = &survey->partitions[i];
        for (uint32_t j = 0; j < partition->segment_count && err == OK; j++) {
            if (!partition->segments[j].seal_sound) {
                err = survey_take(replay, &partition->id, &partition->segments[j]);
            }
        }
    }
    free(walk);
    survey_free(survey);
    if (err == OK) {
        replay_segments(replay);
        return;
    }
    snprintf(replay->message, sizeof(replay->message),
             "a journal lost a block, and the files that it may have been about cannot be looked "
             "at: %.300s/topics: %s",
             replay->options.data_dir, err_text(err));
    replay_finish(replay, err);
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
    struct survey_walk *walk = calloc(1, sizeof(*walk));
    if (walk == NULL) {
        snprintf(replay->message, sizeof(replay->message), "the journals: out of memory");
        replay_finish(replay, ERR_NO_MEMORY);
        return;
    }
    walk->survey = &replay->survey;
    completion_init(&walk->done, replay_surveyed);
    survey_start(walk, replay->reactor, replay->options.data_dir);
}
