/* Lag of groups, for the operations that tell it: the question with the room for the answer, taken
 * together, so that who waits for memory holds none. */
#pragma once

#include "net/group/lag.h"
#include "net/http/http.h"

enum { HTTP_LAG_ROOM_BYTES = 512 << 10 };

_Static_assert(sizeof(struct group_lag) <= HTTP_LAG_ROOM_BYTES, "the room is the larger one");

struct http_lag {
    struct group_lag *lag; /* NULL: none was opened. */
    struct block *room;
};

/* False: no memory now; `*wanted` would do for the larger one. */
NODISCARD bool http_lag_open(struct http_lag *lag, struct net *net, uint32_t *wanted);
void http_lag_close(struct http_lag *lag);

/* The name of a row's topic; NULL: it was deleted meanwhile. */
const char *http_lag_topic(const struct http_op *op, const struct group_lag_row *row);

/* "1.500" */
void http_put_seconds(struct http_writer *writer, int64_t ms);
