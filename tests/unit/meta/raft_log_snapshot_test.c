/* The raft log that runs out of room and gets it back: stalls, files that are begun anew, snapshots
 * of this node and of another one. */
#include "core/bytes.h"
#include "meta/raft_log_internal.h"
#include "tests/unit/meta/raft_log_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCK = 4096 };

static void settle_or_stall(struct log_fixture *log)
{
    for (uint32_t i = 0; log->outstanding > 0 && !log->store->stalled; i++) {
        assert_true(i < 100000);
        log_turns(log, 1);
    }
}

/* Else its beginning would hold the first file, and not be acknowledged. */
static void an_append_that_fits_a_file_is_not_cut_by_a_stall(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    log_append_now(log, 1, 100000);
    log_append_now(log, 2, 100000);
    log_append(log, 2, 100000);
    settle_or_stall(log);
    assert_int_equal(log->outstanding, 1);
    log_put_now(log, 1, false);
    log_settle(log);
    log_append(log, 1, 100000);
    settle_or_stall(log);
    assert_int_equal(log->outstanding, 1);
    log_put_now(log, 3, false);
    log_settle(log);
    log_reopen(log);
    assert_int_equal(log->next, 7);
}

static uint64_t generation(const struct log_fixture *log, const char *name)
{
    uint8_t bytes[8];
    log_peek(log, name, 24, bytes, sizeof(bytes));
    return load_le64(bytes);
}

static void small_files_are_begun_anew_many_times(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    for (uint32_t i = 0; i < 5000; i++) {
        log_append(log, 1, 200);
        if (i % 3 != 0) {
            settle_or_stall(log);
        }
        if (raft_log_wants_snapshot(log->store) && log->putting.index == 0) {
            log_put(log, log_settled_next(log) - 1, false);
        }
        if (i % 1000 == 999) {
            log_reopen(log);
        }
    }
    assert_int_equal(log->next, 5001);
    assert_true(generation(log, "log-0") > 20);
    assert_true(generation(log, "log-1") > 20);
}

/* Appends until some wait. */
static void fill_both(struct log_fixture *log, uint32_t size)
{
    for (uint32_t i = 0; log->outstanding == 0; i++) {
        assert_true(i < 1000);
        log_append(log, 1, size);
        settle_or_stall(log);
    }
    assert_int_equal(log->outstanding, 1);
    assert_true(raft_log_wants_snapshot(log->store));
}

static void a_stalled_log_goes_on_after_a_snapshot(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    fill_both(log, 2000);
    log_append(log, 1, 10);
    assert_int_equal(raft_log_set_term(log->store, 9, 1), OK);
    log_put_now(log, 5, false); /* Not enough. */
    log_turns(log, 50);
    assert_int_equal(log->outstanding, 2);
    assert_true(raft_log_wants_snapshot(log->store));
    log_put(log, log_settled_next(log) - 1, false);
    log_settle(log);
    assert_int_equal(log->canceled, 0);
    assert_false(raft_log_wants_snapshot(log->store));
    log_reopen(log);
    assert_int_equal(raft_log_found(log->store)->term, 9);
}

static void a_stalled_log_stops_and_cancels_what_waits(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    fill_both(log, 2000);
    uint64_t next = log->next - 1;
    log_append(log, 2, 10);
    log_stop(log);
    assert_int_equal(log->canceled, 2);
    log_open_ok(log);
    assert_int_equal(log->next, next);
    log_put(log, next - 1, false);
    log_append(log, 1, 2000);
    log_settle(log);
    log_reopen(log);
}

static void a_stop_during_the_snapshot_that_ends_a_stall_writes_all(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    fill_both(log, 2000);
    uint64_t next = log->next;
    log_put(log, log_settled_next(log) - 1, false);
    log_stop(log);
    assert_int_equal(log->canceled, 0);
    log_open_ok(log);
    assert_int_equal(log->next, next);
}

/* No snapshot will ever cover them: they were never committed. */
static void a_full_log_of_void_entries_goes_on_without_a_snapshot(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    log_append_now(log, 4, 10);
    log_put_now(log, 4, false);
    for (uint32_t i = 0; i < 3; i++) {
        fill_both(log, 2000);
        log->term++;
        log_append(log, 1, 10);
        log_truncate(log, log->next - 1);
        log_append(log, 2, 10);
        log_truncate(log, 5);
        log_append(log, 1, 10);
        log_settle(log);
        assert_int_equal(log->canceled, 3 * (i + 1));
        log_reopen(log);
        assert_int_equal(log->next, 6);
    }
}

static void count_snapshots(const struct log_fixture *log, const char *count)
{
    char command[160];
    (void)snprintf(command, sizeof(command), "test $(ls | grep -c snapshot) = %s", count);
    log_shell(log, command);
}

static void the_newest_two_snapshots_are_kept(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    log_append_now(log, 20, 100);
    struct raft_log_found got = {0};
    assert_int_equal(raft_log_get(log->store, &got, log->message), ERR_NOT_FOUND);
    for (uint64_t index = 3; index <= 9; index += 2) {
        log_put_now(log, index, false);
        count_snapshots(log, index == 3 ? "1" : "2");
    }
    log_put_now(log, 9, false); /* Once more: it takes the place of the other. */
    count_snapshots(log, "2");
    log_shell(log, "test -e snapshot-0000000000000007 -a -e snapshot-0000000000000009");
    assert_int_equal(raft_log_get(log->store, &got, log->message), OK);
    assert_int_equal(got.snapshot_index, 9);
    log_stop(log);
    log_shell(log,
              "echo x > snapshot.tmp; cp term term.tmp; cp snapshot-*9 snapshot-0000000000000001");
    log_open_ok(log);
    assert_int_equal(got.snapshot_size, raft_log_found(log->store)->snapshot_size);
    assert_memory_equal(got.snapshot, raft_log_found(log->store)->snapshot, got.snapshot_size);
    count_snapshots(log, "2");
    log_shell(log, "test ! -e term.tmp");
    free(got.snapshot);
    log_put_now(log, 15, false);
    log_spoil(log, "snapshot-000000000000000f", 64);
    got = (struct raft_log_found){0};
    assert_int_equal(raft_log_get(log->store, &got, log->message), ERR_DAMAGED);
    assert_null(got.snapshot);
    assert_non_null(strstr(log->message, "snapshot-000000000000000f"));
}

static void a_bad_snapshot_falls_back_as_far_as_the_log_reaches(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    log_append_now(log, 20, 100);
    log_put_now(log, 5, false);
    struct log_shape five = log->snapshot;
    log_put_now(log, 9, false);
    log_stop(log);
    log_spoil(log, "snapshot-0000000000000009", 24);
    log->snapshot = five;
    log_open_ok(log);
    count_snapshots(log, "1");
    while (log->next < 150) { /* Until the first file is begun anew: it began with entry 1. */
        log_append_now(log, 1, 2000);
        if (log->next == 62 || log->next == 102) {
            log_put_now(log, log->next - 2, false);
        }
    }
    assert_int_equal(generation(log, "log-0"), 3);
    log_stop(log);
    log_spoil(log, "snapshot-0000000000000064", 70);
    log_refuses(log, ERR_DAMAGED, "newest snapshot");
    log_shell(log, "test -e snapshot-0000000000000064");
    log_shell(log, "truncate -s 50 snapshot-000000000000003c");
    log_refuses(log, ERR_DAMAGED, "snapshot-");
}

static void a_snapshot_of_another_node_takes_the_place_of_the_log(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    log_append_now(log, 10, 100);
    log_put(log, 30, true); /* Behind the end. */
    log_append(log, 2, 10);
    log_settle(log);
    log_reopen(log);
    assert_int_equal(log->next, 33);
    log_append_now(log, 10, 100);
    log_put_now(log, 35, true); /* Inside: the rest is void too. */
    log_reopen(log);
    assert_int_equal(log->next, 36);
    log_append_now(log, 3, 100);
    log_reopen(log);
    assert_int_equal(log->next, 39);
}

static void a_crash_behind_such_a_snapshot_still_voids_the_log(void **state)
{
    struct log_fixture *log = *state;
    static const uint64_t indexes[] = {30, 35, 60};
    log_open_ok(log);
    log_append_now(log, 40, 100);
    for (uint32_t i = 0; i < ARRAY_COUNT(indexes); i++) {
        log_append_now(log, 4, 100);
        log_shell(log, "cp -a log-0 log-1 ..");
        log_put_now(log, indexes[i], true);
        log_stop(log);
        log_shell(log, "mv ../log-0 ../log-1 .");
        log_open_ok(log);
        assert_int_equal(log->next, indexes[i] + 1);
        log_append_now(log, 3, 10);
        log_reopen(log);
        assert_int_equal(log->next, indexes[i] + 4);
    }
}

static void a_stalled_log_is_replaced_by_a_snapshot_of_another_node(void **state)
{
    struct log_fixture *log = *state;
    log_open_ok(log);
    for (uint32_t i = 0; i < 4; i++) {
        fill_both(log, 2000);
        uint64_t index = log->snapshot.index + 5; /* Covers no file. */
        log_put(log, index, true);
        log_append(log, 1, 10);
        log_settle(log);
        assert_int_equal(log->canceled, i + 1);
        assert_int_equal(log->next, index + 2);
        log_reopen(log);
    }
}

static void a_file_torn_while_it_is_begun_anew_is_not_damage(void **state)
{
    struct log_fixture *log = *state;
    static uint8_t block[BLOCK];
    log_open_ok(log);
    log_append_now(log, 1, 10); /* One block: a torn write can leave it whole. */
    fill_both(log, 20000);
    log_peek(log, "log-0", 0, block, sizeof(block));
    uint64_t next = log->next - 1;
    log_put_now(log, next - 1, false);
    log_settle(log);
    assert_int_equal(generation(log, "log-0"), 3);
    log_stop(log);
    log_poke(log, "log-0", 0, block, sizeof(block));
    log->base.next = next;
    log_open_ok(log);
    assert_int_equal(log->next, next);
    log_append_now(log, 1, 20000);
    log_reopen(log);
    assert_int_equal(generation(log, "log-0"), 3);
}

#define BOTH_TESTS(X)                                                                              \
    X(an_append_that_fits_a_file_is_not_cut_by_a_stall)                                            \
    X(small_files_are_begun_anew_many_times)                                                       \
    X(a_stalled_log_goes_on_after_a_snapshot)                                                      \
    X(a_stalled_log_stops_and_cancels_what_waits)                                                  \
    X(a_stop_during_the_snapshot_that_ends_a_stall_writes_all)                                     \
    X(a_full_log_of_void_entries_goes_on_without_a_snapshot)                                       \
    X(the_newest_two_snapshots_are_kept)                                                           \
    X(a_bad_snapshot_falls_back_as_far_as_the_log_reaches)                                         \
    X(a_snapshot_of_another_node_takes_the_place_of_the_log)                                       \
    X(a_crash_behind_such_a_snapshot_still_voids_the_log)                                          \
    X(a_stalled_log_is_replaced_by_a_snapshot_of_another_node)                                     \
    X(a_file_torn_while_it_is_begun_anew_is_not_damage)

int main(void)
{
    const struct CMUnitTest tests[] = {LOG_ON_EACH_ENGINE(BOTH_TESTS)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
