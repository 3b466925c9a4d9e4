/* Groups of consumers and their offsets, for every protocol. A group lives on one core, the owner
 * of one partition of an internal topic, to which all that must survive is written before anybody
 * hears of it. A struct group_call is one wish about one group: lent to that core, it comes home
 * with its answer.
 *
 *     home core                          the group's core
 *     group_submit() -- mail ----------> group, offsets, log -> durable
 *     call->done fires <---------------- mail home
 *     group_release() gives back what a large answer stands in */
#pragma once

#include "core/limits.h"
#include "core/reactor.h"
#include "net/group/classic.h"
#include "net/group/stream_wish.h"
#include "shard/request.h"

struct net;

/* Its partitions are the homes of groups. Clients read it as any topic, and never write to it. */
#define GROUP_TOPIC TOPIC_OF_OFFSETS

/* A group whose name begins so is the server's own: it does not go for being silent. */
#define GROUP_OWN_PREFIX "__"

enum {
    GROUP_PARTITIONS_MAX = 256,       /* Of that topic. */
    GROUP_OFFSETS_MAX = 100000,       /* Of one group. */
    GROUP_OFFSET_METADATA_MAX = 4096, /* Of one of them, as in Kafka. */
    GROUP_INLINE_BYTES = 192,         /* An answer that needs no block. */
};

struct group_options {
    struct classic_options classic;
    uint64_t offsets_retention_ms; /* After this a group that is empty, and its offsets, go. */
    uint64_t forget_ms;            /* As that, of a group without offsets; 0: 10 minutes. */
    uint32_t partitions;           /* Of the topic, when it is made. */
    uint64_t compact_bytes;        /* Of log, before it is looked at; 0: as is good. */
};

enum group_kind {
    GROUP_JOIN,
    GROUP_SYNC,
    GROUP_HEARTBEAT,
    GROUP_LEAVE,
    GROUP_COMMIT,
    GROUP_FETCH,
    GROUP_DESCRIBE,
    GROUP_LIST, /* All groups of one partition: call->partition. */
    GROUP_DELETE,
    GROUP_OFFSET_DELETE,
    GROUP_STREAM, /* call->stream says what. */
};

/* One partition of a COMMIT, FETCH or OFFSET_DELETE. */
struct group_offset_item {
    struct topic_id topic;
    struct bytes topic_name; /* OFFSET_DELETE: to see whether somebody reads it. */
    uint32_t partition;
    int64_t offset; /* FETCH: -1: there is none. */
    int32_t epoch;
    struct bytes metadata; /* FETCH: a view of the answer. */
    enum group_code code;  /* COMMIT: those that are not GROUP_OK are left out. */
};

/* One member of a LEAVE. */
struct group_leave_item {
    struct bytes member, instance;
    enum group_code code;
};

enum group_place {
    GROUP_AT_HOME,
    GROUP_AWAY,
    GROUP_HELD, /* Until the log is read, or durable. */
    GROUP_PARKED,
};

struct group_call {
    struct mail mail;
    struct completion done; /* Result: enum group_code. */
    void *user;             /* The caller's. */
    enum group_kind kind;
    struct bytes group; /* Borrowed, as all views here, until it is home. */
    uint32_t partition;
    struct bytes member, instance;
    int32_t generation;
    bool strict; /* FETCH: member and generation are given, and must be right. */
    bool all;    /* FETCH: every partition that has an offset; in the answer. */
    uint32_t item_count;
    struct group_offset_item *items;
    uint32_t leave_count;
    struct group_leave_item *leaves;
    struct classic_join join; /* JOIN; sync's views for SYNC. */
    struct classic_sync sync;
    struct stream_wish *stream; /* STREAM: `group` above is not set by the caller. */

    /* The answer: JOIN {generation}, and see serve.c for what stands in `result`. */
    struct bytes result;
    bool skip_assignment, leads;

    /* The engine's. */
    struct net *net;
    struct reactor *home;
    struct topic_id topic;
    struct block *block; /* The group's core's; what `result` stands in. */
    bool creating;       /* At home: the topic is being made. */
    enum group_place place;
    bool cancel_wanted;
    enum group_code code;
    struct classic_wait wait;
    struct group *at; /* While it is parked. */
    uint64_t ticket;  /* While it is held: how much must be durable. */
    struct group_call *next;
    struct mail cancel_mail;
    struct completion canceled, released;
    uint8_t small[GROUP_INLINE_BYTES];
};

/* `call->done` fires on this core, never before return. The rest of what it needs is made here:
 * the topic, if it is not there and the wish is to change something. */
void group_submit(struct net *net, struct group_call *call);

/* Nobody waits for a JOIN, a SYNC, a TAKE or a WAIT that is out any more: it comes home soon. True:
 * call->canceled fires, before or after call->done; only then may the call be reused. */
bool group_cancel(struct net *net, struct group_call *call);

/* A finished call gives back what its answer stands in. True: call->released fires. */
bool group_release(struct net *net, struct group_call *call);

/* How many partitions there are to be listed; 0: no group was ever there. */
uint32_t group_partition_count(const struct net *net);

bool group_topic_is_internal(struct bytes name);

/* A random id behind `prefix`, which is cut where it is too long; into CLASSIC_ID_BYTES_MAX. */
struct bytes group_draw_id(struct reactor *reactor, struct bytes prefix, uint8_t *room);

/* --- Of one core (net.c). --- */

struct group_core;

NODISCARD enum err group_core_open(struct group_core **core, struct net *net,
                                   const struct group_options *options);

/* Answers all that is parked or held; what is being written comes home. */
void group_core_stop(struct group_core *core);
bool group_core_busy(const struct group_core *core);
void group_core_close(struct group_core *core);

/* --- What stands in results; a text is le32 size (all ones: null) and bytes. ---
 *
 * JOIN      type, protocol, leader, member id; le32 count, then each: id, instance, metadata
 * SYNC      type, protocol, assignment
 * FETCH     of all: le32 count, then each: topic id, le32 partition, le64 offset, le32 epoch,
 *           metadata; in order of topics
 * DESCRIBE  u8 has state, state, type, protocol; le32 count, then each: id, instance, client, host,
 *           metadata, assignment
 * LIST      le32 count, then each: id, type, state */
struct bytes group_read_text(struct bytes_reader *reader);
