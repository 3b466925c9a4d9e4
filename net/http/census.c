/* See the header. */
#include "net/http/census.h"

#include "core/assert.h"
#include "net/server.h"
#include "shard/shard.h"

#include <stdlib.h>

uint64_t census_bound_ns(uint32_t index)
{
    return ((uint64_t)2 << index) * 8192 - 1;
}

/* The bounds are the last values of buckets, so no bucket is cut. */
static void census_fill_commits(struct census_view *view, const struct histogram *histogram)
{
    view->commit_count = histogram->count;
    view->commit_sum_ns = histogram->sum;
    for (uint32_t i = 0; i < CENSUS_BOUNDS; i++) {
        view->commit_until[i] = histogram_count_until(histogram, census_bound_ns(i));
    }
}

static void census_fill(struct reactor *reactor, struct census_view *view)
{
    struct net *net = reactor->owner[REACTOR_NET];
    struct shard *shard = reactor->owner[REACTOR_SHARD];
    *view = (struct census_view){
        .data = shard != NULL,
        .serves = net != NULL && !net->stopping && shard != NULL,
        .draining = net != NULL && net->stopping,
        .connections = net != NULL ? net_connection_count(net) : 0,
        .partitions = shard != NULL ? shard_partition_count(shard) : 0,
    };
    for (uint32_t i = 0; i < STAT_COUNT; i++) {
        view->counters[i] = reactor->stats.counters[i];
    }
    census_fill_commits(view, &reactor->stats.commit_ns);
    memory_stats(reactor->memory, &view->memory);
}

static void census_begin(struct census *census);

static void census_home(struct reactor *home, const struct mail *mail)
{
    struct census_probe *probe = mail->object;
    struct census *census = probe->census;
    ASSERT(census->reactor == home && probe->away);
    probe->away = false;
    probe->view = probe->lent;
    census->away--;
    if (census->away > 0) {
        return;
    }
    while (!list_empty(&census->joined)) {
        struct list *node = list_pop_front(&census->joined);
        struct census_waiter *waiter = CONTAINER_OF(node, struct census_waiter, node);
        timer_stop(home, &waiter->timer);
        completion_fire(home, &waiter->done, OK);
    }
    struct net *net = home->owner[REACTOR_NET];
    if (!list_empty(&census->next)) {
        census_begin(census);
    } else if (net != NULL) {
        net_check_stopped(net);
    }
}

static void census_arrived(struct reactor *receiver, const struct mail *mail)
{
    struct census_probe *probe = mail->object;
    census_fill(receiver, &probe->lent);
    probe->mail.fn = census_home;
    mail_send(receiver, probe->census->reactor, &probe->mail);
}

static void census_begin(struct census *census)
{
    ASSERT(census->away == 0 && list_empty(&census->joined));
    while (!list_empty(&census->next)) {
        list_push_back(&census->joined, list_pop_front(&census->next));
    }
    census->away = census->count;
    for (uint32_t i = 0; i < census->count; i++) {
        struct census_probe *probe = &census->probes[i];
        probe->away = true;
        probe->mail = (struct mail){.fn = census_arrived, .object = probe};
        mail_send(census->reactor, census->reactor->peers[i], &probe->mail);
    }
}

enum err census_open(struct census *census, struct reactor *reactor)
{
    *census = (struct census){.reactor = reactor, .count = reactor->peer_count};
    list_init(&census->joined);
    list_init(&census->next);
    census->probes = calloc(census->count, sizeof(*census->probes));
    if (census->probes == NULL) {
        return ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < census->count; i++) {
        census->probes[i].census = census;
    }
    return OK;
}

void census_close(struct census *census)
{
    ASSERT(census->away == 0);
    free(census->probes);
    census->probes = NULL;
}

bool census_busy(const struct census *census)
{
    return census->away > 0;
}

static void census_late(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    struct census_waiter *waiter = CONTAINER_OF(timer, struct census_waiter, timer);
    list_remove(&waiter->node);
    completion_fire(waiter->census->reactor, &waiter->done, ERR_TIMEOUT);
}

void census_await(struct census *census, struct census_waiter *waiter)
{
    ASSERT(waiter->done.fn != NULL);
    waiter->census = census;
    list_init(&waiter->node);
    list_push_back(&census->next, &waiter->node);
    timer_init(&waiter->timer, census_late);
    timer_start(census->reactor, &waiter->timer, CENSUS_WAIT_MS * NS_PER_MS);
    if (census->away == 0) {
        census_begin(census);
    }
}
