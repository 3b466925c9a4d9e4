/* What directory.c and directory_update.c share: see directory.c for the states. */
#pragma once

#include "core/io.h"
#include "shard/directory.h"
#include "shard/superblock.h"

enum {
    DIRECTORY_PATH_BYTES = 4096,
    DIRECTORY_NAME_BYTES_MAX = 32, /* Of what we make inside. */
    DIRECTORY_NAMES_BYTES = 4096,
};

enum directory_state {
    DIRECTORY_MAKE,
    DIRECTORY_LIST,
    DIRECTORY_LOCK_OPEN,
    DIRECTORY_LOCK,
    DIRECTORY_BUSY_READ,
    DIRECTORY_LOCK_WRITE,
    DIRECTORY_SUPER_STAT,
    DIRECTORY_SUPER_OPEN,
    DIRECTORY_READ,
    DIRECTORY_WRITE_FIRST,
    DIRECTORY_WRITE_SECOND,
    DIRECTORY_ROOMS,
    DIRECTORY_POOL_LIST,
    DIRECTORY_POOL_UNLINK,
    DIRECTORY_SYNC,
    DIRECTORY_SYNC_PARENT,
    DIRECTORY_FAILED_LOCK,
    DIRECTORY_FAILED_SUPER,
    DIRECTORY_DONE,
};

struct directory {
    struct reactor *reactor;
    struct io io;
    enum directory_state state;
    struct directory_open *op;
    struct directory_options options;
    struct completion *done; /* Of join and close. */
    int lock_fd, super_fd;
    enum err err;
    bool fresh, updating;
    bool furnished;        /* Rooms were found. */
    uint64_t segment_next; /* Of those that were reserved last. */
    uint64_t *reserved;    /* Where directory_reserve() puts it. */
    uint32_t room;
    uint32_t names_at, names_end; /* Of the pool's, not looked at yet. */
    bool swept;                   /* Something of these was unlinked. */
    struct superblock super;
    struct block *block; /* Both slots; also text of LOCK and names. */
    char path[DIRECTORY_PATH_BYTES];
};

static inline bool directory_reads(const struct directory *directory)
{
    return directory->options.mode == DIRECTORY_READER;
}

static inline void directory_go(struct directory *directory, enum directory_state state)
{
    directory->state = state;
    io_submit(directory->reactor, &directory->io);
}

/* directory_update.c */
void directory_write_slot(struct directory *directory, uint32_t slot, enum directory_state state);
void directory_updated(struct directory *directory, enum err err); /* Both slots, or it failed. */
