/* Whatever a connection begins with: who speaks is told as early as it can be, once and for good,
 * by looking at no byte of a first line twice; and the door survives what follows, whoever it is.
 *
 * The first byte chooses how it comes, see fuzz_net.h. */
#include "core/assert.h"
#include "net/door.h"
#include "tests/fuzz/fuzz_net.h"

#include <stdlib.h>
#include <string.h>

enum { FUZZ_INPUT_BYTES_MAX = 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_take_answer(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
}

static void fuzz_guess(const uint8_t *data, uint32_t size)
{
    uint32_t grown = 0;
    enum door_guess guess = DOOR_MORE;
    for (uint32_t have = 0; have <= size && guess == DOOR_MORE; have++) {
        uint32_t position = grown;
        guess = door_guess(bytes_of(data, have), &grown);
        ASSERT(grown >= position && grown <= have);
    }
    uint32_t position = 0;
    ASSERT(door_guess(bytes_of(data, size), &position) == guess);
    ASSERT(guess != DOOR_MORE || size < DOOR_LINE_BYTES_MAX);
    bool known = guess > DOOR_MORE && guess < DOOR_TLS;
    ASSERT((door_refusal(guess) == NULL) == (known && door_serves((enum net_protocol)guess)));
    ASSERT(!known || net_protocol_name((enum net_protocol)guess) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool open;
    if (size < 1 || size > FUZZ_INPUT_BYTES_MAX) {
        return 0;
    }
    uint32_t rest = (uint32_t)size - 1;
    uint8_t *copy = malloc(rest + (rest == 0)); /* Of exact size, for the sanitizer. */
    ASSERT(copy != NULL);
    memcpy(copy, data + 1, rest);
    fuzz_guess(copy, rest);
    free(copy);
    if (!open) {
        open = true;
        fuzz_net.take_answer = fuzz_take_answer;
        fuzz_net_begin();
    }
    fuzz_net_reset();
    fuzz_net_flags(data[0]);
    memcpy(fuzz_net.stream, data + 1, rest);
    fuzz_net.stream_size = rest;
    fuzz_net_run(NET_ANY);
    return 0;
}
