/* The smallest use of libfloe: append a few records, read them back.
 *
 *     cc hello.c -o hello $(pkg-config --cflags --libs libfloe) && ./hello data */
#include <floe.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what, int result)
{
    fprintf(stderr, "%s: %s\n", what, floe_error_text(result));
    return 1;
}

int main(int argc, char **argv)
{
    char why[FLOE_MESSAGE_BYTES];
    struct floe *log;
    struct floe_partition *greetings;
    struct floe_reader *reader;
    struct floe_view view;
    if (floe_open(argc > 1 ? argv[1] : "data", NULL, &log, why, sizeof(why)) != FLOE_OK) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    int result = floe_partition_open(log, "greetings", 0, NULL, &greetings);
    if (result != FLOE_OK) {
        return fail("open", result);
    }
    const char *const words[] = {"hello", "world"};
    for (int i = 0; i < 2; i++) {
        struct floe_record record = {0};
        record.value = words[i];
        record.value_size = strlen(words[i]);
        record.timestamp_ms = FLOE_NOW;
        uint64_t offset;
        result = floe_append(greetings, &record, &offset); /* FLOE_OK: it is on the disk. */
        if (result != FLOE_OK) {
            return fail("append", result);
        }
    }
    result = floe_reader_open(greetings, FLOE_START, &reader);
    while (result == FLOE_OK && (result = floe_reader_next(reader, &view)) == FLOE_OK) {
        printf("%" PRIu64 " %.*s\n", view.offset, (int)view.value_size, (const char *)view.value);
    }
    if (result != FLOE_END) {
        return fail("read", result);
    }
    result = floe_close(log); /* Closes the partition and the reader, too. */
    return result == FLOE_OK ? 0 : fail("close", result);
}
