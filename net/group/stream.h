/* One group of readers of a stream (XGROUP, XREADGROUP): how far it has read, who reads, and what
 * was delivered and not acknowledged yet, the pending entries. Pure: it knows no clock, no core, no
 * log. What changes is put into the group's list of dirty parts; all of them go into one batch of
 * the log with the group itself, so that what is written is always one moment of it:
 *
 *     group: last delivered ID         --  one record
 *      |-- readers, by name            --  a record each
 *      `-- chunks, by ID: 1 to 128 pending entries each  --  a record each
 *
 * A chunk is written as runs: who got how many entries when, then their IDs. So a read of many
 * entries costs few records, and an acknowledgement one of about 300 bytes at most. */
#pragma once

#include "net/group/item.h"
#include "net/group/memory.h"
#include "shard/request.h"

enum {
    STREAM_CHUNK_ENTRIES = 128,
    STREAM_NAME_BYTES_MAX = 249, /* Of a group, and of a reader. */
    STREAM_READERS_MAX = 10000,  /* Of one group. */
    STREAM_DIRTY_MAX = 128,      /* Parts that wait to be written: then changes wait. */
};

/* Which stream. */
struct stream_key {
    struct topic_id topic;
    uint32_t partition;
};

struct stream_group;

struct stream_reader {
    struct group_item item;
    struct stream_group *group;
    uint32_t number;
    uint32_t pending;
    struct bytes name;
    uint64_t seen_ms, active_ms; /* When it last asked, and got something; 0: never. */
    uint64_t told_ms;            /* seen_ms as it was written last. */
};

struct stream_entry {
    struct stream_id id;
    struct stream_reader *reader;
    uint64_t delivered_ms;
    uint32_t deliveries;
};

struct stream_chunk {
    struct group_item item;
    struct stream_group *group;
    uint32_t number;
    uint32_t count, capacity;
    struct stream_entry *entries; /* By ID. */
};

struct stream_group {
    struct group_item item;
    struct stream_key key;
    struct bytes name; /* Not this file's. */
    struct stream_id last;
    int64_t entries_read; /* Of the stream, up to `last`; -1: not known. */
    uint64_t created_ms;
    struct group_memory *memory;
    struct stream_chunk **chunks; /* By ID. */
    uint32_t chunk_count, chunk_capacity, chunk_next;
    struct stream_reader **readers; /* By name. */
    uint32_t reader_count, reader_capacity, reader_next;
    uint64_t pending;
    bool loaded;          /* Replay: its own record was there. */
    uint64_t freed_bytes; /* Replay: of the records of parts that are gone. */
    struct list dirty;
    uint32_t dirty_count;
};

/* A place among the pending entries. */
struct pending_place {
    uint32_t chunk, entry;
};

void stream_init(struct stream_group *group, struct group_memory *memory);

/* Frees all parts; none is in a list but the group's own. */
void stream_deinit(struct stream_group *group);

/* True: no more may change before what is dirty is written. */
bool stream_is_full(const struct stream_group *group);

/* --- Readers. --- */

struct stream_reader *stream_reader_find(const struct stream_group *group, struct bytes name);

/* NULL: there is no room. */
struct stream_reader *stream_reader_add(struct stream_group *group, struct bytes name,
                                        uint64_t now_ms);

/* It asks for something; `active`: and gets it. */
void stream_reader_touch(struct stream_reader *reader, uint64_t now_ms, bool active);

/* It goes, with what is pending for it. False: only some of that is gone by now, the group is full.
 */
bool stream_reader_drop(struct stream_reader *reader);

/* --- Pending entries (stream_pending.c). --- */

/* NULL: it is not pending. */
struct stream_entry *pending_find(const struct stream_group *group, struct stream_id id);

/* It is pending for `reader` from now on, whoever had it: delivered once more, and so often in all;
 * deliveries 0: once more than before. False: there is no room. */
NODISCARD bool pending_put(struct stream_group *group, struct stream_reader *reader,
                           struct stream_id id, uint64_t delivered_ms, uint32_t deliveries);

/* False: it was not pending. */
bool pending_drop(struct stream_group *group, struct stream_id id);

/* The first pending entry at or above `id`. */
struct pending_place pending_seek(const struct stream_group *group, struct stream_id id);
/* NULL: there is none at the place. */
const struct stream_entry *pending_at(const struct stream_group *group, struct pending_place place);
void pending_step(const struct stream_group *group, struct pending_place *place);

/* --- Records (stream_record.c). --- */

/* Whether `item` is of these kinds, its group. */
struct stream_group *stream_item_group(struct group_item *item);

/* Behind the group's name and the stream's key: the number of a part. */
uint32_t stream_item_number(struct group_item *item);
uint32_t stream_value_size(struct group_item *item);
void stream_value_encode(struct group_item *item, struct bytes_writer *writer);

/* Puts what a record says in the place of what there was; an empty value: it is gone. Returns the
 * item that has the record now, in no list; NULL and *sound: none has. Not sound: it does not
 * parse, or there is no memory.
 *
 * kind  GROUP_ITEM_STREAM: `number` is not used */
struct group_item *stream_load(struct stream_group *group, enum group_item_kind kind,
                               uint32_t number, struct bytes value, bool *sound);

/* After the last record: false: they do not fit together. */
NODISCARD bool stream_loaded(struct stream_group *group);

/* A part that is gone and written, or whose group goes: freed. In no list. */
void stream_part_free(struct group_item *item);

/* --- Inside. --- */

/* `item` is a part of the group and changes. */
void stream_mark(struct stream_group *group, struct group_item *item);
struct stream_reader *stream_reader_make(struct stream_group *group, struct bytes name,
                                         uint32_t number);
bool stream_reader_insert(struct stream_group *group, struct stream_reader *reader);

struct stream_chunk *stream_chunk_make(struct stream_group *group, uint32_t number,
                                       uint32_t capacity);

/* False: there is no room for as many entries. */
bool stream_chunk_fit(struct stream_group *group, struct stream_chunk *chunk, uint32_t capacity);
bool stream_chunk_insert(struct stream_group *group, uint32_t at, struct stream_chunk *chunk);
