/* MAXLEN and MINID, of XADD and XTRIM: pure. */
#pragma once

#include "core/bytes.h"
#include "shard/request.h"

enum resp_trim_kind {
    RESP_TRIM_NONE,
    RESP_TRIM_LENGTH,
    RESP_TRIM_ID,
};

struct resp_trim {
    enum resp_trim_kind kind;
    bool about;          /* ~: whole nodes go. */
    bool limited;        /* LIMIT was given. */
    uint64_t length;     /* So many may stay. */
    uint64_t limit;      /* So many may go at once; 0: all. */
    struct stream_id id; /* The least that may stay. */
};

/* Reads the option at arguments[*at], if it is one of trimming, and goes behind it. False: it is
 * malformed, which *error says. */
bool resp_trim_parse(const struct bytes *arguments, uint32_t count, uint32_t *at,
                     struct resp_trim *trim, const char **error);

/* What holds of all options together; false as before. */
bool resp_trim_check(const struct resp_trim *trim, const char **error);

/* Where a log in [start, end) starts then, whose first record at or above trim->id is at `offset`.
 * Nodes are `node` records, counted from offset 0. */
uint64_t resp_trim_target(const struct resp_trim *trim, uint64_t start, uint64_t end,
                          uint64_t offset, uint32_t node);

/* Where the newest `count` entries of [from, to) begin, as far as is known: `deleted` of those from
 * the last answer on (at first from to - count) are gone. Asked again until it stays the same. */
uint64_t resp_live_from(uint64_t from, uint64_t to, uint64_t count, uint64_t deleted);
