/* Whatever a client sends as Kafka requests, in whatever pieces: it is answered or refused, answers
 * are whole frames in the order of their requests, and everything that was lent is home at the end.
 *
 * The door is fuzz_net.h's. The first byte chooses how:
 *
 *     1  the rest is frames {size u16, key u8, version u8, body}: lengths, keys and versions are
 *        made right, or few inputs would come past them. With the highest bit of the size set it is
 *        a sample instead, {size u16, which u8, 0}, and size % 4 changes {position u8, value u8} to
 *        it. Without the flag the rest is the stream as it is
 *     2  record batches get their lengths and checksums made right
 *  4-128 see there */
#include "core/assert.h"
#include "tests/fuzz/fuzz_kafka.h"
#include "tests/fuzz/fuzz_net.h"
#include "tests/unit/net/wire.h"

#include <stdlib.h>
#include <string.h>

enum {
    FUZZ_INPUT_BYTES_MAX = 384,
    FUZZ_MENDED_BYTES_MAX = 4 * FUZZ_INPUT_BYTES_MAX,
    FUZZ_FRAME_BYTES_MAX = 600,
};

enum fuzz_flag {
    FUZZ_MEND_FRAMES = 1,
    FUZZ_MEND_BATCHES = 2,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The id of the first member that is made in a world: its randomness is the same each time. */
#define FUZZ_MEMBER   "0022'i-002d0000000000000000000000000000' "
#define FUZZ_MEMBER_6 "23'i-002d0000000000000000000000000000' "

/* Correct requests about topic "t", so that few changes suffice to come far. */
static const struct fuzz_sample {
    int16_t key, version;
    const char *body;
} fuzz_samples[] = {
    {0, 3, "ffff ffff 00007530 00000001 0001't' 00000001 00000000 $4"},
    {0, 9, "00 0000 00007530 02 02't' 02 00000000 $v 00 00 00"},
    {1, 4,
     "ffffffff 000001f4 00000001 03200000 00 00000002 0001't' 00000001 00000000 0000000000000000 "
     "00100000 0001't' 00000001 00000000 0000000000000001 00000010"},
    {1, 12,
     "ffffffff 000001f4 00000001 03200000 00 00000000 ffffffff 02 02't' 02 00000000 ffffffff "
     "0000000000000000 ffffffff ffffffffffffffff 00100000 00 00 01 01 00"},
    {2, 1, "ffffffff 00000001 0001't' 00000001 00000000 00000000000003e8"},
    {2, 7, "ffffffff 00 02 02't' 02 00000000 ffffffff fffffffffffffffd 00 00 00"},
    {3, 1, "00000001 0001'n'"},
    {3, 12, "02 7474747474747474 7474747474747474 00 00 00 00 00"},
    {19, 4,
     "00000001 0001'n' 00000002 ffff 00000000 00000001 000c'retention.ms' 0001'1' 00007530 00"},
    {20, 6, "02 00 7474747474747474 7474747474747474 00 00007530 00"},
    {21, 1,
     "00000001 0001't' 00000002 00000000 0000000000000001 00000000 ffffffffffffffff 00007530"},
    {21, 2, "02 02't' 02 00000000 0000000000000001 00 00 00007530 00"},
    {22, 0, "ffff 0000ea60"},
    {0, 13, "00 0000 00007530 02 7474747474747474 7474747474747474 02 00000000 $v 00 00 00"},
    {1, 17,
     "000001f4 00000001 03200000 00 00000000 ffffffff 02 7474747474747474 7474747474747474 02 "
     "00000000 ffffffff 0000000000000000 ffffffff ffffffffffffffff 00100000 00 00 01 01 00"},
    {2, 11, "ffffffff 00 02 02't' 02 00000000 ffffffff fffffffffffffffa 00 00 00000000 00"},
    {23, 4, "ffffffff 02 02't' 02 00000000 ffffffff 00000001 00 00 00"},
    {32, 4, "03 02 02't' 02 0d'retention.ms' 00 04 02'1' 00 00 01 01 00"},
    {32, 4,
     "04 02 02't' 00 00 02 02't' 00 00 02 02'p' 00 00 01 01 00"}, /* All that there is to tell. */
    {33, 2, "02 02 02't' 02 0d'retention.ms' 02'7' 00 00 00 00"},
    {35, 4, "00 00"},
    {37, 2, "02 02't' 00000002 02 02 00000001 00 00 00007530 00 00"},
    {44, 1,
     "02 02 02't' 03 0f'cleanup.policy' 02 08'compact' 00 0d'retention.ms' 00 02'7' 00 00 00 00"},
    {60, 2, "00 01 00 00"},
    {8, 7,
     "0001'g' ffffffff 0000 ffff 00000001 0001't' 00000001 00000000 0000000000000007 00000001 "
     "0001'm'"},
    {8, 9,
     "02'g' 00000001 " FUZZ_MEMBER_6 "02'i' 02 02't' 02 00000000 0000000000000008 00000001 00 "
     "00 00 00"},
    {9, 2, "0001'g' ffffffff"},
    {9, 7, "02'g' 02 02't' 02 00000000 00 01 00"},
    {9, 9, "03 02'g' 00 ffffffff 02 02't' 02 00000000 00 00 02'h' 00 ffffffff 00 00 01 00"},
    {10, 4, "00 02 02'g' 00"},
    /* A static member, a dynamic one without an id and with the one that it is told. */
    {11, 5, "0001'g' 00002710 00007530 0000 0001'i' 0008'consumer' 00000001 0001'r' 00000002 aabb"},
    {11, 9, "02'g' 00002710 00007530 01 02'i' 09'consumer' 02 02'r' 03 aabb 00 00 00"},
    {11, 2, "0001'g' 00001770 00001770 0000 0008'consumer' 00000001 0001'r' 00000000"},
    {11, 4, "0001'g' 00001770 00001770 0000 0008'consumer' 00000001 0001'r' 00000000"},
    {14, 3, "0001'g' 00000001 " FUZZ_MEMBER "0001'i' 00000001 " FUZZ_MEMBER "00000002 ccdd"},
    {14, 5, "02'g' 00000001 " FUZZ_MEMBER_6 "02'i' 00 00 01 00"},
    {12, 3, "0001'g' 00000001 " FUZZ_MEMBER "0001'i'"},
    {12, 4, "02'g' 00000001 " FUZZ_MEMBER_6 "02'i' 00"},
    {13, 1, "0001'g' " FUZZ_MEMBER},
    {13, 5, "02'g' 02 01 02'i' 00 00 00"},
    {15, 4, "00000001 0001'g' 00"},
    {15, 6, "03 02'g' 02'h' 00 00"},
    {16, 5, "02 07'Stable' 01 00"},
    {42, 2, "02 02'g' 00"},
    {47, 0, "0001'g' 00000001 0001't' 00000001 00000000"},
};

static struct {
    bool open;
    struct wire samples[ARRAY_COUNT(fuzz_samples)];
} fuzz;

/* --- The world. --- */

static void fuzz_end_samples(void)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(fuzz_samples); i++) {
        wire_close(&fuzz.samples[i]);
    }
}

static void fuzz_begin_samples(void)
{
    uint8_t batch[128];
    struct bytes insert = wire_plain_batch(1, 1000, batch, sizeof(batch));
    for (uint32_t i = 0; i < ARRAY_COUNT(fuzz_samples); i++) {
        fuzz.samples[i] = wire_open(FUZZ_FRAME_BYTES_MAX / 2);
        wire_add(&fuzz.samples[i], fuzz_samples[i].body, insert);
    }
}

static void fuzz_begin_world(void)
{
    fuzz_begin_samples();
    (void)atexit(fuzz_end_samples);
    fuzz_kafka_begin();
    fuzz.open = true;
}

/* --- One input. --- */

static void fuzz_sample_frame(struct bytes_writer *out, uint32_t which, uint32_t changes,
                              struct bytes_reader *in)
{
    const struct fuzz_sample *sample = &fuzz_samples[which % ARRAY_COUNT(fuzz_samples)];
    const struct wire *wire = &fuzz.samples[which % ARRAY_COUNT(fuzz_samples)];
    const struct kafka_api *api = fuzz_kafka_api(sample->key);
    fuzz_kafka_frame(out, api, (uint32_t)sample->version, bytes_of(wire->data, wire->size));
    uint8_t *body = out->data + out->position - wire->size;
    for (uint32_t i = 0; i < changes; i++) {
        uint32_t place = read_u8(in) % wire->size;
        body[place] = read_u8(in);
    }
}

/* The input's frames -> length, key, version, correlation, client id, body. */
static void fuzz_mend_frames(const uint8_t *data, uint32_t size)
{
    uint32_t count;
    const struct kafka_api *apis = kafka_apis(&count);
    struct bytes_reader in = bytes_reader(bytes_of(data, size));
    struct bytes_writer out = bytes_writer(fuzz_net.stream, FUZZ_MENDED_BYTES_MAX);
    while (bytes_left(&in) >= 4 && out.size - out.position >= FUZZ_FRAME_BYTES_MAX) {
        uint32_t head = read_be16(&in);
        uint32_t which = read_u8(&in);
        uint32_t version = read_u8(&in);
        if ((head & 0x8000) != 0) {
            fuzz_sample_frame(&out, which, head % 4, &in);
            continue;
        }
        const struct kafka_api *api = &apis[which % count];
        uint32_t body = min_u32(head % 512, bytes_left(&in));
        fuzz_kafka_frame(&out, api, version % (uint32_t)(api->max + 2),
                         bytes_of(read_bytes(&in, body).data, body));
    }
    ASSERT(!out.failed);
    fuzz_net.stream_size = out.position;
}

static void fuzz_prepare(const uint8_t *data, uint32_t size)
{
    fuzz_net.shard.mend_batches = (data[0] & FUZZ_MEND_BATCHES) != 0;
    fuzz_net_flags(data[0]);
    if ((data[0] & FUZZ_MEND_FRAMES) != 0) {
        fuzz_mend_frames(data + 1, size - 1);
    } else {
        memcpy(fuzz_net.stream, data + 1, size - 1);
        fuzz_net.stream_size = size - 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > FUZZ_INPUT_BYTES_MAX) {
        return 0;
    }
    if (!fuzz.open) {
        fuzz_begin_world();
    }
    fuzz_net_reset();
    fuzz_prepare(data, (uint32_t)size);
    fuzz_net_run(NET_KAFKA);
    return 0;
}
