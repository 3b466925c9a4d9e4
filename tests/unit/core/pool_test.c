/* A pool hands out what it has, zeroed, and lets waiters try in order. */
#include "core/pool.h"

#include "core/poison.h"
#include "tests/unit/core/ready_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct object {
    uint64_t words[5];
};

struct waiter {
    struct completion done;
    struct pool *pool;
    struct object *object;
    uint32_t order;
};

static uint32_t order_next;

static void every_object_is_zeroed_aligned_and_its_own(void **state)
{
    (void)state;

    enum { COUNT = 1000 };
    static struct object *objects[COUNT];
    struct pool pool;
    assert_int_equal(pool_open(&pool, reactor, sizeof(struct object), COUNT), OK);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            objects[i] = pool_acquire(&pool);
            assert_non_null(objects[i]);
            assert_true(is_aligned((uintptr_t)objects[i], 16));
            for (uint32_t j = 0; j < 5; j++) {
                assert_true(objects[i]->words[j] == 0);
                objects[i]->words[j] = i + 1;
            }
        }
        assert_null(pool_acquire(&pool));
        assert_int_equal(pool.used, COUNT);
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_true(objects[i]->words[4] == i + 1);
            pool_release(&pool, objects[i]);
        }
        assert_int_equal(pool.used, 0);
    }
    pool_close(&pool);
    pool_close(&pool); /* Closed is closed. */
}

static void a_released_object_is_the_next_to_be_acquired(void **state)
{
    (void)state;
    struct pool pool;
    assert_int_equal(pool_open(&pool, reactor, 1, 100), OK);
    void *a = pool_acquire(&pool);
    void *b = pool_acquire(&pool);
    assert_ptr_not_equal(a, b);
    pool_release(&pool, a);
    assert_ptr_equal(pool_acquire(&pool), a);
    pool_release(&pool, b);
    pool_release(&pool, a);
    assert_ptr_equal(pool_acquire(&pool), a);
    assert_ptr_equal(pool_acquire(&pool), b);
    assert_int_equal(pool.fresh, 2); /* The rest was never touched. */
    pool_release(&pool, a);
    pool_release(&pool, b);
    pool_close(&pool);
}

static void only_the_beginning_is_zeroed_if_that_is_enough(void **state)
{
    (void)state;

    enum { ZEROED = 16, SIZE = 48 };

    struct pool pool;
    assert_int_equal(pool_open(&pool, reactor, SIZE, 2), OK);
    pool_zero_only(&pool, ZEROED);
    uint8_t *object = pool_acquire(&pool);
    memset(object, 0xaa, SIZE);
    pool_release(&pool, object);
    assert_ptr_equal(pool_acquire(&pool), object);
    for (uint32_t i = 0; i < SIZE; i++) {
        assert_int_equal(object[i], i < ZEROED ? 0 : 0xaa);
    }
    pool_release(&pool, object);
    pool_close(&pool);
}

static void waiter_try(struct completion *done)
{
    struct waiter *waiter = CONTAINER_OF(done, struct waiter, done);
    assert_int_equal(done->result, OK);
    waiter->object = pool_acquire(waiter->pool);
    assert_non_null(waiter->object);
    waiter->order = ++order_next;
}

static void waiters_are_let_in_by_one_release_each_in_order(void **state)
{
    (void)state;

    enum { COUNT = 5 };

    void *objects[COUNT];
    struct waiter waiters[COUNT];
    struct pool pool;
    order_next = 0;
    assert_int_equal(pool_open(&pool, reactor, sizeof(struct object), COUNT), OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        objects[i] = pool_acquire(&pool);
        waiters[i] = (struct waiter){.done = {.fn = waiter_try}, .pool = &pool};
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        pool_await(&pool, &waiters[i].done);
    }
    assert_int_equal(run_ready(), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        pool_release(&pool, objects[i]);
        assert_null(waiters[i].object); /* Not before return. */
        assert_int_equal(run_ready(), 1);
        assert_int_equal(waiters[i].order, i + 1);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        pool_release(&pool, waiters[i].object);
    }
    pool_close(&pool);
}

/* One that has lost interest while it waited. */
static void waiter_leave(struct completion *done)
{
    struct waiter *waiter = CONTAINER_OF(done, struct waiter, done);
    waiter->order = ++order_next;
}

/* One that would take all there is. */
static void waiter_grab(struct completion *done)
{
    struct waiter *waiter = CONTAINER_OF(done, struct waiter, done);
    waiter_try(done);
    void *more = pool_acquire(waiter->pool);
    assert_null(more);
}

static void an_object_goes_on_to_the_next_if_a_waiter_does_not_take_it(void **state)
{
    (void)state;

    enum { COUNT = 6 };

    struct waiter waiters[COUNT];
    struct pool pool;
    order_next = 0;
    assert_int_equal(pool_open(&pool, reactor, sizeof(struct object), 2), OK);
    void *a = pool_acquire(&pool);
    void *b = pool_acquire(&pool);
    for (uint32_t i = 0; i < COUNT; i++) {
        completion_fn *fn = i == 2 || i == 5 ? waiter_try : waiter_leave;
        waiters[i] = (struct waiter){.done = {.fn = fn}, .pool = &pool};
        pool_await(&pool, &waiters[i].done);
    }
    pool_release(&pool, a);
    (void)run_ready();
    assert_int_equal(order_next, 3); /* Two left, the third took it. */
    assert_non_null(waiters[2].object);
    pool_release(&pool, b);
    (void)run_ready();
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(waiters[i].order, i + 1);
    }
    assert_non_null(waiters[5].object);
    pool_release(&pool, waiters[2].object);
    pool_release(&pool, waiters[5].object);
    pool_close(&pool);
}

static void nobody_passes_those_who_wait(void **state)
{
    (void)state;
    struct waiter waiters[3];
    struct pool pool;
    order_next = 0;
    assert_int_equal(pool_open(&pool, reactor, sizeof(struct object), 2), OK);
    void *a = pool_acquire(&pool);
    void *b = pool_acquire(&pool);
    for (uint32_t i = 0; i < ARRAY_COUNT(waiters); i++) {
        completion_fn *fn = i == 0 ? waiter_grab : waiter_try;
        waiters[i] = (struct waiter){.done = {.fn = fn}, .pool = &pool};
        pool_await(&pool, &waiters[i].done);
    }
    pool_release(&pool, a);
    pool_release(&pool, b);
    assert_null(pool_acquire(&pool)); /* Somebody who never waited. */
    (void)run_ready();
    assert_int_equal(waiters[0].order, 1);
    assert_int_equal(waiters[1].order, 2);
    assert_int_equal(waiters[2].order, 0);
    pool_release(&pool, waiters[0].object);
    (void)run_ready();
    assert_int_equal(waiters[2].order, 3);
    pool_release(&pool, waiters[1].object);
    a = pool_acquire(&pool); /* Nobody waits: free to take. */
    assert_non_null(a);
    pool_release(&pool, a);
    pool_release(&pool, waiters[2].object);
    pool_close(&pool);
}

static void awaiting_a_pool_that_is_not_empty_fires(void **state)
{
    (void)state;
    struct pool pool;
    assert_int_equal(pool_open(&pool, reactor, sizeof(struct object), 1), OK);
    struct waiter waiter = {.done = {.fn = waiter_try}, .pool = &pool};
    pool_await(&pool, &waiter.done);
    assert_null(waiter.object);
    assert_int_equal(run_ready(), 1);
    pool_release(&pool, waiter.object);
    pool_close(&pool);
}

static void a_pool_larger_than_the_address_space_is_an_error(void **state)
{
    (void)state;
    struct pool pool;
    assert_int_equal(pool_open(&pool, reactor, 1 << 30, 1 << 20), ERR_NO_MEMORY);
    pool_close(&pool); /* Harmless. */
}

static void a_pool_with_an_object_out_cannot_be_closed(void **state)
{
    (void)state;
    struct pool pool;
    assert_int_equal(pool_open(&pool, reactor, sizeof(struct object), 4), OK);
    void *object = pool_acquire(&pool);
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(STDERR_FILENO);
        pool_close(&pool);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    pool_release(&pool, object);
    pool_close(&pool);
}

static void a_released_object_is_poisoned(void **state)
{
    (void)state;
#ifdef POISON_ASAN
    struct pool pool;
    assert_int_equal(pool_open(&pool, reactor, sizeof(struct object), 4), OK);
    struct object *object = pool_acquire(&pool);
    pool_release(&pool, object);
    assert_int_equal(__asan_address_is_poisoned(&object->words[0]), 1);
    assert_int_equal(__asan_address_is_poisoned(&object->words[4]), 1);
    pool_close(&pool);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_object_is_zeroed_aligned_and_its_own),
        cmocka_unit_test(a_released_object_is_the_next_to_be_acquired),
        cmocka_unit_test(waiters_are_let_in_by_one_release_each_in_order),
        cmocka_unit_test(an_object_goes_on_to_the_next_if_a_waiter_does_not_take_it),
        cmocka_unit_test(nobody_passes_those_who_wait),
        cmocka_unit_test(awaiting_a_pool_that_is_not_empty_fires),
        cmocka_unit_test(a_pool_larger_than_the_address_space_is_an_error),
        cmocka_unit_test(only_the_beginning_is_zeroed_if_that_is_enough),
        cmocka_unit_test(a_pool_with_an_object_out_cannot_be_closed),
        cmocka_unit_test(a_released_object_is_poisoned),
    };
    return cmocka_run_group_tests(tests, ready_setup, ready_teardown);
}
