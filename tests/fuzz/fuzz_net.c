/* See the header. */
#include "tests/fuzz/fuzz_net.h"

#include "core/assert.h"
#include "core/log.h"
#include "net/group/group_internal.h"
#include "net/kafka/kafka.h"

#include <stdlib.h>
#include <string.h>

enum {
    FUZZ_PIECE_BYTES = 4096,
    FUZZ_SMALL_BYTES = 7,
    FUZZ_SMALL_PIECES_MAX = 1024, /* Of a longer stream they are larger. */
    FUZZ_TURNS_MAX = 200000,
    FUZZ_FD = 3,
    FUZZ_SLOW_POLLS = 3,
    FUZZ_HELD_MAX = 256,
};

struct fuzz_net fuzz_net;

/* The client's side of the one connection. */
static struct {
    struct net_shared *shared;
    uint32_t stream_position;
    uint8_t lent[FUZZ_PIECE_BYTES];
    uint32_t lent_size;
    struct io *recv, *send;
    bool shut;
    uint32_t slow;
    struct block *held[FUZZ_HELD_MAX]; /* By somebody else. */
    uint32_t held_count;
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
            fuzz.slow = fuzz_net.slow_reader ? FUZZ_SLOW_POLLS : 0;
        } else {
            ASSERT(io->op == IO_CLOSE);
            io_complete(reactor, io, OK);
        }
    }
}

static void fuzz_take_frames(struct fuzz_frames *frames, const uint8_t *data, size_t size)
{
    while (size > 0) {
        if (frames->body_left > 0) {
            size_t part = (size_t)min_u64(frames->body_left, size);
            frames->body_left -= (uint32_t)part;
            data += part;
            size -= part;
            continue;
        }
        frames->head[frames->head_size++] = *data++;
        size--;
        if (frames->head_size == sizeof(frames->head)) {
            frames->head_size = 0;
            frames->count++;
            frames->body_left = frames->length(frames->head);
            ASSERT(frames->body_left >= frames->least && frames->body_left <= frames->most);
        }
    }
}

static void fuzz_take_answer(const uint8_t *data, size_t size)
{
    if (fuzz_net.frames.length != NULL) {
        fuzz_take_frames(&fuzz_net.frames, data, size);
    } else {
        fuzz_net.take_answer(data, size);
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

/* False: the client waits for an answer first. */
static bool fuzz_end_recv(struct reactor *reactor)
{
    struct io *io = fuzz.recv;
    uint32_t left = fuzz_net.stream_size - fuzz.stream_position;
    if (fuzz.shut || left == 0) {
        fuzz.recv = NULL;
        io_complete(reactor, io, fuzz_net.reset && !fuzz.shut ? ERR_CONNECTION : 0);
        return true;
    }
    uint32_t small = max_u32(FUZZ_SMALL_BYTES, fuzz_net.stream_size / FUZZ_SMALL_PIECES_MAX);
    uint32_t size = min_u32(left, fuzz_net.small_pieces ? small : FUZZ_PIECE_BYTES);
    if (fuzz_net.next_piece != NULL) {
        size = min_u32(size, fuzz_net.next_piece(fuzz.stream_position));
        if (size == 0) {
            return false;
        }
    }
    fuzz.recv = NULL;
    if (io->recv.data == NULL) {
        io->recv.data = fuzz.lent;
        io->recv.lent = 1;
    } else {
        size = min_u32(size, io->recv.size);
    }
    memcpy(io->recv.data, fuzz_net.stream + fuzz.stream_position, size);
    fuzz.stream_position += size;
    fuzz.lent_size = size;
    fuzz_net.now_ns += fuzz_net.time_passes ? 5 * NS_PER_MS : 0;
    io_complete(reactor, io, (int32_t)size);
    return true;
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
    return fuzz.recv != NULL && fuzz_end_recv(reactor) ? 1 : 0;
}

static void fuzz_wake(struct reactor *self, struct reactor *peer)
{
    (void)self;
    (void)peer;
}

static uint64_t fuzz_now_ns(struct reactor *reactor)
{
    (void)reactor;
    return fuzz_net.now_ns;
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
    memset(io->recv.data, 0xee, fuzz.lent_size);
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
    net_close(fuzz_net.net);
    net_shared_destroy(fuzz.shared);
    stub_close(fuzz_net.agent);
    memory_shard_close(&fuzz_net.shard);
    struct reactor *self = &fuzz_net.reactor;
    reactor_close(self);
    reactor_disconnect(&self, 1);
}

void fuzz_net_begin(void)
{
    struct reactor *self = &fuzz_net.reactor;
    struct reactor_options reactor = {
        .engine = &fuzz_engine,
        .memory = {.limit_bytes = MIB(64), .numa_node = -1},
        .seed = {1, 2, 3, 4},
    };
    log_set_level(LOG_LEVEL_ERROR);
    fuzz_net.now_ns = NS_PER_S;
    enum err err = reactor_connect(&self, 1);
    ASSERT(err == OK);
    err = reactor_open(self, &reactor);
    ASSERT(err == OK);
    memory_shard_open(&fuzz_net.shard, self);
    fuzz_net.agent = stub_open(self, 1);
    fuzz_net.agent->shard = (struct shard *)(void *)&fuzz_net.shard;
    fuzz_net.agent->partitions_max = 4;
    fuzz.shared = net_shared_create(1);
    ASSERT(fuzz.shared != NULL);
    struct net_options options = {
        .agent = fuzz_net.agent,
        .core_count = 1,
        .node_id = 1,
        .topic_auto_create = true,
        .resp_allow_delete = true,
        .resp_allow_flush = true,
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
    err = net_open(&fuzz_net.net, self, &options);
    ASSERT(err == OK);
    (void)atexit(fuzz_end_world);
}

void fuzz_net_forget(void)
{
    group_core_close(fuzz_net.net->groups);
    enum err err =
        group_core_open(&fuzz_net.net->groups, fuzz_net.net, &fuzz_net.net->options.groups);
    ASSERT(err == OK);
}

/* To make a new one costs more than most inputs do, and most of them ask for no group. */
static void fuzz_reset_groups(void)
{
    struct group_core *core = fuzz_net.net->groups;
    bool used = core->buckets != NULL || core->stream_buckets != NULL;
    for (uint32_t i = 0; i < fuzz_net.net->options.groups.partitions; i++) {
        used = used || core->logs[i] != NULL;
    }
    if (!used) {
        ASSERT(core->busy == 0 && !core->creating);
        core->stopping = false;
        return;
    }
    fuzz_net_forget();
}

void fuzz_net_reset(void)
{
    static const uint64_t seed[4] = {1, 2, 3, 4};
    memory_shard_reset(&fuzz_net.shard);
    stub_reset(fuzz_net.agent);
    prng_seed(&fuzz_net.reactor.prng, seed);
    kafka_core_close(fuzz_net.net->kafka);
    enum err err = kafka_core_open(&fuzz_net.net->kafka, fuzz_net.net);
    ASSERT(err == OK);
    fuzz_reset_groups();
    fuzz_net_topic("t", 't', 1);
    fuzz_net_topic("p", 'p', 2);
}

void fuzz_net_topic(const char *name, uint8_t id, uint32_t partitions)
{
    struct command command = {.kind = COMMAND_TOPIC_CREATE};
    struct command_result result;
    memset(command.topic_create.id.bytes, id, sizeof(command.topic_create.id.bytes));
    command.topic_create.name = bytes_text(name);
    command.topic_create.partition_count = partitions;
    enum err err = stub_apply(fuzz_net.agent, &command, &result);
    ASSERT(err == OK);
    for (uint32_t i = 0; i < partitions; i++) {
        struct memory_log *log = fuzz_net.shard.logs;
        while (log->used) {
            log++;
        }
        log->used = true;
        log->id = (struct partition_id){.topic = command.topic_create.id, .partition = i};
    }
}

static void fuzz_submitted(struct completion *completion)
{
    (void)completion;
}

void fuzz_net_submit(struct request *request)
{
    request->home = &fuzz_net.reactor;
    completion_init(&request->done, fuzz_submitted);
    shard_submit((struct shard *)(void *)&fuzz_net.shard, request);
    while (reactor_turn(&fuzz_net.reactor, 0) > 0) {
    }
}

void fuzz_net_flags(uint8_t flags)
{
    fuzz_net.small_pieces = (flags & FUZZ_SMALL_PIECES) != 0;
    fuzz_net.time_passes = (flags & FUZZ_TIME_PASSES) != 0;
    fuzz_net.reset = (flags & FUZZ_RESET) != 0;
    fuzz_net.slow_reader = (flags & FUZZ_SLOW) != 0;
    fuzz_net.poor = (flags & FUZZ_POOR) != 0;
}

/* All memory that answers may have, but for the smallest block: a call begins, and waits. */
static void fuzz_hold(void)
{
    struct memory *memory = fuzz_net.reactor.memory;
    for (uint32_t size = memory_block_max(memory); size >= BLOCK_SIZE_MIN; size /= 2) {
        struct block *block;
        while ((block = block_acquire(memory, MEMORY_SEND, size)) != NULL) {
            ASSERT(fuzz.held_count < FUZZ_HELD_MAX);
            fuzz.held[fuzz.held_count++] = block;
        }
    }
    block_unref(fuzz.held[--fuzz.held_count]);
}

/* False: it was given back before. */
static bool fuzz_give_back(void)
{
    bool held = fuzz.held_count > 0;
    while (fuzz.held_count > 0) {
        block_unref(fuzz.held[--fuzz.held_count]);
    }
    return held;
}

static void fuzz_check_home(void)
{
    struct memory_stats stats;
    memory_stats(fuzz_net.reactor.memory, &stats);
    for (uint32_t i = 0; i < MEMORY_CLASS_COUNT; i++) {
        ASSERT(stats.used_bytes[i] == 0);
    }
    ASSERT(fuzz_net.shard.lent == 0);
    ASSERT(fuzz_net.net->pool_call.used == 0);
    ASSERT(fuzz_net.net->pool_send.used == 0);
    ASSERT(fuzz_net.reactor.timers.count == 0);
    ASSERT(atomic_load(&fuzz.shared->cores[0].connections) == 0);
}

void fuzz_net_run(enum net_protocol protocol)
{
    struct reactor *reactor = &fuzz_net.reactor;
    fuzz.stream_position = 0;
    fuzz.shut = false;
    fuzz.slow = 0;
    fuzz_net.frames.head_size = fuzz_net.frames.body_left = fuzz_net.frames.count = 0;
    (void)atomic_fetch_add(&fuzz.shared->cores[0].connections, 1);
    enum err err = conn_open(fuzz_net.net, FUZZ_FD, protocol);
    ASSERT(err == OK);
    if (fuzz_net.poor) {
        fuzz_hold();
    }
    for (uint32_t turns = 0; net_connection_count(fuzz_net.net) > 0; turns++) {
        ASSERT(turns < FUZZ_TURNS_MAX);
        if (reactor_turn(reactor, 0) == 0 && !fuzz_give_back()) {
            /* All wait for time: a full connection's parked fetches. */
            uint64_t next_ns = timer_wheel_next_ns(&reactor->timers);
            fuzz_net.now_ns =
                next_ns == UINT64_MAX ? fuzz_net.now_ns : max_u64(fuzz_net.now_ns, next_ns);
        }
    }
    while (reactor_turn(reactor, 0) > 0) {
    }
    (void)fuzz_give_back();
    group_core_stop(fuzz_net.net->groups);
    while (reactor_turn(reactor, 0) > 0) {
    }
    fuzz_check_home();
    /* A client that stays to the end gets whole answers. */
    ASSERT(fuzz_net.reset || (fuzz_net.frames.head_size == 0 && fuzz_net.frames.body_left == 0));
}
