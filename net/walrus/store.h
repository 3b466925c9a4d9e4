/* Where cursors survive: each is a committed offset of a group without members, WALRUS_GROUP. */
#pragma once

#include "net/group/group.h"
#include "net/route.h"

/* Kafka's tools list it, and may set its offsets. */
#define WALRUS_GROUP "__walrus"

/* One load or save, on the partition's own core; `done` fires there, never before return. */
struct store_io {
    struct completion done; /* OK: loaded, or durable; else an err. */
    struct partition_id partition;
    uint64_t position; /* Load: out, 0 if there is none. */

    /* Its own. */
    struct net *net;
    struct group_call call;
    struct group_offset_item item;
};

void store_load(struct net *net, struct store_io *io);
void store_save(struct net *net, struct store_io *io);
