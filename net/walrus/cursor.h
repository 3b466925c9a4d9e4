/* Where the readers of a topic are: one cursor for all of them, on the core that owns the
 * partition. Each GET takes it, reads at its position, and moves it on or leaves it; meanwhile
 * others wait.
 *
 *     cursor_take() -> position -> [read] -> cursor_move() -> durable
 *                                         -> cursor_leave()
 *
 * It is moved in memory at once, and the next GET goes on from there; what was moved while one save
 * was under way is saved together by the next. A GET is answered when its own move is durable: a
 * crash gives no record twice that was answered. If a save fails, so do all GETs behind it, and
 * their records come again. */
#pragma once

#include "net/route.h"

struct walrus_core;

enum cursor_wish {
    CURSOR_TAKE,
    CURSOR_MOVE,
    CURSOR_LEAVE,
};

/* One wish on its way; the caller's again when `done` fires on this core. */
struct cursor_op {
    struct mail mail;
    struct completion done; /* OK, or why not. */
    struct partition_id partition;
    uint64_t position; /* TAKE: out; 0 if there was none. MOVE: where it is next. */
    uint64_t move;     /* The owner's: which move of the cursor this is. */
    enum cursor_wish wish;
    enum err err;
    struct reactor *home;
    struct cursor_op *next;
};

void cursor_take(struct net *net, struct cursor_op *op, const struct partition_id *partition,
                 completion_fn *fn);

/* By who has taken it, once: it is no longer theirs when this returns. */
void cursor_move(struct net *net, struct cursor_op *op, uint64_t position, completion_fn *fn);
void cursor_leave(struct net *net, struct cursor_op *op, completion_fn *fn);
