/* A raft log on a reactor and a directory of its own, next to a model of what it must hold: the
 * entries by index, and every record that was given to the log but is not known to be durable. */
#pragma once

#include "core/io_engine.h"
#include "core/reactor.h"
#include "meta/raft_log.h"

enum { LOG_ENTRIES_MAX = 20000, LOG_NOTES_MAX = 20000 };

/* What an entry was made of. */
struct log_cell {
    uint64_t term;
    uint32_t seed, size;
};

/* A record on its way: an entry, or a truncation (or restart: from there on too). */
struct log_note {
    uint64_t index;
    struct log_cell cell;
    bool truncate, acked;
};

struct log_shape {
    uint64_t index, term;
    uint32_t seed; /* Of the data. */
};

struct log_state {
    uint64_t next; /* Entries are [1, next), but for what a snapshot took. */
    struct log_cell cells[LOG_ENTRIES_MAX];
};

struct log_fixture {
    struct reactor reactor;
    struct io_helper *helper;
    const struct io_engine *engine;
    struct raft_log_store *store;
    char root[64], dir[96];
    uint64_t file_bytes;
    char message[RAFT_LOG_MESSAGE_BYTES];

    uint64_t term, next; /* Of the next append. */
    uint32_t seed;
    struct log_state base; /* Durable for certain... */
    struct log_note notes[LOG_NOTES_MAX];
    uint32_t note_count;            /* ...and what was asked since, in order. */
    uint32_t outstanding, canceled; /* Appends. */
    uint32_t wishes, wishes_fired;
    struct log_shape snapshot, putting; /* Durable; under way (index 0 = none). */
    struct raft_log_put put;
};

struct log_fixture *log_setup(const struct io_engine *engine);
void log_teardown(struct log_fixture *log);

/* For cmocka: *state is the fixture. */
int log_setup_posix(void **state);
int log_setup_uring(void **state); /* Where this build has it. */
int log_teardown_state(void **state);

/* The rows of a table of tests: TESTS(X) is X(test) for each of them, and each runs on every engine
 * that this build has. */
#define LOG_TEST_POSIX(test)                                                                       \
    cmocka_unit_test_setup_teardown(test, log_setup_posix, log_teardown_state),
#ifdef FLOE_HAS_URING
#define LOG_TEST_URING(test)                                                                       \
    cmocka_unit_test_setup_teardown(test, log_setup_uring, log_teardown_state),
#define LOG_ON_EACH_ENGINE(TESTS) TESTS(LOG_TEST_POSIX) TESTS(LOG_TEST_URING)
#else
#define LOG_ON_EACH_ENGINE(TESTS) TESTS(LOG_TEST_POSIX)
#endif

enum err log_open(struct log_fixture *log);
void log_open_ok(struct log_fixture *log); /* And what it found is possible. */
/* It cannot be opened; the message says `what`, and which directory. */
void log_refuses(struct log_fixture *log, enum err err, const char *what);
void log_stop(struct log_fixture *log);
void log_reopen(struct log_fixture *log); /* Stops, opens; nothing may be missing. */
void log_crash(struct log_fixture *log);  /* Nothing is finished; what is on the disk stays. */

void log_turns(struct log_fixture *log, uint32_t count);
void log_settle(struct log_fixture *log); /* Turns until nothing is outstanding. */

void log_append(struct log_fixture *log, uint32_t count, uint32_t size);
void log_append_now(struct log_fixture *log, uint32_t count, uint32_t size);
void log_truncate(struct log_fixture *log, uint64_t index);
void log_put(struct log_fixture *log, uint64_t index, bool drop_all); /* Starts. */
void log_put_now(struct log_fixture *log, uint64_t index, bool drop_all);
uint64_t log_settled_next(const struct log_fixture *log); /* Below it nothing can be void. */

/* Files of the directory, by bare system calls. */
void log_path(const struct log_fixture *log, const char *name, char path[160]);
void log_shell(const struct log_fixture *log, const char *command); /* In the directory. */
void log_peek(const struct log_fixture *log, const char *name, uint64_t at, void *data,
              uint32_t size);
void log_poke(const struct log_fixture *log, const char *name, uint64_t at, const void *data,
              uint32_t size);
void log_spoil(const struct log_fixture *log, const char *name, uint64_t at); /* One bit. */
