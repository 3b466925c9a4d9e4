/* One value of a setting: from text to a number, by type, with the bounds in the words of the type.
 *
 *     bytes     4096  4096B  64KiB  64MiB  1GiB  1TiB  (powers of 1024)
 *               1KB  1MB  1GB  1TB  (powers of 1000)
 *     duration  250ms  10s  5m  1h  7d; a bare number only where the key says so (retention.ms) */
#include "core/assert.h"
#include "core/config.h"
#include "core/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { CONFIG_SHOWN_BYTES = 128, CONFIG_BOUND_BYTES = 32, CONFIG_TEXT_BYTES_MAX = 4096 };

struct config_unit {
    const char *name;
    int64_t factor;
};

/* Largest first, the powers of 1024 before those of 1000: a bound is shown in the first that fits.
 */
static const struct config_unit config_bytes_units[] = {
    {"TiB", (int64_t)1 << 40},
    {"GiB", (int64_t)1 << 30},
    {"MiB", (int64_t)1 << 20},
    {"KiB", (int64_t)1 << 10},
    {"TB", (int64_t)1000 * 1000 * 1000 * 1000},
    {"GB", (int64_t)1000 * 1000 * 1000},
    {"MB", (int64_t)1000 * 1000},
    {"KB", 1000},
    {"B", 1},
};

static const struct config_unit config_duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

/* `number` as a person would write it. */
static const char *config_show(const struct config_option *option, int64_t number,
                               char text[CONFIG_BOUND_BYTES])
{
    const struct config_unit *units = NULL;
    uint32_t count = 0;
    if (option->type == CONFIG_BYTES) {
        units = config_bytes_units;
        count = ARRAY_COUNT(config_bytes_units);
    } else if (option->type == CONFIG_DURATION) {
        units = config_duration_units;
        count = ARRAY_COUNT(config_duration_units);
    }
    for (uint32_t i = 0; i < count && number > 0; i++) {
        if (number % units[i].factor == 0) {
            (void)snprintf(text, CONFIG_BOUND_BYTES, "%" PRId64 "%s", number / units[i].factor,
                           units[i].name);
            return text;
        }
    }
    (void)snprintf(text, CONFIG_BOUND_BYTES, "%" PRId64, number);
    return text;
}

static enum err config_refuse(const struct config_option *option, const char *text,
                              const char *advice, char *message)
{
    char quoted[CONFIG_SHOWN_BYTES];
    (void)snprintf(message, CONFIG_MESSAGE_BYTES, "%s = %s %.300s", option->key,
                   log_quote(text, quoted, sizeof(quoted)), advice);
    return ERR_INVALID;
}

static enum err config_refuse_range(const struct config_option *option, const char *text,
                                    char *message)
{
    char low[CONFIG_BOUND_BYTES], high[CONFIG_BOUND_BYTES], advice[CONFIG_SHOWN_BYTES];
    (void)config_show(option, option->min, low);
    if (option->max == 0) {
        (void)snprintf(advice, sizeof(advice), "is out of range: give at least %s", low);
    } else {
        (void)snprintf(advice, sizeof(advice), "is out of range: give %s to %s", low,
                       config_show(option, option->max, high));
    }
    return config_refuse(option, text, advice, message);
}

static bool config_ends_with(const char *text, const char *end)
{
    size_t text_size = strlen(text), end_size = strlen(end);
    return text_size >= end_size && strcmp(text + text_size - end_size, end) == 0;
}

/* The decimal number that `text` begins with; `*rest` is what follows. ERR_INVALID: none is there;
 * ERR_TOO_LARGE: it does not fit. */
static enum err config_digits(const char *text, int64_t *number, const char **rest)
{
    bool negative = *text == '-';
    if (negative) {
        text++;
    }
    if (*text < '0' || *text > '9') {
        return ERR_INVALID;
    }
    int64_t value = 0;
    bool fits = true;
    for (; *text >= '0' && *text <= '9'; text++) {
        fits = fits && !__builtin_mul_overflow(value, 10, &value) &&
               !__builtin_add_overflow(value, *text - '0', &value);
    }
    *rest = text;
    *number = !fits ? 0 : negative ? -value : value;
    return fits ? OK : ERR_TOO_LARGE;
}

static bool config_in_range(const struct config_option *option, int64_t number)
{
    ASSERT(option->max == 0 || option->min <= option->max);
    return number >= option->min && (option->max == 0 || number <= option->max);
}

static enum err config_parse_count(const struct config_option *option, const char *text,
                                   int64_t *number, char *message)
{
    const char *rest;
    int64_t value;
    enum err err = config_digits(text, &value, &rest);
    if (err == ERR_INVALID || *rest != '\0') {
        return config_refuse(option, text, "is not a number: give digits only, such as 1000",
                             message);
    }
    if (err != OK || !config_in_range(option, value)) {
        return config_refuse_range(option, text, message);
    }
    *number = value;
    return OK;
}

/* The factor of a unit, or 0. Sizes in any case, durations in lower case. */
static int64_t config_factor(const struct config_option *option, const char *unit)
{
    if (option->type == CONFIG_BYTES) {
        if (*unit == '\0') {
            return 1;
        }
        for (uint32_t i = 0; i < ARRAY_COUNT(config_bytes_units); i++) {
            if (strcasecmp(unit, config_bytes_units[i].name) == 0) {
                return config_bytes_units[i].factor;
            }
        }
        return 0;
    }
    ASSERT(option->type == CONFIG_DURATION);
    if (*unit == '\0') {
        return config_ends_with(option->key, ".ms") ? 1 : 0;
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(config_duration_units); i++) {
        if (strcmp(unit, config_duration_units[i].name) == 0) {
            return config_duration_units[i].factor;
        }
    }
    return 0;
}

/* A size or a duration. */
static enum err config_parse_quantity(const struct config_option *option, const char *text,
                                      int64_t *number, char *message)
{
    const bool bytes = option->type == CONFIG_BYTES;
    const char *advice = bytes ? "is not a size: give a number and a unit, such as 64MiB or 1GB"
                               : "is not a duration: give a number and a unit, such as 250ms, "
                                 "10s, 5m, 1h or 7d";
    if (bytes && option->min == 0 && strcmp(text, "auto") == 0) {
        *number = 0;
        return OK;
    }
    const char *rest;
    int64_t value;
    enum err err = config_digits(text, &value, &rest);
    if (err == ERR_INVALID) {
        return config_refuse(option, text, advice, message);
    }
    /* 0 and -1 (none) are the same in every unit. */
    bool plain = *rest == '\0' && err == OK && (value == 0 || value == -1);
    int64_t factor = plain ? 1 : config_factor(option, rest);
    if (factor == 0) {
        return config_refuse(option, text, advice, message);
    }
    if (err != OK || __builtin_mul_overflow(value, factor, &value) ||
        (value < 0 && (!plain || option->min != -1)) || !config_in_range(option, value)) {
        return config_refuse_range(option, text, message);
    }
    *number = value;
    return OK;
}

static enum err config_parse_bool(const struct config_option *option, const char *text,
                                  int64_t *number, char *message)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (uint32_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *number = i % 2;
            return OK;
        }
    }
    return config_refuse(option, text, "is neither true nor false: give true or false", message);
}

/* The number is the place of the choice in the list. */
static enum err config_parse_choice(const struct config_option *option, const char *text,
                                    int64_t *number, char *message)
{
    ASSERT(option->choices != NULL);
    const size_t size = strlen(text);
    int64_t place = 0;
    for (const char *choice = option->choices; choice != NULL; place++) {
        const char *bar = strchr(choice, '|');
        size_t choice_size = bar == NULL ? strlen(choice) : (size_t)(bar - choice);
        if (size == choice_size && memcmp(choice, text, size) == 0) {
            *number = place;
            return OK;
        }
        choice = bar == NULL ? NULL : bar + 1;
    }
    char advice[2 * CONFIG_SHOWN_BYTES] = "is not one of the choices: give ";
    size_t used = strlen(advice);
    for (const char *c = option->choices; *c != '\0' && used + 5 < sizeof(advice); c++) {
        if (*c == '|') {
            memcpy(advice + used, " or ", 4);
            used += 4;
        } else {
            advice[used++] = *c;
        }
    }
    advice[used] = '\0';
    return config_refuse(option, text, advice, message);
}

static enum err config_parse_text(const struct config_option *option, const char *text,
                                  int64_t *number, char *message)
{
    const int64_t most = option->max == 0 ? CONFIG_TEXT_BYTES_MAX : option->max;
    const int64_t size = (int64_t)strlen(text);
    if (size < option->min) {
        return config_refuse(option, text, "is too short: give it a value", message);
    }
    if (size > most) {
        char advice[CONFIG_SHOWN_BYTES];
        (void)snprintf(advice, sizeof(advice), "is too long: give at most %" PRId64 " bytes", most);
        return config_refuse(option, text, advice, message);
    }
    for (const char *c = text; *c != '\0'; c++) {
        if ((uint8_t)*c < 0x20 || (uint8_t)*c == 0x7f) {
            return config_refuse(option, text, "has control characters in it: remove them",
                                 message);
        }
    }
    *number = 0;
    return OK;
}

enum err config_parse_value(const struct config_option *option, const char *text, int64_t *number,
                            char *message)
{
    ASSERT(option != NULL && option->key != NULL);
    ASSERT(text != NULL && number != NULL && message != NULL);
    switch (option->type) {
    case CONFIG_TEXT:
        return config_parse_text(option, text, number, message);
    case CONFIG_BOOL:
        return config_parse_bool(option, text, number, message);
    case CONFIG_COUNT:
        return config_parse_count(option, text, number, message);
    case CONFIG_BYTES:
    case CONFIG_DURATION:
        return config_parse_quantity(option, text, number, message);
    case CONFIG_CHOICE:
        return config_parse_choice(option, text, number, message);
    }
    UNREACHABLE();
}
