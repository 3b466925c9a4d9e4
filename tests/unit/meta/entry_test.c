/* Entries of the log: commands that share one. */
#include "meta/entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_an_entry_holds_what_fits(void **state)
{
    (void)state;
    uint8_t data[200];
    struct bytes_writer writer = bytes_writer(data, sizeof(data));
    struct command command = {
        .kind = COMMAND_PRODUCER_IDS, .origin = 1, .producer_ids = {.count = 5}};
    entry_begin(&writer);
    uint32_t added = 0;
    while (entry_add(&writer, &command)) {
        command.sequence = ++added;
    }
    assert_in_range(added, 2, 8);
    struct entry_reader entry;
    assert_int_equal(entry_open(&entry, bytes_of(data, writer.position)), OK);
    assert_int_equal(entry.left, added);
    for (uint32_t i = 0; i < added; i++) {
        assert_int_equal(entry_next(&entry, &command), OK);
        assert_int_equal(command.sequence, i);
    }
    assert_int_equal(entry.left, 0);
    assert_int_equal(writer.position % 8, 0);
    assert_int_equal(entry_open(&entry, bytes_of(data, writer.position - 8)), OK);
    enum err err = OK;
    while (err == OK && entry.left > 0) {
        err = entry_next(&entry, &command);
    }
    assert_int_equal(err, ERR_CORRUPT);
    data[0] = 2;
    assert_int_equal(entry_open(&entry, bytes_of(data, writer.position)), ERR_VERSION);
    assert_int_equal(entry_open(&entry, bytes_of(data, 3)), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_entry_holds_what_fits),
    };
    return cmocka_run_group_tests_name("meta/entry", tests, NULL, NULL);
}
