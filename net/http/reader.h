/* What GET records and the stream share: which partition, from where, and a look at its records.
 *
 *     http_reader_begin() -> http_reader_seek() -> http_reader_read() -> http_reader_measure()
 *                                                       ^   -> encode -> log_release() -+
 *                                                       +-------------------------------+ */
#pragma once

#include "net/http/http.h"
#include "net/log.h"
#include "net/records.h"

enum {
    HTTP_READ_BYTES = 1 << 20,   /* Of a look, unless one batch is larger. */
    HTTP_EVENTS_BYTES = 4 << 20, /* Of what is made of it, unless one record is larger. */
    HTTP_COUNT_DEFAULT = 100,
    HTTP_COUNT_MAX = 10000,
    HTTP_WAIT_MS_MAX = 60000,
};

enum http_from {
    HTTP_FROM_START,
    HTTP_FROM_END,
    HTTP_FROM_OFFSET,
    HTTP_FROM_LAST, /* -N */
    HTTP_FROM_TIME, /* @MS */
};

struct http_reader {
    struct http_op *op;
    struct completion *done; /* Of the seek. */
    enum http_from from;
    uint64_t from_number;
    struct partition_id partition;
    struct request request;
    uint64_t start;  /* Of the log, as the seek found it. */
    uint64_t offset; /* Where the next look begins. */
    bool reading;
    struct log_read read;
    struct block *room; /* For what is compressed. */

    /* Of a measured look: so many records, so many bytes, and where the next one begins. */
    uint32_t count;
    uint64_t bytes;
    uint64_t next;
};

/* How a record is written. */
typedef void http_record_fn(struct http_writer *writer, const struct records_entry *entry);

/* Reads partition and from of the query; `fallback` if there is no from. False: refused. */
NODISCARD bool http_reader_begin(struct http_reader *reader, struct http_op *op,
                                 const char *fallback);

/* Finds reader->offset; `done` is fired with OK or an err. */
void http_reader_seek(struct http_reader *reader, struct completion *done);

/* Looks, as log_read(); fn gets &reader->read.done. */
void http_reader_read(struct http_reader *reader, uint64_t wait_ms, completion_fn *fn);
void http_reader_cancel(struct http_reader *reader);

/* How many of the records there are fit: at most `count`. ERR_NO_MEMORY: op->call->memory_wanted
 * bytes for a compressed batch; call it again. ERR_NOT_FOUND: none. Else what records_next() said
 * of the first. */
NODISCARD enum err http_reader_measure(struct http_reader *reader, uint32_t count,
                                       http_record_fn *put);

/* Writes what was measured. */
void http_reader_put(const struct http_reader *reader, http_record_fn *put,
                     struct http_writer *writer);

/* The first measured record; it is there. */
void http_reader_first(const struct http_reader *reader, struct records_entry *entry);

/* {"offset":..,"timestamp":..,"key":..,"value":..,"headers":[..]} */
void http_put_record(struct http_writer *writer, const struct records_entry *entry);

/* The room; what was read is released by its owner. */
void http_reader_end(struct http_reader *reader);
