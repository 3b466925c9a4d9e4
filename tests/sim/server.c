/* See the header. */
#include "tests/sim/server.h"

#include "core/assert.h"
#include "tests/sim/process.h"

#include <raft.h>

enum {
    SERVER_NODE_ID = 1,
    SERVER_PARTITIONS_MAX = 64,
    SERVER_CONNECTIONS_MAX = 4,
};

/* What libraft allocates dies with the process, too. */
static void *heap_malloc(void *data, size_t size)
{
    (void)data;
    return process_malloc(size);
}

static void heap_free(void *data, void *at)
{
    (void)data;
    process_free(at);
}

static void *heap_calloc(void *data, size_t count, size_t size)
{
    (void)data;
    return process_calloc(count, size);
}

static void *heap_realloc(void *data, void *at, size_t size)
{
    (void)data;
    return process_realloc(at, size);
}

static void *heap_aligned_alloc(void *data, size_t alignment, size_t size)
{
    (void)data;
    return process_aligned_alloc(alignment, size);
}

static void heap_aligned_free(void *data, size_t alignment, void *at)
{
    (void)data;
    (void)alignment;
    process_free(at);
}

static struct raft_heap heap = {
    .malloc = heap_malloc,
    .free = heap_free,
    .calloc = heap_calloc,
    .realloc = heap_realloc,
    .aligned_alloc = heap_aligned_alloc,
    .aligned_free = heap_aligned_free,
};

static void server_started(struct completion *done)
{
    struct sim_server *server = CONTAINER_OF(done, struct sim_server, started);
    server->err = (enum err)done->result;
    server->up = done->result == OK;
    server->failed = !server->up;
}

static void server_stopped(struct completion *done)
{
    struct sim_server *server = CONTAINER_OF(done, struct sim_server, stopped);
    server->err = (enum err)done->result;
    server->down = true;
}

void server_start(struct sim_server *server, struct sim_node *machine,
                  struct reactor *const *reactors, uint32_t core_count,
                  const struct server_options *options)
{
    *server = (struct sim_server){
        .machine = machine, .reactors = reactors, .core_count = core_count, .alive = true};
    const struct node_options node_options = {
        .data_dir = "data",
        .version = "sim",
        .node_id = SERVER_NODE_ID,
        .direct = options->direct,
        .partitions_max = SERVER_PARTITIONS_MAX,
        .connections_max = SERVER_CONNECTIONS_MAX,
        .retention_check_ms = options->retention_check_ms,
        .journal_bytes = options->journal_bytes,
        .journal_bytes_max = options->journal_bytes_max,
        .milestone_bytes = options->milestone_bytes,
        .slice_bytes = options->slice_bytes,
        .meta_log_file_bytes = KIB(256),
        .execute = sim_execute,
        .config_default = options->config_default,
        .partitions_default = 1,
    };
    raft_heap_set(&heap);
    completion_init(&server->started, server_started);
    completion_init(&server->stopped, server_stopped);
    sim_node_enter(machine);
    enum err err = node_create(&server->node, reactors, core_count, &node_options);
    ASSERT(err == OK);
    node_start(server->node, &server->started);
    sim_node_leave(machine);
}

void server_cancel(struct sim_server *server)
{
    node_cancel(server->node);
}

void server_stop(struct sim_server *server)
{
    server->err = OK;
    sim_node_enter(server->machine);
    node_stop(server->node, &server->stopped);
    sim_node_leave(server->machine);
}

void server_destroy(struct sim_server *server)
{
    ASSERT(server->down);
    sim_node_enter(server->machine);
    node_destroy(server->node);
    sim_node_leave(server->machine);
    server->node = NULL;
    server->alive = false;
}

void server_forget(struct sim_server *server)
{
    server->node = NULL;
    server->alive = false;
}

const char *server_message(const struct sim_server *server)
{
    return node_message(server->node);
}

struct shard *server_shard(const struct sim_server *server, uint32_t core)
{
    return node_shard(server->node, core);
}

struct net *server_net(const struct sim_server *server, uint32_t core)
{
    return node_net(server->node, core);
}

struct agent *server_agent(const struct sim_server *server, uint32_t core)
{
    return node_agent(server->node, core);
}

const struct map *server_map(const struct sim_server *server)
{
    if (!server->alive || server->reactors[0]->owner[REACTOR_META] == NULL) {
        return NULL;
    }
    const struct meta *meta = server->reactors[server->core_count]->owner[REACTOR_META];
    return meta == NULL ? NULL : meta_map(meta);
}
