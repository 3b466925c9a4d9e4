/* The raft log: its directory and its term.
 *
 * A directory is made in an order that a crash may end anywhere: log files, flush the directory,
 * term.tmp, rename to term, flush the directory. Without `term` it is made anew, and with `term`
 * all files are there. At every open the files are flushed before they are read: what a killed
 * process wrote may stand in a cache only, and must not decide anything before it is durable. */
#include "core/assert.h"
#include "core/bytes.h"
#include "core/cover.h"
#include "core/crc32c.h"
#include "core/log.h"
#include "meta/raft_log_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RAFT_LOG_NAMES_BYTES = 64 << 10 };

static const char *const raft_log_names[] = {"log-0", "log-1"};

int32_t raft_log_run(struct raft_log_store *store, struct io *io)
{
    return store->execute != NULL ? store->execute(store->reactor, io) : io_execute(io);
}

void raft_log_path(const struct raft_log_store *store, const char *name, char *path)
{
    ASSERT(strlen(name) + 1 < RAFT_LOG_NAME_BYTES);
    (void)snprintf(path, RAFT_LOG_PATH_BYTES, "%s/%s", store->dir, name);
}

static const char *raft_log_advice(enum err err)
{
    if (err == ERR_VERSION) {
        return "A newer floe wrote it; run that version";
    }
    if (err == ERR_FOREIGN) {
        return "It is of another directory; put back the files that belong together";
    }
    if (err == ERR_DAMAGED) {
        return "What this node acknowledged is lost. Restore its metadata from a copy, or make a "
               "new map from the segments: floe cluster rebuild-map --write";
    }
    if (err == ERR_NO_SPACE) {
        return "Free some space on its disk";
    }
    if (err == ERR_DENIED) {
        return "Run floe as the user who owns it";
    }
    return err == ERR_IO ? "The kernel's log says more about the disk" : "";
}

enum err raft_log_fail(const struct raft_log_store *store, char *message, enum err err,
                       const char *what, const char *name)
{
    const char *advice = raft_log_advice(err);
    ASSERT(err != OK);
    (void)snprintf(message, RAFT_LOG_MESSAGE_BYTES, "%s \"%.250s/%s\": %s%s%s", what, store->dir,
                   name, err_text(err), advice[0] != 0 ? ". " : "", advice);
    return err;
}

uint32_t raft_log_crc(const uint8_t *at, uint64_t size)
{
    ASSERT(size >= 16);
    return crc32c(crc32c(0, at, 12), at + 16, size - 16);
}

int32_t raft_log_open_file(struct raft_log_store *store, const char *name, uint32_t flags)
{
    char path[RAFT_LOG_PATH_BYTES];
    struct io io = {0};
    raft_log_path(store, name, path);
    io_open(&io, path, flags);
    return raft_log_run(store, &io);
}

void raft_log_close_file(struct raft_log_store *store, int *fd)
{
    if (*fd >= 0) {
        struct io io = {0};
        io_close(&io, *fd);
        (void)raft_log_run(store, &io);
        *fd = -1;
    }
}

enum err raft_log_list(struct raft_log_store *store, char **names, uint32_t *bytes, char *message)
{
    char *list = malloc(RAFT_LOG_NAMES_BYTES);
    if (list == NULL) {
        return raft_log_fail(store, message, ERR_NO_MEMORY, "cannot list", "");
    }
    struct io io = {0};
    io_list(&io, store->dir, list, RAFT_LOG_NAMES_BYTES, 0);
    int32_t result = raft_log_run(store, &io);
    if (result < 0 || io.list.more) {
        free(list);
        return raft_log_fail(store, message, result < 0 ? (enum err)result : ERR_LIMIT,
                             "cannot list", "");
    }
    *names = list;
    *bytes = (uint32_t)result;
    return OK;
}

static enum err raft_log_sync_dir(struct raft_log_store *store, char *message)
{
    struct io io = {0};
    io_sync_dir(&io, store->dir);
    int32_t result = raft_log_run(store, &io);
    return result < 0 ? raft_log_fail(store, message, (enum err)result, "cannot flush", "") : OK;
}

static enum err raft_log_sync(struct raft_log_store *store, int fd, const char *name, char *message)
{
    struct io io = {0};
    io_sync(&io, fd);
    int32_t result = raft_log_run(store, &io);
    return result < 0 ? raft_log_fail(store, message, (enum err)result, "cannot flush", name) : OK;
}

/* Both slots, one after the other: whatever ends this in between, one of them is whole. */
static enum err raft_log_write_slots(struct raft_log_store *store, uint64_t term, uint64_t vote)
{
    uint8_t *slot = store->slot;
    memset(slot, 0, RAFT_LOG_SLOT_BYTES);
    memcpy(slot, RAFT_TERM_MAGIC, 8);
    store_le32(slot + 8, RAFT_LOG_VERSION);
    store_le64(slot + 16, store->identity);
    store_le64(slot + 24, ++store->term_counter);
    store_le64(slot + 32, term);
    store_le64(slot + 40, vote);
    store_le64(slot + 48, store->file_bytes);
    store_le32(slot + 12, raft_log_crc(slot, RAFT_LOG_CHECKED_BYTES));
    for (uint32_t i = 0; i < RAFT_LOG_SLOTS; i++) {
        struct io io = {0};
        io_write(&io, store->term_fd, slot, RAFT_LOG_SLOT_BYTES, (uint64_t)i * RAFT_LOG_SLOT_BYTES,
                 IO_WRITE_DURABLE);
        int32_t result = raft_log_run(store, &io);
        if (result < 0) {
            return (enum err)result;
        }
    }
    store->found.term = term;
    store->found.vote = vote;
    return OK;
}

/* ERR_CORRUPT: the slot does not check. */
static enum err raft_log_check_slot(const uint8_t *slot)
{
    if (memcmp(slot, RAFT_TERM_MAGIC, 8) != 0 ||
        load_le32(slot + 12) != raft_log_crc(slot, RAFT_LOG_CHECKED_BYTES)) {
        return ERR_CORRUPT;
    }
    return load_le32(slot + 8) != RAFT_LOG_VERSION ? ERR_VERSION : OK;
}

static void raft_log_take_slot(struct raft_log_store *store)
{
    const uint8_t *slot = store->slot;
    uint64_t counter = load_le64(slot + 24);
    if (counter > store->term_counter) {
        store->identity = load_le64(slot + 16);
        store->term_counter = counter;
        store->found.term = load_le64(slot + 32);
        store->found.vote = load_le64(slot + 40);
        store->file_bytes = load_le64(slot + 48);
    }
}

/* The newer slot that checks. It is written back to both: it must survive the loss of one. */
static enum err raft_log_read_slots(struct raft_log_store *store, char *message)
{
    uint32_t sound = 0;
    uint64_t counters[RAFT_LOG_SLOTS] = {0};
    for (uint32_t i = 0; i < RAFT_LOG_SLOTS; i++) {
        struct io io = {0};
        memset(store->slot, 0, RAFT_LOG_SLOT_BYTES);
        io_read(&io, store->term_fd, store->slot, RAFT_LOG_SLOT_BYTES,
                (uint64_t)i * RAFT_LOG_SLOT_BYTES);
        int32_t result = raft_log_run(store, &io);
        enum err err = result < 0 ? (enum err)result : raft_log_check_slot(store->slot);
        if (err == OK) {
            counters[i] = load_le64(store->slot + 24);
            raft_log_take_slot(store);
            sound++;
        } else if (err != ERR_CORRUPT) {
            return raft_log_fail(store, message, err, "cannot read", "term");
        }
    }
    bool sane = store->file_bytes >= RAFT_LOG_FILE_BYTES_MIN &&
                is_aligned(store->file_bytes, RAFT_LOG_BLOCK_BYTES);
    if (sound == 0 || !sane) {
        return raft_log_fail(store, message, ERR_DAMAGED, "both slots are bad in", "term");
    }
    if (counters[0] == counters[1]) {
        return OK;
    }
    COVER("the slots of a raft term differ");
    if (sound < RAFT_LOG_SLOTS) {
        LOG_WARN("a slot of the raft term is damaged and written anew");
    }
    enum err err = raft_log_write_slots(store, store->found.term, store->found.vote);
    return err != OK ? raft_log_fail(store, message, err, "cannot write", "term") : OK;
}

/* Without `term` nothing was ever stored here; what says otherwise must not be made anew. */
static enum err raft_log_check_new(struct raft_log_store *store, char *message)
{
    char *names = NULL;
    uint32_t bytes = 0;
    enum err err = raft_log_list(store, &names, &bytes, message);
    bool used = false;
    for (uint32_t at = 0; err == OK && at < bytes; at += (uint32_t)strlen(names + at) + 1) {
        used = used || raft_snapshot_index(names + at) != 0;
    }
    free(names);
    for (uint32_t i = 0; err == OK && i < ARRAY_COUNT(raft_log_names); i++) {
        int fd = raft_log_open_file(store, raft_log_names[i], IO_OPEN_DIRECT);
        if (fd < 0) {
            continue; /* Not made yet. */
        }
        struct io io = {0};
        memset(store->slot, 0, RAFT_LOG_SLOT_BYTES);
        io_read(&io, fd, store->slot, RAFT_LOG_SLOT_BYTES, 0);
        int32_t result = raft_log_run(store, &io);
        err = result < 0 && result != ERR_INVALID ? raft_log_fail(store, message, (enum err)result,
                                                                  "cannot read", raft_log_names[i])
                                                  : OK;
        used = used || memcmp(store->slot, RAFT_LOG_MAGIC, 8) == 0;
        raft_log_close_file(store, &fd);
    }
    return err == OK && used ? raft_log_fail(store, message, ERR_DAMAGED, "missing", "term") : err;
}

static enum err raft_log_make_file(struct raft_log_store *store, const char *name, char *message)
{
    int fd = raft_log_open_file(store, name, IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_DIRECT);
    if (fd < 0) {
        return raft_log_fail(store, message, (enum err)fd, "cannot make", name);
    }
    struct io io = {0};
    io_allocate(&io, fd, 0, store->file_bytes);
    int32_t result = raft_log_run(store, &io);
    raft_log_close_file(store, &fd);
    return result < 0 ? raft_log_fail(store, message, (enum err)result, "cannot allocate", name)
                      : OK;
}

static enum err raft_log_make_term(struct raft_log_store *store, char *message)
{
    store->term_fd =
        raft_log_open_file(store, "term.tmp", IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_DIRECT);
    if (store->term_fd < 0) {
        return raft_log_fail(store, message, (enum err)store->term_fd, "cannot make", "term.tmp");
    }
    enum err err = raft_log_write_slots(store, 0, 0);
    struct io io = {0};
    if (err == OK) {
        io_sync(&io, store->term_fd);
        err = (enum err)raft_log_run(store, &io); /* The size, too. */
    }
    raft_log_close_file(store, &store->term_fd);
    char from[RAFT_LOG_PATH_BYTES], to[RAFT_LOG_PATH_BYTES];
    raft_log_path(store, "term.tmp", from);
    raft_log_path(store, "term", to);
    if (err == OK) {
        io_rename(&io, from, to);
        err = (enum err)raft_log_run(store, &io);
    }
    return err != OK ? raft_log_fail(store, message, err, "cannot write", "term.tmp")
                     : raft_log_sync_dir(store, message);
}

static enum err raft_log_make(struct raft_log_store *store, uint64_t file_bytes, char *message)
{
    enum err err = raft_log_check_new(store, message);
    store->file_bytes = align_up(file_bytes, RAFT_LOG_BLOCK_BYTES);
    while (store->identity == 0) {
        store->identity = prng_next(&store->reactor->prng);
    }
    for (uint32_t i = 0; err == OK && i < ARRAY_COUNT(raft_log_names); i++) {
        err = raft_log_make_file(store, raft_log_names[i], message);
    }
    err = err == OK ? raft_log_sync_dir(store, message) : err;
    return err == OK ? raft_log_make_term(store, message) : err;
}

static enum err raft_log_open_term(struct raft_log_store *store, uint64_t file_bytes, char *message)
{
    const uint32_t flags = IO_OPEN_WRITE | IO_OPEN_DIRECT;
    store->term_fd = raft_log_open_file(store, "term", flags);
    if (store->term_fd == ERR_NOT_FOUND) {
        enum err err = raft_log_make(store, file_bytes, message);
        if (err != OK) {
            return err;
        }
        store->term_counter = 0; /* Read back what was written. */
        store->term_fd = raft_log_open_file(store, "term", flags);
    }
    if (store->term_fd < 0) {
        return raft_log_fail(store, message, (enum err)store->term_fd, "cannot open", "term");
    }
    enum err err = raft_log_sync(store, store->term_fd, "term", message);
    return err == OK ? raft_log_read_slots(store, message) : err;
}

static enum err raft_log_open_logs(struct raft_log_store *store, char *message)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(raft_log_names); i++) {
        const char *name = raft_log_names[i];
        char path[RAFT_LOG_PATH_BYTES];
        struct io io = {0};
        raft_log_path(store, name, path);
        io_stat(&io, path);
        int32_t result = raft_log_run(store, &io);
        if (result == ERR_NOT_FOUND || (result == OK && io.stat.size < store->file_bytes)) {
            return raft_log_fail(store, message, ERR_DAMAGED, "missing or too short", name);
        }
        store->files[i].fd = raft_log_open_file(store, name, IO_OPEN_WRITE | IO_OPEN_DIRECT);
        if (result < 0 || store->files[i].fd < 0) {
            enum err err = (enum err)(result < 0 ? result : store->files[i].fd);
            return raft_log_fail(store, message, err, "cannot open", name);
        }
        enum err err = raft_log_sync(store, store->files[i].fd, name, message);
        if (err != OK) {
            return err;
        }
    }
    store->buffer_size =
        (uint32_t)min_u64(RAFT_LOG_FRAME_BYTES_MAX, store->file_bytes / 2 & ~(uint64_t)4095);
    store->buffer = aligned_alloc(RAFT_LOG_BLOCK_BYTES, store->buffer_size);
    return store->buffer == NULL
               ? raft_log_fail(store, message, ERR_NO_MEMORY, "no buffer for", "log-0")
               : raft_log_sync_dir(store, message);
}

/* What a crash left to be done: the term of an entry that raft_log_bootstrap() wrote, and the
 * restart behind a snapshot of another node. */
static enum err raft_log_heal(struct raft_log_store *store, bool restart, char *message)
{
    const struct raft_log_found *found = &store->found;
    if (restart) {
        raft_log_queue_own(store, found->snapshot_index + 1, true);
        enum err err = raft_log_write_now(store);
        if (err != OK) {
            return raft_log_fail(store, message, err, "cannot write",
                                 raft_log_names[store->active]);
        }
    }
    if (found->term == 0 && found->count == 1 && found->entries[0].term == 1) {
        enum err err = raft_log_set_term(store, 1, 0);
        return err != OK ? raft_log_fail(store, message, err, "cannot write", "term") : OK;
    }
    return OK;
}

static enum err raft_log_open_all(struct raft_log_store *store, uint64_t file_bytes, char *message)
{
    bool restart = false;
    enum err err = raft_log_open_term(store, file_bytes, message);
    err = err == OK ? raft_log_open_logs(store, message) : err;
    err = err == OK ? raft_snapshot_load(store, message) : err;
    err = err == OK ? raft_log_load(store, &restart, message) : err;
    err = err == OK ? raft_snapshot_clean(store, message) : err;
    return err == OK ? raft_log_heal(store, restart, message) : err;
}

static void raft_log_free(struct raft_log_store *store)
{
    raft_log_found_clear(&store->found);
    free(store->slot);
    free(store->buffer);
    free(store);
}

enum err raft_log_open(struct raft_log_store **opened, struct reactor *reactor,
                       const struct raft_log_options *options, char *message)
{
    *opened = NULL;
    message[0] = 0;
    if (strlen(options->dir) >= RAFT_LOG_DIR_BYTES ||
        options->file_bytes < RAFT_LOG_FILE_BYTES_MIN) {
        (void)snprintf(message, RAFT_LOG_MESSAGE_BYTES,
                       "the files of the raft log need at least %" PRIu64 " bytes each, and a path "
                       "of less than %d bytes",
                       RAFT_LOG_FILE_BYTES_MIN, RAFT_LOG_DIR_BYTES);
        return ERR_INVALID;
    }
    struct raft_log_store *store = calloc(1, sizeof(*store));
    uint8_t *slot = aligned_alloc(RAFT_LOG_BLOCK_BYTES, RAFT_LOG_SLOT_BYTES);
    if (store == NULL || slot == NULL) {
        free(store);
        free(slot);
        (void)snprintf(message, RAFT_LOG_MESSAGE_BYTES, "no memory for the raft log");
        return ERR_NO_MEMORY;
    }
    store->reactor = reactor;
    store->execute = options->execute;
    (void)snprintf(store->dir, sizeof(store->dir), "%s", options->dir);
    store->slot = slot;
    store->term_fd = -1;
    store->files[0].fd = -1;
    store->files[1].fd = -1;
    completion_init(&store->work, raft_log_work);
    enum err err = raft_log_open_all(store, options->file_bytes, message);
    if (err != OK) {
        raft_log_close_file(store, &store->term_fd);
        raft_log_close_file(store, &store->files[0].fd);
        raft_log_close_file(store, &store->files[1].fd);
        raft_log_free(store);
        return err;
    }
    *opened = store;
    return OK;
}

struct raft_log_found *raft_log_found(struct raft_log_store *store)
{
    return &store->found;
}

bool raft_log_is_fresh(const struct raft_log_store *store)
{
    return store->found.term == 0 && store->found.vote == 0 && store->sequence == 1 &&
           store->snapshot_index == 0;
}

/* The entry first: with it and without a term the next open knows what is missing. */
enum err raft_log_bootstrap(struct raft_log_store *store, const struct raft_log_entry *entry)
{
    ASSERT(raft_log_is_fresh(store));
    ASSERT(entry->term == 1);
    ASSERT(entry->size <= RAFT_LOG_ENTRY_BYTES_MAX);
    if (!raft_log_found_add(&store->found, entry)) {
        return ERR_NO_MEMORY;
    }
    struct raft_log_append append = {.entries = entry, .count = 1, .index = 1};
    ASSERT(store->index_next == 1);
    store->index_next = 2;
    store->waiting = (struct raft_log_queue){.head = &append, .tail = &append};
    enum err err = raft_log_write_now(store);
    store->waiting = (struct raft_log_queue){0};
    store->flying = (struct raft_log_queue){0};
    return err == OK ? raft_log_set_term(store, 1, 0) : err;
}

enum err raft_log_set_term(struct raft_log_store *store, uint64_t term, uint64_t vote)
{
    ASSERT(term >= store->found.term);
    return raft_log_write_slots(store, term, vote);
}

void raft_log_close(struct raft_log_store *store)
{
    ASSERT(store->stop_done != NULL);
    ASSERT(store->term_fd == -1);
    raft_log_free(store);
}
