/* One node of one core, as a Kafka client meets it: a door on loopback, a real shard on a directory
 * of its own, a stub of the agent. Node 1, cluster id 16 times 0xc1, told as b.test:9092. */
#pragma once

#include "net/server.h"
#include "tests/unit/net/client.h"
#include "tests/unit/net/stub.h"
#include "tests/unit/net/wire.h"

struct node {
    struct reactor reactor;
    struct io_helper *helper;
    char dir[64];
    struct shard *shard;
    struct agent *agent;
    struct net_shared *shared;
    struct net *net;
    uint16_t port;     /* For Kafka, */
    uint16_t port_any; /* and for all. */
    struct client client;
    uint32_t asked, answered; /* Of the client, by which correlation ids follow. */
};

const struct io_engine *const *node_engines(uint32_t *count);

/* Runs the claim on a node of each engine, with topic "t" of so many partitions (id 0x5a). */
void node_on_each_engine(uint32_t partitions, void (*claim)(struct node *node));

void node_open(struct node *node, const struct io_engine *engine);
void node_close(struct node *node); /* Asserts that all memory is home. */
void node_settle(struct node *node);

/* Another connection for the requests that follow. */
void node_reconnect(struct node *node);

/* A topic whose id is 16 times `id`; `config` is "key=value" or NULL. */
void node_topic(struct node *node, const char *name, uint32_t partitions, uint8_t id,
                const char *config);

/* Sends a request whose body is written as in wire.h, under the header that the version needs. */
void node_ask(struct node *node, int16_t key, int16_t version, const char *body);
void node_ask_with(struct node *node, int16_t key, int16_t version, const char *body,
                   struct bytes insert);

/* The next answer, to this key and version, has this body: else the test fails. */
void node_expect(struct node *node, int16_t key, int16_t version, const char *body);
void node_expect_with(struct node *node, int16_t key, int16_t version, const char *body,
                      struct bytes insert);

/* Both. */
void node_check(struct node *node, int16_t key, int16_t version, const char *body,
                const char *answer);

/* A whole frame but for its length; and that the door closes without a word. */
void node_ask_raw(struct node *node, const char *frame);
void node_expect_raw(struct node *node, const char *frame);
void node_expect_end(struct node *node); /* Reconnects. */
