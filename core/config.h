/* The mechanism of settings: a table of options gives parsing, units, sources, --help and
 * `floe config show`. Precedence: flag > FLOE_... environment > file (INI) > default. An unknown
 * key is an error that names the nearest known one; so is a duplicate, an over-long or indented
 * line. */
#pragma once

#include "core/err.h"

enum config_type {
    CONFIG_TEXT,
    CONFIG_BOOL,     /* true false yes no on off 1 0 */
    CONFIG_COUNT,    /* A plain integer. */
    CONFIG_BYTES,    /* 64MiB, 1GB, 4096 (bytes); "auto" = 0 where `min` is 0. */
    CONFIG_DURATION, /* In ms: 250ms 10s 5m 1h 7d; -1 = none where min is -1. */
    CONFIG_CHOICE,   /* One of `choices`, separated by '|'. */
};

struct config_option {
    const char *key; /* "segment.bytes"; the variable is FLOE_SEGMENT_BYTES, in INI [segment] bytes
                        or segment.bytes without a section. */
    enum config_type type;
    const char *fallback; /* The default, as text. */
    int64_t min, max;     /* Of the number; of a text's length. A max of 0: no upper bound. */
    const char *choices;
    const char *sentence; /* What it does. */
};

enum config_source {
    CONFIG_FROM_DEFAULT,
    CONFIG_FROM_FILE,
    CONFIG_FROM_ENVIRONMENT,
    CONFIG_FROM_FLAG,
};

struct config; /* One value and its source per option. */

enum { CONFIG_MESSAGE_BYTES = 512 };

NODISCARD struct config *config_create(const struct config_option *options, uint32_t count);
void config_destroy(struct config *config);

/* A file and the environment are taken whole or, with an error, not at all. Each: ERR_INVALID with
 * `message` (CONFIG_MESSAGE_BYTES) telling what, which value, where, and what to do; ERR_NOT_FOUND,
 * ERR_DENIED or ERR_IO when the file cannot be read. */
NODISCARD enum err config_read_file(struct config *config, const char *path, char *message);
NODISCARD enum err config_read_environment(struct config *config, char *const *environ,
                                           char *message);
NODISCARD enum err config_set(struct config *config, const char *key, const char *value,
                              enum config_source source, const char *place, char *message);

/* Like config_set(), but only checks. */
NODISCARD enum err config_check(const struct config *config, const char *key, const char *value,
                                const char *place, char *message);

/* By key; asserts that the key exists and has that type. */
const char *config_text(const struct config *config, const char *key);
int64_t config_number(const struct config *config, const char *key); /* COUNT, BYTES, DURATION. */
bool config_bool(const struct config *config, const char *key);
enum config_source config_source(const struct config *config, const char *key);
const char *config_place(const struct config *config, const char *key); /* "floe.ini:12", "--set" */

uint32_t config_count(const struct config *config);
const struct config_option *config_option(const struct config *config, uint32_t index);
const char *config_value_text(const struct config *config, uint32_t index); /* As given. */

/* Parses one value as `type`; used for topic configs too. */
NODISCARD enum err config_parse_value(const struct config_option *option, const char *text,
                                      int64_t *number, char *message);

/* The nearest of `count` words within 3 edits; NULL = none is near. */
const char *config_suggest(const char *word, const char *const *words, uint32_t count);
