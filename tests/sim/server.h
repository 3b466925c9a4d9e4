/* A floe node in a life of a simulated machine, made as the product makes it (tools/node.h): its
 * metadata core is the last reactor. It has no listener: clients hand their requests to the door's
 * own routing. */
#pragma once

#include "tests/sim/io_engine_sim.h"
#include "tools/node.h"

enum { SERVER_CORES_MAX = 4 };

struct sim_server {
    struct sim_node *machine;
    struct reactor *const *reactors; /* Data cores, then the metadata core; borrowed. */
    uint32_t core_count;
    struct node *node;
    struct completion started, stopped;
    bool alive; /* Between start and destroy; a crash ends it, too: see server_forget(). */
    bool up, failed, down;
    enum err err; /* Of the start, then of the stop. */
};

struct server_options {
    struct partition_config config_default;
    uint64_t journal_bytes, journal_bytes_max;
    uint64_t milestone_bytes;
    uint32_t slice_bytes;
    uint32_t retention_check_ms;
    bool direct;
};

/* Makes the node and begins to start it. Call between turns. */
void server_start(struct sim_server *server, struct sim_node *machine,
                  struct reactor *const *reactors, uint32_t core_count,
                  const struct server_options *options);

void server_cancel(struct sim_server *server); /* As a signal that comes early. */
void server_stop(struct sim_server *server);
void server_destroy(struct sim_server *server); /* When it is down. */
void server_forget(struct sim_server *server);  /* Its process is dead. */

struct shard *server_shard(const struct sim_server *server, uint32_t core);
const char *server_message(const struct sim_server *server);
struct net *server_net(const struct sim_server *server, uint32_t core);
struct agent *server_agent(const struct sim_server *server, uint32_t core);

/* What its metadata core has applied; NULL: it has not loaded all of it yet, or is gone. */
const struct map *server_map(const struct sim_server *server);
