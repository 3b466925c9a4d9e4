/* Work on the files of a partition, step by step: what each kind keeps between its steps. Part of
 * shard_internal.h. */
#pragma once

#include "core/io.h"
#include "core/memory.h"
#include "core/timer.h"
#include "shard/milestone.h"
#include "shard/segment.h"
#include "shard/segment_index.h"
#include "shard/shard.h"
#include "shard/walk.h"

enum { DELETE_PLAN_MAX = 8 * DELETE_RECORDS_MAX };

enum { SHARD_PATH_BYTES = 512 }; /* data dir + topics/<32>/<10>/<16>.seg */

struct deleted;
struct producer_table;
struct segment;

struct request_queue {
    struct request *head, *tail;
};

/* Seals, asks the map, makes the next file: see store.c. */
enum roll_state {
    ROLL_IDLE,
    ROLL_DRAIN,
    ROLL_REBUILDING,
    ROLL_SEALING,
    ROLL_ASKING,
    ROLL_CLEAN, /* From here on in the order in which they follow each other. */
    ROLL_TAKE,
    ROLL_OPEN,
    ROLL_ALLOCATE,
    ROLL_WRITE,
    ROLL_SYNC,
    ROLL_MAKE_TOPIC,
    ROLL_SYNC_TOPICS,
    ROLL_MAKE_PARTITION,
    ROLL_SYNC_TOPIC,
    ROLL_RENAME,
    ROLL_SYNC_PARTITION,
    ROLL_SYNC_POOL,
};

struct roll {
    enum roll_state state;
    int fd; /* Valid behind ROLL_OPEN. */
    struct io io;
    struct shard_roll ask;
    struct block *block;
    uint64_t position;  /* Where frames begin in the new file. */
    uint64_t allocated; /* Blocks of it that exist; until it is open: of the pooled file, if any. */
    char path[SHARD_PATH_BYTES], path_new[SHARD_PATH_BYTES];
};

/* Where a segment ends: the frame end and the chain there. */
struct seal_end {
    uint64_t offset, digest;
    uint64_t file_bytes; /* At most so long is the file; 0: not known, or all is wanted back. */
};

/* Writes trailer and seal block of a segment: see seal.c. */
enum seal_state {
    SEAL_SYNC,
    SEAL_TRAILER,
    SEAL_BLOCK,
    SEAL_REST,
};

struct seal {
    struct io io;
    struct segment *segment;
    struct completion *done;
    struct block *block;
    struct segment_seal row;
    uint32_t trailer_bytes; /* Padded. */
    uint64_t file_bytes;    /* As in the end. */
    enum seal_state state;
};

/* Brings a file's facts into memory: see load.c. */
enum load_state {
    LOAD_OPEN,
    LOAD_SYNC,
    LOAD_RENEW,
    LOAD_HEAD,
    LOAD_TRAILER,
    LOAD_INDEX,
    LOAD_PRODUCERS,
    LOAD_SCAN,
    LOAD_HUNT, /* Behind the sound prefix: for evidence that more was durable. */
};

struct load {
    /* OK, for readers also when only a prefix is sound; ERR_NOT_FOUND: no file; ERR_DAMAGED. */
    struct completion *done;
    struct segment *segment;
    struct producer_table *producers; /* Filled too, unless NULL, */
    struct deleted *deleted;          /* and this with it. */
    struct io io;
    struct block *block;
    struct memory_waiter memory;
    enum load_state state;
    bool recover;       /* Of an open segment: sync first, find the end. */
    uint64_t log_start; /* Out: the greatest that the file knows. */
    bool sealed;        /* Out: a valid seal block was found. */
    bool had_file;
    uint32_t buffer_bytes, block_bytes;
    uint64_t read_position;
    struct segment_seal seal;
    struct extent_header index_extent;
    struct milestone milestone; /* What it says. */
    struct segment_index index; /* The segment's, once it is complete. */
    int64_t timestamp_max;
    struct walk walk; /* How far the file is sound. */
    uint64_t hunted;  /* Where the last extent behind that begins, as far as it was looked for. */
    uint64_t target;  /* Readers: how far the file went when it was asked for. */
    uint64_t last_ms, last_seq;
    char path[SHARD_PATH_BYTES];
};

enum recover_state {
    RECOVER_WAITING,
    RECOVER_LOADING,
    RECOVER_SEALING,
    RECOVER_ASKING,
};

struct recover {
    struct completion work;
    struct request *request; /* The ASSIGN; NULL: it is over. */
    enum recover_state state;
    bool reading;     /* The newest file, for the first append. */
    uint32_t segment; /* Being loaded, at a start. */
    struct load load;
    struct seal seal;
    struct seal_end end;
    struct shard_roll ask;
};

/* Raises the log start: see trim.c. */
enum trim_state {
    TRIM_IDLE,
    TRIM_FRAME,
    TRIM_ASKING,
};

struct trim {
    enum trim_state state;
    struct request_queue requests; /* Those whose offset is above the log start. */
    uint64_t wanted;               /* The greatest that was asked for, if above the log start. */
    uint64_t target;               /* FRAME: what the frame carries. */
    bool framed;                   /* FRAME: it is on its way. */
    struct shard_trim ask;
};

/* Files of removed segments go, or come into the pool: see removal.c. */
enum removal_state {
    REMOVAL_IDLE,
    REMOVAL_WAITING, /* For readers to unpin, or for its turn. */
    REMOVAL_RECYCLING,
    REMOVAL_LISTING,
    REMOVAL_SWEEPING,
};

struct removal {
    enum removal_state state;
    struct segment *doomed;
    struct io io;
    struct block *names;
    uint32_t names_at, names_bytes;
    uint64_t oldest; /* Id: what is less is swept. */
    bool swept;
    bool between; /* A file of an empty segment stands between those that the map has. */
};

/* Of all partitions of the core. */
struct retention {
    struct timer timer;
    uint64_t looked_ns, clock_ms; /* When it looked last, by both clocks. */
    bool jumped;
};

struct drop {
    struct request *request;
    struct io io;
    uint32_t segment;
    uint32_t step;
};

/* What the next note says: see delete.c. */
struct delete_plan {
    uint64_t offsets[DELETE_PLAN_MAX]; /* Rising. */
    uint32_t count;
    uint32_t ranges, requests;
    bool sets; /* The last ID, and nothing else. */
    struct stream_id deleted_max;
};

/* Writes to files that one sync makes durable. */
struct flush_group {
    uint64_t domain;              /* Of the first file that had one; others write by themselves. */
    struct list written, syncing; /* extent_write */
    uint64_t bytes;               /* Of `written`. */
    uint32_t count;               /* In both lists. */
    uint32_t flying;              /* Writes that are to be durable, and have not come back. */
    bool hurry;                   /* Somebody waits for one of them. */
    struct io io;
    bool running;
    struct completion work;
    struct timer timer;
};
