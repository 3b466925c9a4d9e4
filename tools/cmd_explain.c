/* floe explain: what an error's code stands for, or all codes there are. */
#include "tools/errors.h"

#include <stdio.h>

static const char *explain_exit(enum cmd_exit exit)
{
    switch (exit) {
    case CMD_OK:
        return "0, goes on";
    case CMD_FAILED:
        return "1, failed";
    case CMD_USAGE:
        return "2, usage";
    case CMD_NOT_FOUND:
        return "3, not found";
    case CMD_DENIED:
        return "4, denied";
    case CMD_UNAVAILABLE:
        return "5, unavailable: the same command may work later";
    case CMD_PARTLY:
        return "6, partly";
    case CMD_EXISTS:
        return "7, exists";
    case CMD_INTERRUPTED:
        return "130, interrupted";
    }
    return "?";
}

static void explain_text(const struct error_kind *kind)
{
    char text[ERROR_TEXT_BYTES];
    printf("%s: %s\n\nCause:     %s\nRemedy:    %s\nExit code: %s\n",
           errors_text(kind->number, text), kind->what, kind->cause, kind->remedy,
           explain_exit(kind->exit));
}

/* All of them as a short table, or any number in full as JSON. */
static int explain_rows(const struct cmd *cmd, const struct error_kind *kinds, uint32_t count)
{
    static const char *const columns[] = {"code", "exit", "what", "cause", "remedy"};
    bool all = cmd->output != CMD_TABLE;
    struct cmd_rows rows;
    cmd_rows_begin(&rows, cmd, columns, all ? ARRAY_COUNT(columns) : 3);
    for (uint32_t i = 0; i < count; i++) {
        char text[ERROR_TEXT_BYTES];
        cmd_rows_text(&rows, errors_text(kinds[i].number, text));
        cmd_rows_number(&rows, kinds[i].exit);
        cmd_rows_text(&rows, kinds[i].what);
        if (all) {
            cmd_rows_text(&rows, kinds[i].cause);
            cmd_rows_text(&rows, kinds[i].remedy);
        }
    }
    return cmd_rows_end(&rows, cmd);
}

int cmd_explain(const struct cmd *cmd)
{
    int64_t number;
    char text[ERROR_TEXT_BYTES];
    if (cmd->operand_count == 0) {
        return explain_rows(cmd, errors_table, errors_count);
    }
    if (!errors_parse(cmd->operands[0], &number)) {
        return cmd_fail(cmd, ERROR_CODE,
                        "\"%s\" is no code: write it as FLOE-1401; floe explain alone lists all",
                        cmd->operands[0]);
    }
    const struct error_kind *kind = errors_find(number);
    if (kind == NULL) {
        const struct error_kind *nearest = errors_nearest(number);
        return cmd_fail(cmd, ERROR_CODE, "no error has the code %s: the nearest is %s, %s",
                        cmd->operands[0], errors_text(nearest->number, text), nearest->what);
    }
    if (cmd->output != CMD_TABLE) {
        return explain_rows(cmd, kind, 1);
    }
    explain_text(kind);
    return CMD_OK;
}
