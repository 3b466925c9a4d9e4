/* Producers.
 *
 *     queue   acked | sent, oldest first ... | not sent yet
 *     error   wait until all are home, then from the oldest again (idempotent), or give up
 *     crash   the same, in the next life
 *     wrong   now and then, of a producer that the broker knows: a hole in its sequence, or what a
 *             zombie with an epoch before its own would send */
#include "core/assert.h"
#include "tests/sim/workload_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORDS_MAX = 12,
    SECOND_TIME_CHANCE = 4,
    MOVE_CHANCE = 2,
    BUMP_CHANCE = 4,
    WRONG_CHANCE = 2,
};

static void producer_tick(struct completion *done);

/* As a new producer, with nothing under way. */
static void producer_begin(struct workload *workload, struct producer_client *client)
{
    struct prng *prng = workload->prng;
    client->partition = workload_pick(workload);
    client->id = client->idempotent ? workload->producer_next++ : -1;
    client->epoch = client->idempotent ? 0 : -1;
    client->epoch_acked = -1;
    /* Sequences begin anywhere for a producer nobody knows, and wrap behind 2^31 - 1. */
    client->sequence = prng_chance(prng, 20) ? INT32_MAX - (int32_t)prng_below(prng, 60) : 0;
    client->queued = 0;
    client->sent = 0;
    client->rewinding = false;
    client->tainted = false;
}

void producer_client_init(struct workload *workload, struct producer_client *client)
{
    client->workload = workload;
    client->idempotent = prng_chance(workload->prng, 60);
    client->depth = 1 + (uint32_t)prng_below(workload->prng, PRODUCER_DEPTH);
    producer_begin(workload, client);
}

static bool producer_away(const struct producer_client *client)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(client->ops); i++) {
        if (client->ops[i].away) {
            return true;
        }
    }
    return client->wrong.away;
}

bool producer_client_idle(const struct producer_client *client)
{
    return !producer_away(client);
}

static void producer_forget(struct producer_client *client, const struct sim_batch *batch)
{
    for (uint32_t i = 0; i < client->queued; i++) {
        if (client->queue[i] == batch) {
            client->queued--;
            memmove(&client->queue[i], &client->queue[i + 1],
                    (client->queued - i) * sizeof(client->queue[0]));
            client->sent -= i < client->sent;
            return;
        }
    }
}

/* An error that a client has to live with in this life. */
static bool producer_may_fail(const struct producer_client *client, const struct op *op,
                              enum err err)
{
    const struct sim_life *life = client->workload->life;
    if (op_partition_deleted(op) || op_met_damage(op, err) || life->faulty ||
        client->workload->stopping) {
        return true;
    }
    return client->tainted && err == ERR_SEQUENCE;
}

static void producer_failed(struct producer_client *client, struct op *op, enum err err)
{
    struct workload *workload = client->workload;
    if (!producer_may_fail(client, op, err)) {
        check_fail(workload->check, "partition %u: append of batch %" PRIu64 " failed: %s",
                   op->partition, op->batch->number, err_name(err));
        return;
    }
    workload->failures++;
    check_refused(workload->check, op->batch, op->arrival);
    if (err == ERR_SEQUENCE && client->tainted) {
        client->queued = 0; /* A batch before it was refused; go on under another name. */
        client->sent = 0;
        workload->counts.reborn++;
    }
    client->tainted = true;
    client->rewinding = true;
    if (!client->idempotent) {
        producer_forget(client, op->batch);
    }
}

static void producer_home(struct op *op, enum err err)
{
    struct producer_client *client = NULL;
    struct workload *workload = op->workload;
    for (uint32_t i = 0; i < workload->producer_count && client == NULL; i++) {
        struct producer_client *candidate = &workload->producers[i];
        if (op >= candidate->ops && op < candidate->ops + ARRAY_COUNT(candidate->ops)) {
            client = candidate;
        }
    }
    ASSERT(client != NULL);
    if (err != OK) {
        producer_failed(client, op, err);
        return;
    }
    struct check_ack ack = {
        .batch = op->batch,
        .offset = op->request.produce.base_offset,
        .ms = op->request.home->now_ms,
        .append_ms = op->request.produce.append_time_ms,
    };
    check_acked(workload->check, &ack);
    check_started(workload->check, op->partition, op->request.produce.log_start, op->start);
    client->epoch_acked = op->batch->producer_epoch;
    producer_forget(client, op->batch);
}

static void producer_send_op(struct producer_client *client, struct op *op,
                             const struct sim_batch *batch)
{
    op->batch = batch;
    op->arrival = UINT32_MAX;
    op->request.kind = REQUEST_PRODUCE;
    op->request.produce.batch = bytes_of(batch->data, batch->size);
    op_send(op, client->home, client->partition);
}

static void producer_send(struct producer_client *client, const struct sim_batch *batch)
{
    struct op *op = client->ops;
    while (op->away) {
        op++;
        ASSERT(op < client->ops + ARRAY_COUNT(client->ops));
    }
    op_reset(client->workload, op, producer_home);
    producer_send_op(client, op, batch);
}

/* What the broker must answer to a batch with this epoch and sequence; OK: it is right. */
struct producer_place {
    int16_t epoch;
    int32_t sequence;
    enum err wrong;
};

static const struct sim_batch *producer_make(struct producer_client *client,
                                             const struct producer_place *place)
{
    struct workload *workload = client->workload;
    struct prng *prng = workload->prng;
    struct reactor *reactor = workload->life->reactors[client->home];
    uint32_t values =
        (uint32_t)prng_below(prng, prng_chance(prng, 80) ? 100 : workload->value_bytes_max);
    struct batch_plan plan = {
        .number = workload->batch_next++,
        .records = 1 + (uint32_t)prng_below(prng, RECORDS_MAX),
        .value_bytes = values,
        .timestamp = (int64_t)reactor->now_ms - (int64_t)prng_below(prng, 1000),
        .producer_id = client->id,
        .producer_epoch = place->epoch,
        .sequence = client->idempotent ? place->sequence : -1,
    };
    uint32_t bound = batch_maker_bound(plan.records, plan.value_bytes);
    struct sim_batch batch = {
        .number = plan.number,
        .partition = client->partition,
        .records = plan.records,
        .idempotent = client->idempotent,
        .wrong = place->wrong,
        .producer_id = plan.producer_id,
        .producer_epoch = plan.producer_epoch,
        .sequence = plan.sequence,
        .timestamp = plan.timestamp,
        .data = malloc(bound),
    };
    ASSERT(batch.data != NULL);
    batch.size = batch_maker_make(&plan, batch.data, bound);
    workload->made++;
    return check_batch(workload->check, &batch);
}

static const struct sim_batch *producer_make_next(struct producer_client *client)
{
    const struct producer_place place = {.epoch = client->epoch, .sequence = client->sequence};
    const struct sim_batch *batch = producer_make(client, &place);
    client->sequence = (int32_t)(((uint32_t)client->sequence + batch->records) & INT32_MAX);
    return batch;
}

static void producer_wrong_home(struct op *op, enum err err)
{
    struct workload *workload = op->workload;
    enum err wrong = op->batch->wrong;
    bool excused = op_partition_deleted(op) || op_met_damage(op, err) || workload->life->faulty ||
                   workload->stopping;
    workload->counts.wrong += err == wrong;
    if (err == OK || (err != wrong && !excused)) {
        check_fail(workload->check, "partition %u: batch %" PRIu64 " must be refused, %s: %s",
                   op->partition, op->batch->number, err_name(wrong), err_name(err));
    }
}

/* Sends what must be refused. The broker knows the producer: a batch of it was acked. */
static void producer_send_wrong(struct producer_client *client)
{
    struct prng *prng = client->workload->prng;
    struct producer_place place = {.epoch = client->epoch, .wrong = ERR_SEQUENCE};
    bool zombie = client->epoch > 0 && client->epoch_acked == client->epoch;
    uint32_t hole = 1 + (uint32_t)prng_below(prng, prng_chance(prng, 50) ? 3 : 1000);
    if (zombie && prng_chance(prng, 50)) {
        place = (struct producer_place){.epoch = client->epoch - 1, .wrong = ERR_PRODUCER_EPOCH};
        hole = 0;
    } else if (prng_chance(prng, 20)) {
        place.epoch++; /* A new epoch begins at 0. */
    }
    place.sequence = (int32_t)(((uint32_t)client->sequence + hole) & INT32_MAX);
    place.sequence += place.epoch > client->epoch && place.sequence == 0;
    op_reset(client->workload, &client->wrong, producer_wrong_home);
    producer_send_op(client, &client->wrong, producer_make(client, &place));
}

/* Now and then, between two batches: a greater epoch, or something wrong. */
static void producer_bump(struct producer_client *client)
{
    struct workload *workload = client->workload;
    if (client->epoch_acked < 0 || client->wrong.away || workload_resting(workload)) {
        return;
    }
    if (client->queued == 0 && !producer_away(client) && prng_chance(workload->prng, BUMP_CHANCE)) {
        client->epoch++;
        client->sequence = 0;
    } else if (prng_chance(workload->prng, WRONG_CHANCE)) {
        producer_send_wrong(client);
    }
}

/* One step; false when there is nothing to do for now. */
static bool producer_step(struct producer_client *client)
{
    struct workload *workload = client->workload;
    if (client->rewinding) {
        if (producer_away(client)) {
            return false;
        }
        client->rewinding = false;
        client->sent = 0;
    }
    bool gone = sim_map_partition(workload->map, client->partition)->deleted;
    bool reborn = client->idempotent && client->tainted && client->queued == 0;
    bool moves = client->queued == 0 && prng_chance(workload->prng, MOVE_CHANCE);
    if ((gone || reborn || moves) && !producer_away(client)) {
        producer_begin(workload, client);
    }
    if (gone || !op_is_known(workload, client->home, client->partition)) {
        return false;
    }
    producer_bump(client);
    if (client->sent < client->queued) {
        producer_send(client, client->queue[client->sent++]);
        return true;
    }
    bool extra = client->ops[0].away && client->idempotent;
    if (extra && client->sent > 0 && prng_chance(workload->prng, SECOND_TIME_CHANCE)) {
        uint32_t away = 0;
        for (uint32_t i = 0; i < ARRAY_COUNT(client->ops); i++) {
            away += client->ops[i].away;
        }
        if (away < ARRAY_COUNT(client->ops) && away == client->sent) {
            producer_send(client, client->queue[prng_below(workload->prng, client->sent)]);
            return true;
        }
    }
    if (client->queued < client->depth && !workload_resting(workload)) {
        client->queue[client->queued++] = producer_make_next(client);
        return true;
    }
    return false;
}

static void producer_tick(struct completion *done)
{
    struct timer *timer = CONTAINER_OF(done, struct timer, done);
    struct producer_client *client = CONTAINER_OF(timer, struct producer_client, timer);
    struct workload *workload = client->workload;
    if (sim_node_crashed(workload->life->node) || workload->stopping) {
        return;
    }
    uint32_t steps = 1 + (uint32_t)prng_below(workload->prng, 2 * PRODUCER_DEPTH);
    while (steps-- > 0 && producer_step(client)) {
    }
    workload_think(workload, &client->timer, client->home);
}

void producer_client_start(struct workload *workload, struct producer_client *client)
{
    client->home = (uint32_t)prng_below(workload->prng, workload->life->core_count);
    client->rewinding = false;
    client->sent = 0;
    if (check_is_lossy(workload->check, client->partition) ||
        check_is_rotten(workload->check, client->partition)) {
        /* The broker may have lost what it had acked, or with a damaged segment who wrote it. */
        client->tainted = true;
        client->epoch_acked = -1;
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(client->ops); i++) {
        op_reset(workload, &client->ops[i], producer_home);
    }
    op_reset(workload, &client->wrong, producer_wrong_home);
    if (workload->life->quiet) {
        return;
    }
    bool gives_up = !client->idempotent && prng_chance(workload->prng, 50);
    if (gives_up) {
        client->queued = 0;
    }
    timer_init(&client->timer, producer_tick);
    workload_think(workload, &client->timer, client->home);
}
