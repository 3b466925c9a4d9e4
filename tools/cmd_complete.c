/* Completion: floe __complete is asked by a script of the shell, floe completion prints the script.
 * The scripts know nothing of the verbs, so they stay good when floe gets new ones.
 *
 *     words, the last one unfinished -> what it is: noun, verb, flag, value or operand
 *                                    -> a line for each word it may become: WORD <tab> SENTENCE
 *
 * A line that begins with a colon is for the script: ":files" and ":directories" ask it to complete
 * those, ":nospace" that the word goes on. What cannot be told is told by silence. */
#include "core/assert.h"
#include "tools/cmd_client.h"
#include "tools/cmd_verbs.h"
#include "tools/errors.h"
#include "tools/options.h"

#include <stdio.h>
#include <string.h>

enum { COMPLETE_TOPICS_MS = 700 };

struct complete {
    struct cmd cmd;     /* What stands before the last word. */
    const char *prefix; /* Stands before every candidate: "--output=". */
    size_t prefix_size;
    const char *start; /* What a candidate begins with. */
};

static void complete_say(const struct complete *complete, const char *word, size_t size,
                         const char *sentence)
{
    size_t start = strlen(complete->start);
    if (start <= size && memcmp(word, complete->start, start) == 0) {
        printf("%.*s%.*s\t%s\n", (int)complete->prefix_size, complete->prefix, (int)size, word,
               sentence != NULL ? sentence : "");
    }
}

/* Of "all|1|0" each; of "start|end|OFFSET" those that are words and not names of something. */
static void complete_choices(const struct complete *complete, const char *choices)
{
    while (*choices != '\0') {
        size_t size = strcspn(choices, "|");
        if (size > 0 && strspn(choices, "abcdefghijklmnopqrstuvwxyz0123456789") >= size) {
            complete_say(complete, choices, size, NULL);
        }
        choices += size + (choices[size] == '|');
    }
}

static void complete_topics(const struct complete *complete)
{
    const struct client_options options = {.type = RD_KAFKA_CONSUMER};
    const struct rd_kafka_metadata *metadata;
    struct client client;
    if (client_open(&client, &complete->cmd, &options) != CMD_OK) {
        return;
    }
    if (rd_kafka_metadata(client.rk, 1, NULL, &metadata, COMPLETE_TOPICS_MS) ==
        RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (int i = 0; i < metadata->topic_cnt; i++) {
            const char *topic = metadata->topics[i].topic;
            complete_say(complete, topic, strlen(topic), NULL);
        }
        rd_kafka_metadata_destroy(metadata);
    }
    client_close(&client);
}

static void complete_groups(const struct complete *complete)
{
    const struct client_options options = {.type = RD_KAFKA_CONSUMER};
    const struct rd_kafka_group_list *list;
    struct client client;
    if (client_open(&client, &complete->cmd, &options) != CMD_OK) {
        return;
    }
    if (rd_kafka_list_groups(client.rk, NULL, &list, COMPLETE_TOPICS_MS) ==
        RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (int i = 0; i < list->group_cnt; i++) {
            complete_say(complete, list->groups[i].group, strlen(list->groups[i].group), NULL);
        }
        rd_kafka_group_list_destroy(list);
    }
    client_close(&client);
}

static void complete_settings(const struct complete *complete)
{
    if (strchr(complete->start, '=') != NULL) {
        return;
    }
    puts(":nospace");
    for (uint32_t i = 0; i < options_count; i++) {
        char text[128];
        int size = snprintf(text, sizeof(text), "%s=", options_table[i].key);
        complete_say(complete, text, (size_t)size, options_table[i].sentence);
    }
}

static void complete_codes(const struct complete *complete)
{
    for (uint32_t i = 0; i < errors_count; i++) {
        char text[ERROR_TEXT_BYTES];
        (void)errors_text(errors_table[i].number, text);
        complete_say(complete, text, strlen(text), errors_table[i].what);
    }
}

/* Whether an operand names a topic that is there. */
static bool complete_is_topic(const struct cmd_verb *verb, const char *kind)
{
    bool named = strcmp(kind, "NAME") == 0 && strcmp(verb->noun, "topic") == 0;
    return verb->client && (named || strcmp(kind, "TOPIC") == 0) &&
           (verb->verb == NULL || strcmp(verb->verb, "create") != 0);
}

/* By what the table calls a value or an operand. */
static void complete_kind(const struct complete *complete, const char *kind, size_t size)
{
    char word[64];
    (void)snprintf(word, sizeof(word), "%.*s", (int)size, kind);
    if (strcmp(word, "DIR") == 0) {
        puts(":directories");
    } else if (strstr(word, "FILE") != NULL) {
        puts(":files");
    } else if (strcmp(word, "CODE") == 0) {
        complete_codes(complete);
    } else if (strcmp(word, "NOUN") == 0) {
        for (uint32_t i = 0; i < cmd_verb_count; i++) {
            if (cmd_noun_first(i)) {
                complete_say(complete, cmd_verbs[i].noun, strlen(cmd_verbs[i].noun), NULL);
            }
        }
    } else if (complete_is_topic(complete->cmd.verb, word)) {
        complete_topics(complete);
    } else if (complete->cmd.verb->client && strcmp(word, "GROUP") == 0) {
        complete_groups(complete);
    } else if (strchr(word, '|') != NULL) {
        complete_choices(complete, word);
    }
}

static void complete_value(struct complete *complete, const struct cmd_flag *flag,
                           const char *start)
{
    complete->start = start;
    if (strcmp(flag->name, "--set") == 0) {
        complete_settings(complete);
    } else {
        complete_kind(complete, flag->value, strlen(flag->value));
    }
}

static void complete_flags(const struct complete *complete)
{
    const struct cmd_flag *flags[CMD_NAMES_MAX];
    uint32_t count = cmd_verb_flags(complete->cmd.verb, flags);
    for (uint32_t i = 0; i < count; i++) {
        bool again = strstr(flags[i]->sentence, "may be repeated") != NULL;
        if (again || cmd_value(&complete->cmd, flags[i]->name) == NULL) {
            complete_say(complete, flags[i]->name, strlen(flags[i]->name), flags[i]->sentence);
        }
    }
}

/* The operand that is due: a word of "DIR TOPIC|FILE"; the last one stands for all behind it. */
static void complete_operand(const struct complete *complete)
{
    const struct cmd_verb *verb = complete->cmd.verb;
    const char *kind = verb->operands;
    if (kind == NULL || complete->cmd.operand_count >= verb->operand_max) {
        return;
    }
    for (uint32_t i = 0; i < complete->cmd.operand_count && strchr(kind, ' ') != NULL; i++) {
        kind = strchr(kind, ' ') + 1;
    }
    kind += *kind == '[';
    complete_kind(complete, kind, strcspn(kind, " ]"));
}

/* Behind a verb. `argv` has at least the unfinished word, at its end. */
static void complete_behind(struct complete *complete, int argc, char **argv)
{
    struct cmd *cmd = &complete->cmd;
    const struct cmd_flag *open = NULL; /* Lacks its value. */
    bool flags_end = false;
    const char *last = argv[argc - 1];
    for (int at = 0; at + 1 < argc; at++) {
        const char *word = argv[at];
        const char *equals = strchr(word, '=');
        size_t size = equals != NULL ? (size_t)(equals - word) : strlen(word);
        const struct cmd_flag *flag =
            flags_end || open != NULL ? NULL : cmd_verb_flag(cmd->verb, word, size);
        if (open != NULL || flag != NULL) {
            const char *value = flag == NULL ? word : equals != NULL ? equals + 1 : "";
            flag = flag == NULL ? open : flag;
            open = open == NULL && flag->value != NULL && equals == NULL ? flag : NULL;
            if (open == NULL && cmd->given_count < CMD_WORDS_MAX) {
                cmd->given[cmd->given_count++] = (struct cmd_given){flag, value};
            }
        } else if (!flags_end && strcmp(word, "--") == 0) {
            flags_end = true;
        } else if ((flags_end || word[0] != '-') && cmd->operand_count < CMD_OPERANDS_MAX) {
            cmd->operands[cmd->operand_count++] = word;
        }
    }
    const char *equals = strchr(last, '=');
    const struct cmd_flag *flag = equals == NULL || flags_end
                                      ? NULL
                                      : cmd_verb_flag(cmd->verb, last, (size_t)(equals - last));
    if (open != NULL) {
        complete_value(complete, open, last);
    } else if (flag != NULL && flag->value != NULL) {
        complete->prefix = last;
        complete->prefix_size = (size_t)(equals - last) + 1;
        complete_value(complete, flag, equals + 1);
    } else if (last[0] == '-' && !flags_end) {
        complete_flags(complete);
    } else {
        complete_operand(complete);
    }
}

/* The first word, or the one behind "help". */
static void complete_nouns(const struct complete *complete, bool help)
{
    for (uint32_t i = 0; i < cmd_verb_count; i++) {
        const char *noun = cmd_verbs[i].noun;
        if (cmd_noun_first(i)) {
            complete_say(complete, noun, strlen(noun),
                         cmd_noun_grouped(noun) ? "has verbs of its own" : cmd_verbs[i].sentence);
        }
    }
    if (!help) {
        complete_say(complete, "help", 4, "of a verb");
        complete_say(complete, "--help", 6, "all verbs");
        complete_say(complete, "--version", 9, "the version");
    }
}

static void complete_verbs(const struct complete *complete, const char *noun)
{
    for (uint32_t i = 0; i < cmd_verb_count; i++) {
        const char *verb = cmd_verbs[i].verb;
        if (verb != NULL && strcmp(cmd_verbs[i].noun, noun) == 0) {
            complete_say(complete, verb, strlen(verb), cmd_verbs[i].sentence);
        }
    }
}

int cmd_complete(int argc, char **argv)
{
    int used = 0;
    bool help = argc > 1 && strcmp(argv[0], "help") == 0;
    argc -= help;
    argv += help;
    if (argc == 0) {
        return CMD_OK;
    }
    struct complete complete = {.prefix = "", .start = argv[argc - 1]};
    if (argc == 1) {
        complete_nouns(&complete, help);
    } else if (argc == 2 && cmd_noun_grouped(argv[0])) {
        complete_verbs(&complete, argv[0]);
    } else {
        complete.cmd.verb = cmd_verb_of(argc - 1, argv, &used);
        if (complete.cmd.verb != NULL && !help) {
            complete_behind(&complete, argc - used, argv + used);
        }
    }
    return fflush(stdout) == 0 ? CMD_OK : CMD_FAILED;
}
