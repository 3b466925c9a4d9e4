/* What the process takes of its machine is told, and follows what it does. */
#include "core/process.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void descriptors_are_counted(void **state)
{
    (void)state;
    struct process_usage before, during, after;
    int fds[10];
    process_usage(&before);
    for (uint32_t i = 0; i < 10; i++) {
        fds[i] = open("/dev/null", O_RDONLY);
        assert_true(fds[i] >= 0);
    }
    process_usage(&during);
    for (uint32_t i = 0; i < 10; i++) {
        close(fds[i]);
    }
    process_usage(&after);
    assert_int_equal(during.descriptors_open, before.descriptors_open + 10);
    assert_int_equal(after.descriptors_open, before.descriptors_open);
    assert_true(before.descriptors_max >= before.descriptors_open);
}

static void memory_grows_when_it_is_touched(void **state)
{
    (void)state;

    enum { BYTES = 32 << 20 };
    struct process_usage before, after;
    process_usage(&before);
    void *memory = malloc(BYTES);
    assert_non_null(memory);
    memset(memory, 1, BYTES);
    process_usage(&after);
    free(memory);
    assert_true(before.resident_bytes > 0);
    assert_true(after.resident_bytes >= before.resident_bytes + BYTES / 2);
    assert_true(after.virtual_bytes >= after.resident_bytes);
    assert_true(after.age_ms >= before.age_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_are_counted),
        cmocka_unit_test(memory_grows_when_it_is_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
