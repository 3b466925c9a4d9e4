/* What the in-process benchmark asks of a log: of floe, of RocksDB, and of the bare disk. One
 * process measures one case on one log, so that CPU time and bytes are the log's alone. */
#pragma once

#include "core/base.h"

enum lib_kind {
    LIB_APPEND, /* One batch, or one of each partition, waited for. */
    LIB_STREAM, /* Batches to one partition, `in_flight` of them under way. */
    LIB_TAIL,   /* Reads what was appended and lies in memory. */
    LIB_CATCHUP /* Reads what lies on the disk alone. */
};

enum lib_durability { LIB_DISK, LIB_OS, LIB_MEMORY };

/* What is measured. */
struct lib_case {
    enum lib_kind kind;
    enum lib_durability durability;
    uint32_t record_bytes, batch, partitions, in_flight;
    uint64_t preload_bytes; /* Of records, for readers. */
    bool quick;             /* Prepare little, count afterwards: a test, no measurement. */
    const char *dir;        /* Empty. */
    const uint8_t *payload; /* Noise: `record_bytes`, and at least LIB_PAYLOAD_BYTES_MIN. */
};

enum {
    LIB_PAYLOAD_BYTES_MIN = 4096,
    LIB_READ_RECORDS = 1000, /* That one step reads: so long a clock is not looked at. */
};

/* Ends the process with a sentence. */
NORETURN void lib_fail(const char *what, const char *why);

/* A log; every function ends the process if it fails. */
struct lib_target {
    const char *name;
    void (*open)(const struct lib_case *what);
    /* Does one unit of the case's work, waits for it, and says how many records were in it. */
    uint64_t (*step)(void);
    /* Called between steps while no clock runs, after each 64 MiB; may be NULL. */
    void (*rest)(void);
    /* Waits for what is under way; how many records that was. */
    uint64_t (*drain)(void);
    /* Flushes so far, as far as the log can tell; 0. */
    uint64_t (*flushes)(void);
    /* Counts, by reading, the records that were appended; UINT64_MAX: it cannot. */
    uint64_t (*count)(void);
    void (*close)(void);
};

extern const struct lib_target lib_floe, lib_raw, lib_files;
#ifdef FLOE_HAS_ROCKSDB
extern const struct lib_target lib_rocksdb, lib_rocksdb_wal;
#endif
