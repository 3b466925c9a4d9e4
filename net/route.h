/* The way of a request to the core that owns its partition, and of a cancel after it. */
#pragma once

#include "net/server.h"

/* Lends `request` (kind, partition and its arguments are set, done.fn too) to its owner core.
 * Fires request->done on this core; never before return. */
void route_submit(struct net *net, struct request *request);

/* A cancel on its way; comes home by itself, after the request or before it. */
struct route_cancel {
    struct mail mail;
    struct completion done;
    struct request *request;
    struct reactor *home;
};

/* A parked FETCH comes home now. `cancel->done` fires when the owner has forgotten the cancel: only
 * then may either be reused. */
void route_cancel(struct net *net, struct route_cancel *cancel, struct request *fetch);
