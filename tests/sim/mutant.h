/* What the simulator asks of marks and mutants; the product's side is core/cover.h. */
#pragma once

#include "core/cover.h"

void cover_hit(const char *name);
bool mutant_active(const char *name);

/* NULL: none. */
void mutant_choose(const char *name);
uint64_t mutant_hits(void); /* How often the chosen one was met. */

uint64_t cover_hits(const char *name); /* Of one mark. */
uint32_t cover_count(void);            /* Different marks hit. */
void cover_print(void);
