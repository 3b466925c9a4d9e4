/* One life of a node: see run.h for its phases. */
#include "core/assert.h"
#include "tests/sim/inside.h"
#include "tests/sim/rot.h"
#include "tests/sim/run_internal.h"

#include <inttypes.h>
#include <string.h>

enum {
    STEPS_MAX = 400000, /* Of a life; some thousands are usual. */
    SCRIPT_BATCHES = 24,
    HURRY_CHANCE = 15,
    HURRY_TROUBLE_CHANCE = 50, /* A stop meets a recovery that cannot end. */
    TIGHT_PER_MILLE = 150,     /* Of lives of the stand-in. */
    HURRY_STEPS_MAX = 80,      /* About what it takes to recover. */
    PARTITIONS_OF_CORE = 64,
    DESCRIPTION_BYTES = 200,
};

/* A life begins. */

static void life_opened(struct completion *done)
{
    struct directory_open *open = CONTAINER_OF(done, struct directory_open, done);
    struct run *run = CONTAINER_OF(open, struct run, open);
    const struct directory_identity *now = &open->identity;
    if (sim_node_crashed(run->node)) {
        return;
    }
    run->open_ended = true;
    if (done->result != OK) {
        check_fail(run->check, "the directory does not open: %s", open->message);
        return;
    }
    if (run->opened && (now->fresh || now->boot <= run->identity.boot ||
                        memcmp(now->disk_id, run->identity.disk_id, sizeof(now->disk_id)) != 0)) {
        check_fail(run->check,
                   "the directory has boot %" PRIu64 " after %" PRIu64 ", or is another one",
                   now->boot, run->identity.boot);
    }
    run->opened = true;
    run->identity = *now;
}

static void life_replayed(struct completion *done)
{
    struct journals_open *open = CONTAINER_OF(done, struct journals_open, done);
    struct run *run = CONTAINER_OF(open, struct run, journals_open);
    if (sim_node_crashed(run->node)) {
        return;
    }
    run->open_ended = true;
    run->counts->replayed += open->frames;
    if (done->result != OK) {
        check_fail(run->check, "the journals do not open: %s", open->message);
        return;
    }
    run->journals = open->journals;
}

/* As the node asks its map (tools/node.c). */
static bool life_has_open(const void *context, const struct segment_record *record)
{
    const struct run *run = context;
    for (uint32_t i = 0; i < sim_map_partition_count(run->map); i++) {
        const struct sim_map_partition *partition = sim_map_partition(run->map, i);
        for (uint32_t j = 0; !partition->deleted && j < partition->segment_count; j++) {
            const struct sim_map_segment *segment = &partition->segments[j];
            if (!segment->gone && segment->info.id == record->segment_id) {
                return segment->info.state == SEGMENT_OPEN;
            }
        }
    }
    return false;
}

static void life_replay(struct run *run)
{
    struct journal_sizes sizes = run_draw_journals(run);
    struct journals_options options = {
        .data_dir = "data",
        .boot = (uint32_t)run->identity.boot,
        .core_count = run->life.core_count,
        .bytes = sizes.bytes,
        .bytes_max = sizes.bytes_max,
        .direct = prng_chance(run->prng, 80),
        .is_open = run->real ? NULL : life_has_open, /* The real one is not open yet. */
        .context = run,
    };
    memcpy(options.directory_id, run->identity.directory_id, sizeof(options.directory_id));
    run->open_ended = false;
    completion_init(&run->journals_open.done, life_replayed);
    sim_node_enter(run->node);
    journals_open(&run->journals_open, run->life.reactors[0], &options);
    sim_node_leave(run->node);
    run->phase = LIFE_REPLAYING;
}

static void life_surveyed(struct completion *done)
{
    struct run *run = CONTAINER_OF(done, struct run, walk.done);
    if (sim_node_crashed(run->node)) {
        return;
    }
    if (done->result != OK) {
        check_fail(run->check, "the survey ends with %s", err_name((enum err)done->result));
    }
    check_surveyed(run->check, &run->survey);
    survey_free(&run->survey);
    run->surveyed = true;
}

static void life_survey(struct run *run)
{
    run->phase = LIFE_SURVEYING;
    run->surveyed = false;
    run->survey = (struct survey){0};
    run->walk = (struct survey_walk){.survey = &run->survey};
    completion_init(&run->walk.done, life_surveyed);
    sim_node_enter(run->node);
    survey_start(&run->walk, run->life.reactors[0], "data");
    sim_node_leave(run->node);
}

/* What the life is to be: its cores, its disk's manners, its troubles, and when it crashes. */
static void life_draw(struct run *run, uint32_t number)
{
    struct prng *prng = run->prng;
    struct sim_life *life = &run->life;
    bool quiet = number > run->lives;
    uint32_t cores = 1 + (uint32_t)prng_below(prng, WORKLOAD_CORES_MAX);
    *life = (struct sim_life){
        .node = run->node,
        .server = run->real ? &run->server : NULL,
        .map = run->map,
        .check = run->check,
        .prng = prng,
        .number = number,
        .core_count = cores,
        .tight = !run->real && !quiet && prng_below(prng, 1000) < TIGHT_PER_MILLE,
        .quiet = quiet,
        .batches_max = quiet ? 0 : 10 + (uint32_t)prng_below(prng, 60),
    };
    run->counts->other_cores += run->cores_before != 0 && run->cores_before != cores;
    run->cores_before = cores;
    run->phase = LIFE_OPENING;
    run->open_ended = false;
    run->journals = NULL;
    run->recovered = false;
    run->canceled = false;
    run->manners = (struct sim_disk_manners){
        .delay_max_ns = prng_chance(prng, 50) ? NS_PER_MS / 10 : NS_PER_MS,
        .refuses_direct = prng_chance(prng, 20),
    };
    trouble_begin(run);
    sim_node_set_manners(run->node, &run->manners);
    disk_set_capacity(sim_node_disk(run->node), UINT64_MAX / 2);
    bool scripted = run->options->script_at > 0;
    bool hurried = !scripted && !quiet && prng_chance(prng, HURRY_CHANCE);
    run->hurry = hurried ? 1 + (uint32_t)prng_below(prng, HURRY_STEPS_MAX) : 0;
    bool troubled =
        !scripted && !quiet && prng_chance(prng, hurried ? HURRY_TROUBLE_CHANCE : run->mix.chance);
    run->trouble = !troubled ? TROUBLE_NEVER : prng_chance(prng, 50) ? TROUBLE_EARLY : TROUBLE_LATE;
}

static uint64_t life_draw_crash(struct run *run, uint32_t number)
{
    struct sim_life *life = &run->life;
    if (run->options->script_at > 0) {
        life->batches_max = life->quiet ? 0 : SCRIPT_BATCHES;
        return number == 1 ? run->options->script_at : 0;
    }
    if (number >= run->lives) {
        return 0;
    }
    return 1 + prng_below(run->prng, prng_chance(run->prng, 30) ? 100 : 900);
}

static void life_begin(struct run *run, uint32_t number)
{
    static const struct directory_options options = {
        .path = "data", .node_id = 1, .version = "sim"};
    struct sim_life *life = &run->life;
    life_draw(run, number);
    sim_node_start(run->node, life->reactors, life->core_count + run->real);
    sim_map_start(run->map, run->node, number);
    check_life(run->check, number);
    uint64_t crash = life_draw_crash(run, number);
    sim_node_crash_in(run->node, crash);
    run_say(run, "life %u cores=%u crash_in=%" PRIu64 "%s", number, life->core_count, crash,
            run->real ? " real map" : "");
    if (run->real) {
        server_begin(run);
        return;
    }
    completion_init(&run->open.done, life_opened);
    sim_node_enter(run->node);
    directory_open(&run->open, life->reactors[0], &options);
    sim_node_leave(run->node);
}

static void life_work(struct run *run)
{
    struct sim_life *life = &run->life;
    sim_node_enter(run->node);
    for (uint32_t i = 0; i < life->core_count; i++) {
        struct shard_options options = {
            .data_dir = "data",
            .hooks = sim_map_hooks(run->map, life->reactors[i]),
            .node_id = run->identity.node_id,
            .boot = (uint32_t)run->identity.boot,
            .partitions_max = PARTITIONS_OF_CORE,
            .appends_max = 1024,
            .retention_check_ms = 3 + (uint32_t)prng_below(run->prng, 20),
            .look_bytes = prng_chance(run->prng, 50) ? 0 : (uint32_t)KIB(16),
            .readers_bytes_max = life->tight ? TIGHT_BYTES : 0,
            .milestone_bytes = run_milestone_bytes(run),
            .slice_bytes = run_slice_bytes(run),
            .direct = prng_chance(run->prng, 80),
        };
        if (life->tight) {
            options.look_bytes = 0;
        }
        memcpy(options.disk_id, run->identity.disk_id, sizeof(options.disk_id));
        journals_assign(run->journals, i, &options);
        enum err err = shard_open(&life->shards[i], life->reactors[i], &options);
        ASSERT(err == OK);
    }
    if (run->trouble == TROUBLE_EARLY) {
        life_trouble(run);
    }
    workload_start(run->workload, life);
    sim_node_leave(run->node);
    run->phase = LIFE_WORKING;
}

/* An orderly end. */

static void shard_stopped(struct completion *done)
{
    struct shard_stopping *stopping = CONTAINER_OF(done, struct shard_stopping, done);
    (*stopping->left)--;
}

static void life_stop(struct run *run)
{
    struct sim_life *life = &run->life;
    run->shards_left = life->core_count;
    sim_node_enter(run->node);
    for (uint32_t i = 0; i < life->core_count; i++) {
        run->stopping[i].left = &run->shards_left;
        completion_init(&run->stopping[i].done, shard_stopped);
        shard_stop(life->shards[i], &run->stopping[i].done);
    }
    sim_node_leave(run->node);
    run->phase = LIFE_STOPPING;
}

static void directory_closed(struct completion *done)
{
    struct run *run = CONTAINER_OF(done, struct run, closed);
    run->directory_closed = true;
}

static void life_journals_closed(struct completion *done)
{
    struct run *run = CONTAINER_OF(done, struct run, closed);
    completion_init(&run->closed, directory_closed);
    directory_close(run->open.directory, &run->closed);
}

static void life_close(struct run *run)
{
    struct sim_life *life = &run->life;
    bool clean = true;
    sim_node_enter(run->node);
    for (uint32_t i = 0; i < life->core_count; i++) {
        clean = shard_is_clean(life->shards[i]) && clean;
        shard_close(life->shards[i]);
    }
    run->counts->clean_stops += clean;
    run->directory_closed = false;
    completion_init(&run->closed, life_journals_closed);
    journals_close(run->journals, clean, &run->closed);
    sim_node_leave(run->node);
    run->phase = LIFE_CLOSING;
}

void life_leave(struct run *run)
{
    struct sim_life *life = &run->life;
    sim_node_enter(run->node);
    uint32_t count = life->core_count + run->real;
    for (uint32_t i = 0; i < count; i++) {
        reactor_close(life->reactors[i]);
    }
    reactor_disconnect(life->reactors, count);
    sim_node_leave(run->node);
    if (sim_node_memory(run->node) != 0) {
        check_fail(run->check, "%zu bytes were not freed in an orderly life",
                   sim_node_memory(run->node));
    }
    run->phase = LIFE_OVER;
}

/* True when nothing is left to do, or the life was told to stop before. */
bool life_must_stop(struct run *run)
{
    if (run->hurry > 0 && --run->hurry == 0) {
        run->counts->hurries += !run->recovered;
        return true;
    }
    return workload_resting(run->workload) && workload_audited(run->workload);
}

/* Moves the life on, between turns; true if it did. */
static bool life_move(struct run *run)
{
    if (run->real) {
        return server_move(run);
    }
    enum life_phase phase = run->phase;
    switch (phase) {
    case LIFE_OPENING:
        if (run->open_ended) {
            life_replay(run);
        }
        break;
    case LIFE_REPLAYING:
        if (run->open_ended) {
            life_survey(run);
        }
        break;
    case LIFE_SURVEYING:
        if (run->surveyed) {
            life_work(run);
        }
        break;
    case LIFE_WORKING:
        if (!run->recovered && workload_assigned(run->workload)) {
            run->recovered = true;
            run->counts->recoveries++;
            if (run->trouble == TROUBLE_LATE) {
                life_trouble(run);
            }
        }
        if (life_must_stop(run)) {
            workload_stop(run->workload);
            run->phase = LIFE_DRAINING;
        }
        break;
    case LIFE_DRAINING:
        /* Some servers are in a hurry. */
        if (workload_idle(run->workload) || prng_chance(run->prng, 10)) {
            life_stop(run);
        }
        break;
    case LIFE_STOPPING:
        if (run->shards_left == 0 && workload_home(run->workload)) {
            life_close(run);
        }
        break;
    case LIFE_CLOSING:
        if (run->directory_closed) {
            life_leave(run);
        }
        break;
    case LIFE_OVER:
        break;
    }
    return run->phase != phase;
}

static void life_count_crash(struct run *run)
{
    struct sim_counts *counts = run->counts;
    counts->crashes++;
    counts->recovery_crashes +=
        run->phase <= LIFE_SURVEYING || (run->phase == LIFE_WORKING && !run->recovered);
    counts->roll_crashes += run->recovered && sim_map_waiting(run->map) > 0;
    counts->stop_crashes += run->phase >= LIFE_STOPPING;
    counts->replay_crashes += run->phase == LIFE_REPLAYING;
}

/* Somebody was just told that a record is there. */
static void life_look_inside(struct run *run)
{
    uint64_t acked = check_counts(run->check)->acked;
    bool at_work = run->phase == LIFE_WORKING || run->phase == LIFE_DRAINING;
    if (!at_work || acked == run->looked_acked || sim_node_crashed(run->node)) {
        return;
    }
    run->looked_acked = acked;
    run->counts->looks++;
    for (uint32_t i = 0; i < run->life.core_count; i++) {
        inside_look(run->check, sim_node_disk(run->node),
                    run->real ? server_shard(&run->server, i) : run->life.shards[i]);
    }
}

void life_run(struct run *run, uint32_t number)
{
    life_begin(run, number);
    for (uint32_t steps = 0; run->phase != LIFE_OVER; steps++) {
        trouble_step(run);
        bool went = sim_step(run->world);
        sim_map_look(run->map);
        life_look_inside(run);
        if (check_failure(run->check) != NULL || sim_node_crashed(run->node)) {
            break;
        }
        if (!life_move(run) && !went) {
            check_fail(run->check, "nothing happens any more in phase %d", (int)run->phase);
        }
        if (steps == STEPS_MAX) {
            char text[DESCRIPTION_BYTES];
            workload_describe(run->workload, text, sizeof(text));
            check_fail(run->check, "a life without end in phase %d, %s", (int)run->phase, text);
        }
    }
    bool scripted = run->options->script_at > 0 && number == 1;
    bool power =
        scripted ? run->options->script_power : prng_chance(run->prng, run->mix.power_chance);
    if (run->phase == LIFE_OVER) {
        run->counts->stops++;
    } else {
        life_count_crash(run);
        run->counts->power_cuts += power;
    }
    run_say(run, "%s in phase %d",
            run->phase == LIFE_OVER ? "stop"
            : power                 ? "power cut"
                                    : "kill",
            (int)run->phase);
    trouble_end(run);
    bool whole = run->phase == LIFE_OVER && run->recovered;
    check_ended(run->check, !whole, power);
    const char *panic = sim_node_panic(run->node);
    if (panic != NULL) {
        run->counts->gave_up++;
        run_say(run, "it gave up: %s", panic);
        if (!run->life.faulty) {
            check_fail(run->check, "the node gives up: %s", panic);
        }
    }
    server_forget(&run->server);
    sim_node_end(run->node, power);
    rot_again(sim_node_disk(run->node), run->map, run->check);
}
