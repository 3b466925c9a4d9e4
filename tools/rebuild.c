/* See the header: files, partitions and topics, and what is amiss with them.
 *
 * Ids that are gone without a trace may still be known to somebody, so all counters leave some
 * room: producer ids are handed out 1000 at a time, epochs and segments one by one. */
#include "tools/rebuild_internal.h"

#include "meta/command.h"
#include "tools/errors.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    REBUILD_IDS_SPARE = 1000000,
};

/* A client can write by any id; those that were handed out begin at 0. */
#define REBUILD_PRODUCER_MAX ((int64_t)1 << 60)

static const char decision_stays[] = "the map keeps it: reads of what is lost are told so";
static const char decision_names[] = "with --accept-loss the topic is called as in its newest file";
static const char decision_taken[] =
    "with --accept-loss the topic that was written to last has the name; the others are left out, "
    "their files stay where they are";
static const char decision_invalid[] =
    "with --accept-loss the topic is left out, its files stay where they are";

void rebuild_free(struct rebuild *rebuild)
{
    log_files_free(&rebuild->list);
    free(rebuild->files);
    free(rebuild->partitions);
    free(rebuild->topics);
    free(rebuild->told);
    free(rebuild->missing);
    survey_free(&rebuild->survey);
}

/* --- Ids. --- */

static void rebuild_note_id(struct rebuild *rebuild, uint64_t id)
{
    if ((id & REBUILD_SEGMENT_BIT) != 0) {
        uint64_t next = (id & ~REBUILD_SEGMENT_BIT) + 1;
        rebuild->segment_next = max_u64(rebuild->segment_next, next);
    }
}

/* Names of files that were set aside, or wait for their name, begin or end with an id. */
static enum err rebuild_note_names(struct rebuild *rebuild, const char *folder)
{
    char path[LOG_PATH_BYTES + 64];
    (void)snprintf(path, sizeof(path), "%s/%s", rebuild->list.data_dir, folder);
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return errno == ENOENT ? OK : ERR_IO;
    }
    const struct dirent *entry;
    for (errno = 0; (entry = readdir(directory)) != NULL; errno = 0) {
        size_t size = strcspn(entry->d_name, ".");
        const char *at = size > 16 ? entry->d_name + size - 16 : entry->d_name;
        rebuild_note_id(rebuild, strtoull(at, NULL, 16));
    }
    enum err err = errno != 0 ? ERR_IO : OK;
    closedir(directory);
    return err;
}

static enum err rebuild_note_ids(struct rebuild *rebuild)
{
    int64_t producer = -1;
    rebuild->segment_next = 1;
    for (size_t i = 0; i < rebuild->list.count; i++) {
        const struct log_file *file = &rebuild->list.files[i];
        rebuild_note_id(rebuild, rebuild->files[i].segment_id);
        rebuild_note_id(rebuild, file->header.segment_id);
        rebuild_note_id(rebuild, file->header.previous_id);
        if (file->err == OK && file->producer_max < REBUILD_PRODUCER_MAX) {
            producer = file->producer_max > producer ? file->producer_max : producer;
        }
    }
    struct journal_view_segment segment;
    for (uint32_t i = 0; journal_view_segment(rebuild->list.journals, i, &segment); i++) {
        rebuild_note_id(rebuild, segment.segment_id);
    }
    enum err err = rebuild_note_names(rebuild, "quarantine");
    err = err == OK ? rebuild_note_names(rebuild, "pool") : err;
    /* One that is damaged, or was forged, must not use them up. */
    rebuild->segment_next = min_u64(rebuild->segment_next, COMMAND_RAISE_MAX / 2);
    rebuild->segment_next += REBUILD_IDS_SPARE;
    rebuild->producer_next = (uint64_t)(producer + 1) + REBUILD_IDS_SPARE;
    return err;
}

/* --- Files. --- */

static void rebuild_place(const struct rebuild *rebuild, size_t index)
{
    const struct log_file *file = &rebuild->list.files[index];
    struct rebuild_file *at = &rebuild->files[index];
    at->placed = log_file_place(file->path, &at->partition, &at->segment_id);
    at->strange = file->err != OK || !at->placed || at->segment_id != file->header.segment_id ||
                  at->partition.partition != file->header.partition ||
                  !topic_id_equal(&at->partition.topic, &file->header.topic);
}

static int rebuild_compare(const struct rebuild_partition *partition, const struct topic_id *topic,
                           uint32_t number)
{
    const struct segment_header *header = &partition->first->header;
    int order = memcmp(&header->topic, topic, sizeof(*topic));
    return order != 0 ? order : (header->partition > number) - (header->partition < number);
}

/* They are in order of topic and number. NULL: there is none; its topic may be known. */
static const struct rebuild_partition *rebuild_partition_of(const struct rebuild *rebuild,
                                                            const struct partition_id *id,
                                                            bool *topic_known)
{
    size_t low = 0, high = rebuild->partition_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        rebuild_step(rebuild);
        if (rebuild_compare(&rebuild->partitions[middle], &id->topic, id->partition) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const struct rebuild_partition *at = &rebuild->partitions[low];
    bool here =
        low < rebuild->partition_count && topic_id_equal(&at->first->header.topic, &id->topic);
    *topic_known = here || (low > 0 && topic_id_equal(&at[-1].first->header.topic, &id->topic));
    return here && at->first->header.partition == id->partition ? at : NULL;
}

static bool rebuild_is_missing(const struct rebuild *rebuild,
                               const struct journal_view_segment *segment)
{
    const struct segment_record *record = segment->record;
    bool topic_known;
    if (record == NULL ||
        (segment->evidence <= record->base_offset && segment->frames == 0)) { /* It was empty. */
        return false;
    }
    const struct partition_id id = {record->topic, record->partition};
    const struct rebuild_partition *partition = rebuild_partition_of(rebuild, &id, &topic_known);
    return topic_known &&
           (partition == NULL || partition->newest->header.base_offset < record->base_offset);
}

static void rebuild_find_missing(struct rebuild *rebuild)
{
    struct journal_view_segment segment;
    for (uint32_t i = 0; i < rebuild->told_count; i++) {
        if (journal_view_segment(rebuild->list.journals, rebuild->told[i].index, &segment) &&
            rebuild_is_missing(rebuild, &segment)) {
            rebuild->missing[rebuild->missing_count++] = rebuild->told[i];
        }
    }
}

/* --- Partitions: what is amiss. --- */

void rebuild_find(struct rebuild_partition *partition, const char *finding, const char *decision,
                  bool loss)
{
    if (partition->finding == NULL || (loss && !partition->loss)) {
        partition->finding = finding;
        partition->decision = decision;
    }
    partition->loss = partition->loss || loss;
}

uint64_t rebuild_end(const struct log_file *file)
{
    return file->sealed ? max_u64(file->seal.end_offset, file->header.base_offset)
                        : file->offset_end;
}

/* What is amiss with a segment that follows what the partition has so far. */
static void rebuild_judge(struct rebuild_partition *partition, const struct log_file *file)
{
    const struct segment_header *header = &file->header;
    const struct log_file *before = partition->newest;
    if (file->problem != NULL && file->end == INSPECT_END_DAMAGED) {
        rebuild_find(partition, file->problem, decision_stays, false);
    }
    if (strcmp(header->name, partition->first->header.name) != 0) {
        rebuild_find(partition, "its segments name different topics", decision_names, true);
    }
    if (before == NULL || header->base_offset == partition->end ||
        (header->base_offset > partition->end && partition->end <= file->log_start)) {
        return; /* It follows, or what is missing was deleted. */
    }
    if (header->base_offset < partition->end) {
        rebuild_find(partition, "two segments have the same offsets", rebuild_decision_overlap,
                     true);
    } else if (!before->sealed && before->header.segment_id == header->previous_id) {
        rebuild_find(partition, "a segment ends before the next one begins", decision_stays, false);
    } else {
        rebuild_find(partition, "a segment is missing: offsets have a gap", rebuild_decision_gap,
                     true);
    }
}

/* The map knew where the log starts; files and journals know it only if something was appended
 * since. So nobody can tell whether the segments below the first one were deleted or are lost. */
static void rebuild_judge_start(const struct rebuild *rebuild, struct rebuild_partition *partition)
{
    const struct segment_header *header = &partition->first->header;
    const struct partition_id id = {header->topic, header->partition};
    uint64_t log_start = partition->log_start;
    struct journal_view_segment segment;
    for (uint32_t i = rebuild_told_first(rebuild, rebuild->told, rebuild->told_count, &id);
         i < rebuild->told_count && rebuild_id_equal(&rebuild->told[i].id, &id) &&
         journal_view_segment(rebuild->list.journals, rebuild->told[i].index, &segment);
         i++) {
        rebuild_step(rebuild);
        log_start = max_u64(log_start, segment.record->log_start);
    }
    partition->headless = log_start < header->base_offset;
}

/* Takes the files of one partition, from `at` on; where the next one begins. It has no `first` if
 * none of them is in its place. */
static size_t rebuild_take(struct rebuild *rebuild, size_t at, struct rebuild_partition *partition)
{
    const struct log_files *list = &rebuild->list;
    const struct segment_header *header = &list->files[at].header;
    *partition = (struct rebuild_partition){.at = at};
    for (; at < list->count && list->files[at].err == OK; at++) {
        const struct log_file *file = &list->files[at];
        if (!topic_id_equal(&header->topic, &file->header.topic) ||
            file->header.partition != header->partition) {
            break;
        }
        partition->count++;
        if (rebuild->files[at].strange) {
            continue; /* Told of its own. */
        }
        partition->first = partition->first == NULL ? file : partition->first;
        rebuild_judge(partition, file);
        partition->newest = file;
        partition->segments++;
        partition->end = max_u64(partition->end, rebuild_end(file));
        partition->log_start = max_u64(partition->log_start, file->log_start);
        partition->epoch = max_u32(partition->epoch, file->header.epoch);
    }
    if (partition->first != NULL) {
        rebuild_judge_start(rebuild, partition);
    }
    return at;
}

/* --- Topics. --- */

/* Takes the partitions of one topic, from `at` on. */
static void rebuild_take_topic(struct rebuild *rebuild, size_t at, struct rebuild_topic *topic)
{
    const struct topic_id *id = &rebuild->partitions[at].first->header.topic;
    *topic = (struct rebuild_topic){.at = at};
    for (; at < rebuild->partition_count; at++) {
        const struct rebuild_partition *partition = &rebuild->partitions[at];
        const struct segment_header *header = &partition->newest->header;
        if (!topic_id_equal(&partition->first->header.topic, id)) {
            break;
        }
        topic->count++;
        topic->numbers = max_u32(topic->numbers, partition->first->header.partition + 1);
        if (topic->name == NULL || header->created_ms > topic->created_ms) {
            topic->name = header->name;
            topic->created_ms = header->created_ms;
        }
    }
}

static void rebuild_find_topic(struct rebuild *rebuild, const struct rebuild_topic *topic,
                               const char *finding, const char *decision, bool left_out)
{
    for (size_t i = topic->at; i < topic->at + topic->count; i++) {
        rebuild_find(&rebuild->partitions[i], finding, decision, true);
        rebuild->partitions[i].left_out = rebuild->partitions[i].left_out || left_out;
    }
}

/* One map cannot have a topic that no client could ask for. */
static void rebuild_judge_topic(struct rebuild *rebuild, size_t index)
{
    const struct rebuild_topic *topic = &rebuild->topics[index];
    if (!topic_name_is_allowed(bytes_text(topic->name))) {
        rebuild_find_topic(rebuild, topic, "its name is none of a topic", decision_invalid, true);
    }
    for (size_t i = topic->at; i < topic->at + topic->count; i++) {
        if (strcmp(rebuild->partitions[i].first->header.name, topic->name) != 0) {
            rebuild_find(&rebuild->partitions[i], "its segments name different topics",
                         decision_names, true);
        }
    }
}

struct rebuild_name {
    const struct rebuild_topic *topic;
    uint64_t *steps;
};

/* By name; of one name the topic that was written to last comes first. */
static int rebuild_compare_names(const void *left, const void *right)
{
    const struct rebuild_name *a = left;
    const struct rebuild_name *b = right;
    if (a->steps != NULL) {
        (*a->steps)++;
    }
    int order = strcmp(a->topic->name, b->topic->name);
    if (order == 0) {
        order = (a->topic->created_ms < b->topic->created_ms) -
                (a->topic->created_ms > b->topic->created_ms);
    }
    return order != 0 ? order : (a->topic > b->topic) - (a->topic < b->topic);
}

/* Nor two topics of one name: one of them has it. */
static enum err rebuild_judge_names(struct rebuild *rebuild)
{
    size_t count = rebuild->topic_count;
    struct rebuild_name *names = calloc(count + 1, sizeof(*names));
    if (names == NULL) {
        return ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        names[i] = (struct rebuild_name){&rebuild->topics[i], rebuild->steps};
    }
    if (count > 1) {
        qsort(names, count, sizeof(*names), rebuild_compare_names);
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = names[i].topic->name;
        bool older = i > 0 && strcmp(name, names[i - 1].topic->name) == 0;
        bool newer = i + 1 < count && strcmp(name, names[i + 1].topic->name) == 0;
        if (older || newer) {
            rebuild_find_topic(rebuild, names[i].topic, "another topic has the same name",
                               decision_taken, older);
        }
    }
    free(names);
    return OK;
}

/* --- The whole. --- */

/* Files that are not what their names say: does the map name them all the same? */
static void rebuild_judge_strange(struct rebuild *rebuild)
{
    for (size_t i = 0; i < rebuild->list.count; i++) {
        struct rebuild_file *file = &rebuild->files[i];
        if (!file->strange || !file->placed) {
            continue;
        }
        const struct survey_partition *chain = survey_find(&rebuild->survey, &file->partition);
        bool topic_known;
        (void)rebuild_partition_of(rebuild, &file->partition, &topic_known);
        file->named = chain != NULL && rebuild_chain_has(chain, file->segment_id);
        file->left_out = !file->named && topic_known;
    }
}

static bool rebuild_has_folder(const struct rebuild *rebuild, const struct partition_id *id)
{
    char topic[TOPIC_ID_TEXT_BYTES], path[LOG_PATH_BYTES + 64];
    (void)snprintf(path, sizeof(path), "%s/topics/%s/%u", rebuild->list.data_dir,
                   topic_id_text(&id->topic, topic), id->partition);
    return access(path, F_OK) == 0;
}

/* A folder is made for a first segment, and the newest one is never deleted. */
static void rebuild_count_emptied(const struct rebuild *rebuild, struct rebuild_topic *topic)
{
    struct partition_id id = {.topic = rebuild->partitions[topic->at].first->header.topic};
    for (bool here = true; here || id.partition < topic->numbers; id.partition++) {
        bool topic_known;
        here = rebuild_has_folder(rebuild, &id);
        topic->emptied += here && rebuild_partition_of(rebuild, &id, &topic_known) == NULL &&
                          survey_find(&rebuild->survey, &id) == NULL;
    }
}

static void rebuild_count(struct rebuild *rebuild)
{
    struct journal_view_segment missing;
    for (size_t i = 0; i < rebuild->topic_count; i++) {
        rebuild_count_emptied(rebuild, &rebuild->topics[i]);
        rebuild->findings += rebuild->topics[i].emptied;
    }
    for (size_t i = 0; i < rebuild->partition_count; i++) {
        const struct rebuild_partition *partition = &rebuild->partitions[i];
        rebuild->segments += partition->segments;
        rebuild->findings += partition->finding != NULL;
        rebuild->findings += partition->headless;
        rebuild->losses += partition->loss;
    }
    for (size_t i = 0; i < rebuild->list.count; i++) {
        rebuild->findings += rebuild->files[i].strange;
        rebuild->losses += rebuild->files[i].strange && !rebuild->files[i].named;
    }
    for (uint32_t i = 0; rebuild_missing(rebuild, i, &missing); i++) {
        rebuild->findings++;
    }
    for (uint32_t i = 0; journal_view_problem(rebuild->list.journals, i) != NULL; i++) {
        rebuild->findings++;
        rebuild->losses++; /* Nobody knows of which segments they would have told. */
    }
}

enum err rebuild_plan(struct rebuild *rebuild)
{
    size_t count = rebuild->list.count;
    rebuild->files = calloc(count + 1, sizeof(*rebuild->files));
    rebuild->partitions = calloc(count + 1, sizeof(*rebuild->partitions));
    rebuild->topics = calloc(count + 1, sizeof(*rebuild->topics));
    if (rebuild->files == NULL || rebuild->partitions == NULL || rebuild->topics == NULL) {
        return ERR_NO_MEMORY;
    }
    rebuild->survey.steps = rebuild->steps;
    for (size_t i = 0; i < count; i++) {
        rebuild_place(rebuild, i);
    }
    if (rebuild_listen(rebuild) != OK) {
        return ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < count && rebuild->list.files[i].err == OK;) {
        struct rebuild_partition *partition = &rebuild->partitions[rebuild->partition_count];
        i = rebuild_take(rebuild, i, partition);
        rebuild->partition_count += partition->first != NULL;
    }
    for (size_t i = 0; i < rebuild->partition_count;) {
        struct rebuild_topic *topic = &rebuild->topics[rebuild->topic_count++];
        rebuild_take_topic(rebuild, i, topic);
        i += topic->count;
    }
    for (size_t i = 0; i < rebuild->topic_count; i++) {
        rebuild_judge_topic(rebuild, i);
    }
    enum err err = rebuild_judge_names(rebuild);
    err = err == OK ? rebuild_note_ids(rebuild) : err;
    rebuild_find_missing(rebuild);
    err = err == OK ? rebuild_chains(rebuild) : err;
    rebuild_judge_strange(rebuild);
    rebuild_count(rebuild);
    return err;
}

int rebuild_widen(struct rebuild *rebuild, const char *text)
{
    const struct cmd *cmd = rebuild->list.cmd;
    const char *equals = strrchr(text, '=');
    int64_t count = 0;
    if (equals == NULL || !cmd_parse_number(equals + 1, &count) || count < 1 ||
        count > TOPIC_PARTITIONS_MAX) {
        return cmd_fail(cmd, ERROR_VALUE, "--partitions %s: say NAME=N, with N from 1 to %d", text,
                        TOPIC_PARTITIONS_MAX);
    }
    for (size_t i = 0; i < rebuild->topic_count; i++) {
        struct rebuild_topic *topic = &rebuild->topics[i];
        const struct rebuild_partition *first = &rebuild->partitions[topic->at];
        if (first->left_out || strlen(topic->name) != (size_t)(equals - text) ||
            memcmp(topic->name, text, strlen(topic->name)) != 0) {
            continue;
        }
        if (count < topic->numbers) {
            return cmd_fail(cmd, ERROR_VALUE, "--partitions %s: there are files of %u", text,
                            topic->numbers);
        }
        const struct partition_id id = {first->first->header.topic, (uint32_t)count - 1};
        topic->numbers = (uint32_t)count;
        bool known = survey_find(&rebuild->survey, &id) != NULL;
        return known || survey_add_partition(&rebuild->survey, &id) != NULL
                   ? CMD_OK
                   : cmd_fail(cmd, ERROR_MEMORY, "out of memory");
    }
    return cmd_fail(cmd, ERROR_VALUE, "--partitions %s: the new map has no such topic", text);
}
