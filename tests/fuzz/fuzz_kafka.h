/* What the fuzzers that speak Kafka share: frames of requests, and the check of answers. */
#pragma once

#include "net/kafka/kafka.h"

enum { FUZZ_HEADER_BYTES_MAX = 15 }; /* Of a frame, its length included. */

/* For fuzz_net.take_answer: follows the frames of the answers. */
void fuzz_kafka_take_answer(const uint8_t *data, size_t size);
uint32_t fuzz_kafka_answers(void);   /* So many began. */
void fuzz_kafka_begin(void);         /* A connection's answers begin. */
bool fuzz_kafka_answers_whole(void); /* They ended where one of them ends. */

/* A request: length, key, version, correlation, client id, body. */
void fuzz_kafka_frame(struct bytes_writer *out, const struct kafka_api *api, uint32_t version,
                      struct bytes body);
const struct kafka_api *fuzz_kafka_api(int16_t key);
