/* floe top: what every core does, of /metrics, a frame per interval. On a terminal it stays in one
 * place, fits itself to the window, and leaves the terminal as it was, whatever ends it; elsewhere
 * frames follow each other.
 *
 *     sample -> wait: key, signal, time -> sample -> rates -> frame -> ...
 */
#include "tools/cmd_top.h"
#include "core/assert.h"
#include "tools/cmd_client.h"
#include "tools/cmd_socket.h"
#include "tools/errors.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { TOP_CELL = 11, TOP_FRAME_BYTES = 64 << 10 };

struct top {
    const struct cmd *cmd;
    const char *broker;
    int fd; /* -1: not connected. */
    bool live, raw;
    char trouble[512]; /* Why there is no new sample; live only. */
    struct termios before;
    sigset_t waiting; /* The mask while it waits: only then signals come. */
    struct top_sample samples[2];
    uint32_t newest;
};

/* What came, by its number; looked at between waits. */
static volatile sig_atomic_t top_signal, top_resized, top_stopped;

static void top_hears(int number)
{
    if (number == SIGWINCH) {
        top_resized = 1;
    } else if (number == SIGTSTP) {
        top_stopped = 1;
    } else {
        top_signal = number;
    }
}

static int64_t top_now_ms(void)
{
    struct timespec now;
    int result = clock_gettime(CLOCK_MONOTONIC, &now);
    ASSERT(result == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- The terminal. --- */

static void top_write(const char *text, size_t size)
{
    while (size > 0) {
        ssize_t part = write(STDOUT_FILENO, text, size);
        if (part < 0 && errno != EINTR && errno != EAGAIN) {
            return; /* It is gone; SIGHUP says so. */
        }
        text += part > 0 ? part : 0;
        size -= part > 0 ? (size_t)part : 0;
    }
}

/* The other screen, no cursor, no line wrap, keys at once and unseen. */
static void top_enter(struct top *top)
{
    static const char words[] = "\033[?1049h\033[?25l\033[?7l";
    if (tcgetattr(STDIN_FILENO, &top->before) == 0) {
        struct termios raw = top->before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 0;
        raw.c_cc[VTIME] = 0;
        top->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    }
    top_write(words, sizeof(words) - 1);
}

static void top_leave(struct top *top)
{
    static const char words[] = "\033[?7h\033[?25h\033[?1049l";
    if (top->raw) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &top->before);
        top->raw = false;
    }
    top_write(words, sizeof(words) - 1);
}

/* Ctrl-Z: the shell gets its terminal back until it goes on. */
static void top_pause(struct top *top)
{
    top_stopped = 0;
    top_leave(top);
    (void)kill(getpid(), SIGSTOP);
    top_enter(top);
    top_resized = 1;
}

static void top_signals(struct top *top)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP};
    struct sigaction action = {.sa_handler = top_hears};
    sigset_t held;
    sigemptyset(&action.sa_mask);
    sigemptyset(&held);
    for (uint32_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        if (top->live || numbers[i] == SIGINT || numbers[i] == SIGTERM || numbers[i] == SIGHUP) {
            (void)sigaddset(&held, numbers[i]);
            (void)sigaction(numbers[i], &action, NULL);
        }
    }
    (void)sigprocmask(SIG_BLOCK, &held, &top->waiting);
    for (uint32_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        (void)sigdelset(&top->waiting, numbers[i]);
    }
}

/* --- Samples. --- */

/* CMD_OK, or an exit code after it has said what is wrong; live that goes to top->trouble. */
static int top_sample(struct top *top)
{
    struct top_sample *sample = &top->samples[1 - top->newest];
    struct cmd cmd = *top->cmd;
    int status = 0;
    size_t size;
    char *text = NULL;
    cmd.said = top->live ? top->trouble : NULL;
    cmd.said_size = sizeof(top->trouble);
    for (uint32_t attempt = 0; attempt < 2 && text == NULL; attempt++) {
        bool kept = top->fd >= 0; /* An old connection may have ended meanwhile. */
        if (!kept) {
            int code = socket_open(&cmd, top->broker, &top->fd);
            if (code != CMD_OK) {
                top->fd = -1;
                return code;
            }
        }
        text = socket_get(top->fd, "/metrics", &status, &size);
        if (text == NULL) {
            (void)close(top->fd);
            top->fd = -1;
            attempt += kept ? 0 : 1;
        }
    }
    bool good = text != NULL && top_parse(text, sample);
    free(text);
    if (!good) {
        return cmd_fail(&cmd, ERROR_NO_METRICS,
                        "%s does not tell metrics%s: give the address of a floe that listens with "
                        "any:// or http://",
                        top->broker, status == 0 ? ", nor speaks HTTP" : "");
    }
    sample->at_ms = top_now_ms();
    top->newest = 1 - top->newest;
    top->trouble[0] = '\0';
    return CMD_OK;
}

/* --- Frames. --- */

static void top_cell(struct cmd_rows *rows, double value, bool fraction)
{
    char text[64];
    if (value < 0) {
        cmd_rows_text(rows, NULL);
        return;
    }
    (void)snprintf(text, sizeof(text), "%.*f", fraction ? 3 : 0, value);
    cmd_rows_json(rows, text, text);
}

/* A row of each core: how programs, pipes and records of sessions see it. */
static int top_print(struct top *top)
{
    const struct top_sample *now = &top->samples[top->newest],
                            *then = &top->samples[1 - top->newest];
    struct cmd_rows rows;
    cmd_rows_begin(&rows, top->cmd, top_columns, ARRAY_COUNT(top_columns));
    for (uint32_t core = 0; core < now->core_count; core++) {
        double rates[TOP_VALUES];
        top_rates(then, now, core, rates);
        cmd_rows_text(&rows, now->cores[core].label);
        for (uint32_t i = 0; i < TOP_VALUES; i++) {
            top_cell(&rows, rates[i], i == TOP_COMMIT_MS);
        }
    }
    return cmd_rows_end(&rows, top->cmd);
}

struct top_frame {
    char data[TOP_FRAME_BYTES];
    size_t used;
    uint32_t lines, height;
};

/* One line that takes the place of what stood there. */
static void PRINTF_LIKE(2, 3) frame_line(struct top_frame *frame, const char *format, ...)
{
    va_list arguments;
    if (frame->lines >= frame->height || frame->used + 512 > sizeof(frame->data)) {
        return;
    }
    if (frame->lines++ > 0) {
        memcpy(frame->data + frame->used, "\r\n", 2);
        frame->used += 2;
    }
    va_start(arguments, format);
    int size = vsnprintf(frame->data + frame->used, 400, format, arguments);
    va_end(arguments);
    frame->used += size < 0 ? 0 : size < 400 ? (size_t)size : 399;
    memcpy(frame->data + frame->used, "\033[K", 3);
    frame->used += 3;
}

static void frame_row(struct top_frame *frame, const char *label, const double rates[TOP_VALUES])
{
    char line[TOP_CELL * (TOP_VALUES + 2)], text[32];
    size_t used = (size_t)snprintf(line, sizeof(line), "%-6s", label);
    for (uint32_t i = 0; i < TOP_VALUES; i++) {
        used += (size_t)snprintf(line + used, sizeof(line) - used, "%*s", TOP_CELL,
                                 top_short(rates[i], text));
    }
    frame_line(frame, "%s", line);
}

static void frame_head(struct top_frame *frame)
{
    char line[TOP_CELL * (TOP_VALUES + 2)];
    size_t used = (size_t)snprintf(line, sizeof(line), "%-6s", top_columns[0]);
    for (uint32_t i = 0; i < TOP_VALUES; i++) {
        used +=
            (size_t)snprintf(line + used, sizeof(line) - used, "%*s", TOP_CELL, top_columns[i + 1]);
    }
    frame_line(frame, "\033[7m%s\033[0m", line);
}

static void top_draw(struct top *top, bool measured)
{
    static struct top_frame frame;
    const struct top_sample *now = &top->samples[top->newest],
                            *then = &top->samples[1 - top->newest];
    struct winsize window = {0};
    double rates[TOP_VALUES];
    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &window);
    frame = (struct top_frame){.height = window.ws_row > 0 ? window.ws_row : 24};
    memcpy(frame.data, "\033[H", 3);
    frame.used = 3;
    frame_line(&frame, "floe %s  %s  up %.0f s  %.0f topics  %.0f partitions  q: quit",
               now->version, top->broker, now->uptime_s, now->topics, now->partitions);
    frame_line(&frame, "%s",
               top->trouble[0] != '\0' ? top->trouble
               : measured              ? "per second; k = 1000; commit: mean"
                                       : "measuring ...");
    frame_head(&frame);
    for (uint32_t core = 0; measured && core < now->core_count; core++) {
        top_rates(then, now, core, rates);
        frame_row(&frame, now->cores[core].label, rates);
    }
    if (measured) {
        top_total(then, now, rates);
        frame_row(&frame, "all", rates);
    }
    memcpy(frame.data + frame.used, "\033[J", 3);
    top_write(frame.data, frame.used + 3);
}

/* --- The course. --- */

/* Until `deadline_ms`, or until something asks for an end: an exit code, or -1 to go on. */
static int top_wait(struct top *top, int64_t deadline_ms, bool measured)
{
    bool keys = top->live && top->raw;
    for (;;) {
        int64_t left_ms = deadline_ms - top_now_ms();
        if (left_ms <= 0) {
            return -1;
        }
        struct timespec left = {.tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000};
        struct pollfd key = {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN};
        int ready = ppoll(&key, 1, &left, &top->waiting);
        if (top_signal != 0) {
            return CMD_INTERRUPTED;
        }
        if (top_stopped != 0) {
            top_pause(top);
        }
        if (top_resized != 0 && top->live) {
            top_resized = 0;
            top_draw(top, measured);
        }
        char letter = 0;
        ssize_t got = ready > 0 ? read(STDIN_FILENO, &letter, 1) : -1;
        if (got == 0 || (ready > 0 && got < 0 && errno != EINTR && errno != EAGAIN)) {
            return CMD_INTERRUPTED; /* The terminal is gone. */
        }
        if (got == 1 && (letter == 'q' || letter == 'Q')) {
            return CMD_OK;
        }
    }
}

static int top_run(struct top *top, int64_t interval_ms, int64_t count)
{
    int code = top_sample(top);
    bool measured = false;
    for (int64_t frames = 0; count < 0 || frames < count; frames++) {
        if (code != CMD_OK && !(top->live && measured)) {
            return code;
        }
        if (top->live) {
            top_draw(top, measured);
        }
        int ends = top_wait(top, top_now_ms() + interval_ms, measured);
        if (ends >= 0) {
            return ends;
        }
        code = top_sample(top);
        measured = measured || code == CMD_OK;
        if (!top->live && code == CMD_OK) {
            if (frames > 0 && top->cmd->output == CMD_TABLE) {
                putchar('\n');
            }
            code = top_print(top);
        }
    }
    return code;
}

int cmd_top(const struct cmd *cmd)
{
    int64_t interval_s = 1, count = -1;
    const char *broker = cmd_value(cmd, "--broker");
    bool once = cmd_value(cmd, "--once") != NULL;
    int code = cmd_number(cmd, "--interval", 1, 3600, &interval_s);
    code = code == CMD_OK ? cmd_number(cmd, "--count", 1, INT32_MAX, &count) : code;
    if (code == CMD_OK && once && count >= 0) {
        code = cmd_fail(cmd, ERROR_FLAG, "--once is --count 1: give one of them");
    }
    broker = broker != NULL ? broker : "localhost:9092";
    code = code == CMD_OK ? client_check_brokers(cmd, broker) : code;
    if (code != CMD_OK) {
        return code;
    }
    struct top *top = calloc(1, sizeof(*top));
    if (top == NULL) {
        return cmd_fail(cmd, ERROR_MEMORY, "out of memory");
    }
    *top = (struct top){.cmd = cmd, .broker = broker, .fd = -1};
    top->live = count < 0 && !once && cmd_value(cmd, "--output") == NULL &&
                isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
    top_signals(top);
    if (top->live) {
        top_enter(top);
    }
    code = top_run(top, interval_s * 1000, once ? 1 : count);
    if (top->live) {
        top_leave(top);
    }
    if (top->trouble[0] != '\0' && code != CMD_OK && code != CMD_INTERRUPTED) {
        fprintf(stderr, "floe top: %s\n", top->trouble);
    }
    if (top->fd >= 0) {
        (void)close(top->fd);
    }
    free(top);
    return code;
}
