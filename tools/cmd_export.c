/* floe log export: the records of a topic as they lie in a data directory, or of one segment file,
 * printed as floe consume prints them; without a server, and without writing anything.
 *
 *     segments of a partition, in order -> frames of file, then of journal -> batches -> records
 *
 * What cannot be printed is told on standard error, by its offsets, and makes the exit code 6; what
 * stands behind it in other segments is printed. */
#include "core/assert.h"
#include "shard/codec.h"
#include "shard/record.h"
#include "tools/cmd_record.h"
#include "tools/errors.h"
#include "tools/log_files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct log_export {
    struct log_files list;
    struct cmd_format format;
    int64_t partition; /* -1: all. */
    int64_t from, until, left;
    struct cmd_rows rows;
    uint64_t lost; /* Ranges that could not be printed. */
    /* Of the segment that is read: */
    const struct log_file *file;
    uint64_t next; /* The offset that is due in its partition. */
};

/* What the records of `first` up to `end` came to, on standard error. */
static void export_lost(struct log_export *out, uint64_t first, uint64_t end, const char *why)
{
    first = max_u64(max_u64(first, (uint64_t)out->from), out->next);
    end = min_u64(end, (uint64_t)out->until);
    if (first >= end || out->left == 0) {
        return; /* Nobody asked for them. */
    }
    char text[32] = "the end";
    if (end != INT64_MAX) {
        (void)snprintf(text, sizeof(text), "%" PRIu64, end);
    }
    out->lost++;
    (void)cmd_fail(out->list.cmd, ERROR_LOG_LOST,
                   "%s: offsets %" PRIu64 " to %s are not printed: %s", out->file->path, first,
                   text, why);
}

struct export_headers {
    struct bytes all;
    struct bytes_reader reader;
};

static bool export_header(const struct cmd_record *record, size_t index,
                          struct cmd_record_header *header)
{
    struct export_headers *headers = record->context;
    struct record_header read;
    if (index == 0) {
        headers->reader = bytes_reader(headers->all);
    }
    if (bytes_left(&headers->reader) == 0 || !record_read_header(&headers->reader, &read)) {
        return false;
    }
    *header = (struct cmd_record_header){.name = (const char *)read.name.data,
                                         .name_size = read.name.size,
                                         .value = read.value.data,
                                         .value_size = read.value.size};
    return true;
}

static void export_record(struct log_export *out, const struct record *read, uint64_t offset,
                          int64_t timestamp)
{
    struct export_headers headers = {.all = read->headers};
    const struct cmd_record record = {
        .topic = out->file->header.name,
        .partition = (int32_t)out->file->header.partition,
        .offset = (int64_t)offset,
        .timestamp = timestamp,
        .key = read->key.data,
        .value = read->value.data,
        .key_size = read->key.size,
        .value_size = read->value.size,
        .header = export_header,
        .context = &headers,
    };
    if (out->list.cmd->output == CMD_TABLE) {
        cmd_record_print(&record, &out->format);
    } else {
        cmd_record_row(&record, &out->rows);
    }
    out->left--;
}

/* Those of one batch that are due and asked for. NULL, or why there are no more to be had of it. */
static const char *export_records(struct log_export *out, const struct inspect_batch *at)
{
    const struct batch *batch = &at->batch;
    struct codec_output output;
    enum err err =
        codec_open((enum codec)(batch->attributes & BATCH_CODEC_MASK), at->records, &output);
    if (err != OK) {
        return err == ERR_NO_MEMORY ? err_text(err) : "its records cannot be unpacked";
    }
    struct bytes_reader reader = bytes_reader(output.bytes);
    bool append_time = (batch->attributes & BATCH_APPEND_TIME) != 0;
    const char *problem = NULL;
    for (int32_t i = 0; i < batch->record_count && out->left > 0; i++) {
        struct record record;
        if (!record_read(&reader, &record) || record.offset_delta < 0 ||
            record.offset_delta > batch->last_offset_delta) {
            problem = "a record of its batch is malformed";
            break;
        }
        uint64_t offset = at->offset + (uint32_t)record.offset_delta;
        int64_t timestamp = batch->max_timestamp;
        if (!append_time) {
            timestamp =
                (int64_t)((uint64_t)batch->base_timestamp + (uint64_t)record.timestamp_delta);
        }
        if (offset < out->next) {
            continue;
        }
        if (offset >= (uint64_t)out->from && offset < (uint64_t)out->until) {
            export_record(out, &record, offset, timestamp);
        }
        out->next = offset + 1;
    }
    codec_free(&output);
    return problem;
}

static void export_frame(const struct inspect *inspect, void *context)
{
    struct log_export *out = context;
    struct inspect_batch at;
    for (uint32_t i = 0; out->left > 0 && inspect_batch(inspect, i, &at); i++) {
        uint64_t end = at.offset + at.row.records;
        bool wanted =
            end > (uint64_t)out->from && at.offset < (uint64_t)out->until && end > out->next;
        const char *problem = NULL;
        if (wanted && !at.crc_sound) {
            problem = "the checksum of their batch is wrong";
        } else if (wanted && (at.batch.attributes & BATCH_CONTROL) == 0) {
            problem = export_records(out, &at);
        }
        if (problem != NULL) {
            export_lost(out, max_u64(out->next, at.offset), end, problem);
        }
        out->next = max_u64(out->next, end);
    }
}

/* One segment; `end` is where the next one of its partition begins, INT64_MAX: it is the last. */
static int export_segment(struct log_export *out, struct log_file *file, uint64_t end)
{
    out->file = file;
    if (out->left == 0 || end <= (uint64_t)out->from ||
        file->header.base_offset >= (uint64_t)out->until) {
        return CMD_OK; /* Nobody asked for any of it. */
    }
    int code = log_file_walk(&out->list, file, export_frame, out);
    if (code != CMD_OK || out->left == 0) {
        return code;
    }
    if (file->problem != NULL && file->end == INSPECT_END_DAMAGED) {
        export_lost(out, file->offset_end, end, file->problem);
    } else if (end != INT64_MAX) {
        export_lost(out, file->offset_end, end, "no segment has them");
    }
    out->next = max_u64(out->next, min_u64(end, (uint64_t)out->until));
    return CMD_OK;
}

static bool export_same_partition(const struct log_file *a, const struct log_file *b)
{
    return a->err == OK && b->err == OK && a->header.partition == b->header.partition &&
           topic_id_equal(&a->header.topic, &b->header.topic);
}

/* Where the log of the partition that begins with file `at` starts: what is below was deleted. An
 * open segment says so in its frames. */
static int export_log_start(struct log_export *out, size_t at)
{
    struct log_files *list = &out->list;
    int code = CMD_OK;
    out->next = list->files[at].header.base_offset;
    for (size_t i = at; i < list->count && code == CMD_OK; i++) {
        struct log_file *file = &list->files[i];
        if (export_same_partition(&list->files[at], file)) {
            code = file->sealed ? CMD_OK : log_file_walk(list, file, NULL, NULL);
            out->next = max_u64(out->next, file->log_start);
        }
    }
    return code;
}

/* By its name or its id. *named: how many topics are. */
static bool export_is_topic(const struct log_file *file, const char *topic)
{
    char id[TOPIC_ID_TEXT_BYTES];
    return file->err == OK && (strcmp(file->header.name, topic) == 0 ||
                               strcmp(topic_id_text(&file->header.topic, id), topic) == 0);
}

/* All partitions of `topic`; NULL: the one file. */
static int export_files(struct log_export *out, const char *topic)
{
    struct log_files *list = &out->list;
    const struct log_file *before = NULL;
    int code = CMD_OK;
    for (size_t i = 0; i < list->count && code == CMD_OK; i++) {
        struct log_file *file = &list->files[i];
        bool wanted = topic == NULL ||
                      (export_is_topic(file, topic) &&
                       (out->partition < 0 || out->partition == (int64_t)file->header.partition));
        if (!wanted) {
            continue;
        }
        bool follows = before != NULL && export_same_partition(before, file);
        if (before != NULL && !topic_id_equal(&before->header.topic, &file->header.topic)) {
            return cmd_fail(list->cmd, ERROR_LOG_TWICE,
                            "several topics were named \"%s\"; give the id of one, the name of its "
                            "folder in topics/",
                            topic);
        }
        if (!follows) {
            code = export_log_start(out, i);
        }
        bool last = i + 1 == list->count || !export_same_partition(file, &list->files[i + 1]);
        code = code != CMD_OK
                   ? code
                   : export_segment(out, file,
                                    last ? INT64_MAX : list->files[i + 1].header.base_offset);
        before = file;
    }
    if (before == NULL && code == CMD_OK) {
        return cmd_fail(list->cmd, ERROR_LOG_TOPIC, "%s has no segment of topic \"%s\"%s",
                        list->data_dir, topic, out->partition < 0 ? "" : " and this partition");
    }
    return code;
}

/* Files that nobody can read may be of the topic. */
static void export_say_unreadable(struct log_export *out)
{
    for (size_t i = 0; i < out->list.count; i++) {
        if (out->list.files[i].err != OK) {
            out->lost++;
            (void)log_file_say_problem(&out->list, &out->list.files[i], CMD_OK);
        }
    }
}

static int export_run(struct log_export *out, const char *topic)
{
    static const char *const columns[] = {CMD_RECORD_COLUMNS};
    const struct cmd *cmd = out->list.cmd;
    int code = log_files_read_headers(&out->list);
    if (code != CMD_OK) {
        return code;
    }
    if (topic == NULL && out->list.files[0].err != OK) {
        return log_file_say_problem(&out->list, &out->list.files[0], CMD_OK);
    }
    if (cmd->output != CMD_TABLE) {
        cmd_rows_begin(&out->rows, cmd, columns, ARRAY_COUNT(columns));
    }
    code = export_files(out, topic);
    export_say_unreadable(out);
    int printed = CMD_OK;
    if (cmd->output != CMD_TABLE) {
        printed = cmd_rows_end(&out->rows, cmd);
    } else if (fflush(stdout) != 0 || ferror(stdout)) {
        printed =
            cmd_fail(cmd, ERROR_OUTPUT, "standard output took not everything: %s", strerror(errno));
    }
    code = code == CMD_OK ? printed : code;
    bool lost = out->lost > 0 || log_files_say_problems(&out->list, CMD_OK) != CMD_OK;
    return code == CMD_OK && lost ? CMD_PARTLY : code;
}

int cmd_log_export(const struct cmd *cmd)
{
    struct log_export out = {
        .list.cmd = cmd, .partition = -1, .until = INT64_MAX, .left = INT64_MAX};
    const char *topic = cmd->operand_count > 1 ? cmd->operands[1] : NULL;
    int code = cmd_number(cmd, "--partition", 0, INT32_MAX, &out.partition);
    code = code == CMD_OK ? cmd_number(cmd, "--from", 0, INT64_MAX, &out.from) : code;
    code = code == CMD_OK ? cmd_number(cmd, "--until", 0, INT64_MAX, &out.until) : code;
    code = code == CMD_OK ? cmd_number(cmd, "--count", 1, INT64_MAX, &out.left) : code;
    code = code == CMD_OK ? cmd_record_format(&out.format, cmd) : code;
    if (code != CMD_OK) {
        cmd_format_free(&out.format);
        return code;
    }
    code = log_files_find(&out.list, cmd->operands[0]);
    bool file = out.list.count == 1 && strcmp(out.list.files[0].path, cmd->operands[0]) == 0;
    if (code == CMD_OK && file != (topic == NULL)) {
        code = cmd_fail(cmd, ERROR_OPERAND,
                        file ? "%s is a file: its topic is in it, give no other"
                             : "%s: give the topic, too; floe log inspect shows which there are",
                        cmd->operands[0]);
    }
    code = code == CMD_OK ? export_run(&out, topic) : code;
    log_files_free(&out.list);
    cmd_format_free(&out.format);
    return code;
}
