/* Reads the words of a command line by the table of verbs: which verb, which flags, what they hold.
 *
 *     noun [verb] { --flag VALUE | --flag=VALUE | -f VALUE | -- | operand }...
 *
 * A word that is not known is answered with the nearest one that is. */
#include "tools/cmd.h"

#include "core/assert.h"
#include "core/config.h"
#include "tools/cmd_verbs.h"
#include "tools/errors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cmd_fail(const struct cmd *cmd, int code, const char *format, ...)
{
    const struct error_kind *kind = errors_kind(code);
    char text[ERROR_TEXT_BYTES], name[CMD_NAME_BYTES];
    va_list arguments;
    if (cmd != NULL && cmd->said != NULL) {
        va_start(arguments, format);
        int size = vsnprintf(cmd->said, cmd->said_size, format, arguments);
        va_end(arguments);
        if (kind != NULL && size >= 0 && (size_t)size < cmd->said_size) {
            (void)snprintf(cmd->said + size, cmd->said_size - (size_t)size, " [%s]",
                           errors_text(kind->number, text));
        }
        return errors_exit(code);
    }
    (void)fflush(stdout);
    if (cmd != NULL) {
        fprintf(stderr, "%s", cmd_verb_name(cmd->verb, name));
    } else {
        fputs("floe", stderr);
    }
    fputs(": ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (kind != NULL) {
        fprintf(stderr, " [%s]", errors_text(kind->number, text));
    }
    fputc('\n', stderr);
    return errors_exit(code);
}

/* The verb that the first words name; NULL after it has said what is wrong. `*used`: how many. */
static const struct cmd_verb *cmd_find(int argc, char **argv, int *used)
{
    const char *names[CMD_NAMES_MAX];
    uint32_t noun_count = 0, verb_count = 0;
    bool noun_known = false;
    const char *second = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
    for (uint32_t i = 0; i < cmd_verb_count; i++) {
        const struct cmd_verb *verb = &cmd_verbs[i];
        if (strcmp(argv[0], verb->noun) != 0) {
            continue;
        }
        noun_known = true;
        if (verb->verb == NULL || (second != NULL && strcmp(second, verb->verb) == 0)) {
            *used = verb->verb == NULL ? 1 : 2;
            return verb;
        }
        names[verb_count++] = verb->verb;
    }
    if (!noun_known) {
        for (uint32_t i = 0; i < cmd_verb_count; i++) {
            names[noun_count++] = cmd_verbs[i].noun;
        }
    }
    ASSERT(noun_count <= CMD_NAMES_MAX && verb_count <= CMD_NAMES_MAX);
    if (noun_known && second == NULL) {
        (void)cmd_fail(NULL, ERROR_VERB, "%s: what shall be done? See floe %s --help", argv[0],
                       argv[0]);
        return NULL;
    }
    const char *wrong = noun_known ? second : argv[0];
    const char *nearest = config_suggest(wrong, names, noun_known ? verb_count : noun_count);
    const char *noun = noun_known ? argv[0] : "", *space = noun_known ? " " : "";
    if (nearest != NULL) {
        (void)cmd_fail(NULL, ERROR_VERB, "unknown verb \"%s%s%s\": did you mean \"%s%s%s\"?", noun,
                       space, wrong, noun, space, nearest);
    } else {
        (void)cmd_fail(NULL, ERROR_VERB,
                       "unknown verb \"%s%s%s\": see floe %s%s--help for all there are", noun,
                       space, wrong, noun, space);
    }
    return NULL;
}

/* "--partitions=4" is the flag of its first `size` bytes; the value follows the '='. */
static const struct cmd_flag *cmd_find_flag(const struct cmd *cmd, const char *word, size_t size)
{
    const struct cmd_flag *flags[CMD_NAMES_MAX];
    const char *names[CMD_NAMES_MAX];
    uint32_t count = cmd_verb_flags(cmd->verb, flags);
    for (uint32_t i = 0; i < count; i++) {
        const char *letter = flags[i]->letter;
        if ((strlen(flags[i]->name) == size && memcmp(flags[i]->name, word, size) == 0) ||
            (letter != NULL && strlen(letter) == size && memcmp(letter, word, size) == 0)) {
            return flags[i];
        }
        names[i] = flags[i]->name;
    }
    char wrong[64];
    (void)snprintf(wrong, sizeof(wrong), "%.*s", (int)(size < 60 ? size : 60), word);
    const char *nearest = size > 2 ? config_suggest(wrong, names, count) : NULL;
    if (nearest != NULL) {
        (void)cmd_fail(cmd, ERROR_FLAG, "unknown flag %s: did you mean %s?", wrong, nearest);
    } else {
        (void)cmd_fail(cmd, ERROR_FLAG, "unknown flag %s: see --help for those there are", wrong);
    }
    return NULL;
}

/* One flag and its value, at argv[*at]; *at moves behind them. */
static int cmd_read_flag(struct cmd *cmd, int argc, char **argv, int *at)
{
    const char *word = argv[*at];
    const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
    size_t size = equals != NULL ? (size_t)(equals - word) : strlen(word);
    const struct cmd_flag *flag = cmd_find_flag(cmd, word, size);
    if (flag == NULL) {
        return CMD_USAGE;
    }
    (*at)++;
    const char *value = "";
    if (flag->value == NULL) {
        if (equals != NULL) {
            return cmd_fail(cmd, ERROR_FLAG, "%s takes no value: remove \"%s\"", flag->name,
                            equals);
        }
    } else if (equals != NULL) {
        value = equals + 1;
    } else if (*at < argc) {
        value = argv[(*at)++];
    } else {
        return cmd_fail(cmd, ERROR_FLAG, "%s needs a value: %s %s", word, word, flag->value);
    }
    if (cmd->given_count == CMD_WORDS_MAX) {
        return cmd_fail(cmd, ERROR_FLAG, "more than %d flags: give fewer", CMD_WORDS_MAX);
    }
    cmd->given[cmd->given_count++] = (struct cmd_given){flag, value};
    return CMD_OK;
}

static int cmd_read_output(struct cmd *cmd)
{
    const char *output = cmd_value(cmd, "--output");
    if (output == NULL || strcmp(output, "table") == 0) {
        cmd->output = CMD_TABLE;
    } else if (strcmp(output, "json") == 0) {
        cmd->output = CMD_JSON;
    } else if (strcmp(output, "jsonl") == 0) {
        cmd->output = CMD_JSONL;
    } else {
        return cmd_fail(cmd, ERROR_VALUE, "-o %s: give table, json or jsonl", output);
    }
    return CMD_OK;
}

static int cmd_read(struct cmd *cmd, int argc, char **argv)
{
    bool flags_end = false;
    for (int at = 0; at < argc;) {
        const char *word = argv[at];
        if (!flags_end && strcmp(word, "--") == 0) {
            flags_end = true;
            at++;
        } else if (!flags_end && word[0] == '-' && word[1] != '\0') {
            int code = cmd_read_flag(cmd, argc, argv, &at);
            if (code != CMD_OK) {
                return code;
            }
        } else if (cmd->operand_count == min_u32(cmd->verb->operand_max, CMD_OPERANDS_MAX)) {
            return cmd_fail(cmd, ERROR_OPERAND, "\"%s\" is one word too many: see --help", word);
        } else {
            cmd->operands[cmd->operand_count++] = word;
            at++;
        }
    }
    return cmd_read_output(cmd);
}

const char *cmd_value(const struct cmd *cmd, const char *name)
{
    const char *value = NULL;
    for (uint32_t i = 0; i < cmd->given_count; i++) {
        if (strcmp(cmd->given[i].flag->name, name) == 0) {
            value = cmd->given[i].value;
        }
    }
    return value;
}

uint32_t cmd_values(const struct cmd *cmd, const char *name, const char *values[CMD_WORDS_MAX])
{
    ASSERT(cmd->given_count <= CMD_WORDS_MAX);
    uint32_t count = 0;
    for (uint32_t i = 0; i < cmd->given_count; i++) {
        if (strcmp(cmd->given[i].flag->name, name) == 0) {
            values[count++] = cmd->given[i].value;
        }
    }
    return count;
}

bool cmd_parse_number(const char *text, int64_t *number)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool digits = (text[0] >= '0' && text[0] <= '9') || text[0] == '-';
    if (!digits || end == text || *end != '\0' || errno != 0) {
        return false;
    }
    *number = value;
    return true;
}

int cmd_number(const struct cmd *cmd, const char *name, int64_t min, int64_t max, int64_t *number)
{
    const char *text = cmd_value(cmd, name);
    int64_t value;
    if (text == NULL) {
        return CMD_OK;
    }
    if (!cmd_parse_number(text, &value) || value < min || value > max) {
        return cmd_fail(cmd, ERROR_VALUE,
                        "%s \"%s\": give a whole number from %" PRId64 " to %" PRId64, name, text,
                        min, max);
    }
    *number = value;
    return CMD_OK;
}

static bool cmd_is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int cmd_run(struct cmd *cmd, int argc, char **argv)
{
    int code = cmd_read(cmd, argc, argv);
    if (code != CMD_OK) {
        return code;
    }
    if (cmd_value(cmd, "--help") != NULL) {
        return cmd_help_verb(cmd->verb);
    }
    if (cmd->verb->run == NULL) {
        const char *later = cmd->verb->later;
        return cmd_fail(cmd, ERROR_LATER, "not available yet in floe %s%s%s", FLOE_VERSION,
                        later != NULL ? ": it comes with " : "", later != NULL ? later : "");
    }
    if (cmd->operand_count < cmd->verb->operand_min) {
        return cmd_fail(cmd, ERROR_OPERAND, "%s is missing: see --help", cmd->verb->operands);
    }
    return cmd->verb->run(cmd);
}

int cmd_main(int argc, char **argv)
{
    if (argc == 0) {
        return cmd_fail(NULL, ERROR_VERB, "what shall be done? See floe --help");
    }
    if (strcmp(argv[0], "__complete") == 0) {
        return cmd_complete(argc - 1, argv + 1);
    }
    static char version[] = "version";
    char *versions[] = {version, NULL};
    if (strcmp(argv[0], "--version") == 0) {
        argc = 1;
        argv = versions;
    }
    bool help = strcmp(argv[0], "help") == 0;
    if (help || cmd_is_help(argv[0])) {
        argc--;
        argv++;
        if (argc == 0) {
            return cmd_help(NULL);
        }
    }
    /* "floe topic" is no command, but "floe topic --help" and "floe help topic" are questions. */
    bool noun_only = argc == 1 ? help : cmd_is_help(argv[1]);
    bool grouped = false;
    for (uint32_t i = 0; i < cmd_verb_count; i++) {
        grouped = grouped || (cmd_verbs[i].verb != NULL && strcmp(cmd_verbs[i].noun, argv[0]) == 0);
    }
    if (noun_only && grouped) {
        return cmd_help(argv[0]);
    }
    int used = 0;
    const struct cmd_verb *verb = cmd_find(argc, argv, &used);
    if (verb == NULL) {
        return CMD_USAGE;
    }
    if (help) {
        return cmd_help_verb(verb);
    }
    struct cmd *cmd = calloc(1, sizeof(*cmd));
    if (cmd == NULL) {
        return cmd_fail(NULL, ERROR_MEMORY, "out of memory");
    }
    cmd->verb = verb;
    int code = cmd_run(cmd, argc - used, argv + used);
    free(cmd);
    return code;
}
