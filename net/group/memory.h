/* What groups remember: many small things that live long, so from malloc and not in blocks, but
 * counted, within a budget of the core. */
#pragma once

#include "core/bytes.h"

struct group_memory {
    uint64_t used_bytes, max_bytes;
    bool replaying; /* What was accepted once is taken again, whatever the budget is now. */
};

/* Zeroed; NULL: the budget or the machine has no more. */
void *group_alloc(struct group_memory *memory, uint64_t size);
void group_free(struct group_memory *memory, void *at); /* NULL is fine. */

/* A copy of `bytes`. A null one stays null, an empty one empty. False: no memory. */
NODISCARD bool group_copy(struct group_memory *memory, struct bytes bytes, struct bytes *copy);
void group_free_copy(struct group_memory *memory, struct bytes *copy);
