/* One record on standard output, by a format or as a row of JSON. For consume and log export, which
 * print the same of what they get from a server or from files. */
#pragma once

#include "tools/cmd_format.h"

struct cmd_record_header {
    const char *name;
    size_t name_size;
    const void *value; /* NULL: null. */
    size_t value_size;
};

struct cmd_record {
    const char *topic;
    int32_t partition;
    int64_t offset, timestamp;
    const void *key, *value; /* NULL: null. */
    size_t key_size, value_size;
    /* Header `index`, asked for from 0 on; false: there are no more. */
    bool (*header)(const struct cmd_record *record, size_t index, struct cmd_record_header *header);
    void *context; /* For `header`. */
};

#define CMD_RECORD_COLUMNS "topic", "partition", "offset", "timestamp", "key", "value", "headers"
#define CMD_RECORD_FORMAT_HELP                                                                     \
    "%t topic %p partition %o offset %k key %v value %h headers %d or %T time in ms %D as a "      \
    "date, "                                                                                       \
    "%K %V bytes of key and value (-1: null) %H how many headers; " CMD_FORMAT_ESCAPES             \
    " (default %v\\n)"
#define CMD_RECORD_FORMAT "%v\\n"

/* --format, or the default one. CMD_OK, or an exit code after it has said what is wrong;
 * cmd_format_free() in any case. */
NODISCARD int cmd_record_format(struct cmd_format *format, const struct cmd *cmd);

void cmd_record_print(const struct cmd_record *record, const struct cmd_format *format);
void cmd_record_row(const struct cmd_record *record, struct cmd_rows *rows);
