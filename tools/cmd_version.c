/* floe version: what this binary is and what it was built with. */
#include "tools/cmd.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>

int cmd_version(const struct cmd *cmd)
{
    static const char *const columns[] = {"name", "version", "librdkafka", "compiler"};
    if (cmd->output == CMD_TABLE) {
        printf("floe %s (librdkafka %s, compiler %s)\n", FLOE_VERSION, rd_kafka_version_str(),
               __VERSION__);
        return CMD_OK;
    }
    struct cmd_rows rows;
    cmd_rows_begin(&rows, cmd, columns, ARRAY_COUNT(columns));
    cmd_rows_text(&rows, "floe");
    cmd_rows_text(&rows, FLOE_VERSION);
    cmd_rows_text(&rows, rd_kafka_version_str());
    cmd_rows_text(&rows, __VERSION__);
    return cmd_rows_end(&rows, cmd);
}
