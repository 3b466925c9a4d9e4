/* The settings of one run: flags, environment and file in one config, then what only this machine
 * can judge: addresses, cores, memory. `floe serve` and `floe config` share all of it, so what the
 * one calls good the other takes. Touches no data.
 *
 *     words, FLOE_..., file -> settings_read() -> config -> settings_judge() -> listen, plan
 */
#pragma once

#include "core/config.h"
#include "core/topology.h"
#include "net/net.h"
#include "tools/cmd.h"

struct settings {
    struct config *config;
    uint32_t listen_count;
    struct net_listen listen[NET_LISTEN_MAX];
    struct topology_plan plan;
    struct net_http http;
    char host_name[256];
};

/* Reads every source; of flags for the same setting the last one counts. CMD_OK, or an exit code
 * after it has said what is wrong. settings_close() in any case. */
NODISCARD int settings_read(struct settings *settings, const struct cmd *cmd);

/* The kernel's id of this boot; stays as it is where there is none. */
void settings_read_boot_id(uint8_t boot_id[16]);

/* Fills listen, plan and http. CMD_OK; CMD_USAGE after it has said which value is wrong here; or
 * CMD_FAILED. */
NODISCARD int settings_judge(struct settings *settings, const struct cmd *cmd);

struct node_options;

/* What clients may do, and what they are told. */
void settings_read_door(const struct settings *settings, bool dev, struct node_options *node);

void settings_close(struct settings *settings);
