/* See the header. */
#include "tests/unit/core/io_fixture.h"

#include "core/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int setup(void **state, const struct io_engine *engine)
{
    struct reactor *reactor = aligned_alloc(CACHE_LINE_BYTES, sizeof(*reactor));
    assert_non_null(reactor);
    memset(reactor, 0, sizeof(*reactor));
    struct reactor_options options = {
        .engine = engine,
        .io = {.entries = IO_ENTRIES, .recv_count = IO_BUFFERS, .recv_size = IO_BUFFER_BYTES},
        .memory = {.limit_bytes = MEMORY_LIMIT_MIN, .numa_node = -1},
        .seed = {1, 2, 3, 4},
    };
    assert_int_equal(reactor_open(reactor, &options), OK);
    *state = reactor;
    return 0;
}

int io_setup_posix(void **state)
{
    return setup(state, &io_engine_posix);
}

#ifdef FLOE_HAS_URING
int io_setup_uring(void **state)
{
    return setup(state, &io_engine_uring);
}
#endif

int io_teardown(void **state)
{
    struct reactor *reactor = *state;
    reactor_close(reactor);
    free(reactor);
    return 0;
}

static void waited_done(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    CONTAINER_OF(io, struct waited, io)->done = true;
}

void waited_init(struct waited *waited)
{
    memset(waited, 0, sizeof(*waited));
    completion_init(&waited->io.done, waited_done);
}

int32_t waited_finish(struct reactor *reactor, struct waited *waited)
{
    for (uint32_t i = 0; i < 10000 && !waited->done; i++) {
        reactor_turn(reactor, NS_PER_MS);
    }
    assert_true(waited->done);
    waited->done = false;
    return waited->io.done.result;
}

int32_t waited_run(struct reactor *reactor, struct waited *waited)
{
    io_submit(reactor, &waited->io);
    return waited_finish(reactor, waited);
}
