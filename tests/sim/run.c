/* See the header. */
#include "core/assert.h"
#include "shard/unpack.h"
#include "tests/sim/mutant.h"
#include "tests/sim/rot.h"
#include "tests/sim/run_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    QUIET_LIVES = 2,
    SCRIPT_LIVES = 2,
    ROT_CHANCE = 50,
    REAL_CHANCE = 50, /* Of the maps. */
};

void run_say(const struct run *run, const char *format, ...)
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

bool run_is_directed(const struct run *run, enum sim_directed directed)
{
    return run->options->directed == directed;
}

static void run_sealed(void *context, uint32_t partition, uint64_t end_offset, bool late)
{
    struct run *run = context;
    check_sealed(run->check, partition, end_offset, late);
}

static void run_trimmed(void *context, uint32_t partition, uint64_t log_start, uint64_t ms)
{
    struct run *run = context;
    check_trimmed(run->check, partition, log_start, ms);
}

static void run_wrong(void *context, uint32_t partition, const char *what)
{
    struct run *run = context;
    check_fail(run->check, "the map: partition %u %s", partition, what);
}

static void run_undone(void *context, uint32_t partition)
{
    struct run *run = context;
    check_undone(run->check, partition);
}

static const struct map *run_source(void *context)
{
    const struct run *run = context;
    return run->real ? server_map(&run->server) : NULL;
}

/* What only marks in the product tell: the difference between two calls. */
static void count_marks(struct sim_counts *counts, bool end)
{
    uint64_t sign = end ? 1 : UINT64_MAX;
    counts->torn += sign * cover_hits("recovery meets a bad extent");
    counts->raft_files += sign * cover_hits("a raft log file is begun anew");
    counts->raft_litter += sign * cover_hits("a crash left half a raft snapshot or an old one");
    counts->pressed += sign * cover_hits("readers hold all the memory that they may");
    counts->ahead += sign * cover_hits("a look is read ahead");
    counts->sliced += sign * cover_hits("a batch is judged a slice in each turn");
    counts->shared += sign * cover_hits("a reader finds a look that is there for somebody else");
    counts->laps += sign * cover_hits("the journal begins a lap");
    counts->full_journals += sign * cover_hits("the journal is full");
    counts->journal_failures += sign * cover_hits("the journal fails");
    counts->replaced += sign * cover_hits("the spare journal takes over");
    counts->sync_blocks += sign * cover_hits("a block of the journal waits for a sync");
    counts->carried += sign * cover_hits("a segment record is carried on");
    counts->rebuilt += sign * cover_hits("a segment file is rebuilt");
    counts->added += sign * cover_hits("a rebuild writes what only memory has");
    counts->no_rebuilds += sign * cover_hits("a segment file cannot be rebuilt");
    counts->no_spares += sign * cover_hits("the spare journal cannot take over");
    counts->no_ways += sign * cover_hits("no safe way on for a shard");
    counts->pooled += sign * cover_hits("a file is in the pool");
    counts->recycled += sign * cover_hits("a segment file is made of a pooled one");
    counts->pools_emptied += sign * cover_hits("the disk is too full for a pool");
    counts->milestones += sign * cover_hits("a file is read from a milestone on");
    counts->milestones_bad += sign * cover_hits("a milestone is bad, the file is scanned");
    counts->milestones_passed += sign * cover_hits("a milestone that is not sound is passed over");
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
    counts->syncs_lost += losses.unwritten > 0;
    counts->slow += sim_node_slow(run->node);
    counts->polls += worked->parked;
    counts->lookups += worked->lookups;
    counts->wrong += worked->wrong;
    counts->shed += checked->shed;
    counts->strays += checked->strays;
    counts->rotten += checked->rotten;
    counts->healed += checked->healed;
    counts->unread += checked->unread;
    counts->milestone_rots += checked->milestones;
    counts->damaged += worked->damaged;
    counts->deletes += worked->deletes;
    counts->trims += worked->trims;
    counts->below += worked->below;
    counts->retained += checked->retained;
    counts->erased += checked->erased;
    counts->rewritten += checked->rewritten;
    counts->removed += sim_map_removed(run->map);
    counts->again += worked->again;
    counts->configured += worked->configured;
    counts->grown += worked->grown;
    counts->id_blocks += worked->blocks;
    counts->real += run->real;
    counts->faults += sim_node_faults(run->node);
    counts->refusals += sim_map_refused(run->map);
    counts->events += sim_node_events(run->node);
    count_marks(counts, true);
}

static uint64_t run_digest(const struct run *run)
{
    const struct check_counts *checked = check_counts(run->check);
    const uint64_t words[] = {
        sim_now_ns(run->world), sim_node_events(run->node), checked->acked,       checked->read,
        checked->lost,          prng_next(run->prng),       sim_trace(run->world)};
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
    run->rots = run->rots || run_is_directed(run, DIRECTED_FILE_ROT);
}

/* As many as can be: most segments end before they have one. */
uint64_t run_milestone_bytes(const struct run *run)
{
    static const uint64_t bytes[] = {1, 1, 1, KIB(12)};
    return bytes[run->options->seed % ARRAY_COUNT(bytes)];
}

/* Half of the seeds look into a batch for many turns, though it is small and not packed. */
uint32_t run_slice_bytes(const struct run *run)
{
    return run->options->seed % 2 == 0 ? 0 : UNPACK_ROOM_BYTES_MIN;
}

struct journal_sizes run_draw_journals(struct run *run)
{
    uint64_t bytes = KIB(16) << prng_below(run->prng, 4);
    return (struct journal_sizes){bytes, bytes << prng_below(run->prng, 3)};
}

static void run_rot_file(struct run *run)
{
    struct rot_place where;
    const char *what = rot_some(sim_node_disk(run->node), run->map, run->check, run->prng, &where);
    if (what == NULL) {
        run_say(run, "rot: none");
        return;
    }
    const struct check_proof *proof = check_proof(run->check, where.partition);
    run_say(run,
            "rot: %s, partition=%u segment=%016" PRIx64 " position=%" PRIu64 " proven=%" PRId64,
            what, where.partition, where.segment_id, where.position,
            proof == NULL ? -1 : (int64_t)proof->proven);
}

/* At the very end the real map's own files rot: the node says so, or has all of it. */
static void run_rot_map(struct run *run)
{
    if (!run->real || !run->rots || check_failure(run->check) != NULL) {
        return;
    }
    uint32_t lost = 0;
    const char *name = rot_map(sim_node_disk(run->node), run->prng, &lost);
    if (name != NULL) {
        run_say(run, "rot: %s, %u commands are lost", name, lost);
        run->map_rotten = true;
        sim_map_lost(run->map, lost);
        life_run(run, run->lives + QUIET_LIVES + 1);
    }
}

/* Between two lives. */
static void run_rot(struct run *run)
{
    if (run_is_directed(run, DIRECTED_JOURNAL_ROT)) {
        struct disk *disk = sim_node_disk(run->node);
        const char *what = rot_journal(disk, run->map, run->check, run->prng);
        run_say(run, "rot: %s", what == NULL ? "none" : what);
    } else if (run->rots &&
               (run_is_directed(run, DIRECTED_FILE_ROT) || prng_chance(run->prng, ROT_CHANCE))) {
        run_rot_file(run);
    }
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
    trouble_draw_mix(&run);
    if (options->script_at > 0) {
        run.mix = (struct trouble_mix){.slow_chance = run.mix.slow_chance};
    }
    run.real = prng_chance(run.prng, REAL_CHANCE);
    run.config_default = (struct partition_config){
        .segment_records = 500,
        .segment_bytes = KIB(64),
        .batch_bytes_max = MIB(1),
        .durability = DURABILITY_DISK,
        .timestamp_type = TIMESTAMP_CREATE,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = INT64_MAX,
        .producer_expiry_ms = INT64_C(86400000),
        .retention_ms = -1,
        .retention_bytes = -1,
        .deep_validation = prng_chance(run.prng, 50),
    };
    struct sim_map_options map_options = {
        .prng = run.prng,
        .context = &run,
        .sealed = run_sealed,
        .trimmed = run_trimmed,
        .wrong = run_wrong,
        .undone = run_undone,
        .source = run_source,
        .config_default = run.config_default,
    };
    run.map = sim_map_create(&map_options);
    run.check = check_create(run.map, sim_node_disk(run.node));
    run.workload = workload_create(run.map, run.check, run.prng, run.real);
    run.lives = options->script_at > 0 ? SCRIPT_LIVES : 4 + (uint32_t)prng_below(run.prng, 6);
    for (uint32_t i = 0; i < run.lives + QUIET_LIVES && check_failure(run.check) == NULL; i++) {
        if (i == run.lives + 1) {
            check_settle(run.check);
        }
        if (i > 0 && i < run.lives) {
            run_rot(&run);
        }
        life_run(&run, i + 1);
        result->script_over = result->script_over || (i == 0 && run.phase == LIFE_OVER);
    }
    run_rot_map(&run);
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
