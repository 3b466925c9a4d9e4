/* Hoarders: in some lives, where readers may hold little, a crowd of them fetches old records of
 * one partition, from its files, and keeps what it gets for a while. Together they hold all that
 * readers may.
 *
 *     IDLE -> AWAY -> HOLDING -> IDLE -> ...     some rounds each; with a stop all give back
 *
 * What is held does not change, is not more than allowed, and who waits for memory gets it. */
#include "core/assert.h"
#include "core/crc32c.h"
#include "tests/sim/workload_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    HOARDERS = 96,
    HOARD_ROUNDS = 2,
    HOLD_MS_MAX = 20,
};

struct hoarder {
    struct timer timer;
    uint32_t home, rounds;
    bool holding;
    uint32_t crc; /* Of what it holds. */
    uint64_t until_ns, end;
    struct op op;
};

static struct hoarder *hoarder_of(struct op *op)
{
    return CONTAINER_OF(op, struct hoarder, op);
}

static uint32_t pieces_crc(const struct request_fetch *fetch)
{
    uint32_t crc = 0;
    for (uint32_t i = 0; i < fetch->piece_count; i++) {
        crc = crc32c(crc, fetch->pieces[i].data, fetch->pieces[i].size);
    }
    return crc;
}

/* Whether one before the i-th hoarder holds the same block. */
static bool hoard_has(const struct workload *workload, uint32_t i)
{
    const struct hoarder *hoarder = &workload->hoarders[i];
    for (uint32_t before = 0; before < i; before++) {
        const struct hoarder *other = &workload->hoarders[before];
        if (other->holding && other->op.pieces[0].block == hoarder->op.pieces[0].block) {
            return true;
        }
    }
    return false;
}

/* All blocks that the crowd holds; the last one, which may be large, was fetched when there was
 * room for a small one. */
static void hoard_weigh(struct workload *workload)
{
    uint64_t bytes = 0, largest = 0;
    for (uint32_t i = 0; i < HOARDERS; i++) {
        const struct hoarder *hoarder = &workload->hoarders[i];
        if (hoarder->holding && !hoard_has(workload, i)) {
            uint64_t size = hoarder->op.pieces[0].block->size;
            bytes += size;
            largest = max_u64(largest, size);
        }
    }
    if (bytes - largest > TIGHT_BYTES) {
        check_fail(workload->check, "readers hold %llu bytes of a core", (unsigned long long)bytes);
    }
}

static void hoarder_release(struct hoarder *hoarder)
{
    struct op *op = &hoarder->op;
    if (pieces_crc(&op->request.fetch) != hoarder->crc) {
        check_fail(op->workload->check, "partition %u: the bytes that a reader holds changed",
                   op->partition);
    }
    hoarder->holding = false;
    op->request.kind = REQUEST_RELEASE;
    op_send(op, hoarder->home, op->partition);
}

static void hoarder_home(struct op *op, enum err err)
{
    struct hoarder *hoarder = hoarder_of(op);
    struct workload *workload = op->workload;
    struct prng *prng = workload->prng;
    uint64_t next;
    if (op->request.kind == REQUEST_RELEASE) {
        ASSERT(err == OK);
        return;
    }
    if (op_is_below(op, err)) {
        return;
    }
    if (err != OK) {
        if (!op_partition_deleted(op) && !op_met_damage(op, err) &&
            !workload_expects_errors(workload)) {
            check_fail(workload->check, "partition %u: a hoarder's fetch fails: %s", op->partition,
                       err_name(err));
        }
        return;
    }
    fetch_check(op, &next);
    if (op->request.fetch.piece_count > 0) {
        hoarder->holding = true;
        hoarder->crc = pieces_crc(&op->request.fetch);
        hoarder->until_ns = op->request.home->now_ns + prng_below(prng, HOLD_MS_MAX) * NS_PER_MS;
        hoard_weigh(workload);
    }
}

static void hoarder_fetch(struct hoarder *hoarder)
{
    struct workload *workload = hoarder->op.workload;
    uint32_t partition = hoarder->op.partition;
    hoarder->rounds--;
    op_reset(workload, &hoarder->op, hoarder_home);
    fetch_prepare(&hoarder->op, prng_below(workload->prng, hoarder->end), 1);
    hoarder->op.request.fetch.park = prng_chance(workload->prng, 70);
    op_send(&hoarder->op, hoarder->home, partition);
}

static void hoarder_tick(struct completion *done)
{
    struct timer *timer = CONTAINER_OF(done, struct timer, done);
    struct hoarder *hoarder = CONTAINER_OF(timer, struct hoarder, timer);
    struct op *op = &hoarder->op;
    struct workload *workload = op->workload;
    if (sim_node_crashed(workload->life->node)) {
        return;
    }
    uint64_t now_ns = workload->life->reactors[hoarder->home]->now_ns;
    if (op->away) {
        (void)op_watch(op, now_ns);
    } else if (hoarder->holding) {
        if (workload->stopping || now_ns >= hoarder->until_ns) {
            hoarder_release(hoarder);
        }
    } else if (workload->stopping || op_partition_deleted(op)) {
        hoarder->rounds = 0;
    } else if (workload->auditors[op->partition]->state != AUDITOR_ASSIGNING &&
               hoarder->rounds > 0) {
        hoarder_fetch(hoarder);
    }
    if (op->away || hoarder->holding || hoarder->rounds > 0) {
        workload_think(workload, &hoarder->timer, hoarder->home);
    }
}

void hoarders_start(struct workload *workload)
{
    struct prng *prng = workload->prng;
    uint32_t partition = workload_pick(workload);
    uint64_t end = check_end(workload->check, partition);
    workload->hoarding = workload->life->tight;
    if (!workload->hoarding) {
        return;
    }
    if (workload->hoarders == NULL) {
        workload->hoarders = calloc(HOARDERS, sizeof(*workload->hoarders));
        ASSERT(workload->hoarders != NULL);
    }
    for (uint32_t i = 0; i < HOARDERS; i++) {
        struct hoarder *hoarder = &workload->hoarders[i];
        memset(hoarder, 0, sizeof(*hoarder));
        op_reset(workload, &hoarder->op, hoarder_home);
        hoarder->op.partition = partition;
        hoarder->home = (uint32_t)prng_below(prng, workload->life->core_count);
        hoarder->rounds = end > 0 ? HOARD_ROUNDS : 0;
        hoarder->end = end;
        timer_init(&hoarder->timer, hoarder_tick);
        workload_think(workload, &hoarder->timer, hoarder->home);
    }
}

/* Nothing is away or held. */
bool hoarders_home(const struct workload *workload)
{
    for (uint32_t i = 0; i < HOARDERS && workload->hoarding; i++) {
        if (workload->hoarders[i].op.away || workload->hoarders[i].holding) {
            return false;
        }
    }
    return true;
}

bool hoarders_resting(const struct workload *workload)
{
    for (uint32_t i = 0; i < HOARDERS && workload->hoarding; i++) {
        if (workload->hoarders[i].rounds > 0) {
            return false;
        }
    }
    return true;
}

void hoarders_cancel(struct workload *workload)
{
    for (uint32_t i = 0; i < HOARDERS && workload->hoarding; i++) {
        op_cancel(&workload->hoarders[i].op, workload->hoarders[i].home);
    }
}
