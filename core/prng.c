/* xoshiro256** and its seeding. */
#include "core/prng.h"

#include "core/assert.h"

#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static uint64_t prng_rotate(uint64_t value, int count)
{
    return (value << count) | (value >> (64 - count));
}

void prng_seed(struct prng *prng, const uint64_t seed[4])
{
    memcpy(prng->state, seed, sizeof(prng->state));
    /* From zero the generator would never leave zero. */
    if ((seed[0] | seed[1] | seed[2] | seed[3]) == 0) {
        prng_seed_one(prng, 1);
    }
}

void prng_seed_one(struct prng *prng, uint64_t seed)
{
    for (uint32_t i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15;
        uint64_t word = seed;
        word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
        word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
        prng->state[i] = word ^ (word >> 31);
    }
}

uint64_t prng_next(struct prng *prng)
{
    uint64_t *s = prng->state;
    uint64_t result = prng_rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = prng_rotate(s[3], 45);
    return result;
}

uint64_t prng_below(struct prng *prng, uint64_t bound)
{
    ASSERT(bound > 0);
    /* Rejects the incomplete last round, so that every value is equally likely. */
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t value;
    do {
        value = prng_next(prng);
    } while (value >= limit);
    return value % bound;
}

bool prng_chance(struct prng *prng, uint32_t percent)
{
    ASSERT(percent <= 100);
    return prng_below(prng, 100) < percent;
}

void prng_fill(struct prng *prng, void *data, size_t size)
{
    ASSERT(data != NULL || size == 0);
    uint8_t *at = data;
    while (size > 0) {
        uint64_t word = prng_next(prng);
        size_t now = size < sizeof(word) ? size : sizeof(word);
        memcpy(at, &word, now);
        at += now;
        size -= now;
    }
}

bool prng_entropy(uint64_t seed[4])
{
    return getentropy(seed, 4 * sizeof(uint64_t)) == 0;
}
