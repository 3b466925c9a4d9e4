/* The frame of the command line: the table of verbs, reading of words into flags and operands,
 * help, exit codes, and rows as a table, JSON or JSON lines. A verb is one entry of cmd_table and
 * one function.
 *
 *     words -> verb -> flags and operands -> verb->run() -> exit code
 */
#pragma once

#include "core/base.h"

/* The codes that scripts rely on. */
enum cmd_exit {
    CMD_OK = 0,
    CMD_FAILED = 1,
    CMD_USAGE = 2,
    CMD_NOT_FOUND = 3,
    CMD_DENIED = 4,
    CMD_UNAVAILABLE = 5, /* Not reached or timed out: the same command may work later. */
    CMD_PARTLY = 6,
    CMD_EXISTS = 7,
    CMD_INTERRUPTED = 130,
};

enum cmd_output {
    CMD_TABLE, /* Columns on a terminal, tabs in a pipe. */
    CMD_JSON,  /* {"schema":1,"rows":[...]} */
    CMD_JSONL, /* One row per line. */
};

struct cmd_flag {
    const char *name;   /* "--partitions"; "-b" for one that has no long form. */
    const char *letter; /* "-p", or NULL. */
    const char *value;  /* What --help calls its value; NULL: it takes none. */
    const char *sentence;
};

enum { CMD_WORDS_MAX = 256, CMD_OPERANDS_MAX = 128 };

struct cmd;

struct cmd_verb {
    const char *noun; /* "topic" */
    const char *verb; /* "create"; NULL: the noun is the verb. */
    const char *operands;
    uint32_t operand_min, operand_max;
    const struct cmd_flag *flags;
    uint32_t flag_count;
    bool client;                       /* Takes -b. */
    bool rows;                         /* Takes -o. */
    int (*run)(const struct cmd *cmd); /* NULL: not in this release, but its words are known. */
    const char *later;                 /* Then what it comes with, or NULL. */
    const char *sentence;
    const char *examples;
};

struct cmd_given {
    const struct cmd_flag *flag;
    const char *value;
};

struct cmd {
    const struct cmd_verb *verb;
    const char *operands[CMD_OPERANDS_MAX];
    uint32_t operand_count;
    struct cmd_given given[CMD_WORDS_MAX];
    uint32_t given_count;
    enum cmd_output output;
    char *said; /* Not NULL: what cmd_fail() would say goes here, cut to `said_size`. */
    size_t said_size;
};

/* Reads the words behind "floe", runs the verb, returns the exit code. */
int cmd_main(int argc, char **argv);

/* The last value given for a flag; NULL = not given; "" for a flag without a value. */
const char *cmd_value(const struct cmd *cmd, const char *name);

/* All values of a flag that may be repeated, in order; how many. */
uint32_t cmd_values(const struct cmd *cmd, const char *name, const char *values[CMD_WORDS_MAX]);

/* A whole number within min..max; `*number` keeps its value if the flag was not given. CMD_OK, or
 * CMD_USAGE after it has said what is wrong. */
NODISCARD int cmd_number(const struct cmd *cmd, const char *name, int64_t min, int64_t max,
                         int64_t *number);

/* Parses all of `text`; false = not a whole number. */
NODISCARD bool cmd_parse_number(const char *text, int64_t *number);

/* "floe topic create: ... [FLOE-1403]" on stderr. `code`: an error of tools/errors.h; CMD_OK, a
 * remark without a code; or a bare exit code, for what has no kind of its own. `cmd` NULL: no verb
 * is known. Returns the exit code. */
int cmd_fail(const struct cmd *cmd, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Rows of one answer. Cells come in the order of the columns; the last one of a row ends it. */
enum { CMD_COLUMNS_MAX = 12 };

struct cmd_rows {
    enum cmd_output output;
    const char *const *columns;
    uint32_t column_count;
    uint32_t column;    /* Of the next cell. */
    uint64_t row_count; /* Finished. */
    char **cells;       /* CMD_TABLE: all of them, the widths are known only at the end. */
    size_t cell_count, cell_room;
};

void cmd_rows_begin(struct cmd_rows *rows, const struct cmd *cmd, const char *const *columns,
                    uint32_t column_count);
void cmd_rows_text(struct cmd_rows *rows, const char *text); /* NULL: nothing, JSON's null. */
void cmd_rows_number(struct cmd_rows *rows, int64_t number);

/* A cell that is JSON already; `text` stands in the table. */
void cmd_rows_json(struct cmd_rows *rows, const char *json, const char *text);

/* Bytes of anyone's making: a string if they are UTF-8, else {"base64":"..."}. Not for tables. */
void cmd_rows_bytes(struct cmd_rows *rows, const void *data, size_t size);

/* Around a cell that the caller prints himself. Not for tables. */
void cmd_rows_open(struct cmd_rows *rows);
void cmd_rows_close(struct cmd_rows *rows);

/* Prints what is left; CMD_FAILED if standard output did not take everything. */
NODISCARD int cmd_rows_end(struct cmd_rows *rows, const struct cmd *cmd);

void cmd_json_bytes(const void *data, size_t size); /* As above, to stdout. */

/* The verbs. */
int cmd_serve(const struct cmd *cmd);
int cmd_topic_create(const struct cmd *cmd);
int cmd_topic_list(const struct cmd *cmd);
int cmd_topic_describe(const struct cmd *cmd);
int cmd_topic_alter(const struct cmd *cmd);
int cmd_topic_delete(const struct cmd *cmd);
int cmd_topic_trim(const struct cmd *cmd);
int cmd_topic_usage(const struct cmd *cmd);
int cmd_group_list(const struct cmd *cmd);
int cmd_group_describe(const struct cmd *cmd);
int cmd_group_seek(const struct cmd *cmd);
int cmd_group_delete(const struct cmd *cmd);
int cmd_produce(const struct cmd *cmd);
int cmd_consume(const struct cmd *cmd);
int cmd_log_inspect(const struct cmd *cmd);
int cmd_log_verify(const struct cmd *cmd);
int cmd_log_export(const struct cmd *cmd);
int cmd_cluster_rebuild_map(const struct cmd *cmd);
int cmd_config_show(const struct cmd *cmd);
int cmd_config_check(const struct cmd *cmd);
int cmd_version(const struct cmd *cmd);
int cmd_doctor(const struct cmd *cmd);
int cmd_top(const struct cmd *cmd);
int cmd_explain(const struct cmd *cmd);
int cmd_completion(const struct cmd *cmd);
int cmd_man(const struct cmd *cmd);
