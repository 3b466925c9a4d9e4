/* Requests about groups, of all versions, made of an input: each field has a few values, of which a
 * byte chooses one, the first if nothing is left. */
#pragma once

#include "core/prng.h"
#include "tests/fuzz/fuzz_kafka.h"

enum fuzz_request {
    FUZZ_JOIN,
    FUZZ_SYNC,
    FUZZ_HEARTBEAT,
    FUZZ_LEAVE,
    FUZZ_COMMIT,
    FUZZ_FETCH,
    FUZZ_DESCRIBE,
    FUZZ_LIST,
    FUZZ_DELETE,
    FUZZ_OFFSET_DELETE,
    FUZZ_COORDINATOR,
    FUZZ_REQUESTS,
};

enum { FUZZ_BODY_BYTES_MAX = 4096 };

/* The ids that members are given, as a door of this randomness draws them. */
void fuzz_draw_ids(struct prng prng);
void fuzz_ids_begin(bool topic); /* In a new world, with or without the topic of groups. */
void fuzz_ids_next(void);        /* Members of from now on are those that come from now on. */

const struct kafka_api *fuzz_request_api(enum fuzz_request which);

/* The body of a request into `room`, of FUZZ_BODY_BYTES_MAX; its size. */
uint32_t fuzz_request_make(enum fuzz_request which, int16_t version, struct bytes_reader *in,
                           uint8_t *room);
