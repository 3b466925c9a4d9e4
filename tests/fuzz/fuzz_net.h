/* A door for the fuzzers of protocols: the real connection and protocol (net/), without sockets,
 * threads, disk or clock. An engine that receives a stream in pieces, the agent's stub, and logs in
 * memory; topic "t" is there, with one empty partition, and "p" with two. */
#pragma once

#include "net/server.h"
#include "tests/unit/net/memory_shard.h"
#include "tests/unit/net/stub.h"

enum { FUZZ_STREAM_BYTES_MAX = 128 << 10 };

/* Of the first byte of an input; 1 and 2 are the fuzzer's own. */
enum fuzz_net_flag {
    FUZZ_SMALL_PIECES = 4, /* Pieces of 7 bytes, else of 4096. */
    FUZZ_TIME_PASSES = 8,  /* Between pieces. */
    FUZZ_RESET = 16,       /* The client resets the connection at the end, else it ends in order. */
    FUZZ_SLOW = 32,        /* It reads slowly. */
    FUZZ_POOR = 128,       /* There is no memory for answers before nothing else is left to do. */
};

/* Answers that are frames: each begins with the length of what follows. */
struct fuzz_frames {
    uint32_t (*length)(const uint8_t *head); /* NULL: they are no frames. */
    uint32_t least, most;                    /* It is within these. */
    uint8_t head[4];
    uint32_t head_size, body_left;
    uint32_t count; /* So many began, on this connection. */
};

struct fuzz_net {
    struct reactor reactor;
    struct memory_shard shard;
    struct agent *agent;
    struct net *net;
    uint64_t now_ns;
    uint8_t stream[FUZZ_STREAM_BYTES_MAX]; /* What the client sends. */
    uint32_t stream_size;
    bool small_pieces, time_passes, reset, slow_reader, poor;
    uint32_t (*next_piece)(uint32_t position); /* If there is one: so many bytes may be sent now. */
    void (*take_answer)(const uint8_t *data, size_t size); /* What it gets, as it comes, or */
    struct fuzz_frames frames;                             /* what is looked at instead. */
};

extern struct fuzz_net fuzz_net;

void fuzz_net_begin(void);  /* Once. */
void fuzz_net_reset(void);  /* As it was before the first input. */
void fuzz_net_forget(void); /* The groups: what is in their log is read again. */

/* A topic with its logs; of its id all bytes are `id`. */
void fuzz_net_topic(const char *name, uint8_t id, uint32_t partitions);
void fuzz_net_submit(struct request *request); /* To a log; it is home then. */

void fuzz_net_flags(uint8_t flags);            /* How this input comes. */
void fuzz_net_run(enum net_protocol protocol); /* To the end; all that was lent is home then. */
