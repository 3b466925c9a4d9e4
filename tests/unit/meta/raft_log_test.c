/* The raft log on real files: what was acknowledged comes back, what was not may, and what the disk
 * lost is said. Frames of entries that are appended one after the other take a block each, so frame
 * n of a file that was never begun anew stands at n * 4096. */
#include "core/bytes.h"
#include "meta/raft_log_internal.h"
#include "tests/unit/meta/raft_log_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCK = 4096 };

static void a_fresh_directory_is_bootstrapped_once(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    assert_true(raft_log_is_fresh(log->store));
    log_reopen(log);
    assert_true(raft_log_is_fresh(log->store));
    uint8_t data[16] = "configuration";
    struct raft_log_entry entry = {.term = 1, .type = 3, .size = sizeof(data), .data = data};
    assert_int_equal(raft_log_bootstrap(log->store, &entry), OK);
    assert_false(raft_log_is_fresh(log->store));
    for (int i = 0; i < 2; i++) {
        const struct raft_log_found *found = raft_log_found(log->store);
        assert_int_equal(found->term, 1);
        assert_int_equal(found->vote, 0);
        assert_int_equal(found->first_index, 1);
        assert_int_equal(found->count, 1);
        assert_int_equal(found->entries[0].term, 1);
        assert_int_equal(found->entries[0].type, 3);
        assert_memory_equal(found->entries[0].data, data, sizeof(data));
        log_stop(log);
        assert_int_equal(log_open(log), OK);
        assert_false(raft_log_is_fresh(log->store));
    }
}

static void a_bootstrap_that_ended_before_its_term_is_finished(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    log_shell(log, "cp term ../term");
    uint8_t byte = 7;
    struct raft_log_entry entry = {.term = 1, .type = 3, .size = 1, .data = &byte};
    assert_int_equal(raft_log_bootstrap(log->store, &entry), OK);
    log_stop(log);
    log_shell(log, "mv ../term term");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(log_open(log), OK);
        assert_int_equal(raft_log_found(log->store)->term, 1);
        assert_int_equal(raft_log_found(log->store)->count, 1);
        assert_false(raft_log_is_fresh(log->store));
        log_stop(log);
    }
}

static void expect_term(struct log_fixture *log, uint64_t term, uint64_t vote)
{
    log_open_ok(log);
    assert_int_equal(raft_log_found(log->store)->term, term);
    assert_int_equal(raft_log_found(log->store)->vote, vote);
    log_stop(log);
}

static void term_and_vote_survive_a_bad_slot_and_not_two(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    assert_int_equal(raft_log_set_term(log->store, 4, 0), OK);
    assert_int_equal(raft_log_set_term(log->store, 5, 2), OK);
    log_stop(log);
    expect_term(log, 5, 2);
    log->file_bytes = MIB(1); /* The directory keeps its own. */
    for (uint64_t at = 0; at < 64; at++) {
        log_spoil(log, "term", at);
        expect_term(log, 5, 2);
        log_spoil(log, "term", RAFT_LOG_SLOT_BYTES + at);
        expect_term(log, 5, 2);
    }
    log_spoil(log, "term", 33);
    log_spoil(log, "term", RAFT_LOG_SLOT_BYTES + 8);
    log_refuses(log, ERR_DAMAGED, "both slots");
}

static void a_crash_between_the_slots_leaves_the_old_term_or_the_new(void **state)
{
    struct log_fixture *log = *state;
    static uint8_t old[2 * RAFT_LOG_SLOT_BYTES];
    log_open_ok(log);
    assert_int_equal(raft_log_set_term(log->store, 5, 2), OK);
    log_peek(log, "term", 0, old, sizeof(old));
    assert_int_equal(raft_log_set_term(log->store, 6, 0), OK);
    log_stop(log);
    log_poke(log, "term", RAFT_LOG_SLOT_BYTES, old, RAFT_LOG_SLOT_BYTES);
    expect_term(log, 6, 0);
    log_spoil(log, "term", 32); /* The open above has written both. */
    expect_term(log, 6, 0);
    log_poke(log, "term", 0, old, sizeof(old));
    log_spoil(log, "term", 40); /* Torn: the second still has what counts. */
    expect_term(log, 5, 2);
}

static void entries_of_all_sizes_come_back(void **state)
{
    struct log_fixture *log = *state;
    log->file_bytes = MIB(4) + 5; /* In whole blocks. */
    log_open_ok(log);
    static const uint32_t sizes[] = {0, 1, 7, 8, 200, 4008, 4009, 65600, RAFT_LOG_ENTRY_BYTES_MAX};
    for (uint32_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        log_append(log, 1 + i % 3, sizes[i]);
        log->term += i % 2;
    }
    log_settle(log);
    assert_true(log->reactor.stats.counters[STAT_FILE_WRITES] < ARRAY_COUNT(sizes));
    log_reopen(log);
    assert_int_equal(log->next, 1 + 1 + 2 + 3 + 1 + 2 + 3 + 1 + 2 + 3);
    log_append_now(log, 5, 100);
    log_reopen(log);
}

static void an_append_longer_than_a_file_takes_several_frames(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    log_append_now(log, 1900, 200); /* 425,600 bytes. */
    log_reopen(log);
    assert_int_equal(log->next, 1901);
}

static void truncated_entries_are_void(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    log_append_now(log, 10, 100);
    log_truncate(log, 6);
    log->term++;
    log_append(log, 3, 50);
    log_truncate(log, 9); /* Already the next: nothing. */
    log_settle(log);
    log_reopen(log);
    assert_int_equal(log->next, 9);
    log_truncate(log, 4);
    log_reopen(log);
    assert_int_equal(log->next, 4);
    log_append(log, 2, 10);
    log_truncate(log, 5); /* Both in one frame. */
    log_append(log, 2, 10);
    log_truncate(log, 1);
    log_reopen(log);
    assert_int_equal(log->next, 1);
    assert_false(raft_log_is_fresh(log->store));
    log_append_now(log, 3, 10);
    log_reopen(log);
}

static void a_torn_last_frame_is_cut_and_written_over(void **state)
{
    struct log_fixture *log = *state;
    static const uint64_t places[] = {0, 13, 30, 48, 70, 5000, 8000};
    for (uint32_t i = 0; i < ARRAY_COUNT(places); i++) {
        log_open_ok(log);
        log_append_now(log, 1, 100);
        uint64_t next = log->next;
        log_append_now(log, 1, 8000); /* Two blocks. */
        log_stop(log);
        log_spoil(log, "log-0", (next - 1) * BLOCK + places[i]);
        log->base.next = next;
        log_open_ok(log);
        assert_int_equal(log->next, next);
        log_reopen(log);
        log_stop(log);
    }
}

static void a_bad_frame_below_a_durable_one_is_damage(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    for (uint32_t i = 0; i < 5; i++) {
        log_append_now(log, 1, 100);
    }
    log_stop(log);
    for (uint64_t frame = 0; frame < 4; frame++) {
        log_spoil(log, "log-0", frame * BLOCK + 80);
        log_refuses(log, ERR_DAMAGED, "log-0");
        assert_non_null(strstr(log->message, "copy"));
        log_spoil(log, "log-0", frame * BLOCK + 80);
    }
    log_open_ok(log);
    assert_int_equal(log->next, 6);
}

/* Appends blocks until the second file has `count` frames. */
static void fill_into_the_second(struct log_fixture *log, uint32_t count)
{
    uint8_t magic[8] = {0};
    while (memcmp(magic, RAFT_LOG_MAGIC, 8) != 0) {
        log_append_now(log, 1, 2000);
        log_peek(log, "log-1", (count - 1) * (uint64_t)BLOCK, magic, sizeof(magic));
    }
}

static void a_lost_first_file_is_damage_unless_a_snapshot_covers_it(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    fill_into_the_second(log, 3);
    log_stop(log);
    log_spoil(log, "log-0", 100);
    log_refuses(log, ERR_DAMAGED, "log-0");
    log_spoil(log, "log-0", 100);
    log_spoil(log, "log-0", 10 * BLOCK);
    log_refuses(log, ERR_DAMAGED, "log-0");
    log_spoil(log, "log-0", 10 * BLOCK);
    log_open_ok(log);
    log_put_now(log, log->next - 3, false);
    log_reopen(log);
    log_stop(log);
    log_spoil(log, "log-0", 10 * BLOCK);
    log_open_ok(log);
    log_reopen(log);
    log_stop(log);
    log_spoil(log, "log-0", 10 * BLOCK);
    log_spoil(log, "log-1", 100); /* Frames behind it were durable, and so was it. */
    log_refuses(log, ERR_DAMAGED, "log-1");
}

/* Sets a field and makes the checksum fit. */
static void forge(const struct log_fixture *log, const char *name, uint32_t at, uint64_t value,
                  uint64_t size)
{
    static uint8_t bytes[64 << 10];
    assert_true(size <= sizeof(bytes));
    log_peek(log, name, 0, bytes, (uint32_t)size);
    if (at == 8) {
        store_le32(bytes + at, (uint32_t)value);
    } else {
        store_le64(bytes + at, value);
    }
    store_le32(bytes + 12, raft_log_crc(bytes, size));
    log_poke(log, name, 0, bytes, (uint32_t)size);
}

static void newer_and_foreign_files_are_refused(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    log_append_now(log, 1, 96);
    log_put_now(log, 1, false);
    log_stop(log);
    const char *snapshot = "snapshot-0000000000000001";
    uint64_t size = RAFT_LOG_SNAPSHOT_HEADER_BYTES + log->snapshot.seed % 9000;
    log_shell(log, "cp -a . ../copy");
    forge(log, "term", 8, 2, 64);
    log_refuses(log, ERR_VERSION, "newer floe");
    log_shell(log, "cp ../copy/term .");
    forge(log, "log-0", 8, 2, 64 + 24 + 96);
    log_refuses(log, ERR_VERSION, "newer floe");
    log_shell(log, "cp ../copy/log-0 .");
    forge(log, snapshot, 8, 2, size);
    log_refuses(log, ERR_VERSION, "newer floe");
    forge(log, snapshot, 8, 1, size);
    forge(log, snapshot, 16, 77, size);
    log_refuses(log, ERR_FOREIGN, snapshot);
    log_shell(log, "cp ../copy/snapshot-* .");
    forge(log, "log-0", 16, 77, 64 + 24 + 96);
    log_refuses(log, ERR_FOREIGN, "log-0");
    log_shell(log, "cp ../copy/log-0 .");
    log_open_ok(log);
}

static void a_directory_that_lacks_a_file_is_refused(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    log_append_now(log, 1, 10);
    log_put_now(log, 1, false);
    log_stop(log);
    log_shell(log, "mv log-1 ..");
    log_refuses(log, ERR_DAMAGED, "log-1");
    log_shell(log, "head -c 8192 ../log-1 > log-1");
    log_refuses(log, ERR_DAMAGED, "log-1");
    log_shell(log, "mv ../log-1 .; mv term ..");
    log_refuses(log, ERR_DAMAGED, "term");
    log_shell(log, "mv snapshot-* ..");
    log_refuses(log, ERR_DAMAGED, "term");
    log_shell(log, "mv ../snapshot-* .; mv log-0 ..");
    log_refuses(log, ERR_DAMAGED, "term");
    log_shell(log, "mv ../log-0 ../term .");
    log_open_ok(log);
}

static void a_directory_that_was_not_finished_is_made_anew(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    log_stop(log);
    log_shell(log, "rm term log-1; truncate -s 12288 log-0; echo x > term.tmp");
    log_open_ok(log);
    assert_true(raft_log_is_fresh(log->store));
    log_append_now(log, 1, 10);
    log_reopen(log);
}

static void options_that_cannot_work_are_refused(void **state)
{
    struct log_fixture *log = *state;
    log->file_bytes = RAFT_LOG_FILE_BYTES_MIN - 1;
    assert_int_equal(log_open(log), ERR_INVALID);
    log->file_bytes++;
    log_shell(log, "mv ../meta ../other");
    log_refuses(log, ERR_NOT_FOUND, "cannot list");
}

static uint32_t executed;

/* A disk that takes no writes. */
static int32_t execute_and_refuse(struct reactor *reactor, struct io *io)
{
    assert_non_null(reactor);
    executed++;
    return io->op == IO_WRITE ? ERR_IO : io_execute(io);
}

static void what_blocks_is_executed_by_the_option(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    log_stop(log);
    struct raft_log_options options = {
        .dir = log->dir, .file_bytes = log->file_bytes, .execute = execute_and_refuse};
    executed = 0;
    assert_int_equal(raft_log_open(&log->store, &log->reactor, &options, log->message), OK);
    assert_true(executed > 10);
    executed = 0;
    assert_int_equal(raft_log_set_term(log->store, 3, 0), ERR_IO);
    assert_int_equal(executed, 1);
    assert_int_equal(raft_log_found(log->store)->term, 0);
}

/* In a child: a file cannot be written any more, and the log is told to. */
static void write_to_a_bad_disk(const struct io_engine *engine, bool snapshot, int report)
{
    struct log_fixture *log = log_setup(engine);
    (void)dup2(report, STDERR_FILENO);
    (void)dprintf(report, "%s\n", log->root);
    log_open_ok(log);
    log_append_now(log, 1, 10);
    struct rlimit none = {0};
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)setrlimit(RLIMIT_FSIZE, &none);
    if (snapshot) {
        log_put_now(log, 1, false);
    } else {
        log_append_now(log, 1, 10);
    }
    _exit(0);
}

static void a_write_error_ends_the_process(const struct io_engine *engine, bool snapshot)
{
    int ends[2], status;
    char text[1024] = "", command[128];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        write_to_a_bad_disk(engine, snapshot, ends[1]);
    }
    close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    ssize_t got = read(ends[0], text, sizeof(text) - 1);
    close(ends[0]);
    assert_true(got > 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE);
    assert_non_null(strstr(text, snapshot ? "snapshot of raft cannot be written"
                                          : "the raft log in \"raft-log-test-"));
    text[strcspn(text, "\n")] = 0;
    (void)snprintf(command, sizeof(command), "rm -rf %.64s", text);
    assert_int_equal(system(command), 0);
}

static void a_write_error_ends_the_process_posix(void **state)
{
    (void)state;
    a_write_error_ends_the_process(&io_engine_posix, false);
    a_write_error_ends_the_process(&io_engine_posix, true);
}

#ifdef FLOE_HAS_URING
static void a_write_error_ends_the_process_uring(void **state)
{
    (void)state;
    a_write_error_ends_the_process(&io_engine_uring, false);
    a_write_error_ends_the_process(&io_engine_uring, true);
}
#endif

#define BOTH_TESTS(X)                                                                              \
    X(a_fresh_directory_is_bootstrapped_once)                                                      \
    X(a_bootstrap_that_ended_before_its_term_is_finished)                                          \
    X(term_and_vote_survive_a_bad_slot_and_not_two)                                                \
    X(a_crash_between_the_slots_leaves_the_old_term_or_the_new)                                    \
    X(entries_of_all_sizes_come_back)                                                              \
    X(an_append_longer_than_a_file_takes_several_frames)                                           \
    X(truncated_entries_are_void)                                                                  \
    X(a_torn_last_frame_is_cut_and_written_over)                                                   \
    X(a_bad_frame_below_a_durable_one_is_damage)                                                   \
    X(a_lost_first_file_is_damage_unless_a_snapshot_covers_it)                                     \
    X(newer_and_foreign_files_are_refused)                                                         \
    X(a_directory_that_lacks_a_file_is_refused)                                                    \
    X(a_directory_that_was_not_finished_is_made_anew)                                              \
    X(options_that_cannot_work_are_refused)                                                        \
    X(what_blocks_is_executed_by_the_option)

int main(void)
{
    const struct CMUnitTest tests[] = {/* First: they fork, and no thread must be there yet. */
                                       cmocka_unit_test(a_write_error_ends_the_process_posix),
#ifdef FLOE_HAS_URING
                                       cmocka_unit_test(a_write_error_ends_the_process_uring),
#endif
                                       LOG_ON_EACH_ENGINE(BOTH_TESTS)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
