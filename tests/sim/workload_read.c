/* Readers: consumers and look-ups. */
#include "core/assert.h"
#include "tests/sim/workload_internal.h"

#include <inttypes.h>

enum {
    FETCH_BYTES = 1 << 20,
    CANCEL_CHANCE = 10,
    EPOCH_FAR = 1000,
    BEHIND_MS_MAX = 5,     /* The turn of the next ack wakes who waits for it. */
    PRESSED_MS_MAX = 1500, /* With many before it in the queue for memory. */
};

static void reader_tick(struct completion *done);

void fetch_prepare(struct op *op, uint64_t offset, uint32_t bytes_max)
{
    op->request.kind = REQUEST_FETCH;
    op->request.fetch = (struct request_fetch){
        .offset = offset,
        .bytes_max = bytes_max,
        .epoch = -1,
        .whole_first = true,
        .pieces = op->pieces,
        .piece_capacity = OP_PIECES,
    };
}

void fetch_check(struct op *op, uint64_t *offset)
{
    const struct request_fetch *fetch = &op->request.fetch;
    struct check *check = op->workload->check;
    *offset = fetch->offset;
    if (op_partition_deleted(op)) {
        return;
    }
    check_started(check, op->partition, fetch->log_start, op->start);
    if (fetch->offset < op->start && !check_start_is_lost(check, op->partition)) {
        check_fail(check, "partition %u: read at %" PRIu64 ", the log starts at %" PRIu64,
                   op->partition, fetch->offset, op->start);
    }
    for (uint32_t i = 0; i < fetch->piece_count; i++) {
        check_fetched(check, op->partition, bytes_of(fetch->pieces[i].data, fetch->pieces[i].size),
                      op->mark, offset);
    }
    check_watermark(check, op->partition, fetch->high_watermark, op->end);
    if (*offset > fetch->high_watermark &&
        (fetch->piece_count > 0 || !check_is_lossy(check, op->partition))) {
        check_fail(check, "partition %u: got %" PRIu64 ", above the high watermark %" PRIu64,
                   op->partition, *offset, fetch->high_watermark);
    }
    bool empty = fetch->piece_count == 0 && fetch->whole_first && fetch->offset < op->end;
    if (empty && !(fetch->pressed && op->workload->hoarding)) {
        check_fail(check, "partition %u: nothing at %" PRIu64 ", but %" PRIu64 " was there",
                   op->partition, fetch->offset, op->end);
    }
}

bool op_is_below(struct op *op, enum err err)
{
    const struct request_fetch *fetch = &op->request.fetch;
    bool below = op->request.kind == REQUEST_FETCH && err == ERR_OFFSET_RANGE &&
                 fetch->offset < fetch->log_start && !op_partition_deleted(op);
    if (below) {
        check_started(op->workload->check, op->partition, fetch->log_start, op->start);
        op->workload->counts.below++;
    }
    return below;
}

bool fetch_take(struct op *op, uint32_t home, uint64_t *offset)
{
    fetch_check(op, offset);
    if (op->request.fetch.piece_count == 0) {
        return false;
    }
    op->request.kind = REQUEST_RELEASE;
    op_send(op, home, op->partition);
    return true;
}

bool op_met_damage(const struct op *op, enum err err)
{
    struct workload *workload = op->workload;
    uint64_t end;
    bool may =
        op->request.kind == REQUEST_FETCH
            ? check_may_be_damaged(workload->check, op->partition, op->request.fetch.offset, &end)
            : check_is_rotten(workload->check, op->partition);
    workload->counts.damaged += err == ERR_DAMAGED && may;
    return may && err == ERR_DAMAGED;
}

static struct reader_client *reader_of(struct op *op)
{
    return CONTAINER_OF(op, struct reader_client, op);
}

static void reader_looked_up(struct op *op)
{
    const struct workload *workload = op->workload;
    const struct request_offsets *offsets = &op->request.offsets;
    if (offsets->timestamp == OFFSETS_LATEST) {
        check_watermark(workload->check, op->partition, (uint64_t)offsets->offset, op->end);
    } else if (offsets->timestamp == OFFSETS_EARLIEST) {
        check_started(workload->check, op->partition, (uint64_t)offsets->offset, op->start);
    } else {
        struct check_lookup lookup = {
            .partition = op->partition,
            .start = check_is_rotten(workload->check, op->partition) ? 0 : op->start,
            .end = op->end,
            .mark = op->mark,
            .wanted = offsets->timestamp,
            .offset = offsets->offset,
            .timestamp = offsets->timestamp_found,
            .epoch = offsets->epoch_found,
        };
        check_looked_up(workload->check, &lookup);
    }
}

static void reader_home(struct op *op, enum err err)
{
    struct reader_client *client = reader_of(op);
    struct workload *workload = op->workload;
    bool deleted = op_partition_deleted(op);
    if (op->request.kind == REQUEST_RELEASE) {
        ASSERT(err == OK);
        return;
    }
    if (op->epoch_wrong) {
        if (err == OK) {
            check_fail(workload->check, "partition %u: answered in an epoch that nobody has",
                       op->partition);
        }
        if (err == OK || err == ERR_EPOCH_UNKNOWN) {
            return;
        }
    }
    bool behind = op->request.kind == REQUEST_FETCH && err == ERR_OFFSET_RANGE &&
                  check_is_lossy(workload->check, op->partition);
    if (op_is_below(op, err)) {
        client->offset = client->at_tail ? op->request.fetch.log_start : client->offset;
        return;
    }
    if (behind) {
        client->offset = 0; /* What it had read is gone. */
        return;
    }
    if (err != OK) {
        bool canceled =
            op->request.kind == REQUEST_FETCH && op->request.fetch.park && err == ERR_CANCELED;
        /* A look-up in what is on its way to the file, acked already. */
        bool staged = sim_map_partition(workload->map, op->partition)->config.durability ==
                          DURABILITY_MEMORY &&
                      op->request.kind == REQUEST_OFFSETS;
        bool early = err == ERR_NOT_READY && (op->early || staged);
        if (!deleted && !canceled && !early && !op_met_damage(op, err) &&
            !workload_expects_errors(workload)) {
            check_fail(workload->check, "partition %u: a %s fails: %s", op->partition,
                       op->request.kind == REQUEST_FETCH ? "fetch" : "look-up", err_name(err));
        }
        return;
    }
    if (op->request.kind == REQUEST_FETCH) {
        uint64_t next;
        workload->counts.fetches++;
        workload->counts.parked += op->waited && op->request.fetch.piece_count > 0;
        (void)fetch_take(op, client->home, &next);
        client->offset = client->at_tail && !deleted ? next : client->offset;
        return;
    }
    workload->counts.lookups++;
    if (deleted) {
        return;
    }
    reader_looked_up(op);
}

/* The epoch that a client has read in the map, one that is not there yet, or none. A core hears of
 * a new one in the turn after the map. */
static int32_t reader_epoch(struct reader_client *client)
{
    struct workload *workload = client->workload;
    const struct sim_map_partition *mapped = sim_map_partition(workload->map, client->partition);
    uint64_t now_ns = workload->life->reactors[client->home]->now_ns;
    uint32_t epoch = mapped->epoch;
    if (!prng_chance(workload->prng, 30) || now_ns < mapped->epoch_ns + NS_PER_MS) {
        return -1;
    }
    client->op.epoch_wrong = prng_chance(workload->prng, 10);
    return (int32_t)(client->op.epoch_wrong ? mapped->epoch + EPOCH_FAR : epoch);
}

static void reader_fetch(struct reader_client *client)
{
    struct workload *workload = client->workload;
    struct prng *prng = workload->prng;
    uint64_t end = check_end(workload->check, client->partition);
    uint64_t offset = client->offset;
    client->at_tail = prng_chance(prng, 60);
    if (!client->at_tail) {
        offset = end == 0 ? 0 : prng_below(prng, end);
    }
    uint32_t bytes_max = prng_chance(prng, 50) ? FETCH_BYTES : 1 + (uint32_t)prng_below(prng, 4000);
    fetch_prepare(&client->op, offset, bytes_max);
    client->op.request.fetch.epoch = reader_epoch(client);
    client->op.request.fetch.park = prng_chance(prng, 60);
    client->op.request.fetch.whole_first = bytes_max == FETCH_BYTES || prng_chance(prng, 50);
}

static void reader_look_up(struct reader_client *client)
{
    struct prng *prng = client->workload->prng;
    struct reactor *reactor = client->workload->life->reactors[client->home];
    struct request_offsets *offsets = &client->op.request.offsets;
    client->op.request.kind = REQUEST_OFFSETS;
    *offsets = (struct request_offsets){.epoch = reader_epoch(client)};
    switch (prng_below(prng, 6)) {
    case 0:
        offsets->timestamp = OFFSETS_LATEST;
        return;
    case 1:
        offsets->timestamp = OFFSETS_EARLIEST;
        return;
    case 2:
        offsets->timestamp = OFFSETS_MAX_TIMESTAMP;
        return;
    case 3:
        offsets->timestamp = check_some_time(client->workload->check, client->partition, prng);
        return;
    default:
        offsets->timestamp = (int64_t)reactor->now_ms - (int64_t)prng_below(prng, 2000);
    }
}

bool op_watch(struct op *op, uint64_t now_ns)
{
    struct workload *workload = op->workload;
    uint64_t end = check_end(workload->check, op->partition);
    uint64_t most_ms = workload->hoarding ? PRESSED_MS_MAX : BEHIND_MS_MAX;
    bool behind = op->request.kind == REQUEST_FETCH && op->request.fetch.parked &&
                  op->request.fetch.offset < end && !op_partition_deleted(op) &&
                  !workload->life->faulty;
    op->behind_ns = !behind ? 0 : op->behind_ns == 0 ? now_ns : op->behind_ns;
    if (behind && now_ns - op->behind_ns > most_ms * NS_PER_MS) {
        check_fail(workload->check,
                   "partition %u: a fetch at %" PRIu64 " sleeps, the end is %" PRIu64,
                   op->partition, op->request.fetch.offset, end);
    }
    return behind;
}

static void reader_away(struct reader_client *client)
{
    struct workload *workload = client->workload;
    struct op *op = &client->op;
    struct reactor *home = workload->life->reactors[client->home];
    op->waited = op->waited || (op->request.kind == REQUEST_FETCH && op->request.fetch.parked);
    bool stays = op_watch(op, home->now_ns) && !workload->hoarding;
    if (!stays && prng_chance(workload->prng, CANCEL_CHANCE)) {
        op_cancel(op, client->home);
    }
}

static void reader_tick(struct completion *done)
{
    struct timer *timer = CONTAINER_OF(done, struct timer, done);
    struct reader_client *client = CONTAINER_OF(timer, struct reader_client, timer);
    struct workload *workload = client->workload;
    struct op *op = &client->op;
    if (sim_node_crashed(workload->life->node) || workload->stopping) {
        return;
    }
    workload_think(workload, &client->timer, client->home);
    if (op->away) {
        reader_away(client);
        return;
    }
    bool gone = sim_map_partition(workload->map, client->partition)->deleted;
    if (gone || prng_chance(workload->prng, 5)) {
        client->partition = workload_pick(workload);
        client->offset = 0;
    }
    if (!op_is_known(workload, client->home, client->partition)) {
        return;
    }
    op_reset(workload, op, reader_home);
    if (prng_chance(workload->prng, 75)) {
        reader_fetch(client);
    } else {
        reader_look_up(client);
    }
    op_send(op, client->home, client->partition);
}

void reader_client_init(struct workload *workload, struct reader_client *client)
{
    client->workload = workload;
    client->partition = workload_pick(workload);
}

void reader_client_start(struct workload *workload, struct reader_client *client)
{
    client->home = (uint32_t)prng_below(workload->prng, workload->life->core_count);
    op_reset(workload, &client->op, reader_home);
    timer_init(&client->timer, reader_tick);
    workload_think(workload, &client->timer, client->home);
}
