/* Three kinds of wrong, three means: our own bug (ASSERT, on in release too), the world (enum err),
 * and no safe way on (PANIC: a line for the operator, then the process ends). */
#pragma once

#include "core/base.h"

NORETURN void assert_fail(const char *file, int line, const char *expression);
NORETURN void assert_panic(const char *file, int line, const char *format, ...) PRINTF_LIKE(3, 4);

/* A statement: behind an expression that may not return, clang counts a line as never run. */
#define ASSERT(expression)                                                                         \
    do {                                                                                           \
        if (!LIKELY(expression)) {                                                                 \
            assert_fail(__FILE__, __LINE__, #expression);                                          \
        }                                                                                          \
    } while (0)

/* Expensive checks, on in the dev presets only; compiled always, so that they never rot. */
#ifdef FLOE_VERIFY
#define VERIFY(expression) ASSERT(expression)
#else
#define VERIFY(expression) ((void)(0 && (expression)))
#endif

/* Says to the reader that `expression` holds sometimes, and is no bug either way. */
#define MAYBE(expression) ((void)(expression))

#define UNREACHABLE() assert_fail(__FILE__, __LINE__, "unreachable")
#define PANIC(...)    assert_panic(__FILE__, __LINE__, __VA_ARGS__)
