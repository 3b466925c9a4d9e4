/* The turn. */
#include "core/reactor.h"

#include "core/assert.h"
#include "core/io.h"

#include <string.h>

enum {
    TURN_MAILS_MAX = 256,        /* Of one mailbox: no sender starves the others. */
    TURN_COMPLETIONS_MAX = 1024, /* Bounds a turn to about half a millisecond. */
    MAILBOX_SLOTS = 256,         /* 16 KiB per pair of cores. */
};

static _Thread_local struct reactor *reactor_current;

struct reactor *reactor_self(void)
{
    return reactor_current;
}

enum err reactor_open(struct reactor *reactor, const struct reactor_options *options)
{
    ASSERT(options->engine != NULL);
    ASSERT(options->index < REACTORS_MAX);
    ASSERT(reactor->peer_count == 0 || reactor->peers[options->index] == reactor);
    reactor->index = options->index;
    reactor->engine = options->engine;
    reactor->io_options = options->io;
    reactor->idle_poll_us = options->idle_poll_us;
    reactor->ready = (struct completion_list){0};
    memset(reactor->phases, 0, sizeof(reactor->phases));
    memset(&reactor->stats, 0, sizeof(reactor->stats));
    reactor->io_pending = (struct io_list){0};
    reactor->io_writes = 0;
    prng_seed(&reactor->prng, options->seed);
    enum err err = memory_open(&reactor->memory, &options->memory);
    if (err != OK) {
        return err;
    }
    err = reactor->engine->open(reactor, &options->io);
    if (err != OK) {
        memory_close(reactor->memory);
        reactor->memory = NULL;
        return err;
    }
    reactor->now_ns = reactor->engine->now_ns(reactor);
    reactor->now_ms = reactor->engine->wall_ms(reactor);
    timer_wheel_init(&reactor->timers, reactor->now_ns);
    return OK;
}

void reactor_close(struct reactor *reactor)
{
    ASSERT(reactor->io_pending.head == NULL);
    reactor->engine->close(reactor);
    memory_close(reactor->memory);
    reactor->memory = NULL;
    reactor->engine = NULL;
}

enum err reactor_connect(struct reactor *const *reactors, uint32_t count)
{
    ASSERT(count > 0 && count <= REACTORS_MAX);
    for (uint32_t from = 0; from < count; from++) {
        ASSERT(reactors[from]->index == from);
        reactors[from]->peer_count = count;
        for (uint32_t to = 0; to < count; to++) {
            struct mailbox *mailbox = mailbox_create(MAILBOX_SLOTS);
            if (mailbox == NULL) {
                reactor_disconnect(reactors, count);
                return ERR_NO_MEMORY;
            }
            reactors[from]->peers[to] = reactors[to];
            reactors[from]->outbox[to] = mailbox;
            reactors[to]->inbox[from] = mailbox;
        }
    }
    return OK;
}

void reactor_disconnect(struct reactor *const *reactors, uint32_t count)
{
    for (uint32_t from = 0; from < count; from++) {
        if (reactors[from] == NULL) {
            continue;
        }
        for (uint32_t to = 0; to < count; to++) {
            mailbox_destroy(reactors[from]->outbox[to]);
            reactors[from]->outbox[to] = NULL;
            if (reactors[to] != NULL) {
                reactors[to]->inbox[from] = NULL;
            }
        }
        reactors[from]->peer_count = 0;
    }
}

static uint32_t turn_mails(struct reactor *reactor)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < reactor->peer_count; i++) {
        count += mailbox_drain(reactor->inbox[i], reactor, TURN_MAILS_MAX);
    }
    stats_add(&reactor->stats, STAT_MAILS, count);
    return count;
}

/* What other threads posted, in the order in which they did. */
static void turn_posted(struct reactor *reactor)
{
    if (atomic_load_explicit(&reactor->posted, memory_order_relaxed) == NULL) {
        return;
    }
    /* Pairs with the release of reactor_post(). */
    struct completion *stack =
        atomic_exchange_explicit(&reactor->posted, NULL, memory_order_acquire);
    struct completion *fifo = NULL;
    while (stack != NULL) {
        struct completion *next = stack->next;
        stack->next = fifo;
        fifo = stack;
        stack = next;
    }
    while (fifo != NULL) {
        struct completion *next = fifo->next;
        completion_list_push(&reactor->ready, fifo);
        fifo = next;
    }
}

static uint32_t turn_list(struct reactor *reactor, struct completion_list *list, uint32_t budget)
{
    uint32_t count = 0;
    while (count < budget && list->head != NULL) {
        struct completion *completion = completion_list_pop(list);
        ASSERT(completion->queued);
        completion->queued = false;
        completion->fn(completion);
        count++;
    }
    stats_add(&reactor->stats, STAT_COMPLETIONS, count);
    return count;
}

/* Only what stood in the list when the phase began: work deferred by the phase waits a turn. */
static uint32_t turn_phase(struct reactor *reactor, enum turn_phase phase)
{
    return turn_list(reactor, &reactor->phases[phase], reactor->phases[phase].count);
}

static void turn_publish(struct reactor *reactor)
{
    for (uint32_t i = 0; i < reactor->peer_count; i++) {
        struct reactor *peer = reactor->peers[i];
        if (!mailbox_publish(reactor->outbox[i]) || peer == reactor) {
            continue;
        }
        /* Pairs with the store of `sleeping` in turn_may_sleep(): of publish-then-look here and
         * sleep-then-look there, one sees the other. */
        if (atomic_exchange(&peer->sleeping, 0) == 1) {
            stats_add(&reactor->stats, STAT_WAKES, 1);
            reactor->engine->wake(reactor, peer);
        }
    }
}

bool reactor_has_work(const struct reactor *reactor)
{
    bool deferred = false;
    for (uint32_t phase = 0; phase < TURN_PHASE_COUNT; phase++) {
        deferred = deferred || reactor->phases[phase].head != NULL;
    }
    return reactor->hurried || reactor->ready.head != NULL || deferred;
}

static bool turn_work_left(struct reactor *reactor)
{
    if (reactor_has_work(reactor)) {
        return true;
    }
    for (uint32_t i = 0; i < reactor->peer_count; i++) {
        if (mailbox_pending(reactor->inbox[i])) {
            return true;
        }
    }
    return atomic_load(&reactor->posted) != NULL || atomic_load(&reactor->stop_wanted);
}

/* A mail that waits for a slot is moved by a later turn of ours: the receiver owes no wake-up for
 * the slots that it frees, so a reactor with such mails naps instead of sleeping. */
static uint64_t turn_sleep_max(struct reactor *reactor)
{
    for (uint32_t i = 0; i < reactor->peer_count; i++) {
        if (mailbox_unsent(reactor->outbox[i])) {
            return 50 * NS_PER_US;
        }
    }
    return UINT64_MAX;
}

/* How long this turn may wait in the kernel: 0 when anything is left to do. */
static uint64_t turn_wait(struct reactor *reactor, uint64_t wait_ns)
{
    if (wait_ns == 0 || turn_work_left(reactor)) {
        return 0;
    }
    wait_ns = min_u64(wait_ns, turn_sleep_max(reactor));
    uint64_t next_ns = timer_wheel_next_ns(&reactor->timers);
    if (next_ns != UINT64_MAX) {
        uint64_t now_ns = reactor->engine->now_ns(reactor);
        wait_ns = min_u64(wait_ns, next_ns > now_ns ? next_ns - now_ns : 0);
    }
    if (wait_ns == 0) {
        return 0;
    }
    atomic_store(&reactor->sleeping, 1);
    if (turn_work_left(reactor)) {
        atomic_store(&reactor->sleeping, 0);
        return 0;
    }
    return wait_ns;
}

uint32_t reactor_turn(struct reactor *reactor, uint64_t wait_ns)
{
    struct reactor *outer = reactor_current;
    reactor_current = reactor;
    reactor->now_ns = reactor->engine->now_ns(reactor);
    reactor->now_ms = max_u64(reactor->now_ms, reactor->engine->wall_ms(reactor));
    stats_add(&reactor->stats, STAT_TURNS, 1);
    timer_wheel_advance(reactor, &reactor->timers, reactor->now_ns);
    uint32_t done = turn_mails(reactor);
    turn_posted(reactor);
    done += turn_list(reactor, &reactor->ready, TURN_COMPLETIONS_MAX);
    done += turn_phase(reactor, TURN_COMMIT);
    done += turn_phase(reactor, TURN_JOURNAL);
    done += turn_phase(reactor, TURN_SEND);
    turn_publish(reactor);
    struct io *batch = reactor->io_pending.head;
    reactor->io_pending = (struct io_list){0};
    if (batch != NULL) {
        reactor->engine->submit(reactor, batch);
    }
    uint32_t fired = reactor->engine->poll(reactor, turn_wait(reactor, wait_ns));
    atomic_store_explicit(&reactor->sleeping, 0, memory_order_relaxed);
    reactor->hurried = false;
    done += fired;
    if (done == 0) {
        stats_add(&reactor->stats, STAT_TURNS_IDLE, 1);
    }
    reactor_current = outer;
    return done;
}

void reactor_hurry(struct reactor *reactor)
{
    reactor->hurried = true;
}

/* A durable write completes in a worker of the kernel on some CPU: a core that spins there makes it
 * wait for a tick, forty times as long as it takes. */
static bool reactor_may_poll(const struct reactor *reactor)
{
    return reactor->idle_poll_us > 0 && reactor->io_writes == 0;
}

/* Polls for a while before it sleeps, if polling found work more often than not of late. */
static void reactor_idle(struct reactor *reactor, int32_t *score)
{
    if (!reactor_may_poll(reactor) || *score < 0) {
        *score += *score < 0;
        reactor_turn(reactor, UINT64_MAX);
        return;
    }
    uint64_t end_ns = reactor->engine->now_ns(reactor) + reactor->idle_poll_us * NS_PER_US;
    while (reactor_may_poll(reactor) && reactor->engine->now_ns(reactor) < end_ns) {
        if (reactor_turn(reactor, 0) > 0) {
            *score = (int32_t)min_u32((uint32_t)*score + 1, 16);
            return;
        }
    }
    *score = *score > 0 ? *score - 2 : -16;
    reactor_turn(reactor, UINT64_MAX);
}

void reactor_run(struct reactor *reactor)
{
    int32_t score = 0;
    while (!atomic_load(&reactor->stop_wanted)) {
        if (reactor_turn(reactor, reactor_may_poll(reactor) ? 0 : UINT64_MAX) == 0) {
            reactor_idle(reactor, &score);
        }
    }
}

void reactor_stop(struct reactor *reactor)
{
    atomic_store(&reactor->stop_wanted, true);
    if (reactor->engine != NULL) {
        reactor->engine->wake(NULL, reactor);
    }
}

void reactor_post(struct reactor *reactor, struct completion *completion, int32_t result)
{
    ASSERT(completion->fn != NULL);
    ASSERT(!completion->queued);
    completion->result = result;
    completion->queued = true;
    struct completion *head = atomic_load_explicit(&reactor->posted, memory_order_relaxed);
    do {
        completion->next = head;
    } while (!atomic_compare_exchange_weak(&reactor->posted, &head, completion));
    /* Pairs with turn_wait(), as a mailbox does. */
    if (atomic_exchange(&reactor->sleeping, 0) == 1) {
        reactor->engine->wake(reactor_current, reactor);
    }
}

void reactor_defer(struct reactor *reactor, enum turn_phase phase, struct completion *work)
{
    ASSERT(work->fn != NULL);
    ASSERT(!work->queued);
    work->queued = true;
    completion_list_push(&reactor->phases[phase], work);
}
