/* The inside of floe_members: members.c (connections, time, commands), members_ask.c (what a member
 * says, and what it hears), members_check.c (what must hold of a group, whatever happens). */
#pragma once

#include "core/bytes.h"
#include "core/prng.h"

#include <stdbool.h>

enum {
    PARTITIONS_MAX = 64, /* Of a topic: a member's are the bits of a word. */
    MEMBERS_MAX = 64,    /* Of a group. */
    TOPICS = 4,
    ID_BYTES_MAX = 128,
    FRAME_BYTES_MAX = 32768,
    RETRY_MS = 100,
    BACKOFF_MS_MIN = 50, /* As Kafka's clients have it. */
    BACKOFF_MS_MAX = 1000,
    CODES = 128,
};

/* A member has one request out at most, and a heartbeat beside it; what is next follows from what
 * it lacks. */
enum ask {
    ASK_NOTHING,
    ASK_COORDINATOR,
    ASK_JOIN,
    ASK_SYNC,
    ASK_HEARTBEAT,
    ASK_COMMIT,
    ASK_FETCH,
    ASK_LEAVE,
    ASK_COUNT,
};

enum member_state {
    MEMBER_AWAY,    /* It is not to be here. */
    MEMBER_BACKING, /* Until next_ms: then it connects. */
    MEMBER_CONNECTING,
    MEMBER_HERE,
};

struct mate {
    char id[ID_BYTES_MAX];
    uint64_t owned;
};

struct member {
    struct load *load;
    struct group *group;
    uint32_t index;
    int fd;
    enum member_state state;
    enum ask asked;
    uint64_t next_ms; /* Nothing is said before. */
    uint64_t heartbeat_ms, commit_ms;
    uint64_t asked_ms, beat_ms; /* Since when what is out is. */
    uint32_t backoff_ms;
    uint32_t correlation, beat; /* Of what is out; beat 0: no heartbeat is. */
    uint32_t correlations;
    bool fixed; /* It has a group.instance.id. */
    bool found, joined, synced, fetched, leaving;
    bool well; /* It was told so since the last kill. */
    char id[ID_BYTES_MAX];
    int32_t generation;
    uint64_t assigned; /* Of `generation`, once synced. */
    uint64_t owned;    /* What it says it has when it joins, in a cooperative group. */
    uint64_t committing[PARTITIONS_MAX], least[PARTITIONS_MAX];
    struct mate *mates; /* While it leads and has not synced. */
    uint32_t mate_count;
    uint32_t heard; /* Of an answer. */
    uint8_t *answer;
};

struct group {
    uint32_t index;
    bool cooperative, fixed; /* Each second member of a fixed one has a group.instance.id. */
    int32_t generation;      /* The newest that was heard of, */
    char leader[ID_BYTES_MAX];
    uint64_t claimed; /* and what of it was assigned, to whom. */
    uint64_t claims[MEMBERS_MAX];
    uint64_t claimers; /* Bits of members. */
    bool calm;         /* It was settled at the last mark, and must stay as it is. */
    uint64_t sent[PARTITIONS_MAX], acked[PARTITIONS_MAX];
};

struct load {
    int epoll;
    uint16_t port;
    uint32_t group_count, each, partitions;
    uint32_t session_ms, rebalance_ms, heartbeat_ms, commit_ms;
    struct group *groups;
    struct member *members;
    struct prng prng;
    uint64_t now_ms;
    uint64_t asks[ASK_COUNT], well_answers[ASK_COUNT], codes[CODES];
    uint64_t longest_ms[ASK_COUNT]; /* Until an answer came, and of a round of this thread. */
    uint64_t round_ms;
    uint64_t committed, read_back, connects, closes, restarts, broken, bad, told;
};

/* --- members_ask.c --- */

/* Says what is due; false: the connection is gone. */
bool member_ask(struct member *member);

/* A whole answer, without its length; false: this member is done and closes. */
bool member_hear(struct member *member, struct bytes frame);

/* It has no place in its group any more. */
void member_forget(struct member *member);

/* --- members_check.c --- */

uint64_t all_partitions(const struct load *load);

/* All who are to be here have heard of one generation, in which each partition is somebody's. */
bool group_settled(const struct group *group, const struct load *load);

void check_joined(struct member *member, const char *leader);
void check_synced(struct member *member);
void check_read(struct member *member, uint32_t partition, int64_t offset);

/* An answer's code: a group that was calm must not hear of change. */
void check_code(struct member *member, enum ask ask, uint32_t code);

/* One line for whoever reads: "bad ...". */
void say_bad(struct load *load, const char *format, ...) __attribute__((format(printf, 2, 3)));
