/* A shard on a reactor and a directory of its own, with a map that answers every roll at once (or,
 * when asked to, holds it), and a maker of record batches. */
#pragma once

#include "core/io_engine.h"
#include "core/reactor.h"
#include "shard/journals.h"
#include "shard/shard.h"

enum { ENGINE_SEGMENTS_MAX = 64, ENGINE_PIECES_MAX = 16 };

/* Of the directory; the shard is that of `core`. */
struct engine_journals {
    uint32_t cores; /* 0: there are none. */
    uint32_t core;
    uint64_t bytes, bytes_max;
    uint64_t milestone_bytes; /* How far apart they are; 0: as usual. */
    bool still;               /* Nothing is done because time has passed: see engine_still(). */
};

struct engine {
    struct reactor reactor;
    struct io_helper *helper;
    struct shard *shard;
    char dir[128];
    struct partition_config config;
    struct partition_id id;
    struct segment_info segments[ENGINE_SEGMENTS_MAX]; /* The map. */
    uint32_t segment_count;
    uint64_t next_segment;
    uint32_t epoch;        /* Of the map, if it knows a greater one than its segments have. */
    uint32_t client_epoch; /* Current leader epoch of fetches and look-ups; 0: any. */
    uint32_t boot;
    uint32_t fetch_bytes_max; /* 0: 1 MiB, and the first batch whole. */
    bool hold_rolls;
    enum err roll_err; /* The map's next answers. */
    bool unrecorded;   /* Rolls of many partitions: the map answers, and forgets. */
    struct shard_roll *held;
    uint64_t log_start; /* As the map knows it. */
    bool hold_trims;
    enum err trim_err; /* The map's next answers. */
    struct shard_trim *trim_held;
    uint32_t trims;              /* Asked. */
    uint32_t retention_check_ms; /* Of the next shard, as the next ones. */
    uint32_t files_max;
    uint64_t readers_bytes_max;
    struct engine_journals with;
    struct journals *journals;
    bool killed;
    struct journals_open journals_opened; /* What the last start took, or said. */
    uint32_t failures;                    /* Shards that found no safe way on. */
    enum err failure;                     /* The last one, and of which file. */
    char failure_file[512];
};

/* One request and when it came home (1 = first). */
struct call {
    struct request request;
    struct engine *engine;
    struct fetch_piece pieces[ENGINE_PIECES_MAX];
    uint32_t finished;
    enum err err;
};

struct batch_spec {
    uint32_t records;
    uint32_t value_bytes;
    int64_t timestamp; /* Of the first record; +1 each. */
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t sequence;
};

/* Operations of one kind that an engine_wrap() answers by itself while it is told to. */
struct engine_fault {
    const struct io_engine *below;
    enum io_op op; /* IO_NONE: nothing. */
    enum err err;
    uint32_t pass; /* So many of them still go through. */
    uint32_t most; /* And so many fail; 0: all. */
    int spared_fd; /* So does what is done to this one; 0: none. */
    bool hold;     /* They are kept until engine_let_go(), instead of failing. */
    struct io_list held;
    uint32_t hits;
    uint32_t seen[IO_LOCK + 1]; /* Operations by kind, failed or not. */
};

extern struct engine_fault engine_fault;

/* Of the next operations of a kind `pass` go through; then `count` fail, or are kept if `err` is
 * OK. */
void engine_fail(enum io_op op, uint32_t pass, uint32_t count, enum err err);

/* Of its counters, in this life. */
uint64_t engine_stat(const struct engine *engine, enum stat_id stat);

/* The engines that this build and machine have. */
const struct io_engine *const *engine_list(uint32_t *count);

struct io_engine engine_wrap(const struct io_engine *below); /* Without a fault yet. */
/* What was held is done, and nothing more is held; or it fails, and so does what follows. */
void engine_let_go(struct engine *engine, enum err err);

void engine_start(struct engine *engine, const struct io_engine *io);
void engine_start_journaled(struct engine *engine, const struct io_engine *io,
                            const struct engine_journals *with);
void engine_end(struct engine *engine); /* Stops if it runs; removes the directory. */
void engine_open_shard(struct engine *engine);
/* Puts the timers of journal and gathered appends far off, so that what is counted is the same
 * however slowly the process runs. `still` does so from the start. */
void engine_still(struct engine *engine);
void engine_stop_shard(struct engine *engine); /* And writes the MANIFEST of an orderly stop. */
/* Opens reactor and journals, no shard; OK, or what engine->journals_opened.message is about. */
enum err engine_open_journals(struct engine *engine, const struct io_engine *io);
/* The process dies, and nothing is started: engine_open_journals() is next, or engine_end(). */
void engine_kill(struct engine *engine);
/* The process dies: nothing is flushed or told; what is on the disk stays. */
void engine_crash(struct engine *engine, const struct io_engine *io);
void engine_turns(struct engine *engine, uint32_t count);
void engine_rest(struct engine *engine);        /* Until the shard has nothing under way. */
void engine_answer(struct engine *engine);      /* The held roll. */
void engine_answer_trim(struct engine *engine); /* The held trim. */

uint32_t batch_make(const struct batch_spec *spec, uint8_t *at, uint32_t size);

void call_wait(struct call *call);
void call_assign(struct call *call, struct engine *engine);
void call_append(struct call *call, struct engine *engine, const uint8_t *batch, uint32_t size);
void call_append_as(struct call *call, struct engine *engine, struct bytes batch,
                    enum produce_id kind, struct stream_id id);
void call_append_at(struct call *call, struct engine *engine, struct bytes batch, uint64_t end);
void call_identify(struct call *call, struct engine *engine, struct stream_id id); /* Waited for. */
void call_facts(struct call *call, struct engine *engine, struct stream_id id,
                struct stream_facts *facts);
void call_fetch(struct call *call, struct engine *engine, uint64_t offset, bool park);
void call_offsets(struct call *call, struct engine *engine, int64_t timestamp);
void call_release(struct call *call);
void call_drop(struct call *call, struct engine *engine);
void call_trim(struct call *call, struct engine *engine, int64_t offset); /* Is waited for. */
void call_trim_start(struct call *call, struct engine *engine, int64_t offset);
/* One record of the partition, without its ID; is waited for. */
void call_delete(struct call *call, struct engine *engine, uint64_t offset);
void call_delete_start(struct call *call, struct engine *engine,
                       const struct delete_record *records, uint32_t count);
/* Is waited for, too. */
void call_set_last(struct call *call, struct engine *engine, const struct request_set_last *wish);
void call_sync(struct call *call, struct engine *engine);

enum err engine_assign(struct engine *engine);
/* Appends `count` batches of one record, each waited for; asserts OK. */
void engine_append_each(struct engine *engine, uint32_t count, uint32_t value_bytes);
bool engine_has_file(const struct engine *engine, uint64_t segment_id);
void engine_segment_path(const struct engine *engine, uint32_t index, char *path, uint32_t size);
/* Flips bits of one byte of the segment's file. */
void engine_spoil(const struct engine *engine, uint32_t index, long position);
/* `size` bytes of the segment's file. */
void engine_peek(const struct engine *engine, uint32_t index, long position, uint8_t *at,
                 uint32_t size);
void engine_poke(const struct engine *engine, uint32_t index, long position, const uint8_t *at,
                 uint32_t size);
