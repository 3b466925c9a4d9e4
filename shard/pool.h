/* Files of removed segments that wait to become new ones: their blocks exist and are written, so
 * that nobody writes zeros before the records. Internal to shard/.
 *
 *     recycle_file(): STAT -> SPACE -> RENAME to pool/<n> -> SYNC_FROM -> SYNC_POOL -> in the pool
 *                       '--------'--> UNLINK: there is no room, or it is no good
 *     pool_take():    off the list; a roll renames it on: see store.c
 *
 * The map has forgotten the segment before its file comes here. It is taken only when its old name
 * is durably gone: else that name could come back after a power cut, with another segment's bytes.
 *
 * How much a core keeps: no more than it wrote to segments lately, its share of a thirty-second of
 * the disk, POOL_FILES_MAX files, none that nobody wanted for POOL_WINDOW_NS. With less than a
 * thirty-second of the disk free there is no pool, nor behind an orderly stop; at a start the
 * directory removes what a crash left of it. */
#pragma once

#include "core/completion.h"
#include "core/io.h"
#include "core/limits.h"

struct partition;
struct shard;

enum { POOL_FILES_MAX = 16, POOL_DISK_SHARE = 32, POOL_PATH_BYTES = 512 };

#define POOL_WINDOW_NS (UINT64_C(600) * NS_PER_S)

struct pool_file {
    uint64_t number, bytes;
    uint64_t since_ns;
    bool ready;  /* Its old name is durably gone. */
    bool yields; /* To a larger one. */
};

struct file_pool {
    struct pool_file files[POOL_FILES_MAX]; /* Oldest first. */
    uint32_t count;
    uint64_t bytes; /* Of them all. */
    uint64_t next;  /* Number. */
    /* What "lately" is: this window and the one before it. */
    uint64_t window_ns, wrote_now, wrote_before;
    uint64_t disk_bytes; /* Of the file system; 0: not known yet. */
    struct io io;        /* Of who makes it smaller. */
    bool busy, emptying;
    bool looking; /* Retention asks how full the disk is. */
    struct io look;
    struct completion_list waiters; /* For it to be empty. */
    char path[POOL_PATH_BYTES];
};

enum recycle_state {
    RECYCLE_STAT,
    RECYCLE_SPACE,
    RECYCLE_RENAME,
    RECYCLE_SYNC_FROM,
    RECYCLE_SYNC_POOL,
    RECYCLE_UNLINK,
};

/* One file on its way out of a partition. */
struct recycle {
    struct completion *done;
    struct io io;
    enum recycle_state state;
    uint64_t number, bytes;
    char path[POOL_PATH_BYTES], to[POOL_PATH_BYTES];
};

void pool_init(struct shard *shard);

/* The file recycle->path of this partition, which nobody has open, is in the pool or gone when
 * `done` fires, with the result of the operation that counts. Not `sound`: it goes. */
void recycle_file(struct partition *partition, bool sound, struct completion *done);

/* A file of `least` to `most` bytes, the largest, under its path; false: there is none. It is the
 * caller's. */
bool pool_take(struct shard *shard, uint64_t least, uint64_t most, uint64_t *bytes, char *path);

/* So much was written to a segment: it bounds what is kept. */
void pool_wrote(struct shard *shard, uint64_t bytes);

/* Somebody needs the space: `done` fires when the pool has given back what it has. False: it has
 * nothing. */
bool pool_empty(struct shard *shard, struct completion *done);

/* Now and then: drops what is kept for too long, or too much. */
void pool_look(struct shard *shard);

/* At the end; true: it is empty. Else the shard is left when there is less. */
bool pool_stop(struct shard *shard);
