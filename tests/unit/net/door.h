/* A door (struct net) on a reactor of its own, with a clock that a test can move on, and the
 * protocol of door.c in the place of Kafka's. */
#pragma once

#include "net/server.h"
#include "tests/unit/net/client.h"

enum {
    DOOR_HELD_MAX = 256,
    DOOR_BLOCKS_MAX = 256,
    DOOR_LENT_MAX = 8,
    DOOR_CONNECTIONS = 8,
    DOOR_BIG = 256 << 10,
    DOOR_LINE_MAX = 1 << 20,
};

/* What the test's protocol was asked, and the calls that it holds. */
struct spy {
    struct call *held[DOOR_HELD_MAX];
    uint32_t held_count;
    uint32_t started, canceled, sent, starved;
    uint32_t parts;          /* Of replies that come in them. */
    uint32_t opened, closed; /* Sessions. */
    uint64_t scanned;        /* Bytes of lines that were looked at. */
    bool busy;               /* As if a producer id was on its way. */
};

struct door {
    struct reactor reactor;
    struct io_helper *helper;
    struct net_shared *shared;
    struct net *net;
    uint16_t port;
    struct spy spy;
    struct block *hoard[DOOR_BLOCKS_MAX];
    uint32_t hoard_count;
    struct completion stopped;
    bool stop_fired;
};

const struct io_engine *const *door_engines(uint32_t *count);

void door_open(struct door *door, const struct io_engine *engine, uint32_t connections_max);
void door_close(struct door *door); /* Stops if nobody did; asserts that all memory is home. */
void door_stop(struct door *door);  /* Begins; door->stop_fired tells. */
void door_settle(struct door *door);
void door_pass(struct door *door, uint64_t ms); /* The clock moves on by as much. */
struct conn *door_conn(struct door *door);      /* The only one. */

/* Takes all memory of a class, and gives it back. */
void door_hoard(struct door *door, enum memory_class class);
void door_unhoard(struct door *door);

/* Answers the call as an echo, with `mark` as its first byte if it is not 0. */
void door_finish(struct door *door, uint32_t held, uint8_t mark);

/* --- What a test says and hears (door_client.c). --- */

void door_each_engine(void (*claim)(struct door *door));
void door_connect(struct client *client, struct door *door);

/* The frame {kind, text} or {kind, be32 number} at `at`; how long it is. */
uint32_t door_put(uint8_t *at, char kind, const char *text);
uint32_t door_put_number(uint8_t *at, char kind, uint32_t number);

void door_ask(struct client *client, char kind, const char *text);
void door_ask_and_never_read(struct client *client, struct door *door); /* 64 times 256 KiB. */
void door_expect(struct client *client, char kind, const char *text);
void door_expect_pattern(struct client *client, uint32_t size);
