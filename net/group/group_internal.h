/* The inside of the group engine: core.c (routing, life), log.c (what is durable), replay.c (what
 * was), serve.c (wishes), offsets.c. */
#pragma once

#include "net/group/group.h"
#include "net/route.h"
#include "net/server.h"
#include "shard/record.h"

enum {
    GROUP_BATCH_ITEMS_MAX = 512,
    GROUP_BATCH_BYTES = 256 << 10, /* Of a batch, but for an item that is larger alone. */
    GROUP_LOAD_BYTES = 1 << 20,
    GROUP_LOAD_PIECES = 16,
    GROUP_KEY_BYTES_MAX = 4 + CLASSIC_NAME_BYTES_MAX + 16 + 4,
    GROUP_COMPACT_RATIO = 4,
};

#define GROUP_COMPACT_BYTES ((uint64_t)MIB(4))

/* Something that one record says the last word about: a group, or one offset of it. */
struct group_item {
    struct list node; /* Of log->dirty, or of log->live in the order of their records. */
    uint64_t batch;   /* The number of the batch that has its record; 0: before this start. */
    uint32_t bytes;   /* Of the record, about. */
    bool is_offset, dirty, deleted;
    bool stored; /* There is, or will be, a record. */
};

struct group_offset {
    struct group_item item;
    struct group_offset *hash_next;
    struct group *group;
    struct topic_id topic;
    uint32_t partition;
    int64_t offset;
    int32_t epoch;
    uint64_t commit_ms;
    struct bytes metadata;
};

struct group {
    struct group_item item;
    struct group *hash_next;
    struct list node; /* Of log->groups; not when it is deleted. */
    struct group_log *log;
    struct bytes id; /* Behind this struct. */
    struct classic classic;
    struct timer timer;
    struct group_offset **buckets;
    uint32_t bucket_count, offset_count;
    uint32_t zombies;    /* Deleted offsets whose record is yet to be written. */
    uint64_t touched_ms; /* The newest commit; or when it was made. */
};

enum group_log_state {
    GROUP_LOG_NEW,
    GROUP_LOG_READING,
    GROUP_LOG_READY,
};

/* One partition of the topic, on its owner core. */
struct group_log {
    struct group_core *core;
    struct partition_id id;
    enum group_log_state state;
    struct list groups;
    struct list dirty, live;
    uint64_t pushed, taken, durable; /* Of `dirty`, ever: put there, encoded, written for good. */
    struct group_call *held_first, *held_last; /* By ticket; or until the log is read. */
    struct completion kick;
    bool kicked;

    /* Writing: one batch at a time. */
    bool writing, starved;
    uint64_t batch_next;
    struct request produce;
    struct block *batch;
    struct memory_waiter waiter;

    /* Compaction: items with an older record are written again, then the log is cut. */
    bool compacting, trimming;
    uint64_t compact_from;   /* Batches from here on are new. */
    uint64_t compact_ticket; /* As a call's: what was dirty when the last old item was taken. */
    uint64_t trim_offset;
    uint64_t log_bytes;  /* Written or read since the last one. */
    uint64_t live_bytes; /* Of items. */
    struct request trim;

    /* Reading. */
    struct request fetch;
    struct fetch_piece pieces[GROUP_LOAD_PIECES];
    uint64_t read_offset, read_end;
    struct timer pause;
    uint32_t pauses;
};

struct group_core {
    struct net *net;
    struct reactor *reactor;
    struct group_options options;
    struct group_memory memory;
    struct group **buckets;
    uint32_t bucket_count, group_count;
    struct group_log *logs[GROUP_PARTITIONS_MAX];
    uint32_t busy; /* Requests to the shard, waits and mails that are out. */
    bool stopping;
    struct record_input records[GROUP_BATCH_ITEMS_MAX];
    /* The topic is being made: at home. */
    bool creating;
    struct proposal proposal;
    struct group_call *creating_first, *creating_last;
};

/* --- core.c --- */

struct group *group_find(const struct group_core *core, struct bytes id);

/* NULL: no room. */
struct group *group_add(struct group_log *log, struct bytes id);

/* Its members and offsets are gone already, or `group_drop` frees them: it is forgotten, without a
 * record of that. */
void group_drop(struct group *group);

/* The group and its offsets go, and their records say so. */
void group_delete(struct group *group);

/* The call leaves this core, with its code. */
void group_finish(struct group_core *core, struct group_call *call, enum group_code code);

/* As that, but not before all that is written down by now is durable. */
void group_finish_durable(struct group_log *log, struct group_call *call, enum group_code code);

void group_serve(struct group_log *log, struct group_call *call);

/* An event has been: answers go out, the record is written, the timer set. */
struct classic_event group_event(struct group_core *core);
void group_apply(struct group *group, struct classic_event *event);
void group_timer(struct group *group);

/* --- log.c --- */

void group_log_init(struct group_log *log, struct group_core *core, const struct partition_id *id);
void group_log_mark(struct group_log *log, struct group_item *item);
void group_log_hold(struct group_log *log, struct group_call *call);
void group_log_kick(struct group_log *log);

/* What is here may differ from what is written: all of it goes, and is read again at next use. */
void group_log_fail(struct group_log *log, const char *why);

/* Everybody who waits is answered, and all groups are forgotten. */
void group_log_clear(struct group_log *log, enum group_code code);
void group_item_forget(struct group_log *log, struct group_item *item); /* Out of its list. */

/* --- replay.c --- */

void group_log_read(struct group_log *log);
void group_log_read_on(struct completion *completion); /* Of log->pause. */

/* Into `data` of GROUP_KEY_BYTES_MAX. */
uint32_t group_key_encode(struct group_item *item, uint8_t *data);
uint32_t group_value_size(struct group_item *item);
void group_value_encode(struct group_item *item, uint8_t *data, uint32_t size);

/* --- offsets.c --- */

struct group_offset *group_offset_find(const struct group *group, const struct topic_id *topic,
                                       uint32_t partition);

/* NULL: no room. New ones have offset -1 and no item in any list. */
struct group_offset *group_offset_add(struct group *group, const struct topic_id *topic,
                                      uint32_t partition);
void group_offset_delete(struct group_offset *offset); /* A record says so. */
void group_offset_free(struct group_offset *offset);   /* Out of its list by now. */

void group_offsets_free(struct group *group);

void group_serve_commit(struct group *group, struct group_call *call);
void group_serve_fetch(struct group_log *log, struct group *group, struct group_call *call);
void group_serve_offset_delete(struct group *group, struct group_call *call);

/* Room for a result: `call->small` or a block. NULL: there is none. */
uint8_t *group_result_room(struct group_core *core, struct group_call *call, uint32_t size);
void group_write_text(struct bytes_writer *writer, struct bytes text);
uint32_t group_text_size(struct bytes text);
