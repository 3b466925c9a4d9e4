/* Puts a new MANIFEST in the place of the old one, so that a crash leaves one of the two. */
#pragma once

#include "core/reactor.h"
#include "shard/manifest.h"

enum manifest_store_state {
    MANIFEST_STORE_UNLINK, /* What an earlier try left. */
    MANIFEST_STORE_OPEN,
    MANIFEST_STORE_WRITE,
    MANIFEST_STORE_SYNC,
    MANIFEST_STORE_READ_BACK,
    MANIFEST_STORE_CLOSE,
    MANIFEST_STORE_RENAME,
    MANIFEST_STORE_SYNC_DIRECTORY,
    MANIFEST_STORE_FAILED,
};

struct manifest_store {
    struct completion done; /* Set fn before. OK or an err: then the old one still stands. */
    struct reactor *reactor;
    const char *data_dir;
    const struct manifest *manifest;
    struct io io;
    enum manifest_store_state state;
    enum err err;
    bool direct;
    int fd;
    uint8_t *image;
    uint32_t image_bytes;
    char path[512], path_new[512];
};

/* `data_dir` and `manifest` are borrowed until `done` fires; its generation is one more than that
 * of the one before. ERR_CORRUPT: what was written reads back as something else. */
void manifest_store(struct manifest_store *store, struct reactor *reactor, const char *data_dir,
                    const struct manifest *manifest, bool direct);
