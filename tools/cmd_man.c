/* floe man: manual pages in troff's man macros, one for floe and one for each noun, made of the
 * tables of verbs, settings and errors. */
#include "tools/cmd_verbs.h"
#include "tools/errors.h"
#include "tools/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MAN_COLUMNS = 64 };

static const char man_no_noun[] = "floe";
static const char man_date[] =
    "2026-11-29"; /* The pages are dated as the release, not the build. */

/* Text of the tables, with what troff would take for itself made harmless. */
static void man_put(FILE *out, const char *text, bool wrap)
{
    bool line_start = true;
    uint32_t column = 0;
    for (const char *c = text; *c != '\0'; c++, column++) {
        if (line_start && (*c == '.' || *c == '\'')) {
            fputs("\\&", out);
        }
        line_start = *c == '\n';
        switch (*c) {
        case ' ':
            /* Lines as a man would break them; examples come with lines of their own. */
            line_start = wrap && column >= MAN_COLUMNS;
            column = line_start ? 0 : column;
            fputc(line_start ? '\n' : ' ', out);
            break;
        case '\\':
            fputs("\\e", out);
            break;
        case '-':
            fputs("\\-", out);
            break;
        case '\'':
            fputs("\\(aq", out);
            break;
        case '^':
            fputs("\\(ha", out);
            break;
        case '~':
            fputs("\\(ti", out);
            break;
        case '`':
            fputs("\\(ga", out);
            break;
        default:
            fputc(*c, out);
            break;
        }
    }
}

static void man_text(FILE *out, const char *text)
{
    man_put(out, text, false);
}

static void man_prose(FILE *out, const char *text)
{
    man_put(out, text, true);
    fputc('\n', out);
}

static void man_title(FILE *out, const char *noun, const char *sentence)
{
    char upper[CMD_NAME_BYTES];
    bool own = noun != man_no_noun;
    size_t size =
        (size_t)snprintf(upper, sizeof(upper), "floe%s%s", own ? "-" : "", own ? noun : "");
    for (size_t i = 0; i < size; i++) {
        upper[i] = (char)toupper((unsigned char)upper[i]);
    }
    fprintf(out, ".\\\" Made by \"floe man\" of the tables of verbs, settings and errors.\n");
    fputs(".TH ", out);
    man_text(out, upper);
    fprintf(out, " 1 \"%s\" \"floe %s\" \"User Commands\"\n.SH NAME\nfloe", man_date, FLOE_VERSION);
    if (own) {
        fputs("\\-", out);
        man_text(out, noun);
    }
    fputs(" \\- ", out);
    man_text(out, sentence);
    fputc('\n', out);
}

static void man_synopsis(FILE *out, const struct cmd_verb *verb)
{
    char name[CMD_NAME_BYTES];
    fputs(".B ", out);
    man_text(out, cmd_verb_name(verb, name));
    fputc('\n', out);
    if (verb->operands != NULL) {
        fputs(".I ", out);
        man_text(out, verb->operands);
        fputc('\n', out);
    }
    fputs("[flags]\n", out);
}

/* One entry of a list: bold, then italic, then a sentence. */
static void man_item(FILE *out, const char *bold, const char *italic, const char *sentence)
{
    fputs(".TP\n\\fB", out);
    man_text(out, bold);
    fputs("\\fR", out);
    if (italic != NULL) {
        fputs(" \\fI", out);
        man_text(out, italic);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    man_prose(out, sentence);
}

static void man_examples(FILE *out, const struct cmd_verb *verb)
{
    if (verb->examples == NULL) {
        return;
    }
    fputs(".PP\nExamples:\n.PP\n.nf\n", out);
    man_text(out, verb->examples);
    fputs(".fi\n", out);
}

static void man_verb(FILE *out, const struct cmd_verb *verb, bool grouped)
{
    const struct cmd_flag *flags[CMD_NAMES_MAX];
    char name[CMD_NAME_BYTES];
    uint32_t count = cmd_verb_flags(verb, flags);
    if (grouped) {
        fputs(".SS ", out);
        man_text(out, cmd_verb_name(verb, name));
        fputc('\n', out);
    }
    man_text(out, verb->sentence);
    fputs(".\n", out);
    man_examples(out, verb);
    fputs(".PP\nFlags:\n", out);
    for (uint32_t i = 0; i < count; i++) {
        char both[64];
        const char *letter = flags[i]->letter;
        (void)snprintf(both, sizeof(both), "%s%s%s", letter != NULL ? letter : "",
                       letter != NULL ? ", " : "", flags[i]->name);
        man_item(out, both, flags[i]->value, flags[i]->sentence);
    }
}

static void man_ends(FILE *out, const char *noun)
{
    fputs(".SH EXIT STATUS\n", out);
    man_prose(out, cmd_exit_codes);
    fputs(".PP\nAn error message ends with a code such as [FLOE\\-1401]; "
          ".BR floe\\-explain (1)\nprints its cause and remedy.\n.SH SEE ALSO\n",
          out);
    bool first = true;
    if (noun != man_no_noun) {
        fputs(".BR floe (1)", out);
        first = false;
    }
    for (uint32_t i = 0; i < cmd_verb_count; i++) {
        if (cmd_noun_first(i) && strcmp(cmd_verbs[i].noun, noun) != 0) {
            fprintf(out, "%s.BR floe\\-", first ? "" : ",\n");
            man_text(out, cmd_verbs[i].noun);
            fputs(" (1)", out);
            first = false;
        }
    }
    fputc('\n', out);
}

static void man_settings(FILE *out)
{
    fputs(".SH SETTINGS\nA flag wins over the environment, that over the file, that over the "
          "default.\nOf the setting\n.B segment.bytes\nthe variable is\n"
          ".BR FLOE_SEGMENT_BYTES ,\nand in the file it is the key\n.B bytes\nof the section\n"
          ".BR [segment] .\n",
          out);
    for (uint32_t i = 0; i < options_count; i++) {
        char sentence[512];
        const struct config_option *option = &options_table[i];
        (void)snprintf(sentence, sizeof(sentence), "%s%s%s (default %s)", option->sentence,
                       option->choices != NULL ? "; one of " : "",
                       option->choices != NULL ? option->choices : "",
                       option->fallback[0] != '\0' ? option->fallback : "empty");
        man_item(out, option->key, NULL, sentence);
    }
}

static void man_errors(FILE *out)
{
    fputs(".SH ERRORS\n", out);
    for (uint32_t i = 0; i < errors_count; i++) {
        char text[ERROR_TEXT_BYTES], sentence[1024];
        const struct error_kind *kind = &errors_table[i];
        (void)snprintf(sentence, sizeof(sentence), "%s %s Exit code %d.", kind->cause, kind->remedy,
                       (int)kind->exit);
        man_item(out, errors_text(kind->number, text), kind->what, sentence);
    }
}

/* floe(1) */
static void man_top(FILE *out)
{
    man_title(out, man_no_noun, "a message streaming engine");
    fputs(".SH SYNOPSIS\n.B floe\n.I VERB\n[words] [flags]\n.SH DESCRIPTION\n"
          "One binary is the server and its command line.\nClients of Kafka write and read its "
          "log.\n.PP\n.nf\n",
          out);
    man_text(out, "  floe serve --dev &\n"
                  "  echo hello | floe produce greetings\n"
                  "  floe consume greetings --until end\n");
    fputs(".fi\n.PP\n", out);
    man_prose(out,
              "Every verb tells of itself with --help. -o json and -o jsonl print the rows of an "
              "answer for programs; in a pipe the columns of a table are parted by tabs. Data "
              "goes to standard output, all else to standard error.");
    fputs(".SH VERBS\n", out);
    for (uint32_t i = 0; i < cmd_verb_count; i++) {
        char name[CMD_NAME_BYTES];
        man_item(out, cmd_verb_name(&cmd_verbs[i], name), cmd_verbs[i].operands,
                 cmd_verbs[i].sentence);
    }
    man_ends(out, man_no_noun);
}

/* floe-NOUN(1) */
static void man_noun(FILE *out, const char *noun)
{
    bool grouped = cmd_noun_grouped(noun);
    char sentence[256];
    (void)snprintf(sentence, sizeof(sentence), "verbs of floe %s", noun);
    for (uint32_t i = 0; i < cmd_verb_count && !grouped; i++) {
        if (strcmp(cmd_verbs[i].noun, noun) == 0) {
            (void)snprintf(sentence, sizeof(sentence), "%s", cmd_verbs[i].sentence);
        }
    }
    man_title(out, noun, sentence);
    bool first = true;
    for (int part = 0; part < 2; part++) {
        fputs(part == 0 ? ".SH SYNOPSIS\n" : ".SH DESCRIPTION\n", out);
        for (uint32_t i = 0; i < cmd_verb_count; i++) {
            if (strcmp(cmd_verbs[i].noun, noun) == 0 && part == 0) {
                fputs(first ? "" : ".br\n", out);
                first = false;
                man_synopsis(out, &cmd_verbs[i]);
            } else if (strcmp(cmd_verbs[i].noun, noun) == 0) {
                man_verb(out, &cmd_verbs[i], grouped);
            }
        }
    }
    if (strcmp(noun, "serve") == 0 || strcmp(noun, "config") == 0) {
        man_settings(out);
    } else if (strcmp(noun, "explain") == 0) {
        man_errors(out);
    }
    man_ends(out, noun);
}

static int man_write(const struct cmd *cmd, const char *dir, const char *noun)
{
    char path[4096];
    bool own = noun != man_no_noun;
    int size = snprintf(path, sizeof(path), "%s/floe%s%s.1", dir, own ? "-" : "", own ? noun : "");
    FILE *out = size < 0 || (size_t)size >= sizeof(path) ? NULL : fopen(path, "we");
    if (out == NULL) {
        return cmd_fail(cmd, errors_of_path(errno), "%s: %s", path, strerror(errno));
    }
    if (own) {
        man_noun(out, noun);
    } else {
        man_top(out);
    }
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        return cmd_fail(cmd, errors_of_path(errno), "%s: %s", path, strerror(errno));
    }
    return CMD_OK;
}

int cmd_man(const struct cmd *cmd)
{
    const char *dir = cmd_value(cmd, "--dir");
    const char *noun = cmd->operand_count > 0 ? cmd->operands[0] : NULL;
    if (noun != NULL && !cmd_noun_known(noun)) {
        return cmd_fail(cmd, ERROR_OPERAND,
                        "%s: there is no such page; floe --help names the verbs", noun);
    }
    int used;
    if (cmd->operand_count > 1) {
        char *words[2] = {(char *)(uintptr_t)noun, (char *)(uintptr_t)cmd->operands[1]};
        const struct cmd_verb *verb = cmd_verb_of(2, words, &used);
        if (verb == NULL || verb->verb == NULL) {
            return cmd_fail(cmd, ERROR_OPERAND, "%s %s: there is no such verb; see floe %s --help",
                            noun, cmd->operands[1], noun);
        }
    }
    if (dir != NULL && noun != NULL) {
        return cmd_fail(cmd, ERROR_FLAG, "--dir writes all pages: leave %s out", noun);
    }
    if (dir != NULL) {
        int code = man_write(cmd, dir, man_no_noun);
        for (uint32_t i = 0; i < cmd_verb_count && code == CMD_OK; i++) {
            code = cmd_noun_first(i) ? man_write(cmd, dir, cmd_verbs[i].noun) : CMD_OK;
        }
        return code;
    }
    if (noun == NULL) {
        man_top(stdout);
    } else {
        man_noun(stdout, noun);
    }
    return fflush(stdout) == 0 ? CMD_OK
                               : cmd_fail(cmd, ERROR_OUTPUT, "standard output took not everything");
}
