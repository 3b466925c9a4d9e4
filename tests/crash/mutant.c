/* Which deliberate bug of core/cover.h is on in floe_mutant: the variable MUTANT names it. */
#include "core/cover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *mutant_chosen;

/* Before main(), and so before there are threads. */
static void __attribute__((constructor)) mutant_choose(void)
{
    mutant_chosen = getenv("MUTANT");
    if (mutant_chosen != NULL) {
        fprintf(stderr, "floe_mutant: the deliberate bug \"%s\" is on\n", mutant_chosen);
    }
}

bool mutant_active(const char *name)
{
    return mutant_chosen != NULL && strcmp(name, mutant_chosen) == 0;
}
