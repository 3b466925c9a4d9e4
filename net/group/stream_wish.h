/* Wishes about groups of readers of a stream: GROUP_STREAM of group.h, with one of these. All
 * groups of one stream live on one core.
 *
 * Who reads takes the group, looks into the log, and gives it back; others wait in line:
 *
 *     TAKE_*  -> (home) read the log -> GIVE, CLAIM or RELEASE
 *
 * What was delivered is durable before GIVE or CLAIM comes home. A crash before that forgets that
 * it was delivered, and it is delivered again. */
#pragma once

#include "net/group/stream.h"

enum stream_wish_kind {
    STREAM_CREATE,      /* GROUP_EXISTS. */
    STREAM_SETID,       /* All others: GROUP_NOT_FOUND. */
    STREAM_DESTROY,     /* OK: it was there. */
    STREAM_READER_ADD,  /* `number`: 1, or 0 if it was there. */
    STREAM_READER_DROP, /* `number`: how many entries were pending for it. */
    STREAM_LOOK,        /* Is there this group? Makes the reader. */
    STREAM_TAKE_NEW,    /* `id`: the last one that was delivered. Makes the reader, as all TAKEs. */
    STREAM_TAKE_OWN,    /* `ids`: pending for the reader from `id` on, at most `capacity`. */
    STREAM_TAKE_NAMED,  /* Of `ids` those stay that may be claimed. */
    STREAM_TAKE_IDLE,   /* `ids`: those that may be claimed from `id` on; then `id`: the next. */
    STREAM_GIVE,        /* `ids` were delivered; in order. */
    STREAM_CLAIM,       /* Of `ids` those with `found` set are the reader's; the others are gone. */
    STREAM_RELEASE,
    STREAM_WAIT,    /* Comes home when the group goes or is set to another ID, or by a cancel. */
    STREAM_ACK,     /* `number`: of how many. */
    STREAM_SUMMARY, /* These have their answer in call->result, see below. */
    STREAM_PENDING,
    STREAM_READERS,
    STREAM_GROUPS,
    STREAM_COUNT, /* `number`: groups of the stream. */
};

struct group_stream;

struct stream_wish {
    enum stream_wish_kind kind;
    struct stream_key key;
    struct bytes group, reader; /* PENDING: reader.data NULL: all of them. */
    struct stream_id id, id_end;
    int64_t entries_read; /* CREATE, SETID, GIVE: what it is then; TAKE_NEW: out. -1: not known. */
    uint64_t count;       /* PENDING, GROUPS: so many entries; TAKE_IDLE: so many to be claimed. */
    uint64_t idle_ms;     /* Only entries that nobody touched for so long. */
    struct stream_id *ids;
    uint8_t *found; /* One for each of them. */
    uint32_t id_count, capacity;
    uint64_t delivered_ms;   /* CLAIM: when; 0: now. */
    int64_t deliveries;      /* CLAIM: so often; -1: once more. */
    struct stream_id last;   /* CLAIM: the group has read up to here at least. */
    bool no_ack;             /* GIVE: nothing is pending. */
    bool force;              /* TAKE_NAMED, CLAIM: also what is not pending. */
    bool just_id;            /* CLAIM: the count of deliveries stays. */
    bool keep_missing;       /* CLAIM: what is gone from the log stays pending. */
    bool passive;            /* CLAIM: the reader's own: it is not active by that. */
    bool full;               /* GROUPS: with readers and pending entries. */
    uint64_t number;         /* Out. */
    uint64_t token;          /* TAKE_*, out: for what ends it. */
    uint32_t next;           /* The engine's: so many of the IDs are done. */
    bool begun;              /* The engine's: it was served before, in part. */
    struct group_stream *at; /* The engine's: where it is parked. */
};

/* --- What stands in results; texts as in group.h. ---
 *
 * SUMMARY  le64 pending; if there are any: first ID, last ID, each le64 ms, le64 seq; le32 count,
 *          then each reader with pending entries: name, le64 how many
 * PENDING  le32 count, then each: ID, name of the reader, le64 idle (ms), le32 deliveries
 * READERS  le32 count, then each: name, le64 pending, le64 idle, le64 inactive (ms; all ones: it
 *          was never active)
 * GROUPS   le32 count, then each: name, le32 readers, le64 pending, last ID, le64 entries read (all
 *          ones: not known); if `full` also: le32 count, then each: ID, name of the reader,
 *          le64 delivered (ms), le32 deliveries; and for each reader: name, le64 seen, le64 active
 *          (ms; all ones: never), le64 pending, le32 count, then each: ID, le64 delivered, le32
 *          deliveries */
