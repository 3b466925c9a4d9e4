/* floe version: what this binary is and what it was built with. */
#include "tools/cmd.h"

#include <librdkafka/rdkafka.h>

int cmd_version(const struct cmd *cmd)
{
    static const char *const columns[] = {"name", "version", "librdkafka", "compiler"};
    struct cmd_rows rows;
    cmd_rows_begin(&rows, cmd, columns, ARRAY_COUNT(columns));
    cmd_rows_text(&rows, "floe");
    cmd_rows_text(&rows, FLOE_VERSION);
    cmd_rows_text(&rows, rd_kafka_version_str());
    cmd_rows_text(&rows, __VERSION__);
    return cmd_rows_end(&rows, cmd);
}
