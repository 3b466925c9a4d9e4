/* floe config: the settings that floe serve would run with, and where each comes from. */
#include "tools/settings.h"

#include <stdio.h>

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

int cmd_config_show(const struct cmd *cmd)
{
    struct settings settings;
    int code = settings_read(&settings, cmd);
    if (code == CMD_OK) {
        code = config_print(cmd, settings.config);
    }
    settings_close(&settings);
    return code;
}

static int config_say_good(const struct cmd *cmd, const struct config *config)
{
    static const char *const columns[] = {"given", "defaults"};
    struct cmd_rows rows;
    uint32_t given = 0;
    for (uint32_t i = 0; i < config_count(config); i++) {
        given += config_source(config, config_option(config, i)->key) != CONFIG_FROM_DEFAULT;
    }
    if (cmd->output == CMD_TABLE) {
        printf("ok: %u settings given, %u at their defaults\n", given,
               config_count(config) - given);
        return CMD_OK;
    }
    cmd_rows_begin(&rows, cmd, columns, ARRAY_COUNT(columns));
    cmd_rows_number(&rows, given);
    cmd_rows_number(&rows, config_count(config) - given);
    return cmd_rows_end(&rows, cmd);
}

int cmd_config_check(const struct cmd *cmd)
{
    struct settings settings;
    int code = settings_read(&settings, cmd);
    if (code == CMD_OK) {
        code = settings_judge(&settings, cmd);
    }
    if (code == CMD_OK) {
        code = config_say_good(cmd, settings.config);
    }
    settings_close(&settings);
    return code;
}
