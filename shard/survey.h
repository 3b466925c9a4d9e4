/* What the segment files of a data directory say about themselves, without a map: which topics and
 * partitions there are, which segments each has, and where these begin and end. Reads the header
 * and the seal block of each file, in the order of the names; writes nothing, syncs nothing.
 *
 *     topics/<topic id>/<partition>/<segment id>.seg -> header, seal block -> survey_judge()
 *
 * For the map of an owner that keeps none (libfloe), for the adoption of its directory by a server,
 * and for a map that was lost. A file that is no sound segment is a fault; what to do about faults
 * is the caller's to decide. */
#pragma once

#include "core/reactor.h"
#include "shard/segment.h"

enum survey_fault_kind {
    SURVEY_UNREADABLE, /* Opening or reading failed; `err` says how. */
    SURVEY_HEADER,     /* Its header is damaged, foreign or of a newer floe; see `err`. */
    SURVEY_MISPLACED,  /* Its header is of another segment, partition or topic. */
    SURVEY_OVERLAP,    /* Begins before the end of the one before it. */
    SURVEY_GAP,        /* Begins behind the end of the one before it: one in between is missing. */
};

struct survey_fault {
    enum survey_fault_kind kind;
    enum err err;
    struct partition_id partition;
    uint64_t segment_id; /* As the file's name has it. */
};

struct survey_segment {
    /* An open one is the last of its partition, and only recovery knows its end. */
    struct segment_info info;
    uint64_t previous_id, previous_digest, created_ms, log_start;
    uint32_t file_generation;
    bool seal_sound;   /* The file itself says where it ends. */
    bool digest_known; /* Of a sealed one: else `info.digest` is 0. */
};

struct survey_partition {
    struct partition_id id;
    char name[TOPIC_NAME_BYTES_MAX + 1]; /* Of the topic; empty: no sound file. */
    uint32_t epoch;                      /* Greatest of any file, the dropped ones too. */
    uint32_t faults;
    bool end_damaged;       /* For whoever looks for the end: records behind it are lost. */
    uint32_t next_of_topic; /* Of survey_topic_next(). */
    struct survey_segment *segments; /* By base offset. */
    uint32_t segment_count, segment_capacity;
};

/* Of survey_rows.c. */
struct survey_table {
    uint32_t *slots;
    uint32_t size, used;
};

struct survey {
    struct survey_partition *partitions;
    struct survey_fault *faults;
    uint32_t partition_count, partition_capacity;
    uint32_t fault_count, fault_capacity;
    uint64_t files; /* That were looked at. */
    struct survey_table by_id, by_topic;
    uint64_t *steps; /* Counts the rows that look-ups come by; NULL: nobody asks. */
};

enum { SURVEY_DEPTH = 3, SURVEY_NAME_BYTES = 40, SURVEY_PATH_BYTES = 512 };

/* One directory on the way down. */
struct survey_level {
    char name[SURVEY_NAME_BYTES];
    uint32_t at, end, skip; /* In the names at hand; how many were passed over before them. */
    uint32_t count;
    bool more;
};

enum survey_state {
    SURVEY_LISTING,
    SURVEY_OPENING,
    SURVEY_READING,
    SURVEY_CLOSING,
};

/* The walk. `survey` is the caller's and zeroed; survey_free() in any case. */
struct survey_walk {
    struct completion
        done; /* Set fn before. OK, ERR_NO_MEMORY, ERR_INVALID (the path is too long), or why
                               a directory cannot be listed. */
    struct survey *survey;

    /* Inside. */
    struct reactor *reactor;
    const char *data_dir;
    struct io io;
    struct block *block; /* Head of a file, then the names of each level. */
    enum survey_state state;
    enum err err;
    uint32_t depth;
    int fd;
    uint64_t segment_id;
    struct survey_level levels[SURVEY_DEPTH];
    char path[SURVEY_PATH_BYTES];
};

/* Walks data_dir/topics; a directory without topics is an empty survey. `data_dir` is borrowed
 * until `done` fires.
 *
 * Core  the one of `reactor`; holds 256 KiB of MEMORY_RECOVERY meanwhile */
void survey_start(struct survey_walk *walk, struct reactor *reactor, const char *data_dir);

/* For whoever looks at the files by himself: a survey is partitions, in any order, and segments in
 * them; then survey_judge(). NULL, ERR_NO_MEMORY. A partition stays where it is until the next. */
struct survey_partition *survey_add_partition(struct survey *survey, const struct partition_id *id);
NODISCARD enum err survey_add_segment(struct survey_partition *partition,
                                      const struct survey_segment *segment);

/* What the head of a file says; `seal` is its seal block's, or NULL. */
void survey_segment_of(const struct segment_header *header, const struct segment_seal *seal,
                       struct survey_segment *segment);

/* Puts what was found in order and decides where segments end, as a map would have it. Pure; done
 * by survey_start() for each partition.
 *
 *     seal block sound                    sealed at its L
 *     else, a later one follows           sealed at its base; digest of its header if it names it
 *     else                                open
 *     begins where the next one begins    empty: it leaves no trace but its epoch */
NODISCARD enum err survey_judge(struct survey *survey, struct survey_partition *partition);

/* A partition of that id; NULL: none. */
const struct survey_partition *survey_find(const struct survey *survey,
                                           const struct partition_id *id);

/* The partitions of a topic, the one that was added last first; NULL: there are no more. */
const struct survey_partition *survey_topic(const struct survey *survey,
                                            const struct topic_id *topic);
const struct survey_partition *survey_topic_next(const struct survey *survey,
                                                 const struct survey_partition *partition);

const char *survey_fault_text(enum survey_fault_kind kind); /* "cannot be read" */

void survey_free(struct survey *survey); /* Zeroes it. */
