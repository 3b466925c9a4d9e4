/* See the header. */
#include "tests/unit/net/node.h"

#include "core/assert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NODE_ID = 1, NODE_FRAME_BYTES = 256 << 10, NODE_CORRELATION = 0x0a0b0c00 };

const struct io_engine *const *node_engines(uint32_t *count)
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

void node_on_each_engine(uint32_t partitions, void (*claim)(struct node *node))
{
    uint32_t count;
    const struct io_engine *const *list = node_engines(&count);
    for (uint32_t i = 0; i < count; i++) {
        struct node *node = aligned_alloc(_Alignof(struct node), sizeof(*node));
        assert_non_null(node);
        node_open(node, list[i]);
        node_topic(node, "t", partitions, 0x5a, NULL);
        claim(node);
        node_close(node);
        free(node);
    }
}

/* --- Its life. --- */

struct node_wait {
    struct completion done;
    bool fired;
    enum err err;
};

static void node_wait_done(struct completion *done)
{
    struct node_wait *wait = CONTAINER_OF(done, struct node_wait, done);
    wait->fired = true;
    wait->err = (enum err)done->result;
}

static void node_wait_for(struct node *node, struct node_wait *wait)
{
    for (uint32_t i = 0; !wait->fired; i++) {
        ASSERT(i < CLIENT_TURNS_MAX);
        (void)reactor_turn(&node->reactor, NS_PER_MS);
    }
}

static void node_run(const char *format, const char *dir)
{
    char command[256];
    (void)snprintf(command, sizeof(command), "%s %s", format, dir);
    int rc = system(command);
    ASSERT(rc == 0);
}

static void node_open_reactor(struct node *node, const struct io_engine *engine)
{
    node->helper = io_helper_start();
    struct reactor *self = &node->reactor;
    enum err err = reactor_connect(&self, 1);
    ASSERT(err == OK);
    struct reactor_options options = {
        .engine = engine,
        .io = {.entries = 256, .recv_count = 8, .recv_size = 16384, .helper = node->helper},
        .memory = {.limit_bytes = MIB(128), .numa_node = -1},
        .seed = {1, 2, 3, 4},
    };
    err = reactor_open(self, &options);
    ASSERT(err == OK);
}

static void node_open_shard(struct node *node)
{
    (void)snprintf(node->dir, sizeof(node->dir), "net-test-XXXXXX");
    char *made = mkdtemp(node->dir);
    ASSERT(made != NULL);
    char sub[160];
    (void)snprintf(sub, sizeof(sub), "%s/topics %s/pool", node->dir, node->dir);
    node_run("mkdir", sub);
    struct shard_options options = {
        .data_dir = node->dir,
        .hooks = {.context = node->agent, .roll = agent_roll, .trim = agent_trim},
        .node_id = NODE_ID,
        .boot = 1,
        .partitions_max = 64,
        .appends_max = 1024,
    };
    enum err err = shard_open(&node->shard, &node->reactor, &options);
    ASSERT(err == OK);
    node->agent->shard = node->shard;
}

static void node_started(struct completion *done)
{
    ASSERT(done->result == OK);
}

static void node_open_net(struct node *node)
{
    node->shared = net_shared_create(1);
    ASSERT(node->shared != NULL);
    struct net_options options = {
        .agent = node->agent,
        .core_count = 1,
        .node_id = NODE_ID,
        .listen_count = 2,
        .advertise = "b.test:9092",
        .topic_auto_create = true,
        .partitions_default = 2,
        .connections_max = 64,
        .drain_timeout_ms = 5000,
        .shared = node->shared,
        .groups = {.classic = {.session_min_ms = 6000, .session_max_ms = 1800000, .members_max = 4},
                   .offsets_retention_ms = 604800000,
                   .partitions = 2},
    };
    options.listen[0] = (struct net_listen){.protocol = NET_KAFKA,
                                            .address = {.bytes = {127, 0, 0, 1}, .family = 4}};
    options.listen[1] = options.listen[0];
    options.listen[1].protocol = NET_ANY;
    enum err err = net_open(&node->net, &node->reactor, &options);
    ASSERT(err == OK);
    struct net_start *start = calloc(1, sizeof(*start));
    ASSERT(start != NULL);
    completion_init(&start->done, node_started);
    net_start(node->net, start);
    client_settle(&node->reactor);
    free(start);
    node->port = net_listening(node->net, 0)->address.port;
    node->port_any = net_listening(node->net, 1)->address.port;
}

void node_open(struct node *node, const struct io_engine *engine)
{
    memset(node, 0, sizeof(*node));
    node_open_reactor(node, engine);
    node->agent = stub_open(&node->reactor, NODE_ID);
    node_open_shard(node);
    node_open_net(node);
    client_open(&node->client, &node->reactor, node->port, 0);
}

void node_close(struct node *node)
{
    client_close(&node->client);
    struct node_wait wait = {0};
    completion_init(&wait.done, node_wait_done);
    net_stop(node->net, &wait.done);
    node_wait_for(node, &wait);
    net_close(node->net);
    net_shared_destroy(node->shared);
    wait = (struct node_wait){0};
    completion_init(&wait.done, node_wait_done);
    shard_stop(node->shard, &wait.done);
    node_wait_for(node, &wait);
    shard_close(node->shard);
    stub_close(node->agent);
    struct memory_stats stats;
    memory_stats(node->reactor.memory, &stats);
    for (uint32_t i = 0; i < MEMORY_CLASS_COUNT; i++) {
        ASSERT(stats.used_bytes[i] == 0);
    }
    struct reactor *self = &node->reactor;
    io_helper_stop(node->helper);
    reactor_close(self);
    reactor_disconnect(&self, 1);
    node_run("rm -rf", node->dir);
}

void node_settle(struct node *node)
{
    client_settle(&node->reactor);
}

void node_reconnect(struct node *node)
{
    client_close(&node->client);
    client_open(&node->client, &node->reactor, node->port, 0);
    node->answered = node->asked;
}

struct node_creation {
    struct proposal proposal;
    bool fired;
};

static void node_topic_made(struct completion *done)
{
    struct proposal *proposal = CONTAINER_OF(done, struct proposal, done);
    ASSERT(done->result == OK);
    CONTAINER_OF(proposal, struct node_creation, proposal)->fired = true;
}

void node_topic(struct node *node, const char *name, uint32_t partitions, uint8_t id,
                const char *config)
{
    struct node_creation *creation = calloc(1, sizeof(*creation));
    ASSERT(creation != NULL);
    struct command *command = &creation->proposal.command;
    command->kind = COMMAND_TOPIC_CREATE;
    memset(command->topic_create.id.bytes, id, sizeof(command->topic_create.id.bytes));
    command->topic_create.name = bytes_text(name);
    command->topic_create.partition_count = partitions;
    if (config != NULL) {
        const char *value = strchr(config, '=');
        ASSERT(value != NULL);
        command->topic_create.configs[0] = (struct command_config){
            .key = bytes_of(config, (uint32_t)(value - config)),
            .value = bytes_text(value + 1),
        };
        command->topic_create.config_count = 1;
    }
    completion_init(&creation->proposal.done, node_topic_made);
    agent_propose(node->agent, &creation->proposal);
    for (uint32_t i = 0; !creation->fired; i++) {
        ASSERT(i < CLIENT_TURNS_MAX);
        (void)reactor_turn(&node->reactor, NS_PER_MS);
    }
    free(creation);
}

/* --- Requests and answers. --- */

/* From the protocol's own tables of flexible versions, not from the code under test. */
static bool node_flexible(int16_t key, int16_t version)
{
    static const struct {
        int16_t key, from;
    } first[] = {{0, 9},  {1, 12}, {2, 6},  {3, 9},  {8, 8},  {9, 6},  {10, 3}, {11, 6}, {12, 4},
                 {13, 4}, {14, 4}, {15, 5}, {16, 3}, {18, 3}, {19, 5}, {20, 4}, {21, 2}, {22, 2},
                 {23, 4}, {32, 4}, {33, 2}, {35, 2}, {37, 2}, {42, 2}, {44, 1}, {60, 0}};

    for (uint32_t i = 0; i < ARRAY_COUNT(first); i++) {
        if (first[i].key == key) {
            return version >= first[i].from;
        }
    }
    return false;
}

static void node_send(struct node *node, struct wire *wire)
{
    store_be32(wire->data, wire->size - 4);
    client_send(&node->client, wire->data, wire->size);
    wire_close(wire);
}

void node_ask_with(struct node *node, int16_t key, int16_t version, const char *body,
                   struct bytes insert)
{
    struct wire wire = wire_open(NODE_FRAME_BYTES);
    wire_add(&wire, "00000000 0000 0000 00000000 0004'test'", insert);
    store_be16(wire.data + 4, (uint16_t)key);
    store_be16(wire.data + 6, (uint16_t)version);
    store_be32(wire.data + 8, NODE_CORRELATION + node->asked++);
    wire_add(&wire, node_flexible(key, version) ? "00" : "", insert);
    wire_add(&wire, body, insert);
    node_send(node, &wire);
}

void node_ask(struct node *node, int16_t key, int16_t version, const char *body)
{
    node_ask_with(node, key, version, body, (struct bytes){0});
}

void node_ask_raw(struct node *node, const char *frame)
{
    struct wire wire = wire_open(NODE_FRAME_BYTES);
    wire_add(&wire, "00000000", (struct bytes){0});
    wire_add(&wire, frame, (struct bytes){0});
    node_send(node, &wire);
}

static void node_print(const char *what, const uint8_t *data, uint32_t size)
{
    (void)fprintf(stderr, "%s", what);
    for (uint32_t i = 0; i < size; i++) {
        (void)fprintf(stderr, "%s%02x", i % 4 == 0 ? " " : "", data[i]);
    }
    (void)fprintf(stderr, "\n");
}

/* Receives one frame and compares; the length is that of `wire`. */
static void node_compare(struct node *node, struct wire *wire)
{
    uint8_t prefix[4];
    store_be32(wire->data, wire->size - 4);
    assert_int_equal(client_receive(&node->client, prefix, 4), 4);
    uint32_t size = load_be32(prefix);
    assert_true(size < NODE_FRAME_BYTES);
    uint8_t *got = malloc(size + 4);
    assert_non_null(got);
    memcpy(got, prefix, 4);
    assert_int_equal(client_receive(&node->client, got + 4, size), size);
    bool same = size + 4 == wire->size || (wire->more && size + 4 > wire->size);
    memcpy(wire->data, wire->more ? prefix : wire->data, 4);
    for (uint32_t i = 0; same && i < wire->size; i++) {
        same = wire->any[i] || wire->data[i] == got[i];
    }
    if (!same) {
        node_print("wanted", wire->data, wire->size);
        node_print("got   ", got, size + 4);
    }
    free(got);
    wire_close(wire);
    assert_true(same);
}

void node_expect_with(struct node *node, int16_t key, int16_t version, const char *body,
                      struct bytes insert)
{
    struct wire wire = wire_open(NODE_FRAME_BYTES);
    wire_add(&wire, "00000000 00000000", insert);
    store_be32(wire.data + 4, NODE_CORRELATION + node->answered++);
    /* The answer to ApiVersions has the old header in all versions. */
    wire_add(&wire, node_flexible(key, version) && key != 18 ? "00" : "", insert);
    wire_add(&wire, body, insert);
    node_compare(node, &wire);
}

void node_expect(struct node *node, int16_t key, int16_t version, const char *body)
{
    node_expect_with(node, key, version, body, (struct bytes){0});
}

void node_expect_raw(struct node *node, const char *frame)
{
    struct wire wire = wire_open(NODE_FRAME_BYTES);
    wire_add(&wire, "00000000", (struct bytes){0});
    wire_add(&wire, frame, (struct bytes){0});
    node_compare(node, &wire);
}

void node_check(struct node *node, int16_t key, int16_t version, const char *body,
                const char *answer)
{
    node_ask(node, key, version, body);
    node_expect(node, key, version, answer);
}

void node_expect_end(struct node *node)
{
    assert_true(client_ended(&node->client));
    node_reconnect(node);
}
