/* The settings of a topic: Kafka's names where Kafka has one. What floe does not use yet is taken
 * and kept, so that tools that set it go on; what it cannot keep is refused. */
#include "core/config.h"
#include "core/log.h"
#include "meta/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMESTAMP_BEFORE "message.timestamp.before.max.ms"
#define TIMESTAMP_AFTER  "message.timestamp.after.max.ms"

/* Choices in the order of their enums. */
static const struct config_option options[] = {
    {"cleanup.policy", CONFIG_CHOICE, "delete", 0, 0,
     "delete|compact|compact,delete|delete,compact", "compact: records need keys"},
    {"compression.type", CONFIG_CHOICE, "producer", 0, 0, "producer",
     "batches are stored as the producer compressed them"},
    {"delete.retention.ms", CONFIG_COUNT, "86400000", 0, 0, NULL, "without effect"},
    {"durability", CONFIG_CHOICE, "disk", 0, 0, "disk|os|memory", "what an ack waits for"},
    {"file.delete.delay.ms", CONFIG_COUNT, "60000", 0, 0, NULL, "without effect"},
    {"flush.messages", CONFIG_COUNT, "1", 0, 0, NULL, "without effect: see durability"},
    {"flush.ms", CONFIG_COUNT, "0", 0, 0, NULL, "without effect: see durability"},
    {"index.interval.bytes", CONFIG_COUNT, "4096", 0, 0, NULL, "without effect"},
    {"max.compaction.lag.ms", CONFIG_COUNT, "9223372036854775807", 0, 0, NULL, "without effect"},
    {"max.message.bytes", CONFIG_COUNT, "1048588", 1024, BATCH_BYTES_MAX, NULL,
     "largest record batch, in bytes"},
    {TIMESTAMP_AFTER, CONFIG_COUNT, "3600000", 0, 0, NULL,
     "how far ahead of this node's clock a record may be"},
    {TIMESTAMP_BEFORE, CONFIG_COUNT, "9223372036854775807", 0, 0, NULL,
     "how far behind this node's clock a record may be"},
    {"message.timestamp.type", CONFIG_CHOICE, "CreateTime", 0, 0, "CreateTime|LogAppendTime",
     "whose clock stamps the records"},
    {"min.cleanable.dirty.ratio", CONFIG_TEXT, "0.5", 0, 32, NULL, "without effect"},
    {"min.compaction.lag.ms", CONFIG_COUNT, "0", 0, 0, NULL, "without effect"},
    {"min.insync.replicas", CONFIG_COUNT, "1", 1, 1000, NULL, "may raise the ack quorum"},
    {"preallocate", CONFIG_BOOL, "false", 0, 0, NULL, "without effect"},
    {"retention.bytes", CONFIG_COUNT, "-1", -1, 0, NULL,
     "bytes of a partition's files that are kept"},
    {"retention.ms", CONFIG_COUNT, "604800000", -1, 0, NULL, "how long records are kept"},
    {"segment.bytes", CONFIG_BYTES, "1073741824", 16 << 10, 1 << 30, NULL,
     "a segment ends at this size"},
    {"segment.index.bytes", CONFIG_COUNT, "10485760", 0, 0, NULL, "without effect"},
    {"segment.jitter.ms", CONFIG_COUNT, "0", 0, 0, NULL, "without effect"},
    {"segment.ms", CONFIG_COUNT, "604800000", 1, 0, NULL, "without effect"},
    {"segment.records", CONFIG_COUNT, "1000000", 1, UINT32_MAX, NULL,
     "a segment ends at this many records"},
    {"unclean.leader.election.enable", CONFIG_CHOICE, "false", 0, 0, "false",
     "an acked record is never given up"},
};

enum { CONFIG_VALUE_BYTES = 256, AGENT_MESSAGE_BYTES = 256 };

enum { POLICY_COMPACT = 1 }; /* Of the choices of cleanup.policy: it alone does not delete. */

static const struct config_option *option_of(const char *key)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(options); i++) {
        if (strcmp(options[i].key, key) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

static enum err refuse_key(const char *key, char *message)
{
    const char *words[ARRAY_COUNT(options)];
    for (uint32_t i = 0; i < ARRAY_COUNT(options); i++) {
        words[i] = options[i].key;
    }
    const char *near = config_suggest(key, words, ARRAY_COUNT(options));
    (void)snprintf(message, AGENT_MESSAGE_BYTES, "unknown topic config \"%.100s\"%s%s%s", key,
                   near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                   near != NULL ? "\"?" : "");
    return ERR_CONFIG_INVALID;
}

enum err agent_check_topic_config(struct bytes key, struct bytes value, char *message)
{
    char name[CONFIG_VALUE_BYTES];
    char text[CONFIG_VALUE_BYTES];
    if (key.size >= sizeof(name) || value.size >= sizeof(text) ||
        (key.size > 0 && memchr(key.data, 0, key.size) != NULL) ||
        (value.size > 0 && memchr(value.data, 0, value.size) != NULL)) {
        (void)snprintf(message, AGENT_MESSAGE_BYTES,
                       "a topic config has a key or value of more than %d bytes, or with a NUL",
                       CONFIG_VALUE_BYTES - 1);
        return ERR_CONFIG_INVALID;
    }
    (void)snprintf(name, sizeof(name), "%.*s", (int)key.size, (const char *)key.data);
    const struct config_option *option = option_of(name);
    if (option == NULL) {
        return refuse_key(name, message);
    }
    if (value.data == NULL) {
        return OK; /* Back to the default. */
    }
    (void)snprintf(text, sizeof(text), "%.*s", (int)value.size, (const char *)value.data);
    int64_t number;
    char why[CONFIG_MESSAGE_BYTES];
    if (config_parse_value(option, text, &number, why) == OK) {
        return OK;
    }
    (void)snprintf(message, AGENT_MESSAGE_BYTES, "topic config %.60s: %.160s", name, why);
    return ERR_CONFIG_INVALID;
}

/* The number of `key` in `topic`; `fallback` when it is not set. What is stored was checked. */
static int64_t topic_number(const struct map_topic *topic, const char *key, int64_t fallback)
{
    const char *text = map_topic_config(topic, key);
    int64_t number;
    char why[CONFIG_MESSAGE_BYTES];
    if (text == NULL) {
        return fallback;
    }
    if (config_parse_value(option_of(key), text, &number, why) != OK) {
        LOG_WARN("topic config is ignored topic=%s key=%s", topic->name, key);
        return fallback;
    }
    return number;
}

/* Settings of the topic of offsets that its own do not say: of a map that was made from segments
 * they are lost. Old is not useless there: its owner cuts it. */
static const struct partition_config *topic_fallback(const struct partition_config *fallback,
                                                     const struct map_topic *topic,
                                                     struct partition_config *room)
{
    if (strcmp(topic->name, TOPIC_OF_OFFSETS) != 0) {
        return fallback;
    }
    *room = *fallback;
    room->retention_ms = -1;
    room->retention_bytes = -1;
    room->compacted = false;
    room->batch_bytes_max = max_u32(fallback->batch_bytes_max, TOPIC_OF_OFFSETS_BATCH_BYTES);
    return room;
}

void agent_partition_config(const struct partition_config *fallback, const struct map_topic *topic,
                            struct partition_config *config)
{
    struct partition_config room;
    fallback = topic_fallback(fallback, topic, &room);
    *config = *fallback;
    config->segment_records =
        (uint64_t)topic_number(topic, "segment.records", (int64_t)fallback->segment_records);
    config->segment_bytes =
        (uint64_t)topic_number(topic, "segment.bytes", (int64_t)fallback->segment_bytes);
    config->batch_bytes_max =
        (uint32_t)topic_number(topic, "max.message.bytes", fallback->batch_bytes_max);
    config->durability =
        (enum durability)topic_number(topic, "durability", (int64_t)fallback->durability);
    config->timestamp_type = (enum timestamp_type)topic_number(topic, "message.timestamp.type",
                                                               (int64_t)fallback->timestamp_type);
    config->timestamp_before_max_ms =
        topic_number(topic, TIMESTAMP_BEFORE, fallback->timestamp_before_max_ms);
    config->timestamp_after_max_ms =
        topic_number(topic, TIMESTAMP_AFTER, fallback->timestamp_after_max_ms);
    int64_t policy = topic_number(topic, "cleanup.policy", fallback->compacted ? 1 : 0);
    bool deletes = policy != POLICY_COMPACT; /* Else only compaction may remove. */
    config->retention_ms =
        deletes ? topic_number(topic, "retention.ms", fallback->retention_ms) : -1;
    config->retention_bytes =
        deletes ? topic_number(topic, "retention.bytes", fallback->retention_bytes) : -1;
    config->compacted = policy != 0;
}
