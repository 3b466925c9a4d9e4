/* See the header. */
#include "net/resp/parse.h"

#include "core/assert.h"
#include "core/err.h"
#include "core/limits.h"
#include "net/resp/text.h"

#include <stdio.h>
#include <string.h>

enum { SHORT_DIGITS = 5 }; /* Far below what a frame may have. */

_Static_assert(BATCH_BYTES_MAX > 100000, "SHORT_DIGITS");

/* --- Finding the end. --- */

void resp_fault_text(enum resp_fault fault, uint8_t got, char *text)
{
    static const char *const texts[] = {
        [RESP_SOUND] = "",
        [RESP_FAULT_COUNT_LINE] = "too big mbulk count string",
        [RESP_FAULT_COUNT] = "invalid multibulk length",
        [RESP_FAULT_DOLLAR] = "expected '$', got ",
        [RESP_FAULT_SIZE_LINE] = "too big bulk count string",
        [RESP_FAULT_SIZE] = "invalid bulk length",
        [RESP_FAULT_INLINE] = "too big inline request",
        [RESP_FAULT_QUOTES] = "unbalanced quotes in request",
    };
    char quoted[4] = {'\'', (char)(got >= ' ' && got < 127 ? got : '?'), '\'', 0};
    (void)snprintf(text, RESP_ERROR_BYTES, "Protocol error: %s%s", texts[fault],
                   fault == RESP_FAULT_DOLLAR ? quoted : "");
}

static int64_t scan_fail(struct resp_scan *scan, enum resp_fault fault)
{
    scan->fault = fault;
    return ERR_INVALID;
}

/* The line at scan->position, without its end; `*next` is behind that. False: it is not whole. */
static bool scan_line(struct resp_scan *scan, struct bytes input, struct bytes *line,
                      uint32_t *next)
{
    uint32_t from = max_u32(scan->searched, scan->position);
    if (from >= input.size) {
        return false;
    }
    const uint8_t *end = memchr(input.data + from, '\n', input.size - from);
    if (end == NULL) {
        scan->searched = input.size;
        return false;
    }
    uint32_t at = (uint32_t)(end - input.data);
    *next = at + 1;
    if (at > scan->position && input.data[at - 1] == '\r') {
        at--;
    }
    *line = bytes_of(input.data + scan->position, at - scan->position);
    return true;
}

static bool scan_line_too_long(const struct resp_scan *scan, struct bytes input)
{
    return input.size > scan->position && input.size - scan->position > RESP_LINE_BYTES_MAX;
}

/* Behind a line or a payload. */
static void scan_move(struct resp_scan *scan, uint32_t position)
{
    scan->position = position;
    scan->searched = position;
}

static int64_t scan_count(struct resp_scan *scan, struct bytes input)
{
    struct bytes line;
    uint32_t next;
    int64_t count;
    if (!scan_line(scan, input, &line, &next)) {
        return scan_line_too_long(scan, input) ? scan_fail(scan, RESP_FAULT_COUNT_LINE) : 0;
    }
    if (!resp_parse_i64(bytes_of(line.data + 1, line.size - 1), &count) ||
        count > RESP_ARGUMENTS_MAX) {
        return scan_fail(scan, RESP_FAULT_COUNT);
    }
    scan_move(scan, next);
    scan->array = true;
    scan->arguments = count < 0 ? 0 : (uint32_t)count;
    return 0;
}

/* "$123" and its end at `at`, as nearly every argument has it; *next is behind it. False: look
 * closer. */
static bool scan_short(struct bytes input, uint32_t at, uint32_t *size, uint32_t *next)
{
    const uint8_t *from = input.data + at;
    if (at >= input.size || input.size - at < SHORT_DIGITS + 3 || *from != '$') {
        return false;
    }
    const uint8_t *digit = from + 1;
    uint32_t number = 0;
    while ((uint8_t)(*digit - '0') <= 9 && digit <= from + SHORT_DIGITS) {
        number = number * 10 + *digit++ - '0';
    }
    bool sound = digit > from + 1 && (from[1] != '0' || digit == from + 2);
    *size = number;
    *next = (uint32_t)(digit + 2 - input.data);
    return sound && digit[0] == '\r' && digit[1] == '\n' &&
           (uint64_t)*next + number + 2 <= (uint64_t)REQUEST_FRAME_BYTES_MAX;
}

/* The next argument's size. */
static int64_t scan_argument(struct resp_scan *scan, struct bytes input)
{
    struct bytes line;
    uint32_t next;
    uint32_t bytes;
    int64_t size;
    if (scan_short(input, scan->position, &bytes, &next)) {
        scan_move(scan, next + bytes + 2);
        scan->arguments--;
        return 0;
    }
    if (scan->position < input.size && input.data[scan->position] != '$') {
        scan->got = input.data[scan->position];
        return scan_fail(scan, RESP_FAULT_DOLLAR);
    }
    if (!scan_line(scan, input, &line, &next)) {
        return scan_line_too_long(scan, input) ? scan_fail(scan, RESP_FAULT_SIZE_LINE) : 0;
    }
    if (!resp_parse_i64(bytes_of(line.data + 1, line.size - 1), &size) || size < 0 ||
        size > BATCH_BYTES_MAX ||
        (uint64_t)next + (uint64_t)size + 2 > (uint64_t)REQUEST_FRAME_BYTES_MAX) {
        return scan_fail(scan, RESP_FAULT_SIZE);
    }
    scan_move(scan, next + (uint32_t)size + 2);
    scan->arguments--;
    return 0;
}

static int64_t scan_inline(struct resp_scan *scan, struct bytes input)
{
    struct bytes line;
    uint32_t next;
    if (!scan_line(scan, input, &line, &next)) {
        return input.size > RESP_LINE_BYTES_MAX ? scan_fail(scan, RESP_FAULT_INLINE) : 0;
    }
    return next;
}

int64_t resp_scan(struct resp_scan *scan, struct bytes input)
{
    ASSERT(scan->fault == RESP_SOUND);
    if (input.size == 0) {
        return 0;
    }
    if (input.data[0] != '*') {
        return scan_inline(scan, input);
    }
    if (!scan->array) {
        int64_t result = scan_count(scan, input);
        if (result != 0 || !scan->array) {
            return result;
        }
    }
    while (scan->position <= input.size) {
        if (scan->arguments == 0) {
            return scan->position;
        }
        uint32_t before = scan->position;
        int64_t result = scan_argument(scan, input);
        if (result != 0 || scan->position == before) {
            return result;
        }
    }
    return 0;
}

/* --- Taking it apart. --- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

uint32_t resp_arguments_max(struct bytes frame)
{
    if (frame.size > 0 && frame.data[0] == '*') {
        struct resp_scan scan = {0};
        int64_t result = scan_count(&scan, frame);
        ASSERT(result == 0 && scan.array);
        return scan.arguments;
    }
    uint32_t words = 0;
    bool blank = true;
    for (uint32_t i = 0; i < frame.size; i++) {
        words += blank && !is_blank(frame.data[i]) ? 1 : 0;
        blank = is_blank(frame.data[i]);
    }
    return words;
}

/* What stands behind a backslash in double quotes; how many bytes it takes. */
static uint32_t split_escape(struct bytes rest, uint8_t *byte)
{
    static const char from[] = "nrtba";
    static const char to[] = "\n\r\t\b\a";
    int high = rest.size > 2 && rest.data[0] == 'x' ? resp_hex(rest.data[1]) : -1;
    int low = high >= 0 ? resp_hex(rest.data[2]) : -1;
    if (low >= 0) {
        *byte = (uint8_t)(high * 16 + low);
        return 3;
    }
    *byte = rest.data[0];
    const char *found = rest.data[0] == 0 ? NULL : strchr(from, rest.data[0]);
    if (found != NULL) {
        *byte = (uint8_t)to[found - from];
    }
    return 1;
}

/* A word in quotes, which begins behind the first one: the position behind the last; 0: there is
 * none, or something follows it at once. */
static uint32_t split_quoted(struct bytes line, uint32_t at, uint8_t quote, uint8_t **text)
{
    while (at < line.size) {
        uint8_t c = line.data[at++];
        bool more = at < line.size;
        if (c == quote) {
            return more && !is_blank(line.data[at]) ? 0 : at;
        }
        if (c == '\\' && more && quote == '"') {
            at += split_escape(bytes_of(line.data + at, line.size - at), &c);
        } else if (c == '\\' && more && line.data[at] == '\'') {
            c = line.data[at++];
        }
        *(*text)++ = c;
    }
    return 0;
}

static int64_t split_inline(struct bytes line, struct bytes *arguments, uint8_t *text)
{
    uint32_t count = 0;
    uint32_t at = 0;
    while (at < line.size) {
        if (is_blank(line.data[at])) {
            at++;
            continue;
        }
        const uint8_t *first = text;
        while (at < line.size && !is_blank(line.data[at])) {
            uint8_t c = line.data[at++];
            if (c == '"' || c == '\'') {
                at = split_quoted(line, at, c, &text);
                if (at == 0) {
                    return -1;
                }
                break;
            }
            *text++ = c;
        }
        arguments[count++] = bytes_of(first, (uint32_t)(text - first));
    }
    return count;
}

/* The argument at *position of an array that is known to be sound; goes behind it. */
static struct bytes split_next(struct bytes frame, uint32_t *position)
{
    uint32_t next;
    uint32_t size;
    if (!scan_short(frame, *position, &size, &next)) {
        struct resp_scan scan = {.position = *position};
        struct bytes line;
        int64_t number;
        bool whole = scan_line(&scan, frame, &line, &next) &&
                     resp_parse_i64(bytes_of(line.data + 1, line.size - 1), &number);
        ASSERT(whole && number >= 0 && number <= UINT32_MAX);
        size = (uint32_t)number;
    }
    ASSERT((uint64_t)next + size + 2 <= frame.size);
    *position = next + size + 2;
    return bytes_of(frame.data + next, size);
}

uint32_t resp_head_bytes(struct bytes frame)
{
    struct resp_scan scan = {0};
    int64_t result = scan_count(&scan, frame);
    ASSERT(result == 0 && scan.array);
    return scan.position;
}

uint32_t resp_split_some(struct bytes frame, uint32_t position, struct bytes *arguments,
                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        arguments[i] = split_next(frame, &position);
    }
    return position;
}

bool resp_first_argument(struct bytes frame, struct bytes *argument)
{
    struct resp_scan scan = {0};
    int64_t result = scan_count(&scan, frame);
    ASSERT(result == 0 && scan.array);
    if (scan.arguments == 0) {
        return false;
    }
    (void)resp_split_some(frame, scan.position, argument, 1);
    return true;
}

int64_t resp_split(struct bytes frame, struct bytes *arguments, uint8_t *text)
{
    if (frame.size == 0 || frame.data[0] != '*') {
        return split_inline(frame, arguments, text);
    }
    struct resp_scan scan = {0};
    int64_t result = scan_count(&scan, frame);
    ASSERT(result == 0 && scan.array);
    (void)resp_split_some(frame, scan.position, arguments, scan.arguments);
    return scan.arguments;
}
