/* Rows of an answer on standard output. A table is kept until its end, for the widths; JSON leaves
 * row by row, so an endless answer (consume) can be read while it grows. */
#include "core/assert.h"
#include "tools/cmd.h"
#include "tools/errors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How many bytes of UTF-8 one character takes at `data`, 0 = it is none. */
static size_t json_character(const uint8_t *data, size_t size)
{
    uint8_t first = data[0];
    if (first < 0x80) {
        return 1;
    }
    size_t count = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || count > size) {
        return 0;
    }
    for (size_t i = 1; i < count; i++) {
        if ((data[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* Too long a form, a surrogate, above U+10FFFF. */
    if ((first == 0xe0 && data[1] < 0xa0) || (first == 0xed && data[1] > 0x9f) ||
        (first == 0xf0 && data[1] < 0x90) || (first == 0xf4 && data[1] > 0x8f)) {
        return 0;
    }
    return count;
}

static bool json_is_text(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t count = json_character(data + at, size - at);
        if (count == 0) {
            return false;
        }
        at += count;
    }
    return true;
}

static void json_string(const uint8_t *data, size_t size)
{
    putchar('"');
    for (size_t i = 0; i < size; i++) {
        uint8_t c = data[i];
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c == '\n') {
            fputs("\\n", stdout);
        } else if (c == '\t') {
            fputs("\\t", stdout);
        } else if (c < 0x20 || c == 0x7f) {
            printf("\\u%04x", c);
        } else {
            putchar(c);
        }
    }
    putchar('"');
}

static void json_base64(const uint8_t *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    fputs("{\"base64\":\"", stdout);
    for (size_t at = 0; at < size; at += 3) {
        size_t count = size - at < 3 ? size - at : 3;
        uint32_t word = (uint32_t)data[at] << 16;
        word |= count > 1 ? (uint32_t)data[at + 1] << 8 : 0;
        word |= count > 2 ? (uint32_t)data[at + 2] : 0;
        putchar(digits[word >> 18]);
        putchar(digits[word >> 12 & 63]);
        putchar(count > 1 ? digits[word >> 6 & 63] : '=');
        putchar(count > 2 ? digits[word & 63] : '=');
    }
    fputs("\"}", stdout);
}

void cmd_json_bytes(const void *data, size_t size)
{
    if (data == NULL) {
        fputs("null", stdout);
    } else if (json_is_text(data, size)) {
        json_string(data, size);
    } else {
        json_base64(data, size);
    }
}

void cmd_rows_begin(struct cmd_rows *rows, const struct cmd *cmd, const char *const *columns,
                    uint32_t column_count)
{
    ASSERT(column_count > 0 && column_count <= CMD_COLUMNS_MAX);
    *rows =
        (struct cmd_rows){.output = cmd->output, .columns = columns, .column_count = column_count};
    if (rows->output == CMD_JSON) {
        fputs("{\"schema\":1,\"rows\":[", stdout);
    }
    for (uint32_t i = 0; rows->output == CMD_TABLE && i < column_count; i++) {
        cmd_rows_text(rows, columns[i]);
    }
}

/* Keeps a copy for the table. Without memory a cell stays empty: nothing is lost but its text. */
static void rows_keep(struct cmd_rows *rows, const char *text)
{
    if (rows->cell_count == rows->cell_room) {
        size_t room = rows->cell_room == 0 ? 64 : rows->cell_room * 2;
        char **cells = realloc(rows->cells, room * sizeof(*cells));
        if (cells == NULL) {
            return;
        }
        rows->cells = cells;
        rows->cell_room = room;
    }
    rows->cells[rows->cell_count++] = text != NULL ? strdup(text) : NULL;
}

void cmd_rows_open(struct cmd_rows *rows)
{
    if (rows->column == 0) {
        fputs(rows->output == CMD_JSON ? (rows->row_count > 0 ? ",\n{" : "\n{") : "{", stdout);
    } else {
        putchar(',');
    }
    printf("\"%s\":", rows->columns[rows->column]);
}

void cmd_rows_close(struct cmd_rows *rows)
{
    rows->column = (rows->column + 1) % rows->column_count;
    if (rows->column > 0) {
        return;
    }
    rows->row_count++;
    if (rows->output != CMD_TABLE) {
        fputs(rows->output == CMD_JSONL ? "}\n" : "}", stdout);
    }
}

void cmd_rows_json(struct cmd_rows *rows, const char *json, const char *text)
{
    if (rows->output == CMD_TABLE) {
        rows_keep(rows, text);
    } else {
        cmd_rows_open(rows);
        fputs(json, stdout);
    }
    cmd_rows_close(rows);
}

void cmd_rows_bytes(struct cmd_rows *rows, const void *data, size_t size)
{
    ASSERT(rows->output != CMD_TABLE);
    cmd_rows_open(rows);
    cmd_json_bytes(data, size);
    cmd_rows_close(rows);
}

void cmd_rows_text(struct cmd_rows *rows, const char *text)
{
    if (rows->output == CMD_TABLE) {
        rows_keep(rows, text);
        cmd_rows_close(rows);
        return;
    }
    cmd_rows_bytes(rows, text, text != NULL ? strlen(text) : 0);
}

void cmd_rows_number(struct cmd_rows *rows, int64_t number)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%" PRId64, number);
    cmd_rows_json(rows, text, text);
}

/* On a terminal columns stand under each other; in a pipe one tab parts them, for cut and awk. */
static void rows_print_table(const struct cmd_rows *rows)
{
    size_t widths[CMD_COLUMNS_MAX] = {0};
    bool terminal = isatty(STDOUT_FILENO) == 1;
    for (size_t i = 0; i < rows->cell_count; i++) {
        const char *cell = rows->cells[i] != NULL ? rows->cells[i] : "";
        size_t *width = &widths[i % rows->column_count];
        *width = strlen(cell) > *width ? strlen(cell) : *width;
    }
    for (size_t i = 0; i < rows->cell_count; i++) {
        const char *cell = rows->cells[i] != NULL ? rows->cells[i] : "";
        size_t column = i % rows->column_count;
        if (column + 1 == rows->column_count) {
            printf("%s\n", cell);
        } else if (terminal) {
            printf("%-*s  ", (int)widths[column], cell);
        } else {
            printf("%s\t", cell);
        }
    }
}

int cmd_rows_end(struct cmd_rows *rows, const struct cmd *cmd)
{
    ASSERT(rows->column == 0);
    if (rows->output == CMD_TABLE) {
        rows_print_table(rows);
    } else if (rows->output == CMD_JSON) {
        fputs("\n]}\n", stdout);
    }
    for (size_t i = 0; i < rows->cell_count; i++) {
        free(rows->cells[i]);
    }
    free(rows->cells);
    rows->cells = NULL;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return cmd_fail(cmd, ERROR_OUTPUT,
                        "standard output took not everything: is its disk full?");
    }
    return CMD_OK;
}
