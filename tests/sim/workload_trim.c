/* The trimmer: moves the start of some log, by a little, to its end, or to where there is nothing.
 */
#include "core/assert.h"
#include "tests/sim/workload_internal.h"

#include <inttypes.h>

enum { TRIM_MS_MAX = 30, ALL_CHANCE = 10, BEYOND_CHANCE = 5, FAR = 1000000 };

static void trimmer_refused(struct trimmer *trimmer, enum err err)
{
    struct op *op = &trimmer->op;
    struct workload *workload = op->workload;
    bool excused = op_partition_deleted(op) || check_is_rotten(workload->check, op->partition) ||
                   workload->life->faulty || workload->stopping;
    bool early = err == ERR_NOT_READY && op->early;
    bool right = trimmer->beyond && err == ERR_OFFSET_RANGE;
    if (!excused && !early && !right) {
        check_fail(workload->check, "partition %u: a trim to %" PRId64 " fails: %s", op->partition,
                   trimmer->offset, err_name(err));
    }
}

static void trimmer_home(struct op *op, enum err err)
{
    struct trimmer *trimmer = CONTAINER_OF(op, struct trimmer, op);
    struct workload *workload = op->workload;
    uint64_t log_start = op->request.trim.log_start;
    if (err != OK) {
        trimmer_refused(trimmer, err); /* What was begun may come true. */
        return;
    }
    uint64_t wanted = trimmer->offset == TRIM_ALL ? op->end : (uint64_t)trimmer->offset;
    bool rotten = check_is_rotten(workload->check, op->partition); /* The end may be lost. */
    if (!op_partition_deleted(op) && !rotten && (log_start < wanted || trimmer->beyond)) {
        check_fail(workload->check, "partition %u: trimmed to %" PRId64 ", it starts at %" PRIu64,
                   op->partition, trimmer->offset, log_start);
    }
    workload->counts.trims++;
    check_started(workload->check, op->partition, log_start, op->start);
    check_trim_answered(workload->check, op->partition, trimmer->offset);
}

static void trimmer_tick(struct completion *done)
{
    struct timer *timer = CONTAINER_OF(done, struct timer, done);
    struct trimmer *trimmer = CONTAINER_OF(timer, struct trimmer, timer);
    struct workload *workload = trimmer->op.workload;
    struct prng *prng = workload->prng;
    struct op *op = &trimmer->op;
    if (sim_node_crashed(workload->life->node) || workload->stopping) {
        return;
    }
    timer_start(workload->life->reactors[trimmer->home], timer,
                prng_below(prng, TRIM_MS_MAX) * NS_PER_MS);
    if (op->away || !workload->clients || workload_resting(workload)) {
        return;
    }
    uint32_t partition = workload_pick(workload);
    if (!op_is_known(workload, trimmer->home, partition)) {
        return;
    }
    uint64_t start = check_start(workload->check, partition);
    uint64_t end = check_end(workload->check, partition);
    op_reset(workload, op, trimmer_home);
    trimmer->offset = TRIM_ALL;
    trimmer->beyond = prng_chance(prng, BEYOND_CHANCE);
    if (trimmer->beyond) {
        trimmer->offset = (int64_t)end + FAR;
    } else if (!prng_chance(prng, ALL_CHANCE)) {
        uint64_t step = prng_below(prng, prng_chance(prng, 80) ? 30 : 300);
        trimmer->offset = (int64_t)min_u64(start + step, end);
    }
    if (!trimmer->beyond) {
        check_trim_asked(workload->check, partition, trimmer->offset);
    }
    op->request.kind = REQUEST_TRIM;
    op->request.trim.offset = trimmer->offset;
    op_send(op, trimmer->home, partition);
}

void trimmer_start(struct workload *workload)
{
    struct trimmer *trimmer = &workload->trimmer;
    op_reset(workload, &trimmer->op, trimmer_home);
    trimmer->home = (uint32_t)prng_below(workload->prng, workload->life->core_count);
    if (!workload->trims || workload->life->quiet) {
        return;
    }
    timer_init(&trimmer->timer, trimmer_tick);
    workload_think(workload, &trimmer->timer, trimmer->home);
}
