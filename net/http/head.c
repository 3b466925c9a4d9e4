/* See the header. */
#include "net/http/head.h"

#include "core/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void http_fault(struct http_fault *fault, uint16_t status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fault->status = status;
    (void)vsnprintf(fault->detail, sizeof(fault->detail), format, list);
    va_end(list);
}

char *http_quote(struct bytes bytes, char text[HTTP_QUOTE_BYTES])
{
    uint32_t shown = min_u32(bytes.size, HTTP_QUOTE_BYTES - 4);
    for (uint32_t i = 0; i < shown; i++) {
        uint8_t c = bytes.data[i];
        text[i] = (char)(c >= 0x20 && c < 0x7f ? c : '?');
    }
    (void)snprintf(text + shown, HTTP_QUOTE_BYTES - shown, "%s", bytes.size > shown ? "..." : "");
    return text;
}

static const struct {
    const char *text;
    enum http_method method;
} http_methods[] = {
    {"GET", HTTP_GET}, {"HEAD", HTTP_HEAD},     {"POST", HTTP_POST},
    {"PUT", HTTP_PUT}, {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS},
};

static const char *const http_field_names[HTTP_FIELD_COUNT] = {
    [HTTP_FIELD_HOST] = "host",
    [HTTP_FIELD_CONTENT_LENGTH] = "content-length",
    [HTTP_FIELD_TRANSFER_ENCODING] = "transfer-encoding",
    [HTTP_FIELD_CONTENT_TYPE] = "content-type",
    [HTTP_FIELD_CONTENT_ENCODING] = "content-encoding",
    [HTTP_FIELD_ACCEPT] = "accept",
    [HTTP_FIELD_EXPECT] = "expect",
    [HTTP_FIELD_ORIGIN] = "origin",
    [HTTP_FIELD_LAST_EVENT_ID] = "last-event-id",
    [HTTP_FIELD_X_FLOE] = "x-floe",
};

const char *http_method_text(enum http_method method)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(http_methods); i++) {
        if (http_methods[i].method == method) {
            return http_methods[i].text;
        }
    }
    UNREACHABLE();
}

static uint8_t http_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool http_equal(struct bytes bytes, const char *text)
{
    size_t size = strlen(text);
    if (bytes.size != size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (http_lower(bytes.data[i]) != http_lower((uint8_t)text[i])) {
            return false;
        }
    }
    return true;
}

static bool http_is_token(uint8_t c)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static struct bytes http_trim(struct bytes bytes)
{
    while (bytes.size > 0 && (bytes.data[0] == ' ' || bytes.data[0] == '\t')) {
        bytes = bytes_of(bytes.data + 1, bytes.size - 1);
    }
    while (bytes.size > 0 &&
           (bytes.data[bytes.size - 1] == ' ' || bytes.data[bytes.size - 1] == '\t')) {
        bytes.size--;
    }
    return bytes;
}

bool http_media_is(struct bytes type, const char *text)
{
    const uint8_t *end = type.size > 0 ? memchr(type.data, ';', type.size) : NULL;
    uint32_t size = end != NULL ? (uint32_t)(end - type.data) : type.size;
    return http_equal(http_trim(bytes_of(type.data, size)), text);
}

/* --- The end of a head. --- */

static enum http_found http_scan_long(const struct http_scan *scan, struct http_fault *fault)
{
    if (scan->line == 0) {
        http_fault(fault, 414, "the request line is longer than %d bytes: shorten the target",
                   HTTP_TARGET_BYTES_MAX + 32);
    } else {
        http_fault(fault, 431, "the headers are longer than %d bytes in all: send fewer or shorter",
                   HTTP_HEAD_BYTES_MAX);
    }
    return HTTP_FAULTY;
}

/* Ends of lines are CR LF and nothing else; no other control byte but a tab. */
enum http_found http_scan(struct http_scan *scan, struct bytes input, struct http_fault *fault)
{
    ASSERT(scan->position <= input.size && scan->line <= scan->position);
    for (uint32_t i = scan->position; i < input.size; i++) {
        uint8_t c = input.data[i];
        bool after_cr = i > 0 && input.data[i - 1] == '\r';
        scan->position = i + 1;
        if (after_cr != (c == '\n')) {
            http_fault(fault, 400,
                       c == '\n' ? "byte %u is a bare LF: lines of a request end with CR LF"
                                 : "byte %u follows a bare CR: lines of a request end with CR LF",
                       i);
            return HTTP_FAULTY;
        }
        if ((c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f) {
            http_fault(fault, 400,
                       "byte %u of the head is the control byte 0x%02x: send none, "
                       "percent-encode it in the target",
                       i, c);
            return HTTP_FAULTY;
        }
        if (c == '\n') {
            if (i - scan->line == 1 && scan->line > 0) {
                return HTTP_WHOLE;
            }
            if (i - scan->line == 1) {
                http_fault(fault, 400, "an empty line stands where the request line should");
                return HTTP_FAULTY;
            }
            scan->line = i + 1;
        }
        bool line_long = scan->line == 0 && i >= HTTP_TARGET_BYTES_MAX + 32;
        if (line_long || i + 1 >= HTTP_HEAD_BYTES_MAX) {
            return http_scan_long(scan, fault);
        }
    }
    return HTTP_MORE;
}

/* --- The request line. --- */

static bool http_parse_version(struct http_head *head, struct bytes text, struct http_fault *fault)
{
    char quoted[HTTP_QUOTE_BYTES];
    if (text.size != 8 || memcmp(text.data, "HTTP/", 5) != 0 || text.data[6] != '.') {
        http_fault(fault, 400,
                   "the request line ends with \"%s\": write METHOD, one blank, the target, one "
                   "blank, HTTP/1.1",
                   http_quote(text, quoted));
        return false;
    }
    if (text.data[5] != '1' || (text.data[7] != '0' && text.data[7] != '1')) {
        http_fault(fault, 505, "\"%s\" is not spoken here: use HTTP/1.1", http_quote(text, quoted));
        return false;
    }
    head->keep_alive = text.data[7] == '1';
    head->old = !head->keep_alive;
    return true;
}

static bool http_parse_target(struct http_head *head, struct http_fault *fault)
{
    struct bytes target = head->target;
    char quoted[HTTP_QUOTE_BYTES];
    if (target.size > HTTP_TARGET_BYTES_MAX) {
        http_fault(fault, 414, "the target has %u bytes, more than %d: shorten it", target.size,
                   HTTP_TARGET_BYTES_MAX);
        return false;
    }
    for (uint32_t i = 0; i < target.size; i++) {
        uint8_t c = target.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '#' || c == '\\' || c == '"' || c == '<' || c == '>') {
            http_fault(fault, 400,
                       "byte %u of the target is 0x%02x: percent-encode it, as in %%%02X", i, c, c);
            return false;
        }
    }
    bool all = target.size == 1 && target.data[0] == '*' && head->method == HTTP_OPTIONS;
    bool origin = target.size > 0 && target.data[0] == '/';
    if (!all && (!origin || (target.size > 1 && target.data[1] == '/'))) {
        http_fault(fault, 400,
                   "the target \"%s\" is not a path that begins with one '/': floe is no proxy, "
                   "send the path and name the host in Host",
                   http_quote(target, quoted));
        return false;
    }
    const uint8_t *mark = memchr(target.data, '?', target.size);
    head->path = target;
    if (mark != NULL) {
        head->path.size = (uint32_t)(mark - target.data);
        head->query = bytes_of(mark + 1, target.size - head->path.size - 1);
    }
    return true;
}

static bool http_parse_method(struct http_head *head, struct bytes text, struct http_fault *fault)
{
    char quoted[HTTP_QUOTE_BYTES];
    for (uint32_t i = 0; i < ARRAY_COUNT(http_methods); i++) {
        if (bytes_equal(text, bytes_text(http_methods[i].text))) {
            head->method = http_methods[i].method;
            return true;
        }
    }
    for (uint32_t i = 0; i < text.size; i++) {
        if (!http_is_token(text.data[i])) {
            http_fault(fault, 400, "\"%s\" is no method: the request line begins with one",
                       http_quote(text, quoted));
            return false;
        }
    }
    http_fault(fault, text.size == 0 ? 400 : 501,
               "the method \"%s\" is not known here: use GET, HEAD, POST, PUT, DELETE or OPTIONS",
               http_quote(text, quoted));
    return false;
}

static bool http_parse_line(struct http_head *head, struct bytes line, struct http_fault *fault)
{
    struct bytes words[3] = {{0}};
    uint32_t count = 0, begin = 0;
    for (uint32_t i = 0; i <= line.size; i++) {
        if (i == line.size || line.data[i] == ' ') {
            if (count == ARRAY_COUNT(words)) {
                count++;
                break;
            }
            words[count++] = bytes_of(line.data + begin, i - begin);
            begin = i + 1;
        }
    }
    if (count != ARRAY_COUNT(words)) {
        char quoted[HTTP_QUOTE_BYTES];
        http_fault(fault, 400,
                   "the request line \"%s\" has not three words: write METHOD, one blank, the "
                   "target, one blank, HTTP/1.1",
                   http_quote(line, quoted));
        return false;
    }
    head->target = words[1];
    return http_parse_version(head, words[2], fault) && http_parse_method(head, words[0], fault) &&
           http_parse_target(head, fault);
}

/* --- The fields. --- */

/* Close wins over keep-alive; what else may stand there does not concern us. */
static void http_parse_connection(struct http_head *head, struct bytes value, bool *close)
{
    uint32_t begin = 0;
    for (uint32_t i = 0; i <= value.size; i++) {
        if (i == value.size || value.data[i] == ',') {
            struct bytes word = http_trim(bytes_of(value.data + begin, i - begin));
            *close = *close || http_equal(word, "close");
            head->keep_alive = head->keep_alive || http_equal(word, "keep-alive");
            begin = i + 1;
        }
    }
}

static bool http_parse_field(struct http_head *head, struct bytes name, struct bytes value,
                             bool *close, struct http_fault *fault)
{
    if (http_equal(name, "connection")) {
        http_parse_connection(head, value, close);
        return true;
    }
    for (uint32_t i = 0; i < HTTP_FIELD_COUNT; i++) {
        if (!http_equal(name, http_field_names[i])) {
            continue;
        }
        if (head->fields[i].data != NULL) {
            http_fault(fault, 400, "the header %s comes twice: send it once", http_field_names[i]);
            return false;
        }
        head->fields[i] = value;
        return true;
    }
    return true;
}

static bool http_parse_header(struct http_head *head, struct bytes line, bool *close,
                              struct http_fault *fault)
{
    char quoted[HTTP_QUOTE_BYTES];
    if (line.data[0] == ' ' || line.data[0] == '\t') {
        http_fault(fault, 400,
                   "the line \"%s\" begins with a blank: a folded header is not taken, write it "
                   "in one line",
                   http_quote(line, quoted));
        return false;
    }
    uint32_t colon = 0;
    while (colon < line.size && http_is_token(line.data[colon])) {
        colon++;
    }
    if (colon == 0 || colon == line.size || line.data[colon] != ':') {
        http_fault(fault, 400,
                   "the line \"%s\" is no header: write a name, at once a colon, then the value",
                   http_quote(line, quoted));
        return false;
    }
    struct bytes value = http_trim(bytes_of(line.data + colon + 1, line.size - colon - 1));
    return http_parse_field(head, bytes_of(line.data, colon), value, close, fault);
}

/* --- The body. --- */

static bool http_parse_length(struct http_head *head, struct http_fault *fault)
{
    struct bytes text = head->fields[HTTP_FIELD_CONTENT_LENGTH];
    char quoted[HTTP_QUOTE_BYTES];
    uint64_t length = 0;
    bool good = text.size > 0 && text.size < 16 && (text.size == 1 || text.data[0] != '0');
    for (uint32_t i = 0; i < text.size && good; i++) {
        good = text.data[i] >= '0' && text.data[i] <= '9';
        length = length * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (!good) {
        http_fault(fault, 400, "Content-Length \"%s\" is not one plain decimal number",
                   http_quote(text, quoted));
        return false;
    }
    if (length > HTTP_BODY_BYTES_MAX) {
        http_fault(fault, 413, "the body has %llu bytes, more than %d: send it in smaller pieces",
                   (unsigned long long)length, HTTP_BODY_BYTES_MAX);
        return false;
    }
    head->body_bytes = (uint32_t)length;
    return true;
}

static bool http_check_fields(struct http_head *head, struct http_fault *fault)
{
    const struct bytes *fields = head->fields;
    char quoted[HTTP_QUOTE_BYTES];
    if (fields[HTTP_FIELD_TRANSFER_ENCODING].data != NULL) {
        bool both = fields[HTTP_FIELD_CONTENT_LENGTH].data != NULL;
        http_fault(fault, both ? 400 : 411,
                   "Transfer-Encoding \"%s\" is not taken%s: send the body's size in "
                   "Content-Length",
                   http_quote(fields[HTTP_FIELD_TRANSFER_ENCODING], quoted),
                   both ? ", and contradicts Content-Length" : "");
        return false;
    }
    if (fields[HTTP_FIELD_CONTENT_LENGTH].data != NULL && !http_parse_length(head, fault)) {
        return false;
    }
    if (fields[HTTP_FIELD_CONTENT_ENCODING].data != NULL &&
        !http_equal(fields[HTTP_FIELD_CONTENT_ENCODING], "identity")) {
        http_fault(fault, 415, "Content-Encoding \"%s\" is not taken: send the body as it is",
                   http_quote(fields[HTTP_FIELD_CONTENT_ENCODING], quoted));
        return false;
    }
    if (fields[HTTP_FIELD_EXPECT].data != NULL) {
        head->expects = http_equal(fields[HTTP_FIELD_EXPECT], "100-continue");
        if (!head->expects) {
            http_fault(fault, 417, "Expect \"%s\" cannot be met: only 100-continue can",
                       http_quote(fields[HTTP_FIELD_EXPECT], quoted));
            return false;
        }
    }
    if (fields[HTTP_FIELD_HOST].size == 0) {
        http_fault(fault, 400, "the header Host is missing: name the host that you mean");
        return false;
    }
    return true;
}

bool http_head_parse(struct bytes bytes, struct http_head *head, struct http_fault *fault)
{
    ASSERT(bytes.size >= 4 && memcmp(bytes.data + bytes.size - 2, "\r\n", 2) == 0);
    *head = (struct http_head){.size = bytes.size};
    fault->status = 0;
    uint32_t begin = 0, lines = 0;
    bool close = false;
    while (begin < bytes.size - 2) {
        const uint8_t *end = memchr(bytes.data + begin, '\r', bytes.size - begin);
        ASSERT(end != NULL);
        struct bytes line = bytes_of(bytes.data + begin, (uint32_t)(end - bytes.data) - begin);
        begin += line.size + 2;
        if (lines > HTTP_HEADERS_MAX) {
            http_fault(fault, 431, "there are more than %d headers: send fewer", HTTP_HEADERS_MAX);
            return false;
        }
        bool good = lines == 0 ? http_parse_line(head, line, fault)
                               : http_parse_header(head, line, &close, fault);
        if (!good) {
            return false;
        }
        lines++;
    }
    head->keep_alive = head->keep_alive && !close;
    return http_check_fields(head, fault);
}
