/* Whatever a client sends as Walrus requests, in whatever pieces: it is answered or refused,
 * answers are whole frames, and everything that was lent is home at the end.
 *
 * The door is fuzz_net.h's. The first byte chooses how:
 *
 *     1  the rest is requests {which u8, size u8, bytes}: a verb and a topic in front, and lengths
 *        made right, or few inputs would come past them. Without it, it is the stream as it is
 *  4-128 see there */
#include "core/assert.h"
#include "net/walrus/walrus.h"
#include "tests/fuzz/fuzz_net.h"

#include <string.h>

enum { FUZZ_INPUT_BYTES_MAX = 512, FUZZ_MEND_FRAMES = 1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_mend_frames(const uint8_t *data, uint32_t size)
{
    static const char *const starts[] = {
        "PUT t ", "GET t",      "STATE t", "REGISTER t", "METRICS",   "PUT n x", "GET n",
        "GET t/", "REGISTER n", "PUT ",    "GET ",       "REGISTER ", "STATE ",  ""};
    struct bytes_reader in = bytes_reader(bytes_of(data, size));
    struct bytes_writer out = bytes_writer(fuzz_net.stream, sizeof(fuzz_net.stream));
    while (bytes_left(&in) >= 2) {
        const char *start = starts[read_u8(&in) % ARRAY_COUNT(starts)];
        uint32_t rest = read_u8(&in);
        rest = min_u32(rest, bytes_left(&in));
        write_le32(&out, (uint32_t)strlen(start) + rest);
        write_bytes(&out, start, (uint32_t)strlen(start));
        write_bytes(&out, read_bytes(&in, rest).data, rest);
    }
    ASSERT(!out.failed);
    fuzz_net.stream_size = out.position;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > FUZZ_INPUT_BYTES_MAX) {
        return 0;
    }
    static bool open;
    if (!open) {
        open = true;
        fuzz_net.frames =
            (struct fuzz_frames){.length = load_le32, .least = 1, .most = WALRUS_FRAME_BYTES_MAX};
        fuzz_net_begin();
    }
    fuzz_net_reset();
    fuzz_net_flags(data[0]);
    if ((data[0] & FUZZ_MEND_FRAMES) != 0) {
        fuzz_mend_frames(data + 1, (uint32_t)size - 1);
    } else {
        memcpy(fuzz_net.stream, data + 1, size - 1);
        fuzz_net.stream_size = (uint32_t)size - 1;
    }
    fuzz_net_run(NET_WALRUS);
    ASSERT(!walrus_core_busy(fuzz_net.net->walrus));
    return 0;
}
