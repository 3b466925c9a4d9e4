/* The settings of a topic: Kafka's names where Kafka has one. What floe does not use yet is taken
 * and kept, so that tools that set it go on; what it cannot keep is refused. */
#include "core/assert.h"
#include "meta/agent.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATIO "min.cleanable.dirty.ratio"

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
    {AGENT_TIMESTAMP_AFTER, CONFIG_COUNT, "3600000", 0, 0, NULL,
     "how far ahead of this node's clock a record may be"},
    {AGENT_TIMESTAMP_BEFORE, CONFIG_COUNT, "9223372036854775807", 0, 0, NULL,
     "how far behind this node's clock a record may be"},
    {"message.timestamp.type", CONFIG_CHOICE, "CreateTime", 0, 0, "CreateTime|LogAppendTime",
     "whose clock stamps the records"},
    {RATIO, CONFIG_TEXT, "0.5", 0, 32, NULL, "without effect"},
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

const struct config_option *agent_topic_option(const char *key)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(options); i++) {
        if (strcmp(options[i].key, key) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

static bool is_ratio(const char *text)
{
    char *end;
    double ratio = strtod(text, &end);
    return end != text && *end == 0 && ratio >= 0 && ratio <= 1;
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
    char name[AGENT_VALUE_BYTES];
    char text[AGENT_VALUE_BYTES];
    if (key.size >= sizeof(name) || value.size >= sizeof(text) ||
        (key.size > 0 && memchr(key.data, 0, key.size) != NULL) ||
        (value.size > 0 && memchr(value.data, 0, value.size) != NULL)) {
        (void)snprintf(message, AGENT_MESSAGE_BYTES,
                       "a topic config has a key or value of more than %d bytes, or with a NUL",
                       AGENT_VALUE_BYTES - 1);
        return ERR_CONFIG_INVALID;
    }
    (void)snprintf(name, sizeof(name), "%.*s", (int)key.size, (const char *)key.data);
    const struct config_option *option = agent_topic_option(name);
    if (option == NULL) {
        return refuse_key(name, message);
    }
    if (value.data == NULL) {
        return OK; /* Back to the default. */
    }
    (void)snprintf(text, sizeof(text), "%.*s", (int)value.size, (const char *)value.data);
    int64_t number;
    char why[CONFIG_MESSAGE_BYTES];
    bool ratio = strcmp(name, RATIO) == 0;
    if (config_parse_value(option, text, &number, why) == OK && (!ratio || is_ratio(text))) {
        return OK;
    }
    if (ratio) {
        (void)snprintf(why, sizeof(why), "%s = \"%.32s\" is not a ratio: give 0 to 1, such as 0.5",
                       name, text);
    }
    (void)snprintf(message, AGENT_MESSAGE_BYTES, "topic config %.240s", why);
    return ERR_CONFIG_INVALID;
}

const struct config_option *agent_topic_options(uint32_t *count)
{
    *count = ARRAY_COUNT(options);
    return options;
}

/* A choice's number -> its word. */
static void choice_text(const struct config_option *option, uint32_t number, char *text)
{
    const char *word = option->choices;
    while (number > 0 && strchr(word, '|') != NULL) {
        word = strchr(word, '|') + 1;
        number--;
    }
    (void)snprintf(text, AGENT_VALUE_BYTES, "%.*s", (int)strcspn(word, "|"), word);
}

void agent_number_text(const struct config_option *option, int64_t number, char *text)
{
    switch (option->type) {
    case CONFIG_TEXT:
        UNREACHABLE();
    case CONFIG_BOOL:
        (void)snprintf(text, AGENT_VALUE_BYTES, "%s", number != 0 ? "true" : "false");
        return;
    case CONFIG_CHOICE:
        choice_text(option, (uint32_t)number, text);
        return;
    case CONFIG_COUNT:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
        (void)snprintf(text, AGENT_VALUE_BYTES, "%" PRId64, number);
        return;
    }
    UNREACHABLE();
}

void agent_value_text(const struct config_option *option, const char *value, char *text)
{
    int64_t number;
    char why[CONFIG_MESSAGE_BYTES];
    if (option->type == CONFIG_TEXT || option->type == CONFIG_CHOICE ||
        config_parse_value(option, value, &number, why) != OK) {
        (void)snprintf(text, AGENT_VALUE_BYTES, "%s", value);
        return;
    }
    agent_number_text(option, number, text);
}

void agent_topic_default(const struct partition_config *fallback,
                         const struct config_option *option, char *text)
{
    /* Those that a setting of the node decides; a number beyond what counts is "no bound". */
    const struct {
        const char *key;
        int64_t number;
    } decided[] = {
        {"segment.records", (int64_t)fallback->segment_records},
        {"segment.bytes", (int64_t)fallback->segment_bytes},
        {"max.message.bytes", fallback->batch_bytes_max},
        {"durability", (int64_t)fallback->durability},
        {"message.timestamp.type", (int64_t)fallback->timestamp_type},
        {AGENT_TIMESTAMP_BEFORE, fallback->timestamp_before_max_ms},
        {AGENT_TIMESTAMP_AFTER, fallback->timestamp_after_max_ms},
        {"retention.ms", fallback->retention_ms},
        {"retention.bytes", fallback->retention_bytes},
        {"cleanup.policy", fallback->compacted ? 1 : 0},
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(decided); i++) {
        if (strcmp(decided[i].key, option->key) == 0) {
            agent_number_text(option, decided[i].number, text);
            return;
        }
    }
    agent_value_text(option, option->fallback, text);
}
