/* Settings as Kafka's tools want them: each topic's and this node's, with where each value comes
 * from, what it would be otherwise, and what it means. */
#pragma once

#include "net/kafka/kafka.h"

enum config_resource {
    CONFIG_RESOURCE_TOPIC = 2,
    CONFIG_RESOURCE_BROKER = 4,
};

enum config_origin {
    CONFIG_ORIGIN_TOPIC = 1,   /* Set at the topic. */
    CONFIG_ORIGIN_STATIC = 4,  /* Given to this node at its start. */
    CONFIG_ORIGIN_DEFAULT = 5, /* Given by nobody. */
};

enum { CONFIG_VALUES_MAX = 3 };

struct config_value {
    const char *name; /* Under which it is set there. */
    const char *text;
    enum config_origin origin;
    char buffer[AGENT_VALUE_BYTES]; /* What `text` points to, mostly: a row does not move. */
};

/* The first value holds; the others would without those before them. */
struct config_row {
    const char *name, *sentence;
    int8_t type; /* Kafka's: 1 boolean, 2 text, 3 int, 5 long, 6 double, 7 list. */
    bool read_only;
    uint32_t count;
    struct config_value values[CONFIG_VALUES_MAX];
};

/* What a topic sets: one in the map, or one that is being made. */
struct config_set {
    const struct map_topic *topic;
    const struct command_config *configs;
    uint32_t count;
};

uint32_t config_topic_rows(void);
const char *config_topic_name(uint32_t index);
void config_topic_row(const struct net *net, const struct config_set *set, uint32_t index,
                      struct config_row *row);

uint32_t config_node_rows(const struct net *net);
const char *config_node_name(const struct net *net, uint32_t index);
void config_node_row(const struct net *net, uint32_t index, struct config_row *row);

/* Whether the setting of this key is a list of words, to which one can be added. */
bool config_is_list(const char *key);
