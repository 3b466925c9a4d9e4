/* What check.c (facts), check_read.c (answers), check_log.c (whole logs) and check_file.c share. */
#pragma once

#include "shard/batch.h"
#include "tests/sim/check.h"

enum { CHECK_TEXT_BYTES = 400 };

struct arrival {
    const struct sim_batch *batch;
    uint32_t life;
    uint64_t ms; /* The owner's clock. */
    bool acked, refused, found, faulty;
};

struct fact {
    uint64_t offset, end;
    const struct sim_batch *batch;
    uint32_t life;      /* Of its segment. */
    uint32_t arrival;   /* Which became it. */
    uint64_t append_ms; /* LogAppendTime as first heard of; 0: not yet. */
    uint64_t acked_ms;  /* When a client knew; 0: none does. */
};

/* A record that was to be deleted. */
struct erased {
    uint64_t offset;
    uint64_t told; /* See check_erase_mark(); 0: nobody was told that it is. */
};

struct check_erased {
    const struct sim_batch *batch;
    uint64_t mark;
};

struct check_partition {
    struct erased *erased; /* By offset. */
    uint32_t erased_count, erased_capacity;
    struct arrival *arrivals;
    uint32_t arrival_count, arrival_capacity;
    struct fact *facts; /* By offset. */
    uint32_t fact_count, fact_capacity;
    uint64_t watermark; /* The greatest that anybody was told. */
    uint32_t audited;   /* The last life in which the whole log was read. */
    bool touched, rotten, rotten_open;
    bool rot_covered;                         /* See check_covered(). */
    bool was_rotten; /* While it was open. */ /* See check_rotted(). */
    uint64_t rot_from, rot_end;
    struct check_proof rot_proof; /* While rotten_open. */
    bool loose, lossy; /* See check_ended(): its end is not known; it never was the same since. */
    uint64_t floor;    /* While it is loose: what is there for sure. */
    uint64_t walked;   /* End of the files that were looked at. */
    uint64_t row_ms, row_next; /* Stream id behind the last row there. */
    bool row_unsure;           /* The next one may begin anew. */
    bool row_lost;             /* Files before the next one went without a look. */
    uint64_t start;            /* The greatest that anybody was told. */
    uint64_t start_asked, start_retained;
    bool undone;        /* See check_undone(). */
    uint32_t all_asked; /* Trims of all there is whose outcome is not known, in this life ... */
    bool all_unheard;   /* ... and in an earlier one, until recovery has said it. */
};

struct check {
    const struct sim_map *map;
    const struct disk *disk;
    struct check_counts counts;
    struct sim_batch **batches;
    uint32_t batch_count, batch_capacity;
    struct check_partition **partitions;
    uint32_t partition_count, partition_capacity;
    uint64_t erase_mark;
    uint32_t life;
    bool faulty, failed, settled;
    bool replay_faulty; /* In this life. */
    bool jumped;        /* The wall clock, ever. */
    bool ever_faulty;   /* In this life or an earlier one. */
    char text[CHECK_TEXT_BYTES];
};

/* check.c */
struct check_partition *check_of(struct check *check, uint32_t partition);
void check_fact(struct check *check, const struct sim_batch *batch, uint64_t offset);

/* check_loss.c: if it is loose, its log ends at `end`, and what was behind is gone. */
void check_resolve(struct check *check, uint32_t partition, uint64_t end);

/* check_loss.c: a segment that rotted while it was open is sealed here. Where nothing on the disk
 * proves what rotted, it looks torn: what was not proven is gone. */
void check_resolve_rot(struct check *check, uint32_t partition, uint64_t end_offset);

/* check_loss.c: where a write failed, a segment that is not of `disk` may be sealed without its
 * file being durable, or with an acked batch of `memory` missing: what is gone is damaged then. */
bool check_is_frail(const struct check *check, uint32_t partition);

/* check_log.c: facts from `first` on have no holes between them. */
void check_log(struct check *check, uint32_t partition, uint32_t first);

/* check_trim.c: the log may have lost where it starts, too: only the map's is left for sure, and it
 * starts where it ends at the latest. */
void check_start_loose(struct check *check, uint32_t partition);

/* check_erase.c: was it told before `mark` that this record is deleted; was any asked to be? */
bool check_is_erased(const struct check *check, uint32_t partition, uint64_t offset, uint64_t mark);
bool check_may_be_erased(const struct check *check, uint32_t partition, uint64_t from,
                         uint64_t end);
/* A batch that has not all its records. */
void check_rewritten(struct check *check, uint32_t partition, struct bytes data,
                     const struct batch *parsed, uint64_t mark);

/* check_file.c */
void check_files(struct check *check, uint32_t partition);

/* Somebody was told the append time of a batch, or was given the batch with it. */
void check_append_time(struct check *check, uint32_t partition, uint64_t offset, int64_t ms);

/* The first fact that ends behind `offset`; the count if there is none. */
uint32_t check_fact_at(const struct check_partition *partition, uint64_t offset);
