/* The settings of one run: flags, environment and file in one config. `floe serve` and
 * `floe config` share all of it, so both read the same from the same words. Touches no data. */
#pragma once

#include "core/config.h"
#include "tools/cmd.h"

struct settings {
    struct config *config;
};

/* Reads every source; of flags for the same setting the last one counts. CMD_OK, or an exit code
 * after it has said what is wrong. settings_close() in any case. */
NODISCARD int settings_read(struct settings *settings, const struct cmd *cmd);

void settings_close(struct settings *settings);
