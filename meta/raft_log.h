/* What raft stores, in a directory of its own (data/meta):
 *
 *     term          two slots of 4 KiB, both written before a term or vote counts; made as term.tmp
 *                   behind the log files, so a directory without it was never finished
 *     log-0 log-1   preallocated, zeroed; one is written, the other is full, free, or new
 *     snapshot-<index, 16 hex digits>   the newest two; written as snapshot.tmp, then renamed
 *
 * Every CRC-32C covers what stands before it too: bytes 0..12, then 16..the end that is named. So a
 * version that is not ours is one only if the rest checks; later versions keep this.
 *
 * Slot: 0 "FLOETERM"  8 version u32 (1)  12 CRC-32C to 64  16 identity u64  24 counter u64
 *       32 term u64  40 vote u64  48 bytes of each log file u64  56 zero u64, zeros to 4096
 *
 * A log file is frames from position 0 on, each of whole 4 KiB blocks that no acknowledged frame
 * uses; a frame is one durable write of what waits, and one is in flight at a time:
 *
 *     0 "FLOERAFT"  8 version u32 (1)  12 CRC-32C to the end of the records  16 identity u64
 *     24 generation u64: +1 each time a file is begun anew, so what it held before never counts
 *     32 sequence u64: +1 each frame
 *     40 durable end u64: frames with a smaller sequence were durable when this was written
 *     48 bytes of records u32  52 count of records u32
 *     56 index u64: of the next entry, before these records
 *     64 records, each {index u64, term u64, bytes u32, kind u8, type u8, zero u16}, data, to 8
 *
 * ENTRY adds the next entry; TRUNCATE voids all earlier entries from its index on; RESTART voids
 * all of them, and the next is its index: a snapshot of another node took their place. Replay takes
 * the frames in order. A frame that does not check ends the log: before it lies everything that was
 * acknowledged, unless a later frame's durable end says otherwise: then the disk has lost what it
 * promised, and the node must not go on (ERR_DAMAGED).
 *
 * Snapshot: 0 "FLOESNAP"  8 version u32 (1)  12 CRC-32C to the end  16 identity u64  24 index u64
 *           32 term u64  40 bytes of data u64  48 zeros  64 data
 *
 * A full file is begun anew once a snapshot covers all its entries. Its last blocks are kept for
 * TRUNCATE and RESTART, which can make entries void that no snapshot will ever cover. Everything
 * here runs on the metadata core; raft_log_open(), raft_log_set_term() and raft_log_bootstrap()
 * block. An I/O error of a later write ends the process: raft has no safe way on. But a full disk
 * only puts the next snapshot off, as long as the log has room. */
#pragma once

#include "core/reactor.h"

enum { RAFT_LOG_MESSAGE_BYTES = 512, RAFT_LOG_SNAPSHOT_HEADER_BYTES = 64 };

/* Smallest log_file_bytes: a frame of the largest entry fits half of it. */
#define RAFT_LOG_FILE_BYTES_MIN KIB(256)

/* Data of one entry: twice the largest command. */
#define RAFT_LOG_ENTRY_BYTES_MAX KIB(124)

struct raft_log_options {
    const char *dir;
    uint64_t file_bytes; /* Of a directory that is made now; an older one keeps its own. */
    int32_t (*execute)(struct reactor *reactor, struct io *io); /* NULL: io_execute(). */
};

struct raft_log_entry {
    uint64_t term;
    uint8_t type; /* Raft's. */
    uint32_t size;
    uint8_t *data;
};

/* What the directory held. Whoever opened it takes `entries[i].data` and `snapshot` (malloc) by
 * setting them to NULL. */
struct raft_log_found {
    uint64_t term, vote;
    uint64_t snapshot_index, snapshot_term; /* 0 = none. */
    uint8_t *snapshot;
    uint64_t snapshot_size;
    uint64_t first_index; /* Of entries: snapshot_index + 1. */
    uint32_t count, capacity;
    struct raft_log_entry *entries;
};

/* One wish: entries behind the last one. `done` fires when they are durable; in order.
 * ERR_CANCELED: they waited for a file, and the log was stopped or what waits behind them voids
 * them; its first entries may be stored. One that is longer than a file may wait for a snapshot
 * that only its own end makes possible: divide it. */
struct raft_log_append {
    struct completion done;
    struct raft_log_append *next;
    const struct raft_log_entry *entries; /* Borrowed until `done`, data too. */
    uint32_t count;                       /* At least 1. */
    uint32_t taken;                       /* The log's own: how many are in frames already. */
    uint64_t index;                       /* Set by the log: of the first. */
    uint64_t truncate; /* The log's own: void from here on; 0 = this is an append. */
    bool restart;      /* The log's own: all is void, and `truncate` is the next index. */
};

/* Stores a snapshot; `done` fires when it is durable and found by the next open, and with drop_all
 * when the old entries are not. */
struct raft_log_put {
    struct completion done;
    uint64_t index, term;
    uint8_t *data; /* RAFT_LOG_SNAPSHOT_HEADER_BYTES of room, then the data; borrowed. */
    uint64_t size; /* With that room. */
    bool drop_all; /* It came from another node: the log restarts behind it, at index + 1. */
};

struct raft_log_store;

/* Opens or makes the directory's files and reads all. On an error `message`
 * (RAFT_LOG_MESSAGE_BYTES) tells the operator what is wrong and what to do: ERR_DAMAGED,
 * ERR_FOREIGN (files of another directory), ERR_VERSION (newer), ERR_INVALID (options), or what
 * the disk said. */
NODISCARD enum err raft_log_open(struct raft_log_store **store, struct reactor *reactor,
                                 const struct raft_log_options *options, char *message);

struct raft_log_found *raft_log_found(struct raft_log_store *store);

/* No term, vote, entry or snapshot was ever stored: it may be bootstrapped. */
bool raft_log_is_fresh(const struct raft_log_store *store);

/* Term 1 and entry 1, durable on return; raft_log_found() then has them. */
NODISCARD enum err raft_log_bootstrap(struct raft_log_store *store,
                                      const struct raft_log_entry *entry);

/* Durable on return. */
NODISCARD enum err raft_log_set_term(struct raft_log_store *store, uint64_t term, uint64_t vote);

void raft_log_append(struct raft_log_store *store, struct raft_log_append *append);

/* Voids entries from `index` on, none of which a snapshot covers; ordered between earlier and later
 * appends. */
void raft_log_truncate(struct raft_log_store *store, uint64_t index);

/* One at a time; an index not below the last one's. ERR_NO_SPACE: the disk is full, and the log has
 * room to go on without it for now; it wants the next one at once. Ends the process when it cannot
 * be written otherwise. */
void raft_log_put(struct raft_log_store *store, struct raft_log_put *put);

/* The newest snapshot into found->snapshot (malloc; what was there is freed), its size, index and
 * term; blocking. ERR_NOT_FOUND without one, ERR_DAMAGED. */
NODISCARD enum err raft_log_get(struct raft_log_store *store, struct raft_log_found *found,
                                char *message);

/* The log has grown by a quarter of a file since the last snapshot, or appends wait until one lets
 * a file be begun anew: it is time for the next. */
bool raft_log_wants_snapshot(const struct raft_log_store *store);

/* Ends what is under way, but for what waits for a free file: such appends get ERR_CANCELED, such
 * truncations are not stored. Closes the files, fires `done`. */
void raft_log_stop(struct raft_log_store *store, struct completion *done);
void raft_log_close(struct raft_log_store *store); /* After raft_log_stop(). */
