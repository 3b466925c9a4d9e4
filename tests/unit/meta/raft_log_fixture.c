/* See the header. */
#include "tests/unit/meta/raft_log_fixture.h"

#include "core/assert.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct log_wish {
    struct raft_log_append append;
    struct log_fixture *log;
    uint32_t number, note;
    struct raft_log_entry *entries;
};

static void fill(uint8_t *at, uint32_t seed, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++) {
        seed = seed * 1664525 + 1013904223;
        at[i] = (uint8_t)(seed >> 24);
    }
}

static uint32_t snapshot_size(uint32_t seed)
{
    return seed % 9000;
}

PRINTF_LIKE(1, 2) static void run_shell(const char *format, ...)
{
    char command[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    assert_true(length > 0 && (size_t)length < sizeof(command));
    assert_int_equal(system(command), 0);
}

static void open_reactor(struct log_fixture *log)
{
    memset(&log->reactor, 0, sizeof(log->reactor));
    log->helper = io_helper_start();
    struct reactor_options options = {
        .engine = log->engine,
        .io = {.entries = 64, .recv_count = 4, .recv_size = 4096, .helper = log->helper},
        .memory = {.limit_bytes = MIB(64), .numa_node = -1},
        .seed = {1, 2, 3, 4},
    };
    assert_int_equal(reactor_open(&log->reactor, &options), OK);
}

struct log_fixture *log_setup(const struct io_engine *engine)
{
    struct log_fixture *log =
        aligned_alloc(CACHE_LINE_BYTES, align_up(sizeof(*log), CACHE_LINE_BYTES));
    assert_non_null(log);
    memset(log, 0, sizeof(*log));
    log->engine = engine;
    log->file_bytes = RAFT_LOG_FILE_BYTES_MIN;
    log->next = 1;
    log->base.next = 1;
    log->term = 1;
    (void)snprintf(log->root, sizeof(log->root), "raft-log-test-XXXXXX");
    assert_non_null(mkdtemp(log->root));
    (void)snprintf(log->dir, sizeof(log->dir), "%s/meta", log->root);
    run_shell("mkdir %s", log->dir);
    open_reactor(log);
    return log;
}

void log_teardown(struct log_fixture *log)
{
    if (log->store != NULL) {
        log_stop(log);
    }
    io_helper_stop(log->helper); /* First: it may still be about to wake the reactor. */
    reactor_close(&log->reactor);
    run_shell("rm -rf %s", log->root);
    free(log);
}

int log_setup_posix(void **state)
{
    *state = log_setup(&io_engine_posix);
    return 0;
}

#ifdef FLOE_HAS_URING
int log_setup_uring(void **state)
{
    *state = log_setup(&io_engine_uring);
    return 0;
}
#endif

int log_teardown_state(void **state)
{
    log_teardown(*state);
    return 0;
}

void log_turns(struct log_fixture *log, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)reactor_turn(&log->reactor, NS_PER_MS);
    }
}

void log_settle(struct log_fixture *log)
{
    for (uint32_t i = 0; log->outstanding > 0 || log->putting.index != 0; i++) {
        assert_true(i < 100000);
        log_turns(log, 1);
    }
}

static void note(struct log_fixture *log, const struct log_note *added)
{
    assert_true(log->note_count < LOG_NOTES_MAX);
    log->notes[log->note_count++] = *added;
}

static void note_apply(struct log_state *state, const struct log_note *applied)
{
    if (!applied->truncate) {
        assert_int_equal(applied->index, state->next);
        assert_true(applied->index < LOG_ENTRIES_MAX);
        state->cells[applied->index] = applied->cell;
    }
    state->next = applied->index + !applied->truncate;
}

/* Notes up to the last one acked move into `base`. */
static void notes_collapse(struct log_fixture *log)
{
    uint32_t acked = 0;
    for (uint32_t i = 0; i < log->note_count; i++) {
        acked = log->notes[i].acked ? i + 1 : acked;
    }
    for (uint32_t i = 0; i < acked; i++) {
        note_apply(&log->base, &log->notes[i]);
    }
    memmove(log->notes, log->notes + acked, (log->note_count - acked) * sizeof(log->notes[0]));
    log->note_count -= acked;
}

static void appended(struct completion *done)
{
    struct log_wish *wish = CONTAINER_OF(done, struct log_wish, append.done);
    struct log_fixture *log = wish->log;
    assert_int_equal(wish->number, log->wishes_fired);
    assert_true(done->result == OK || done->result == ERR_CANCELED);
    log->wishes_fired++;
    log->outstanding--;
    log->canceled += done->result != OK;
    log->notes[wish->note + wish->append.count - 1].acked = done->result == OK;
    for (uint32_t i = 0; i < wish->append.count; i++) {
        free(wish->entries[i].data);
    }
    free(wish->entries);
    free(wish);
    if (log->outstanding == 0) {
        notes_collapse(log);
    }
}

void log_append(struct log_fixture *log, uint32_t count, uint32_t size)
{
    struct log_wish *wish = calloc(1, sizeof(*wish));
    wish->log = log;
    wish->number = log->wishes++;
    wish->note = log->note_count;
    wish->entries = calloc(count, sizeof(*wish->entries));
    for (uint32_t i = 0; i < count; i++) {
        struct log_cell cell = {.term = log->term, .seed = ++log->seed, .size = size};
        uint8_t *data = malloc(size + 1);
        fill(data, cell.seed, size);
        wish->entries[i] = (struct raft_log_entry){
            .term = log->term, .type = (uint8_t)(cell.seed % 3 + 1), .size = size, .data = data};
        note(log, &(struct log_note){.index = log->next + i, .cell = cell});
    }
    wish->append.entries = wish->entries;
    wish->append.count = count;
    completion_init(&wish->append.done, appended);
    log->outstanding++;
    raft_log_append(log->store, &wish->append);
    assert_int_equal(wish->append.index, log->next);
    log->next += count;
}

void log_append_now(struct log_fixture *log, uint32_t count, uint32_t size)
{
    log_append(log, count, size);
    log_settle(log);
}

void log_truncate(struct log_fixture *log, uint64_t index)
{
    note(log, &(struct log_note){.index = index, .truncate = true});
    log->next = index;
    raft_log_truncate(log->store, index);
}

uint64_t log_settled_next(const struct log_fixture *log)
{
    uint32_t acked = 0;
    for (uint32_t i = 0; i < log->note_count; i++) {
        acked = log->notes[i].acked ? i + 1 : acked;
    }
    uint64_t next = log->base.next;
    for (uint32_t i = 0; i < log->note_count; i++) {
        const struct log_note *at = &log->notes[i];
        if (i < acked) {
            next = at->index + !at->truncate;
        } else if (at->truncate) {
            next = min_u64(next, at->index);
        }
    }
    return next;
}

static void put_done(struct completion *done)
{
    struct log_fixture *log = CONTAINER_OF(done, struct log_fixture, put.done);
    assert_int_equal(done->result, OK);
    log->snapshot = log->putting;
    for (uint32_t i = log->note_count; log->put.drop_all && i-- > 0;) {
        if (log->notes[i].truncate && log->notes[i].index == log->putting.index + 1) {
            log->notes[i].acked = true;
            break;
        }
    }
    log->putting = (struct log_shape){0};
    free(log->put.data);
    log->put.data = NULL;
    if (log->outstanding == 0) {
        notes_collapse(log);
    }
}

/* The entry that is settled at `index`. */
static struct log_cell cell_of(const struct log_fixture *log, uint64_t index)
{
    for (uint32_t i = log->note_count; i-- > 0;) {
        if (!log->notes[i].truncate && log->notes[i].index == index) {
            return log->notes[i].cell;
        }
    }
    return log->base.cells[index];
}

/* One that drops all comes with a term that no entry here has. */
void log_put(struct log_fixture *log, uint64_t index, bool drop_all)
{
    assert_int_equal(log->putting.index, 0);
    assert_true(drop_all || index < log_settled_next(log));
    log->term += drop_all;
    log->putting = (struct log_shape){.index = index,
                                      .term = drop_all ? log->term : cell_of(log, index).term,
                                      .seed = ++log->seed};
    if (drop_all) {
        note(log, &(struct log_note){.index = index + 1, .truncate = true});
    }
    uint32_t size = snapshot_size(log->putting.seed);
    uint8_t *data = malloc(RAFT_LOG_SNAPSHOT_HEADER_BYTES + (size_t)size);
    fill(data + RAFT_LOG_SNAPSHOT_HEADER_BYTES, log->putting.seed, size);
    log->put = (struct raft_log_put){.index = index,
                                     .term = log->putting.term,
                                     .data = data,
                                     .size = RAFT_LOG_SNAPSHOT_HEADER_BYTES + (uint64_t)size,
                                     .drop_all = drop_all};
    completion_init(&log->put.done, put_done);
    log->next = drop_all ? index + 1 : log->next;
    raft_log_put(log->store, &log->put);
}

void log_put_now(struct log_fixture *log, uint64_t index, bool drop_all)
{
    log_put(log, index, drop_all);
    for (uint32_t i = 0; log->putting.index != 0; i++) {
        assert_true(i < 100000);
        log_turns(log, 1);
    }
}

enum err log_open(struct log_fixture *log)
{
    struct raft_log_options options = {.dir = log->dir, .file_bytes = log->file_bytes};
    enum err err = raft_log_open(&log->store, &log->reactor, &options, log->message);
    assert_int_equal(err == OK, log->store != NULL);
    assert_int_equal(err == OK, log->message[0] == 0);
    return err;
}

static bool found_is(const struct raft_log_found *found, const struct log_state *state)
{
    uint64_t next = found->first_index + found->count;
    if (next != max_u64(state->next, found->snapshot_index + 1)) {
        return false;
    }
    for (uint32_t i = 0; i < found->count; i++) {
        const struct raft_log_entry *entry = &found->entries[i];
        const struct log_cell *cell = &state->cells[found->first_index + i];
        if (entry->term != cell->term || entry->size != cell->size ||
            entry->type != cell->seed % 3 + 1) {
            return false;
        }
        uint8_t *data = malloc(cell->size + (size_t)1);
        fill(data, cell->seed, cell->size);
        bool same = memcmp(data, entry->data, cell->size) == 0;
        free(data);
        if (!same) {
            return false;
        }
    }
    return true;
}

static void check_snapshot(struct log_fixture *log, const struct raft_log_found *found)
{
    if (log->putting.index != 0 && found->snapshot_index == log->putting.index &&
        found->snapshot_term == log->putting.term) {
        log->snapshot = log->putting;
    }
    log->putting = (struct log_shape){0};
    assert_int_equal(found->snapshot_index, log->snapshot.index);
    assert_int_equal(found->first_index, found->snapshot_index + 1);
    if (found->snapshot_index != 0) {
        uint32_t size = snapshot_size(log->snapshot.seed);
        uint8_t *data = malloc((size_t)size + 1);
        fill(data, log->snapshot.seed, size);
        assert_int_equal(found->snapshot_term, log->snapshot.term);
        assert_int_equal(found->snapshot_size, size);
        assert_memory_equal(found->snapshot, data, size);
        free(data);
    }
}

/* It must be what some prefix of the notes gives, and all that was acked is in that prefix. */
static void check_found(struct log_fixture *log)
{
    const struct raft_log_found *found = raft_log_found(log->store);
    check_snapshot(log, found);
    notes_collapse(log);
    bool possible = found_is(found, &log->base);
    for (uint32_t i = 0; i < log->note_count && !possible; i++) {
        note_apply(&log->base, &log->notes[i]);
        possible = found_is(found, &log->base);
    }
    assert_true(possible);
    log->note_count = 0;
    log->next = found->first_index + found->count;
    log->base.next = log->next;
}

void log_refuses(struct log_fixture *log, enum err err, const char *what)
{
    assert_int_equal(log_open(log), err);
    if (strstr(log->message, what) == NULL || strstr(log->message, log->dir) == NULL) {
        print_error("%s\n", log->message);
        fail();
    }
}

void log_open_ok(struct log_fixture *log)
{
    enum err err = log_open(log);
    if (err != OK) {
        print_error("%s\n", log->message);
    }
    assert_int_equal(err, OK);
    check_found(log);
}

struct stop_wait {
    struct completion done;
    bool fired;
};

static void stopped(struct completion *done)
{
    CONTAINER_OF(done, struct stop_wait, done)->fired = true;
}

void log_stop(struct log_fixture *log)
{
    struct stop_wait wait = {0};
    completion_init(&wait.done, stopped);
    raft_log_stop(log->store, &wait.done);
    for (uint32_t i = 0; !wait.fired; i++) {
        assert_true(i < 100000);
        log_turns(log, 1);
    }
    raft_log_close(log->store);
    log->store = NULL;
    assert_int_equal(log->outstanding, 0);
    assert_int_equal(log->putting.index, 0);
}

void log_reopen(struct log_fixture *log)
{
    uint64_t next = log->next;
    log_settle(log);
    log_stop(log);
    log_open_ok(log);
    assert_int_equal(log->next, next);
}

/* The copy is what a process that is killed now leaves; what happens later does not count. */
void log_crash(struct log_fixture *log)
{
    static struct log_note notes[LOG_NOTES_MAX];
    static struct log_state base;
    struct log_shape snapshot = log->snapshot, putting = log->putting;
    uint32_t note_count = log->note_count;
    memcpy(notes, log->notes, note_count * sizeof(notes[0]));
    memcpy(&base, &log->base, sizeof(base));
    /* The helper's thread goes on: a file may be renamed or removed while it is being copied. */
    run_shell("cp -a %s %s.crash 2>/dev/null || true", log->dir, log->dir);
    log_stop(log);
    run_shell("rm -rf %s", log->dir);
    run_shell("mv %s.crash %s", log->dir, log->dir);
    memcpy(log->notes, notes, note_count * sizeof(notes[0]));
    memcpy(&log->base, &base, sizeof(base));
    log->note_count = note_count;
    log->snapshot = snapshot;
    log->putting = putting;
    log_open_ok(log);
}

void log_path(const struct log_fixture *log, const char *name, char path[160])
{
    (void)snprintf(path, 160, "%s/%s", log->dir, name);
}

void log_shell(const struct log_fixture *log, const char *command)
{
    run_shell("cd %s && %s", log->dir, command);
}

void log_peek(const struct log_fixture *log, const char *name, uint64_t at, void *data,
              uint32_t size)
{
    char path[160];
    log_path(log, name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, data, size, (off_t)at), size);
    close(fd);
}

void log_poke(const struct log_fixture *log, const char *name, uint64_t at, const void *data,
              uint32_t size)
{
    char path[160];
    log_path(log, name, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, size, (off_t)at), size);
    close(fd);
}

void log_spoil(const struct log_fixture *log, const char *name, uint64_t at)
{
    uint8_t byte;
    log_peek(log, name, at, &byte, 1);
    byte ^= 0x10;
    log_poke(log, name, at, &byte, 1);
}
