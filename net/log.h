/* What the protocols other than Kafka wish of the log: topics by name, one batch appended, records
 * read from an offset (and waited for), offsets by time. Kafka's requests ask many partitions at
 * once and go their own way (kafka/topics.h, kafka/fetch.c); both stand on route.h.
 *
 * An operation is a struct in the caller's call state. It belongs to this file until `fn` fires,
 * once, on this core, never before return. */
#pragma once

#include "net/route.h"

/* --- Topics. --- */

/* This core's map; its pointers are valid until control returns to the reactor. */
const struct map *log_map(const struct net *net);

/* Finds a partition for its records; `topic` may be NULL: ERR_TOPIC_UNKNOWN. Or ERR_NOT_LEADER. */
NODISCARD enum err log_find_partition(const struct net *net, const struct map_topic *topic,
                                      int32_t partition, struct partition_id *id);

/* Fills `proposal` with the creation of a topic under a fresh id; configs may be added. The name is
 * borrowed until it is home. */
void log_propose_topic(const struct net *net, struct proposal *proposal, struct bytes name,
                       uint32_t partitions);

/* Proposes for this call, `proposal->done` set: ERR_STOPPING if it is late. */
void log_propose(const struct call *call, struct proposal *proposal);

/* Creates a topic, with options.partitions_default partitions if it is 0. OK: it exists, whoever
 * made it, and is in the map of every core. Else ERR_TOPIC_INVALID, ERR_PARTITIONS_INVALID,
 * ERR_LIMIT, ERR_NOT_READY, ERR_TIMEOUT (unknown whether it exists). Whether clients may do so
 * (options.topic_auto_create) is the caller's to ask. */
struct log_topic {
    struct completion done;
    struct proposal proposal;
    struct net *net;
    bool made; /* Out: by this one. */
};

void log_make_topic(struct net *net, struct log_topic *op, struct bytes name, uint32_t partitions,
                    completion_fn *fn);

/* --- Records. --- */

/* Appends one batch (records_encode(), shard/record.h), borrowed until it is home. `fn` gets
 * &request->done: OK when it is as safe as the topic's durability says, then
 * request->produce.base_offset; else what a produce may end with (shard/request.h). */
void log_append(struct net *net, struct request *request, const struct partition_id *partition,
                struct bytes batch, completion_fn *fn);

/* The first offset at or after `timestamp`, or OFFSETS_LATEST, OFFSETS_EARLIEST: `fn` gets
 * &request->done, the answer is request->offsets. */
void log_ask_offset(struct net *net, struct request *request, const struct partition_id *partition,
                    int64_t timestamp, completion_fn *fn);

/* Nothing below `offset` (TRIM_ALL: nothing) is read again; the answer is request->trim. */
void log_trim(struct net *net, struct request *request, const struct partition_id *partition,
              int64_t offset, completion_fn *fn);

#define LOG_WAIT_FOREVER UINT64_MAX

enum { LOG_PIECES = 16 };

/* Whole batches, from the one that holds `offset` on: at least one if there are any, whatever its
 * size, more while they fit into bytes_max and LOG_PIECES. They are lent by the partition's core
 * and not copied; records.h reads them.
 *
 *     log_read() -> fn: OK -> pieces -> log_release() -> fn -> the next, or the end
 *         parked, if there are none: new records, the time or log_cancel() end that
 *
 * OK with no piece: there was nothing in wait_ms. ERR_CANCELED: nor until log_cancel().
 * ERR_TIMEOUT: there are records, but in half a minute no memory in which they could be lent.
 * ERR_OFFSET_RANGE and the others of a fetch (shard/request.h). */
struct log_read {
    struct completion done;
    struct partition_id partition;
    uint64_t offset;
    uint32_t bytes_max;
    uint64_t wait_ms;                      /* 0: what is there now. */
    uint64_t high_watermark, log_start;    /* Out, also on errors when known. */
    uint32_t size_bytes, piece_count;      /* Out. */
    struct fetch_piece pieces[LOG_PIECES]; /* Out. */

    /* Its own. */
    struct net *net;
    struct request request;
    struct route_cancel cancel;
    struct timer timer;
    uint32_t awaited;
    enum err err;
    bool away, canceling; /* The request; a cancel behind it. */
    bool pressed;         /* It waits for memory. */
    bool expired, canceled;
};

/* partition, offset, bytes_max and wait_ms are set; the rest is anything. */
void log_read(struct net *net, struct log_read *op, completion_fn *fn);

/* Ends the wait, now. Any time until it is home, and more than once. */
void log_cancel(struct log_read *op);

/* Once behind each log_read(), whatever it ended with: gives the pieces back, if there are any.
 * What they showed is gone; `fn` fires when they are home. */
void log_release(struct log_read *op, completion_fn *fn);
