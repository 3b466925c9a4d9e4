/* floe cluster rebuild-map: what a new map of a data directory has, when meta/ is lost; from the
 * headers and seal blocks of its segments, and what the journals have behind the open ones.
 *
 *     --write: LOCK, meta/ sound? -> plan -> a row for each partition, what is amiss -> the new map
 *
 * Without --write nothing is locked, and nothing written. */
#include "tools/adopt.h"
#include "tools/errors.h"
#include "tools/rebuild.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

static const char *const rebuild_durabilities[] = {"disk", "os", "memory"};

static void rebuild_row(struct cmd_rows *rows, const struct rebuild_partition *partition)
{
    const struct segment_header *header = &partition->newest->header;
    char id[TOPIC_ID_TEXT_BYTES];
    bool known = header->durability < ARRAY_COUNT(rebuild_durabilities);
    cmd_rows_text(rows, partition->first->header.name);
    cmd_rows_text(rows, topic_id_text(&header->topic, id));
    cmd_rows_number(rows, header->partition);
    cmd_rows_text(rows, known ? rebuild_durabilities[header->durability] : "?");
    cmd_rows_number(rows, partition->epoch);
    cmd_rows_number(rows, partition->segments);
    cmd_rows_number(rows,
                    (int64_t)max_u64(partition->log_start, partition->first->header.base_offset));
    cmd_rows_number(rows, (int64_t)partition->end);
    cmd_rows_text(rows, partition->finding == NULL && partition->headless
                            ? "its oldest segments are missing, or were removed by retention"
                            : partition->finding);
}

static int rebuild_print(const struct rebuild *rebuild)
{
    static const char *const columns[] = {"topic",    "id",    "partition", "durability", "epoch",
                                          "segments", "first", "end",       "finding"};
    struct cmd_rows rows;
    cmd_rows_begin(&rows, rebuild->list.cmd, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < rebuild->partition_count; i++) {
        rebuild_row(&rows, &rebuild->partitions[i]);
    }
    return cmd_rows_end(&rows, rebuild->list.cmd);
}

/* Files that are not what their names say. */
static void rebuild_say_strange(const struct rebuild *rebuild, size_t index)
{
    const struct log_file *file = &rebuild->list.files[index];
    const struct rebuild_file *strange = &rebuild->files[index];
    const char *decision = strange->named ? "the map keeps it: reads are told of the damage"
                           : strange->left_out
                               ? "with --accept-loss it is left out, and goes to quarantine/"
                               : "with --accept-loss it is left out, and stays where it is";
    (void)cmd_fail(rebuild->list.cmd, ERROR_REBUILD_FINDING, "%s: not a segment file%s%s: %s",
                   file->path, file->err != OK ? ": " : " of that name",
                   file->err != OK ? err_text(file->err) : "", decision);
}

/* Partitions that have no file, and what is one for all of them. */
static void rebuild_say_topic(const struct rebuild *rebuild, const struct rebuild_topic *topic)
{
    const struct cmd *cmd = rebuild->list.cmd;
    if (topic->count < topic->numbers && !rebuild->partitions[topic->at].left_out) {
        (void)cmd_fail(cmd, CMD_OK,
                       "topic %s: there are no files of %" PRIu64
                       " of its %u partitions; they are empty in the map",
                       topic->name, (uint64_t)topic->numbers - topic->count, topic->numbers);
    }
    if (topic->emptied > 0) {
        (void)cmd_fail(cmd, ERROR_REBUILD_FINDING,
                       "topic %s: of %u partitions the folder is there and no file in it; if they "
                       "are lost, put them back from a copy",
                       topic->name, topic->emptied);
    }
    bool differs;
    enum durability durability = adoption_durability(
        &rebuild->survey, &rebuild->partitions[topic->at].first->header.topic, &differs);
    if (differs) {
        (void)cmd_fail(cmd, CMD_OK,
                       "topic %s: its partitions differ in durability; in the map it has the "
                       "strongest, %s",
                       topic->name, rebuild_durabilities[durability]);
    }
}

/* What is amiss, and what the map does about it. */
static void rebuild_say(const struct rebuild *rebuild)
{
    const struct log_files *list = &rebuild->list;
    struct journal_view_segment missing;
    for (size_t i = 0; i < rebuild->partition_count; i++) {
        const struct rebuild_partition *partition = &rebuild->partitions[i];
        if (partition->finding != NULL) {
            (void)cmd_fail(list->cmd, ERROR_REBUILD_FINDING, "topic %s partition %u: %s: %s",
                           partition->first->header.name, partition->first->header.partition,
                           partition->finding, partition->decision);
        }
        if (partition->headless) {
            (void)cmd_fail(list->cmd, ERROR_REBUILD_FINDING,
                           "topic %s partition %u: segments below %" PRIu64
                           " are missing, or were removed by retention: the map starts there; "
                           "files that are put back later need another --write --replace-meta "
                           "before floe starts, which deletes them else",
                           partition->first->header.name, partition->first->header.partition,
                           partition->first->header.base_offset);
        }
    }
    for (size_t i = 0; i < rebuild->topic_count; i++) {
        rebuild_say_topic(rebuild, &rebuild->topics[i]);
    }
    for (size_t i = 0; i < list->count; i++) {
        if (rebuild->files[i].strange) {
            rebuild_say_strange(rebuild, i);
        }
    }
    for (uint32_t i = 0; rebuild_missing(rebuild, i, &missing); i++) {
        char topic[TOPIC_ID_TEXT_BYTES];
        (void)cmd_fail(list->cmd, ERROR_REBUILD_FINDING,
                       "%s/topics/%s/%u/%016" PRIx64
                       ".seg: it is missing, and the journals have records of it; put it back from "
                       "a copy, else the map says that they are lost",
                       list->data_dir, topic_id_text(&missing.record->topic, topic),
                       missing.record->partition, missing.segment_id);
    }
    (void)log_files_say_problems(list, CMD_OK);
}

static void rebuild_say_sum(const struct rebuild *rebuild, bool write)
{
    (void)fprintf(
        stderr,
        "a new map %s %zu topics, %zu partitions, %" PRIu64 " segments; %" PRIu64 " findings%s\n"
        "it %s: topics that nothing was written to, nor partitions behind a topic's last one with "
        "files (see --partitions); settings of topics but their durability; deletions that no file "
        "tells of\n",
        write ? "has" : "would have", rebuild->topic_count, rebuild->partition_count,
        rebuild->segments, rebuild->findings, write ? "" : "; nothing is written",
        write ? "does not have" : "would not have");
    if (!write && rebuild->losses > 0) {
        (void)fprintf(stderr,
                      "--write refuses because of %" PRIu64
                      " of the findings, unless --accept-loss is given too\n",
                      rebuild->losses);
    }
}

/* Looks, says what is there, and writes with a writer. */
static int rebuild_run(struct rebuild *rebuild, struct rebuild_writer *writer)
{
    const struct cmd *cmd = rebuild->list.cmd;
    enum err err = rebuild_plan(rebuild);
    if (err != OK) {
        return cmd_fail(cmd, ERROR_REBUILD, "%s: %s", rebuild->list.data_dir,
                        err == ERR_IO ? "pool/ or quarantine/ cannot be listed" : err_text(err));
    }
    const char *wider[CMD_WORDS_MAX];
    uint32_t count = cmd_values(cmd, "--partitions", wider);
    for (uint32_t i = 0; i < count; i++) {
        if (rebuild_widen(rebuild, wider[i]) != CMD_OK) {
            return CMD_USAGE;
        }
    }
    int code = rebuild_print(rebuild);
    rebuild_say(rebuild);
    rebuild_say_sum(rebuild, writer != NULL);
    if (writer != NULL && rebuild->losses > 0 && cmd_value(cmd, "--accept-loss") == NULL) {
        return cmd_fail(cmd, ERROR_REBUILD_LOSS,
                        "records would be hidden or given up by %" PRIu64
                        " of the findings above, nothing is written; put the files right, or say "
                        "--accept-loss",
                        rebuild->losses);
    }
    if (writer != NULL && code == CMD_OK) {
        code = rebuild_write(writer, rebuild);
    }
    return code == CMD_OK && rebuild->findings > 0 ? CMD_PARTLY : code;
}

static int rebuild_check(const struct cmd *cmd)
{
    static const char *const with_write[] = {"--accept-loss", "--replace-meta"};
    for (uint32_t i = 0; i < ARRAY_COUNT(with_write); i++) {
        if (cmd_value(cmd, with_write[i]) != NULL && cmd_value(cmd, "--write") == NULL) {
            return cmd_fail(cmd, ERROR_FLAG, "%s is for --write", with_write[i]);
        }
    }
    return CMD_OK;
}

/* The files of DIR; with --write it is locked first. */
static int rebuild_find_files(struct rebuild *rebuild, struct rebuild_writer **writer)
{
    const struct cmd *cmd = rebuild->list.cmd;
    const char *dir = cmd->operands[0];
    struct stat stat_of;
    int code = CMD_OK;
    if (stat(dir, &stat_of) == 0 && !S_ISDIR(stat_of.st_mode)) {
        return cmd_fail(cmd, ERROR_OPERAND, "%s is a file: give the data directory", dir);
    }
    if (cmd_value(cmd, "--write") != NULL) {
        code = rebuild_open(writer, cmd, dir, cmd_value(cmd, "--replace-meta") != NULL);
    }
    rebuild->list.owned = *writer != NULL;
    code = code == CMD_OK ? log_files_find(&rebuild->list, dir) : code;
    return code == CMD_OK ? log_files_walk_all(&rebuild->list) : code;
}

int cmd_cluster_rebuild_map(const struct cmd *cmd)
{
    struct rebuild rebuild = {.list.cmd = cmd};
    struct rebuild_writer *writer = NULL;
    int code = rebuild_check(cmd);
    code = code == CMD_OK ? rebuild_find_files(&rebuild, &writer) : code;
    code = code == CMD_OK ? rebuild_run(&rebuild, writer) : code;
    rebuild_free(&rebuild);
    return rebuild_close(writer, code);
}
