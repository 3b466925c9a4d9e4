/* The clients together: topics, the way to the owner, the admin. */
#include "core/assert.h"
#include "tests/sim/workload_internal.h"

#include <stdlib.h>
#include <string.h>

enum { PARTITIONS_MAX = 6, THINK_MS_MAX = 4, ADMIN_MS = 20, FAILURES_MAX = 50 };

static void workload_add_topic(struct workload *workload)
{
    struct prng *prng = workload->prng;
    struct partition_config config = {
        .segment_records = prng_chance(prng, 60) ? 500 : 8 + prng_below(prng, 60),
        .segment_bytes = prng_chance(prng, 20)   ? MIB(1)
                         : prng_chance(prng, 50) ? KIB(64)
                                                 : KIB(2 + prng_below(prng, 30)),
        .batch_bytes_max = MIB(1),
        .durability = DURABILITY_DISK,
        .timestamp_type = prng_chance(prng, 20) ? TIMESTAMP_APPEND : TIMESTAMP_CREATE,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = INT64_MAX,
        .producer_expiry_ms = INT64_C(86400000),
        .deep_validation = prng_chance(prng, 20),
    };
    (void)sim_map_topic_create(workload->map, &config, 1 + (uint32_t)prng_below(prng, 3));
}

struct workload *workload_create(struct sim_map *map, struct check *check, struct prng *prng)
{
    struct workload *workload = calloc(1, sizeof(*workload));
    ASSERT(workload != NULL);
    workload->map = map;
    workload->check = check;
    workload->prng = prng;
    workload->value_bytes_max = prng_chance(prng, 50) ? 200 : 8000;
    workload->delete_chance = prng_chance(prng, 30) ? 30 : 0;
    for (uint32_t i = 1 + (uint32_t)prng_below(prng, 2); i > 0; i--) {
        workload_add_topic(workload);
    }
    workload->producer_count = 1 + (uint32_t)prng_below(prng, 6);
    workload->reader_count = 1 + (uint32_t)prng_below(prng, 4);
    workload->producers = calloc(workload->producer_count, sizeof(*workload->producers));
    workload->readers = calloc(workload->reader_count, sizeof(*workload->readers));
    ASSERT(workload->producers != NULL && workload->readers != NULL);
    for (uint32_t i = 0; i < workload->producer_count; i++) {
        producer_client_init(workload, &workload->producers[i]);
    }
    for (uint32_t i = 0; i < workload->reader_count; i++) {
        reader_client_init(workload, &workload->readers[i]);
    }
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
    free(workload);
}

const struct workload_counts *workload_counts(const struct workload *workload)
{
    return &workload->counts;
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

static void op_done(struct completion *done)
{
    struct request *request = CONTAINER_OF(done, struct request, done);
    struct op *op = CONTAINER_OF(request, struct op, request);
    if (sim_node_crashed(op->workload->life->node)) {
        return; /* Nobody hears a dead node. */
    }
    ASSERT(op->away);
    op->away = false;
    op->home(op, (enum err)done->result);
}

void op_reset(struct workload *workload, struct op *op, void (*home)(struct op *op, enum err err))
{
    memset(op, 0, sizeof(*op));
    op->workload = workload;
    op->home = home;
    completion_init(&op->request.done, op_done);
}

/* On the owner's core. */
static void op_arrive(struct op *op, struct reactor *owner)
{
    if (op->request.kind == REQUEST_PRODUCE) {
        op->arrival = check_arrived(op->workload->check, op->batch, owner->now_ms);
    }
    shard_submit(owner->owner[REACTOR_SHARD], &op->request);
}

static void op_mailed(struct reactor *owner, const struct mail *mail)
{
    op_arrive(mail->object, owner);
}

void op_send(struct op *op, uint32_t home, uint32_t partition)
{
    struct workload *workload = op->workload;
    struct sim_life *life = workload->life;
    ASSERT(!op->away);
    op->away = true;
    op->early = !workload_assigned(workload);
    op->partition = partition;
    op->end = check_end(workload->check, partition);
    op->request.partition = sim_map_partition(workload->map, partition)->id;
    op->request.home = life->reactors[home];
    uint32_t core = partition_core(&op->request.partition, life->core_count);
    if (core == home) {
        op_arrive(op, life->reactors[core]);
        return;
    }
    op->request.mail.fn = op_mailed;
    op->request.mail.object = op;
    mail_send(life->reactors[home], life->reactors[core], &op->request.mail);
}

bool op_partition_deleted(const struct op *op)
{
    return sim_map_partition(op->workload->map, op->partition)->deleted;
}

/* The admin lives on core 0. */
static void workload_admin(struct completion *done)
{
    struct timer *timer = CONTAINER_OF(done, struct timer, done);
    struct workload *workload = CONTAINER_OF(timer, struct workload, admin);
    struct sim_life *life = workload->life;
    if (sim_node_crashed(life->node) || workload->stopping) {
        return;
    }
    timer_start(life->reactors[0], &workload->admin, ADMIN_MS * NS_PER_MS);
    if (!prng_chance(workload->prng, workload->delete_chance) || !sim_node_event(life->node)) {
        return;
    }
    uint32_t before = sim_map_partition_count(workload->map);
    bool deleted[256] = {0};
    for (uint32_t i = 0; i < before && i < ARRAY_COUNT(deleted); i++) {
        deleted[i] = sim_map_partition(workload->map, i)->deleted;
    }
    sim_map_topic_delete(workload->map, workload_pick(workload));
    workload_add_topic(workload);
    workload->counts.deletes++;
    if (!sim_node_event(life->node)) {
        return;
    }
    for (uint32_t i = 0; i < before && i < ARRAY_COUNT(deleted); i++) {
        if (!deleted[i] && sim_map_partition(workload->map, i)->deleted) {
            auditor_drop(workload, i);
        }
    }
    for (uint32_t i = before; i < sim_map_partition_count(workload->map); i++) {
        auditor_start(workload, i);
    }
}

void workload_start(struct workload *workload, struct sim_life *life)
{
    workload->life = life;
    workload->made = 0;
    workload->failures = 0;
    workload->stopping = false;
    for (uint32_t i = 0; i < sim_map_partition_count(workload->map); i++) {
        auditor_start(workload, i);
    }
    for (uint32_t i = 0; i < workload->producer_count; i++) {
        producer_client_start(workload, &workload->producers[i]);
    }
    for (uint32_t i = 0; i < workload->reader_count; i++) {
        reader_client_start(workload, &workload->readers[i]);
    }
    hoarders_start(workload);
    timer_init(&workload->admin, workload_admin);
    timer_start(life->reactors[0], &workload->admin, ADMIN_MS * NS_PER_MS);
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
    return auditors_home(workload) && hoarders_home(workload);
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
