/* Groups of readers: what the commands about them share. The groups are the engine's
 * (net/group/stream_wish.h); here words become wishes, and what they bring replies. */
#pragma once

#include "net/group/group.h"
#include "net/resp/range.h"

enum {
    GROUP_IDS_MAX = 4096, /* Of entries that one command delivers from one stream. */
    GROUP_CLAIM_MAX = 32768,
};

typedef void resp_group_fn(struct resp_op *op, enum group_code code);

/* One wish at a time of a command. */
struct resp_group {
    struct group_call call;
    struct stream_wish wish;
    struct resp_op *op;
    resp_group_fn *done;
};

/* Sends the wish; what it says of group and reader is set by now. */
void resp_group_ask(struct resp_op *op, struct resp_group *group, enum stream_wish_kind kind,
                    const struct partition_id *partition, resp_group_fn *done);

/* Answers what is not GROUP_OK; `none`: one of those below, or NULL for XREADGROUP's words. */
void resp_group_fail(struct resp_op *op, enum group_code code, const char *none, struct bytes key,
                     struct bytes name);

extern const char group_none[];       /* NOGROUP, as most commands say it, */
extern const char group_none_xinfo[]; /* and XINFO and XGROUP. */

/* Whether a name can be a group's or a reader's; false: answered. */
bool resp_group_name(struct resp_op *op, struct bytes name);

/* An exact ID; false: answered. */
bool resp_group_id(struct resp_op *op, struct bytes text, struct stream_id *id);

/* An end of a range, inclusive or, with '(', not. False: it is malformed, which was answered. */
bool range_parse_end(struct resp_op *op, struct bytes text, bool least, struct stream_id *id);

/* Memory for IDs, given back with the call's reply at the latest. ERR_NO_MEMORY: `again` fires when
 * there may be some. */
struct group_ids {
    struct read_ids ids;
    struct block *block;
    uint32_t capacity;
};

NODISCARD enum err group_ids_open(struct resp_op *op, struct group_ids *ids, uint32_t capacity,
                                  completion_fn *again);
void group_ids_close(struct group_ids *ids);

/* --- XINFO (group_info.c). --- */

struct info_state {
    struct range_state range;
    struct resp_group group;
};

/* Asks for the groups of the stream; then op->encode is `encode`, and the reply is sent. */
void info_ask_groups(struct resp_op *op, resp_encode_fn *encode);
void info_write_groups(struct resp_op *op, struct resp_writer *writer);
void info_groups(struct resp_op *op);
void info_readers(struct resp_op *op);
