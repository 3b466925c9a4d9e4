/* The marks and the mutants of core/cover.h. A mark is remembered by its name the first time it is
 * hit; one mutant at a time is active. */
#include "tests/sim/mutant.h"

#include "core/assert.h"

#include <stdio.h>
#include <string.h>

enum { MARKS_MAX = 256 };

struct mark {
    const char *name;
    uint64_t hits;
};

static struct mark marks[MARKS_MAX];
static uint32_t marks_used;
static const char *mutant_chosen;
static uint64_t mutant_asked;

void cover_hit(const char *name)
{
    uint32_t i = 0;
    while (i < marks_used && strcmp(marks[i].name, name) != 0) {
        i++;
    }
    if (i == marks_used) {
        ASSERT(marks_used < MARKS_MAX);
        marks[marks_used++].name = name;
    }
    marks[i].hits++;
}

bool mutant_active(const char *name)
{
    if (mutant_chosen == NULL || strcmp(name, mutant_chosen) != 0) {
        return false;
    }
    mutant_asked++;
    return true;
}

void mutant_choose(const char *name)
{
    mutant_chosen = name;
}

uint64_t mutant_hits(void)
{
    return mutant_asked;
}

uint64_t cover_hits(const char *name)
{
    for (uint32_t i = 0; i < marks_used; i++) {
        if (strcmp(marks[i].name, name) == 0) {
            return marks[i].hits;
        }
    }
    return 0;
}

uint32_t cover_count(void)
{
    return marks_used;
}

void cover_print(void)
{
    for (uint32_t i = 0; i < marks_used; i++) {
        printf("mark %8llu  %s\n", (unsigned long long)marks[i].hits, marks[i].name);
    }
}
