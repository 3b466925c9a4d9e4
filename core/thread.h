/* Threads for those who make their own: a thread that takes no signals, a gate that one thread
 * waits at until another opens it, and a number for each thread that no later one gets again. */
#pragma once

#include "core/err.h"

#include <pthread.h>
#include <stdatomic.h>

struct thread;

/* Runs `main` in a thread of its own with all signals blocked: those are for the threads of whoever
 * owns the process. NULL: no thread could be made. */
NODISCARD struct thread *thread_start(void (*main)(void *context), void *context);
void thread_join(struct thread *thread); /* Waits for its end and frees. */

/* Of the calling thread; never 0, never used twice in a process. */
uint64_t thread_number(void);

/* Opened once; lives where its waiter lives, and may go as soon as gate_wait() has returned. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool open;
};

void gate_init(struct gate *gate);
void gate_open(struct gate *gate);
void gate_wait(struct gate *gate);
void gate_deinit(struct gate *gate);
