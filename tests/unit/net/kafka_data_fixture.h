/* Records to and from a node: each claim on a node of its own per engine, with a topic "t" of three
 * partitions. */
#pragma once

#include "tests/unit/net/node.h"

enum { DATA_BATCH_BYTES = 8192 };

void data_on_each_engine(void (*claim)(struct node *node));

/* One batch to one partition in version 7; the answer has this code and, without one, this offset.
 */
void data_ask_produce(struct node *node, const char *topic, uint32_t partition, struct bytes batch);
void data_expect_produced(struct node *node, const char *topic, uint32_t partition, int16_t code,
                          uint64_t offset);

/* Both, of partition 0 of "t". */
void data_check_produced(struct node *node, struct bytes batch, int16_t code, uint64_t offset);
