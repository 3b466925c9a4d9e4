/* The log for the operator: logfmt, one line per event, "a constant sentence" then key=value.
 *
 *     2026-11-24T10:00:00.123Z info core=1 segment sealed topic=orders partition=3 end=1000000
 *
 * error = a human must act; warn = degraded; info = a state changed; debug = off by a constant, but
 * compiled always. Each call site is limited to 20 lines in 10 s; what was left out is counted and
 * said with the next line of that site, as is a line that stderr could not take at once. Lines are
 * formatted on the caller's stack and written by one write(2) of at most 4 KiB to stderr. In the
 * simulator the sink and clock are its own. Values with blanks or quotes are quoted by
 * log_quote(). */
#pragma once

#include "core/base.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

/* One per call site: the rate limit. */
struct log_site {
    uint64_t window_start_ms;
    uint32_t lines, dropped;
};

typedef void log_sink_fn(void *context, const char *line, uint32_t size);

/* Process-wide; set before threads start. */
void log_set_level(enum log_level level);
bool log_set_level_text(const char *text);           /* "error", "warn", "info", "debug" */
void log_set_sink(log_sink_fn *sink, void *context); /* NULL: stderr. */
bool log_enabled(enum log_level level);

void log_write(enum log_level level, struct log_site *site, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* `text` as a logfmt value, quoted if it must be; into `out`, truncated to `size`. Returns `out`.
 */
const char *log_quote(const char *text, char *out, uint32_t size);

#define LOG_AT(level, ...)                                                                         \
    do {                                                                                           \
        static _Thread_local struct log_site log_site_;                                            \
        if (log_enabled(level)) {                                                                  \
            log_write(level, &log_site_, __VA_ARGS__);                                             \
        }                                                                                          \
    } while (0)
#define LOG_ERROR(...) LOG_AT(LOG_LEVEL_ERROR, __VA_ARGS__)
#define LOG_WARN(...)  LOG_AT(LOG_LEVEL_WARN, __VA_ARGS__)
#define LOG_INFO(...)  LOG_AT(LOG_LEVEL_INFO, __VA_ARGS__)
#define LOG_DEBUG(...) LOG_AT(LOG_LEVEL_DEBUG, __VA_ARGS__)
