/* See the header. */
#include "tests/unit/shard/engine_fixture.h"

#include "core/assert.h"
#include "core/crc32c.h"
#include "shard/batch.h"
#include "shard/shard_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint32_t finished_count(void)
{
    static uint32_t count;
    return ++count;
}

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
        .hooks = {.context = engine, .roll = engine_roll, .trim = engine_trim},
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

uint32_t batch_make(const struct batch_spec *spec, uint8_t *at, uint32_t size)
{
    static uint8_t value[1 << 20];
    struct bytes_writer out = bytes_writer(at, size);
    write_be64(&out, 0);
    write_be32(&out, 0);
    write_be32(&out, UINT32_MAX);
    write_u8(&out, 2);
    write_be32(&out, 0);
    write_be16(&out, 0);
    write_be32(&out, spec->records - 1);
    write_be64(&out, (uint64_t)spec->timestamp);
    write_be64(&out, (uint64_t)spec->timestamp + spec->records - 1);
    write_be64(&out, (uint64_t)spec->producer_id);
    write_be16(&out, (uint16_t)spec->producer_epoch);
    write_be32(&out, (uint32_t)spec->sequence);
    write_be32(&out, spec->records);
    for (uint32_t i = 0; i < spec->records; i++) {
        uint8_t body[32];
        struct bytes_writer record = bytes_writer(body, sizeof(body));
        write_u8(&record, 0);
        write_varlong(&record, i);
        write_varint(&record, (int32_t)i);
        write_varint(&record, -1);
        write_varint(&record, (int32_t)spec->value_bytes);
        write_varint(&out, (int32_t)(record.position + spec->value_bytes + 1));
        write_bytes(&out, body, record.position);
        write_bytes(&out, value, spec->value_bytes);
        write_varint(&out, 0);
    }
    ASSERT(!out.failed);
    store_be32(at + 8, out.position - BATCH_PREFIX_BYTES);
    store_be32(at + 17, crc32c(0, at + BATCH_CRC_FROM, out.position - BATCH_CRC_FROM));
    return out.position;
}

static void call_done(struct completion *done)
{
    struct call *call = CONTAINER_OF(done, struct call, request.done);
    ASSERT(call->finished == 0);
    call->err = (enum err)done->result;
    call->finished = finished_count();
}

static void call_start(struct call *call, struct engine *engine, enum request_kind kind)
{
    call->request.kind = kind;
    call->request.partition = engine->id;
    call->request.home = &engine->reactor;
    call->engine = engine;
    call->finished = 0;
    completion_init(&call->request.done, call_done);
    shard_submit(engine->shard, &call->request);
}

void call_wait(struct call *call)
{
    for (uint32_t i = 0; call->finished == 0; i++) {
        ASSERT(i < 100000);
        (void)reactor_turn(&call->engine->reactor, NS_PER_MS);
    }
}

void call_assign(struct call *call, struct engine *engine)
{
    *call = (struct call){0};
    call->request.assign.topic_name = "orders";
    call->request.assign.config = &engine->config;
    call->request.assign.segments = engine->segments;
    call->request.assign.segment_count = engine->segment_count;
    call->request.assign.epoch = engine->epoch;
    call->request.assign.log_start = engine->log_start;
    call_start(call, engine, REQUEST_ASSIGN);
}

void call_append(struct call *call, struct engine *engine, const uint8_t *batch, uint32_t size)
{
    *call = (struct call){0};
    call->request.produce.batch = bytes_of(batch, size);
    call_start(call, engine, REQUEST_PRODUCE);
}

void call_append_as(struct call *call, struct engine *engine, struct bytes batch,
                    enum produce_id kind, struct stream_id id)
{
    *call = (struct call){0};
    call->request.produce.batch = batch;
    call->request.produce.id_kind = kind;
    call->request.produce.id = id;
    call_start(call, engine, REQUEST_PRODUCE);
}

void call_identify(struct call *call, struct engine *engine, struct stream_id id)
{
    *call = (struct call){0};
    call->request.identify.id = id;
    call_start(call, engine, REQUEST_IDENTIFY);
    call_wait(call);
}

static int32_t client_epoch(const struct engine *engine)
{
    return engine->client_epoch == 0 ? -1 : (int32_t)engine->client_epoch;
}

void call_fetch(struct call *call, struct engine *engine, uint64_t offset, bool park)
{
    *call = (struct call){0};
    call->request.fetch.offset = offset;
    uint32_t limit = engine->fetch_bytes_max;
    call->request.fetch.bytes_max = limit == 0 ? 1 << 20 : limit;
    call->request.fetch.epoch = client_epoch(engine);
    call->request.fetch.whole_first = limit == 0;
    call->request.fetch.park = park;
    call->request.fetch.pieces = call->pieces;
    call->request.fetch.piece_capacity = ENGINE_PIECES_MAX;
    call_start(call, engine, REQUEST_FETCH);
}

void call_offsets(struct call *call, struct engine *engine, int64_t timestamp)
{
    *call = (struct call){0};
    call->request.offsets.timestamp = timestamp;
    call->request.offsets.epoch = client_epoch(engine);
    call_start(call, engine, REQUEST_OFFSETS);
    call_wait(call);
}

void call_release(struct call *call)
{
    call_start(call, call->engine, REQUEST_RELEASE);
    call_wait(call);
}

void call_drop(struct call *call, struct engine *engine)
{
    *call = (struct call){0};
    call_start(call, engine, REQUEST_DROP);
}

void call_trim_start(struct call *call, struct engine *engine, int64_t offset)
{
    *call = (struct call){0};
    call->request.trim.offset = offset;
    call_start(call, engine, REQUEST_TRIM);
}

void call_trim(struct call *call, struct engine *engine, int64_t offset)
{
    call_trim_start(call, engine, offset);
    call_wait(call);
}

void call_sync(struct call *call, struct engine *engine)
{
    *call = (struct call){0};
    call_start(call, engine, REQUEST_SYNC);
}

enum err engine_assign(struct engine *engine)
{
    struct segment_info borrowed[ENGINE_SEGMENTS_MAX];
    memcpy(borrowed, engine->segments, sizeof(borrowed));
    struct call call = {0};
    call.request.assign.topic_name = "orders";
    call.request.assign.config = &engine->config;
    call.request.assign.segments = borrowed;
    call.request.assign.segment_count = engine->segment_count;
    call.request.assign.epoch = engine->epoch;
    call.request.assign.log_start = engine->log_start;
    call_start(&call, engine, REQUEST_ASSIGN);
    call_wait(&call);
    return call.err;
}

void engine_append_each(struct engine *engine, uint32_t count, uint32_t value_bytes)
{
    uint32_t size = value_bytes + 256;
    uint8_t *batch = malloc(size);
    ASSERT(batch != NULL);
    for (uint32_t i = 0; i < count; i++) {
        struct call call;
        struct batch_spec spec = {.records = 1,
                                  .value_bytes = value_bytes,
                                  .timestamp = 1000 + i,
                                  .producer_id = -1,
                                  .producer_epoch = -1,
                                  .sequence = -1};
        call_append(&call, engine, batch, batch_make(&spec, batch, size));
        call_wait(&call);
        ASSERT(call.err == OK);
    }
    free(batch);
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
