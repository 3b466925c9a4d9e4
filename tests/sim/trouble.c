/* Bad luck in a life, besides its crash, as much of it as the seed's mix has. */
#include "tests/sim/run_internal.h"

#include "core/assert.h"

enum {
    FULL_STEPS_MAX = 1500,
    AGAIN_CHANCE = 60,
    SOON_CHANCE = 70,
    SOON = 4, /* Operations. */
    WRITES_MAX = 60,
    SYNCS_MAX = 8,
    JUMP_IN_STEPS = 300,       /* On average. */
    JUMP_MS_MAX = 3600 * 1000, /* Both ways; what is remembered of producers lasts a day. */
};

enum trouble_kind { TROUBLE_WRITE, TROUBLE_SYNC, TROUBLE_FULL, TROUBLE_REFUSE, TROUBLE_KINDS };

void trouble_draw_mix(struct run *run)
{
    struct prng *prng = run->prng;
    static const uint32_t chances[] = {0, 20, 20, 50};
    struct trouble_mix *mix = &run->mix;
    *mix = (struct trouble_mix){
        .chance = chances[prng_below(prng, ARRAY_COUNT(chances))],
        .second_chance = prng_chance(prng, 50) ? 40 : 0,
        .power_chance = prng_chance(prng, 60) ? 70 : (uint32_t)prng_below(prng, 101),
        .slow_chance = prng_chance(prng, 20) ? 1 : 0,
        .jumps = prng_chance(prng, 30),
        .flush_whole = prng_chance(prng, 30),
        .sync_loses = prng_chance(prng, 85),
        .flush_device = prng_chance(prng, 40),
    };
    /* No page cache is between a direct write and the drive: what a failed flush leaves in its
     * cache the next one finds there. */
    mix->sync_loses = mix->sync_loses && !mix->flush_device;
    if (run_is_directed(run, DIRECTED_JOURNAL_FAILS)) {
        mix->chance = 100;
        mix->power_chance = 80;
    }
    run->counts->whole_flushes += mix->flush_whole;
    run->counts->device_flushes += mix->flush_device;
}

static void trouble_full(struct run *run)
{
    struct disk *disk = sim_node_disk(run->node);
    uint64_t free_bytes;
    uint64_t total_bytes;
    disk_space(disk, &free_bytes, &total_bytes);
    disk_set_capacity(disk, total_bytes - free_bytes + prng_below(run->prng, MIB(1)));
    run->full_for =
        prng_chance(run->prng, 70) ? 1 + (uint32_t)prng_below(run->prng, FULL_STEPS_MAX) : 0;
    run->counts->full++;
}

/* Of which files the n-th write or sync fails; and then, soon, where that is being mended, or
 * later, another one, perhaps. */
static uint64_t trouble_files(struct run *run, struct sim_disk_manners *manners, uint32_t most)
{
    struct prng *prng = run->prng;

    static const enum sim_files firsts[] = {SIM_FILES_ALL, SIM_FILES_SEGMENTS, SIM_FILES_SEGMENTS,
                                            SIM_FILES_JOURNALS};

    static const enum sim_files seconds[] = {SIM_FILES_ALL, SIM_FILES_SEGMENTS, SIM_FILES_JOURNALS,
                                             SIM_FILES_MANIFEST};

    manners->files = firsts[prng_below(prng, ARRAY_COUNT(firsts))];
    if (run_is_directed(run, DIRECTED_JOURNAL_FAILS)) {
        manners->files = SIM_FILES_JOURNALS;
    }
    if (prng_chance(prng, AGAIN_CHANCE)) {
        manners->again_files = manners->files;
        if (manners->files == SIM_FILES_JOURNALS) {
            manners->again_files = seconds[prng_below(prng, ARRAY_COUNT(seconds))];
        }
        bool soon = prng_chance(prng, SOON_CHANCE);
        manners->again_in = 1 + prng_below(prng, soon ? SOON : most);
        if (manners->again_files == SIM_FILES_MANIFEST) {
            manners->again_in = 1;
        }
    }
    return 1 + prng_below(prng, manners->files == SIM_FILES_ALL ? most : most / 4);
}

static void trouble_one(struct run *run, enum trouble_kind kind)
{
    struct sim_disk_manners manners = run->manners;
    switch (kind) {
    case TROUBLE_WRITE:
        manners.write_fail_in = trouble_files(run, &manners, WRITES_MAX);
        break;
    case TROUBLE_SYNC:
        manners.sync_fail_in = trouble_files(run, &manners, SYNCS_MAX);
        break;
    case TROUBLE_FULL:
        trouble_full(run);
        break;
    case TROUBLE_REFUSE:
        sim_map_set_refusals(run->map, 100 + (uint32_t)prng_below(run->prng, 400));
        break;
    case TROUBLE_KINDS:
        UNREACHABLE();
    }
    run->manners = manners;
    sim_node_set_manners(run->node, &manners);
}

void life_trouble(struct run *run)
{
    uint32_t kinds = run->real ? TROUBLE_REFUSE : TROUBLE_KINDS;
    kinds = run_is_directed(run, DIRECTED_JOURNAL_FAILS) ? TROUBLE_FULL : kinds;
    enum trouble_kind first = (enum trouble_kind)prng_below(run->prng, kinds);
    enum trouble_kind second = first;
    trouble_one(run, first);
    if (prng_chance(run->prng, run->mix.second_chance)) {
        second = (enum trouble_kind)prng_below(run->prng, kinds);
        if (second != first) {
            run->counts->doubles++;
            trouble_one(run, second);
        }
    }
    run->life.faulty = true;
    run->life.full_only = first == TROUBLE_FULL && second == TROUBLE_FULL;
    check_life_is_faulty(run->check);
    run_say(run, "trouble begins: %d, %d", (int)first, (int)second);
}

static void trouble_jump(struct run *run)
{
    int64_t ms = (int64_t)prng_below(run->prng, 2 * JUMP_MS_MAX) - JUMP_MS_MAX;
    sim_jump_ms(run->world, ms);
    check_clock_jumped(run->check);
    run->counts->jumps++;
    run_say(run, "the clock jumps by %lld ms", (long long)ms);
}

void trouble_begin(struct run *run)
{
    run->full_for = 0;
    run->manners.flush_whole = run->mix.flush_whole;
    run->manners.flush_device = run->mix.flush_device;
    run->manners.sync_loses = run->mix.sync_loses;
    run->manners.slow_chance = run->life.quiet ? 0 : run->mix.slow_chance;
    if (run->mix.jumps && prng_chance(run->prng, 50)) {
        trouble_jump(run);
    }
}

void trouble_step(struct run *run)
{
    if (run->mix.jumps && prng_below(run->prng, JUMP_IN_STEPS) == 0) {
        trouble_jump(run);
    }
    if (run->full_for > 0 && --run->full_for == 0) {
        disk_set_capacity(sim_node_disk(run->node), UINT64_MAX / 2);
        run->space_acked = check_counts(run->check)->acked;
        run->space_back = true;
        run_say(run, "there is space again");
    }
}

void trouble_end(struct run *run)
{
    run->counts->after_full +=
        run->space_back && check_counts(run->check)->acked > run->space_acked;
    run->space_back = false;
}
