/* See the header.
 *
 *     survey -> partition by partition, up to 1000 segments a time: ADOPT -> ... -> done
 *
 * The log start of a partition comes with the last of them. */
#include "tools/adopt.h"

#include "core/assert.h"
#include "core/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void adoption_next(struct adoption *adoption);

static void adoption_finish(struct adoption *adoption, enum err err)
{
    survey_free(&adoption->survey);
    free(adoption->rows);
    free(adoption->kept);
    adoption->rows = NULL;
    adoption->kept = NULL;
    completion_fire(adoption->reactor, &adoption->done, err);
}

static void adoption_fail(struct adoption *adoption, enum err err, const char *what)
{
    (void)snprintf(adoption->message, sizeof(adoption->message), "%s %.300s: %s: %s",
                   adoption->what, adoption->data_dir, what, err_text(err));
    adoption_finish(adoption, err);
}

static void adoption_proposed(struct completion *done)
{
    struct proposal *proposal = CONTAINER_OF(done, struct proposal, done);
    struct adoption *adoption = CONTAINER_OF(proposal, struct adoption, proposal);
    if (done->result != OK) {
        char what[sizeof(adoption->message) / 2];
        (void)snprintf(what, sizeof(what), "the map refuses topic %.200s",
                       adoption->survey.partitions[adoption->partition].name);
        adoption_fail(adoption, (enum err)done->result, what);
        return;
    }
    adoption->segment += adoption->count;
    adoption->segments += adoption->count;
    adoption_next(adoption);
}

/* Numbers of a topic's partitions begin at 0 and have no gap; those that the library did not open
 * are empty. */
static uint32_t adoption_partitions(const struct survey *survey, const struct topic_id *topic)
{
    uint32_t count = 0;
    for (const struct survey_partition *partition = survey_topic(survey, topic); partition != NULL;
         partition = survey_topic_next(survey, partition)) {
        count = max_u32(count, partition->id.partition + 1);
    }
    return count;
}

/* The greatest that a file knows; the log may end before it, if it lost its end. */
static uint64_t adoption_log_start(const struct survey_partition *partition)
{
    const struct segment_info *last = &partition->segments[partition->segment_count - 1].info;
    uint64_t log_start = 0;
    for (uint32_t i = 0; i < partition->segment_count; i++) {
        log_start = max_u64(log_start, partition->segments[i].log_start);
    }
    return last->state == SEGMENT_SEALED ? min_u64(log_start, last->end_offset) : log_start;
}

enum durability adoption_durability(const struct survey *survey, const struct topic_id *topic,
                                    bool *differs)
{
    enum durability strongest = DURABILITY_MEMORY, weakest = DURABILITY_DISK;
    for (const struct survey_partition *partition = survey_topic(survey, topic); partition != NULL;
         partition = survey_topic_next(survey, partition)) {
        if (partition->segment_count == 0) {
            continue;
        }
        const struct segment_info *last = &partition->segments[partition->segment_count - 1].info;
        strongest = last->durability < strongest ? last->durability : strongest;
        weakest = last->durability > weakest ? last->durability : weakest;
    }
    *differs = strongest < weakest;
    return strongest;
}

/* Once for all partitions of a topic, which stand together. */
static const struct adoption_topic *adoption_topic(struct adoption *adoption,
                                                   const struct topic_id *id)
{
    struct adoption_topic *topic = &adoption->topic;
    if (topic->partitions == 0 || !topic_id_equal(&topic->id, id)) {
        topic->id = *id;
        topic->partitions = adoption_partitions(&adoption->survey, id);
        topic->durability = adoption_durability(&adoption->survey, id, &topic->differs);
    }
    return topic;
}

static void adoption_propose(struct adoption *adoption, const struct survey_partition *partition)
{
    const struct adoption_topic *topic = adoption_topic(adoption, &partition->id.topic);
    uint32_t left = partition->segment_count - adoption->segment;
    adoption->count = min_u32(left, COMMAND_ADOPT_SEGMENTS_MAX);
    for (uint32_t i = 0; i < adoption->count; i++) {
        const struct segment_info *info = &partition->segments[adoption->segment + i].info;
        command_adopt_encode(info, adoption->rows + (size_t)i * COMMAND_ADOPT_ROW_BYTES);
        command_adopt_encode_kept(info, adoption->kept + (size_t)i * COMMAND_ADOPT_KEPT_BYTES);
    }
    adoption->proposal = (struct proposal){0};
    struct command *command = &adoption->proposal.command;
    command->kind = COMMAND_ADOPT;
    command->time_ms = adoption->reactor->now_ms;
    command->adopt.partition = partition->id;
    command->adopt.name = bytes_text(partition->name);
    command->adopt.partition_count = topic->partitions;
    command->adopt.epoch = partition->epoch;
    command->adopt.leader_node = adoption->node_id;
    command->adopt.durability = topic->durability;
    if (topic->differs && adoption->directory != NULL && adoption->segment == 0) {
        LOG_WARN("partitions differ in durability, the topic gets the strongest topic=%s "
                 "partition=%u durability=%d of_topic=%d",
                 partition->name, partition->id.partition,
                 (int)partition->segments[partition->segment_count - 1].info.durability,
                 (int)command->adopt.durability);
    }
    command->adopt.segments =
        bytes_of(adoption->rows, adoption->count * (uint32_t)COMMAND_ADOPT_ROW_BYTES);
    command->adopt.kept =
        bytes_of(adoption->kept, adoption->count * (uint32_t)COMMAND_ADOPT_KEPT_BYTES);
    command->adopt.log_start = adoption->count == left ? adoption_log_start(partition) : 0;
    completion_init(&adoption->proposal.done, adoption_proposed);
    meta_submit(adoption->meta, &adoption->proposal);
}

static void adoption_stored(struct completion *done)
{
    struct adoption *adoption = CONTAINER_OF(done, struct adoption, stored);
    if (done->result != OK) {
        adoption_fail(adoption, (enum err)done->result, "the superblock cannot be written");
        return;
    }
    LOG_INFO("the library's directory is adopted partitions=%u segments=%" PRIu64,
             adoption->survey.partition_count, adoption->segments);
    adoption_finish(adoption, OK);
}

static void adoption_next(struct adoption *adoption)
{
    const struct survey *survey = &adoption->survey;
    while (adoption->partition < survey->partition_count) {
        const struct survey_partition *partition = &survey->partitions[adoption->partition];
        if (adoption->segment < partition->segment_count) {
            adoption_propose(adoption, partition);
            return;
        }
        adoption->partition++;
        adoption->segment = 0;
    }
    if (adoption->directory == NULL) {
        adoption_finish(adoption, OK);
        return;
    }
    completion_init(&adoption->stored, adoption_stored);
    directory_adopted(adoption->directory, &adoption->stored);
}

static void adoption_surveyed(struct completion *done)
{
    struct survey_walk *walk = CONTAINER_OF(done, struct survey_walk, done);
    struct adoption *adoption = CONTAINER_OF(walk, struct adoption, walk);
    if (done->result != OK) {
        adoption_fail(adoption, (enum err)done->result, "its segments cannot be listed");
        return;
    }
    if (adoption->survey.fault_count > 0) {
        const struct survey_fault *fault = &adoption->survey.faults[0];
        char what[sizeof(adoption->message) / 2], topic[TOPIC_ID_TEXT_BYTES];
        (void)snprintf(what, sizeof(what), "topics/%s/%u/%016" PRIx64 ".seg: %s",
                       topic_id_text(&fault->partition.topic, topic), fault->partition.partition,
                       fault->segment_id, survey_fault_text(fault->kind));
        adoption_fail(adoption, fault->err, what);
        return;
    }
    adoption_next(adoption);
}

/* False, and `done` fires: no memory. */
static bool adoption_prepare(struct adoption *adoption, struct meta *meta, struct reactor *reactor,
                             const char *data_dir)
{
    adoption->meta = meta;
    adoption->reactor = reactor;
    adoption->data_dir = data_dir;
    adoption->message[0] = 0;
    adoption->segments = 0;
    adoption->partition = 0;
    adoption->segment = 0;
    adoption->topic = (struct adoption_topic){0};
    adoption->rows = malloc((size_t)COMMAND_ADOPT_SEGMENTS_MAX * COMMAND_ADOPT_ROW_BYTES);
    adoption->kept = malloc((size_t)COMMAND_ADOPT_SEGMENTS_MAX * COMMAND_ADOPT_KEPT_BYTES);
    if (adoption->rows == NULL || adoption->kept == NULL) {
        adoption_fail(adoption, ERR_NO_MEMORY, "no room for its segments");
        return false;
    }
    return true;
}

void adoption_start(struct adoption *adoption, struct meta *meta, struct directory *directory,
                    struct reactor *reactor, const char *data_dir)
{
    adoption->directory = directory;
    adoption->what = "cannot adopt the library's data directory";
    adoption->survey = (struct survey){0};
    if (adoption_prepare(adoption, meta, reactor, data_dir)) {
        adoption->walk.survey = &adoption->survey;
        completion_init(&adoption->walk.done, adoption_surveyed);
        survey_start(&adoption->walk, reactor, data_dir);
    }
}

void adoption_start_surveyed(struct adoption *adoption, struct meta *meta, struct reactor *reactor,
                             const char *data_dir, struct survey *survey)
{
    adoption->directory = NULL;
    adoption->what = "cannot make a new map of";
    adoption->survey = *survey;
    *survey = (struct survey){0};
    if (adoption_prepare(adoption, meta, reactor, data_dir)) {
        adoption_next(adoption);
    }
}
