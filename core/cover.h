/* Marks for tests and the simulator, gone from the product.
 *
 * COVER("append waits for roll") marks a branch that a test or the simulator must be seen to reach.
 * MUTANT("ack-at-submit") is true only in the simulator's build and in that of tests/crash, when it
 * was asked for that mutant by name: a deliberate bug that the suite must find. */
#pragma once

#include "core/base.h"

#ifdef FLOE_SIM
void cover_hit(const char *name);
bool mutant_active(const char *name);
#define COVER(name)  cover_hit(name)
#define MUTANT(name) UNLIKELY(mutant_active(name))
#elif defined(FLOE_MUTANTS)
bool mutant_active(const char *name);
#define COVER(name)  ((void)0)
#define MUTANT(name) UNLIKELY(mutant_active(name))
#else
#define COVER(name)  ((void)0)
#define MUTANT(name) (false)
#endif
