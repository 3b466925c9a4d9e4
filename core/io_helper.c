/* The helper thread: a queue under a mutex. It is off every hot path but the posix engine's files.
 */
#include "core/assert.h"
#include "core/reactor.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct io_helper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    struct io_list queue;
    bool stopping;
};

/* Who gets a completion, and what it runs there: kept in the io's engine notes while it is here. */
enum { HELPER_FN = 2, HELPER_REACTOR = 3 };

static struct io *io_helper_take(struct io_helper *helper)
{
    pthread_mutex_lock(&helper->lock);
    while (helper->queue.head == NULL && !helper->stopping) {
        pthread_cond_wait(&helper->wanted, &helper->lock);
    }
    struct io *io = io_list_pop(&helper->queue);
    pthread_mutex_unlock(&helper->lock);
    return io;
}

static void *io_helper_main(void *argument)
{
    struct io_helper *helper = argument;
    struct io *io;
    while ((io = io_helper_take(helper)) != NULL) {
        struct reactor *reactor = (struct reactor *)(uintptr_t)io->engine[HELPER_REACTOR];
        /* The io belongs to the reactor again as soon as it is posted. */
        int32_t result = io_execute(io);
        reactor_post(reactor, &io->done, result);
    }
    return NULL;
}

struct io_helper *io_helper_start(void)
{
    struct io_helper *helper = calloc(1, sizeof(*helper));
    if (helper == NULL) {
        return NULL;
    }
    pthread_mutex_init(&helper->lock, NULL);
    pthread_cond_init(&helper->wanted, NULL);
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* Of io_map.c, in whichever thread it happens. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&helper->thread, NULL, io_helper_main, helper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        free(helper);
        return NULL;
    }
    return helper;
}

/* Back on the reactor: the counters are its own, so the helper could not touch them. */
static void io_helper_home(struct completion *done)
{
    struct io *io = CONTAINER_OF(done, struct io, done);
    struct reactor *reactor = (struct reactor *)(uintptr_t)io->engine[HELPER_REACTOR];
    done->fn = (completion_fn *)(uintptr_t)io->engine[HELPER_FN];
    io_complete(reactor, io, done->result);
}

void io_helper_submit(struct io_helper *helper, struct reactor *reactor, struct io *io)
{
    ASSERT(helper != NULL);
    io->engine[HELPER_REACTOR] = (uint64_t)(uintptr_t)reactor;
    io->engine[HELPER_FN] = (uint64_t)(uintptr_t)io->done.fn;
    io->done.fn = io_helper_home;
    pthread_mutex_lock(&helper->lock);
    ASSERT(!helper->stopping);
    io_list_push(&helper->queue, io);
    pthread_cond_signal(&helper->wanted);
    pthread_mutex_unlock(&helper->lock);
}

void io_helper_stop(struct io_helper *helper)
{
    pthread_mutex_lock(&helper->lock);
    helper->stopping = true;
    pthread_cond_signal(&helper->wanted);
    pthread_mutex_unlock(&helper->lock);
    pthread_join(helper->thread, NULL);
    pthread_cond_destroy(&helper->wanted);
    pthread_mutex_destroy(&helper->lock);
    free(helper);
}
