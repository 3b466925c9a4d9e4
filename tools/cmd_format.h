/* Formats of records: what consume and log export print by, and what produce reads by. Pure.
 *
 *     "%k\t%v\n"  ->  field k, text "\t", field v, text "\n"
 */
#pragma once

#include "tools/cmd.h"

enum { CMD_FORMAT_PIECES_MAX = 64 };

#define CMD_FORMAT_ESCAPES      "\\n \\t \\r \\0 \\\\ \\xHH, %%"
#define CMD_FORMAT_PRINT_FIELDS "tpokvhdTDKVH"
#define CMD_FORMAT_READ_FIELDS  "kvphdT"

/* A field, or what stands between two. */
struct cmd_format_piece {
    char field;       /* '\0': text. */
    const char *text; /* Of struct cmd_format. */
    size_t size;
};

struct cmd_format {
    char *text; /* All texts, unescaped. */
    struct cmd_format_piece pieces[CMD_FORMAT_PIECES_MAX];
    uint32_t count;
    size_t wrong;       /* The byte of the format that is wrong ... */
    const char *reason; /* ... and why. */
};

/* `fields`: the letters that may follow a %. false: `wrong` and `reason` say what is amiss, or, if
 * `reason` is NULL, there is no memory. cmd_format_free() in any case. */
NODISCARD bool cmd_format_parse(struct cmd_format *format, const char *text, const char *fields);
void cmd_format_free(struct cmd_format *format);

/* The same for a verb: CMD_OK, or an exit code after it has pointed at the place. */
NODISCARD int cmd_format_read(struct cmd_format *format, const struct cmd *cmd, const char *text,
                              const char *fields);

/* Makes a parsed format good for reading: no field without a text behind it, or nobody could tell
 * where it ends; "\n" is added behind the last one. `wrong` is no place then. */
NODISCARD bool cmd_format_parts(struct cmd_format *format);

/* What stands for each piece in the record that `data` begins with. */
enum cmd_format_found {
    CMD_FORMAT_RECORD, /* `*used` bytes are one. */
    CMD_FORMAT_MORE,   /* It goes on behind `size`. */
    CMD_FORMAT_WRONG,  /* The text of piece `*used` is not where it should be. */
};

struct cmd_format_value {
    const char *data;
    size_t size;
};

/* `end`: nothing comes behind `size`, and the last text may be missing. */
enum cmd_format_found cmd_format_split(const struct cmd_format *format, const char *data,
                                       size_t size, bool end,
                                       struct cmd_format_value values[CMD_FORMAT_PIECES_MAX],
                                       size_t *used);
