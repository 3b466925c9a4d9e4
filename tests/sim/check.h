/* What must be true of every partition's log, and what is known of it so far.
 *
 *     arrival   a batch reached the owner's core, in this order, in this life
 *     fact      a batch stands at an offset: it was acked, or a reader was given it. Either way it
 *               is there for ever, byte for byte
 *
 * Every fact is held against the others and against the map when it is learned: no batch that was
 * never submitted, none twice that came once, order of arrival, the epoch of its segment, and only
 * batches of the life that opened the segment. When a log was read from start to end (an audit), it
 * has no holes, and what arrived in an earlier life is there as a prefix. Where it starts only
 * rises, and no further than somebody asked for or the topic retains. The first contradiction is
 * kept; the rest is not looked at. */
#pragma once

#include "tests/sim/sim_map.h"

/* A batch that a client made; it may be submitted more than once. */
struct sim_batch {
    uint64_t number;
    uint32_t partition, size, records;
    bool idempotent;
    enum err wrong; /* What the broker must answer; it never is there. OK: nothing is wrong. */
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t sequence;
    int64_t timestamp; /* Of the first record; +1 each. */
    uint8_t *data;     /* As submitted. */
};

struct check;

struct check_counts {
    uint64_t acked;      /* Batches acked for the first time. */
    uint64_t read;       /* Batches that readers were given. */
    uint64_t saved;      /* Facts about batches that were never acked. */
    uint64_t lost;       /* Arrived, never acked, gone after a crash. */
    uint64_t duplicate;  /* Acks of batches that were known to be there. */
    uint64_t rotten;     /* Segments that may be damaged. */
    uint64_t healed;     /* And were completed from the journal. */
    uint64_t unread;     /* Or sealed, since nothing had to be read there. */
    uint64_t milestones; /* Went bad. */
    uint64_t retained;   /* Times that retention moved the start of a log. */
    uint64_t strays;     /* Of these, where a write of elsewhere landed. */
    uint64_t erased;     /* Records that were told to be deleted. */
    uint64_t rewritten;  /* Batches that were read without some of their records. */
    uint64_t shed;       /* Known to be there, and gone after a crash as their topic allows. */
};

/* Both are borrowed. */
struct check *check_create(const struct sim_map *map, const struct disk *disk);
void check_destroy(struct check *check);

/* The first contradiction, or NULL. */
const char *check_failure(const struct check *check);
void check_fail(struct check *check, const char *format, ...) PRINTF_LIKE(2, 3);

const struct check_counts *check_counts(const struct check *check);

/* A new life: what is under way is unknown from here on. */
void check_life(struct check *check, uint32_t life);

/* The life ended. A topic with durability `os` may have lost the end of its log to a power cut, one
 * with `memory` to any crash; how much, the next answer or seal says. Where a write failed, a stop
 * is no better. */
void check_ended(struct check *check, bool crashed, bool power_cut);

/* Its log may have lost its end since the batches of producers were acked. */
bool check_is_lossy(const struct check *check, uint32_t partition);

/* Faults were injected or asked for in this life: an append that came after a failed one may have
 * been taken. */
void check_life_is_faulty(struct check *check);

/* They were before the journals were replayed: a file that could not be completed then is damaged
 * for this life, and its log seems to end there. */
void check_replay_is_faulty(struct check *check);

/* The wall clock is not what it was. */
void check_clock_jumped(struct check *check);

/* Nothing is appended from here on: recovery has to find the same again. */
void check_settle(struct check *check);

/* Takes over `batch->data`. The batch lives as long as `check`. */
const struct sim_batch *check_batch(struct check *check, const struct sim_batch *batch);

/* At the owner's core, whose clock says `ms`; the arrival's number. */
uint32_t check_arrived(struct check *check, const struct sim_batch *batch, uint64_t ms);
void check_refused(struct check *check, const struct sim_batch *batch, uint32_t arrival);

/* At the client, whose clock says `ms`. */
struct check_ack {
    const struct sim_batch *batch;
    uint64_t offset, ms;
    int64_t append_ms; /* -1: none. */
};

void check_acked(struct check *check, const struct check_ack *ack);
/* End of what is known to be there. */
uint64_t check_end(const struct check *check, uint32_t partition);

/* Somebody was told this high watermark; it was asked for when `end` was known. */
void check_watermark(struct check *check, uint32_t partition, uint64_t watermark, uint64_t end);

/* Whole batches from a fetch at *offset, which moves behind them; `mark`: when it was asked for. */
void check_fetched(struct check *check, uint32_t partition, struct bytes data, uint64_t mark,
                   uint64_t *offset);

/* Offsets of records to be deleted, of a batch that is known to be there; how many. */
uint32_t check_erase_pick(const struct check *check, uint32_t partition, struct prng *prng,
                          uint64_t *offsets, uint32_t max);
/* A client asks for it: from here on it may come true. Its answer. */
void check_erase_asked(struct check *check, uint32_t partition, uint64_t offset);
void check_erase_answered(struct check *check, uint32_t partition, uint64_t offset);
uint64_t check_erase_mark(const struct check *check); /* Of all answers so far. */

/* The map seals the open segment here; `late`: it did in an earlier life. */
void check_sealed(struct check *check, uint32_t partition, uint64_t end_offset, bool late);

/* A file of this partition rotted: from here on [from, end) may be damaged, if that is not empty.
 * `open`: the segment is not sealed, so that it must not be sealed any more. */
void check_rotted(struct check *check, uint32_t partition, uint64_t from, uint64_t end, bool open);

/* ... and only so much of it is proven: what is behind may be cut as a torn tail is. */
struct check_proof {
    uint64_t segment_id, position; /* The extent that rotted. */
    uint64_t wanted;               /* Nothing may be cut if so much is proven... */
    uint64_t proven;               /* ...but this much is. */
};

void check_proven(struct check *check, uint32_t partition, const struct check_proof *proof);
/* NULL: nothing is rotten there that could be cut. */
struct check_proof *check_proof(struct check *check, uint32_t partition);
/* ... before a milestone: a start need not read there, and may seal the segment as it is. */
void check_covered(struct check *check, uint32_t partition);
/* A milestone of it did, which no record depends on. */
void check_milestone_rotted(struct check *check, uint32_t partition);
void check_strayed(struct check *check); /* ... by a write that was meant for elsewhere. */
bool check_is_touched(const struct check *check, uint32_t partition);
bool check_is_rotten(const struct check *check, uint32_t partition);

/* May a read at `offset` say that it is damaged? Then *end is where damage ends. */
bool check_may_be_damaged(const struct check *check, uint32_t partition, uint64_t offset,
                          uint64_t *end);

/* The map is what it was before: the log starts where it says, and what was
 * removed since is missing. */
void check_undone(struct check *check, uint32_t partition);

/* The files were surveyed before anybody opened them. */
struct survey;
void check_surveyed(struct check *check, const struct survey *survey);

/* The inode of a segment's file, or ERR_NOT_FOUND. */
int32_t check_file_find(const struct disk *disk, const struct sim_map_partition *partition,
                        const struct segment_info *segment);

/* Where the log starts: at least there, as somebody was told or must be; and at most. Above it
 * everything must be there, below it nothing may. */
uint64_t check_start(const struct check *check, uint32_t partition);
/* May it start earlier again? What a damaged file said of it is in no other place. */
bool check_start_is_lost(const struct check *check, uint32_t partition);
uint64_t check_start_most(const struct check *check, uint32_t partition);

/* A client asks for a trim, from here on it may come true: TRIM_ALL or an offset. Its answer. */
void check_trim_asked(struct check *check, uint32_t partition, int64_t offset);
void check_trim_answered(struct check *check, uint32_t partition, int64_t offset);

/* Somebody was told where the log starts; it was asked for when `known` was known. */
void check_started(struct check *check, uint32_t partition, uint64_t log_start, uint64_t known);

/* What was asked for in earlier lives has come true or never will. */
void check_recovered(struct check *check, uint32_t partition);

/* The map is told where the log starts: nobody asked for more, or the topic retains no more. */
void check_trimmed(struct check *check, uint32_t partition, uint64_t log_start, uint64_t ms);

/* The log was read from `start`, where it starts, to `end`, which is at least what recovery had
 * found. */
void check_audited(struct check *check, uint32_t partition, uint64_t start, uint64_t end);

/* The greatest time in one of the batches that are there, as drawn; 0: there is none. */
int64_t check_some_time(const struct check *check, uint32_t partition, struct prng *prng);

/* An answer to a look-up by time, asked when `start` and `end` were known; offset -1: none. */
struct check_lookup {
    uint32_t partition;
    uint64_t start, end, mark;
    int64_t wanted; /* Or OFFSETS_MAX_TIMESTAMP. */
    int64_t offset, timestamp;
    int32_t epoch;
};

void check_looked_up(struct check *check, const struct check_lookup *lookup);
