/* Random appends, truncations, snapshots, stops and crashes: after each open the log is what some
 * prefix of the wishes gives, and no acknowledged one is missing. */
#include "core/bytes.h"
#include "core/prng.h"
#include "meta/raft_log_internal.h"
#include "tests/unit/meta/raft_log_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* A snapshot of what is settled, if that covers more than the last one. */
static void put_some(struct log_fixture *log, struct prng *prng, bool all)
{
    uint64_t end = log_settled_next(log), covered = log->snapshot.index;
    if (log->putting.index == 0 && end > covered + 1) {
        uint64_t more = all ? end - covered - 1 : 1 + prng_below(prng, end - covered - 1);
        log_put(log, covered + more, false);
    }
}

static void random_act(struct log_fixture *log, struct prng *prng)
{
    uint64_t kind = prng_below(prng, 100);
    uint64_t floor = max_u64(log->snapshot.index, log->putting.index);
    if (kind < 50) {
        bool large = prng_chance(prng, 3);
        log_append(log, 1 + (uint32_t)prng_below(prng, large ? 3 : 12),
                   (uint32_t)prng_below(prng, large ? KIB(70) : 2500));
    } else if (kind < 62 && log->next > floor + 1) {
        uint64_t most =
            prng_chance(prng, 80) ? min_u64(10, log->next - floor - 1) : log->next - floor - 1;
        log->term++;
        log_truncate(log, log->next - prng_below(prng, most + 1));
    } else if (kind < 70) {
        put_some(log, prng, false);
    } else if (kind < 72 && log->putting.index == 0) {
        log_put(log,
                log->snapshot.index + 1 + prng_below(prng, log->next - log->snapshot.index + 9),
                true);
    } else {
        log_turns(log, (uint32_t)prng_below(prng, 4));
    }
}

/* Also a truncation that waits for a file: a stop would leave it out. */
static void random_settle(struct log_fixture *log, struct prng *prng)
{
    for (uint32_t i = 0;
         log->outstanding > 0 || log->putting.index != 0 || log->store->waiting.head != NULL; i++) {
        assert_true(i < 20000);
        log_turns(log, 1);
        if (raft_log_wants_snapshot(log->store)) {
            put_some(log, prng, true);
        }
    }
}

static void random_histories_equal_the_model(void **state)
{
    struct log_fixture *log = *state;
    struct prng prng;
    prng_seed_one(&prng, 20261124);
    uint32_t stalls = 0, crashes = 0;
    log_open_ok(log);
    for (uint32_t round = 0; round < 240; round++) {
        uint64_t acts = 1 + prng_below(&prng, prng_chance(&prng, 10) ? 400 : 30);
        while (acts-- > 0) {
            random_act(log, &prng);
        }
        log_turns(log, (uint32_t)prng_below(&prng, 8));
        stalls += log->outstanding > 0 && raft_log_wants_snapshot(log->store);
        if (prng_chance(&prng, 40)) {
            crashes++;
            log_crash(log);
        } else if (prng_chance(&prng, 20)) {
            log_stop(log);
            log_open_ok(log);
        } else {
            random_settle(log, &prng);
            log_reopen(log);
        }
    }
    assert_true(stalls > 10);
    assert_true(crashes > 50);
    uint8_t generation[8];
    log_peek(log, "log-0", 24, generation, sizeof(generation));
    assert_true(load_le64(generation) > 10);
}

#define BOTH_TESTS(X) X(random_histories_equal_the_model)

int main(void)
{
    const struct CMUnitTest tests[] = {LOG_ON_EACH_ENGINE(BOTH_TESTS)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
