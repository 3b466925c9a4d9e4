/* See the header. An io in flight is in world->flying with its time; what has taken effect waits in
 * its reactor's done list for the next poll.
 *
 *     engine[0] when it takes effect   engine[1] moment of a sync   engine[2] checksum of a write
 *     engine[3] its reactor's state
 *
 * The buffer of a write is looked at twice: whoever changes it in flight is found. */
#include "tests/sim/io_engine_sim.h"

#include "core/assert.h"
#include "core/crc32c.h"
#include "tests/sim/io_engine_sim_internal.h"
#include "tests/sim/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sim_engine *sim_state(const struct reactor *reactor)
{
    return reactor->engine_state;
}

static struct sim_engine *sim_owner(const struct io *io)
{
    return (struct sim_engine *)(uintptr_t)io->engine[NOTE_STATE];
}

static bool sim_is_disk_op(enum io_op op)
{
    return op == IO_READ || op == IO_WRITE || op == IO_SYNC || io_is_helper_op(op);
}

static void sim_done(struct io *io, int32_t result)
{
    struct sim_engine *engine = sim_owner(io);
    io->done.result = result;
    io->next = NULL;
    if (engine->done.tail == NULL) {
        engine->done.head = io;
    } else {
        engine->done.tail->next = io;
    }
    engine->done.tail = io;
}

static void sim_network_done(void *context, struct io *io, int32_t result);

static bool sim_network_lend(void *context, struct io *io)
{
    (void)context;
    struct sim_engine *engine = sim_owner(io);
    if (engine->buffers_free_count == 0) {
        return false;
    }
    uint32_t size = engine->reactor->io_options.recv_size;
    uint32_t index = engine->buffers_free[--engine->buffers_free_count];
    io->recv.data = engine->buffers + (size_t)index * size;
    io->recv.size = size;
    io->recv.lent = index + 1;
    return true;
}

struct sim_world *sim_world_create(uint64_t seed)
{
    struct sim_world *world = calloc(1, sizeof(*world));
    ASSERT(world != NULL);
    prng_seed_one(&world->prng, seed);
    prng_seed_one(&world->scenario, seed ^ 0x5ce9a210);
    world->now_ns = NS_PER_S + prng_below(&world->prng, NS_PER_S);
    world->wall_offset_ms = 1700000000000 + prng_below(&world->prng, 1000000000);
    struct network_hooks hooks = {
        .context = world, .done = sim_network_done, .lend = sim_network_lend};
    world->network = network_create(&world->prng, &hooks);
    return world;
}

static void sim_node_destroy(struct sim_node *node)
{
    if (node->alive) {
        sim_node_end(node, false);
    }
    disk_destroy(node->disk);
    process_destroy(node->process);
    for (uint32_t i = 0; i < SIM_REACTORS_MAX; i++) {
        free(node->reactors[i]);
    }
    free(node->fds);
    free(node);
}

void sim_world_destroy(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        sim_node_destroy(world->nodes[i]);
    }
    ASSERT(world->flying_count == 0);
    network_destroy(world->network);
    free(world->flying);
    free(world);
}

struct prng *sim_prng(struct sim_world *world)
{
    return &world->scenario;
}

uint64_t sim_now_ns(const struct sim_world *world)
{
    return world->now_ns;
}

uint64_t sim_trace(const struct sim_world *world)
{
    return world->trace;
}

struct network *sim_network(struct sim_world *world)
{
    return world->network;
}

struct sim_node *sim_node_add(struct sim_world *world)
{
    ASSERT(world->node_count < SIM_NODES_MAX);
    struct sim_node *node = calloc(1, sizeof(*node));
    ASSERT(node != NULL);
    node->world = world;
    node->number = world->node_count;
    node->disk = disk_create(&world->prng);
    node->process = process_create();
    node->manners.delay_max_ns = NS_PER_MS;
    world->nodes[world->node_count++] = node;
    return node;
}

uint32_t sim_node_number(const struct sim_node *node)
{
    return node->number;
}

struct disk *sim_node_disk(const struct sim_node *node)
{
    return node->disk;
}

uint32_t sim_node_in_flight(const struct sim_node *node)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->world->flying_count; i++) {
        count += sim_owner(node->world->flying[i])->node == node;
    }
    for (uint32_t i = 0; i < node->reactor_count; i++) {
        count += node->engines[i]->done.head != NULL;
    }
    return count;
}

void sim_node_start(struct sim_node *node, struct reactor **reactors, uint32_t count)
{
    ASSERT(!node->alive);
    ASSERT(count > 0 && count <= SIM_REACTORS_MAX);
    node->alive = true;
    node->crashed = false;
    node->crash_in = 0;
    node->panic[0] = 0;
    node->reactor_count = count;
    sim_node_enter(node);
    for (uint32_t i = 0; i < count; i++) {
        if (node->reactors[i] == NULL) {
            node->reactors[i] = aligned_alloc(CACHE_LINE_BYTES, sizeof(struct reactor));
            ASSERT(node->reactors[i] != NULL);
        }
        memset(node->reactors[i], 0, sizeof(struct reactor));
        node->reactors[i]->index = i;
        reactors[i] = node->reactors[i];
    }
    enum err err = reactor_connect(reactors, count);
    ASSERT(err == OK);
    for (uint32_t i = 0; i < count; i++) {
        struct reactor_options options = {
            .index = i,
            .engine = &io_engine_sim,
            .io = {.entries = 256, .recv_count = 16, .recv_size = 4096, .world = node},
            .memory = {.limit_bytes = SIM_MEMORY_BYTES, .numa_node = -1},
        };
        for (uint32_t word = 0; word < 4; word++) {
            options.seed[word] = prng_next(&node->world->prng);
        }
        err = reactor_open(reactors[i], &options);
        ASSERT(err == OK);
    }
    sim_node_leave(node);
}

/* A socket that is new to its node gets a descriptor. */
static void sim_network_done(void *context, struct io *io, int32_t result)
{
    (void)context;
    bool makes = io->op == IO_LISTEN || io->op == IO_ACCEPT || io->op == IO_CONNECT;
    if (makes && result >= 0) {
        struct sim_fd entry = {.kind = SIM_FD_SOCKET, .number = result};
        result = sim_fd_add(sim_owner(io)->node, &entry);
    }
    sim_done(io, result);
}

void sim_jump_ms(struct sim_world *world, int64_t ms)
{
    world->wall_offset_ms += (uint64_t)ms;
}

/* Much longer now and then, most often some tens of ms. */
static uint64_t sim_slow_delay(struct prng *prng)
{
    uint64_t most = SIM_SLOW_NS >> prng_below(prng, 8);
    return 1 + prng_below(prng, most);
}

static uint64_t sim_delay(struct sim_node *node, const struct io *io)
{
    struct prng *prng = &node->world->prng;
    bool flush = io->op == IO_SYNC || io->op == IO_SYNC_DIR ||
                 (io->op == IO_WRITE && (io->flags & IO_WRITE_DURABLE) != 0);
    if (flush && prng_chance(prng, node->manners.slow_chance)) {
        node->slow++;
        return sim_slow_delay(prng);
    }
    uint64_t most = node->manners.delay_max_ns;
    uint64_t delay = 1 + prng_below(prng, max_u64(most, 1));
    return prng_chance(prng, 2) ? delay * 20 : delay; /* Now and then a slow one. */
}

static void sim_fly(struct sim_node *node, struct io *io)
{
    struct sim_world *world = node->world;
    io->engine[NOTE_DUE] = world->now_ns + sim_delay(node, io);
    if (io->op == IO_SYNC) {
        io->engine[NOTE_MOMENT] = disk_moment(node->disk);
    } else if (io->op == IO_WRITE) {
        io->engine[NOTE_CRC] = crc32c(0, io->write.data, io->write.size);
    }
    if (world->flying_count == world->flying_capacity) {
        world->flying_capacity = max_u32(64, world->flying_capacity * 2);
        world->flying = realloc(world->flying, world->flying_capacity * sizeof(*world->flying));
        ASSERT(world->flying != NULL);
    }
    world->flying[world->flying_count++] = io;
}

static void sim_note(struct sim_node *node, const struct io *io, int32_t result)
{
    const uint64_t words[] = {node->world->now_ns, node->number, (uint64_t)io->op, (uint64_t)io->fd,
                              (uint64_t)result};
    for (uint32_t i = 0; i < ARRAY_COUNT(words); i++) {
        node->world->trace = (node->world->trace ^ words[i]) * 1099511628211U;
    }
}

static void sim_submit_one(struct sim_engine *engine, struct io *io)
{
    struct sim_node *node = engine->node;
    io->engine[NOTE_STATE] = (uint64_t)(uintptr_t)engine;
    io->next = NULL;
    if (node->crashed || (sim_is_disk_op(io->op) && !sim_node_event(node))) {
        return; /* Nobody waits for it any more. */
    }
    if (io->op == IO_WRITE && (io->flags & IO_WRITE_CACHED) != 0) {
        /* A copy: done when it is submitted, wholly. What the disk has of it a cut will say. */
        int32_t result = sim_effect(node, io);
        sim_note(node, io, result);
        if (sim_node_event(node)) {
            sim_done(io, result);
        }
        return;
    }
    if (sim_is_disk_op(io->op) || io->op == IO_CLOSE) {
        sim_fly(node, io);
        return;
    }
    bool has_socket = io->op != IO_LISTEN && io->op != IO_CONNECT;
    int fd = io->fd;
    if (has_socket) {
        /* The network knows its own numbers only; the descriptor is the caller's again at once. */
        io->fd = sim_fd(node, fd)->number;
    }
    network_submit(node->world->network, node->number, io, node->world->now_ns);
    io->fd = fd;
}

static void sim_submit(struct reactor *reactor, struct io *batch)
{
    while (batch != NULL) {
        struct io *io = batch;
        batch = io->next;
        sim_submit_one(sim_state(reactor), io);
    }
}

/* The one in flight that is due first; UINT32_MAX: none. */
static uint32_t sim_first(const struct sim_world *world)
{
    uint32_t first = UINT32_MAX;
    for (uint32_t i = 0; i < world->flying_count; i++) {
        if (first == UINT32_MAX ||
            world->flying[i]->engine[NOTE_DUE] < world->flying[first]->engine[NOTE_DUE]) {
            first = i;
        }
    }
    return first;
}

static void sim_land(struct sim_world *world, uint32_t index)
{
    struct io *io = world->flying[index];
    struct sim_node *node = sim_owner(io)->node;
    bool counts = sim_is_disk_op(io->op);
    if (node->crashed || (counts && !sim_node_event(node))) {
        io->engine[NOTE_DUE] = UINT64_MAX; /* In flight for ever, until sim_node_end(). */
        return;
    }
    if (io->op == IO_WRITE) {
        ASSERT(io->engine[NOTE_CRC] == crc32c(0, io->write.data, io->write.size));
    }
    int32_t result = sim_effect(node, io);
    sim_note(node, io, result);
    world->flying[index] = world->flying[--world->flying_count];
    if (counts && !sim_node_event(node)) {
        return; /* It happened, and nobody heard of it. */
    }
    sim_done(io, result);
}

/* Lets everything happen that is due. */
static void sim_world_advance(struct sim_world *world)
{
    uint32_t first;
    while ((first = sim_first(world)) != UINT32_MAX &&
           world->flying[first]->engine[NOTE_DUE] <= world->now_ns) {
        sim_land(world, first);
    }
    network_advance(world->network, world->now_ns);
}

static uint32_t sim_poll(struct reactor *reactor, uint64_t wait_ns)
{
    struct sim_engine *engine = sim_state(reactor);
    uint64_t now = engine->node->world->now_ns;
    uint32_t count = 0;
    struct io *io = engine->done.head;
    engine->done = (struct sim_io_list){0};
    while (io != NULL && !engine->node->crashed) {
        struct io *next = io->next;
        io->next = NULL;
        io_complete(reactor, io, io->done.result);
        io = next;
        count++;
    }
    engine->idle_until_ns = wait_ns > UINT64_MAX - now ? UINT64_MAX : now + wait_ns;
    return count;
}

/* Turns all reactors of a node, in a drawn order; how much they did. */
static uint32_t sim_node_turn(struct sim_node *node)
{
    uint32_t order[SIM_REACTORS_MAX];
    uint32_t did = 0;
    for (uint32_t i = 0; i < node->reactor_count; i++) {
        uint32_t at = (uint32_t)prng_below(&node->world->prng, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (uint32_t i = 0; i < node->reactor_count && !node->crashed; i++) {
        did += reactor_turn(node->reactors[order[i]], UINT64_MAX);
    }
    return did;
}

static uint32_t sim_node_run(struct sim_node *node)
{
    sim_node_enter(node);
    sim_node_turns(node);
    if (setjmp(node->escape) == 0) {
        uint32_t did = sim_node_turn(node);
        sim_node_turns(NULL);
        sim_node_leave(node);
        return did;
    }
    sim_node_turns(NULL);
    sim_node_leave(node); /* Died inside sim_execute(), or gave up. */
    return 1;
}

/* When something happens that no turn of now can bring about. */
static uint64_t sim_next_ns(const struct sim_world *world)
{
    uint64_t next = network_next_ns(world->network);
    uint32_t first = sim_first(world);
    if (first != UINT32_MAX) {
        next = min_u64(next, world->flying[first]->engine[NOTE_DUE]);
    }
    for (uint32_t n = 0; n < world->node_count; n++) {
        const struct sim_node *node = world->nodes[n];
        for (uint32_t i = 0; i < node->reactor_count && node->alive && !node->crashed; i++) {
            next = min_u64(next, node->engines[i]->idle_until_ns);
        }
    }
    return next;
}

bool sim_step(struct sim_world *world)
{
    uint32_t did = 0;
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct sim_node *node = world->nodes[i];
        if (node->alive && !node->crashed) {
            did += sim_node_run(node) + node->crashed; /* A death is news, too. */
        }
    }
    uint64_t next = sim_next_ns(world);
    if (did == 0 && next == UINT64_MAX) {
        return false;
    }
    uint64_t turn = 1 + prng_below(&world->prng, SIM_TURN_NS_MAX);
    world->now_ns = did == 0 ? max_u64(next, world->now_ns + 1) : world->now_ns + turn;
    sim_world_advance(world);
    return true;
}

/* What the crash met in flight happened, or not, or in part. */
static void sim_end_flying(struct sim_node *node, struct io *io)
{
    struct prng *prng = &node->world->prng;
    if (io->op == IO_WRITE) {
        struct disk_write write = sim_disk_write(node, io);
        disk_write_torn(node->disk, &write);
    } else if ((io->op == IO_RENAME || io->op == IO_UNLINK || io->op == IO_MKDIR ||
                io->op == IO_ALLOCATE || io->op == IO_TRUNCATE || io->op == IO_SYNC ||
                io->op == IO_SYNC_DIR || io->op == IO_OPEN) &&
               prng_chance(prng, 50)) {
        int32_t result = sim_effect(node, io);
        MAYBE(result < 0);
    }
}

void sim_node_end(struct sim_node *node, bool power_cut)
{
    struct sim_world *world = node->world;
    ASSERT(node->alive);
    node->crashed = true;
    for (uint32_t i = 0; i < world->flying_count;) {
        struct io *io = world->flying[i];
        if (sim_owner(io)->node == node) {
            sim_end_flying(node, io);
            world->flying[i] = world->flying[--world->flying_count];
        } else {
            i++;
        }
    }
    network_node_died(world->network, node->number);
    if (node->fd_count > 0) {
        memset(node->fds, 0, node->fd_count * sizeof(*node->fds));
    }
    disk_unprotect_all(node->disk);
    if (power_cut) {
        disk_cut(node->disk);
    }
    (void)process_die(node->process);
    node->reactor_count = 0;
    node->alive = false;
}

int32_t sim_execute(struct reactor *reactor, struct io *io)
{
    struct sim_engine *engine = sim_state(reactor);
    struct sim_node *node = engine->node;
    ASSERT(!sim_is_disk_op(io->op) || io->op != IO_NONE);
    io->engine[NOTE_STATE] = (uint64_t)(uintptr_t)engine;
    io->engine[NOTE_MOMENT] = disk_moment(node->disk);
    bool counts = sim_is_disk_op(io->op);
    if (node->crashed || (counts && !sim_node_event(node))) {
        sim_end_flying(node, io);
        longjmp(node->escape, 1);
    }
    int32_t result = sim_effect(node, io);
    sim_note(node, io, result);
    if (counts && !sim_node_event(node)) {
        longjmp(node->escape, 1);
    }
    return result;
}

static enum err sim_open(struct reactor *reactor, const struct io_engine_options *options)
{
    struct sim_node *node = options->world;
    ASSERT(node != NULL && node->alive);
    struct sim_engine *engine = process_calloc(1, sizeof(*engine));
    ASSERT(engine != NULL);
    engine->node = node;
    engine->reactor = reactor;
    engine->buffers = process_malloc((size_t)options->recv_count * options->recv_size);
    engine->buffers_free = process_calloc(options->recv_count, sizeof(uint32_t));
    ASSERT(engine->buffers != NULL && engine->buffers_free != NULL);
    for (uint32_t i = 0; i < options->recv_count; i++) {
        engine->buffers_free[i] = i;
    }
    engine->buffers_free_count = options->recv_count;
    reactor->engine_state = engine;
    node->engines[reactor->index] = engine;
    return OK;
}

static void sim_close(struct reactor *reactor)
{
    struct sim_engine *engine = sim_state(reactor);
    ASSERT(engine->done.head == NULL);
    process_free(engine->buffers);
    process_free(engine->buffers_free);
    process_free(engine);
    reactor->engine_state = NULL;
}

/* Nobody sleeps here: every reactor is turned before the clock moves. */
static void sim_wake(struct reactor *self, struct reactor *peer)
{
    (void)self;
    (void)peer;
}

static uint64_t sim_clock_ns(struct reactor *reactor)
{
    return sim_state(reactor)->node->world->now_ns;
}

static uint64_t sim_clock_ms(struct reactor *reactor)
{
    const struct sim_world *world = sim_state(reactor)->node->world;
    return world->wall_offset_ms + world->now_ns / NS_PER_MS;
}

static void sim_recv_release(struct reactor *reactor, struct io *io)
{
    struct sim_engine *engine = sim_state(reactor);
    ASSERT(io->recv.lent > 0);
    engine->buffers_free[engine->buffers_free_count++] = io->recv.lent - 1;
}

static void sim_socket_shutdown(struct reactor *reactor, int fd)
{
    struct sim_node *node = sim_state(reactor)->node;
    network_shutdown(node->world->network, sim_fd(node, fd)->number);
}

static void sim_socket_end_receive(struct reactor *reactor, int fd)
{
    struct sim_node *node = sim_state(reactor)->node;
    network_end_receive(node->world->network, sim_fd(node, fd)->number);
}

static enum err sim_socket_name(struct reactor *reactor, int fd, bool peer,
                                struct io_address *address)
{
    struct sim_node *node = sim_state(reactor)->node;
    return network_name(node->world->network, sim_fd(node, fd)->number, peer, address);
}

static void sim_describe(struct reactor *reactor, char *text, uint32_t size)
{
    snprintf(text, size, "io=sim node=%u", sim_state(reactor)->node->number);
}

const struct io_engine io_engine_sim = {
    .name = "sim",
    .open = sim_open,
    .submit = sim_submit,
    .poll = sim_poll,
    .wake = sim_wake,
    .now_ns = sim_clock_ns,
    .wall_ms = sim_clock_ms,
    .recv_release = sim_recv_release,
    .socket_shutdown = sim_socket_shutdown,
    .socket_end_receive = sim_socket_end_receive,
    .socket_name = sim_socket_name,
    .describe = sim_describe,
    .close = sim_close,
};
