/* How far groups are behind: for each partition that a group has committed, the end of its log and
 * when the record was written that the group reads next. Asked of the groups' cores and of the
 * partitions' owners, a few questions at a time, into one block of bounded size.
 *
 *     LIST each partition of the internal topic -> FETCH each group -> ends
 *         -> times of those behind -> lag->done */
#pragma once

#include "net/group/group.h"
#include "net/log.h"

enum {
    GROUP_LAG_ROWS = 1024,
    GROUP_LAG_GROUPS = 256,
    GROUP_LAG_TEXT_BYTES = 32 << 10, /* Of the groups' names. */
    GROUP_LAG_SLOTS = 8,
};

struct group_lag_row {
    struct topic_id topic;
    uint32_t group; /* Its index. */
    uint32_t partition;
    int64_t committed;
    int64_t end;     /* -1: not known. */
    int64_t lag;     /* Records; -1: not known. */
    int64_t time_ms; /* Of the next record to read; -1: there is none, or it is not known. */
};

struct group_lag;

struct group_lag_slot {
    struct group_lag *lag;
    uint32_t row;
    bool busy;
    bool again; /* The offset was below the log's start: once more from there. */
    struct group_call call;
    struct request request;
    struct log_read read;
};

struct group_lag {
    struct completion done; /* Once, with OK. */
    struct group_lag_row rows[GROUP_LAG_ROWS];
    struct bytes groups[GROUP_LAG_GROUPS];
    uint32_t row_count, group_count;
    void *user;           /* The caller's. */
    uint64_t left_out;    /* Groups and partitions for which there was no room. */
    enum group_code code; /* The first that is not GROUP_OK: something is missing. */

    struct net *net;
    struct block *block;

    enum { GROUP_LAG_LIST, GROUP_LAG_FETCH, GROUP_LAG_END, GROUP_LAG_TIME } phase;

    uint32_t next, count, away;
    bool out; /* Between start and done. */
    struct group_lag_slot slots[GROUP_LAG_SLOTS];
    uint32_t text_used;
    uint8_t text[GROUP_LAG_TEXT_BYTES];
};

/* NULL: no memory now. */
struct group_lag *group_lag_open(struct net *net);

/* Of one group, or with data NULL of all; done.fn is set. Fires lag->done, never before return. */
void group_lag_start(struct group_lag *lag, struct bytes group);

/* When it is not out: gives the block back. */
void group_lag_close(struct group_lag *lag);

/* How long ago that record was written; 0: the group is at the end; -1: not known. */
int64_t group_lag_ms(const struct group_lag_row *row, uint64_t now_ms);
