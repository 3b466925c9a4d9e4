/* The vocabulary between the door, the map and the log: one struct request is one wish about one
 * partition. It is lent to the core that owns the partition, carries its answer home and is never
 * freed by anybody but its lender.
 *
 *     home core                         owner core
 *     route_submit() -- mail ---------> shard_submit() -> ... -> request_finish()
 *     request->done fires <------------ mail home
 *
 * A FETCH that brought pieces holds blocks of the owner: once they are sent the lender submits it
 * again as REQUEST_RELEASE. */
#pragma once

#include "core/bytes.h"
#include "core/completion.h"
#include "core/err.h"
#include "core/mailbox.h"
#include "core/memory.h"

/* Random, version 4 UUID layout; never all zero. */
struct topic_id {
    uint8_t bytes[16];
};

struct partition_id {
    struct topic_id topic;
    uint32_t partition;
};

bool topic_id_equal(const struct topic_id *a, const struct topic_id *b);
bool topic_id_is_zero(const struct topic_id *id);

enum { TOPIC_ID_TEXT_BYTES = 33 };

char *topic_id_text(const struct topic_id *id, char *text); /* 32 hex digits; returns `text`. */

/* Names of topics are [a-zA-Z0-9._-]{1,249}, not "." or "..": Kafka's rule. */
bool topic_name_is_allowed(struct bytes name);

/* Which of `core_count` data cores owns a partition: (hash(topic id) + partition) mod cores. */
uint32_t partition_core(const struct partition_id *id, uint32_t core_count);

enum durability {
    DURABILITY_DISK,   /* Acked when flushed. */
    DURABILITY_OS,     /* Acked when the write completed: survives kill -9, not power loss. */
    DURABILITY_MEMORY, /* Acked when staged. */
};

enum timestamp_type {
    TIMESTAMP_CREATE,
    TIMESTAMP_APPEND,
};

/* What a topic's settings mean for a partition. */
struct partition_config {
    uint64_t segment_records, segment_bytes;
    uint32_t batch_bytes_max;   /* max.message.bytes */
    enum durability durability; /* Of the next segment; another one ends the open one. */
    enum timestamp_type timestamp_type;
    int64_t timestamp_before_max_ms; /* INT64_MAX = unlimited. */
    int64_t timestamp_after_max_ms;
    int64_t producer_expiry_ms;
    int64_t retention_ms;    /* A record may go when it is so old; -1: never. */
    int64_t retention_bytes; /* What is kept at least, if there was more; -1: no bound. */
    bool compacted;          /* Keys are required. */
    bool deep_validation;    /* Open each batch and count its records. */
};

enum segment_state {
    SEGMENT_OPEN = 1,
    SEGMENT_SEALED = 2,
};

/* One segment as the map knows it. */
struct segment_info {
    uint64_t id;    /* Never reused; high bit set, but for those that the library made. */
    uint32_t epoch; /* Kafka's leader epoch; each segment of a partition has a greater one. */
    enum segment_state state;
    uint64_t base_offset;
    uint64_t salt;
    uint64_t end_offset; /* When sealed. */
    uint64_t digest;     /* When sealed: the chain at end_offset. */
    /* When sealed, for retention: the greatest time of a record, or of its append where no record
     * has one; INT64_MAX: not known. And the size of its file up to the last frame. */
    int64_t timestamp_max;
    uint64_t bytes;
    uint32_t leader_node;
    uint8_t replication_factor, ack_quorum;
    enum durability durability;
};

enum request_kind {
    REQUEST_PRODUCE,
    REQUEST_FETCH,
    REQUEST_RELEASE, /* A finished FETCH gives its blocks back. */
    REQUEST_OFFSETS,
    REQUEST_IDENTIFY, /* Where in the log a stream ID stands. */
    REQUEST_ASSIGN,   /* The map says: this core owns the partition; recovers it. */
    REQUEST_CONFIGURE,
    REQUEST_SYNC,     /* What was acked so far is durable then, whatever its durability. */
    REQUEST_DROP,     /* The topic is deleted: waiters fail, files go. */
    REQUEST_TRIM,     /* The log starts later: what is below can no longer be read, and goes. */
    REQUEST_SIZE,     /* How many bytes its files have. */
    REQUEST_DELETE,   /* Single records go: no reader gets them any more. */
    REQUEST_SET_LAST, /* The next stream IDs are greater than this one. */
};

struct look;

/* A run of whole record batches, ready to be sent. */
struct fetch_piece {
    const uint8_t *data;
    uint32_t size;
    const uint8_t *rows; /* Of these batches, one each: see frame.h. */
    struct block *block; /* The owner's reference, */
    struct look *look;   /* or it has one on this, which has the block. */
};

/* The name of a record, also after others are gone: ms when it was appended, and which it was then.
 * Each record of a partition has a greater one than the record before it; 0-0 is nobody's. */
struct stream_id {
    uint64_t ms, seq;
};

/* < 0, 0, > 0: as `a` is less than `b`, equal, greater. */
int stream_id_compare(struct stream_id a, struct stream_id b);

/* Who says what stream ID a batch gets. */
enum produce_id {
    PRODUCE_ID_AUTO,  /* The log. */
    PRODUCE_ID_MS,    /* The client, but for seq. */
    PRODUCE_ID_EXACT, /* The client. */
};

struct request_produce {
    struct bytes batch;      /* Exactly one RecordBatch v2; borrowed until the request is home. */
    bool zstd_allowed;       /* Produce >= 7. */
    bool made_here;          /* Encoded or checked by whoever submits it: records, CRC. */
    enum produce_id id_kind; /* Not AUTO: a batch of one record. ERR_STREAM_ID: it is too small. */
    struct stream_id id;     /* In, and out: of its first record. A duplicate's is not known. */
    bool end_known; /* Only if `end` is the first record's offset; else ERR_OFFSET_RANGE. */
    uint64_t end;
    uint64_t base_offset;   /* Out. */
    int64_t append_time_ms; /* Out: -1 with CreateTime. */
    uint64_t log_start;     /* Out. */
};

struct request_fetch {
    uint64_t offset;
    uint32_t bytes_max;
    int32_t epoch;    /* Current leader epoch the client believes in; -1 = any. */
    bool whole_first; /* Return the first batch whole even above bytes_max (KIP-74). */
    bool park;        /* Without data: wait until there is some, or for request_cancel(). */
    bool parked;      /* The owner's: it waits. */
    bool pressed;     /* Out: there are records, but readers hold all the memory they may. */
    uint64_t high_watermark, log_start; /* Out, also on errors when known. */
    uint32_t size_bytes;                /* Out: sum over pieces. */
    uint32_t piece_capacity;
    uint32_t piece_count;       /* Out. */
    struct fetch_piece *pieces; /* The lender's array; filled by the owner. */
};

enum {
    OFFSETS_LATEST = -1,
    OFFSETS_EARLIEST = -2,
    OFFSETS_MAX_TIMESTAMP = -3,
};

struct request_offsets {
    int64_t timestamp;       /* >= 0: first record at or after it; or one of OFFSETS_*. */
    int32_t epoch;           /* -1 = any. */
    int64_t offset;          /* Out: -1 = none. */
    int64_t timestamp_found; /* Out: -1 for latest, earliest and none. */
    int32_t epoch_found;     /* Out: the leader epoch of the offset. */
};

/* What a stream knows of the records that were deleted one by one. */
struct stream_facts {
    uint64_t from, to;            /* In: for `deleted_between`. */
    uint64_t deleted;             /* Of the records between log start and high watermark. */
    uint64_t deleted_between;     /* And of them, those in [from, to). */
    uint64_t entries_added;       /* How many records there ever were, or were said to be. */
    struct stream_id deleted_max; /* The greatest that was deleted; 0-0: none was. */
};

/* The first record whose stream ID is at or above `id`, durable and not trimmed. It may be one that
 * was deleted: a fetch goes on behind it. */
struct request_identify {
    struct stream_id id;
    bool ends_only;        /* `id`, `offset` and `exact` do not matter. */
    bool exact;            /* Out: the record at `offset` has, or had, just this ID. */
    uint64_t offset;       /* Out: the high watermark: none. */
    struct stream_id last; /* Out: of the newest record that was ever acked, or what SET_LAST said
                               after it. */
    uint64_t log_start, high_watermark; /* Out. */
    struct stream_facts *facts;         /* The lender's, filled by the owner; NULL: not wanted. */
};

enum { DELETE_RECORDS_MAX = 64 };

/* One record by its offset, and its stream ID, as IDENTIFY and FETCH tell them. */
struct delete_record {
    uint64_t offset;
    struct stream_id id; /* Only for `deleted_max`; 0-0: not known. */
};

/* OK: no reader gets one of them again, as safe as an acked record of the partition's open segment;
 * but for those of a compressed batch that, unpacked, is larger than a block of memory may be: it
 * is read as it is, until all its records are deleted. Offsets and stream IDs of the others stay as
 * they are; a record's bytes stay in its file until that is removed. ERR_DELETIONS, until some are
 * below a log start: the partition, or all of its core with a sixteenth of the memory, cannot
 * remember more of them; nothing was deleted. ERR_STORAGE: not known whether they were. */
struct request_delete {
    const struct delete_record *records; /* In any order; borrowed until the request is home. */
    uint32_t count;                      /* At most DELETE_RECORDS_MAX. */
    uint32_t deleted; /* Out: how many there were. What was trimmed or deleted before, or is not in
                         the log yet, does not count. */
};

/* ERR_STREAM_ID: `last` is below that of a record, or of the SET_LAST before it. */
struct request_set_last {
    struct stream_id last;
    bool sets_added;
    uint64_t entries_added;       /* So many records there were up to now, if `sets_added`. */
    struct stream_id deleted_max; /* 0-0: as it was. */
};

enum { TRIM_ALL = -1 };

/* ERR_OFFSET_RANGE: `offset` is above the high watermark. OK: nothing below log_start is ever read
 * again, as safe as an acked record of the partition's open segment. */
struct request_trim {
    int64_t offset;     /* Of the first record that stays; TRIM_ALL: the high watermark. */
    uint64_t log_start; /* Out, also when it is greater than asked for. */
};

struct request_assign {
    const char *topic_name;
    const struct partition_config *config;
    const struct segment_info *segments; /* By base offset; borrowed until home. */
    uint32_t segment_count;
    uint32_t epoch;     /* The map's: greater than the last segment's when an empty one is gone. */
    uint64_t log_start; /* As far as the map knows; files may know a greater one. */
};

struct request {
    struct mail mail;       /* Carries it to the owner and home. */
    struct completion done; /* Fired on the home core; result = enum err. */
    struct completion work; /* The owner's: steps of the operation. */
    enum request_kind kind;
    struct partition_id partition;
    struct reactor *home; /* Set by route_submit(). */
    uint64_t map_version; /* Of the map in which the sender found the partition. */
    void *owner_state;    /* The owner's, from submit to finish. */
    struct request *next; /* In the owner's queue. */

    union {
        struct request_produce produce;
        struct request_fetch fetch;
        struct request_offsets offsets;
        struct request_identify identify;
        struct request_assign assign;
        struct request_trim trim;
        struct request_delete delete;
        struct request_set_last set_last;
        const struct partition_config *configure;
        uint64_t size_bytes; /* SIZE, out: what retention.bytes is compared with. */
    };
};
