/* The log of one core: the partitions that it owns, their files, and the operations on them. One
 * struct shard per data core; everything here runs on that core's reactor. */
#pragma once

#include "core/reactor.h"
#include "shard/request.h"

struct journals;
struct shard;

/* What only the map can decide: seal the open segment (if any) at `end_offset` and, if `open_next`,
 * open the next one. Answered with `done` on this core, after this core's map contains it. */
struct shard_roll {
    struct partition_id partition;
    uint64_t segment_id; /* The open one to seal; 0 = there is none. */
    uint64_t end_offset, digest;
    uint64_t log_start;    /* What the segment knows: the map learns it when it is sealed. */
    int64_t timestamp_max; /* As in segment_info, of the one to seal. */
    uint64_t bytes;
    bool open_next;
    enum durability durability;
    struct segment_info next; /* Out, if open_next. Its base is end_offset. */
    struct completion done;   /* Result: enum err; ERR_NOT_LEADER: the map moved on meanwhile. */
};

/* Tells the map where the log starts: segments before `segment_id` are forgotten, which end at or
 * below log_start. Compared with the map; the same again changes nothing. Answered as a roll is. */
struct shard_trim {
    struct partition_id partition;
    uint64_t segment_id; /* The first that stays. */
    uint64_t log_start;  /* At or above its base. */
    bool raises;         /* No frame says so yet: it is the map's to keep. */
    struct completion done;
};

/* Why a shard cannot go on. */
struct shard_failure {
    const char *what; /* A sentence. */
    const char *file;
    enum err err;
};

struct shard_hooks {
    void *context;
    void (*roll)(void *context, struct shard_roll *roll);
    void (*trim)(void *context, struct shard_trim *trim);
    /* There is no safe way on: from now on nothing is acked, and every request but a RELEASE comes
     * home with ERR_IO; the shard can be stopped and closed. NULL: the process ends, with a line
     * for the operator. Does not call the shard. */
    void (*fail)(void *context, const struct shard_failure *failure);
};

struct shard_options {
    const char *data_dir; /* Borrowed for the shard's life; holds topics/ and pool/ already. */
    struct shard_hooks hooks;
    uint32_t node_id;
    uint32_t boot; /* Boot number from the superblock. */
    uint8_t cluster_id[16], disk_id[16];
    uint32_t partitions_max;     /* Of this core. */
    uint32_t appends_max;        /* Requests in flight. */
    uint32_t retention_check_ms; /* How often segments are looked at that may go; 0: never. */
    uint32_t look_bytes;         /* Of one read for readers; 0: as much as is good. */
    uint64_t readers_bytes_max;  /* What readers may hold; 0: a quarter of the core's memory. */
    uint32_t slice_bytes;        /* What a turn unpacks of large batches; 0: as is good. */
    uint64_t milestone_bytes;    /* How far apart milestones are in a file; 0: as usual. */
    bool direct; /* storage.engine = direct: O_DIRECT where the file system takes it. */
    bool mapped; /* storage.engine = mmap: what is appended is copied into mapped files. */
    /* Segment files that it keeps open: beyond, those that nobody uses are closed. Each open
     * segment has its own, so there may be no more of these than leaves some for readers. 0: as
     * usual, and any number of open segments. */
    uint32_t files_max;
    uint64_t files_limit; /* Of the process, for what the operator is told; 0: not known. */
    /* The journal of this core, as journals.h gives it; id 0: none, every commit is direct. */
    uint64_t journal_id, journal_bytes, journal_bytes_max;
    uint32_t journal_file, journal_core;
    /* What takes over when it fails; id 0: there is none. */
    uint64_t spare_id, spare_bytes;
    uint32_t spare_file;
    struct journals *journals; /* What is known of open segments; NULL: nothing. */
};

NODISCARD enum err shard_open(struct shard **shard, struct reactor *reactor,
                              const struct shard_options *options);

/* Accepts `request` on the owner's core. It ends with request_finish(). Never completes inline. */
void shard_submit(struct shard *shard, struct request *request);

/* Sends a request home (or fires `done` when this is home). */
void request_finish(struct reactor *reactor, struct request *request, enum err err);

/* Whether the partition is here and recovered, so that a request finds it. */
bool shard_serves(struct shard *shard, const struct partition_id *id);

/* On the owner's core: a parked FETCH of this partition comes home with ERR_CANCELED now; nothing
 * happens if it does not wait (any more). */
void shard_cancel(struct shard *shard, struct request *fetch);

/* Ends parked fetches with ERR_CANCELED, commits what is staged, syncs and closes all files; then
 * fires `done`. New appends fail with ERR_NOT_READY. */
void shard_stop(struct shard *shard, struct completion *done);
void shard_close(struct shard *shard); /* After shard_stop(), or before anything was submitted. */

/* On the owner's core, of a partition that is recovered and only read: a whole frame that no file
 * has, of its last segment, whose end is known to be behind it. In order of offsets. ERR_INVALID:
 * it is none, or too large; ERR_NO_MEMORY. */
NODISCARD enum err shard_hold(struct shard *shard, const struct partition_id *id,
                              struct bytes frame);

/* After shard_stop(): all that was acked is in sealed files, nothing in the journal alone. */
bool shard_is_clean(const struct shard *shard);

/* For describing and tests. */
uint32_t shard_partition_count(const struct shard *shard);
