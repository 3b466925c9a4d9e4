/* The map's agent on each data core: keeps this core's copy of the map current, commands this
 * core's shard (assign, configure, drop), and carries proposals to the metadata core and their
 * answers back. No answer comes before every core's map contains the change. */
#pragma once

#include "core/config.h"
#include "core/reactor.h"
#include "meta/command.h"
#include "meta/map.h"
#include "shard/shard.h"

struct agent;

/* The settings that topics without their own get; a pure function turns both into a
 * partition_config. */
struct agent_options {
    struct shard *shard;
    struct reactor *meta_reactor;
    uint32_t node_id, core_index, core_count;
    struct partition_config config_default;
};

/* One command on its way. Owned by the caller until `done` fires on the proposing core. */
struct proposal {
    struct mail mail;
    struct command command; /* origin and sequence are set by agent_propose(). Views borrowed. */
    struct command_result result;
    struct completion
        done; /* Result: result.err, or ERR_NOT_READY, ERR_TIMEOUT (outcome unknown). */
    struct reactor *home;
    struct proposal *next;
    uint64_t version;
    uint32_t awaited; /* Cores whose map does not contain it yet. */
};

NODISCARD enum err agent_open(struct agent **agent, struct reactor *reactor,
                              const struct agent_options *options);

/* Subscribes at the metadata core, receives the map, assigns this core's partitions to its shard
 * and awaits their recovery; then fires `done` (OK, or the first err). */
void agent_start(struct agent *agent, struct completion *done);

void agent_propose(struct agent *agent, struct proposal *proposal);

const struct map *agent_map(const struct agent *agent);

/* On the owner's core: hands `request` to the shard, once the shard has followed the map of
 * request->map_version or serves the partition. As shard_submit() from then on. */
void agent_deliver(struct agent *agent, struct request *request);

/* On the owner's core: as shard_cancel(), also for a FETCH that agent_deliver() holds. */
void agent_cancel(struct agent *agent, struct request *fetch);

/* shard_hooks.roll and trim: `context` is the agent. */
void agent_roll(void *context, struct shard_roll *roll);
void agent_trim(void *context, struct shard_trim *trim);

/* The settings of a topic with defaults filled in: what the shard is told. */
void agent_partition_config(const struct partition_config *fallback, const struct map_topic *topic,
                            struct partition_config *config);

const struct partition_config *agent_config_default(const struct agent *agent);

enum { AGENT_VALUE_BYTES = 256, AGENT_MESSAGE_BYTES = 256 };

#define AGENT_TIMESTAMP_BEFORE "message.timestamp.before.max.ms"
#define AGENT_TIMESTAMP_AFTER  "message.timestamp.after.max.ms"

/* Every setting that a topic may have, in order of its key; by key, NULL: there is none. */
const struct config_option *agent_topic_options(uint32_t *count);
const struct config_option *agent_topic_option(const char *key);

/* A value as tools read it, into `text` (AGENT_VALUE_BYTES): sizes and durations are plain numbers,
 * booleans are true or false. What it is for a topic that does not set it; of a number. */
void agent_value_text(const struct config_option *option, const char *value, char *text);
void agent_topic_default(const struct partition_config *fallback,
                         const struct config_option *option, char *text);
void agent_number_text(const struct config_option *option, int64_t number, char *text);

/* Checks one topic config as CreateTopics gives it: ERR_CONFIG_INVALID with `message`
 * (AGENT_MESSAGE_BYTES) that names the key, the value and what is allowed. */
NODISCARD enum err agent_check_topic_config(struct bytes key, struct bytes value, char *message);

void agent_stop(struct agent *agent, struct completion *done);
void agent_close(struct agent *agent);
