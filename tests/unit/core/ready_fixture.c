/* See the header. */
#include "tests/unit/core/ready_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct reactor *reactor;

int ready_setup(void **state)
{
    (void)state;
    reactor = aligned_alloc(CACHE_LINE_BYTES, sizeof(*reactor));
    assert_non_null(reactor);
    memset(reactor, 0, sizeof(*reactor));
    return 0;
}

int ready_teardown(void **state)
{
    (void)state;
    free(reactor);
    return 0;
}

uint32_t run_ready(void)
{
    uint32_t count = 0;
    struct completion *completion;
    while ((completion = completion_list_pop(&reactor->ready)) != NULL) {
        completion->queued = false;
        completion->fn(completion);
        count++;
    }
    return count;
}
