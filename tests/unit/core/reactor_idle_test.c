/* When a core polls instead of sleeping, told by an engine that counts. */
#include "core/io_engine.h"
#include "core/limits.h"
#include "core/reactor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* An engine whose write ends only when the core sleeps. Its clock ticks with every look at it. */
struct sleepy {
    struct io *held;
    uint64_t clock_ns;
    uint32_t polls_beside_a_write, polls;
};

static enum err sleepy_open(struct reactor *reactor, const struct io_engine_options *options)
{
    reactor->engine_state = options->world;
    return OK;
}

static void sleepy_submit(struct reactor *reactor, struct io *batch)
{
    struct sleepy *sleepy = reactor->engine_state;
    assert_null(sleepy->held);
    assert_null(batch->next);
    sleepy->held = batch;
}

static uint32_t sleepy_poll(struct reactor *reactor, uint64_t wait_ns)
{
    struct sleepy *sleepy = reactor->engine_state;
    struct io *io = sleepy->held;
    sleepy->polls += wait_ns == 0 && io == NULL;
    sleepy->polls_beside_a_write += wait_ns == 0 && io != NULL;
    if (wait_ns == 0 || io == NULL) {
        return 0;
    }
    sleepy->held = NULL;
    io_complete(reactor, io, io->op == IO_WRITE ? (int32_t)io->write.size : OK);
    return 1;
}

static void sleepy_wake(struct reactor *self, struct reactor *peer)
{
    (void)self;
    (void)peer;
}

static uint64_t sleepy_now_ns(struct reactor *reactor)
{
    struct sleepy *sleepy = reactor->engine_state;
    sleepy->clock_ns += NS_PER_US;
    return sleepy->clock_ns;
}

static void sleepy_close(struct reactor *reactor)
{
    reactor->engine_state = NULL;
}

static const struct io_engine io_engine_sleepy = {
    .name = "sleepy",
    .open = sleepy_open,
    .submit = sleepy_submit,
    .poll = sleepy_poll,
    .wake = sleepy_wake,
    .now_ns = sleepy_now_ns,
    .wall_ms = sleepy_now_ns,
    .close = sleepy_close,
};

/* Operations one after the other, and then nothing for a while. */
struct writer {
    struct io io;
    struct timer timer;
    struct reactor *reactor;
    uint32_t done;
};

static void writer_stop(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    reactor_stop(CONTAINER_OF(timer, struct writer, timer)->reactor);
}

static void writer_step(struct completion *completion)
{
    static const uint8_t byte;
    struct io *io = CONTAINER_OF(completion, struct io, done);
    struct writer *writer = CONTAINER_OF(io, struct writer, io);
    switch (writer->done++) {
    case 0:
        io_write(io, 0, &byte, 1, 0, 0);
        break;
    case 1:
        io_sync(io, 0);
        break;
    case 2:
        io_allocate(io, 0, 0, 1);
        break;
    case 3:
        io_sync_dir(io, "/");
        break;
    default:
        timer_start(writer->reactor, &writer->timer, NS_PER_MS);
        return;
    }
    io_submit(writer->reactor, io);
}

static void a_core_polls_when_idle_but_not_beside_a_write(void **state)
{
    (void)state;
    struct sleepy sleepy = {0};
    struct writer writer = {.reactor = aligned_alloc(CACHE_LINE_BYTES, sizeof(struct reactor))};
    assert_non_null(writer.reactor);
    memset(writer.reactor, 0, sizeof(*writer.reactor));
    struct reactor_options options = {
        .engine = &io_engine_sleepy,
        .io = {.world = &sleepy},
        .memory = {.limit_bytes = MEMORY_LIMIT_MIN, .numa_node = -1},
        .seed = {1, 2, 3, 4},
        .idle_poll_us = 1000000,
    };
    assert_int_equal(reactor_open(writer.reactor, &options), OK);
    timer_init(&writer.timer, writer_stop);
    completion_init(&writer.io.done, writer_step);
    completion_fire(writer.reactor, &writer.io.done, OK);
    reactor_run(writer.reactor);
    assert_int_equal(writer.done, 5);
    /* The entry that submits one does not wait; none behind it polls. */
    assert_int_equal(sleepy.polls_beside_a_write, 4);
    assert_true(sleepy.polls > 100);
    reactor_close(writer.reactor);
    free(writer.reactor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_core_polls_when_idle_but_not_beside_a_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
