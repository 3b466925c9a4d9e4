/* How the load generator speaks to one kind of server. Both kinds are sent the same batches, and
 * both answers are read in the same way, so that the client costs the same for each.
 *
 * Requests are built once and sent again and again: their correlation is always the same, for
 * answers come in order. */
#pragma once

#include "core/bytes.h"

enum { TARGET_MESSAGE_BYTES = 256 };

struct load_options {
    const char *target;
    const char *address;
    const char *topic;
    const char *mode;
    uint64_t connections, in_flight, partitions;
    uint64_t batch_bytes, record_bytes, fetch_bytes;
    uint64_t seconds, records; /* 0: no bound of this kind. */
};

/* What one answer said. */
struct answer {
    uint32_t records, bytes; /* Of batches, in an answer to a read. */
    uint64_t cursor;         /* Where the next read begins. */
    char message[TARGET_MESSAGE_BYTES];
};

struct target {
    const char *name;
    bool single; /* A request brings one record, whatever --batch-bytes says. */

    /* Of the answer that begins here; 0: more of it is needed to tell. */
    uint64_t (*answer_size)(struct bytes got);

    /* Makes the place exist that is written to or read, over a blocking socket; waits until it
     * serves. False with a message. NULL: nothing is needed. */
    bool (*prepare)(const struct load_options *options, int fd, char *message);

    /* Encodes a request and returns its size; `at` NULL only measures. */
    uint32_t (*produce)(const struct load_options *options, struct bytes batch, uint32_t partition,
                        uint8_t *at);
    uint32_t (*fetch)(const struct load_options *options, uint32_t partition, uint64_t cursor,
                      uint8_t *at);

    /* Reads a whole answer; false with a message in `answer`. `batch_crc`: of what was sent. */
    bool (*produced)(const struct load_options *options, struct bytes frame, uint32_t batch_crc,
                     struct answer *answer);
    bool (*fetched)(const struct load_options *options, struct bytes frame, struct answer *answer);
};

extern const struct target target_floe, target_yardstick, target_resp, target_walrus, target_http;

/* The value of a batch's last record, as letters, for protocols that carry text. */
uint32_t value_text(const struct load_options *options, struct bytes batch, uint8_t *at);

/* Counts the records of whole batches in `data`; the offset behind the last one. */
void batches_walk(struct bytes data, struct answer *answer, uint64_t *offset_end);
