/* The end of the process, said in one line. Written with write(2) and without allocation: an
 * assertion may fail anywhere, with anything broken. */
#include "core/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <execinfo.h>
#endif

enum { ASSERT_LINE_BYTES = 1024, ASSERT_FRAMES_MAX = 32 };

/* `size` is what snprintf() returned for a line of ASSERT_LINE_BYTES. */
static void assert_put(const char *line, int size)
{
    size_t left = size < 0 ? 0 : (size_t)size;
    if (left >= ASSERT_LINE_BYTES) {
        left = ASSERT_LINE_BYTES - 1;
    }
    while (left > 0) {
        ssize_t written = write(STDERR_FILENO, line, left);
        if (written <= 0) {
            return;
        }
        line += written;
        left -= (size_t)written;
    }
}

void assert_fail(const char *file, int line, const char *expression)
{
    char text[ASSERT_LINE_BYTES];
    assert_put(text, snprintf(text, sizeof(text),
                              "floe: assertion failed: %s (%s:%d). This is a bug in floe: please "
                              "report it with what follows.\n",
                              expression, file, line));
#ifdef __GLIBC__
    void *frames[ASSERT_FRAMES_MAX];
    int count = backtrace(frames, ASSERT_FRAMES_MAX);
    backtrace_symbols_fd(frames, count, STDERR_FILENO);
#endif
    abort();
}

void assert_panic(const char *file, int line, const char *format, ...)
{
    char message[ASSERT_LINE_BYTES / 2];
    char text[ASSERT_LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    assert_put(text, snprintf(text, sizeof(text), "floe: cannot go on: %s (%s:%d)\n", message, file,
                              line));
    /* No exit handlers: they would run in a state that was just declared unsafe. */
    _exit(EXIT_FAILURE);
}
