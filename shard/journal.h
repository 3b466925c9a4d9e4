/* The journal of one core at work: small frames of all its segments go together into one write, and
 * from there to their files when it suits. Internal to shard/.
 *
 *     commit -> journal_offer() -> TAKE: journal_add() ---.
 *                              |-> WAIT: two blocks are    |-> end of the turn: one block
 *                              |   in flight               |      -> written, in order -> commits
 *                              '-> DIRECT: to the file     |
 *     writeback <- pinned frames <-------------------------'
 *
 * A block is live until nothing in it is needed: no frame that is not in its file, no segment
 * record that is the newest one. The tail is the oldest live block; space below it is written again
 * only when a block that carries that tail is durable. */
#pragma once

#include "core/io.h"
#include "core/list.h"
#include "core/memory.h"
#include "core/timer.h"
#include "shard/journal_block.h"
#include "shard/journals.h"

struct commit;
struct partition;
struct segment;
struct shard;
struct tail_frame;

enum {
    JOURNAL_WRITES_MAX = 2,          /* In flight. */
    JOURNAL_BUFFER_BYTES = 1 << 20,  /* Largest block that is written. */
    JOURNAL_FRAME_BYTES = 64 << 10,  /* From here on a frame goes straight to its file. */
    JOURNAL_CACHED_BYTES = 64 << 10, /* Up to here a copy is cheaper than a write to the disk. */
    JOURNAL_BYTES_MIN = 1 << 20,     /* Of a new file; it grows while it is used. */
    JOURNAL_LAP_NS_MIN = 2000000000, /* A shorter lap makes it grow. */
    JOURNAL_RECORD_MS = 1000,        /* A checkpoint is at most this old. */
    JOURNAL_RECORD_BYTES = JOURNAL_ENTRY_HEADER_BYTES + SEGMENT_RECORD_BYTES,
    JOURNAL_PRESSURE_FULL = 1024,
};

enum journal_answer {
    JOURNAL_TAKE,
    JOURNAL_WAIT,
    JOURNAL_DIRECT,
};

enum journal_write_state {
    JOURNAL_WRITE_FREE,
    JOURNAL_WRITE_FILLING,
    JOURNAL_WRITE_WRITING,
    JOURNAL_WRITE_WRITTEN, /* Waits for the one before it. */
    JOURNAL_WRITE_SYNCING,
};

struct journal_write {
    struct io io;
    struct journal *journal;
    enum journal_write_state state;
    enum err err;
    uint64_t seq, tail_seq, position;
    uint32_t used, room, entries;
    bool waits;   /* Somebody waits for the disk. */
    bool flush;   /* It ought to become durable, and nobody waits for that. */
    bool durable; /* It was written so. */
    bool cached;  /* It was copied into the page cache. */
    bool again;   /* It is the newest block, written before, and gets more. */
    uint32_t used_before;
    struct list commits; /* struct commit, by journal_node. */
    struct block *buffer;
};

/* What is known of a block that is live. */
struct journal_live {
    uint64_t position;
    uint32_t length, pins, records;
};

struct journal {
    struct shard *shard;
    int fd;        /* -1: not open yet, or not any more. */
    int fd_cached; /* The same file without O_DIRECT. */
    uint64_t id, size, size_max;
    uint64_t spare_id; /* 0: there is none, or it was taken. */
    uint64_t head;     /* Where the next block goes. */
    uint64_t seq_next, tail_seq;
    uint64_t done_seq;         /* All blocks up to it are written. */
    uint64_t durable_seq;      /* And durable. */
    uint64_t plain_seq;        /* The last one that was written without a flush. */
    uint64_t done_tail_seq;    /* As the newest written block says. */
    uint64_t durable_tail_seq; /* As the newest durable block says. */
    struct journal_live *live; /* By seq modulo live_count. */
    uint32_t live_count;
    struct journal_write writes[JOURNAL_WRITES_MAX]; /* By seq modulo JOURNAL_WRITES_MAX. */
    struct journal_write *filling;
    struct journal_write *open_page; /* The newest block, while more may be copied into it. */
    struct completion work;
    struct list waiting; /* Partitions whose frames wait for a block. */
    struct list records; /* Segments with a record, oldest block first. */
    struct list dirty;   /* Segments whose record is to be renewed. */
    struct timer timer;
    bool records_due;
    struct io io; /* Opens, grows, closes. */
    bool growing, failed, stopping;
    struct io sync_io; /* Behind everybody's back: blocks that were written plainly. */
    uint64_t sync_seq, sync_tail_seq;
    bool syncing, sync_wanted;
    bool replacing;   /* The spare is on its way. */
    bool spare_taken; /* It has taken over. */
    struct journals_change change;
    uint64_t lap_started_ns;
    char path[512];
    /* Of writeback.c. */
    struct list behind; /* Partitions with frames that are not in their file; oldest first. */
    uint32_t behind_count;
    uint64_t pinned_bytes, pinned_memory; /* Of frames; of the blocks that have them. */
    uint64_t allowance;                   /* Bytes that may be written back now. */
    uint32_t chunks;                      /* In flight. */
    bool memory_waits;
    struct memory_waiter memory;
    struct completion writeback_work;
    /* Of gather.c. */
    struct list gathering; /* Partitions with a block that takes more frames. */
    struct timer gather_timer;
    uint64_t held_bytes; /* Of blocks with frames that are pinned, and not in the journal. */
    uint32_t held_frames;
};

/* NULL options.journal: there is none, every commit goes to its file. ERR_NO_MEMORY. */
NODISCARD enum err journal_open(struct shard *shard);
void journal_close(struct shard *shard); /* Frees. */
void journal_stop(struct shard *shard);  /* Nothing is pinned any more, or never will be written. */

/* May a frame of `bytes` go into the block that is filled in this turn? WAIT: the partition's
 * commit is kicked when there is room. */
enum journal_answer journal_offer(struct partition *partition, uint32_t bytes);

/* After TAKE, at once: the frame of `commit` is in the block, and pinned. */
void journal_add(struct partition *partition, struct commit *commit);

/* The frame is in its file, or of no use. */
void journal_unpin(struct journal *journal, struct tail_frame *frame);

/* The file of the segment got longer: a new checkpoint is due. */
void journal_touch(struct segment *segment);

/* And a milestone of it: the checkpoint is due at once. */
void journal_tell(struct segment *segment);

/* It is sealed, and its file complete, or it is gone. */
void journal_forget(struct segment *segment);

/* How full the journal is, of 1024: what is pinned, and the way from tail to head. */
uint32_t journal_pressure(const struct journal *journal);

/* Somebody is waiting for space: a block that carries the newest tail makes some. */
void journal_kick(struct journal *journal);

/* Those that wait for a block, or for what is pinned to be written, try again. */
void journal_wake(struct journal *journal);

/* Between journal.c and journal_write.c. */
struct journal_live *journal_live(struct journal *journal, uint64_t seq);
bool journal_is_open(const struct journal *journal);
void journal_move_tail(struct journal *journal);
void journal_lap(struct journal *journal); /* The next block goes to the start of the file. */
/* Begins a block of at least `bytes`; `spare`: it may use what is kept for a tail. False: no write
 * is free, or there is no room or memory. */
bool journal_begin(struct journal *journal, uint32_t bytes, bool spare);
/* Goes on with the newest block, if that has room: one page, and nobody counts on it being on the
 * disk, nor will before it is written again. Only for who does not, either. */
bool journal_reopen(struct journal *journal, uint32_t bytes);
void journal_put_records(struct journal *journal);
/* Space is short, and the oldest block holds it only because of records. */
bool journal_is_held(const struct journal *journal);
/* How far it is from that block to where the next one goes. */
uint64_t journal_distance(const struct journal *journal, uint64_t seq);
void journal_submit(struct journal *journal);
void journal_fail(struct journal *journal, enum err err);
void journal_work(struct completion *work);

void journal_close_file(struct journal *journal); /* If it is open. */

/* journal_spare.c: after a failure. What was pinned may be in the files by now: then the spare
 * takes over, if there is one. */
void journal_replace(struct journal *journal);
