/* The simulator's world, and the engine through which reactors see it: a virtual clock, a disk per
 * node, one network. Everything runs in one thread and follows from one seed.
 *
 *     sim_step():  turns every reactor of every live node once, in an order drawn from the seed;
 *                  if none had anything to do, moves the clock to the next event
 *     operation:   submitted -> takes effect and completes after a drawn delay -> fired by a poll
 *     crash:       armed for the n-th I/O event of a node (a submission, an effect, a completion);
 *                  from that event on nothing that the node does has any effect
 *     sim_node_end():  what was in flight lands in part or not, the cache is lost in part at a
 * power cut, descriptors and locks are gone, the process's memory is given back
 *
 * A node is a machine with a disk on which one process at a time runs. Its reactors belong to the
 * process: sim_node_start() begins a life. */
#pragma once

#include "core/io_engine.h"
#include "core/prng.h"
#include "core/reactor.h"
#include "tests/sim/disk.h"
#include "tests/sim/network.h"

struct sim_world;
struct sim_node;

extern const struct io_engine io_engine_sim;

#define SIM_SLOW_NS (5 * NS_PER_S)

enum sim_files { SIM_FILES_ALL, SIM_FILES_SEGMENTS, SIM_FILES_JOURNALS, SIM_FILES_MANIFEST };

/* Delays and faults of a node's disk. Zero: as little as possible, none. */
struct sim_disk_manners {
    uint64_t delay_max_ns;  /* Of an operation; it is drawn below. */
    uint64_t write_fail_in; /* The n-th write from now ends with ERR_IO; any part may land. */
    uint64_t sync_fail_in;  /* The n-th sync ends with ERR_IO; dirty sectors are lost in part. */
    enum sim_files files;   /* Only operations on these count, and fail. */
    uint64_t again_in;      /* After either of these, the n-th of its kind fails, too... */
    enum sim_files again_files; /* ...on these. */
    bool sync_loses;            /* ... and these are never written, though a later sync says so. */
    bool flush_whole;     /* A durable write is a write and a flush of its file, not that alone. */
    bool flush_device;    /* A sync is a flush of what all files wrote over durable blocks, too. */
    uint32_t slow_chance; /* Of a flush, in percent: it takes up to SIM_SLOW_NS. */
    bool refuses_direct;  /* As tmpfs did. */
};

struct sim_world *sim_world_create(uint64_t seed);
void sim_world_destroy(struct sim_world *world); /* Its nodes too. */

struct prng *sim_prng(struct sim_world *world); /* Of the scenario; the world has its own. */
uint64_t sim_now_ns(const struct sim_world *world);
uint64_t sim_trace(const struct sim_world *world); /* Of all that disks did: one seed, one trace. */
/* The wall clock goes forth or back; the other one never does. */
void sim_jump_ms(struct sim_world *world, int64_t ms);
struct network *sim_network(struct sim_world *world);

/* One turn of the world; false when nothing is left to do and nothing will happen by itself. */
bool sim_step(struct sim_world *world);

struct sim_node *sim_node_add(struct sim_world *world);
uint32_t sim_node_number(const struct sim_node *node);
uint64_t sim_node_now_ns(const struct sim_node *node); /* The world's clock. */
uint64_t sim_node_now_ms(const struct sim_node *node); /* Its wall clock. */
struct disk *sim_node_disk(const struct sim_node *node);
void sim_node_set_manners(struct sim_node *node, const struct sim_disk_manners *manners);
uint64_t sim_node_faults(const struct sim_node *node); /* Writes and syncs that failed so far. */
uint64_t sim_node_slow(const struct sim_node *node);   /* Flushes that took long. */

/* The n-th I/O event from now is the last. */
void sim_node_crash_in(struct sim_node *node, uint64_t events);
bool sim_node_crashed(const struct sim_node *node);
uint64_t sim_node_events(const struct sim_node *node); /* So far, all lives together. */

/* What the process said when it gave up, by PANIC in a turn of its own: it is dead from there on,
 * as after a crash. NULL: it did not. */
const char *sim_node_panic(const struct sim_node *node);

/* One more I/O event, of the scenario's own; false: the node has crashed, at this or earlier. */
bool sim_node_event(struct sim_node *node);

/* Operations submitted and not fired. */
uint32_t sim_node_in_flight(const struct sim_node *node);

/* Ends the process, crashed or not; its reactors are gone. The next life may begin. */
void sim_node_end(struct sim_node *node, bool power_cut);

/* Memory that was never freed in an orderly life: call before sim_node_end(). */
size_t sim_node_memory(const struct sim_node *node);

/* Allocations until sim_node_leave() are those of the node's process. sim_step() does it itself. */
void sim_node_enter(struct sim_node *node);
void sim_node_leave(struct sim_node *node);

/* Makes and connects `count` reactors for a new life of the node. They live until the world ends or
 * the node's next life; 64 MiB each. */
void sim_node_start(struct sim_node *node, struct reactor **reactors, uint32_t count);

/* For code that blocks on purpose: the operation happens now. A crash at it does not return: the
 * node's turn ends there. */
int32_t sim_execute(struct reactor *reactor, struct io *io);
