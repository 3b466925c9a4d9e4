/* What canonical raft runs on: its struct raft_io over this core's reactor and our own log
 * (raft_log.h). No network yet: the one voter needs none. All calls and callbacks are on the
 * metadata core, and no callback runs before the call that asked for it has returned.
 *
 * A snapshot's data: 0 version u32 (1)  4 bytes of configuration u32  8 its index u64
 *                    16 configuration as raft encodes it, zeros to 8, then the map */
#pragma once

#include "core/timer.h"
#include "meta/raft_log.h"

#include <raft.h>

struct raft_host {
    struct raft_io io; /* For raft_init(); io.impl is this struct. */
    struct reactor *reactor;
    struct raft_log_store *log;
    uint64_t term;
    struct timer timer;
    uint64_t tick_ns;
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    raft_io_close_cb closed;
    struct completion close_done;
    struct completion *relieved; /* Fired when a snapshot has been stored; NULL: nobody cares. */

    /* The snapshot that is being stored. */
    struct raft_log_put put;
    struct raft_io_snapshot_put *put_request;
    raft_io_snapshot_put_cb put_done;
};

/* Opens the log in options->dir; raft_close() closes it. Errors as raft_log_open(). */
NODISCARD enum err raft_host_open(struct raft_host *host, struct reactor *reactor,
                                  const struct raft_log_options *options, char *message);

/* True while a snapshot is being stored and the log wants the next one already, so much was
 * appended since it began: propose nothing now. Raft takes the next one only when it applies an
 * entry, and a full log takes none. */
bool raft_host_is_pressed(const struct raft_host *host);
