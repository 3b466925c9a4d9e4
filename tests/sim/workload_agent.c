/* Agents: each gives its partition to the owner, then reads the log from start to end. */
#include "core/assert.h"
#include "tests/sim/workload_internal.h"

#include <stdlib.h>

enum { AUDIT_BYTES = 1 << 20 };

static void agent_home(struct op *op, enum err err);

static uint32_t agent_core(const struct agent *agent)
{
    const struct workload *workload = agent->op.workload;
    return partition_core(&sim_map_partition(workload->map, agent->op.partition)->id,
                          workload->life->core_count);
}

static void agent_read(struct agent *agent)
{
    struct op *op = &agent->op;
    if (agent->offset < agent->end) {
        fetch_prepare(op, agent->offset, AUDIT_BYTES);
        op->request.fetch.park = op->workload->hoarding; /* Waits for memory. */
        op_send(op, agent_core(agent), op->partition);
        return;
    }
    check_audited(op->workload->check, op->partition, agent->start, agent->end);
    agent->state = AGENT_DONE;
}

static void agent_ask(struct agent *agent, int64_t timestamp)
{
    struct op *op = &agent->op;
    op->request.kind = REQUEST_OFFSETS;
    op->request.offsets = (struct request_offsets){.timestamp = timestamp, .epoch = -1};
    agent->state = timestamp == OFFSETS_LATEST ? AGENT_ASKING : AGENT_ASKING_START;
    op_send(op, agent_core(agent), op->partition);
}

static void agent_home(struct op *op, enum err err)
{
    struct agent *agent = CONTAINER_OF(op, struct agent, op);
    struct workload *workload = op->workload;
    if (op_partition_deleted(op) && op->request.kind != REQUEST_FETCH) {
        agent->state = AGENT_DONE;
        return;
    }
    bool again = workload->life->faulty && !workload->stopping;
    if (err != OK && agent->state == AGENT_ASSIGNING && again) {
        op_send(op, agent_core(agent), op->partition); /* What was lent is still there. */
        return;
    }
    if (agent->state == AGENT_READING && op_met_damage(op, err)) {
        (void)check_may_be_damaged(workload->check, op->partition, agent->offset, &agent->offset);
        agent_read(agent);
        return;
    }
    if (agent->state == AGENT_READING && op_is_below(op, err)) {
        agent->start = op->request.fetch.log_start;
        agent->offset = agent->start;
        agent_read(agent);
        return;
    }
    if (err != OK) {
        if (!workload->life->faulty && !workload->stopping && !op_partition_deleted(op)) {
            check_fail(workload->check, "partition %u: %s: %s", op->partition,
                       agent->state == AGENT_ASSIGNING ? "recovery fails" : "the audit fails",
                       err_name(err));
        }
        agent->state = AGENT_DONE;
        return;
    }
    switch (agent->state) {
    case AGENT_ASSIGNING:
        agent_ask(agent, OFFSETS_LATEST);
        return;
    case AGENT_ASKING:
        agent->end = (uint64_t)op->request.offsets.offset;
        check_watermark(workload->check, op->partition, agent->end, op->end);
        agent_ask(agent, OFFSETS_EARLIEST);
        return;
    case AGENT_ASKING_START:
        agent->start = (uint64_t)op->request.offsets.offset;
        agent->offset = agent->start;
        check_started(workload->check, op->partition, agent->start, op->start);
        check_recovered(workload->check, op->partition);
        agent->state = AGENT_READING;
        agent_read(agent);
        return;
    case AGENT_READING:
        if (op->request.kind == REQUEST_RELEASE ||
            !fetch_take(op, agent_core(agent), &agent->offset)) {
            agent_read(agent);
        }
        return;
    case AGENT_DONE:
        break;
    }
    UNREACHABLE();
}

static void agent_dropped(struct op *op, enum err err)
{
    if (err != OK) {
        check_fail(op->workload->check, "partition %u: a drop fails: %s", op->partition,
                   err_name(err));
    }
}

static struct agent *agent_of(struct workload *workload, uint32_t partition)
{
    while (workload->agent_count <= partition) {
        if (workload->agent_count == workload->agent_capacity) {
            workload->agent_capacity = max_u32(16, workload->agent_capacity * 2);
            workload->agents =
                realloc(workload->agents, workload->agent_capacity * sizeof(struct agent *));
            ASSERT(workload->agents != NULL);
        }
        struct agent *agent = calloc(1, sizeof(*agent));
        ASSERT(agent != NULL);
        workload->agents[workload->agent_count++] = agent;
    }
    return workload->agents[partition];
}

void agent_start(struct workload *workload, uint32_t partition)
{
    const struct sim_map_partition *mapped = sim_map_partition(workload->map, partition);
    struct agent *agent = agent_of(workload, partition);
    struct op *op = &agent->op;
    op_reset(workload, op, agent_home);
    op_reset(workload, &agent->drop, agent_dropped);
    op->partition = partition;
    agent->state = AGENT_DONE;
    if (mapped->deleted) {
        return;
    }
    agent->state = AGENT_ASSIGNING;
    agent->segments =
        realloc(agent->segments, (mapped->segment_count + 1) * sizeof(*agent->segments));
    ASSERT(agent->segments != NULL);
    uint32_t count = sim_map_segments(mapped, agent->segments);
    op->request.kind = REQUEST_ASSIGN;
    op->request.assign = (struct request_assign){
        .topic_name = mapped->topic_name,
        .config = &mapped->config,
        .segments = agent->segments,
        .segment_count = count,
        .epoch = mapped->epoch,
        .log_start = mapped->log_start,
    };
    op_send(op, agent_core(agent), partition);
}

void agent_drop(struct workload *workload, uint32_t partition)
{
    struct agent *agent = agent_of(workload, partition);
    op_reset(workload, &agent->drop, agent_dropped);
    agent->drop.request.kind = REQUEST_DROP;
    op_send(&agent->drop, 0, partition);
}
