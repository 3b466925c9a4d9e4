/* Those who wait for memory keep their order within their class, are woken for what serves them,
 * and never wait for ever. */
#include "core/memory.h"

#include "core/limits.h"
#include "core/prng.h"
#include "tests/unit/core/memory_fixture.h"
#include "tests/unit/core/ready_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { WAITERS = 24 };

/* A waiter that tries when it is fired, and awaits again when that fails. */
struct customer {
    struct memory_waiter waiter;
    struct memory *memory;
    struct block *block;
    uint32_t tries;
};

static struct customer customers[WAITERS];
static uint32_t served[WAITERS];
static uint32_t served_count;

static void customer_try(struct completion *done)
{
    struct memory_waiter *waiter = CONTAINER_OF(done, struct memory_waiter, done);
    struct customer *customer = CONTAINER_OF(waiter, struct customer, waiter);
    assert_int_equal(done->result, OK);
    customer->tries++;
    customer->block = block_acquire(customer->memory, waiter->class, waiter->size);
    if (customer->block == NULL) {
        memory_await(customer->memory, reactor, waiter);
        return;
    }
    served[served_count++] = (uint32_t)(customer - customers);
}

static void customer_come(struct memory *memory, uint32_t index, enum memory_class class,
                          uint32_t size)
{
    struct customer *customer = &customers[index];
    *customer = (struct customer){
        .waiter = {.done = {.fn = customer_try}, .size = size, .class = class}, .memory = memory};
    memory_await(memory, reactor, &customer->waiter);
}

static void customers_leave(void)
{
    for (uint32_t i = 0; i < WAITERS; i++) {
        if (customers[i].block != NULL) {
            block_unref(customers[i].block);
        }
    }
    memset(customers, 0, sizeof(customers));
    served_count = 0;
}

static void waiters_are_served_in_order_and_never_inline(void **state)
{
    (void)state;
    static struct block *blocks[1024];
    uint32_t count = 0;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    (void)take_all(memory, MEMORY_APPEND, 65536, blocks, &count);
    for (uint32_t i = 0; i < WAITERS; i++) {
        customer_come(memory, i, MEMORY_APPEND, 65536);
    }
    assert_int_equal(run_ready(), 0);
    for (uint32_t i = 0; i < WAITERS; i++) {
        block_unref(blocks[--count]);
        assert_int_equal(served_count, i); /* Not before return. */
        (void)run_ready();
        assert_int_equal(served_count, i + 1);
        assert_int_equal(served[i], i);
        assert_int_equal(customers[i].tries, 1); /* Nobody was woken in vain. */
    }
    customers_leave();
    give_all(blocks, &count);
    memory_close(memory);
}

static void a_large_waiter_is_not_woken_for_a_small_release(void **state)
{
    (void)state;
    static struct block *blocks[1024];
    uint32_t count = 0;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    (void)take_all(memory, MEMORY_APPEND, 65536, blocks, &count);
    customer_come(memory, 0, MEMORY_APPEND, 131072);
    customer_come(memory, 1, MEMORY_APPEND, 4096); /* Behind it: does not overtake. */
    block_unref(blocks[--count]);
    assert_int_equal(run_ready(), 0);
    block_unref(blocks[--count]);
    (void)run_ready();
    assert_int_equal(served_count, 1);
    assert_int_equal(served[0], 0);
    block_unref(blocks[--count]);
    (void)run_ready();
    assert_int_equal(served_count, 2);
    customers_leave();
    give_all(blocks, &count);
    memory_close(memory);
}

static void a_waiter_that_fails_again_keeps_its_place(void **state)
{
    (void)state;
    static struct block *blocks[1024];
    uint32_t count = 0;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    (void)take_all(memory, MEMORY_APPEND, 65536, blocks, &count);
    for (uint32_t i = 0; i < 4; i++) {
        customer_come(memory, i, MEMORY_APPEND, 65536);
    }
    /* Two are fired, and somebody who never waited takes both blocks first. */
    block_unref(blocks[--count]);
    block_unref(blocks[--count]);
    blocks[count] = block_acquire(memory, MEMORY_APPEND, 40000);
    assert_non_null(blocks[count++]);
    blocks[count] = block_acquire(memory, MEMORY_APPEND, 40000);
    assert_non_null(blocks[count++]);
    (void)run_ready();
    assert_int_equal(served_count, 0);
    customer_come(memory, 4, MEMORY_APPEND, 65536);
    for (uint32_t i = 0; i < 5; i++) {
        block_unref(blocks[--count]);
        (void)run_ready();
        assert_int_equal(served_count, i + 1);
        assert_int_equal(served[i], i);
    }
    customers_leave();
    give_all(blocks, &count);
    memory_close(memory);
}

/* One that has lost interest while it waited. */
static void customer_leave(struct completion *done)
{
    assert_int_equal(done->result, OK);
}

static void what_a_waiter_does_not_take_goes_to_the_next(void **state)
{
    (void)state;
    static struct block *blocks[1024];
    uint32_t count = 0;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    (void)take_all(memory, MEMORY_APPEND, 65536, blocks, &count);
    for (uint32_t i = 0; i < 3; i++) {
        customer_come(memory, i, MEMORY_APPEND, 65536);
        customers[i].waiter.done.fn = i < 2 ? customer_leave : customer_try;
    }
    block_unref(blocks[--count]);
    (void)run_ready();
    assert_int_equal(served_count, 1);
    customers_leave();
    give_all(blocks, &count);
    memory_close(memory);
}

static void one_release_wakes_as_many_as_it_serves(void **state)
{
    (void)state;
    static struct block *blocks[1024];
    uint32_t count = 0;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    struct block *large = block_acquire(memory, MEMORY_RECEIVE, 131072);
    assert_non_null(large);
    (void)take_all(memory, MEMORY_RECEIVE, 65536, blocks, &count);
    for (uint32_t i = 0; i < 5; i++) {
        customer_come(memory, i, MEMORY_RECEIVE, 65536);
    }
    block_unref(large);
    assert_int_equal(reactor->ready.count, 3); /* And the look at what they leave. */
    (void)run_ready();
    assert_int_equal(served_count, 2);
    give_all(blocks, &count);
    (void)run_ready();
    assert_int_equal(served_count, 5);
    customers_leave();
    large = block_acquire(memory, MEMORY_RECEIVE, 65536 * WAITERS);
    (void)take_all(memory, MEMORY_RECEIVE, 65536, blocks, &count);
    for (uint32_t i = 0; i < WAITERS; i++) {
        customer_come(memory, i, MEMORY_RECEIVE, 65536);
    }
    block_unref(large);
    (void)run_ready();
    assert_int_equal(served_count, WAITERS); /* More than are fired at once. */
    give_all(blocks, &count);
    customers_leave();
    memory_close(memory);
}

static void each_class_has_a_queue_of_its_own(void **state)
{
    (void)state;
    static struct block *blocks[2048];
    uint32_t count = 0, send_count = 0;
    static struct block *send_blocks[1024];
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    (void)take_all(memory, MEMORY_APPEND, 65536, blocks, &count);
    (void)take_all(memory, MEMORY_SEND, 65536, send_blocks, &send_count);
    customer_come(memory, 0, MEMORY_APPEND, memory_block_max(memory));
    customer_come(memory, 1, MEMORY_SEND, 65536);
    block_unref(send_blocks[--send_count]); /* SEND is below its guarantee again. */
    (void)run_ready();
    assert_int_equal(served_count, 1);
    assert_int_equal(served[0], 1);
    give_all(blocks, &count);
    (void)run_ready();
    assert_int_equal(served_count, 2);
    customers_leave();
    give_all(send_blocks, &send_count);
    memory_close(memory);
}

static void awaiting_what_is_free_fires_too(void **state)
{
    (void)state;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    customer_come(memory, 0, MEMORY_RECOVERY, 4096);
    assert_int_equal(served_count, 0);
    assert_int_equal(run_ready(), 2); /* And the look at what it leaves. */
    assert_int_equal(served_count, 1);
    customers_leave();
    memory_close(memory);
}

/* All customers compete with all others at random; everyone is served, nobody waits for ever. */
static void nobody_waits_for_ever(void **state)
{
    (void)state;
    struct memory *memory = open_memory(MEMORY_LIMIT_MIN);
    struct prng prng;
    prng_seed_one(&prng, 12);
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < WAITERS; i++) {
            uint32_t size = 1 + (uint32_t)prng_below(&prng, memory_block_max(memory));
            enum memory_class class = (enum memory_class)prng_below(&prng, MEMORY_CLASS_COUNT);
            customer_come(memory, i, class, size);
        }
        while (served_count < WAITERS) {
            uint32_t progress = run_ready();
            for (uint32_t i = 0; i < WAITERS; i++) {
                if (customers[i].block != NULL && prng_chance(&prng, 40)) {
                    block_unref(customers[i].block);
                    customers[i].block = NULL;
                    progress++;
                }
                progress += customers[i].block != NULL;
            }
            assert_true(progress > 0);
        }
        customers_leave();
    }
    memory_close(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waiters_are_served_in_order_and_never_inline),
        cmocka_unit_test(a_large_waiter_is_not_woken_for_a_small_release),
        cmocka_unit_test(a_waiter_that_fails_again_keeps_its_place),
        cmocka_unit_test(what_a_waiter_does_not_take_goes_to_the_next),
        cmocka_unit_test(one_release_wakes_as_many_as_it_serves),
        cmocka_unit_test(each_class_has_a_queue_of_its_own),
        cmocka_unit_test(awaiting_what_is_free_fires_too),
        cmocka_unit_test(nobody_waits_for_ever),
    };
    return cmocka_run_group_tests(tests, ready_setup, ready_teardown);
}
