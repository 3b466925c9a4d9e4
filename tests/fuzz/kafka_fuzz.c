/* Whatever a client sends as Kafka requests, in whatever pieces: it is answered or refused, answers
 * are whole frames in the order of their requests, and everything that was lent is home at the end.
 *
 * The real connection and protocol (net/), without sockets, threads, disk or clock: an engine that
 * receives the input in pieces, the agent's stub, and logs in memory. The first byte chooses how:
 *
 *     1  the rest is frames {size u16, key u8, version u8, body}: lengths, keys and versions are
 *        made right, or few inputs would come past them. With the highest bit of the size set it is
 *        a sample instead, {size u16, which u8, 0}, and size % 4 changes {position u8, value u8} to
 *        it. Without the flag the rest is the stream as it is
 *     2  record batches get their lengths and checksums made right
 *     4  pieces of 7 bytes, else of 4096
 *     8  time passes between pieces
 *    16  the client resets the connection at the end, else it ends in order
 *    32  it reads slowly */
#include "core/assert.h"
#include "core/log.h"
#include "net/group/group.h"
#include "net/kafka/kafka.h"
#include "tests/unit/net/memory_shard.h"
#include "tests/unit/net/stub.h"
#include "tests/unit/net/wire.h"

#include <stdlib.h>
#include <string.h>

enum {
    FUZZ_INPUT_BYTES_MAX = 384,
    FUZZ_STREAM_BYTES_MAX = 4 * FUZZ_INPUT_BYTES_MAX,
    FUZZ_FRAME_BYTES_MAX = 600,
    FUZZ_PIECE_BYTES = 4096,
    FUZZ_TURNS_MAX = 200000,
    FUZZ_FD = 3,
    FUZZ_SLOW_POLLS = 3,
};

enum fuzz_flag {
    FUZZ_MEND_FRAMES = 1,
    FUZZ_MEND_BATCHES = 2,
    FUZZ_SMALL_PIECES = 4,
    FUZZ_TIME_PASSES = 8,
    FUZZ_RESET = 16,
    FUZZ_SLOW = 32,
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

/* The one client, and the world around the one reactor. */
static struct {
    bool open;
    struct reactor reactor;
    struct memory_shard shard;
    struct wire samples[ARRAY_COUNT(fuzz_samples)];
    struct agent *agent;
    struct net_shared *shared;
    struct net *net;
    uint64_t now_ns;
    uint8_t flags;
    uint8_t stream[FUZZ_STREAM_BYTES_MAX];
    uint32_t stream_size, stream_position;
    uint8_t lent[FUZZ_PIECE_BYTES];
    struct io *recv, *send;
    bool shut;
    uint32_t slow;
    uint8_t head[4]; /* Of the answer that is being received. */
    uint32_t head_size;
    uint64_t body_left;
} fuzz;

/* --- The engine. --- */

static enum err fuzz_open(struct reactor *reactor, const struct io_engine_options *options)
{
    (void)reactor;
    (void)options;
    return OK;
}

static void fuzz_submit(struct reactor *reactor, struct io *batch)
{
    while (batch != NULL) {
        struct io *io = batch;
        batch = io->next;
        io->next = NULL;
        if (io->op == IO_RECV) {
            ASSERT(fuzz.recv == NULL);
            fuzz.recv = io;
        } else if (io->op == IO_SEND) {
            ASSERT(fuzz.send == NULL);
            fuzz.send = io;
            fuzz.slow = (fuzz.flags & FUZZ_SLOW) != 0 ? FUZZ_SLOW_POLLS : 0;
        } else {
            ASSERT(io->op == IO_CLOSE);
            io_complete(reactor, io, OK);
        }
    }
}

/* Follows the frames of the answers. */
static void fuzz_take_answer(const uint8_t *data, size_t size)
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
            fuzz.body_left = load_be32(fuzz.head);
            ASSERT(fuzz.body_left >= 4 && fuzz.body_left <= INT32_MAX);
        }
    }
}

static void fuzz_end_send(struct reactor *reactor)
{
    struct io *io = fuzz.send;
    uint64_t bytes = 0;
    fuzz.send = NULL;
    if (fuzz.shut) {
        io_complete(reactor, io, ERR_CONNECTION);
        return;
    }
    for (uint32_t i = 0; i < io->send.count; i++) {
        bytes += io->send.vectors[i].iov_len;
        fuzz_take_answer(io->send.vectors[i].iov_base, io->send.vectors[i].iov_len);
    }
    io_complete(reactor, io, (int32_t)bytes);
}

static void fuzz_end_recv(struct reactor *reactor)
{
    struct io *io = fuzz.recv;
    uint32_t left = fuzz.stream_size - fuzz.stream_position;
    fuzz.recv = NULL;
    if (fuzz.shut) {
        io_complete(reactor, io, 0);
        return;
    }
    if (left == 0) {
        io_complete(reactor, io, (fuzz.flags & FUZZ_RESET) != 0 ? ERR_CONNECTION : 0);
        return;
    }
    uint32_t size = min_u32(left, (fuzz.flags & FUZZ_SMALL_PIECES) != 0 ? 7 : FUZZ_PIECE_BYTES);
    if (io->recv.data == NULL) {
        io->recv.data = fuzz.lent;
        io->recv.lent = 1;
    } else {
        size = min_u32(size, io->recv.size);
    }
    memcpy(io->recv.data, fuzz.stream + fuzz.stream_position, size);
    fuzz.stream_position += size;
    fuzz.now_ns += (fuzz.flags & FUZZ_TIME_PASSES) != 0 ? 5 * NS_PER_MS : 0;
    io_complete(reactor, io, (int32_t)size);
}

static uint32_t fuzz_poll(struct reactor *reactor, uint64_t wait_ns)
{
    (void)wait_ns;
    if (fuzz.slow > 0) {
        fuzz.slow--;
        return 1;
    }
    if (fuzz.send != NULL) {
        fuzz_end_send(reactor);
        return 1;
    }
    if (fuzz.recv != NULL) {
        fuzz_end_recv(reactor);
        return 1;
    }
    return 0;
}

static void fuzz_wake(struct reactor *self, struct reactor *peer)
{
    (void)self;
    (void)peer;
}

static uint64_t fuzz_now_ns(struct reactor *reactor)
{
    (void)reactor;
    return fuzz.now_ns;
}

static uint64_t fuzz_wall_ms(struct reactor *reactor)
{
    (void)reactor;
    return 1700000000000;
}

static void fuzz_recv_release(struct reactor *reactor, struct io *io)
{
    (void)reactor;
    /* Whoever still looks at it sees that it is gone. */
    memset(io->recv.data, 0xee, FUZZ_PIECE_BYTES);
}

static void fuzz_shutdown(struct reactor *reactor, int fd)
{
    (void)reactor;
    ASSERT(fd == FUZZ_FD);
    fuzz.shut = true;
}

static enum err fuzz_name(struct reactor *reactor, int fd, bool peer, struct io_address *address)
{
    (void)reactor;
    (void)fd;
    *address =
        (struct io_address){.bytes = {127, 0, 0, 1}, .port = peer ? 5000 : 9092, .family = 4};
    return OK;
}

static void fuzz_describe(struct reactor *reactor, char *text, uint32_t size)
{
    (void)reactor;
    memset(text, 0, min_u32(size, 1));
}

static void fuzz_close(struct reactor *reactor)
{
    (void)reactor;
}

static const struct io_engine fuzz_engine = {
    .name = "fuzz",
    .open = fuzz_open,
    .submit = fuzz_submit,
    .poll = fuzz_poll,
    .wake = fuzz_wake,
    .now_ns = fuzz_now_ns,
    .wall_ms = fuzz_wall_ms,
    .recv_release = fuzz_recv_release,
    .socket_shutdown = fuzz_shutdown,
    .socket_name = fuzz_name,
    .describe = fuzz_describe,
    .close = fuzz_close,
};

/* --- The world. --- */

static void fuzz_end_world(void)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(fuzz_samples); i++) {
        wire_close(&fuzz.samples[i]);
    }
    net_close(fuzz.net);
    net_shared_destroy(fuzz.shared);
    stub_close(fuzz.agent);
    memory_shard_close(&fuzz.shard);
    struct reactor *self = &fuzz.reactor;
    reactor_close(self);
    reactor_disconnect(&self, 1);
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
    struct reactor *self = &fuzz.reactor;
    struct reactor_options reactor = {
        .engine = &fuzz_engine,
        .memory = {.limit_bytes = MIB(64), .numa_node = -1},
        .seed = {1, 2, 3, 4},
    };
    log_set_level(LOG_LEVEL_ERROR);
    fuzz.now_ns = NS_PER_S;
    enum err err = reactor_connect(&self, 1);
    ASSERT(err == OK);
    err = reactor_open(self, &reactor);
    ASSERT(err == OK);
    memory_shard_open(&fuzz.shard, self);
    fuzz.agent = stub_open(self, 1);
    fuzz.agent->shard = (struct shard *)(void *)&fuzz.shard;
    fuzz.agent->partitions_max = 4;
    fuzz.shared = net_shared_create(1);
    ASSERT(fuzz.shared != NULL);
    struct net_options options = {
        .agent = fuzz.agent,
        .core_count = 1,
        .node_id = 1,
        .topic_auto_create = true,
        .partitions_default = 1,
        .connections_max = 1,
        .shared = fuzz.shared,
        .groups = {.classic = {.initial_delay_ms = 100,
                               .session_min_ms = 6000,
                               .session_max_ms = 1800000,
                               .members_max = 3},
                   .offsets_retention_ms = 3600000,
                   .partitions = 1,
                   .compact_bytes = 1024},
    };
    err = net_open(&fuzz.net, self, &options);
    ASSERT(err == OK);
    fuzz.open = true;
    (void)atexit(fuzz_end_world);
}

/* As it was before the first input: topic "t" with an empty partition, no producer ids. */
static void fuzz_reset(void)
{
    static const uint64_t seed[4] = {1, 2, 3, 4};
    memory_shard_reset(&fuzz.shard);
    stub_reset(fuzz.agent);
    prng_seed(&fuzz.reactor.prng, seed);
    kafka_core_close(fuzz.net->kafka);
    enum err err = kafka_core_open(&fuzz.net->kafka, fuzz.net);
    ASSERT(err == OK);
    group_core_close(fuzz.net->groups);
    err = group_core_open(&fuzz.net->groups, fuzz.net, &fuzz.net->options.groups);
    ASSERT(err == OK);
    struct command command = {.kind = COMMAND_TOPIC_CREATE};
    struct command_result result;
    memset(command.topic_create.id.bytes, 't', sizeof(command.topic_create.id.bytes));
    command.topic_create.name = bytes_text("t");
    command.topic_create.partition_count = 1;
    err = stub_apply(fuzz.agent, &command, &result);
    ASSERT(err == OK);
    fuzz.shard.logs[0].used = true;
    fuzz.shard.logs[0].id = (struct partition_id){.topic = command.topic_create.id};
}

/* --- One input. --- */

static void fuzz_frame(struct bytes_writer *out, const struct kafka_api *api, uint32_t version,
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

static void fuzz_sample_frame(struct bytes_writer *out, uint32_t which, uint32_t changes,
                              struct bytes_reader *in)
{
    const struct fuzz_sample *sample = &fuzz_samples[which % ARRAY_COUNT(fuzz_samples)];
    const struct wire *wire = &fuzz.samples[which % ARRAY_COUNT(fuzz_samples)];
    uint32_t count;
    const struct kafka_api *api = kafka_apis(&count);
    while (api->key != sample->key) {
        api++;
    }
    fuzz_frame(out, api, (uint32_t)sample->version, bytes_of(wire->data, wire->size));
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
    struct bytes_writer out = bytes_writer(fuzz.stream, sizeof(fuzz.stream));
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
        fuzz_frame(&out, api, version % (uint32_t)(api->max + 2),
                   bytes_of(read_bytes(&in, body).data, body));
    }
    ASSERT(!out.failed);
    fuzz.stream_size = out.position;
}

static void fuzz_prepare(const uint8_t *data, uint32_t size)
{
    fuzz.flags = data[0];
    fuzz.shard.mend_batches = (fuzz.flags & FUZZ_MEND_BATCHES) != 0;
    fuzz.stream_position = 0;
    fuzz.shut = false;
    fuzz.slow = 0;
    fuzz.head_size = 0;
    fuzz.body_left = 0;
    if ((fuzz.flags & FUZZ_MEND_FRAMES) != 0) {
        fuzz_mend_frames(data + 1, size - 1);
    } else {
        memcpy(fuzz.stream, data + 1, size - 1);
        fuzz.stream_size = size - 1;
    }
}

static void fuzz_check_home(void)
{
    struct memory_stats stats;
    memory_stats(fuzz.reactor.memory, &stats);
    for (uint32_t i = 0; i < MEMORY_CLASS_COUNT; i++) {
        ASSERT(stats.used_bytes[i] == 0);
    }
    ASSERT(fuzz.shard.lent == 0);
    ASSERT(fuzz.net->pool_call.used == 0);
    ASSERT(fuzz.net->pool_send.used == 0);
    ASSERT(fuzz.reactor.timers.count == 0);
    ASSERT(atomic_load(&fuzz.shared->cores[0].connections) == 0);
    /* A client that stays to the end gets whole answers. */
    ASSERT((fuzz.flags & FUZZ_RESET) != 0 || (fuzz.head_size == 0 && fuzz.body_left == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > FUZZ_INPUT_BYTES_MAX) {
        return 0;
    }
    if (!fuzz.open) {
        fuzz_begin_world();
    }
    fuzz_reset();
    fuzz_prepare(data, (uint32_t)size);
    (void)atomic_fetch_add(&fuzz.shared->cores[0].connections, 1);
    enum err err = conn_open(fuzz.net, FUZZ_FD);
    ASSERT(err == OK);
    for (uint32_t turns = 0; net_connection_count(fuzz.net) > 0; turns++) {
        ASSERT(turns < FUZZ_TURNS_MAX);
        if (reactor_turn(&fuzz.reactor, 0) == 0) {
            /* All wait for time: a full connection's parked fetches. */
            uint64_t next_ns = timer_wheel_next_ns(&fuzz.reactor.timers);
            fuzz.now_ns = next_ns == UINT64_MAX ? fuzz.now_ns : max_u64(fuzz.now_ns, next_ns);
        }
    }
    while (reactor_turn(&fuzz.reactor, 0) > 0) {
    }
    group_core_stop(fuzz.net->groups);
    while (reactor_turn(&fuzz.reactor, 0) > 0) {
    }
    fuzz_check_home();
    return 0;
}
