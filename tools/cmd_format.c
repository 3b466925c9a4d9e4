/* See the header. */
#include "tools/cmd_format.h"

#include "core/assert.h"
#include "tools/errors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One hexadecimal digit, or -1. */
static int format_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* What follows a backslash: how many characters it takes, 0 = it is none. */
static size_t format_escape(const char *text, char *out)
{
    static const char from[] = "ntr0\\", to[] = "\n\t\r\0\\";
    const char *found = text[0] != '\0' ? strchr(from, text[0]) : NULL;
    if (found != NULL) {
        *out = to[found - from];
        return 1;
    }
    if (text[0] == 'x' && format_digit(text[1]) >= 0 && format_digit(text[2]) >= 0) {
        *out = (char)(format_digit(text[1]) << 4 | format_digit(text[2]));
        return 3;
    }
    return 0;
}

/* The piece that is written to: the last one if it is of this kind, else a new one. */
static struct cmd_format_piece *format_piece(struct cmd_format *format, char field,
                                             const char *text)
{
    struct cmd_format_piece *last = format->count > 0 ? &format->pieces[format->count - 1] : NULL;
    if (last != NULL && field == '\0' && last->field == '\0') {
        return last;
    }
    if (format->count == CMD_FORMAT_PIECES_MAX) {
        return NULL;
    }
    last = &format->pieces[format->count++];
    *last = (struct cmd_format_piece){.field = field, .text = text};
    return last;
}

bool cmd_format_parse(struct cmd_format *format, const char *text, const char *fields)
{
    /* One more for the text that cmd_format_parts() may add. */
    *format = (struct cmd_format){.text = malloc(strlen(text) + 2)};
    char *out = format->text;
    if (out == NULL) {
        return false;
    }
    for (const char *c = text; *c != '\0';) {
        char field = '\0', byte = *c;
        size_t taken = 1;
        format->wrong = (size_t)(c - text);
        if (*c == '%' && c[1] != '%') {
            field = c[1];
            taken = 2;
            format->reason = c[1] == '\0' ? "nothing follows the %" : "it stands for nothing here";
            if (field == '\0' || strchr(fields, field) == NULL) {
                return false;
            }
        } else if (*c == '%') {
            taken = 2;
        } else if (*c == '\\') {
            taken = 1 + format_escape(c + 1, &byte);
            format->reason = "no character is written so";
            if (taken == 1) {
                return false;
            }
        }
        struct cmd_format_piece *piece = format_piece(format, field, out);
        format->reason = "it has too many fields";
        if (piece == NULL) {
            return false;
        }
        if (field == '\0') {
            *out++ = byte;
            piece->size++;
        }
        c += taken;
    }
    format->reason = NULL;
    return true;
}

void cmd_format_free(struct cmd_format *format)
{
    free(format->text);
    format->text = NULL;
}

int cmd_format_read(struct cmd_format *format, const struct cmd *cmd, const char *text,
                    const char *fields)
{
    if (cmd_format_parse(format, text, fields)) {
        return CMD_OK;
    }
    if (format->reason == NULL) {
        return cmd_fail(cmd, ERROR_MEMORY, "out of memory");
    }
    int size = text[format->wrong + 1] != '\0' && ((uint8_t)text[format->wrong + 1] & 0x80) == 0;
    size_t column = 1;
    for (size_t i = 0; i < format->wrong; i++) {
        column += ((uint8_t)text[i] & 0xc0) != 0x80; /* UTF-8: of a character the first byte. */
    }
    char all[64] = "";
    for (size_t i = 0; fields[i] != '\0' && i < 20; i++) {
        (void)snprintf(all + 3 * i, sizeof(all) - 3 * i, " %%%c", fields[i]);
    }
    int code =
        cmd_fail(cmd, ERROR_FORMAT, "--format: \"%.*s\" at character %zu: %s. There are%s, and %s",
                 1 + size, text + format->wrong, column, format->reason, all, CMD_FORMAT_ESCAPES);
    if (strpbrk(text, "\n\r\t") == NULL) {
        fprintf(stderr, "  %s\n  %*s\n", text, (int)column, "^");
    }
    return code;
}

bool cmd_format_parts(struct cmd_format *format)
{
    for (uint32_t i = 0; i + 1 < format->count; i++) {
        if (format->pieces[i].field != '\0' && format->pieces[i + 1].field != '\0') {
            format->reason = "two fields with nothing between them: where does the first one end?";
            return false;
        }
    }
    if (format->count == 0 || format->pieces[format->count - 1].field != '\0') {
        char *end = format->text;
        for (uint32_t i = 0; i < format->count; i++) {
            end += format->pieces[i].size;
        }
        *end = '\n';
        struct cmd_format_piece *piece = format_piece(format, '\0', end);
        format->reason = "it has too many fields";
        if (piece == NULL) {
            return false;
        }
        piece->size = 1;
    }
    return true;
}

enum cmd_format_found cmd_format_split(const struct cmd_format *format, const char *data,
                                       size_t size, bool end,
                                       struct cmd_format_value values[CMD_FORMAT_PIECES_MAX],
                                       size_t *used)
{
    size_t at = 0;
    for (uint32_t i = 0; i < format->count; i++) {
        const struct cmd_format_piece *piece = &format->pieces[i];
        bool last = i + 1 == format->count;
        if (piece->field == '\0') {
            size_t left = min_u64(size - at, piece->size);
            bool same = memcmp(data + at, piece->text, left) == 0;
            *used = i;
            if (!same || (left < piece->size && end && !(last && left == 0))) {
                return CMD_FORMAT_WRONG;
            }
            if (left < piece->size && !end) {
                return CMD_FORMAT_MORE;
            }
            at += left;
            continue;
        }
        ASSERT(!last); /* By cmd_format_parts(). */
        const char *found = memmem(data + at, size - at, piece[1].text, piece[1].size);
        if (found == NULL && !end) {
            return CMD_FORMAT_MORE;
        }
        if (found == NULL && i + 2 < format->count) {
            *used = i + 1;
            return CMD_FORMAT_WRONG;
        }
        size_t value = found != NULL ? (size_t)(found - data) - at : size - at;
        values[i] = (struct cmd_format_value){data + at, value};
        at += value;
    }
    *used = at;
    return CMD_FORMAT_RECORD;
}
