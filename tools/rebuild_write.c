/* Writing a new map. The directory is open as by a server that starts (LOCK, a new boot number), on
 * a reactor that this thread turns.
 *
 *     meta/ sound? -> meta.rebuild/: a map of a new cluster, the segments, the ids raised
 *       -> meta/ to meta.old-<time> -> files that the map leaves out to quarantine/
 *       -> meta.rebuild/ to meta/ -> the cluster's id into the superblock
 *
 * The superblock comes last. Whatever ends this before: no server starts, because the cluster in
 * meta/ is not the superblock's, and the same command begins anew. What stands in meta/ is never
 * removed, only renamed; what is removed is meta.rebuild/ of a try that did not come to its end. */
#include "core/assert.h"
#include "core/log.h"
#include "shard/superblock.h"
#include "tools/adopt.h"
#include "tools/errors.h"
#include "tools/options.h"
#include "tools/rebuild.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { REBUILD_PATH_BYTES = LOG_PATH_BYTES + 128, REBUILD_TEXT_BYTES = 1024 };

struct rebuild_writer {
    const struct cmd *cmd;
    char dir[LOG_PATH_BYTES];
    struct reactor *reactor; /* NULL: not open. */
    struct completion awaited;
    bool happened;
    int32_t result;
    struct directory *directory;
    struct directory_identity identity;
    struct meta *meta; /* The one that is open, if one is. */
    struct meta_start meta_start;
    struct adoption adoption;
    struct proposal proposal;
    uint8_t cluster_id[16];       /* The new one. */
    char why[REBUILD_TEXT_BYTES]; /* The old one is replaced. */
    char old[REBUILD_PATH_BYTES];
};

/* --- Waiting. --- */

static void writer_happened(struct completion *done)
{
    struct rebuild_writer *writer = reactor_self()->owner[REACTOR_USER];
    writer->happened = true;
    writer->result = done->result;
    reactor_hurry(writer->reactor);
}

/* Until `done`, which writer_expect() prepared, has fired. */
static enum err writer_await(struct rebuild_writer *writer)
{
    while (!writer->happened) {
        (void)reactor_turn(writer->reactor, UINT64_MAX);
    }
    return writer->result < 0 ? (enum err)writer->result : OK;
}

static void writer_expect(struct rebuild_writer *writer, struct completion *done)
{
    writer->happened = false;
    completion_init(done, writer_happened);
}

/* --- Opening and closing. --- */

static const char *writer_path(const struct rebuild_writer *writer, const char *name,
                               char path[REBUILD_PATH_BYTES])
{
    (void)snprintf(path, REBUILD_PATH_BYTES, "%s/%s", writer->dir, name);
    return path;
}

/* The library keeps no map, and a server that opens its directory makes one by itself. */
static int writer_check_owner(const struct rebuild_writer *writer)
{
    char path[REBUILD_PATH_BYTES];
    uint8_t *slots = calloc(SUPERBLOCK_SLOTS, SUPERBLOCK_BYTES);
    FILE *file = fopen(writer_path(writer, "superblock", path), "rb");
    struct superblock superblock = {0};
    uint64_t boot;
    bool read = slots != NULL && file != NULL &&
                fread(slots, SUPERBLOCK_BYTES, SUPERBLOCK_SLOTS, file) > 0 &&
                superblock_choose(slots, &superblock, &boot) == OK;
    if (file != NULL) {
        (void)fclose(file);
    }
    free(slots);
    if (read && superblock.owner == SUPERBLOCK_LIBRARY) {
        return cmd_fail(writer->cmd, ERROR_REBUILD_LIBRARY,
                        "%s belongs to libfloe, which keeps no map that could be lost: open it "
                        "with the library, or start floe serve, which takes it over",
                        writer->dir);
    }
    return CMD_OK; /* What is wrong with it else, the directory says. */
}

/* What another user makes, floe could not open. */
static int writer_check_user(const struct rebuild_writer *writer)
{
    char path[REBUILD_PATH_BYTES];
    struct stat file;
    if (stat(writer_path(writer, "superblock", path), &file) == 0 && file.st_uid != geteuid()) {
        return cmd_fail(writer->cmd, ERROR_FILE_DENIED,
                        "%s belongs to user %ju, this is user %ju: run it as the user that floe "
                        "runs as",
                        path, (uintmax_t)file.st_uid, (uintmax_t)geteuid());
    }
    return CMD_OK;
}

static int writer_open_reactor(struct rebuild_writer *writer)
{
    struct reactor_options options = {
        .engine = &io_engine_posix,
        .io = {.entries = 64, .recv_count = 4, .recv_size = 4096},
        .memory = {.limit_bytes = MEMORY_LIMIT_MIN, .numa_node = -1},
    };
    enum err err = ERR_NO_MEMORY;
    writer->reactor = aligned_alloc(CACHE_LINE_BYTES, sizeof(struct reactor));
    if (writer->reactor != NULL) {
        memset(writer->reactor, 0, sizeof(struct reactor));
        err = prng_entropy(options.seed) ? reactor_open(writer->reactor, &options) : ERR_IO;
    }
    if (err != OK) {
        free(writer->reactor);
        writer->reactor = NULL;
        return cmd_fail(writer->cmd, ERROR_CORE, "cannot open a core: %s", err_text(err));
    }
    writer->reactor->owner[REACTOR_USER] = writer;
    return CMD_OK;
}

static int writer_open_directory(struct rebuild_writer *writer)
{
    struct directory_open op = {0};
    struct directory_options options = {
        .path = writer->dir, .mode = DIRECTORY_SERVER, .existing = true, .version = FLOE_VERSION};
    writer_expect(writer, &op.done);
    directory_open(&op, writer->reactor, &options);
    enum err err = writer_await(writer);
    writer->directory = op.directory;
    writer->identity = op.identity;
    return err == OK ? CMD_OK : cmd_fail(writer->cmd, errors_of(err), "%s", op.message);
}

int rebuild_close(struct rebuild_writer *writer, int code)
{
    if (writer == NULL) {
        return code;
    }
    if (writer->directory != NULL) {
        struct completion done;
        writer_expect(writer, &done);
        directory_close(writer->directory, &done);
        enum err err = writer_await(writer);
        if (err != OK && code == CMD_OK) {
            code = cmd_fail(writer->cmd, ERROR_REBUILD, "cannot close %s: %s", writer->dir,
                            err_text(err));
        }
    }
    if (writer->reactor != NULL) {
        reactor_close(writer->reactor);
        free(writer->reactor);
    }
    free(writer);
    return code;
}

/* --- A map. --- */

/* As large as that of the map that was lost. */
static uint64_t writer_log_bytes(const struct rebuild_writer *writer)
{
    char path[REBUILD_PATH_BYTES];
    struct stat file;
    uint64_t bytes = MIB(16);
    for (uint32_t i = 0; i < options_count; i++) {
        if (strcmp(options_table[i].key, "meta.log.bytes") != 0) {
            continue;
        }
        if (stat(writer_path(writer, "meta/log-0", path), &file) == 0 &&
            file.st_size >= options_table[i].min && file.st_size <= options_table[i].max &&
            file.st_size % (int64_t)DISK_BLOCK_BYTES == 0) {
            bytes = (uint64_t)file.st_size;
        }
    }
    return bytes;
}

/* Opens the map in `path`; writer_close_map() in any case. */
static enum err writer_open_map(struct rebuild_writer *writer, const char *path)
{
    struct meta_options options = {
        .dir = path,
        .node_id = writer->identity.node_id,
        .data_core_count = 1,
        .boot = writer->identity.boot,
        .log_file_bytes = writer_log_bytes(writer),
    };
    enum err err = meta_open(&writer->meta, writer->reactor, &options);
    if (err != OK) {
        writer->meta = NULL;
        (void)snprintf(writer->meta_start.message, META_MESSAGE_BYTES, "out of memory");
        return err;
    }
    writer_expect(writer, &writer->meta_start.done);
    meta_start(writer->meta, &writer->meta_start);
    return writer_await(writer);
}

static void writer_close_map(struct rebuild_writer *writer)
{
    if (writer->meta != NULL) {
        writer_expect(writer, &writer->awaited);
        meta_stop(writer->meta, &writer->awaited);
        (void)writer_await(writer);
        meta_close(writer->meta);
        writer->meta = NULL;
    }
}

/* CMD_OK: there is no map that a server would take; writer->why says what is wrong with it. */
static int writer_check_map(struct rebuild_writer *writer, bool replace)
{
    static const uint8_t none[16];
    char path[REBUILD_PATH_BYTES];
    if (access(writer_path(writer, "meta/term", path), F_OK) != 0 && errno == ENOENT) {
        (void)snprintf(writer->why, REBUILD_TEXT_BYTES, "it is missing");
        return CMD_OK;
    }
    if (replace) {
        (void)snprintf(writer->why, REBUILD_TEXT_BYTES, "it is replaced, sound or not");
        return CMD_OK;
    }
    enum err err = writer_open_map(writer, writer_path(writer, "meta", path));
    const uint8_t *own = writer->identity.cluster_id;
    bool ours = err == OK && (memcmp(own, none, sizeof(none)) == 0 ||
                              memcmp(own, map_cluster_id(meta_map(writer->meta)), 16) == 0);
    (void)snprintf(writer->why, REBUILD_TEXT_BYTES, "%s",
                   err != OK ? writer->meta_start.message : "it is not this directory's");
    writer_close_map(writer);
    if (ours) {
        return cmd_fail(
            writer->cmd, ERROR_REBUILD_SOUND,
            "the map in %s is sound, nothing is written; --replace-meta makes a new one "
            "all the same, without what only the old one knows",
            path);
    }
    if (err != OK && err != ERR_DAMAGED && err != ERR_CORRUPT && err != ERR_FOREIGN) {
        return cmd_fail(writer->cmd, ERROR_REBUILD,
                        "%s. Nothing is written: the map may be sound. --replace-meta makes a new "
                        "one all the same",
                        writer->why);
    }
    return CMD_OK;
}

int rebuild_open(struct rebuild_writer **writer, const struct cmd *cmd, const char *dir,
                 bool replace)
{
    struct rebuild_writer *made = calloc(1, sizeof(*made));
    *writer = made;
    if (made == NULL) {
        return cmd_fail(cmd, ERROR_MEMORY, "out of memory");
    }
    made->cmd = cmd;
    (void)snprintf(made->dir, sizeof(made->dir), "%s", dir);
    (void)log_set_level_text("error"); /* What is worth a word is said here. */
    int code = writer_check_owner(made);
    code = code == CMD_OK ? writer_check_user(made) : code;
    code = code == CMD_OK ? writer_open_reactor(made) : code;
    code = code == CMD_OK ? writer_open_directory(made) : code;
    return code == CMD_OK ? writer_check_map(made, replace) : code;
}

static enum err writer_io(struct io *io)
{
    int32_t result = io_execute(io);
    return result < 0 ? (enum err)result : OK;
}

static enum err writer_sync(const struct rebuild_writer *writer, const char *name)
{
    char path[REBUILD_PATH_BYTES];
    struct io io = {0};
    io_sync_dir(&io, writer_path(writer, name, path));
    return writer_io(&io);
}

static bool writer_is_of_map(const char *name)
{
    static const char *const names[] = {"log-0", "log-1", "term", "term.tmp", "snapshot.tmp"};
    static const char prefix[] = "snapshot-";
    for (uint32_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return strncmp(name, prefix, strlen(prefix)) == 0 &&
           strspn(name + strlen(prefix), "0123456789abcdef") == 16 &&
           strlen(name) == strlen(prefix) + 16;
}

/* Of a try that did not come to its end: the files of a map, and nothing else. */
static enum err writer_clear(const struct rebuild_writer *writer)
{
    char folder[REBUILD_PATH_BYTES];
    (void)writer_path(writer, "meta.rebuild", folder);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? OK : ERR_EXISTS;
    }
    DIR *directory = fdopendir(fd);
    if (directory == NULL) {
        close(fd);
        return ERR_NO_MEMORY;
    }
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) { /* What stays is told by the rmdir. */
        if (writer_is_of_map(entry->d_name)) {
            (void)unlinkat(fd, entry->d_name, 0);
        }
    }
    closedir(directory);
    return rmdir(folder) == 0 ? OK : ERR_EXISTS;
}

static int writer_fail(const struct rebuild_writer *writer, enum err err, const char *what)
{
    return cmd_fail(writer->cmd, ERROR_REBUILD,
                    "%s: %s: %s; the old map is kept%s%s, the same command begins anew",
                    writer->dir, what, err_text(err), writer->old[0] != 0 ? " as " : "",
                    writer->old);
}

/* What was handed out is not handed out again. */
static enum err writer_raise(struct rebuild_writer *writer, const struct rebuild *rebuild)
{
    writer->proposal = (struct proposal){0};
    struct command *command = &writer->proposal.command;
    command->kind = COMMAND_RAISE;
    command->time_ms = writer->reactor->now_ms;
    command->raise.segment_next = rebuild->segment_next;
    command->raise.producer_next = rebuild->producer_next;
    writer_expect(writer, &writer->proposal.done);
    meta_submit(writer->meta, &writer->proposal);
    return writer_await(writer);
}

static int writer_make_map(struct rebuild_writer *writer, struct rebuild *rebuild)
{
    char path[REBUILD_PATH_BYTES];
    struct io io = {0};
    enum err err = writer_clear(writer);
    if (err == OK) {
        io_mkdir(&io, writer_path(writer, "meta.rebuild", path));
        err = writer_io(&io);
    }
    if (err == ERR_EXISTS) {
        return cmd_fail(writer->cmd, ERROR_REBUILD,
                        "%s/meta.rebuild is there, and holds or is what this command did not make: "
                        "move it away; the old map is kept",
                        writer->dir);
    }
    if (err != OK) {
        return writer_fail(writer, err, "cannot make meta.rebuild");
    }
    err = writer_open_map(writer, path);
    if (err != OK) {
        return cmd_fail(writer->cmd, ERROR_REBUILD, "%s", writer->meta_start.message);
    }
    memcpy(writer->cluster_id, map_cluster_id(meta_map(writer->meta)), 16);
    writer->adoption.node_id = writer->identity.node_id;
    writer_expect(writer, &writer->adoption.done);
    adoption_start_surveyed(&writer->adoption, writer->meta, writer->reactor, writer->dir,
                            &rebuild->survey);
    if (writer_await(writer) != OK) {
        return cmd_fail(writer->cmd, ERROR_REBUILD, "%s; the old map is kept",
                        writer->adoption.message);
    }
    err = writer_raise(writer, rebuild);
    return err == OK ? CMD_OK : writer_fail(writer, err, "the new map takes no ids");
}

/* --- Putting it in place. --- */

/* The folders that files were taken from. */
static enum err writer_sync_sources(const struct rebuild *rebuild)
{
    char folder[REBUILD_PATH_BYTES], synced[REBUILD_PATH_BYTES] = "";
    enum err err = OK;
    for (size_t i = 0; i < rebuild->list.count && err == OK; i++) {
        const char *path = rebuild->list.files[i].path;
        (void)snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
        if (rebuild->files[i].left_out && strcmp(folder, synced) != 0) {
            struct io io = {0};
            io_sync_dir(&io, folder);
            err = writer_io(&io);
            memcpy(synced, folder, sizeof(synced));
        }
    }
    return err;
}

/* A start would take them for what retention left, and unlink them. */
static int writer_set_aside(const struct rebuild_writer *writer, const struct rebuild *rebuild)
{
    bool moved = false;
    for (size_t i = 0; i < rebuild->list.count; i++) {
        const struct rebuild_file *file = &rebuild->files[i];
        char topic[TOPIC_ID_TEXT_BYTES], to[REBUILD_PATH_BYTES];
        if (!file->left_out) {
            continue;
        }
        for (uint32_t again = 0; again == 0 || access(to, F_OK) == 0; again++) {
            (void)snprintf(to, sizeof(to), "%s/quarantine/%s-%u-%u-%016" PRIx64 ".seg", writer->dir,
                           topic_id_text(&file->partition.topic, topic), file->partition.partition,
                           again, file->segment_id);
        }
        if (rename(rebuild->list.files[i].path, to) != 0) {
            (void)cmd_fail(writer->cmd, ERROR_FILE, "%s cannot be renamed to %s: %s",
                           rebuild->list.files[i].path, to, strerror(errno));
            return writer_fail(writer, ERR_IO, "files cannot be set aside");
        }
        (void)cmd_fail(writer->cmd, CMD_OK, "%s is left out and stands in %s",
                       rebuild->list.files[i].path, to);
        moved = true;
    }
    enum err err = moved ? writer_sync(writer, "quarantine") : OK;
    err = err == OK ? writer_sync_sources(rebuild) : err;
    return err == OK ? CMD_OK : writer_fail(writer, err, "cannot flush what was set aside");
}

/* A name that is not taken: meta.old- and the time. */
static void writer_name_old(const struct rebuild_writer *writer, char path[REBUILD_PATH_BYTES])
{
    char text[32], name[64];
    time_t now = time(NULL);
    struct tm utc;
    (void)strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", gmtime_r(&now, &utc));
    for (uint32_t i = 0; i == 0 || access(path, F_OK) == 0; i++) {
        (void)snprintf(name, sizeof(name), i == 0 ? "meta.old-%s" : "meta.old-%s-%u", text, i);
        (void)writer_path(writer, name, path);
    }
}

/* Durable, before files go that only the old map may name. */
static int writer_put_old_away(struct rebuild_writer *writer)
{
    char meta[REBUILD_PATH_BYTES], old[REBUILD_PATH_BYTES];
    (void)writer_path(writer, "meta", meta);
    if (rmdir(meta) != 0 && errno != ENOENT) { /* Else there was nothing in it. */
        writer_name_old(writer, old);
        if (rename(meta, old) != 0) {
            return cmd_fail(writer->cmd, ERROR_FILE, "%s cannot be renamed to %s: %s", meta, old,
                            strerror(errno));
        }
        memcpy(writer->old, old, sizeof(writer->old));
    }
    enum err err = writer_sync(writer, ".");
    return err == OK ? CMD_OK : writer_fail(writer, err, "cannot flush the directory");
}

/* All of it is in the map: nothing is left to adopt. */
static int writer_join_cluster(struct rebuild_writer *writer)
{
    writer_expect(writer, &writer->awaited);
    directory_adopted(writer->directory, &writer->awaited);
    enum err err = writer_await(writer);
    if (err == OK) {
        writer_expect(writer, &writer->awaited);
        directory_join_cluster(writer->directory, writer->cluster_id, &writer->awaited);
        err = writer_await(writer);
    }
    return err == OK ? CMD_OK : writer_fail(writer, err, "cannot write the superblock");
}

static int writer_put_new(struct rebuild_writer *writer)
{
    char meta[REBUILD_PATH_BYTES], made[REBUILD_PATH_BYTES];
    (void)writer_path(writer, "meta", meta);
    if (rename(writer_path(writer, "meta.rebuild", made), meta) != 0) {
        (void)cmd_fail(writer->cmd, ERROR_FILE, "%s cannot be renamed to %s: %s", made, meta,
                       strerror(errno));
        return writer_fail(writer, ERR_IO, "the new map cannot be put in place");
    }
    enum err err = writer_sync(writer, ".");
    return err == OK ? CMD_OK : writer_fail(writer, err, "cannot flush the directory");
}

static void writer_say(const struct rebuild_writer *writer)
{
    char id[TOPIC_ID_TEXT_BYTES];
    struct topic_id cluster;
    memcpy(cluster.bytes, writer->cluster_id, sizeof(cluster.bytes));
    (void)fprintf(stderr,
                  "%s: a new map is written, cluster %s\n"
                  "the old one: %s%s%s\n"
                  "now start floe: it serves what the plan says\n",
                  writer->dir, topic_id_text(&cluster, id), writer->why,
                  writer->old[0] != 0 ? "; it is kept as " : "", writer->old);
}

int rebuild_write(struct rebuild_writer *writer, struct rebuild *rebuild)
{
    int code = writer_make_map(writer, rebuild);
    writer_close_map(writer);
    code = code == CMD_OK ? writer_put_old_away(writer) : code;
    code = code == CMD_OK ? writer_set_aside(writer, rebuild) : code;
    code = code == CMD_OK ? writer_put_new(writer) : code;
    code = code == CMD_OK ? writer_join_cluster(writer) : code;
    if (code == CMD_OK) {
        writer_say(writer);
    }
    return code;
}
