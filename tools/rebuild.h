/* A new map of a data directory whose map was lost, from its segments: which topics, partitions and
 * segments it has, end to end, as headers, seal blocks and journals say; what is not as it should
 * be, and what is decided about it.
 *
 *     files, walked -> topics -> partitions -> a chain of segments each -> rebuild_write()
 *
 * Planning reads, and writes nothing. */
#pragma once

#include "shard/survey.h"
#include "tools/log_files.h"

/* One partition: its files stand one behind the other. */
struct rebuild_partition {
    size_t at, count; /* Files of the list. */
    const struct log_file *first, *newest;
    uint32_t segments, epoch;
    uint64_t end, log_start;
    const char *finding, *decision; /* What is amiss, and what the map does; NULL: nothing is. */
    bool headless; /* Nobody knows whether segments below the first were deleted, or are lost. */
    bool loss;     /* The map would hide records that are there, or call some of them lost. */
    bool left_out; /* The map does not have its topic. */
};

/* One topic: its partitions stand one behind the other. */
struct rebuild_topic {
    size_t at, count; /* Partitions. */
    const char *name;
    uint64_t created_ms; /* Of its newest file. */
    uint32_t numbers;    /* Partitions that it must have had: one more than the greatest number. */
    uint32_t emptied;    /* Partitions whose folder is there and has no file. */
};

/* What becomes of a file of the list, of the same index. */
struct rebuild_file {
    struct partition_id partition; /* Where it stands; see `placed`. */
    uint64_t segment_id;
    bool placed;   /* Its path is one of a segment. */
    bool strange;  /* Its header is of another segment, or not sound. */
    bool named;    /* The map names it all the same: reads are told of the damage. */
    bool left_out; /* The map does not name it, though its partition is there. */
};

/* A segment of which the journals have a record. */
struct rebuild_told {
    struct partition_id id;
    uint32_t index; /* Of journal_view_segment(). */
    uint64_t *steps;
};

struct rebuild {
    struct log_files list;
    struct rebuild_file *files;
    struct rebuild_partition *partitions;
    struct rebuild_topic *topics;
    size_t partition_count, topic_count;
    struct rebuild_told *told;    /* In order of topic and number. */
    struct rebuild_told *missing; /* Those of them that have no sound file; see below. */
    uint32_t told_count, missing_count;
    uint64_t *steps;      /* Counts what is compared and come by; NULL: nobody asks. */
    struct survey survey; /* What goes into the map. */
    uint64_t segments, findings;
    uint64_t losses;                      /* Of the findings: need --accept-loss. */
    uint64_t segment_next, producer_next; /* Above all that was ever seen, with some to spare. */
};

/* A segment of which the journals have records and that has no sound file, though it was the newest
 * of a partition whose topic is known; false: there are no more. */
bool rebuild_missing(const struct rebuild *rebuild, uint32_t index,
                     struct journal_view_segment *segment);

/* list.files are walked; fills the rest. ERR_NO_MEMORY, ERR_IO: pool/ or quarantine/ cannot be
 * listed. */
NODISCARD enum err rebuild_plan(struct rebuild *rebuild);

/* Behind the plan: topic NAME has N partitions, also if nothing was written to the last of them.
 * CMD_OK, or CMD_USAGE after it has said what is wrong with `text`, which is NAME=N. */
NODISCARD int rebuild_widen(struct rebuild *rebuild, const char *text);

void rebuild_free(struct rebuild *rebuild);

/* --- rebuild_write.c --- */

struct rebuild_writer;

/* Locks the directory `dir`, which must be a server's, and looks at its map: a sound one is left
 * alone, unless `replace`. CMD_OK, or an exit code after it has said why; rebuild_close() in any
 * case. */
NODISCARD int rebuild_open(struct rebuild_writer **writer, const struct cmd *cmd, const char *dir,
                           bool replace);

/* Makes the new map and puts it in the place of meta/, which is kept under another name. Says what
 * it did, or why it did nothing; the exit code. */
NODISCARD int rebuild_write(struct rebuild_writer *writer, struct rebuild *rebuild);

/* Unlocks; NULL is fine. `code`, or another one after it has said why. */
NODISCARD int rebuild_close(struct rebuild_writer *writer, int code);
