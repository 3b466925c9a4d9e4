/* Where cursors survive. */
#pragma once

#include "net/route.h"

/* One load or save, on the partition's own core; `done` fires there, never before return. */
struct store_io {
    struct completion done; /* OK: loaded, or durable; else an err. */
    struct partition_id partition;
    uint64_t position; /* Load: out, 0 if there is none. */
};

void store_load(struct net *net, struct store_io *io);
void store_save(struct net *net, struct store_io *io);
