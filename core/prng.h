/* The only randomness: xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom number
 * generators", 2018), seeded from the kernel in the server and from one number in the simulator.
 * Not for secrets. */
#pragma once

#include "core/base.h"

struct prng {
    uint64_t state[4];
};

void prng_seed(struct prng *prng, const uint64_t seed[4]); /* All zero is replaced. */
void prng_seed_one(struct prng *prng, uint64_t seed);      /* Spread by splitmix64. */
uint64_t prng_next(struct prng *prng);
uint64_t prng_below(struct prng *prng, uint64_t bound); /* Even; bound > 0. */
bool prng_chance(struct prng *prng, uint32_t percent);
void prng_fill(struct prng *prng, void *data, size_t size);

/* 256 bits from the operating system. For main() and tests only: not for shard, meta or net. */
NODISCARD bool prng_entropy(uint64_t seed[4]);
