/* See the header. */
#include "core/thread.h"

#include "core/assert.h"

#include <signal.h>
#include <stdlib.h>

struct thread {
    pthread_t thread;
    void (*main)(void *context);
    void *context;
};

static void *thread_main(void *argument)
{
    struct thread *thread = argument;
    thread->main(thread->context);
    return NULL;
}

struct thread *thread_start(void (*main)(void *context), void *context)
{
    struct thread *thread = calloc(1, sizeof(*thread));
    if (thread == NULL) {
        return NULL;
    }
    thread->main = main;
    thread->context = context;
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* Of io_map.c, in whichever thread it happens. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread->thread, NULL, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        free(thread);
        return NULL;
    }
    return thread;
}

void thread_join(struct thread *thread)
{
    pthread_join(thread->thread, NULL);
    free(thread);
}

/* Not pthread_self(): the system gives that to a later thread again, and a handle must not take the
 * heir for its owner. */
uint64_t thread_number(void)
{
    static atomic_uint_fast64_t last;
    static _Thread_local uint64_t own;
    if (own == 0) {
        own = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
    }
    return own;
}

void gate_init(struct gate *gate)
{
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->opened, NULL);
    gate->open = false;
}

/* Under the lock to its end: the waiter may free the gate once it has the lock again. */
void gate_open(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    ASSERT(!gate->open);
    gate->open = true;
    pthread_cond_signal(&gate->opened);
    pthread_mutex_unlock(&gate->lock);
}

void gate_wait(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    while (!gate->open) {
        pthread_cond_wait(&gate->opened, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
}

void gate_deinit(struct gate *gate)
{
    pthread_cond_destroy(&gate->opened);
    pthread_mutex_destroy(&gate->lock);
}
