/* What the files of the engine share with each other, and with nobody else.
 *
 *     shard -> partition -> segments, oldest first; at most the last one is open and has a writer
 *                        -> waiting | staged | parked | duplicates: FIFOs of requests
 *           -> tail cache: the blocks of recent commits, oldest first
 *           -> readers: fetches and look-ups that need a file
 *
 * Offsets of an open segment: high watermark <= submitted_end <= offset_next. In a `disk` segment
 * the high watermark is its durable_end, the others are durable to their base until the seal. */
#pragma once

#include "core/io.h"
#include "core/limits.h"
#include "core/list.h"
#include "core/reactor.h"
#include "shard/batch.h"
#include "shard/deleted.h"
#include "shard/frame.h"
#include "shard/journal.h"
#include "shard/judge.h"
#include "shard/look.h"
#include "shard/milestone.h"
#include "shard/pool.h"
#include "shard/producer.h"
#include "shard/segment.h"
#include "shard/segment_index.h"
#include "shard/shard.h"
#include "shard/shard_work.h"
#include "shard/trailer.h"

enum {
    SHARD_BUCKETS = 4096,          /* Of the table of partitions. */
    SHARD_READERS = 64,            /* File reads at once: bounds buffers to 16 MiB. */
    SHARD_FILES_MAX = 128,         /* Open files, where nobody says how many. */
    SHARD_FILES_IDLE_MIN = 4,      /* Of them may always stay open, though nobody uses them. */
    SHARD_RECOVERIES_MAX = 4,      /* Each holds a scan buffer. */
    TAIL_FRAMES_MAX = 16384,       /* Frames in the tail cache. */
    COMMITS_MAX = 2,               /* In flight per segment (design.md, section 5). */
    EXTENTS_MAX = 4,               /* Writes to one file in flight. */
    ALLOCATE_BYTES_MIN = 64 << 10, /* First step of blocks written ahead. */
    ALLOCATE_BYTES_MAX = 8 << 20,  /* Largest step. */
    TRAILER_RESERVE_BYTES = 4 * DISK_BLOCK_BYTES, /* Kept free for the trailer of a small file. */
};

struct partition;
struct shard;

/* One frame in memory, in the block that was written. */
struct tail_frame {
    struct list in_shard, in_partition;
    struct block *block;
    struct partition *partition;
    uint64_t offset_first, offset_end;
    uint32_t frame_at, frame_bytes; /* The frame in the block, padded to 8. */
    uint32_t data_at, data_size;    /* Its batches in the block. */
    int64_t timestamp_max;
    bool pinned;          /* Not in its file yet: the only copy in memory, served from here. */
    bool gathered;        /* See gather.c. */
    bool counted;         /* Its block is, as held; see tail_hold(). */
    uint64_t journal_seq; /* The live block that holds it; 0: none. */
};

enum commit_state {
    COMMIT_FREE,
    COMMIT_WRITING,
    COMMIT_WRITTEN, /* Waits for the commits before it. */
};

/* One frame on its way: into the journal or, with all that is pinned before it, into its file. */
struct commit {
    struct partition *partition;
    enum commit_state state;
    enum err err;
    bool in_journal;          /* A block that holds it is on its way. */
    struct list journal_node; /* In that block's list. */
    struct tail_frame *frame;
    struct request_queue requests;
    uint64_t offset_first, offset_end, chain_end, started_ns;
    int64_t timestamp_max;
    uint64_t log_start;       /* As its frame says. */
    struct stream_id last_id; /* Of its newest record. */
    bool acked;               /* When it was submitted. */
    struct bytes note;        /* Its body, if it is one, */
    struct block *note_block; /* and what that stands in. */
};

/* One write to the file of a segment: frames in offset order, on fresh blocks. */
struct extent_write {
    struct io io;
    struct partition *partition;
    bool ended;
    bool chunk;             /* Written back. */
    bool durable;           /* Is to be when it ends, */
    bool grouped;           /* by a sync that it shares: see flush_group.c; */
    bool hurried;           /* soon, for somebody waits. */
    struct list group_node; /* Waits for that one. */
    struct commit *commit;  /* Else the one whose frame stands last. */
    const uint8_t *last;    /* The frame that stands last, in `block`. */
    enum err err;
    struct block *block;
    uint64_t position, offset_first, offset_end, chain, chain_end, ms, seq;
    int64_t timestamp_max;
    uint32_t size, frames;
    uint64_t index_position; /* A milestone: where its index extent stands. 0: frames. */
};

/* One file. Pinned while a reader or writer uses the descriptor. */
struct segment {
    struct partition *partition;
    struct segment_info info;
    struct list lru; /* In shard->files while open and unpinned. */
    int fd;          /* -1: not open. */
    int fd_before;   /* Of the file before a rebuild, which readers may use; -1: none. */
    uint32_t file_generation;
    uint64_t flush_domain; /* While it is written: see io.open.flush_domain. */
    uint32_t pins;
    bool file_made; /* By this life's roll: the file is in place and durable, and has a writer. */
    bool loaded;    /* The index is complete, or reaches to valid_end. */
    bool damaged;
    uint64_t valid_end; /* Damaged: nothing from here on can be read. */
    enum err told;      /* What the operator was told last. */
    bool spoiled;       /* A write or sync of the file failed: nothing else is written there. */
    bool doomed;        /* Removed: off the partition's list. */
    struct segment *doomed_next;
    struct list looks;        /* Of its file, by position. */
    struct look *look_recent; /* One of them: searches begin there. */
    struct segment_index index;
    int64_t timestamp_max; /* INT64_MIN: no record, or not loaded. */
    uint64_t position_end; /* Behind the last frame. */
    /* What the file has, durable in a `disk` segment; frames from file_end on are in memory.
     * UINT64_MAX: all that there is. */
    uint64_t file_end, file_chain;
    uint64_t index_position; /* Of the last milestone that the file has; 0: none. */
    uint64_t record_seq;     /* The journal's block with its newest record; 0: none. */
    struct list record_node, dirty_node;
};

/* What stands in the file at times, for restarts: see milestone_write.c. */
struct milestone_plan {
    uint64_t due; /* The position of the file from which on the next one is. */
    bool planned;
    uint64_t offset;    /* Planned: no frame of it goes before it. */
    uint8_t *producers; /* Their rows as of there. */
    uint32_t producers_bytes;
    /* What header and submitted frames of the file say: */
    uint64_t log_start, last_ms, last_seq;
};

/* Of the open segment only. */
struct writer {
    uint64_t position;      /* Where the next extent goes. */
    uint64_t allocated_end; /* Blocks below exist. */
    uint64_t allocate_step;
    uint64_t submitted_end;  /* Offset behind the last commit submitted. */
    uint64_t journaled_end;  /* Offset behind the last one that the journal took. */
    uint64_t chain;          /* Behind the last commit submitted. */
    uint64_t durable_chain;  /* Behind the last one acked. */
    uint64_t records, bytes; /* Staged since the segment began. */
    uint32_t head, tail;     /* Commits [head, tail) are in flight, modulo COMMITS_MAX. */
    struct commit commits[COMMITS_MAX];
    uint32_t extent_head, extent_tail; /* Writes to the file, modulo EXTENTS_MAX. */
    struct extent_write extents[EXTENTS_MAX];
    struct tail_frame *pinned;    /* The first pinned frame; NULL: none. */
    struct tail_frame *unwritten; /* The first one that no write to the file holds; NULL: none. */
    uint64_t unwritten_bytes;     /* Of it and all behind it. */
    uint64_t unwritten_blocks;    /* What they take in the file if each is written alone. */
    struct block *gather;         /* Takes the next frames, see gather.c; NULL: none. */
    uint32_t gather_used;
    uint32_t gather_bytes; /* Size of the next block. */
    bool gather_old;       /* The block was there at the last tick. */
    struct block *slab;    /* Small frames for the journal share blocks, too; NULL: none. */
    uint32_t slab_used;
    struct milestone_plan milestone;
    struct io allocate;
    bool allocating;
    bool failed;    /* A write failed: this file takes nothing more. */
    bool broken;    /* So did a commit: those behind it fail, too. */
    bool rebuilt;   /* It failed, and another file has all that was acked: see rebuild.c. */
    bool mending;   /* It failed, and a roll was begun for that. */
    bool seal_done; /* Trailer and seal block were tried. */
};

struct partition {
    struct shard *shard;
    struct partition *next; /* In its bucket. */
    struct partition_id id;
    char name[TOPIC_NAME_BYTES_MAX + 1];
    struct partition_config config;
    uint32_t epoch; /* As assigned; see partition_epoch(). */
    struct segment **segments;
    uint32_t segment_count, segment_capacity;
    uint64_t log_start, high_watermark, offset_next;
    struct stream_id last_id;         /* Of the newest record in a frame; 0-0: none yet. */
    struct stream_id acked_id;        /* And of the newest that was acked. */
    struct producer_table *producers; /* NULL until the first one. */
    struct deleted deleted;           /* As of what was acked. */
    struct request_queue deletes;     /* And SET_LAST: wait for a frame; see delete.c. */
    bool delete_flying;               /* One is on its way. */
    struct request_queue waiting, staged, parked, duplicates;
    struct head head;                 /* Of `waiting`. */
    struct request_queue unread_wait; /* Who reads: until the newest file is read. */
    struct list tail;                 /* tail_frame, by offset. */
    struct completion commit_work;
    struct memory_waiter commit_memory;
    bool commit_waits;             /* For memory. */
    struct list journal_wait_node; /* Waits for the journal. */
    struct list behind_node;       /* Has frames to be written back. */
    struct list gather_node;       /* Has a block that takes more frames. */
    bool ready;                    /* Recovered. */
    bool unread;   /* Sealed, and its newest file not looked at since the start: the first append
                     needs what it knows of producers and stream ids, the first fetch what it knows
                     of deleted records. */
    bool damaged;  /* Takes no appends. */
    bool end_lost; /* So is the end of its log: records at the high watermark are lost. */
    bool dropping;
    bool stopped;
    bool told_large;  /* That a batch is too large to leave out its deleted records. */
    bool sync_failed; /* What was acked without a sync may never become durable. */
    uint32_t active;  /* Operations under way that refer to it. */
    struct writer writer;
    struct roll roll;
    struct seal seal;
    struct completion sealed;
    enum err seal_result; /* Of the last file, at a stop. */
    struct recover recover;
    struct trim trim;
    struct removal removal;
    struct drop drop;
    struct recycle recycle; /* Its path is also that of removal and drop. */
};

/* A fetch or look-up that needs a file: see fetch.c. */
struct reader {
    struct reader *next;
    struct shard *shard;
    struct request *request;
    struct partition *partition;
    struct segment *segment; /* Pinned. */
    struct completion work;
    struct io io;
    struct load load;
    struct memory_waiter memory;
    uint64_t position;
    /* Fetches. */
    struct look *look; /* In use. */
    struct stream *stream;
    uint64_t stream_serial; /* It is still ours if it has this one. */
    bool reserved;          /* It counts in shard->lend_reads. */
    bool chained;           /* `chain` is known: that before the extent at `position`. */
    uint64_t chain;
    uint32_t least; /* That extent is so large, if it is known. */
    /* Look-ups. */
    struct block *block;
    uint32_t bytes;              /* Of the next read. */
    uint64_t passed;             /* Look-ups: the id of the last segment that does not have it. */
    int64_t timestamp;           /* Look-ups: what is searched. */
    int64_t low, high;           /* Look-ups: between them is the greatest time, if narrowing. */
    uint64_t log_start, deleted; /* Look-ups: as they were when they began. */
    uint32_t starved;            /* Fetches: no memory for a copy of so many bytes. */
    bool narrowing;
    bool searching; /* Look-ups: past the choice of the segment. */
    /* Of the next record; behind the last frame that was searched. What the file has. */
    uint64_t offset, offset_end;
};

struct shard {
    struct reactor *reactor;
    struct shard_options options;
    struct partition *buckets[SHARD_BUCKETS];
    uint32_t partition_count;
    struct list tail;        /* tail_frame that may go, oldest first. */
    struct list tail_pinned; /* Those that may not. */
    struct list tail_free;
    struct tail_frame *tail_frames;
    uint32_t tail_frames_used;           /* Ever. */
    uint64_t tail_bytes, tail_bytes_max; /* Whole blocks. */
    uint64_t commits_wait_bytes;         /* Of memory that commits wait for. */
    struct journal *journal;             /* NULL: there is none. */
    struct flush_group flush_group;
    struct file_pool pool;
    struct list files; /* Open and not pinned, least recently used first. */
    uint32_t files_open, files_idle;
    uint32_t files_making;  /* By rolls: not among those that are open yet. */
    uint32_t files_writing; /* How many may be in use for a roll to make one more. */
    struct reader *readers, *readers_free;
    struct request_queue readers_wait;
    struct looks looks;
    uint64_t lent_bytes, lent_bytes_max; /* Blocks that readers hold; see lend.c. */
    uint32_t lend_reads;                 /* Fetches on their way to a file, each a look more. */
    struct request_queue pressed;        /* Parked until readers give something back. */
    struct retention retention;
    struct delete_plan delete_plan;
    struct judges judges;
    uint64_t deleted_bytes, deleted_bytes_max; /* What partitions remember; see deleted.h. */
    struct completion_list recoveries;
    uint32_t recovering;
    uint32_t active; /* As a partition's, and closes. */
    bool stopping, closing, stopped;
    bool clean;          /* At the end: see shard_is_clean(). */
    bool dead;           /* See fail.c. */
    uint32_t rebuilding; /* Files of segments. */
    struct completion fail_work;
    struct completion *stop_done;
    struct completion stop_work;
};

/* shard.c */
uint32_t shard_append_flags(const struct shard *shard); /* To open what takes appends. */
void shard_enter(struct shard *shard, struct partition *partition); /* One more operation. */
void shard_leave(struct shard *shard, struct partition *partition);
void request_queue_push(struct request_queue *queue, struct request *request);
struct request *request_queue_pop(struct request_queue *queue);
void request_queue_fail(struct shard *shard, struct request_queue *queue, enum err err);
struct partition *shard_partition(struct shard *shard, const struct partition_id *id);

/* partition.c */
NODISCARD enum err partition_create(struct shard *shard, const struct request *request,
                                    struct partition **partition);
void partition_destroy(struct partition *partition);
NODISCARD enum err partition_add_segment(struct partition *partition,
                                         const struct segment_info *info);
struct segment *partition_open_segment(const struct partition *partition); /* NULL: none. */
struct segment *partition_segment_of(const struct partition *partition, uint64_t offset);
uint64_t segment_end(const struct segment *segment);      /* Of what may be read. */
uint64_t segment_file_end(const struct segment *segment); /* And of it, what the file has. */
/* What retention.bytes is compared with. */
uint64_t partition_bytes(const struct partition *partition);
/* What retention.ms counts from: of the newest or open segment. */
int64_t segment_time_max(const struct partition *partition, const struct segment *segment);
uint32_t partition_epoch(const struct partition *partition);
void partition_wake_readers(struct partition *partition);
void partition_drop(struct partition *partition, struct request *request);
void partition_idle(struct partition *partition); /* Nothing is under way. */

/* append.c */
void append_submit(struct partition *partition, struct request *request);
void append_pump(struct partition *partition);
void append_fail_waiting(struct partition *partition, enum err err);
void append_fail_staged(struct partition *partition, enum err err);
void append_wake_duplicates(struct partition *partition);
/* The stream ID of a batch that becomes part of a frame: greater than all before, of this moment if
 * it can be. */
struct stream_id append_draw_id(struct partition *partition, const struct request *request,
                                uint64_t now_ms, uint32_t records);
int32_t batch_sequence_last(const struct batch *batch);

/* commit.c */
void commit_work(struct completion *work);
void commit_kick(struct partition *partition);
void commit_poke(struct partition *partition); /* Whether anything is staged or not. */
bool commit_idle(const struct partition *partition);
void commit_settle(struct partition *partition); /* Acks what can be, and goes on. */
void commit_journaled(struct commit *commit, enum err err);
void commit_give_up(struct partition *partition); /* It is dropped. */
uint64_t commit_durable_end(const struct partition *partition);

/* slab.c */
struct block *commit_slab(struct partition *partition, uint32_t frame_bytes);
void commit_end_slab(struct partition *partition); /* The next frame begins another block. */

/* extent.c */
bool extent_room(const struct partition *partition);
bool extent_idle(const struct partition *partition);
uint32_t extent_frame_blocks(uint64_t frame_bytes); /* Of a frame that is written alone. */
/* The next write to the file; there is room. */
struct extent_write *extent_begin(struct partition *partition);
/* Copies unwritten frames, `limit` bytes of them but at least one, behind the room for the header;
 * how many bytes of the block are used then. */
uint32_t extent_fill(struct extent_write *extent, uint8_t *at, uint64_t limit);
/* One more frame, which stands at `at` of the block. */
void extent_add(struct extent_write *extent, const uint8_t *at, uint64_t offset_end,
                int64_t timestamp_max);
void extent_submit(struct extent_write *extent, struct block *block, uint32_t used);
/* Adds the unwritten frames that stand in `block` as they would in the file; as extent_fill(). */
uint32_t extent_take(struct extent_write *extent, const struct block *block);
/* What stands in the block, headers and all. */
void extent_send(struct extent_write *extent, struct block *block);
/* What it adds to the index of its segment. */
NODISCARD enum err extent_index(const struct extent_write *extent, struct segment_index *index);

/* The write has come back, and is durable as far as it was to be. */
void extent_settled(struct extent_write *extent, enum err err);

/* flush_group.c */
void flush_group_init(struct shard *shard);
void flush_group_join(struct shard *shard, uint64_t domain); /* Of a file that was opened. */
/* Before it is sent: may its write be a plain one? */
bool flush_group_takes(const struct extent_write *extent);
void flush_group_add(struct extent_write *extent); /* It is written; ends by extent_settled(). */
/* Writes of this partition are wanted soon. */
void flush_group_hurry(struct partition *partition);

/* milestone_write.c */
void milestone_begin(struct partition *partition); /* A file was made. */
void milestone_end(struct partition *partition);   /* Its writer is about to go. */
/* Bytes of the file to be kept for the next one, if that is near. */
uint64_t milestone_reserve(const struct partition *partition);
/* Before the next frames go to the file: plans or writes one. `after`: bytes that others need of
 * the file besides what is unwritten. */
void milestone_pump(struct partition *partition, uint64_t after);
/* No frame from this offset on may go to the file yet. */
uint64_t milestone_limit(const struct partition *partition);

/* fail.c */
/* No safe way on: `what` failed, of `file`. Does not return where the process ends; elsewhere
 * nothing is acked from here on, and the caller leaves its work undone. */
void shard_fail(struct shard *shard, const char *what, const char *file, enum err err);

/* writeback.c */
void writeback_add(struct partition *partition, struct tail_frame *frame);
void writeback_drop(struct partition *partition, struct tail_frame *frame);
void writeback_leave(struct partition *partition); /* Its file takes nothing more. */
void writeback_allow(struct journal *journal, uint64_t bytes);
void writeback_kick(struct journal *journal);
void writeback_work(struct completion *work);
/* Writes one chunk of this partition now; false: nothing to write, or no room or memory. `after`:
 * as of milestone_pump(). */
bool writeback_chunk(struct partition *partition, uint64_t limit, uint64_t after);
bool writeback_flush(struct partition *partition); /* True: the file has, or never gets, all. */

/* gather.c */
enum gather_answer {
    GATHER_TAKE,
    GATHER_WAIT,      /* The commit is kicked when more is written. */
    GATHER_NO_MEMORY, /* Of the size that was set. */
};

void gather_init(struct journal *journal);
void gather_stop(struct journal *journal);
/* Is a frame of that size acked when it is staged, and written when it suits? */
bool gather_takes(const struct partition *partition, uint32_t frame_bytes);
/* TAKE: there is room for it at writer.gather_used of writer.gather; then gather_add() it. */
enum gather_answer gather_offer(struct partition *partition, uint32_t frame_bytes, uint32_t *size);
void gather_add(struct partition *partition, struct tail_frame *frame);
void gather_release(struct tail_frame *frame);  /* It is no longer pinned. */
void gather_close(struct partition *partition); /* The block takes nothing more. */
void gather_push(struct partition *partition);  /* Writes blocks that take nothing more. */
void gather_give_up(struct partition *partition);
uint32_t gather_pressure(const struct shard *shard); /* Of what may be pinned, of 1024. */

/* tail.c */
void tail_init(struct shard *shard);
struct tail_frame *tail_add(struct shard *shard, struct partition *partition, struct block *block);
/* The frame must stay until its file has it: its whole block counts in `*held`, once, until none of
 * its frames must stay any more. */
void tail_hold(struct tail_frame *frame, uint64_t *held);
void tail_let_go(struct tail_frame *frame, uint64_t *held);
void tail_unpin(struct tail_frame *frame); /* It is in its file. */
bool tail_room(const struct shard *shard); /* tail_add() will not fail. */
void tail_drop(struct tail_frame *frame);
void tail_drop_below(struct partition *partition, uint64_t offset);
void tail_trim(struct shard *shard);
struct tail_frame *tail_find(struct partition *partition, uint64_t offset);
struct tail_frame *tail_next(struct partition *partition, const struct tail_frame *frame);
const uint8_t *tail_rows(const struct tail_frame *frame); /* The table behind its header. */
bool tail_reclaim(struct shard *shard, uint64_t bytes);

/* lend.c */
void lend_init(struct shard *shard);
uint64_t lend_bytes(const struct shard *shard); /* What readers hold, or are promised. */
bool lend_full(const struct shard *shard);
/* For whom gives a look back, and takes a block instead. */
bool lend_full_beside(const struct shard *shard, const struct look *look);
void lend_block(struct shard *shard, struct request_fetch *fetch, struct bytes data,
                const uint8_t *rows, struct block *block);
void lend_look(struct request_fetch *fetch, struct bytes data, const uint8_t *rows,
               struct look *look);
void lend_return(struct shard *shard, struct request_fetch *fetch);
void lend_wake(struct shard *shard); /* Looks whether those who are pressed can go on. */

/* segment_file.c */
void segment_path(const struct segment *segment, char *path);
void segment_id_path(const struct partition *partition, uint64_t id, char *path);
void partition_path(const struct partition *partition, char *path);
void topic_path(const struct partition *partition, char *path);
void segment_pool_path(const struct segment *segment, char *path);
void segment_pin(struct segment *segment);
void segment_unpin(struct segment *segment);
void segment_opened(struct segment *segment, int fd); /* Takes the descriptor; closes a second. */
void segment_close(struct segment *segment);
/* The file, which nobody uses, into the pool or away: see recycle_file(). */
void segment_recycle(struct segment *segment, struct completion *done);
/* What a reader is to be told about a file that failed it: ERR_DAMAGED or, when that may pass,
 * ERR_STORAGE, ERR_NO_MEMORY. The operator hears each reason once in a row. */
enum err segment_tell(struct segment *segment, enum err err);
void descriptor_close(struct shard *shard, int fd);
void files_init(struct shard *shard);
/* `path` could not be opened with `err`. True: that was for want of a descriptor, and some that
 * were idle are closed now, so it is worth another try. */
bool files_make_room(struct shard *shard, enum err err, const char *path);
bool files_may_make(struct shard *shard); /* One more for an open segment. */

/* seal.c */
void seal_start(struct seal *seal, struct segment *segment, const struct seal_end *end,
                struct completion *done);

/* rebuild.c */
/* Has the file of the open segment failed, and acked records in it? */
bool rebuild_wanted(const struct partition *partition);
void rebuild_mend(struct partition *partition); /* Then it rolls, whether anybody appends or not. */
void rebuild_start(struct partition *partition); /* Ends with roll_rebuilt(). */

/* store.c */
void roll_start(struct partition *partition);
void roll_rebuilt(struct partition *partition, bool made);
void roll_drained(struct partition *partition); /* Commits came to rest. */

/* load.c */
void load_start(struct load *load, struct segment *segment, struct completion *done);
/* Between load.c, load_milestone.c and load_renew.c: its end; the next read; from the start of the
 * file; what came of the two reads of a milestone; the file is made anew, and its head is read. */
void load_finish(struct load *load, enum err err);
void load_read(struct load *load, enum load_state state, uint64_t position, uint64_t bytes);
void load_scan_start(struct load *load);
void load_scanned(const struct load *load, uint32_t size);
void load_milestone_index(struct load *load, uint32_t size);
void load_milestone_producers(struct load *load, uint32_t size);
void load_renew_start(struct load *load);

/* recovery.c */
void recover_start(struct partition *partition, struct request *request);
/* Of a partition that is `unread`: reads its newest file, then appends go on. May be under way. */
void recover_read(struct partition *partition);

/* trim.c */
void trim_submit(struct partition *partition, struct request *request);
void trim_pump(struct partition *partition); /* Looks whether there is something to do. */
void trim_fail(struct partition *partition, enum err err);
void trim_drop(struct partition *partition); /* It is dropped. */
/* For retention: the log starts at `log_start`, the base of the first segment that stays. */
void trim_retain(struct partition *partition, uint64_t log_start);
uint32_t trim_first_kept(const struct partition *partition, uint64_t log_start);
/* For commit.c: a frame is wanted though no batch is staged; what the next one carries, and what
 * became of it. */
bool trim_wants_frame(const struct partition *partition);
uint64_t trim_frame_log_start(struct partition *partition);
void trim_frame_acked(struct partition *partition, uint64_t log_start);
void trim_frame_failed(struct partition *partition);

/* delete.c */
void delete_init(struct shard *shard);
void delete_submit(struct partition *partition, struct request *request);
void delete_pump(struct partition *partition); /* Looks whether there is something to do. */
void delete_fail(struct partition *partition, enum err err);
bool delete_holds_appends(const struct partition *partition);
/* For commit.c: a note may be wanted; the bytes of the next one, 0: none is; then it is written,
 * and what became of it. */
bool delete_wants_frame(const struct partition *partition);
uint32_t delete_measure(struct partition *partition);
void delete_fill(struct partition *partition, struct commit *commit, uint8_t *body);
void delete_acked(struct partition *partition, const struct commit *commit);
void delete_ended(struct partition *partition, struct commit *commit);

/* removal.c */
void removal_take(struct partition *partition, uint64_t first_kept); /* All before this id. */
void removal_unpinned(struct segment *segment);
void removal_list(struct partition *partition); /* Once: files that a crash left. */

/* retention.c */
void retention_begin(struct shard *shard);
void retention_end(struct shard *shard);
/* What time it is for retention, which remembers when it looked last. */
uint64_t retention_clock(struct retention *retention, uint64_t now_ns, uint64_t now_ms);

/* fetch.c */
void fetch_submit(struct partition *partition, struct request *request);
void fetch_release(struct shard *shard, struct request *request);
void reader_submit(struct shard *shard, struct request *request);
void reader_finish(struct reader *reader, enum err err);
bool reader_read(struct reader *reader, uint64_t position, uint32_t bytes);
/* Where frames go on behind a bad extent at `position` that holds no record; 0: it held some. A row
 * begins behind each milestone, so the index knows. */
uint64_t reader_pass(const struct reader *reader, uint64_t position);
bool reader_load(struct reader *reader, struct segment *segment);
/* True: the request waits until the newest file is read, or has failed. */
bool reader_waits_unread(struct partition *partition, struct request *request);
void reader_pump(struct partition *partition); /* It was read. */
NODISCARD enum err frame_at(const struct segment *segment, const uint8_t *at, uint64_t position,
                            struct extent_header *extent, struct frame_header *frame);

/* sync.c */
void sync_submit(struct partition *partition, struct request *request);

/* offsets.c */
void offsets_submit(struct partition *partition, struct request *request);
/* The frames of a segment that was chosen, from the one of `row` on (NULL: the first): of the file,
 * then in memory. */
void offsets_search(struct reader *reader, const struct segment *segment,
                    const struct index_row *row);
void offsets_parse(struct reader *reader, uint32_t size);

/* identify.c */
void identify_submit(struct partition *partition, struct request *request);
void identify_choose(struct reader *reader); /* The segment, and begins to search it. */
void identify_found(struct reader *reader, uint64_t offset);
/* Where in the frame the first record at or above `id` stands; false: none is there, and `offset`
 * is behind it. */
bool identify_in_frame(const uint8_t *header_at, struct request_identify *identify,
                       uint64_t *offset);
void offsets_step(struct reader *reader, enum err err);
