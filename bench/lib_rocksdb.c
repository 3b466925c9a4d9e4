/* RocksDB as a log, in the two forms that serve it best: records as keys by their number with a
 * vector for a memtable (rocksdb), and as blobs that go into the write-ahead log and nowhere else
 * (rocksdb-wal), which can be read only by a recovery. Log files are recycled.
 *
 * A blob-only log file ends when somebody flushes; that is done while no clock runs. */
#include "bench/lib.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROTATIONS = 5, RECYCLED = 4, RECOVER_SKIP_CORRUPTED = 3, KEY_BYTES = 12 };

static struct {
    const struct lib_case *what;
    bool blobs;
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
    rocksdb_flushoptions_t *flush;
    rocksdb_writebatch_t *batch;
    rocksdb_iterator_t *reader;
    uint64_t next, writes;
} rocks;

static void check(const char *what, char *error)
{
    if (error != NULL) {
        lib_fail(what, error);
    }
}

/* Big-endian: partition, then number. */
static void key_of(char *key, uint32_t partition, uint64_t number)
{
    uint32_t high = __builtin_bswap32(partition);
    uint64_t low = __builtin_bswap64(number);
    memcpy(key, &high, sizeof(high));
    memcpy(key + sizeof(high), &low, sizeof(low));
}

static void put(uint32_t partition, uint32_t size, bool as_blob)
{
    const char *value = (const char *)rocks.what->payload;
    if (as_blob) {
        rocksdb_writebatch_put_log_data(rocks.batch, value, size);
        return;
    }
    char key[KEY_BYTES];
    key_of(key, partition, rocks.next++);
    rocksdb_writebatch_put(rocks.batch, key, sizeof(key), value, size);
}

static void commit(void)
{
    char *error = NULL;
    rocksdb_write(rocks.db, rocks.write, rocks.batch, &error);
    check("rocksdb_write", error);
    rocksdb_writebatch_clear(rocks.batch);
    rocks.writes++;
}

static uint64_t append(void)
{
    const struct lib_case *what = rocks.what;
    uint32_t batches = what->partitions * what->in_flight;
    for (uint32_t at = 0; at < batches; at++) {
        for (uint32_t i = 0; i < what->batch; i++) {
            put(at % what->partitions, what->record_bytes, rocks.blobs);
        }
    }
    commit();
    return (uint64_t)batches * what->batch;
}

/* A record in the memtable makes the flush end the log file, which is then kept to be recycled. */
static void rest(void)
{
    char *error = NULL;
    put(0, rocks.what->record_bytes, false);
    commit();
    rocksdb_flush(rocks.db, rocks.flush, &error);
    check("rocksdb_flush", error);
}

static void rewind_reader(void)
{
    if (rocks.reader != NULL) {
        rocksdb_iter_destroy(rocks.reader);
    }
    rocks.reader = rocksdb_create_iterator(rocks.db, rocks.read);
    rocksdb_iter_seek_to_first(rocks.reader);
}

static uint64_t read_some(void)
{
    uint64_t records = 0, sum = 0;
    for (; records < LIB_READ_RECORDS && rocksdb_iter_valid(rocks.reader); records++) {
        size_t size;
        const char *value = rocksdb_iter_value(rocks.reader, &size);
        sum += size + (uint8_t)value[size - 1];
        rocksdb_iter_next(rocks.reader);
    }
    if (sum < records) {
        lib_fail("rocksdb", "a record is empty");
    }
    if (!rocksdb_iter_valid(rocks.reader)) {
        char *error = NULL;
        rocksdb_iter_get_error(rocks.reader, &error);
        check("rocksdb_iter", error);
        rewind_reader();
    }
    return records;
}

static uint64_t step(void)
{
    bool reads = rocks.what->kind == LIB_TAIL || rocks.what->kind == LIB_CATCHUP;
    return reads ? read_some() : append();
}

/* Readers find their records in a memtable that is large enough, or in table files. */
static void preload(void)
{
    for (uint64_t bytes = 0; bytes < rocks.what->preload_bytes;
         bytes += (uint64_t)rocks.what->batch * rocks.what->record_bytes) {
        append();
    }
    if (rocks.what->kind == LIB_CATCHUP) {
        char *error = NULL;
        rocksdb_flush(rocks.db, rocks.flush, &error);
        check("rocksdb_flush", error);
    }
    rewind_reader();
}

/* So many log files that some wait to be used again. Of large
 * records: small ones take minutes. */
static void age(void)
{
    const struct lib_case *what = rocks.what;
    rocksdb_writeoptions_set_sync(rocks.write, 0);
    for (uint32_t rotation = 0; rotation < (what->quick ? 0 : ROTATIONS); rotation++) {
        for (uint32_t i = 0; i < MIB(64) / LIB_PAYLOAD_BYTES_MIN; i++) {
            put(0, LIB_PAYLOAD_BYTES_MIN, rocks.blobs);
            if (i % 16 == 0) {
                commit();
            }
        }
        rest();
    }
}

static void open_db(const struct lib_case *what, bool blobs)
{
    rocks.what = what;
    rocks.blobs = blobs;
    bool reads = what->kind == LIB_TAIL || what->kind == LIB_CATCHUP;
    rocks.options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(rocks.options, 1);
    rocksdb_options_set_recycle_log_file_num(rocks.options, RECYCLED);
    rocksdb_options_set_wal_recovery_mode(rocks.options, RECOVER_SKIP_CORRUPTED);
    rocksdb_options_set_compression(rocks.options, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(
        rocks.options, what->kind == LIB_TAIL ? 2 * what->preload_bytes + MIB(64) : MIB(64));
    rocksdb_options_set_max_write_buffer_number(rocks.options, 6);
    rocksdb_options_set_disable_auto_compactions(rocks.options, 1);
    rocksdb_options_set_level0_slowdown_writes_trigger(rocks.options, 1 << 20);
    rocksdb_options_set_level0_stop_writes_trigger(rocks.options, 1 << 20);
    rocksdb_options_set_use_direct_io_for_flush_and_compaction(rocks.options, 1);
    rocksdb_options_set_use_direct_reads(rocks.options, 1);
    rocksdb_options_set_manual_wal_flush(rocks.options, what->durability == LIB_MEMORY);
    if (!reads) {
        rocksdb_options_set_allow_concurrent_memtable_write(rocks.options, 0);
        rocksdb_options_set_memtable_vector_rep(rocks.options);
    }
    rocks.write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(rocks.write, what->durability == LIB_DISK && !reads);
    rocks.read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_readahead_size(rocks.read, MIB(2));
    rocksdb_readoptions_set_fill_cache(rocks.read, 0);
    rocks.flush = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(rocks.flush, 1);
    rocks.batch = rocksdb_writebatch_create();
    char *error = NULL;
    rocks.db = rocksdb_open(rocks.options, what->dir, &error);
    check("rocksdb_open", error);
    if (reads) {
        preload();
        return;
    }
    age();
    rocksdb_writeoptions_set_sync(rocks.write, what->durability == LIB_DISK);
}

static void open_puts(const struct lib_case *what)
{
    open_db(what, false);
}

static void open_blobs(const struct lib_case *what)
{
    open_db(what, true);
}

static uint64_t drain(void)
{
    return 0;
}

static uint64_t flushes(void)
{
    return rocks.what->durability == LIB_DISK ? rocks.writes : 0;
}

static uint64_t count(void)
{
    if (rocks.blobs) {
        return UINT64_MAX;
    }
    uint64_t records = 0;
    rocksdb_iterator_t *reader = rocksdb_create_iterator(rocks.db, rocks.read);
    for (rocksdb_iter_seek_to_first(reader); rocksdb_iter_valid(reader);
         rocksdb_iter_next(reader)) {
        records++;
    }
    rocksdb_iter_destroy(reader);
    return records;
}

static void close_db(void)
{
    if (rocks.reader != NULL) {
        rocksdb_iter_destroy(rocks.reader);
    }
    rocksdb_writebatch_destroy(rocks.batch);
    rocksdb_close(rocks.db);
    rocksdb_flushoptions_destroy(rocks.flush);
    rocksdb_readoptions_destroy(rocks.read);
    rocksdb_writeoptions_destroy(rocks.write);
    rocksdb_options_destroy(rocks.options);
}

const struct lib_target lib_rocksdb = {
    .name = "rocksdb",
    .open = open_puts,
    .step = step,
    .drain = drain,
    .flushes = flushes,
    .count = count,
    .close = close_db,
};
const struct lib_target lib_rocksdb_wal = {
    .name = "rocksdb-wal",
    .open = open_blobs,
    .step = step,
    .rest = rest,
    .drain = drain,
    .flushes = flushes,
    .count = count,
    .close = close_db,
};
