/* The state of one Fetch; its body is read in fetch_read.c, the rest is fetch.c. */
#pragma once

#include "net/kafka/kafka.h"

enum fetch_state {
    FETCH_LOOK,
    FETCH_FIRST,
    FETCH_RELEASE_TO_PARK,
    FETCH_PARK,
    FETCH_RELEASE_TO_LOOK,
    FETCH_REPLY,
    FETCH_RETURN,
};

struct fetch;

struct fetch_item {
    struct request request;
    struct route_cancel cancel;
    struct fetch *op;
    uint64_t offset;
    uint64_t high_watermark, log_start;
    uint32_t bytes_max;
    uint32_t size;               /* What the last round brought. */
    uint32_t taken, taken_bytes; /* Pieces and bytes that go into the answer. */
    int32_t partition;
    int16_t code;
    bool away, known, negative;
    bool pressed; /* There are records, but its core has no memory to lend them from. */
};

struct fetch_topic {
    struct bytes name;  /* Up to version 12; then */
    struct topic_id id; /* this. */
    uint32_t count;
};

struct fetch {
    struct kafka_request request;
    struct fetch_topic *topics;
    struct fetch_item *items;
    struct fetch_piece *pieces;
    struct iovec *vectors;
    uint32_t topic_count, item_count, piece_capacity, vector_capacity;
    uint32_t bytes_max, bytes_min;
    uint64_t wait_ms, deadline_ns, cut;
    struct timer timer;
    uint32_t awaited;
    enum fetch_state state;
    int16_t error; /* Of the whole answer. */
    bool by_id;    /* Topics have no name in this version. */
    bool expired, canceling;
    bool partial; /* The last look brought something: a parked answer alone is not all. */
};

/* Reads the body; fills topics and items if there are any yet, else only counts them. */
bool fetch_read(struct fetch *op);
