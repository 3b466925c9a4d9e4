/* Keys of RESP clients and names of topics: pure. A key that Kafka allows as a name is that topic;
 * any other becomes a name of its own, which Kafka clients are not shown:
 *
 *     a{b} -> __resp.a_7bb_7d      all but letters, digits, '.' and '-' as _ and two digits
 *
 * Partition 3 of a topic that has several is `topic/3`: no name has a slash. */
#pragma once

#include "core/bytes.h"
#include "core/limits.h"

/* The name of the topic that the key stands for, in `name` of TOPIC_NAME_BYTES_MAX. False: it would
 * be too long, or the key is empty. */
bool resp_key_name(struct bytes key, uint8_t *name, struct bytes *result);

/* The key of which this is the name, in `key` of TOPIC_NAME_BYTES_MAX. False: clients are not shown
 * this topic. */
bool resp_name_key(struct bytes name, uint8_t *key, struct bytes *result);

/* Takes `topic/3` apart. */
bool resp_key_partition(struct bytes key, struct bytes *topic, uint32_t *partition);
