/* The journals of a data directory, and what the last life left in them. Opened once per start,
 * behind the directory and before any shard: what a crash left in journals is then in the files,
 * and each core has a journal of its own, of which the MANIFEST speaks.
 *
 *     LOAD the MANIFEST -> replay -> a file per core, and a spare one -> MANIFEST.tmp, sync, read
 *       back, rename
 *     a journal fails -> what it pinned goes into the files -> MANIFEST with the spare */
#pragma once

#include "core/reactor.h"
#include "shard/segment_record.h"
#include "shard/shard.h"

enum { JOURNALS_MESSAGE_BYTES = 640 };

#define JOURNALS_BYTES_MAX_TOTAL GIB(1)

struct journals;

struct journals_options {
    const char *data_dir; /* Borrowed until closed. */
    uint8_t directory_id[16];
    uint32_t boot, core_count;
    uint64_t bytes, bytes_max; /* Of one journal: when it is made, and at most. 0: as usual. */
    bool direct;               /* As shard_options.direct. */
    /* Whether the map has the segment open. What MANIFEST knows of one that is not, and that has no
     * file either, is of no use any more: retention took it, or its topic was deleted. NULL: no map
     * is there to be asked, all stays. */
    bool (*is_open)(const void *context, const struct segment_record *record);
    const void *context;
};

struct journals_open {
    struct completion done; /* Set fn before. Result: OK or an err, then `message` says it all. */
    struct journals *journals;
    char message[JOURNALS_MESSAGE_BYTES];
    /* What it took. */
    uint64_t bytes_read, bytes_written, frames, segments;
};

void journals_open(struct journals_open *op, struct reactor *reactor,
                   const struct journals_options *options);

/* Fills what a shard needs of them. */
void journals_assign(struct journals *journals, uint32_t core, struct shard_options *options);

/* A core's wish, for the MANIFEST to say something else. */
enum journals_wish {
    JOURNALS_SPARE,  /* That the core goes on with its spare journal, and not with the old one. */
    JOURNALS_FAILED, /* That the sync of an unsealed segment's file failed... */
    JOURNALS_MENDED, /* ...and that it was made anew since. */
};

struct journals_change {
    struct completion done; /* On the core. OK: the MANIFEST says so. */
    enum journals_wish wish;
    struct mail mail;
    struct reactor *home;
    struct journals *journals;
    struct journals_change *next;
    uint32_t core;                /* Of the spare. */
    struct segment_record record; /* Of the segment. */
    enum err err;
};

/* From the reactor of the core. Nothing is needed any more of its old journal: all that it pinned
 * is in the files, as durable as it has to be. Either journal may count after an error. */
void journals_use_spare(struct journals_change *change, struct journals *journals,
                        struct reactor *home, uint32_t core);

/* From the reactor of a core. FAILED: before the file is made anew: else a start behind a crash
 * believes what only a cache has, because its own sync succeeds. `record` says which segment it is;
 * of what the MANIFEST knows already the mark alone changes. */
void journals_mark(struct journals_change *change, struct journals *journals, struct reactor *home,
                   enum journals_wish wish, const struct segment_record *record);

/* All shards have stopped. `clean`: each says so, see shard_is_clean(); then the MANIFEST names no
 * journal, and the next start reads none. Frees. */
void journals_close(struct journals *journals, bool clean, struct completion *done);

/* Of any core: is more known of an open segment than its file says? *end: so much was durable, or
 * may have been; *missing: there was a file. */
bool journals_evidence(const struct journals *journals, uint64_t segment_id, uint64_t *end,
                       bool *missing);

/* Where in its file, if that is of this generation, the index extent of a milestone stands before
 * which all is durable; 0: of none it is known. */
uint64_t journals_milestone(const struct journals *journals, uint64_t segment_id,
                            uint32_t file_generation);
