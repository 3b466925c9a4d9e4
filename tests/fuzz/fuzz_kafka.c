/* See the header. */
#include "tests/fuzz/fuzz_kafka.h"

#include "core/assert.h"

static struct {
    uint8_t head[4]; /* Of the answer that is being received. */
    uint32_t head_size;
    uint64_t body_left;
    uint32_t count;
} fuzz;

void fuzz_kafka_begin(void)
{
    fuzz.head_size = 0;
    fuzz.body_left = 0;
    fuzz.count = 0;
}

uint32_t fuzz_kafka_answers(void)
{
    return fuzz.count;
}

void fuzz_kafka_take_answer(const uint8_t *data, size_t size)
{
    while (size > 0) {
        if (fuzz.body_left > 0) {
            size_t part = (size_t)min_u64(fuzz.body_left, size);
            fuzz.body_left -= part;
            data += part;
            size -= part;
            continue;
        }
        fuzz.head[fuzz.head_size++] = *data++;
        size--;
        if (fuzz.head_size == sizeof(fuzz.head)) {
            fuzz.head_size = 0;
            fuzz.count++;
            fuzz.body_left = load_be32(fuzz.head);
            ASSERT(fuzz.body_left >= 4 && fuzz.body_left <= INT32_MAX);
        }
    }
}

bool fuzz_kafka_answers_whole(void)
{
    return fuzz.head_size == 0 && fuzz.body_left == 0;
}

void fuzz_kafka_frame(struct bytes_writer *out, const struct kafka_api *api, uint32_t version,
                      struct bytes body)
{
    bool flexible = (int32_t)version >= api->flexible_from;
    write_be32(out, 10 + (flexible ? 1 : 0) + body.size);
    write_be16(out, (uint16_t)api->key);
    write_be16(out, (uint16_t)version);
    write_be32(out, out->position);
    write_be16(out, 0);
    if (flexible) {
        write_u8(out, 0);
    }
    write_bytes(out, body.data, body.size);
}

const struct kafka_api *fuzz_kafka_api(int16_t key)
{
    uint32_t count;
    const struct kafka_api *api = kafka_apis(&count);
    while (api->key != key) {
        ASSERT(count-- > 1);
        api++;
    }
    return api;
}
