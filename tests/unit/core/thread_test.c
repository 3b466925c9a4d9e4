/* Threads of our own: they run, they end, they take no signals; a gate opens for its waiter. */
#include "core/thread.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct work {
    struct gate gate;
    uint64_t number;
    int blocked; /* Whether SIGTERM is. */
};

static void work_main(void *context)
{
    struct work *work = context;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    work->blocked = sigismember(&mask, SIGTERM);
    work->number = thread_number();
    gate_open(&work->gate);
}

static void a_gate_opens_for_its_waiter_and_what_was_written_before_is_seen(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 200; i++) {
        struct work work = {0};
        gate_init(&work.gate);
        struct thread *thread = thread_start(work_main, &work);
        assert_non_null(thread);
        gate_wait(&work.gate);
        assert_int_not_equal(work.number, 0);
        assert_int_equal(work.blocked, 1);
        thread_join(thread);
        gate_deinit(&work.gate);
    }
}

static void no_thread_gets_the_number_of_an_earlier_one(void **state)
{
    (void)state;
    uint64_t last = thread_number();
    assert_int_equal(thread_number(), last);
    for (uint32_t i = 0; i < 20; i++) {
        struct work work = {0};
        gate_init(&work.gate);
        struct thread *thread = thread_start(work_main, &work);
        assert_non_null(thread);
        thread_join(thread);
        assert_true(work.number > last);
        last = work.number;
        gate_wait(&work.gate);
        gate_deinit(&work.gate);
    }
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGTERM), 0); /* The caller's own stays as it was. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gate_opens_for_its_waiter_and_what_was_written_before_is_seen),
        cmocka_unit_test(no_thread_gets_the_number_of_an_earlier_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
