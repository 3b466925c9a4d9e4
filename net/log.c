/* See the header. */
#include "net/log.h"

#include "core/assert.h"
#include "core/cover.h"

/* How long a reader that asked for what is there now waits for memory to be lent it. */
#define LOG_PRESSED_NS (30 * NS_PER_S)

const struct map *log_map(const struct net *net)
{
    return agent_map(net->options.agent);
}

enum err log_find_partition(const struct net *net, const struct map_topic *topic, int32_t partition,
                            struct partition_id *id)
{
    if (topic == NULL || partition < 0 || (uint32_t)partition >= topic->partition_count) {
        return ERR_TOPIC_UNKNOWN;
    }
    *id = (struct partition_id){.topic = topic->id, .partition = (uint32_t)partition};
    if (topic->partitions[partition].leader_node != net->options.node_id) {
        return ERR_NOT_LEADER;
    }
    return OK;
}

/* --- Topics. --- */

/* A random one, in the layout of a version 4 UUID. */
static void log_draw_topic_id(struct reactor *reactor, struct topic_id *id)
{
    prng_fill(&reactor->prng, id->bytes, sizeof(id->bytes));
    id->bytes[6] = (uint8_t)((id->bytes[6] & 0x0f) | 0x40);
    id->bytes[8] = (uint8_t)((id->bytes[8] & 0x3f) | 0x80);
}

void log_propose_topic(const struct net *net, struct proposal *proposal, struct bytes name,
                       uint32_t partitions)
{
    *proposal = (struct proposal){.command.kind = COMMAND_TOPIC_CREATE};
    struct command *command = &proposal->command;
    command->time_ms = net->reactor->now_ms;
    log_draw_topic_id(net->reactor, &command->topic_create.id);
    command->topic_create.name = name;
    command->topic_create.partition_count = partitions;
}

static void log_topic_made(struct completion *completion)
{
    struct proposal *proposal = CONTAINER_OF(completion, struct proposal, done);
    struct log_topic *op = CONTAINER_OF(proposal, struct log_topic, proposal);
    enum err err = (enum err)completion->result;
    op->made = err == OK;
    /* Somebody else was first: the map of this core has it, or there would be no answer yet. */
    completion_fire(op->net->reactor, &op->done, err == ERR_EXISTS ? OK : err);
}

void log_make_topic(struct net *net, struct log_topic *op, struct bytes name, uint32_t partitions,
                    completion_fn *fn)
{
    completion_init(&op->done, fn);
    op->net = net;
    op->made = false;
    log_propose_topic(net, &op->proposal, name,
                      partitions == 0 ? net->options.partitions_default : partitions);
    completion_init(&op->proposal.done, log_topic_made);
    agent_propose(net->options.agent, &op->proposal);
}

/* --- Requests of one step. --- */

static void log_submit(struct net *net, struct request *request,
                       const struct partition_id *partition, completion_fn *fn)
{
    request->partition = *partition;
    completion_init(&request->done, fn);
    route_submit(net, request);
}

void log_append(struct net *net, struct request *request, const struct partition_id *partition,
                struct bytes batch, completion_fn *fn)
{
    ASSERT(batch.size > 0);
    *request = (struct request){
        .kind = REQUEST_PRODUCE,
        .produce = {.batch = batch, .zstd_allowed = true, .made_here = true},
    };
    log_submit(net, request, partition, fn);
}

void log_ask_offset(struct net *net, struct request *request, const struct partition_id *partition,
                    int64_t timestamp, completion_fn *fn)
{
    ASSERT(timestamp >= OFFSETS_MAX_TIMESTAMP);
    *request = (struct request){
        .kind = REQUEST_OFFSETS,
        .offsets = {.timestamp = timestamp, .epoch = -1},
    };
    log_submit(net, request, partition, fn);
}

void log_trim(struct net *net, struct request *request, const struct partition_id *partition,
              int64_t offset, completion_fn *fn)
{
    ASSERT(offset >= TRIM_ALL);
    *request = (struct request){.kind = REQUEST_TRIM, .trim = {.offset = offset}};
    log_submit(net, request, partition, fn);
}

/* --- Reading. --- */

static void log_read_ask(struct log_read *op, bool park, uint64_t wait_ns);

/* The request is home, and the cancel behind it, if there was one. */
static void log_read_step(struct log_read *op)
{
    struct reactor *reactor = op->net->reactor;
    ASSERT(op->awaited > 0);
    if (--op->awaited > 0) {
        return;
    }
    ASSERT(!op->away);
    const struct request_fetch *fetch = &op->request.fetch;
    bool over = op->expired || op->canceled;
    timer_stop(reactor, &op->timer);
    if (op->err == OK && fetch->pressed && !over) {
        COVER("a reader waits for memory in which records can be lent");
        op->pressed = true;
        log_read_ask(op, true, LOG_PRESSED_NS);
        return;
    }
    enum err err = op->err;
    if (err == ERR_CANCELED && over) {
        err = op->canceled ? ERR_CANCELED : op->pressed ? ERR_TIMEOUT : OK;
    }
    op->high_watermark = fetch->high_watermark;
    op->log_start = fetch->log_start;
    op->piece_count = err == OK ? fetch->piece_count : 0;
    op->size_bytes = err == OK ? fetch->size_bytes : 0;
    completion_fire(reactor, &op->done, err);
}

static void log_cancel_home(struct completion *completion)
{
    struct route_cancel *cancel = CONTAINER_OF(completion, struct route_cancel, done);
    log_read_step(CONTAINER_OF(cancel, struct log_read, cancel));
}

/* What is parked comes home; what is not does so anyway. */
static void log_recall(struct log_read *op)
{
    if (op->away && op->request.fetch.park && !op->canceling) {
        op->canceling = true;
        op->awaited++;
        completion_init(&op->cancel.done, log_cancel_home);
        route_cancel(op->net, &op->cancel, &op->request);
    }
}

static void log_read_home(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct log_read *op = CONTAINER_OF(request, struct log_read, request);
    op->away = false;
    op->err = (enum err)completion->result;
    log_read_step(op);
}

static void log_read_late(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    struct log_read *op = CONTAINER_OF(timer, struct log_read, timer);
    op->expired = true;
    log_recall(op);
}

static void log_read_ask(struct log_read *op, bool park, uint64_t wait_ns)
{
    op->request = (struct request){
        .kind = REQUEST_FETCH,
        .fetch = {.offset = op->offset,
                  .bytes_max = max_u32(op->bytes_max, 1),
                  .epoch = -1,
                  .whole_first = true,
                  .park = park,
                  .pieces = op->pieces,
                  .piece_capacity = LOG_PIECES},
    };
    op->away = true;
    op->canceling = false;
    op->awaited = 1;
    if (park && wait_ns != LOG_WAIT_FOREVER) {
        timer_start(op->net->reactor, &op->timer, wait_ns);
    }
    log_submit(op->net, &op->request, &op->partition, log_read_home);
}

void log_read(struct net *net, struct log_read *op, completion_fn *fn)
{
    op->net = net;
    op->pressed = op->expired = op->canceled = false;
    op->piece_count = 0;
    completion_init(&op->done, fn);
    timer_init(&op->timer, log_read_late);
    bool forever = op->wait_ms >= LOG_WAIT_FOREVER / NS_PER_MS;
    log_read_ask(op, op->wait_ms > 0, forever ? LOG_WAIT_FOREVER : op->wait_ms * NS_PER_MS);
}

void log_cancel(struct log_read *op)
{
    op->canceled = true;
    log_recall(op);
}

static void log_released(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct log_read *op = CONTAINER_OF(request, struct log_read, request);
    ASSERT(completion->result == OK);
    completion_fire(op->net->reactor, &op->done, OK);
}

void log_release(struct log_read *op, completion_fn *fn)
{
    ASSERT(!op->away && op->awaited == 0);
    completion_init(&op->done, fn);
    if (op->request.fetch.piece_count == 0) {
        completion_fire(op->net->reactor, &op->done, OK);
        return;
    }
    op->piece_count = op->size_bytes = 0;
    op->request.kind = REQUEST_RELEASE;
    log_submit(op->net, &op->request, &op->partition, log_released);
}
