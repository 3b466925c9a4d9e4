/* The state of every core, in one round of mails: each fills its own view and sends it home, so
 * nothing is read across threads.
 *
 *     IDLE --await--> ROUND: a mail to each reactor ... all home --> who joined before it fires
 *              ^                                                    |
 *              +---------- nobody joined meanwhile; else the next round +
 *
 * A core that does not turn keeps its mail, and the round with it: nobody waits longer than
 * CENSUS_WAIT_MS. */
#pragma once

#include "core/list.h"
#include "core/reactor.h"

enum { CENSUS_WAIT_MS = 2000 };

/* Upper bounds of the histogram's buckets: (2 << i) * 8192 - 1 ns, 16 us to 8 s. */
enum { CENSUS_BOUNDS = 20 };

uint64_t census_bound_ns(uint32_t index);

struct census_view {
    bool data; /* Else the metadata core. */
    bool serves, draining;
    uint32_t connections, partitions;
    uint64_t counters[STAT_COUNT];
    uint64_t commit_count, commit_sum_ns;
    uint64_t commit_until[CENSUS_BOUNDS]; /* How many took no longer than that bound. */
    struct memory_stats memory;
};

struct census_probe {
    struct mail mail;
    struct census *census;
    bool away;
    struct census_view lent; /* The other core's, while it is away. */
    struct census_view view; /* What it brought home last. */
};

struct census {
    struct reactor *reactor;
    uint32_t count, away;
    struct census_probe *probes; /* One for each reactor of the group. */
    struct list joined, next;    /* Of this round, and of the one after it. */
};

struct census_waiter {
    struct census *census;
    struct list node;
    struct timer timer;
    /* OK: all views are of a round that began after the call. ERR_TIMEOUT: those that are away are
     * older. */
    struct completion done;
};

NODISCARD enum err census_open(struct census *census, struct reactor *reactor);
void census_close(struct census *census); /* Idle, or never opened. */
bool census_busy(const struct census *census);

/* Fires waiter->done, whose fn is set. */
void census_await(struct census *census, struct census_waiter *waiter);
