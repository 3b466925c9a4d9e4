/* What the settings of a topic mean for its partitions. */
#include "core/log.h"
#include "meta/agent.h"

#include <string.h>

enum { POLICY_COMPACT = 1 }; /* Of the choices of cleanup.policy: it alone does not delete. */

/* The number of `key` in `topic`; `fallback` when it is not set. What is stored was checked. */
static int64_t topic_number(const struct map_topic *topic, const char *key, int64_t fallback)
{
    const char *text = map_topic_config(topic, key);
    int64_t number;
    char why[CONFIG_MESSAGE_BYTES];
    if (text == NULL) {
        return fallback;
    }
    if (config_parse_value(agent_topic_option(key), text, &number, why) != OK) {
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
        topic_number(topic, AGENT_TIMESTAMP_BEFORE, fallback->timestamp_before_max_ms);
    config->timestamp_after_max_ms =
        topic_number(topic, AGENT_TIMESTAMP_AFTER, fallback->timestamp_after_max_ms);
    int64_t policy = topic_number(topic, "cleanup.policy", fallback->compacted ? 1 : 0);
    bool deletes = policy != POLICY_COMPACT; /* Else only compaction may remove. */
    config->retention_ms =
        deletes ? topic_number(topic, "retention.ms", fallback->retention_ms) : -1;
    config->retention_bytes =
        deletes ? topic_number(topic, "retention.bytes", fallback->retention_bytes) : -1;
    config->compacted = policy != 0;
}
