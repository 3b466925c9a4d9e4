/* See the header. */
#include "tests/unit/shard/engine_fixture.h"

#include "core/assert.h"
#include "shard/shard_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct io_engine *const *engine_list(uint32_t *count)
{
    static const struct io_engine *const all[] = {
        &io_engine_posix,
#ifdef FLOE_HAS_URING
        &io_engine_uring,
#endif
    };
    *count = ARRAY_COUNT(all);
    return all;
}

struct engine_fault engine_fault;

void engine_fail(enum io_op op, uint32_t pass, uint32_t count, enum err err)
{
    engine_fault.op = op;
    engine_fault.err = err;
    engine_fault.pass = pass;
    engine_fault.hits = 0;
    engine_fault.most = count;
    engine_fault.hold = err == OK;
}

static void fault_submit(struct reactor *reactor, struct io *batch)
{
    while (batch != NULL) {
        struct io *io = batch;
        batch = io->next;
        io->next = NULL;
        engine_fault.seen[io->op]++;
        bool spared = engine_fault.spared_fd > 0 && io->fd == engine_fault.spared_fd;
        bool over = engine_fault.most > 0 && engine_fault.hits == engine_fault.most;
        bool meant = io->op == engine_fault.op && !spared && !over;
        if (meant && engine_fault.pass > 0) {
            engine_fault.pass--;
            engine_fault.below->submit(reactor, io);
        } else if (meant) {
            engine_fault.hits++;
            if (engine_fault.hold) {
                io_list_push(&engine_fault.held, io);
            } else {
                io_complete(reactor, io, engine_fault.err);
            }
        } else {
            engine_fault.below->submit(reactor, io);
        }
    }
}

uint64_t engine_stat(const struct engine *engine, enum stat_id stat)
{
    return engine->reactor.stats.counters[stat];
}

struct io_engine engine_wrap(const struct io_engine *below)
{
    struct io_engine wrapped = *below;
    wrapped.submit = fault_submit;
    engine_fault = (struct engine_fault){.below = below, .op = IO_NONE};
    return wrapped;
}

void engine_let_go(struct engine *engine, enum err err)
{
    struct io *io;
    engine_fault.op = err == OK ? IO_NONE : engine_fault.op;
    engine_fault.err = err;
    engine_fault.hold = false;
    while ((io = io_list_pop(&engine_fault.held)) != NULL) {
        if (err == OK) {
            engine_fault.below->submit(&engine->reactor, io);
        } else {
            io_complete(&engine->reactor, io, err);
        }
    }
}

static void engine_answer_roll(struct engine *engine, struct shard_roll *roll)
{
    enum err err = engine->roll_err;
    if (err == OK && roll->segment_id != 0 && !engine->unrecorded) {
        struct segment_info *last = &engine->segments[engine->segment_count - 1];
        ASSERT(last->id == roll->segment_id);
        last->state = SEGMENT_SEALED;
        last->end_offset = roll->end_offset;
        last->digest = roll->digest;
        last->timestamp_max = roll->timestamp_max;
        last->bytes = roll->bytes;
        engine->log_start = min_u64(max_u64(engine->log_start, roll->log_start), roll->end_offset);
    }
    if (err == OK && roll->open_next) {
        uint64_t number = engine->next_segment++;
        roll->next = (struct segment_info){
            .id = (1ULL << 63) | number,
            .epoch = (uint32_t)number,
            .state = SEGMENT_OPEN,
            .base_offset = roll->end_offset,
            .salt = 0x5a17000000000000ULL | number,
            .leader_node = 1,
            .replication_factor = 1,
            .ack_quorum = 1,
            .durability = roll->durability,
        };
        if (!engine->unrecorded) {
            ASSERT(engine->segment_count < ENGINE_SEGMENTS_MAX);
            engine->segments[engine->segment_count++] = roll->next;
        }
    }
    completion_fire(&engine->reactor, &roll->done, err);
}

static void engine_roll(void *context, struct shard_roll *roll)
{
    struct engine *engine = context;
    if (engine->hold_rolls) {
        ASSERT(engine->held == NULL);
        engine->held = roll;
        return;
    }
    engine_answer_roll(engine, roll);
}

void engine_answer(struct engine *engine)
{
    struct shard_roll *roll = engine->held;
    ASSERT(roll != NULL);
    engine->held = NULL;
    engine_answer_roll(engine, roll);
}

static void engine_answer_to_trim(struct engine *engine, struct shard_trim *trim)
{
    enum err err = engine->trim_err;
    uint32_t gone = 0;
    while (gone < engine->segment_count && engine->segments[gone].id != trim->segment_id) {
        gone++;
    }
    if (err == OK) {
        ASSERT(gone < engine->segment_count);
        ASSERT(trim->log_start >= engine->segments[gone].base_offset);
        engine->segment_count -= gone;
        memmove(engine->segments, engine->segments + gone,
                engine->segment_count * sizeof(engine->segments[0]));
        engine->log_start = max_u64(engine->log_start, trim->log_start);
    }
    completion_fire(&engine->reactor, &trim->done, err);
}

static void engine_trim(void *context, struct shard_trim *trim)
{
    struct engine *engine = context;
    engine->trims++;
    if (engine->hold_trims) {
        ASSERT(engine->trim_held == NULL);
        engine->trim_held = trim;
        return;
    }
    engine_answer_to_trim(engine, trim);
}

static void engine_failed(void *context, const struct shard_failure *failure)
{
    struct engine *engine = context;
    ASSERT(failure->what != NULL);
    engine->failures++;
    engine->failure = failure->err;
    (void)snprintf(engine->failure_file, sizeof(engine->failure_file), "%s", failure->file);
}

void engine_answer_trim(struct engine *engine)
{
    struct shard_trim *trim = engine->trim_held;
    ASSERT(trim != NULL);
    engine->trim_held = NULL;
    engine_answer_to_trim(engine, trim);
}

static void engine_open_reactor(struct engine *engine, const struct io_engine *io)
{
    memset(&engine->reactor, 0, sizeof(engine->reactor));
    engine->helper = io_helper_start();
    struct reactor *self = &engine->reactor;
    enum err err = reactor_connect(&self, 1);
    ASSERT(err == OK);
    struct reactor_options options = {
        .engine = io,
        .io = {.entries = 256, .recv_count = 4, .recv_size = 4096, .helper = engine->helper},
        .memory = {.limit_bytes = MIB(128), .numa_node = -1},
        .seed = {1, 2 + engine->boot, 3, 4}, /* Ids of journals are of one life. */
    };
    err = reactor_open(&engine->reactor, &options);
    ASSERT(err == OK);
}

struct wait {
    struct completion done;
    bool fired;
};

static void wait_done(struct completion *done)
{
    CONTAINER_OF(done, struct wait, done)->fired = true;
}

static void wait_for(struct engine *engine, const bool *fired)
{
    for (uint32_t i = 0; !*fired; i++) {
        ASSERT(i < 100000);
        (void)reactor_turn(&engine->reactor, NS_PER_MS);
    }
}

struct journals_wait {
    struct journals_open op;
    bool fired;
};

static void journals_done(struct completion *done)
{
    struct journals_open *op = CONTAINER_OF(done, struct journals_open, done);
    CONTAINER_OF(op, struct journals_wait, op)->fired = true;
}

static bool engine_is_open(const void *context, const struct segment_record *record)
{
    const struct engine *engine = context;
    const struct segment_info *last = engine->segments + engine->segment_count - 1;
    return engine->segment_count > 0 && last->id == record->segment_id &&
           last->state == SEGMENT_OPEN;
}

static enum err engine_load_journals(struct engine *engine)
{
    struct journals_wait wait = {0};
    struct journals_options options = {
        .data_dir = engine->dir,
        .directory_id = {'t', 'h', 'e', ' ', 'e', 'n', 'g', 'i', 'n', 'e', '\'', 's', ' ', 'o', 'w',
                         'n'},
        .boot = engine->boot + 1,
        .core_count = engine->with.cores,
        .bytes = engine->with.bytes,
        .bytes_max = engine->with.bytes_max,
        .direct = true,
        .is_open = engine_is_open,
        .context = engine,
    };
    completion_init(&wait.op.done, journals_done);
    journals_open(&wait.op, &engine->reactor, &options);
    wait_for(engine, &wait.fired);
    engine->journals_opened = wait.op;
    engine->journals = wait.op.journals;
    return wait.op.done.result < 0 ? (enum err)wait.op.done.result : OK;
}

enum err engine_open_journals(struct engine *engine, const struct io_engine *io)
{
    engine_open_reactor(engine, io);
    engine->killed = false;
    return engine_load_journals(engine);
}

void engine_open_shard(struct engine *engine)
{
    struct shard_options options = {
        .data_dir = engine->dir,
        .hooks = {.context = engine,
                  .roll = engine_roll,
                  .trim = engine_trim,
                  .fail = engine_failed},
        .node_id = 1,
        .boot = ++engine->boot,
        .partitions_max = 128,
        .appends_max = 1024,
        .retention_check_ms = engine->retention_check_ms,
        .files_max = engine->files_max,
        .readers_bytes_max = engine->readers_bytes_max,
        .milestone_bytes = engine->with.milestone_bytes,
        .direct = true,
    };
    enum err err = OK;
    if (engine->with.cores > 0 && engine->journals == NULL) {
        err = engine_load_journals(engine);
    }
    ASSERT(err == OK);
    if (engine->journals != NULL) {
        journals_assign(engine->journals, engine->with.core, &options);
    }
    err = shard_open(&engine->shard, &engine->reactor, &options);
    ASSERT(err == OK);
    if (engine->with.still && engine->shard->journal != NULL) {
        engine_still(engine);
    }
}

void engine_still(struct engine *engine)
{
    struct journal *journal = engine->shard->journal;
    ASSERT(journal != NULL);
    timer_stop(&engine->reactor, &journal->timer);
    timer_stop(&engine->reactor, &journal->gather_timer);
    timer_start(&engine->reactor, &journal->timer, UINT64_C(3600000) * NS_PER_MS);
    timer_start(&engine->reactor, &journal->gather_timer, UINT64_C(3600000) * NS_PER_MS);
}

static void engine_run(const char *format, const char *dir)
{
    char command[640];
    int length = snprintf(command, sizeof(command), "%s %s", format, dir);
    ASSERT(length > 0 && (size_t)length < sizeof(command));
    int rc = system(command);
    ASSERT(rc == 0);
}

void engine_start(struct engine *engine, const struct io_engine *io)
{
    engine_start_journaled(engine, io, &(struct engine_journals){0});
}

void engine_start_journaled(struct engine *engine, const struct io_engine *io,
                            const struct engine_journals *with)
{
    *engine = (struct engine){.next_segment = 1, .with = *with};
    (void)snprintf(engine->dir, sizeof(engine->dir), "engine-test-XXXXXX");
    char *made = mkdtemp(engine->dir);
    ASSERT(made != NULL);
    char sub[512];
    (void)snprintf(sub, sizeof(sub), "%s/topics %s/pool %s/journal", engine->dir, engine->dir,
                   engine->dir);
    engine_run("mkdir", sub);
    engine->config = (struct partition_config){
        .segment_records = 1000000,
        .segment_bytes = GIB(1),
        .batch_bytes_max = 1 << 20,
        .durability = DURABILITY_DISK,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = INT64_MAX,
        .producer_expiry_ms = 86400000,
        .retention_ms = -1,
        .retention_bytes = -1,
    };
    memset(engine->id.topic.bytes, 0xab, sizeof(engine->id.topic.bytes));
    engine->id.partition = 3;
    engine_open_reactor(engine, io);
    engine_open_shard(engine);
}

void engine_turns(struct engine *engine, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)reactor_turn(&engine->reactor, NS_PER_MS);
    }
}

void engine_rest(struct engine *engine)
{
    for (uint32_t i = 0; engine->shard->active > 0; i++) {
        ASSERT(i < 100000);
        (void)reactor_turn(&engine->reactor, NS_PER_MS);
    }
}

static void engine_close_journals(struct engine *engine, bool clean)
{
    struct wait wait = {0};
    if (engine->journals == NULL) {
        return;
    }
    completion_init(&wait.done, wait_done);
    journals_close(engine->journals, clean, &wait.done);
    wait_for(engine, &wait.fired);
    engine->journals = NULL;
}

void engine_stop_shard(struct engine *engine)
{
    struct wait wait = {0};
    completion_init(&wait.done, wait_done);
    shard_stop(engine->shard, &wait.done);
    wait_for(engine, &wait.fired);
    bool clean = shard_is_clean(engine->shard);
    shard_close(engine->shard);
    engine->shard = NULL;
    engine_close_journals(engine, clean);
}

static void engine_close_reactor(struct engine *engine)
{
    struct reactor *self = &engine->reactor;
    if (engine->shard != NULL) {
        engine_stop_shard(engine);
    }
    engine_close_journals(engine, false);
    /* The helper first: it may still be about to wake the reactor. */
    io_helper_stop(engine->helper);
    reactor_close(self);
    reactor_disconnect(&self, 1);
}

/* The map and the files as they are now come back after an orderly stop: a copy of the directory.
 */
void engine_kill(struct engine *engine)
{
    struct segment_info segments[sizeof(engine->segments) / sizeof(engine->segments[0])];
    uint32_t segment_count = engine->segment_count;
    uint64_t log_start = engine->log_start;
    char copy[512];
    memcpy(segments, engine->segments, sizeof(segments));
    (void)snprintf(copy, sizeof(copy), "%s %s.crash", engine->dir, engine->dir);
    engine_run("cp -a", copy);
    if (engine_fault.hold) { /* It happened too late. */
        engine_let_go(engine, OK);
    }
    engine_close_reactor(engine);
    engine_run("rm -rf", engine->dir);
    (void)snprintf(copy, sizeof(copy), "%s.crash %s", engine->dir, engine->dir);
    engine_run("mv", copy);
    memcpy(engine->segments, segments, sizeof(engine->segments));
    engine->segment_count = segment_count;
    engine->log_start = log_start;
    engine->killed = true;
}

void engine_crash(struct engine *engine, const struct io_engine *io)
{
    engine_kill(engine);
    engine_open_reactor(engine, io);
    engine->killed = false;
    engine_open_shard(engine);
}

void engine_end(struct engine *engine)
{
    if (!engine->killed) {
        engine_close_reactor(engine);
    }
    engine_run("rm -rf", engine->dir);
}

bool engine_has_file(const struct engine *engine, uint64_t segment_id)
{
    char topic[TOPIC_ID_TEXT_BYTES];
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/topics/%s/%u/%016" PRIx64 ".seg", engine->dir,
                   topic_id_text(&engine->id.topic, topic), engine->id.partition, segment_id);
    return access(path, F_OK) == 0;
}

void engine_segment_path(const struct engine *engine, uint32_t index, char *path, uint32_t size)
{
    char topic[TOPIC_ID_TEXT_BYTES];
    (void)snprintf(path, size, "%s/topics/%s/%u/%016" PRIx64 ".seg", engine->dir,
                   topic_id_text(&engine->id.topic, topic), engine->id.partition,
                   engine->segments[index].id);
}

static FILE *engine_segment_open(const struct engine *engine, uint32_t index, long position)
{
    char path[256];
    engine_segment_path(engine, index, path, sizeof(path));
    FILE *file = fopen(path, "r+b");
    ASSERT(file != NULL);
    int rc = fseek(file, position, SEEK_SET);
    ASSERT(rc == 0);
    return file;
}

void engine_spoil(const struct engine *engine, uint32_t index, long position)
{
    FILE *file = engine_segment_open(engine, index, position);
    int byte = fgetc(file);
    ASSERT(byte >= 0);
    int rc = fseek(file, position, SEEK_SET);
    ASSERT(rc == 0);
    rc = fputc(byte ^ 0x55, file);
    ASSERT(rc >= 0);
    (void)fclose(file);
}

void engine_peek(const struct engine *engine, uint32_t index, long position, uint8_t *at,
                 uint32_t size)
{
    FILE *file = engine_segment_open(engine, index, position);
    size_t got = fread(at, 1, size, file);
    ASSERT(got == size);
    (void)fclose(file);
}

void engine_poke(const struct engine *engine, uint32_t index, long position, const uint8_t *at,
                 uint32_t size)
{
    FILE *file = engine_segment_open(engine, index, position);
    size_t put = fwrite(at, 1, size, file);
    ASSERT(put == size);
    int rc = fclose(file);
    ASSERT(rc == 0);
}
