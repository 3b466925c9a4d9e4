/* floe cluster rebuild-map: what a new map of a data directory would have, when meta/ is lost; from
 * the headers and seal blocks of its segments, and what the journals have behind the open ones.
 *
 *     files, sorted -> topics -> partitions -> segments, end to end -> a row each, what is amiss
 *
 * It prints, and writes nothing. */
#include "tools/log_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { REBUILD_CELL_BYTES = 64 };

/* One partition: its files stand one behind the other. */
struct rebuild_partition {
    const struct log_file *first, *newest;
    uint32_t segments, epoch;
    uint64_t end, log_start;
    const char *finding; /* What is amiss; NULL: nothing. */
};

struct rebuild {
    struct log_files list;
    struct cmd_rows rows;
    uint64_t topics, partitions, segments, findings;
};

static bool rebuild_same_topic(const struct log_file *a, const struct log_file *b)
{
    return topic_id_equal(&a->header.topic, &b->header.topic);
}

/* Is there another topic with this name? One map cannot have both. */
static bool rebuild_name_is_taken(const struct rebuild *rebuild, const struct log_file *file)
{
    for (size_t i = 0; i < rebuild->list.count; i++) {
        const struct log_file *other = &rebuild->list.files[i];
        if (other->err == OK && !rebuild_same_topic(file, other) &&
            strcmp(file->header.name, other->header.name) == 0) {
            return true;
        }
    }
    return false;
}

/* What is amiss with a segment that follows what the partition has so far. */
static const char *rebuild_judge(const struct rebuild_partition *partition,
                                 const struct log_file *file)
{
    if (file->problem != NULL && file->end == INSPECT_END_DAMAGED) {
        return file->problem;
    }
    if (strcmp(file->header.name, partition->first->header.name) != 0) {
        return "its segments name different topics";
    }
    if (partition->segments > 0 && file->header.base_offset > partition->end) {
        return "a segment is missing: offsets have a gap";
    }
    if (partition->segments > 0 && file->header.base_offset < partition->end) {
        return "two segments have the same offsets";
    }
    return NULL;
}

/* Takes the files of one partition, from `at` on; how many. */
static size_t rebuild_take(const struct rebuild *rebuild, size_t at,
                           struct rebuild_partition *partition)
{
    const struct log_files *list = &rebuild->list;
    const struct log_file *first = &list->files[at];
    size_t count = 0;
    *partition = (struct rebuild_partition){.first = first};
    for (; at + count < list->count; count++) {
        const struct log_file *file = &list->files[at + count];
        if (file->err != OK || !rebuild_same_topic(first, file) ||
            file->header.partition != first->header.partition) {
            break;
        }
        const char *finding = rebuild_judge(partition, file);
        partition->finding = partition->finding == NULL ? finding : partition->finding;
        partition->segments++;
        partition->newest = file;
        partition->end = max_u64(partition->end, file->offset_end);
        partition->log_start = max_u64(partition->log_start, file->log_start);
        partition->epoch = max_u32(partition->epoch, file->header.epoch);
    }
    if (partition->finding == NULL && rebuild_name_is_taken(rebuild, first)) {
        partition->finding = "another topic has the same name";
    }
    return count;
}

static void rebuild_row(struct rebuild *rebuild, const struct rebuild_partition *partition)
{
    static const char *const durabilities[] = {"disk", "os", "memory"};
    struct cmd_rows *rows = &rebuild->rows;
    const struct segment_header *header = &partition->newest->header;
    char id[TOPIC_ID_TEXT_BYTES];
    bool known = header->durability < ARRAY_COUNT(durabilities);
    cmd_rows_text(rows, partition->first->header.name);
    cmd_rows_text(rows, topic_id_text(&header->topic, id));
    cmd_rows_number(rows, header->partition);
    cmd_rows_text(rows, known ? durabilities[header->durability] : "?");
    cmd_rows_number(rows, partition->epoch);
    cmd_rows_number(rows, partition->segments);
    cmd_rows_number(rows,
                    (int64_t)max_u64(partition->log_start, partition->first->header.base_offset));
    cmd_rows_number(rows, (int64_t)partition->end);
    cmd_rows_text(rows, partition->finding);
    rebuild->partitions++;
    rebuild->segments += partition->segments;
    rebuild->findings += partition->finding != NULL;
}

/* Files that say nothing of themselves, and what the journals know of files that are gone. */
static int rebuild_say_lost(struct rebuild *rebuild, int code)
{
    struct log_files *list = &rebuild->list;
    char path[LOG_PATH_BYTES];
    for (size_t i = 0; i < list->count; i++) {
        if (list->files[i].err != OK) {
            rebuild->findings++;
            code = log_file_say_problem(list, &list->files[i], code);
        }
    }
    struct journal_view_segment segment;
    for (uint32_t i = 0; journal_view_segment(list->journals, i, &segment); i++) {
        if (log_files_lack(list, &segment, path, sizeof(path))) {
            rebuild->findings++;
            code = cmd_fail(list->cmd, CMD_PARTLY,
                            "%s: it is missing, and the journals have "
                            "records of it; put it back from a copy",
                            path);
        }
    }
    return code;
}

static int rebuild_run(struct rebuild *rebuild)
{
    static const char *const columns[] = {"topic",    "id",    "partition", "durability", "epoch",
                                          "segments", "first", "end",       "finding"};
    struct log_files *list = &rebuild->list;
    const struct log_file *before = NULL;
    cmd_rows_begin(&rebuild->rows, list->cmd, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < list->count && list->files[i].err == OK;) {
        struct rebuild_partition partition;
        i += rebuild_take(rebuild, i, &partition);
        rebuild->topics += before == NULL || !rebuild_same_topic(before, partition.first);
        before = partition.first;
        rebuild_row(rebuild, &partition);
    }
    int code = cmd_rows_end(&rebuild->rows, list->cmd);
    if (rebuild_say_lost(rebuild, CMD_OK) != CMD_OK ||
        log_files_say_problems(list, CMD_OK) != CMD_OK || rebuild->findings > 0) {
        code = code == CMD_OK ? CMD_PARTLY : code;
    }
    (void)fprintf(stderr,
                  "a new map would have %" PRIu64 " topics, %" PRIu64 " partitions, %" PRIu64
                  " segments; %" PRIu64 " findings; nothing is written\n"
                  "it would not have: topics that nothing was written to, settings of topics\n",
                  rebuild->topics, rebuild->partitions, rebuild->segments, rebuild->findings);
    return code;
}

int cmd_cluster_rebuild_map(const struct cmd *cmd)
{
    struct rebuild rebuild = {.list.cmd = cmd};
    int code = log_files_find(&rebuild.list, cmd->operands[0]);
    bool file =
        rebuild.list.count == 1 && strcmp(rebuild.list.files[0].path, cmd->operands[0]) == 0;
    if (code == CMD_OK && file) {
        code = cmd_fail(cmd, CMD_USAGE, "%s is a file: give the data directory", cmd->operands[0]);
    }
    code = code == CMD_OK ? log_files_walk_all(&rebuild.list) : code;
    code = code == CMD_OK ? rebuild_run(&rebuild) : code;
    log_files_free(&rebuild.list);
    return code;
}
