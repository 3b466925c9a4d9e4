/* See the header. A topic's value comes from the topic, else from the node's setting of that
 * meaning, which Kafka calls by another name, else from nobody.
 *
 *     retention.ms (topic) -> log.retention.ms (the node's retention.ms) -> log.retention.ms (7 d)
 */
#include "net/kafka/configs.h"

#include "core/assert.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    TYPE_BOOLEAN = 1,
    TYPE_TEXT = 2,
    TYPE_INT = 3,
    TYPE_LONG = 5,
    TYPE_DOUBLE = 6,
    TYPE_LIST = 7,
};

/* The settings of a topic, as Kafka calls the node's, and of what type they are there. */
static const struct config_name {
    const char *key, *node;
    int8_t type;
} names[] = {
    {"cleanup.policy", "log.cleanup.policy", TYPE_LIST},
    {"compression.type", "compression.type", TYPE_TEXT},
    {"delete.retention.ms", "log.cleaner.delete.retention.ms", TYPE_LONG},
    {"durability", NULL, TYPE_TEXT},
    {"file.delete.delay.ms", "log.segment.delete.delay.ms", TYPE_LONG},
    {"flush.messages", "log.flush.interval.messages", TYPE_LONG},
    {"flush.ms", "log.flush.interval.ms", TYPE_LONG},
    {"index.interval.bytes", "log.index.interval.bytes", TYPE_INT},
    {"max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", TYPE_LONG},
    {"max.message.bytes", "message.max.bytes", TYPE_INT},
    {AGENT_TIMESTAMP_AFTER, "log." AGENT_TIMESTAMP_AFTER, TYPE_LONG},
    {AGENT_TIMESTAMP_BEFORE, "log." AGENT_TIMESTAMP_BEFORE, TYPE_LONG},
    {"message.timestamp.type", "log.message.timestamp.type", TYPE_TEXT},
    {"min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", TYPE_DOUBLE},
    {"min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", TYPE_LONG},
    {"min.insync.replicas", "min.insync.replicas", TYPE_INT},
    {"preallocate", "log.preallocate", TYPE_BOOLEAN},
    {"retention.bytes", "log.retention.bytes", TYPE_LONG},
    {"retention.ms", "log.retention.ms", TYPE_LONG},
    {"segment.bytes", "log.segment.bytes", TYPE_INT},
    {"segment.index.bytes", "log.index.size.max.bytes", TYPE_INT},
    {"segment.jitter.ms", "log.roll.jitter.ms", TYPE_LONG},
    {"segment.ms", "log.roll.ms", TYPE_LONG},
    {"segment.records", NULL, TYPE_LONG},
    {"unclean.leader.election.enable", "unclean.leader.election.enable", TYPE_BOOLEAN},
};

/* Kafka's names for what is the node's alone; `setting` is ours, NULL: it is never another. */
enum node_fact { FACT_ID, FACT_DIRECTORY, FACT_PARTITIONS, FACT_CREATE, FACT_CHECK, FACT_FIXED };

static const struct node_row {
    enum node_fact fact;
    int8_t type;
    const char *name, *setting, *fallback, *sentence;
} node_rows[] = {
    {FACT_ID, TYPE_INT, "broker.id", "node.id", "1", "number of this node"},
    {FACT_DIRECTORY, TYPE_TEXT, "log.dirs", "data.dir", "/var/lib/floe", "directory of all data"},
    {FACT_PARTITIONS, TYPE_INT, "num.partitions", "partitions.default", "1",
     "partitions of a topic whose maker does not say how many"},
    {FACT_CREATE, TYPE_BOOLEAN, "auto.create.topics.enable", "topic.auto.create", "false",
     "make a topic when a client first names it"},
    {FACT_CHECK, TYPE_LONG, "log.retention.check.interval.ms", "retention.check.ms", "30000",
     "how often a core looks for segments that go"},
    {FACT_FIXED, TYPE_INT, "default.replication.factor", NULL, "1",
     "replicas of a topic whose maker does not say how many"},
    {FACT_FIXED, TYPE_BOOLEAN, "delete.topic.enable", NULL, "true", "topics can be deleted"},
};

uint32_t config_topic_rows(void)
{
    uint32_t count;
    (void)agent_topic_options(&count);
    ASSERT(count == ARRAY_COUNT(names));
    return count;
}

static const struct config_option *topic_option(uint32_t index)
{
    uint32_t count;
    const struct config_option *option = &agent_topic_options(&count)[index];
    ASSERT(index < count && strcmp(option->key, names[index].key) == 0);
    return option;
}

const char *config_topic_name(uint32_t index)
{
    ASSERT(index < ARRAY_COUNT(names));
    return names[index].key;
}

bool config_is_list(const char *key)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (strcmp(names[i].key, key) == 0) {
            return names[i].type == TYPE_LIST;
        }
    }
    return false;
}

static struct config_value *row_add(struct config_row *row, const char *name,
                                    enum config_origin origin)
{
    ASSERT(row->count < CONFIG_VALUES_MAX);
    struct config_value *value = &row->values[row->count++];
    value->name = name;
    value->origin = origin;
    value->text = value->buffer;
    value->buffer[0] = 0;
    return value;
}

/* This node's own setting of that key; NULL: it has none. */
static const struct config_option *node_setting(const struct net *net, const char *key,
                                                uint32_t *index)
{
    const struct config *settings = net->options.settings;
    uint32_t count = settings == NULL || key == NULL ? 0 : config_count(settings);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(config_option(settings, i)->key, key) == 0) {
            *index = i;
            return config_option(settings, i);
        }
    }
    return NULL;
}

static bool node_setting_given(const struct net *net, const char *key)
{
    uint32_t index;
    return node_setting(net, key, &index) != NULL &&
           config_source(net->options.settings, key) != CONFIG_FROM_DEFAULT;
}

/* What the node's setting of `key` would be if nobody gave it, as a topic has such values. */
static void setting_fallback(const struct config_option *setting,
                             const struct config_option *option, char *text)
{
    int64_t number;
    char why[CONFIG_MESSAGE_BYTES];
    enum err err = config_parse_value(setting, setting->fallback, &number, why);
    ASSERT(err == OK);
    agent_number_text(option, number, text);
}

/* What a topic has that does not set it. */
static void row_add_node(const struct net *net, struct config_row *row, uint32_t index)
{
    const struct config_option *option = topic_option(index);
    const char *name = names[index].node != NULL ? names[index].node : option->key;
    uint32_t at;
    const struct config_option *setting = node_setting(net, option->key, &at);
    const struct partition_config *fallback = agent_config_default(net->options.agent);
    if (setting != NULL && node_setting_given(net, option->key)) {
        struct config_value *given = row_add(row, name, CONFIG_ORIGIN_STATIC);
        agent_topic_default(fallback, option, given->buffer);
        setting_fallback(setting, option, row_add(row, name, CONFIG_ORIGIN_DEFAULT)->buffer);
        return;
    }
    agent_topic_default(fallback, option, row_add(row, name, CONFIG_ORIGIN_DEFAULT)->buffer);
}

static bool set_value(const struct config_set *set, const char *key, char *text)
{
    const char *stored = set->topic == NULL ? NULL : map_topic_config(set->topic, key);
    if (stored != NULL) {
        (void)snprintf(text, AGENT_VALUE_BYTES, "%s", stored);
        return true;
    }
    bool found = false;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct command_config *config = &set->configs[i];
        if (config->value.data != NULL && bytes_equal(config->key, bytes_text(key))) {
            (void)snprintf(text, AGENT_VALUE_BYTES, "%.*s", (int)config->value.size,
                           (const char *)config->value.data);
            found = true;
        }
    }
    return found;
}

static void row_begin(struct config_row *row, const char *name, const char *sentence, int8_t type)
{
    row->name = name;
    row->sentence = sentence;
    row->type = type;
    row->read_only = true;
    row->count = 0;
}

void config_topic_row(const struct net *net, const struct config_set *set, uint32_t index,
                      struct config_row *row)
{
    const struct config_option *option = topic_option(index);
    char text[AGENT_VALUE_BYTES];
    row_begin(row, option->key, option->sentence, names[index].type);
    row->read_only = false;
    if (set_value(set, option->key, text)) {
        agent_value_text(option, text, row_add(row, option->key, CONFIG_ORIGIN_TOPIC)->buffer);
    }
    row_add_node(net, row, index);
}

/* --- The node's. --- */

/* Those of a topic's settings that Kafka names for the node, too; ours follow under their own. */
static uint32_t named_rows(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ARRAY_COUNT(names); i++) {
        count += names[i].node != NULL;
    }
    return count;
}

uint32_t config_node_rows(const struct net *net)
{
    const struct config *settings = net->options.settings;
    return (uint32_t)ARRAY_COUNT(node_rows) + named_rows() +
           (settings == NULL ? 0 : config_count(settings));
}

static void fact_text(const struct net *net, const struct node_row *fact, char *text)
{
    const struct net_options *options = &net->options;
    switch (fact->fact) {
    case FACT_ID:
        (void)snprintf(text, AGENT_VALUE_BYTES, "%u", options->node_id);
        return;
    case FACT_DIRECTORY:
        (void)snprintf(text, AGENT_VALUE_BYTES, "%.255s",
                       options->data_dir == NULL ? "" : options->data_dir);
        return;
    case FACT_PARTITIONS:
        (void)snprintf(text, AGENT_VALUE_BYTES, "%u", options->partitions_default);
        return;
    case FACT_CREATE:
        (void)snprintf(text, AGENT_VALUE_BYTES, "%s",
                       options->topic_auto_create ? "true" : "false");
        return;
    case FACT_CHECK:
        (void)snprintf(text, AGENT_VALUE_BYTES, "%" PRId64,
                       options->settings == NULL ? INT64_C(30000)
                                                 : config_number(options->settings, fact->setting));
        return;
    case FACT_FIXED:
        (void)snprintf(text, AGENT_VALUE_BYTES, "%s", fact->fallback);
        return;
    }
    UNREACHABLE();
}

/* The node's facts: what differs from the default was given, by a setting or by --dev. */
static void fact_row(const struct net *net, const struct node_row *fact, struct config_row *row)
{
    char text[AGENT_VALUE_BYTES];
    fact_text(net, fact, text);
    row_begin(row, fact->name, fact->sentence, fact->type);
    if (strcmp(text, fact->fallback) != 0 || node_setting_given(net, fact->setting)) {
        (void)snprintf(row_add(row, fact->name, CONFIG_ORIGIN_STATIC)->buffer, AGENT_VALUE_BYTES,
                       "%s", text);
    }
    (void)snprintf(row_add(row, fact->name, CONFIG_ORIGIN_DEFAULT)->buffer, AGENT_VALUE_BYTES, "%s",
                   fact->fallback);
}

/* Where the row of that number stands among `names`. */
static uint32_t named_at(uint32_t index)
{
    uint32_t at = 0;
    while (names[at].node == NULL || index > 0) {
        index -= names[at].node != NULL ? 1 : 0;
        at++;
    }
    return at;
}

static void named_row(const struct net *net, uint32_t at, struct config_row *row)
{
    row_begin(row, names[at].node, topic_option(at)->sentence, names[at].type);
    row_add_node(net, row, at);
}

static int8_t setting_type(const struct config_option *setting)
{
    switch (setting->type) {
    case CONFIG_TEXT:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
    case CONFIG_CHOICE:
        return TYPE_TEXT; /* With a unit, or auto. */
    case CONFIG_BOOL:
        return TYPE_BOOLEAN;
    case CONFIG_COUNT:
        return TYPE_LONG;
    }
    UNREACHABLE();
}

/* What a setting came to, where that is not what was given; false: it is. */
static bool setting_effect(const struct net *net, const char *key, char *text)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(node_rows); i++) {
        const struct node_row *fact = &node_rows[i];
        bool decided =
            fact->fact == FACT_ID || fact->fact == FACT_DIRECTORY || fact->fact == FACT_CREATE;
        if (decided && strcmp(fact->setting, key) == 0) {
            fact_text(net, fact, text);
            return true;
        }
    }
    return false;
}

/* Our own settings under their own names, as they were given. */
static void setting_row(const struct net *net, uint32_t index, struct config_row *row)
{
    const struct config *settings = net->options.settings;
    const struct config_option *setting = config_option(settings, index);
    char effect[AGENT_VALUE_BYTES];
    bool given = node_setting_given(net, setting->key);
    row_begin(row, setting->key, setting->sentence, setting_type(setting));
    if (setting_effect(net, setting->key, effect)) {
        if (given || strcmp(effect, setting->fallback) != 0) {
            (void)snprintf(row_add(row, setting->key, CONFIG_ORIGIN_STATIC)->buffer,
                           AGENT_VALUE_BYTES, "%s", effect);
        }
    } else if (given) {
        row_add(row, setting->key, CONFIG_ORIGIN_STATIC)->text = config_value_text(settings, index);
    }
    row_add(row, setting->key, CONFIG_ORIGIN_DEFAULT)->text = setting->fallback;
}

const char *config_node_name(const struct net *net, uint32_t index)
{
    uint32_t named = named_rows();
    ASSERT(index < config_node_rows(net));
    if (index < ARRAY_COUNT(node_rows)) {
        return node_rows[index].name;
    }
    index -= (uint32_t)ARRAY_COUNT(node_rows);
    return index < named ? names[named_at(index)].node
                         : config_option(net->options.settings, index - named)->key;
}

void config_node_row(const struct net *net, uint32_t index, struct config_row *row)
{
    uint32_t named = named_rows();
    ASSERT(index < config_node_rows(net));
    if (index < ARRAY_COUNT(node_rows)) {
        fact_row(net, &node_rows[index], row);
        return;
    }
    index -= (uint32_t)ARRAY_COUNT(node_rows);
    if (index < named) {
        named_row(net, named_at(index), row);
    } else {
        setting_row(net, index - named, row);
    }
}
