/* The table of verbs, for the frame that reads it, and for what is made of it: help, completion,
 * man pages. */
#pragma once

#include "tools/cmd.h"

enum { CMD_NAMES_MAX = 32, CMD_NAME_BYTES = 64 };

extern const struct cmd_verb cmd_verbs[];
extern const uint32_t cmd_verb_count;

/* Flags that several verbs take: -b with `client`, -o with `rows`, --help always. */
extern const struct cmd_flag cmd_flag_broker, cmd_flag_output, cmd_flag_help;

/* What every exit code means, for help and man pages. */
extern const char cmd_exit_codes[];

/* "floe topic create" */
const char *cmd_verb_name(const struct cmd_verb *verb, char name[CMD_NAME_BYTES]);

/* The flags of a verb, the shared ones behind its own; how many. */
uint32_t cmd_verb_flags(const struct cmd_verb *verb, const struct cmd_flag *flags[CMD_NAMES_MAX]);

/* The flag that the first `size` bytes of a word name; NULL: the verb has none. */
const struct cmd_flag *cmd_verb_flag(const struct cmd_verb *verb, const char *word, size_t size);

/* Whether the table has `noun`, and verbs below it. */
bool cmd_noun_known(const char *noun);
bool cmd_noun_grouped(const char *noun);

/* Whether entry `index` is the first one of its noun. */
bool cmd_noun_first(uint32_t index);

/* The nouns and verbs that begin a list of words; `*used`: how many words they are. NULL: none. */
const struct cmd_verb *cmd_verb_of(int argc, char *const *argv, int *used);

/* Help on standard output; `noun` NULL: all verbs. */
int cmd_help_verb(const struct cmd_verb *verb);
int cmd_help(const char *noun);

/* "floe __complete WORD...": what may stand for the last word, for the scripts of the shells. */
int cmd_complete(int argc, char **argv);
