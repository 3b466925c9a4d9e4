/* The store as its parts see it: raft_log.c (writing), raft_log_open.c (files and term),
 * raft_log_load.c (reading), raft_snapshot.c. */
#pragma once

#include "meta/raft_log.h"

enum {
    RAFT_LOG_BLOCK_BYTES = 4096,
    RAFT_LOG_FRAME_BYTES = 64,  /* Header of a frame. */
    RAFT_LOG_RECORD_BYTES = 24, /* Header of a record. */
    RAFT_LOG_FRAME_BYTES_MAX = 1 << 20,
    RAFT_LOG_VERSION = 1,
    RAFT_LOG_SLOTS = 2,
    RAFT_LOG_SLOT_BYTES = 4096,
    RAFT_LOG_CHECKED_BYTES = 64, /* Of a slot; the header of a snapshot and of a frame. */
    RAFT_LOG_NAME_BYTES = 32,    /* Longest name that we make, and its slash. */
    RAFT_LOG_DIR_BYTES = 4000,
    RAFT_LOG_PATH_BYTES = RAFT_LOG_DIR_BYTES + RAFT_LOG_NAME_BYTES,
};

enum raft_log_kind {
    RAFT_LOG_ENTRY = 1,
    RAFT_LOG_TRUNCATE = 2,
    RAFT_LOG_RESTART = 3,
};

/* What is left free at the end of a file: two blocks by appends, one by truncations, which take the
 * other only if the other file is free then. A restart takes the last, and frees both files. So
 * each of them is followed by a file that is begun anew, and none is ever without room for good.
 */
enum { RAFT_LOG_RESERVE_APPEND = 2 * 4096, RAFT_LOG_RESERVE_TRUNCATE = 4096 };

#define RAFT_LOG_MAGIC      "FLOERAFT"
#define RAFT_TERM_MAGIC     "FLOETERM"
#define RAFT_SNAPSHOT_MAGIC "FLOESNAP"

struct raft_log_file {
    int fd; /* -1: not open. */
    uint64_t generation;
    uint64_t position;   /* Where the next frame goes. */
    uint64_t last_index; /* Of its entries; 0 = it needs no snapshot to be begun anew. */
};

struct raft_log_queue {
    struct raft_log_append *head, *tail;
};

enum raft_snapshot_state {
    RAFT_SNAPSHOT_IDLE,
    RAFT_SNAPSHOT_OPENING,
    RAFT_SNAPSHOT_WRITING,
    RAFT_SNAPSHOT_SYNCING,
    RAFT_SNAPSHOT_CLOSING,
    RAFT_SNAPSHOT_RENAMING,
    RAFT_SNAPSHOT_NAMING,     /* Flushing the directory. */
    RAFT_SNAPSHOT_RESTARTING, /* drop_all: until the log's record is durable. */
    RAFT_SNAPSHOT_CLEANING,
    RAFT_SNAPSHOT_LEAVING, /* The disk is full: close what was begun. */
    RAFT_SNAPSHOT_REMOVING,
};

struct raft_snapshot_work {
    enum raft_snapshot_state state;
    struct raft_log_put *put;
    struct io io;
    int fd;
    uint64_t position;
    uint64_t surplus; /* Index of the third newest, 0 = none. */
    char path[RAFT_LOG_PATH_BYTES], path_new[RAFT_LOG_PATH_BYTES];
};

struct raft_log_store {
    struct reactor *reactor;
    int32_t (*execute)(struct reactor *reactor, struct io *io);
    char dir[RAFT_LOG_DIR_BYTES];
    uint64_t file_bytes, identity;
    int term_fd;
    uint64_t term_counter;
    uint8_t *slot; /* One slot, 4096-aligned. */
    struct raft_log_found found;

    struct raft_log_file files[2];
    uint32_t active;
    uint64_t sequence;      /* Of the next frame. */
    uint64_t index_next;    /* Of the next entry that is appended. */
    uint64_t index_written; /* Of the next entry that is put into a frame. */
    uint64_t bytes_since_snapshot;
    uint8_t *buffer; /* The frame in flight, 4096-aligned. */
    uint32_t buffer_size;
    struct io io;
    bool writing, stalled;
    struct raft_log_queue waiting; /* Not, or not wholly, in a frame. */
    struct raft_log_queue flying;  /* The frame in flight has their last record. */
    struct completion work;

    uint64_t snapshot_index, snapshot_previous; /* Durable; 0 = none. */
    uint64_t snapshot_bad;                      /* Newest, but it does not check; 0 = none. */
    struct raft_snapshot_work snapshot;
    struct completion *stop_done;
    uint32_t stop_closed; /* Descriptors given to the engine for closing. */
};

/* Runs one operation now; the result as `done` would carry it. */
int32_t raft_log_run(struct raft_log_store *store, struct io *io);

/* Into `path` of RAFT_LOG_PATH_BYTES. */
void raft_log_path(const struct raft_log_store *store, const char *name, char *path);

/* `what` happened with file `name`: into `message`, with what the operator can do. Returns `err`.
 */
enum err raft_log_fail(const struct raft_log_store *store, char *message, enum err err,
                       const char *what, const char *name);

/* Of what has its CRC at 12: bytes 0..12 and 16..size. */
uint32_t raft_log_crc(const uint8_t *at, uint64_t size);

/* All names in the directory (malloc), one after the other, and their bytes. */
NODISCARD enum err raft_log_list(struct raft_log_store *store, char **names, uint32_t *bytes,
                                 char *message);

/* Opens `name` now: a descriptor or an err. */
int32_t raft_log_open_file(struct raft_log_store *store, const char *name, uint32_t flags);
void raft_log_close_file(struct raft_log_store *store, int *fd);

/* A wish of the log's own: TRUNCATE, or RESTART at `index`. */
void raft_log_queue_own(struct raft_log_store *store, uint64_t index, bool restart);

/* Writes what waits, blocking; all of it fits a frame. */
NODISCARD enum err raft_log_write_now(struct raft_log_store *store);

void raft_log_work(struct completion *work);

/* Goes on with what waits. */
void raft_log_kick(struct raft_log_store *store);
void raft_log_stop_step(struct raft_log_store *store);

/* What a record means for the files' last_index: an entry in `file`, or a TRUNCATE or RESTART. */
void raft_log_note_entry(struct raft_log_store *store, uint32_t file, uint64_t index);
void raft_log_note_truncate(struct raft_log_store *store, uint64_t index);

NODISCARD bool raft_log_found_add(struct raft_log_found *found, const struct raft_log_entry *entry);
void raft_log_found_cut(struct raft_log_found *found, uint32_t count);
void raft_log_found_clear(struct raft_log_found *found);

/* The two log files behind store->found's snapshot into store->found, positions, sequence. True in
 * *restart: the log does not continue the snapshot and is void. */
NODISCARD enum err raft_log_load(struct raft_log_store *store, bool *restart, char *message);

/* The newest snapshot that checks into store->found; sets snapshot_index and its neighbours. */
NODISCARD enum err raft_snapshot_load(struct raft_log_store *store, char *message);

/* Removes what open does not need: unfinished files, all but the newest two snapshots. */
NODISCARD enum err raft_snapshot_clean(struct raft_log_store *store, char *message);

/* The index in the name of a snapshot; 0: it is no such name. */
uint64_t raft_snapshot_index(const char *name);

/* The RESTART of drop_all is durable. */
void raft_snapshot_restarted(struct raft_log_store *store);
