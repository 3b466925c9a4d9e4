/* The wheel: a slot per millisecond, a timer of n milliseconds sits in slot (now + n) mod slots and
 * is passed over until its absolute expiry has come. */
#include "core/timer.h"

#include "core/assert.h"
#include "core/reactor.h"

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ns)
{
    for (uint32_t i = 0; i < TIMER_WHEEL_SLOTS; i++) {
        list_init(&wheel->slots[i]);
    }
    wheel->tick_done = now_ns / NS_PER_MS;
    wheel->next_ns = UINT64_MAX;
    wheel->count = 0;
}

void timer_init(struct timer *timer, completion_fn *fn)
{
    list_init(&timer->node);
    timer->expires_ns = 0;
    completion_init(&timer->done, fn);
}

/* The first millisecond that is not before `expires_ns`: a timer never fires early. */
static uint64_t timer_tick(uint64_t expires_ns)
{
    return div_ceil(expires_ns, NS_PER_MS);
}

void timer_start(struct reactor *reactor, struct timer *timer, uint64_t delay_ns)
{
    ASSERT(!list_linked(&timer->node));
    ASSERT(!timer->done.queued);
    struct timer_wheel *wheel = &reactor->timers;
    /* A century is never: no overflow. */
    delay_ns = min_u64(delay_ns, UINT64_MAX / 4);
    uint64_t tick = max_u64(timer_tick(reactor->now_ns + delay_ns), wheel->tick_done + 1);
    timer->expires_ns = tick * NS_PER_MS;
    list_push_back(&wheel->slots[tick % TIMER_WHEEL_SLOTS], &timer->node);
    wheel->count++;
    wheel->next_ns = min_u64(wheel->next_ns, timer->expires_ns);
}

/* Takes a completion out of the ready list: the timer had fired but not run. */
static void timer_unqueue(struct reactor *reactor, struct completion *done)
{
    struct completion_list kept = {0};
    struct completion *completion;
    while ((completion = completion_list_pop(&reactor->ready)) != NULL) {
        if (completion != done) {
            completion_list_push(&kept, completion);
        }
    }
    reactor->ready = kept;
    done->queued = false;
}

void timer_stop(struct reactor *reactor, struct timer *timer)
{
    if (list_linked(&timer->node)) {
        list_remove(&timer->node);
        ASSERT(reactor->timers.count > 0);
        reactor->timers.count--;
        if (timer->expires_ns == reactor->timers.next_ns) {
            reactor->timers.next_ns = 0; /* Unknown: searched when asked. */
        }
    } else if (timer->done.queued) {
        timer_unqueue(reactor, &timer->done);
    }
}

bool timer_running(const struct timer *timer)
{
    return list_linked(&timer->node) || timer->done.queued;
}

/* Finds the next expiry anew. Only before a sleep: a busy reactor never pays for it. */
static void timer_wheel_search(struct timer_wheel *wheel)
{
    uint64_t next_ns = UINT64_MAX;
    /* In the order of time, so that the first slot with a timer of this round ends the search. */
    for (uint64_t tick = wheel->tick_done + 1; tick <= wheel->tick_done + TIMER_WHEEL_SLOTS;
         tick++) {
        const struct list *entry;
        list_for_each (entry, &wheel->slots[tick % TIMER_WHEEL_SLOTS]) {
            const struct timer *timer =
                (const struct timer *)(const void *)((const char *)entry -
                                                     offsetof(struct timer, node));
            next_ns = min_u64(next_ns, timer->expires_ns);
        }
        if (next_ns <= tick * NS_PER_MS) {
            break;
        }
    }
    wheel->next_ns = next_ns;
}

void timer_wheel_advance(struct reactor *reactor, struct timer_wheel *wheel, uint64_t now_ns)
{
    uint64_t tick_now = now_ns / NS_PER_MS;
    if (tick_now <= wheel->tick_done) {
        return;
    }
    if (wheel->count == 0 || now_ns < wheel->next_ns) {
        wheel->tick_done = tick_now;
        return;
    }
    uint64_t first = wheel->tick_done + 1;
    if (tick_now - first >= TIMER_WHEEL_SLOTS) {
        first = tick_now - TIMER_WHEEL_SLOTS + 1; /* Each slot once is enough. */
    }
    for (uint64_t tick = first; tick <= tick_now; tick++) {
        struct list *head = &wheel->slots[tick % TIMER_WHEEL_SLOTS];
        struct list *entry = head->next;
        while (entry != head) {
            struct timer *timer = CONTAINER_OF(entry, struct timer, node);
            entry = entry->next;
            if (timer->expires_ns <= now_ns) {
                list_remove(&timer->node);
                wheel->count--;
                completion_fire(reactor, &timer->done, OK);
            }
        }
    }
    wheel->tick_done = tick_now;
    wheel->next_ns = wheel->count == 0 ? UINT64_MAX : 0; /* 0: searched when asked. */
}

uint64_t timer_wheel_next_ns(struct timer_wheel *wheel)
{
    if (wheel->count == 0) {
        return UINT64_MAX;
    }
    if (wheel->next_ns == 0) {
        timer_wheel_search(wheel);
    }
    return wheel->next_ns;
}
