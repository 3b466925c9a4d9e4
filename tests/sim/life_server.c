/* A life of a node as the product makes it, with the real map: tools/node.c brings it up and down.
 *
 *     OPENING    directory, metadata core, shards and agents: all is recovered when it ends
 *     WORKING, DRAINING   as in any life; long polls are canceled, as connections do that end
 *     STOPPING   all the way down again, also when it did not come up
 *     OVER */
#include "core/assert.h"
#include "tests/sim/run_internal.h"

void server_begin(struct run *run)
{
    struct journal_sizes journals = run_draw_journals(run);
    const struct server_options options = {
        .config_default = run->config_default,
        .journal_bytes = journals.bytes,
        .journal_bytes_max = journals.bytes_max,
        .milestone_bytes = run_milestone_bytes(run),
        .slice_bytes = run_slice_bytes(run),
        .retention_check_ms = 3 + (uint32_t)prng_below(run->prng, 20),
        .direct = prng_chance(run->prng, 80),
    };
    if (run->trouble == TROUBLE_EARLY) {
        life_trouble(run);
        check_replay_is_faulty(run->check);
    }
    server_start(&run->server, run->node, run->life.reactors, run->life.core_count, &options);
}

static void server_go_down(struct run *run)
{
    server_stop(&run->server);
    run->phase = LIFE_STOPPING;
}

static void server_opening(struct run *run)
{
    struct sim_server *server = &run->server;
    if (run->hurry > 0 && !run->canceled && --run->hurry == 0) {
        run->counts->hurries++;
        run->canceled = true;
        run->hurry = 1; /* If it is up by then, it works for a moment. */
        server_cancel(server);
    }
    if (server->failed) {
        bool damaged = run->map_rotten && server->err == ERR_DAMAGED;
        if (server->err != ERR_CANCELED && !run->life.faulty && !damaged) {
            check_fail(run->check, "the node does not start: %s", server_message(server));
        }
        run->counts->map_damaged += damaged;
        run->counts->no_starts += server->err != ERR_CANCELED;
        server_go_down(run);
    } else if (server->up) {
        if (!sim_map_is_followed(run->map)) {
            check_fail(run->check, "the node serves, and has not registered itself");
        }
        run->recovered = true;
        run->counts->recoveries++;
        if (run->trouble == TROUBLE_LATE) {
            life_trouble(run);
        }
        sim_node_enter(run->node);
        workload_start(run->workload, &run->life);
        sim_node_leave(run->node);
        run->phase = LIFE_WORKING;
    }
}

static void server_draining(struct run *run)
{
    if (!workload_idle(run->workload)) {
        return;
    }
    if (workload_home(run->workload)) {
        server_go_down(run);
        return;
    }
    sim_node_enter(run->node);
    workload_cancel(run->workload);
    sim_node_leave(run->node);
}

static void server_stopping(struct run *run)
{
    struct sim_server *server = &run->server;
    if (!server->down) {
        return;
    }
    if (server->err != OK && !run->life.faulty) {
        check_fail(run->check, "the stop fails: %s", server_message(server));
    }
    server_destroy(server);
    life_leave(run);
}

bool server_move(struct run *run)
{
    enum life_phase phase = run->phase;
    switch (phase) {
    case LIFE_OPENING:
        server_opening(run);
        break;
    case LIFE_WORKING:
        if (life_must_stop(run)) {
            workload_stop(run->workload);
            run->phase = LIFE_DRAINING;
        }
        break;
    case LIFE_DRAINING:
        server_draining(run);
        break;
    case LIFE_STOPPING:
        server_stopping(run);
        break;
    case LIFE_REPLAYING:
    case LIFE_SURVEYING:
    case LIFE_CLOSING:
    case LIFE_OVER:
        break;
    }
    return run->phase != phase;
}
