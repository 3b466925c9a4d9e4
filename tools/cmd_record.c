/* See the header. */
#include "tools/cmd_record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* One hexadecimal digit, or -1. */
static int record_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* What follows a backslash in a format; returns how many characters of `text` it took. */
static size_t record_escape(const char *text)
{
    switch (text[0]) {
    case 'n':
        putchar('\n');
        return 1;
    case 't':
        putchar('\t');
        return 1;
    case 'r':
        putchar('\r');
        return 1;
    case '0':
        putchar('\0');
        return 1;
    case 'x':
        if (record_digit(text[1]) >= 0 && record_digit(text[2]) >= 0) {
            putchar(record_digit(text[1]) << 4 | record_digit(text[2]));
            return 3;
        }
        break;
    case '\\':
        putchar('\\');
        return 1;
    default:
        break;
    }
    putchar('\\');
    return 0;
}

/* a=1,b=2 */
static void record_print_headers(const struct cmd_record *record)
{
    struct cmd_record_header header;
    for (size_t i = 0; record->header(record, i, &header); i++) {
        fputs(i > 0 ? "," : "", stdout);
        (void)fwrite(header.name, 1, header.name_size, stdout);
        putchar('=');
        if (header.value != NULL) {
            (void)fwrite(header.value, 1, header.value_size, stdout);
        }
    }
}

static void record_print_field(const struct cmd_record *record, char letter)
{
    switch (letter) {
    case 't':
        fputs(record->topic, stdout);
        break;
    case 'p':
        printf("%" PRId32, record->partition);
        break;
    case 'o':
        printf("%" PRId64, record->offset);
        break;
    case 'k':
        (void)fwrite(record->key != NULL ? record->key : "", 1, record->key_size, stdout);
        break;
    case 'v':
        (void)fwrite(record->value != NULL ? record->value : "", 1, record->value_size, stdout);
        break;
    case 'T':
        printf("%" PRId64, record->timestamp);
        break;
    case 'h':
        record_print_headers(record);
        break;
    default:
        putchar(letter);
        break;
    }
}

void cmd_record_print(const struct cmd_record *record, const char *format)
{
    for (const char *c = format; *c != '\0'; c++) {
        if (*c == '%' && c[1] != '\0') {
            record_print_field(record, *++c);
        } else if (*c == '\\') {
            c += record_escape(c + 1);
        } else {
            putchar(*c);
        }
    }
}

/* [{"name":"a","value":"1"}] as the last cell of a row. */
static void record_json_headers(const struct cmd_record *record)
{
    struct cmd_record_header header;
    for (size_t i = 0; record->header(record, i, &header); i++) {
        fputs(i > 0 ? ",{\"name\":" : "{\"name\":", stdout);
        cmd_json_bytes(header.name, header.name_size);
        fputs(",\"value\":", stdout);
        cmd_json_bytes(header.value, header.value_size);
        putchar('}');
    }
}

void cmd_record_row(const struct cmd_record *record, struct cmd_rows *rows)
{
    cmd_rows_text(rows, record->topic);
    cmd_rows_number(rows, record->partition);
    cmd_rows_number(rows, record->offset);
    cmd_rows_number(rows, record->timestamp);
    cmd_rows_bytes(rows, record->key, record->key_size);
    cmd_rows_bytes(rows, record->value, record->value_size);
    cmd_rows_open(rows);
    putchar('[');
    record_json_headers(record);
    putchar(']');
    cmd_rows_close(rows);
}
