/* The file of an open segment whose write failed, made anew: what was acked in it is in its sound
 * part, or pinned in memory. Nothing is ever tried again on the old file but to read it.
 *
 *     CLEAN -> OPEN -> ALLOCATE                                     pool/<id>.new
 *       -> READ_HEAD -> WRITE_HEAD                                  file generation + 1
 *       -> READ -> WRITE -> ... up to where the old file is sound   every extent in its place
 *       -> FRAMES ... -> SYNC -> RENAME -> SYNC_PARTITION -> SYNC_POOL
 *
 * It is a part of the roll: the new file is sealed next, and what was pinned is free. A crash
 * leaves the old file and the journal, or the new file, under the same name; a checkpoint of the
 * old one has the older generation. Whatever fails here is a second failure: the node stops. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/shard_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum rebuild_state {
    REBUILD_CLEAN,
    REBUILD_OPEN,
    REBUILD_ALLOCATE,
    REBUILD_READ_HEAD,
    REBUILD_WRITE_HEAD,
    REBUILD_READ,
    REBUILD_WRITE,
    REBUILD_FRAMES,
    REBUILD_SYNC,
    REBUILD_RENAME,
    REBUILD_SYNC_PARTITION,
    REBUILD_SYNC_POOL,
    REBUILD_ABANDON,
};

struct rebuild {
    struct io io;
    struct partition *partition;
    struct segment *segment;
    enum rebuild_state state;
    int fd; /* -1: not open. */
    struct block *block;
    struct memory_waiter memory;
    uint32_t block_bytes;
    uint32_t asked;          /* Bytes of the read under way. */
    uint64_t position;       /* How far the new file goes. */
    uint64_t allocated;      /* Blocks of it that exist. */
    struct tail_frame *next; /* To be written; NULL: none is left. */
    char path[SHARD_PATH_BYTES], path_new[SHARD_PATH_BYTES];
};

static void rebuild_step(struct completion *done);

static void rebuild_go(struct rebuild *rebuild, enum rebuild_state state)
{
    rebuild->state = state;
    completion_init(&rebuild->io.done, rebuild_step);
    io_submit(rebuild->partition->shard->reactor, &rebuild->io);
}

static void rebuild_end(struct rebuild *rebuild, bool made)
{
    struct partition *partition = rebuild->partition;
    ASSERT(partition->shard->rebuilding > 0);
    partition->shard->rebuilding--;
    if (rebuild->block != NULL) {
        block_unref(rebuild->block);
    }
    if (!made && rebuild->fd >= 0) {
        descriptor_close(partition->shard, rebuild->fd);
    }
    free(rebuild);
    roll_rebuilt(partition, made);
}

static void rebuild_fail(struct rebuild *rebuild, enum err err)
{
    COVER("a segment file cannot be rebuilt");
    segment_path(rebuild->segment, rebuild->path);
    shard_fail(rebuild->partition->shard,
               "a segment's file failed, and then what was to take its place", rebuild->path, err);
    rebuild_end(rebuild, false);
}

/* The topic is deleted, or nothing is written any more. */
static void rebuild_abandon(struct rebuild *rebuild)
{
    COVER("a rebuild is of no use any more");
    io_unlink(&rebuild->io, rebuild->path_new);
    rebuild_go(rebuild, REBUILD_ABANDON);
}

/* The next extent of frames that only memory has, to `at` unless NULL, and behind it. */
static void rebuild_take(struct rebuild *rebuild, struct extent_write *extent, uint8_t *at)
{
    struct partition *partition = rebuild->partition;
    uint32_t used = EXTENT_HEADER_BYTES;
    *extent = (struct extent_write){
        .partition = partition, .position = rebuild->position, .timestamp_max = INT64_MIN};
    do {
        struct tail_frame *frame = rebuild->next;
        const uint8_t *from = frame->block->data + frame->frame_at;
        extent_add(extent, from, frame->offset_end, frame->timestamp_max);
        if (at != NULL) {
            memcpy(at + used, from, frame->frame_bytes);
        }
        used += frame->frame_bytes;
        rebuild->next = tail_next(partition, frame);
    } while (rebuild->next != NULL && used + rebuild->next->frame_bytes <= rebuild->block_bytes);
    extent->chain_end = frame_chain(extent->last);
    extent->size = (uint32_t)align_up(used, DISK_BLOCK_BYTES);
    ASSERT(extent->size <= rebuild->block_bytes);
    rebuild->position += extent->size;
    if (at != NULL) {
        memset(at + used, 0, extent->size - used);
    }
}

static void rebuild_write_frames(struct rebuild *rebuild)
{
    struct partition *partition = rebuild->partition;
    struct extent_write extent;
    rebuild_take(rebuild, &extent, rebuild->block->data);
    struct extent_header header = {
        .type = EXTENT_FRAMES,
        .salt = rebuild->segment->info.salt,
        .position = extent.position,
        .padded_size = extent.size,
        .boot = partition->shard->options.boot,
        .offset_first = extent.offset_first,
        .durable_end = commit_durable_end(partition),
        .chain = extent.chain,
        .frames_or_crc = extent.frames,
    };
    extent_header_encode(&header, rebuild->block->data);
    COVER("a rebuild writes what only memory has");
    ASSERT(extent.position + extent.size <= rebuild->allocated);
    io_write(&rebuild->io, rebuild->fd, rebuild->block->data, extent.size, extent.position, 0);
    rebuild_go(rebuild, REBUILD_FRAMES);
}

static void rebuild_rename(struct rebuild *rebuild)
{
    segment_path(rebuild->segment, rebuild->path);
    io_rename(&rebuild->io, rebuild->path_new, rebuild->path);
    rebuild_go(rebuild, REBUILD_RENAME);
}

/* What follows the head, or what was written last. */
static void rebuild_copy(struct rebuild *rebuild)
{
    const struct segment *segment = rebuild->segment;
    if (rebuild->position < segment->position_end) {
        uint64_t left = segment->position_end - rebuild->position;
        rebuild->asked = (uint32_t)min_u64(left, rebuild->block_bytes);
        io_read(&rebuild->io, segment->fd, rebuild->block->data, rebuild->asked, rebuild->position);
        rebuild_go(rebuild, REBUILD_READ);
    } else if (rebuild->next != NULL && !MUTANT("rebuild-without-memory")) {
        rebuild_write_frames(rebuild);
    } else if (MUTANT("rebuild-cached")) {
        rebuild_rename(rebuild);
    } else {
        io_sync(&rebuild->io, rebuild->fd);
        rebuild_go(rebuild, REBUILD_SYNC);
    }
}

static enum err rebuild_write_head(struct rebuild *rebuild)
{
    struct segment_header header;
    enum err err = segment_header_decode(rebuild->block->data, &header);
    if (err != OK) {
        return err;
    }
    if (header.segment_id != rebuild->segment->info.id) {
        return ERR_FOREIGN;
    }
    header.file_generation = rebuild->segment->file_generation + 1;
    segment_header_encode(&header, rebuild->block->data);
    memset(rebuild->block->data + SEGMENT_SEAL_POSITION, 0,
           SEGMENT_DATA_POSITION - SEGMENT_SEAL_POSITION);
    io_write(&rebuild->io, rebuild->fd, rebuild->block->data, SEGMENT_DATA_POSITION, 0, 0);
    rebuild_go(rebuild, REBUILD_WRITE_HEAD);
    return OK;
}

/* The new file serves the segment; nothing of it has to stay in memory or in the journal. */
static void rebuild_finish(struct rebuild *rebuild)
{
    struct partition *partition = rebuild->partition;
    struct writer *writer = &partition->writer;
    struct segment *segment = rebuild->segment;
    rebuild->next = writer->pinned;
    rebuild->position = segment->position_end;
    while (rebuild->next != NULL) {
        struct extent_write extent;
        rebuild_take(rebuild, &extent, NULL);
        ASSERT(extent.offset_first == segment->file_end);
        ASSERT(extent.chain == segment->file_chain);
        if (extent_index(&extent, &segment->index) != OK) {
            segment->loaded = false; /* Read back from the file when it is needed. */
        }
        segment->file_end = extent.offset_end;
        segment->file_chain = extent.chain_end;
        segment->position_end = rebuild->position;
    }
    ASSERT(segment->file_end == partition->high_watermark);
    ASSERT(segment->file_chain == writer->durable_chain);
    while (writer->pinned != NULL) {
        struct tail_frame *frame = writer->pinned;
        writeback_drop(partition, frame);
        tail_unpin(frame);
    }
    ASSERT(segment->fd_before < 0);
    segment->fd_before = segment->fd;
    segment->fd = rebuild->fd;
    segment->file_generation++;
    writer->position = segment->position_end;
    writer->allocated_end = rebuild->allocated;
    writer->rebuilt = true;
    COVER("a segment file is rebuilt");
    stats_add(&partition->shard->reactor->stats, STAT_SEGMENTS_REBUILT, 1);
    LOG_WARN("a segment's file was made anew after a write of the old one failed topic=%s "
             "partition=%u segment=%016" PRIx64 " end=%" PRIu64,
             partition->name, partition->id.partition, segment->info.id, segment->file_end);
    rebuild_end(rebuild, true);
}

/* The step behind the one that ended well. */
static void rebuild_on(struct rebuild *rebuild)
{
    struct partition *partition = rebuild->partition;
    struct io *io = &rebuild->io;
    enum err err;
    switch (rebuild->state) {
    case REBUILD_CLEAN:
        io_open(io, rebuild->path_new,
                shard_append_flags(partition->shard) | IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE);
        rebuild_go(rebuild, REBUILD_OPEN);
        return;
    case REBUILD_OPEN:
        io_allocate(io, rebuild->fd, 0, rebuild->allocated);
        rebuild_go(rebuild, REBUILD_ALLOCATE);
        return;
    case REBUILD_ALLOCATE:
        rebuild->asked = SEGMENT_DATA_POSITION;
        io_read(io, rebuild->segment->fd, rebuild->block->data, rebuild->asked, 0);
        rebuild_go(rebuild, REBUILD_READ_HEAD);
        return;
    case REBUILD_READ_HEAD:
        err = rebuild_write_head(rebuild);
        if (err != OK) {
            rebuild_fail(rebuild, err);
        }
        return;
    case REBUILD_READ:
        io_write(io, rebuild->fd, rebuild->block->data, rebuild->asked, rebuild->position, 0);
        rebuild->position += rebuild->asked;
        rebuild_go(rebuild, REBUILD_WRITE);
        return;
    case REBUILD_WRITE_HEAD:
    case REBUILD_WRITE:
    case REBUILD_FRAMES:
        rebuild_copy(rebuild);
        return;
    case REBUILD_SYNC:
        rebuild_rename(rebuild);
        return;
    case REBUILD_RENAME:
        partition_path(partition, rebuild->path);
        io_sync_dir(io, rebuild->path);
        rebuild_go(rebuild, REBUILD_SYNC_PARTITION);
        return;
    case REBUILD_SYNC_PARTITION:
        (void)snprintf(rebuild->path, sizeof(rebuild->path), "%s/pool",
                       partition->shard->options.data_dir);
        io_sync_dir(io, rebuild->path);
        rebuild_go(rebuild, REBUILD_SYNC_POOL);
        return;
    case REBUILD_SYNC_POOL:
        rebuild_finish(rebuild);
        return;
    case REBUILD_ABANDON:
        rebuild_end(rebuild, false);
        return;
    }
    UNREACHABLE();
}

/* The pool gave its space back: once more. */
static void rebuild_allocate_again(struct completion *done)
{
    struct rebuild *rebuild = CONTAINER_OF(done, struct rebuild, io.done);
    rebuild_go(rebuild, REBUILD_ALLOCATE);
}

static void rebuild_step(struct completion *done)
{
    struct rebuild *rebuild = CONTAINER_OF(done, struct rebuild, io.done);
    struct shard *shard = rebuild->partition->shard;
    enum rebuild_state state = rebuild->state;
    bool may_fail = state == REBUILD_CLEAN || state == REBUILD_ABANDON;
    enum err err = done->result < 0 && !may_fail ? (enum err)done->result : OK;
    if (state == REBUILD_OPEN && err == OK) {
        rebuild->fd = done->result;
    }
    bool reads = state == REBUILD_READ_HEAD || state == REBUILD_READ;
    if (reads && err == OK && (uint32_t)done->result != rebuild->asked) {
        err = ERR_TRUNCATED;
    }
    if ((rebuild->partition->dropping || shard->dead) && state != REBUILD_ABANDON) {
        rebuild_abandon(rebuild);
        return;
    }
    if (state == REBUILD_ALLOCATE && err == ERR_NO_SPACE) {
        completion_init(&rebuild->io.done, rebuild_allocate_again);
        if (pool_empty(shard, &rebuild->io.done)) {
            return;
        }
    }
    if (state == REBUILD_OPEN && files_make_room(shard, err, rebuild->path_new)) {
        rebuild->state = REBUILD_CLEAN; /* Again. */
        err = OK;
    }
    if (err != OK && !(state >= REBUILD_FRAMES && MUTANT("rebuild-goes-on"))) {
        rebuild_fail(rebuild, err);
        return;
    }
    rebuild_on(rebuild);
}

/* The memory that it copies through, then the first step. */
static void rebuild_begin(struct completion *done)
{
    struct rebuild *rebuild = CONTAINER_OF(done, struct rebuild, memory.done);
    struct reactor *reactor = rebuild->partition->shard->reactor;
    rebuild->block = block_acquire(reactor->memory, MEMORY_RECOVERY, rebuild->block_bytes);
    if (rebuild->block == NULL) {
        COVER("a rebuild waits for memory");
        rebuild->memory.size = rebuild->block_bytes;
        rebuild->memory.class = MEMORY_RECOVERY;
        completion_init(&rebuild->memory.done, rebuild_begin);
        memory_await(reactor->memory, reactor, &rebuild->memory);
        return;
    }
    io_unlink(&rebuild->io, rebuild->path_new);
    rebuild_go(rebuild, REBUILD_CLEAN);
}

bool rebuild_wanted(const struct partition *partition)
{
    const struct segment *segment = partition_open_segment(partition);
    const struct writer *writer = &partition->writer;
    return segment != NULL && segment->file_made && writer->failed && !writer->rebuilt &&
           !writer->seal_done && segment->info.durability != DURABILITY_MEMORY &&
           partition->high_watermark > segment->info.base_offset && !partition->dropping &&
           !partition->shard->dead;
}

void rebuild_mend(struct partition *partition)
{
    struct writer *writer = &partition->writer;
    if (rebuild_wanted(partition) && !writer->mending && partition->roll.state == ROLL_IDLE &&
        partition->ready && !partition->stopped && !partition->damaged && commit_idle(partition)) {
        writer->mending = true;
        roll_start(partition);
    }
}

void rebuild_start(struct partition *partition)
{
    struct shard *shard = partition->shard;
    struct segment *segment = partition_open_segment(partition);
    struct tail_frame *pinned = partition->writer.pinned;
    ASSERT(rebuild_wanted(partition));
    ASSERT(pinned == NULL || pinned->offset_first == segment->file_end);
    shard->rebuilding++;
    struct rebuild *rebuild = calloc(1, sizeof(*rebuild));
    if (rebuild == NULL) {
        char path[SHARD_PATH_BYTES];
        segment_path(segment, path);
        shard->rebuilding--;
        shard_fail(shard, "a segment's file failed, and there is no memory to make it anew", path,
                   ERR_NO_MEMORY);
        roll_rebuilt(partition, false);
        return;
    }
    *rebuild = (struct rebuild){
        .partition = partition,
        .segment = segment,
        .fd = -1,
        .next = pinned,
        .position = SEGMENT_DATA_POSITION,
    };
    segment_pool_path(segment, rebuild->path_new);
    uint64_t blocks = 0;
    uint32_t largest = SEGMENT_COPY_BYTES;
    for (struct tail_frame *frame = pinned; frame != NULL; frame = tail_next(partition, frame)) {
        blocks += extent_frame_blocks(frame->frame_bytes);
        largest = max_u32(largest, extent_frame_blocks(frame->frame_bytes));
    }
    rebuild->block_bytes = largest;
    rebuild->allocated =
        align_up(segment->position_end + blocks + TRAILER_RESERVE_BYTES, ALLOCATE_BYTES_MIN);
    completion_init(&rebuild->memory.done, rebuild_begin);
    completion_fire(shard->reactor, &rebuild->memory.done, OK);
}
