/* A place in a log, as flags name it: start, end, an offset, -N, @TIME. Pure. */
#pragma once

#include "core/base.h"

enum cmd_where_kind {
    CMD_WHERE_START,
    CMD_WHERE_END,
    CMD_WHERE_OFFSET, /* `number` */
    CMD_WHERE_LAST,   /* The last `number` records of each partition. */
    CMD_WHERE_TIME,   /* The first record of `number` ms since 1970 or later. */
};

struct cmd_where {
    enum cmd_where_kind kind;
    int64_t number;
};

#define CMD_WHERE_TIME_HELP                                                                        \
    "@TIME: ms since 1970, 2026-11-24T10:00:00 (UTC; a date alone, .123, Z or +02:00 will do), "   \
    "or "                                                                                          \
    "@-10m for ten minutes ago (ms s m h d)"

/* false: `text` is none of them. `now_ms` is for what is named by how long ago it was. */
NODISCARD bool cmd_where_parse(const char *text, int64_t now_ms, struct cmd_where *where);

/* What stands behind the '@'. */
NODISCARD bool cmd_where_parse_time(const char *text, int64_t now_ms, int64_t *time_ms);

/* "2026-11-24T10:00:00.123Z"; empty for what has no such form. */
enum { CMD_TIME_BYTES = 80 }; /* As gcc counts the widest of struct tm. */

const char *cmd_time_text(int64_t time_ms, char text[CMD_TIME_BYTES]);

/* The wall clock, in ms since 1970. */
int64_t cmd_now_ms(void);
