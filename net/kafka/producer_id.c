/* InitProducerId (22): ids come from the map in blocks of 1000 that a core uses up by itself. An
 * idempotent producer always gets a fresh one, also if it names the one it had: only transactions
 * could tell whether that is its own.
 *
 *     call -> cached id? -> answer
 *          -> waits -> one proposal per core at a time -> all that wait are served, in order
 */
#include "core/assert.h"
#include "net/kafka/kafka.h"

#include <stdlib.h>

enum { PRODUCER_ID_BLOCK = 1000 };

struct kafka_core {
    struct net *net;
    uint64_t id_next, id_end;
    bool proposing;
    struct proposal proposal;
    struct completion_list waiters;
};

struct producer_id {
    struct kafka_request request;
    struct completion wait;
    int64_t id;
    int16_t epoch, code;
};

enum err kafka_core_open(struct kafka_core **core, struct net *net)
{
    struct kafka_core *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return ERR_NO_MEMORY;
    }
    made->net = net;
    *core = made;
    return OK;
}

void kafka_core_close(struct kafka_core *core)
{
    ASSERT(!core->proposing && core->waiters.count == 0);
    free(core);
}

bool kafka_core_busy(const struct kafka_core *core)
{
    return core->proposing;
}

static void producer_id_encode(void *state, struct kafka_writer *writer)
{
    const struct producer_id *op = state;
    kafka_write_i32(writer, 0);
    kafka_write_i16(writer, op->code);
    kafka_write_i64(writer, op->code == KAFKA_NONE ? op->id : -1);
    kafka_write_i16(writer, op->code == KAFKA_NONE ? op->epoch : (int16_t)-1);
    kafka_write_tags(writer);
}

static void producer_ids_handed_out(struct completion *completion);

static void producer_ids_propose(struct kafka_core *core)
{
    ASSERT(!core->proposing);
    core->proposing = true;
    core->proposal = (struct proposal){.command.kind = COMMAND_PRODUCER_IDS};
    core->proposal.command.time_ms = core->net->reactor->now_ms;
    core->proposal.command.producer_ids.count = PRODUCER_ID_BLOCK;
    completion_init(&core->proposal.done, producer_ids_handed_out);
    agent_propose(core->net->options.agent, &core->proposal);
}

/* Serves those that wait with the new block, or fails them. */
static void producer_ids_handed_out(struct completion *completion)
{
    struct proposal *proposal = CONTAINER_OF(completion, struct proposal, done);
    struct kafka_core *core = CONTAINER_OF(proposal, struct kafka_core, proposal);
    core->proposing = false;
    if (completion->result == OK) {
        core->id_next = proposal->result.producer_id_first;
        core->id_end = core->id_next + PRODUCER_ID_BLOCK;
    }
    struct completion *wait;
    while ((wait = completion_list_pop(&core->waiters)) != NULL) {
        struct producer_id *op = CONTAINER_OF(wait, struct producer_id, wait);
        if (completion->result != OK) {
            /* Tried again. Java takes 15 as: look the coordinator up, and here there is none. */
            op->code = KAFKA_COORDINATOR_LOADING;
        } else if (core->id_next == core->id_end) {
            completion_list_push(&core->waiters, wait);
            producer_ids_propose(core);
            break;
        } else {
            op->id = (int64_t)core->id_next++;
        }
        kafka_answer(&op->request, producer_id_encode, op);
    }
    net_check_stopped(core->net);
}

/* Decides; false: an id of the core is needed and there is none now. */
static bool producer_id_decide(struct producer_id *op, bool transactional)
{
    struct kafka_core *core = op->request.net->kafka;
    if (op->request.call->late) {
        op->code = KAFKA_COORDINATOR_LOADING; /* As if its block were not there; see above. */
    } else if (transactional) {
        op->code = KAFKA_COORDINATOR_NOT_AVAILABLE;
    } else if ((op->id == -1) != (op->epoch == -1)) {
        op->code = KAFKA_INVALID_REQUEST;
    } else if (core->id_next < core->id_end) {
        op->id = (int64_t)core->id_next++;
        op->epoch = 0;
    } else {
        op->epoch = 0;
        return false;
    }
    return true;
}

enum err kafka_producer_id_start(const struct kafka_request *request)
{
    struct kafka_reader body = request->body;
    bool transactional = kafka_read_string_or_null(&body).data != NULL;
    (void)kafka_read_i32(&body);
    int64_t id = -1;
    int16_t epoch = -1;
    if (request->version >= 3) {
        id = kafka_read_i64(&body);
        epoch = kafka_read_i16(&body);
    }
    kafka_read_tags(&body);
    if (!kafka_read_done(&body)) {
        return ERR_CORRUPT;
    }
    enum err err = call_arena(request->call, sizeof(struct producer_id));
    if (err != OK) {
        return err;
    }
    struct producer_id *op = call_take(request->call, sizeof(*op));
    op->request = *request;
    op->id = id;
    op->epoch = epoch;
    request->call->state = op;
    if (producer_id_decide(op, transactional)) {
        kafka_answer(&op->request, producer_id_encode, op);
        return OK;
    }
    struct kafka_core *core = request->net->kafka;
    completion_list_push(&core->waiters, &op->wait);
    if (!core->proposing) {
        producer_ids_propose(core);
    }
    return OK;
}
