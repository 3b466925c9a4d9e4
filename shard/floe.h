/* libfloe: a durable log of records inside your process, for C and C++.
 *
 *     struct floe *log;
 *     char why[FLOE_MESSAGE_BYTES];
 *     if (floe_open("data", NULL, &log, why, sizeof(why)) != FLOE_OK) ...  puts(why);
 *     struct floe_partition *orders;
 *     floe_partition_open(log, "orders", 0, NULL, &orders);
 *     struct floe_record record = {.value = "hello", .value_size = 5, .timestamp_ms = FLOE_NOW};
 *     uint64_t offset;
 *     floe_append(orders, &record, &offset);      FLOE_OK: the record is on the disk
 *     floe_close(log);
 *
 * A directory holds topics, a topic partitions, and a partition records, numbered by offsets from 0
 * on. One handle writes to a directory; others, of any process, may read it while nobody writes.
 *
 * THREADS. A handle belongs to the thread that opened it, and so does what is opened through it:
 * nothing is shared and nothing is locked; a call from another thread gets FLOE_ERR_THREAD. With
 * options.shared the handle has a thread of its own inside and may be used from any thread; what
 * several threads append at the same time is flushed together. A reader and a struct floe_pending
 * are used by one thread at a time in any case. The library's own threads take no signals (but
 * SIGBUS with options.buffered = 2; what a host's handler of it may do says floe(3)). After
 * fork() the child must not use a handle of its parent.
 *
 * ERRORS. Every function that can fail returns FLOE_OK (0), FLOE_END (1, where it says so) or one
 * of FLOE_ERR_* (< 0). No failure of disk or memory, and no wrong argument, ends the process: NULL
 * where something is needed is FLOE_ERR_INVALID, a handle that was closed FLOE_ERR_CLOSED. (The
 * pointers to handles are names that the library looks up, never addresses that it follows; records
 * and outputs must be what they seem.) Outputs are set only with FLOE_OK, unless said.
 *
 * A file that failed is made anew, and a journal that failed is followed by its spare. When that
 * fails, too, or the disk has no space for what it had promised to hold, the handle is dead: what
 * was appended with FLOE_OK is safe, and every call answers FLOE_ERR_IO, floe_close() too, which
 * closes it all the same. A log line says what failed (floe_set_log()). Opened again, once the disk
 * is sound, the directory is put in order.
 *
 * SIZES are in bytes, times in milliseconds since 1970, UTC. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FLOE_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Results ------------------------------------------------------------------------------- */

enum floe_result {
    FLOE_OK = 0,
    FLOE_END = 1, /* A reader stands at the end; there may be more later. */
    /* The machine. */
    FLOE_ERR_IO = -1,        /* The disk failed. */
    FLOE_ERR_NO_SPACE = -2,  /* The disk is full. */
    FLOE_ERR_NO_MEMORY = -3, /* No memory, or readers hold what options.memory_bytes allows. */
    FLOE_ERR_NOT_FOUND = -5, /* There is no such directory, or no record as late as that. */
    FLOE_ERR_DENIED = -6,    /* The system gives this process no permission. */
    FLOE_ERR_BUSY = -7,      /* Another handle has the directory; the message names its process. */
    FLOE_ERR_READ_ONLY = -8, /* The handle or the file system takes no writes. */
    FLOE_ERR_UNSUPPORTED = -9, /* Not here: io_uring that was asked for, a function to come. */
    FLOE_ERR_TIMEOUT = -10,    /* floe_reader_wait(): nothing came in time. */
    FLOE_ERR_CLOSED = -12,     /* The handle, partition, reader or append is no more. */
    FLOE_ERR_LIMIT = -16,      /* As many as there may be are there already. */
    /* What was asked for. */
    FLOE_ERR_INVALID = -20,       /* An argument. */
    FLOE_ERR_TOO_LARGE = -22,     /* A record or batch; see batch_bytes_max. */
    FLOE_ERR_VERSION = -23,       /* A newer floe wrote it, or the program is newer than this. */
    FLOE_ERR_CORRUPT = -24,       /* A raw batch is malformed or its checksum is wrong. */
    FLOE_ERR_DAMAGED = -25,       /* Stored data is damaged or missing; never passed over. */
    FLOE_ERR_FOREIGN = -26,       /* The directory is not floe's, or a server's. */
    FLOE_ERR_OFFSET_RANGE = -60,  /* Below the first record that is kept, or behind the end. */
    FLOE_ERR_TOPIC_UNKNOWN = -62, /* No such topic or partition, and it was not to be made. */
    FLOE_ERR_TOPIC_INVALID = -64, /* Names are [a-zA-Z0-9._-]{1,249}, not "." or "..". */
    FLOE_ERR_STORAGE = -68,       /* The log cannot be written now; it may be tried again. */
    FLOE_ERR_THREAD = -100        /* A handle of another thread; see options.shared. */
};

/* "FLOE_ERR_IO"; "FLOE_ERR_?" for a number that is none. Static storage, any thread. */
FLOE_API const char *floe_error_name(int result);

/* A sentence without a full stop: "input/output error". Static storage, any thread. */
FLOE_API const char *floe_error_text(int result);

#define FLOE_VERSION_MAJOR 0
#define FLOE_VERSION_MINOR 1

/* Of the library that runs: "0.1.0". Static storage, any thread. */
FLOE_API const char *floe_version(void);

/* Hands each line of the library's own log to `sink`: a segment was opened, a file is damaged. The
 * line ends in '\n' and is gone after the call. NULL: nobody hears them, which is how it begins.
 *
 * Threads  before the first floe_open(); `sink` is called from any of the library's */
FLOE_API void floe_set_log(void (*sink)(void *context, const char *line, size_t size),
                           void *context);

/* ---- Handles ------------------------------------------------------------------------------- */

struct floe;
struct floe_partition;
struct floe_reader;
struct floe_pending;

enum floe_mode {
    FLOE_WRITE = 0,          /* Append and read; the directory is made if it is missing. */
    FLOE_WRITE_EXISTING = 1, /* The same, but FLOE_ERR_NOT_FOUND if it is missing. */
    FLOE_READ_ONLY = 2       /* Of a library's or a server's directory; writes nothing at all. */
};

enum floe_engine {
    FLOE_ENGINE_AUTO = 0, /* io_uring, or else posix. */
    FLOE_ENGINE_URING = 1,
    FLOE_ENGINE_POSIX = 2
};

/* All zero but for `struct_size` is good: FLOE_OPTIONS. */
struct floe_options {
    uint32_t struct_size;    /* sizeof(struct floe_options): what this program knows of. */
    uint32_t mode;           /* enum floe_mode */
    uint32_t engine;         /* enum floe_engine */
    uint32_t shared;         /* 1: usable from any thread. */
    uint32_t buffered;       /* 1: through the page cache instead of O_DIRECT; 2: copied into
                                mapped files, which may raise SIGBUS inside: see floe(3). */
    uint32_t partitions_max; /* That may be open at once; 0 = 10,000. */
    uint64_t memory_bytes;   /* Address space for buffers and cache, touched as use grows; at least
                                64 MiB; 0 = 256 MiB. No batch may be larger than a tenth of it. */
};

#define FLOE_OPTIONS                                                                               \
    {                                                                                              \
        sizeof(struct floe_options), 0, 0, 0, 0, 0, 0                                              \
    }

enum { FLOE_MESSAGE_BYTES = 512 };

/* Opens the data directory at `directory` and recovers nothing yet: that is done per partition.
 *
 * options       NULL: the defaults
 * handle        out; floe_close() it
 * message       out, also on errors: what failed and what to do, or ""; may be NULL
 * message_size  of `message`, FLOE_MESSAGE_BYTES will do
 * Errors        BUSY (the message names the process), FOREIGN, VERSION, DAMAGED, NOT_FOUND, DENIED,
 *               READ_ONLY, NO_SPACE, NO_MEMORY, UNSUPPORTED, LIMIT, INVALID, IO
 * Threads       any; the handle is then this thread's, unless options.shared */
FLOE_API int floe_open(const char *directory, const struct floe_options *options,
                       struct floe **handle, char *message, size_t message_size);

/* Waits for all appends, flushes and closes; what was opened through the handle is closed with it.
 * NULL is fine. With any result but THREAD, INVALID and CLOSED the handle is gone. A shared handle
 * waits for calls of other threads that are under way.
 *
 * Errors   STORAGE, IO: not all could be flushed; records whose append returned FLOE_OK keep the
 *          promise of their durability */
FLOE_API int floe_close(struct floe *handle);

/* Waits until every append so far, of all partitions, is on the disk, whatever its durability.
 *
 * Errors  STORAGE, IO: some are not, and it is not known which */
FLOE_API int floe_sync(struct floe *handle);

/* Drives submitted appends on without waiting for anything. A shared handle needs it not. */
FLOE_API int floe_poll(struct floe *handle);

/* Calls `visit` for each partition that had records when the handle was opened, in no order; ends
 * early if it returns other than 0.
 * `topic` is gone after the call. `visit` must not use the handle. */
FLOE_API int floe_list(struct floe *handle,
                       int (*visit)(void *context, const char *topic, uint32_t partition),
                       void *context);

/* Since the handle was opened. */
struct floe_stats {
    uint32_t struct_size; /* In: sizeof(struct floe_stats). */
    uint32_t partitions;  /* Open ones. */
    uint64_t batches_appended, records_appended, bytes_appended;
    uint64_t commits; /* Groups of appends that were acknowledged together. */
    uint64_t flushes; /* Durable writes and syncs. */
    uint64_t file_reads, file_read_bytes, file_writes, file_write_bytes;
    uint64_t reads, read_bytes; /* Of readers, the cache included. */
    uint64_t segments_rolled;
    uint64_t memory_bytes, memory_used_bytes; /* Touched so far; in use now. */
};

/* Fills `stats`. */
FLOE_API int floe_get_stats(struct floe *handle, struct floe_stats *stats);

/* ---- Partitions ---------------------------------------------------------------------------- */

/* What an append that returned FLOE_OK survives. */
enum floe_durability {
    FLOE_DURABILITY_DISK = 0,  /* Loss of power: it was flushed. */
    FLOE_DURABILITY_OS = 1,    /* The end of the process: it was written. */
    FLOE_DURABILITY_MEMORY = 2 /* Nothing: it is in memory, and written when that suits: a fraction
                                  of a second later, or by the next call on a handle of one thread
                                  that comes later than that. */
};

/* All zero but for `struct_size` is good: FLOE_PARTITION_OPTIONS. */
struct floe_partition_options {
    uint32_t struct_size;     /* sizeof(struct floe_partition_options) */
    uint32_t durability;      /* enum floe_durability, from the next segment on. */
    uint32_t existing;        /* 1: TOPIC_UNKNOWN if there is none, instead of making it. */
    uint32_t batch_bytes_max; /* Of one batch; 0 = a tenth of the memory, at most 64 MiB. */
    uint64_t segment_records; /* A segment file ends at the first of both; 0 = 1,000,000. */
    uint64_t segment_bytes;   /* 0 = 1 GiB */
};

#define FLOE_PARTITION_OPTIONS                                                                     \
    {                                                                                              \
        sizeof(struct floe_partition_options), 0, 0, 0, 0, 0                                       \
    }

/* Opens partition `number` of `topic`, makes it if need be, and recovers it: the end is found where
 * a crash cut it off, and nothing that was acknowledged is given up. It may be open several times;
 * options are taken over then.
 *
 * options    NULL: the defaults, or what it has if it is open
 * partition  out; closed with the handle, or by floe_partition_close()
 * Errors     TOPIC_INVALID, TOPIC_UNKNOWN, DAMAGED (a segment file is missing or is no segment),
 *            LIMIT, INVALID, IO, STORAGE, NO_MEMORY */
FLOE_API int floe_partition_open(struct floe *handle, const char *topic, uint32_t number,
                                 const struct floe_partition_options *options,
                                 struct floe_partition **partition);

/* Forgets the name; readers of it go on. NULL is fine. */
FLOE_API int floe_partition_close(struct floe_partition *partition);

/* The first offset that can be read, and the one behind the last; either may be NULL. */
FLOE_API int floe_partition_offsets(struct floe_partition *partition, uint64_t *start,
                                    uint64_t *end);

/* Takes away the records below `offset`: reading then starts there, also after a crash. Whole
 * segment files go, and `start` tells where it is now; it may be NULL.
 *
 * Errors  OFFSET_RANGE, READ_ONLY, UNSUPPORTED: no record was appended to this partition since the
 *         handle was opened, so there is no file that could say so: append one first */
FLOE_API int floe_truncate_front(struct floe_partition *partition, uint64_t offset,
                                 uint64_t *start);

/* ---- Appends ------------------------------------------------------------------------------- */

#define FLOE_NOW ((int64_t)-1)

struct floe_header {
    const char *name;
    const void *value;
    size_t name_size, value_size;
};

/* To be appended. A key, value or header value that is NULL is null, which is not the same as an
 * empty one; its size is not looked at. */
struct floe_record {
    const void *key, *value;
    size_t key_size, value_size;
    int64_t timestamp_ms; /* FLOE_NOW: the clock's. */
    const struct floe_header *headers;
    size_t header_count;
};

/* Appends one record and waits until it is as durable as the partition's appends are to be.
 *
 * record  borrowed until return
 * offset  out: where it stands; may be NULL
 * Errors  TOO_LARGE, READ_ONLY, NO_SPACE, STORAGE, DAMAGED, NO_MEMORY, INVALID. After STORAGE, IO
 *         or NO_SPACE the record may be there or not: a file whose write failed is never written
 *         again, and the next append begins a new one */
FLOE_API int floe_append(struct floe_partition *partition, const struct floe_record *record,
                         uint64_t *offset);

/* The same of `count` records as one batch: all become durable, or none. `offset`: of the first. */
FLOE_API int floe_append_batch(struct floe_partition *partition, const struct floe_record *records,
                               size_t count, uint64_t *offset);

/* The same of a batch as Kafka's clients make them (RecordBatch v2, compressed or not), stored as
 * it is but for its base offset and leader epoch.
 *
 * Errors  besides: CORRUPT */
FLOE_API int floe_append_raw(struct floe_partition *partition, const void *batch, size_t size,
                             uint64_t *offset);

/* Begins an append and returns; floe_append_wait() ends it. Appends to several partitions that are
 * submitted before the first wait share one round to the disk; those to one partition get offsets
 * in the order of their submission. At most 65,536 may be under way.
 *
 * records  copied before return
 * append   out; floe_append_wait() takes it back, floe_close() too
 * Errors   of what can be told at once: TOO_LARGE, INVALID, LIMIT, NO_MEMORY, READ_ONLY */
FLOE_API int floe_append_submit(struct floe_partition *partition, const struct floe_record *records,
                                size_t count, struct floe_pending **append);

/* Waits for the end of a submitted append; it is gone then. Result and `offset` as of
 * floe_append_batch(). */
FLOE_API int floe_append_wait(struct floe_pending *append, uint64_t *offset);

/* ---- Readers ------------------------------------------------------------------------------- */

#define FLOE_START ((uint64_t)-2) /* As an offset: the first that can be read. */
#define FLOE_TAIL  ((uint64_t)-1) /* As an offset: behind the last. */

/* A record that was read; all pointers are good until the next call with the same reader. */
struct floe_view {
    uint64_t offset;
    int64_t timestamp_ms;
    const void *key, *value;     /* NULL: there is none. Not NULL if just empty. */
    size_t key_size, value_size; /* 0 with NULL. */
    size_t header_count;         /* See floe_reader_header(). */
};

/* Opens a reader that stands at `offset`, beside the writer of the same handle.
 *
 * reader  out; closed with the handle, or by floe_reader_close()
 * Errors  OFFSET_RANGE, NO_MEMORY, LIMIT */
FLOE_API int floe_reader_open(struct floe_partition *partition, uint64_t offset,
                              struct floe_reader **reader);

/* NULL is fine. */
FLOE_API int floe_reader_close(struct floe_reader *reader);

/* The next record. Compressed batches are opened; control records are passed over. A reader within
 * the log holds up to 256 KiB, or one batch, of the handle's memory.
 *
 * Returns  FLOE_END at the end: the same call gives the next record once there is one
 * Errors   DAMAGED (the reader stays where it is), OFFSET_RANGE (the records were taken away),
 *          NO_MEMORY (too many readers hold memory), IO, STORAGE */
FLOE_API int floe_reader_next(struct floe_reader *reader, struct floe_view *view);

/* Header `number` (0-based) of the record that floe_reader_next() gave last. NOT_FOUND: it has no
 * so many. */
FLOE_API int floe_reader_header(struct floe_reader *reader, size_t number,
                                struct floe_header *header);

/* Waits until there is a record to read, at most `timeout_ms`, < 0: for ever. In a handle that is
 * not shared nobody appends meanwhile, but appends that were submitted come to their end.
 *
 * Errors  TIMEOUT; CLOSED: the handle was closed meanwhile */
FLOE_API int floe_reader_wait(struct floe_reader *reader, int64_t timeout_ms);

/* Stands at `offset` from now on. OFFSET_RANGE leaves the reader where it was. */
FLOE_API int floe_reader_seek(struct floe_reader *reader, uint64_t offset);

/* Stands at the first record whose time is `timestamp_ms` or later. NOT_FOUND: there is none, and
 * the reader stays where it was. */
FLOE_API int floe_reader_seek_time(struct floe_reader *reader, int64_t timestamp_ms);

/* The offset of the record that comes next. */
FLOE_API int floe_reader_offset(struct floe_reader *reader, uint64_t *offset);

#ifdef __cplusplus
}
#endif
