/* The inside of the group engine: core.c (routing, life), log.c (what is durable), replay.c (what
 * was), serve.c (wishes), offsets.c. */
#pragma once

#include "net/group/group.h"
#include "net/group/item.h"
#include "net/group/stream.h"
#include "net/route.h"
#include "net/server.h"
#include "shard/record.h"

enum {
    GROUP_BATCH_ITEMS_MAX = 512,
    GROUP_BATCH_BYTES = 256 << 10, /* Of a batch, but for an item that is larger alone. */
    GROUP_LOAD_BYTES = 1 << 20,
    GROUP_LOAD_PIECES = 16,
    GROUP_KEY_BYTES_MAX = 4 + CLASSIC_NAME_BYTES_MAX + 16 + 4 + 4,
    GROUP_COMPACT_RATIO = 4,
};

#define GROUP_COMPACT_BYTES ((uint64_t)MIB(4))

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

/* A stream's group in its place. */
struct group_stream {
    struct stream_group state; /* The first. */
    struct group_stream *hash_next;
    struct list node; /* Of log->streams; not when it is deleted. */
    struct group_log *log;
    uint64_t token;                  /* Of who has taken it; 0: nobody. */
    struct group_call *first, *last; /* Who wants to take it next. */
    struct group_call *waiting;      /* WAITs, in no order. */
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
    struct list groups, streams;
    struct list dirty, live;
    uint64_t pushed, taken, durable; /* Of `dirty`, ever: put there, encoded, written for good. */
    struct group_call *held_first, *held_last;       /* By ticket; or until the log is read. */
    struct group_call *stalled_first, *stalled_last; /* Until something was written. */
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
    struct group_memory stream_memory;
    struct group_stream **stream_buckets;
    uint32_t stream_bucket_count, stream_count;
    uint64_t stream_token;
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

/* An answer is written twice: first it is only measured. */
struct group_answer {
    struct bytes_writer writer;
    uint64_t size;
    bool counting;
};

void group_answer_text(struct group_answer *answer, struct bytes text);
void group_answer_u32(struct group_answer *answer, uint32_t number);
void group_answer_u64(struct group_answer *answer, uint64_t number);

/* An event has been: answers go out, the record is written, the timer set. */
struct classic_event group_event(struct group_core *core);
void group_apply(struct group *group, struct classic_event *event);
void group_timer(struct group *group);

/* --- stream_table.c --- */

struct group_stream *group_stream_find(const struct group_core *core, const struct stream_key *key,
                                       struct bytes name);
/* NULL: no room. */
struct group_stream *group_stream_add(struct group_log *log, const struct stream_key *key,
                                      struct bytes name);
/* It goes, and its record says so; who waits for it hears it. */
void group_stream_delete(struct group_stream *stream);
/* It is forgotten without a record; whoever waits is answered with `code`. */
void group_stream_drop(struct group_stream *stream, enum group_code code);
/* It has changed. */
void group_stream_mark(struct group_stream *stream);
/* Those whose topic is gone, for longer than a map can be late, go. */
void group_streams_sweep(struct group_log *log);

/* A dirty part was encoded: it lives on, or is gone for good. */
void group_stream_written(struct group_log *log, struct group_item *item);
/* One record was read; false: it does not parse. */
bool group_stream_replay(struct group_log *log, enum group_item_kind kind, struct bytes name,
                         struct bytes_reader *key, struct bytes value);
/* After the last one; false: they do not fit together. */
bool group_streams_replayed(struct group_log *log);

/* --- stream_serve.c --- */

void group_stream_serve(struct group_log *log, struct group_call *call);
void group_stream_cancel(struct group_core *core, struct group_call *call);
/* Whoever waits for the group is answered. */
void group_stream_dismiss(struct group_stream *stream, enum group_code code);
void group_stream_resume(struct group_log *log); /* Those who stalled. */

/* --- stream_answer.c --- */

enum group_code group_stream_answer(struct group_log *log, const struct group_stream *stream,
                                    struct group_call *call);

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

/* Its record was read, and is the newest. */
void group_item_lives(struct group_log *log, struct group_item *item);

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
