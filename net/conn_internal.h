/* What the parts of a connection share: conn.c (calls, and the bytes that leave), conn_input.c (the
 * bytes that arrive) and conn_life.c (its ends). */
#pragma once

#include "net/conn.h"

/* conn.c */
bool conn_start_call(struct conn *conn, struct call *call); /* False: it waits, or was malformed. */
void conn_start_held(struct conn *conn); /* Begins the call that wants to be alone, if it is. */
void conn_schedule_flush(struct conn *conn);
void conn_flush(struct completion *completion); /* The send phase of a turn. */
void conn_drop(struct conn *conn);              /* Lets go of what waits to be sent. */
void conn_watch(struct conn *conn);             /* The clock is to see a stall. */

/* conn_input.c */
void conn_read(struct conn *conn);       /* Receives, if there is room for what may come. */
void conn_pump(struct conn *conn);       /* Makes calls of what is here, then reads on. */
void conn_input_drop(struct conn *conn); /* Lets go of what was received and not yet cut. */
void conn_refuse(struct conn *conn, const char *why); /* Reads no more; says so in the log. */

/* conn_life.c */
void conn_speak(struct conn *conn, const struct protocol *protocol); /* Once: it is this one. */
void conn_check_quiet(struct conn *conn); /* Ends one that drains when nothing is in flight. */
void conn_check_gone(struct conn *conn);  /* Closes a dead connection once nothing of it is out. */
