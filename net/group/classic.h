/* One group of the classic protocol (JoinGroup, SyncGroup): a pure state machine. It knows no
 * clock, no core, no log: an event goes in, with the time; out come answers to calls that were
 * parked, and whether the group must be written down before anybody hears them.
 *
 *              join                all have joined,            the leader's
 *              (or leave)          or time is up               assignments
 *     EMPTY ---------> PREPARING -----------------> COMPLETING ------------> STABLE
 *       ^               |  ^  ^                        |                       |
 *       +-- nobody left-+  |  +-- a member comes or ---+                       |
 *                          |      goes, or does not sync                       |
 *                          +------ a member comes, goes or changes ------------+
 *
 * A generation begins when PREPARING ends. Calls are parked in PREPARING (joins) and COMPLETING
 * (syncs) only, and each is answered exactly once. */
#pragma once

#include "core/bytes.h"
#include "core/list.h"
#include "net/group/code.h"
#include "net/group/memory.h"

enum {
    CLASSIC_PROTOCOLS_MAX = 32,   /* Of one member. */
    CLASSIC_ID_BYTES_MAX = 384,   /* Of a member: a client id of 249, and 37 of ours, with room. */
    CLASSIC_NAME_BYTES_MAX = 249, /* Of a group, an instance, a client as we remember it. */
};

/* What all members bring and get must fit into one record. */
#define CLASSIC_RECORD_BYTES_MAX ((uint32_t)MIB(1))

enum classic_state {
    CLASSIC_EMPTY,
    CLASSIC_PREPARING,
    CLASSIC_COMPLETING,
    CLASSIC_STABLE,
};

struct classic_options {
    uint64_t initial_delay_ms;
    uint32_t session_min_ms, session_max_ms;
    uint32_t members_max;
};

struct classic_member;

/* A join or sync of a caller, from the event that brings it to its answer. */
struct classic_wait {
    struct classic_wait *next;
    struct classic_member *member; /* Where it is parked; or, answered with OK, whose answer. */
    enum group_code code;
    bool sync;
    bool parked;
    bool skip_assignment; /* The leader is told the members, and that it need not assign. */
    bool hide_leader;     /* An older client, to the same end: it is not told that it leads. */
};

struct classic_member {
    struct list node; /* Of group->members, in order of arrival. */
    struct classic_member *hash_next;
    struct bytes id, instance, client, host; /* instance.data NULL: a dynamic member. */
    uint32_t session_ms, rebalance_ms;
    uint64_t deadline_ns; /* Unless a call of it is parked. */
    bool pending;         /* It was told an id, and has not joined with it. */
    bool anonymous;       /* It was never told its id: it cannot come back. */
    bool await_sync;      /* It has heard of the generation, and not asked for its assignment. */
    struct classic_wait *join, *sync;
    uint32_t protocol_count;
    struct bytes protocols; /* le32 size, name, le32 size, metadata; as often as that. */
    struct bytes assignment;
};

struct classic {
    enum classic_state state;
    int32_t generation;
    struct bytes type, protocol; /* Null before the first member, and in no generation. */
    struct classic_member *leader;
    struct list members;
    struct classic_member **buckets;
    uint32_t bucket_count;
    uint32_t member_count; /* Without the pending ones. */
    uint32_t pending_count, joined_count;
    uint32_t record_bytes;   /* Of members; a bound of what is written down. */
    bool initial, newcomers; /* PREPARING: the first members are being waited for. */
    uint64_t initial_end_ns; /* However many come. */
    uint64_t deadline_ns;    /* Of PREPARING and COMPLETING. */
    uint64_t wake_ns;        /* Not before this is there anything for classic_tick(). */
    uint64_t empty_ms;       /* Since when nobody is there; wall clock. */
};

/* One event, and what comes of it. */
struct classic_event {
    const struct classic_options *options;
    struct group_memory *memory;
    uint64_t now_ns, now_ms;
    struct classic_wait *first, *last; /* Answered. */
    bool write; /* The group has changed: nobody hears of it before it is written down. */
};

struct classic_join {
    struct bytes member, instance, client, host;
    struct bytes new_id; /* For whoever comes without one. */
    struct bytes type, protocols;
    uint32_t protocol_count;
    uint32_t session_ms, rebalance_ms;
    bool id_needed;  /* Who comes without an id is told one, and joins with that. */
    bool skip_known; /* It understands skip_assignment. */
};

struct classic_sync {
    struct bytes member, instance;
    int32_t generation;
    struct bytes type, protocol; /* Null: not said. */
    struct bytes assignments;    /* le32 size, member id, le32 size, assignment. */
    uint32_t assignment_count;
};

void classic_init(struct classic *group);

/* Frees all members. Nothing is parked. */
void classic_deinit(struct classic *group, struct group_memory *memory);

void classic_join(struct classic *group, const struct classic_join *join, struct classic_wait *wait,
                  struct classic_event *event);
void classic_sync(struct classic *group, const struct classic_sync *sync, struct classic_wait *wait,
                  struct classic_event *event);
enum group_code classic_heartbeat(struct classic *group, struct bytes member, struct bytes instance,
                                  int32_t generation, const struct classic_event *event);

/* `member` may be empty where `instance` names it. */
enum group_code classic_leave(struct classic *group, struct bytes member, struct bytes instance,
                              struct classic_event *event);

/* Whether offsets may be committed; counts as a heartbeat. Generation < 0: by somebody who is no
 * member of anything. */
enum group_code classic_commit(struct classic *group, struct bytes member, struct bytes instance,
                               int32_t generation, const struct classic_event *event);

/* Whoever waited is gone. Answered with GROUP_CANCELED. */
void classic_cancel(struct classic *group, struct classic_wait *wait, struct classic_event *event);

/* Answers all that is parked with `code`, as if nobody had ever come. */
void classic_abort(struct classic *group, enum group_code code, struct classic_event *event);

/* Time has passed: silent members go, and who waited long enough is answered. */
void classic_tick(struct classic *group, struct classic_event *event);

struct classic_member *classic_member_by_id(const struct classic *group, struct bytes id);

/* The metadata that a member has for the group's protocol; empty if there is none. */
struct bytes classic_metadata(const struct classic *group, const struct classic_member *member);

/* True if a member of a group of consumers has subscribed to the topic, as far as its metadata can
 * be read; of any other group with members always. */
bool classic_subscribed(const struct classic *group, struct bytes topic);

const char *classic_state_name(const struct classic *group);

/* --- The record. --- */

uint32_t classic_record_size(const struct classic *group);
void classic_record_encode(const struct classic *group, struct bytes_writer *writer);

/* Into an initialised, empty group; false: it does not parse, or there is no memory. */
NODISCARD bool classic_record_decode(struct classic *group, struct bytes record,
                                     struct group_memory *memory);

/* After the last record of a log: members have their timeouts from now on. */
void classic_resume(struct classic *group, uint64_t now_ns);
