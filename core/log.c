/* Lines for the operator. Formatting is on the caller's stack and ends in one write(2), so lines of
 * several threads do not mix and nothing is shared but the level and the sink. A line that stderr
 * does not take at once is dropped: a core that waits for a reader of its log serves nobody. */
#include "core/log.h"

#include "core/assert.h"
#include "core/reactor.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LOG_LINE_BYTES = 4096, /* Newline included: what a pipe takes in one piece. */
    LOG_TAIL_BYTES = 32,   /* Room kept for " dropped=..." and the newline. */
    LOG_SITE_LINES = 20,
    LOG_SITE_WINDOW_MS = 10000,
};

struct log_sink {
    log_sink_fn *fn;
    void *context;
};

/* The two mutable globals of core: a level that any thread may read and change, and where lines go,
 * which is set before threads start. Handing a logger through every call would cost each signature
 * an argument for the sake of these words. */
static atomic_int log_level_now = LOG_LEVEL_INFO;
static struct log_sink log_sink;

static const char *const log_level_names[] = {"error", "warn", "info", "debug"};

void log_set_level(enum log_level level)
{
    ASSERT(level <= LOG_LEVEL_DEBUG);
    /* Relaxed, here and in log_enabled(): a line more or less around a change harms nobody. */
    atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

bool log_set_level_text(const char *text)
{
    ASSERT(text != NULL);
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
    log_sink = (struct log_sink){.fn = sink, .context = context};
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

/* Unix time: the turn's within a reactor, so that the simulator's lines carry its clock. */
static uint64_t log_now_ms(const struct reactor *reactor)
{
    if (reactor != NULL) {
        return reactor->now_ms;
    }
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS;
}

/* Whether the site may write. A window ends after its time, or when the clock went back: then the
 * difference wraps and is huge. */
static bool log_admit(struct log_site *site, uint64_t now_ms)
{
    if (site->lines == 0 || now_ms - site->window_start_ms >= LOG_SITE_WINDOW_MS) {
        site->window_start_ms = now_ms;
        site->lines = 0;
    }
    if (site->lines == LOG_SITE_LINES) {
        return false;
    }
    site->lines++;
    return true;
}

static uint32_t log_prefix(char *line, enum log_level level, const struct reactor *reactor,
                           uint64_t now_ms)
{
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc = {0};
    (void)gmtime_r(&seconds, &utc);
    size_t size = strftime(line, LOG_LINE_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    int more = snprintf(line + size, LOG_LINE_BYTES - size, ".%03uZ %s ", (unsigned)(now_ms % 1000),
                        log_level_names[level]);
    ASSERT(more > 0);
    size += (size_t)more;
    if (reactor != NULL) {
        more = snprintf(line + size, LOG_LINE_BYTES - size, "core=%u ", reactor->index);
        ASSERT(more > 0);
        size += (size_t)more;
    }
    ASSERT(size < LOG_LINE_BYTES / 2);
    return (uint32_t)size;
}

/* One character as logfmt shows it, into `out` of at least 4 bytes; its size. */
static uint32_t log_escape(char c, char *out)
{
    static const char hex[] = "0123456789abcdef";
    const uint8_t byte = (uint8_t)c;
    if (byte >= 0x20 && byte != 0x7f) {
        out[0] = c;
        return 1;
    }
    out[0] = '\\';
    if (c == '\n' || c == '\r' || c == '\t') {
        out[1] = (char)(c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        return 2;
    }
    out[1] = 'x';
    out[2] = hex[byte >> 4];
    out[3] = hex[byte & 15];
    return 4;
}

/* Appends `text` with its control characters escaped: a name that came over the network must not
 * write lines of its own. A line that is too long ends in "...". */
static uint32_t log_append(char *line, uint32_t size, const char *text)
{
    static const char more[] = "...";
    const uint32_t room = LOG_LINE_BYTES - LOG_TAIL_BYTES - (uint32_t)sizeof(more);
    for (; *text != '\0'; text++) {
        char escaped[4];
        uint32_t count = log_escape(*text, escaped);
        if (size + count > room) {
            memcpy(line + size, more, sizeof(more) - 1);
            return size + (uint32_t)sizeof(more) - 1;
        }
        memcpy(line + size, escaped, count);
        size += count;
    }
    return size;
}

/* False: dropped, because nobody reads (a full pipe, a terminal that was stopped) or nobody can.
 * Two cores that look at the same moment may both see the last room of a pipe; then one of them
 * waits. */
static bool log_emit(const char *line, uint32_t size)
{
    ASSERT(size > 0 && size <= LOG_LINE_BYTES);
    ASSERT(line[size - 1] == '\n');
    if (log_sink.fn != NULL) {
        log_sink.fn(log_sink.context, line, size);
        return true;
    }
    /* The descriptor is shared with whoever started us, so it stays as blocking as it is. */
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&room, 1, 0) != 1 || room.revents != POLLOUT) {
        return false;
    }
    return write(STDERR_FILENO, line, size) == (ssize_t)size;
}

static void log_drop(struct log_site *site, struct reactor *reactor)
{
    site->dropped++;
    if (reactor != NULL) {
        stats_add(&reactor->stats, STAT_LOG_DROPPED, 1);
    }
}

void log_write(enum log_level level, struct log_site *site, const char *format, ...)
{
    ASSERT(level <= LOG_LEVEL_DEBUG);
    ASSERT(site != NULL && format != NULL);
    struct reactor *reactor = reactor_self();
    const uint64_t now_ms = log_now_ms(reactor);
    if (!log_admit(site, now_ms)) {
        log_drop(site, reactor);
        return;
    }
    char text[LOG_LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int text_size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (text_size < 0) {
        text[0] = '\0';
    }
    char line[LOG_LINE_BYTES];
    uint32_t size = log_prefix(line, level, reactor, now_ms);
    size = log_append(line, size, text);
    if (site->dropped > 0) {
        int more = snprintf(line + size, LOG_LINE_BYTES - size, " dropped=%u", site->dropped);
        ASSERT(more > 0 && more < LOG_TAIL_BYTES - 1);
        size += (uint32_t)more;
    }
    line[size++] = '\n';
    if (log_emit(line, size)) {
        site->dropped = 0;
    } else {
        log_drop(site, reactor);
    }
}

static bool log_plain(const char *text)
{
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        const uint8_t byte = (uint8_t)*text;
        if (byte <= 0x20 || byte == 0x7f || byte == '"' || byte == '=' || byte == '\\') {
            return false;
        }
    }
    return true;
}

const char *log_quote(const char *text, char *out, uint32_t size)
{
    ASSERT(text != NULL && out != NULL);
    ASSERT(size >= 3); /* Two quotes and the NUL. */
    const bool quoted = !log_plain(text);
    const uint32_t room = quoted ? size - 2 : size - 1; /* Quote and NUL come behind the text. */
    uint32_t used = 0;
    if (quoted) {
        out[used++] = '"';
    }
    for (; *text != '\0'; text++) {
        char escaped[4];
        uint32_t count = log_escape(*text, escaped);
        if (*text == '"' || *text == '\\') {
            escaped[0] = '\\';
            escaped[1] = *text;
            count = 2;
        }
        if (used + count > room) {
            break;
        }
        memcpy(out + used, escaped, count);
        used += count;
    }
    if (quoted) {
        out[used++] = '"';
    }
    ASSERT(used < size);
    out[used] = '\0';
    return out;
}
