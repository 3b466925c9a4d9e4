/* One floe node: the metadata core, the data cores and what runs on them, brought up and down in
 * order. It makes no thread: tools/serve.c gives each reactor one, the simulator turns them all in
 * its own.
 *
 *     start: DIRECTORY -> META -> CORES (shard, agent: recovery) -> DOORS (listeners) -> READY
 *     stop:  DRAIN (answers what was begun) -> DOORS
 *            -> AGENTS -> SHARDS -> META -> DIRECTORY -> STOPPED
 *
 * The steps run on the metadata core; work on another core is posted there and its end posted back.
 */
#pragma once

#include "core/reactor.h"
#include "meta/meta.h"
#include "net/net.h"
#include "shard/directory.h"
#include "shard/journals.h"
#include "shard/shard.h"

enum { NODE_MESSAGE_BYTES = 512 };

struct node_options {
    const char *data_dir;
    const char *version;
    uint32_t node_id; /* 0: the directory's. */
    uint8_t boot_id[16];
    bool direct, mapped;                       /* As in struct shard_options. */
    uint32_t partitions_max, connections_max;  /* Per core. */
    uint32_t address_connections_max;          /* As in struct net_options. */
    uint32_t files_max;                        /* Per core, as in struct shard_options. */
    uint64_t files_limit;                      /* As there. */
    uint32_t retention_check_ms;               /* As in struct shard_options. */
    uint64_t journal_bytes, journal_bytes_max; /* As in struct journals_options. */
    uint64_t milestone_bytes;                  /* As in struct shard_options. */
    uint32_t slice_bytes;                      /* As there. */
    uint64_t meta_log_file_bytes;
    int32_t (*execute)(struct reactor *, struct io *); /* For meta; NULL: the operating system. */
    struct partition_config config_default;
    bool topic_auto_create;
    bool resp_allow_delete, resp_allow_flush;
    uint32_t partitions_default;
    uint32_t listen_count;
    struct net_listen listen[NET_LISTEN_MAX];
    const char *advertise;
    const struct config *settings;                                /* As in struct net_options. */
    uint64_t idle_timeout_ms, stall_timeout_ms, drain_timeout_ms; /* As there. */
    struct group_options groups;
    struct net_http http;
};

struct node;

/* `reactors`: the data cores 0..count-1, then the metadata core at [count]; connected, each opened
 * by the time its thread first turns. */
NODISCARD enum err node_create(struct node **node, struct reactor *const *reactors,
                               uint32_t data_core_count, const struct node_options *options);
void node_destroy(struct node *node);

/* From any thread. `done` fires on the metadata core: OK when the node serves, or an err that
 * node_message() explains; it must be stopped all the same. */
void node_start(struct node *node, struct completion *done);

/* From any thread. A start that is not over ends behind the step that runs, with ERR_CANCELED. */
void node_cancel(struct node *node);

/* From any thread. Goes all the way down; then OK, or the first err of it: something was not
 * flushed or closed as it should be, and node_message() says on which core. */
void node_stop(struct node *node, struct completion *done);

/* From any thread. A stop that drains cuts off the connections that are left, and goes on; false:
 * it does not drain (any more). Once. */
bool node_hurry(struct node *node);

const char *node_message(const struct node *node); /* Of the last err. */

/* After a successful start. */
uint32_t node_id(const struct node *node);
const struct net_listen *node_listening(const struct node *node, uint32_t index);
struct shard *node_shard(const struct node *node, uint32_t core);
struct agent *node_agent(const struct node *node, uint32_t core);
struct net *node_net(const struct node *node, uint32_t core);
