/* A classic group without a core or a clock: what it is asked, by clients that know of
 * themselves what real ones do, and what it answers. Each answer is checked as it comes. */
#pragma once

#include "net/group/classic.h"

enum {
    WAITS_MAX = 64,
    ID_BYTES = 32,
    SESSION_MS = 10000,
    REBALANCE_MS = 20000,
    ACTORS = 3,
    PROTOCOL_BYTES = 32,
};

/* A join or sync that was asked, and what became of it. */
struct asked {
    struct classic_wait wait;
    bool used, answered;
    uint64_t since_ns;
};

/* What a client of a group knows of itself. */
struct actor {
    char id[ID_BYTES];
    const char *instance;
    int32_t generation;
    bool leads, joined;
    char assignment[ID_BYTES];
    struct asked *asked;
};

struct world {
    struct classic group;
    struct classic_options options;
    struct group_memory memory;
    uint64_t now_ns;
    uint32_t ids;
    struct asked asked[WAITS_MAX];
    struct actor actors[ACTORS];
    uint32_t writes;
    /* Whose assignment was told in which generation; invariants. */
    int32_t leader_generation;
    char leader[ID_BYTES];
};

/* An empty group, whose first generation waits for so long. */
void world_open(struct world *world, uint64_t delay_ms);

/* Ends all that waits: each that asked has heard by then, and no memory is held. */
void world_close(struct world *world);

/* An event that happens now, for what is asked without an actor. */
struct classic_event world_event(const struct world *world);

/* One protocol as a join has it, in PROTOCOL_BYTES of room. */
struct bytes world_protocols(const char *name, const char *metadata, uint8_t *room);

/* The actor joins with what it knows; needs_id: its first join only gives it an ID. */
void world_join(struct world *world, struct actor *actor, const char *metadata, bool needs_id);

/* The leader gives each member "its id@generation". */
void world_sync(struct world *world, struct actor *actor);

enum group_code world_heartbeat(struct world *world, struct actor *actor);
enum group_code world_leave(struct world *world, struct actor *actor);

/* The actor's connection goes while it waits. */
void world_cancel(struct world *world, struct actor *actor);

/* So much later. */
void world_tick(struct world *world, uint64_t ms);

/* Checks what always holds of a group and of those who wait. */
void world_check(struct world *world);
