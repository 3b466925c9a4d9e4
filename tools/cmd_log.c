/* floe log inspect, floe log verify: segment files as they lie on the disk, without a server.
 *
 *     DIR  -> every topics/<topic id>/<partition>/<segment id>.seg, in order of offset
 *     FILE -> one segment, batch by batch
 *
 * Behind the end of a file stands what the journals of its data directory have. Nothing is written,
 * and no lock is taken: of a running node the newest records may look torn. */
#include "shard/deleted.h"
#include "tools/log_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { LOG_CELL_BYTES = 64, LOG_TEXT_BYTES = LOG_PATH_BYTES + 256 };

/* --- Inspect. --- */

static const char *log_state(const struct log_file *file)
{
    if (file->err != OK) {
        return err_text(file->err);
    }
    if (file->problem != NULL) {
        return "damaged";
    }
    return file->sealed ? "sealed" : file->end == INSPECT_END_TORN ? "open, torn tail" : "open";
}

static void log_row(struct cmd_rows *rows, const struct log_file *file)
{
    char id[LOG_CELL_BYTES];
    if (file->err != OK) {
        cmd_rows_text(rows, NULL);
        cmd_rows_text(rows, NULL);
        cmd_rows_text(rows, file->path);
        for (uint32_t i = 0; i < 3; i++) {
            cmd_rows_text(rows, NULL);
        }
    } else {
        (void)snprintf(id, sizeof(id), "%016" PRIx64, file->header.segment_id);
        cmd_rows_text(rows, file->header.name);
        cmd_rows_number(rows, file->header.partition);
        cmd_rows_text(rows, id);
        cmd_rows_number(rows, file->header.epoch);
        cmd_rows_number(rows, (int64_t)file->header.base_offset);
        cmd_rows_number(rows, (int64_t)file->offset_end);
    }
    cmd_rows_number(rows, (int64_t)file->bytes);
    cmd_rows_text(rows, log_state(file));
    if (file->err != OK) {
        cmd_rows_text(rows, NULL);
    } else {
        cmd_rows_number(rows, (int64_t)file->log_start);
    }
}

static int log_inspect_directory(const struct cmd *cmd, struct log_files *list)
{
    static const char *const columns[] = {"topic", "partition", "segment", "epoch", "first",
                                          "end",   "bytes",     "state",   "start"};
    int code = log_files_walk_all(list);
    if (code != CMD_OK) {
        return code;
    }
    struct cmd_rows rows;
    cmd_rows_begin(&rows, cmd, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < list->count; i++) {
        log_row(&rows, &list->files[i]);
    }
    return cmd_rows_end(&rows, cmd);
}

static const char *log_codec(uint16_t attributes)
{
    static const char *const names[] = {"none", "gzip", "snappy", "lz4", "zstd", "?", "?", "?"};
    return names[attributes & BATCH_CODEC_MASK];
}

/* What a control frame says. */
static const char *log_note(const struct inspect *inspect)
{
    struct note note;
    struct bytes body = bytes_of(inspect->frame_at + FRAME_HEADER_BYTES, inspect->frame.body_bytes);
    if (body.size == 0 || note_decode(body, &note) != OK) {
        return "control";
    }
    return note.kind == NOTE_DELETE ? "deletes" : "last id";
}

/* A frame without records, which says where the log starts; or which of its records are deleted. */
static void log_control(const struct inspect *inspect, struct cmd_rows *rows)
{
    cmd_rows_number(rows, (int64_t)inspect->position);
    cmd_rows_number(rows, (int64_t)inspect->frame.offset_first);
    cmd_rows_number(rows, 0);
    cmd_rows_number(rows, inspect->frame.body_bytes);
    cmd_rows_text(rows, log_note(inspect));
    cmd_rows_text(rows, NULL);
    cmd_rows_text(rows, NULL);
    cmd_rows_number(rows, (int64_t)inspect->frame.append_ms);
    cmd_rows_number(rows, (int64_t)inspect->frame.log_start);
    cmd_rows_text(rows, "file"); /* Never in the journal: see commit.c. */
}

/* What stands in a file for restarts, without a record: what is said of all before it. */
static void log_milestone(const struct inspect *inspect, struct cmd_rows *rows)
{
    cmd_rows_number(rows, (int64_t)inspect->position);
    cmd_rows_number(rows, (int64_t)inspect->extent.offset_first);
    cmd_rows_number(rows, 0);
    cmd_rows_number(rows, inspect->extent.padded_size);
    cmd_rows_text(rows, inspect->extent.type == EXTENT_INDEX ? "index" : "producers");
    cmd_rows_text(rows, NULL);
    cmd_rows_text(rows, NULL);
    cmd_rows_text(rows, NULL);
    cmd_rows_text(rows, NULL);
    cmd_rows_text(rows, "file");
}

static void log_batches(const struct inspect *inspect, void *context)
{
    struct cmd_rows *rows = context;
    struct inspect_batch at;
    char producer[LOG_CELL_BYTES];
    if (!inspect->in_journal && inspect->extent.type == EXTENT_FRAMES &&
        (inspect->frame.flags & FRAME_CONTROL) != 0) {
        log_control(inspect, rows);
        return;
    }
    if (!inspect->in_journal &&
        (inspect->extent.type == EXTENT_INDEX || inspect->extent.type == EXTENT_PRODUCERS)) {
        log_milestone(inspect, rows);
        return;
    }
    for (uint32_t i = 0; inspect_batch(inspect, i, &at); i++) {
        if (inspect->in_journal) {
            cmd_rows_text(rows, NULL); /* It will get its place. */
        } else {
            cmd_rows_number(rows, (int64_t)inspect->position);
        }
        cmd_rows_number(rows, (int64_t)at.offset);
        cmd_rows_number(rows, at.row.records);
        cmd_rows_number(rows, at.row.length);
        cmd_rows_text(rows, at.crc_sound ? log_codec(at.batch.attributes) : "damaged");
        if (at.batch.producer_id < 0) {
            cmd_rows_text(rows, NULL);
            cmd_rows_text(rows, NULL);
        } else {
            (void)snprintf(producer, sizeof(producer), "%" PRId64 "/%d", at.batch.producer_id,
                           at.batch.producer_epoch);
            cmd_rows_text(rows, producer);
            cmd_rows_number(rows, at.batch.base_sequence);
        }
        cmd_rows_number(rows, at.batch.max_timestamp);
        cmd_rows_number(rows, (int64_t)inspect->frame.log_start);
        cmd_rows_text(rows, inspect->in_journal ? "journal" : "file");
    }
}

static int log_inspect_file(struct log_files *list, struct log_file *file)
{
    static const char *const columns[] = {"position", "offset",   "records", "bytes", "codec",
                                          "producer", "sequence", "time",    "start", "where"};
    struct cmd_rows rows;
    cmd_rows_begin(&rows, list->cmd, columns, ARRAY_COUNT(columns));
    int code = log_file_walk(list, file, log_batches, &rows);
    int ended = cmd_rows_end(&rows, list->cmd);
    return log_file_say_problem(list, file, code != CMD_OK ? code : ended);
}

int cmd_log_inspect(const struct cmd *cmd)
{
    struct log_files list = {.cmd = cmd};
    struct stat stat_of;
    const char *path = cmd->operands[0];
    int code = log_files_find(&list, path);
    if (code == CMD_OK) {
        bool file = stat(path, &stat_of) == 0 && !S_ISDIR(stat_of.st_mode);
        code = file ? log_inspect_file(&list, &list.files[0]) : log_inspect_directory(cmd, &list);
        code = log_files_say_problems(&list, code);
    }
    log_files_free(&list);
    return code;
}

/* --- Verify. --- */

struct log_sum {
    uint64_t records, journaled, bytes, problems, torn;
};

static void log_problem(struct cmd_rows *rows, struct log_sum *sum, const struct log_file *file,
                        uint64_t position, const char *problem)
{
    sum->problems++;
    cmd_rows_text(rows, file->path);
    cmd_rows_number(rows, (int64_t)position);
    cmd_rows_text(rows, problem);
}

/* Between a segment and the one before it in its partition. */
static void log_verify_place(struct cmd_rows *rows, struct log_sum *sum,
                             const struct log_file *before, const struct log_file *file)
{
    const struct segment_header *a = &before->header;
    const struct segment_header *b = &file->header;
    if (before->err != OK || before->problem != NULL || a->partition != b->partition ||
        !topic_id_equal(&a->topic, &b->topic)) {
        return;
    }
    if (b->base_offset > before->offset_end) {
        log_problem(rows, sum, file, 0, "the segment before it ends earlier: records are missing");
    } else if (b->base_offset < before->offset_end) {
        log_problem(rows, sum, file, 0, "the segment before it ends later: offsets stand twice");
    }
}

static void log_verify_file(struct cmd_rows *rows, struct log_sum *sum, const struct log_file *file)
{
    char name[LOG_CELL_BYTES];
    sum->bytes += file->bytes;
    if (file->err != OK) {
        log_problem(rows, sum, file, 0, err_text(file->err));
        return;
    }
    sum->records += file->records;
    sum->journaled += file->journal_records;
    sum->torn += file->end == INSPECT_END_TORN;
    (void)snprintf(name, sizeof(name), "%016" PRIx64 ".seg", file->header.segment_id);
    const char *slash = strrchr(file->path, '/');
    if (strcmp(slash == NULL ? file->path : slash + 1, name) != 0) {
        log_problem(rows, sum, file, 0, "its header names another segment");
    }
    if (file->problem != NULL) {
        log_problem(rows, sum, file, file->problem_position, file->problem);
    }
}

/* MANIFEST and journals; and the segments of which they know that there were files. */
static void log_verify_journals(struct cmd_rows *rows, struct log_sum *sum,
                                const struct log_files *list)
{
    const struct journal_view_problem *problem;
    char text[LOG_TEXT_BYTES];
    for (uint32_t i = 0; (problem = journal_view_problem(list->journals, i)) != NULL; i++) {
        sum->problems++;
        (void)snprintf(text, sizeof(text), "%s/%s", list->data_dir, problem->name);
        cmd_rows_text(rows, text);
        cmd_rows_text(rows, NULL);
        (void)snprintf(text, sizeof(text), "%s; %s", problem->problem, problem->advice);
        cmd_rows_text(rows, text);
    }
    struct journal_view_segment segment;
    for (uint32_t i = 0; journal_view_segment(list->journals, i, &segment); i++) {
        if (!log_files_lack(list, &segment, text, sizeof(text))) {
            continue;
        }
        sum->problems++;
        cmd_rows_text(rows, text);
        cmd_rows_text(rows, NULL);
        cmd_rows_text(rows, "it is missing, and the journals have records of it; put it back from "
                            "a copy");
    }
}

int cmd_log_verify(const struct cmd *cmd)
{
    static const char *const columns[] = {"file", "position", "problem"};
    struct log_files list = {.cmd = cmd};
    struct log_sum sum = {0};
    int code = log_files_find(&list, cmd->operands[0]);
    if (code == CMD_OK) {
        code = log_files_walk_all(&list);
    }
    if (code == CMD_OK) {
        struct cmd_rows rows;
        cmd_rows_begin(&rows, cmd, columns, ARRAY_COUNT(columns));
        for (size_t i = 0; i < list.count; i++) {
            log_verify_file(&rows, &sum, &list.files[i]);
            if (i > 0 && list.files[i].err == OK) {
                log_verify_place(&rows, &sum, &list.files[i - 1], &list.files[i]);
            }
        }
        if (list.journals != NULL) {
            log_verify_journals(&rows, &sum, &list);
        }
        code = cmd_rows_end(&rows, cmd);
        (void)fprintf(stderr,
                      "%zu segments, %" PRIu64 " records, %" PRIu64
                      " of them in journals alone, %" PRIu64 " bytes, %" PRIu64
                      " torn tails, %" PRIu64 " problems\n",
                      list.count, sum.records, sum.journaled, sum.bytes, sum.torn, sum.problems);
        code = code == CMD_OK && sum.problems > 0 ? CMD_FAILED : code;
    }
    log_files_free(&list);
    return code;
}
