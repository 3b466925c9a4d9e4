/* The table of verbs, for the frame that reads it. */
#pragma once

#include "tools/cmd.h"

extern const struct cmd_verb cmd_verbs[];
extern const uint32_t cmd_verb_count;

/* Flags that several verbs take: -b with `client`, -o with `rows`, --help always. */
extern const struct cmd_flag cmd_flag_broker, cmd_flag_output, cmd_flag_help;
