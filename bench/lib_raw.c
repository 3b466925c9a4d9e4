/* What the disk gives to anybody: O_DIRECT writes with RWF_DSYNC into blocks that were written
 * before, of the batch's size rounded up to 4 KiB and nothing around it (raw); and a file for each
 * partition, all written and then flushed once (files). */
#include "bench/lib.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLOTS_MAX = 64, FILES_MAX = 64, CHUNK_BYTES = 1 << 20, READ_BYTES = 256 << 10 };

static struct {
    const struct lib_case *what;
    struct io_uring ring;
    int files[FILES_MAX];
    uint32_t file_count, slots, under_way;
    uint64_t write_bytes, file_bytes, at; /* `at`: where the next transfer begins. */
    uint64_t flushes;
    uint8_t *buffer;
} raw;

static void check(const char *what, bool good)
{
    if (!good) {
        lib_fail(what, strerror(errno));
    }
}

/* Writes each block once, so that no write that is measured changes metadata. */
static int recycled_file(uint32_t number)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/raw-%u", raw.what->dir, number);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0644);
    check(path, fd >= 0);
    for (uint64_t at = 0; at < raw.file_bytes; at += CHUNK_BYTES) {
        check(path, pwrite(fd, raw.buffer, CHUNK_BYTES, (off_t)at) == CHUNK_BYTES);
    }
    check(path, fsync(fd) == 0);
    return fd;
}

static struct io_uring_sqe *next_entry(void)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&raw.ring);
    check("io_uring_get_sqe", entry != NULL);
    return entry;
}

static void wait_one(uint64_t expected)
{
    struct io_uring_cqe *done;
    check("io_uring_wait_cqe", io_uring_wait_cqe(&raw.ring, &done) == 0);
    if (done->res < 0 || (uint64_t)done->res != expected) {
        errno = done->res < 0 ? -done->res : EIO;
        check("raw transfer", false);
    }
    io_uring_cqe_seen(&raw.ring, done);
}

static void begin(bool reads)
{
    while (raw.under_way < raw.slots) {
        if (raw.at + raw.write_bytes > raw.file_bytes) {
            raw.at = 0;
        }
        struct io_uring_sqe *entry = next_entry();
        if (reads) {
            io_uring_prep_read(entry, raw.files[0], raw.buffer, (unsigned)raw.write_bytes, raw.at);
        } else {
            io_uring_prep_write(entry, raw.files[0], raw.buffer, (unsigned)raw.write_bytes, raw.at);
            entry->rw_flags = RWF_DSYNC;
            raw.flushes++;
        }
        raw.at += raw.write_bytes;
        raw.under_way++;
    }
}

static uint64_t step(void)
{
    bool reads = raw.what->kind == LIB_CATCHUP;
    begin(reads);
    check("io_uring_submit", io_uring_submit_and_wait(&raw.ring, 1) >= 0);
    wait_one(raw.write_bytes);
    raw.under_way--;
    if (reads) {
        return raw.write_bytes / raw.what->record_bytes;
    }
    return (uint64_t)raw.what->batch * raw.what->partitions;
}

static uint64_t drain(void)
{
    uint64_t records = 0;
    for (; raw.under_way > 0; raw.under_way--) {
        wait_one(raw.write_bytes);
        records += (uint64_t)raw.what->batch * raw.what->partitions;
    }
    return records;
}

static void open_files(const struct lib_case *what, uint32_t count, uint64_t file_bytes)
{
    raw.what = what;
    raw.file_count = count;
    raw.file_bytes = file_bytes;
    raw.slots = what->in_flight;
    raw.write_bytes = align_up(
        (uint64_t)what->batch * what->record_bytes * (count > 1 ? 1 : what->partitions), 4096);
    uint64_t buffer_bytes = align_up(raw.write_bytes + CHUNK_BYTES, 4096);
    raw.buffer = aligned_alloc(4096, buffer_bytes);
    check("aligned_alloc", raw.buffer != NULL);
    for (uint64_t at = 0; at < buffer_bytes; at++) {
        raw.buffer[at] = what->payload[at % what->record_bytes];
    }
    check("io_uring_queue_init", io_uring_queue_init(2 * SLOTS_MAX, &raw.ring, 0) == 0);
    for (uint32_t number = 0; number < count; number++) {
        raw.files[number] = recycled_file(number);
    }
}

static void open_raw(const struct lib_case *what)
{
    open_files(what, 1, what->quick ? MIB(16) : MIB(256));
    if (what->kind == LIB_CATCHUP) {
        raw.write_bytes = READ_BYTES;
        raw.slots = 4;
    }
}

static void open_each(const struct lib_case *what)
{
    if (what->partitions > FILES_MAX || what->batch * what->record_bytes % 4096 != 0) {
        lib_fail("files", "more than this benchmark can do");
    }
    open_files(what, what->partitions, what->quick ? MIB(1) : MIB(4));
}

/* The flush covers what completed before it began. */
static uint64_t step_each(void)
{
    if (raw.at + raw.write_bytes > raw.file_bytes) {
        raw.at = 0;
    }
    for (uint32_t number = 0; number < raw.file_count; number++) {
        io_uring_prep_write(next_entry(), raw.files[number], raw.buffer, (unsigned)raw.write_bytes,
                            raw.at);
    }
    check("io_uring_submit", io_uring_submit_and_wait(&raw.ring, raw.file_count) >= 0);
    for (uint32_t number = 0; number < raw.file_count; number++) {
        wait_one(raw.write_bytes);
    }
    check("fdatasync", fdatasync(raw.files[0]) == 0);
    raw.at += raw.write_bytes;
    raw.flushes++;
    return (uint64_t)raw.what->batch * raw.what->partitions;
}

static uint64_t flushes(void)
{
    return raw.flushes;
}

static uint64_t count(void)
{
    return UINT64_MAX;
}

static void close_raw(void)
{
    for (uint32_t number = 0; number < raw.file_count; number++) {
        check("close", close(raw.files[number]) == 0);
    }
    io_uring_queue_exit(&raw.ring);
    free(raw.buffer);
}

const struct lib_target lib_raw = {
    .name = "raw",
    .open = open_raw,
    .step = step,
    .drain = drain,
    .flushes = flushes,
    .count = count,
    .close = close_raw,
};
const struct lib_target lib_files = {
    .name = "files",
    .open = open_each,
    .step = step_each,
    .drain = drain,
    .flushes = flushes,
    .count = count,
    .close = close_raw,
};
