/* The rows of a survey: partitions by id, and those of a topic one behind the other. Two tables of
 * the same form find them, whatever their number: a slot has the number of a row, plus one, and
 * whoever comes to a slot that is taken goes to the next one. At least half of them are free.
 *
 *     by_id     topic, number -> the row
 *     by_topic  topic -> the newest row of it -> next_of_topic -> ... -> the oldest one */
#include "core/assert.h"
#include "core/bytes.h"
#include "shard/survey.h"

#include <stdlib.h>

enum { SURVEY_SLOTS_MIN = 16 };

static void survey_step(const struct survey *survey)
{
    if (survey->steps != NULL) {
        (*survey->steps)++;
    }
}

static uint64_t survey_hash(const struct topic_id *topic, uint32_t number)
{
    uint64_t hash = load_le64(topic->bytes) * 0x9e3779b97f4a7c15ULL + load_le64(topic->bytes + 8);
    hash = ((hash ^ hash >> 32) + number) * 0xd6e8feb86659fd93ULL;
    return hash ^ hash >> 32;
}

/* The slot of that id, or of the topic alone; a free one if there is none. */
static uint32_t *survey_slot(const struct survey *survey, const struct survey_table *table,
                             const struct partition_id *id, bool topic_alone)
{
    uint64_t at = survey_hash(&id->topic, topic_alone ? 0 : id->partition);
    ASSERT(table->size > 0);
    for (;; at++) {
        uint32_t *slot = &table->slots[at & (table->size - 1)];
        survey_step(survey);
        if (*slot == 0) {
            return slot;
        }
        const struct partition_id *other = &survey->partitions[*slot - 1].id;
        if ((topic_alone || other->partition == id->partition) &&
            topic_id_equal(&other->topic, &id->topic)) {
            return slot;
        }
    }
}

/* Room for one more; false: no memory. */
static bool survey_table_grow(const struct survey *survey, struct survey_table *table,
                              bool topic_alone)
{
    if (table->used < table->size / 2) {
        return true;
    }
    struct survey_table grown = {.size = max_u32(SURVEY_SLOTS_MIN, table->size * 2),
                                 .used = table->used};
    grown.slots = calloc(grown.size, sizeof(*grown.slots));
    if (grown.slots == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < table->size; i++) {
        if (table->slots[i] != 0) {
            const struct partition_id *id = &survey->partitions[table->slots[i] - 1].id;
            *survey_slot(survey, &grown, id, topic_alone) = table->slots[i];
        }
    }
    free(table->slots);
    *table = grown;
    return true;
}

void survey_free(struct survey *survey)
{
    for (uint32_t i = 0; i < survey->partition_count; i++) {
        free(survey->partitions[i].segments);
    }
    free(survey->partitions);
    free(survey->faults);
    free(survey->by_id.slots);
    free(survey->by_topic.slots);
    *survey = (struct survey){0};
}

const struct survey_partition *survey_find(const struct survey *survey,
                                           const struct partition_id *id)
{
    if (survey->by_id.size == 0) {
        return NULL;
    }
    uint32_t row = *survey_slot(survey, &survey->by_id, id, false);
    return row == 0 ? NULL : &survey->partitions[row - 1];
}

const struct survey_partition *survey_topic(const struct survey *survey,
                                            const struct topic_id *topic)
{
    const struct partition_id id = {.topic = *topic};
    if (survey->by_topic.size == 0) {
        return NULL;
    }
    uint32_t row = *survey_slot(survey, &survey->by_topic, &id, true);
    return row == 0 ? NULL : &survey->partitions[row - 1];
}

const struct survey_partition *survey_topic_next(const struct survey *survey,
                                                 const struct survey_partition *partition)
{
    survey_step(survey);
    return partition->next_of_topic == 0 ? NULL : &survey->partitions[partition->next_of_topic - 1];
}

struct survey_partition *survey_add_partition(struct survey *survey, const struct partition_id *id)
{
    if (survey->partition_count == survey->partition_capacity) {
        uint32_t capacity = max_u32(8, survey->partition_capacity * 2);
        void *rows = realloc(survey->partitions, capacity * sizeof(*survey->partitions));
        if (rows == NULL) {
            return NULL;
        }
        survey->partitions = rows;
        survey->partition_capacity = capacity;
    }
    if (!survey_table_grow(survey, &survey->by_id, false) ||
        !survey_table_grow(survey, &survey->by_topic, true)) {
        return NULL;
    }
    uint32_t *by_id = survey_slot(survey, &survey->by_id, id, false);
    uint32_t *by_topic = survey_slot(survey, &survey->by_topic, id, true);
    struct survey_partition *partition = &survey->partitions[survey->partition_count++];
    *partition = (struct survey_partition){.id = *id, .next_of_topic = *by_topic};
    survey->by_id.used += *by_id == 0;
    survey->by_topic.used += *by_topic == 0;
    *by_id = *by_id == 0 ? survey->partition_count : *by_id; /* The first one of an id is found. */
    *by_topic = survey->partition_count;
    return partition;
}
