/* Settings, from words to a plan of cores. */
#include "tools/settings.h"

#include "tools/errors.h"
#include "tools/node.h"
#include "tools/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SETTINGS_KEY_BYTES = 128 };

static int settings_set(const struct settings *settings, const struct cmd *cmd, const char *key,
                        const char *value, const char *flag)
{
    char message[CONFIG_MESSAGE_BYTES];
    enum err err = config_set(settings->config, key, value, CONFIG_FROM_FLAG, flag, message);
    if (err != OK) {
        return cmd_fail(cmd, err == ERR_INVALID ? ERROR_SETTING : ERROR_MEMORY, "%s", message);
    }
    return CMD_OK;
}

/* One --set key=value. */
static int settings_set_pair(const struct settings *settings, const struct cmd *cmd,
                             const char *pair)
{
    char key[SETTINGS_KEY_BYTES];
    const char *equals = strchr(pair, '=');
    if (equals == NULL || equals == pair || (size_t)(equals - pair) >= sizeof(key)) {
        return cmd_fail(cmd, ERROR_SETTING, "--set %s: write it as key=value", pair);
    }
    (void)snprintf(key, sizeof(key), "%.*s", (int)(equals - pair), pair);
    return settings_set(settings, cmd, key, equals + 1, "--set");
}

/* One flag, if it is a setting. */
static int settings_take(const struct settings *settings, const struct cmd *cmd,
                         const struct cmd_given *given)
{
    static const struct {
        const char *flag, *key;
    } direct[] = {{"--data", "data.dir"}, {"--listen", "listen"}, {"--node-id", "node.id"}};

    const char *flag = given->flag->name;
    if (strcmp(flag, "--set") == 0) {
        return settings_set_pair(settings, cmd, given->value);
    }
    for (size_t i = 0; i < ARRAY_COUNT(direct); i++) {
        if (strcmp(flag, direct[i].flag) == 0) {
            return settings_set(settings, cmd, direct[i].key, given->value, flag);
        }
    }
    return CMD_OK;
}

int settings_read(struct settings *settings, const struct cmd *cmd)
{
    *settings = (struct settings){.config = config_create(options_table, options_count)};
    if (settings->config == NULL) {
        return cmd_fail(cmd, ERROR_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; i < cmd->given_count; i++) {
        int code = settings_take(settings, cmd, &cmd->given[i]);
        if (code != CMD_OK) {
            return code;
        }
    }
    const char *file = cmd_value(cmd, "--config");
    char message[CONFIG_MESSAGE_BYTES] = "";
    enum err err = file != NULL ? config_read_file(settings->config, file, message) : OK;
    if (err == OK) {
        err = config_read_environment(settings->config, environ, message);
    }
    if (err != OK) {
        return cmd_fail(cmd, err == ERR_INVALID ? ERROR_SETTING : errors_of(err), "%s", message);
    }
    return CMD_OK;
}

void settings_read_boot_id(uint8_t boot_id[16])
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file == NULL) {
        return;
    }
    uint32_t digits = 0;
    int c;
    while (digits < 32 && (c = fgetc(file)) != EOF) {
        int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (value >= 0) {
            boot_id[digits / 2] = (uint8_t)(boot_id[digits / 2] << 4 | value);
            digits++;
        }
    }
    fclose(file);
}

/* What is wrong with an address that clients are to be told; NULL: nothing. */
static const char *settings_advertise_fault(const char *text)
{
    const char *colon = strrchr(text, ':');
    const char *end = text + strlen(text);
    bool six = text[0] == '[' && colon != NULL && colon > text && colon[-1] == ']';
    if (strstr(text, "://") != NULL) {
        return "clients are told a host and a port, and no protocol";
    }
    if (end[-1] == ']' || colon == NULL) {
        return "the port is missing";
    }
    if (!six && strchr(text, ':') != colon) {
        return "an IPv6 address stands in brackets";
    }
    size_t digits = strspn(colon + 1, "0123456789");
    long port = digits > 0 && digits < 6 ? strtol(colon + 1, NULL, 10) : 0;
    if (colon + 1 + digits != end || port < 1 || port > UINT16_MAX) {
        return "a port is 1 to 65535";
    }
    if (colon == text || strpbrk(text, " ,/\t") != NULL) {
        return "it is one host and one port";
    }
    struct io_address address;
    static const uint8_t none[16];
    bool numeric = io_address_parse(text, &address) == OK;
    return numeric && memcmp(address.bytes, none, sizeof(none)) == 0
               ? "that is all addresses, and none that a client can go to"
               : NULL;
}

static int settings_judge_advertise(const struct settings *settings, const struct cmd *cmd)
{
    const char *text = config_text(settings->config, "advertise");
    const char *fault = text == NULL || text[0] == 0 ? NULL : settings_advertise_fault(text);
    if (fault == NULL) {
        return CMD_OK;
    }
    return cmd_fail(cmd, ERROR_SETTING,
                    "advertise = %.200s: %s; give it as in broker.example:9092, or leave it empty: "
                    "then clients are told the address that they came in by",
                    text, fault);
}

int settings_judge(struct settings *settings, const struct cmd *cmd)
{
    const struct config *config = settings->config;
    char message[NET_MESSAGE_BYTES] = "";
    char cpuset[1024] = "";
    if (net_parse_listen(config_text(config, "listen"), settings->listen, &settings->listen_count,
                         message) != OK) {
        return cmd_fail(cmd, ERROR_LISTEN, "%s", message);
    }
    int code = settings_judge_advertise(settings, cmd);
    if (code != CMD_OK) {
        return code;
    }
#ifndef FLOE_HAS_URING
    if (strcmp(config_text(config, "io.engine"), "uring") == 0) {
        return cmd_fail(cmd, ERROR_PLAN,
                        "io.engine = uring: this build has none, give auto or posix");
    }
#endif
    if (gethostname(settings->host_name, sizeof(settings->host_name) - 1) == 0) {
        settings->http.host_name = settings->host_name;
    }
    settings->http.hosts = config_text(config, "http.hosts");
    settings->http.admin_any = strcmp(config_text(config, "http.admin"), "any") == 0;
    struct topology_options options = {
        .cores = config_text(config, "cpu.cores"),
        .smt = config_bool(config, "cpu.smt"),
        .numa = strcmp(config_text(config, "numa.policy"), "none") != 0,
        .dev = cmd_value(cmd, "--dev") != NULL,
        .memory_limit = (uint64_t)config_number(config, "memory.limit"),
    };
    topology_read_machine(&options, cpuset, sizeof(cpuset));
    enum err err = topology_plan(&options, NULL, &settings->plan, message);
    if (err != OK) {
        return cmd_fail(cmd, err == ERR_INVALID ? ERROR_PLAN : ERROR_OTHER, "%s", message);
    }
    int64_t idle_poll_us = config_number(config, "idle.poll.us");
    if (idle_poll_us > 0) {
        settings->plan.idle_poll_us = (uint32_t)idle_poll_us;
    }
    return CMD_OK;
}

/* `dev`: the first member of a group waits for nobody, unless a source says otherwise. */
static void settings_groups(const struct settings *settings, bool dev, struct group_options *groups)
{
    static const char delay[] = "group.initial.rebalance.delay.ms";
    const struct config *config = settings->config;
    bool at_once = dev && config_source(config, delay) == CONFIG_FROM_DEFAULT;
    *groups = (struct group_options){
        .classic =
            {
                .initial_delay_ms = at_once ? 0 : (uint64_t)config_number(config, delay),
                .session_min_ms = (uint32_t)config_number(config, "group.min.session.timeout.ms"),
                .session_max_ms = (uint32_t)config_number(config, "group.max.session.timeout.ms"),
                .members_max = (uint32_t)config_number(config, "group.max.size"),
            },
        .offsets_retention_ms = (uint64_t)config_number(config, "offsets.retention.ms"),
        .partitions = (uint32_t)config_number(config, "offsets.partitions"),
    };
}

void settings_read_door(const struct settings *settings, bool dev, struct node_options *node)
{
    const struct config *config = settings->config;
    const char *advertise = config_text(config, "advertise");
    node->advertise = advertise != NULL && advertise[0] != 0 ? advertise : NULL;
    node->topic_auto_create = dev || config_bool(config, "topic.auto.create");
    node->resp_allow_delete = config_bool(config, "resp.allow.delete");
    node->resp_allow_flush = dev || config_bool(config, "resp.allow.flush");
    node->idle_timeout_ms = (uint64_t)config_number(config, "connections.idle.ms");
    node->stall_timeout_ms = (uint64_t)config_number(config, "connections.stall.ms");
    node->drain_timeout_ms = (uint64_t)config_number(config, "drain.timeout.ms");
    node->partitions_default = (uint32_t)config_number(config, "partitions.default");
    node->http = settings->http;
    node->address_connections_max = (uint32_t)config_number(config, "connections.max.per.address");
    settings_groups(settings, dev, &node->groups);
}

void settings_close(struct settings *settings)
{
    config_destroy(settings->config);
    settings->config = NULL;
}
