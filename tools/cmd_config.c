/* floe config: the settings that floe serve would run with, and where each comes from. */
#include "core/config.h"
#include "tools/cmd.h"
#include "tools/options.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CONFIG_SETS_MAX = 64, CONFIG_KEY_MAX = 128 };

/* One --set key=value. */
static int config_apply(const struct cmd *cmd, struct config *config, const char *pair)
{
    char message[CONFIG_MESSAGE_BYTES], key[CONFIG_KEY_MAX];
    const char *equals = strchr(pair, '=');
    if (equals == NULL || equals == pair || (size_t)(equals - pair) >= sizeof(key)) {
        return cmd_fail(cmd, CMD_USAGE, "--set %s: write it as key=value", pair);
    }
    (void)snprintf(key, sizeof(key), "%.*s", (int)(equals - pair), pair);
    if (config_set(config, key, equals + 1, CONFIG_FROM_FLAG, "--set", message) != OK) {
        return cmd_fail(cmd, CMD_USAGE, "%s", message);
    }
    return CMD_OK;
}

/* What floe serve would read, in the same order of rank. */
static int config_gather(const struct cmd *cmd, struct config *config)
{
    const char *pairs[CONFIG_SETS_MAX];
    const char *file = cmd_value(cmd, "--config");
    uint32_t count = cmd_values(cmd, "--set", pairs, CONFIG_SETS_MAX);
    char message[CONFIG_MESSAGE_BYTES] = "";
    for (uint32_t i = 0; i < count; i++) {
        int code = config_apply(cmd, config, pairs[i]);
        if (code != CMD_OK) {
            return code;
        }
    }
    enum err err = file != NULL ? config_read_file(config, file, message) : OK;
    if (err == OK) {
        err = config_read_environment(config, environ, message);
    }
    if (err != OK) {
        int code = err == ERR_NOT_FOUND ? CMD_NOT_FOUND
                   : err == ERR_DENIED  ? CMD_DENIED
                   : err == ERR_INVALID ? CMD_USAGE
                                        : CMD_FAILED;
        return cmd_fail(cmd, code, "%s", message);
    }
    return CMD_OK;
}

static const char *config_source_text(enum config_source source)
{
    switch (source) {
    case CONFIG_FROM_DEFAULT:
        return "default";
    case CONFIG_FROM_FILE:
        return "file";
    case CONFIG_FROM_ENVIRONMENT:
        return "environment";
    case CONFIG_FROM_FLAG:
        return "flag";
    }
    return "?";
}

static int config_print(const struct cmd *cmd, const struct config *config)
{
    static const char *const columns[] = {"key", "value", "source", "place", "what"};
    struct cmd_rows rows;
    cmd_rows_begin(&rows, cmd, columns, ARRAY_COUNT(columns));
    for (uint32_t i = 0; i < config_count(config); i++) {
        const struct config_option *option = config_option(config, i);
        enum config_source source = config_source(config, option->key);
        cmd_rows_text(&rows, option->key);
        cmd_rows_text(&rows, config_value_text(config, i));
        cmd_rows_text(&rows, config_source_text(source));
        cmd_rows_text(&rows,
                      source == CONFIG_FROM_DEFAULT ? NULL : config_place(config, option->key));
        cmd_rows_text(&rows, option->sentence);
    }
    return cmd_rows_end(&rows, cmd);
}

static int config_with(const struct cmd *cmd,
                       int (*act)(const struct cmd *cmd, const struct config *config))
{
    struct config *config = config_create(options_table, options_count);
    if (config == NULL) {
        return cmd_fail(cmd, CMD_FAILED, "out of memory");
    }
    int code = config_gather(cmd, config);
    if (code == CMD_OK) {
        code = act(cmd, config);
    }
    config_destroy(config);
    return code;
}

int cmd_config_show(const struct cmd *cmd)
{
    return config_with(cmd, config_print);
}

static int config_say_good(const struct cmd *cmd, const struct config *config)
{
    (void)cmd;
    uint32_t given = 0;
    for (uint32_t i = 0; i < config_count(config); i++) {
        given += config_source(config, config_option(config, i)->key) != CONFIG_FROM_DEFAULT;
    }
    printf("ok: %u settings given, %u at their defaults\n", given, config_count(config) - given);
    return CMD_OK;
}

int cmd_config_check(const struct cmd *cmd)
{
    return config_with(cmd, config_say_good);
}
