/* A reactor that is never opened: only its ready list is used, and run by hand. */
#pragma once

#include "core/reactor.h"

/* The reactor between ready_setup and ready_teardown. */
extern struct reactor *reactor;

/* A group's setup and teardown. */
int ready_setup(void **state);
int ready_teardown(void **state);

/* Runs what is ready, and what that makes ready, until nothing is; how many ran. */
uint32_t run_ready(void);
