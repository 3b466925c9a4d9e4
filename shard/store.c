/* From one segment of a partition to the next. All appends behind wait.
 *
 *     DRAIN -> SEALING -> ASKING -> CLEAN -> (TAKE) -> OPEN -> ALLOCATE -> WRITE -> SYNC
 *                                                                                  pool/<id>.new
 *       -> MAKE_TOPIC -> SYNC_TOPICS -> MAKE_PARTITION -> SYNC_TOPIC              the directories
 *       -> RENAME -> SYNC_PARTITION -> SYNC_POOL -> IDLE                          acks may come
 *
 * TAKE: a file from the pool (pool.h), whose blocks exist; else a new one is made, and some blocks
 * are allocated. Either has its header, which says whose extents count, before it has its name.
 *
 * REBUILDING comes before SEALING where a write to the file failed, the seal's included: see
 * rebuild.c. Without an open segment it begins at ASKING; after a failure behind ASKING at CLEAN.
 * Whatever fails, the appends that wait fail, and the next one tries again. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/crc32c.h"
#include "core/log.h"
#include "shard/shard_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void roll_step(struct completion *done);

static void roll_end(struct partition *partition, enum err err)
{
    struct roll *roll = &partition->roll;
    if (roll->block != NULL) {
        block_unref(roll->block);
        roll->block = NULL;
    }
    roll->state = ROLL_IDLE;
    if (err != OK) {
        append_fail_waiting(partition, err);
    }
    append_pump(partition);
    trim_pump(partition);
    shard_leave(partition->shard, partition);
}

static void roll_io(struct partition *partition, enum roll_state state)
{
    partition->roll.state = state;
    io_submit(partition->shard->reactor, &partition->roll.io);
}

static void roll_clean(struct partition *partition)
{
    struct roll *roll = &partition->roll;
    struct segment *segment = partition_open_segment(partition);
    ASSERT(segment != NULL);
    ASSERT(segment->fd < 0);
    uint64_t now_ms = partition->shard->reactor->now_ms;
    if (partition->producers != NULL && partition->config.producer_expiry_ms > 0) {
        producer_expire(partition->producers,
                        (int64_t)now_ms - partition->config.producer_expiry_ms);
    }
    segment_pool_path(segment, roll->path_new);
    completion_init(&roll->io.done, roll_step);
    io_unlink(&roll->io, roll->path_new);
    roll_io(partition, ROLL_CLEAN);
}

static void roll_mapped(struct completion *done)
{
    struct roll *roll = CONTAINER_OF(done, struct roll, ask.done);
    struct partition *partition = CONTAINER_OF(roll, struct partition, roll);
    ASSERT(roll->state == ROLL_ASKING);
    if (done->result < 0) {
        roll_end(partition, (enum err)done->result);
        return;
    }
    struct segment *last = partition_open_segment(partition);
    if (last != NULL) {
        bool failed = partition->writer.failed && !partition->writer.rebuilt;
        last->spoiled = last->spoiled || failed || partition->sync_failed;
        last->info.state = SEGMENT_SEALED;
        last->info.end_offset = roll->ask.end_offset;
        last->info.digest = roll->ask.digest;
        last->info.timestamp_max = roll->ask.timestamp_max;
        last->info.bytes = roll->ask.bytes;
        stats_add(&partition->shard->reactor->stats, STAT_SEGMENT_ROLLS, 1);
        if (last->file_end >= last->info.end_offset) {
            last->file_end = UINT64_MAX;
            journal_forget(last);
        } else {
            COVER("a file ends before its segment");
        }
        writeback_leave(partition);
        segment_unpin(last);
    }
    ASSERT(roll->ask.next.base_offset == partition->high_watermark);
    enum err err = partition_add_segment(partition, &roll->ask.next);
    if (err != OK) {
        partition->damaged = true; /* The map has a segment that this core cannot hold. */
        roll_end(partition, err);
        return;
    }
    struct segment *segment = partition_open_segment(partition);
    ASSERT(segment != NULL);
    commit_end_slab(partition);
    ASSERT(partition->writer.gather == NULL);
    milestone_end(partition);
    partition->writer = (struct writer){
        .allocate_step = ALLOCATE_BYTES_MIN,
        .submitted_end = segment->info.base_offset,
        .chain = segment->info.salt,
        .durable_chain = segment->info.salt,
    };
    segment->loaded = true;
    segment->file_end = segment->info.base_offset;
    segment->file_chain = segment->info.salt;
    segment_pin(segment);
    roll_clean(partition);
}

static void roll_ask(struct partition *partition)
{
    struct roll *roll = &partition->roll;
    const struct segment *segment = partition_open_segment(partition);
    roll->state = ROLL_ASKING;
    roll->ask = (struct shard_roll){
        .partition = partition->id,
        .segment_id = segment == NULL ? 0 : segment->info.id,
        .end_offset = partition->high_watermark,
        .digest = segment == NULL ? 0 : partition->writer.durable_chain,
        .log_start = partition->log_start,
        .timestamp_max = segment == NULL ? 0 : segment_time_max(partition, segment),
        .bytes = segment == NULL ? 0 : segment->position_end,
        .open_next = true,
        .durability = partition->config.durability,
    };
    completion_init(&roll->ask.done, roll_mapped);
    const struct shard_hooks *hooks = &partition->shard->options.hooks;
    hooks->roll(hooks->context, &roll->ask);
}

static void roll_rebuild(struct partition *partition)
{
    partition->roll.state = ROLL_REBUILDING;
    rebuild_start(partition);
}

static void roll_sealed(struct completion *done)
{
    struct partition *partition = CONTAINER_OF(done, struct partition, sealed);
    const struct segment *segment = partition_open_segment(partition);
    bool broken = done->result < 0 && done->result != ERR_NO_MEMORY &&
                  done->result != ERR_NO_SPACE && segment->info.durability == DURABILITY_DISK;
    if (broken && !partition->writer.failed) {
        COVER("a seal fails");
        partition->writer.failed = true;
        if (rebuild_wanted(partition)) {
            roll_rebuild(partition);
            return;
        }
    }
    if (done->result < 0) {
        partition_open_segment(partition)->spoiled = true;
        LOG_WARN("segment sealed without a trailer topic=%s partition=%u err=%s", partition->name,
                 partition->id.partition, err_name((enum err)done->result));
    }
    partition->writer.seal_done = true;
    roll_ask(partition);
}

static void roll_seal(struct partition *partition)
{
    const struct writer *writer = &partition->writer;
    partition->roll.state = ROLL_SEALING;
    struct seal_end end = {.offset = partition->high_watermark,
                           .digest = writer->durable_chain,
                           .file_bytes = writer->allocated_end};
    completion_init(&partition->sealed, roll_sealed);
    seal_start(&partition->seal, partition_open_segment(partition), &end, &partition->sealed);
}

void roll_drained(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    ASSERT(partition->roll.state == ROLL_DRAIN);
    if (rebuild_wanted(partition)) {
        roll_rebuild(partition);
        return;
    }
    if ((writer->failed && !writer->rebuilt) || writer->seal_done) {
        roll_ask(partition);
        return;
    }
    roll_seal(partition);
}

void roll_rebuilt(struct partition *partition, bool made)
{
    ASSERT(partition->roll.state == ROLL_REBUILDING);
    if (made) {
        roll_seal(partition);
    } else if (partition->shard->dead) {
        roll_end(partition, ERR_IO);
    } else {
        roll_ask(partition); /* Of a topic that is deleted. */
    }
}

void roll_start(struct partition *partition)
{
    ASSERT(partition->roll.state == ROLL_IDLE);
    shard_enter(partition->shard, partition);
    const struct segment *segment = partition_open_segment(partition);
    if (segment == NULL) {
        roll_ask(partition);
    } else if (!segment->file_made) {
        COVER("a segment file is made at the second try");
        roll_clean(partition);
    } else {
        partition->roll.state = ROLL_DRAIN;
        if (commit_idle(partition) && writeback_flush(partition)) {
            roll_drained(partition);
        }
    }
}

static uint32_t roll_producers_bytes(const struct partition *partition)
{
    return partition->producers == NULL ? 0
                                        : producer_count(partition->producers) * PRODUCER_ROW_BYTES;
}

/* Producers and deleted records at the base: the first extent of the file, if there are any.
 * Returns its size. */
static uint32_t roll_producers(struct partition *partition, uint8_t *at, uint32_t size)
{
    const struct segment *segment = partition_open_segment(partition);
    if (size == 0) {
        return 0;
    }
    uint32_t used = roll_producers_bytes(partition);
    if (used > 0) {
        used = producer_encode(partition->producers, at + EXTENT_HEADER_BYTES,
                               size - EXTENT_HEADER_BYTES);
    }
    milestone_deleted_encode(&partition->deleted, at + EXTENT_HEADER_BYTES + used);
    struct extent_header extent = {
        .type = EXTENT_PRODUCERS,
        .salt = segment->info.salt,
        .position = SEGMENT_DATA_POSITION,
        .padded_size = size,
        .boot = partition->shard->options.boot,
        .offset_first = segment->info.base_offset,
        .durable_end = segment->info.base_offset,
        .chain = segment->info.salt,
        .frames_or_crc = crc32c(0, at + EXTENT_HEADER_BYTES, size - EXTENT_HEADER_BYTES),
    };
    extent_header_encode(&extent, at);
    return size;
}

static uint32_t roll_producers_size(const struct partition *partition)
{
    uint32_t body = milestone_state_size(roll_producers_bytes(partition), &partition->deleted);
    return body == 0 ? 0
                     : (uint32_t)align_up((uint64_t)EXTENT_HEADER_BYTES + body, DISK_BLOCK_BYTES);
}

/* Half of the largest block that the smallest core has; see core/memory.c. */
_Static_assert(SEGMENT_DATA_POSITION + EXTENT_HEADER_BYTES + PRODUCERS_MAX * PRODUCER_ROW_BYTES +
                       DELETED_RANGES_MAX * DELETED_RANGE_BYTES + DISK_BLOCK_BYTES <=
                   MEMORY_LIMIT_MIN / 16,
               "all producers and deleted records of a partition fit into one block");

/* Header, empty seal block and producers in one write. */
static enum err roll_write(struct partition *partition)
{
    struct roll *roll = &partition->roll;
    struct shard *shard = partition->shard;
    struct segment *segment = partition_open_segment(partition);
    uint32_t producers = roll_producers_size(partition);
    uint32_t size = SEGMENT_DATA_POSITION + producers;
    if (size <= memory_block_max(shard->reactor->memory)) {
        roll->block = block_acquire(shard->reactor->memory, MEMORY_RECOVERY, size);
    }
    if (roll->block == NULL) {
        return ERR_STORAGE; /* Retriable, and rare: recovery's pool is for this. */
    }
    memset(roll->block->data, 0, size);
    struct segment_header header = {
        .segment_id = segment->info.id,
        .topic = partition->id.topic,
        .partition = partition->id.partition,
        .epoch = segment->info.epoch,
        .base_offset = segment->info.base_offset,
        .salt = segment->info.salt,
        .replication_factor = segment->info.replication_factor,
        .ack_quorum = segment->info.ack_quorum,
        .durability = (uint8_t)segment->info.durability,
        .created_ms = shard->reactor->now_ms,
        .leader_node = segment->info.leader_node,
        .member_count = 1,
        .log_start = partition->log_start,
        .last_ms = partition->last_id.ms,
        .last_seq = partition->last_id.seq,
    };
    memcpy(header.cluster_id, shard->options.cluster_id, sizeof(header.cluster_id));
    memcpy(header.disk_id, shard->options.disk_id, sizeof(header.disk_id));
    (void)snprintf(header.name, sizeof(header.name), "%s", partition->name);
    if (partition->segment_count > 1) {
        const struct segment *before = partition->segments[partition->segment_count - 2];
        header.previous_id = before->info.id;
        header.previous_digest = before->info.digest;
    }
    segment_header_encode(&header, roll->block->data);
    (void)roll_producers(partition, roll->block->data + SEGMENT_DATA_POSITION, producers);
    roll->position = size;
    completion_init(&roll->io.done, roll_step);
    io_write(&roll->io, roll->fd, roll->block->data, size, 0, IO_WRITE_DURABLE);
    stats_add(&shard->reactor->stats, STAT_SEGMENT_BYTES, size);
    return OK;
}

/* The file is in place: appends may be acked. */
static void roll_made(struct partition *partition)
{
    struct roll *roll = &partition->roll;
    struct segment *segment = partition_open_segment(partition);
    segment->position_end = roll->position;
    partition->writer.position = roll->position;
    partition->writer.allocated_end = roll->allocated;
    ASSERT(partition->shard->files_making > 0);
    partition->shard->files_making--;
    milestone_begin(partition);
    segment_opened(segment, roll->fd);
    segment->file_made = true;
    LOG_INFO("segment opened topic=%s partition=%u epoch=%u base=%" PRIu64, partition->name,
             partition->id.partition, segment->info.epoch, segment->info.base_offset);
    roll_end(partition, OK);
}

static void roll_failed(struct partition *partition, enum err err)
{
    struct roll *roll = &partition->roll;
    LOG_WARN("segment file cannot be made, appends fail topic=%s partition=%u err=%s",
             partition->name, partition->id.partition, err_name(err));
    if (roll->state >= ROLL_OPEN) {
        ASSERT(partition->shard->files_making > 0);
        partition->shard->files_making--;
    }
    if (roll->state > ROLL_OPEN) {
        descriptor_close(partition->shard, roll->fd);
    }
    roll_end(partition, ERR_STORAGE);
}

/* Prepares the operation that follows the finished one; false when there is none. */
static bool roll_next(struct partition *partition, enum roll_state done)
{
    struct roll *roll = &partition->roll;
    struct segment *segment = partition_open_segment(partition);
    const char *data_dir = partition->shard->options.data_dir;
    uint32_t flags = shard_append_flags(partition->shard);
    switch (done) {
    case ROLL_CLEAN:
        io_rename(&roll->io, roll->path, roll->path_new);
        return true;
    case ROLL_TAKE:
        flags |= roll->allocated > 0 ? 0U : IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE;
        io_open(&roll->io, roll->path_new, flags);
        return true;
    case ROLL_OPEN:
        roll->allocated = align_up((uint64_t)SEGMENT_DATA_POSITION + roll_producers_size(partition),
                                   ALLOCATE_BYTES_MIN);
        roll->allocated += ALLOCATE_BYTES_MIN;
        io_allocate(&roll->io, roll->fd, 0, roll->allocated);
        return true;
    case ROLL_WRITE:
        block_unref(roll->block);
        roll->block = NULL;
        io_sync(&roll->io, roll->fd);
        return true;
    case ROLL_SYNC:
        topic_path(partition, roll->path);
        io_mkdir(&roll->io, roll->path);
        return true;
    case ROLL_MAKE_TOPIC:
        (void)snprintf(roll->path, sizeof(roll->path), "%s/topics", data_dir);
        io_sync_dir(&roll->io, roll->path);
        return true;
    case ROLL_SYNC_TOPICS:
        partition_path(partition, roll->path);
        io_mkdir(&roll->io, roll->path);
        return true;
    case ROLL_MAKE_PARTITION:
        topic_path(partition, roll->path);
        io_sync_dir(&roll->io, roll->path);
        return true;
    case ROLL_SYNC_TOPIC:
        segment_path(segment, roll->path);
        io_rename(&roll->io, roll->path_new, roll->path);
        return true;
    case ROLL_RENAME:
        partition_path(partition, roll->path);
        io_sync_dir(&roll->io, roll->path);
        return true;
    case ROLL_SYNC_PARTITION:
        (void)snprintf(roll->path, sizeof(roll->path), "%s/pool", data_dir);
        io_sync_dir(&roll->io, roll->path);
        return true;
    case ROLL_SYNC_POOL:
        return false;
    case ROLL_ALLOCATE: /* roll_write() */
    case ROLL_IDLE:
    case ROLL_DRAIN:
    case ROLL_REBUILDING:
    case ROLL_SEALING:
    case ROLL_ASKING:
        break;
    }
    UNREACHABLE();
}

/* What opens a file or a directory, and of which path; NULL: nothing is opened. */
static const char *roll_opens(const struct roll *roll)
{
    bool directory = roll->state == ROLL_SYNC_TOPICS || roll->state == ROLL_SYNC_TOPIC ||
                     roll->state == ROLL_SYNC_PARTITION || roll->state == ROLL_SYNC_POOL;
    return roll->state == ROLL_OPEN ? roll->path_new : directory ? roll->path : NULL;
}

/* A file from the pool that is about as long as the segment will be: not much longer than the one
 * before it was, of a partition that is rolled early. */
static bool roll_take(struct partition *partition)
{
    struct roll *roll = &partition->roll;
    uint64_t least = (uint64_t)SEGMENT_DATA_POSITION + roll_producers_size(partition);
    uint64_t most = partition->config.segment_bytes;
    if (partition->segment_count > 1) {
        const struct segment *before = partition->segments[partition->segment_count - 2];
        most = min_u64(most, 2 * before->info.bytes);
    }
    roll->allocated = 0;
    return pool_take(partition->shard, least, most + ALLOCATE_BYTES_MAX, &roll->allocated,
                     roll->path);
}

/* The pool gave its space back: once more. */
static void roll_allocate_again(struct completion *done)
{
    struct roll *roll = CONTAINER_OF(done, struct roll, io.done);
    struct partition *partition = CONTAINER_OF(roll, struct partition, roll);
    completion_init(&roll->io.done, roll_step);
    roll_io(partition, ROLL_ALLOCATE);
}

/* Steps that are passed over, and what a file from the pool makes different. */
static enum roll_state roll_pass(struct partition *partition, enum roll_state state, int32_t result)
{
    struct roll *roll = &partition->roll;
    if (state == ROLL_CLEAN && !roll_take(partition)) {
        return ROLL_TAKE;
    }
    if (state == ROLL_TAKE && result < 0) {
        COVER("a pooled file cannot be taken");
        roll->allocated = 0;
    }
    if (state == ROLL_OPEN && roll->allocated > 0) {
        COVER("a segment file is made of a pooled one");
        stats_add(&partition->shard->reactor->stats, STAT_SEGMENTS_RECYCLED, 1);
        return ROLL_ALLOCATE;
    }
    return state;
}

/* Deliberate bugs: is this sync left out? */
static bool roll_forgets(enum roll_state state)
{
    return (state == ROLL_SYNC_TOPICS && MUTANT("no-sync-topics")) ||
           (state == ROLL_SYNC_TOPIC && MUTANT("no-sync-topic")) ||
           (state == ROLL_SYNC_PARTITION && MUTANT("no-sync-partition"));
}

static void roll_step(struct completion *done)
{
    struct roll *roll = CONTAINER_OF(done, struct roll, io.done);
    struct partition *partition = CONTAINER_OF(roll, struct partition, roll);
    enum roll_state state = roll->state;
    enum err err = done->result < 0 ? (enum err)done->result : OK;
    bool may_fail =
        state == ROLL_CLEAN || state == ROLL_TAKE ||
        ((state == ROLL_MAKE_TOPIC || state == ROLL_MAKE_PARTITION) && err == ERR_EXISTS);
    if (state == ROLL_ALLOCATE && err == ERR_NO_SPACE) {
        completion_init(&roll->io.done, roll_allocate_again);
        if (pool_empty(partition->shard, &roll->io.done)) {
            return;
        }
    }
    if (err != OK && !may_fail) {
        const char *path = roll_opens(roll);
        if (path == NULL || !files_make_room(partition->shard, err, path)) {
            roll_failed(partition, err);
            return;
        }
        state = (enum roll_state)(state - 1); /* Again. */
    }
    if (roll->state == ROLL_CLEAN) {
        if (!files_may_make(partition->shard)) {
            roll_failed(partition, ERR_LIMIT);
            return;
        }
        partition->shard->files_making++;
    }
    if (state == ROLL_OPEN) {
        roll->fd = done->result;
        partition_open_segment(partition)->flush_domain = roll->io.open.flush_domain;
        flush_group_join(partition->shard, roll->io.open.flush_domain);
    }
    if (state == roll->state) {
        state = roll_pass(partition, state, done->result);
    }
    if (roll_forgets((enum roll_state)(state + 1))) {
        state = (enum roll_state)(state + 1);
    }
    completion_init(&roll->io.done, roll_step);
    if (state == ROLL_ALLOCATE) {
        err = roll_write(partition);
        if (err != OK) {
            roll_failed(partition, err);
            return;
        }
    } else if (!MUTANT("no-dir-sync") || state != ROLL_RENAME) {
        if (!roll_next(partition, state)) {
            roll_made(partition);
            return;
        }
    } else {
        roll_made(partition);
        return;
    }
    roll_io(partition, (enum roll_state)(state + 1));
}
