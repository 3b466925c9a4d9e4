/* floe log inspect, floe log verify: segment files as they lie on the disk, without a server.
 *
 *     DIR  -> every topics/<topic id>/<partition>/<segment id>.seg, in order of offset
 *     FILE -> one segment, batch by batch
 *
 * Nothing is written, and no lock is taken: of a running node the newest records may look torn. */
#include "shard/inspect.h"
#include "tools/cmd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOG_PATH_BYTES = 4096, LOG_CELL_BYTES = 64 };

/* One segment file and what a walk through it found. */
struct log_file {
    char *path;
    uint64_t bytes;
    enum err err; /* Of its header: nothing below is set then. */
    struct segment_header header;
    bool sealed;
    enum inspect_end end;
    uint64_t offset_end, log_start, records, batches, problem_position;
    const char *problem;
};

struct log_files {
    const struct cmd *cmd;
    struct log_file *files;
    size_t count, room;
};

static int log_code(int error)
{
    return error == ENOENT || error == ENOTDIR ? CMD_NOT_FOUND
           : error == EACCES || error == EPERM ? CMD_DENIED
                                               : CMD_FAILED;
}

static int64_t log_read(void *context, uint64_t position, uint8_t *data, uint32_t size)
{
    int fd = *(const int *)context;
    uint32_t done = 0;
    while (done < size) {
        ssize_t rc = pread(fd, data + done, size - done, (off_t)(position + done));
        if (rc < 0 && errno == EINTR) {
            continue;
        }
        if (rc < 0) {
            return ERR_IO;
        }
        if (rc == 0) {
            break;
        }
        done += (uint32_t)rc;
    }
    return done;
}

/* --- Finding the files. --- */

static int log_add(struct log_files *list, const char *path)
{
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 64 : list->room * 2;
        struct log_file *grown = realloc(list->files, room * sizeof(*grown));
        if (grown == NULL) {
            return cmd_fail(list->cmd, CMD_FAILED, "out of memory");
        }
        list->files = grown;
        list->room = room;
    }
    char *copy = strdup(path);
    if (copy == NULL) {
        return cmd_fail(list->cmd, CMD_FAILED, "out of memory");
    }
    list->files[list->count++] = (struct log_file){.path = copy};
    return CMD_OK;
}

/* Looks `depth` folders deep: topics, partitions, files. */
static int log_find(struct log_files *list, const char *folder, uint32_t depth)
{
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        return cmd_fail(list->cmd, log_code(errno), "%s: %s", folder, strerror(errno));
    }
    int code = CMD_OK;
    struct dirent *entry;
    while (code == CMD_OK && (entry = readdir(directory)) != NULL) {
        char path[LOG_PATH_BYTES];
        int size = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || size < 0 || (size_t)size >= sizeof(path)) {
            continue;
        }
        if (depth == 0) {
            code = segment_is_name(entry->d_name, ".seg") ? log_add(list, path) : CMD_OK;
            continue;
        }
        struct stat stat_of;
        if (stat(path, &stat_of) == 0 && S_ISDIR(stat_of.st_mode)) {
            code = log_find(list, path, depth - 1);
        }
    }
    closedir(directory);
    return code;
}

/* Says so if the directory is in use; it is read all the same. */
static void log_warn_running(const struct cmd *cmd, const char *path)
{
    char lock[LOG_PATH_BYTES];
    (void)snprintf(lock, sizeof(lock), "%s/LOCK", path);
    int fd = open(lock, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        (void)cmd_fail(cmd, CMD_OK, "%s is in use: what is written meanwhile may look torn", path);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static int log_find_all(struct log_files *list, const char *path)
{
    char topics[LOG_PATH_BYTES];
    struct stat stat_of;
    if (stat(path, &stat_of) != 0) {
        return cmd_fail(list->cmd, log_code(errno), "%s: %s", path, strerror(errno));
    }
    if (!S_ISDIR(stat_of.st_mode)) {
        return log_add(list, path);
    }
    int size = snprintf(topics, sizeof(topics), "%s/topics", path);
    if (size < 0 || (size_t)size >= sizeof(topics) || stat(topics, &stat_of) != 0) {
        return cmd_fail(list->cmd, CMD_NOT_FOUND,
                        "%s: not a data directory of floe, it has no folder topics/", path);
    }
    log_warn_running(list->cmd, path);
    return log_find(list, topics, 2);
}

static void log_free(struct log_files *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->files[i].path);
    }
    free(list->files);
}

/* --- Looking at one. --- */

/* Opens and walks; `each`, if any, is called for every extent. CMD_OK unless the file cannot be
 * opened or read at all. */
static int log_walk(const struct cmd *cmd, struct log_file *file,
                    void (*each)(const struct inspect *inspect, void *context), void *context)
{
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    struct stat stat_of;
    if (fd < 0 || fstat(fd, &stat_of) != 0) {
        int code = cmd_fail(cmd, log_code(errno), "%s: %s", file->path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return code;
    }
    struct inspect inspect = {.read = log_read, .context = &fd};
    file->bytes = (uint64_t)stat_of.st_size;
    file->err = inspect_open(&inspect);
    enum err err = file->err;
    while (err == OK) {
        err = inspect_next(&inspect);
        if (err == OK && each != NULL) {
            each(&inspect, context);
        }
    }
    file->header = inspect.header;
    file->sealed = inspect.sealed;
    file->end = inspect.end;
    file->offset_end = inspect.offset;
    file->log_start = inspect.log_start;
    file->records = inspect.records;
    file->batches = inspect.batches;
    file->problem = inspect.problem;
    file->problem_position =
        inspect.end == INSPECT_END_DAMAGED ? inspect.position : SEGMENT_SEAL_POSITION;
    inspect_close(&inspect);
    close(fd);
    if (file->err == OK && err != ERR_NOT_FOUND) {
        return cmd_fail(cmd, CMD_FAILED, "%s: %s", file->path, err_text(err));
    }
    return CMD_OK;
}

static int log_compare(const void *left, const void *right)
{
    const struct log_file *a = left;
    const struct log_file *b = right;
    if (a->err != OK || b->err != OK) {
        return (a->err != OK) - (b->err != OK);
    }
    int order = memcmp(&a->header.topic, &b->header.topic, sizeof(a->header.topic));
    if (order == 0 && a->header.partition != b->header.partition) {
        order = a->header.partition < b->header.partition ? -1 : 1;
    }
    if (order == 0 && a->header.base_offset != b->header.base_offset) {
        order = a->header.base_offset < b->header.base_offset ? -1 : 1;
    }
    return order != 0 ? order
                      : (a->header.epoch > b->header.epoch) - (a->header.epoch < b->header.epoch);
}

/* Walks all, with progress on a terminal, and sorts them. */
static int log_walk_all(struct log_files *list)
{
    bool terminal = isatty(STDERR_FILENO) == 1;
    int code = CMD_OK;
    for (size_t i = 0; i < list->count && code == CMD_OK; i++) {
        if (terminal) {
            (void)fprintf(stderr, "\r%zu of %zu files\r", i + 1, list->count);
        }
        code = log_walk(list->cmd, &list->files[i], NULL, NULL);
    }
    if (list->count > 1) {
        qsort(list->files, list->count, sizeof(*list->files), log_compare);
    }
    return code;
}

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
    int code = log_walk_all(list);
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

/* A frame without records, which says where the log starts. */
static void log_control(const struct inspect *inspect, struct cmd_rows *rows)
{
    cmd_rows_number(rows, (int64_t)inspect->position);
    cmd_rows_number(rows, (int64_t)inspect->frame.offset_first);
    cmd_rows_number(rows, 0);
    cmd_rows_number(rows, 0);
    cmd_rows_text(rows, "control");
    cmd_rows_text(rows, NULL);
    cmd_rows_text(rows, NULL);
    cmd_rows_number(rows, (int64_t)inspect->frame.append_ms);
    cmd_rows_number(rows, (int64_t)inspect->frame.log_start);
}

static void log_batches(const struct inspect *inspect, void *context)
{
    struct cmd_rows *rows = context;
    struct inspect_batch at;
    char producer[LOG_CELL_BYTES];
    if (inspect->extent.type == EXTENT_FRAMES && (inspect->frame.flags & FRAME_CONTROL) != 0) {
        log_control(inspect, rows);
        return;
    }
    for (uint32_t i = 0; inspect_batch(inspect, i, &at); i++) {
        cmd_rows_number(rows, (int64_t)inspect->position);
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
    }
}

/* A problem that a walk through one file found, as a sentence; `code` if there is none. */
static int log_say_problem(const struct cmd *cmd, const struct log_file *file, int code)
{
    if (file->err != OK) {
        return cmd_fail(cmd, CMD_FAILED, "%s: not a segment file: %s", file->path,
                        err_text(file->err));
    }
    if (file->problem != NULL) {
        return cmd_fail(cmd, CMD_FAILED, "%s: position %" PRIu64 ": %s", file->path,
                        file->problem_position, file->problem);
    }
    return code;
}

static int log_inspect_file(const struct cmd *cmd, struct log_file *file)
{
    static const char *const columns[] = {"position", "offset",   "records", "bytes", "codec",
                                          "producer", "sequence", "time",    "start"};
    struct cmd_rows rows;
    cmd_rows_begin(&rows, cmd, columns, ARRAY_COUNT(columns));
    int code = log_walk(cmd, file, log_batches, &rows);
    int ended = cmd_rows_end(&rows, cmd);
    return log_say_problem(cmd, file, code != CMD_OK ? code : ended);
}

int cmd_log_inspect(const struct cmd *cmd)
{
    struct log_files list = {.cmd = cmd};
    struct stat stat_of;
    const char *path = cmd->operands[0];
    int code = log_find_all(&list, path);
    if (code == CMD_OK) {
        bool file = stat(path, &stat_of) == 0 && !S_ISDIR(stat_of.st_mode);
        code = file ? log_inspect_file(cmd, &list.files[0]) : log_inspect_directory(cmd, &list);
    }
    log_free(&list);
    return code;
}

/* --- Verify. --- */

struct log_sum {
    uint64_t records, bytes, problems, torn;
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

int cmd_log_verify(const struct cmd *cmd)
{
    static const char *const columns[] = {"file", "position", "problem"};
    struct log_files list = {.cmd = cmd};
    struct log_sum sum = {0};
    int code = log_find_all(&list, cmd->operands[0]);
    if (code == CMD_OK) {
        code = log_walk_all(&list);
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
        code = cmd_rows_end(&rows, cmd);
        (void)fprintf(stderr,
                      "%zu segments, %" PRIu64 " records, %" PRIu64 " bytes, %" PRIu64
                      " torn tails, %" PRIu64 " problems\n",
                      list.count, sum.records, sum.bytes, sum.torn, sum.problems);
        code = code == CMD_OK && sum.problems > 0 ? CMD_FAILED : code;
    }
    log_free(&list);
    return code;
}
