/* A hashed wheel of timers, driven by the reactor's cached now_ns. Expiry is absolute; a timer
 * fires its completion (result OK) in the first turn at or after it. Millisecond grain. */
#pragma once

#include "core/completion.h"
#include "core/list.h"

struct timer {
    struct list node;
    uint64_t expires_ns;
    struct completion done;
};

enum { TIMER_WHEEL_SLOTS = 1024 }; /* One per millisecond; longer timers go round. */

struct timer_wheel {
    struct list slots[TIMER_WHEEL_SLOTS];
    uint64_t tick_done; /* Every slot up to this millisecond has been run. */
    uint64_t next_ns;   /* Lower bound of the next expiry; UINT64_MAX = none. */
    uint32_t count;
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ns);

/* `timer` is idle; fn runs on `reactor` in delay_ns or a little later. */
void timer_init(struct timer *timer, completion_fn *fn);
void timer_start(struct reactor *reactor, struct timer *timer, uint64_t delay_ns);

/* Idle afterwards, also when its completion was already queued: it will not run. Idempotent. */
void timer_stop(struct reactor *reactor, struct timer *timer);

bool timer_running(const struct timer *timer);

/* For the reactor: fires what is due. */
void timer_wheel_advance(struct reactor *reactor, struct timer_wheel *wheel, uint64_t now_ns);

/* For the reactor: when the next timer is due; exact, UINT64_MAX = never. */
uint64_t timer_wheel_next_ns(struct timer_wheel *wheel);
