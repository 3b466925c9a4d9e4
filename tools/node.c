/* The orchestration of one node: a state machine on the metadata core. Each step fans out to the
 * cores it concerns and goes on when the last of them has answered; nothing here is on the data
 * path.
 *
 * A core is told what to do by reactor_post() of its `order`, and answers by posting its `answer`
 * to the metadata core: both ends work from any thread and, in the simulator, from none. */
#include "tools/node.h"

#include "core/assert.h"
#include "core/log.h"
#include "tools/adopt.h"
#include "tools/node_core.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE_DRAIN_TELL_NS NS_PER_S

enum node_state {
    NODE_IDLE,
    NODE_DIRECTORY,
    NODE_META,
    NODE_CLUSTER,
    NODE_JOURNALS,
    NODE_ADOPT, /* Of a directory that was the library's. */
    NODE_CORES,
    NODE_DOOR_FIRST, /* Core 0 alone: with port 0 it chooses for all. */
    NODE_DOORS,
    NODE_READY,
    NODE_FAILED,
    NODE_DRAIN,
    NODE_STOP_DOORS,
    NODE_STOP_AGENTS,
    NODE_STOP_SHARDS,
    NODE_STOP_JOURNALS,
    NODE_STOP_META,
    NODE_STOP_DIRECTORY,
    NODE_STOPPED,
};

struct node {
    enum node_state state;
    struct node_options options;
    struct reactor *reactor; /* Of the metadata core. */
    uint32_t core_count;
    struct node_core *cores;
    uint32_t awaited;
    enum err err; /* The first one of the start, then of the stop; `message` explains it. */
    char message[NODE_MESSAGE_BYTES];
    char meta_dir[4096];
    struct completion begin, end, wait, hurry;
    struct completion *done;
    bool served, stopping;
    atomic_bool canceled; /* node_cancel(), from any thread. */
    atomic_bool drains;   /* It stops, and node_hurry() has something to end. */
    struct timer tell;    /* While it drains: how far it is. */
    struct directory_options directory_options;
    struct directory_open directory_open;
    struct directory *directory;
    struct journals_open journals_open;
    struct journals *journals;
    struct meta *meta;
    struct meta_start meta_start;
    struct adoption adoption;
    struct net_shared *shared;
};

static void node_step(struct node *node);

static void node_fail(struct node *node, enum err err, const char *message)
{
    ASSERT(err != OK);
    if (node->err == OK) {
        node->err = err;
        /* Longer sentences lose their end. */
        snprintf(node->message, sizeof(node->message), "%.*s", (int)sizeof(node->message) - 1,
                 message);
    }
}

/* One of the awaited answers arrived; the last one moves the node on. */
static void node_core_answered(struct completion *completion)
{
    struct node_core *core = CONTAINER_OF(completion, struct node_core, answer);
    struct node *node = core->node;
    if (completion->result < 0) {
        char message[NODE_MESSAGE_BYTES];
        const char *text = node->stopping ? "" : core->net_start.message;
        snprintf(message, sizeof(message), "core %u: %s", core->index,
                 err_text((enum err)completion->result));
        node_fail(node, (enum err)completion->result, text[0] != 0 ? text : message);
    }
    ASSERT(node->awaited > 0);
    node->awaited--;
    if (node->awaited == 0) {
        node_step(node);
    }
}

/* Posts `order` to `count` cores from `first` on; node_step() runs again after the last answer. */
static void node_order(struct node *node, completion_fn *order, uint32_t first, uint32_t count)
{
    ASSERT(node->awaited == 0);
    if (count == 0) {
        completion_fire(node->reactor, &node->wait, OK);
        return;
    }
    node->awaited = count;
    for (uint32_t i = first; i < first + count; i++) {
        completion_init(&node->cores[i].order, order);
        completion_init(&node->cores[i].answer, node_core_answered);
        reactor_post(node->cores[i].reactor, &node->cores[i].order, OK);
    }
}

static void node_waited(struct completion *completion)
{
    struct node *node = CONTAINER_OF(completion, struct node, wait);
    if (completion->result < 0) {
        node_fail(node, (enum err)completion->result, err_text((enum err)completion->result));
    }
    node_step(node);
}

static void node_directory_opened(struct completion *completion)
{
    struct node *node = CONTAINER_OF(completion, struct node, directory_open.done);
    if (completion->result < 0) {
        node_fail(node, (enum err)completion->result, node->directory_open.message);
    } else {
        node->directory = node->directory_open.directory;
    }
    node_step(node);
}

static void node_journals_opened(struct completion *completion)
{
    struct node *node = CONTAINER_OF(completion, struct node, journals_open.done);
    if (completion->result < 0) {
        node_fail(node, (enum err)completion->result, node->journals_open.message);
    } else {
        node->journals = node->journals_open.journals;
    }
    node_step(node);
}

static void node_meta_started(struct completion *completion)
{
    struct node *node = CONTAINER_OF(completion, struct node, meta_start.done);
    if (completion->result < 0) {
        node_fail(node, (enum err)completion->result, node->meta_start.message);
    }
    node_step(node);
}

static void node_prepare_core(struct node *node, struct node_core *core)
{
    const struct directory_identity *identity = &node->directory_open.identity;
    core->shard_options = (struct shard_options){
        .data_dir = node->options.data_dir,
        .node_id = identity->node_id,
        .boot = (uint32_t)identity->boot,
        .partitions_max = node->options.partitions_max,
        .appends_max = 65536,
        .retention_check_ms = node->options.retention_check_ms,
        .milestone_bytes = node->options.milestone_bytes,
        .slice_bytes = node->options.slice_bytes,
        .direct = node->options.direct,
        .mapped = node->options.mapped,
        .files_max = node->options.files_max,
        .files_limit = node->options.files_limit,
    };
    const uint8_t *cluster_id = map_cluster_id(meta_map(node->meta));
    memcpy(core->shard_options.cluster_id, cluster_id, 16);
    memcpy(core->shard_options.disk_id, identity->disk_id, 16);
    journals_assign(node->journals, core->index, &core->shard_options);
    core->agent_options = (struct agent_options){
        .meta_reactor = node->reactor,
        .node_id = identity->node_id,
        .core_index = core->index,
        .core_count = node->core_count,
        .config_default = node->options.config_default,
    };
    node_core_set_net(core, &node->options, node->core_count, identity->node_id, node->shared);
}

static void node_start_meta(struct node *node)
{
    node->state = NODE_META;
    snprintf(node->meta_dir, sizeof(node->meta_dir), "%s/meta", node->options.data_dir);
    struct meta_options options = {
        .dir = node->meta_dir,
        .node_id = node->directory_open.identity.node_id,
        .data_core_count = node->core_count,
        .boot = node->directory_open.identity.boot,
        .log_file_bytes = node->options.meta_log_file_bytes,
        .execute = node->options.execute,
    };
    enum err err = meta_open(&node->meta, node->reactor, &options);
    if (err != OK) {
        completion_fire(node->reactor, &node->wait, err);
        return;
    }
    completion_init(&node->meta_start.done, node_meta_started);
    meta_start(node->meta, &node->meta_start);
}

static void node_finish(struct node *node, enum node_state state, int32_t result)
{
    struct completion *done = node->done;
    node->state = state;
    node->done = NULL;
    ASSERT(done != NULL);
    completion_fire(node->reactor, done, result);
}

/* Its own map, or the first one of a new directory. Another one, or a new one where a map was, has
 * none of this directory's topics: going on would hide every record. */
static void node_join_cluster(struct node *node)
{
    static const uint8_t none[16];
    const uint8_t *own = node->directory_open.identity.cluster_id;
    const uint8_t *cluster_id = map_cluster_id(meta_map(node->meta));
    if (memcmp(own, none, sizeof(none)) != 0 && memcmp(own, cluster_id, sizeof(none)) != 0) {
        char message[NODE_MESSAGE_BYTES];
        snprintf(
            message, sizeof(message),
            "the metadata in %.200s is not that of the data directory: it was lost, or is another "
            "directory's. Put back the files that belong together, or make a new map from the "
            "segments: floe cluster rebuild-map --write",
            node->meta_dir);
        node_fail(node, ERR_FOREIGN, message);
        node_finish(node, NODE_FAILED, node->err);
        return;
    }
    node->state = NODE_CLUSTER;
    directory_join_cluster(node->directory, cluster_id, &node->wait);
}

static bool node_has_open(const void *context, const struct segment_record *record)
{
    const struct node *node = context;
    const struct map_topic *topic = map_topic_by_id(meta_map(node->meta), &record->topic);
    if (topic == NULL || record->partition >= topic->partition_count) {
        return false;
    }
    const struct map_partition *partition = &topic->partitions[record->partition];
    const struct segment_info *last = partition->segments + partition->segment_count - 1;
    return partition->segment_count > 0 && last->id == record->segment_id &&
           last->state == SEGMENT_OPEN;
}

/* What a crash left in the journals goes into the files before any shard looks at these. The map
 * knows nothing yet of a directory that was the library's. */
static void node_open_journals(struct node *node)
{
    node->state = NODE_JOURNALS;
    struct journals_options options = {
        .data_dir = node->options.data_dir,
        .boot = (uint32_t)node->directory_open.identity.boot,
        .core_count = node->core_count,
        .bytes = node->options.journal_bytes,
        .bytes_max = node->options.journal_bytes_max,
        .direct = node->options.direct,
        .is_open = node->directory_open.identity.adopting ? NULL : node_has_open,
        .context = node,
    };
    memcpy(options.directory_id, node->directory_open.identity.directory_id, 16);
    completion_init(&node->journals_open.done, node_journals_opened);
    journals_open(&node->journals_open, node->reactor, &options);
}

static void node_adopted(struct completion *completion)
{
    struct node *node = CONTAINER_OF(completion, struct node, adoption.done);
    if (completion->result < 0) {
        node_fail(node, (enum err)completion->result, node->adoption.message);
    }
    node_step(node);
}

static void node_adopt(struct node *node)
{
    node->state = NODE_ADOPT;
    node->adoption.node_id = node->directory_open.identity.node_id;
    completion_init(&node->adoption.done, node_adopted);
    adoption_start(&node->adoption, node->meta, node->directory, node->reactor,
                   node->options.data_dir);
}

static void node_start_cores(struct node *node)
{
    node->state = NODE_CORES;
    for (uint32_t i = 0; i < node->core_count; i++) {
        struct node_core *core = &node->cores[i];
        node_prepare_core(node, core);
        core->shard_options.hooks =
            (struct shard_hooks){.context = core, .roll = node_core_roll, .trim = node_core_trim};
    }
    node_order(node, node_core_open, 0, node->core_count);
}

/* With port 0 the first core chose: all listen where it does. */
static void node_start_doors(struct node *node)
{
    node->state = NODE_DOORS;
    for (uint32_t i = 1; i < node->core_count; i++) {
        for (uint32_t j = 0; j < node->options.listen_count; j++) {
            node->cores[i].net_options.listen[j] = *net_listening(node->cores[0].net, j);
        }
    }
    node_order(node, node_core_open_door, 1, node->core_count - 1);
}

static void node_tell_drain(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    struct node *node = CONTAINER_OF(timer, struct node, tell);
    if (node->state != NODE_DRAIN) {
        return; /* It was over when this was on its way. */
    }
    struct net_drain_left left = net_drain_look(node->shared);
    LOG_INFO("still draining: %u connections, %u requests", left.connections, left.requests);
    timer_start(node->reactor, &node->tell, NODE_DRAIN_TELL_NS);
}

static void node_drained(struct node *node)
{
    uint32_t cut = net_drain_look(node->shared).cut;
    atomic_store(&node->drains, false);
    timer_stop(node->reactor, &node->tell);
    if (cut > 0) {
        LOG_WARN("drain is over: %u connections were cut off before their last answer", cut);
    } else if (node->served) {
        LOG_INFO("drained: every request that was begun is answered");
    }
    node->state = NODE_STOP_DOORS;
    node_order(node, node_core_stop_door, 0, node->core_count);
}

static void node_cut(struct completion *completion)
{
    struct node *node = CONTAINER_OF(completion, struct node, hurry);
    for (uint32_t i = 0; i < node->core_count && node->state == NODE_DRAIN; i++) {
        completion_init(&node->cores[i].cut, node_core_cut_door);
        reactor_post(node->cores[i].reactor, &node->cores[i].cut, OK);
    }
}

bool node_hurry(struct node *node)
{
    if (!atomic_exchange(&node->drains, false)) {
        return false;
    }
    completion_init(&node->hurry, node_cut);
    reactor_post(node->reactor, &node->hurry, OK);
    return true;
}

static void node_stop_journals(struct node *node)
{
    node->state = NODE_STOP_JOURNALS;
    if (node->journals == NULL) {
        completion_fire(node->reactor, &node->wait, OK);
        return;
    }
    bool clean = true;
    for (uint32_t i = 0; i < node->core_count; i++) {
        clean = node->cores[i].clean && clean;
    }
    journals_close(node->journals, clean, &node->wait);
    node->journals = NULL;
}

static void node_stop_meta(struct node *node)
{
    node->state = NODE_STOP_META;
    if (node->meta == NULL) {
        completion_fire(node->reactor, &node->wait, OK);
        return;
    }
    meta_stop(node->meta, &node->wait);
}

static void node_stop_directory(struct node *node)
{
    node->state = NODE_STOP_DIRECTORY;
    if (node->meta != NULL) {
        meta_close(node->meta);
        node->meta = NULL;
    }
    if (node->directory == NULL) {
        completion_fire(node->reactor, &node->wait, OK);
        return;
    }
    directory_close(node->directory, &node->wait);
    node->directory = NULL;
}

static void node_step_start(struct node *node)
{
    if (node->err == OK && atomic_load(&node->canceled)) {
        node_fail(node, ERR_CANCELED, err_text(ERR_CANCELED));
    }
    if (node->err != OK) {
        node_finish(node, NODE_FAILED, node->err);
        return;
    }
    if (node->state == NODE_DIRECTORY) {
        node_start_meta(node);
    } else if (node->state == NODE_META) {
        node_join_cluster(node);
    } else if (node->state == NODE_CLUSTER) {
        node_open_journals(node);
    } else if (node->state == NODE_JOURNALS && node->directory_open.identity.adopting) {
        node_adopt(node);
    } else if (node->state == NODE_JOURNALS || node->state == NODE_ADOPT) {
        node_start_cores(node);
    } else if (node->state == NODE_CORES) {
        node->state = NODE_DOOR_FIRST;
        node_order(node, node_core_open_door, 0, 1);
    } else if (node->state == NODE_DOOR_FIRST) {
        node_start_doors(node);
    } else {
        ASSERT(node->state == NODE_DOORS);
        node_finish(node, NODE_READY, OK);
    }
}

/* Moves on from the state that has just ended. */
static void node_step(struct node *node)
{
    switch (node->state) {
    case NODE_DIRECTORY:
    case NODE_META:
    case NODE_CLUSTER:
    case NODE_JOURNALS:
    case NODE_ADOPT:
    case NODE_CORES:
    case NODE_DOOR_FIRST:
    case NODE_DOORS:
        node_step_start(node);
        return;
    case NODE_DRAIN:
        node_drained(node);
        return;
    case NODE_STOP_DOORS:
        node->state = NODE_STOP_AGENTS;
        node_order(node, node_core_stop_agent, 0, node->core_count);
        return;
    case NODE_STOP_AGENTS:
        node->state = NODE_STOP_SHARDS;
        node_order(node, node_core_stop_shard, 0, node->core_count);
        return;
    case NODE_STOP_SHARDS:
        node_stop_journals(node);
        return;
    case NODE_STOP_JOURNALS:
        node_stop_meta(node);
        return;
    case NODE_STOP_META:
        node_stop_directory(node);
        return;
    case NODE_STOP_DIRECTORY:
        node_finish(node, NODE_STOPPED, node->err);
        return;
    case NODE_IDLE:
    case NODE_READY:
    case NODE_FAILED:
    case NODE_STOPPED:
        UNREACHABLE();
    }
}

static void node_begin(struct completion *completion)
{
    struct node *node = CONTAINER_OF(completion, struct node, begin);
    ASSERT(node->state == NODE_IDLE);
    node->state = NODE_DIRECTORY;
    node->directory_options = (struct directory_options){
        .path = node->options.data_dir,
        .node_id = node->options.node_id,
        .version = node->options.version,
    };
    memcpy(node->directory_options.boot_id, node->options.boot_id, 16);
    completion_init(&node->directory_open.done, node_directory_opened);
    directory_open(&node->directory_open, node->reactor, &node->directory_options);
}

static void node_end(struct completion *completion)
{
    struct node *node = CONTAINER_OF(completion, struct node, end);
    ASSERT(node->state == NODE_READY || node->state == NODE_FAILED || node->state == NODE_IDLE);
    node->served = node->state == NODE_READY;
    node->stopping = true;
    node->err = OK;
    node->state = NODE_DRAIN;
    timer_start(node->reactor, &node->tell, NODE_DRAIN_TELL_NS);
    node_order(node, node_core_drain_door, 0, node->core_count);
}

enum err node_create(struct node **node_out, struct reactor *const *reactors,
                     uint32_t data_core_count, const struct node_options *options)
{
    ASSERT(data_core_count > 0 && data_core_count < REACTORS_MAX);
    struct node *node = calloc(1, sizeof(*node));
    if (node == NULL) {
        return ERR_NO_MEMORY;
    }
    node->cores = calloc(data_core_count, sizeof(*node->cores));
    node->shared = net_shared_create(data_core_count);
    if (node->cores == NULL || node->shared == NULL) {
        node_destroy(node);
        return ERR_NO_MEMORY;
    }
    node->options = *options;
    node->core_count = data_core_count;
    node->reactor = reactors[data_core_count];
    completion_init(&node->wait, node_waited);
    timer_init(&node->tell, node_tell_drain);
    for (uint32_t i = 0; i < data_core_count; i++) {
        node->cores[i] = (struct node_core){
            .node = node, .reactor = reactors[i], .index = i, .meta_reactor = node->reactor};
    }
    *node_out = node;
    return OK;
}

void node_destroy(struct node *node)
{
    if (node == NULL) {
        return;
    }
    if (node->shared != NULL) {
        net_shared_destroy(node->shared);
    }
    free(node->cores);
    free(node);
}

void node_start(struct node *node, struct completion *done)
{
    node->done = done;
    completion_init(&node->begin, node_begin);
    reactor_post(node->reactor, &node->begin, OK);
}

void node_cancel(struct node *node)
{
    atomic_store(&node->canceled, true);
}

void node_stop(struct node *node, struct completion *done)
{
    node->done = done;
    atomic_store(&node->drains, true);
    completion_init(&node->end, node_end);
    reactor_post(node->reactor, &node->end, OK);
}

const char *node_message(const struct node *node)
{
    return node->message;
}

uint32_t node_id(const struct node *node)
{
    return node->directory_open.identity.node_id;
}

const struct net_listen *node_listening(const struct node *node, uint32_t index)
{
    return net_listening(node->cores[0].net, index);
}

struct shard *node_shard(const struct node *node, uint32_t core)
{
    ASSERT(core < node->core_count);
    return node->cores[core].shard;
}

struct agent *node_agent(const struct node *node, uint32_t core)
{
    ASSERT(core < node->core_count);
    return node->cores[core].agent;
}

struct net *node_net(const struct node *node, uint32_t core)
{
    ASSERT(core < node->core_count);
    return node->cores[core].net;
}
