/* The one asynchronous primitive.
 *
 * A completion is embedded in the operation that it completes; the operation belongs to whoever
 * awaits it again once it fires. It fires exactly once, and never inline: completion_fire() appends
 * to the reactor's FIFO ready list and the turn runs it later, so no function can call its caller
 * back before it returns. One await is a plain callback; two or more are a state enum and one
 * `_step` function whose `return` is the visible suspension (README, "The idiom"). */
#pragma once

#include "core/base.h"

struct completion;
struct reactor;

typedef void completion_fn(struct completion *self);

struct completion {
    struct completion *next; /* In the ready list, or in any one list of its current owner. */
    completion_fn *fn;
    int32_t result; /* >= 0 a value, < 0 an enum err. */
    bool queued;    /* In the ready list: must not be fired or reused. */
};

/* Sets `fn`; the completion is idle. */
void completion_init(struct completion *completion, completion_fn *fn);

/* Queues `completion` to run in a later step of this or the next turn of `reactor`.
 *
 * result  what completion->result will hold when fn runs
 * Core    the one that runs `reactor` */
void completion_fire(struct reactor *reactor, struct completion *completion, int32_t result);

/* A FIFO of completions linked through `next`: the ready list, and every queue of waiters. */
struct completion_list {
    struct completion *head, *tail;
    uint32_t count;
};

void completion_list_push(struct completion_list *list, struct completion *completion);

/* NULL when empty. */
struct completion *completion_list_pop(struct completion_list *list);

/* Fires all, in order, with one result. */
void completion_list_fire(struct reactor *reactor, struct completion_list *list, int32_t result);
