/* The loop of one core.
 *
 *     turn: clock -> timers -> mailboxes -> ready completions -> commits -> journal -> sends
 *           -> publish mailboxes, wake sleepers -> one kernel entry that submits and reaps
 *
 * One thread turns one reactor, but nothing here makes threads: tools/serve.c does, and tests and
 * the simulator turn many reactors in one thread. A reactor waits in the kernel only if its turn
 * left nothing to do. All functions are for the reactor's own thread but those that say otherwise.
 */
#pragma once

#include "core/completion.h"
#include "core/io_engine.h"
#include "core/mailbox.h"
#include "core/memory.h"
#include "core/prng.h"
#include "core/stats.h"
#include "core/timer.h"

#include <stdatomic.h>

enum { REACTORS_MAX = 257 }; /* 256 data cores and the metadata core. */

/* Work that waits for its place in the turn, so that a turn commits and sends once. */
enum turn_phase {
    TURN_COMMIT,
    TURN_JOURNAL, /* What the commits of the turn share. */
    TURN_SEND,
    TURN_PHASE_COUNT,
};

struct reactor_options {
    uint32_t index; /* 0-based; unique in the group. */
    const struct io_engine *engine;
    struct io_engine_options io;
    struct memory_options memory;
    uint64_t seed[4];      /* Of the only randomness. */
    uint32_t idle_poll_us; /* Polls this long before it sleeps, when polling pays and no write is in
                              flight. */
};

struct reactor {
    /* Read by other threads. */
    _Alignas(CACHE_LINE_BYTES) atomic_uint sleeping;
    _Atomic(struct completion *) posted; /* reactor_post(): a stack, newest first. */
    atomic_bool stop_wanted;

    /* The thread's own. */
    _Alignas(CACHE_LINE_BYTES) uint64_t now_ns; /* Monotonic, once per turn. */
    uint64_t now_ms;                            /* Unix time, once per turn, never falls. */
    uint32_t index;
    struct completion_list ready;
    struct completion_list phases[TURN_PHASE_COUNT];
    struct timer_wheel timers;
    struct io_list io_pending; /* Submitted in this turn. */
    uint32_t io_writes; /* File writes and syncs in flight: a core that polls beside them starves
                           them, so it sleeps. */
    const struct io_engine *engine;
    void *engine_state;
    struct io_engine_options io_options;
    struct memory *memory;
    struct prng prng;
    struct stats stats;
    uint32_t idle_poll_us;
    bool hurried;        /* This turn does not wait. */
    uint32_t peer_count; /* Of the group, this one included. */
    struct reactor *peers[REACTORS_MAX];
    struct mailbox *inbox[REACTORS_MAX];  /* From peer i. */
    struct mailbox *outbox[REACTORS_MAX]; /* To peer i. */
    void *owner[4]; /* What the layers to the right hang on a core; see enum reactor_slot. */
};

/* Who uses which reactor->owner: a core finds its own shard, map and door from a mail. */
enum reactor_slot {
    REACTOR_SHARD,
    REACTOR_META,
    REACTOR_NET,
    REACTOR_USER,
};

/* Opens engine, memory and wheel. In the thread that will turn it (io_uring: SINGLE_ISSUER). */
NODISCARD enum err reactor_open(struct reactor *reactor, const struct reactor_options *options);

/* Nothing is in flight, and nobody can wake it any more: its peers have stopped turning and a
 * shared helper has been stopped. From any thread. */
void reactor_close(struct reactor *reactor);

/* Makes a mailbox per ordered pair, self included. Once, before any of them turns, after each was
 * zeroed and has its index; reactor_open() keeps what is connected. */
NODISCARD enum err reactor_connect(struct reactor *const *reactors, uint32_t count);
void reactor_disconnect(struct reactor *const *reactors, uint32_t count);

/* One turn; waits at most wait_ns in the kernel when there is nothing to do. Returns how much it
 * did: completions, mails and timers; 0 = idle. */
uint32_t reactor_turn(struct reactor *reactor, uint64_t wait_ns);

/* The turn that is under way, or else the next one, does not wait: whoever turns it has what he
 * waited for. */
void reactor_hurry(struct reactor *reactor);

/* Turns until reactor_stop(). */
void reactor_run(struct reactor *reactor);

/* From any thread: run() returns after its turn. */
void reactor_stop(struct reactor *reactor);

/* From any thread, wait-free: fires `completion` on `reactor`. For helper threads and main(). */
void reactor_post(struct reactor *reactor, struct completion *completion, int32_t result);

/* Runs `work` in `phase` of this turn (or of the next, if that phase has passed). */
void reactor_defer(struct reactor *reactor, enum turn_phase phase, struct completion *work);

/* For engines: is there something to be done that needs nobody from outside? */
bool reactor_has_work(const struct reactor *reactor);

/* The reactor whose turn this thread is in; NULL outside. The only thread-local. */
struct reactor *reactor_self(void);
