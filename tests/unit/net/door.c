/* See the header. The protocol: frames are be32 size, kind, anything; or a line that begins with
 * '>', whose fifth byte is the kind; one that begins ">w" is told to be DOOR_BIG long. The kinds:
 *
 *     e echo    h held until the test (or a cancel) answers    s the same, deaf to cancels
 *     a held, and wants to be alone    n no reply    l echo and close    x malformed
 *     b be32 n: a reply of n bytes     v be32 n: the same, each byte a vector of its own
 *     p be32 n: the same, each byte a part of its own */
#include "tests/unit/net/door.h"

#include "core/assert.h"
#include "net/kafka/kafka.h"

#include <stdlib.h>
#include <string.h>

enum { PREFIX = 4, FRAME_MAX = 1 << 30, SPY_SESSION_BYTES = 72 };

/* Of the reactor under test; engines have no place for it. */
static struct {
    struct io_engine engine;
    const struct io_engine *real;
    uint64_t skew_ns;
    struct door *door;
} bench;

/* --- The protocol. --- */

static int64_t spy_line(struct bytes input, struct protocol_scan *scan)
{
    struct spy *spy = &bench.door->spy;
    const uint8_t *from = input.data + scan->position;
    const uint8_t *end = memchr(from, '\n', input.size - scan->position);
    spy->scanned += input.size - scan->position;
    scan->position = input.size;
    scan->wanted = input.size > 1 && input.data[1] == 'w' ? DOOR_BIG : 0;
    if (end != NULL) {
        return end - input.data + 1;
    }
    return input.size > DOOR_LINE_MAX ? ERR_TOO_LARGE : 0;
}

static int64_t spy_frame(const struct conn *conn, struct bytes input, struct protocol_scan *scan)
{
    ASSERT(conn->session != NULL);
    if (input.size > 0 && input.data[0] == '>') {
        return spy_line(input, scan);
    }
    ASSERT(scan->position == 0);
    if (input.size < PREFIX) {
        return 0;
    }
    uint32_t size = load_be32(input.data);
    return size == 0 || size > FRAME_MAX ? ERR_TOO_LARGE : (int64_t)size + PREFIX;
}

static uint8_t spy_kind(const struct call *call)
{
    return call->frame.data[PREFIX];
}

static enum err spy_echo(struct call *call, uint8_t mark)
{
    uint8_t *data;
    enum err err = call_reply_room(call, call->frame.size, &data);
    if (err != OK) {
        return err;
    }
    memcpy(data, call->frame.data, call->frame.size);
    data[PREFIX] = mark == 0 ? data[PREFIX] : mark;
    call->last = spy_kind(call) == 'l';
    call_reply_bytes(call, data, call->frame.size);
    return OK;
}

static enum err spy_fill(struct call *call, bool each)
{
    uint32_t size = load_be32(call->frame.data + PREFIX + 1);
    uint64_t vectors = each ? size * sizeof(struct iovec) : 0;
    uint8_t *data;
    enum err err = call_arena(call, vectors);
    if (err != OK) {
        return err;
    }
    call->vectors = call_take(call, vectors);
    err = call_reply_room(call, size, &data);
    if (err != OK) {
        return err;
    }
    for (uint32_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(i % 251);
    }
    if (!each) {
        call_reply_bytes(call, data, size);
        return OK;
    }
    call->vector_count = size;
    for (uint32_t i = 0; i < size; i++) {
        call->vectors[i] = (struct iovec){.iov_base = data + i, .iov_len = 1};
    }
    call_reply(call);
    return OK;
}

/* One byte of a reply in parts; behind a cancel there is no other. */
static void spy_part(struct call *call)
{
    uint32_t *sent = call->state;
    uint8_t *byte = (uint8_t *)(sent + 1);
    *byte = (uint8_t)((*sent)++ % 251);
    call->more = *sent < load_be32(call->frame.data + PREFIX + 1) && !call->canceled;
    bench.door->spy.parts++;
    call_reply_bytes(call, byte, 1);
}

static enum err spy_parts(struct call *call)
{
    enum err err = call_arena(call, 2 * sizeof(uint32_t));
    if (err == OK) {
        call->state = call_take(call, 2 * sizeof(uint32_t));
        spy_part(call);
    }
    return err;
}

static enum err spy_hold(struct call *call)
{
    struct spy *spy = &bench.door->spy;
    enum err err = call_arena(call, call->frame.size);
    if (err == OK) {
        ASSERT(spy->held_count < DOOR_HELD_MAX);
        spy->held[spy->held_count++] = call;
    }
    return err;
}

static enum err spy_begin(struct call *call)
{
    if (call->late) {
        return spy_echo(call, 'R');
    }
    switch (spy_kind(call)) {
    case 'e':
    case 'l':
        return spy_echo(call, 0);
    case 'h':
    case 's':
        return spy_hold(call);
    case 'a':
        return call->conn->first == call ? spy_hold(call) : ERR_BUSY;
    case 'b':
    case 'v':
        return spy_fill(call, spy_kind(call) == 'v');
    case 'p':
        return spy_parts(call);
    case 'n':
        call_reply(call);
        return OK;
    default:
        return ERR_CORRUPT;
    }
}

static enum err spy_start(struct call *call)
{
    enum err err = spy_begin(call);
    if (err == ERR_NO_MEMORY) {
        bench.door->spy.starved++;
    } else if (err != ERR_BUSY) {
        bench.door->spy.started++;
    }
    return err;
}

void door_finish(struct door *door, uint32_t held, uint8_t mark)
{
    struct call *call = door->spy.held[held];
    ASSERT(call != NULL);
    door->spy.held[held] = NULL;
    enum err err = spy_echo(call, mark);
    ASSERT(err == OK);
}

static void spy_cancel(struct call *call)
{
    struct spy *spy = &bench.door->spy;
    for (uint32_t i = 0; i < spy->held_count; i++) {
        if (spy->held[i] == call && spy_kind(call) != 's') {
            spy->canceled++;
            door_finish(bench.door, i, 'C');
        }
    }
}

static void spy_sent(struct call *call)
{
    bench.door->spy.sent++;
    call_done(call);
}

static void spy_open(struct conn *conn)
{
    uint64_t *session = conn->session;
    ASSERT(session[0] == 0 && session[SPY_SESSION_BYTES / sizeof(uint64_t) - 1] == 0);
    memset(session, 0xee, SPY_SESSION_BYTES);
    bench.door->spy.opened++;
}

static void spy_close(struct conn *conn)
{
    ASSERT(conn->session != NULL && conn->call_count == 0);
    bench.door->spy.closed++;
}

const struct protocol protocol_kafka = {
    .name = "test",
    .session_bytes = SPY_SESSION_BYTES,
    .open = spy_open,
    .close = spy_close,
    .frame = spy_frame,
    .start = spy_start,
    .cancel = spy_cancel,
    .part = spy_part,
    .sent = spy_sent,
};

enum err kafka_core_open(struct kafka_core **core, struct net *net)
{
    (void)net;
    *core = NULL;
    return OK;
}

void kafka_core_close(struct kafka_core *core)
{
    (void)core;
}

bool kafka_core_busy(const struct kafka_core *core)
{
    (void)core;
    return bench.door->spy.busy;
}

/* --- The door. --- */

const struct io_engine *const *door_engines(uint32_t *count)
{
    static const struct io_engine *const all[] = {
        &io_engine_posix,
#ifdef FLOE_HAS_URING
        &io_engine_uring,
#endif
    };
    *count = ARRAY_COUNT(all);
    return all;
}

static uint64_t bench_now_ns(struct reactor *reactor)
{
    return bench.real->now_ns(reactor) + bench.skew_ns;
}

static void door_open_reactor(struct door *door, const struct io_engine *engine)
{
    bench.real = engine;
    bench.engine = *engine;
    bench.engine.now_ns = bench_now_ns;
    bench.skew_ns = 0;
    bench.door = door;
    door->helper = io_helper_start();
    struct reactor *self = &door->reactor;
    enum err err = reactor_connect(&self, 1);
    ASSERT(err == OK);
    struct reactor_options options = {
        .engine = &bench.engine,
        .io = {.entries = 256,
               .recv_count = DOOR_LENT_MAX,
               .recv_size = 4096,
               .helper = door->helper},
        .memory = {.limit_bytes = MIB(64), .numa_node = -1},
        .seed = {1, 2, 3, 4},
    };
    err = reactor_open(self, &options);
    ASSERT(err == OK);
}

struct door_start {
    struct net_start start;
    bool fired;
};

static void door_started(struct completion *done)
{
    struct net_start *start = CONTAINER_OF(done, struct net_start, done);
    ASSERT(done->result == OK);
    CONTAINER_OF(start, struct door_start, start)->fired = true;
}

void door_open(struct door *door, const struct io_engine *engine, uint32_t connections_max)
{
    memset(door, 0, sizeof(*door));
    door_open_reactor(door, engine);
    door->shared = net_shared_create(1);
    ASSERT(door->shared != NULL);
    struct net_options options = {
        .core_count = 1,
        .node_id = 1,
        .listen_count = 1,
        .connections_max = connections_max,
        .idle_timeout_ms = 600000,
        .stall_timeout_ms = 30000,
        .drain_timeout_ms = 5000,
        .shared = door->shared,
    };
    options.listen[0].protocol = NET_KAFKA; /* Ours in its place: no first byte tells it. */
    options.listen[0].address = (struct io_address){.bytes = {127, 0, 0, 1}, .family = 4};
    enum err err = net_open(&door->net, &door->reactor, &options);
    ASSERT(err == OK);
    struct door_start start = {0};
    completion_init(&start.start.done, door_started);
    net_start(door->net, &start.start);
    for (uint32_t i = 0; !start.fired; i++) {
        ASSERT(i < CLIENT_TURNS_MAX);
        (void)reactor_turn(&door->reactor, NS_PER_MS);
    }
    door->port = net_listening(door->net, 0)->address.port;
}

static void door_stopped(struct completion *done)
{
    CONTAINER_OF(done, struct door, stopped)->stop_fired = true;
}

void door_stop(struct door *door)
{
    completion_init(&door->stopped, door_stopped);
    net_stop(door->net, &door->stopped);
}

void door_close(struct door *door)
{
    if (door->stopped.fn == NULL) {
        door_stop(door);
    }
    for (uint32_t i = 0; !door->stop_fired; i++) {
        ASSERT(i < CLIENT_TURNS_MAX);
        (void)reactor_turn(&door->reactor, NS_PER_MS);
    }
    ASSERT(door->spy.opened == door->spy.closed);
    net_close(door->net);
    net_shared_destroy(door->shared);
    struct memory_stats stats;
    memory_stats(door->reactor.memory, &stats);
    for (uint32_t i = 0; i < MEMORY_CLASS_COUNT; i++) {
        ASSERT(stats.used_bytes[i] == 0);
    }
    struct reactor *self = &door->reactor;
    io_helper_stop(door->helper);
    reactor_close(self);
    reactor_disconnect(&self, 1);
}

void door_settle(struct door *door)
{
    client_settle(&door->reactor);
}

void door_pass(struct door *door, uint64_t ms)
{
    bench.skew_ns += ms * NS_PER_MS;
    door_settle(door);
}

struct conn *door_conn(struct door *door)
{
    ASSERT(net_connection_count(door->net) == 1);
    return CONTAINER_OF(door->net->conns.next, struct conn, node);
}

void door_hoard(struct door *door, enum memory_class class)
{
    for (uint32_t size = memory_block_max(door->reactor.memory); size >= BLOCK_SIZE_MIN;) {
        struct block *block = block_acquire(door->reactor.memory, class, size);
        if (block == NULL) {
            size /= 2;
            continue;
        }
        ASSERT(door->hoard_count < DOOR_BLOCKS_MAX);
        door->hoard[door->hoard_count++] = block;
    }
}

void door_unhoard(struct door *door)
{
    while (door->hoard_count > 0) {
        block_unref(door->hoard[--door->hoard_count]);
    }
}
