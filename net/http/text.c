/* See the header. */
#include "net/http/text.h"

#include "core/assert.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void http_put(struct http_writer *writer, const void *data, uint64_t size)
{
    if (writer->data != NULL && size > 0) {
        ASSERT(size <= writer->size - writer->position);
        memcpy(writer->data + writer->position, data, (size_t)size);
    }
    writer->position += size;
}

void http_put_text(struct http_writer *writer, const char *text)
{
    http_put(writer, text, strlen(text));
}

void http_printf(struct http_writer *writer, const char *format, ...)
{
    char text[512];
    va_list list;
    va_start(list, format);
    int size = vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    ASSERT(size >= 0 && (size_t)size < sizeof(text));
    http_put(writer, text, (uint64_t)size);
}

void http_put_number(struct http_writer *writer, int64_t number)
{
    char text[24];
    uint32_t at = sizeof(text);
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        text[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0) {
        text[--at] = '-';
    }
    http_put(writer, text + at, sizeof(text) - at);
}

/* How many bytes the UTF-8 sequence at `at` has; 0: it is none. */
static uint32_t http_utf8(const uint8_t *at, uint32_t left)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t c = at[0];
    uint32_t size = c < 0x80             ? 1
                    : (c & 0xe0) == 0xc0 ? 2
                    : (c & 0xf0) == 0xe0 ? 3
                    : (c & 0xf8) == 0xf0 ? 4
                                         : 0;
    if (size <= 1 || size > left) {
        return size == 1 ? 1 : 0;
    }
    uint32_t point = c & (0x7fu >> size);
    for (uint32_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (at[i] & 0x3f);
    }
    bool surrogate = point >= 0xd800 && point < 0xe000;
    return point < least[size] || point > 0x10ffff || surrogate ? 0 : size;
}

bool http_is_text(struct bytes bytes)
{
    for (uint32_t i = 0; i < bytes.size;) {
        uint32_t size = http_utf8(bytes.data + i, bytes.size - i);
        if (size == 0) {
            return false;
        }
        i += size;
    }
    return true;
}

static void http_put_escape(struct http_writer *writer, uint8_t c)
{
    if (c == '"' || c == '\\') {
        http_printf(writer, "\\%c", c);
    } else if (c == '\n') {
        http_put_text(writer, "\\n");
    } else {
        http_printf(writer, "\\u%04x", c);
    }
}

void http_put_json(struct http_writer *writer, struct bytes text)
{
    uint32_t begin = 0;
    http_put(writer, "\"", 1);
    for (uint32_t i = 0; i < text.size;) {
        uint8_t c = text.data[i];
        uint32_t size = http_utf8(text.data + i, text.size - i);
        if (size == 1 && (c < 0x20 || c == '"' || c == '\\' || c == 0x7f)) {
            http_put(writer, text.data + begin, i - begin);
            http_put_escape(writer, c);
            begin = i + 1;
        } else if (size == 0) {
            http_put(writer, text.data + begin, i - begin);
            http_put_text(writer, "\\ufffd");
            begin = i + 1;
        }
        i += max_u32(size, 1);
    }
    if (text.size > 0) {
        http_put(writer, text.data + begin, text.size - begin);
    }
    http_put(writer, "\"", 1);
}

/* --- base64. --- */

static const char http_base64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void http_put_base64(struct http_writer *writer, struct bytes bytes)
{
    uint64_t size = div_ceil(bytes.size, 3) * 4;
    uint64_t begin = writer->position;
    writer->position += size;
    if (writer->data == NULL) {
        return;
    }
    uint8_t *out = writer->data + begin;
    ASSERT(writer->position <= writer->size);
    for (uint32_t i = 0; i < bytes.size; i += 3, out += 4) {
        uint32_t left = min_u32(bytes.size - i, 3);
        uint32_t word = (uint32_t)bytes.data[i] << 16;
        word |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        word |= left > 2 ? bytes.data[i + 2] : 0;
        out[0] = (uint8_t)http_base64[word >> 18];
        out[1] = (uint8_t)http_base64[word >> 12 & 63];
        out[2] = left > 1 ? (uint8_t)http_base64[word >> 6 & 63] : '=';
        out[3] = left > 2 ? (uint8_t)http_base64[word & 63] : '=';
    }
}

static uint32_t http_base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return (uint32_t)(c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return (uint32_t)(c - 'a') + 26;
    }
    if (c >= '0' && c <= '9') {
        return (uint32_t)(c - '0') + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

bool http_base64_decode(struct bytes text, uint8_t *out, uint32_t *size)
{
    uint32_t made = 0;
    if (text.size % 4 != 0) {
        return false;
    }
    for (uint32_t i = 0; i < text.size; i += 4) {
        bool last = i + 4 == text.size;
        uint32_t padding = 0;
        if (last && text.data[i + 3] == '=') {
            padding = text.data[i + 2] == '=' ? 2 : 1;
        }
        uint32_t word = 0;
        for (uint32_t j = 0; j < 4 - padding; j++) {
            uint32_t digit = http_base64_digit(text.data[i + j]);
            if (digit == 64) {
                return false;
            }
            word |= digit << (18 - 6 * j);
        }
        /* Bits that no byte has are zero, or two texts would mean one value. */
        if ((padding == 1 && (word & 0xff) != 0) || (padding == 2 && (word & 0xffff) != 0)) {
            return false;
        }
        for (uint32_t j = 0; j < 3 - padding; j++) {
            out[made++] = (uint8_t)(word >> (16 - 8 * j));
        }
    }
    *size = made;
    return true;
}

/* --- Targets. --- */

static int http_hex(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool http_percent_decode(struct bytes raw, uint8_t *out, struct bytes *decoded,
                         struct http_fault *fault)
{
    uint32_t size = 0;
    for (uint32_t i = 0; i < raw.size; i++) {
        uint8_t c = raw.data[i];
        if (c == '%') {
            int high = raw.size - i > 2 ? http_hex(raw.data[i + 1]) : -1;
            int low = raw.size - i > 2 ? http_hex(raw.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                char quoted[HTTP_QUOTE_BYTES];
                http_fault(fault, 400,
                           "\"%s\" has a %% without two hexadecimal digits: write it as %%25",
                           http_quote(raw, quoted));
                return false;
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
        }
        out[size++] = c;
    }
    *decoded = bytes_of(out, size);
    return true;
}

static void http_unknown_param(struct bytes name, const struct http_param *params, uint32_t count,
                               struct http_fault *fault)
{
    char quoted[HTTP_QUOTE_BYTES];
    char known[128] = "";
    for (uint32_t i = 0; i < count; i++) {
        size_t used = strlen(known);
        (void)snprintf(known + used, sizeof(known) - used, "%s%s", i == 0 ? "" : ", ",
                       params[i].name);
    }
    http_fault(fault, 400, "the parameter \"%s\" is not known here: %s%s", http_quote(name, quoted),
               count == 0 ? "none is" : "use ", known);
}

/* One name=value; a name without '=' has the empty value. */
static bool http_query_one(struct bytes item, struct http_param *params, uint32_t count,
                           uint8_t *out, uint32_t *used, struct http_fault *fault)
{
    const uint8_t *equals = memchr(item.data, '=', item.size);
    uint32_t name_size = equals != NULL ? (uint32_t)(equals - item.data) : item.size;
    uint32_t value_at = equals != NULL ? name_size + 1 : name_size;
    struct bytes name = {0}, value = {0};
    if (!http_percent_decode(bytes_of(item.data, name_size), out + *used, &name, fault)) {
        return false;
    }
    *used += name.size;
    if (!http_percent_decode(bytes_of(item.data + value_at, item.size - value_at), out + *used,
                             &value, fault)) {
        return false;
    }
    *used += value.size;
    for (uint32_t i = 0; i < count; i++) {
        if (!bytes_equal(name, bytes_text(params[i].name))) {
            continue;
        }
        if (params[i].value.data != NULL) {
            http_fault(fault, 400, "the parameter %s comes twice: give it once", params[i].name);
            return false;
        }
        params[i].value = value;
        return true;
    }
    http_unknown_param(name, params, count, fault);
    return false;
}

bool http_query_read(struct bytes query, struct http_param *params, uint32_t count, uint8_t *out,
                     struct http_fault *fault)
{
    uint32_t begin = 0, used = 0;
    for (uint32_t i = 0; i <= query.size; i++) {
        if (i < query.size && query.data[i] != '&') {
            continue;
        }
        if (i > begin && !http_query_one(bytes_of(query.data + begin, i - begin), params, count,
                                         out, &used, fault)) {
            return false;
        }
        begin = i + 1;
    }
    ASSERT(used <= query.size);
    return true;
}

bool http_read_number(const char *name, struct bytes text, uint64_t min, uint64_t max,
                      uint64_t *number, struct http_fault *fault)
{
    uint64_t value = 0;
    bool good = text.size > 0 && text.size < 20;
    for (uint32_t i = 0; i < text.size && good; i++) {
        good = text.data[i] >= '0' && text.data[i] <= '9';
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (!good || value < min || value > max) {
        char quoted[HTTP_QUOTE_BYTES];
        http_fault(fault, 400, "%s \"%s\" is no number from %" PRIu64 " to %" PRIu64, name,
                   http_quote(text, quoted), min, max);
        return false;
    }
    *number = value;
    return true;
}
