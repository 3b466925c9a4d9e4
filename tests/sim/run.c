/* See the header. */
#include "tests/sim/run.h"

#include "core/assert.h"
#include "shard/directory.h"
#include "shard/journals.h"
#include "shard/survey.h"
#include "tests/sim/check.h"
#include "tests/sim/mutant.h"
#include "tests/sim/rot.h"
#include "tests/sim/sim_map.h"
#include "tests/sim/workload.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    STEPS_MAX = 400000, /* Of a life; some thousands are usual. */
    QUIET_LIVES = 2,
    SCRIPT_LIVES = 2,
    SCRIPT_BATCHES = 24,
    TROUBLE_CHANCE = 20,
    HURRY_CHANCE = 15,
    HURRY_TROUBLE_CHANCE = 50, /* A stop meets a recovery that cannot end. */
    HURRY_STEPS_MAX = 80,      /* About what it takes to recover. */
    ROT_CHANCE = 50,
    PARTITIONS_OF_CORE = 64,
};

enum life_phase {
    LIFE_OPENING,
    LIFE_REPLAYING,
    LIFE_SURVEYING, /* What the files say, against the map. */
    LIFE_WORKING,
    LIFE_DRAINING,
    LIFE_STOPPING,
    LIFE_CLOSING,
    LIFE_OVER,
};

enum trouble {
    TROUBLE_NEVER,
    TROUBLE_EARLY,
    TROUBLE_LATE,
};

struct shard_stopping {
    struct completion done;
    uint32_t *left;
};

struct run {
    const struct sim_options *options;
    struct sim_counts *counts;
    struct prng *prng;
    struct sim_world *world;
    struct sim_node *node;
    struct sim_map *map;
    struct check *check;
    struct workload *workload;
    uint32_t lives;
    bool rots; /* Files go bad between lives: see rot.h. */
    /* Of the current life. */
    struct sim_life life;
    enum life_phase phase;
    struct directory_open open;
    struct directory_identity identity; /* As first reported, with the latest boot. */
    bool opened, open_ended, surveyed;
    struct journals_open journals_open;
    struct journals *journals; /* Of lives that have some. */
    bool clean;
    struct survey_walk walk;
    struct survey survey; /* Of a process: gone with it. */
    uint32_t cores_before;
    struct sim_disk_manners manners;
    enum trouble trouble;
    uint32_t hurry; /* Steps until it is told to stop, whatever it is at; 0 = when it is done. */
    uint32_t shards_left;
    struct shard_stopping stopping[WORKLOAD_CORES_MAX];
    struct completion closed;
    bool directory_closed, recovered;
};

static void run_say(const struct run *run, const char *format, ...) PRINTF_LIKE(2, 3);

static void run_say(const struct run *run, const char *format, ...)
{
    if (run->options->verbose) {
        va_list arguments;
        va_start(arguments, format);
        printf("%12.6f ", (double)sim_now_ns(run->world) / 1e9);
        vprintf(format, arguments);
        printf("\n");
        va_end(arguments);
    }
}

static void run_sealed(void *context, uint32_t partition, uint64_t end_offset)
{
    struct run *run = context;
    check_sealed(run->check, partition, end_offset);
}

static void run_trimmed(void *context, uint32_t partition, uint64_t log_start, uint64_t ms)
{
    struct run *run = context;
    check_trimmed(run->check, partition, log_start, ms);
}

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

/* Small ones, so that they are full and go round. */
static void life_replay(struct run *run)
{
    struct journals_options options = {
        .data_dir = "data",
        .boot = (uint32_t)run->identity.boot,
        .core_count = run->life.core_count,
        .bytes = KIB(16) << prng_below(run->prng, 4),
        .direct = prng_chance(run->prng, 80),
    };
    options.bytes_max = options.bytes << prng_below(run->prng, 3);
    memcpy(options.directory_id, run->identity.directory_id, sizeof(options.directory_id));
    run->open_ended = false;
    completion_init(&run->journals_open.done, life_replayed);
    sim_node_enter(run->node);
    journals_open(&run->journals_open, run->life.reactors[0], &options);
    sim_node_leave(run->node);
    run->phase = LIFE_REPLAYING;
}

static void life_begin(struct run *run, uint32_t number)
{
    static const struct directory_options options = {
        .path = "data", .node_id = 1, .version = "sim"};
    struct prng *prng = run->prng;
    struct sim_life *life = &run->life;
    bool quiet = number > run->lives;
    uint32_t cores = 1 + (uint32_t)prng_below(prng, WORKLOAD_CORES_MAX);
    *life = (struct sim_life){
        .node = run->node,
        .map = run->map,
        .check = run->check,
        .prng = prng,
        .number = number,
        .core_count = cores,
        .quiet = quiet,
        .batches_max = quiet ? 0 : 10 + (uint32_t)prng_below(prng, 60),
    };
    run->counts->other_cores += run->cores_before != 0 && run->cores_before != cores;
    run->cores_before = cores;
    run->phase = LIFE_OPENING;
    run->open_ended = false;
    run->journals = NULL;
    run->recovered = false;
    run->manners = (struct sim_disk_manners){
        .delay_max_ns = prng_chance(prng, 50) ? NS_PER_MS / 10 : NS_PER_MS,
        .refuses_direct = prng_chance(prng, 20),
    };
    sim_node_set_manners(run->node, &run->manners);
    disk_set_capacity(sim_node_disk(run->node), UINT64_MAX / 2);
    bool scripted = run->options->script_at > 0;
    bool hurried = !scripted && !quiet && prng_chance(prng, HURRY_CHANCE);
    run->hurry = hurried ? 1 + (uint32_t)prng_below(prng, HURRY_STEPS_MAX) : 0;
    bool troubled =
        !scripted && !quiet && prng_chance(prng, hurried ? HURRY_TROUBLE_CHANCE : TROUBLE_CHANCE);
    run->trouble = !troubled ? TROUBLE_NEVER : prng_chance(prng, 50) ? TROUBLE_EARLY : TROUBLE_LATE;
    sim_node_start(run->node, life->reactors, cores);
    sim_map_start(run->map, run->node, number);
    check_life(run->check, number);
    uint64_t crash = 0;
    if (scripted) {
        life->batches_max = quiet ? 0 : SCRIPT_BATCHES;
        crash = number == 1 ? run->options->script_at : 0;
    } else if (number < run->lives) {
        crash = 1 + prng_below(prng, prng_chance(prng, 30) ? 100 : 900);
    }
    sim_node_crash_in(run->node, crash);
    run_say(run, "life %u cores=%u crash_in=%" PRIu64, number, cores, crash);
    completion_init(&run->open.done, life_opened);
    sim_node_enter(run->node);
    directory_open(&run->open, life->reactors[0], &options);
    sim_node_leave(run->node);
}

/* Some lives have bad luck, besides the crash: a write or a sync fails, the disk is full, the map
 * refuses. It begins with recovery or when that is done. */
static void life_trouble(struct run *run)
{
    struct prng *prng = run->prng;
    struct disk *disk = sim_node_disk(run->node);
    struct sim_disk_manners manners = run->manners;
    uint64_t free_bytes;
    uint64_t total_bytes;
    switch (prng_below(prng, 4)) {
    case 0:
        manners.write_fail_in = 1 + prng_below(prng, 60);
        break;
    case 1:
        manners.sync_fail_in = 1 + prng_below(prng, 5);
        break;
    case 2:
        disk_space(disk, &free_bytes, &total_bytes);
        disk_set_capacity(disk, total_bytes - free_bytes + prng_below(prng, MIB(1)));
        run->counts->full++;
        break;
    default:
        sim_map_set_refusals(run->map, 100 + (uint32_t)prng_below(prng, 400));
    }
    sim_node_set_manners(run->node, &manners);
    run->life.faulty = true;
    check_life_is_faulty(run->check);
    run_say(run, "trouble begins");
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
            .direct = prng_chance(run->prng, 80),
        };
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

static void life_leave(struct run *run)
{
    struct sim_life *life = &run->life;
    sim_node_enter(run->node);
    for (uint32_t i = 0; i < life->core_count; i++) {
        reactor_close(life->reactors[i]);
    }
    reactor_disconnect(life->reactors, life->core_count);
    sim_node_leave(run->node);
    if (sim_node_memory(run->node) != 0) {
        check_fail(run->check, "%zu bytes were not freed in an orderly life",
                   sim_node_memory(run->node));
    }
    run->phase = LIFE_OVER;
}

/* True when nothing is left to do, or the life was told to stop before. */
static bool life_must_stop(struct run *run)
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

static void life_run(struct run *run, uint32_t number)
{
    life_begin(run, number);
    for (uint32_t steps = 0; run->phase != LIFE_OVER; steps++) {
        bool went = sim_step(run->world);
        if (check_failure(run->check) != NULL || sim_node_crashed(run->node)) {
            break;
        }
        if (!life_move(run) && !went) {
            check_fail(run->check, "nothing happens any more in phase %d", (int)run->phase);
        }
        if (steps == STEPS_MAX) {
            check_fail(run->check, "a life without end in phase %d", (int)run->phase);
        }
    }
    bool scripted = run->options->script_at > 0 && number == 1;
    bool power = scripted ? run->options->script_power : prng_chance(run->prng, 70);
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
    sim_node_end(run->node, power);
}

/* What only marks in the product tell: the difference between two calls. */
static void count_marks(struct sim_counts *counts, bool end)
{
    uint64_t sign = end ? 1 : UINT64_MAX;
    counts->torn += sign * cover_hits("recovery meets a bad extent");
    counts->pressed += sign * cover_hits("readers hold all the memory that they may");
    counts->laps += sign * cover_hits("the journal begins a lap");
    counts->full_journals += sign * cover_hits("the journal is full");
    counts->journal_failures += sign * cover_hits("the journal fails");
    counts->carried += sign * cover_hits("a segment record is carried on");
    counts->short_files += sign * cover_hits("a file ends before its segment");
    counts->swept += sign * cover_hits("a file that a crash left is swept");
    counts->retention_rolls += sign * cover_hits("retention rolls a segment");
    counts->resumed += sign * cover_hits("a fetch goes on when a reader gave memory back");
}

static void run_count(struct run *run)
{
    struct sim_counts *counts = run->counts;
    const struct check_counts *checked = check_counts(run->check);
    const struct workload_counts *worked = workload_counts(run->workload);
    struct disk_losses losses = disk_losses(sim_node_disk(run->node));
    counts->seeds++;
    counts->acked += checked->acked;
    counts->read += checked->read;
    counts->kept += checked->saved;
    counts->gone += checked->lost;
    counts->duplicates += checked->duplicate;
    counts->rolls += sim_map_rolls(run->map);
    counts->unheard_rolls += sim_map_unheard(run->map);
    counts->names_lost += losses.names;
    counts->sectors_lost += losses.sectors;
    counts->polls += worked->parked;
    counts->lookups += worked->lookups;
    counts->wrong += worked->wrong;
    counts->rotten += checked->rotten;
    counts->healed += checked->healed;
    counts->damaged += worked->damaged;
    counts->deletes += worked->deletes;
    counts->trims += worked->trims;
    counts->below += worked->below;
    counts->retained += checked->retained;
    counts->removed += sim_map_removed(run->map);
    counts->faults += sim_node_faults(run->node);
    counts->refusals += sim_map_refused(run->map);
    counts->events += sim_node_events(run->node);
    count_marks(counts, true);
}

static uint64_t run_digest(const struct run *run)
{
    const struct check_counts *checked = check_counts(run->check);
    const uint64_t words[] = {sim_now_ns(run->world), sim_node_events(run->node),
                              checked->acked,         checked->read,
                              checked->lost,          prng_next(run->prng)};
    uint64_t digest = 14695981039346656037U;
    for (uint32_t i = 0; i < ARRAY_COUNT(words); i++) {
        digest = (digest ^ words[i]) * 1099511628211U;
    }
    return digest;
}

/* Half of all disks have directories that are synced apart, on half of them files rot. */
static void run_draw_disk(struct run *run)
{
    if (prng_chance(run->prng, 50)) {
        disk_set_apart(sim_node_disk(run->node), true);
    }
    run->rots = run->options->script_at == 0 && prng_chance(run->prng, 50);
}

void sim_run(const struct sim_options *options, struct sim_counts *counts,
             struct sim_result *result)
{
    struct run run = {.options = options, .counts = counts};
    *result = (struct sim_result){0};
    count_marks(counts, false);
    run.world = sim_world_create(options->seed);
    run.prng = sim_prng(run.world);
    run.node = sim_node_add(run.world);
    run_draw_disk(&run);
    struct sim_map_options map_options = {
        .prng = run.prng, .context = &run, .sealed = run_sealed, .trimmed = run_trimmed};
    run.map = sim_map_create(&map_options);
    run.check = check_create(run.map, sim_node_disk(run.node));
    run.workload = workload_create(run.map, run.check, run.prng);
    run.lives = options->script_at > 0 ? SCRIPT_LIVES : 4 + (uint32_t)prng_below(run.prng, 6);
    for (uint32_t i = 0; i < run.lives + QUIET_LIVES && check_failure(run.check) == NULL; i++) {
        if (i == run.lives + 1) {
            check_settle(run.check);
        }
        if (run.rots && i > 0 && i < run.lives && prng_chance(run.prng, ROT_CHANCE)) {
            const char *what = rot_some(sim_node_disk(run.node), run.map, run.check, run.prng);
            run_say(&run, "rot: %s", what == NULL ? "none" : what);
        }
        life_run(&run, i + 1);
        result->script_over = result->script_over || (i == 0 && run.phase == LIFE_OVER);
    }
    run_count(&run);
    result->digest = run_digest(&run);
    const char *failure = check_failure(run.check);
    if (failure != NULL) {
        result->failed = true;
        (void)snprintf(result->text, sizeof(result->text), "life %u: %s", run.life.number, failure);
    }
    sim_world_destroy(run.world);
    workload_destroy(run.workload);
    check_destroy(run.check);
    sim_map_destroy(run.map);
}
