/* See the header. */
#include "tests/unit/meta/cluster_fixture.h"

#include "core/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURNS_MAX = 1000000 };

const struct io_engine *const *cluster_engines(uint32_t *count)
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

static void run(const char *program, const char *arguments)
{
    char command[512];
    int length = snprintf(command, sizeof(command), "%s %s", program, arguments);
    ASSERT(length > 0 && (size_t)length < sizeof(command));
    int rc = system(command);
    ASSERT(rc == 0);
}

void cluster_make(struct cluster *cluster, const struct io_engine *io, uint64_t log_file_bytes)
{
    *cluster = (struct cluster){.io = io, .log_file_bytes = log_file_bytes, .node_id = 7};
    (void)snprintf(cluster->dir, sizeof(cluster->dir), "meta-test-XXXXXX");
    char *made = mkdtemp(cluster->dir);
    ASSERT(made != NULL);
    (void)snprintf(cluster->meta_dir, sizeof(cluster->meta_dir), "%s/meta", cluster->dir);
    char list[256];
    (void)snprintf(list, sizeof(list), "%s/topics %s/pool %s", cluster->dir, cluster->dir,
                   cluster->meta_dir);
    run("mkdir", list);
}

void cluster_remove(struct cluster *cluster)
{
    run("rm -rf", cluster->dir);
}

static void open_reactors(struct cluster *cluster)
{
    struct reactor *all[CLUSTER_REACTORS];
    memset(cluster->reactors, 0, sizeof(cluster->reactors));
    for (uint32_t i = 0; i < CLUSTER_REACTORS; i++) {
        all[i] = &cluster->reactors[i];
        all[i]->index = i;
    }
    cluster->helper = io_helper_start();
    enum err err = reactor_connect(all, CLUSTER_REACTORS);
    ASSERT(err == OK);
    for (uint32_t i = 0; i < CLUSTER_REACTORS; i++) {
        struct reactor_options options = {
            .index = i,
            .engine = cluster->io,
            .io = {.entries = 128, .recv_count = 4, .recv_size = 4096, .helper = cluster->helper},
            .memory = {.limit_bytes = MIB(64), .numa_node = -1},
        };
        bool seeded = prng_entropy(options.seed);
        ASSERT(seeded);
        err = reactor_open(all[i], &options);
        ASSERT(err == OK);
    }
}

static void close_reactors(struct cluster *cluster)
{
    struct reactor *all[CLUSTER_REACTORS];
    io_helper_stop(cluster->helper);
    for (uint32_t i = 0; i < CLUSTER_REACTORS; i++) {
        all[i] = &cluster->reactors[i];
        reactor_close(all[i]);
    }
    reactor_disconnect(all, CLUSTER_REACTORS);
}

void cluster_turns(struct cluster *cluster, uint32_t count)
{
    for (uint32_t n = 0; n < count; n++) {
        uint32_t did = 0;
        for (uint32_t i = 0; i < CLUSTER_REACTORS; i++) {
            did += reactor_turn(&cluster->reactors[i], 0);
        }
        if (did == 0) {
            (void)reactor_turn(&cluster->reactors[CLUSTER_CORES], 100 * NS_PER_US);
        }
    }
}

static void outcome_fired(struct completion *done)
{
    struct outcome *outcome = CONTAINER_OF(done, struct outcome, done);
    ASSERT(!outcome->fired);
    outcome->fired = true;
    outcome->err = (enum err)done->result;
}

void outcome_init(struct outcome *outcome)
{
    *outcome = (struct outcome){0};
    completion_init(&outcome->done, outcome_fired);
}

void outcome_wait(struct cluster *cluster, struct outcome *outcome)
{
    for (uint32_t i = 0; !outcome->fired; i++) {
        ASSERT(i < TURNS_MAX);
        cluster_turns(cluster, 1);
    }
}

/* struct meta_start embeds its completion. */
struct start_outcome {
    struct meta_start start;
    bool fired;
};

static void meta_start_fired(struct completion *done)
{
    struct meta_start *start = CONTAINER_OF(done, struct meta_start, done);
    CONTAINER_OF(start, struct start_outcome, start)->fired = true;
}

enum err cluster_start_meta(struct cluster *cluster)
{
    open_reactors(cluster);
    struct meta_options options = {.dir = cluster->meta_dir,
                                   .node_id = cluster->node_id,
                                   .data_core_count = CLUSTER_CORES,
                                   .log_file_bytes = cluster->log_file_bytes};
    enum err err = meta_open(&cluster->meta, &cluster->reactors[CLUSTER_CORES], &options);
    ASSERT(err == OK);
    struct start_outcome outcome = {0};
    completion_init(&outcome.start.done, meta_start_fired);
    meta_start(cluster->meta, &outcome.start);
    for (uint32_t i = 0; !outcome.fired; i++) {
        ASSERT(i < TURNS_MAX);
        cluster_turns(cluster, 1);
    }
    memcpy(cluster->meta_start.message, outcome.start.message, META_MESSAGE_BYTES);
    return (enum err)outcome.start.done.result;
}

/* The shard is opened before its agent. */
static void roll(void *context, struct shard_roll *roll)
{
    struct agent *const *agent = context;
    agent_roll(*agent, roll);
}

static void trim(void *context, struct shard_trim *wish)
{
    struct agent *const *agent = context;
    agent_trim(*agent, wish);
}

static void start_core(struct cluster *cluster, uint32_t core)
{
    struct agent_options agent = {
        .meta_reactor = &cluster->reactors[CLUSTER_CORES],
        .node_id = cluster->node_id,
        .core_index = core,
        .core_count = CLUSTER_CORES,
        .config_default = {.segment_records = 1000000,
                           .segment_bytes = GIB(1),
                           .batch_bytes_max = 1 << 20,
                           .timestamp_before_max_ms = INT64_MAX,
                           .timestamp_after_max_ms = INT64_MAX,
                           .producer_expiry_ms = 86400000,
                           .retention_ms = -1,
                           .retention_bytes = -1},
    };
    struct reactor *reactor = &cluster->reactors[core];
    struct shard_options shard = {
        .data_dir = cluster->dir,
        .hooks = {.context = &cluster->agents[core], .roll = roll, .trim = trim},
        .node_id = cluster->node_id,
        .boot = 1,
        .partitions_max = 4096,
        .appends_max = 1024,
        .direct = true,
    };
    enum err err = shard_open(&cluster->shards[core], reactor, &shard);
    ASSERT(err == OK);
    agent.shard = cluster->shards[core];
    err = agent_open(&cluster->agents[core], reactor, &agent);
    ASSERT(err == OK);
}

void cluster_start(struct cluster *cluster)
{
    enum err err = cluster_start_meta(cluster);
    ASSERT(err == OK);
    for (uint32_t core = 0; core < CLUSTER_CORES; core++) {
        start_core(cluster, core);
        struct outcome started;
        outcome_init(&started);
        agent_start(cluster->agents[core], &started.done);
        outcome_wait(cluster, &started);
        ASSERT(started.err == OK);
    }
}

void cluster_stop(struct cluster *cluster)
{
    struct outcome stopped;
    for (uint32_t core = 0; core < CLUSTER_CORES; core++) {
        if (cluster->agents[core] != NULL) {
            outcome_init(&stopped);
            agent_stop(cluster->agents[core], &stopped.done);
            outcome_wait(cluster, &stopped);
            agent_close(cluster->agents[core]);
            outcome_init(&stopped);
            shard_stop(cluster->shards[core], &stopped.done);
            outcome_wait(cluster, &stopped);
            shard_close(cluster->shards[core]);
        }
        cluster->agents[core] = NULL;
        cluster->shards[core] = NULL;
    }
    outcome_init(&stopped);
    meta_stop(cluster->meta, &stopped.done);
    outcome_wait(cluster, &stopped);
    meta_close(cluster->meta);
    cluster->meta = NULL;
    close_reactors(cluster);
}

struct proposal_outcome {
    struct proposal proposal;
    bool fired;
};

static void proposal_fired(struct completion *done)
{
    struct proposal *proposal = CONTAINER_OF(done, struct proposal, done);
    CONTAINER_OF(proposal, struct proposal_outcome, proposal)->fired = true;
}

struct command_result cluster_propose(struct cluster *cluster, uint32_t core,
                                      const struct command *command)
{
    struct proposal_outcome outcome = {.proposal = {.command = *command}};
    completion_init(&outcome.proposal.done, proposal_fired);
    agent_propose(cluster->agents[core], &outcome.proposal);
    for (uint32_t i = 0; !outcome.fired; i++) {
        ASSERT(i < TURNS_MAX);
        cluster_turns(cluster, 1);
    }
    ASSERT(outcome.proposal.done.result == outcome.proposal.result.err);
    return outcome.proposal.result;
}

struct command_result cluster_create_topic(struct cluster *cluster, uint32_t core, const char *name,
                                           uint32_t partitions)
{
    struct command command = {.kind = COMMAND_TOPIC_CREATE, .time_ms = 1};
    prng_fill(&cluster->reactors[core].prng, command.topic_create.id.bytes, 16);
    command.topic_create.name = bytes_text(name);
    command.topic_create.partition_count = partitions;
    return cluster_propose(cluster, core, &command);
}

struct request_outcome {
    struct request request;
    bool fired;
};

static void request_fired(struct completion *done)
{
    struct request *request = CONTAINER_OF(done, struct request, done);
    CONTAINER_OF(request, struct request_outcome, request)->fired = true;
}

enum err cluster_request(struct cluster *cluster, struct request *request)
{
    struct request_outcome outcome = {.request = *request};
    uint32_t core = partition_core(&request->partition, CLUSTER_CORES);
    completion_init(&outcome.request.done, request_fired);
    outcome.request.home = &cluster->reactors[core];
    shard_submit(cluster->shards[core], &outcome.request);
    for (uint32_t i = 0; !outcome.fired; i++) {
        ASSERT(i < TURNS_MAX);
        cluster_turns(cluster, 1);
    }
    *request = outcome.request;
    return (enum err)request->done.result;
}
