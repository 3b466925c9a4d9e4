/* What the two halves of a connection share: conn.c (bytes and calls) and conn_life.c (its ends).
 */
#pragma once

#include "net/conn.h"

/* conn.c */
void conn_read(struct conn *conn);              /* Receives, if there is room for what may come. */
void conn_drop(struct conn *conn);              /* Lets go of what waits to be sent. */
void conn_input_drop(struct conn *conn);        /* Lets go of what was received and not yet cut. */
void conn_flush(struct completion *completion); /* The send phase of a turn. */

/* conn_life.c: closes the descriptor once nothing of a dead connection is out. */
void conn_check_gone(struct conn *conn);
