/* See the header. */
#include "tools/cmd_record.h"

#include "core/assert.h"
#include "tools/cmd_where.h"
#include "tools/errors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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

static size_t record_count_headers(const struct cmd_record *record)
{
    struct cmd_record_header header;
    size_t count = 0;
    while (record->header(record, count, &header)) {
        count++;
    }
    return count;
}

static void record_print_field(const struct cmd_record *record, char letter)
{
    char time[CMD_TIME_BYTES];
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
    case 'd':
    case 'T':
        printf("%" PRId64, record->timestamp);
        break;
    case 'D':
        fputs(cmd_time_text(record->timestamp, time), stdout);
        break;
    case 'K':
        printf("%" PRId64, record->key != NULL ? (int64_t)record->key_size : -1);
        break;
    case 'V':
        printf("%" PRId64, record->value != NULL ? (int64_t)record->value_size : -1);
        break;
    case 'h':
        record_print_headers(record);
        break;
    case 'H':
        printf("%zu", record_count_headers(record));
        break;
    default:
        UNREACHABLE();
    }
}

int cmd_record_format(struct cmd_format *format, const struct cmd *cmd)
{
    const char *text = cmd_value(cmd, "--format");
    if (text != NULL && cmd->output != CMD_TABLE) {
        return cmd_fail(cmd, ERROR_FLAG, "--format is for text: leave it out, or -o");
    }
    return cmd_format_read(format, cmd, text != NULL ? text : CMD_RECORD_FORMAT,
                           CMD_FORMAT_PRINT_FIELDS);
}

void cmd_record_print(const struct cmd_record *record, const struct cmd_format *format)
{
    for (uint32_t i = 0; i < format->count; i++) {
        const struct cmd_format_piece *piece = &format->pieces[i];
        if (piece->field == '\0') {
            (void)fwrite(piece->text, 1, piece->size, stdout);
        } else {
            record_print_field(record, piece->field);
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
