/* Makes the file of an unsealed segment anew at a start: its sync failed, or a write, and what is
 * read of it may be in a cache alone. Nothing is tried again on the old file but to read it.
 *
 *     CLEAN -> OPEN -> READ -> WRITE -> ... to the end of the file    pool/<id>.new
 *       -> SYNC -> RENAME -> SYNC_PARTITION -> SYNC_POOL              the new one has its name
 *
 * Every byte is where it was, but for the file generation in the header, which is one more: older
 * checkpoints are not about this file. A crash leaves the one or the other, whole. */
#pragma once

#include "core/io.h"
#include "core/reactor.h"

enum { RENEW_PATH_BYTES = 512 };

/* Zero but for what is given. */
struct renew {
    struct completion *done; /* The descriptor of the new file; else there is no safe way on. */
    struct reactor *reactor;
    const char *data_dir, *path; /* Borrowed. */
    uint64_t segment_id;
    uint32_t flags; /* To open the new file with, besides CREATE and EXCLUSIVE. */
    int fd;         /* Of the old file; stays the caller's. */

    /* Inside. */
    struct io io;
    int state, fd_new;
    enum err err;
    uint8_t *bytes;
    uint32_t size; /* Read and not yet written. */
    uint64_t position;
    char path_new[RENEW_PATH_BYTES], directory[RENEW_PATH_BYTES];
};

void renew_start(struct renew *renew);
