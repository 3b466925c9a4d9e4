/* See the header. */
#include "tools/log_files.h"
#include "tools/errors.h"

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

enum { LOG_TRIES = 5 /* Of a file that a running node writes meanwhile. */ };

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
            return cmd_fail(list->cmd, ERROR_MEMORY, "out of memory");
        }
        list->files = grown;
        list->room = room;
    }
    char *copy = strdup(path);
    if (copy == NULL) {
        return cmd_fail(list->cmd, ERROR_MEMORY, "out of memory");
    }
    list->files[list->count++] = (struct log_file){.path = copy};
    return CMD_OK;
}

static int log_fail_path(const struct log_files *list, const char *path, int error)
{
    return cmd_fail(list->cmd, errors_of_path(error), "%s: %s", path, strerror(error));
}

static int log_find(struct log_files *list, const char *folder, uint32_t depth);

/* One name in a folder. A folder that cannot be followed is no folder that is empty: its files
 * would be missing. One that a running node has just removed is. */
static int log_find_entry(struct log_files *list, const char *folder, const char *name,
                          uint32_t depth)
{
    char path[LOG_PATH_BYTES];
    struct stat stat_of;
    int size = snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (name[0] == '.' || (depth == 0 && !segment_is_name(name, ".seg"))) {
        return CMD_OK;
    }
    if (size < 0 || (size_t)size >= sizeof(path)) {
        return cmd_fail(list->cmd, ERROR_FILE, "%s/%s: %s", folder, name, strerror(ENAMETOOLONG));
    }
    if (depth == 0) {
        return log_add(list, path);
    }
    if (stat(path, &stat_of) != 0) {
        int error = errno;
        bool gone = list->running && lstat(path, &stat_of) != 0 && errno == ENOENT;
        return gone ? CMD_OK : log_fail_path(list, path, error);
    }
    return S_ISDIR(stat_of.st_mode) ? log_find(list, path, depth - 1) : CMD_OK;
}

/* Looks `depth` folders deep: topics, partitions, files. */
static int log_find(struct log_files *list, const char *folder, uint32_t depth)
{
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        return log_fail_path(list, folder, errno);
    }
    int code = CMD_OK;
    while (code == CMD_OK) {
        errno = 0; /* readdir() has no other way to tell an error from the end. */
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            code = errno != 0 ? log_fail_path(list, folder, errno) : CMD_OK;
            break;
        }
        code = log_find_entry(list, folder, entry->d_name, depth);
    }
    closedir(directory);
    return code;
}

/* --- The journals. --- */

static int journal_open(const struct log_files *list, const char *name)
{
    char path[LOG_PATH_BYTES + 64];
    (void)snprintf(path, sizeof(path), "%s/%s", list->data_dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd : errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_DENIED : ERR_IO;
}

static int64_t journal_size(void *context, const char *name)
{
    struct stat stat_of;
    int fd = journal_open(context, name);
    if (fd < 0) {
        return fd;
    }
    int64_t size = fstat(fd, &stat_of) == 0 ? stat_of.st_size : ERR_IO;
    close(fd);
    return size;
}

static int64_t journal_read(void *context, const char *name, uint64_t position, uint8_t *data,
                            uint32_t size)
{
    int fd = journal_open(context, name);
    if (fd < 0) {
        return fd;
    }
    int64_t got = log_read(&fd, position, data, size);
    close(fd);
    return got;
}

/* Anew, if they were read before. */
static int log_read_journals(struct log_files *list)
{
    const struct journal_view_io io = {.context = list, .size = journal_size, .read = journal_read};
    journal_view_close(list->journals);
    list->journals = NULL;
    if (journal_view_open(&list->journals, &io) != OK) {
        return cmd_fail(list->cmd, ERROR_MEMORY, "%s: the journals: out of memory", list->data_dir);
    }
    return CMD_OK;
}

/* Says so if the directory is in use; it is read all the same. */
static void log_warn_running(struct log_files *list)
{
    char lock[LOG_PATH_BYTES + 64];
    if (list->owned) {
        return;
    }
    (void)snprintf(lock, sizeof(lock), "%s/LOCK", list->data_dir);
    int fd = open(lock, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        list->running = true;
        (void)cmd_fail(list->cmd, CMD_OK, "%s is in use: what is written meanwhile may look torn",
                       list->data_dir);
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* DIR of DIR/topics/TOPIC/PARTITION/SEGMENT.seg, if it is one. */
static bool log_find_data_dir(struct log_files *list, const char *path)
{
    char superblock[LOG_PATH_BYTES + 64];
    const char *slash = strrchr(path, '/');
    size_t folder = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    int size = snprintf(list->data_dir, sizeof(list->data_dir), "%.*s../../..", (int)folder, path);
    (void)snprintf(superblock, sizeof(superblock), "%s/superblock", list->data_dir);
    if (size < 0 || (size_t)size >= sizeof(list->data_dir) || access(superblock, F_OK) != 0) {
        list->data_dir[0] = '\0';
        return false;
    }
    return true;
}

int log_files_find(struct log_files *list, const char *path)
{
    char topics[LOG_PATH_BYTES];
    struct stat stat_of;
    if (stat(path, &stat_of) != 0) {
        return cmd_fail(list->cmd, errors_of_path(errno), "%s: %s", path, strerror(errno));
    }
    if (!S_ISDIR(stat_of.st_mode)) {
        int code = CMD_OK;
        if (log_find_data_dir(list, path)) {
            log_warn_running(list);
            code = log_read_journals(list);
        }
        return code == CMD_OK ? log_add(list, path) : code;
    }
    int size = snprintf(topics, sizeof(topics), "%s/topics", path);
    if (size < 0 || (size_t)size >= sizeof(topics) || stat(topics, &stat_of) != 0) {
        return cmd_fail(list->cmd, ERROR_NOT_DATA,
                        "%s: not a data directory of floe, it has no folder topics/", path);
    }
    (void)snprintf(list->data_dir, sizeof(list->data_dir), "%s", path);
    log_warn_running(list);
    int code = log_read_journals(list); /* Before the files: frames go from there to here. */
    return code == CMD_OK ? log_find(list, topics, 2) : code;
}

void log_files_free(struct log_files *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->files[i].path);
    }
    free(list->files);
    journal_view_close(list->journals);
}

/* --- Looking at one. --- */

static int log_walk_once(const struct log_files *list, struct log_file *file,
                         void (*each)(const struct inspect *inspect, void *context), void *context)
{
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    struct stat stat_of;
    if (fd < 0 || fstat(fd, &stat_of) != 0) {
        int code =
            cmd_fail(list->cmd, errors_of_path(errno), "%s: %s", file->path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return code;
    }
    struct inspect inspect = {
        .read = log_read, .context = &fd, .journals = list->journals, .every_frame = each != NULL};
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
    file->seal = inspect.seal;
    file->end = inspect.end;
    file->offset_end = inspect.offset;
    file->log_start = inspect.log_start;
    file->records = inspect.records;
    file->batches = inspect.batches;
    file->journal_records = inspect.journal_records;
    file->chain = inspect.chain;
    file->producer_max = inspect.producer_max;
    file->timestamp_max =
        inspect.timestamp_max >= 0 ? inspect.timestamp_max : (int64_t)inspect.append_max;
    file->problem = inspect.problem;
    file->problem_position =
        inspect.end == INSPECT_END_DAMAGED ? inspect.position : SEGMENT_SEAL_POSITION;
    inspect_close(&inspect);
    close(fd);
    if (file->err == OK && err != ERR_NOT_FOUND) {
        return cmd_fail(list->cmd, errors_of(err), "%s: %s", file->path, err_text(err));
    }
    return CMD_OK;
}

int log_file_walk(struct log_files *list, struct log_file *file,
                  void (*each)(const struct inspect *inspect, void *context), void *context)
{
    int code = log_walk_once(list, file, each, context);
    for (uint32_t i = 1; i < LOG_TRIES && list->running && each == NULL && code == CMD_OK; i++) {
        if (file->err != OK || file->problem == NULL) {
            break;
        }
        /* The file may speak of what the journals got after they were read. */
        code = log_read_journals(list);
        if (code == CMD_OK) {
            code = log_walk_once(list, file, NULL, NULL);
        }
    }
    return code;
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

static void log_sort(struct log_files *list)
{
    if (list->count > 1) {
        qsort(list->files, list->count, sizeof(*list->files), log_compare);
    }
}

int log_files_read_headers(struct log_files *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct log_file *file = &list->files[i];
        struct inspect inspect = {.read = log_read};
        int fd = open(file->path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            return cmd_fail(list->cmd, errors_of_path(errno), "%s: %s", file->path,
                            strerror(errno));
        }
        inspect.context = &fd;
        file->err = inspect_open(&inspect);
        file->header = inspect.header;
        file->sealed = inspect.sealed;
        file->log_start = inspect.log_start;
        inspect_close(&inspect);
        close(fd);
    }
    log_sort(list);
    return CMD_OK;
}

int log_files_walk_all(struct log_files *list)
{
    bool terminal = isatty(STDERR_FILENO) == 1;
    int code = CMD_OK;
    for (size_t i = 0; i < list->count && code == CMD_OK; i++) {
        if (terminal) {
            (void)fprintf(stderr, "\r%zu of %zu files\r", i + 1, list->count);
        }
        code = log_file_walk(list, &list->files[i], NULL, NULL);
    }
    log_sort(list);
    return code;
}

int log_file_say_problem(const struct log_files *list, const struct log_file *file, int code)
{
    if (file->err != OK) {
        return cmd_fail(list->cmd, ERROR_NOT_SEGMENT, "%s: not a segment file: %s", file->path,
                        err_text(file->err));
    }
    if (file->problem != NULL) {
        return cmd_fail(list->cmd, ERROR_LOG_DAMAGED, "%s: position %" PRIu64 ": %s", file->path,
                        file->problem_position, file->problem);
    }
    return code;
}

int log_files_say_problems(const struct log_files *list, int code)
{
    const struct journal_view_problem *problem;
    for (uint32_t i = 0;
         list->journals != NULL && (problem = journal_view_problem(list->journals, i)) != NULL;
         i++) {
        code = cmd_fail(list->cmd, ERROR_LOG_DAMAGED, "%s/%s: %s; %s", list->data_dir,
                        problem->name, problem->problem, problem->advice);
    }
    return code;
}

/* `digits` hex digits; false: there is something else. */
static bool log_read_hex(const char *text, uint32_t digits, uint8_t *bytes)
{
    for (uint32_t i = 0; i < digits; i++) {
        const char *all = "0123456789abcdef";
        const char *found = text[i] == 0 ? NULL : strchr(all, text[i]);
        if (found == NULL) {
            return false;
        }
        bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | (found - all));
    }
    return true;
}

bool log_file_place(const char *path, struct partition_id *partition, uint64_t *segment_id)
{
    const char *part[3]; /* Of the path, from its end: segment, partition, topic. */
    const char *at = path + strlen(path);
    for (uint32_t i = 0; i < ARRAY_COUNT(part); i++) {
        while (at > path && at[-1] != '/') {
            at--;
        }
        part[i] = at;
        at -= at > path;
    }
    uint8_t id[8] = {0};
    char *end;
    if (!segment_is_name(part[0], ".seg") || !log_read_hex(part[0], 16, id) ||
        !log_read_hex(part[2], 32, partition->topic.bytes) || part[2][32] != '/' ||
        part[1][0] < '0' || part[1][0] > '9') {
        return false;
    }
    unsigned long long number = strtoull(part[1], &end, 10);
    *segment_id = load_be64(id);
    partition->partition = (uint32_t)number;
    bool canonical = part[1][0] != '0' || part[1][1] == '/';
    return canonical && *end == '/' && end + 1 == part[0] && number <= UINT32_MAX;
}

/* Was it the newest of its partition, of which older ones are there? Older ones may be deleted, and
 * so may a whole topic, while blocks of the journal still speak of them. */
bool log_files_lack(const struct log_files *list, const struct journal_view_segment *segment,
                    char *path, size_t path_bytes)
{
    const struct segment_record *record = segment->record;
    bool older = false;
    if (record == NULL || segment->evidence <= record->base_offset) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        const struct segment_header *header = &list->files[i].header;
        if (list->files[i].err != OK || header->partition != record->partition ||
            !topic_id_equal(&header->topic, &record->topic)) {
            continue;
        }
        if (header->base_offset >= record->base_offset) {
            return false; /* Itself, or one behind it. */
        }
        older = true;
    }
    char topic[TOPIC_ID_TEXT_BYTES];
    (void)snprintf(path, path_bytes, "%s/topics/%s/%u/%016" PRIx64 ".seg", list->data_dir,
                   topic_id_text(&record->topic, topic), record->partition, segment->segment_id);
    return older;
}
