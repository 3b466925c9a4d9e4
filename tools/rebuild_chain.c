/* The chain of a partition's segments, end to end: what the map gets. Their order, and where those
 * end that were not sealed, is decided by survey_judge(), as for a library's map; here is decided
 * what it reports as faults:
 *
 *     gap      a segment that has no file is put in its place: reads of the range are told that it
 *              is damaged, as they would be by the map that was lost
 *     overlap  a segment without records is left out, else that of the older epoch
 *
 * The newest segment may have lost its file: the journals know that there was one, and so will the
 * map. */
#include "tools/rebuild_internal.h"

#include <stdio.h>
#include <string.h>

enum { REBUILD_EPOCHS_SPARE = 1000 /* Some may have been opened that left no file. */ };

const char rebuild_decision_gap[] =
    "put it back from a copy; with --accept-loss the map calls the range lost, and reads of it are "
    "told so";
const char rebuild_decision_overlap[] =
    "with --accept-loss one without records, else that of the older epoch, is left out, and its "
    "file goes to quarantine/";
static const char decision_unnamed[] =
    "no offset is left for them; with --accept-loss it is left out, and goes to quarantine/";

static size_t rebuild_index(const struct rebuild *rebuild, const struct log_file *file)
{
    return (size_t)(file - rebuild->list.files);
}

/* The sound file of a segment; NULL: there is none. */
static const struct log_file *rebuild_file_of(const struct rebuild *rebuild,
                                              const struct rebuild_partition *partition,
                                              uint64_t segment_id)
{
    for (size_t i = partition->at; i < partition->at + partition->count; i++) {
        if (!rebuild->files[i].strange && !rebuild->files[i].left_out &&
            rebuild->list.files[i].header.segment_id == segment_id) {
            return &rebuild->list.files[i];
        }
    }
    return NULL;
}

static void rebuild_segment_of(const struct log_file *file, struct survey_segment *segment)
{
    bool sealed = file->sealed && file->seal.end_offset >= file->header.base_offset;
    survey_segment_of(&file->header, sealed ? &file->seal : NULL, segment);
    segment->log_start = file->log_start;
    if (segment->info.durability > DURABILITY_MEMORY) {
        segment->info.durability = DURABILITY_DISK; /* A newer floe's: reads will say so. */
    }
}

/* Of segments without a sound file, what the journals know. */
static enum err rebuild_gather_missing(const struct rebuild *rebuild,
                                       struct survey_partition *chain)
{
    struct journal_view_segment missing;
    enum err err = OK;
    uint32_t i = rebuild_told_first(rebuild, rebuild->missing, rebuild->missing_count, &chain->id);
    for (; err == OK && rebuild_missing(rebuild, i, &missing); i++) {
        const struct segment_record *record = missing.record;
        if (!rebuild_id_equal(&rebuild->missing[i].id, &chain->id)) {
            break;
        }
        struct survey_segment segment = {
            .info =
                {
                    .id = record->segment_id,
                    .epoch = record->epoch,
                    .state = SEGMENT_OPEN,
                    .base_offset = record->base_offset,
                    .salt = record->salt,
                    .timestamp_max = INT64_MAX,
                    .replication_factor = record->replication_factor,
                    .ack_quorum = record->ack_quorum,
                    .durability = (enum durability)min_u32(record->durability, DURABILITY_MEMORY),
                },
            .log_start = record->log_start,
        };
        err = survey_add_segment(chain, &segment);
    }
    return err;
}

static enum err rebuild_gather(const struct rebuild *rebuild,
                               const struct rebuild_partition *partition,
                               struct survey_partition *chain)
{
    enum err err = OK;
    chain->segment_count = 0;
    for (size_t i = partition->at; i < partition->at + partition->count && err == OK; i++) {
        struct survey_segment segment;
        if (!rebuild->files[i].strange && !rebuild->files[i].left_out) {
            rebuild_segment_of(&rebuild->list.files[i], &segment);
            err = survey_add_segment(chain, &segment);
        }
    }
    return err == OK ? rebuild_gather_missing(rebuild, chain) : err;
}

/* Leaves out segments without records that begin where an older one has some. They may be what came
 * behind it when nobody knew that it had any; what is there goes before what may come. */
static void rebuild_drop_empty(struct rebuild *rebuild, struct rebuild_partition *partition)
{
    uint64_t end = 0;
    for (size_t i = partition->at; i < partition->at + partition->count; i++) {
        const struct log_file *file = &rebuild->list.files[i];
        if (rebuild->files[i].strange || rebuild->files[i].left_out) {
            continue;
        }
        if (rebuild_end(file) == file->header.base_offset && file->header.base_offset < end) {
            rebuild->files[i].left_out = true;
            rebuild_find(partition, "two segments have the same offsets", rebuild_decision_overlap,
                         true);
        }
        end = max_u64(end, rebuild_end(file));
    }
}

/* Leaves out the older of two segments that overlap; false: no two do. */
static bool rebuild_drop_overlap(struct rebuild *rebuild, struct rebuild_partition *partition,
                                 const struct survey_partition *chain)
{
    for (uint32_t i = 1; i < chain->segment_count; i++) {
        const struct segment_info *before = &chain->segments[i - 1].info;
        const struct segment_info *info = &chain->segments[i].info;
        if (before->end_offset <= info->base_offset) {
            continue;
        }
        bool first = before->epoch < info->epoch;
        const struct log_file *file =
            rebuild_file_of(rebuild, partition, first ? before->id : info->id);
        if (file == NULL) { /* One that the journals alone know of: it stays. */
            file = rebuild_file_of(rebuild, partition, first ? info->id : before->id);
        }
        if (file == NULL) {
            return false;
        }
        rebuild->files[rebuild_index(rebuild, file)].left_out = true;
        rebuild_find(partition, "two segments have the same offsets", rebuild_decision_overlap,
                     true);
        return true;
    }
    return false;
}

bool rebuild_chain_has(const struct survey_partition *chain, uint64_t segment_id)
{
    for (uint32_t i = 0; i < chain->segment_count; i++) {
        if (chain->segments[i].info.id == segment_id) {
            return true;
        }
    }
    return false;
}

/* A segment without a file for each gap. Its id is the one that the next names, if it does. */
static enum err rebuild_fill_gaps(struct rebuild *rebuild, struct rebuild_partition *partition,
                                  struct survey_partition *chain)
{
    enum err err = OK;
    uint32_t count = chain->segment_count;
    for (uint32_t i = 0; i + 1 < count && err == OK; i++) {
        const struct survey_segment before = chain->segments[i], next = chain->segments[i + 1];
        if (before.info.end_offset >= next.info.base_offset) {
            continue;
        }
        bool known = next.previous_id != 0 && !rebuild_chain_has(chain, next.previous_id);
        struct survey_segment lost = {
            .info = before.info,
            .log_start = before.log_start,
            .seal_sound = true,
        };
        lost.info.id = known ? next.previous_id : REBUILD_SEGMENT_BIT | rebuild->segment_next++;
        lost.info.epoch = max_u32(before.info.epoch, next.info.epoch - (next.info.epoch > 0));
        lost.info.base_offset = before.info.end_offset;
        lost.info.end_offset = next.info.base_offset;
        lost.info.digest = known ? next.previous_digest : 0;
        lost.info.salt = 0;
        lost.info.bytes = 0;
        err = survey_add_segment(chain, &lost);
        rebuild_find(partition, "a segment is missing: offsets have a gap", rebuild_decision_gap,
                     true);
    }
    return err;
}

/* Of segments that are not sealed but have a successor, the walk knows what a seal would say. */
static void rebuild_measure(const struct rebuild *rebuild,
                            const struct rebuild_partition *partition,
                            struct survey_partition *chain)
{
    for (uint32_t i = 0; i < chain->segment_count; i++) {
        struct segment_info *info = &chain->segments[i].info;
        if (chain->segments[i].seal_sound || info->state != SEGMENT_SEALED) {
            continue;
        }
        const struct log_file *file = rebuild_file_of(rebuild, partition, info->id);
        if (file == NULL || file->offset_end != info->end_offset) {
            continue;
        }
        info->digest = file->chain;
        info->timestamp_max = file->timestamp_max;
        info->bytes = file->bytes;
    }
}

/* An empty segment is no part of the chain, nor is one below the log start; another one that is not
 * was ended where the next begins, and what it holds is told. */
static void rebuild_judge_unnamed(struct rebuild *rebuild, struct rebuild_partition *partition,
                                  const struct survey_partition *chain)
{
    uint64_t log_start = 0;
    for (uint32_t i = 0; i < chain->segment_count; i++) {
        log_start = max_u64(log_start, chain->segments[i].log_start);
    }
    for (size_t i = partition->at; i < partition->at + partition->count; i++) {
        const struct log_file *file = &rebuild->list.files[i];
        bool damaged = file->problem != NULL && file->end == INSPECT_END_DAMAGED;
        bool holds = file->offset_end > max_u64(file->header.base_offset, log_start);
        if ((damaged || holds) && !rebuild->files[i].strange && !rebuild->files[i].left_out &&
            !rebuild_chain_has(chain, file->header.segment_id)) {
            rebuild->files[i].left_out = true;
            rebuild_find(partition,
                         damaged ? "a segment has records that cannot be read"
                                 : "two segments have the same offsets",
                         decision_unnamed, true);
        }
    }
}

static enum err rebuild_chain(struct rebuild *rebuild, struct rebuild_partition *partition,
                              const struct partition_id *id, const char *name)
{
    struct survey_partition *chain = survey_add_partition(&rebuild->survey, id);
    if (chain == NULL) {
        return ERR_NO_MEMORY;
    }
    (void)snprintf(chain->name, sizeof(chain->name), "%s", name);
    uint32_t gathered;
    enum err err;
    rebuild_drop_empty(rebuild, partition);
    do {
        err = rebuild_gather(rebuild, partition, chain);
        gathered = chain->segment_count;
        err = err == OK ? survey_judge(&rebuild->survey, chain) : err;
    } while (err == OK && rebuild_drop_overlap(rebuild, partition, chain));
    if (chain->segment_count != gathered) {
        rebuild_judge_unnamed(rebuild, partition, chain);
    }
    err = err == OK ? rebuild_fill_gaps(rebuild, partition, chain) : err;
    err = err == OK ? survey_judge(&rebuild->survey, chain) : err;
    rebuild_measure(rebuild, partition, chain);
    rebuild->survey.fault_count = 0; /* All are decided. */
    /* Of those that were left out, too. */
    chain->epoch = max_u32(chain->epoch, partition->epoch) + REBUILD_EPOCHS_SPARE;
    return err;
}

/* Partitions of a topic of which no file is left. */
static enum err rebuild_chain_missing(struct rebuild *rebuild, const struct rebuild_topic *topic)
{
    const struct rebuild_partition *first = &rebuild->partitions[topic->at];
    const struct partition_id from = {.topic = first->first->header.topic};
    enum err err = OK;
    uint32_t i = rebuild_told_first(rebuild, rebuild->missing, rebuild->missing_count, &from);
    for (; err == OK && i < rebuild->missing_count; i++) {
        const struct partition_id id = rebuild->missing[i].id;
        rebuild_step(rebuild);
        if (!topic_id_equal(&id.topic, &from.topic)) {
            break;
        }
        if (!first->left_out && survey_find(&rebuild->survey, &id) == NULL) {
            struct rebuild_partition none = {0};
            err = rebuild_chain(rebuild, &none, &id, topic->name);
        }
    }
    return err;
}

enum err rebuild_chains(struct rebuild *rebuild)
{
    enum err err = OK;
    for (size_t i = 0; i < rebuild->topic_count; i++) {
        const struct rebuild_topic *topic = &rebuild->topics[i];
        for (size_t j = topic->at; j < topic->at + topic->count && err == OK; j++) {
            struct rebuild_partition *partition = &rebuild->partitions[j];
            const struct partition_id id = {partition->first->header.topic,
                                            partition->first->header.partition};
            err = partition->left_out ? OK : rebuild_chain(rebuild, partition, &id, topic->name);
        }
        err = err == OK ? rebuild_chain_missing(rebuild, topic) : err;
    }
    return err;
}
