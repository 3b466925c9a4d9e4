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

/* "topic list" for "list", and for "list topic": the words are right, and not in their order. */
static const struct cmd_verb *cmd_find_turned(int argc, char **argv)
{
    const struct cmd_verb *found = NULL;
    for (uint32_t i = 0; i < cmd_verb_count; i++) {
        const struct cmd_verb *verb = &cmd_verbs[i];
        if (verb->verb != NULL && strcmp(argv[0], verb->verb) == 0) {
            bool both = argc > 1 && strcmp(argv[1], verb->noun) == 0;
            found = found == NULL || both ? verb : found;
        }
    }
    return found;
}

/* Says what is wrong with the first word, which is no noun. */
static void cmd_say_unknown(int argc, char **argv)
{
    const char *names[CMD_NAMES_MAX] = {"help", "--help", "--version"};
    char turned[CMD_NAME_BYTES];
    uint32_t count = 3;
    for (uint32_t i = 0; i < cmd_verb_count; i++) {
        if (cmd_noun_first(i)) {
            ASSERT(count < CMD_NAMES_MAX);
            names[count++] = cmd_verbs[i].noun;
        }
    }
    const struct cmd_verb *verb = cmd_find_turned(argc, argv);
    const char *nearest =
        verb != NULL ? cmd_verb_name(verb, turned) + 5 : config_suggest(argv[0], names, count);
    if (nearest != NULL) {
        (void)cmd_fail(NULL, ERROR_VERB, "unknown verb \"%s\": did you mean \"%s\"?", argv[0],
                       nearest);
    } else if (argv[0][0] == '-') {
        (void)cmd_fail(NULL, ERROR_FLAG,
                       "unknown flag %s: flags go behind a verb; see floe --help for the verbs",
                       argv[0]);
    } else {
        (void)cmd_fail(NULL, ERROR_VERB, "unknown verb \"%s\": see floe --help for all there are",
                       argv[0]);
    }
}

/* Says what is wrong with the second word, or that there is none. */
static void cmd_say_unknown_verb(const char *noun, const char *verb)
{
    const char *names[CMD_NAMES_MAX];
    char all[256] = "";
    uint32_t count = 0;
    size_t used = 0;
    for (uint32_t i = 0; i < cmd_verb_count; i++) {
        if (strcmp(cmd_verbs[i].noun, noun) == 0 && used < sizeof(all)) {
            used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", count > 0 ? ", " : "",
                                     cmd_verbs[i].verb);
            names[count++] = cmd_verbs[i].verb;
        }
    }
    const char *nearest = verb != NULL ? config_suggest(verb, names, count) : NULL;
    if (nearest != NULL) {
        (void)cmd_fail(NULL, ERROR_VERB, "unknown verb \"%s %s\": did you mean \"%s %s\"?", noun,
                       verb, noun, nearest);
    } else if (verb != NULL) {
        (void)cmd_fail(NULL, ERROR_VERB, "unknown verb \"%s %s\": %s has %s", noun, verb, noun,
                       all);
    } else {
        (void)cmd_fail(NULL, ERROR_VERB, "what shall be done? %s has %s; see floe %s --help", noun,
                       all, noun);
    }
}

/* The verb that the first words name; NULL after it has said what is wrong. `*used`: how many. */
static const struct cmd_verb *cmd_find(int argc, char **argv, int *used)
{
    const struct cmd_verb *verb = cmd_verb_of(argc, argv, used);
    if (verb == NULL && cmd_noun_known(argv[0])) {
        cmd_say_unknown_verb(argv[0], argc > 1 && argv[1][0] != '-' ? argv[1] : NULL);
    } else if (verb == NULL) {
        cmd_say_unknown(argc, argv);
    }
    return verb;
}

/* "--partitions=4" is the flag of its first `size` bytes; the value follows the '='. */
static const struct cmd_flag *cmd_find_flag(const struct cmd *cmd, const char *word, size_t size)
{
    const struct cmd_flag *flags[CMD_NAMES_MAX], *found = cmd_verb_flag(cmd->verb, word, size);
    const char *names[CMD_NAMES_MAX];
    uint32_t count = cmd_verb_flags(cmd->verb, flags);
    if (found != NULL) {
        return found;
    }
    for (uint32_t i = 0; i < count; i++) {
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

/* Of a value that --help calls "all|1|0" only those words will do; anything goes for "end|OFFSET".
 */
static int cmd_check_choice(const struct cmd *cmd, const struct cmd_flag *flag, const char *value)
{
    const char *choices = flag->value;
    char all[128];
    size_t used = 0;
    if (strchr(choices, '|') == NULL ||
        strspn(choices, "abcdefghijklmnopqrstuvwxyz0123456789|") < strlen(choices)) {
        return CMD_OK;
    }
    for (const char *at = choices; used < sizeof(all);) {
        size_t size = strcspn(at, "|");
        if (strlen(value) == size && memcmp(value, at, size) == 0) {
            return CMD_OK;
        }
        const char *before = at == choices ? "" : at[size] == '|' ? ", " : " or ";
        used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%.*s", before, (int)size, at);
        if (at[size] == '\0') {
            break;
        }
        at += size + 1;
    }
    return cmd_fail(cmd, ERROR_VALUE, "%s %s: give %s", flag->name, value, all);
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
    } else if (*at < argc && cmd_verb_flag(cmd->verb, argv[*at], strlen(argv[*at])) != NULL) {
        return cmd_fail(cmd, ERROR_FLAG,
                        "%s needs a value, and %s is a flag: %s %s; if it is the value: %s=%s",
                        word, argv[*at], word, flag->value, flag->name, argv[*at]);
    } else if (*at < argc) {
        value = argv[(*at)++];
    } else {
        return cmd_fail(cmd, ERROR_FLAG, "%s needs a value: %s %s", word, word, flag->value);
    }
    if (cmd->given_count == CMD_WORDS_MAX) {
        return cmd_fail(cmd, ERROR_FLAG, "more than %d flags: give fewer", CMD_WORDS_MAX);
    }
    int code = flag->value != NULL ? cmd_check_choice(cmd, flag, value) : CMD_OK;
    if (code != CMD_OK) {
        return code;
    }
    cmd->given[cmd->given_count++] = (struct cmd_given){flag, value};
    return CMD_OK;
}

static enum cmd_output cmd_read_output(const struct cmd *cmd)
{
    const char *output = cmd_value(cmd, "--output");
    return output == NULL || strcmp(output, "table") == 0 ? CMD_TABLE
           : strcmp(output, "json") == 0                  ? CMD_JSON
                                                          : CMD_JSONL;
}

static int cmd_read(struct cmd *cmd, int argc, char **argv)
{
    char name[CMD_NAME_BYTES];
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
            return cmd_fail(cmd, ERROR_OPERAND, "\"%s\" is one word too many: %s %s", word,
                            cmd_verb_name(cmd->verb, name),
                            cmd->verb->operands != NULL ? cmd->verb->operands
                                                        : "takes none but flags");
        } else {
            cmd->operands[cmd->operand_count++] = word;
            at++;
        }
    }
    cmd->output = cmd_read_output(cmd);
    return CMD_OK;
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
        const char *missing = cmd->verb->operands;
        char name[CMD_NAME_BYTES];
        for (uint32_t i = 0; i < cmd->operand_count && strchr(missing, ' ') != NULL; i++) {
            missing = strchr(missing, ' ') + 1;
        }
        return cmd_fail(cmd, ERROR_OPERAND, "%.*s is missing: %s %s; see --help",
                        (int)strcspn(missing, " "), missing, cmd_verb_name(cmd->verb, name),
                        cmd->verb->operands);
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
