/* Settings: one value and its source per option. A value is replaced only by one that was checked,
 * and only from a source of at least the same rank, so the order of reading does not matter. */
#include "core/config.h"

#include "core/assert.h"
#include "core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONFIG_KEY_BYTES = 64,     /* Longest key with its NUL; also bounds config_suggest(). */
    CONFIG_QUOTED_BYTES = 128, /* As much of a value as a message shows. */
    CONFIG_EDITS_MAX = 3,
};

struct config_value {
    char *text;
    char *place; /* NULL: the default. */
    int64_t number;
    enum config_source source;
};

struct config {
    const struct config_option *options;
    uint32_t count;
    struct config_value values[];
};

/* Edits between two words: characters put in, left out, changed, or swapped with their neighbour.
 * More than CONFIG_EDITS_MAX when either is too long to be compared. */
static uint32_t config_distance(const char *a, const char *b)
{
    uint32_t rows[3][CONFIG_KEY_BYTES];
    size_t a_size = strlen(a), b_size = strlen(b);
    if (a_size >= CONFIG_KEY_BYTES || b_size >= CONFIG_KEY_BYTES) {
        return CONFIG_EDITS_MAX + 1;
    }
    uint32_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_size; j++) {
        above[j] = (uint32_t)j;
        before[j] = (uint32_t)j;
    }
    for (size_t i = 1; i <= a_size; i++) {
        row[0] = (uint32_t)i;
        for (size_t j = 1; j <= b_size; j++) {
            uint32_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = min_u32(best, min_u32(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = min_u32(best, before[j - 2] + 1);
            }
            row[j] = best;
        }
        uint32_t *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[b_size];
}

/* Whether `candidate` is nearer to `word` than the best so far; updates that. A word of which no
 * letter remains is not near. */
static bool config_nearer(const char *word, const char *candidate, uint32_t *best)
{
    uint32_t distance = config_distance(word, candidate);
    size_t longest = strlen(word) > strlen(candidate) ? strlen(word) : strlen(candidate);
    if (distance >= *best || distance >= longest) {
        return false;
    }
    *best = distance;
    return true;
}

const char *config_suggest(const char *word, const char *const *words, uint32_t count)
{
    ASSERT(word != NULL);
    const char *nearest = NULL;
    uint32_t best = CONFIG_EDITS_MAX + 1;
    for (uint32_t i = 0; i < count; i++) {
        if (config_nearer(word, words[i], &best)) {
            nearest = words[i];
        }
    }
    return nearest;
}

/* "segment.bytes" as "FLOE_SEGMENT_BYTES". */
static void config_variable(const char *key, char variable[2 * CONFIG_KEY_BYTES])
{
    int size = snprintf(variable, 2 * CONFIG_KEY_BYTES, "FLOE_%s", key);
    ASSERT(size > 0 && size < 2 * CONFIG_KEY_BYTES);
    for (char *c = variable; *c != '\0'; c++) {
        if (*c >= 'a' && *c <= 'z') {
            *c = (char)(*c - 'a' + 'A');
        } else if (*c == '.' || *c == '-') {
            *c = '_';
        }
    }
}

static uint32_t config_find(const struct config *config, const char *key)
{
    uint32_t index = 0;
    while (index < config->count && strcmp(config->options[index].key, key) != 0) {
        index++;
    }
    return index;
}

static const struct config_value *config_known(const struct config *config, const char *key)
{
    uint32_t index = config_find(config, key);
    ASSERT(index < config->count);
    return &config->values[index];
}

static const char *config_type_of(const struct config *config, const char *key,
                                  enum config_type *type)
{
    const struct config_value *value = config_known(config, key);
    *type = config->options[value - config->values].type;
    return value->text;
}

/* What a key and a text turned out to be. */
struct config_judged {
    uint32_t index;
    int64_t number;
};

static enum err config_unknown(const struct config *config, const char *key, char *detail)
{
    char quoted[CONFIG_QUOTED_BYTES];
    uint32_t best = CONFIG_EDITS_MAX + 1;
    const char *nearest = NULL;
    for (uint32_t i = 0; i < config->count; i++) {
        if (config_nearer(key, config->options[i].key, &best)) {
            nearest = config->options[i].key;
        }
    }
    (void)log_quote(key, quoted, sizeof(quoted));
    if (nearest != NULL) {
        (void)snprintf(detail, CONFIG_MESSAGE_BYTES, "unknown setting %s: did you mean %s?", quoted,
                       nearest);
    } else {
        (void)snprintf(detail, CONFIG_MESSAGE_BYTES,
                       "unknown setting %s: remove it, or see floe config show for all that exist",
                       quoted);
    }
    return ERR_INVALID;
}

/* Finds the option and parses the value; `detail`, of CONFIG_MESSAGE_BYTES, does not say where. */
static enum err config_judge(const struct config *config, const char *key, const char *text,
                             struct config_judged *judged, char *detail)
{
    judged->index = config_find(config, key);
    if (judged->index == config->count) {
        return config_unknown(config, key, detail);
    }
    return config_parse_value(&config->options[judged->index], text, &judged->number, detail);
}

enum err config_check(const struct config *config, const char *key, const char *value,
                      const char *place, char *message)
{
    struct config_judged judged;
    char detail[CONFIG_MESSAGE_BYTES];
    enum err err = config_judge(config, key, value, &judged, detail);
    if (err != OK) {
        (void)snprintf(message, CONFIG_MESSAGE_BYTES, "%.200s: %.300s", place, detail);
    }
    return err;
}

enum err config_set(struct config *config, const char *key, const char *value,
                    enum config_source source, const char *place, char *message)
{
    ASSERT(key != NULL && value != NULL && place != NULL);
    ASSERT(source != CONFIG_FROM_DEFAULT);
    struct config_judged judged;
    char detail[CONFIG_MESSAGE_BYTES];
    enum err err = config_judge(config, key, value, &judged, detail);
    if (err != OK) {
        (void)snprintf(message, CONFIG_MESSAGE_BYTES, "%.200s: %.300s", place, detail);
        return err;
    }
    struct config_value *slot = &config->values[judged.index];
    if (source < slot->source) {
        return OK; /* Valid, and outranked. */
    }
    char *text_copy = strdup(value);
    char *place_copy = strdup(place);
    if (text_copy == NULL || place_copy == NULL) {
        free(text_copy);
        free(place_copy);
        (void)snprintf(message, CONFIG_MESSAGE_BYTES, "%.200s: out of memory", place);
        return ERR_NO_MEMORY;
    }
    free(slot->text);
    free(slot->place);
    *slot = (struct config_value){
        .text = text_copy, .place = place_copy, .number = judged.number, .source = source};
    return OK;
}

struct config *config_create(const struct config_option *options, uint32_t count)
{
    ASSERT(options != NULL || count == 0);
    struct config *config = calloc(1, sizeof(*config) + count * sizeof(config->values[0]));
    if (config == NULL) {
        return NULL;
    }
    config->options = options;
    config->count = count;
    for (uint32_t i = 0; i < count; i++) {
        char message[CONFIG_MESSAGE_BYTES];
        ASSERT(strlen(options[i].key) < CONFIG_KEY_BYTES);
        ASSERT(config_find(config, options[i].key) == i); /* No key twice. */
        enum err err = config_parse_value(&options[i], options[i].fallback,
                                          &config->values[i].number, message);
        ASSERT(err == OK); /* The table itself is wrong. */
        config->values[i].text = strdup(options[i].fallback);
        if (config->values[i].text == NULL) {
            config_destroy(config);
            return NULL;
        }
    }
    return config;
}

void config_destroy(struct config *config)
{
    if (config == NULL) {
        return;
    }
    for (uint32_t i = 0; i < config->count; i++) {
        free(config->values[i].text);
        free(config->values[i].place);
    }
    free(config);
}

/* The option of a variable's name; config->count when it is nobody's, and then the message. */
static uint32_t config_find_variable(const struct config *config, const char *name, char *message)
{
    char variable[2 * CONFIG_KEY_BYTES], nearest[2 * CONFIG_KEY_BYTES] = "";
    char quoted[CONFIG_QUOTED_BYTES];
    uint32_t best = CONFIG_EDITS_MAX + 1;
    for (uint32_t i = 0; i < config->count; i++) {
        config_variable(config->options[i].key, variable);
        if (strcmp(variable, name) == 0) {
            return i;
        }
        if (config_nearer(name, variable, &best)) {
            memcpy(nearest, variable, sizeof(nearest));
        }
    }
    (void)log_quote(name, quoted, sizeof(quoted));
    if (nearest[0] != '\0') {
        (void)snprintf(message, CONFIG_MESSAGE_BYTES,
                       "environment: unknown variable %s: did you mean %s?", quoted, nearest);
    } else {
        (void)snprintf(message, CONFIG_MESSAGE_BYTES,
                       "environment: unknown variable %s: unset it, names that begin with FLOE_ "
                       "are settings",
                       quoted);
    }
    return config->count;
}

/* Reads the variables once; sets them only when `apply`. */
static enum err config_walk_environment(struct config *config, char *const *environ, bool apply,
                                        char *message)
{
    for (; *environ != NULL; environ++) {
        const char *equals = strchr(*environ, '=');
        if (strncmp(*environ, "FLOE_", 5) != 0 || equals == NULL) {
            continue;
        }
        char name[CONFIG_QUOTED_BYTES];
        (void)snprintf(name, sizeof(name), "%.*s", (int)(equals - *environ), *environ);
        uint32_t index = config_find_variable(config, name, message);
        if (index == config->count) {
            return ERR_INVALID;
        }
        const char *key = config->options[index].key;
        enum err err =
            apply ? config_set(config, key, equals + 1, CONFIG_FROM_ENVIRONMENT, name, message)
                  : config_check(config, key, equals + 1, name, message);
        if (err != OK) {
            return err;
        }
    }
    return OK;
}

enum err config_read_environment(struct config *config, char *const *environ, char *message)
{
    enum err err = config_walk_environment(config, environ, false, message);
    return err != OK ? err : config_walk_environment(config, environ, true, message);
}

const char *config_text(const struct config *config, const char *key)
{
    enum config_type type;
    const char *text = config_type_of(config, key, &type);
    ASSERT(type == CONFIG_TEXT || type == CONFIG_CHOICE);
    return text;
}

int64_t config_number(const struct config *config, const char *key)
{
    enum config_type type;
    (void)config_type_of(config, key, &type);
    ASSERT(type == CONFIG_COUNT || type == CONFIG_BYTES || type == CONFIG_DURATION);
    return config_known(config, key)->number;
}

bool config_bool(const struct config *config, const char *key)
{
    enum config_type type;
    (void)config_type_of(config, key, &type);
    ASSERT(type == CONFIG_BOOL);
    return config_known(config, key)->number != 0;
}

enum config_source config_source(const struct config *config, const char *key)
{
    return config_known(config, key)->source;
}

const char *config_place(const struct config *config, const char *key)
{
    const struct config_value *value = config_known(config, key);
    return value->place == NULL ? "default" : value->place;
}

uint32_t config_count(const struct config *config)
{
    return config->count;
}

const struct config_option *config_option(const struct config *config, uint32_t index)
{
    ASSERT(index < config->count);
    return &config->options[index];
}

const char *config_value_text(const struct config *config, uint32_t index)
{
    ASSERT(index < config->count);
    return config->values[index].text;
}
