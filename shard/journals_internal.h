/* What journals.c and journals_change.c share: see journals.c for the states. */
#pragma once

#include "core/io.h"
#include "shard/journals.h"
#include "shard/manifest_store.h"
#include "shard/replay.h"

enum { JOURNALS_PATH_BYTES = 512 };

enum journals_state {
    STATE_OPEN,
    STATE_LOOK_OPEN, /* No MANIFEST: was there ever a journal? */
    STATE_LOOK_READ,
    STATE_LOOK_CLOSE,
    STATE_HEAD,
    STATE_BODY,
    STATE_BODY_CLOSE,
    STATE_REPLAY,
    STATE_FILE_OPEN,
    STATE_FILE_STAT,
    STATE_FILE_GROW,
    STATE_FILE_CLOSE,
    STATE_SYNC_FILES,
    STATE_STORE,
    STATE_FAILED,
    STATE_DONE,
};

/* What a shard is to be told of an open segment. */
struct journals_known {
    uint64_t segment_id, end;
    bool missing;
    uint32_t file_generation;
    uint64_t index_position;
};

/* One file. */
struct journals_file {
    uint64_t id, bytes; /* Id 0: there is none. */
    uint32_t file;
};

struct journals {
    struct reactor *reactor;
    struct journals_options options;
    struct journals_open *op; /* NULL: closing. */
    struct completion *done;
    struct io io;
    enum journals_state state;
    enum err err;
    int fd;
    struct manifest manifest;
    struct replay replay;
    struct completion replayed;
    struct journals_file *files; /* Of the cores; then the spare of each. */
    uint32_t file_at;
    struct journals_known *known; /* By segment id. */
    uint32_t known_count;
    uint8_t *image;
    uint32_t image_bytes;
    bool without; /* Journals: there was no space for them. */
    struct manifest_store store;
    struct journals_change *changes; /* What cores ask for, oldest first; the first is under way. */
    char path[JOURNALS_PATH_BYTES];
};
