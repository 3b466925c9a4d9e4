/* The shard without a disk: shard_submit() and shard_cancel() over a few logs in memory, so that a
 * program can reset it thousands of times a second. Batches are checked as the real one does;
 * producers' sequences are not. Linked instead of shard/shard.c. */
#pragma once

#include "core/reactor.h"
#include "shard/frame.h"
#include "shard/shard.h"

enum { MEMORY_LOGS_MAX = 8, MEMORY_LOG_BYTES = 64 << 10, MEMORY_LOG_BATCHES = 64 };

struct memory_log {
    bool used;
    struct partition_id id;
    uint8_t *data;
    uint32_t size, batch_count;
    uint32_t positions[MEMORY_LOG_BATCHES];
    uint64_t ends[MEMORY_LOG_BATCHES]; /* Offset behind each batch. */
    uint8_t rows[MEMORY_LOG_BATCHES][FRAME_ROW_BYTES];
    struct stream_id last_id;
    uint64_t start;         /* What is below is trimmed. */
    struct request *parked; /* Newest first. */
};

struct memory_shard {
    struct reactor *reactor;
    struct memory_log logs[MEMORY_LOGS_MAX];
    uint32_t lent;     /* Pieces that are out. */
    bool mend_batches; /* Lengths and checksums are made right before a batch is checked. */
};

void memory_shard_open(struct memory_shard *shard, struct reactor *reactor);
void memory_shard_close(struct memory_shard *shard);

/* Forgets all logs; asserts that nobody waits and nothing is lent. */
void memory_shard_reset(struct memory_shard *shard);
