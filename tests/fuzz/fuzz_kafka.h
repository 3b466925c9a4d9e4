/* What the fuzzers that speak Kafka share: frames. */
#pragma once

#include "net/kafka/kafka.h"

enum { FUZZ_HEADER_BYTES_MAX = 15 }; /* Of a frame, its length included. */

void fuzz_kafka_begin(void); /* fuzz_net_begin(), of a client that takes frames. */

/* A request: length, key, version, correlation, client id, body. */
void fuzz_kafka_frame(struct bytes_writer *out, const struct kafka_api *api, uint32_t version,
                      struct bytes body);
const struct kafka_api *fuzz_kafka_api(int16_t key);
