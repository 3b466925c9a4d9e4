/* The eraser: deletes single records, or whole batches, of what is known to be there. */
#include "core/assert.h"
#include "tests/sim/workload_internal.h"

#include <inttypes.h>

enum { ERASE_MS_MAX = 4 };

static void eraser_home(struct op *op, enum err err)
{
    struct eraser *eraser = CONTAINER_OF(op, struct eraser, op);
    struct workload *workload = op->workload;
    bool excused = op_partition_deleted(op) || check_is_rotten(workload->check, op->partition) ||
                   workload->life->faulty || workload->stopping ||
                   (err == ERR_NOT_READY && op->early);
    if (err != OK && !excused) {
        check_fail(workload->check, "partition %u: a deletion at %" PRIu64 " fails: %s",
                   op->partition, eraser->records[0].offset, err_name(err));
    }
    for (uint32_t i = 0; err == OK && i < eraser->count && !op_partition_deleted(op); i++) {
        check_erase_answered(workload->check, op->partition, eraser->records[i].offset);
    }
}

static void eraser_tick(struct completion *done)
{
    struct timer *timer = CONTAINER_OF(done, struct timer, done);
    struct eraser *eraser = CONTAINER_OF(timer, struct eraser, timer);
    struct workload *workload = eraser->op.workload;
    struct prng *prng = workload->prng;
    struct op *op = &eraser->op;
    uint64_t offsets[ERASE_RECORDS_MAX];
    if (sim_node_crashed(workload->life->node) || workload->stopping) {
        return;
    }
    timer_start(workload->life->reactors[eraser->home], timer,
                prng_below(prng, ERASE_MS_MAX) * NS_PER_MS);
    if (op->away || !workload->clients || workload_resting(workload)) {
        return;
    }
    uint32_t partition = workload_pick(workload);
    if (!op_is_known(workload, eraser->home, partition)) {
        return;
    }
    uint32_t count = check_erase_pick(workload->check, partition, prng, offsets, ERASE_RECORDS_MAX);
    if (count == 0) {
        return;
    }
    op_reset(workload, op, eraser_home);
    eraser->count = count;
    for (uint32_t i = 0; i < count; i++) {
        eraser->records[i] = (struct delete_record){.offset = offsets[i]};
        check_erase_asked(workload->check, partition, offsets[i]);
    }
    op->request.kind = REQUEST_DELETE;
    op->request.delete = (struct request_delete){.records = eraser->records, .count = count};
    op_send(op, eraser->home, partition);
}

void eraser_start(struct workload *workload)
{
    struct eraser *eraser = &workload->eraser;
    op_reset(workload, &eraser->op, eraser_home);
    eraser->home = (uint32_t)prng_below(workload->prng, workload->life->core_count);
    if (!workload->erases || workload->life->quiet) {
        return;
    }
    timer_init(&eraser->timer, eraser_tick);
    workload_think(workload, &eraser->timer, eraser->home);
}
