/* See the header. */
#include "tests/fuzz/fuzz_kafka.h"

#include "core/assert.h"
#include "tests/fuzz/fuzz_net.h"

void fuzz_kafka_begin(void)
{
    fuzz_net.frames = (struct fuzz_frames){.length = load_be32, .least = 4, .most = INT32_MAX};
    fuzz_net_begin();
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
