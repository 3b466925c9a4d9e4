/* The clients together: topics, the way to the owner, the admin. */
#include "core/assert.h"
#include "tests/sim/workload_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THINK_MS_MAX = 4, FAILURES_MAX = 50 };

void workload_draw_config(struct workload *workload, struct partition_config *config)
{
    struct prng *prng = workload->prng;
    *config = (struct partition_config){
        .segment_records = prng_chance(prng, 60) ? 500 : 8 + prng_below(prng, 60),
        .segment_bytes = prng_chance(prng, 20)   ? MIB(1)
                         : prng_chance(prng, 50) ? KIB(64)
                                                 : KIB(2 + prng_below(prng, 30)),
        .batch_bytes_max = MIB(1),
        .durability = !prng_chance(prng, workload->lossy_chance) ? DURABILITY_DISK
                      : prng_chance(prng, 60)                    ? DURABILITY_OS
                                                                 : DURABILITY_MEMORY,
        .timestamp_type = prng_chance(prng, 20) ? TIMESTAMP_APPEND : TIMESTAMP_CREATE,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = INT64_MAX,
        .producer_expiry_ms = INT64_C(86400000),
        .retention_ms = prng_chance(prng, 25) ? 200 + (int64_t)prng_below(prng, 1500) : -1,
        .retention_bytes =
            prng_chance(prng, 25) ? (int64_t)KIB(20) + (int64_t)prng_below(prng, KIB(200)) : -1,
        .deep_validation = prng_chance(prng, 50),
    };
}

struct workload *workload_create(struct sim_map *map, struct check *check, struct prng *prng,
                                 bool real)
{
    struct workload *workload = calloc(1, sizeof(*workload));
    ASSERT(workload != NULL);
    workload->map = map;
    workload->check = check;
    workload->prng = prng;
    workload->real = real;
    workload->value_bytes_max = prng_chance(prng, 50) ? 200 : 8000;
    workload->lossy_chance = prng_chance(prng, 50) ? 0 : 30 + 30 * (uint32_t)prng_below(prng, 2);
    workload->delete_chance = prng_chance(prng, 30) ? 30 : 0;
    workload->trims = prng_chance(prng, 50);
    workload->erases = prng_chance(prng, 50);
    admin_init(workload);
    workload->producer_count = 1 + (uint32_t)prng_below(prng, 6);
    workload->reader_count = 1 + (uint32_t)prng_below(prng, 4);
    workload->producers = calloc(workload->producer_count, sizeof(*workload->producers));
    workload->readers = calloc(workload->reader_count, sizeof(*workload->readers));
    ASSERT(workload->producers != NULL && workload->readers != NULL);
    return workload;
}

void workload_destroy(struct workload *workload)
{
    for (uint32_t i = 0; i < workload->auditor_count; i++) {
        free(workload->auditors[i]->segments);
        free(workload->auditors[i]);
    }
    free(workload->auditors);
    free(workload->producers);
    free(workload->readers);
    free(workload->hoarders);
    admin_free(workload);
    free(workload);
}

const struct workload_counts *workload_counts(const struct workload *workload)
{
    return &workload->counts;
}

uint32_t workload_live_topics(const struct workload *workload)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < sim_map_partition_count(workload->map); i++) {
        const struct sim_map_partition *mapped = sim_map_partition(workload->map, i);
        count += !mapped->deleted && mapped->id.partition == 0;
    }
    return count;
}

uint32_t workload_pick(struct workload *workload)
{
    uint32_t count = sim_map_partition_count(workload->map);
    uint32_t number;
    do {
        number = (uint32_t)prng_below(workload->prng, count);
    } while (sim_map_partition(workload->map, number)->deleted);
    return number;
}

void workload_think(struct workload *workload, struct timer *timer, uint32_t home)
{
    uint64_t ms = prng_below(workload->prng, THINK_MS_MAX);
    timer_start(workload->life->reactors[home], timer, ms * NS_PER_MS);
}

/* Operations. */

static void op_finish(struct op *op)
{
    ASSERT(op->away);
    sim_map_look(op->workload->map);
    op->away = false;
    op->home(op, (enum err)op->request.done.result);
}

static void op_done(struct completion *done)
{
    struct request *request = CONTAINER_OF(done, struct request, done);
    struct op *op = CONTAINER_OF(request, struct op, request);
    if (sim_node_crashed(op->workload->life->node)) {
        return; /* Nobody hears a dead node. */
    }
    op->came = true;
    if (!op->canceling) {
        op_finish(op);
    }
}

void op_reset(struct workload *workload, struct op *op, void (*home)(struct op *op, enum err err))
{
    memset(op, 0, sizeof(*op));
    op->workload = workload;
    op->home = home;
    completion_init(&op->request.done, op_done);
}

void __real_shard_submit(struct shard *shard, struct request *request);
void __wrap_shard_submit(struct shard *shard, struct request *request);

/* The linker sends the product's and our own calls of shard_submit() here (--wrap): what reaches
 * the owner's shard arrives, whichever way it came. */
void __wrap_shard_submit(struct shard *shard, struct request *request)
{
    if (request->kind == REQUEST_PRODUCE && request->done.fn == op_done) {
        struct op *op = CONTAINER_OF(request, struct op, request);
        op->arrival = check_arrived(op->workload->check, op->batch, reactor_self()->now_ms);
    }
    __real_shard_submit(shard, request);
}

static void op_mailed(struct reactor *owner, const struct mail *mail)
{
    struct op *op = mail->object;
    shard_submit(owner->owner[REACTOR_SHARD], &op->request);
}

void op_send(struct op *op, uint32_t home, uint32_t partition)
{
    struct workload *workload = op->workload;
    struct sim_life *life = workload->life;
    ASSERT(!op->away && !op->canceling);
    op->away = true;
    op->came = false;
    op->early = !workload_assigned(workload);
    op->partition = partition;
    op->start = check_start(workload->check, partition);
    op->end = check_end(workload->check, partition);
    op->mark = check_erase_mark(workload->check);
    op->request.partition = sim_map_partition(workload->map, partition)->id;
    if (life->server != NULL) {
        route_submit(server_net(life->server, home), &op->request);
        return;
    }
    op->request.home = life->reactors[home];
    uint32_t core = partition_core(&op->request.partition, life->core_count);
    if (core == home) {
        shard_submit(life->shards[core], &op->request);
        return;
    }
    op->request.mail.fn = op_mailed;
    op->request.mail.object = op;
    mail_send(life->reactors[home], life->reactors[core], &op->request.mail);
}

bool workload_expects_errors(const struct workload *workload)
{
    const struct sim_life *life = workload->life;
    return workload->stopping || (life->faulty && !life->full_only);
}

bool op_partition_deleted(const struct op *op)
{
    return sim_map_partition(op->workload->map, op->partition)->deleted;
}

bool op_is_known(struct workload *workload, uint32_t home, uint32_t partition)
{
    const struct sim_life *life = workload->life;
    const struct sim_map_partition *mapped = sim_map_partition(workload->map, partition);
    return life->server == NULL ||
           map_topic_by_id(agent_map(server_agent(life->server, home)), &mapped->id.topic) != NULL;
}

static void op_canceled(struct completion *done)
{
    struct route_cancel *cancel = CONTAINER_OF(done, struct route_cancel, done);
    struct op *op = CONTAINER_OF(cancel, struct op, cancel);
    if (sim_node_crashed(op->workload->life->node)) {
        return;
    }
    op->canceling = false;
    if (op->came) {
        op_finish(op); /* Until now the owner may still have looked at it. */
    }
}

void op_cancel(struct op *op, uint32_t home)
{
    struct sim_life *life = op->workload->life;
    if (!op->away || op->canceling || op->came || op->request.kind != REQUEST_FETCH) {
        return;
    }
    if (life->server != NULL) {
        op->canceling = true;
        completion_init(&op->cancel.done, op_canceled);
        route_cancel(server_net(life->server, home), &op->cancel, &op->request);
    } else if (partition_core(&op->request.partition, life->core_count) == home) {
        shard_cancel(life->shards[home], &op->request);
    }
}

/* The clients are made when there is a topic for them, and from then on each life has them. */
void workload_start_clients(struct workload *workload)
{
    workload->clients = true;
    for (uint32_t i = 0; i < workload->producer_count && !workload->clients_made; i++) {
        producer_client_init(workload, &workload->producers[i]);
    }
    for (uint32_t i = 0; i < workload->reader_count && !workload->clients_made; i++) {
        reader_client_init(workload, &workload->readers[i]);
    }
    workload->clients_made = true;
    for (uint32_t i = 0; i < workload->producer_count; i++) {
        producer_client_start(workload, &workload->producers[i]);
    }
    for (uint32_t i = 0; i < workload->reader_count; i++) {
        reader_client_start(workload, &workload->readers[i]);
    }
    hoarders_start(workload);
}

void workload_start(struct workload *workload, struct sim_life *life)
{
    workload->life = life;
    workload->made = 0;
    workload->failures = 0;
    workload->stopping = false;
    workload->clients = false;
    workload->hoarding = false;
    for (uint32_t i = 0; i < sim_map_partition_count(workload->map); i++) {
        auditor_start(workload, i);
    }
    if (workload_live_topics(workload) > 0) {
        workload_start_clients(workload);
    }
    trimmer_start(workload);
    eraser_start(workload);
    admin_start(workload);
}

bool workload_assigned(const struct workload *workload)
{
    for (uint32_t i = 0; i < workload->auditor_count; i++) {
        const struct auditor *auditor = workload->auditors[i];
        if (auditor->state == AUDITOR_ASSIGNING && !sim_map_partition(workload->map, i)->deleted) {
            return false;
        }
    }
    return true;
}

bool workload_audited(const struct workload *workload)
{
    for (uint32_t i = 0; i < workload->auditor_count; i++) {
        const struct auditor *auditor = workload->auditors[i];
        if (auditor->state != AUDITOR_DONE && !sim_map_partition(workload->map, i)->deleted) {
            return false;
        }
    }
    return true;
}

bool workload_resting(const struct workload *workload)
{
    bool made = workload->made >= workload->life->batches_max || workload->failures >= FAILURES_MAX;
    return made && hoarders_resting(workload);
}

void workload_stop(struct workload *workload)
{
    workload->stopping = true;
}

static bool auditors_home(const struct workload *workload)
{
    for (uint32_t i = 0; i < workload->auditor_count; i++) {
        if (workload->auditors[i]->op.away || workload->auditors[i]->drop.away) {
            return false;
        }
    }
    return true;
}

bool workload_idle(const struct workload *workload)
{
    for (uint32_t i = 0; i < workload->producer_count; i++) {
        if (!producer_client_idle(&workload->producers[i])) {
            return false;
        }
    }
    for (uint32_t i = 0; i < workload->reader_count; i++) {
        const struct op *op = &workload->readers[i].op;
        bool polls = op->request.kind == REQUEST_FETCH && op->request.fetch.park;
        if (op->away && !polls) {
            return false;
        }
    }
    return auditors_home(workload) && hoarders_home(workload) && admin_home(workload) &&
           !workload->trimmer.op.away && !workload->eraser.op.away;
}

bool workload_home(const struct workload *workload)
{
    for (uint32_t i = 0; i < workload->reader_count; i++) {
        if (workload->readers[i].op.away) {
            return false;
        }
    }
    return workload_idle(workload);
}

void workload_cancel(struct workload *workload)
{
    for (uint32_t i = 0; i < workload->reader_count; i++) {
        op_cancel(&workload->readers[i].op, workload->readers[i].home);
    }
    auditors_cancel(workload);
    hoarders_cancel(workload);
}

void workload_describe(const struct workload *workload, char *text, uint32_t size)
{
    uint32_t producers = 0;
    uint32_t readers = 0;
    uint32_t auditors = 0;
    for (uint32_t i = 0; i < workload->producer_count; i++) {
        producers += !producer_client_idle(&workload->producers[i]);
    }
    for (uint32_t i = 0; i < workload->reader_count; i++) {
        readers += workload->readers[i].op.away;
    }
    for (uint32_t i = 0; i < workload->auditor_count; i++) {
        auditors += workload->auditors[i]->op.away || workload->auditors[i]->drop.away;
    }
    (void)snprintf(text, size, "away: %u producers, %u readers, %u auditors%s%s", producers,
                   readers, auditors, hoarders_home(workload) ? "" : ", hoarders",
                   admin_home(workload) ? "" : ", the admin");
}
