/* Auditors: each gives its partition to the owner, then reads the log from start to end. */
#include "core/assert.h"
#include "tests/sim/workload_internal.h"

#include <stdlib.h>

enum { AUDIT_BYTES = 1 << 20 };

static void auditor_home(struct op *op, enum err err);

static uint32_t auditor_core(const struct auditor *auditor)
{
    const struct workload *workload = auditor->op.workload;
    return partition_core(&sim_map_partition(workload->map, auditor->op.partition)->id,
                          workload->life->core_count);
}

static void auditor_read(struct auditor *auditor)
{
    struct op *op = &auditor->op;
    if (auditor->offset < auditor->end) {
        fetch_prepare(op, auditor->offset, AUDIT_BYTES);
        op->request.fetch.park = op->workload->hoarding; /* Waits for memory. */
        op_send(op, auditor_core(auditor), op->partition);
        return;
    }
    check_audited(op->workload->check, op->partition, auditor->start, auditor->end);
    auditor->state = AUDITOR_DONE;
}

static void auditor_ask(struct auditor *auditor, int64_t timestamp)
{
    struct op *op = &auditor->op;
    op->request.kind = REQUEST_OFFSETS;
    op->request.offsets = (struct request_offsets){.timestamp = timestamp, .epoch = -1};
    auditor->state = timestamp == OFFSETS_LATEST ? AUDITOR_ASKING : AUDITOR_ASKING_START;
    op_send(op, auditor_core(auditor), op->partition);
}

static void auditor_home(struct op *op, enum err err)
{
    struct auditor *auditor = CONTAINER_OF(op, struct auditor, op);
    struct workload *workload = op->workload;
    if (op_partition_deleted(op) && op->request.kind != REQUEST_FETCH) {
        auditor->state = AUDITOR_DONE;
        return;
    }
    bool again = workload->life->faulty && !workload->stopping;
    if (err != OK && auditor->state == AUDITOR_ASSIGNING && again) {
        op_send(op, auditor_core(auditor), op->partition); /* What was lent is still there. */
        return;
    }
    if (auditor->state == AUDITOR_READING && op_met_damage(op, err)) {
        (void)check_may_be_damaged(workload->check, op->partition, auditor->offset,
                                   &auditor->offset);
        auditor_read(auditor);
        return;
    }
    if (auditor->state == AUDITOR_READING && op_is_below(op, err)) {
        auditor->start = op->request.fetch.log_start;
        auditor->offset = auditor->start;
        auditor_read(auditor);
        return;
    }
    if (err != OK) {
        if (!workload_expects_errors(workload) && !op_partition_deleted(op)) {
            check_fail(workload->check, "partition %u: %s: %s", op->partition,
                       auditor->state == AUDITOR_ASSIGNING ? "recovery fails" : "the audit fails",
                       err_name(err));
        }
        auditor->state = AUDITOR_DONE;
        return;
    }
    switch (auditor->state) {
    case AUDITOR_ASSIGNING:
        auditor_ask(auditor, OFFSETS_LATEST);
        return;
    case AUDITOR_ASKING:
        auditor->end = (uint64_t)op->request.offsets.offset;
        check_watermark(workload->check, op->partition, auditor->end, op->end);
        auditor_ask(auditor, OFFSETS_EARLIEST);
        return;
    case AUDITOR_ASKING_START:
        auditor->start = (uint64_t)op->request.offsets.offset;
        auditor->offset = auditor->start;
        check_started(workload->check, op->partition, auditor->start, op->start);
        check_recovered(workload->check, op->partition);
        auditor->state = AUDITOR_READING;
        auditor_read(auditor);
        return;
    case AUDITOR_READING:
        if (op->request.kind == REQUEST_RELEASE ||
            !fetch_take(op, auditor_core(auditor), &auditor->offset)) {
            auditor_read(auditor);
        }
        return;
    case AUDITOR_DONE:
        break;
    }
    UNREACHABLE();
}

static void auditor_dropped(struct op *op, enum err err)
{
    if (err != OK) {
        check_fail(op->workload->check, "partition %u: a drop fails: %s", op->partition,
                   err_name(err));
    }
}

static struct auditor *auditor_of(struct workload *workload, uint32_t partition)
{
    while (workload->auditor_count <= partition) {
        if (workload->auditor_count == workload->auditor_capacity) {
            workload->auditor_capacity = max_u32(16, workload->auditor_capacity * 2);
            workload->auditors =
                realloc(workload->auditors, workload->auditor_capacity * sizeof(struct auditor *));
            ASSERT(workload->auditors != NULL);
        }
        struct auditor *auditor = calloc(1, sizeof(*auditor));
        ASSERT(auditor != NULL);
        workload->auditors[workload->auditor_count++] = auditor;
    }
    return workload->auditors[partition];
}

void auditor_start(struct workload *workload, uint32_t partition)
{
    const struct sim_map_partition *mapped = sim_map_partition(workload->map, partition);
    struct auditor *auditor = auditor_of(workload, partition);
    struct op *op = &auditor->op;
    op_reset(workload, op, auditor_home);
    op_reset(workload, &auditor->drop, auditor_dropped);
    op->partition = partition;
    auditor->state = AUDITOR_DONE;
    if (mapped->deleted) {
        return;
    }
    if (workload->real) {
        auditor_ask(auditor, OFFSETS_LATEST); /* The owner's own agent has assigned it. */
        return;
    }
    auditor->state = AUDITOR_ASSIGNING;
    auditor->segments =
        realloc(auditor->segments, (mapped->segment_count + 1) * sizeof(*auditor->segments));
    ASSERT(auditor->segments != NULL);
    uint32_t count = sim_map_segments(mapped, auditor->segments);
    op->request.kind = REQUEST_ASSIGN;
    op->request.assign = (struct request_assign){
        .topic_name = mapped->topic_name,
        .config = &mapped->config,
        .segments = auditor->segments,
        .segment_count = count,
        .epoch = mapped->epoch,
        .log_start = mapped->log_start,
    };
    op_send(op, auditor_core(auditor), partition);
}

void auditor_drop(struct workload *workload, uint32_t partition)
{
    struct auditor *auditor = auditor_of(workload, partition);
    op_reset(workload, &auditor->drop, auditor_dropped);
    auditor->drop.request.kind = REQUEST_DROP;
    op_send(&auditor->drop, 0, partition);
}

void auditors_cancel(struct workload *workload)
{
    for (uint32_t i = 0; i < workload->auditor_count; i++) {
        op_cancel(&workload->auditors[i]->op, auditor_core(workload->auditors[i]));
    }
}
