/* Lines of logfmt, one write each. */
#include "core/log.h"

#include "core/assert.h"
#include "core/reactor.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINE_BYTES = 4096, LOG_SITE_LINES = 20, LOG_SITE_WINDOW_MS = 10000 };

/* The process's log: the one setting that every layer shares and no function can be handed. */
static atomic_int log_level_now = LOG_LEVEL_INFO;
static log_sink_fn *log_sink;
static void *log_sink_context;

static const char *const log_level_names[] = {"error", "warn", "info", "debug"};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

bool log_set_level_text(const char *text)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(log_level_names); i++) {
        if (strcmp(text, log_level_names[i]) == 0) {
            log_set_level((enum log_level)i);
            return true;
        }
    }
    return false;
}

void log_set_sink(log_sink_fn *sink, void *context)
{
    log_sink = sink;
    log_sink_context = context;
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

/* Unix time of this line: the turn's in a reactor, so that the simulator's lines carry its clock.
 */
static uint64_t log_now_ms(void)
{
    const struct reactor *reactor = reactor_self();
    if (reactor != NULL) {
        return reactor->now_ms;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS;
}

/* May this site speak? Counts what it could not say. */
static bool log_admit(struct log_site *site, uint64_t now_ms, uint32_t *dropped)
{
    *dropped = 0;
    if (now_ms - site->window_start_ms >= LOG_SITE_WINDOW_MS) {
        *dropped = site->dropped;
        *site = (struct log_site){.window_start_ms = now_ms};
    }
    if (site->lines >= LOG_SITE_LINES) {
        site->dropped++;
        return false;
    }
    site->lines++;
    return true;
}

static uint32_t log_prefix(char *line, enum log_level level, uint64_t now_ms)
{
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t used = strftime(line, 64, "%Y-%m-%dT%H:%M:%S", &utc);
    const struct reactor *reactor = reactor_self();
    int more =
        snprintf(line + used, 96, ".%03uZ %s", (unsigned)(now_ms % 1000), log_level_names[level]);
    used += (size_t)more;
    if (reactor != NULL) {
        used += (size_t)snprintf(line + used, 32, " core=%u", reactor->index);
    }
    line[used++] = ' ';
    return (uint32_t)used;
}

void log_write(enum log_level level, struct log_site *site, const char *format, ...)
{
    uint64_t now_ms = log_now_ms();
    uint32_t dropped = 0;
    if (!log_admit(site, now_ms, &dropped)) {
        return;
    }
    char line[LOG_LINE_BYTES];
    uint32_t used = log_prefix(line, level, now_ms);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line + used, LOG_LINE_BYTES - 64 - used, format, arguments);
    va_end(arguments);
    uint32_t room = LOG_LINE_BYTES - 64 - used;
    used += length < 0 ? 0 : min_u32((uint32_t)length, room - 1);
    if (dropped > 0) {
        used += (uint32_t)snprintf(line + used, 48, " dropped=%u", dropped);
    }
    for (uint32_t i = 0; i < used; i++) {
        if ((unsigned char)line[i] < ' ') {
            line[i] = '?'; /* One line is one event, whatever a client called itself. */
        }
    }
    line[used++] = '\n';
    if (log_sink != NULL) {
        log_sink(log_sink_context, line, used);
        return;
    }
    ssize_t rc = write(STDERR_FILENO, line, used);
    MAYBE(rc < 0); /* Nobody is left to tell. */
}

const char *log_quote(const char *text, char *out, uint32_t size)
{
    bool plain = text[0] != 0 && strpbrk(text, " \"=\\") == NULL;
    uint32_t used = 0;
    if (!plain && size > 2) {
        out[used++] = '"';
    }
    for (; *text != 0 && used + 4 < size; text++) {
        if (*text == '"' || *text == '\\') {
            out[used++] = '\\';
        }
        out[used++] = (unsigned char)*text < ' ' ? '?' : *text;
    }
    if (!plain && size > 2) {
        out[used++] = '"';
    }
    out[min_u32(used, size - 1)] = 0;
    return out;
}
