/* See the header. */
#include "net/resp/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool resp_parse_u64(struct bytes text, uint64_t *value)
{
    uint64_t sum = 0;
    if (text.size == 0 || text.size > 20 || (text.data[0] == '0' && text.size > 1)) {
        return false;
    }
    for (uint32_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c < '0' || c > '9' || __builtin_mul_overflow(sum, 10U, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(c - '0'), &sum)) {
            return false;
        }
    }
    *value = sum;
    return true;
}

bool resp_parse_i64(struct bytes text, int64_t *value)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    uint64_t number;
    if (negative) {
        text = bytes_of(text.data + 1, text.size - 1);
    }
    if (!resp_parse_u64(text, &number) || (negative && number == 0) ||
        number > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return false;
    }
    *value = negative ? (int64_t)(0 - number) : (int64_t)number;
    return true;
}

void resp_text_add(struct resp_text *text, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int size = vsnprintf(text->text + text->used, text->size - text->used, format, list);
    va_end(list);
    text->used += min_u32((uint32_t)size, text->size - text->used - 1);
}

int resp_hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint8_t upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c;
}

/* Most words differ in the first letter: their length is not counted first. */
bool resp_is(struct bytes text, const char *word)
{
    uint32_t i = 0;
    while (i < text.size && word[i] != 0 && upper(text.data[i]) == upper((uint8_t)word[i])) {
        i++;
    }
    return i == text.size && word[i] == 0;
}

uint32_t resp_u64_text(uint64_t value, char *text)
{
    char digits[20];
    uint32_t size = 0;
    if (value < 10) {
        text[0] = (char)('0' + value);
        return 1;
    }
    do {
        digits[size++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    for (uint32_t i = 0; i < size; i++) {
        text[i] = digits[size - 1 - i];
    }
    return size;
}

/* A class, which begins behind its bracket: whether `c` is in it; *at is behind its end then. */
static bool class_has(struct bytes pattern, uint32_t *at, uint8_t c)
{
    uint32_t i = *at;
    bool inverse = i < pattern.size && pattern.data[i] == '^';
    bool found = false;
    i += inverse ? 1 : 0;
    for (; i < pattern.size && pattern.data[i] != ']'; i++) {
        if (pattern.data[i] == '\\' && i + 1 < pattern.size) {
            i++;
            found = found || pattern.data[i] == c;
        } else if (i + 2 < pattern.size && pattern.data[i + 1] == '-') {
            uint8_t from = pattern.data[i];
            uint8_t to = pattern.data[i + 2];
            found = found || (c >= from && c <= to) || (c >= to && c <= from);
            i += 2;
        } else {
            found = found || pattern.data[i] == c;
        }
    }
    *at = i < pattern.size ? i + 1 : i;
    return found != inverse;
}

/* What stands at *at is no star: whether it matches `c`; *at is behind it then. */
static bool one_matches(struct bytes pattern, uint32_t *at, uint8_t c)
{
    uint8_t p = pattern.data[(*at)++];
    if (p == '?') {
        return true;
    }
    if (p == '[') {
        return class_has(pattern, at, c);
    }
    if (p == '\\' && *at < pattern.size) {
        p = pattern.data[(*at)++];
    }
    return p == c;
}

/* A mismatch goes back to the last star, which takes one more: earlier ones need not. */
bool resp_matches(struct bytes pattern, struct bytes text)
{
    uint32_t at = 0;
    uint32_t i = 0;
    uint32_t star = UINT32_MAX;
    uint32_t star_text = 0;
    while (i < text.size) {
        if (at < pattern.size && pattern.data[at] == '*') {
            star = ++at;
            star_text = i;
            continue;
        }
        if (at < pattern.size && one_matches(pattern, &at, text.data[i])) {
            i++;
            continue;
        }
        if (star == UINT32_MAX) {
            return false;
        }
        at = star;
        i = ++star_text;
    }
    while (at < pattern.size && pattern.data[at] == '*') {
        at++;
    }
    return at == pattern.size;
}

/* As resp_parse_u64(), but leading zeros are allowed, as in IDs. */
static bool parse_id_part(struct bytes text, uint64_t *value)
{
    while (text.size > 1 && text.data[0] == '0') {
        text = bytes_of(text.data + 1, text.size - 1);
    }
    return resp_parse_u64(text, value);
}

bool resp_parse_id(struct bytes text, uint64_t seq_missing, struct stream_id *id, bool *whole)
{
    bool seq_there = true;
    bool sound = true;
    const uint8_t *dash = text.size == 0 ? NULL : memchr(text.data, '-', text.size);
    if (text.size == 1 && text.data[0] == '-') {
        *id = (struct stream_id){0, 0};
    } else if (text.size == 1 && text.data[0] == '+') {
        *id = (struct stream_id){UINT64_MAX, UINT64_MAX};
    } else if (dash == NULL) {
        seq_there = false;
        id->seq = seq_missing;
        sound = parse_id_part(text, &id->ms);
    } else {
        uint32_t size = (uint32_t)(dash - text.data);
        sound = parse_id_part(bytes_of(text.data, size), &id->ms) &&
                parse_id_part(bytes_of(dash + 1, text.size - size - 1), &id->seq);
    }
    if (whole != NULL) {
        *whole = seq_there;
    }
    return sound;
}

char *resp_id_text(struct stream_id id, char *text)
{
    uint32_t size = resp_u64_text(id.ms, text);
    text[size++] = '-';
    size += resp_u64_text(id.seq, text + size);
    text[size] = 0;
    return text;
}

bool resp_id_after(struct stream_id *id)
{
    if (id->seq < UINT64_MAX) {
        id->seq++;
        return true;
    }
    id->seq = 0;
    return id->ms++ < UINT64_MAX;
}

bool resp_id_before(struct stream_id *id)
{
    if (id->seq > 0) {
        id->seq--;
        return true;
    }
    id->seq = UINT64_MAX;
    return id->ms-- > 0;
}
