/* What --help prints, made of the table of verbs, and the questions to that table that others of
 * its readers share. */
#include "core/assert.h"
#include "tools/cmd_verbs.h"

#include <stdio.h>
#include <string.h>

enum { HELP_INDENT = 30, HELP_COLUMNS = 80 };

const char cmd_exit_codes[] = "0 ok, 1 failed, 2 usage, 3 not found, 4 denied, 5 unavailable "
                              "(retry), 6 partly, 7 exists, 130 interrupted";

const char *cmd_verb_name(const struct cmd_verb *verb, char name[CMD_NAME_BYTES])
{
    (void)snprintf(name, CMD_NAME_BYTES, "floe %s%s%s", verb->noun, verb->verb != NULL ? " " : "",
                   verb->verb != NULL ? verb->verb : "");
    return name;
}

uint32_t cmd_verb_flags(const struct cmd_verb *verb, const struct cmd_flag *flags[CMD_NAMES_MAX])
{
    uint32_t count = 0;
    ASSERT(verb->flag_count + 3 <= CMD_NAMES_MAX);
    for (uint32_t i = 0; i < verb->flag_count; i++) {
        flags[count++] = &verb->flags[i];
    }
    if (verb->client) {
        flags[count++] = &cmd_flag_broker;
    }
    if (verb->rows) {
        flags[count++] = &cmd_flag_output;
    }
    flags[count++] = &cmd_flag_help;
    return count;
}

const struct cmd_flag *cmd_verb_flag(const struct cmd_verb *verb, const char *word, size_t size)
{
    const struct cmd_flag *flags[CMD_NAMES_MAX];
    uint32_t count = cmd_verb_flags(verb, flags);
    for (uint32_t i = 0; i < count; i++) {
        const char *letter = flags[i]->letter;
        if ((strlen(flags[i]->name) == size && memcmp(flags[i]->name, word, size) == 0) ||
            (letter != NULL && strlen(letter) == size && memcmp(letter, word, size) == 0)) {
            return flags[i];
        }
    }
    return NULL;
}

bool cmd_noun_known(const char *noun)
{
    for (uint32_t i = 0; i < cmd_verb_count; i++) {
        if (strcmp(cmd_verbs[i].noun, noun) == 0) {
            return true;
        }
    }
    return false;
}

bool cmd_noun_grouped(const char *noun)
{
    for (uint32_t i = 0; i < cmd_verb_count; i++) {
        if (cmd_verbs[i].verb != NULL && strcmp(cmd_verbs[i].noun, noun) == 0) {
            return true;
        }
    }
    return false;
}

bool cmd_noun_first(uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(cmd_verbs[i].noun, cmd_verbs[index].noun) == 0) {
            return false;
        }
    }
    return true;
}

const struct cmd_verb *cmd_verb_of(int argc, char *const *argv, int *used)
{
    for (uint32_t i = 0; argc > 0 && i < cmd_verb_count; i++) {
        const struct cmd_verb *verb = &cmd_verbs[i];
        if (strcmp(argv[0], verb->noun) == 0 &&
            (verb->verb == NULL || (argc > 1 && strcmp(argv[1], verb->verb) == 0))) {
            *used = verb->verb == NULL ? 1 : 2;
            return verb;
        }
    }
    return NULL;
}

/* A sentence beside what it is about, in as many lines as it takes. */
static void help_line(const char *about, const char *sentence)
{
    size_t column = (size_t)printf("  %-*s", HELP_INDENT - 2, about);
    for (const char *word = sentence; *word != '\0';) {
        size_t size = strcspn(word, " ");
        if (column > HELP_INDENT && column + 1 + size > HELP_COLUMNS) {
            column = (size_t)printf("\n%*s", HELP_INDENT, "") - 1;
        } else if (column >= HELP_INDENT && word != sentence) {
            putchar(' ');
            column++;
        }
        column += (size_t)printf("%.*s", (int)size, word);
        word += size;
        word += *word == ' ';
    }
    putchar('\n');
}

static void help_flag(const struct cmd_flag *flag)
{
    char text[96];
    (void)snprintf(text, sizeof(text), "%s%s%s%s%s", flag->letter != NULL ? flag->letter : "",
                   flag->letter != NULL ? ", " : "    ", flag->name, flag->value != NULL ? " " : "",
                   flag->value != NULL ? flag->value : "");
    if (strlen(text) > HELP_INDENT - 3) {
        printf("  %s\n", text);
        text[0] = '\0';
    }
    help_line(text, flag->sentence);
}

int cmd_help_verb(const struct cmd_verb *verb)
{
    const struct cmd_flag *flags[CMD_NAMES_MAX];
    char name[CMD_NAME_BYTES];
    uint32_t count = cmd_verb_flags(verb, flags);
    printf("%s: %s\n\n", cmd_verb_name(verb, name), verb->sentence);
    if (verb->examples != NULL) {
        printf("Examples:\n%s\n", verb->examples);
    }
    printf("Usage: %s%s%s [flags]\n\nFlags:\n", name, verb->operands != NULL ? " " : "",
           verb->operands != NULL ? verb->operands : "");
    for (uint32_t i = 0; i < count; i++) {
        help_flag(flags[i]);
    }
    putchar('\n');
    help_line("Exit codes", cmd_exit_codes);
    printf("\nfloe explain CODE tells more of an error. The manual: floe man %s | man -l -\n",
           verb->noun);
    return CMD_OK;
}

int cmd_help(const char *noun)
{
    if (noun == NULL) {
        fputs("floe: a message streaming engine\n\nExamples:\n"
              "  floe serve --dev\n"
              "  echo hello | floe produce greetings\n"
              "  floe consume greetings --until end\n\nVerbs:\n",
              stdout);
    } else {
        printf("floe %s: its verbs\n\n", noun);
    }
    for (uint32_t i = 0; i < cmd_verb_count; i++) {
        const struct cmd_verb *verb = &cmd_verbs[i];
        char name[CMD_NAME_BYTES];
        if (noun == NULL || strcmp(verb->noun, noun) == 0) {
            help_line(cmd_verb_name(verb, name) + strlen("floe "), verb->sentence);
        }
    }
    printf("\nfloe %s%s--help tells more.\n", noun != NULL ? noun : "VERB",
           noun != NULL ? " VERB " : " ");
    return CMD_OK;
}
