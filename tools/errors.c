/* See the header. */
#include "tools/errors.h"

#include "core/assert.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct error_kind errors_table[] = {
#define X(name, number_, exit_, what_, cause_, remedy_)                                            \
    {.number = (name), .exit = (exit_), .what = (what_), .cause = (cause_), .remedy = (remedy_)},
    ERRORS_TABLE(X)
#undef X
};

const uint32_t errors_count = ARRAY_COUNT(errors_table);

const struct error_kind *errors_find(int64_t number)
{
    for (uint32_t i = 0; i < errors_count; i++) {
        if ((int64_t)errors_table[i].number == number) {
            return &errors_table[i];
        }
    }
    return NULL;
}

const struct error_kind *errors_kind(int code)
{
    switch (code) {
    case CMD_OK:
    case CMD_INTERRUPTED:
        return NULL;
    case CMD_FAILED:
        return errors_find(ERROR_OTHER);
    case CMD_USAGE:
        return errors_find(ERROR_OTHER_USAGE);
    case CMD_NOT_FOUND:
        return errors_find(ERROR_OTHER_MISSING);
    case CMD_DENIED:
        return errors_find(ERROR_OTHER_DENIED);
    case CMD_UNAVAILABLE:
        return errors_find(ERROR_OTHER_RETRY);
    case CMD_PARTLY:
        return errors_find(ERROR_OTHER_PARTLY);
    case CMD_EXISTS:
        return errors_find(ERROR_OTHER_EXISTS);
    default:
        break;
    }
    const struct error_kind *kind = errors_find(code);
    ASSERT(kind != NULL);
    return kind;
}

int errors_exit(int code)
{
    const struct error_kind *kind = errors_kind(code);
    return kind == NULL ? code : (int)kind->exit;
}

int errors_of(enum err err)
{
    static const struct {
        enum err err;
        enum error error;
    } table[] = {
        {ERR_BUSY, ERROR_DATA_BUSY},
        {ERR_NOT_FOUND, ERROR_FILE_MISSING},
        {ERR_DENIED, ERROR_FILE_DENIED},
        {ERR_READ_ONLY, ERROR_FILE_DENIED},
        {ERR_NO_SPACE, ERROR_DISK_FULL},
        {ERR_NO_MEMORY, ERROR_MEMORY},
        {ERR_IO, ERROR_FILE},
        {ERR_FOREIGN, ERROR_DATA_FOREIGN},
        {ERR_VERSION, ERROR_DATA_FOREIGN},
        {ERR_INVALID, ERROR_DATA_FOREIGN}, /* A node id that is not the directory's. */
        {ERR_DAMAGED, ERROR_DATA_DAMAGED},
        {ERR_CORRUPT, ERROR_DATA_DAMAGED},
        {ERR_TRUNCATED, ERROR_DATA_DAMAGED},
        {ERR_ADDRESS_IN_USE, ERROR_ADDRESS_IN_USE},
        {ERR_ADDRESS_INVALID, ERROR_ADDRESS_NONE},
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(table); i++) {
        if (table[i].err == err) {
            return (int)table[i].error;
        }
    }
    return ERROR_START;
}

int errors_of_path(int error)
{
    return error == ENOENT || error == ENOTDIR                   ? ERROR_FILE_MISSING
           : error == EACCES || error == EPERM || error == EROFS ? ERROR_FILE_DENIED
           : error == ENOSPC || error == EDQUOT                  ? ERROR_DISK_FULL
                                                                 : ERROR_FILE;
}

const char *errors_text(enum error error, char text[ERROR_TEXT_BYTES])
{
    (void)snprintf(text, ERROR_TEXT_BYTES, "FLOE-%04u", (unsigned)error % 10000);
    return text;
}

bool errors_parse(const char *text, int64_t *number)
{
    size_t size = strlen(text);
    char digits[8];
    if (size > 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size > 5 && strncasecmp(text, "FLOE-", 5) == 0) {
        text += 5;
        size -= 5;
    }
    if (size == 0 || size >= sizeof(digits) || strspn(text, "0123456789") < size) {
        return false;
    }
    (void)snprintf(digits, sizeof(digits), "%.*s", (int)size, text);
    return cmd_parse_number(digits, number);
}

const struct error_kind *errors_nearest(int64_t number)
{
    const struct error_kind *nearest = &errors_table[0];
    for (uint32_t i = 1; i < errors_count; i++) {
        if (llabs((long long)errors_table[i].number - number) <
            llabs((long long)nearest->number - number)) {
            nearest = &errors_table[i];
        }
    }
    return nearest;
}
