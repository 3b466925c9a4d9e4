/* The data directory: who owns it, and under which identity. Opened once per start, before anything
 * else, on the metadata core.
 *
 *     data/LOCK         flock by the owning process; text: pid, version
 *     data/superblock   two slots (storage.md A), both written and synced at every start
 *     data/topics/ pool/ quarantine/ meta/ journal/ */
#pragma once

#include "core/reactor.h"

enum { DIRECTORY_MESSAGE_BYTES = 512 };

/* How a directory is opened. A server takes over what a library made; a library leaves a server's
 * to it, but reads it. */
enum directory_mode {
    DIRECTORY_SERVER,
    DIRECTORY_LIBRARY,
    DIRECTORY_READER, /* Anybody's; shares LOCK with other readers, writes nothing at all. */
};

struct directory_options {
    const char *path; /* Created with its subdirectories if missing, unless for a reader. */
    enum directory_mode mode;
    uint32_t node_id;    /* 0: take the directory's, or 1 for a new one. */
    uint32_t segments;   /* Library: how many segment numbers this start reserves. */
    bool existing;       /* Library: not to be made if missing. */
    const char *version; /* Written into LOCK for the operator. */
    uint8_t boot_id[16]; /* The kernel's, zero if unknown. */
};

/* What the superblock says after this start's update. */
struct directory_identity {
    uint8_t directory_id[16], disk_id[16],
        cluster_id[16]; /* cluster_id zero: never in a cluster. */
    uint32_t node_id;
    uint64_t boot;
    bool fresh;    /* Made by this start. */
    bool adopting; /* Server: it was a library's, and directory_adopted() was not heard since. */
    uint64_t segment_next; /* Library: the first of the segment numbers that were reserved. */
};

struct directory;

struct directory_open {
    struct completion done; /* Set fn before. Result: OK or an err, then `message` says it all. */
    struct directory *directory;
    struct directory_identity identity;
    char message[DIRECTORY_MESSAGE_BYTES];
};

/* Errors: ERR_BUSY (locked: names the pid), ERR_FOREIGN (not a floe directory, or a server's for a
 * library), ERR_NOT_FOUND (a reader's, or `existing`, is not there), ERR_VERSION (newer),
 * ERR_DAMAGED (both slots bad), ERR_READ_ONLY, ERR_DENIED, ERR_NO_SPACE, ERR_INVALID (node id
 * differs from the directory's). */
void directory_open(struct directory_open *op, struct reactor *reactor,
                    const struct directory_options *options);

/* Stores the cluster id in both slots, once it is known. */
void directory_join_cluster(struct directory *directory, const uint8_t cluster_id[16],
                            struct completion *done);

/* Stores that the map has all that the library wrote. */
void directory_adopted(struct directory *directory, struct completion *done);

/* Library: reserves `count` more segment numbers, durably. OK: `*first` is the first of them. Else
 * the reason, and the directory hands out none any more. */
void directory_reserve(struct directory *directory, uint32_t count, uint64_t *first,
                       struct completion *done);

/* Releases the lock and frees. `done` fires when the descriptors are closed. */
void directory_close(struct directory *directory, struct completion *done);
